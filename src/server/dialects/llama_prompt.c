/* The prompts of llama-server's clients: texts, token ids, both in one prompt, and a gap between two texts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/common/json_value.h"
#include "server/dialects/llama.h"

static const char *prompt_name(const el_api_parse *p) {
  return p->prompt_name ? p->prompt_name : "prompt";
}

static bool fail_value(el_api_parse *p, const char *param, const char *what) {
  return el_api_fail(p->error, 400, "invalid_value", param, "Invalid value for '%s': %s.", param, what);
}

static bool fail_prompt_too_long(el_api_parse *p, const char *param, const char *why, size_t most) {
  return el_api_fail(p->error, 400, "context_length_exceeded", param,
                     "'%s': the request exceeds the available context size of %zu tokens: %s.", param, most, why);
}

/* A prompt in the making. */
typedef struct tokens {
  int32_t *ids;
  size_t n, most;
  const char *param;
} tokens;

static bool append_tokens(el_api_parse *p, tokens *t, const int32_t *ids, size_t n) {
  if (n > t->most - t->n) return fail_prompt_too_long(p, t->param, "it has more tokens", t->most);
  if (!n) return true;
  int32_t *grown = realloc(t->ids, (t->n + n) * sizeof *grown);
  if (!grown) return el_api_no_memory(p);
  memcpy(grown + t->n, ids, n * sizeof *ids);
  t->ids = grown;
  t->n += n;
  return true;
}

static bool append_text_tokens(el_api_parse *p, tokens *t, const char *text, size_t len, int flags) {
  int32_t *ids;
  size_t n;
  el_error err;
  el_status status = el_tokenize_at_most(p->tokenizer, text, len, flags, t->most - t->n, &ids, &n, &err);
  if (status == EL_ERR_TOO_LONG) return fail_prompt_too_long(p, t->param, err.message, t->most);
  if (status) {
    el_api_fail_engine(p->error, &err, "", true);
    if (p->error->status == 400) snprintf(p->error->param, sizeof p->error->param, "%s", t->param);
    return false;
  }
  bool ok = append_tokens(p, t, ids, n);
  el_free(ids);
  return ok;
}

static bool append_token_id(el_api_parse *p, tokens *t, const json_t *v) {
  json_int_t id = json_integer_value(v);
  if (id < 0 || id >= el_tokenizer_n_vocab(p->tokenizer))
    return el_api_fail(p->error, 400, "invalid_value", t->param,
                       "Invalid value for '%s': %lld is not a token id between 0 and %d.", t->param, (long long)id,
                       (int)el_tokenizer_n_vocab(p->tokenizer) - 1);
  int32_t token = (int32_t)id;
  return append_tokens(p, t, &token, 1);
}

static bool append_items_of(el_api_parse *p, tokens *t, const json_t *v, int flags) {
  size_t i;
  json_t *item;
  json_array_foreach(v, i, item) {
    if (json_is_integer(item)  ? !append_token_id(p, t, item)
        : json_is_string(item) ? !append_text_tokens(p, t, json_string_value(item), json_string_length(item),
                                                     i ? flags & ~EL_TOKENIZE_BOS : flags)
                               : !el_api_type_error(p, t->param, "texts and token ids in the whole array", item))
      return false;
  }
  return true;
}

bool el_llama_tokens(el_api_parse *p, const json_t *v, const char *param, int flags, size_t most, int32_t **out,
                     size_t *n) {
  tokens t = {.most = most, .param = param};
  bool ok = json_is_string(v)  ? append_text_tokens(p, &t, json_string_value(v), json_string_length(v), flags)
            : json_is_array(v) ? append_items_of(p, &t, v, flags)
                               : el_api_type_error(p, param, "a string, or an array of texts and token ids", v);
  if (!ok) {
    free(t.ids);
    return false;
  }
  *out = t.ids;
  *n = t.n;
  return true;
}

/* Joins the texts of {"content": [{"type": "text", "text": ...}, ...]}. The caller owns the result. NULL: *p->error. */
static json_t *join_parts(el_api_parse *p, const json_t *parts) {
  el_buf text = {0};
  size_t i;
  json_t *part, *joined = NULL;
  bool ok = true;
  json_array_foreach(parts, i, part) {
    const json_t *type = json_object_get(part, "type"), *one = json_object_get(part, "text");
    if (!json_is_string(type) || strcmp(json_string_value(type), "text") || !json_is_string(one)) {
      fail_value(p, prompt_name(p), "a part of 'content' is not of type 'text'; this model reads text alone");
      ok = false;
      break;
    }
    if (!(ok = el_buf_append(&text, json_string_value(one), json_string_length(one)))) break;
  }
  if (ok) joined = json_stringn(text.data ? text.data : "", text.len);
  if (!joined && (ok || !p->error->status)) el_api_no_memory(p);
  el_buf_free(&text);
  return joined;
}

/* The text of {"prompt_string": ..., "multimodal_data": [...]}, which must have no data, or of {"content": [parts]}.
 * The caller owns the result. NULL: *p->error. */
static json_t *prompt_text_of(el_api_parse *p, const json_t *v) {
  if (!json_is_object(v)) return json_incref((json_t *)v);
  json_t *text = json_object_get(v, "prompt_string");
  const json_t *data = json_object_get(v, "multimodal_data"), *parts = json_object_get(v, "content");
  bool empty = !data || json_is_null(data) || (json_is_array(data) && !json_array_size(data));
  if (!text && json_is_array(parts)) return join_parts(p, parts);
  if (!json_is_string(text)) {
    fail_value(p, prompt_name(p), "an object without a text 'prompt_string', or parts as 'content'");
    return NULL;
  }
  if (!empty) {
    el_api_fail(p->error, 400, "unsupported_value", prompt_name(p),
                "'%s.multimodal_data': this model reads text alone.", prompt_name(p));
    return NULL;
  }
  return json_incref(text);
}

static bool read_llama_prompt(el_api_parse *p, const json_t *v, el_api_prompt *out) {
  json_t *text = prompt_text_of(p, v);
  const int flags = EL_TOKENIZE_BOS | (p->plain ? 0 : EL_TOKENIZE_SPECIAL);
  bool ok = text && el_llama_tokens(p, text, prompt_name(p), flags, p->max_tokens, &out->tokens, &out->n);
  json_decref(text);
  if (!ok) return false;
  return out->n || fail_value(p, prompt_name(p), "it is empty");
}

/* Whether an array is a single prompt: it has token ids, perhaps mixed with texts. In an array of texts each one is a
 * prompt. */
static bool is_one_prompt(const json_t *array) {
  size_t i;
  json_t *item;
  bool numbers = false;
  json_array_foreach(array, i, item) {
    if (!json_is_integer(item) && !json_is_string(item)) return false;
    numbers = numbers || json_is_integer(item);
  }
  return numbers;
}

/* Limits max_tokens to what fits after the prompt; the answer is cut off there, as when the context is full. */
static void fit_prompts(el_api_parse *p) {
  el_api_request *r = p->out;
  size_t longest = 0;
  for (size_t i = 0; i < r->n_prompts; i++)
    if (r->prompts[i].n > longest) longest = r->prompts[i].n;
  size_t room = p->max_tokens - longest;
  if (r->request.max_tokens >= 0 && (size_t)r->request.max_tokens > room) r->request.max_tokens = -1;
}

static bool fit_infill_context(el_api_parse *p, size_t n) {
  if (!n) return fail_value(p, prompt_name(p), "it is an empty array");
  if (n > (size_t)p->max_choices || (size_t)p->out->n > (size_t)p->max_choices / n)
    return el_api_fail(p->error, 400, "invalid_value", prompt_name(p),
                       "%zu prompts with n = %d are more choices than the %d that one request may have.", n, p->out->n,
                       p->max_choices);
  if (!(p->out->prompts = calloc(n, sizeof *p->out->prompts))) return el_api_no_memory(p);
  p->out->n_prompts = n;
  return true;
}

bool el_llama_prompts_read(el_api_parse *p) {
  const json_t *v = p->prompt;
  bool several = json_is_array(v) && !is_one_prompt(v);
  if (!fit_infill_context(p, several ? json_array_size(v) : 1)) return false;
  for (size_t i = 0; i < p->out->n_prompts; i++)
    if (!read_llama_prompt(p, several ? json_array_get(v, i) : v, &p->out->prompts[i])) return false;
  fit_prompts(p);
  return true;
}

/* ---------------------------------------------------------------- infill */

static bool append_token(el_api_parse *p, tokens *t, int32_t id) {
  return append_tokens(p, t, &id, 1);
}

static bool append_plain_text(el_api_parse *p, tokens *t, const char *text) {
  return append_text_tokens(p, t, text, strlen(text), 0);
}

/* Puts files of the same project before the one to be filled, in the form that models have learnt, or as plain text. */
static bool append_files(el_api_parse *p, tokens *t, const json_t *files) {
  int32_t project = el_tokenizer_fim(p->tokenizer, EL_FIM_REPOSITORY);
  int32_t file = el_tokenizer_fim(p->tokenizer, EL_FIM_SEPARATOR);
  size_t i;
  json_t *one;
  if (!json_array_size(files)) return true;
  if (project >= 0 && !(append_token(p, t, project) && append_plain_text(p, t, "myproject\n"))) return false;
  json_array_foreach(files, i, one) {
    const json_t *name = json_object_get(one, "filename"), *text = json_object_get(one, "text");
    if (!(file >= 0 ? append_token(p, t, file) : append_plain_text(p, t, "\n\n--- ")) ||
        !append_plain_text(p, t, json_string_value(name)) || !append_plain_text(p, t, file >= 0 ? "\n" : " ---\n\n") ||
        !append_text_tokens(p, t, json_string_value(text), json_string_length(text), 0))
      return false;
  }
  return file < 0 || (append_token(p, t, file) && append_plain_text(p, t, "filename\n"));
}

static bool check_files(el_api_parse *p, const json_t *files) {
  size_t i;
  json_t *one;
  if (!files || json_is_null(files)) return true;
  if (!json_is_array(files)) return el_api_type_error(p, "input_extra", "an array", files);
  json_array_foreach(files, i, one) {
    const json_t *name = json_object_get(one, "filename");
    if (!json_is_string(json_object_get(one, "text")) || !json_is_string(name) ||
        strlen(json_string_value(name)) != json_string_length(name))
      return fail_value(p, "input_extra", "each item is an object with a text 'filename' and a text 'text'");
  }
  return true;
}

static bool append_prompt_value(el_api_parse *p, tokens *t, const json_t *v) {
  return !v || json_is_null(v) || append_text_tokens(p, t, json_string_value(v), json_string_length(v), 0);
}

/* [files] PREFIX prefix, prompt SUFFIX suffix MIDDLE: what the model writes next belongs into the gap. */
static bool write_infill(el_api_parse *p, tokens *t) {
  const el_tokenizer *k = p->tokenizer;
  int32_t prefix = el_tokenizer_fim(k, EL_FIM_PREFIX), suffix = el_tokenizer_fim(k, EL_FIM_SUFFIX),
          middle = el_tokenizer_fim(k, EL_FIM_MIDDLE);
  if (prefix < 0 || suffix < 0 || middle < 0)
    return el_api_fail(p->error, 501, "not_supported", NULL,
                       "Infill is not supported by this model: its vocabulary has no %s token.",
                       prefix < 0   ? "prefix"
                       : suffix < 0 ? "suffix"
                                    : "middle");
  return append_text_tokens(p, t, "", 0, EL_TOKENIZE_BOS) && append_files(p, t, p->infill_files) &&
         append_token(p, t, prefix) && append_prompt_value(p, t, p->infill_prefix) &&
         append_prompt_value(p, t, p->prompt) && append_token(p, t, suffix) &&
         append_prompt_value(p, t, p->infill_suffix) && append_token(p, t, middle);
}

bool el_llama_infill_read(el_api_parse *p) {
  if (p->prompt && !json_is_null(p->prompt) && !json_is_string(p->prompt))
    return el_api_type_error(p, "prompt", "a string", p->prompt);
  tokens t = {.most = p->max_tokens, .param = "input_prefix"};
  if (!check_files(p, p->infill_files) || !fit_infill_context(p, 1)) return false;
  bool ok = write_infill(p, &t);
  p->out->prompts->tokens = t.ids;
  p->out->prompts->n = ok ? t.n : 0;
  if (ok) fit_prompts(p);
  return ok;
}
