/* Writes answers of POST /completion and /infill in llama-server's form. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_guard.h"
#include "base/json_out.h"
#include "server/answers/writer.h"
#include "server/dialects/llama.h"

static bool write_timings(const el_choice *c, size_t n, el_buf *out) {
  long prompt = 0, cached = 0, predicted = 0, draft = 0, accepted = 0;
  double prompt_ms = 0, decode_ms = 0;
  long decoded = 0; /* the first token of each choice comes with the prompt and needs no further step */
  for (size_t i = 0; i < n; i++) {
    if (c[i].completion_tokens) decoded += c[i].completion_tokens - 1;
    prompt += c[i].prompt_tokens - c[i].cached_tokens;
    cached += c[i].cached_tokens;
    predicted += c[i].completion_tokens;
    draft += c[i].draft_tokens;
    accepted += c[i].draft_tokens_accepted;
    prompt_ms += c[i].prompt_ms;
    decode_ms += c[i].decode_ms;
  }
  bool ok = el_buf_printf(
      out,
      "\"timings\":{\"cache_n\":%ld,\"prompt_n\":%ld,\"prompt_ms\":%.3f,\"prompt_per_token_ms\":%.3f,"
      "\"prompt_per_second\":%.3f,\"predicted_n\":%ld,\"predicted_ms\":%.15g,\"predicted_per_token_ms\":%.15g,"
      "\"predicted_per_second\":%.15g",
      cached, prompt, prompt_ms, prompt ? prompt_ms / (double)prompt : 0,
      prompt_ms > 0 ? 1e3 * (double)prompt / prompt_ms : 0, predicted, decode_ms,
      decoded ? decode_ms / (double)decoded : 0, decode_ms > 0 ? 1e3 * (double)decoded / decode_ms : 0);
  if (draft) ok = ok && el_buf_printf(out, ",\"draft_n\":%ld,\"draft_n_accepted\":%ld", draft, accepted);
  return ok && el_buf_append(out, "}", 1);
}

bool el_llama_write_timings(const el_reply *r, el_buf *out) {
  return write_timings(r->choices, r->n_choices, out);
}

static bool write_token_ids(const int32_t *ids, size_t n, el_buf *out) {
  bool ok = el_buf_printf(out, ",\"tokens\":[");
  for (size_t i = 0; ok && i < n; i++) ok = el_buf_printf(out, "%s%d", i ? "," : "", (int)ids[i]);
  return ok && el_buf_append(out, "]", 1);
}

/* Those that were not told yet. */
static bool take_tokens(el_choice *c, el_buf *out) {
  bool ok = write_token_ids((const int32_t *)(const void *)c->tokens.data, c->tokens.len / sizeof(int32_t), out);
  c->tokens.len = 0;
  return ok;
}

static bool take_probabilities(const el_reply *r, el_choice *c, el_buf *out) {
  return !r->request->request.logprobs || !c->logprobs.n ||
         (el_buf_printf(out, ",\"completion_probabilities\":") && el_logprobs_take_list(&c->logprobs, out));
}

/* The prompt with special tokens, as the model has read it. A conversation may contain a preset's system message, which
 * limited keys may not see. */
static bool write_llama_prompt(const el_reply *r, const el_choice *c, el_buf *out) {
  char *text;
  size_t len;
  if (r->limited && r->request->chat) return true;
  if (el_detokenize(c->logprobs.tokenizer, c->prompt->tokens, c->prompt->n, true, &text, &len, NULL)) return false;
  bool ok = el_buf_printf(out, ",\"prompt\":") && el_json_string(out, text, len);
  el_free(text);
  return ok;
}

static const char *stop_type(const el_choice *c) {
  return c->stop ? "word" : c->finish == EL_FINISH_LENGTH ? "limit" : "eos";
}

/* What is known at the end. */
static bool write_llama_end(const el_reply *r, const el_choice *c, el_buf *out) {
  const el_api_request *q = r->request;
  bool limit = !strcmp(stop_type(c), "limit");
  bool truncated = limit && (q->asked_tokens < 0 || c->completion_tokens < q->asked_tokens);
  return el_buf_printf(out, ",\"id_slot\":-1,\"stop\":true,\"model\":") && el_json_cstring(out, r->model) &&
         el_buf_printf(out, ",\"tokens_predicted\":%d,\"tokens_evaluated\":%d,\"generation_settings\":",
                       c->completion_tokens, c->prompt_tokens) &&
         el_llama_write_settings(c->logprobs.tokenizer, q, out) && write_llama_prompt(r, c, out) &&
         el_buf_printf(out, ",\"has_new_line\":%s,\"truncated\":%s,\"stop_type\":\"%s\",\"stopping_word\":",
                       c->has_new_line ? "true" : "false", truncated ? "true" : "false", stop_type(c)) &&
         el_json_cstring(out, c->stop ? c->stop : "") &&
         el_buf_printf(out, ",\"tokens_cached\":%d,", c->prompt_tokens + c->completion_tokens) &&
         write_timings(c, 1, out) && el_reply_write_warnings(r, c, out);
}

/* ---------------------------------------------------------------- streams */

static bool begin_llama_answer(const el_reply *r, const el_choice *c, const char *text, size_t len, el_buf *out) {
  return el_buf_printf(out, "{\"index\":%td,\"content\":", c - r->choices) && el_json_string(out, text, len);
}

static bool write_llama_delta(el_reply *r, el_choice *c, const el_answer_piece *piece, el_buf *out) {
  c->has_new_line = c->has_new_line || memchr(piece->text, '\n', piece->len);
  if (!piece->len && !c->tokens.len) return true;
  c->n_told += c->tokens.len / sizeof(int32_t);
  return el_buf_printf(out, "data: ") && begin_llama_answer(r, c, piece->text, piece->len, out) &&
         take_tokens(c, out) &&
         el_buf_printf(out, ",\"stop\":false,\"id_slot\":-1,\"tokens_predicted\":%zu,\"tokens_evaluated\":%zu",
                       c->n_told, c->prompt->n) &&
         take_probabilities(r, c, out) && el_buf_printf(out, "}\n\n");
}

static bool end_llama_choice(el_reply *r, el_choice *c, el_buf *out) {
  return el_buf_printf(out, "data: ") && begin_llama_answer(r, c, "", 0, out) && write_token_ids(NULL, 0, out) &&
         write_llama_end(r, c, out) && el_buf_printf(out, "}\n\n");
}

static bool end_llama_stream(el_reply *r, el_buf *out) {
  return true; /* the last choice's chunk says it */
}

static bool fail_llama_stream(el_reply *r, const el_api_error *e, el_buf *out) {
  return el_buf_printf(out, "data: ") && el_llama_write_error(e, out) && el_buf_printf(out, "\n\n");
}

/* ---------------------------------------------------------------- in one piece */

bool el_llama_write_choice(const el_reply *r, el_choice *c, el_buf *out) {
  c->has_new_line = c->content.len && memchr(c->content.data, '\n', c->content.len);
  return begin_llama_answer(r, c, c->content.data, c->content.len, out) &&
         (r->request->return_tokens ? take_tokens(c, out) : write_token_ids(NULL, 0, out)) &&
         write_llama_end(r, c, out) && take_probabilities(r, c, out) && el_buf_append(out, "}", 1);
}

static bool write_llama_array(const el_reply *r, el_buf *out) {
  bool ok = r->n_choices == 1 || el_buf_append(out, "[", 1);
  for (size_t i = 0; ok && i < r->n_choices; i++)
    ok = (!i || el_buf_append(out, ",", 1)) && el_llama_write_choice(r, &r->choices[i], out);
  return ok && (r->n_choices == 1 || el_buf_append(out, "]", 1));
}

/* The member at a path such as "content" or "generation_settings/seed"; NULL: none. */
static json_t *follow_field_path(json_t *in, const char *path) {
  while (in && *path) {
    size_t len = strcspn(path, "/");
    in = json_object_getn(in, path, len);
    path += len + (path[len] == '/');
  }
  return in;
}

static json_t *pick_answer_fields(json_t *from, const el_api_request *q) {
  json_t *out = json_object();
  for (size_t i = 0; out && i < q->n_answer_fields; i++) {
    json_t *v = follow_field_path(from, q->answer_fields[i]);
    if (v && json_object_set(out, q->answer_fields[i], v)) {
      json_decref(out);
      out = NULL;
    }
  }
  return out;
}

/* "response_fields": only these members of the answer, under the names by which they were asked for. */
static bool write_picked(const el_reply *r, el_buf *out) {
  el_buf all = {0};
  json_error_t why;
  bool no_memory;
  json_t *read = write_llama_array(r, &all) ? el_json_load(all.data, all.len, JSON_ALLOW_NUL, &why, &no_memory) : NULL;
  json_t *picked = NULL;
  if (json_is_array(read)) {
    size_t i;
    json_t *one;
    picked = json_array();
    json_array_foreach(read, i, one) {
      if (json_array_append_new(picked, pick_answer_fields(one, r->request))) break;
    }
    if (json_array_size(picked) != json_array_size(read)) {
      json_decref(picked);
      picked = NULL;
    }
  } else if (read) {
    picked = pick_answer_fields(read, r->request);
  }
  char *text = picked ? el_json_dumps(picked, JSON_COMPACT) : NULL;
  bool ok = text && el_buf_append(out, text, strlen(text));
  free(text);
  json_decref(picked);
  json_decref(read);
  el_buf_free(&all);
  return ok;
}

static bool write_llama_answer(el_reply *r, el_buf *out) {
  return r->request->n_answer_fields ? write_picked(r, out) : write_llama_array(r, out);
}

const el_writer el_llama_writer = {.stream_type = "text/event-stream",
                                   .delta = write_llama_delta,
                                   .end_choice = end_llama_choice,
                                   .end = end_llama_stream,
                                   .fail = fail_llama_stream,
                                   .whole = write_llama_answer};

/* ---------------------------------------------------------------- errors */

static const char *llama_error_type(const el_api_error *e) {
  if (e->code && !strcmp(e->code, "context_length_exceeded")) return "exceed_context_size_error";
  switch (e->status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 429: return "rate_limit_error";
    case 501: return "not_supported_error";
    case 503: return "unavailable_error";
    default: return e->status >= 500 ? "server_error" : "invalid_request_error";
  }
}

bool el_llama_write_error(const el_api_error *e, el_buf *out) {
  return el_buf_printf(out, "{\"error\":{\"code\":%d,\"message\":", e->status) && el_json_cstring(out, e->message) &&
         el_buf_printf(out, ",\"type\":\"%s\",\"param\":", llama_error_type(e)) &&
         el_json_cstring(out, e->param[0] ? e->param : NULL) && el_api_error_write_context(e, out) &&
         el_buf_printf(out, "}}");
}
