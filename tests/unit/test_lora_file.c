/* LoRA files: what PEFT and llama.cpp write is read with the scale that they mean; everything else is refused by name.
 */
#include <math.h>
#include <sys/resource.h>
#include <unistd.h>

#include "adapter/discover.h"
#include "peft_fixture.h"
#include "sites_fixture.h"

/* A base of 3 layers. Inputs and outputs differ wherever they can, so that a mix-up shows. */
static const sites_shape shape = {
    .n_layers = 3, .in = {16, 16, 16, 12, 16, 16, 20}, .out = {12, 6, 4, 16, 20, 20, 16}, .n_head = 3, .n_head_kv = 3};
static el_site_dims base_dims[SITES_MAX_LAYERS * EL_N_USUAL_SITES];
static el_sites base;

static const char *const hf[EL_N_USUAL_SITES] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                                 "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
                                                 "mlp.down_proj"};
static const char *const gg[EL_N_USUAL_SITES] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                                 "ffn_gate", "ffn_up", "ffn_down"};

/* --- making adapters */

static void add_pair(weights *w, int layer, int lin, int rank) {
  char name[128];
  snprintf(name, sizeof name, "base_model.model.model.layers.%d.%s.lora_A.weight", layer, hf[lin]);
  add_f32(w, name, rank, shape.in[lin], 1);
  snprintf(name, sizeof name, "base_model.model.model.layers.%d.%s.lora_B.weight", layer, hf[lin]);
  add_f32(w, name, shape.out[lin], rank, -1);
}

#define PLAIN "\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8"

static el_status open_peft(const char *config, weights *w, el_lora_file **f, el_error *e) {
  return open_weights(config, w, &base, f, e);
}

static el_lora_file *must_open(const char *config, weights *w) {
  el_lora_file *f = NULL;
  el_error e;
  if (open_peft(config, w, &f, &e)) fail_msg("%s", e.message);
  return f;
}

static void refuses(const char *config, weights *w, el_status status, const char *message) {
  el_lora_file *f = NULL;
  el_error e = {0};
  el_status got = open_peft(config, w, &f, &e);
  if (got == EL_OK) fail_msg("opened, expected: %s", message);
  assert_contains(e.message, message);
  if (got != status) fail_msg("%s: %s, expected %s", e.message, el_status_name(got), el_status_name(status));
  assert_null(f);
}

static void refuses_config(const char *config, el_status status, const char *message) {
  weights w = {0};
  add_pair(&w, 0, EL_SITE_Q, 4);
  refuses(config, &w, status, message);
}

/* --- PEFT: what is read */

static void all_matrices_of_a_peft_adapter_are_read_in_order(void **state) {
  weights w = {0};
  for (int l = base.n_layers - 1; l >= 0; l--)
    for (int i = EL_N_USUAL_SITES - 1; i >= 0; i--) add_pair(&w, l, i, 4);
  el_lora_file *f = must_open("{" PLAIN ",\"base_model_name_or_path\":\"org/base\"}", &w);
  assert_int_equal(el_lora_file_n(f), 21);
  assert_string_equal(el_lora_file_base(f), "org/base");
  for (size_t i = 0; i < 21; i++) {
    const el_lora_pair *p = el_lora_file_at(f, i);
    assert_int_equal(p->layer, i / EL_N_USUAL_SITES);
    assert_int_equal(p->site, i % EL_N_USUAL_SITES);
    assert_int_equal(p->rank, 4);
    assert_true(p->scale == 2.0f);
    assert_int_equal(p->a.type, EL_TYPE_F32);
    assert_int_equal(p->reorder_b, p->site == EL_SITE_Q || p->site == EL_SITE_K);
    float a[2], b;
    memcpy(a, p->a.data, sizeof a);
    memcpy(&b, p->b.data, sizeof b);
    assert_true(a[0] == 0.25f && a[1] == 0.5f && b == -0.25f);
  }
  el_lora_file_close(f);
}

static void names_may_carry_the_adapters_name(void **state) {
  weights w = {0};
  add_f32(&w, "base_model.model.model.layers.2.mlp.down_proj.lora_A.default.weight", 4, 20, 1);
  add_f32(&w, "base_model.model.model.layers.2.mlp.down_proj.lora_B.default.weight", 16, 4, 1);
  add_f32(&w, "base_model.model.layers.1.self_attn.v_proj.lora_A.weight", 4, 16, 1); /* trained on the bare model */
  add_f32(&w, "base_model.model.layers.1.self_attn.v_proj.lora_B.weight", 4, 4, 1);
  el_lora_file *f = must_open("{" PLAIN "}", &w);
  assert_int_equal(el_lora_file_n(f), 2);
  assert_int_equal(el_lora_file_at(f, 0)->layer, 1);
  assert_int_equal(el_lora_file_at(f, 1)->site, EL_SITE_DOWN);
  assert_string_equal(el_lora_file_base(f), "");
  el_lora_file_close(f);
}

static void scale_of(const char *config, int layer, int lin, int rank, double scale) {
  weights w = {0};
  add_pair(&w, layer, lin, rank);
  el_lora_file *f = must_open(config, &w);
  const el_lora_pair *p = el_lora_file_at(f, 0);
  assert_int_equal(p->rank, rank);
  if (fabs((double)p->scale - scale) > 1e-6 * fabs(scale))
    fail_msg("%s: scale %g, expected %g", config, (double)p->scale, scale);
  el_lora_file_close(f);
}

/* The expected values are what PEFT 0.21 computes: re.match(rf"(.*\.)?({key})$", module), the first key that matches.
 */
static void ranks_and_scales_are_pefts(void **state) {
  scale_of("{" PLAIN "}", 0, EL_SITE_Q, 4, 2);
  scale_of("{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":0.5}", 0, EL_SITE_Q, 4, 0.125);
  scale_of("{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":-2}", 0, EL_SITE_Q, 4, -0.5);
  scale_of("{" PLAIN ",\"use_rslora\":true}", 0, EL_SITE_Q, 4, 4);
  scale_of("{" PLAIN ",\"use_rslora\":null}", 0, EL_SITE_Q, 4, 2);
  scale_of("{" PLAIN ",\"rank_pattern\":{\"q_proj\":2}}", 0, EL_SITE_Q, 2, 4);
  scale_of("{" PLAIN ",\"rank_pattern\":{\"q_proj\":2}}", 0, EL_SITE_K, 4, 2);
  scale_of("{" PLAIN ",\"rank_pattern\":{\"q_proj\":2},\"use_rslora\":true}", 0, EL_SITE_Q, 2, 8 / sqrt(2));
  scale_of("{" PLAIN ",\"alpha_pattern\":{\"q_proj\":12}}", 0, EL_SITE_Q, 4, 3);
  scale_of("{" PLAIN ",\"alpha_pattern\":{\"model.layers.1.self_attn.q_proj\":12}}", 1, EL_SITE_Q, 4, 3);
  scale_of("{" PLAIN ",\"alpha_pattern\":{\"model.layers.1.self_attn.q_proj\":12}}", 0, EL_SITE_Q, 4, 2);
  scale_of("{" PLAIN ",\"alpha_pattern\":{\"1.self_attn.q_proj\":12}}", 1, EL_SITE_Q, 4, 3);
  scale_of("{" PLAIN ",\"alpha_pattern\":{\"_proj\":12}}", 1, EL_SITE_Q, 4, 2);            /* no part of a name */
  scale_of("{" PLAIN ",\"alpha_pattern\":{\"self.attn.q.proj\":12}}", 1, EL_SITE_Q, 4, 3); /* a dot is any character */
  scale_of("{" PLAIN ",\"alpha_pattern\":{\"self_attn\":12}}", 1, EL_SITE_Q, 4, 2);
  scale_of("{" PLAIN ",\"alpha_pattern\":{\"\":12}}", 1, EL_SITE_Q, 4, 2);
  scale_of("{" PLAIN ",\"alpha_pattern\":{\"q_proj\":12,\".*\":16}}", 1, EL_SITE_Q, 4, 3);
  scale_of("{" PLAIN ",\"alpha_pattern\":{\".*\":16,\"q_proj\":12}}", 1, EL_SITE_Q, 4, 4);
  scale_of("{" PLAIN ",\"alpha_pattern\":{\".*\\\\.[12]\\\\..*\\\\.(q|k)_proj\":16}}", 1, EL_SITE_K, 4, 4);
  scale_of("{" PLAIN ",\"alpha_pattern\":{\".*\\\\.[12]\\\\..*\\\\.(q|k)_proj\":16}}", 0, EL_SITE_K, 4, 2);
  scale_of("{" PLAIN ",\"alpha_pattern\":{\"^model.layers.1.mlp.up_proj\":16}}", 1, EL_SITE_UP, 4, 4);
  scale_of("{" PLAIN ",\"alpha_pattern\":{\"^layers.1.mlp.up_proj\":16}}", 1, EL_SITE_UP, 4, 2);
}

static void fields_that_change_nothing_are_ignored(void **state) {
  scale_of(
      "{" PLAIN
      ",\"bias\":\"none\",\"task_type\":\"CAUSAL_LM\",\"fan_in_fan_out\":true,\"use_dora\":false,\"lora_bias\":false,"
      "\"modules_to_save\":null,\"layer_replication\":null,\"layers_to_transform\":[0,1],\"target_modules\":\"all-"
      "linear\","
      "\"init_lora_weights\":\"eva\",\"eva_config\":{\"rho\":2},\"loftq_config\":{},\"lora_dropout\":0.1,\"trainable_"
      "token_indices\":null,"
      "\"target_parameters\":[],\"use_qalora\":false,\"qalora_group_size\":16,\"megatron_core\":\"megatron.core\",\"of_"
      "tomorrow\":[]}",
      0, EL_SITE_Q, 4, 2);
}

static void sixteen_bit_weights_stay_as_they_are(void **state) {
  static const uint16_t ones[80] = {0x3c00};
  weights w = {0};
  add_raw(&w, "base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight", "F16", 4, 16, 2, ones);
  add_raw(&w, "base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight", "F16", 4, 4, 2, ones);
  add_raw(&w, "base_model.model.model.layers.1.self_attn.v_proj.lora_A.weight", "BF16", 4, 16, 2, ones);
  add_raw(&w, "base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight", "BF16", 4, 4, 2, ones);
  el_lora_file *f = must_open("{" PLAIN "}", &w);
  assert_int_equal(el_lora_file_at(f, 0)->a.type, EL_TYPE_F16);
  assert_int_equal(el_lora_file_at(f, 1)->a.type, EL_TYPE_BF16);
  assert_memory_equal(el_lora_file_at(f, 0)->a.data, ones, 128);
  el_lora_file_close(f);
}

static void the_matrices_of_a_pair_may_have_two_types(void **state) {
  static const uint16_t ones[80] = {0x3c00, 0x4000};
  weights w = {0};
  add_raw(&w, "base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight", "F16", 4, 16, 2, ones);
  add_f32(&w, "base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight", 4, 4, 1);
  el_lora_file *f = must_open("{" PLAIN "}", &w);
  const el_lora_pair *p = el_lora_file_at(f, 0);
  float a[4 * 16], b[4 * 4];
  assert_int_equal(p->a.type, EL_TYPE_F16);
  assert_int_equal(p->b.type, EL_TYPE_F32);
  el_lora_matrix_read(&p->a, 4, 16, a);
  el_lora_matrix_read(&p->b, 4, 4, b);
  assert_true(a[0] == 1 && a[1] == 2 && a[2] == 0 && b[0] == 0.25f);
  el_lora_file_close(f);
}

static void the_limits_of_rank_are_read(void **state) {
  weights w = {0};
  add_pair(&w, 0, EL_SITE_GATE, 1);
  add_pair(&w, 1, EL_SITE_GATE, EL_MAX_RANK);
  el_lora_file *f = must_open(
      "{\"peft_type\":\"LORA\",\"r\":1,\"lora_alpha\":1,\"rank_pattern\":{\"layers.1.mlp.gate_proj\":1024}}", &w);
  assert_int_equal(el_lora_file_at(f, 0)->rank, 1);
  assert_int_equal(el_lora_file_at(f, 1)->rank, EL_MAX_RANK);
  el_lora_file_close(f);
}

/* The repository's own adapters, which PEFT trained and saved, fit SmolLM2-135M. */
static void adapters_that_peft_wrote_are_read(void **state) {
  static const sites_shape smollm2_shape = {.n_layers = 30,
                                            .in = {576, 576, 576, 576, 576, 576, 1536},
                                            .out = {576, 192, 192, 576, 1536, 1536, 576},
                                            .n_head = 9,
                                            .n_head_kv = 3};
  static el_site_dims dims[SITES_MAX_LAYERS * EL_N_USUAL_SITES];
  const el_sites smollm2 = make_sites(&smollm2_shape, dims);
  char dir[512];
  el_found found;
  el_error e;
  snprintf(dir, sizeof dir, "%s/../adapters", getenv("EL_TEST_DATA"));
  if (el_adapter_discover(dir, &found, &e)) fail_msg("%s", e.message);
  assert_true(found.n > 0);
  for (size_t i = 0; i < found.n; i++) {
    el_lora_file *f = NULL;
    if (el_lora_file_open(found.items[i].path, &smollm2, &f, &e)) fail_msg("%s", e.message);
    assert_true(el_lora_file_n(f) > 0);
    assert_true(strlen(el_lora_file_base(f)) > 0);
    el_lora_file_close(f);
  }
  el_found_free(&found);
}

/* --- PEFT: what is refused */

static void variants_of_lora_are_refused_by_field(void **state) {
  static const struct {
    const char *field, *value;
  } cases[] = {{"megatron_config", "{\"hidden_size\":8}"},
               {"layer_replication", "[[0,4],[2,5]]"},
               {"use_qalora", "true"},
               {"use_bdlora", "{\"nblocks\":2}"},
               {"arrow_config", "{\"top_k\":3}"},
               {"kasa_config", "{\"beta\":1}"},
               {"monteclora_config", "{\"num_samples\":8}"},
               {"bias", "\"some\""},
               {"modules_to_save", "[\"score\"]"},
               {"task_type", "\"SEQ_CLS\""},
               {"init_lora_weights", "\"pissa\""},
               {"init_lora_weights", "\"pissa_niter_16\""},
               {"init_lora_weights", "\"olora\""},
               {"init_lora_weights", "\"loftq\""}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char config[256], message[128];
    snprintf(config, sizeof config, "{" PLAIN ",\"%s\":%s}", cases[i].field, cases[i].value);
    snprintf(message, sizeof message, "adapter_config.json: %s", cases[i].field);
    refuses_config(config, EL_ERR_UNSUPPORTED, message);
  }
  refuses_config("{\"peft_type\":\"LOHA\",\"r\":4,\"lora_alpha\":8}", EL_ERR_UNSUPPORTED,
                 "peft_type is \"LOHA\"; only \"LORA\"");
}

static void configurations_of_the_wrong_form_are_refused(void **state) {
  static const struct {
    const char *config, *message;
  } cases[] = {
      {"", "adapter_config.json: line 1"},
      {"[]", "is not a JSON object"},
      {"{", "line 1"},
      {"{" PLAIN ",}", "line 1"},
      {"{" PLAIN ",\"r\":4}", "duplicate"},
      {"{" PLAIN ",\"\xff\":4}", "unable to decode byte 0xff"},
      {"{" PLAIN "} x", "line 1"},
      {"{\"r\":4,\"lora_alpha\":8}", "peft_type is missing"},
      {"{\"peft_type\":\"LORA\",\"lora_alpha\":8}", ": r is missing"},
      {"{\"peft_type\":\"LORA\",\"r\":4}", "lora_alpha is missing"},
      {"{\"peft_type\":\"LORA\",\"r\":0,\"lora_alpha\":8}", "r is 0, supported are 1 to 1024"},
      {"{\"peft_type\":\"LORA\",\"r\":-4,\"lora_alpha\":8}", "r is -4"},
      {"{\"peft_type\":\"LORA\",\"r\":4.0,\"lora_alpha\":8}", "r is not an integer"},
      {"{\"peft_type\":\"LORA\",\"r\":\"4\",\"lora_alpha\":8}", "r is not an integer"},
      {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":\"8\"}", "lora_alpha is not a number"},
      {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":NaN}", "line 1"},
      {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":1e999}", "line 1"},
      {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":1e300}", "alpha 1e+300 is too large"},
      {"{\"peft_type\":1,\"r\":4,\"lora_alpha\":8}", "peft_type is not a string"},
      {"{" PLAIN ",\"use_rslora\":1}", "use_rslora is not true or false"},
      {"{" PLAIN ",\"base_model_name_or_path\":{}}", "base_model_name_or_path is not a string"},
      {"{" PLAIN ",\"rank_pattern\":[]}", "rank_pattern is not an object"},
      {"{" PLAIN ",\"rank_pattern\":{\"q_proj\":0}}", "rank_pattern[\"q_proj\"] is 0"},
      {"{" PLAIN ",\"rank_pattern\":{\"q_proj\":2.5}}", "rank_pattern[\"q_proj\"] is not an integer"},
      {"{" PLAIN ",\"alpha_pattern\":{\"q_proj\":null}}", "alpha_pattern[\"q_proj\"] is not a number"},
      {"{" PLAIN ",\"alpha_pattern\":{\"(q_proj\":1}}", "the key \"(q_proj\" is not a regular expression"},
      {"{" PLAIN ",\"init_lora_weights\":7}", "init_lora_weights is not true, false or a string"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    refuses_config(cases[i].config, EL_ERR_FORMAT, cases[i].message);
  refuses_config("{\"peft_type\":\"LORA\",\"r\":1025,\"lora_alpha\":8}", EL_ERR_UNSUPPORTED,
                 "r is 1025, supported are 1 to 1024");
}

static void a_pattern_cannot_stall_the_loader(void **state) {
  refuses_config("{" PLAIN ",\"rank_pattern\":{\"(([a-z_.0-9]+)+)+[0-9]\":2}}", EL_ERR_UNSUPPORTED,
                 "takes too many steps");
  el_buf b = {0};
  put(&b, "{" PLAIN ",\"rank_pattern\":{", strlen("{" PLAIN ",\"rank_pattern\":{"));
  for (int i = 0; i < 65; i++) el_buf_printf(&b, "%s\"x+%d\":1", i ? "," : "", i);
  put(&b, "}}", 2);
  refuses_config(b.data, EL_ERR_UNSUPPORTED, "more than 64 keys");
  b.len = 0;
  el_buf_printf(&b, "{" PLAIN ",\"rank_pattern\":{\"(%2000d)\":1}}", 7);
  refuses_config(b.data, EL_ERR_UNSUPPORTED, "the limit is 1024");
  el_buf_free(&b);
}

static void tensors_that_do_not_fit_are_refused(void **state) {
  static const char a[] = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
  static const char b[] = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight";
  const char *config = "{" PLAIN "}";
  weights w = {0};
  refuses(config, &w, EL_ERR_FORMAT, "adapter_model.safetensors: holds no LoRA weights");
  add_f32(&w, a, 4, 16, 1);
  refuses(config, &w, EL_ERR_FORMAT, "has no lora_B beside it");
  add_f32(&w, b, 12, 4, 1);
  refuses(config, &w, EL_ERR_FORMAT, "has no lora_A beside it");
  add_f32(&w, a, 4, 16, 1);
  add_f32(&w, "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight", 12, 4, 1);
  refuses(config, &w, EL_ERR_FORMAT, "layers.0.self_attn.q_proj.lora_A.weight has no lora_B beside it");
  add_f32(&w, a, 4, 15, 1);
  add_f32(&w, b, 12, 4, 1);
  refuses(config, &w, EL_ERR_FORMAT, "q_proj.lora_A.weight is 4 x 15, expected 4 x 16 (rank x inputs)");
  add_f32(&w, a, 4, 16, 1);
  add_f32(&w, b, 11, 4, 1);
  refuses(config, &w, EL_ERR_FORMAT, "q_proj.lora_B.weight is 11 x 4, expected 12 x 4 (outputs x rank)");
  add_f32(&w, a, 2, 16, 1);
  add_f32(&w, b, 12, 2, 1);
  refuses(config, &w, EL_ERR_FORMAT, "q_proj.lora_A.weight is 2 x 16, expected 4 x 16");
  add_f32(&w, a, 4, 16, 1);
  add_f32(&w, b, 12, 3, 1);
  refuses(config, &w, EL_ERR_FORMAT, "q_proj.lora_B.weight is 12 x 3, expected 12 x 4");
  add_f32(&w, a, 4, 16, 1);
  add_f32(&w, "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight", 4, 16, 1);
  add_f32(&w, b, 12, 4, 1);
  refuses(config, &w, EL_ERR_FORMAT, "are the same part");
  add_f32(&w, a, 4, 16, 1);
  add_f32(&w, b, 12, 4, 1);
  add_f32(&w, "base_model.model.model.layers.0.self_attn.q_proj.lora_B.default.weight", 12, 4, 1);
  refuses(config, &w, EL_ERR_FORMAT, "are the same part");
  add_pair(&w, 3, EL_SITE_Q, 4);
  refuses(config, &w, EL_ERR_FORMAT, "the base model has 3 layers");
  static const double zeros[4 * 16];
  add_raw(&w, a, "F64", 4, 16, 8, zeros);
  refuses(config, &w, EL_ERR_UNSUPPORTED, "has type F64; supported are F32, F16 and BF16");
}

static void unknown_tensors_are_refused_by_name(void **state) {
  static const struct {
    const char *name, *message;
  } cases[] = {
      {"base_model.model.model.embed_tokens.lora_A.weight", "not a LoRA part"},
      {"base_model.model.model.other.embed_tokens.lora_embedding_A", "not a LoRA part"},
      {"base_model.model.lm_head.lora_B.weight.lora_A.weight", "not a LoRA part"},
      {"base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector.weight", "use_dora is not true"},
      {"base_model.model.model.layers.0.self_attn.q_proj.lora_B.bias", "lora_bias is not true"},
      {"base_model.model.model.layers.0.self_attn.q_proj.bias", "bias is \"none\""},
      {"base_model.model.model.layers.0.self_attn.q_proj.weight", "not a LoRA part"},
      {"base_model.model.model.layers.0.self_attn.qkv_proj.lora_A.weight", "not a LoRA part"},
      {"base_model.model.model.layers.00.self_attn.q_proj.lora_A.weight", "not a LoRA part"},
      {"base_model.model.model.layers.-1.self_attn.q_proj.lora_A.weight", "not a LoRA part"},
      {"base_model.model.model.layers..self_attn.q_proj.lora_A.weight", "not a LoRA part"},
      {"base_model.model.model.layers.99999999999.self_attn.q_proj.lora_A.weight", "not a LoRA part"},
      {"base_model.model.model.layers.1024.self_attn.q_proj.lora_A.weight", "not a LoRA part"},
      {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.a.b.weight", "not a LoRA part"},
      {"lora_A.weight", "not a LoRA part"},
      {".lora_A.weight", "not a LoRA part"},
      {".weight", "not a LoRA part"},
      {"", "not a LoRA part"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    weights w = {0};
    add_pair(&w, 0, EL_SITE_Q, 4);
    add_f32(&w, cases[i].name, 4, 16, 1);
    refuses("{" PLAIN "}", &w, EL_ERR_UNSUPPORTED, cases[i].message);
    add_f32(&w, cases[i].name, 4, 16, 1);
    refuses("{" PLAIN "}", &w, EL_ERR_UNSUPPORTED, cases[i].name);
  }
}

/* One value of each type in the last place of A or B. */
static void weights_that_are_not_finite_are_refused(void **state) {
  static const struct {
    const char *dtype;
    uint32_t bits;
    bool finite;
  } cases[] = {{"F32", 0x7fc00000, false}, {"F32", 0x7f800000, false}, {"F32", 0xff800000, false},
               {"F32", 0x7f7fffff, true},  {"F16", 0x7e00, false},     {"F16", 0xfc00, false},
               {"F16", 0x7bff, true},      {"BF16", 0x7fc0, false},    {"BF16", 0xff80, false},
               {"BF16", 0x7f7f, true}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    for (int in_b = 0; in_b < 2; in_b++) {
      weights w = {0};
      int item = strcmp(cases[i].dtype, "F32") ? 2 : 4;
      el_buf a = {0}, b = {0};
      put_zeros(&a, (size_t)(63 * item)), put_uint(&a, in_b ? 0 : cases[i].bits, item);
      put_zeros(&b, (size_t)(15 * item)), put_uint(&b, in_b ? cases[i].bits : 0, item);
      add_raw(&w, "base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight", cases[i].dtype, 4, 16, item,
              a.data);
      add_raw(&w, "base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight", cases[i].dtype, 4, 4, item, b.data);
      if (cases[i].finite)
        el_lora_file_close(must_open("{" PLAIN "}", &w));
      else
        refuses("{" PLAIN "}", &w, EL_ERR_FORMAT,
                in_b ? "lora_B.weight has values that are not finite" : "lora_A.weight has values");
      el_buf_free(&a);
      el_buf_free(&b);
    }
}

/* --- folders */

static void a_folder_is_read_and_its_changes_do_not_matter(void **state) {
  char dir[64];
  el_lora_file *f = NULL;
  el_error e;
  weights w = {0};
  add_pair(&w, 0, EL_SITE_V, 4);
  el_buf b = finish(&w);
  make_dir(dir);
  write_file(dir, "adapter_config.json", "{" PLAIN "}", strlen("{" PLAIN "}"));
  write_file(dir, "adapter_model.safetensors", b.data, b.len);
  if (el_lora_file_open(dir, &base, &f, &e)) fail_msg("%s", e.message);
  write_file(dir, "adapter_model.safetensors", "", 0); /* truncated in place while open: a mapping would be gone */
  float a;
  memcpy(&a, el_lora_file_at(f, 0)->a.data, 4);
  assert_true(a == 0.25f);
  el_lora_file_close(f);
  assert_int_equal(el_lora_file_open(dir, &base, &f, &e), EL_ERR_FORMAT);
  assert_contains(e.message, "adapter_model.safetensors: truncated");
  remove_tree(dir);
  el_buf_free(&b);
}

static void folders_that_lack_something_say_what(void **state) {
  char dir[64], path[128];
  el_lora_file *f = NULL;
  el_error e;
  make_dir(dir);
  assert_int_equal(el_lora_file_open(dir, &base, &f, &e), EL_ERR_IO);
  assert_contains(e.message, "adapter_config.json: No such file");
  write_file(dir, "adapter_config.json", "{" PLAIN "}", strlen("{" PLAIN "}"));
  assert_int_equal(el_lora_file_open(dir, &base, &f, &e), EL_ERR_IO);
  assert_contains(e.message, "adapter_model.safetensors: No such file");
  write_file(dir, "adapter_model.bin", "x", 1);
  assert_int_equal(el_lora_file_open(dir, &base, &f, &e), EL_ERR_UNSUPPORTED);
  assert_contains(e.message, "is a pickle, and reading one runs code: convert it to safetensors");
  snprintf(path, sizeof path, "%s/adapter_config.json", dir);
  assert_int_equal(el_lora_file_open(path, &base, &f, &e), EL_ERR_FORMAT);
  assert_contains(e.message, "neither a GGUF file nor a PEFT folder");
  el_buf big = {0};
  put_zeros(&big, (1 << 20) + 1);
  write_file(dir, "adapter_config.json", big.data, big.len);
  assert_int_equal(el_lora_file_open(dir, &base, &f, &e), EL_ERR_FORMAT);
  assert_contains(e.message, "the limit is 1048576");
  el_buf_free(&big);
  snprintf(path, sizeof path, "%s/absent", dir);
  assert_int_equal(el_lora_file_open(path, &base, &f, &e), EL_ERR_IO);
  remove_tree(dir);
}

/* --- GGUF */

typedef struct gguf_lora {
  const char *general_type, *type, *architecture;
  float alpha;           /* 0: no such key */
  uint32_t n_alora;      /* that the file has; 0: no such key */
  const uint32_t *alora; /* [n_alora] */
  uint32_t alora_type;   /* 0: U32 */
  bool no_alora;         /* there is the key, and no token */
} gguf_lora;

static const gguf_lora usual = {"adapter", "lora", "llama", 8, 0, NULL, 0, false};

/* One pair; types F32 or Q8_0, `rank` rows. */
static el_buf gguf_file(gguf_lora k, const char *a_name, const char *b_name, uint64_t in, uint64_t rank_a,
                        uint64_t rank_b, uint64_t out, el_type type) {
  el_buf b = {0};
  const el_type_info *info = el_type_get((uint32_t)type);
  size_t a_bytes = in * rank_a / (size_t)info->block * (size_t)info->block_bytes;
  size_t b_bytes = rank_b * out / (size_t)info->block * (size_t)info->block_bytes;
  put_gguf_header(&b, 3, 2, 3u + (k.alpha != 0) + (k.n_alora || k.no_alora));
  put_kv_str(&b, "general.type", k.general_type);
  put_kv_str(&b, "adapter.type", k.type);
  put_kv_str(&b, "general.architecture", k.architecture);
  if (k.alpha != 0) put_kv(&b, "adapter.lora.alpha", EL_GGUF_F32), put_f32(&b, k.alpha);
  if (k.n_alora || k.no_alora) {
    put_kv(&b, "adapter.alora.invocation_tokens", EL_GGUF_ARRAY);
    put_u32(&b, k.alora_type ? k.alora_type : EL_GGUF_U32);
    put_u64(&b, k.n_alora);
    for (uint32_t i = 0; i < k.n_alora; i++) put_u32(&b, k.alora[i]);
  }
  put_tensor(&b, a_name, 2, (uint64_t[]){in, rank_a}, (uint32_t)type, 0);
  put_tensor(&b, b_name, 2, (uint64_t[]){rank_b, out}, (uint32_t)type, (a_bytes + 31) / 32 * 32);
  put_padding(&b, 32);
  for (size_t i = 0; i < a_bytes; i++) put_uint(&b, type == EL_TYPE_F32 ? 0 : 0x3c, 1); /* Q8_0: d = 1.058, codes 60 */
  put_padding(&b, 32);
  put_zeros(&b, b_bytes);
  return b;
}

static el_status open_gguf(el_buf *b, const el_sites *sites, el_lora_file **f, el_error *e) {
  char dir[64], path[128];
  make_dir(dir);
  write_file(dir, "a.gguf", b->data, b->len);
  snprintf(path, sizeof path, "%s/a.gguf", dir);
  el_status status = el_lora_file_open(path, sites, f, e);
  remove_tree(dir);
  el_buf_free(b);
  return status;
}

static void refuses_gguf(el_buf b, el_status status, const char *message) {
  el_lora_file *f = NULL;
  el_error e = {0};
  el_status got = open_gguf(&b, &base, &f, &e);
  if (got == EL_OK) fail_msg("opened, expected: %s", message);
  assert_contains(e.message, message);
  assert_int_equal(got, status);
}

static void gguf_adapters_are_read_with_llama_cpps_scale(void **state) {
  for (int i = 0; i < EL_N_USUAL_SITES; i++) {
    char a[64], b[64];
    snprintf(a, sizeof a, "blk.2.%s.weight.lora_a", gg[i]);
    snprintf(b, sizeof b, "blk.2.%s.weight.lora_b", gg[i]);
    el_lora_file *f = NULL;
    el_error e;
    el_buf bytes = gguf_file(usual, a, b, (uint64_t)shape.in[i], 4, 4, (uint64_t)shape.out[i], EL_TYPE_F32);
    if (open_gguf(&bytes, &base, &f, &e)) fail_msg("%s", e.message);
    const el_lora_pair *p = el_lora_file_at(f, 0);
    assert_int_equal(el_lora_file_n(f), 1);
    assert_int_equal(p->layer, 2);
    assert_int_equal(p->site, i);
    assert_int_equal(p->rank, 4);
    assert_true(p->scale == 2.0f);
    assert_false(p->reorder_b);
    el_lora_file_close(f);
  }
  gguf_lora without_alpha = usual;
  without_alpha.alpha = 0;
  el_lora_file *f = NULL;
  el_error e;
  el_buf bytes =
      gguf_file(without_alpha, "blk.0.attn_q.weight.lora_a", "blk.0.attn_q.weight.lora_b", 16, 4, 4, 12, EL_TYPE_F32);
  if (open_gguf(&bytes, &base, &f, &e)) fail_msg("%s", e.message);
  assert_true(el_lora_file_at(f, 0)->scale == 1.0f);
  el_lora_file_close(f);
}

static void quantised_gguf_adapters_become_f32(void **state) {
  static el_site_dims dims[SITES_MAX_LAYERS * EL_N_USUAL_SITES];
  sites_shape wide_shape = shape;
  wide_shape.in[EL_SITE_Q] = 64;
  const el_sites wide = make_sites(&wide_shape, dims);
  el_lora_file *f = NULL;
  el_error e;
  el_buf bytes =
      gguf_file(usual, "blk.0.attn_q.weight.lora_a", "blk.0.attn_q.weight.lora_b", 64, 32, 32, 12, EL_TYPE_Q8_0);
  if (open_gguf(&bytes, &wide, &f, &e)) fail_msg("%s", e.message);
  const el_lora_pair *p = el_lora_file_at(f, 0);
  float last;
  memcpy(&last, (const char *)p->a.data + 4 * (64 * 32 - 1), 4);
  assert_int_equal(p->a.type, EL_TYPE_F32);
  assert_true(last == 60 * el_f16_to_f32(0x3c3c));
  el_lora_file_close(f);
}

/* --- activated adapters */

static void peft_s_invocation_tokens_are_read(void **state) {
  weights w = {0};
  add_pair(&w, 0, EL_SITE_Q, 4);
  el_lora_file *f = must_open("{" PLAIN ",\"alora_invocation_tokens\":[1,520,0,2147483647]}", &w);
  const el_invocation *inv = el_lora_file_invocation(f);
  static const int32_t tokens[] = {1, 520, 0, INT32_MAX};
  assert_int_equal(inv->n, 4);
  assert_int_equal(inv->n_lead, 0);
  assert_memory_equal(inv->tokens, tokens, sizeof tokens);
  assert_null(el_lora_file_invocation_text(f));
  el_lora_file_close(f);
  add_pair(&w, 0, EL_SITE_Q, 4);
  f = must_open("{" PLAIN ",\"alora_invocation_tokens\":null,\"invocation_string\":\"<|a|>b\"}", &w);
  assert_int_equal(el_lora_file_invocation(f)->n, 0);
  assert_string_equal(el_lora_file_invocation_text(f), "<|a|>b");
  el_lora_file_close(f);
  /* Who has both was trained with the first. */
  add_pair(&w, 0, EL_SITE_Q, 4);
  f = must_open("{" PLAIN ",\"alora_invocation_tokens\":[7],\"invocation_string\":\"<|a|>b\"}", &w);
  assert_int_equal(el_lora_file_invocation(f)->n, 1);
  assert_null(el_lora_file_invocation_text(f));
  el_lora_file_close(f);
}

static void invocations_that_are_none_are_refused(void **state) {
  static const struct {
    el_status status;
    const char *fields, *message;
  } cases[] = {
      {EL_ERR_FORMAT, "\"alora_invocation_tokens\":[]", "alora_invocation_tokens is empty"},
      {EL_ERR_FORMAT, "\"alora_invocation_tokens\":7", "alora_invocation_tokens is not an array"},
      {EL_ERR_FORMAT, "\"alora_invocation_tokens\":[1,-1]", "alora_invocation_tokens[1] is no token"},
      {EL_ERR_FORMAT, "\"alora_invocation_tokens\":[2147483648]", "alora_invocation_tokens[0] is no token"},
      {EL_ERR_FORMAT, "\"alora_invocation_tokens\":[1.5]", "alora_invocation_tokens[0] is no token"},
      {EL_ERR_FORMAT, "\"alora_invocation_tokens\":[true]", "alora_invocation_tokens[0] is no token"},
      {EL_ERR_FORMAT, "\"invocation_string\":5", "invocation_string is not a string"},
      {EL_ERR_FORMAT, "\"invocation_string\":\"\"", "invocation_string is empty"},
      {EL_ERR_UNSUPPORTED, "\"alora_invocation_tokens\":[1],\"use_dora\":true", "use_dora"},
      {EL_ERR_UNSUPPORTED, "\"alora_invocation_tokens\":[1],\"modules_to_save\":[\"lm_head\"]", "modules_to_save"},
      {EL_ERR_UNSUPPORTED, "\"invocation_string\":\"a\",\"lora_bias\":true", "lora_bias"},
      {EL_ERR_UNSUPPORTED, "\"alora_invocation_tokens\":[1],\"bias\":\"all\"", "bias"}};
  char config[4096];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    snprintf(config, sizeof config, "{" PLAIN ",%s}", cases[i].fields);
    refuses_config(config, cases[i].status, cases[i].message);
  }
  size_t n = (size_t)snprintf(config, sizeof config, "{" PLAIN ",\"alora_invocation_tokens\":[0");
  for (int i = 0; i < EL_MAX_INVOCATION; i++) n += (size_t)snprintf(config + n, sizeof config - n, ",%d", i);
  snprintf(config + n, sizeof config - n, "]}");
  refuses_config(config, EL_ERR_UNSUPPORTED, "has 257 tokens, the limit is 256");
}

static void gguf_s_invocation_tokens_are_read(void **state) {
  static const char *const a = "blk.0.attn_q.weight.lora_a", *const b = "blk.0.attn_q.weight.lora_b";
  static uint32_t tokens[EL_MAX_INVOCATION + 1] = {1, 520, 9531, 198};
  gguf_lora k = usual;
  k.alora = tokens;
  k.n_alora = 4;
  el_lora_file *f = NULL;
  el_error e;
  el_buf bytes = gguf_file(k, a, b, 16, 4, 4, 12, EL_TYPE_F32);
  if (open_gguf(&bytes, &base, &f, &e)) fail_msg("%s", e.message);
  assert_int_equal(el_lora_file_invocation(f)->n, 4);
  assert_int_equal(el_lora_file_invocation(f)->n_lead, 0);
  assert_memory_equal(el_lora_file_invocation(f)->tokens, tokens, 4 * sizeof *tokens);
  el_lora_file_close(f);
  k.alora_type = EL_GGUF_F32;
  refuses_gguf(gguf_file(k, a, b, 16, 4, 4, 12, EL_TYPE_F32), EL_ERR_FORMAT,
               "adapter.alora.invocation_tokens is not an array of 32-bit integers");
  k.alora_type = 0;
  k.n_alora = EL_MAX_INVOCATION + 1;
  refuses_gguf(gguf_file(k, a, b, 16, 4, 4, 12, EL_TYPE_F32), EL_ERR_UNSUPPORTED,
               "has 257 tokens, supported are 1 to 256");
  k.n_alora = 2;
  tokens[1] = 0x80000000u;
  refuses_gguf(gguf_file(k, a, b, 16, 4, 4, 12, EL_TYPE_F32), EL_ERR_FORMAT, "[1] is 2147483648, which is no token");
  k.n_alora = 0;
  k.no_alora = true;
  refuses_gguf(gguf_file(k, a, b, 16, 4, 4, 12, EL_TYPE_F32), EL_ERR_FORMAT, "has 0 tokens, supported are 1 to 256");
}

static void gguf_files_that_are_no_llama_lora_are_refused(void **state) {
  const char *a = "blk.0.attn_q.weight.lora_a", *b = "blk.0.attn_q.weight.lora_b";
  gguf_lora k = usual;
  k.general_type = "model";
  refuses_gguf(gguf_file(k, a, b, 16, 4, 4, 12, EL_TYPE_F32), EL_ERR_UNSUPPORTED,
               "general.type is \"model\", expected \"adapter\"");
  k = usual, k.type = "control_vector";
  refuses_gguf(gguf_file(k, a, b, 16, 4, 4, 12, EL_TYPE_F32), EL_ERR_UNSUPPORTED, "adapter.type is \"control_vector\"");
  k = usual, k.architecture = "qwen2";
  refuses_gguf(gguf_file(k, a, b, 16, 4, 4, 12, EL_TYPE_F32), EL_ERR_UNSUPPORTED, "general.architecture is \"qwen2\"");
  k = usual, k.alpha = NAN;
  refuses_gguf(gguf_file(k, a, b, 16, 4, 4, 12, EL_TYPE_F32), EL_ERR_FORMAT,
               "adapter.lora.alpha is not a finite number");
  refuses_gguf(gguf_file(usual, a, b, 17, 4, 4, 12, EL_TYPE_F32), EL_ERR_FORMAT, "lora_a is 4 x 17, expected 4 x 16");
  refuses_gguf(gguf_file(usual, a, b, 16, 4, 3, 12, EL_TYPE_F32), EL_ERR_FORMAT, "lora_b is 12 x 3, expected 12 x 4");
  refuses_gguf(gguf_file(usual, a, b, 16, 1025, 1025, 12, EL_TYPE_F32), EL_ERR_UNSUPPORTED,
               "rank 1025, supported are 1 to 1024");
  refuses_gguf(gguf_file(usual, a, "blk.1.attn_q.weight.lora_b", 16, 4, 4, 12, EL_TYPE_F32), EL_ERR_FORMAT,
               "has no lora_B beside it");
  refuses_gguf(gguf_file(usual, a, "token_embds.weight.lora_b", 16, 4, 4, 12, EL_TYPE_F32), EL_ERR_UNSUPPORTED,
               "token_embds.weight.lora_b");
  refuses_gguf(gguf_file(usual, a, "outputs.weight.lora_b", 16, 4, 4, 12, EL_TYPE_F32), EL_ERR_UNSUPPORTED,
               "outputs.weight.lora_b");
  refuses_gguf(gguf_file(usual, a, "blk.0.attn_q.bias.lora_b", 16, 4, 4, 12, EL_TYPE_F32), EL_ERR_UNSUPPORTED,
               "no LoRA part");
}

/* --- everything at once */

static void every_truncation_and_flipped_bit_of_the_weights_is_survived(void **state) {
  weights w = {0};
  add_pair(&w, 0, EL_SITE_V, 1);
  el_buf b = finish(&w);
  const char *config = "{\"peft_type\":\"LORA\",\"r\":1,\"lora_alpha\":1}";
  el_lora_file *f = NULL;
  el_error e;
  for (size_t n = 0; n < b.len; n++)
    assert_int_not_equal(el_lora_file_open_memory(config, strlen(config), b.data, n, &base, &f, &e), EL_OK);
  for (size_t i = 0; i < b.len; i++)
    for (int bit = 0; bit < 8; bit++) {
      b.data[i] ^= (char)(1 << bit);
      if (el_lora_file_open_memory(config, strlen(config), b.data, b.len, &base, &f, &e) == EL_OK)
        el_lora_file_close(f);
      b.data[i] ^= (char)(1 << bit);
    }
  el_buf_free(&b);
}

/* --- giants */

static long peak_kib(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return u.ru_maxrss;
}

/* A file of `size` bytes, of which nothing is on the disk but what b has, is refused and costs no memory. */
static void refuses_giant(const char *dir, const char *file, el_buf b, off_t size, const char *message) {
  char path[128], adapter[128];
  snprintf(path, sizeof path, "%s/%s", dir, file);
  write_file(dir, file, b.data ? b.data : "", b.len);
  assert_int_equal(truncate(path, size), 0);
  snprintf(adapter, sizeof adapter, "%s", strstr(file, ".gguf") ? path : dir);
  el_lora_file *f = NULL;
  el_error e = {0};
  long before = peak_kib();
  assert_int_equal(el_lora_file_open(adapter, &base, &f, &e), EL_ERR_FORMAT);
  assert_contains(e.message, message);
  assert_true(peak_kib() - before < 64 << 10);
  unlink(path);
  el_buf_free(&b);
}

static void a_giant_that_is_no_adapter_is_refused_by_its_header(void **state) {
  enum { GIB = 1 << 30 };
  char dir[64];
  make_dir(dir);
  refuses_giant(dir, "a.gguf", (el_buf){0}, GIB, "not a GGUF file");
  refuses_giant(dir, "a.gguf",
                gguf_file(usual, "blk.0.attn_q.weight.lora_a", "blk.0.attn_q.weight.lora_b", 16, 4, 4, 12, EL_TYPE_F32),
                GIB, "belong to no LoRA matrix");
  write_file(dir, "adapter_config.json", "{" PLAIN "}", strlen("{" PLAIN "}"));
  refuses_giant(dir, "adapter_model.safetensors", (el_buf){0}, GIB, "is not a JSON object");
  static const char one[] =
      "{\"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight\":"
      "{\"dtype\":\"F32\",\"shape\":[4,67108864],\"data_offsets\":[0,1073741824]}}";
  el_buf b = {0};
  put_safetensors(&b, one, "", 0);
  refuses_giant(dir, "adapter_model.safetensors", b, (off_t)b.len + GIB, "has no lora_B beside it");
  remove_tree(dir);
}

static void large_adapters_are_read_as_small_ones(void **state) {
  enum { WIDE = 1 << 15, RANK = 256 };
  static const sites_shape wide_shape = {.n_layers = 1,
                                         .in = {WIDE, 16, 16, 16, 16, 16, 16},
                                         .out = {16, 16, 16, 16, 16, 16, 16},
                                         .n_head = 4,
                                         .n_head_kv = 4};
  static el_site_dims dims[EL_N_USUAL_SITES];
  const el_sites wide = make_sites(&wide_shape, dims);
  static float a[RANK * WIDE];
  float last[RANK * 16] = {0};
  for (size_t i = 0; i < sizeof a / sizeof *a; i++) a[i] = (float)(i % 1000);
  char dir[64], path[128];
  weights w = {0};
  add_raw(&w, "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", "F32", RANK, WIDE, 4, a);
  add_raw(&w, "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight", "F32", 16, RANK, 4, last);
  el_buf b = finish(&w);
  assert_true(b.len > EL_LORA_HEADER_FIRST);
  make_dir(dir);
  const char *config = "{\"peft_type\":\"LORA\",\"r\":256,\"lora_alpha\":8}";
  write_file(dir, "adapter_config.json", config, strlen(config));
  write_file(dir, "adapter_model.safetensors", b.data, b.len);
  el_lora_file *f = NULL;
  el_error e;
  if (el_lora_file_open(dir, &wide, &f, &e)) fail_msg("%s", e.message);
  assert_memory_equal(el_lora_file_at(f, 0)->a.data, a, sizeof a);
  el_lora_file_close(f);
  el_buf_free(&b);
  /* what belongs to none of its matrices may be a router's */
  b = gguf_file(usual, "blk.0.attn_q.weight.lora_a", "blk.0.attn_q.weight.lora_b", 16, 4, 4, 12, EL_TYPE_F32);
  write_file(dir, "a.gguf", b.data, b.len);
  snprintf(path, sizeof path, "%s/a.gguf", dir);
  assert_int_equal(truncate(path, (off_t)EL_LORA_HEADER_FIRST + 4096), 0);
  if (el_lora_file_open(path, &base, &f, &e)) fail_msg("%s", e.message);
  assert_int_equal(el_lora_file_n(f), 1);
  el_lora_file_close(f);
  el_buf_free(&b);
  remove_tree(dir);
}

int main(void) {
  base = make_sites(&shape, base_dims);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_matrices_of_a_peft_adapter_are_read_in_order),
      cmocka_unit_test(names_may_carry_the_adapters_name),
      cmocka_unit_test(ranks_and_scales_are_pefts),
      cmocka_unit_test(fields_that_change_nothing_are_ignored),
      cmocka_unit_test(sixteen_bit_weights_stay_as_they_are),
      cmocka_unit_test(the_matrices_of_a_pair_may_have_two_types),
      cmocka_unit_test(the_limits_of_rank_are_read),
      cmocka_unit_test(adapters_that_peft_wrote_are_read),
      cmocka_unit_test(variants_of_lora_are_refused_by_field),
      cmocka_unit_test(configurations_of_the_wrong_form_are_refused),
      cmocka_unit_test(a_pattern_cannot_stall_the_loader),
      cmocka_unit_test(tensors_that_do_not_fit_are_refused),
      cmocka_unit_test(unknown_tensors_are_refused_by_name),
      cmocka_unit_test(weights_that_are_not_finite_are_refused),
      cmocka_unit_test(a_folder_is_read_and_its_changes_do_not_matter),
      cmocka_unit_test(folders_that_lack_something_say_what),
      cmocka_unit_test(gguf_adapters_are_read_with_llama_cpps_scale),
      cmocka_unit_test(quantised_gguf_adapters_become_f32),
      cmocka_unit_test(peft_s_invocation_tokens_are_read),
      cmocka_unit_test(invocations_that_are_none_are_refused),
      cmocka_unit_test(gguf_s_invocation_tokens_are_read),
      cmocka_unit_test(gguf_files_that_are_no_llama_lora_are_refused),
      cmocka_unit_test(a_giant_that_is_no_adapter_is_refused_by_its_header),
      cmocka_unit_test(large_adapters_are_read_as_small_ones),
      cmocka_unit_test(every_truncation_and_flipped_bit_of_the_weights_is_survived),
  };
  return cmocka_run_group_tests_name("lora_file", tests, NULL, NULL);
}
