/* Fields with tokens: which ones end an answer, of which it may consist, which are more or less likely. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/requests/fields.h"

/* Of one text whose tokens get a bias. */
#define MAX_BIASED_TOKENS 256

static bool fail_no_token(el_api_parse *p, const el_field *f, const char *what) {
  return el_api_fail(p->error, 400, "invalid_value", f->name,
                     "Invalid value for '%s': %s is not a token id between 0 and %d.", f->name, what,
                     (int)el_tokenizer_n_vocab(p->tokenizer) - 1);
}

static bool check_token(el_api_parse *p, const el_field *f, const json_t *v, int32_t *out) {
  if (!json_is_integer(v)) return el_api_type_error(p, f->name, "token ids (integers)", v);
  json_int_t id = json_integer_value(v);
  char text[32];
  snprintf(text, sizeof text, "%lld", (long long)id);
  if (!el_api_is_token(p, id)) return fail_no_token(p, f, text);
  *out = (int32_t)id;
  return true;
}

/* Reads an array of at most `most` token ids, which the caller frees. */
static bool read_token_list(el_api_parse *p, const el_field *f, const json_t *v, size_t most, int32_t **out,
                            size_t *n_out) {
  if (!json_is_array(v)) return el_api_type_error(p, f->name, "an array of token ids", v);
  size_t n = json_array_size(v);
  if (n > most)
    return el_api_fail(p->error, 400, "invalid_value", f->name,
                       "Invalid value for '%s': %zu token ids; at most %zu are allowed.", f->name, n, most);
  free(*out);
  *n_out = 0;
  if (!(*out = malloc((n + 1) * sizeof **out))) return el_api_no_memory(p);
  for (size_t i = 0; i < n; i++)
    if (!check_token(p, f, json_array_get(v, i), &(*out)[i])) return false;
  *n_out = n;
  return true;
}

bool el_read_stop_tokens(el_api_parse *p, const el_field *f, const json_t *v) {
  el_api_request *r = p->out;
  if (!read_token_list(p, f, v, EL_MAX_STOP_TOKENS, &r->stop_tokens, &r->request.n_stop_tokens)) return false;
  r->request.stop_tokens = r->stop_tokens;
  return true;
}

bool el_read_allowed_tokens(el_api_parse *p, const el_field *f, const json_t *v) {
  el_api_request *r = p->out;
  size_t most = (size_t)el_tokenizer_n_vocab(p->tokenizer);
  if (json_is_array(v) && !json_array_size(v)) return el_api_value_error(p, f, "it leaves no tokens");
  if (!read_token_list(p, f, v, most, &r->allowed_tokens, &r->request.sampling.n_allowed_tokens)) return false;
  r->request.sampling.allowed_tokens = r->allowed_tokens;
  return true;
}

/* ---------------------------------------------------------------- bad words */

static bool add_bad_tokens(el_api_parse *p, const el_field *f, const int32_t *tokens, size_t n) {
  el_api_request *r = p->out;
  size_t *at = &r->request.sampling.n_bad_words;
  if (n + 1 > EL_MAX_BAD_WORDS - *at)
    return el_api_fail(p->error, 400, "invalid_value", f->name,
                       "Invalid value for '%s': its words have more than %d tokens.", f->name, EL_MAX_BAD_WORDS);
  memcpy(r->bad_words + *at, tokens, n * sizeof *tokens);
  *at += n;
  r->bad_words[(*at)++] = -1;
  return true;
}

/* As in vLLM: the word at the beginning of a text; and the word after a space, if its first token differs and it has as
 * many tokens. */
static bool add_bad_word(el_api_parse *p, const el_field *f, const char *word, size_t len) {
  int32_t *tokens[2] = {NULL, NULL};
  size_t n[2] = {0, 0};
  el_buf spaced = {0};
  el_error err;
  while (len && *word == ' ') word++, len--;
  if (!len) return el_api_value_error(p, f, "a word is empty");
  bool ok = el_buf_append(&spaced, " ", 1) && el_buf_append(&spaced, word, len);
  if (!ok) {
    el_buf_free(&spaced);
    return el_api_no_memory(p);
  }
  ok = !el_tokenize_at_most(p->tokenizer, word, len, 0, EL_MAX_BAD_WORDS, &tokens[0], &n[0], &err) &&
       !el_tokenize_at_most(p->tokenizer, spaced.data, spaced.len, 0, EL_MAX_BAD_WORDS, &tokens[1], &n[1], &err);
  el_buf_free(&spaced);
  if (!ok) el_api_fail(p->error, 400, "invalid_value", f->name, "Invalid value for '%s': %s.", f->name, err.message);
  ok = ok && (!n[0] || add_bad_tokens(p, f, tokens[0], n[0]));
  if (ok && n[1] && n[1] == n[0] && tokens[1][0] != tokens[0][0]) ok = add_bad_tokens(p, f, tokens[1], n[1]);
  el_free(tokens[0]);
  el_free(tokens[1]);
  return ok;
}

bool el_read_bad_words(el_api_parse *p, const el_field *f, const json_t *v) {
  el_api_request *r = p->out;
  if (!json_is_array(v)) return el_api_type_error(p, f->name, "an array of strings", v);
  free(r->bad_words);
  r->request.sampling.n_bad_words = 0;
  r->request.sampling.bad_words = NULL;
  if (!(r->bad_words = malloc(EL_MAX_BAD_WORDS * sizeof *r->bad_words))) return el_api_no_memory(p);
  for (size_t i = 0; i < json_array_size(v); i++) {
    const json_t *word = json_array_get(v, i);
    if (!json_is_string(word)) return el_api_type_error(p, f->name, "an array of strings", word);
    if (!add_bad_word(p, f, json_string_value(word), json_string_length(word))) return false;
  }
  int32_t *fitted = realloc(r->bad_words, (r->request.sampling.n_bad_words + 1) * sizeof *r->bad_words);
  if (fitted) r->bad_words = fitted;
  r->request.sampling.bad_words = r->bad_words;
  return true;
}

/* ---------------------------------------------------------------- biases */

static bool add_token_bias(el_api_parse *p, const el_field *f, int32_t token, float bias) {
  el_api_request *r = p->out;
  if (r->n_bias == EL_MAX_LOGIT_BIAS)
    return el_api_fail(p->error, 400, "invalid_value", f->name, "Invalid value for 'logit_bias': more than %d entries.",
                       EL_MAX_LOGIT_BIAS);
  if (!r->bias && !(r->bias = malloc(EL_MAX_LOGIT_BIAS * sizeof *r->bias))) return el_api_no_memory(p);
  r->bias[r->n_bias++] = (el_logit_bias){.token = token, .bias = bias};
  return true;
}

/* llama-server writes false for "never". */
static bool read_bias_value(el_api_parse *p, const el_field *f, const json_t *v, float *out) {
  *out = (float)f->min;
  if (json_is_false(v)) return true;
  if (!json_is_number(v)) return el_api_type_error(p, f->name, "numbers, or false, as values", v);
  double bias = json_number_value(v);
  if (!(bias >= f->min && bias <= f->max))
    return el_api_fail(p->error, 400, "invalid_value", f->name,
                       "Invalid value for 'logit_bias': %g is not between %g and %g.", bias, f->min, f->max);
  *out = (float)bias;
  return true;
}

/* Each token of the text. */
static bool add_bias_of_text(el_api_parse *p, const el_field *f, const char *text, size_t len, float bias) {
  int32_t *tokens;
  size_t n;
  el_error err;
  if (el_tokenize_at_most(p->tokenizer, text, len, 0, MAX_BIASED_TOKENS, &tokens, &n, &err))
    return el_api_fail(p->error, 400, "invalid_value", f->name, "Invalid value for 'logit_bias': %s.", err.message);
  bool ok = true;
  for (size_t i = 0; ok && i < n; i++) ok = add_token_bias(p, f, tokens[i], bias);
  el_free(tokens);
  return ok;
}

/* A key is a token's id, or a text. */
static bool add_named_bias(el_api_parse *p, const el_field *f, const char *key, float bias) {
  if (key[0] != '-' && (key[0] < '0' || key[0] > '9') && *key) return add_bias_of_text(p, f, key, strlen(key), bias);
  char *end, shown[48];
  long id = strtol(key, &end, 10);
  snprintf(shown, sizeof shown, "'%.40s'", key);
  if (key[0] < '0' || key[0] > '9' || *end || !el_api_is_token(p, id)) return fail_no_token(p, f, shown);
  return add_token_bias(p, f, (int32_t)id, bias);
}

static bool add_bias_pair(el_api_parse *p, const el_field *f, const json_t *pair) {
  const json_t *what = json_array_get(pair, 0), *value = json_array_get(pair, 1);
  float bias;
  int32_t token = 0;
  if (json_array_size(pair) != 2)
    return el_api_value_error(p, f, "an array holds pairs of a token id, or a text, and a number or false");
  if (!read_bias_value(p, f, value, &bias)) return false;
  if (json_is_string(what)) return add_bias_of_text(p, f, json_string_value(what), json_string_length(what), bias);
  return check_token(p, f, what, &token) && add_token_bias(p, f, token, bias);
}

bool el_read_logit_bias(el_api_parse *p, const el_field *f, const json_t *v) {
  size_t n = json_is_array(v) ? json_array_size(v) : json_object_size(v);
  if (!json_is_object(v) && !json_is_array(v))
    return el_api_type_error(p, f->name, "an object of token ids and numbers", v);
  if (n > EL_MAX_LOGIT_BIAS)
    return el_api_fail(p->error, 400, "invalid_value", f->name,
                       "Invalid value for 'logit_bias': %zu entries; at most %d are allowed.", n, EL_MAX_LOGIT_BIAS);
  p->out->n_bias = 0;
  for (size_t i = 0; i < n && json_is_array(v); i++)
    if (!add_bias_pair(p, f, json_array_get(v, i))) return false;
  const char *key;
  json_t *value;
  float bias;
  json_object_foreach((json_t *)v, key, value) {
    if (json_is_null(value)) continue;
    if (!read_bias_value(p, f, value, &bias) || !add_named_bias(p, f, key, bias)) return false;
  }
  return true;
}
