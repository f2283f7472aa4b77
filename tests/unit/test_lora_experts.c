/* Adapters on experts as files: every form in which they are written says what the program that wrote it computes with
 * it, and what does not fit the base is refused by name. */
#include <math.h>

#include "adapter/packer.h"
#include "arch/arch.h"
#include "peft_fixture.h"

enum { RANK = 2, LAYER = 1, N_LAYERS = 2, MAX_EXPERTS = 4, MAX_WIDTH = 16 };
static const float SCALE = 2;

/* The base: as many experts, inputs and outputs as a test wants. */
typedef struct base {
  el_sites *sites;
  int n_experts, embd, ff;
  bool transposed, in_turn;            /* how transformers keeps the parameters */
  const char *module, *gate_up, *down; /* what it calls them */
} base;

static base base_new(const char *arch, int n_experts, int embd, int ff) {
  el_error e = {0};
  const el_hparams h = {.arch = el_arch_find((el_str){arch, strlen(arch)}),
                        .n_layers = N_LAYERS,
                        .n_embd = embd,
                        .n_head = 2,
                        .n_head_kv = 1,
                        .head_dim = 4,
                        .n_experts = n_experts,
                        .n_experts_used = 1,
                        .n_ff_expert = ff};
  base b = {.n_experts = n_experts,
            .embd = embd,
            .ff = ff,
            .module = "mlp.experts",
            .gate_up = "gate_up_proj",
            .down = "down_proj"};
  b.transposed = b.in_turn = !strcmp(arch, "gpt-oss");
  if (!strcmp(arch, "granitemoe")) b.module = "block_sparse_moe.experts";
  if (el_sites_new(&h, &b.sites, &e)) fail_msg("%s", e.message);
  return b;
}

static float next(unsigned *seed) {
  *seed = *seed * 1664525u + 1013904223u;
  return (float)(int)(*seed >> 24) / 64 - 2;
}

/* ------------------------------------------------------ what PEFT computes */

/* How PEFT sees a parameter [experts, d1, d2]: it calls one of the two sizes `in`. */
typedef struct version {
  const char *text; /* in adapter_config.json; NULL: nothing, as before 0.18 */
  enum { BY_PLACE, SWAPS_TRANSPOSED, SWAPS_OTHERS } rule;
} version;

static const version versions[] = {
    {NULL, BY_PLACE},         {"0.17.1", BY_PLACE},     {"0.18.1", BY_PLACE},        {"0.19.0", SWAPS_TRANSPOSED},
    {"0.19.1", SWAPS_OTHERS}, {"0.21.2", SWAPS_OTHERS}, {"1.0.0.dev0", SWAPS_OTHERS}};
enum { N_VERSIONS = sizeof versions / sizeof *versions };

static bool swaps(const version *v, bool transposed) {
  return v->rule == BY_PLACE ? false : v->rule == SWAPS_TRANSPOSED ? transposed : !transposed;
}

/* A change of a parameter, [experts][d1][d2], and the tensors that PEFT saves for it; peft/tuners/lora/layer.py,
 * ParamWrapper.get_delta_weight: einsum("o r e, e r i -> e i o", B, A), or -> e o i where in and out are swapped. */
typedef struct change {
  int n, d1, d2;
  float at[MAX_EXPERTS][2 * MAX_WIDTH][2 * MAX_WIDTH];
} change;

static void add_parameter(weights *w, const char *key, const version *v, const base *b, int d1, int d2, unsigned seed,
                          change *out) {
  const bool swapped = swaps(v, b->transposed);
  const int in = swapped ? d2 : d1, outs = swapped ? d1 : d2, n = b->n_experts;
  static float A[MAX_EXPERTS * RANK * 2 * MAX_WIDTH], B[MAX_EXPERTS * RANK * 2 * MAX_WIDTH];
  char name[160];
  for (int i = 0; i < n * RANK * in; i++) A[i] = next(&seed);
  for (int i = 0; i < n * RANK * outs; i++) B[i] = next(&seed);
  snprintf(name, sizeof name, "base_model.model.model.layers.%d.%s.lora_A.weight", LAYER, key);
  add_raw(w, name, "F32", n * RANK, in, 4, A);
  snprintf(name, sizeof name, "base_model.model.model.layers.%d.%s.lora_B.weight", LAYER, key);
  add_raw(w, name, "F32", outs, n * RANK, 4, B);
  *out = (change){.n = n, .d1 = d1, .d2 = d2};
  for (int e = 0; e < n; e++)
    for (int r = 0; r < RANK; r++)
      for (int o = 0; o < outs; o++)
        for (int i = 0; i < in; i++)
          *(swapped ? &out->at[e][o][i] : &out->at[e][i][o]) +=
              SCALE * B[o * RANK * n + r * n + e] * A[(e * RANK + r) * in + i];
}

/* What is added to row o, column i of an expert's matrix: gate (0), up (1) or down (2). */
static float wanted(const base *b, const change *gate_up, const change *down, int matrix, int e, int o, int i) {
  const change *c = matrix == 2 ? down : gate_up;
  if (matrix < 2) o = b->in_turn ? 2 * o + matrix : matrix * b->ff + o;
  return b->transposed ? c->at[e][i][o] : c->at[e][o][i];
}

/* What the file's pair adds there. */
static float added(const el_lora_pair *p, const el_site_dims dims, int o, int i) {
  float A[RANK * 2 * MAX_WIDTH], B[RANK * 2 * MAX_WIDTH], sum = 0;
  el_lora_matrix_read(&p->a, p->rank, dims.in, A);
  el_lora_matrix_read(&p->b, dims.out, p->rank, B);
  for (int r = 0; r < p->rank; r++) sum += B[o * p->rank + r] * A[r * dims.in + i];
  return p->scale * sum;
}

static void assert_change(const base *b, const el_lora_file *f, const change *gate_up, const change *down,
                          const char *what) {
  size_t at = 0;
  for (int m = 0; m < EL_N_EXPERT_SITES; m++)
    for (int e = 0; e < b->n_experts; e++) {
      if (!(m == 2 ? down : gate_up)) continue;
      assert_true(at < el_lora_file_n(f));
      const el_lora_pair *p = el_lora_file_at(f, at++);
      const el_site_dims dims = el_sites_dims(b->sites, LAYER, b->sites->n_sites + m);
      assert_int_equal(p->layer, LAYER);
      assert_int_equal(p->site, b->sites->n_sites + m);
      assert_int_equal(p->expert, e);
      assert_int_equal(p->rank, RANK);
      for (int o = 0; o < dims.out; o++)
        for (int i = 0; i < dims.in; i++) {
          const float is = added(p, dims, o, i), is_to_be = wanted(b, gate_up, down, m, e, o, i);
          if (fabsf(is - is_to_be) > 1e-3f)
            fail_msg("%s, %s, matrix %d of expert %d at %d, %d: %g, expected %g", b->sites->arch->name, what, m, e, o,
                     i, (double)is, (double)is_to_be);
        }
    }
  assert_int_equal(at, el_lora_file_n(f));
}

#define CONFIG "\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":4"

static void config_of(char *out, size_t n, const version *v, const char *more) {
  char text[64] = "";
  if (v->text) snprintf(text, sizeof text, ",\"peft_version\":\"%s\"", v->text);
  snprintf(out, n, "{" CONFIG "%s%s}", text, more);
}

static el_lora_file *must_open(const char *config, weights *w, const el_sites *sites) {
  el_lora_file *f = NULL;
  el_error e = {0};
  if (open_weights(config, w, sites, &f, &e)) fail_msg("%s", e.message);
  return f;
}

/* Both parameters, PEFT's wrappers nested as they come; or one of them alone. */
static void check_parameters(const base *b, const version *v, bool has_gate_up, bool has_down) {
  static change gate_up, down;
  weights w = {0};
  char config[256], key[64];
  const int wide = 2 * b->ff;
  if (has_gate_up) {
    snprintf(key, sizeof key, "%s%s", b->module, has_down ? ".base_layer" : "");
    add_parameter(&w, key, v, b, b->transposed ? b->embd : wide, b->transposed ? wide : b->embd, 1, &gate_up);
  }
  if (has_down)
    add_parameter(&w, b->module, v, b, b->transposed ? b->ff : b->embd, b->transposed ? b->embd : b->ff, 2, &down);
  config_of(config, sizeof config, v, ",\"target_parameters\":[\"experts.gate_up_proj\",\"experts.down_proj\"]");
  el_lora_file *f = must_open(config, &w, b->sites);
  assert_change(b, f, has_gate_up ? &gate_up : NULL, has_down ? &down : NULL, v->text ? v->text : "no version");
  el_lora_file_close(f);
}

static void parameters_of_experts_mean_what_peft_computes(void **state) {
  static const char *const archs[] = {"qwen3moe", "gpt-oss", "granitemoe"};
  static const int widths[][2] = {{16, 12}, {12, 16}, {16, 8}, {16, 16}}; /* the last two are square */
  for (size_t i = 0; i < 3; i++)
    for (size_t k = 0; k < 4; k++)
      for (size_t v = 0; v < N_VERSIONS; v++) {
        base b = base_new(archs[i], 3, widths[k][0], widths[k][1]);
        check_parameters(&b, &versions[v], true, true);
        check_parameters(&b, &versions[v], true, false);
        check_parameters(&b, &versions[v], false, true);
        el_sites_free(b.sites);
      }
}

/* Granite's experts in transformers 4: a module with a weight for each of the two products. */
static void parameters_that_were_renamed_are_known_by_both_names(void **state) {
  static change gate_up, down;
  base b = base_new("granitemoe", 3, 16, 8);
  weights w = {0};
  const version *v = &versions[2];
  char config[256];
  add_parameter(&w, "block_sparse_moe.input_linear", v, &b, 16, 16, 1, &gate_up);
  add_parameter(&w, "block_sparse_moe.output_linear", v, &b, 16, 8, 2, &down);
  config_of(config, sizeof config, v, ",\"target_parameters\":[\"input_linear.weight\",\"output_linear.weight\"]");
  el_lora_file *f = must_open(config, &w, b.sites);
  assert_change(&b, f, &gate_up, &down, "transformers 4");
  el_lora_file_close(f);
  el_sites_free(b.sites);
}

static void patterns_are_matched_with_parameters_names(void **state) {
  base b = base_new("qwen3moe", 2, 16, 12);
  static change c;
  weights w = {0};
  add_parameter(&w, "mlp.experts", &versions[5], &b, 16, 12, 1, &c);
  el_lora_file *f = must_open(
      "{\"peft_type\":\"LORA\",\"r\":9,\"lora_alpha\":1,\"peft_version\":\"0.21.2\","
      "\"rank_pattern\":{\"experts.gate_up_proj\":7,\"model.layers.1.mlp.experts.down_proj\":2},"
      "\"alpha_pattern\":{\"experts.down_proj\":6}}",
      &w, b.sites);
  assert_int_equal(el_lora_file_n(f), 2);
  assert_int_equal(el_lora_file_at(f, 0)->rank, 2);
  assert_true(el_lora_file_at(f, 0)->scale == 3);
  el_lora_file_close(f);
  el_sites_free(b.sites);
}

/* --- a module for each expert */

static void add_pair(weights *w, const char *module, int rank, int in, int out, unsigned seed) {
  float values[RANK * 2 * MAX_WIDTH];
  char name[160];
  for (int i = 0; i < rank * in; i++) values[i] = next(&seed);
  snprintf(name, sizeof name, "base_model.model.model.layers.%d.%s.lora_A.weight", LAYER, module);
  add_raw(w, name, "F32", rank, in, 4, values);
  for (int i = 0; i < rank * out; i++) values[i] = next(&seed);
  snprintf(name, sizeof name, "base_model.model.model.layers.%d.%s.lora_B.weight", LAYER, module);
  add_raw(w, name, "F32", out, rank, 4, values);
}

static void some_experts_may_have_matrices_and_others_none(void **state) {
  base b = base_new("qwen3moe", 4, 16, 12);
  weights w = {0};
  add_pair(&w, "mlp.experts.3.up_proj", 1, 16, 12, 1);
  add_pair(&w, "mlp.experts.0.up_proj", 2, 16, 12, 2);
  add_pair(&w, "mlp.gate", 2, 16, 4, 3); /* the router */
  el_lora_file *f = must_open("{" CONFIG ",\"rank_pattern\":{\"experts\\\\.3\\\\.up_proj\":1}}", &w, b.sites);
  assert_int_equal(el_lora_file_n(f), 3);
  const el_lora_pair *router = el_lora_file_at(f, 0), *first = router + 1, *last = router + 2;
  assert_string_equal(b.sites->site[router->site].name, "ffn_gate_inp");
  assert_string_equal(b.sites->site[first->site].name, "ffn_up_exps");
  assert_true(first->expert == 0 && first->rank == 2 && last->expert == 3 && last->rank == 1);

  const el_kernels *k = el_kernels_at(0);
  el_adapter *a = NULL;
  el_error e = {0};
  if (el_adapter_pack(f, b.sites, NULL, k, EL_LAYOUT_F16, &a, &e)) fail_msg("%s", e.message);
  assert_null(el_adapter_expert_site(a, 0, first->site, 0));
  const int input = b.sites->n_inputs;
  for (int i = 0; i < 4; i++) {
    const int rank = i == 0 ? 2 : i == 3 ? 1 : 0;
    assert_int_equal(el_adapter_expert_site(a, LAYER, first->site, i)->b.cols, rank);
    assert_int_equal(el_adapter_expert_site(a, LAYER, first->site, i)->b.data != NULL, rank > 0);
    assert_int_equal(el_adapter_expert_a(a, LAYER, input, i)->rows, rank);
    assert_null(el_adapter_expert_a(a, LAYER, input + 1, i)->data);
  }
  el_adapter_free(a);
  el_lora_file_close(f);
  el_sites_free(b.sites);
}

/* What 4-bit training leaves of gpt-oss's experts: gate and up joined, in alternating rows. */
static void joined_modules_of_single_experts_are_divided(void **state) {
  base b = base_new("gpt-oss", 3, 16, 12);
  weights w = {0};
  add_pair(&w, "mlp.experts.gate_up_projs.2", 2, 16, 24, 1);
  el_lora_file *f = must_open("{" CONFIG "}", &w, b.sites);
  assert_int_equal(el_lora_file_n(f), 2);
  float whole[24][2], gate[12][2], up[12][2];
  unsigned seed = 1;
  for (int i = 0; i < 2 * 16; i++) next(&seed);
  for (int i = 0; i < 24; i++) whole[i][0] = next(&seed), whole[i][1] = next(&seed);
  el_lora_matrix_read(&el_lora_file_at(f, 0)->b, 12, 2, gate[0]);
  el_lora_matrix_read(&el_lora_file_at(f, 1)->b, 12, 2, up[0]);
  for (int i = 0; i < 12; i++) {
    assert_memory_equal(gate[i], whole[2 * i], sizeof gate[i]);
    assert_memory_equal(up[i], whole[2 * i + 1], sizeof up[i]);
  }
  assert_int_equal(el_lora_file_at(f, 1)->expert, 2);
  el_lora_file_close(f);
  el_sites_free(b.sites);
}

/* --- what does not fit */

static void refuses(const base *b, const char *config, weights *w, const char *message) {
  el_lora_file *f = NULL;
  el_error e = {0};
  if (!open_weights(config, w, b->sites, &f, &e)) fail_msg("opened, expected: %s", message);
  assert_contains(e.message, message);
}

/* A pair of tensors for a parameter of experts, in any size. */
static void add_sizes(weights *w, const char *module, int a_rows, int a_cols, int b_rows, int b_cols) {
  static const float zeros[64 * 64];
  char name[160];
  snprintf(name, sizeof name, "base_model.model.model.layers.%d.%s.lora_A.weight", LAYER, module);
  if (a_rows) add_raw(w, name, "F32", a_rows, a_cols, 4, zeros);
  snprintf(name, sizeof name, "base_model.model.model.layers.%d.%s.lora_B.weight", LAYER, module);
  if (b_rows) add_raw(w, name, "F32", b_rows, b_cols, 4, zeros);
}

static void parameters_that_do_not_fit_are_refused_by_name(void **state) {
  static const struct {
    int a_rows, a_cols, b_rows, b_cols;
    const char *message;
  } cases[] = {
      {8, 16, 24, 6, "lora_A.weight has 8 rows, expected 6: 3 experts of rank 2"},
      {6, 16, 24, 8, "lora_B.weight has 8 columns, expected 6: 3 experts of rank 2"},
      {6, 16, 20, 6, "no parameter of the base model's experts is for a lora_A 6 x 16 with a lora_B 20 x 6"},
      {16, 6, 6, 24, "no parameter of the base model's experts is for a lora_A 16 x 6"},
      {6, 16, 0, 0, "lora_A.weight has no lora_B beside it"},
      {0, 0, 24, 6, "lora_B.weight has no lora_A beside it"},
      {0, 16, 24, 6, "lora_B.weight has no lora_A beside it"},
  };
  base b = base_new("qwen3moe", 3, 16, 12);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    weights w = {0};
    add_sizes(&w, "mlp.experts", cases[i].a_rows, cases[i].a_cols, cases[i].b_rows, cases[i].b_cols);
    refuses(&b, "{" CONFIG "}", &w, cases[i].message);
  }
  weights w = {0};
  add_sizes(&w, "mlp.experts", 6, 16, 24, 6);
  add_sizes(&w, "mlp.experts.base_layer", 6, 16, 24, 6);
  refuses(&b, "{" CONFIG "}", &w, "are the same part");
  add_sizes(&w, "mlp.experts", 6, 16, 24, 6);
  add_sizes(&w, "mlp.experts.1.up_proj", 2, 16, 12, 2);
  refuses(&b, "{" CONFIG "}", &w, "are the same part");
  add_sizes(&w, "mlp.experts", 6, 16, 24, 6);
  add_sizes(&w, "mlp.experts.0.up_proj", 2, 16, 12, 2);
  refuses(&b, "{" CONFIG "}", &w, "are the same part");
  add_sizes(&w, "self_attn.q_proj", 6, 16, 8, 6);
  refuses(&b, "{" CONFIG ",\"target_parameters\":[\"q_proj.weight\"]}", &w,
          "q_proj.lora_A.weight is 6 x 16, expected 2 x 16");
  add_sizes(&w, "mlp.experts", 6, 16, 24, 6);
  refuses(&b, "{" CONFIG ",\"target_parameters\":{}}", &w, "target_parameters is not an array");
  add_sizes(&w, "mlp.experts", 6, 16, 24, 6);
  refuses(&b, "{" CONFIG ",\"target_parameters\":[1]}", &w, "target_parameters is not an array of strings");
  el_sites_free(b.sites);
}

/* A vector of n values, of which value i is i + 1. */
static void add_vector(weights *w, const char *module, const char *tensor, int n) {
  float values[4 * MAX_WIDTH];
  char name[160];
  for (int i = 0; i < n; i++) values[i] = (float)(i + 1);
  snprintf(name, sizeof name, "base_model.model.model.layers.%d.%s.%s", LAYER, module, tensor);
  add_raw(w, name, "F32", 1, n, 4, values);
  json_object_set_new(json_object_get(w->header, name), "shape", json_pack("[i]", n));
}

static void what_dora_and_biases_train_of_one_expert_is_that_experts(void **state) {
  static const struct {
    const char *arch, *module, *tensor, *config;
    el_lora_kind kind;
    int out, n_sites, expert;
    bool in_turn;
  } cases[] = {
      {"qwen3moe", "mlp.experts.1.up_proj", "lora_magnitude_vector", "\"use_dora\":true", EL_LORA_MAGNITUDE, 12, 1, 1,
       0},
      {"qwen3moe", "mlp.gate", "lora_magnitude_vector", "\"use_dora\":true", EL_LORA_MAGNITUDE, 3, 1, 0, 0},
      {"qwen3moe", "mlp.gate", "lora_B.bias", "\"lora_bias\":true", EL_LORA_ADDED_BIAS, 3, 1, 0, 0},
      {"qwen3moe", "mlp.experts.2.up_proj", "lora_B.bias", "\"lora_bias\":true", EL_LORA_ADDED_BIAS, 12, 1, 2, 0},
      {"gpt-oss", "mlp.router", "bias", "\"bias\":\"all\"", EL_LORA_BIAS, 3, 1, 0, 0},
      {"gpt-oss", "mlp.experts.gate_up_projs.1", "bias", "\"bias\":\"all\"", EL_LORA_BIAS, 24, 2, 1, 1},
      {"gpt-oss", "mlp.experts.gate_up_projs.2", "lora_magnitude_vector", "\"use_dora\":true", EL_LORA_MAGNITUDE, 24, 2,
       2, 1}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    base b = base_new(cases[i].arch, 3, 16, 12);
    weights w = {0};
    char config[128];
    add_sizes(&w, cases[i].module, 2, 16, cases[i].out, 2);
    add_vector(&w, cases[i].module, cases[i].tensor, cases[i].out);
    snprintf(config, sizeof config, "{" CONFIG ",%s}", cases[i].config);
    el_lora_file *f = must_open(config, &w, b.sites);
    assert_int_equal(el_lora_file_n_extras(f), cases[i].n_sites);
    for (int k = 0; k < cases[i].n_sites; k++) {
      const el_lora_extra *e = el_lora_file_extra(f, (size_t)k);
      assert_int_equal(e->kind, cases[i].kind);
      assert_int_equal(e->expert, cases[i].expert);
      assert_int_equal(e->site, el_lora_file_at(f, (size_t)k)->site);
      for (int64_t v = 0; v < e->rows; v++) {
        float value;
        el_dequantize(e->type, e->data + sizeof value * e->step * (size_t)v, &value, 1);
        assert_true(value == (float)(cases[i].in_turn ? 2 * v + k + 1 : v + 1));
      }
    }
    el_lora_file_close(f);
    if (cases[i].kind == EL_LORA_MAGNITUDE) {
      add_sizes(&w, cases[i].module, 2, 16, cases[i].out, 2); /* a pair without its magnitude */
      refuses(&b, config, &w, "a matrix of layer 1 has no lora_magnitude_vector");
    }
    el_sites_free(b.sites);
  }
}

static void what_belongs_to_no_expert_alone_is_refused_by_name(void **state) {
  static const struct {
    const char *module, *tensor, *config, *message;
    int out;
  } cases[] = {
      {"mlp.experts", "lora_magnitude_vector", "\"use_dora\":true", "experts.lora_magnitude_vector: use_dora is not",
       12},
      {"mlp.experts", "lora_B.bias", "\"lora_bias\":true", "experts.lora_B.bias: lora_bias is not", 12},
      {"mlp.experts.3.up_proj", "lora_magnitude_vector", "\"use_dora\":true", "the base model has 3 experts, from 0",
       12},
      {"mlp.experts.3.up_proj", "bias", "\"bias\":\"all\"", "the base model has 3 experts, from 0", 12},
      {"mlp.experts.1.up_proj", "lora_magnitude_vector", "\"use_dora\":true", "is 11 x 1, expected 12 x 1", 11}};
  base b = base_new("qwen3moe", 3, 16, 12);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    weights w = {0};
    char config[128];
    add_sizes(&w, "mlp.experts.1.up_proj", 2, 16, 12, 2);
    add_vector(&w, cases[i].module, cases[i].tensor, cases[i].out);
    snprintf(config, sizeof config, "{" CONFIG ",%s}", cases[i].config);
    refuses(&b, config, &w, cases[i].message);
  }
  el_sites_free(b.sites);
}

static void experts_that_the_base_does_not_have_are_refused(void **state) {
  static const struct {
    const char *module, *message;
  } cases[] = {
      {"mlp.experts.3.up_proj", "mlp.experts.3.up_proj.lora_A.weight: the base model has 3 experts, from 0"},
      {"mlp.experts.9999.up_proj", "the base model has 3 experts, from 0"},
      {"mlp.experts.10000.up_proj", "not a LoRA part"},
      {"mlp.experts.99999999999999999999.up_proj", "not a LoRA part"},
      {"mlp.experts.01.up_proj", "not a LoRA part"},
      {"mlp.experts.-1.up_proj", "not a LoRA part"},
      {"mlp.experts..up_proj", "not a LoRA part"},
      {"mlp.experts.1", "not a LoRA part"},
      {"mlp.experts.1.up_proj.x", "not a LoRA part"},
      {"mlp.experts.gate_up_projs.1", "not a LoRA part"}, /* gpt-oss's */
  };
  base b = base_new("qwen3moe", 3, 16, 12);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    weights w = {0};
    add_sizes(&w, cases[i].module, 2, 16, 12, 2);
    refuses(&b, "{" CONFIG "}", &w, cases[i].message);
  }
  weights w = {0};
  add_sizes(&w, "mlp.experts.1.up_proj", 2, 16, 0, 0);
  add_sizes(&w, "mlp.experts.2.up_proj", 0, 0, 12, 2);
  refuses(&b, "{" CONFIG "}", &w, "mlp.experts.1.up_proj.lora_A.weight has no lora_B beside it");
  el_sites_free(b.sites);
}

static void a_value_that_is_not_finite_in_any_expert_is_refused(void **state) {
  base b = base_new("qwen3moe", 3, 16, 12);
  for (int at = 0; at < 6 * 16; at += 19) {
    weights w = {0};
    float values[6 * 16] = {0};
    static const float zeros[24 * 6];
    values[at] = at % 2 ? NAN : INFINITY;
    add_raw(&w, "base_model.model.model.layers.1.mlp.experts.lora_A.weight", "F32", 6, 16, 4, values);
    add_raw(&w, "base_model.model.model.layers.1.mlp.experts.lora_B.weight", "F32", 24, 6, 4, zeros);
    refuses(&b, "{" CONFIG "}", &w, "lora_A.weight has values that are not finite");
  }
  el_sites_free(b.sites);
}

/* --- GGUF */

/* One pair; n_dims dimensions, of which the third is as given. */
static el_buf gguf_pair(const char *arch, const char *tensor, uint32_t n_dims, int in, int a_rank, int a_n, int b_rank,
                        int out, int b_n) {
  el_buf b = {0};
  char a_name[96], b_name[96];
  unsigned seed = 1;
  const int n_a = in * a_rank * a_n, n_b = b_rank * out * b_n;
  snprintf(a_name, sizeof a_name, "blk.%d.%s.weight.lora_a", LAYER, tensor);
  snprintf(b_name, sizeof b_name, "blk.%d.%s.weight.lora_b", LAYER, tensor);
  put_gguf_header(&b, 3, 2, 4);
  put_kv_str(&b, "general.type", "adapter");
  put_kv_str(&b, "adapter.type", "lora");
  put_kv_str(&b, "general.architecture", arch);
  put_kv(&b, "adapter.lora.alpha", EL_GGUF_F32), put_f32(&b, 4);
  put_tensor(&b, a_name, n_dims, (uint64_t[]){(uint64_t)in, (uint64_t)a_rank, (uint64_t)a_n}, EL_TYPE_F32, 0);
  put_tensor(&b, b_name, n_dims, (uint64_t[]){(uint64_t)b_rank, (uint64_t)out, (uint64_t)b_n}, EL_TYPE_F32,
             (uint64_t)(n_a * 4 + 31) / 32 * 32);
  put_padding(&b, 32);
  for (int i = 0; i < n_a; i++) put_f32(&b, next(&seed));
  put_padding(&b, 32);
  for (int i = 0; i < n_b; i++) put_f32(&b, next(&seed));
  return b;
}

static el_status open_gguf(el_buf b, const el_sites *sites, el_lora_file **f, el_error *e) {
  unsigned char *bytes = exact(&b, b.len);
  el_status status = el_lora_file_open_memory(NULL, 0, bytes, b.len, sites, f, e);
  free(bytes);
  el_buf_free(&b);
  return status;
}

static void stacks_of_gguf_files_are_read_expert_by_expert(void **state) {
  base b = base_new("qwen3moe", 3, 16, 12);
  el_lora_file *f = NULL;
  el_error e = {0};
  if (open_gguf(gguf_pair("qwen3moe", "ffn_down_exps", 3, 12, 2, 3, 2, 16, 3), b.sites, &f, &e))
    fail_msg("%s", e.message);
  assert_int_equal(el_lora_file_n(f), 3);
  unsigned seed = 1;
  for (int i = 0; i < 3; i++) {
    const el_lora_pair *p = el_lora_file_at(f, (size_t)i);
    float a[2 * 12];
    el_lora_matrix_read(&p->a, 2, 12, a);
    assert_true(p->expert == i && p->scale == 2);
    for (int k = 0; k < 2 * 12; k++) assert_true(a[k] == next(&seed));
  }
  for (int i = 0; i < 3; i++) {
    float values[16 * 2];
    el_lora_matrix_read(&el_lora_file_at(f, (size_t)i)->b, 16, 2, values);
    for (int k = 0; k < 16 * 2; k++) assert_true(values[k] == next(&seed));
  }
  el_lora_file_close(f);
  el_sites_free(b.sites);
}

static void stacks_that_do_not_fit_are_refused_by_name(void **state) {
  static const struct {
    const char *tensor;
    uint32_t n_dims;
    int in, a_rank, a_n, b_rank, out, b_n;
    const char *message;
  } cases[] = {
      {"ffn_up_exps", 3, 16, 2, 4, 2, 12, 4, "lora_a is of 4 experts, expected 3"},
      {"ffn_up_exps", 3, 16, 2, 2, 2, 12, 2, "lora_a is of 2 experts, expected 3"},
      {"ffn_up_exps", 3, 16, 2, 3, 2, 12, 2, "lora_b is of 2 experts, expected 3"},
      {"ffn_up_exps", 2, 16, 2, 1, 2, 12, 1, "lora_a is of 1 experts, expected 3"},
      {"ffn_up_exps", 3, 12, 2, 3, 2, 16, 3, "lora_a is 2 x 12, expected 2 x 16"},
      {"ffn_up_exps", 3, 2, 16, 3, 12, 2, 3, "lora_a is 16 x 2, expected 16 x 16"},
      {"ffn_up_exps", 3, 16, 2, 3, 1, 12, 3, "lora_b is 12 x 1, expected 12 x 2"},
      {"attn_q", 3, 16, 2, 3, 2, 8, 3, "attn_q.weight.lora_a has 3 dimensions, expected 2"},
      {"ffn_gate_inp", 3, 16, 2, 3, 2, 3, 3, "ffn_gate_inp.weight.lora_a has 3 dimensions, expected 2"},
      {"ffn_gate", 2, 16, 2, 1, 2, 12, 1, "ffn_gate.weight.lora_a is no LoRA part"},
  };
  base b = base_new("qwen3moe", 3, 16, 12);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    el_lora_file *f = NULL;
    el_error e = {0};
    if (!open_gguf(gguf_pair("qwen3moe", cases[i].tensor, cases[i].n_dims, cases[i].in, cases[i].a_rank, cases[i].a_n,
                             cases[i].b_rank, cases[i].out, cases[i].b_n),
                   b.sites, &f, &e))
      fail_msg("opened, expected: %s", cases[i].message);
    assert_contains(e.message, cases[i].message);
  }
  el_sites_free(b.sites);
}

/* llama.cpp's bases may have gate and up joined, and so their adapters. */
static void joined_stacks_of_gguf_files_are_divided(void **state) {
  base b = base_new("qwen3moe", 3, 16, 12);
  el_lora_file *f = NULL;
  el_error e = {0};
  if (open_gguf(gguf_pair("qwen3moe", "ffn_gate_up_exps", 3, 16, 2, 3, 2, 24, 3), b.sites, &f, &e))
    fail_msg("%s", e.message);
  assert_int_equal(el_lora_file_n(f), 6);
  unsigned seed = 1;
  for (int i = 0; i < 16 * 2 * 3; i++) next(&seed);
  for (size_t i = 0; i < 3; i++)
    for (size_t half = 0; half < 2; half++) {
      const el_lora_pair *p = el_lora_file_at(f, 3 * half + i);
      float values[12 * 2];
      assert_int_equal(p->site, b.sites->n_sites + (int)half);
      assert_int_equal(p->expert, i);
      el_lora_matrix_read(&p->b, 12, 2, values);
      for (int k = 0; k < 12 * 2; k++) assert_true(values[k] == next(&seed));
    }
  el_lora_file_close(f);
  if (!open_gguf(gguf_pair("qwen3moe", "ffn_gate_up_exps", 3, 16, 2, 3, 2, 23, 3), b.sites, &f, &e)) fail_msg("opened");
  assert_contains(e.message, "ffn_gate_up_exps.weight.lora_b has 23 rows, which 2 matrices cannot share");
  el_sites_free(b.sites);
}

/* --- mlx-lm: LoRASwitchLinear has lora_a [experts, rank, in] and lora_b [experts, out, rank], and its own scale */

static void add_stack(weights *w, const char *module, const char *half, int n, int rows, int cols, unsigned seed) {
  float values[MAX_EXPERTS * 2 * MAX_WIDTH * RANK];
  char name[160];
  for (int i = 0; i < n * rows * cols; i++) values[i] = next(&seed);
  snprintf(name, sizeof name, "model.layers.%d.%s.lora_%s", LAYER, module, half);
  add_raw(w, name, "F32", n * rows, cols, 4, values);
  json_object_set_new(json_object_get(w->header, name), "shape", json_pack("[i,i,i]", n, rows, cols));
}

static void stacks_of_mlx_lm_are_read_expert_by_expert(void **state) {
  static const char *const archs[][2] = {{"qwen3moe", "mlp.switch_mlp.down_proj"},
                                         {"gpt-oss", "mlp.experts.down_proj"},
                                         {"granitemoe", "block_sparse_moe.switch_mlp.down_proj"}};
  static const char config[] = "{\"fine_tune_type\":\"lora\",\"lora_parameters\":{\"rank\":2,\"scale\":20.0}}";
  for (size_t k = 0; k < 3; k++) {
    base b = base_new(archs[k][0], 3, 16, 12);
    weights w = {0};
    add_stack(&w, archs[k][1], "a", 3, 2, 12, 1);
    add_stack(&w, archs[k][1], "b", 3, 16, 2, 2);
    el_lora_file *f = must_open(config, &w, b.sites);
    unsigned a_seed = 1, b_seed = 2;
    assert_int_equal(el_lora_file_n(f), 3);
    for (size_t i = 0; i < 3; i++) {
      const el_lora_pair *p = el_lora_file_at(f, i);
      float values[16 * 2];
      assert_true(p->site == b.sites->n_sites + 2 && p->expert == (int)i && p->rank == 2 && p->scale == 20);
      el_lora_matrix_read(&p->a, 2, 12, values);
      for (int j = 0; j < 2 * 12; j++) assert_true(values[j] == next(&a_seed));
      el_lora_matrix_read(&p->b, 16, 2, values);
      for (int j = 0; j < 16 * 2; j++) assert_true(values[j] == next(&b_seed));
    }
    el_lora_file_close(f);
    add_stack(&w, archs[k][1], "a", 4, 2, 12, 1);
    add_stack(&w, archs[k][1], "b", 4, 16, 2, 2);
    refuses(&b, config, &w, "is of 4 experts, expected 3");
    el_sites_free(b.sites);
  }
}

/* --- without a base, as inspect reads them */

static void without_a_base_experts_are_counted(void **state) {
  weights w = {0};
  for (int i = 0; i < 200; i++) { /* more modules than a layer may have, were they not one */
    char module[64];
    snprintf(module, sizeof module, "mlp.experts.%d.up_proj", i);
    add_sizes(&w, module, 2, 16, 12, 2);
  }
  el_lora_file *f = must_open("{" CONFIG "}", &w, NULL);
  char name[EL_SHOW];
  assert_int_equal(el_lora_file_n(f), 200);
  assert_int_equal(el_lora_file_n_sites(f), 1);
  assert_string_equal(el_lora_file_site_name(f, 0, name), "mlp.experts.*.up_proj");
  el_lora_file_close(f);
  add_sizes(&w, "mlp.experts", 6, 16, 24, 6);
  f = must_open("{" CONFIG ",\"target_parameters\":[\"experts.gate_up_proj\"]}", &w, NULL);
  assert_int_equal(el_lora_file_n(f), 3);
  assert_int_equal(el_lora_file_at(f, 2)->rank, 2);
  assert_string_equal(el_lora_file_site_name(f, 0, name), "mlp.experts");
  el_lora_file_close(f);
}

/* --- memory */

static void what_is_not_on_experts_takes_no_memory_for_them(void **state) {
  const el_kernels *k = el_kernels_at(0);
  size_t bytes[2], with[2];
  for (int i = 0; i < 2; i++) {
    base b = base_new("qwen3moe", i ? 1000 : 4, 16, 12);
    weights w = {0};
    el_adapter *a = NULL;
    el_error e = {0};
    add_pair(&w, "self_attn.q_proj", 2, 16, 8, 1);
    el_lora_file *f = must_open("{" CONFIG "}", &w, b.sites);
    if (el_adapter_pack(f, b.sites, NULL, k, EL_LAYOUT_Q8, &a, &e)) fail_msg("%s", e.message);
    assert_null(a->experts);
    bytes[i] = a->bytes;
    el_adapter_free(a);
    el_lora_file_close(f);
    add_pair(&w, "mlp.experts.1.down_proj", 2, 12, 16, 1);
    f = must_open("{" CONFIG "}", &w, b.sites);
    if (el_adapter_pack(f, b.sites, NULL, k, EL_LAYOUT_Q8, &a, &e)) fail_msg("%s", e.message);
    assert_null(a->experts[0].a); /* the other layer's */
    with[i] = a->bytes;
    el_adapter_free(a);
    el_lora_file_close(f);
    el_sites_free(b.sites);
  }
  assert_int_equal(bytes[0], bytes[1]);
  assert_true(with[1] > with[0] && with[1] < with[0] + 1000 * 400);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(parameters_of_experts_mean_what_peft_computes),
      cmocka_unit_test(parameters_that_were_renamed_are_known_by_both_names),
      cmocka_unit_test(patterns_are_matched_with_parameters_names),
      cmocka_unit_test(some_experts_may_have_matrices_and_others_none),
      cmocka_unit_test(joined_modules_of_single_experts_are_divided),
      cmocka_unit_test(parameters_that_do_not_fit_are_refused_by_name),
      cmocka_unit_test(experts_that_the_base_does_not_have_are_refused),
      cmocka_unit_test(a_value_that_is_not_finite_in_any_expert_is_refused),
      cmocka_unit_test(stacks_of_gguf_files_are_read_expert_by_expert),
      cmocka_unit_test(stacks_that_do_not_fit_are_refused_by_name),
      cmocka_unit_test(joined_stacks_of_gguf_files_are_divided),
      cmocka_unit_test(stacks_of_mlx_lm_are_read_expert_by_expert),
      cmocka_unit_test(what_dora_and_biases_train_of_one_expert_is_that_experts),
      cmocka_unit_test(what_belongs_to_no_expert_alone_is_refused_by_name),
      cmocka_unit_test(without_a_base_experts_are_counted),
      cmocka_unit_test(what_is_not_on_experts_takes_no_memory_for_them),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
