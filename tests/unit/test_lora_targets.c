/* What adapters may touch besides pairs on linear layers, as files: sizes that are not the base's, halves without the
 * other, what the configuration does not say or says alone, and values that are not finite are refused by name. That
 * what is read is right, test_golden_targets.c tells. */
#include <math.h>

#include "peft_fixture.h"
#include "sites_fixture.h"

enum { VOCAB = 24, EMBD = 16 };
static const sites_shape shape = {.n_layers = 2,
                                  .in = {EMBD, EMBD, EMBD, 12, EMBD, EMBD, 20},
                                  .out = {12, 6, 4, EMBD, 20, 20, EMBD},
                                  .n_head = 3,
                                  .n_head_kv = 3};
static el_site_dims base_dims[SITES_MAX_LAYERS * EL_N_USUAL_SITES];
static int base_norms[2 * EL_MAX_NORMS];
static el_sites base;

#define PLAIN "\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8"
#define LAYER "base_model.model.model.layers.0."
#define MODEL "base_model.model."

typedef struct tensor {
  const char *name;
  int rows, cols; /* cols 0: a vector */
} tensor;

/* A pair on k_proj of layer 0, and these. */
static weights with(const tensor *more, int n) {
  weights w = {0};
  add_f32(&w, LAYER "self_attn.k_proj.lora_A.weight", 4, EMBD, 1);
  add_f32(&w, LAYER "self_attn.k_proj.lora_B.weight", 6, 4, 1);
  for (int i = 0; i < n && more[i].name; i++) add_f32(&w, more[i].name, more[i].rows, more[i].cols, 1);
  return w;
}

static void every_part_is_read_with_and_without_a_base(void **state) {
  static const struct {
    const char *config;
    tensor more[2];
    el_lora_kind kind;
    int n;
  } cases[] = {
      {"\"use_dora\":true", {{LAYER "self_attn.k_proj.lora_magnitude_vector", 6, 0}}, EL_LORA_MAGNITUDE, 1},
      {"\"use_dora\":true", {{LAYER "self_attn.k_proj.lora_magnitude_vector.weight", 6, 0}}, EL_LORA_MAGNITUDE, 1},
      {"\"bias\":\"all\"", {{LAYER "self_attn.v_proj.bias", 4, 0}}, EL_LORA_BIAS, 1},
      {"\"bias\":\"lora_only\"", {{LAYER "self_attn.k_proj.base_layer.bias", 6, 0}}, EL_LORA_BIAS, 1},
      {"\"lora_bias\":true", {{LAYER "self_attn.k_proj.lora_B.bias", 6, 0}}, EL_LORA_ADDED_BIAS, 1},
      {"\"modules_to_save\":[\"input_layernorm\"]", {{LAYER "input_layernorm.weight", EMBD, 0}}, EL_LORA_NORM, 1},
      {"\"modules_to_save\":[\"norm\"]", {{MODEL "model.norm.weight", EMBD, 0}}, EL_LORA_NORM, 1},
      {"\"modules_to_save\":[\"lm_head\"]", {{MODEL "lm_head.weight", VOCAB, EMBD}}, EL_LORA_OUTPUT, 1},
      {"\"modules_to_save\":[\"lm_head\"]",
       {{MODEL "lm_head.modules_to_save.default.weight", VOCAB, EMBD}},
       EL_LORA_OUTPUT,
       1},
      {"\"modules_to_save\":[\"embed_tokens\"]",
       {{MODEL "model.embed_tokens.weight", VOCAB, EMBD}},
       EL_LORA_EMBEDDING,
       1},
      {"\"bias\":\"none\"",
       {{MODEL "model.embed_tokens.lora_embedding_A", 4, VOCAB},
        {MODEL "model.embed_tokens.lora_embedding_B", EMBD, 4}},
       EL_LORA_EMBEDDING_A,
       2},
      {"\"trainable_token_indices\":[7,3]",
       {{MODEL "model.embed_tokens.token_adapter.trainable_tokens_delta", 2, EMBD}},
       EL_LORA_TOKENS,
       1},
      {"\"trainable_token_indices\":{\"embed_tokens\":[7,3]}",
       {{MODEL "model.embed_tokens.token_adapter.trainable_tokens_delta", 2, EMBD}},
       EL_LORA_TOKENS,
       1},
      /* the base's own matrix, which PEFT saves beside a pair of it, is none */
      {"\"bias\":\"none\"", {{MODEL "lm_head.base_layer.weight", VOCAB, EMBD}}, 0, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (int with_base = 0; with_base < 2; with_base++) {
      char config[256];
      el_lora_file *f = NULL;
      el_error e;
      weights w = with(cases[i].more, 2);
      snprintf(config, sizeof config, "{" PLAIN ",%s}", cases[i].config);
      if (open_weights(config, &w, with_base ? &base : NULL, &f, &e)) fail_msg("%s: %s", config, e.message);
      assert_int_equal(el_lora_file_n(f), 1);
      assert_int_equal(el_lora_file_n_extras(f), cases[i].n);
      if (cases[i].n) assert_int_equal(el_lora_file_extra(f, 0)->kind, cases[i].kind);
      el_lora_file_close(f);
    }
}

#define EMBED "model.embed_tokens."

static void mlx_lms_embedding_is_whole_or_refused_by_name(void **state) {
  static const struct {
    const char *type;
    tensor more[3];
    const char *message; /* NULL: it is read */
  } cases[] = {
      {"lora", {{EMBED "lora_a", VOCAB, 2}, {EMBED "lora_b", 2, EMBD}}, NULL},
      {"dora", {{EMBED "lora_a", VOCAB, 2}, {EMBED "lora_b", 2, EMBD}, {EMBED "m", VOCAB, 0}}, NULL},
      {"lora", {{EMBED "lora_a", VOCAB, 2}}, EMBED "lora_a has no lora_b beside it"},
      {"lora", {{EMBED "lora_b", 2, EMBD}}, EMBED "lora_b has no lora_a beside it"},
      {"lora",
       {{EMBED "lora_a", VOCAB, 3}, {EMBED "lora_b", 2, EMBD}},
       EMBED "lora_a has rank 3, and the one beside it 2"},
      {"lora",
       {{EMBED "lora_a", VOCAB, 3}, {EMBED "lora_b", 3, EMBD}},
       EMBED "lora_b has rank 3, adapter_config.json says 2"},
      {"lora",
       {{EMBED "lora_a", VOCAB + 1, 2}, {EMBED "lora_b", 2, EMBD}},
       EMBED "lora_a is of a vocabulary of 25 tokens, and the base's has 24"},
      {"lora", {{EMBED "lora_a", VOCAB, 2}, {EMBED "lora_b", 2, EMBD - 1}}, EMBED "lora_b is 2 x 15, expected 0 x 16"},
      {"dora", {{EMBED "lora_a", VOCAB, 2}, {EMBED "lora_b", 2, EMBD}}, EMBED "lora_a has no m beside it"},
      {"dora", {{EMBED "m", VOCAB, 0}}, EMBED "m has no lora_a and lora_b beside it"},
      {"dora",
       {{EMBED "lora_a", VOCAB, 2}, {EMBED "lora_b", 2, EMBD}, {EMBED "m", EMBD, 0}},
       EMBED "m is 16 x 1, expected 24 x 1"},
  };
  el_sites tied = base;
  tied.tied = true;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (int with_tied = 0; with_tied < 2; with_tied++) {
      weights w = {0};
      el_lora_file *f = NULL;
      el_error e = {0};
      char config[128];
      for (int k = 0; k < 3 && cases[i].more[k].name; k++)
        add_f32(&w, cases[i].more[k].name, cases[i].more[k].rows, cases[i].more[k].cols, 1);
      snprintf(config, sizeof config, "{\"fine_tune_type\":\"%s\",\"lora_parameters\":{\"rank\":2,\"scale\":3}}",
               cases[i].type);
      el_status status = open_weights(config, &w, with_tied ? &tied : &base, &f, &e);
      if (cases[i].message) {
        assert_int_not_equal(status, EL_OK);
        /* a part of the output's pair is the same tensor, and may be the first to be looked at */
        if (!with_tied) assert_contains(e.message, cases[i].message);
        continue;
      }
      if (status) fail_msg("%s", e.message);
      assert_int_equal(el_lora_file_n(f), with_tied);
      const bool dora = !strcmp(cases[i].type, "dora");
      assert_int_equal(el_lora_file_n_extras(f), 2 + dora + (dora && with_tied));
      for (int k = 0; k < with_tied; k++) {
        const el_lora_pair *p = el_lora_file_at(f, 0);
        assert_int_equal(p->layer, base.n_layers);
        assert_int_equal(p->site, EL_SITE_OUTPUT);
        assert_int_equal(p->rank, 2);
        assert_true(p->scale == 3);
      }
      el_lora_file_close(f);
    }
}

static void what_does_not_fit_or_is_not_whole_is_refused_by_name(void **state) {
  static const struct {
    const char *config;
    tensor more[4];
    el_status status;
    const char *message;
  } cases[] = {
      /* sizes */
      {"\"use_dora\":true",
       {{LAYER "self_attn.k_proj.lora_magnitude_vector", 7, 0}},
       EL_ERR_FORMAT,
       "lora_magnitude_vector is 7 x 1, expected 6 x 1"},
      {"\"use_dora\":true", {{LAYER "self_attn.k_proj.lora_magnitude_vector", 1, 6}}, EL_ERR_FORMAT, "2 dimensions"},
      {"\"bias\":\"all\"", {{LAYER "self_attn.v_proj.bias", 5, 0}}, EL_ERR_FORMAT, "v_proj.bias is 5 x 1"},
      {"\"bias\":\"all\"",
       {{MODEL "model.layers.2.self_attn.v_proj.bias", 4, 0}},
       EL_ERR_FORMAT,
       "the base model has 2 layers"},
      {"\"modules_to_save\":[\"norm\"]",
       {{MODEL "model.norm.weight", EMBD + 1, 0}},
       EL_ERR_FORMAT,
       "norm.weight is 17"},
      {"\"modules_to_save\":[\"q_norm\"]",
       {{LAYER "self_attn.q_norm.weight", 4, 0}},
       EL_ERR_FORMAT,
       "layer 0 of the base model has nothing of the kind"},
      {"\"modules_to_save\":[\"lm_head\"]", {{MODEL "lm_head.weight", VOCAB, EMBD + 1}}, EL_ERR_FORMAT, "24 x 17"},
      /* a vocabulary of another size, of which something is missing */
      {"\"modules_to_save\":[\"lm_head\"]",
       {{MODEL "lm_head.weight", VOCAB + 2, EMBD}},
       EL_ERR_UNSUPPORTED,
       "lm_head.weight is of a vocabulary of 26 tokens, and the base's has 24: there are no rows of embed_tokens"},
      {"\"bias\":\"none\"",
       {{MODEL "lm_head.weight", VOCAB + 1, EMBD}, {MODEL "model.embed_tokens.weight", VOCAB + 2, EMBD}},
       EL_ERR_FORMAT,
       "embed_tokens.weight is of 26 tokens, and tensor base_model.model.lm_head.weight of 25"},
      {"\"bias\":\"none\"",
       {{MODEL "model.embed_tokens.weight", VOCAB + 4097, EMBD}},
       EL_ERR_UNSUPPORTED,
       "an adapter may add 4096"},
      {"\"bias\":\"none\"", {{MODEL "model.embed_tokens.weight", VOCAB + 1, EMBD + 1}}, EL_ERR_FORMAT, "25 x 17"},
      {"\"bias\":\"none\"",
       {{MODEL "model.embed_tokens.lora_embedding_A", 4, VOCAB + 1},
        {MODEL "model.embed_tokens.lora_embedding_B", EMBD, 4}},
       EL_ERR_UNSUPPORTED,
       "lora_embedding_A and B alone are no rows for them"},
      {"\"target_modules\":[\"lm_head\"]",
       {{MODEL "lm_head.lora_A.weight", 4, EMBD}, {MODEL "lm_head.lora_B.weight", VOCAB + 1, 4}},
       EL_ERR_UNSUPPORTED,
       "lora_A and lora_B of lm_head alone are no rows for them"},
      {"\"use_dora\":true",
       {{MODEL "lm_head.lora_A.weight", 4, EMBD},
        {MODEL "lm_head.lora_B.weight", VOCAB + 1, 4},
        {MODEL "lm_head.base_layer.weight", VOCAB + 1, EMBD},
        {MODEL "model.embed_tokens.weight", VOCAB + 1, EMBD}},
       EL_ERR_UNSUPPORTED,
       "DoRA on embed_tokens or lm_head"},
      {"\"trainable_token_indices\":[3,24,26]",
       {{MODEL "model.embed_tokens.token_adapter.trainable_tokens_delta", 3, EMBD}},
       EL_ERR_FORMAT,
       "trainable_token_indices has 26, the base's vocabulary 24 tokens, and 2 from there on have a row"},
      {"\"bias\":\"none\"",
       {{MODEL "model.embed_tokens.lora_embedding_A", 5, VOCAB},
        {MODEL "model.embed_tokens.lora_embedding_B", EMBD, 4}},
       EL_ERR_FORMAT,
       "has rank 5, and the one beside it 4"},
      {"\"bias\":\"none\"",
       {{MODEL "model.embed_tokens.lora_embedding_A", 5, VOCAB},
        {MODEL "model.embed_tokens.lora_embedding_B", EMBD, 5}},
       EL_ERR_FORMAT,
       "has rank 5, adapter_config.json says 4"},
      /* parts that are missing */
      {"\"bias\":\"none\"",
       {{MODEL "model.embed_tokens.lora_embedding_A", 4, VOCAB}},
       EL_ERR_FORMAT,
       "has no lora_embedding_B beside it"},
      {"\"bias\":\"none\"",
       {{MODEL "model.embed_tokens.lora_embedding_B", EMBD, 4}},
       EL_ERR_FORMAT,
       "has no lora_embedding_A beside it"},
      {"\"use_dora\":true", {{0}}, EL_ERR_FORMAT, "has no lora_magnitude_vector"},
      {"\"use_dora\":true",
       {{LAYER "self_attn.k_proj.lora_magnitude_vector", 6, 0},
        {MODEL "model.embed_tokens.lora_magnitude_vector", EMBD, 0}},
       EL_ERR_FORMAT,
       "embed_tokens.lora_magnitude_vector has no lora_embedding_A and lora_embedding_B beside it"},
      {"\"use_dora\":true",
       {{LAYER "self_attn.k_proj.lora_magnitude_vector", 6, 0},
        {MODEL "model.embed_tokens.lora_magnitude_vector", VOCAB, 0}},
       EL_ERR_FORMAT,
       "embed_tokens.lora_magnitude_vector is "},
      {"\"use_dora\":true",
       {{LAYER "self_attn.k_proj.lora_magnitude_vector", 6, 0}, {LAYER "self_attn.v_proj.lora_magnitude_vector", 4, 0}},
       EL_ERR_FORMAT,
       "v_proj.lora_magnitude_vector has no lora_A and lora_B beside it"},
      {"\"lora_bias\":true", {{LAYER "self_attn.v_proj.lora_B.bias", 4, 0}}, EL_ERR_FORMAT, "no lora_A and lora_B"},
      {"\"modules_to_save\":[\"lm_head\"]", {{0}}, EL_ERR_FORMAT, "modules_to_save has the output"},
      {"\"modules_to_save\":[\"model.embed_tokens\"]", {{0}}, EL_ERR_FORMAT, "modules_to_save has the embedding"},
      {"\"modules_to_save\":[\"input_layernorm\"]", {{0}}, EL_ERR_FORMAT, "modules_to_save has norms"},
      /* what the configuration does not say */
      {"\"use_dora\":false",
       {{MODEL "model.embed_tokens.lora_magnitude_vector", EMBD, 0}},
       EL_ERR_UNSUPPORTED,
       "use_dora is not true"},
      {"\"use_dora\":false",
       {{LAYER "self_attn.k_proj.lora_magnitude_vector", 6, 0}},
       EL_ERR_UNSUPPORTED,
       "use_dora is not true"},
      {"\"bias\":\"none\"", {{LAYER "self_attn.v_proj.bias", 4, 0}}, EL_ERR_UNSUPPORTED, "bias is \"none\""},
      {"\"lora_bias\":false",
       {{LAYER "self_attn.k_proj.lora_B.bias", 6, 0}},
       EL_ERR_UNSUPPORTED,
       "lora_bias is not true"},
      {"\"use_dora\":true,\"lora_bias\":true", {{0}}, EL_ERR_UNSUPPORTED, "use_dora and lora_bias"},
      {"\"modules_to_save\":[\"q_proj\"]",
       {{LAYER "self_attn.q_proj.weight", 12, EMBD}},
       EL_ERR_UNSUPPORTED,
       "modules_to_save has \"q_proj\""},
      {"\"bias\":\"none\"", {{LAYER "self_attn.q_proj.weight", 12, EMBD}}, EL_ERR_UNSUPPORTED, "not a LoRA part"},
      /* tokens */
      {"\"trainable_token_indices\":[7,7]",
       {{MODEL "model.embed_tokens.token_adapter.trainable_tokens_delta", 2, EMBD}},
       EL_ERR_FORMAT,
       "trainable_token_indices has 7 twice"},
      {"\"trainable_token_indices\":[7]",
       {{MODEL "model.embed_tokens.token_adapter.trainable_tokens_delta", 2, EMBD}},
       EL_ERR_FORMAT,
       "is 2 x 16, expected 1 x 16"},
      {"\"trainable_token_indices\":[-1]",
       {{MODEL "model.embed_tokens.token_adapter.trainable_tokens_delta", 1, EMBD}},
       EL_ERR_FORMAT,
       "a list of tokens"},
      {"\"bias\":\"none\"",
       {{MODEL "model.embed_tokens.token_adapter.trainable_tokens_delta", 1, EMBD}},
       EL_ERR_FORMAT,
       "trainable_token_indices has no list of tokens"},
      {"\"trainable_token_indices\":{\"lm_head\":[3]}",
       {{MODEL "lm_head.token_adapter.trainable_tokens_delta", 1, EMBD}},
       EL_ERR_UNSUPPORTED,
       "lm_head.token_adapter"},
      {"\"trainable_token_indices\":[3]", {{0}}, EL_ERR_FORMAT, "trainable_token_indices"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char config[256];
    el_lora_file *f = NULL;
    el_error e = {0};
    weights w = with(cases[i].more, 4);
    snprintf(config, sizeof config, "{" PLAIN ",%s}", cases[i].config);
    el_status got = open_weights(config, &w, &base, &f, &e);
    if (got == EL_OK) fail_msg("%s opened, expected: %s", config, cases[i].message);
    assert_contains(e.message, cases[i].message);
    if (got != cases[i].status) fail_msg("%s: %s", e.message, el_status_name(got));
    assert_null(f);
  }
}

static void values_that_are_not_finite_are_refused(void **state) {
  static const float wrong[] = {NAN, INFINITY, -INFINITY};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    float values[6] = {1, 2, 3, 4, 5, wrong[i]};
    weights w = with(NULL, 0);
    el_lora_file *f = NULL;
    el_error e = {0};
    add_raw(&w, LAYER "self_attn.k_proj.lora_magnitude_vector", "F32", 6, 0, 4, values);
    assert_int_equal(open_weights("{" PLAIN ",\"use_dora\":true}", &w, &base, &f, &e), EL_ERR_FORMAT);
    assert_contains(e.message, "lora_magnitude_vector has values that are not finite");
  }
}

static void a_file_may_hold_no_pair_on_a_layer(void **state) {
  weights w = {0};
  el_lora_file *f = NULL;
  el_error e;
  add_f32(&w, MODEL "model.embed_tokens.lora_embedding_A", 4, VOCAB, 1);
  add_f32(&w, MODEL "model.embed_tokens.lora_embedding_B", EMBD, 4, 1);
  if (open_weights("{" PLAIN "}", &w, &base, &f, &e)) fail_msg("%s", e.message);
  assert_int_equal(el_lora_file_n(f), 0);
  assert_int_equal(el_lora_file_n_extras(f), 2);
  el_lora_file_close(f);
  assert_int_equal(open_weights("{" PLAIN "}", &w, &base, &f, &e), EL_ERR_FORMAT);
  assert_contains(e.message, "holds no LoRA weights");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_part_is_read_with_and_without_a_base),
      cmocka_unit_test(mlx_lms_embedding_is_whole_or_refused_by_name),
      cmocka_unit_test(what_does_not_fit_or_is_not_whole_is_refused_by_name),
      cmocka_unit_test(values_that_are_not_finite_are_refused),
      cmocka_unit_test(a_file_may_hold_no_pair_on_a_layer),
  };
  base = make_sites(&shape, base_dims);
  base.output = (el_site_dims){.in = EMBD, .out = VOCAB};
  base.norms = base_norms;
  for (int l = 0; l < shape.n_layers; l++)
    base_norms[l * base.arch->n_norms] = base_norms[l * base.arch->n_norms + 1] = EMBD;
  return cmocka_run_group_tests(tests, NULL, NULL);
}
