#include "server/requests/request.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/json_guard.h"
#include "server/requests/fields.h"

/* ---------------------------------------------------------------- integers beyond 64 bits
 *
 * jansson refuses a body for one, wherever it stands, and clients have some as ids. So they become texts of their
 * digits; where a number is wanted, they are not between its limits. */

static bool fits_int64(const char *digits, size_t n, bool negative) {
  const char *most = negative ? "9223372036854775808" : "9223372036854775807";
  return n < 19 || (n == 19 && memcmp(digits, most, 19) <= 0);
}

bool el_json_is_huge(const json_t *v) {
  if (!json_is_string(v)) return false;
  const char *s = json_string_value(v);
  bool negative = *s == '-';
  size_t n = strspn(s + negative, "0123456789");
  return n + negative == json_string_length(v) && !fits_int64(s + negative, n, negative);
}

/* Copies the body and puts such integers in quotes. False: out of memory. */
static bool quote_huge(const char *body, size_t len, el_buf *out) {
  bool ok = el_buf_reserve(out, len + len / 8);
  size_t done = 0;
  for (size_t i = 0; ok && i < len;) {
    if (body[i] == '"') {
      for (i++; i < len && body[i] != '"'; i++) i += body[i] == '\\';
      i++;
      continue;
    }
    bool negative = body[i] == '-';
    size_t begin = i + negative, end = begin;
    while (end < len && body[end] >= '0' && body[end] <= '9') end++;
    if (end == begin) {
      i++;
      continue;
    }
    bool whole = end == len || !strchr(".eE", body[end]);
    if (whole && !fits_int64(body + begin, end - begin, negative)) {
      ok = el_buf_append(out, body + done, i - done) && el_buf_append(out, "\"", 1) &&
           el_buf_append(out, body + i, end - i) && el_buf_append(out, "\"", 1);
      done = end;
    }
    for (i = end; i < len && body[i] && strchr("0123456789.eE+-", body[i]);) i++;
  }
  return ok && el_buf_append(out, body + done, len - done);
}

static json_t *load_huge(const char *body, size_t len, size_t flags, json_error_t *why, bool *no_memory) {
  el_buf quoted = {0};
  *no_memory = true;
  json_t *j = quote_huge(body, len, &quoted) ? el_json_load(quoted.data, quoted.len, flags, why, no_memory) : NULL;
  el_buf_free(&quoted);
  return j;
}

/* ---------------------------------------------------------------- a body */

/* The body may be 2048 levels deep (jansson's limit), which takes some hundred kilobytes of stack. */
json_t *el_api_body_load(const char *body, size_t len, bool array, el_api_error *e) {
  json_error_t why;
  if (!len) {
    el_api_fail(e, 400, "invalid_json", NULL, "The request has no body; expected %s.",
                array ? "a JSON array" : "a JSON object");
    return NULL;
  }
  bool no_memory;
  size_t flags = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL;
  json_t *j = el_json_load(body, len, flags, &why, &no_memory);
  if (!j && !no_memory && json_error_code(&why) == json_error_numeric_overflow)
    j = load_huge(body, len, flags, &why, &no_memory);
  if (!j && no_memory) {
    el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
  } else if (!j) {
    el_api_fail(e, 400, "invalid_json", NULL, "The body is not valid JSON: %s (line %d, column %d).", why.text,
                why.line, why.column);
  } else if (array ? !json_is_array(j) : !json_is_object(j)) {
    el_api_fail(e, 400, "invalid_json", NULL, "The body must be %s, but it is %s.",
                array ? "a JSON array" : "a JSON object", el_json_type_name(j));
    json_decref(j);
    j = NULL;
  }
  return j;
}

/* Finds the adapter that answers, and its preset. */
static bool find_model(el_api_parse *p, const el_api_setup *setup) {
  const el_held_adapter *held = NULL;
  if (!setup->resolve(setup->user, p->out, &held, p->error)) return false;
  p->tokenizer = held ? held->tokenizer : setup->tokenizer;
  p->chat_template = held ? held->chat_template : NULL;
  p->preset = held ? held->preset : NULL;
  p->system = p->preset ? p->preset->system : NULL;
  /* A request with scales describes its adapters completely, so no preset applies. */
  p->out->request.preset_fields = p->out->has_lora ? 0 : EL_PRESET_ALL & ~p->given;
  return true;
}

/* A prompt that does not fit has at least one token more than the context; it is not tokenized any further. */
static bool tell_context(const el_api_parse *p) {
  const char *code = p->error->code;
  if (code && !strcmp(code, "context_length_exceeded") && !p->error->n_ctx) {
    p->error->n_ctx = p->max_tokens;
    p->error->n_prompt = p->max_tokens + 1;
  }
  return false;
}

bool el_api_request_parse(const el_api_setup *setup, const char *body, size_t len, el_api_request *out, el_buf *answer,
                          el_api_error *e) {
  const el_api *api = setup->api;
  el_api_parse p = {.setup = setup,
                    .tokenizer = setup->tokenizer,
                    .max_choices = setup->max_choices,
                    .max_tokens = setup->max_tokens,
                    .out = out,
                    .error = e};
  out->api = api;
  out->n = 1;
  out->verbose = setup->verbose;
  out->request = el_request_default();
  if (api->defaults) api->defaults(out);
  json_t *j = el_api_body_load(body, len, false, e);
  if (!j) return false;
  p.body = j;
  bool ok = (!api->prepare || api->prepare(&p, j)) && el_api_fields_read(&p, j) && (!api->check || api->check(&p)) &&
            el_structured_open(&p) && find_model(&p, setup) && (!api->read_prompts || api->read_prompts(&p)) &&
            el_structured_after_reasoning(&p) && (!api->answer || api->answer(&p, answer));
  el_structured_free(&p.structured);
  json_decref(j);
  if (!ok) return tell_context(&p);
  if (api->answer) {
    out->stream = false; /* an endpoint that counts tokens has the fields of the one that it counts for */
    return true;
  }

  el_request *q = &out->request;
  if (!p.has_seed && getrandom(&q->sampling.seed, sizeof q->sampling.seed, 0) != sizeof q->sampling.seed)
    return el_api_fail(e, 500, "no_entropy", NULL, "The system gave no random seed.");
  q->stop = (const char *const *)out->stop;
  q->n_stop = out->n_stop;
  q->sampling.logit_bias = out->bias;
  q->sampling.n_logit_bias = out->n_bias;
  return true;
}

void el_api_request_free(el_api_request *r) {
  if (r->own) r->free_own(r->own);
  el_calling_free(&r->calling);
  if (r->constraint) el_constraint_close(r->engine, r->constraint);
  free(r->model);
  for (size_t i = 0; i < r->n_prompts; i++) {
    free(r->prompts[i].tokens);
    free(r->prompts[i].text);
  }
  free(r->prompts);
  for (size_t i = 0; i < r->n_stop; i++) free(r->stop[i]);
  free(r->stop);
  free(r->bias);
  free(r->stop_tokens);
  free(r->allowed_tokens);
  free(r->bad_words);
  for (size_t i = 0; i < r->n_candidates; i++) free(r->candidates[i]);
  free(r->candidates);
  for (size_t i = 0; i < r->n_answer_fields; i++) free(r->answer_fields[i]);
  free(r->answer_fields);
  *r = (el_api_request){0};
}
