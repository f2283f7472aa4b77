/* Names of a model's files: which part of a model a file is, and which file of a folder is the
 * model. Names are used as they were given: in a hub's cache they are links
 * (snapshots/HASH/NAME.gguf) to files whose names say nothing. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "format/gguf_private.h"

enum { DIGITS = 5, SUFFIX = 2 * DIGITS + sizeof "--of-" - 1 }; /* "-00001-of-00003" */

static int parse_part_number(const char *s) {
  int n = 0;
  for (int i = 0; i < DIGITS; i++) {
    if (s[i] < '0' || s[i] > '9') return -1;
    n = 10 * n + (s[i] - '0');
  }
  return n;
}

bool el_gguf_part_name_parse(const char *path, el_gguf_part_name *out) {
  el_str s = el_str_of(path);
  if (!el_str_chop(&s, ".gguf") || s.len < SUFFIX) return false;
  const char *p = s.data + s.len - SUFFIX;
  if (*p != '-' || memcmp(p + 1 + DIGITS, "-of-", 4)) return false;
  int no = parse_part_number(p + 1), count = parse_part_number(p + 1 + DIGITS + 4);
  if (no < 1 || count < 1 || no > count) return false;
  *out = (el_gguf_part_name){.stem = {s.data, s.len - SUFFIX}, .no = no, .count = count};
  return true;
}

char *el_gguf_part_path(el_str stem, int no, int count) {
  el_buf b = {0};
  if (el_buf_append(&b, stem.data, stem.len) && el_buf_printf(&b, "-%05d-of-%05d.gguf", no, count)) return b.data;
  el_buf_free(&b);
  return NULL;
}

el_str el_gguf_stem(const char *path) {
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
  el_gguf_part_name part;
  if (el_gguf_part_name_parse(name, &part) && part.stem.len) return part.stem;
  el_str s = el_str_of(name);
  el_str_chop(&s, ".gguf");
  return s;
}

/* --- folders */

typedef struct names {
  char **items; /* [n] file names; of a model in parts, the name of one part */
  size_t n, cap;
} names;

static bool same_model(const char *a, const char *b) {
  el_gguf_part_name x, y;
  return el_gguf_part_name_parse(a, &x) && el_gguf_part_name_parse(b, &y) && x.count == y.count &&
         !el_str_cmp(x.stem, y.stem);
}

/* False: out of memory. */
static bool add_model_name(names *found, const char *name) {
  for (size_t i = 0; i < found->n; i++)
    if (same_model(found->items[i], name)) return true;
  if (found->n == found->cap) {
    size_t cap = found->cap ? 2 * found->cap : 16;
    char **items = realloc(found->items, cap * sizeof *items);
    if (!items) return false;
    found->items = items;
    found->cap = cap;
  }
  if (!(found->items[found->n] = strdup(name))) return false;
  found->n++;
  return true;
}

static int compare_model_names(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static el_status say_which(const char *folder, names *found, el_error *err) {
  enum { SHOWN = 6 };
  el_buf list = {0};
  bool ok = true;
  qsort(found->items, found->n, sizeof *found->items, compare_model_names);
  for (size_t i = 0; ok && i < found->n && i < SHOWN; i++) {
    char shown[EL_SHOW];
    ok = el_buf_printf(&list, "%s%s", i ? ", " : "", el_str_show(el_str_of(found->items[i]), shown, sizeof shown));
  }
  if (ok && found->n > SHOWN) ok = el_buf_printf(&list, " and %zu more", found->n - SHOWN);
  el_status status =
      ok ? el_fail_about(err, EL_ERR_INVALID, folder, "holds %zu models, name one of them: %s", found->n, list.data)
         : el_fail_about(err, EL_ERR_NO_MEMORY, folder, "out of memory");
  el_buf_free(&list);
  return status;
}

el_status el_gguf_find_in_folder(const char *folder, char **out, el_error *err) {
  DIR *dir = opendir(folder);
  if (!dir) return el_fail_about(err, EL_ERR_IO, folder, "%s", strerror(errno));
  names found = {0};
  el_status status = EL_OK;
  for (struct dirent *e; !status && (e = readdir(dir));) {
    el_str name = el_str_of(e->d_name);
    if (name.data[0] == '.' || !el_str_chop(&name, ".gguf") || e->d_type == DT_DIR) continue;
    if (!add_model_name(&found, e->d_name)) status = el_fail_about(err, EL_ERR_NO_MEMORY, folder, "out of memory");
  }
  closedir(dir);
  if (!status && found.n == 0)
    status = el_fail_about(err, EL_ERR_NOT_FOUND, folder, "is a directory that holds no .gguf file");
  if (!status && found.n > 1) status = say_which(folder, &found, err);
  if (!status && !(*out = el_path_join(folder, found.items[0])))
    status = el_fail_about(err, EL_ERR_NO_MEMORY, folder, "out of memory");
  for (size_t i = 0; i < found.n; i++) free(found.items[i]);
  free(found.items);
  return status;
}
