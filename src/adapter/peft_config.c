#define PCRE2_CODE_UNIT_WIDTH 8
#include "adapter/peft_config.h"

#include <jansson.h>
#include <math.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/lora_halves.h"
#include "base/error.h"
#include "base/json_guard.h"

enum {
  MAX_REGEX_KEYS = 64, /* keys of a pattern that are not plain names; people write a few */
  MAX_REGEX = 1024,    /* bytes of one */
  /* Matching steps of one key on one name. Names have 50 characters and honest keys take fewer than
   * 1000 steps; what takes more backtracks without end. Bounds the time of a whole file to about a
   * second. */
  MAX_STEPS = 10000
};

typedef struct rule {
  const char *key;
  pcre2_code *regex; /* NULL: a plain name */
  double value;
} rule;

typedef struct rules {
  rule *items;
  size_t n;
} rules;

struct el_peft_config {
  char *path;
  json_t *root; /* keys and base point into it */
  const char *base;
  int rank;
  double alpha;
  bool rslora, dora, lora_bias, ties;
  bool biases;              /* it has biases that replace the base's */
  bool mlx;                 /* mlx-lm wrote it */
  int n_layers;             /* mlx: this many layers at the end have adapters; 0: all */
  const json_t *parameters; /* target_parameters, an array of strings; NULL: there are none */
  int version;              /* PEFT's: 0.19.1 is 19001; 0: not said, as before 0.18 */
  rules ranks, alphas;
  const json_t *invocation; /* an array of tokens; NULL: none */
  const char *invocation_text;
  pcre2_match_data *match;
  pcre2_match_context *limits;
};

/* --- checks of single fields. Absent and null mean the same: PEFT's default. */

static json_t *config_field(const el_peft_config *c, const char *name) {
  json_t *v = json_object_get(c->root, name);
  return json_is_null(v) ? NULL : v;
}

static el_status refuse_type(const el_peft_config *c, const char *name, const char *wanted, el_error *err) {
  return el_fail_about(err, EL_ERR_FORMAT, c->path, "%s is not %s", name, wanted);
}

static el_status read_bool(const el_peft_config *c, const char *name, bool *out, el_error *err) {
  json_t *v = config_field(c, name);
  if (v && !json_is_boolean(v)) return refuse_type(c, name, "true or false", err);
  *out = json_is_true(v);
  return EL_OK;
}

static el_status check_config_rank(const el_peft_config *c, const char *name, const json_t *v, el_error *err) {
  if (!json_is_integer(v)) return refuse_type(c, name, "an integer", err);
  json_int_t r = json_integer_value(v);
  if (r < 1 || r > EL_MAX_RANK)
    return el_fail_about(err, r < 1 ? EL_ERR_FORMAT : EL_ERR_UNSUPPORTED, c->path, "%s is %lld, supported are 1 to %d",
                         name, (long long)r, EL_MAX_RANK);
  return EL_OK;
}

static el_status check_config_number(const el_peft_config *c, const char *name, const json_t *v, el_error *err) {
  /* The parser refuses what is beyond a double, and NaN is not JSON. */
  return json_is_number(v) ? EL_OK : refuse_type(c, name, "a number", err);
}

/* Checks a string field that must have the one supported value; it may be absent unless
 * `required`. */
static el_status expect_string(const el_peft_config *c, const char *name, const char *wanted, bool required,
                               el_error *err) {
  json_t *v = config_field(c, name);
  char shown[EL_SHOW];
  if (!v && required) return el_fail_about(err, EL_ERR_FORMAT, c->path, "%s is missing, expected \"%s\"", name, wanted);
  if (!v) return EL_OK;
  if (!json_is_string(v)) return refuse_type(c, name, "a string", err);
  el_str s = {json_string_value(v), json_string_length(v)};
  if (el_str_eq(s, wanted)) return EL_OK;
  return el_fail_about(err, EL_ERR_UNSUPPORTED, c->path, "%s is \"%s\"; only \"%s\" is supported", name,
                       el_str_show(s, shown, sizeof shown), wanted);
}

/* Whether a field asks for something: false, 0, "", [] and {} do not. */
static bool is_set(const json_t *v) {
  if (json_is_array(v)) return json_array_size(v) > 0;
  if (json_is_object(v)) return json_object_size(v) > 0;
  if (json_is_string(v)) return json_string_length(v) > 0;
  if (json_is_number(v)) return json_number_value(v) != 0;
  return json_is_true(v);
}

/* Refuses fields that make the layer compute something other than W x + s B A x. */
static el_status check_variants(const el_peft_config *c, el_error *err) {
  static const struct {
    const char *name, *what;
  } variants[] = {
      {"layer_replication", "replicated layers"},
      {"megatron_config", "LoRA on Megatron's parallel layers"},
      {"use_qalora", "quantisation-aware LoRA (QALoRA)"},
      {"use_bdlora", "block-diagonal LoRA"},
      {"arrow_config", "Arrow routing"},
      {"kasa_config", "singular-value adaptation (KaSA)"},
      {"monteclora_config", "Monte Carlo LoRA"},
  };
  for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++)
    if (is_set(config_field(c, variants[i].name)))
      return el_fail_about(err, EL_ERR_UNSUPPORTED, c->path, "%s: %s is not supported", variants[i].name,
                           variants[i].what);
  return EL_OK;
}

/* Activated LoRA: the tokens that it begins with, or their text in the older form. */
static el_status check_invocation(el_peft_config *c, el_error *err) {
  json_t *tokens = config_field(c, "alora_invocation_tokens"), *text = config_field(c, "invocation_string"), *token;
  size_t i, n = json_array_size(tokens), len = json_string_length(text);
  if (tokens && !json_is_array(tokens)) return refuse_type(c, "alora_invocation_tokens", "an array of integers", err);
  /* PEFT would never activate it; other programs would take it for plain LoRA. */
  if (tokens && !n) return el_fail_about(err, EL_ERR_FORMAT, c->path, "alora_invocation_tokens is empty");
  if (n > EL_MAX_INVOCATION)
    return el_fail_about(err, EL_ERR_UNSUPPORTED, c->path, "alora_invocation_tokens has %zu tokens, the limit is %d", n,
                         EL_MAX_INVOCATION);
  json_array_foreach(tokens, i, token) {
    json_int_t id = json_integer_value(token);
    if (!json_is_integer(token) || id < 0 || id > INT32_MAX)
      return el_fail_about(err, EL_ERR_FORMAT, c->path, "alora_invocation_tokens[%zu] is no token", i);
  }
  c->invocation = tokens;
  if (!tokens && text) {
    if (!json_is_string(text)) return refuse_type(c, "invocation_string", "a string", err);
    if (!len || len > EL_MAX_INVOCATION_TEXT || strlen(json_string_value(text)) != len)
      return el_fail_about(err, EL_ERR_FORMAT, c->path, "invocation_string is empty, has a NUL, or more than %d bytes",
                           EL_MAX_INVOCATION_TEXT);
    c->invocation_text = json_string_value(text);
  }
  if (!c->invocation && !c->invocation_text) return EL_OK;
  /* Changes rows before the invocation, or cannot be applied from it on. */
  static const char *const all_rows[] = {
      "use_dora", "lora_bias", "modules_to_save", "layer_replication", "trainable_token_indices", "target_parameters"};
  for (i = 0; i < sizeof all_rows / sizeof *all_rows; i++)
    if (is_set(config_field(c, all_rows[i])))
      return el_fail_about(err, EL_ERR_UNSUPPORTED, c->path, "%s: is not supported in activated LoRA", all_rows[i]);
  return expect_string(c, "bias", "none", false, err);
}

/* Some initialisations derive their start from the base weights. The adapter then fits only that
 * changed base, until PEFT converts it when saving (which sets the field to true). Other
 * initialisations leave the base as it is. */
static el_status check_init(const el_peft_config *c, el_error *err) {
  static const char *const changing[] = {"pissa", "corda", "olora", "lora_ga", NULL}, *const harmless[] = {
                                                                                          "gaussian", "eva",
                                                                                          "orthogonal", NULL};
  json_t *v = config_field(c, "init_lora_weights");
  char shown[EL_SHOW];
  if (!v || json_is_boolean(v)) return EL_OK;
  if (!json_is_string(v)) return refuse_type(c, "init_lora_weights", "true, false or a string", err);
  const char *s = json_string_value(v);
  el_str_show(el_str_of(s), shown, sizeof shown);
  if (!strcasecmp(s, "loftq"))
    return el_fail_about(
        err, EL_ERR_UNSUPPORTED, c->path,
        "init_lora_weights is \"loftq\", which changes the base weights, and PEFT cannot convert it: it "
        "fits the base that it was trained with, and where that is what is served, true says so");
  if (!strcasecmp(s, "mica"))
    return el_fail_about(err, EL_ERR_UNSUPPORTED, c->path,
                         "init_lora_weights is \"mica\": minor component adaptation (MiCA) is not supported; where the "
                         "file has both lora_A and lora_B, as PEFT saves it, true says that it is the plain product");
  for (int i = 0; changing[i]; i++)
    if (!strncasecmp(s, changing[i], strlen(changing[i])))
      return el_fail_about(err, EL_ERR_UNSUPPORTED, c->path,
                           "init_lora_weights is \"%s\", which changes the base weights: save the adapter with PEFT's "
                           "path_initial_model_for_weight_conversion",
                           shown);
  for (int i = 0; harmless[i]; i++)
    if (!strcasecmp(s, harmless[i])) return EL_OK;
  return el_fail_about(err, EL_ERR_UNSUPPORTED, c->path,
                       "init_lora_weights is \"%s\", which is not known: it may have changed the base weights", shown);
}

/* All fields that are known, whatever is done with them: those of PEFT's LoraConfig and of its
 * earlier versions. Each has its line in docs/adapters.md. */
static bool is_known_field(const char *name) {
  static const char *const known[] = {
      "alora_invocation_tokens", "alpha_pattern", "arrow_config", "auto_mapping", "base_model_name_or_path", "bias",
      "corda_config", "ensure_weight_tying", "eva_config", "exclude_modules", "fan_in_fan_out", "inference_mode",
      "init_lora_weights", "invocation_string", "kasa_config", "layer_replication", "layers_pattern",
      "layers_to_transform", "loftq_config", "lora_alpha", "lora_bias", "lora_dropout", "lora_ga_config",
      "megatron_config", "megatron_core", "modules_to_save", "monteclora_config", "peft_type", "peft_version",
      "qalora_group_size", "r", "rank_pattern", "revision", "runtime_config", "target_modules", "target_parameters",
      "task_type", "trainable_token_indices", "use_bdlora", "use_dora", "use_qalora", "use_rslora", "velora_config",
      /* Earlier versions: merging at load time, which all do now; learning rates and the type of
       * weights in training. */
      "merge_weights", "lora_dtype", "lorap_lr_ratio", "lorap_emb_lr"};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (!strcmp(known[i], name)) return true;
  return false;
}

/* A field of a later version may mean another product, unless it is off. */
static el_status check_unknown(const el_peft_config *c, el_error *err) {
  const char *name;
  json_t *v;
  char shown[EL_SHOW];
  json_object_foreach(c->root, name, v) if (is_set(v) && !is_known_field(name)) return el_fail_about(
      err, EL_ERR_UNSUPPORTED, c->path,
      "%s: this field is not known, and it is set: whether it changes the result cannot be told; "
      "where it does not, take it out",
      el_str_show(el_str_of(name), shown, sizeof shown));
  return EL_OK;
}

/* --- rank_pattern and alpha_pattern */

static bool is_plain_pattern(const char *key) {
  return !strpbrk(key, "\\^$*+?{}[]()|");
}

/* PEFT: re.match(rf"(.*\.)?({key})$", name) */
static el_status compile_rule(const el_peft_config *c, const char *name, rule *r, el_error *err) {
  char shown[EL_SHOW], pattern[MAX_REGEX + 16];
  el_str key = el_str_of(r->key);
  if (key.len > MAX_REGEX)
    return el_fail_about(err, EL_ERR_UNSUPPORTED, c->path, "%s: a key of %zu bytes, the limit is %d", name, key.len,
                         MAX_REGEX);
  int len = snprintf(pattern, sizeof pattern, "(.*\\.)?(%s)$", r->key), code;
  PCRE2_SIZE at;
  r->regex = pcre2_compile((PCRE2_SPTR)pattern, (size_t)len, PCRE2_ANCHORED | PCRE2_NEVER_UTF | PCRE2_NEVER_BACKSLASH_C,
                           &code, &at, NULL);
  if (r->regex) return EL_OK;
  unsigned char why[96];
  pcre2_get_error_message(code, why, sizeof why);
  return el_fail_about(err, EL_ERR_FORMAT, c->path, "%s: the key \"%s\" is not a regular expression: %s", name,
                       el_str_show(key, shown, sizeof shown), why);
}

static el_status read_rules(const el_peft_config *c, const char *name, bool ranks, rules *out, el_error *err) {
  json_t *object = config_field(c, name), *v;
  const char *key;
  char where[2 * EL_SHOW], shown[EL_SHOW];
  size_t n_regex = 0;
  if (!object) return EL_OK;
  if (!json_is_object(object)) return refuse_type(c, name, "an object", err);
  if (!(out->items = calloc(json_object_size(object) + 1, sizeof *out->items)))
    return el_fail_about(err, EL_ERR_NO_MEMORY, c->path, "out of memory");
  json_object_foreach(object, key, v) {
    rule *r = &out->items[out->n++];
    *r = (rule){.key = key, .value = json_number_value(v)};
    snprintf(where, sizeof where, "%s[\"%s\"]", name, el_str_show(el_str_of(key), shown, sizeof shown));
    el_status status = ranks ? check_config_rank(c, where, v, err) : check_config_number(c, where, v, err);
    if (status) return status;
    if (is_plain_pattern(key)) continue;
    if (++n_regex > MAX_REGEX_KEYS)
      return el_fail_about(err, EL_ERR_UNSUPPORTED, c->path, "%s has more than %d keys that are regular expressions",
                           name, MAX_REGEX_KEYS);
    if ((status = compile_rule(c, name, r, err))) return status;
  }
  return EL_OK;
}

/* A key whose only special character is the dot, which matches any one character. */
static bool plain_matches(const char *key, el_str module) {
  size_t len = strlen(key);
  if (len > module.len) return false;
  const char *end = module.data + (module.len - len);
  for (size_t i = 0; i < len; i++)
    if (key[i] != end[i] && key[i] != '.') return false;
  return len == module.len || end[-1] == '.';
}

static el_status look_up_rule(const el_peft_config *c, const char *name, const rules *rs, el_str module, double *value,
                              el_error *err) {
  char shown[EL_SHOW];
  for (size_t i = 0; i < rs->n; i++) {
    const rule *r = &rs->items[i];
    int rc = PCRE2_ERROR_NOMATCH;
    if (r->regex) rc = pcre2_match(r->regex, (PCRE2_SPTR)module.data, module.len, 0, 0, c->match, c->limits);
    if (r->regex ? rc >= 0 : plain_matches(r->key, module)) {
      *value = r->value;
      return EL_OK;
    }
    if (rc != PCRE2_ERROR_NOMATCH)
      return el_fail_about(err, EL_ERR_UNSUPPORTED, c->path, "%s: the key \"%s\" takes too many steps to match", name,
                           el_str_show(el_str_of(r->key), shown, sizeof shown));
  }
  return EL_OK;
}

el_status el_peft_config_module(const el_peft_config *c, el_str module, int *rank, double *alpha, el_error *err) {
  double r = c->rank, a = c->alpha;
  el_status status;
  if ((status = look_up_rule(c, "rank_pattern", &c->ranks, module, &r, err))) return status;
  if ((status = look_up_rule(c, "alpha_pattern", &c->alphas, module, &a, err))) return status;
  *rank = (int)r;
  *alpha = a;
  return EL_OK;
}

/* --- mlx-lm's file of the same name: what its training was started with */

static bool is_mlx_config(const el_peft_config *c) {
  return !config_field(c, "peft_type") && (config_field(c, "fine_tune_type") || config_field(c, "lora_parameters"));
}

static el_status check_mlx_parameters(el_peft_config *c, const json_t *parameters, el_error *err) {
  /* the last two matter only for training; the tensors show which modules */
  static const char *const known[] = {"rank", "scale", "dropout", "keys"};
  const char *name;
  json_t *v;
  char shown[EL_SHOW];
  if (!json_is_object(parameters)) return refuse_type(c, "lora_parameters", "an object", err);
  if (is_set(json_object_get(parameters, "alpha")))
    return el_fail_about(err, EL_ERR_UNSUPPORTED, c->path,
                         "lora_parameters.alpha: earlier versions of mlx-lm multiply the scale by alpha / rank, later "
                         "ones do not: write the scale that was meant, and take alpha out");
  json_object_foreach((json_t *)parameters, name, v) {
    size_t i = 0;
    while (i < sizeof known / sizeof *known && strcmp(known[i], name)) i++;
    if (i == sizeof known / sizeof *known && is_set(v))
      return el_fail_about(err, EL_ERR_UNSUPPORTED, c->path,
                           "lora_parameters.%s: this field is not known: whether it changes the result cannot be told",
                           el_str_show(el_str_of(name), shown, sizeof shown));
  }
  const json_t *rank = json_object_get(parameters, "rank"), *scale = json_object_get(parameters, "scale");
  if (!rank || !scale)
    return el_fail_about(err, EL_ERR_FORMAT, c->path, "lora_parameters.%s is missing", rank ? "scale" : "rank");
  el_status status = check_config_rank(c, "lora_parameters.rank", rank, err);
  if (!status) status = check_config_number(c, "lora_parameters.scale", scale, err);
  if (status) return status;
  c->rank = (int)json_integer_value(rank);
  c->alpha = json_number_value(scale) * c->rank; /* so that alpha / rank is its scale */
  return EL_OK;
}

static el_status check_mlx(el_peft_config *c, el_error *err) {
  const json_t *parameters = config_field(c, "lora_parameters"), *n = config_field(c, "num_layers"),
               *base = config_field(c, "model");
  const json_t *type = config_field(c, "fine_tune_type");
  c->dora = json_is_string(type) && !strcmp(json_string_value(type), "dora");
  el_status status = c->dora ? EL_OK : expect_string(c, "fine_tune_type", "lora", false, err);
  if (status) return status;
  bool dora = false; /* how earlier versions say it */
  if ((status = read_bool(c, "use_dora", &dora, err))) return status;
  c->dora = c->dora || dora;
  if (!parameters) return el_fail_about(err, EL_ERR_FORMAT, c->path, "lora_parameters is missing");
  if ((status = check_mlx_parameters(c, parameters, err))) return status;
  if (!n) n = config_field(c, "lora_layers"); /* its earlier name */
  if (n && !json_is_integer(n)) return refuse_type(c, "num_layers", "an integer", err);
  const json_int_t layers = n ? json_integer_value(n) : 0;
  c->n_layers = layers > 0 && layers <= EL_LORA_MAX_LAYERS ? (int)layers : 0;
  c->base = json_is_string(base) ? json_string_value(base) : "";
  c->mlx = true;
  return EL_OK;
}

/* --- parameters, and who wrote it */

static el_status read_target_parameters(el_peft_config *c, el_error *err) {
  json_t *v = config_field(c, "target_parameters"), *item;
  size_t i;
  if (!v) return EL_OK;
  if (!json_is_array(v)) return refuse_type(c, "target_parameters", "an array", err);
  json_array_foreach(v, i, item) if (!json_is_string(item)) return refuse_type(c, "target_parameters",
                                                                               "an array of strings", err);
  c->parameters = json_array_size(v) ? v : NULL;
  return EL_OK;
}

/* Versions that cannot be read count as not said. */
static void read_version(el_peft_config *c) {
  const json_t *v = config_field(c, "peft_version");
  int major, minor, patch;
  if (!json_is_string(v) || sscanf(json_string_value(v), "%3d.%3d.%3d", &major, &minor, &patch) != 3) return;
  if (major >= 0 && minor >= 0 && patch >= 0) c->version = (major * 1000 + minor) * 1000 + patch;
}

bool el_peft_config_has_parameters(const el_peft_config *c) {
  return c->parameters;
}

bool el_peft_config_has_weight(const el_peft_config *c, el_str module) {
  for (size_t i = 0; i < json_array_size(c->parameters); i++) {
    const json_t *v = json_array_get(c->parameters, i);
    el_str s = {json_string_value(v), json_string_length(v)};
    if (!el_str_chop(&s, ".weight") || s.len > module.len) continue;
    const char *end = module.data + (module.len - s.len);
    if (!memcmp(end, s.data, s.len) && (s.len == module.len || end[-1] == '.')) return true;
  }
  return false;
}

bool el_peft_config_swaps_experts(const el_peft_config *c, bool transposed) {
  const int always = 19000; /* 0.19.0 */
  return c->version < always ? !transposed : c->version == always;
}

/* --- what is trained besides pairs */

static el_str last_component(const char *name) {
  const char *dot = strrchr(name, '.');
  if (dot) name = dot + 1;
  return el_str_of(name);
}

/* The kind of a module, by the last component of its name. */
static el_peft_saved saved_kind_of(const char *module) {
  const el_str name = last_component(module);
  el_str end = name;
  if (el_str_eq(name, "lm_head")) return EL_PEFT_SAVED_OUTPUT;
  if (el_str_eq(name, "embed_tokens") || el_str_eq(name, "token_embeddings")) return EL_PEFT_SAVED_EMBEDDING;
  return el_str_chop(&end, "norm") ? EL_PEFT_SAVED_NORM : EL_PEFT_SAVED_OTHER;
}

static el_status check_saved(const el_peft_config *c, el_error *err) {
  json_t *saved = config_field(c, "modules_to_save"), *v;
  char shown[EL_SHOW];
  size_t i;
  if (!saved) return EL_OK;
  if (!json_is_array(saved)) return refuse_type(c, "modules_to_save", "a list", err);
  json_array_foreach(saved, i, v) {
    if (!json_is_string(v)) return refuse_type(c, "modules_to_save", "a list of names", err);
    if (saved_kind_of(json_string_value(v)) != EL_PEFT_SAVED_OTHER) continue;
    return el_fail_about(err, EL_ERR_UNSUPPORTED, c->path,
                         "modules_to_save has \"%s\"; supported are the embedding, the output and norms",
                         el_str_show((el_str){json_string_value(v), json_string_length(v)}, shown, sizeof shown));
  }
  return EL_OK;
}

static el_status check_targets(el_peft_config *c, el_error *err) {
  el_status status;
  json_t *bias = config_field(c, "bias");
  char shown[EL_SHOW];
  if (bias && !json_is_string(bias)) return refuse_type(c, "bias", "a string", err);
  const el_str how = {bias ? json_string_value(bias) : "none", bias ? json_string_length(bias) : 4};
  c->biases = el_str_eq(how, "all") || el_str_eq(how, "lora_only");
  if (!c->biases && !el_str_eq(how, "none"))
    return el_fail_about(err, EL_ERR_UNSUPPORTED, c->path,
                         "bias is \"%s\"; supported are \"none\", \"all\" and \"lora_only\"",
                         el_str_show(how, shown, sizeof shown));
  if ((status = read_bool(c, "use_dora", &c->dora, err))) return status;
  if ((status = read_bool(c, "lora_bias", &c->lora_bias, err))) return status;
  if ((status = read_bool(c, "ensure_weight_tying", &c->ties, err))) return status;
  if (c->dora && c->lora_bias)
    return el_fail_about(err, EL_ERR_UNSUPPORTED, c->path, "use_dora and lora_bias: PEFT has no such adapters");
  return check_saved(c, err);
}

bool el_peft_config_saves(const el_peft_config *c, el_peft_saved kind) {
  json_t *v;
  size_t i;
  json_array_foreach(config_field(c, "modules_to_save"), i,
                     v) if (saved_kind_of(json_string_value(v)) == kind) return true;
  return false;
}

bool el_peft_config_has_tokens(const el_peft_config *c) {
  return is_set(config_field(c, "trainable_token_indices"));
}

el_status el_peft_config_tokens(const el_peft_config *c, el_str module, int32_t **out, size_t *n, el_error *err) {
  json_t *tokens = config_field(c, "trainable_token_indices"), *list = json_is_array(tokens) ? tokens : NULL, *v;
  const char *key;
  *out = NULL;
  *n = 0;
  json_object_foreach(tokens, key, v) {
    el_str rest = module;
    if (el_str_chop(&rest, key) && (!rest.len || rest.data[rest.len - 1] == '.')) list = v;
  }
  if (!json_is_array(list) || !json_array_size(list))
    return el_fail_about(err, EL_ERR_FORMAT, c->path,
                         "trainable_token_indices has no list of tokens for the embedding");
  if (!(*out = malloc(sizeof **out * json_array_size(list))))
    return el_fail_about(err, EL_ERR_NO_MEMORY, c->path, "out of memory");
  size_t i;
  json_array_foreach(list, i, v) {
    const json_int_t token = json_integer_value(v);
    if (!json_is_integer(v) || token < 0 || token > INT32_MAX)
      return refuse_type(c, "trainable_token_indices", "a list of tokens", err);
    (*out)[(*n)++] = (int32_t)token;
  }
  return EL_OK;
}

/* --- the whole file */

static el_status check_config(el_peft_config *c, el_error *err) {
  el_status status;
  if (is_mlx_config(c)) return check_mlx(c, err);
  if ((status = expect_string(c, "peft_type", "LORA", true, err))) return status;
  if ((status = expect_string(c, "task_type", "CAUSAL_LM", false, err))) return status;
  if ((status = check_variants(c, err))) return status;
  if ((status = check_invocation(c, err))) return status;
  if ((status = check_init(c, err))) return status;
  if ((status = check_unknown(c, err))) return status;
  if ((status = read_target_parameters(c, err))) return status;
  read_version(c);
  if ((status = read_bool(c, "use_rslora", &c->rslora, err))) return status;
  if ((status = check_targets(c, err))) return status;
  json_t *r = config_field(c, "r"), *alpha = config_field(c, "lora_alpha"),
         *base = config_field(c, "base_model_name_or_path");
  if (!r || !alpha) return el_fail_about(err, EL_ERR_FORMAT, c->path, "%s is missing", r ? "lora_alpha" : "r");
  if ((status = check_config_rank(c, "r", r, err))) return status;
  if ((status = check_config_number(c, "lora_alpha", alpha, err))) return status;
  c->rank = (int)json_integer_value(r);
  c->alpha = json_number_value(alpha);
  if (base && !json_is_string(base)) return refuse_type(c, "base_model_name_or_path", "a string", err);
  c->base = base ? json_string_value(base) : "";
  if ((status = read_rules(c, "rank_pattern", true, &c->ranks, err))) return status;
  return read_rules(c, "alpha_pattern", false, &c->alphas, err);
}

el_status el_peft_config_parse(const void *data, size_t len, const char *path, el_peft_config **out, el_error *err) {
  el_peft_config *c = calloc(1, sizeof *c);
  el_status status = EL_OK;
  if (!c || !(c->path = strdup(path)) || !(c->match = pcre2_match_data_create(1, NULL)) ||
      !(c->limits = pcre2_match_context_create(NULL))) {
    status = el_fail_about(err, EL_ERR_NO_MEMORY, path, "out of memory");
    goto fail;
  }
  pcre2_set_match_limit(c->limits, MAX_STEPS);
  pcre2_set_heap_limit(c->limits, 1024); /* KiB */
  json_error_t json_err;
  char shown[EL_SHOW];
  bool no_memory;
  c->root = el_json_load(data, len, JSON_REJECT_DUPLICATES, &json_err, &no_memory);
  if (!c->root && no_memory) {
    status = el_fail_about(err, EL_ERR_NO_MEMORY, path, "out of memory");
    goto fail;
  }
  if (!c->root) {
    status = el_fail_about(err, EL_ERR_FORMAT, path, "line %d: %s", json_err.line,
                           el_str_show(el_str_of(json_err.text), shown, sizeof shown));
    goto fail;
  }
  if (!json_is_object(c->root)) status = el_fail_about(err, EL_ERR_FORMAT, path, "is not a JSON object");
  if (!status) status = check_config(c, err);
  if (status) goto fail;
  *out = c;
  return EL_OK;
fail:
  el_peft_config_free(c);
  return status;
}

static void free_rules(rules *rs) {
  for (size_t i = 0; i < rs->n; i++) pcre2_code_free(rs->items[i].regex);
  free(rs->items);
}

void el_peft_config_free(el_peft_config *c) {
  if (!c) return;
  free_rules(&c->ranks);
  free_rules(&c->alphas);
  pcre2_match_data_free(c->match);
  pcre2_match_context_free(c->limits);
  json_decref(c->root);
  free(c->path);
  free(c);
}

const char *el_peft_config_base(const el_peft_config *c) {
  return c->base;
}
bool el_peft_config_dora(const el_peft_config *c) {
  return c->dora;
}
bool el_peft_config_lora_bias(const el_peft_config *c) {
  return c->lora_bias;
}
bool el_peft_config_biases(const el_peft_config *c) {
  return c->biases;
}
bool el_peft_config_ties(const el_peft_config *c) {
  return c->ties;
}
bool el_peft_config_rslora(const el_peft_config *c) {
  return c->rslora;
}
bool el_peft_config_is_mlx(const el_peft_config *c) {
  return c->mlx;
}
int el_peft_config_last_layers(const el_peft_config *c) {
  return c->n_layers;
}
int el_peft_config_invocation(const el_peft_config *c, int32_t *tokens) {
  size_t n = json_array_size(c->invocation);
  for (size_t i = 0; i < n; i++) tokens[i] = (int32_t)json_integer_value(json_array_get(c->invocation, i));
  return (int)n;
}
const char *el_peft_config_invocation_text(const el_peft_config *c) {
  return c->invocation_text;
}
