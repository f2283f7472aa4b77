/* el_inspect: describes a model, a safetensors file or an adapter as text. It lives here because
 * adapters need most of the description. Everything that comes out of a file goes through
 * el_str_show: names and values may contain anything, and this text goes to a terminal. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapter/lora_halves.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/json_guard.h"
#include "base/printer.h"

enum {
  MAX_COLUMN = 56,  /* names are padded to the longest one, up to this many columns */
  SHOWN_ITEMS = 6,  /* items of an array that are shown */
  SHOWN_VALUE = 200 /* bytes of a string value that are shown; a chat template has thousands */
};

static int wider_column(int width, size_t len) {
  return (int)len > width && len <= MAX_COLUMN ? (int)len : width;
}

/* --- GGUF */

static void print_item(el_printer *p, const el_gguf_kv *kv, uint64_t i) {
  char shown[SHOWN_VALUE];
  switch (kv->item_type) {
    case EL_GGUF_STRING: el_print(p, "\"%s\"", el_str_show(kv->strings[i], shown, sizeof shown)); break;
    case EL_GGUF_F32:
    case EL_GGUF_F64: el_print(p, "%.9g", el_gguf_kv_num(kv, i)); break;
    case EL_GGUF_BOOL: el_print(p, "%s", el_gguf_kv_int(kv, i) ? "true" : "false"); break;
    default: el_print(p, "%" PRId64, el_gguf_kv_int(kv, i));
  }
}

static void print_kvs(el_printer *p, const el_gguf *g) {
  char key[SHOWN_VALUE], type[64];
  int width = 0;
  for (size_t i = 0; i < el_gguf_n_kv(g); i++) width = wider_column(width, el_gguf_kv_at(g, i)->key.len);
  el_print(p, "\nkeys (%zu)\n", el_gguf_n_kv(g));
  for (size_t i = 0; i < el_gguf_n_kv(g); i++) {
    const el_gguf_kv *kv = el_gguf_kv_at(g, i);
    const char *name = el_gguf_type_name(kv->item_type);
    if (kv->type == EL_GGUF_ARRAY)
      snprintf(type, sizeof type, "%s[%" PRIu64 "]", name, kv->n);
    else if (kv->type == EL_GGUF_STRING && kv->strings[0].len >= SHOWN_VALUE)
      snprintf(type, sizeof type, "%s, %zu bytes", name, kv->strings[0].len);
    else
      snprintf(type, sizeof type, "%s", name);
    el_print(p, "  %-*s  %-14s  ", width, el_str_show(kv->key, key, sizeof key), type);
    for (uint64_t j = 0; j < kv->n && j < SHOWN_ITEMS; j++) {
      if (j) el_print(p, ", ");
      print_item(p, kv, j);
    }
    el_print(p, "%s\n", kv->n > SHOWN_ITEMS ? ", ..." : "");
  }
}

static uint64_t values_of(const el_tensor *t) {
  uint64_t n = 1;
  for (int d = 0; d < t->n_dims; d++) n *= (uint64_t)t->ne[d];
  return n;
}

static void print_tensors(el_printer *p, const el_gguf *g) {
  char name[SHOWN_VALUE];
  struct {
    uint64_t tensors, values, bytes;
  } totals[EL_N_TYPES] = {0};
  uint64_t values = 0;
  int width = 0;
  for (size_t i = 0; i < el_gguf_n_tensors(g); i++) width = wider_column(width, el_gguf_tensor_at(g, i)->name.len);
  el_print(p, "\ntensors (%zu)\n", el_gguf_n_tensors(g));
  for (size_t i = 0; i < el_gguf_n_tensors(g); i++) {
    const el_tensor *t = el_gguf_tensor_at(g, i);
    el_print(p, "  %-*s  %-7s  %12zu bytes  [", width, el_str_show(t->name, name, sizeof name),
             el_type_get((uint32_t)t->type)->name, t->n_bytes);
    for (int d = 0; d < t->n_dims; d++) el_print(p, d ? ", %" PRId64 : "%" PRId64, t->ne[d]);
    el_print(p, "]\n");
    totals[t->type].tensors++;
    totals[t->type].values += values_of(t);
    totals[t->type].bytes += t->n_bytes;
    values += values_of(t);
  }
  if (el_gguf_n_tensors(g) == 0) return;
  el_print(p, "\ntotals\n");
  for (uint32_t t = 0; t < EL_N_TYPES; t++)
    if (totals[t].tensors)
      el_print(p, "  %-7s  %6" PRIu64 " tensors  %14" PRIu64 " parameters  %14" PRIu64 " bytes\n", el_type_get(t)->name,
               totals[t].tensors, totals[t].values, totals[t].bytes);
  el_print(p, "  all      %6zu tensors  %14" PRIu64 " parameters\n", el_gguf_n_tensors(g), values);
}

/* --- adapters */

static void print_range(el_printer *p, const char *name, double min, double max) {
  if (min == max)
    el_print(p, "  %-12s  %g\n", name, min);
  else
    el_print(p, "  %-12s  %g to %g\n", name, min, max);
}

static void print_pairs(el_printer *p, const el_lora_file *f) {
  const el_lora_pair *first = el_lora_file_at(f, 0), *last = first;
  int per_site[EL_LORA_MAX_MODULES] = {0}, layers = 0, rank_min = first->rank, rank_max = first->rank;
  float scale_min = first->scale, scale_max = first->scale;
  for (size_t i = 0; i < el_lora_file_n(f); i++) {
    const el_lora_pair *pair = el_lora_file_at(f, i);
    per_site[pair->site]++;
    if (pair->layer != EL_LORA_MODEL) {
      layers += i == 0 || pair->layer != el_lora_file_at(f, i - 1)->layer;
      last = pair;
    }
    if (pair->rank < rank_min) rank_min = pair->rank;
    if (pair->rank > rank_max) rank_max = pair->rank;
    if (pair->scale < scale_min) scale_min = pair->scale;
    if (pair->scale > scale_max) scale_max = pair->scale;
  }
  char name[EL_SHOW];
  print_range(p, "rank", rank_min, rank_max);
  print_range(p, "scale", (double)scale_min, (double)scale_max);
  if (layers) el_print(p, "  %-12s  %d, from %d to %d\n", "layers", layers, first->layer, last->layer);
  el_print(p, "  %-12s", "matrices");
  for (int i = 0; i < (int)el_lora_file_n_sites(f); i++)
    el_print(p, "  %s %d", el_lora_file_site_name(f, i, name), per_site[i]);
  el_print(p, "\n");
}

static void print_extras(el_printer *p, const el_lora_file *f) {
  static const char *const names[] = {[EL_LORA_MAGNITUDE] = "DoRA's magnitudes",
                                      [EL_LORA_BIAS] = "biases",
                                      [EL_LORA_ADDED_BIAS] = "biases of B",
                                      [EL_LORA_EMBEDDING_MAGNITUDE] = "DoRA's magnitudes of the embedding",
                                      [EL_LORA_EMBEDDING_LENGTH] = "DoRA's magnitudes of the embedding",
                                      [EL_LORA_NORM] = "norms",
                                      [EL_LORA_EMBEDDING_A] = "a pair of the embedding",
                                      [EL_LORA_EMBEDDING_B] = NULL,
                                      [EL_LORA_EMBEDDING] = "a whole embedding",
                                      [EL_LORA_OUTPUT] = "a whole output",
                                      [EL_LORA_TOKENS] = "rows of tokens"};
  const size_t n_names = sizeof names / sizeof *names;
  size_t count[sizeof names / sizeof *names] = {0};
  for (size_t i = 0; i < el_lora_file_n_extras(f); i++) {
    const el_lora_extra *e = el_lora_file_extra(f, i);
    count[e->kind] += e->kind == EL_LORA_TOKENS ? (size_t)e->rows : 1;
  }
  bool any = false;
  for (size_t i = 0; i < n_names; i++) {
    if (!names[i] || !count[i]) continue;
    if (!any) el_print(p, "  %-12s", "and");
    el_print(p, "  %s %zu", names[i], count[i]);
    any = true;
  }
  if (any) el_print(p, "\n");
}

static void print_lora(el_printer *p, const el_lora_file *f) {
  char base[SHOWN_VALUE];
  el_print(p, "\nadapter\n");
  if (*el_lora_file_base(f))
    el_print(p, "  %-12s  %s\n", "base", el_str_show(el_str_of(el_lora_file_base(f)), base, sizeof base));
  const el_invocation *inv = el_lora_file_invocation(f);
  if (el_lora_file_invocation_text(f))
    el_print(p, "  %-12s  from the second token of \"%s\"\n", "activated",
             el_str_show(el_str_of(el_lora_file_invocation_text(f)), base, sizeof base));
  if (inv->n) el_print(p, "  %-12s  from the tokens", "activated");
  for (int i = 0; i < inv->n; i++) el_print(p, "%s%d", i ? ", " : " ", (int)inv->tokens[i]);
  if (inv->n) el_print(p, "\n");
  if (el_lora_file_n(f)) print_pairs(p, f);
  print_extras(p, f);
}

/* Prints what a GGUF file does not say although it looks as if it should: llama.cpp's converter
 * writes alpha, but neither rsLoRA nor what patterns make of alpha. */
static void print_doubts(el_printer *p, const el_lora_file *f) {
  if (!f->gguf || !el_lora_file_n(f)) return;
  const el_lora_pair *first = el_lora_file_at(f, 0);
  bool differ = false, small = false;
  for (size_t i = 0; i < el_lora_file_n(f); i++) {
    const el_lora_pair *pair = el_lora_file_at(f, i);
    differ = differ || pair->rank != first->rank;
    small = small || (pair->rank >= 16 && fabs((double)pair->scale) <= 0.5);
  }
  if (small)
    el_print(
        p,
        "  %-12s  alpha is small for this rank, and converters to GGUF drop use_rslora: if it was trained with that, "
        "its scale is not %g but %g; serve the PEFT folder then\n",
        "note", (double)first->scale, (double)first->scale * sqrt((double)first->rank));
  if (differ)
    el_print(
        p,
        "  %-12s  ranks differ, and converters to GGUF drop alpha_pattern: if there was one, serve the PEFT folder\n",
        "note");
}

void el_lora_describe(el_printer *p, const el_lora_file *f, const char *path) {
  el_print(p, "%s: LoRA adapter, %s\n", path,
           f->gguf       ? "GGUF file"
           : f->shards   ? "PEFT folder in several files"
           : f->from_mlx ? "mlx-lm folder"
                         : "PEFT folder");
  print_lora(p, f);
  print_doubts(p, f);
}

/* Describes the adapter at `path`, and says why it cannot be served if so: both are worth seeing
 * together. Other failures are left to the caller. */
static el_status describe_lora(el_printer *p, const char *path, el_error *err) {
  el_lora_file *f = NULL;
  el_status status = el_lora_file_open(path, NULL, &f, err);
  if (status == EL_ERR_UNSUPPORTED) {
    el_print(p, "\nadapter\n  cannot be served: %s\n", err->message);
    return EL_OK;
  }
  if (status) return status;
  print_lora(p, f);
  print_doubts(p, f);
  el_lora_file_close(f);
  return EL_OK;
}

static el_status describe_gguf(el_printer *p, const char *path, el_error *err) {
  el_gguf *g = NULL;
  el_str type;
  el_status status = el_gguf_open(path, &g, err);
  if (status) return status;
  el_print(p, "%s: GGUF version %" PRIu32 ", %zu bytes", el_gguf_path(g), el_gguf_version(g), el_gguf_file_size(g));
  if (el_gguf_n_files(g) > 1) el_print(p, " in %d files", el_gguf_n_files(g));
  el_print(p, "\n");
  bool adapter = el_gguf_str(g, "general.type", &type, err) == EL_OK && el_str_eq(type, "adapter");
  if (adapter) status = describe_lora(p, path, err);
  print_kvs(p, g);
  print_tensors(p, g);
  el_gguf_close(g);
  return status;
}

/* --- safetensors */

static void print_metadata(void *arg, const char *key, const char *value) {
  char shown[SHOWN_VALUE], text[SHOWN_VALUE];
  el_print(arg, "  %s: %s\n", el_str_show(el_str_of(key), shown, sizeof shown),
           el_str_show(el_str_of(value), text, sizeof text));
}

static void print_safetensors(el_printer *p, const el_safetensors *s) {
  char name[SHOWN_VALUE], type[32];
  uint64_t bytes = 0;
  int width = 0;
  el_print(p, "\nmetadata\n");
  el_safetensors_metadata(s, print_metadata, p);
  el_print(p, "\ntensors (%zu)\n", el_safetensors_n(s));
  for (size_t i = 0; i < el_safetensors_n(s); i++) width = wider_column(width, strlen(el_safetensors_at(s, i)->name));
  for (size_t i = 0; i < el_safetensors_n(s); i++) {
    const el_st_tensor *t = el_safetensors_at(s, i);
    el_print(p, "  %-*s  %-7s  %12zu bytes  [", width, el_str_show(el_str_of(t->name), name, sizeof name),
             el_str_show(el_str_of(t->dtype_name), type, sizeof type), t->n_bytes);
    for (int d = 0; d < t->n_dims; d++) el_print(p, d ? ", %" PRId64 : "%" PRId64, t->shape[d]);
    el_print(p, "]\n");
    bytes += t->n_bytes;
  }
  el_print(p, "\ntotals\n  %zu tensors  %" PRIu64 " bytes\n", el_safetensors_n(s), bytes);
}

static el_status describe_safetensors(el_printer *p, const char *path, el_error *err) {
  el_safetensors *s = NULL;
  el_status status = el_safetensors_open(path, &s, err);
  if (status) return status;
  el_print(p, "%s: safetensors\n", path);
  print_safetensors(p, s);
  el_safetensors_close(s);
  return EL_OK;
}

/* --- PEFT folders */

static el_status print_config(el_printer *p, const char *path, el_error *err) {
  el_file file = {0};
  json_error_t json_err;
  char name[EL_SHOW], text[SHOWN_VALUE];
  el_status status = el_file_read(path, EL_LORA_MAX_CONFIG, &file, err);
  if (status) return status;
  bool no_memory;
  json_t *root = el_json_load((const char *)file.data, file.size, JSON_REJECT_DUPLICATES, &json_err, &no_memory), *v;
  const char *key;
  el_file_close(&file);
  if (!root && no_memory) return el_fail(err, EL_ERR_NO_MEMORY, "%s: out of memory", path);
  if (!root)
    return el_fail_about(err, EL_ERR_FORMAT, path, "line %d: %s", json_err.line,
                         el_str_show(el_str_of(json_err.text), text, sizeof text));
  el_print(p, "\nadapter_config.json\n");
  json_object_foreach(root, key, v) {
    /* JSON's own escapes make it safe; a second layer of backslashes would only confuse. */
    char *value = json_is_null(v) ? NULL : el_json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
    if (value)
      el_print(p, "  %s: %.*s%s\n", el_str_show(el_str_of(key), name, sizeof name), SHOWN_VALUE, value,
               strlen(value) > SHOWN_VALUE ? "..." : "");
    free(value);
  }
  json_decref(root);
  return EL_OK;
}

/* Whether mlx-lm's weights are there; if so, *weights becomes their path. */
static bool has_mlx_weights(const char *dir, el_buf *weights) {
  el_buf path = {0};
  bool is = el_buf_printf(&path, "%s/adapters.safetensors", dir) && access(path.data, F_OK) == 0;
  el_buf *drop = is ? weights : &path;
  el_buf_free(drop);
  if (is) *weights = path;
  return is;
}

static el_status describe_folder(el_printer *p, const char *path, el_error *err) {
  el_buf config = {0}, weights = {0};
  el_status status = EL_OK;
  struct stat st;
  if (!el_buf_printf(&config, "%s/adapter_config.json", path) ||
      !el_buf_printf(&weights, "%s/adapter_model.safetensors", path))
    status = el_fail_about(err, EL_ERR_NO_MEMORY, path, "out of memory");
  if (!status && stat(config.data, &st) != 0) { /* not a PEFT adapter: perhaps a model's folder */
    el_buf_free(&config);
    el_buf_free(&weights);
    status = describe_gguf(p, path, err);
    return status == EL_ERR_NOT_FOUND
               ? el_fail_about(err, status, path, "a folder without adapter_config.json and without a .gguf file")
               : status;
  }
  const bool mlx = !status && stat(weights.data, &st) != 0 && has_mlx_weights(path, &weights);
  if (!status) el_print(p, "%s: LoRA adapter, %s\n", path, mlx ? "mlx-lm folder" : "PEFT folder");
  if (!status) status = print_config(p, config.data, err);
  if (!status) status = describe_lora(p, path, err);
  el_safetensors *s = NULL;
  if (!status && stat(weights.data, &st) == 0 && !(status = el_safetensors_open(weights.data, &s, err))) {
    print_safetensors(p, s);
    el_safetensors_close(s);
  }
  el_buf_free(&config);
  el_buf_free(&weights);
  return status;
}

static bool begins_with_gguf(const char *path) {
  char magic[4] = {0};
  FILE *f = fopen(path, "rbe");
  bool is = f && fread(magic, 1, sizeof magic, f) == sizeof magic && !memcmp(magic, "GGUF", sizeof magic);
  if (f) fclose(f);
  return is;
}

el_status el_inspect(const char *path, el_write_fn write, void *user, el_error *err) {
  el_error unused;
  if (!err) err = &unused;
  if (!path || !write) return el_fail(err, EL_ERR_INVALID, "el_inspect: path and write are required");
  el_printer p = {.write = write, .user = user};
  struct stat st;
  el_status status;
  if (stat(path, &st) != 0)
    status = el_fail_about(err, EL_ERR_IO, path, "%s", strerror(errno));
  else if (S_ISDIR(st.st_mode))
    status = describe_folder(&p, path, err);
  else if (!S_ISREG(st.st_mode))
    status = el_fail_about(err, EL_ERR_IO, path, "not a regular file");
  else if (begins_with_gguf(path))
    status = describe_gguf(&p, path, err);
  else {
    size_t len = strlen(path), n = strlen(".safetensors");
    status = describe_safetensors(&p, path, err);
    if (status == EL_ERR_FORMAT && !(len > n && !strcmp(path + len - n, ".safetensors")))
      status = el_fail_about(err, EL_ERR_FORMAT, path, "neither a GGUF nor a safetensors file");
  }
  el_buf_free(&p.line);
  if (!status && p.failed) status = el_fail_about(err, EL_ERR_NO_MEMORY, path, "out of memory");
  return status;
}
