#include "adapter/record_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/file.h"

enum {
  VERSION = 3,
  MAX_BYTES = 256 << 20, /* bytes: a million adapters with long paths */
  MAX_PATH_BYTES = 4096,
};

/* The file is this header, then records. It is read on the machine that wrote it, so numbers are
 * stored as they are in memory. */
typedef struct header {
  char magic[8]; /* "edgelora" */
  uint32_t version, n;
  uint64_t key, bytes, checksum; /* bytes and checksum of all records */
} header;

/* Followed by the data, padded to 8 bytes, and the path, without a terminator, padded too. */
typedef struct record {
  el_signature signature;
  uint32_t data_len, path_len;
} record;

struct el_record_file {
  el_file file;
  const record **buckets; /* [n_buckets] by path, with open addressing; NULL: empty */
  size_t n_buckets;
};

uint64_t el_record_hash(uint64_t h, const void *data, size_t n) {
  const unsigned char *p = data;
  for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001b3u;
  return h;
}

/* dir/KIND-KEY.index. NULL: out of memory. */
static char *record_file_path(const el_record_name *name, const char *suffix) {
  el_buf b = {0};
  if (el_buf_printf(&b, "%s/%s-%016llx.index%s", name->dir, name->kind, (unsigned long long)name->key, suffix))
    return b.data;
  el_buf_free(&b);
  return NULL;
}

static size_t padded_length(size_t n) {
  return (n + 7) / 8 * 8;
}

static const unsigned char *data_at(const record *r) {
  return (const unsigned char *)(r + 1);
}

static const char *path_at(const record *r) {
  return (const char *)data_at(r) + padded_length(r->data_len);
}

static size_t bytes_of_record(const record *r) {
  return sizeof *r + padded_length(r->data_len) + padded_length(r->path_len);
}

/* -------------------------------------------------------------------- read */

static bool find_slot(const el_record_file *f, const char *path, size_t len, size_t *slot) {
  size_t i = el_record_hash(EL_RECORD_HASH, path, len) & (f->n_buckets - 1);
  for (;; i = (i + 1) & (f->n_buckets - 1)) {
    *slot = i;
    const record *r = f->buckets[i];
    if (!r) return false;
    if (r->path_len == len && !memcmp(path_at(r), path, len)) return true;
  }
}

static el_status parse_records(el_record_file *f, uint64_t key, const char *path, el_error *err) {
  header h;
  if (f->file.size < sizeof h) return el_fail_about(err, EL_ERR_FORMAT, path, "%zu bytes are no index", f->file.size);
  memcpy(&h, f->file.data, sizeof h);
  const unsigned char *at = f->file.data + sizeof h;
  size_t left = f->file.size - sizeof h;
  if (memcmp(h.magic, "edgelora", 8) || h.version != VERSION || h.key != key)
    return el_fail_about(err, EL_ERR_FORMAT, path, "is not of this version");
  if (h.bytes != left || h.checksum != el_record_hash(EL_RECORD_HASH, at, left) || h.n > left / sizeof(record))
    return el_fail_about(err, EL_ERR_FORMAT, path, "is damaged");
  f->n_buckets = 16;
  while (f->n_buckets < 2 * (size_t)h.n) f->n_buckets *= 2;
  if (!(f->buckets = calloc(f->n_buckets, sizeof *f->buckets)))
    return el_fail_about(err, EL_ERR_NO_MEMORY, path, "out of memory");
  for (uint32_t i = 0; i < h.n; i++) {
    const record *r = (const record *)(const void *)at; /* the data comes from malloc, and records
                                                         * are multiples of 8 bytes */
    if (left < sizeof *r || r->path_len > MAX_PATH_BYTES || r->data_len > MAX_BYTES || left < bytes_of_record(r))
      return el_fail_about(err, EL_ERR_FORMAT, path, "record %u is cut off", i);
    size_t slot;
    find_slot(f, path_at(r), r->path_len, &slot);
    f->buckets[slot] = r;
    at += bytes_of_record(r);
    left -= bytes_of_record(r);
  }
  return EL_OK;
}

el_status el_record_file_read(const el_record_name *name, el_record_file **out, el_error *err) {
  char *path = record_file_path(name, "");
  el_record_file *f = calloc(1, sizeof *f);
  el_status status = EL_OK;
  if (!path || !f) status = el_fail_about(err, EL_ERR_NO_MEMORY, name->dir, "out of memory");
  if (!status && access(path, F_OK) != 0) {
    free(f);
    free(path);
    *out = NULL;
    return EL_OK;
  }
  if (!status) status = el_file_read(path, MAX_BYTES, &f->file, err);
  if (!status) status = parse_records(f, name->key, path, err);
  free(path);
  if (status)
    el_record_file_free(f);
  else
    *out = f;
  return status;
}

void el_record_file_free(el_record_file *f) {
  if (!f) return;
  el_file_close(&f->file);
  free(f->buckets);
  free(f);
}

const void *el_record_file_find(const el_record_file *f, const char *path, const el_signature *signature,
                                size_t *bytes) {
  size_t slot;
  if (!f || !find_slot(f, path, strlen(path), &slot)) return NULL;
  const record *r = f->buckets[slot];
  if (!el_signature_same_weights(&r->signature, signature)) return NULL;
  *bytes = r->data_len;
  return data_at(r);
}

/* -------------------------------------------------------------------- write */

struct el_record_writer {
  el_buf buf;
  uint32_t n;
  bool failed;
  const el_record_file *before;
  bool *known; /* [buckets of `before`] whether the path was put anew */
};

el_record_writer *el_record_writer_new(const el_record_file *before) {
  el_record_writer *w = calloc(1, sizeof *w);
  if (!w) return NULL;
  w->before = before;
  if (!before || (w->known = calloc(before->n_buckets, sizeof *w->known))) return w;
  free(w);
  return NULL;
}

void el_record_writer_free(el_record_writer *w) {
  if (!w) return;
  el_buf_free(&w->buf);
  free(w->known);
  free(w);
}

static bool append_padded(el_buf *b, const void *data, size_t n) {
  return el_buf_append(b, data, n) && el_buf_append(b, "\0\0\0\0\0\0\0", padded_length(n) - n);
}

static void put_record(el_record_writer *w, const record *r, const char *path, const void *data) {
  if (w->buf.len + bytes_of_record(r) > MAX_BYTES - sizeof(header) || w->n == UINT32_MAX)
    return; /* a full file drops the rest */
  if (!append_padded(&w->buf, r, sizeof *r) || !append_padded(&w->buf, data, r->data_len) ||
      !append_padded(&w->buf, path, r->path_len))
    w->failed = true;
  w->n++;
}

void el_record_writer_put(el_record_writer *w, const char *path, const el_signature *signature, const void *data,
                          size_t bytes) {
  size_t len = strlen(path), slot;
  if (len > MAX_PATH_BYTES || bytes > MAX_BYTES || w->failed) return;
  record r = {.signature = *signature, .data_len = (uint32_t)bytes, .path_len = (uint32_t)len};
  put_record(w, &r, path, data);
  if (w->before && find_slot(w->before, path, len, &slot)) w->known[slot] = true;
}

/* Keeps a record whose files are still the same. */
static void put_before(el_record_writer *w, const record *r) {
  char path[MAX_PATH_BYTES + 1];
  el_signature now;
  memcpy(path, path_at(r), r->path_len);
  path[r->path_len] = 0;
  if (!el_signature_read(path, &now, NULL) && el_signature_same_weights(&now, &r->signature))
    put_record(w, r, path, data_at(r));
}

/* Creates the folders on the way to a file. Errors show when the file is created. */
static void make_folder(char *path) {
  for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
    *slash = 0;
    mkdir(path, 0700);
    *slash = '/';
  }
}

/* Opens the temporary file that will become `path`. It is locked while it is open: other writers of
 * this file, in this process or another, get an error. A file left by a process that was killed is
 * overwritten. */
static el_status open_temporary(const char *temporary, int *out, el_error *err) {
  struct stat ours, there;
  int fd = open(temporary, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600), e = errno;
  if (fd >= 0 && !fstat(fd, &ours) && S_ISREG(ours.st_mode)) {
    /* Whoever held the lock before may have renamed the file: then it is theirs now. */
    if (flock(fd, LOCK_EX | LOCK_NB) || stat(temporary, &there) || there.st_ino != ours.st_ino ||
        there.st_dev != ours.st_dev)
      e = EWOULDBLOCK;
    else if (!ftruncate(fd, 0)) {
      *out = fd;
      return EL_OK;
    } else
      e = errno;
  } else if (fd >= 0) {
    e = EEXIST;
  }
  if (fd >= 0) close(fd);
  if (e == EWOULDBLOCK) return el_fail_about(err, EL_ERR_IO, temporary, "is being written by another process");
  return el_fail_about(err, EL_ERR_IO, temporary, "%s", strerror(e));
}

/* Writes everything to disk before the file takes the old one's name. */
static el_status save_records(const char *path, const char *temporary, const header *h, const el_buf *records,
                              el_error *err) {
  int fd = -1;
  el_status status = open_temporary(temporary, &fd, err);
  if (status) return status;
  if (!el_write_all(fd, h, sizeof *h) || !el_write_all(fd, records->data, records->len) || fsync(fd) ||
      rename(temporary, path)) {
    status = el_fail_about(err, EL_ERR_IO, path, "%s", strerror(errno));
    unlink(temporary);
  }
  close(fd); /* releases the lock, too */
  return status;
}

el_status el_record_writer_save(el_record_writer *w, const el_record_name *name, el_error *err) {
  for (size_t i = 0; w->before && i < w->before->n_buckets; i++)
    if (w->before->buckets[i] && !w->known[i]) {
      put_before(w, w->before->buckets[i]);
      w->known[i] = true;
    }
  header h = {.version = VERSION, .n = w->n, .key = name->key, .bytes = w->buf.len};
  memcpy(h.magic, "edgelora", 8);
  h.checksum = el_record_hash(EL_RECORD_HASH, w->buf.data, w->buf.len);
  char *path = record_file_path(name, ""), *temporary = record_file_path(name, ".new");
  el_status status = EL_OK;
  if (w->failed || !path || !temporary) status = el_fail_about(err, EL_ERR_NO_MEMORY, name->dir, "out of memory");
  if (!status) {
    make_folder(path);
    status = save_records(path, temporary, &h, &w->buf, err);
  }
  free(path);
  free(temporary);
  return status;
}
