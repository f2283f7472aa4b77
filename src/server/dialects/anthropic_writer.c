/* Writes answers in Anthropic's form: content blocks, one after the other; in a stream each block has a begin, deltas
 * and an end. */
#include <stdlib.h>
#include <string.h>

#include "base/json_out.h"
#include "server/dialects/anthropic.h"

static bool put_text(el_buf *out, const char *s) {
  return el_buf_append(out, s, strlen(s));
}

static const char *anthropic_error_type(int status) {
  switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 503: return "overloaded_error";
    default: return status >= 500 ? "api_error" : "invalid_request_error";
  }
}

bool el_anthropic_write_error(const el_api_error *e, el_buf *out) {
  return el_buf_printf(
             out, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":", anthropic_error_type(e->status)) &&
         el_json_cstring(out, e->message) && put_text(out, "}}");
}

/* ---------------------------------------------------------------- the message */

static bool write_stop_members(const el_choice *c, el_buf *out) {
  const char *reason = c->finish == EL_FINISH_LENGTH ? "max_tokens"
                       : c->n_calls                  ? "tool_use"
                       : c->stop                     ? "stop_sequence"
                                                     : "end_turn";
  return el_buf_printf(out, "\"stop_reason\":\"%s\",\"stop_sequence\":", reason) &&
         el_json_cstring(out, !strcmp(reason, "stop_sequence") ? c->stop : NULL);
}

/* Cached tokens are counted apart from the others. */
static bool write_anthropic_usage(const el_reply *r, el_buf *out) {
  el_usage u = el_reply_usage(r);
  return el_buf_printf(
      out,
      "\"usage\":{\"input_tokens\":%zu,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":%zu,"
      "\"output_tokens\":%zu}",
      u.prompt - u.cached, u.cached, u.completion);
}

static bool write_message_start(const el_reply *r, el_buf *out) {
  return el_buf_printf(out, "{\"id\":\"%s\",\"type\":\"message\",\"role\":\"assistant\",\"model\":", r->id) &&
         el_json_cstring(out, r->model) && put_text(out, ",\"content\":[");
}

/* ---------------------------------------------------------------- in one piece */

static bool write_blocks(const el_choice *c, el_buf *out) {
  const char *comma = "";
  bool ok = true;
  if (c->reasoning.len) {
    ok = put_text(out, "{\"type\":\"thinking\",\"thinking\":") &&
         el_json_string(out, c->reasoning.data, c->reasoning.len) && put_text(out, ",\"signature\":\"\"}");
    comma = ",";
  }
  if (ok && (c->content.len || !c->n_calls)) {
    ok = put_text(out, comma) && put_text(out, "{\"type\":\"text\",\"text\":") &&
         el_json_string(out, c->content.data, c->content.len) && put_text(out, "}");
    comma = ",";
  }
  for (size_t i = 0; ok && i < c->n_calls; i++, comma = ",") {
    const el_buf *input = &c->calls[i].arguments;
    ok = el_buf_printf(out, "%s{\"type\":\"tool_use\",\"id\":\"%s\",\"name\":", comma, c->calls[i].id) &&
         el_json_cstring(out, c->calls[i].name) && put_text(out, ",\"input\":") &&
         (input->len ? el_buf_append(out, input->data, input->len) : put_text(out, "{}")) && put_text(out, "}");
  }
  return ok;
}

static bool write_anthropic_answer(el_reply *r, el_buf *out) {
  const el_choice *c = r->choices;
  return write_message_start(r, out) && write_blocks(c, out) && put_text(out, "],") && write_stop_members(c, out) &&
         put_text(out, ",") && write_anthropic_usage(r, out) && el_reply_write_warnings(r, c, out) &&
         put_text(out, "}");
}

/* ---------------------------------------------------------------- streams */

typedef struct blocks {
  bool open;
  el_piece_kind kind; /* ARGUMENTS for calls */
  size_t index, call;
} blocks;

static bool begin_anthropic_event(el_buf *out, const char *name) {
  return el_buf_printf(out, "event: %s\ndata: {\"type\":\"%s\"", name, name);
}

static bool end_anthropic_event(el_buf *out) {
  return put_text(out, "}\n\n");
}

static bool begin_anthropic_stream(el_reply *r, el_buf *out) {
  if (!r->state && !(r->state = calloc(1, sizeof(blocks)))) return false;
  return begin_anthropic_event(out, "message_start") && put_text(out, ",\"message\":") && write_message_start(r, out) &&
         el_buf_printf(out,
                       "],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":%zu,"
                       "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":0}}",
                       r->request->prompts->n) &&
         end_anthropic_event(out) && begin_anthropic_event(out, "ping") && end_anthropic_event(out);
}

static bool end_block(blocks *b, el_buf *out) {
  if (!b->open) return true;
  b->open = false;
  return begin_anthropic_event(out, "content_block_stop") && el_buf_printf(out, ",\"index\":%zu", b->index++) &&
         end_anthropic_event(out);
}

static bool begin_block(blocks *b, const el_choice *c, el_piece_kind kind, size_t call, el_buf *out) {
  *b = (blocks){.open = true, .kind = kind, .index = b->index, .call = call};
  if (!begin_anthropic_event(out, "content_block_start") ||
      !el_buf_printf(out, ",\"index\":%zu,\"content_block\":", b->index))
    return false;
  if (kind == EL_PIECE_CONTENT) return put_text(out, "{\"type\":\"text\",\"text\":\"\"}") && end_anthropic_event(out);
  if (kind == EL_PIECE_REASONING)
    return put_text(out, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}") && end_anthropic_event(out);
  return el_buf_printf(out, "{\"type\":\"tool_use\",\"id\":\"%s\",\"name\":", c->calls[call].id) &&
         el_json_cstring(out, c->calls[call].name) && put_text(out, ",\"input\":{}}") && end_anthropic_event(out);
}

static bool write_block_delta(el_reply *r, el_choice *c, const el_answer_piece *piece, el_buf *out) {
  static const char *const DELTAS[] = {[EL_PIECE_CONTENT] = "{\"type\":\"text_delta\",\"text\":",
                                       [EL_PIECE_REASONING] = "{\"type\":\"thinking_delta\",\"thinking\":",
                                       [EL_PIECE_ARGUMENTS] = "{\"type\":\"input_json_delta\",\"partial_json\":"};
  blocks *b = r->state;
  bool begins = piece->kind == EL_PIECE_CALL;
  el_piece_kind kind = begins ? EL_PIECE_ARGUMENTS : piece->kind;
  if (!piece->len) return true;
  if (begins || !b->open || b->kind != kind) {
    if (!end_block(b, out) || !begin_block(b, c, kind, piece->call, out)) return false;
  }
  return begins || (begin_anthropic_event(out, "content_block_delta") &&
                    el_buf_printf(out, ",\"index\":%zu,\"delta\":%s", b->index, DELTAS[kind]) &&
                    el_json_string(out, piece->text, piece->len) && put_text(out, "}") && end_anthropic_event(out));
}

static bool end_anthropic_choice(el_reply *r, el_choice *c, el_buf *out) {
  blocks *b = r->state;
  if (!b->index && !b->open && !begin_block(b, c, EL_PIECE_CONTENT, 0, out)) return false;
  return end_block(b, out) && begin_anthropic_event(out, "message_delta") && put_text(out, ",\"delta\":{") &&
         write_stop_members(c, out) && put_text(out, "},") && write_anthropic_usage(r, out) &&
         el_reply_write_warnings(r, c, out) && end_anthropic_event(out);
}

static bool end_anthropic_stream(el_reply *r, el_buf *out) {
  return begin_anthropic_event(out, "message_stop") && end_anthropic_event(out);
}

static bool fail_anthropic_stream(el_reply *r, const el_api_error *e, el_buf *out) {
  return put_text(out, "event: error\ndata: ") && el_anthropic_write_error(e, out) && put_text(out, "\n\n");
}

const el_writer el_anthropic_writer = {.stream_type = "text/event-stream",
                                       .begin = begin_anthropic_stream,
                                       .delta = write_block_delta,
                                       .end_choice = end_anthropic_choice,
                                       .end = end_anthropic_stream,
                                       .fail = fail_anthropic_stream,
                                       .whole = write_anthropic_answer,
                                       .free_state = free};
