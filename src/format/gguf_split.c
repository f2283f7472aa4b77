/* Opens a model: one file, or all parts of a model that was split (llama-gguf-split,
 * "-00001-of-00003.gguf").
 *
 * Each part is a complete GGUF file with some of the tensors. The first has all keys; every part
 * has split.no (from 0), split.count and split.tensors.count. Nothing in a part says which model it
 * belongs to, so a part is accepted only if name, number and counts agree, the keys that it repeats
 * have the first part's values, and no tensor occurs twice. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "format/gguf_private.h"

el_status el_gguf_split_read(const el_gguf *g, el_gguf_split *out, el_error *err) {
  int64_t no = 0, count = 1, n_tensors = 0;
  el_status status = el_gguf_optional(el_gguf_i64(g, "split.count", 0, EL_GGUF_MAX_PARTS, &count, err));
  /* Merging parts sets the count to 0 and leaves the other keys unchanged. */
  if (!status && count > 0) {
    status = el_gguf_i64(g, "split.no", 0, count - 1, &no, err);
    if (count == 1) status = el_gguf_optional(status);
    if (!status) {
      status = el_gguf_i64(g, "split.tensors.count", 0, EL_GGUF_MAX_TENSORS, &n_tensors, err);
      if (count == 1 && status == EL_ERR_NOT_FOUND) {
        status = EL_OK;
        n_tensors = (int64_t)g->n_tensors;
      }
    }
    if (!status && (count == 1 ? (uint64_t)n_tensors != g->n_tensors : (uint64_t)n_tensors < g->n_tensors))
      status = el_fail_about(err, EL_ERR_FORMAT, g->path, "has %zu tensors, split.tensors.count is %" PRId64,
                             g->n_tensors, n_tensors);
  }
  if (status == EL_ERR_NOT_FOUND)
    status = el_fail_about(err, EL_ERR_FORMAT, g->path, "split.count is %" PRId64 ", but split.%s is missing", count,
                           el_gguf_find(g, "split.no") ? "tensors.count" : "no");
  if (!status) *out = (el_gguf_split){.no = (int)no, .count = count ? (int)count : 1, .n_tensors = (int)n_tensors};
  return status;
}

/* Whether two keys have the same type and value. */
static bool same_value(const el_gguf_kv *a, const el_gguf_kv *b) {
  if (a->type != b->type || a->item_type != b->item_type || a->n != b->n) return false;
  if (a->item_type != EL_GGUF_STRING)
    return a->n == 0 || !memcmp(a->data, b->data, (size_t)a->n * el_gguf_value_bytes(a->item_type));
  for (uint64_t i = 0; i < a->n; i++)
    if (el_str_cmp(a->strings[i], b->strings[i])) return false;
  return true;
}

/* What a part repeats of the first part must have the same value, except for its number and its
 * layout. */
static el_status check_keys(const el_gguf *first, const el_gguf *part, el_error *err) {
  char shown[EL_SHOW];
  for (size_t i = 0; i < part->n_kv; i++) {
    const el_gguf_kv *kv = &part->kv[i];
    if (el_str_eq(kv->key, "split.no") || el_str_eq(kv->key, "general.alignment")) continue;
    const el_index_entry *e = el_index_find(first->kv_index, first->n_kv, kv->key);
    if (e && !same_value(&first->kv[e->i], kv))
      return el_fail_about(err, EL_ERR_FORMAT, part->path,
                           "%s is not what it is in %s: these are parts of different models",
                           el_str_show(kv->key, shown, sizeof shown), first->path);
  }
  return EL_OK;
}

/* Opens part `no` (from 0) of the model that `like` describes. */
static el_status open_part(el_str stem, int no, const el_gguf_split *like, el_gguf **out, el_error *err) {
  char *path = el_gguf_part_path(stem, no + 1, like->count);
  if (!path) return el_fail(err, EL_ERR_NO_MEMORY, "part %d of %d: out of memory", no + 1, like->count);
  el_gguf_split split = {0};
  el_gguf *g = NULL;
  el_status status = el_gguf_open_file(path, &g, err);
  if (status)
    el_fail_prefix(err, "part %d of %d of the model", no + 1, like->count);
  else if (!(status = el_gguf_split_read(g, &split, err))) {
    if (split.count == 1)
      status = el_fail_about(err, EL_ERR_FORMAT, path, "is a whole model, expected part %d of %d", no + 1, like->count);
    else if (split.count != like->count)
      status = el_fail_about(err, EL_ERR_FORMAT, path, "split.count is %d, expected %d as in the other parts",
                             split.count, like->count);
    else if (split.no != no)
      status = el_fail_about(err, EL_ERR_FORMAT, path, "split.no is %d, expected %d for part %d of %d", split.no, no,
                             no + 1, like->count);
    else if (split.n_tensors != like->n_tensors)
      status = el_fail_about(err, EL_ERR_FORMAT, path, "split.tensors.count is %d, expected %d as in the other parts",
                             split.n_tensors, like->n_tensors);
  }
  free(path);
  if (status)
    el_gguf_close(g);
  else
    *out = g;
  return status;
}

/* Moves the tensors of the other parts to the first part. */
static el_status take_tensors(el_gguf *first, int n_expected, el_error *err) {
  char name[EL_SHOW];
  size_t n = first->n_tensors;
  for (int i = 0; i < first->n_others; i++) n += first->others[i]->n_tensors;
  if (n != (size_t)n_expected)
    return el_fail_about(err, EL_ERR_FORMAT, first->path,
                         "the %d parts have %zu tensors together, split.tensors.count is %d", 1 + first->n_others, n,
                         n_expected);
  el_tensor *tensors = malloc((n + 1) * sizeof *tensors);
  el_index_entry *index = malloc((n + 1) * sizeof *index);
  if (!tensors || !index) {
    free(tensors);
    free(index);
    return el_fail_about(err, EL_ERR_NO_MEMORY, first->path, "out of memory");
  }
  size_t at = 0;
  for (int part = 0; part <= first->n_others; part++) {
    const el_gguf *g = part ? first->others[part - 1] : first;
    for (size_t i = 0; i < g->n_tensors; i++, at++) {
      tensors[at] = g->tensors[i];
      tensors[at].part = part;
      index[at] = (el_index_entry){tensors[at].name, at};
    }
  }
  const el_index_entry *twice = el_index_sort(index, n);
  el_status status = EL_OK;
  if (twice) {
    /* The tensor is in two parts: within one part no tensor occurs twice. */
    int parts[2] = {0}, k = 0;
    for (size_t i = 0; i < n && k < 2; i++)
      if (!el_str_cmp(tensors[i].name, twice->name)) parts[k++] = tensors[i].part;
    status =
        el_fail_about(err, EL_ERR_FORMAT, first->path, "tensor %s is there twice: in part %d and in part %d of %d",
                      el_str_show(twice->name, name, sizeof name), parts[0] + 1, parts[1] + 1, 1 + first->n_others);
    free(tensors);
    free(index);
    return status;
  }
  free(first->tensors);
  free(first->tensor_index);
  first->tensors = tensors;
  first->tensor_index = index;
  first->n_tensors = n;
  return EL_OK;
}

/* `given` is the part that was opened by `path`; it is taken over, also after a failure. */
static el_status open_others(const char *path, el_gguf *given, const el_gguf_split *split, el_gguf **out,
                             el_error *err) {
  el_gguf_part_name name;
  el_gguf *first = NULL, **others = NULL;
  el_status status = EL_OK;
  if (!el_gguf_part_name_parse(path, &name))
    status =
        el_fail_about(err, EL_ERR_FORMAT, path,
                      "is part %d of %d, but its name does not end in -%05d-of-%05d.gguf, and the names of the other "
                      "parts are made of it",
                      split->no + 1, split->count, split->no + 1, split->count);
  else if (name.no != split->no + 1 || name.count != split->count)
    status = el_fail_about(err, EL_ERR_FORMAT, path, "is part %d of %d, but its name says %d of %d", split->no + 1,
                           split->count, name.no, name.count);
  else if (!(others = calloc((size_t)split->count - 1, sizeof *others)))
    status = el_fail_about(err, EL_ERR_NO_MEMORY, path, "out of memory");
  if (!status && split->no > 0) status = open_part(name.stem, 0, split, &first, err);
  if (status) {
    free(others);
    el_gguf_close(given);
    return status;
  }
  bool given_used = !first;
  if (!first) first = given;
  first->others = others; /* closed together with the first part from here on */
  for (int no = 1; !status && no < split->count; no++) {
    if (no == split->no) {
      others[first->n_others++] = given;
      given_used = true;
    } else {
      el_gguf *g = NULL;
      if ((status = open_part(name.stem, no, split, &g, err))) break;
      others[first->n_others++] = g;
    }
    status = check_keys(first, others[no - 1], err);
  }
  if (!status) status = take_tensors(first, split->n_tensors, err);
  if (status) {
    if (!given_used) el_gguf_close(given);
    el_gguf_close(first);
    return status;
  }
  *out = first;
  return EL_OK;
}

static el_status open_split_model(const char *path, el_gguf **out, el_error *err) {
  el_gguf *g = NULL;
  el_gguf_split split;
  el_status status = el_gguf_open_file(path, &g, err);
  if (status) return status;
  if ((status = el_gguf_split_read(g, &split, err))) {
    el_gguf_close(g);
    return status;
  }
  if (split.count > 1) return open_others(path, g, &split, out, err);
  *out = g;
  return EL_OK;
}

el_status el_gguf_open(const char *path, el_gguf **out, el_error *err) {
  struct stat st;
  if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) return open_split_model(path, out, err);
  char *file = NULL;
  el_status status = el_gguf_find_in_folder(path, &file, err);
  if (!status) status = open_split_model(file, out, err);
  free(file);
  return status;
}
