#include "adapter/discover.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "format/text.h"

el_status el_adapter_name_check(const char *name, el_error *err) {
  char shown[EL_SHOW];
  size_t len = strlen(name);
  el_str_show((el_str){name, len}, shown, sizeof shown);
  if (len == 0) return el_fail(err, EL_ERR_INVALID, "adapter name: is empty");
  if (len > EL_ADAPTER_NAME_MAX)
    return el_fail(err, EL_ERR_INVALID, "adapter name %s: %zu bytes, the limit is %d", shown, len, EL_ADAPTER_NAME_MAX);
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

/* `dir`/`entry`; NULL: out of memory. */
static char *join(const char *dir, const char *entry) {
  el_buf path = {0};
  size_t len = strlen(dir);
  if (el_buf_printf(&path, "%s%s%s", dir, len && dir[len - 1] == '/' ? "" : "/", entry)) return path.data;
  el_buf_free(&path);
  return NULL;
}

typedef struct scan {
  el_found found;
  size_t cap, folders_cap;
} scan;

/* The name of what is in `folder` (NULL: in the directory itself); NULL: out of memory. */
static char *name_of(const char *folder, const char *entry, bool is_folder) {
  static const char suffix[] = ".gguf";
  el_buf name = {0};
  int stem = (int)(strlen(entry) - (is_folder ? 0 : sizeof suffix - 1));
  if (el_buf_printf(&name, "%s%s%.*s", folder ? folder : "", folder ? "/" : "", stem, entry)) return name.data;
  el_buf_free(&name);
  return NULL;
}

static bool add(scan *s, const char *dir, const char *folder, const char *entry, bool is_folder,
                const el_signature *signature) {
  el_found *f = &s->found;
  if (f->n == s->cap) {
    size_t more = s->cap ? 2 * s->cap : 16;
    el_found_adapter *items = realloc(f->items, more * sizeof *items);
    if (!items) return false;
    f->items = items;
    s->cap = more;
  }
  char *name = name_of(folder, entry, is_folder), *path = join(dir, entry);
  if (!name || !path) {
    free(name);
    free(path);
    return false;
  }
  f->items[f->n++] = (el_found_adapter){.name = name, .path = path, .signature = *signature};
  return true;
}

/* Remembers a folder that is to be looked into; false: out of memory. */
static bool add_folder(scan *s, const char *entry) {
  el_found *f = &s->found;
  if (f->n_folders == s->folders_cap) {
    size_t more = s->folders_cap ? 2 * s->folders_cap : 16;
    char **folders = realloc(f->folders, more * sizeof *folders);
    if (!folders) return false;
    f->folders = folders;
    s->folders_cap = more;
  }
  char *copy = strdup(entry);
  if (!copy) return false;
  f->folders[f->n_folders++] = copy;
  return true;
}

/* Lists one directory: the top one when `folder` is NULL, else that folder of it, whose path is dir. */
static el_status list(scan *s, const char *dir, const char *folder, el_error *err) {
  DIR *d = opendir(dir);
  if (!d) return el_fail_about(err, EL_ERR_IO, dir, "%s", strerror(errno));
  el_status status = EL_OK;
  while (!status) {
    errno = 0;
    struct dirent *e = readdir(d);
    if (!e && errno) status = el_fail_about(err, EL_ERR_IO, dir, "%s", strerror(errno));
    if (!e) break;
    if (e->d_name[0] == '.') continue;
    bool is_folder, ok = true;
    el_signature signature;
    if (el_signature_at(dirfd(d), e->d_name, &is_folder, &signature))
      ok = add(s, dir, folder, e->d_name, is_folder, &signature);
    else if (is_folder && !folder)
      ok = add_folder(s, e->d_name);
    if (!ok) status = el_fail_about(err, EL_ERR_NO_MEMORY, dir, "out of memory");
  }
  closedir(d);
  return status;
}

static int by_name(const void *x, const void *y) {
  const el_found_adapter *a = x, *b = y;
  int c = strcmp(a->name, b->name);
  return c ? c : strcmp(a->path, b->path);
}

/* Finds what is wrong with the names; false: out of memory. */
static bool judge(el_found *f) {
  for (size_t i = 0; i < f->n; i++) {
    el_found_adapter *a = &f->items[i];
    el_error e;
    a->status = el_adapter_name_check(a->name, &e);
    if (!a->status && i > 0 && !strcmp(a->name, a[-1].name))
      a->status = el_fail_about(&e, EL_ERR_EXISTS, a->path, "%s has the same name", a[-1].path);
    if (a->status && !(a->problem = strdup(e.message))) return false;
  }
  return true;
}

el_status el_adapter_discover(const char *dir, el_found *out, el_error *err) {
  scan s = {0};
  el_found *f = &s.found;
  el_status status = list(&s, dir, NULL, err);
  for (size_t i = 0; i < f->n_folders && !status; i++) {
    el_error ignored;
    char *path = join(dir, f->folders[i]);
    if (!path) status = el_fail_about(err, EL_ERR_NO_MEMORY, dir, "out of memory");
    /* One that cannot be read, or is gone by now, holds nothing. */
    if (path && list(&s, path, f->folders[i], &ignored) == EL_ERR_NO_MEMORY)
      status = el_fail_about(err, EL_ERR_NO_MEMORY, dir, "out of memory");
    free(path);
  }
  if (!status && f->n) qsort(f->items, f->n, sizeof *f->items, by_name);
  if (!status && !judge(f)) status = el_fail_about(err, EL_ERR_NO_MEMORY, dir, "out of memory");
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
