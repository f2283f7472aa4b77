#include "adapter/discover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/hub.h"
#include "adapter/peek.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"

el_status el_adapter_name_check(const char *name, el_error *err) {
  char shown[EL_SHOW];
  size_t len = strlen(name);
  el_str_show((el_str){name, len}, shown, sizeof shown);
  if (len == 0) return el_fail(err, EL_ERR_INVALID, "adapter name: is empty");
  if (len > EL_MAX_NAME_BYTES)
    return el_fail(err, EL_ERR_INVALID, "adapter name %s: %zu bytes, the limit is %d", shown, len, EL_MAX_NAME_BYTES);
  for (size_t i = 0; i < len;) {
    int n = el_utf8_length(name + i, len - i);
    unsigned char c = (unsigned char)name[i], next = (unsigned char)name[i + 1];
    if (n == 0) return el_fail(err, EL_ERR_INVALID, "adapter name %s: is not UTF-8", shown);
    if (c < 0x20 || c == 0x7f || (c == 0xc2 && next < 0xa0))
      return el_fail(err, EL_ERR_INVALID, "adapter name %s: holds a control character", shown);
    i += (size_t)n;
  }
  return EL_OK;
}

static bool has_suffix(const char *s, const char *suffix) {
  size_t n = strlen(s), m = strlen(suffix);
  return n > m && !strcmp(s + n - m, suffix);
}

/* Marks an entry as one that cannot be used. False: out of memory. */
static bool mark_unusable(el_found_adapter *a, el_status status, const char *why) {
  el_error e;
  el_fail_about(&e, status, a->path, "%s", why);
  a->status = status;
  a->detail = e.detail;
  return (a->problem = strdup(e.message)) != NULL;
}

typedef struct scan {
  el_found found;
  el_peeker peeker;
  size_t cap, folders_cap;
} scan;

/* The name of an adapter in `folder` (NULL: in the directory itself). NULL: out of memory. */
static char *make_entry_name(const char *folder, const char *entry, bool is_folder) {
  static const char suffix[] = ".gguf";
  el_buf name = {0};
  int stem = (int)(strlen(entry) - (is_folder ? 0 : sizeof suffix - 1));
  if (el_buf_printf(&name, "%s%s%.*s", folder ? folder : "", folder ? "/" : "", stem, entry)) return name.data;
  el_buf_free(&name);
  return NULL;
}

/* Adds an adapter; takes over name and path (NULL: out of memory). problem: as of el_signature_at.
 */
static bool add_found(scan *s, char *name, char *path, const el_signature *signature, const char *problem) {
  el_found *f = &s->found;
  if (f->n == s->cap && name && path) {
    size_t more = s->cap ? 2 * s->cap : 16;
    el_found_adapter *items = realloc(f->items, more * sizeof *items);
    if (items) f->items = items;
    if (items) s->cap = more;
  }
  if (!name || !path || f->n == s->cap) {
    free(name);
    free(path);
    return false;
  }
  el_found_adapter *a = &f->items[f->n++];
  *a = (el_found_adapter){.name = name, .path = path, .signature = *signature};
  return !problem || mark_unusable(a, EL_ERR_UNSUPPORTED, problem);
}

/* Remembers a folder in which an adapter may appear later. False: out of memory. */
static bool note_folder(scan *s, const char *folder, const char *entry) {
  el_found *f = &s->found;
  if (f->n_folders == s->folders_cap) {
    size_t more = s->folders_cap ? 2 * s->folders_cap : 16;
    char **folders = realloc(f->folders, more * sizeof *folders);
    if (!folders) return false;
    f->folders = folders;
    s->folders_cap = more;
  }
  char *path = folder ? el_path_join(folder, entry) : strdup(entry);
  if (!path) return false;
  f->folders[f->n_folders++] = path;
  return true;
}

/* A model's folder in a hub cache: adds its snapshot under the model's name. False: out of memory.
 */
static bool look_into_hub(scan *s, int dir_fd, const char *dir, const char *folder, const char *entry) {
  char snapshot[EL_HUB_SNAPSHOT], name[NAME_MAX + 1];
  bool is_folder, unsure;
  const char *problem;
  el_signature signature;
  if (!note_folder(s, folder, entry)) return false;
  const char *within = s->found.folders[s->found.n_folders - 1];
  if (!note_folder(s, within, "snapshots") || !note_folder(s, within, "refs")) return false;
  if (!el_hub_snapshot(dir_fd, entry, snapshot)) return true; /* nothing has been downloaded yet */
  el_hub_name(entry, name);
  if (!note_folder(s, folder, snapshot)) return false;
  const bool is_adapter = el_signature_at(dir_fd, snapshot, &is_folder, &problem, &unsure, &signature);
  if (unsure) return s->found.unsure = true;
  if (!is_adapter && !problem) {
    /* Most likely a model. GGUF files may be either; they are listed without being opened. */
    if (!el_hub_has_gguf(dir_fd, snapshot)) return true;
    problem = "a GGUF file in a hub cache, which may be a model: offer it as --adapter NAME=PATH";
  }
  return add_found(s, make_entry_name(folder, name, true), el_path_join(dir, snapshot), &signature, problem);
}

/* Judges an entry of a directory. dir: the directory's path; folder: as for make_entry_name. False:
 * out of memory. */
static bool judge_entry(scan *s, int dir_fd, const char *dir, const char *folder, const el_peek *p) {
  const char *entry = p->entry;
  const bool is_folder = p->is_folder;
  if (p->unsure) return s->found.unsure = true;
  if (p->is_adapter || p->problem) {
    /* A folder that lacks something may still get it. */
    if (p->problem && !note_folder(s, folder, entry)) return false;
    return add_found(s, make_entry_name(folder, entry, is_folder), el_path_join(dir, entry), &p->signature, p->problem);
  }
  /* In a folder of a folder the file may be anything, a model for example. */
  if (!is_folder && !folder && has_suffix(entry, ".safetensors"))
    return add_found(
        s, strdup(entry), el_path_join(dir, entry), &p->signature,
        "a safetensors file alone: put it into a folder with its adapter_config.json, as adapter_model.safetensors");
  if (!is_folder) return true;
  if (el_hub_is_repository(entry)) return look_into_hub(s, dir_fd, dir, folder, entry);
  return folder || note_folder(s, NULL, entry);
}

/* Reads the names of all entries of a directory, in no order. *out and the names in it belong to
 * the caller. */
static el_status read_entry_names(scan *s, DIR *d, const char *dir, el_peek **out, size_t *n, el_error *err) {
  size_t cap = 0;
  for (;;) {
    errno = 0;
    struct dirent *e = readdir(d);
    if (!e && errno) s->found.unsure = true;
    if (!e && errno) return el_fail_about(err, EL_ERR_IO, dir, "%s", strerror(errno));
    if (!e) return EL_OK;
    if (e->d_name[0] == '.') continue;
    if (*n == cap) {
      size_t more = cap ? 2 * cap : 64;
      el_peek *peeks = realloc(*out, more * sizeof *peeks);
      if (!peeks) return el_fail_about(err, EL_ERR_NO_MEMORY, dir, "out of memory");
      *out = peeks;
      cap = more;
    }
    (*out)[*n] = (el_peek){.entry = strdup(e->d_name)};
    if (!(*out)[*n].entry) return el_fail_about(err, EL_ERR_NO_MEMORY, dir, "out of memory");
    ++*n;
  }
}

/* Lists one directory: the registered one if `folder` is NULL, else this folder in it. dir: its
 * path. */
static el_status list_directory(scan *s, const char *dir, const char *folder, el_error *err) {
  DIR *d = opendir(dir);
  if (!d && !el_signature_says_absent(errno)) s->found.unsure = true;
  if (!d) return el_fail_about(err, errno == ENOENT ? EL_ERR_NOT_FOUND : EL_ERR_IO, dir, "%s", strerror(errno));
  el_peek *peeks = NULL;
  size_t n = 0;
  el_status status = read_entry_names(s, d, dir, &peeks, &n, err);
  if (!status) el_peek_all(&s->peeker, dirfd(d), peeks, n);
  for (size_t i = 0; i < n; i++) {
    if (!status && !judge_entry(s, dirfd(d), dir, folder, &peeks[i]))
      status = el_fail_about(err, EL_ERR_NO_MEMORY, dir, "out of memory");
    free(peeks[i].entry);
  }
  free(peeks);
  closedir(d);
  return status;
}

static int compare_found(const void *x, const void *y) {
  const el_found_adapter *a = x, *b = y;
  int c = strcmp(a->name, b->name);
  return c ? c : strcmp(a->path, b->path);
}

/* Finds what is wrong with the names. False: out of memory. */
static bool check_found_names(el_found *f) {
  for (size_t i = 0; i < f->n; i++) {
    el_found_adapter *a = &f->items[i];
    const el_found_adapter *first = NULL; /* the first usable one with the same name */
    for (size_t k = i; k-- > 0 && !first && !strcmp(a->name, f->items[k].name);)
      if (!f->items[k].status) first = &f->items[k];
    el_error e;
    if (a->status) continue;
    a->status = el_adapter_name_check(a->name, &e);
    if (!a->status && first) a->status = el_fail_about(&e, EL_ERR_EXISTS, a->path, "%s has the same name", first->path);
    a->detail = a->status ? strlen(e.message) : 0;
    if (a->status && !(a->problem = strdup(e.message))) return false;
  }
  return true;
}

/* Reports a directory that is itself an adapter: its owner meant another option, and would wait in
 * vain. */
static bool judge_directory(scan *s, const char *dir) {
  bool folder, unsure;
  const char *problem;
  el_signature signature;
  if (!el_signature_at(AT_FDCWD, dir, &folder, &problem, &unsure, &signature)) return true;
  size_t end = strlen(dir);
  while (end > 1 && dir[end - 1] == '/') end--;
  size_t begin = end;
  while (begin > 0 && dir[begin - 1] != '/') begin--;
  return add_found(
      s, strndup(dir + begin, end - begin), strdup(dir), &signature,
      "this folder is itself an adapter: offer it as --adapter NAME=PATH, or give the folder that it is in");
}

el_status el_adapter_discover(const char *dir, el_found *out, el_error *err) {
  return el_adapter_discover_told(dir, NULL, NULL, out, err);
}

el_status el_adapter_discover_told(const char *dir, el_peek_progress progress, void *user, el_found *out,
                                   el_error *err) {
  scan s = {.peeker = {.progress = progress, .user = user}};
  el_found *f = &s.found;
  el_status status = list_directory(&s, dir, NULL, err);
  if (status == EL_ERR_NOT_FOUND) status = EL_ERR_IO;
  if (status == EL_ERR_IO && err) err->code = EL_ERR_IO;
  if (!status && !judge_directory(&s, dir)) status = el_fail_about(err, EL_ERR_NO_MEMORY, dir, "out of memory");
  const size_t n_folders = f->n_folders;
  for (size_t i = 0; i < n_folders && !status; i++) {
    if (strchr(f->folders[i], '/') || el_hub_is_repository(f->folders[i]))
      continue; /* a folder of a hub cache, already searched */
    el_error why;
    char *path = el_path_join(dir, f->folders[i]), *name = strdup(f->folders[i]);
    el_status one = path && name ? list_directory(&s, path, name, &why) : EL_ERR_NO_MEMORY;
    if (one == EL_ERR_IO) { /* a folder that is gone holds nothing; one that cannot be read might
                             * hold adapters */
      one = add_found(&s, name, path, &(el_signature){0}, why.message + why.detail) ? EL_OK : EL_ERR_NO_MEMORY;
    } else {
      free(path);
      free(name);
    }
    if (one == EL_ERR_NO_MEMORY) status = el_fail_about(err, EL_ERR_NO_MEMORY, dir, "out of memory");
  }
  if (!status && f->n) qsort(f->items, f->n, sizeof *f->items, compare_found);
  if (!status && !check_found_names(f)) status = el_fail_about(err, EL_ERR_NO_MEMORY, dir, "out of memory");
  if (status)
    el_found_free(f);
  else
    *out = *f;
  return status;
}

void el_found_free(el_found *f) {
  for (size_t i = 0; i < f->n; i++) {
    free(f->items[i].name);
    free(f->items[i].path);
    free(f->items[i].problem);
  }
  for (size_t i = 0; i < f->n_folders; i++) free(f->folders[i]);
  free(f->items);
  free(f->folders);
  *f = (el_found){0};
}
