#include "adapter/discover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* Whether the directory's entry is an adapter by its form; *stem: length of its name. */
static bool is_adapter(int dir_fd, const char *entry, size_t *stem) {
  static const char suffix[] = ".gguf";
  struct stat st;
  size_t len = strlen(entry);
  if (fstatat(dir_fd, entry, &st, 0) != 0) return false; /* gone, or a link to nowhere */
  if (S_ISREG(st.st_mode) && len > strlen(suffix) && !strcmp(entry + len - strlen(suffix), suffix)) {
    *stem = len - strlen(suffix);
    return true;
  }
  if (!S_ISDIR(st.st_mode)) return false;
  int fd = openat(dir_fd, entry, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  bool found = faccessat(fd, "adapter_config.json", F_OK, 0) == 0;
  close(fd);
  *stem = len;
  return found;
}

/* Adds an entry; false: out of memory. */
static bool add(el_found *f, size_t *cap, const char *dir, const char *entry, size_t stem) {
  if (f->n == *cap) {
    size_t more = *cap ? 2 * *cap : 16;
    el_found_adapter *items = realloc(f->items, more * sizeof *items);
    if (!items) return false;
    f->items = items;
    *cap = more;
  }
  el_buf path = {0};
  size_t len = strlen(dir);
  char *name = strndup(entry, stem);
  if (!name || !el_buf_printf(&path, "%s%s%s", dir, len && dir[len - 1] == '/' ? "" : "/", entry)) {
    free(name);
    el_buf_free(&path);
    return false;
  }
  f->items[f->n++] = (el_found_adapter){.name = name, .path = path.data};
  return true;
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
      a->status = el_fail(&e, EL_ERR_EXISTS, "%s: %s has the same name", a->path, a[-1].path);
    if (a->status && !(a->problem = strdup(e.message))) return false;
  }
  return true;
}

el_status el_adapter_discover(const char *dir, el_found *out, el_error *err) {
  DIR *d = opendir(dir);
  if (!d) return el_fail(err, EL_ERR_IO, "%s: %s", dir, strerror(errno));
  el_found f = {0};
  size_t cap = 0, stem = 0;
  el_status status = EL_OK;
  while (!status) {
    errno = 0;
    struct dirent *e = readdir(d);
    if (!e && errno) status = el_fail(err, EL_ERR_IO, "%s: %s", dir, strerror(errno));
    if (!e) break;
    if (e->d_name[0] != '.' && is_adapter(dirfd(d), e->d_name, &stem) && !add(&f, &cap, dir, e->d_name, stem))
      status = el_fail(err, EL_ERR_NO_MEMORY, "%s: out of memory", dir);
  }
  closedir(d);
  if (!status && f.n) qsort(f.items, f.n, sizeof *f.items, by_name);
  if (!status && !judge(&f)) status = el_fail(err, EL_ERR_NO_MEMORY, "%s: out of memory", dir);
  if (status) {
    el_found_free(&f);
    return status;
  }
  *out = f;
  return EL_OK;
}

void el_found_free(el_found *f) {
  for (size_t i = 0; i < f->n; i++) {
    free(f->items[i].name);
    free(f->items[i].path);
    free(f->items[i].problem);
  }
  free(f->items);
  *f = (el_found){0};
}
