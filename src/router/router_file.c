/* A router as a file: one GGUF. When it carries a LoRA adapter, that is in the same file under the names of a GGUF LoRA
 * file, so el_lora_file_open opens it too. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "format/gguf.h"
#include "format/gguf_write.h"
#include "router/examples.h"
#include "router/router.h"

enum { VERSION = 1 };
#define ARCHITECTURE "edgelora-router"
#define MAX_BYTES ((size_t)1 << 30)

/* ------------------------------------------------------------------ reading */

/* The first error ends the reading: once there is a status, every function does nothing. */
typedef struct loader {
  el_gguf *g;
  el_router *r;
  el_status status;
  el_error *err;
} loader;

static void refuse_router_key(loader *l, const char *key, const char *what) {
  if (!l->status) l->status = el_fail(l->err, EL_ERR_FORMAT, "%s: %s %s", el_gguf_path(l->g), key, what);
}

/* A missing key is an error of the file, not of the caller. */
static void require_status(loader *l, el_status status) {
  l->status = status == EL_ERR_NOT_FOUND ? EL_ERR_FORMAT : status;
  if (status == EL_ERR_NOT_FOUND && l->err) l->err->code = EL_ERR_FORMAT;
}

static int read_integer_key(loader *l, const char *key, int min, int max) {
  int64_t v = min;
  if (!l->status) require_status(l, el_gguf_i64(l->g, key, min, max, &v, l->err));
  return (int)v;
}

static int read_optional_integer(loader *l, const char *key, int min, int max, int fallback) {
  return el_gguf_find(l->g, key) ? read_integer_key(l, key, min, max) : fallback;
}

static float read_number_key(loader *l, const char *key, double min, double max) {
  double v = min;
  if (!l->status) require_status(l, el_gguf_f64(l->g, key, &v, l->err));
  if (!l->status && !(v >= min && v <= max)) {
    l->status = el_fail(l->err, EL_ERR_FORMAT, "%s: %s is %g, expected %g to %g", el_gguf_path(l->g), key, v, min, max);
    v = min;
  }
  return (float)v;
}

static float read_optional_number(loader *l, const char *key) {
  return el_gguf_find(l->g, key) ? read_number_key(l, key, -1e30, 1e30) : 0;
}

static char *copy_string(loader *l, el_str s) {
  char *text = l->status ? NULL : el_str_dup(s);
  if (!text && !l->status) l->status = el_fail(l->err, EL_ERR_NO_MEMORY, "%s: out of memory", el_gguf_path(l->g));
  return text;
}

static char *read_text_key(loader *l, const char *key) {
  el_str s = {"", 0};
  if (!l->status) require_status(l, el_gguf_str(l->g, key, &s, l->err));
  if (!l->status && (s.len > 255 || memchr(s.data, 0, s.len))) refuse_router_key(l, key, "is no name");
  return copy_string(l, s);
}

static const el_gguf_kv *find_array(loader *l, const char *key, el_gguf_type type, uint64_t max) {
  if (l->status) return NULL;
  const el_gguf_kv *kv = el_gguf_find(l->g, key);
  if (!kv)
    refuse_router_key(l, key, "is missing");
  else if (kv->type != EL_GGUF_ARRAY || kv->item_type != type)
    refuse_router_key(l, key, "is no array of the right type");
  else if (kv->n > max)
    l->status = el_fail(l->err, EL_ERR_FORMAT, "%s: %s has %" PRIu64 " items; the limit is %" PRIu64,
                        el_gguf_path(l->g), key, kv->n, max);
  return l->status ? NULL : kv;
}

/* Copies the values of a tensor, which must be F32 or F16 and finite: [rows, cols], or a vector if rows is 0. */
static float *read_router_matrix(loader *l, const char *name, size_t rows, size_t cols) {
  if (l->status) return NULL;
  const el_tensor *t = el_gguf_tensor(l->g, name);
  if (!t) {
    l->status = el_fail(l->err, EL_ERR_FORMAT, "%s: tensor %s is missing", el_gguf_path(l->g), name);
    return NULL;
  }
  size_t n = (rows ? rows : 1) * cols;
  bool float_type = t->type == EL_TYPE_F32 || t->type == EL_TYPE_F16;
  if (!float_type || t->n_dims > 2 || t->ne[0] != (int64_t)cols || t->ne[1] != (int64_t)(rows ? rows : 1)) {
    l->status =
        el_fail(l->err, EL_ERR_FORMAT, "%s: tensor %s is %s [%" PRId64 ", %" PRId64 "], expected F32 or F16 [%zu, %zu]",
                el_gguf_path(l->g), name, el_type_get(t->type)->name, t->ne[1], t->ne[0], rows ? rows : 1, cols);
    return NULL;
  }
  float *out = malloc(n * sizeof *out);
  if (!out) {
    l->status = el_fail(l->err, EL_ERR_NO_MEMORY, "%s: no memory for tensor %s", el_gguf_path(l->g), name);
    return NULL;
  }
  el_dequantize(t->type, t->data, out, (int64_t)n);
  for (size_t i = 0; i < n; i++)
    if (!isfinite(out[i])) {
      l->status =
          el_fail(l->err, EL_ERR_FORMAT, "%s: tensor %s has NaN or infinity at %zu", el_gguf_path(l->g), name, i);
      break;
    }
  return out;
}

static void read_base(loader *l) {
  el_router *r = l->r;
  r->base_name = read_text_key(l, "router.base.name");
  r->base_architecture = read_text_key(l, "router.base.architecture");
  r->base = (el_base_id){.name = r->base_name,
                         .architecture = r->base_architecture,
                         .n_layers = read_integer_key(l, "router.base.layers", 1, 1024),
                         .n_embd = read_integer_key(l, "router.base.embedding_length", 1, 1 << 20),
                         .n_vocab = read_integer_key(l, "router.base.vocabulary", 1, 1 << 24)};
  char *hex = read_text_key(l, "router.base.fingerprint"), *end = NULL;
  if (!l->status) {
    r->base.fingerprint = strtoull(hex, &end, 16);
    if (strlen(hex) != 16 || *end) refuse_router_key(l, "router.base.fingerprint", "is not 16 hexadecimal digits");
  }
  free(hex);
}

static void read_features(loader *l) {
  el_router *r = l->r;
  el_features *f = &r->features;
  f->n_embd = r->base.n_embd;
  f->max_tokens = read_integer_key(l, "router.max_tokens", 1, EL_MAX_ROUTER_TOKENS);
  const el_gguf_kv *taps = find_array(l, "router.taps", EL_GGUF_U32, EL_ROUTER_MAX_TAPS);
  for (uint64_t i = 0; taps && i < taps->n; i++) {
    int64_t tap = el_gguf_kv_int(taps, i);
    if (tap > r->base.n_layers || (i > 0 && tap <= f->taps[i - 1])) {
      refuse_router_key(l, "router.taps", "are no layers of the base in ascending order");
      return;
    }
    f->taps[i] = (int)tap;
    f->n_taps = (int)i + 1;
  }
  if (taps && (taps->n == 0 || f->taps[taps->n - 1] == 0)) refuse_router_key(l, "router.taps", "name no layer");
  const el_gguf_kv *slices = find_array(l, "router.part.taps", EL_GGUF_U32, EL_ROUTER_MAX_SLICES),
                   *poolings = find_array(l, "router.part.poolings", EL_GGUF_STRING, EL_ROUTER_MAX_SLICES);
  if (l->status) return;
  if (slices->n == 0 || slices->n != poolings->n) {
    refuse_router_key(l, "router.part.taps", "and router.part.poolings do not fit each other");
    return;
  }
  f->n_slices = (int)slices->n;
  for (int i = 0; i < f->n_slices; i++) {
    int64_t tap = el_gguf_kv_int(slices, (uint64_t)i);
    el_str name = poolings->strings[i];
    if (tap >= f->n_taps) refuse_router_key(l, "router.part.taps", "names a tap that there is not");
    if (!el_pooling_find(name.data, name.len, &f->slices[i].pooling))
      refuse_router_key(l, "router.part.poolings", "names a pooling that is not known");
    if (l->status) return;
    f->slices[i].tap = (int)tap;
  }
}

static void read_column_names(loader *l) {
  el_router *r = l->r;
  const el_gguf_kv *kv = find_array(l, "router.candidates", EL_GGUF_STRING, EL_MAX_TABLE_COLUMNS);
  if (l->status) return;
  if (!(r->names = calloc((size_t)kv->n + 1, sizeof *r->names))) {
    l->status = el_fail(l->err, EL_ERR_NO_MEMORY, "%s: out of memory", el_gguf_path(l->g));
    return;
  }
  r->n_columns = (int)kv->n;
  for (int i = 0; i < r->n_columns && !l->status; i++) {
    if (kv->strings[i].len == 0 || kv->strings[i].len > 255 || memchr(kv->strings[i].data, 0, kv->strings[i].len))
      refuse_router_key(l, "router.candidates", "has a name of a bad length");
    r->names[i] = copy_string(l, kv->strings[i]);
    for (int k = 0; k < i && !l->status; k++)
      if (!strcmp(r->names[k], r->names[i])) refuse_router_key(l, "router.candidates", "has a name twice");
  }
}

static void read_example_rule(loader *l) {
  el_example_rule *e = &l->r->examples;
  e->dim = l->r->base.n_embd;
  if (!l->status && e->dim > EL_EXAMPLE_MAX_DIM)
    refuse_router_key(l, "router.base.embedding_length", "is too large for examples");
  e->slope = read_number_key(l, "router.examples.slope", -1e6, 1e6);
  e->offset = read_number_key(l, "router.examples.offset", -1e6, 1e6);
  e->center = read_router_matrix(l, "router.examples.center", 0, (size_t)e->dim);
  e->scale = read_router_matrix(l, "router.examples.scale", 0, (size_t)e->dim);
  int n = read_integer_key(l, "router.examples.background_count", 1, EL_EXAMPLE_MAX_BACKGROUND);
  float *vectors = read_router_matrix(l, "router.examples.background", (size_t)n, (size_t)e->dim);
  if (!l->status) l->status = el_examples_background(e, vectors, n, l->err);
  free(vectors);
}

static void read_facts(loader *l) {
  el_router_facts *f = &l->r->facts;
  f->table = read_text_key(l, "router.trained.table");
  f->valid = read_text_key(l, "router.trained.valid");
  f->n_rows = (size_t)read_optional_integer(l, "router.trained.rows", 0, INT32_MAX, 0);
  f->n_valid = (size_t)read_optional_integer(l, "router.trained.valid_rows", 0, INT32_MAX, 0);
  const el_gguf_kv *seed = el_gguf_find(l->g, "router.trained.seed");
  for (int i = 0; seed && seed->type == EL_GGUF_U64 && i < 8; i++) f->seed |= (uint64_t)seed->data[i] << (8 * i);
  f->best_column = read_optional_integer(l, "router.trained.best_column", 0, l->r->n_columns - 1, -1);
  f->l2 = read_optional_number(l, "router.trained.l2");
  f->l2_shared = read_optional_number(l, "router.trained.l2_shared");
  f->chosen = read_optional_number(l, "router.trained.chosen");
  f->chosen_ci = read_optional_number(l, "router.trained.chosen_interval");
  f->random = read_optional_number(l, "router.trained.random");
  f->best = read_optional_number(l, "router.trained.best_single");
  f->loss = read_optional_number(l, "router.trained.loss");
}

static void read_router(loader *l) {
  el_router *r = l->r;
  if (!el_gguf_find(l->g, "router.version")) {
    refuse_router_key(l, "router.version", "is missing: this is no router");
    return;
  }
  int version = read_integer_key(l, "router.version", 0, INT32_MAX);
  if (!l->status && version != VERSION)
    l->status = el_fail(l->err, EL_ERR_UNSUPPORTED, "%s: router.version is %d; this program knows %d",
                        el_gguf_path(l->g), version, VERSION);
  read_base(l);
  read_features(l);
  r->dim = read_integer_key(l, "router.dim", 1, EL_ROUTER_MAX_DIM);
  if (l->status) return;
  r->n_classifier_slices = read_integer_key(l, "router.head_parts", 1, r->features.n_slices);
  r->example_slice = read_integer_key(l, "router.examples.part", 0, r->features.n_slices - 1);
  if (l->status) return;
  const size_t n_in = (size_t)r->n_classifier_slices * (size_t)r->features.n_embd, dim = (size_t)r->dim;
  r->projection = read_router_matrix(l, "router.projection", dim, n_in);
  r->origin = read_router_matrix(l, "router.origin", 0, dim);
  read_column_names(l);
  r->base_column = read_optional_integer(l, "router.base.column", 0, r->n_columns - 1, -1);
  r->base_score = read_number_key(l, "router.base.score", 0, 1);
  if (r->n_columns > 0) {
    r->weights = read_router_matrix(l, "router.weights", (size_t)r->n_columns, dim);
    r->bias = read_router_matrix(l, "router.bias", 0, (size_t)r->n_columns);
  }
  read_example_rule(l);
  r->top_k = read_integer_key(l, "router.top_k", 1, EL_MAX_SCORES);
  r->margin = read_number_key(l, "router.margin", 0, EL_MAX_ROUTER_MARGIN);
  r->lora_rank = read_optional_integer(l, "router.lora.rank", 1, EL_MAX_RANK, 0);
  read_facts(l);
}

el_status el_router_check(const el_router *r, const el_base_id *base, const char *path, el_error *err) {
  const el_base_id *own = &r->base;
  char a[EL_SHOW], b[EL_SHOW];
  if (own->fingerprint == base->fingerprint && own->n_layers == base->n_layers && own->n_embd == base->n_embd &&
      own->n_vocab == base->n_vocab && !strcmp(own->architecture, base->architecture))
    return EL_OK;
  return el_fail(err, EL_ERR_INVALID,
                 "%s: this router is for the model '%s' (%d layers of %d, fingerprint %016" PRIx64
                 "), not for '%s' (%d layers of %d, fingerprint %016" PRIx64 ")",
                 path, el_str_show((el_str){own->name, strlen(own->name)}, a, sizeof a), own->n_layers, own->n_embd,
                 own->fingerprint, el_str_show((el_str){base->name, strlen(base->name)}, b, sizeof b), base->n_layers,
                 base->n_embd, base->fingerprint);
}

el_status el_router_open_memory(const void *data, size_t size, const char *path, const el_base_id *base,
                                el_router **out, el_error *err) {
  loader l = {.err = err};
  l.status = el_gguf_open_memory(data, size, path, &l.g, err);
  if (!l.status && !(l.r = calloc(1, sizeof *l.r)))
    l.status = el_fail(err, EL_ERR_NO_MEMORY, "%s: out of memory", path);
  if (!l.status) read_router(&l);
  if (!l.status && base) l.status = el_router_check(l.r, base, path, err);
  el_gguf_close(l.g);
  if (l.status) {
    el_router_free(l.r);
    return l.status;
  }
  *out = l.r;
  return EL_OK;
}

el_status el_router_open(const char *path, const el_base_id *base, el_router **out, el_error *err) {
  /* The file is read, not mapped, as it may be rewritten while a server runs. */
  el_file file = {0};
  el_status status = el_file_read(path, MAX_BYTES, &file, err);
  if (!status) status = el_router_open_memory(file.data, file.size, path, base, out, err);
  el_file_close(&file);
  return status;
}

/* ------------------------------------------------------------------ writing */

static void write_router_facts(el_gguf_out *o, const el_router_facts *f) {
  el_gguf_out_str(o, "router.trained.table", f->table ? f->table : "");
  el_gguf_out_str(o, "router.trained.valid", f->valid ? f->valid : "");
  el_gguf_out_u32(o, "router.trained.rows", (uint32_t)f->n_rows);
  el_gguf_out_u32(o, "router.trained.valid_rows", (uint32_t)f->n_valid);
  el_gguf_out_u64(o, "router.trained.seed", f->seed);
  if (f->best_column >= 0) el_gguf_out_u32(o, "router.trained.best_column", (uint32_t)f->best_column);
  el_gguf_out_f32(o, "router.trained.l2", f->l2);
  el_gguf_out_f32(o, "router.trained.l2_shared", f->l2_shared);
  el_gguf_out_f32(o, "router.trained.chosen", f->chosen);
  el_gguf_out_f32(o, "router.trained.chosen_interval", f->chosen_ci);
  el_gguf_out_f32(o, "router.trained.random", f->random);
  el_gguf_out_f32(o, "router.trained.best_single", f->best);
  el_gguf_out_f32(o, "router.trained.loss", f->loss);
}

static void write_router_keys(el_gguf_out *o, const el_router *r, bool lora) {
  const el_features *f = &r->features;
  uint32_t taps[EL_ROUTER_MAX_TAPS], slices[EL_ROUTER_MAX_SLICES];
  const char *poolings[EL_ROUTER_MAX_SLICES];
  char fingerprint[17];
  for (int i = 0; i < f->n_taps; i++) taps[i] = (uint32_t)f->taps[i];
  for (int i = 0; i < f->n_slices; i++) {
    slices[i] = (uint32_t)f->slices[i].tap;
    poolings[i] = el_pooling_name(f->slices[i].pooling);
  }
  snprintf(fingerprint, sizeof fingerprint, "%016" PRIx64, r->base.fingerprint);
  el_gguf_out_str(o, "general.architecture", ARCHITECTURE);
  el_gguf_out_str(o, "general.type", lora ? "adapter" : "router");
  if (lora) el_gguf_out_str(o, "adapter.type", "lora");
  el_gguf_out_u32(o, "router.version", VERSION);
  el_gguf_out_str(o, "router.base.name", r->base.name);
  el_gguf_out_str(o, "router.base.architecture", r->base.architecture);
  el_gguf_out_u32(o, "router.base.layers", (uint32_t)r->base.n_layers);
  el_gguf_out_u32(o, "router.base.embedding_length", (uint32_t)r->base.n_embd);
  el_gguf_out_u32(o, "router.base.vocabulary", (uint32_t)r->base.n_vocab);
  el_gguf_out_str(o, "router.base.fingerprint", fingerprint);
  if (r->base_column >= 0) el_gguf_out_u32(o, "router.base.column", (uint32_t)r->base_column);
  el_gguf_out_f32(o, "router.base.score", r->base_score);
  el_gguf_out_u32(o, "router.max_tokens", (uint32_t)f->max_tokens);
  el_gguf_out_u32s(o, "router.taps", taps, (size_t)f->n_taps);
  el_gguf_out_u32s(o, "router.part.taps", slices, (size_t)f->n_slices);
  el_gguf_out_strs(o, "router.part.poolings", poolings, (size_t)f->n_slices);
  el_gguf_out_u32(o, "router.dim", (uint32_t)r->dim);
  el_gguf_out_strs(o, "router.candidates", (const char *const *)r->names, (size_t)r->n_columns);
  el_gguf_out_u32(o, "router.head_parts", (uint32_t)r->n_classifier_slices);
  el_gguf_out_u32(o, "router.examples.part", (uint32_t)r->example_slice);
  el_gguf_out_u32(o, "router.examples.background_count", (uint32_t)r->examples.n_background);
  el_gguf_out_f32(o, "router.examples.slope", r->examples.slope);
  el_gguf_out_f32(o, "router.examples.offset", r->examples.offset);
  el_gguf_out_u32(o, "router.top_k", (uint32_t)r->top_k);
  el_gguf_out_f32(o, "router.margin", r->margin);
}

/* --- the adapter. A PEFT folder has scales of its own for each matrix and rows of q and k in another order, which a
 * GGUF LoRA file cannot say: both go into B. */

static bool write_router_pair(el_gguf_out *o, const el_lora_pair *p, const el_sites *sites, float **a_out,
                              float **b_out) {
  const el_site_dims dims = el_sites_dims(sites, p->layer, p->site);
  const size_t rank = (size_t)p->rank, in = (size_t)dims.in, out = (size_t)dims.out;
  float *a = malloc(rank * in * sizeof *a), *b = malloc(out * rank * sizeof *b);
  char name[64];
  *a_out = a;
  *b_out = b;
  if (!a || !b) return false;
  el_lora_matrix_read(&p->a, p->rank, dims.in, a);
  el_lora_matrix_read(&p->b, dims.out, p->rank, b);
  for (size_t i = 0; i < out * rank; i++) b[i] *= p->scale;
  if (p->reorder_b) {
    float *reordered = malloc(out * rank * sizeof *b);
    if (!reordered) return false;
    for (size_t i = 0; i < out; i++)
      memcpy(reordered + el_site_row(&sites->site[p->site], dims, i) * rank, b + i * rank, rank * sizeof *b);
    free(b);
    *b_out = b = reordered;
  }
  int n = p->layer < sites->n_layers ? snprintf(name, sizeof name, "blk.%d.", p->layer) : 0;
  n += snprintf(name + n, sizeof name - (size_t)n, "%s.weight.lora_a", el_sites_name(sites, p->layer, p->site));
  el_gguf_out_f32_tensor(o, name, (int64_t)rank, (int64_t)in, a);
  name[n - 1] = 'b';
  el_gguf_out_f32_tensor(o, name, (int64_t)out, (int64_t)rank, b);
  return true;
}

/* The background as floats, as the file has it; the caller frees it. */
static float *background_floats(const el_example_rule *e) {
  float *out = malloc((size_t)e->n_background * (size_t)e->dim * sizeof *out), *at = out;
  for (int i = 0; out && i < e->n_background; i++)
    for (int k = 0; k < e->dim; k++)
      *at++ = (float)e->background[(size_t)i * (size_t)e->padded + (size_t)k] / EL_EXAMPLE_ONE;
  return out;
}

/* Writes it as F16, or as F32 if a value does not fit F16. */
static void write_matrix(el_gguf_out *o, const char *name, int64_t rows, int64_t cols, const float *data) {
  bool fits = true;
  for (int64_t i = 0; i < rows * cols && fits; i++) fits = isfinite(el_f16_to_f32(el_f32_to_f16(data[i])));
  if (fits)
    el_gguf_out_f16_tensor(o, name, rows, cols, data);
  else
    el_gguf_out_f32_tensor(o, name, rows, cols, data);
}

el_status el_router_save(const el_router *r, const el_lora_file *lora, const el_sites *sites, const char *path,
                         el_error *err) {
  const int64_t n_in = (int64_t)r->n_classifier_slices * r->features.n_embd;
  const size_t n_pairs = lora ? el_lora_file_n(lora) : 0;
  int rank = 0;
  float **matrices = calloc(2 * n_pairs + 1, sizeof *matrices), *background = background_floats(&r->examples);
  el_gguf_out *o = el_gguf_out_new();
  el_status status = EL_OK;
  if (lora && el_lora_file_n_extras(lora))
    status = el_fail(err, EL_ERR_UNSUPPORTED,
                     "%s: the adapter has more than pairs of matrices, which a router's file cannot hold", path);
  write_router_keys(o, r, lora != NULL);
  write_router_facts(o, &r->facts);
  write_matrix(o, "router.projection", r->dim, n_in, r->projection);
  el_gguf_out_f32_tensor(o, "router.origin", 0, r->dim, r->origin);
  if (r->n_columns > 0) {
    el_gguf_out_f32_tensor(o, "router.weights", r->n_columns, r->dim, r->weights);
    el_gguf_out_f32_tensor(o, "router.bias", 0, r->n_columns, r->bias);
  }
  el_gguf_out_f32_tensor(o, "router.examples.center", 0, r->examples.dim, r->examples.center);
  el_gguf_out_f32_tensor(o, "router.examples.scale", 0, r->examples.dim, r->examples.scale);
  if (background) write_matrix(o, "router.examples.background", r->examples.n_background, r->examples.dim, background);
  if (!status && (!matrices || !background)) status = el_fail(err, EL_ERR_NO_MEMORY, "%s: no memory to write it", path);
  for (size_t i = 0; !status && i < n_pairs; i++) {
    const el_lora_pair *p = el_lora_file_at(lora, i);
    if (p->rank > rank) rank = p->rank;
    if (el_sites_of_expert(sites, p->site))
      status = el_fail(err, EL_ERR_UNSUPPORTED, "%s: the adapter has matrices for %s, a router's has none for experts",
                       path, el_sites_name(sites, p->layer, p->site));
    else if (!write_router_pair(o, p, sites, &matrices[2 * i], &matrices[2 * i + 1]))
      status = el_fail(err, EL_ERR_NO_MEMORY, "%s: no memory for the adapter's matrices", path);
  }
  if (rank > 0) el_gguf_out_u32(o, "router.lora.rank", (uint32_t)rank);
  if (!status) status = el_gguf_out_save(o, path, err);
  for (size_t i = 0; matrices && i < 2 * n_pairs; i++) free(matrices[i]);
  free(matrices);
  free(background);
  el_gguf_out_free(o);
  return status;
}
