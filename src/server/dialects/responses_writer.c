/* Writes answers of POST /v1/responses: a list of items for the reasoning, the text and each call; in a stream, the
 * events that build them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_guard.h"
#include "base/json_out.h"
#include "server/dialects/responses.h"

/* The last item of the answer, which is being written. */
typedef struct item {
  el_piece_kind kind; /* CONTENT: a message, ARGUMENTS: a call */
  bool open;
  size_t call; /* the choice's */
  char id[64], call_id[64];
  el_buf name, text;
} item;

/* Of a stream. */
typedef struct stream {
  unsigned sequence;
  size_t n_items;
  item item;
  el_buf output; /* the complete items as JSON, separated by commas */
} stream;

static const el_responses_request *responses_request_of(const el_reply *r) {
  return r->request->own;
}

static void free_responses_stream(void *state) {
  stream *s = state;
  el_buf_free(&s->item.name);
  el_buf_free(&s->item.text);
  el_buf_free(&s->output);
  free(s);
}

static bool put_json_text(el_buf *out, const char *text) {
  return el_buf_append(out, text, strlen(text));
}

/* ---------------------------------------------------------------- items */

static const char *id_prefix_of(el_piece_kind kind) {
  return kind == EL_PIECE_CONTENT ? "msg_" : kind == EL_PIECE_REASONING ? "rs_" : "fc_";
}

/* The id of an item is the answer's id without its prefix, and a number. */
static void begin_item(const el_reply *r, item *it, el_piece_kind kind, size_t number) {
  const char *tail = strchr(r->id, '_');
  it->kind = kind;
  it->open = true;
  it->name.len = it->text.len = 0;
  snprintf(it->id, sizeof it->id, "%s%s%02zu", id_prefix_of(kind), tail ? tail + 1 : r->id, number);
  snprintf(it->call_id, sizeof it->call_id, "call_%s%02zu", tail ? tail + 1 : r->id, number);
}

static bool write_content_part(const item *it, el_buf *out) {
  if (it->kind == EL_PIECE_REASONING)
    return put_json_text(out, "{\"type\":\"reasoning_text\",\"text\":") &&
           el_json_string(out, it->text.data, it->text.len) && put_json_text(out, "}");
  return put_json_text(out, "{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":") &&
         el_json_string(out, it->text.data, it->text.len) && put_json_text(out, "}");
}

static bool write_item(const item *it, bool whole, bool cut, el_buf *out) {
  const char *status = !whole ? "in_progress" : cut ? "incomplete" : "completed";
  if (!el_buf_printf(out, "{\"id\":\"%s\",\"status\":\"%s\",", it->id, status)) return false;
  if (it->kind == EL_PIECE_ARGUMENTS)
    return el_buf_printf(out, "\"type\":\"function_call\",\"call_id\":\"%s\",\"name\":", it->call_id) &&
           el_json_string(out, it->name.data, it->name.len) && put_json_text(out, ",\"arguments\":") &&
           el_json_string(out, it->text.data, it->text.len) && put_json_text(out, "}");
  bool message = it->kind == EL_PIECE_CONTENT;
  return put_json_text(out, message ? "\"type\":\"message\",\"role\":\"assistant\",\"content\":["
                                    : "\"type\":\"reasoning\",\"summary\":[],\"content\":[") &&
         (!whole || write_content_part(it, out)) && put_json_text(out, "]}");
}

/* ---------------------------------------------------------------- the object */

static bool write_responses_usage(const el_reply *r, el_buf *out) {
  el_usage u = el_reply_usage(r);
  return el_buf_printf(out,
                       "\"usage\":{\"input_tokens\":%zu,\"input_tokens_details\":{\"cached_tokens\":%zu},"
                       "\"output_tokens\":%zu,\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":%zu}",
                       u.prompt, u.cached, u.completion, u.prompt + u.completion);
}

static bool is_cut(const el_reply *r) {
  return r->choices->done && r->choices->finish == EL_FINISH_LENGTH;
}

/* output: its items; e: why it failed, or NULL. */
static bool write_response(const el_reply *r, const char *status, const el_buf *output, const el_api_error *e,
                           el_buf *out) {
  const el_sampling *s = &r->request->request.sampling;
  bool ended = strcmp(status, "in_progress") != 0;
  bool ok = el_buf_printf(out,
                          "{\"id\":\"%s\",\"object\":\"response\",\"created_at\":%" PRId64
                          ",\"status\":\"%s\",\"background\":false,\"model\":",
                          r->id, r->created, status) &&
            el_json_cstring(out, r->model) && put_json_text(out, ",\"output\":[") &&
            (!output->len || el_buf_append(out, output->data, output->len)) && put_json_text(out, "],\"error\":");
  if (ok && e)
    ok = put_json_text(out, "{\"code\":\"server_error\",\"message\":") && el_json_cstring(out, e->message) &&
         put_json_text(out, "}");
  else if (ok)
    ok = put_json_text(out, "null");
  ok = ok && el_buf_printf(out, ",\"incomplete_details\":%s",
                           ended && is_cut(r) ? "{\"reason\":\"max_output_tokens\"}" : "null");
  ok = ok && el_buf_printf(out, ",\"temperature\":%g,\"top_p\":%g", (double)s->temperature, (double)s->top_p) &&
       put_json_text(out, responses_request_of(r)->echo);
  if (ok && r->chosen.len)
    ok = put_json_text(out, ",\"edgelora\":{") && el_buf_append(out, r->chosen.data, r->chosen.len) &&
         put_json_text(out, "}");
  ok = ok && el_reply_write_warnings(r, NULL, out) && put_json_text(out, ",");
  return ok && (ended ? write_responses_usage(r, out) : put_json_text(out, "\"usage\":null")) &&
         put_json_text(out, "}");
}

/* Stores a complete answer. If that fails, the answer is not found later; no error is reported. */
static void store_answer(const el_reply *r, const el_buf *body, const el_buf *output) {
  const el_responses_request *own = responses_request_of(r);
  if (!own->store) return;
  char *before = el_json_dumps(own->items, JSON_COMPACT);
  el_buf items = {0};
  size_t n = before ? strlen(before) : 0;
  bool ok = n && el_buf_append(&items, before, n - 1) && (n == 2 || !output->len || put_json_text(&items, ",")) &&
            (!output->len || el_buf_append(&items, output->data, output->len)) && put_json_text(&items, "]");
  if (ok) el_stored_put(own->stored, r->id, own->domain, body, &items, n - 1);
  free(before);
  el_buf_free(&items);
}

static const char *end_status(const el_reply *r) {
  return is_cut(r) ? "incomplete" : "completed";
}

/* ---------------------------------------------------------------- in one piece */

static bool add_item(const el_reply *r, item *it, el_piece_kind kind, const el_buf *text, size_t *n, el_buf *output) {
  begin_item(r, it, kind, *n);
  it->text = *text; /* lent */
  bool ok = (!(*n)++ || put_json_text(output, ",")) && write_item(it, true, is_cut(r), output);
  it->text = (el_buf){0};
  return ok;
}

static bool write_items(const el_reply *r, el_buf *output) {
  const el_choice *c = r->choices;
  size_t n = 0;
  item it = {0};
  bool ok = !c->reasoning.len || add_item(r, &it, EL_PIECE_REASONING, &c->reasoning, &n, output);
  if (ok && (c->content.len || !c->n_calls)) ok = add_item(r, &it, EL_PIECE_CONTENT, &c->content, &n, output);
  for (size_t i = 0; ok && i < c->n_calls; i++) {
    const el_call *call = &c->calls[i];
    begin_item(r, &it, EL_PIECE_ARGUMENTS, n);
    if (call->id[0]) snprintf(it.call_id, sizeof it.call_id, "%s", call->id);
    it.name = (el_buf){.data = call->name, .len = strlen(call->name)}; /* lent, and so is the text */
    it.text = call->arguments;
    ok = (!n++ || put_json_text(output, ",")) && write_item(&it, true, is_cut(r), output);
    it.name = it.text = (el_buf){0};
  }
  return ok;
}

static bool write_responses_answer(el_reply *r, el_buf *out) {
  el_buf output = {0};
  bool ok = write_items(r, &output) && write_response(r, end_status(r), &output, NULL, out);
  if (ok) store_answer(r, out, &output);
  el_buf_free(&output);
  return ok;
}

/* ---------------------------------------------------------------- streams */

/* An event up to its own members. */
static bool begin_responses_event(stream *s, const char *type, el_buf *out) {
  return el_buf_printf(out, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%u", type, type, s->sequence++);
}

static bool end_responses_event(el_buf *out) {
  return put_json_text(out, "}\n\n");
}

static bool response_event(el_reply *r, const char *type, const char *status, const el_api_error *e, el_buf *out) {
  stream *s = r->state;
  return begin_responses_event(s, type, out) && put_json_text(out, ",\"response\":") &&
         write_response(r, status, &s->output, e, out) && end_responses_event(out);
}

/* An event about the current item. */
static bool begin_item_event(stream *s, const char *type, el_buf *out) {
  return begin_responses_event(s, type, out) &&
         el_buf_printf(out, ",\"item_id\":\"%s\",\"output_index\":%zu", s->item.id, s->n_items);
}

static bool item_event(stream *s, const char *type, bool whole, bool cut, el_buf *out) {
  return begin_responses_event(s, type, out) && el_buf_printf(out, ",\"output_index\":%zu,\"item\":", s->n_items) &&
         write_item(&s->item, whole, cut, out) && end_responses_event(out);
}

static bool part_event(stream *s, const char *type, el_buf *out) {
  return begin_item_event(s, type, out) && put_json_text(out, ",\"content_index\":0,\"part\":") &&
         write_content_part(&s->item, out) && end_responses_event(out);
}

static const char *delta_type(const item *it, bool done) {
  static const char *const types[][2] = {
      {"response.output_text.delta", "response.output_text.done"},
      {"response.reasoning_text.delta", "response.reasoning_text.done"},
      {"response.function_call_arguments.delta", "response.function_call_arguments.done"}};
  return types[it->kind == EL_PIECE_CONTENT ? 0 : it->kind == EL_PIECE_REASONING ? 1 : 2][done];
}

static bool close_item(el_reply *r, bool cut, el_buf *out) {
  stream *s = r->state;
  item *it = &s->item;
  bool call = it->kind == EL_PIECE_ARGUMENTS;
  if (!it->open) return true;
  bool ok = begin_item_event(s, delta_type(it, true), out) &&
            put_json_text(out, call ? ",\"arguments\":" : ",\"content_index\":0,\"text\":") &&
            el_json_string(out, it->text.data, it->text.len);
  if (ok && call) ok = put_json_text(out, ",\"name\":") && el_json_string(out, it->name.data, it->name.len);
  if (ok && it->kind == EL_PIECE_CONTENT) ok = put_json_text(out, ",\"logprobs\":[]");
  ok = ok && end_responses_event(out) && (call || part_event(s, "response.content_part.done", out)) &&
       item_event(s, "response.output_item.done", true, cut, out);
  ok = ok && (!s->n_items || put_json_text(&s->output, ",")) && write_item(it, true, cut, &s->output);
  s->n_items++;
  it->open = false;
  return ok;
}

static bool open_item(el_reply *r, const el_choice *c, const el_answer_piece *piece, el_piece_kind kind, el_buf *out) {
  stream *s = r->state;
  item *it = &s->item;
  begin_item(r, it, kind, s->n_items);
  if (kind == EL_PIECE_ARGUMENTS) {
    it->call = piece->call;
    if (piece->call < c->n_calls && c->calls[piece->call].id[0])
      snprintf(it->call_id, sizeof it->call_id, "%s", c->calls[piece->call].id);
    if (piece->kind == EL_PIECE_CALL && !el_buf_append(&it->name, piece->text, piece->len)) return false;
  }
  return item_event(s, "response.output_item.added", false, false, out) &&
         (kind == EL_PIECE_ARGUMENTS || part_event(s, "response.content_part.added", out));
}

static bool begin_responses_stream(el_reply *r, el_buf *out) {
  if (!(r->state = calloc(1, sizeof(stream)))) return false;
  return response_event(r, "response.created", "in_progress", NULL, out) &&
         response_event(r, "response.in_progress", "in_progress", NULL, out);
}

static bool write_item_delta(el_reply *r, el_choice *c, const el_answer_piece *piece, el_buf *out) {
  stream *s = r->state;
  item *it = &s->item;
  bool call = piece->kind == EL_PIECE_CALL || piece->kind == EL_PIECE_ARGUMENTS;
  el_piece_kind kind = call ? EL_PIECE_ARGUMENTS : piece->kind;
  if (!piece->len) return true;
  bool same = it->open && it->kind == kind && piece->kind != EL_PIECE_CALL && (!call || it->call == piece->call);
  if (!same && !(close_item(r, false, out) && open_item(r, c, piece, kind, out))) return false;
  if (piece->kind == EL_PIECE_CALL) return true;
  return el_buf_append(&it->text, piece->text, piece->len) && begin_item_event(s, delta_type(it, false), out) &&
         (call || put_json_text(out, ",\"content_index\":0")) && put_json_text(out, ",\"delta\":") &&
         el_json_string(out, piece->text, piece->len) &&
         (kind != EL_PIECE_CONTENT || put_json_text(out, ",\"logprobs\":[]")) && end_responses_event(out);
}

/* An empty answer is a message without text. */
static bool end_responses_choice(el_reply *r, el_choice *c, el_buf *out) {
  stream *s = r->state;
  const el_answer_piece nothing = {EL_PIECE_CONTENT, 0, "", 0};
  if (!s->n_items && !s->item.open && !open_item(r, c, &nothing, EL_PIECE_CONTENT, out)) return false;
  return close_item(r, is_cut(r), out);
}

static bool end_responses_stream(el_reply *r, el_buf *out) {
  stream *s = r->state;
  bool cut = is_cut(r);
  el_buf body = {0};
  bool ok = write_response(r, end_status(r), &s->output, NULL, &body) &&
            begin_responses_event(s, cut ? "response.incomplete" : "response.completed", out) &&
            put_json_text(out, ",\"response\":") && el_buf_append(out, body.data, body.len) && end_responses_event(out);
  if (ok) store_answer(r, &body, &s->output);
  el_buf_free(&body);
  return ok;
}

static bool fail_responses_stream(el_reply *r, const el_api_error *e, el_buf *out) {
  if (!r->state && !begin_responses_stream(r, out)) return false;
  return response_event(r, "response.failed", "failed", e, out);
}

const el_writer el_responses_writer = {.stream_type = "text/event-stream",
                                       .begin = begin_responses_stream,
                                       .delta = write_item_delta,
                                       .end_choice = end_responses_choice,
                                       .end = end_responses_stream,
                                       .fail = fail_responses_stream,
                                       .whole = write_responses_answer,
                                       .free_state = free_responses_stream};
