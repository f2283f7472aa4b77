#include "adapter/index_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "format/file.h"

enum {
  VERSION = 1,
  MAX_BYTES = 256 << 20, /* a million adapters with long paths */
  MAX_PATH_BYTES = 4096,
};

/* The file: this, then records. It is read on the machine that wrote it, so numbers are as they are in memory. */
typedef struct header {
  char magic[8]; /* "edgelora" */
  uint32_t version, n;
  uint64_t key, bytes, checksum; /* bytes and checksum of all records */
} header;

/* Then the path, not terminated, padded to 8 bytes. */
typedef struct record {
  el_signature signature;
  uint64_t bytes;
  uint32_t n_blocks, rank, consecutive, path_len;
} record;

struct el_index_file {
  el_file file;
  const record **buckets; /* [n_buckets] by path, open addressing; NULL: empty */
  size_t n, n_buckets;
};

static uint64_t hash(uint64_t h, const void *data, size_t n) {
  const unsigned char *p = data;
  for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001b3u;
  return h;
}
#define HASH_BEGIN 0xcbf29ce484222325u

uint64_t el_index_file_key(const el_lora_shape *shape, const el_kernels *k, el_layout layout, size_t block_bytes) {
  uint64_t sizes[] = {VERSION,     (uint64_t)k->tile,  (uint64_t)layout,
                      block_bytes, sizeof(el_adapter), sizeof(el_lora_layer)};
  return hash(hash(HASH_BEGIN, shape, sizeof *shape), sizes, sizeof sizes);
}

/* dir/adapters-KEY.index; NULL: out of memory. */
static char *path_of(const char *dir, uint64_t key, const char *suffix) {
  el_buf b = {0};
  if (el_buf_printf(&b, "%s/adapters-%016llx.index%s", dir, (unsigned long long)key, suffix)) return b.data;
  el_buf_free(&b);
  return NULL;
}

static const char *path_at(const record *r) {
  return (const char *)(r + 1);
}

static size_t record_bytes(const record *r) {
  return (sizeof *r + r->path_len + 7) / 8 * 8;
}

/* -------------------------------------------------------------------- read */

static bool find_slot(const el_index_file *f, const char *path, size_t len, size_t *slot) {
  size_t i = hash(HASH_BEGIN, path, len) & (f->n_buckets - 1);
  for (;; i = (i + 1) & (f->n_buckets - 1)) {
    *slot = i;
    const record *r = f->buckets[i];
    if (!r) return false;
    if (r->path_len == len && !memcmp(path_at(r), path, len)) return true;
  }
}

static el_status parse(el_index_file *f, uint64_t key, const char *path, el_error *err) {
  header h;
  if (f->file.size < sizeof h) return el_fail(err, EL_ERR_FORMAT, "%s: %zu bytes are no index", path, f->file.size);
  memcpy(&h, f->file.data, sizeof h);
  const unsigned char *at = f->file.data + sizeof h;
  size_t left = f->file.size - sizeof h;
  if (memcmp(h.magic, "edgelora", 8) || h.version != VERSION || h.key != key)
    return el_fail(err, EL_ERR_FORMAT, "%s: is not of this version", path);
  if (h.bytes != left || h.checksum != hash(HASH_BEGIN, at, left) || h.n > left / sizeof(record))
    return el_fail(err, EL_ERR_FORMAT, "%s: is damaged", path);
  f->n_buckets = 16;
  while (f->n_buckets < 2 * (size_t)h.n) f->n_buckets *= 2;
  if (!(f->buckets = calloc(f->n_buckets, sizeof *f->buckets)))
    return el_fail(err, EL_ERR_NO_MEMORY, "%s: out of memory", path);
  for (uint32_t i = 0; i < h.n; i++) {
    const record *r = (const record *)(const void *)at; /* the data is malloc's, records are multiples of 8 bytes */
    if (left < sizeof *r || r->path_len > MAX_PATH_BYTES || left < record_bytes(r))
      return el_fail(err, EL_ERR_FORMAT, "%s: record %u is cut off", path, i);
    /* What it says decides how many blocks are set aside, no more: the loader finds out when it is wrong. */
    if (!r->n_blocks || r->n_blocks > INT32_MAX || !r->rank || r->rank > EL_LORA_MAX_RANK)
      return el_fail(err, EL_ERR_FORMAT, "%s: record %u is out of range", path, i);
    size_t slot;
    if (!find_slot(f, path_at(r), r->path_len, &slot)) f->n++;
    f->buckets[slot] = r;
    at += record_bytes(r);
    left -= record_bytes(r);
  }
  return EL_OK;
}

el_status el_index_file_read(const char *dir, uint64_t key, el_index_file **out, el_error *err) {
  char *path = path_of(dir, key, "");
  el_index_file *f = calloc(1, sizeof *f);
  el_status status = EL_OK;
  if (!path || !f) status = el_fail(err, EL_ERR_NO_MEMORY, "%s: out of memory", dir);
  if (!status && access(path, F_OK) != 0) {
    free(f);
    free(path);
    *out = NULL;
    return EL_OK;
  }
  if (!status) status = el_file_read(path, MAX_BYTES, &f->file, err);
  if (!status) status = parse(f, key, path, err);
  free(path);
  if (status)
    el_index_file_free(f);
  else
    *out = f;
  return status;
}

void el_index_file_free(el_index_file *f) {
  if (!f) return;
  el_file_close(&f->file);
  free(f->buckets);
  free(f);
}

size_t el_index_file_n(const el_index_file *f) {
  return f ? f->n : 0;
}

bool el_index_file_find(const el_index_file *f, const char *path, const el_signature *signature, el_pack_size *out) {
  size_t slot;
  if (!f || !find_slot(f, path, strlen(path), &slot)) return false;
  const record *r = f->buckets[slot];
  if (!el_signature_equal(&r->signature, signature)) return false;
  *out =
      (el_pack_size){.n_blocks = r->n_blocks, .consecutive = r->consecutive, .rank = (int)r->rank, .bytes = r->bytes};
  return true;
}

/* -------------------------------------------------------------------- write */

typedef struct writer {
  el_buf buf;
  uint32_t n;
  bool failed;
  const el_index_file *before;
  bool *known; /* [before's buckets] has been written anew */
} writer;

static void put(writer *w, const record *r, const char *path) {
  size_t pad = record_bytes(r) - sizeof *r - r->path_len;
  if (w->buf.len + record_bytes(r) > MAX_BYTES - sizeof(header) || w->n == UINT32_MAX) return; /* enough is known */
  if (!el_buf_append(&w->buf, r, sizeof *r) || !el_buf_append(&w->buf, path, r->path_len) ||
      !el_buf_append(&w->buf, "\0\0\0\0\0\0\0", pad))
    w->failed = true;
  w->n++;
}

static void put_entry(void *user, const el_entry *e) {
  writer *w = user;
  size_t len = strlen(e->path), slot;
  if (len > MAX_PATH_BYTES || w->failed) return;
  record r = {.signature = e->signature,
              .bytes = e->size.bytes,
              .n_blocks = e->size.n_blocks,
              .rank = (uint32_t)e->size.rank,
              .consecutive = e->size.consecutive,
              .path_len = (uint32_t)len};
  put(w, &r, e->path);
  if (w->before && find_slot(w->before, e->path, len, &slot)) w->known[slot] = true;
}

/* Keeps a record of files that are still there. */
static void put_before(writer *w, const record *r) {
  char path[MAX_PATH_BYTES + 1];
  el_signature now;
  memcpy(path, path_at(r), r->path_len);
  path[r->path_len] = 0;
  if (!el_signature_read(path, &now, NULL) && el_signature_equal(&now, &r->signature)) put(w, r, path);
}

/* The folders on the way to a file. What is wrong shows when the file is made. */
static void make_folder(char *path) {
  for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
    *slash = 0;
    mkdir(path, 0700);
    *slash = '/';
  }
}

/* All of it on disk before it takes the old one's name. */
static el_status save(const char *path, const char *temporary, const header *h, const el_buf *records, el_error *err) {
  int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return el_fail(err, EL_ERR_IO, "%s: %s", temporary, strerror(errno));
  FILE *f = fdopen(fd, "wb");
  if (!f) close(fd);
  bool ok = f && fwrite(h, sizeof *h, 1, f) == 1 && (!records->len || fwrite(records->data, records->len, 1, f) == 1);
  if (f) ok = fflush(f) == 0 && ok;
  if (f) ok = fsync(fd) == 0 && ok;
  if (f) ok = fclose(f) == 0 && ok;
  if (ok && rename(temporary, path) == 0) return EL_OK;
  int e = errno;
  unlink(temporary);
  return el_fail(err, EL_ERR_IO, "%s: %s", path, strerror(e));
}

el_status el_index_file_write(const char *dir, uint64_t key, el_registry *r, const el_index_file *before,
                              el_error *err) {
  writer w = {.before = before};
  if (before && !(w.known = calloc(before->n_buckets, sizeof *w.known)))
    return el_fail(err, EL_ERR_NO_MEMORY, "%s: out of memory", dir);
  el_registry_each_known(r, put_entry, &w);
  /* Another program with the same model may serve other folders. */
  for (size_t i = 0; before && i < before->n_buckets; i++)
    if (before->buckets[i] && !w.known[i]) put_before(&w, before->buckets[i]);
  header h = {.version = VERSION, .n = w.n, .key = key, .bytes = w.buf.len};
  memcpy(h.magic, "edgelora", 8);
  h.checksum = hash(HASH_BEGIN, w.buf.data, w.buf.len);
  char suffix[32];
  snprintf(suffix, sizeof suffix, ".%d", (int)getpid());
  char *path = path_of(dir, key, ""), *temporary = path_of(dir, key, suffix);
  el_status status = EL_OK;
  if (w.failed || !path || !temporary) status = el_fail(err, EL_ERR_NO_MEMORY, "%s: out of memory", dir);
  if (!status) {
    make_folder(path);
    unlink(temporary); /* left by a process of the same number that was killed */
    status = save(path, temporary, &h, &w.buf, err);
  }
  free(path);
  free(temporary);
  free(w.known);
  el_buf_free(&w.buf);
  return status;
}
