/* POST /tokenize and /detokenize of vLLM and llama-server. Both servers have these paths. The fields show which one a
 * client means: vLLM's bodies have "prompt" or "messages", llama-server's "content". */
#include <stdlib.h>
#include <string.h>

#include "base/json_out.h"
#include "base/text.h"
#include "server/dialects/openai.h"
#include "server/requests/fields.h"

/* More than any context, as clients also count texts in order to cut them. An answer with so many tokens has some
 * megabytes. */
#define MAX_TOKENS (1 << 18)
/* The longest text of /detokenize, and how many tokens are converted between two checks of it. */
#define MAX_TEXT ((size_t)16 << 20)
#define TOKENS_AT_ONCE 4096

/* Keeps the body, from which fields of this endpoint alone are read later. */
static bool keep_request_body(el_api_parse *p, json_t *body) {
  p->state = body;
  return true;
}

static const json_t *body_member(const el_api_parse *p, const char *name) {
  return json_object_get(p->state, name);
}

/* read_body_flag has checked that it is a boolean. */
static bool body_flag(const el_api_parse *p, const char *name, bool unless_given) {
  const json_t *v = body_member(p, name);
  return v && !json_is_null(v) ? json_is_true(v) : unless_given;
}

static bool read_body_flag(el_api_parse *p, const el_field *f, const json_t *v) {
  return json_is_boolean(v) || el_api_type_error(p, f->name, "a boolean", v);
}

static bool read_tokenize_text(el_api_parse *p, const el_field *f, const json_t *v) {
  if (!json_is_string(v)) return el_api_type_error(p, f->name, "a string", v);
  p->prompt = v;
  return true;
}

/* ---------------------------------------------------------------- POST /tokenize */

static bool is_llama(const el_api_parse *p) {
  return p->prompt && p->prompt == body_member(p, "content");
}

static bool check_tokenize(el_api_parse *p) {
  if (!p->prompt == !p->messages)
    return el_api_fail(p->error, 400, p->prompt ? "invalid_value" : "missing_required_parameter", "prompt",
                       "Give one of 'prompt', 'messages' and 'content'.");
  if (p->goes_on && p->has_opening && p->opening)
    return el_api_fail(p->error, 400, "invalid_value", "continue_final_message",
                       "'continue_final_message' and 'add_generation_prompt' cannot both be true.");
  p->max_tokens = MAX_TOKENS;
  return true;
}

static bool tokenize_body_text(el_api_parse *p) {
  el_error err;
  el_api_prompt *one = p->out->prompts;
  int32_t *tokens;
  bool bos = is_llama(p) ? body_flag(p, "add_special", false) : body_flag(p, "add_special_tokens", true);
  int flags = (bos ? EL_TOKENIZE_BOS : 0) | (body_flag(p, "parse_special", true) ? EL_TOKENIZE_SPECIAL : 0);
  if (el_tokenize_at_most(p->tokenizer, json_string_value(p->prompt), json_string_length(p->prompt), flags, MAX_TOKENS,
                          &tokens, &one->n, &err))
    return el_api_fail_engine(p->error, &err, "", true);
  one->tokens = malloc(one->n * sizeof *tokens + 1);
  if (one->tokens && one->n) memcpy(one->tokens, tokens, one->n * sizeof *tokens);
  el_free(tokens);
  return one->tokens || el_api_no_memory(p);
}

static bool read_tokenize(el_api_parse *p) {
  if (p->messages) return el_api_messages_read(p);
  if (!(p->out->prompts = calloc(1, sizeof *p->out->prompts))) return el_api_no_memory(p);
  p->out->n_prompts = 1;
  return tokenize_body_text(p);
}

/* Token i as part of a list. */
typedef bool (*write_fn)(const el_tokenizer *t, const int32_t *tokens, size_t i, el_buf *out);

static bool write_token_id(const el_tokenizer *t, const int32_t *tokens, size_t i, el_buf *out) {
  return el_buf_printf(out, "%d", (int)tokens[i]);
}

/* As it reads in the middle of a text. */
static char *text_of_token_id(const el_tokenizer *t, int32_t token, size_t *len) {
  char *s;
  el_error err;
  return el_detokenize_after(t, token, &token, 1, true, &s, len, &err) ? NULL : s;
}

static bool write_token_string(const el_tokenizer *t, const int32_t *tokens, size_t i, el_buf *out) {
  size_t len;
  char *s = text_of_token_id(t, tokens[i], &len);
  bool ok = s && el_json_string(out, s, len);
  el_free(s);
  return ok;
}

/* llama-server's form: an incomplete character is written as the array of its bytes. */
static bool write_token_piece(const el_tokenizer *t, const int32_t *tokens, size_t i, el_buf *out) {
  size_t len;
  char *s = text_of_token_id(t, tokens[i], &len);
  bool ok = s && el_buf_printf(out, "{\"id\":%d,\"piece\":", (int)tokens[i]);
  if (ok && el_utf8_valid(s, len)) {
    ok = el_json_string(out, s, len);
  } else if (ok) {
    for (size_t k = 0; ok && k < len; k++) ok = el_buf_printf(out, "%s%u", k ? "," : "[", (unsigned char)s[k]);
    ok = ok && el_buf_append(out, "]", 1);
  }
  el_free(s);
  return ok && el_buf_append(out, "}", 1);
}

static bool write_token_list(const el_api_parse *p, write_fn write, el_buf *out) {
  const el_api_prompt *one = p->out->prompts;
  bool ok = el_buf_append(out, "[", 1);
  for (size_t i = 0; ok && i < one->n; i++)
    ok = (!i || el_buf_append(out, ",", 1)) && write(p->tokenizer, one->tokens, i, out);
  return ok && el_buf_append(out, "]", 1);
}

static bool answer_tokenize(el_api_parse *p, el_buf *out) {
  bool ok = el_buf_append(out, "{", 1);
  if (is_llama(p)) {
    ok = ok && el_buf_printf(out, "\"tokens\":") &&
         write_token_list(p, body_flag(p, "with_pieces", false) ? write_token_piece : write_token_id, out);
  } else {
    ok = ok &&
         el_buf_printf(out, "\"count\":%zu,\"max_model_len\":%zu,\"tokens\":", p->out->prompts->n,
                       p->setup->max_tokens) &&
         write_token_list(p, write_token_id, out) && el_buf_printf(out, ",\"token_strs\":") &&
         (body_flag(p, "return_token_strs", false) ? write_token_list(p, write_token_string, out)
                                                   : el_buf_append(out, "null", 4));
  }
  return (ok && el_buf_append(out, "}", 1)) || el_api_no_memory(p);
}

static const el_field TOKENIZE[] = {
    EL_FIELD("prompt", 0, read_tokenize_text),         EL_FIELD("content", 0, read_tokenize_text),
    EL_FIELD("add_special_tokens", 0, read_body_flag), EL_FIELD("add_special", 0, read_body_flag),
    EL_FIELD("parse_special", 0, read_body_flag),      EL_FIELD("return_token_strs", 0, read_body_flag),
    EL_FIELD("with_pieces", 0, read_body_flag)};

const el_api el_api_tokenize = {.name = "tokenize",
                                .id_prefix = "tokenize-",
                                .fields = TOKENIZE,
                                .n_fields = sizeof TOKENIZE / sizeof *TOKENIZE,
                                .shared = EL_AT_CHAT,
                                .prepare = keep_request_body,
                                .check = check_tokenize,
                                .read_prompts = read_tokenize,
                                .answer = answer_tokenize};

/* ---------------------------------------------------------------- POST /detokenize */

static bool read_detokenize_ids(el_api_parse *p, const el_field *f, const json_t *v) {
  size_t n = json_array_size(v);
  if (!json_is_array(v)) return el_api_type_error(p, f->name, "an array of token ids", v);
  if (n > MAX_TOKENS)
    return el_api_fail(p->error, 400, "invalid_value", f->name,
                       "Invalid value for 'tokens': %zu token ids; at most %d are allowed.", n, MAX_TOKENS);
  p->prompt = v;
  return true;
}

static bool check_detokenize(el_api_parse *p) {
  return p->prompt ||
         el_api_fail(p->error, 400, "missing_required_parameter", "tokens", "Missing required parameter: 'tokens'.");
}

/* Some of the tokens, after `before`. */
static bool append_text(el_api_parse *p, int32_t before, const int32_t *tokens, size_t n, el_buf *text) {
  char *s;
  size_t len;
  el_error err;
  if (el_detokenize_after(p->tokenizer, before, tokens, n, true, &s, &len, &err))
    return el_api_fail_engine(p->error, &err, "", true);
  bool fits = len <= MAX_TEXT - text->len, ok = fits && el_buf_append(text, s, len);
  el_free(s);
  if (!fits)
    return el_api_fail(p->error, 400, "invalid_value", "tokens",
                       "Invalid value for 'tokens': their text is longer than %zu bytes.", MAX_TEXT);
  return ok || el_api_no_memory(p);
}

static bool make_text(el_api_parse *p, el_buf *text) {
  int32_t ids[TOKENS_AT_ONCE], before = -1;
  size_t n = json_array_size(p->prompt), have = 0;
  for (size_t i = 0; i < n; i++) {
    const json_t *v = json_array_get(p->prompt, i);
    json_int_t id = json_integer_value(v);
    if (!json_is_integer(v)) return el_api_type_error(p, "tokens", "token ids (integers)", v);
    if (id < 0 || id >= el_tokenizer_n_vocab(p->tokenizer))
      return el_api_fail(p->error, 400, "invalid_value", "tokens",
                         "Invalid value for 'tokens': %lld is not a token id between 0 and %d.", (long long)id,
                         (int)el_tokenizer_n_vocab(p->tokenizer) - 1);
    ids[have++] = (int32_t)id;
    if (have < TOKENS_AT_ONCE && i + 1 < n) continue;
    if (!append_text(p, before, ids, have, text)) return false;
    before = ids[have - 1];
    have = 0;
  }
  return true;
}

/* Both call the tokens "tokens", but have different names for the text. */
static bool answer_detokenize(el_api_parse *p, el_buf *out) {
  el_buf text = {0};
  if (!make_text(p, &text)) {
    el_buf_free(&text);
    return false;
  }
  const char *s = text.data ? text.data : "";
  bool ok = el_buf_printf(out, "{\"prompt\":") && el_json_string(out, s, text.len) &&
            el_buf_printf(out, ",\"content\":") && el_json_string(out, s, text.len) && el_buf_append(out, "}", 1);
  el_buf_free(&text);
  return ok || el_api_no_memory(p);
}

static const el_field DETOKENIZE[] = {EL_FIELD("model", 0, el_read_model), EL_FIELD("tokens", 0, read_detokenize_ids)};

const el_api el_api_detokenize = {.name = "detokenize",
                                  .id_prefix = "detokenize-",
                                  .fields = DETOKENIZE,
                                  .n_fields = sizeof DETOKENIZE / sizeof *DETOKENIZE,
                                  .check = check_detokenize,
                                  .answer = answer_detokenize};
