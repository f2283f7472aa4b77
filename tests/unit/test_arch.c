/* What a family makes of a hostile file: every key of every family with a value that it should not have is an error
 * that names the file and the key, or loads with a meaning that is stated here; tensors that the family has not, or not
 * so long, are refused by name. Files are tests/golden/families with one thing changed. */
#include <math.h>

#include "arch/arch.h"
#include "bytes.h"
#include "fixture.h"

static const char *const families[] = {"llama3",  "llama-yarn", "llama-linear", "llama-longrope", "qwen2",
                                       "qwen3",   "gemma2",     "gemma3",       "gemma4",         "mistral3",
                                       "phi3",    "granite",    "smollm3",      "olmo2",          "olmo3",
                                       "openelm", "qwen3moe",   "gpt-oss",      "granitemoe"};
enum { N_FAMILIES = sizeof families / sizeof *families };

/* Keys that some family reads, for those whose golden file has none. */
static const char *const more_keys[] = {"attention.head_count_kv",
                                        "attention.key_length",
                                        "attention.value_length",
                                        "attention.layer_norm_rms_epsilon",
                                        "attention.scale",
                                        "attention.sliding_window",
                                        "attention.sliding_window_pattern",
                                        "attention.temperature_scale",
                                        "attn_logit_softcapping",
                                        "embedding_scale",
                                        "expert_count",
                                        "expert_used_count",
                                        "expert_feed_forward_length",
                                        "expert_shared_feed_forward_length",
                                        "final_logit_softcapping",
                                        "logit_scale",
                                        "residual_scale",
                                        "rope.dimension_count",
                                        "rope.dimension_count_swa",
                                        "rope.freq_base",
                                        "rope.freq_base_swa",
                                        "rope.scale_linear",
                                        "rope.scaling.attn_factor",
                                        "rope.scaling.factor",
                                        "rope.scaling.finetuned",
                                        "rope.scaling.original_context_length",
                                        "rope.scaling.type",
                                        "rope.scaling.yarn_beta_fast",
                                        "rope.scaling.yarn_beta_slow",
                                        "rope.scaling.yarn_log_multiplier"};
enum { N_MORE_KEYS = sizeof more_keys / sizeof *more_keys };

/* ------------------------------------------------------------------- files */

/* A value, as a file has it. */
typedef struct value {
  bool missing;
  el_gguf_type type, item; /* item: of an array */
  int n;                   /* of an array; EACH: one for each layer */
  uint64_t bits;           /* of each item, in as many bytes as it has */
  bool rises;              /* every second item is one more */
  const char *text;
} value;
enum { EACH = -1 };

#define MISSING ((value){.missing = true})
#define UINT(x) ((value){.type = EL_GGUF_U32, .bits = (uint32_t)(x)})
#define INT(x) ((value){.type = EL_GGUF_I32, .bits = (uint32_t)(x)})
#define BOOL(x) ((value){.type = EL_GGUF_BOOL, .bits = (x)})
#define TEXT(x) ((value){.type = EL_GGUF_STRING, .text = (x)})
#define ARRAY(of, count, x) ((value){.type = EL_GGUF_ARRAY, .item = (of), .n = (count), .bits = (x)})

static value number(float x) {
  value v = {.type = EL_GGUF_F32};
  memcpy(&v.bits, &x, sizeof x);
  return v;
}

static int bytes_of(el_gguf_type type) {
  static const int bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return bytes[type];
}

static void put_item(el_buf *b, el_gguf_type type, const value *v, int i) {
  if (type == EL_GGUF_STRING)
    put_str(b, v->text ? v->text : "");
  else
    put_uint(b, v->bits + (v->rises ? (uint64_t)i % 2 : 0), bytes_of(type));
}

static void put_value(el_buf *b, const char *key, const value *v, int n_layers) {
  put_kv(b, key, v->type);
  if (v->type != EL_GGUF_ARRAY) {
    put_item(b, v->type, v, 0);
    return;
  }
  const int n = v->n == EACH ? n_layers : v->n;
  put_u32(b, v->item);
  put_u64(b, (uint64_t)n);
  for (int i = 0; i < n; i++) put_item(b, v->item, v, i);
}

/* A golden model in memory. */
typedef struct model {
  unsigned char *data;
  el_gguf *g;
  char arch[32];
  int n_layers;
} model;

static model model_open(const char *name) {
  model m = {0};
  char in_golden[96], path[512];
  el_error err = {0};
  snprintf(in_golden, sizeof in_golden, "golden/families/%s.gguf", name);
  test_path(path, sizeof path, in_golden);
  FILE *f = fopen(path, "rb");
  if (!f) fail_msg("cannot open %s", path);
  fseek(f, 0, SEEK_END);
  const size_t n = (size_t)ftell(f);
  rewind(f);
  m.data = malloc(n);
  assert_non_null(m.data);
  assert_int_equal(fread(m.data, 1, n, f), n);
  fclose(f);
  el_str arch;
  if (el_gguf_open_memory(m.data, n, path, &m.g, &err) || el_gguf_str(m.g, "general.architecture", &arch, &err))
    fail_msg("%s", err.message);
  snprintf(m.arch, sizeof m.arch, "%.*s", (int)arch.len, arch.data);
  char key[64];
  snprintf(key, sizeof key, "%s.block_count", m.arch);
  m.n_layers = (int)el_gguf_kv_int(el_gguf_find(m.g, key), 0);
  return m;
}

static void model_close(model *m) {
  el_gguf_close(m->g);
  free(m->data);
}

/* A tensor that takes the place of one that the file has, or comes to the others. */
typedef struct extra {
  const char *name; /* NULL: none */
  int n;            /* values, of F32 */
  float value;
} extra;

static void put_kvs(el_buf *b, const model *m, const char *key, const value *v, uint64_t *n) {
  for (size_t i = 0; i < el_gguf_n_kv(m->g); i++) {
    const el_gguf_kv *kv = el_gguf_kv_at(m->g, i);
    if (!strncmp(kv->key.data, "tokenizer.", 10) || (key && el_str_eq(kv->key, key))) continue;
    put_u64(b, kv->key.len);
    put(b, kv->key.data, kv->key.len);
    put_u32(b, kv->type);
    if (kv->type == EL_GGUF_ARRAY) {
      put_u32(b, kv->item_type);
      put_u64(b, kv->n);
    }
    if (kv->item_type == EL_GGUF_STRING) {
      assert_int_equal(kv->n, 1);
      put_u64(b, kv->strings[0].len);
      put(b, kv->strings[0].data, kv->strings[0].len);
    } else {
      put(b, kv->data, kv->n * (size_t)bytes_of(kv->item_type));
    }
    ++*n;
  }
  if (!key || v->missing) return;
  put_value(b, key, v, m->n_layers);
  ++*n;
}

/* The model with `key` as `v` says, and with a tensor of `x`; without tensors' data where there is no `x`, but with the
 * names that families look for. */
static el_buf changed(const model *m, const char *key, const value *v, const extra *x) {
  enum { ALIGN = 32 };
  el_buf kvs = {0}, tensors = {0}, data = {0}, out = {0};
  uint64_t n_kv = 0, n_tensors = 0;
  put_kvs(&kvs, m, key, v, &n_kv);
  for (size_t i = 0; i < el_gguf_n_tensors(m->g); i++) {
    const el_tensor *t = el_gguf_tensor_at(m->g, i);
    char name[96];
    snprintf(name, sizeof name, "%.*s", (int)t->name.len, t->name.data);
    if (x && x->name && !strcmp(name, x->name)) continue;
    uint64_t ne[EL_MAX_DIMS] = {1, 1, 1, 1};
    for (int d = 0; x && d < EL_MAX_DIMS; d++) ne[d] = (uint64_t)t->ne[d];
    put_padding(&data, ALIGN);
    put_tensor(&tensors, name, x ? (uint32_t)t->n_dims : 1, ne, x ? t->type : EL_TYPE_F32, data.len);
    if (x)
      put(&data, t->data, t->n_bytes);
    else
      put_f32(&data, 0);
    n_tensors++;
  }
  if (x && x->name && x->n) {
    put_padding(&data, ALIGN);
    put_tensor(&tensors, x->name, 1, (const uint64_t[]){(uint64_t)x->n}, EL_TYPE_F32, data.len);
    for (int i = 0; i < x->n; i++) put_f32(&data, x->value);
    n_tensors++;
  }
  put_gguf_header(&out, 3, n_tensors, n_kv);
  put(&out, kvs.data, kvs.len);
  if (tensors.len) put(&out, tensors.data, tensors.len);
  put_padding(&out, ALIGN);
  if (data.len) put(&out, data.data, data.len);
  el_buf_free(&kvs);
  el_buf_free(&tensors);
  el_buf_free(&data);
  return out;
}

/* ---------------------------------------------------------------- checking */

static bool is_finite_or_none(float cap) {
  return cap == 0 || (cap > 0 && isfinite(2 / cap));
}

/* What the step takes for granted. */
static void check_sane(const el_hparams *h) {
  assert_in_range(h->n_layers, 1, EL_MAX_LAYERS);
  assert_in_range(h->n_embd, 1, EL_MAX_WIDTH);
  assert_in_range(h->ctx_train, 1, EL_MAX_CONTEXT);
  assert_true(isfinite(h->rms_eps) && isfinite(h->embed_scale) && isfinite(h->residual_scale));
  assert_true(isfinite(h->attn_scale) && isfinite(h->logit_scale));
  assert_true(is_finite_or_none(h->attn_cap) && is_finite_or_none(h->logit_cap));
  for (int i = 0; i < h->n_ropes; i++) {
    double f[EL_MAX_HEAD_DIM / 2];
    const el_rope *r = &h->rope[i];
    assert_true(r->n_rot >= 2 && r->n_rot % 2 == 0 && r->ctx_original >= 1);
    assert_true(isfinite(r->magnitude) && r->magnitude > 0);
    el_rope_frequencies(r, NULL, f);
    for (int k = 0; k < r->n_rot / 2; k++) assert_true(isfinite((float)f[k]));
  }
  for (int l = 0; l < h->n_layers; l++) {
    const el_layer_dims d = el_hparams_layer(h, l);
    assert_true(d.n_head >= 1 && d.n_head_kv >= 1 && d.n_head % d.n_head_kv == 0);
    assert_true(d.head_dim >= 2 && d.head_dim % 2 == 0 && d.head_dim <= EL_MAX_HEAD_DIM);
    assert_true(d.window >= 0 && d.rope >= -1 && d.rope < h->n_ropes && d.kv_layer >= 0 && d.kv_layer <= l);
  }
}

static el_status read_hparams(const model *m, const char *key, const value *v, el_hparams *h, el_error *err) {
  el_buf b = changed(m, key, v, NULL);
  unsigned char *data = exact(&b, b.len);
  el_gguf *g = NULL;
  el_status status = el_gguf_open_memory(data, b.len, "odd.gguf", &g, err);
  if (status) fail_msg("%s", err->message);
  status = el_hparams_read(g, h, err);
  el_sites *sites = NULL;
  el_program program;
  if (!status) {
    check_sane(h);
    assert_int_equal(el_sites_new(h, &sites, err), EL_OK);
    assert_int_equal(el_program_new(h, &program, err), EL_OK);
    el_program_free(&program);
    el_sites_free(sites);
  }
  el_gguf_close(g);
  free(data);
  el_buf_free(&b);
  return status;
}

/* A message names the file and the key, or the key that the family says its fault by, which names this one too. */
static void check_message(const el_error *err, const char *key) {
  const char *last = strrchr(key, '.') + 1;
  if (!strstr(err->message, "odd.gguf: ") || !strstr(err->message, last))
    fail_msg("'%s' does not name the file and %s", err->message, key);
}

/* ------------------------------------------------------------------- tests */

static void sweep(const model *m, const char *key, int *refused, int *loaded) {
  const value hostile[] = {MISSING,
                           UINT(0),
                           UINT(0xffffffff),
                           UINT(1u << 31),
                           INT(-1),
                           INT(INT32_MIN),
                           {.type = EL_GGUF_U64, .bits = UINT64_MAX},
                           {.type = EL_GGUF_I64, .bits = (uint64_t)INT64_MIN},
                           {.type = EL_GGUF_F64, .bits = 0x7fefffffffffffff},
                           number(NAN),
                           number(INFINITY),
                           number(-1),
                           number(0),
                           number(1e30f),
                           number(1e-40f),
                           BOOL(1),
                           TEXT("x"),
                           TEXT(""),
                           ARRAY(EL_GGUF_U32, 0, 0),
                           ARRAY(EL_GGUF_U32, m->n_layers + 1, 1),
                           ARRAY(EL_GGUF_BOOL, m->n_layers + 1, 1),
                           ARRAY(EL_GGUF_I32, EACH, (uint32_t)-1),
                           ARRAY(EL_GGUF_F32, EACH, 0x7fc00000),
                           ARRAY(EL_GGUF_STRING, EACH, 0)};
  for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
    el_hparams h;
    el_error err = {0};
    if (read_hparams(m, key, &hostile[i], &h, &err)) {
      check_message(&err, key);
      ++*refused;
    } else {
      el_hparams_free(&h);
      ++*loaded;
    }
  }
}

static void each_key_of_each_family_may_be_hostile(void **state) {
  for (int f = 0; f < N_FAMILIES; f++) {
    model m = model_open(families[f]);
    int refused = 0, loaded = 0;
    char key[96];
    for (size_t i = 0; i < el_gguf_n_kv(m.g); i++) {
      const el_str name = el_gguf_kv_at(m.g, i)->key;
      if (strncmp(name.data, m.arch, strlen(m.arch)) || name.data[strlen(m.arch)] != '.') continue;
      snprintf(key, sizeof key, "%.*s", (int)name.len, name.data);
      sweep(&m, key, &refused, &loaded);
    }
    for (size_t i = 0; i < N_MORE_KEYS; i++) {
      snprintf(key, sizeof key, "%s.%s", m.arch, more_keys[i]);
      if (!el_gguf_find(m.g, key)) sweep(&m, key, &refused, &loaded);
    }
    assert_true(refused > 200 && loaded > 10); /* what loads are keys that it does not read, and defaults */
    model_close(&m);
  }
}

static void what_every_family_needs_is_missed_by_name(void **state) {
  static const char *const needed[] = {"block_count", "embedding_length", "context_length", "attention.head_count"};
  for (int f = 0; f < N_FAMILIES; f++) {
    model m = model_open(families[f]);
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
      char key[96];
      el_hparams h;
      el_error err = {0};
      snprintf(key, sizeof key, "%s.%s", m.arch, needed[i]);
      assert_int_equal(read_hparams(&m, key, &MISSING, &h, &err), EL_ERR_NOT_FOUND);
      check_message(&err, key);
      assert_contains(err.message, "missing");
    }
    model_close(&m);
  }
}

static void refusals_say_what_is_wrong(void **state) {
  const struct {
    const char *family, *key;
    value v;
    el_status status;
    const char *words;
  } cases[] = {
      {"gemma3", "gemma3.attention.sliding_window", UINT(1u << 31), EL_ERR_FORMAT, "gemma3.attention.sliding_window"},
      {"gemma3", "gemma3.attention.sliding_window", INT(-3), EL_ERR_FORMAT, "is -3, expected 0"},
      {"gemma2", "gemma2.attention.sliding_window", UINT(0), EL_ERR_FORMAT, "is 0, expected 1"},
      {"gpt-oss", "gpt-oss.attention.sliding_window", MISSING, EL_ERR_NOT_FOUND, "gpt-oss.attention.sliding_window"},
      {"olmo3", "olmo2.attention.sliding_window_pattern", ARRAY(EL_GGUF_BOOL, 4, 1), EL_ERR_FORMAT,
       "is an array of 4, expected 5"},
      {"olmo3", "olmo2.attention.sliding_window_pattern", ARRAY(EL_GGUF_U32, EACH, 2), EL_ERR_FORMAT,
       "sliding_window_pattern[0] is 2"},
      {"olmo3", "olmo2.attention.sliding_window_pattern", ARRAY(EL_GGUF_STRING, EACH, 0), EL_ERR_FORMAT,
       "expected booleans"},
      {"gemma3", "gemma3.attention.sliding_window_pattern", number(2), EL_ERR_FORMAT, "expected an integer"},
      {"openelm", "openelm.attention.head_count", ARRAY(EL_GGUF_U32, 3, 4), EL_ERR_FORMAT,
       "is an array of 3, expected 4"},
      {"openelm", "openelm.attention.head_count", UINT(5), EL_ERR_FORMAT, "attention.head_count 5 is not a multiple"},
      {"openelm", "openelm.feed_forward_length", ARRAY(EL_GGUF_U32, EACH, 0), EL_ERR_FORMAT,
       "feed_forward_length[0] is 0"},
      {"olmo2", "olmo2.attention.head_count", UINT(3), EL_ERR_FORMAT, "embedding_length 64 is not a multiple"},
      {"qwen3", "qwen3.attention.head_count", UINT(3), EL_ERR_FORMAT,
       "head_count 3 is not a multiple of head_count_kv"},
      {"qwen3", "qwen3.attention.value_length", UINT(16), EL_ERR_UNSUPPORTED, "value_length 16"},
      {"qwen3", "qwen3.attention.key_length", UINT(33), EL_ERR_UNSUPPORTED, "key_length 33"},
      {"phi3", "phi3.rope.dimension_count", UINT(23), EL_ERR_UNSUPPORTED, "rope.dimension_count 23"},
      {"phi3", "phi3.rope.dimension_count", UINT(34), EL_ERR_UNSUPPORTED, "rope.dimension_count 34"},
      {"gemma4", "gemma4.rope.dimension_count_swa", UINT(34), EL_ERR_UNSUPPORTED, "dimension_count_swa 34"},
      {"gemma4", "gemma4.attention.shared_kv_layers", UINT(8), EL_ERR_FORMAT, "shared_kv_layers is 8, expected 0 to 7"},
      {"gemma4", "gemma4.attention.shared_kv_layers", UINT(7), EL_ERR_UNSUPPORTED, "shared_kv_layers 7"},
      {"gemma4",
       "gemma4.attention.head_count_kv",
       {.type = EL_GGUF_ARRAY, .item = EL_GGUF_U32, .n = EACH, .bits = 1, .rises = true},
       EL_ERR_UNSUPPORTED,
       "head_count_kv 1 of 32 in layer 6, which reads those of layer 3, 2 of 32"},
      {"llama-yarn", "llama.rope.scaling.factor", number(NAN), EL_ERR_FORMAT, "factor is not a finite number"},
      {"llama-yarn", "llama.rope.scaling.factor", number(1e30f), EL_ERR_FORMAT, "is not in 0 to 1e+06"},
      {"llama-yarn", "llama.rope.scaling.factor", number(1e-40f), EL_ERR_FORMAT, "is neither 0 nor 1e-06"},
      {"llama-yarn", "llama.rope.scaling.original_context_length", UINT(0), EL_ERR_FORMAT, "is 0, expected 1"},
      {"llama-yarn", "llama.rope.scaling.type", TEXT("cubic"), EL_ERR_UNSUPPORTED,
       "'cubic'; supported are none, linear"},
      {"mistral3", "mistral3.rope.scaling.yarn_beta_fast", number(0), EL_ERR_FORMAT, "yarn_beta_fast"},
      {"granite", "granite.logit_scale", number(0), EL_ERR_FORMAT, "logit_scale"},
      {"granite", "granite.logit_scale", MISSING, EL_ERR_FORMAT, "logit_scale is missing"},
      {"gemma2", "gemma2.attn_logit_softcapping", number(NAN), EL_ERR_FORMAT, "is not a finite number"},
      {"gemma2", "gemma2.final_logit_softcapping", number(-5), EL_ERR_FORMAT, "-5 is not in 0"},
      {"gemma2", "gemma2.final_logit_softcapping", number(1e-40f), EL_ERR_FORMAT, "is neither 0 nor 1e-06"},
      {"qwen2", "qwen2.expert_count", UINT(4), EL_ERR_UNSUPPORTED, "expert_count is 4"},
      {"qwen3moe", "qwen3moe.expert_used_count", UINT(9), EL_ERR_FORMAT, "9 is more than expert_count 8"},
      {"qwen3moe", "qwen3moe.expert_count", UINT(0), EL_ERR_FORMAT, "expert_count is 0"},
      {"llama3", "general.architecture", MISSING, EL_ERR_NOT_FOUND, "general.architecture"},
      {"llama3", "general.architecture", UINT(1), EL_ERR_FORMAT, "general.architecture"},
      {"llama3", "general.architecture", TEXT(""), EL_ERR_UNSUPPORTED, "general.architecture is ''"},
      {"llama3", "general.architecture", TEXT("mam\nba"), EL_ERR_UNSUPPORTED, "supported are llama, qwen2"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    model m = model_open(cases[i].family);
    el_hparams h;
    el_error err = {0};
    const el_status status = read_hparams(&m, cases[i].key, &cases[i].v, &h, &err);
    if (status != cases[i].status)
      fail_msg("%s %s: status %d, '%s'", cases[i].family, cases[i].key, status, err.message);
    assert_contains(err.message, "odd.gguf: ");
    assert_contains(err.message, cases[i].words);
    assert_null(strchr(err.message, '\n'));
    model_close(&m);
  }
}

static void an_unknown_family_is_told_all_that_are_supported(void **state) {
  model m = model_open("llama3");
  el_hparams h;
  el_error err = {0};
  assert_int_equal(read_hparams(&m, "general.architecture", &TEXT("mamba"), &h, &err), EL_ERR_UNSUPPORTED);
  assert_contains(err.message, "odd.gguf: general.architecture is 'mamba'");
  for (int i = 0; el_arch_at(i); i++) assert_contains(err.message, el_arch_at(i)->name);
  model_close(&m);
}

/* h of a family's file with a key changed, which loads. */
static el_hparams loads(const char *family, const char *key, value v) {
  model m = model_open(family);
  el_hparams h;
  el_error err = {0};
  if (read_hparams(&m, key, &v, &h, &err)) fail_msg("%s, %s: %s", family, key, err.message);
  model_close(&m);
  return h;
}

static int n_windowed(el_hparams h) {
  int n = 0;
  for (int l = 0; l < h.n_layers; l++) n += h.layers[l].window > 0;
  el_hparams_free(&h);
  return n;
}

static void what_is_missing_or_zero_has_a_meaning(void **state) {
  /* without a window no layer has one; a pattern is flags, or a period whose last layer sees all; 0: all are windowed
   */
  assert_int_equal(n_windowed(loads("gemma3", "gemma3.attention.sliding_window", UINT(0))), 0);
  assert_int_equal(n_windowed(loads("gemma3", "gemma3.attention.sliding_window", MISSING)), 0);
  assert_int_equal(n_windowed(loads("olmo3", "olmo2.attention.sliding_window", MISSING)), 0);
  assert_int_equal(n_windowed(loads("gemma2", "gemma2.attention.sliding_window", MISSING)), 3);
  assert_int_equal(n_windowed(loads("gemma3", "gemma3.attention.sliding_window_pattern", UINT(0))), 7);
  assert_int_equal(n_windowed(loads("gemma3", "gemma3.attention.sliding_window_pattern", UINT(1))), 0);
  assert_int_equal(n_windowed(loads("gemma3", "gemma3.attention.sliding_window_pattern", UINT(2))), 4);
  assert_int_equal(n_windowed(loads("gemma3", "gemma3.attention.sliding_window_pattern", ARRAY(EL_GGUF_BOOL, EACH, 1))),
                   7);
  assert_int_equal(n_windowed(loads("gemma3", "gemma3.attention.sliding_window_pattern", ARRAY(EL_GGUF_U32, EACH, 0))),
                   0);
  const struct {
    const char *family, *key;
    value v;
    size_t at; /* of a float in el_hparams */
    float want;
  } floats[] = {
      {"gemma2", "gemma2.attn_logit_softcapping", number(0), offsetof(el_hparams, attn_cap), 0},
      {"gemma2", "gemma2.attn_logit_softcapping", MISSING, offsetof(el_hparams, attn_cap), 50},
      {"gemma2", "gemma2.final_logit_softcapping", MISSING, offsetof(el_hparams, logit_cap), 30},
      {"gemma3", "gemma3.final_logit_softcapping", MISSING, offsetof(el_hparams, logit_cap), 0},
      {"granite", "granite.residual_scale", number(0), offsetof(el_hparams, residual_scale), 1},
      {"granite", "granite.embedding_scale", MISSING, offsetof(el_hparams, embed_scale), 1},
      {"granite", "granite.attention.scale", number(0), offsetof(el_hparams, attn_scale), 0},
      {"llama-yarn", "llama.rope.scaling.factor", number(0), offsetof(el_hparams, rope[0].scale), 1},
      {"llama-linear", "llama.rope.scaling.type", TEXT("none"), offsetof(el_hparams, rope[0].scale), 1},
      {"llama-linear", "llama.rope.scaling.type", MISSING, offsetof(el_hparams, rope[0].scale), 0.25f},
      {"llama3", "llama.rope.freq_base", MISSING, offsetof(el_hparams, rope[0].base), 10000},
      {"llama3", "llama.attention.layer_norm_rms_epsilon", MISSING, offsetof(el_hparams, rms_eps), 1e-5f},
      {"llama3", "llama.rope.scale_linear", number(4), offsetof(el_hparams, rope[0].scale), 0.25f},
  };
  for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) {
    el_hparams h = loads(floats[i].family, floats[i].key, floats[i].v);
    float got;
    memcpy(&got, (char *)&h + floats[i].at, sizeof got);
    if (got != floats[i].want) fail_msg("%s is %g, not %g", floats[i].key, (double)got, (double)floats[i].want);
    el_hparams_free(&h);
  }
  el_hparams h = loads("llama-yarn", "llama.rope.scaling.original_context_length", MISSING);
  assert_int_equal(h.rope[0].ctx_original, h.ctx_train);
  el_hparams_free(&h);
  h = loads("qwen3", "qwen3.attention.head_count_kv", MISSING);
  assert_int_equal(h.n_head_kv, h.n_head);
  el_hparams_free(&h);
  h = loads("granite", "granite.rope.scaling.finetuned", BOOL(0));
  for (int l = 0; l < h.n_layers; l++) assert_int_equal(h.layers[l].rope, -1);
  el_hparams_free(&h);
}

static void tensors_that_a_family_has_not_or_not_so_are_refused_by_name(void **state) {
  static const struct {
    const char *family;
    extra x;
    el_status status; /* EL_OK: it loads */
    const char *words;
  } cases[] = {
      {"llama3", {"blk.0.attn_q_norm.weight", 32, 1}, EL_ERR_UNSUPPORTED, "attn_q_norm.weight is not supported"},
      {"qwen2", {"blk.1.attn_sinks.weight", 2, 1}, EL_ERR_UNSUPPORTED, "attn_sinks.weight is not supported"},
      {"gemma2", {"blk.9.attn_q.bias", 64, 1}, EL_ERR_UNSUPPORTED, "blk.9.attn_q.bias is not supported"},
      {"qwen3", {"rope_freqs.weight", 16, 1}, EL_ERR_UNSUPPORTED, "rope_freqs.weight is not supported"},
      {"qwen2",
       {"blk.1.attn_q.bias", 63, 0},
       EL_ERR_FORMAT,
       "blk.1.attn_q.bias has shape [63, 1, 1, 1]; expected [64, 1]"},
      {"qwen2", {"blk.1.attn_q.bias", 64, INFINITY}, EL_ERR_FORMAT, "blk.1.attn_q.bias has a value that is not finite"},
      {"qwen2", {"blk.1.attn_q.bias", 64, 0}, EL_OK, ""},
      {"qwen2", {"blk.1.attn_q.bias", 0, 0}, EL_OK, ""}, /* none: the product alone */
      {"gpt-oss",
       {"blk.0.attn_sinks.weight", 3, 0},
       EL_ERR_FORMAT,
       "attn_sinks.weight has shape [3, 1, 1, 1]; expected [4"},
      {"gpt-oss", {"blk.0.attn_sinks.weight", 0, 0}, EL_ERR_FORMAT, "blk.0.attn_sinks.weight is missing"},
      {"gpt-oss", {"blk.0.ffn_gate_inp.weight", 0, 0}, EL_ERR_FORMAT, "blk.0.ffn_gate_inp.weight is missing"},
      {"gemma3", {"blk.2.post_ffw_norm.weight", 0, 0}, EL_ERR_FORMAT, "blk.2.post_ffw_norm.weight is missing"},
      {"olmo2", {"blk.0.attn_k_norm.weight", 64, 1}, EL_ERR_FORMAT, "attn_k_norm.weight has shape [64"},
      {"llama3",
       {"rope_freqs.weight", 15, 1},
       EL_ERR_FORMAT,
       "rope_freqs.weight has shape [15, 1, 1, 1]; expected [16, 1]"},
      {"llama3", {"rope_freqs.weight", 16, 0}, EL_ERR_FORMAT, "rope_freqs.weight is 0 at 0"},
      {"llama3", {"rope_freqs.weight", 16, 1e-40f}, EL_ERR_FORMAT, "rope_freqs.weight is 9.99995e-41 at 0"},
      {"phi3", {"rope_factors_short.weight", 13, 1}, EL_ERR_FORMAT, "rope_factors_short.weight has shape [13"},
      {"phi3", {"rope_factors_long.weight", 11, 1}, EL_ERR_FORMAT, "rope_factors_long.weight has shape [11"},
      {"phi3", {"rope_factors_long.weight", 0, 0}, EL_OK, ""},
  };
  el_threads *threads = NULL;
  el_error err = {0};
  assert_int_equal(el_threads_new(1, NULL, &threads, &err), EL_OK);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    model m = model_open(cases[i].family);
    el_buf b = changed(&m, NULL, NULL, &cases[i].x);
    el_gguf *g = NULL;
    el_model *loaded = NULL;
    if (el_gguf_open_memory(b.data, b.len, "odd.gguf", &g, &err)) fail_msg("%s", err.message);
    err.message[0] = 0;
    const el_status status = el_model_load(g, el_kernels_at(0), threads, EL_WEIGHTS_KEEP, NULL, NULL, &loaded, &err);
    if (status != cases[i].status) fail_msg("%s, %s: '%s'", cases[i].family, cases[i].x.name, err.message);
    if (status) assert_contains(err.message, "odd.gguf: ");
    assert_contains(err.message, cases[i].words);
    if (!status) el_model_free(loaded);
    el_gguf_close(g);
    el_buf_free(&b);
    model_close(&m);
  }
  el_threads_free(threads);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_key_of_each_family_may_be_hostile),
      cmocka_unit_test(what_every_family_needs_is_missed_by_name),
      cmocka_unit_test(refusals_say_what_is_wrong),
      cmocka_unit_test(an_unknown_family_is_told_all_that_are_supported),
      cmocka_unit_test(what_is_missing_or_zero_has_a_meaning),
      cmocka_unit_test(tensors_that_a_family_has_not_or_not_so_are_refused_by_name),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
