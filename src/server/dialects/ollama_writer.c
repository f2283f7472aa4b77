/* Writes answers in Ollama's form: objects, in a stream each on a line of its own. */
#include <inttypes.h>
#include <time.h>

#include "base/json_out.h"
#include "server/dialects/ollama.h"

bool el_ollama_write_time(int64_t seconds, el_buf *out) {
  const time_t t = (time_t)seconds;
  struct tm tm;
  char text[40];
  return gmtime_r(&t, &tm) && strftime(text, sizeof text, "\"%Y-%m-%dT%H:%M:%SZ\"", &tm) &&
         el_buf_printf(out, "%s", text);
}

bool el_ollama_write_error(const el_api_error *e, el_buf *out) {
  return el_buf_printf(out, "{\"error\":") && el_json_cstring(out, e->message) && el_buf_append(out, "}", 1);
}

static bool is_ollama_chat(const el_reply *r) {
  return r->writer == &el_ollama_chat_writer;
}

/* The beginning of all objects of an answer; it is formatted once, as each object of a stream has it. */
static bool begin_ollama_line(el_reply *r, el_buf *out) {
  el_buf *head = &r->scratch;
  if (!head->len && !(el_buf_printf(head, "{\"model\":") && el_json_cstring(head, r->model) &&
                      el_buf_printf(head, ",\"created_at\":") && el_ollama_write_time(r->created, head))) {
    head->len = 0;
    return false;
  }
  return el_buf_append(out, head->data, head->len);
}

static bool write_ollama_call(const el_call *c, bool first, el_buf *out) {
  return el_buf_printf(out, "%s{\"function\":{\"name\":", first ? "" : ",") && el_json_cstring(out, c->name) &&
         el_buf_printf(out, ",\"arguments\":") &&
         (c->arguments.len ? el_buf_append(out, c->arguments.data, c->arguments.len) : el_buf_printf(out, "{}")) &&
         el_buf_printf(out, "}}");
}

static bool write_ollama_calls(const el_choice *c, el_buf *out) {
  bool ok = !c->n_calls || el_buf_printf(out, ",\"tool_calls\":[");
  for (size_t i = 0; ok && i < c->n_calls; i++) ok = write_ollama_call(&c->calls[i], !i, out);
  return ok && (!c->n_calls || el_buf_append(out, "]", 1));
}

/* A piece of the answer, or all of it. c: the choice whose calls are written as well; NULL: none. */
static bool write_ollama_message(el_reply *r, const el_answer_piece *content, const el_answer_piece *thinking,
                                 const el_choice *c, el_buf *out) {
  const bool chat = is_ollama_chat(r);
  return el_buf_printf(out, chat ? ",\"message\":{\"role\":\"assistant\",\"content\":" : ",\"response\":") &&
         el_json_string(out, content->text, content->len) &&
         (!thinking->len ||
          (el_buf_printf(out, ",\"thinking\":") && el_json_string(out, thinking->text, thinking->len))) &&
         (!c || write_ollama_calls(c, out)) && (!chat || el_buf_append(out, "}", 1));
}

/* The end, with times in nanoseconds. Waiting for a slot and for the adapter is reported as loading. */
static bool write_ollama_end(const el_choice *c, el_buf *out) {
  const double ns = 1e6;
  return el_buf_printf(
      out,
      ",\"done\":true,\"done_reason\":\"%s\",\"total_duration\":%.0f,\"load_duration\":%.0f,"
      "\"prompt_eval_count\":%d,\"prompt_eval_duration\":%.0f,\"eval_count\":%d,\"eval_duration\":%.0f}",
      c->finish == EL_FINISH_LENGTH ? "length" : "stop", ns * (c->queued_ms + c->prompt_ms + c->decode_ms),
      ns * c->queued_ms, c->prompt_tokens, ns * c->prompt_ms, c->completion_tokens, ns * c->decode_ms);
}

static const el_answer_piece NOTHING = {EL_PIECE_CONTENT, 0, "", 0};

/* ---------------------------------------------------------------- streams */

/* Calls are told in whole at the end. */
static bool write_ollama_delta(el_reply *r, el_choice *c, const el_answer_piece *piece, el_buf *out) {
  const bool thinking = piece->kind == EL_PIECE_REASONING;
  if (piece->kind == EL_PIECE_CALL || piece->kind == EL_PIECE_ARGUMENTS || !piece->len) return true;
  return begin_ollama_line(r, out) &&
         write_ollama_message(r, thinking ? &NOTHING : piece, thinking ? piece : &NOTHING, NULL, out) &&
         el_buf_printf(out, ",\"done\":false}\n");
}

static bool end_ollama_line(el_reply *r, el_choice *c, el_buf *out) {
  if (c->n_calls && !(begin_ollama_line(r, out) && write_ollama_message(r, &NOTHING, &NOTHING, c, out) &&
                      el_buf_printf(out, ",\"done\":false}\n")))
    return false;
  return begin_ollama_line(r, out) && write_ollama_message(r, &NOTHING, &NOTHING, NULL, out) &&
         write_ollama_end(c, out) && el_buf_append(out, "\n", 1);
}

static bool end_ollama_stream(el_reply *r, el_buf *out) {
  return true;
}

static bool fail_ollama_line(el_reply *r, const el_api_error *e, el_buf *out) {
  return el_ollama_write_error(e, out) && el_buf_append(out, "\n", 1);
}

/* ---------------------------------------------------------------- in one piece */

static bool write_ollama_answer(el_reply *r, el_buf *out) {
  if (!begin_ollama_line(r, out)) return false;
  if (!r->n_choices)
    return write_ollama_message(r, &NOTHING, &NOTHING, NULL, out) &&
           el_buf_printf(out, ",\"done\":true,\"done_reason\":\"load\"}");
  const el_choice *c = r->choices;
  const el_answer_piece content = {EL_PIECE_CONTENT, 0, c->content.data, c->content.len},
                        thinking = {EL_PIECE_REASONING, 0, c->reasoning.data, c->reasoning.len};
  return write_ollama_message(r, &content, &thinking, c, out) && write_ollama_end(c, out);
}

const el_writer el_ollama_chat_writer = {.stream_type = "application/x-ndjson",
                                         .keep = true,
                                         .delta = write_ollama_delta,
                                         .end_choice = end_ollama_line,
                                         .end = end_ollama_stream,
                                         .fail = fail_ollama_line,
                                         .whole = write_ollama_answer};

const el_writer el_ollama_generate_writer = {.stream_type = "application/x-ndjson",
                                             .keep = true,
                                             .delta = write_ollama_delta,
                                             .end_choice = end_ollama_line,
                                             .end = end_ollama_stream,
                                             .fail = fail_ollama_line,
                                             .whole = write_ollama_answer};

/* ---------------------------------------------------------------- vectors */

static bool write_ollama_vectors(el_reply *r, el_buf *out) {
  double ms = 0, queued = 0;
  bool ok =
      el_buf_printf(out, "{\"model\":") && el_json_cstring(out, r->model) && el_buf_printf(out, ",\"embeddings\":[");
  for (size_t i = 0; ok && i < r->n_choices; i++) {
    const el_choice *c = &r->choices[i];
    const double took = c->queued_ms + c->prompt_ms + c->decode_ms;
    ok = (!i || el_buf_append(out, ",", 1)) && el_vector_write(c->vector, c->n_vector, r->request->vector, out);
    ms = took > ms ? took : ms; /* they are computed side by side */
    queued = c->queued_ms > queued ? c->queued_ms : queued;
  }
  return ok && el_buf_printf(out, "],\"total_duration\":%.0f,\"load_duration\":%.0f,\"prompt_eval_count\":%zu}",
                             1e6 * ms, 1e6 * queued, el_reply_usage(r).prompt);
}

const el_writer el_ollama_embed_writer = {.whole = write_ollama_vectors};

/* The older endpoint: one text, and its vector without normalisation. */
static bool write_ollama_vector(el_reply *r, el_buf *out) {
  el_vector_form form = r->request->vector;
  form.not_normalised = true;
  return el_buf_printf(out, "{\"embedding\":") &&
         el_vector_write(r->choices->vector, r->choices->n_vector, form, out) && el_buf_append(out, "}", 1);
}

const el_writer el_ollama_embeddings_writer = {.whole = write_ollama_vector};
