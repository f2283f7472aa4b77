/* The forms that adapters come in: whatever PEFT and mlx-lm save adds what they say it adds; what cannot be told is
 * refused. tests/golden/forms is made by tools/golden/forms.py. */
#include <jansson.h>
#include <math.h>
#include <unistd.h>

#include "adapter/lora_halves.h"
#include "adapter/peft_keys.h"
#include "bytes.h"
#include "sites_fixture.h"

static const sites_shape shape = {.n_layers = 2,
                                  .in = {32, 32, 32, 32, 32, 32, 48},
                                  .out = {32, 16, 16, 32, 48, 48, 32},
                                  .n_head = 4,
                                  .n_head_kv = 2};
static el_site_dims base_dims[SITES_MAX_LAYERS * EL_N_USUAL_SITES];
static el_sites base;

static void path_of(const char *name, char out[512]) {
  snprintf(out, 512, "%s/golden/forms/%s", getenv("EL_TEST_DATA"), name);
}

static el_lora_file *must_open(const char *dir) {
  el_lora_file *f = NULL;
  el_error e;
  if (el_lora_file_open(dir, &base, &f, &e)) fail_msg("%s", e.message);
  return f;
}

static void refuses(const char *dir, el_status status, const char *message) {
  el_lora_file *f = NULL;
  el_error e = {0};
  el_status got = el_lora_file_open(dir, &base, &f, &e);
  if (got == EL_OK) fail_msg("opened, expected: %s", message);
  assert_contains(e.message, message);
  if (got != status) fail_msg("%s: %s, expected %s", e.message, el_status_name(got), el_status_name(status));
  assert_null(f);
}

/* scale * B (A x), in the file's order of rows; x as in forms.py. */
static void apply(const el_lora_pair *p, double *y) {
  const el_site_dims dims = el_sites_dims(&base, p->layer, p->site);
  float a[8 * 48], b[48 * 8];
  double t[8] = {0};
  assert_true(p->rank <= 8);
  el_lora_matrix_read(&p->a, p->rank, dims.in, a);
  el_lora_matrix_read(&p->b, dims.out, p->rank, b);
  for (int r = 0; r < p->rank; r++)
    for (int j = 0; j < dims.in; j++) t[r] += (double)a[r * dims.in + j] * ((37 * j) % 17 - 8) / 8;
  for (int i = 0; i < dims.out; i++) {
    y[i] = 0;
    for (int r = 0; r < p->rank; r++) y[i] += (double)p->scale * (double)b[i * p->rank + r] * t[r];
  }
}

/* el_lora_file's pairs against the case's modules, each of which it must have, and no others. tolerance: of the largest
 * value of a module. */
static void adds(const char *name, const char *dir, const json_t *modules, double tolerance) {
  el_lora_file *f = must_open(dir);
  if (el_lora_file_n(f) != json_object_size(modules))
    fail_msg("%s: %zu matrices, expected %zu", name, el_lora_file_n(f), json_object_size(modules));
  for (size_t k = 0; k < el_lora_file_n(f); k++) {
    const el_lora_pair *p = el_lora_file_at(f, k);
    char module[64];
    double y[48], largest = 0;
    snprintf(module, sizeof module, "model.layers.%d.%s", p->layer, base.site[p->site].peft);
    const json_t *expected = json_object_get(modules, module);
    if (!expected) fail_msg("%s: PEFT has nothing for %s", name, module);
    assert_int_equal(json_array_size(expected), shape.out[p->site]);
    apply(p, y);
    const el_site *site = &base.site[p->site];
    const bool as_gguf = !p->reorder_b; /* rows that llama.cpp has in another order are in that */
    for (size_t i = 0; i < json_array_size(expected); i++)
      largest = fmax(largest, fabs(json_number_value(json_array_get(expected, i))));
    assert_true(largest > 0);
    for (size_t i = 0; i < json_array_size(expected); i++) {
      double want = json_number_value(json_array_get(expected, i));
      const double got = y[as_gguf ? el_site_row(site, el_sites_dims(&base, p->layer, p->site), i) : i];
      if (fabs(got - want) > tolerance * largest)
        fail_msg("%s, %s, row %zu: %g, expected %g", name, module, i, got, want);
    }
  }
  el_lora_file_close(f);
}

static json_t *golden(void) {
  char path[512];
  snprintf(path, sizeof path, "%s/golden/forms.json", getenv("EL_TEST_DATA"));
  json_t *root = json_load_file(path, 0, NULL);
  assert_non_null(root);
  return root;
}

static void every_form_adds_what_peft_adds(void **state) {
  json_t *root = golden(), *modules;
  const char *name;
  size_t n = 0;
  json_object_foreach(json_object_get(root, "cases"), name, modules) {
    char dir[512];
    path_of(name, dir);
    if (!strcmp(name, "mica")) continue; /* refused as it is: below */
    /* What was converted is a difference of weights that were rounded to 24 bits. */
    adds(name, dir, modules, strcmp(name, "pissa") && strcmp(name, "olora") ? 1e-6 : 1e-4);
    n++;
  }
  assert_true(n >= 19);
  json_decref(root);
}

static void adapters_that_fit_a_changed_base_alone_are_refused(void **state) {
  char dir[512];
  path_of("pissa-unconverted", dir);
  refuses(dir, EL_ERR_UNSUPPORTED, "init_lora_weights is \"pissa\", which changes the base weights");
  path_of("olora-unconverted", dir);
  refuses(dir, EL_ERR_UNSUPPORTED, "path_initial_model_for_weight_conversion");
}

/* By tools/golden/outside.py. The converter writes alpha and drops use_rslora: then it is the plain product. */
static void what_llama_cpp_converts_adds_what_peft_adds(void **state) {
  char path[512];
  json_t *root = golden(), *plain = json_object_get(json_object_get(root, "cases"), "plain");
  static const char *const files[] = {"plain.gguf", "rslora.gguf"};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    path_of(files[i], path);
    adds(files[i], path, plain, 1e-6);
  }
  json_decref(root);
}

static void mica_is_refused_by_name_and_served_once_called_plain(void **state) {
  char dir[512], own[64], to[600], from[600];
  json_t *root = golden();
  json_error_t e;
  path_of("mica", dir);
  refuses(dir, EL_ERR_UNSUPPORTED, "init_lora_weights is \"mica\"");
  make_dir(own);
  snprintf(from, sizeof from, "%s/adapter_config.json", dir);
  snprintf(to, sizeof to, "%s/adapter_config.json", own);
  json_t *config = json_load_file(from, 0, &e);
  json_object_set_new(config, "init_lora_weights", json_true());
  assert_int_equal(json_dump_file(config, to, 0), 0);
  snprintf(from, sizeof from, "%s/adapter_model.safetensors", dir);
  snprintf(to, sizeof to, "%s/adapter_model.safetensors", own);
  assert_int_equal(symlink(from, to), 0);
  adds("mica", own, json_object_get(json_object_get(root, "cases"), "mica"), 1e-6);
  json_decref(config);
  json_decref(root);
  remove_tree(own);
}

/* Configurations as PEFT writes them (tools/golden/variants.py), with weights of a plain adapter. */
typedef struct variants {
  char dir[64];
  json_t *root;
} variants;

static variants open_variants(void) {
  variants v;
  char path[600], weights[600];
  make_dir(v.dir);
  snprintf(path, sizeof path, "%s/golden/variants.json", getenv("EL_TEST_DATA"));
  assert_non_null(v.root = json_load_file(path, 0, NULL));
  path_of("plain/adapter_model.safetensors", weights);
  snprintf(path, sizeof path, "%s/adapter_model.safetensors", v.dir);
  assert_int_equal(symlink(weights, path), 0);
  return v;
}

static void put_config(const variants *v, const json_t *config) {
  char path[600];
  snprintf(path, sizeof path, "%s/adapter_config.json", v->dir);
  assert_int_equal(json_dump_file(config, path, 0), 0);
}

static void close_variants(variants *v) {
  json_decref(v->root);
  remove_tree(v->dir);
}

static void every_variant_of_lora_that_peft_has_is_refused_by_its_field(void **state) {
  static const struct {
    const char *name, *message;
  } cases[] = {{"mica", "init_lora_weights is \"mica\""},
               {"pissa", "init_lora_weights is \"pissa\""},
               {"pissa_niter_16", "init_lora_weights is \"pissa_niter_16\""},
               {"olora", "init_lora_weights is \"olora\""},
               {"corda", "init_lora_weights is \"corda\""},
               {"loftq", "init_lora_weights is \"loftq\""},
               {"lora_ga", "init_lora_weights is \"lora_ga\""},
               {"kasa", "kasa_config: singular-value adaptation (KaSA)"},
               {"bdlora", "use_bdlora: block-diagonal LoRA"},
               {"arrow", "arrow_config: Arrow routing"},
               {"monteclora", "monteclora_config: Monte Carlo LoRA"},
               {"qalora", "use_qalora: quantisation-aware LoRA"},
               {"megatron", "megatron_config: LoRA on Megatron"},
               {"layer_replication", "layer_replication: replicated layers"}};
  variants v = open_variants();
  const json_t *refused = json_object_get(v.root, "refused");
  assert_int_equal(json_object_size(refused), sizeof cases / sizeof *cases);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    put_config(&v, json_object_get(refused, cases[i].name));
    refuses(v.dir, EL_ERR_UNSUPPORTED, cases[i].message);
  }
  const char *name;
  json_t *config;
  json_object_foreach(json_object_get(v.root, "served"), name, config) {
    put_config(&v, config);
    el_lora_file_close(must_open(v.dir));
  }
  close_variants(&v);
}

static void every_other_kind_that_peft_has_is_refused_by_its_type(void **state) {
  variants v = open_variants();
  const char *kind;
  json_t *config;
  json_object_foreach(json_object_get(v.root, "kinds"), kind, config) {
    char message[128];
    snprintf(message, sizeof message, "peft_type is \"%s\"; only \"LORA\" is supported", kind);
    put_config(&v, config);
    refuses(v.dir, EL_ERR_UNSUPPORTED, message);
  }
  assert_true(json_object_size(json_object_get(v.root, "kinds")) >= 44);
  close_variants(&v);
}

/* A field that is known takes something else to be refused than being set. */
static void every_field_of_loraconfig_is_known(void **state) {
  variants v = open_variants();
  size_t i;
  json_t *field;
  const json_t *plain = json_object_get(json_object_get(v.root, "served"), "gaussian");
  json_array_foreach(json_object_get(v.root, "lora_fields"), i, field) {
    json_t *config = json_copy((json_t *)plain);
    el_lora_file *f = NULL;
    el_error e = {0};
    json_object_set_new(config, json_string_value(field), json_true());
    put_config(&v, config);
    if (el_lora_file_open(v.dir, &base, &f, &e) && strstr(e.message, "is not known")) fail_msg("%s", e.message);
    el_lora_file_close(f);
    json_decref(config);
  }
  assert_true(i >= 42);
  close_variants(&v);
}

/* ---------------------------------------------------------------- keys */

static void keys_lose_wrappers_and_the_adapters_name(void **state) {
  static const struct {
    const char *key, *plain, *adapter;
  } cases[] = {
      {"base_model.model.model.layers.0.mlp.up_proj.lora_A.weight", "model.layers.0.mlp.up_proj.lora_A.weight", ""},
      {"model.layers.0.mlp.up_proj.lora_B.weight", "model.layers.0.mlp.up_proj.lora_B.weight", ""},
      {"base_model.model.x.lora_A.default.weight", "x.lora_A.weight", "default"},
      {"base_model.model.x.lora_B.my-adapter_2.weight", "x.lora_B.weight", "my-adapter_2"},
      {"base_model.model.x.lora_B.sql.bias", "x.lora_B.bias", "sql"},
      {"base_model.model.base_model.model.base_model.model.x.lora_A.weight", "x.lora_A.weight", ""},
      {"module.base_model.model.x.lora_A.weight", "x.lora_A.weight", ""},
      {"_orig_mod.module.base_model.model._orig_mod.x.lora_A.weight", "x.lora_A.weight", ""},
      {"_fsdp_wrapped_module.base_model.model.a._fsdp_wrapped_module.b.lora_A.default._fsdp_wrapped_module.weight",
       "a.b.lora_A.weight", "default"},
      {"base_model._orig_mod.model.a.0._checkpoint_wrapped_module.b.lora_A.weight", "a.0.b.lora_A.weight", ""},
      {"base_model.model.a.base_model.model.lora_A.weight", "a.base_model.model.lora_A.weight", ""},
      {"base_model.model.e.lora_embedding_A", "e.lora_embedding_A", ""},
      {"base_model.model.e.lora_embedding_B.default", "e.lora_embedding_B", "default"},
      {"base_model.model.x.lora_magnitude_vector", "x.lora_magnitude_vector", ""},
      {"base_model.model.x.lora_magnitude_vector.weight", "x.lora_magnitude_vector", ""},
      {"base_model.model.x.lora_magnitude_vector.default", "x.lora_magnitude_vector", "default"},
      {"base_model.model.x.lora_magnitude_vector.default.weight", "x.lora_magnitude_vector", "default"},
      {"base_model.model.lm_head.modules_to_save.default.weight", "lm_head.weight", "default"},
      {"base_model.model.lm_head.modules_to_save.weight", "lm_head.weight", ""},
      {"x.lora_A.a.b.weight", "x.lora_A.a.b.weight", ""},
      {"x.lora_A.default", "x.lora_A", "default"},
      {"x.lora_A", "x.lora_A", ""},
      {"x.lora_A.", "x.lora_A.", ""},
      {"a..b", "a..b", ""},
      {".lora_A.weight", ".lora_A.weight", ""},
      {"base_model.model.", ".", ""},
      {"base_model.model", "", ""},
      {"base_model", "base_model", ""},
      {"modules_to_save", "modules_to_save", ""},
      {"module", "module", ""},
      {".", ".", ""},
      {"", "", ""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const size_t len = strlen(cases[i].key);
    char *key = (char *)exact(&(el_buf){.data = (char *)cases[i].key, .len = len}, len);
    char *room = malloc(len ? len : 1); /* no byte more, for the sanitizer */
    el_str adapter, plain = el_peft_key((el_str){key, len}, room, &adapter);
    if (!el_str_eq(plain, cases[i].plain) || !el_str_eq(adapter, cases[i].adapter))
      fail_msg("%s: '%.*s' of '%.*s'", cases[i].key, (int)plain.len, plain.data, (int)adapter.len, adapter.data);
    free(room);
    free(key);
  }
}

static void layers_are_found_behind_a_models_own_names(void **state) {
  static const struct {
    const char *module;
    int layer; /* -1: in none */
    const char *rest;
  } cases[] = {
      {"model.layers.7.self_attn.q_proj", 7, "self_attn.q_proj"},
      {"layers.0.mlp.up_proj", 0, "mlp.up_proj"},
      {"language_model.model.layers.1.x", 1, "x"},
      {"model.language_model.layers.1.x", 1, "x"},
      {"language_model.layers.1.x", 1, "x"},
      {"model.text_model.layers.1.x", 1, "x"},
      {"model.model.layers.1.x", 1, "x"},
      {"transformer.layers.12.attn.qkv_proj", 12, "attn.qkv_proj"},
      {"model.vision_tower.layers.1.x", -1, NULL},
      {"vision_model.encoder.layers.1.x", -1, NULL},
      {"model.layers.01.x", -1, NULL},
      {"model.layers.1", -1, NULL},
      {"model.layers", -1, NULL},
      {"model", -1, NULL},
      {"", -1, NULL},
      {"lm_head", -1, NULL},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    el_str s = {cases[i].module, strlen(cases[i].module)};
    int layer = -1;
    bool found = el_peft_skip_layer(&s, &layer);
    if (found != (cases[i].layer >= 0)) fail_msg("%s: %d", cases[i].module, found);
    if (found && (layer != cases[i].layer || !el_str_eq(s, cases[i].rest))) fail_msg("%s: %d", cases[i].module, layer);
    if (!found) assert_true(el_str_eq(s, cases[i].module));
  }
}

/* ---------------------------------------------------------------- folders made here */

#define A0 "base_model.model.model.layers.0.self_attn.q_proj.lora_A"
#define B0 "base_model.model.model.layers.0.self_attn.q_proj.lora_B"
#define PLAIN "{\"peft_type\":\"LORA\",\"r\":1,\"lora_alpha\":1}"

/* Writes `file` with F32 tensors of ones: name, rows, cols, ... up to NULL. */
static void put_weights(const char *dir, const char *file, const char *const *names, const int (*dims)[2]) {
  el_buf header = {0}, data = {0}, b = {0};
  el_buf_printf(&header, "{");
  for (int i = 0; names[i]; i++) {
    size_t begin = data.len;
    for (int k = 0; k < dims[i][0] * dims[i][1]; k++) put_f32(&data, 1);
    el_buf_printf(&header, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%d,%d],\"data_offsets\":[%zu,%zu]}", i ? "," : "",
                  names[i], dims[i][0], dims[i][1], begin, data.len);
  }
  el_buf_printf(&header, "}");
  put_safetensors(&b, header.data, data.data ? data.data : "", data.len);
  write_file(dir, file, b.data, b.len);
  el_buf_free(&header);
  el_buf_free(&data);
  el_buf_free(&b);
}

static void put_text(const char *dir, const char *file, const char *text) {
  write_file(dir, file, text, strlen(text));
}

static void a_file_with_several_adapters_is_refused_by_their_names(void **state) {
  char dir[64];
  make_dir(dir);
  put_text(dir, "adapter_config.json", PLAIN);
  put_weights(dir, "adapter_model.safetensors",
              (const char *[]){A0 ".one.weight", B0 ".one.weight",
                               "base_model.model.model.layers.1.self_attn.q_proj.lora_A.two.weight",
                               "base_model.model.model.layers.1.self_attn.q_proj.lora_B.two.weight", NULL},
              (const int[][2]){{1, 32}, {32, 1}, {1, 32}, {32, 1}});
  refuses(dir, EL_ERR_UNSUPPORTED, "holds several adapters, such as one and two");
  remove_tree(dir);
}

static void shards_that_do_not_fit_their_index_are_refused(void **state) {
  static const struct {
    const char *index, *message;
  } cases[] = {
      {"", "line 1"},
      {"{}", "weight_map is not an object"},
      {"{\"weight_map\":[]}", "weight_map is not an object"},
      {"{\"weight_map\":{}}", "holds no LoRA weights"},
      {"{\"weight_map\":{\"x\":1}}", "the file of x is not a string"},
      {"{\"weight_map\":{\"x\":\"../one.safetensors\"}}", "\"../one.safetensors\" is no file of this folder"},
      {"{\"weight_map\":{\"x\":\"/etc/passwd\"}}", "is no file of this folder"},
      {"{\"weight_map\":{\"x\":\"\"}}", "is no file of this folder"},
      {"{\"weight_map\":{\"x\":\".\"}}", "is no file of this folder"},
      {"{\"weight_map\":{\"x\":\"one.safetensors\"}}", "tensor x is not in one.safetensors"},
      {"{\"weight_map\":{\"" A0 ".weight\":\"two.safetensors\",\"" B0 ".weight\":\"two.safetensors\"}}",
       A0 ".weight is not in two.safetensors"},
      {"{\"weight_map\":{\"" B0 ".weight\":\"two.safetensors\"}}", "lora_B.weight has no lora_A beside it"},
      {"{\"weight_map\":{\"" A0 ".weight\":\"one.safetensors\",\"" B0 ".weight\":\"both.safetensors\"}}",
       "weight_map has 2 tensors, its files have 3"},
  };
  char dir[64];
  make_dir(dir);
  put_text(dir, "adapter_config.json", PLAIN);
  put_weights(dir, "one.safetensors", (const char *[]){A0 ".weight", NULL}, (const int[][2]){{1, 32}});
  put_weights(dir, "two.safetensors", (const char *[]){B0 ".weight", NULL}, (const int[][2]){{32, 1}});
  put_weights(dir, "both.safetensors", (const char *[]){A0 ".weight", B0 ".weight", NULL},
              (const int[][2]){{1, 32}, {32, 1}});
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    put_text(dir, "adapter_model.safetensors.index.json", cases[i].index);
    refuses(dir, EL_ERR_FORMAT, cases[i].message);
  }
  put_text(dir, "adapter_model.safetensors.index.json", "{\"weight_map\":{\"x\":\"three.safetensors\"}}");
  refuses(dir, EL_ERR_IO, "three.safetensors: No such file");
  put_text(dir, "adapter_model.safetensors.index.json",
           "{\"weight_map\":{\"" A0 ".weight\":\"one.safetensors\",\"" B0 ".weight\":\"two.safetensors\"}}");
  el_lora_file_close(must_open(dir));
  remove_tree(dir);
}

static void mlx_adapters_that_cannot_be_told_are_refused(void **state) {
#define KIND "\"fine_tune_type\":\"lora\""
#define SIZES "\"rank\":1,\"scale\":2.5"
  static const struct {
    const char *config;
    el_status status;
    const char *message;
  } cases[] = {
      {"{\"fine_tune_type\":\"dora\",\"lora_parameters\":{" SIZES "}}", EL_ERR_FORMAT, "has no lora_magnitude_vector"},
      {"{\"fine_tune_type\":\"full\"}", EL_ERR_UNSUPPORTED, "fine_tune_type is \"full\""},
      {"{" KIND "}", EL_ERR_FORMAT, "lora_parameters is missing"},
      {"{" KIND ",\"lora_parameters\":7}", EL_ERR_FORMAT, "lora_parameters is not an object"},
      {"{" KIND ",\"lora_parameters\":{\"rank\":1}}", EL_ERR_FORMAT, "lora_parameters.scale is missing"},
      {"{" KIND ",\"lora_parameters\":{\"scale\":1}}", EL_ERR_FORMAT, "lora_parameters.rank is missing"},
      {"{" KIND ",\"lora_parameters\":{\"rank\":0,\"scale\":1}}", EL_ERR_FORMAT, "lora_parameters.rank is 0"},
      {"{" KIND ",\"lora_parameters\":{\"rank\":1,\"scale\":\"1\"}}", EL_ERR_FORMAT, "scale is not a number"},
      {"{" KIND ",\"lora_parameters\":{\"rank\":4,\"scale\":1e308}}", EL_ERR_FORMAT, "expected 4 x 32"},
      {"{" KIND ",\"lora_parameters\":{" SIZES ",\"alpha\":16}}", EL_ERR_UNSUPPORTED, "lora_parameters.alpha: earlier"},
      {"{" KIND ",\"lora_parameters\":{" SIZES ",\"tomorrow\":16}}", EL_ERR_UNSUPPORTED, "lora_parameters.tomorrow"},
      {"{" KIND ",\"use_dora\":true,\"lora_parameters\":{" SIZES "}}", EL_ERR_FORMAT, "has no lora_magnitude_vector"},
      {"{" KIND ",\"use_dora\":1,\"lora_parameters\":{" SIZES "}}", EL_ERR_FORMAT, "use_dora is not true or false"},
      {"{" KIND ",\"num_layers\":1,\"lora_parameters\":{" SIZES "}}", EL_ERR_FORMAT,
       "num_layers is 1, so layers below 1"},
      {"{" KIND ",\"num_layers\":\"1\",\"lora_parameters\":{" SIZES "}}", EL_ERR_FORMAT,
       "num_layers is not an integer"},
      {PLAIN, EL_ERR_UNSUPPORTED, "tensor model.layers.0.self_attn.q_proj.lora_a"}, /* PEFT's, with mlx-lm's weights */
  };
  char dir[64];
  make_dir(dir);
  put_weights(
      dir, "adapters.safetensors",
      (const char *[]){"model.layers.0.self_attn.q_proj.lora_a", "model.layers.0.self_attn.q_proj.lora_b", NULL},
      (const int[][2]){{32, 1}, {1, 32}});
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    put_text(dir, "adapter_config.json", cases[i].config);
    refuses(dir, cases[i].status, cases[i].message);
  }
  put_text(dir, "adapter_config.json", "{" KIND ",\"num_layers\":-1,\"lora_parameters\":{" SIZES "}}");
  el_lora_file *f = must_open(dir);
  assert_true(el_lora_file_at(f, 0)->scale == 2.5f);
  el_lora_file_close(f);
  put_text(dir, "adapter_config.json",
           "{\"lora_layers\":2,\"lora_parameters\":{" SIZES "}}"); /* an earlier version's */
  el_lora_file_close(must_open(dir));
  put_text(dir, "adapter_model.safetensors.index.json", "{}");
  refuses(dir, EL_ERR_FORMAT, "holds both adapter_model.safetensors.index.json and adapters.safetensors");
  remove_tree(dir);
}

static void a_field_that_nobody_knows_is_refused_when_it_is_set(void **state) {
  char dir[64], config[256];
  static const char *const off[] = {"null", "false", "0", "\"\"", "[]", "{}"}, *const on[] = {"true", "1",
                                                                                              "-0.5", "\"x\"",
                                                                                              "[0]",  "{\"a\":null}"};
  make_dir(dir);
  put_weights(dir, "adapter_model.safetensors", (const char *[]){A0 ".weight", B0 ".weight", NULL},
              (const int[][2]){{1, 32}, {32, 1}});
  for (size_t i = 0; i < 6; i++) {
    snprintf(config, sizeof config, "{\"peft_type\":\"LORA\",\"r\":1,\"lora_alpha\":1,\"of_tomorrow\":%s}", off[i]);
    put_text(dir, "adapter_config.json", config);
    el_lora_file_close(must_open(dir));
    snprintf(config, sizeof config, "{\"peft_type\":\"LORA\",\"r\":1,\"lora_alpha\":1,\"of_tomorrow\":%s}", on[i]);
    put_text(dir, "adapter_config.json", config);
    refuses(dir, EL_ERR_UNSUPPORTED, "of_tomorrow: this field is not known, and it is set");
  }
  put_text(dir, "adapter_config.json",
           "{\"peft_type\":\"LORA\",\"r\":1,\"lora_alpha\":1,\"init_lora_weights\":\"svd\"}");
  refuses(dir, EL_ERR_UNSUPPORTED, "init_lora_weights is \"svd\", which is not known");
  remove_tree(dir);
}

static void other_methods_are_refused_by_name(void **state) {
  static const char *const types[] = {"VERA", "LOHA",          "LOKR",          "IA3",
                                      "OFT",  "PREFIX_TUNING", "PROMPT_TUNING", "ADALORA"};
  char dir[64], config[128], message[64];
  make_dir(dir);
  put_weights(dir, "adapter_model.safetensors", (const char *[]){A0 ".weight", B0 ".weight", NULL},
              (const int[][2]){{1, 32}, {32, 1}});
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    snprintf(config, sizeof config, "{\"peft_type\":\"%s\",\"r\":1}", types[i]);
    snprintf(message, sizeof message, "peft_type is \"%s\"", types[i]);
    put_text(dir, "adapter_config.json", config);
    refuses(dir, EL_ERR_UNSUPPORTED, message);
  }
  remove_tree(dir);
}

int main(void) {
  base = make_sites(&shape, base_dims);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_form_adds_what_peft_adds),
      cmocka_unit_test(adapters_that_fit_a_changed_base_alone_are_refused),
      cmocka_unit_test(what_llama_cpp_converts_adds_what_peft_adds),
      cmocka_unit_test(mica_is_refused_by_name_and_served_once_called_plain),
      cmocka_unit_test(every_variant_of_lora_that_peft_has_is_refused_by_its_field),
      cmocka_unit_test(every_other_kind_that_peft_has_is_refused_by_its_type),
      cmocka_unit_test(every_field_of_loraconfig_is_known),
      cmocka_unit_test(keys_lose_wrappers_and_the_adapters_name),
      cmocka_unit_test(layers_are_found_behind_a_models_own_names),
      cmocka_unit_test(a_file_with_several_adapters_is_refused_by_their_names),
      cmocka_unit_test(shards_that_do_not_fit_their_index_are_refused),
      cmocka_unit_test(mlx_adapters_that_cannot_be_told_are_refused),
      cmocka_unit_test(a_field_that_nobody_knows_is_refused_when_it_is_set),
      cmocka_unit_test(other_methods_are_refused_by_name),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
