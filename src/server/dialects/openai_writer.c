/* Writes answers in OpenAI's form: of chats, of completions, and of POST /v1/route. */
#include <inttypes.h>
#include <stdio.h>

#include "base/json_out.h"
#include "server/answers/writer.h"
#include "server/dialects/llama.h"
#include "server/dialects/openai.h"

static bool is_openai_chat(const el_reply *r) {
  return r->request->chat;
}

/* The beginning of all objects of an answer, up to the choices; it is formatted once, as each token of a stream has it.
 */
static bool write_openai_head(el_reply *r, el_buf *out) {
  el_buf *head = &r->scratch;
  const char *object = !is_openai_chat(r) ? "text_completion" : r->stream ? "chat.completion.chunk" : "chat.completion";
  if (!head->len && !(el_buf_printf(head, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%" PRId64 ",\"model\":", r->id,
                                    object, r->created) &&
                      el_json_cstring(head, r->model) &&
                      el_buf_printf(head, ",\"system_fingerprint\":\"b%s-edgelora\",\"choices\":[", el_version()))) {
    head->len = 0;
    return false;
  }
  return el_buf_append(out, head->data, head->len);
}

static const char *finish_name(const el_choice *c) {
  return c->finish == EL_FINISH_LENGTH ? "\"length\"" : c->n_calls ? "\"tool_calls\"" : "\"stop\"";
}

static bool write_logprobs(el_reply *r, el_choice *c, el_buf *out) {
  return el_buf_printf(out, ",\"logprobs\":") &&
         (r->request->request.logprobs ? el_logprobs_take(&c->logprobs, out) : el_buf_append(out, "null", 4));
}

static bool write_openai_usage(const el_reply *r, el_buf *out) {
  el_usage u = el_reply_usage(r);
  return el_buf_printf(out,
                       "\"usage\":{\"prompt_tokens\":%zu,\"completion_tokens\":%zu,\"total_tokens\":%zu,"
                       "\"prompt_tokens_details\":{\"cached_tokens\":%zu}}",
                       u.prompt, u.completion, u.prompt + u.completion, u.cached);
}

/* vLLM's: what ended a choice, if it was not an EOS; and the log-probabilities of the prompt. */
static bool write_stop_reason(const el_choice *c, el_buf *out) {
  if (c->stop_token >= 0) return el_buf_printf(out, ",\"stop_reason\":%d", (int)c->stop_token);
  return !c->stop || (el_buf_printf(out, ",\"stop_reason\":") && el_json_cstring(out, c->stop));
}

static bool write_prompt_logprobs(const el_choice *c, el_buf *out) {
  return !c->prompt_logprobs.len || (el_buf_printf(out, ",\"prompt_logprobs\":") &&
                                     el_buf_append(out, c->prompt_logprobs.data, c->prompt_logprobs.len));
}

/* If the router decides, each choice names its adapter, as prompts may have different ones. */
static bool write_adapter_member(const el_reply *r, const el_choice *c, el_buf *out) {
  const char *adapter = el_choice_adapter(r, c);
  if (!adapter || r->request->n_prompts == 1) return true;
  return el_buf_printf(out, "\"adapter\":") && el_json_cstring(out, adapter) && el_buf_append(out, ",", 1);
}

/* The request asked for an adapter and has got the base's answer. */
static bool write_not_invoked(const el_choice *c, el_buf *out) {
  return !c->not_invoked || el_buf_printf(out, "\"invoked\":false,");
}

/* Once in an answer. */
static bool write_decision(el_reply *r, el_buf *out) {
  if (!r->chosen.len) return true;
  bool ok = el_buf_printf(out, ",\"edgelora\":{") && el_buf_append(out, r->chosen.data, r->chosen.len) &&
            el_buf_append(out, "}", 1);
  el_buf_free(&r->chosen);
  return ok;
}

/* llama-server's "__verbose": the same answer in its own form, with the prompt as the model has read it. With several
 * choices, only the first. */
static bool write_verbose(el_reply *r, el_choice *c, el_buf *out) {
  if (!r->request->verbose || c != r->choices) return true;
  return el_buf_printf(out, ",\"__verbose\":") && el_llama_write_choice(r, c, out);
}

/* ---------------------------------------------------------------- streams */

/* One event of a stream with one choice. */
static bool begin_openai_chunk(el_reply *r, const el_choice *c, el_buf *out) {
  return el_buf_printf(out, "data: ") && write_openai_head(r, out) &&
         el_buf_printf(out, "{\"index\":%td,", c - r->choices) && write_adapter_member(r, c, out) &&
         write_not_invoked(c, out);
}

/* last: the last chunk of the choice, with everything that is known only at its end. */
static bool end_openai_chunk(el_reply *r, el_choice *c, bool last, el_buf *out) {
  return el_buf_printf(out, ",\"finish_reason\":%s", last ? finish_name(c) : "null") &&
         (!last || write_stop_reason(c, out)) &&
         el_buf_printf(out, "}]%s", r->request->include_usage ? ",\"usage\":null" : "") && write_decision(r, out) &&
         (!last || !c->not_invoked || el_reply_write_warnings(r, c, out)) && (!last || write_verbose(r, c, out)) &&
         el_buf_printf(out, "}\n\n");
}

static bool write_role_chunk(el_reply *r, el_choice *c, el_buf *out) {
  return !is_openai_chat(r) ||
         (begin_openai_chunk(r, c, out) &&
          el_buf_printf(out, "\"delta\":{\"role\":\"assistant\",\"content\":null},\"logprobs\":null") &&
          end_openai_chunk(r, c, false, out));
}

/* Reasoning has two names: DeepSeek's, which llama-server uses too, and vLLM's. */
static bool write_reasoning(const char *text, size_t len, el_buf *out) {
  return el_buf_printf(out, "\"reasoning_content\":") && el_json_string(out, text, len) &&
         el_buf_printf(out, ",\"reasoning\":") && el_json_string(out, text, len);
}

/* The beginning of a call, or more of its arguments. */
static bool write_call_delta(const el_choice *c, const el_answer_piece *piece, el_buf *out) {
  const el_call *call = &c->calls[piece->call];
  bool begins = piece->kind == EL_PIECE_CALL;
  if (!el_buf_printf(out, "\"tool_calls\":[{\"index\":%zu,", piece->call)) return false;
  if (begins && !(el_buf_printf(out, "\"id\":\"%s\",\"type\":\"function\",\"function\":{\"name\":", call->id) &&
                  el_json_cstring(out, call->name) && el_buf_append(out, ",", 1)))
    return false;
  return el_buf_printf(out, begins ? "\"arguments\":" : "\"function\":{\"arguments\":") &&
         el_json_string(out, piece->text, begins ? 0 : piece->len) && el_buf_printf(out, "}}]");
}

static bool write_delta_member(el_reply *r, el_choice *c, const el_answer_piece *piece, el_buf *out) {
  if (!is_openai_chat(r)) return el_buf_printf(out, "\"text\":") && el_json_string(out, piece->text, piece->len);
  bool ok = el_buf_printf(out, "\"delta\":{");
  if (piece->kind == EL_PIECE_CONTENT)
    ok = ok && el_buf_printf(out, "\"content\":") && el_json_string(out, piece->text, piece->len);
  else if (piece->kind == EL_PIECE_REASONING)
    ok = ok && write_reasoning(piece->text, piece->len, out);
  else
    ok = ok && write_call_delta(c, piece, out);
  return ok && el_buf_append(out, "}", 1);
}

static bool write_chunk_delta(el_reply *r, el_choice *c, const el_answer_piece *piece, el_buf *out) {
  return begin_openai_chunk(r, c, out) && write_delta_member(r, c, piece, out) && write_logprobs(r, c, out) &&
         end_openai_chunk(r, c, false, out);
}

static bool write_finish_chunk(el_reply *r, el_choice *c, el_buf *out) {
  return begin_openai_chunk(r, c, out) && el_buf_printf(out, is_openai_chat(r) ? "\"delta\":{}" : "\"text\":\"\"") &&
         el_buf_printf(out, ",\"logprobs\":null") && end_openai_chunk(r, c, true, out);
}

static bool end_openai_stream(el_reply *r, el_buf *out) {
  if (r->request->include_usage &&
      !(el_buf_printf(out, "data: ") && write_openai_head(r, out) && el_buf_printf(out, "],") &&
        write_openai_usage(r, out) && el_buf_append(out, ",", 1) && el_llama_write_timings(r, out) &&
        el_buf_printf(out, "}\n\n")))
    return false;
  return el_buf_printf(out, "data: [DONE]\n\n");
}

static bool fail_openai_stream(el_reply *r, const el_api_error *e, el_buf *out) {
  return el_buf_printf(out, "data: ") && el_api_error_write(e, out) && el_buf_printf(out, "\n\ndata: [DONE]\n\n");
}

/* ---------------------------------------------------------------- in one piece */

static bool write_openai_calls(const el_choice *c, el_buf *out) {
  if (!c->n_calls) return true;
  bool ok = el_buf_printf(out, ",\"tool_calls\":[");
  for (size_t i = 0; ok && i < c->n_calls; i++)
    ok = el_buf_printf(out, "%s{\"id\":\"%s\",\"type\":\"function\",\"function\":{\"name\":", i ? "," : "",
                       c->calls[i].id) &&
         el_json_cstring(out, c->calls[i].name) && el_buf_printf(out, ",\"arguments\":") &&
         el_json_string(out, c->calls[i].arguments.data, c->calls[i].arguments.len) && el_buf_printf(out, "}}");
  return ok && el_buf_append(out, "]", 1);
}

static bool write_openai_message(const el_choice *c, el_buf *out) {
  bool empty = c->n_calls && !c->content.len;
  return el_buf_printf(out, "\"message\":{\"role\":\"assistant\",\"content\":") &&
         (empty ? el_buf_append(out, "null", 4) : el_json_string(out, c->content.data, c->content.len)) &&
         (!c->reasoning.len ||
          (el_buf_append(out, ",", 1) && write_reasoning(c->reasoning.data, c->reasoning.len, out))) &&
         write_openai_calls(c, out) && el_buf_printf(out, ",\"refusal\":null}");
}

static bool write_openai_choice(el_reply *r, el_choice *c, el_buf *out) {
  bool chat = is_openai_chat(r);
  return el_buf_printf(out, "%s{\"index\":%td,", c == r->choices ? "" : ",", c - r->choices) &&
         write_adapter_member(r, c, out) && write_not_invoked(c, out) &&
         (chat ? write_openai_message(c, out)
               : el_buf_printf(out, "\"text\":") && el_json_string(out, c->content.data, c->content.len)) &&
         write_logprobs(r, c, out) && el_buf_printf(out, ",\"finish_reason\":%s", finish_name(c)) &&
         write_stop_reason(c, out) && (chat || write_prompt_logprobs(c, out)) && el_buf_append(out, "}", 1);
}

static bool write_openai_answer(el_reply *r, el_buf *out) {
  bool ok = write_openai_head(r, out);
  for (size_t i = 0; ok && i < r->n_choices; i++) ok = write_openai_choice(r, &r->choices[i], out);
  return ok && el_buf_append(out, "]", 1) && (!is_openai_chat(r) || write_prompt_logprobs(r->choices, out)) &&
         el_buf_append(out, ",", 1) && write_openai_usage(r, out) && el_buf_append(out, ",", 1) &&
         el_llama_write_timings(r, out) && write_decision(r, out) && el_reply_write_warnings(r, NULL, out) &&
         write_verbose(r, r->choices, out) && el_buf_printf(out, "}");
}

const el_writer el_openai_writer = {.stream_type = "text/event-stream",
                                    .begin_choice = write_role_chunk,
                                    .delta = write_chunk_delta,
                                    .end_choice = write_finish_chunk,
                                    .end = end_openai_stream,
                                    .fail = fail_openai_stream,
                                    .whole = write_openai_answer};

/* ---------------------------------------------------------------- the router's choice alone */

static bool write_route(el_reply *r, el_buf *out) {
  return r->chosen.len && el_buf_printf(out, "{\"object\":\"route\",\"model\":") &&
         el_json_cstring(out, r->choices->adapter) && el_buf_append(out, ",", 1) &&
         el_buf_append(out, r->chosen.data, r->chosen.len) &&
         el_buf_printf(out, ",\"usage\":{\"prompt_tokens\":%zu}}", r->request->prompts->n);
}

const el_writer el_route_writer = {.whole = write_route};
