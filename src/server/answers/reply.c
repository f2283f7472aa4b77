#include "server/answers/reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/json_out.h"
#include "server/answers/decision.h"
#include "server/answers/writer.h"

/* Bytes of a stream that are formatted ahead of the socket. */
#define ENOUGH_TO_SEND 32768

static bool open_parser(const el_reply *r, el_choice *c) {
  const el_calling *calling = &r->request->calling;
  const el_answer_options o = {.tools = calling->tools,
                               .prompt = calling->prompt,
                               .prompt_len = calling->prompt_len,
                               .keep_reasoning = calling->keep_reasoning,
                               .whole_calls = !r->stream};
  el_error err;
  return !calling->format || !el_answer_parser_open(calling->format, &o, &c->parser, &err);
}

static bool make_choices(el_reply *r, const el_tokenizer *t) {
  const el_api_request *q = r->request;
  r->n_choices = q->n_prompts * (size_t)q->n;
  if (!(r->choices = calloc(r->n_choices, sizeof *r->choices))) return false;
  for (size_t i = 0; i < r->n_choices; i++) {
    el_choice *c = &r->choices[i];
    c->prompt = &q->prompts[i / (size_t)q->n];
    int32_t last = c->prompt->n ? c->prompt->tokens[c->prompt->n - 1] : -1;
    if (!open_parser(r, c)) return false;
    c->logprobs = (el_logprobs){.tokenizer = t,
                                .chat = q->chat || q->list_tokens,
                                .ids = q->list_tokens,
                                .n_top = q->request.top_logprobs,
                                .request = &q->request,
                                .last = last};
  }
  return true;
}

el_reply *el_reply_new(const el_tokenizer *t, const el_api_request *request, const el_reply_info *head) {
  el_reply *r = calloc(1, sizeof *r);
  if (!r) return NULL;
  *r = (el_reply){.request = request,
                  .writer = request->api->writer,
                  .stream = request->stream,
                  .created = head->created,
                  .asked = head->asked,
                  .limited = head->limited,
                  .id = strdup(head->id),
                  .model = strdup(head->model)};
  if (r->id && r->model && make_choices(r, t)) return r;
  el_reply_free(r);
  return NULL;
}

static void free_reply_choice(el_choice *c) {
  el_answer_parser_close(c->parser);
  for (size_t i = 0; i < c->n_calls; i++) {
    free(c->calls[i].name);
    el_buf_free(&c->calls[i].arguments);
  }
  free(c->calls);
  free(c->adapter);
  free(c->stop);
  free(c->vector);
  el_buf_free(&c->content);
  el_buf_free(&c->reasoning);
  el_buf_free(&c->prompt_logprobs);
  el_buf_free(&c->tokens);
  el_logprobs_free(&c->logprobs);
}

void el_reply_free(el_reply *r) {
  if (!r) return;
  for (size_t i = 0; r->choices && i < r->n_choices; i++) free_reply_choice(&r->choices[i]);
  if (r->state && r->writer->free_state) r->writer->free_state(r->state);
  free(r->choices);
  free(r->id);
  free(r->model);
  el_buf_free(&r->chosen);
  el_buf_free(&r->scratch);
  free(r);
}

bool el_reply_finished(const el_reply *r) {
  return r->failed || r->n_done == r->n_choices;
}

/* ---------------------------------------------------------------- for writers */

const char *el_choice_adapter(const el_reply *r, const el_choice *c) {
  return r->choices[(c - r->choices) / r->request->n * r->request->n].adapter;
}

/* Cached tokens of a prompt. One of its choices may have computed them for the others. */
static size_t cached_tokens(const el_reply *r, const el_choice *of_prompt) {
  int least = of_prompt->cached_tokens;
  for (int i = 1; i < r->request->n; i++)
    if (of_prompt[i].cached_tokens < least) least = of_prompt[i].cached_tokens;
  return (size_t)least;
}

el_usage el_reply_usage(const el_reply *r) {
  el_usage u = {0};
  for (size_t i = 0; i < r->request->n_prompts; i++) {
    u.prompt += r->request->prompts[i].n;
    u.cached += cached_tokens(r, &r->choices[i * (size_t)r->request->n]);
  }
  for (size_t i = 0; i < r->n_choices; i++) u.completion += (size_t)r->choices[i].completion_tokens;
  return u;
}

static const el_choice *first_not_invoked(const el_reply *r) {
  for (size_t i = 0; i < r->n_choices; i++)
    if (r->choices[i].not_invoked) return &r->choices[i];
  return NULL;
}

/* Why, for people. */
bool el_reply_write_warnings(const el_reply *r, const el_choice *c, el_buf *out) {
  if (!c) c = first_not_invoked(r);
  if (!c || !c->not_invoked) return true;
  const char *name = el_choice_adapter(r, c);
  el_buf text = {0};
  bool ok = el_buf_printf(&text,
                          "The adapter '%s' is activated by tokens that the prompt does not have: the base model has "
                          "answered.",
                          name ? name : r->asked) &&
            el_buf_printf(out, ",\"warnings\":[") && el_json_string(out, text.data, text.len) &&
            el_buf_append(out, "]", 1);
  el_buf_free(&text);
  return ok;
}

/* ---------------------------------------------------------------- taking in */

static void fail_reply(el_reply *r, const el_choice *c, const el_packed_event *ev) {
  el_error err = {.code = EL_ERR_CLOSED};
  if (ev->finish == EL_FINISH_ERROR) el_packed_event_error(ev, &err);
  r->failed = true;
  const char *name = el_packed_event_failed(ev);
  if (!name) name = el_choice_adapter(r, c);
  el_api_fail_engine(&r->error, &err, name ? name : r->asked, r->limited);
}

static bool keep_piece(el_choice *c, const el_answer_piece *piece) {
  el_buf *to = piece->kind == EL_PIECE_REASONING   ? &c->reasoning
               : piece->kind == EL_PIECE_ARGUMENTS ? &c->calls[piece->call].arguments
                                                   : &c->content;
  return piece->kind == EL_PIECE_CALL || el_buf_append(to, piece->text, piece->len);
}

/* Nine letters and digits, as Mistral's templates accept no other form. */
static bool make_call_id(char *id) {
  static const char DIGITS[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  unsigned char random[9];
  if (getrandom(random, sizeof random, 0) != sizeof random) return false;
  for (size_t i = 0; i < sizeof random; i++) id[i] = DIGITS[random[i] % (sizeof DIGITS - 1)];
  id[sizeof random] = 0;
  return true;
}

static bool add_reply_call(el_choice *c, const el_answer_piece *piece) {
  /* In steps of a power of two. */
  if (!(c->n_calls & (c->n_calls - 1))) {
    el_call *grown = realloc(c->calls, (c->n_calls ? 2 * c->n_calls : 1) * sizeof *grown);
    if (!grown) return false;
    c->calls = grown;
  }
  el_call *call = &c->calls[c->n_calls];
  *call = (el_call){.name = strndup(piece->text, piece->len)};
  if (!call->name) return false;
  c->n_calls++;
  return make_call_id(call->id);
}

/* A piece has become certain: keeps it, sends it, or both. */
static bool take_piece(el_reply *r, el_choice *c, const el_answer_piece *piece, el_buf *stream) {
  if (piece->kind == EL_PIECE_CALL && !add_reply_call(c, piece)) return false;
  return (!(!stream || r->writer->keep) || keep_piece(c, piece)) && (!stream || r->writer->delta(r, c, piece, stream));
}

/* The first sign of life of a choice. */
static bool begin_reply_choice(el_reply *r, el_choice *c, el_buf *stream) {
  const el_writer *w = r->writer;
  if (c->begun) return true;
  c->begun = true;
  if (stream && !r->begun && w->begin && !w->begin(r, stream)) return false;
  r->begun = true;
  if (stream && w->begin_choice && !w->begin_choice(r, c, stream)) return false;
  const el_answer_piece echo = {EL_PIECE_CONTENT, 0, c->prompt->text, c->prompt->text_len};
  return !r->request->echo || take_piece(r, c, &echo, stream);
}

static bool take_prompt_logprobs(el_reply *r, el_choice *c, const el_packed_event *ev) {
  const el_api_request *q = r->request;
  const el_prompt_logprobs p = {.tokens = c->prompt->tokens,
                                .logprobs = el_packed_event_prompt(ev),
                                .top = el_packed_event_prompt_top(ev),
                                .n = ev->n_prompt < c->prompt->n ? ev->n_prompt : c->prompt->n,
                                .n_top = ev->n_prompt_top};
  bool echoed = q->echo && q->request.logprobs;
  const size_t from = c->prompt->scored_from;
  for (size_t i = from; from && i < p.n; i++) c->score += (double)p.logprobs[i] / (double)(p.n - from);
  return (!echoed || el_logprobs_add_prompt(&c->logprobs, &p, c->prompt->hidden)) &&
         (!q->prompt_logprobs ||
          el_prompt_logprobs_write(c->logprobs.tokenizer, &p, (size_t)q->n_prompt_logprobs, &c->prompt_logprobs));
}

static bool take_packed_decision(el_reply *r, el_choice *c, const el_packed_event *ev) {
  free(c->adapter);
  c->adapter = strdup(el_packed_event_text(ev));
  bool wanted = r->request->scores || r->request->route;
  return c->adapter && (!wanted || el_decision_write(ev, &r->chosen));
}

/* One text's pieces, on their way. */
typedef struct taking {
  el_reply *r;
  el_choice *c;
  el_buf *stream;
  bool any, failed;
} taking;

static void take_answer_part(void *user, const el_answer_part *a) {
  static const el_piece_kind KINDS[] = {[EL_ANSWER_TEXT] = EL_PIECE_CONTENT,
                                        [EL_ANSWER_REASONING] = EL_PIECE_REASONING,
                                        [EL_ANSWER_CALL] = EL_PIECE_CALL,
                                        [EL_ANSWER_ARGUMENTS] = EL_PIECE_ARGUMENTS};
  taking *t = user;
  const el_answer_piece piece = {KINDS[a->type], a->call, a->text, a->len};
  bool call = a->type == EL_ANSWER_CALL || a->type == EL_ANSWER_ARGUMENTS;
  /* If at most one call is allowed, further calls are left out. */
  if (call && a->call && !t->r->request->calling.rules.parallel) return;
  t->any = true;
  if (!t->failed) t->failed = !take_piece(t->r, t->c, &piece, t->stream);
}

/* *any: at least one piece has become certain. */
static bool take_parsed(el_reply *r, el_choice *c, const el_answer_piece *text, bool done, el_buf *stream, bool *any) {
  taking t = {.r = r, .c = c, .stream = stream};
  el_error err;
  if (el_answer_parser_push(c->parser, text->text, text->len, take_answer_part, &t, &err)) return false;
  if (done && el_answer_parser_finish(c->parser, take_answer_part, &t, &err)) return false;
  *any = t.any;
  return !t.failed;
}

static bool take_packed_vector(el_choice *c, const el_packed_event *ev) {
  if (c->vector || !(c->vector = malloc(ev->n_prompt * sizeof *c->vector))) return false;
  memcpy(c->vector, el_packed_event_prompt(ev), ev->n_prompt * sizeof *c->vector);
  c->n_vector = ev->n_prompt;
  return true;
}

/* Takes the answer's text from an event. Tokens beyond the text belong to a stop string that matched, or have no text,
 * or only part of a character. */
static bool take_packed_text(el_reply *r, el_choice *c, const el_packed_event *ev, el_buf *stream) {
  bool logprobs = r->request->request.logprobs, done = ev->type == EL_EVENT_DONE;
  /* In completions the token that ended the answer is listed, as OpenAI does: clients that score answers rely on it. */
  bool told = ev->type == EL_EVENT_TOKEN || (done && ev->token >= 0 && !r->request->chat);
  if (told && logprobs && !el_logprobs_add(&c->logprobs, ev->token, ev->logprob, el_packed_event_top(ev), ev->n_top))
    return false;
  if (ev->type == EL_EVENT_TOKEN && r->request->list_tokens && !el_buf_append(&c->tokens, &ev->token, sizeof ev->token))
    return false;
  c->text_bytes += ev->text_len;
  if (logprobs && !el_logprobs_advance(&c->logprobs, done && !ev->stopped ? SIZE_MAX : c->text_bytes)) return false;
  const el_answer_piece piece = {EL_PIECE_CONTENT, 0, el_packed_event_text(ev), ev->text_len};
  bool any = piece.len;
  if (c->parser && !take_parsed(r, c, &piece, done, stream, &any)) return false;
  if (c->parser && any) return true;
  const el_answer_piece rest = {EL_PIECE_CONTENT, 0, "", 0};
  return (!any && !(stream && c->logprobs.n)) || take_piece(r, c, c->parser ? &rest : &piece, stream);
}

static bool take_done_event(el_reply *r, el_choice *c, const el_packed_event *ev, el_buf *stream) {
  c->done = true;
  c->not_invoked = ev->not_invoked;
  c->finish = ev->finish;
  c->prompt_tokens = ev->prompt_tokens;
  c->completion_tokens = ev->completion_tokens;
  c->cached_tokens = ev->cached_tokens;
  c->draft_tokens = ev->draft_tokens;
  c->draft_tokens_accepted = ev->draft_tokens_accepted;
  c->queued_ms = ev->queued_ms;
  c->prompt_ms = ev->prompt_ms;
  c->decode_ms = ev->decode_ms;
  c->stop_token = ev->stop_token ? ev->token : -1;
  if (ev->stopped && !(c->stop = strdup(el_packed_event_stop(ev)))) return false;
  r->n_done++;
  return !stream || r->writer->end_choice(r, c, stream);
}

static bool take_packed_event(el_reply *r, el_choice *c, const el_packed_event *ev, el_buf *stream) {
  if (c->done) return true;
  if (ev->type == EL_EVENT_DONE && (ev->finish == EL_FINISH_ERROR || ev->finish == EL_FINISH_CANCELLED)) {
    fail_reply(r, c, ev);
    return true;
  }
  if (ev->type == EL_EVENT_DECISION) return take_packed_decision(r, c, ev) && begin_reply_choice(r, c, stream);
  if (!begin_reply_choice(r, c, stream)) return false;
  if (ev->type == EL_EVENT_EMBEDDING) return take_packed_vector(c, ev);
  if (ev->type == EL_EVENT_PROMPT && !take_prompt_logprobs(r, c, ev)) return false;
  return take_packed_text(r, c, ev, stream) && (ev->type != EL_EVENT_DONE || take_done_event(r, c, ev, stream));
}

static bool end_stream(el_reply *r, el_buf *stream) {
  return r->failed ? r->writer->fail(r, &r->error, stream) : r->writer->end(r, stream);
}

bool el_reply_feed(el_reply *r, const el_buf *events, size_t *pos, el_buf *stream) {
  const el_packed_event *ev;
  while (!el_reply_finished(r) && !(stream && stream->len >= ENOUGH_TO_SEND) &&
         (ev = el_packed_event_next(events, pos))) {
    if (!take_packed_event(r, &r->choices[ev->choice], ev, stream)) return false;
    if (stream && el_reply_finished(r) && !end_stream(r, stream)) return false;
  }
  return true;
}

bool el_reply_fail(el_reply *r, const el_api_error *e, el_buf *stream) {
  if (el_reply_finished(r)) return true;
  r->failed = true;
  r->error = *e;
  return end_stream(r, stream);
}

bool el_reply_write(el_reply *r, el_buf *out, el_api_error *e) {
  if (r->failed) {
    *e = r->error;
    return false;
  }
  return r->writer->whole(r, out) || el_api_fail(e, 500, "no_memory", NULL, "Out of memory while writing the answer.");
}
