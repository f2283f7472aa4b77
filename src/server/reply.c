#include "server/reply.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/choice.h"
#include "server/json_out.h"
#include "server/logprobs.h"

/* Bytes of a stream's events that are formatted ahead of the socket. */
#define ENOUGH_TO_SEND 32768

typedef struct choice {
  const el_api_prompt *prompt;
  char *adapter;     /* that the router chose for the prompt; of each prompt's first choice; NULL: none */
  el_buf text;       /* certain, and not yet written */
  size_t text_bytes; /* certain so far, written or not; an echoed prompt not counted */
  el_logprobs logprobs;
  bool begun, done;
  bool not_invoked; /* the base has answered in the place of an activated adapter */
  el_finish finish;
  int completion_tokens, cached_tokens;
} choice;

struct el_reply {
  const el_api_request *request;
  el_buf head;   /* what all objects of this answer begin with, up to the choices */
  el_buf chosen; /* what the router said: members of a JSON object, until they are written; only if they are wanted */
  choice *choices;
  size_t n_choices, n_done;
  const char *asked;
  bool limited;
  bool failed;
  el_api_error error;
};

el_reply *el_reply_new(const el_tokenizer *t, const el_api_request *request, const el_reply_head *head) {
  el_reply *r = calloc(1, sizeof *r);
  if (!r) return NULL;
  r->request = request;
  r->asked = head->asked;
  r->limited = head->limited;
  r->n_choices = request->n_prompts * (size_t)request->n;
  r->choices = calloc(r->n_choices, sizeof *r->choices);
  const char *object = !request->chat    ? "text_completion"
                       : request->stream ? "chat.completion.chunk"
                                         : "chat.completion";
  bool ok = r->choices &&
            el_buf_printf(&r->head, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%" PRId64 ",\"model\":", head->id,
                          object, head->created) &&
            el_json_cstring(&r->head, head->model) &&
            el_buf_printf(&r->head, ",\"system_fingerprint\":\"edgelora-%s\",\"choices\":[", el_version());
  if (!ok) {
    el_reply_free(r);
    return NULL;
  }
  for (size_t i = 0; i < r->n_choices; i++) {
    choice *c = &r->choices[i];
    c->prompt = &request->prompts[i / (size_t)request->n];
    int32_t last = c->prompt->n ? c->prompt->tokens[c->prompt->n - 1] : -1;
    c->logprobs =
        (el_logprobs){.tokenizer = t, .chat = request->chat, .n_top = request->request.top_logprobs, .last = last};
  }
  return r;
}

void el_reply_free(el_reply *r) {
  if (!r) return;
  for (size_t i = 0; r->choices && i < r->n_choices; i++) {
    free(r->choices[i].adapter);
    el_buf_free(&r->choices[i].text);
    el_logprobs_free(&r->choices[i].logprobs);
  }
  free(r->choices);
  el_buf_free(&r->head);
  el_buf_free(&r->chosen);
  free(r);
}

bool el_reply_finished(const el_reply *r) {
  return r->failed || r->n_done == r->n_choices;
}

/* ---------------------------------------------------------------- writing */

static const char *finish_name(el_finish f) {
  return f == EL_FINISH_LENGTH ? "\"length\"" : "\"stop\"";
}

static bool write_logprobs(el_reply *r, choice *c, el_buf *out) {
  return el_buf_printf(out, ",\"logprobs\":") &&
         (r->request->request.logprobs ? el_logprobs_take(&c->logprobs, out) : el_buf_append(out, "null", 4));
}

/* Tokens of a prompt that were there already: one of its choices may have left them to the others. */
static size_t cached_tokens(const el_reply *r, const choice *of_prompt) {
  int least = of_prompt->cached_tokens;
  for (int i = 1; i < r->request->n; i++)
    if (of_prompt[i].cached_tokens < least) least = of_prompt[i].cached_tokens;
  return (size_t)least;
}

static bool write_usage(const el_reply *r, el_buf *out) {
  size_t prompt = 0, completion = 0, cached = 0;
  for (size_t i = 0; i < r->request->n_prompts; i++) {
    prompt += r->request->prompts[i].n;
    cached += cached_tokens(r, &r->choices[i * (size_t)r->request->n]);
  }
  for (size_t i = 0; i < r->n_choices; i++) completion += (size_t)r->choices[i].completion_tokens;
  return el_buf_printf(out,
                       "\"usage\":{\"prompt_tokens\":%zu,\"completion_tokens\":%zu,\"total_tokens\":%zu,"
                       "\"prompt_tokens_details\":{\"cached_tokens\":%zu}}",
                       prompt, completion, prompt + completion, cached);
}

/* The adapter that the router chose for a choice's prompt. NULL: none (yet). */
static const char *adapter_of(const el_reply *r, const choice *c) {
  return r->choices[(c - r->choices) / r->request->n * r->request->n].adapter;
}

/* Where prompts may have adapters of their own, each choice says its. */
static bool write_adapter(const el_reply *r, const choice *c, el_buf *out) {
  const char *adapter = adapter_of(r, c);
  if (!adapter || r->request->n_prompts == 1) return true;
  return el_buf_printf(out, "\"adapter\":") && el_json_cstring(out, adapter) && el_buf_append(out, ",", 1);
}

/* Whoever asked for an adapter has the base's answer. */
static bool write_not_invoked(const choice *c, el_buf *out) {
  return !c->not_invoked || el_buf_printf(out, "\"invoked\":false,");
}

/* Why, for people. c: the first choice that it is about; NULL: none. */
static bool write_warnings(const el_reply *r, const choice *c, el_buf *out) {
  if (!c) return true;
  const char *name = adapter_of(r, c);
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

static const choice *first_not_invoked(const el_reply *r) {
  for (size_t i = 0; i < r->n_choices; i++)
    if (r->choices[i].not_invoked) return &r->choices[i];
  return NULL;
}

/* Once in an answer. */
static bool write_chosen(el_reply *r, el_buf *out) {
  if (!r->chosen.len) return true;
  bool ok = el_buf_printf(out, ",\"edgelora\":{") && el_buf_append(out, r->chosen.data, r->chosen.len) &&
            el_buf_append(out, "}", 1);
  el_buf_free(&r->chosen);
  return ok;
}

/* One event of a stream with one choice: `delta` is chat's, ready JSON. */
static bool begin_chunk(el_reply *r, const choice *c, el_buf *out) {
  return el_buf_printf(out, "data: ") && el_buf_append(out, r->head.data, r->head.len) &&
         el_buf_printf(out, "{\"index\":%td,", c - r->choices) && write_adapter(r, c, out) && write_not_invoked(c, out);
}

/* warned: the choice whose end this is, if there is something to say of it. */
static bool end_chunk(el_reply *r, const char *finish, const choice *warned, el_buf *out) {
  return el_buf_printf(out, ",\"finish_reason\":%s}]%s", finish, r->request->include_usage ? ",\"usage\":null" : "") &&
         write_chosen(r, out) && write_warnings(r, warned, out) && el_buf_printf(out, "}\n\n");
}

static bool chunk_role(el_reply *r, choice *c, el_buf *out) {
  return begin_chunk(r, c, out) &&
         el_buf_printf(out, "\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null") &&
         end_chunk(r, "null", NULL, out);
}

static bool chunk_text(el_reply *r, choice *c, el_buf *out) {
  if (!c->text.len && !c->logprobs.n) return true;
  bool ok = begin_chunk(r, c, out) && el_buf_printf(out, r->request->chat ? "\"delta\":{\"content\":" : "\"text\":") &&
            el_json_string(out, c->text.data, c->text.len) && (!r->request->chat || el_buf_append(out, "}", 1)) &&
            write_logprobs(r, c, out) && end_chunk(r, "null", NULL, out);
  el_buf_consume(&c->text, c->text.len);
  return ok;
}

static bool chunk_finish(el_reply *r, choice *c, el_buf *out) {
  return begin_chunk(r, c, out) && el_buf_printf(out, r->request->chat ? "\"delta\":{}" : "\"text\":\"\"") &&
         el_buf_printf(out, ",\"logprobs\":null") &&
         end_chunk(r, finish_name(c->finish), c->not_invoked ? c : NULL, out);
}

static bool stream_end(el_reply *r, el_buf *out) {
  if (r->failed) {
    if (!el_buf_printf(out, "data: ") || !el_api_error_write(&r->error, out) || !el_buf_printf(out, "\n\n"))
      return false;
  } else if (r->request->include_usage) {
    if (!el_buf_printf(out, "data: ") || !el_buf_append(out, r->head.data, r->head.len) || !el_buf_printf(out, "],") ||
        !write_usage(r, out) || !el_buf_printf(out, "}\n\n"))
      return false;
  }
  return el_buf_printf(out, "data: [DONE]\n\n");
}

static bool write_choice(el_reply *r, choice *c, el_buf *out) {
  bool chat = r->request->chat;
  return el_buf_printf(out, "%s{\"index\":%td,", c == r->choices ? "" : ",", c - r->choices) &&
         write_adapter(r, c, out) && write_not_invoked(c, out) &&
         el_buf_printf(out, chat ? "\"message\":{\"role\":\"assistant\",\"content\":" : "\"text\":") &&
         el_json_string(out, c->text.data, c->text.len) && (!chat || el_buf_printf(out, ",\"refusal\":null}")) &&
         write_logprobs(r, c, out) && el_buf_printf(out, ",\"finish_reason\":%s}", finish_name(c->finish));
}

/* POST /v1/route's. */
static bool write_route(el_reply *r, el_buf *json) {
  return r->chosen.len && el_buf_printf(json, "{\"object\":\"route\",\"model\":") &&
         el_json_cstring(json, r->choices->adapter) && el_buf_append(json, ",", 1) &&
         el_buf_append(json, r->chosen.data, r->chosen.len) &&
         el_buf_printf(json, ",\"usage\":{\"prompt_tokens\":%zu}}", r->request->prompts->n);
}

static bool write_answer(el_reply *r, el_buf *json) {
  bool ok = el_buf_append(json, r->head.data, r->head.len);
  for (size_t i = 0; ok && i < r->n_choices; i++) ok = write_choice(r, &r->choices[i], json);
  return ok && el_buf_printf(json, "],") && write_usage(r, json) && write_chosen(r, json) &&
         write_warnings(r, first_not_invoked(r), json) && el_buf_printf(json, "}");
}

bool el_reply_write(el_reply *r, el_buf *json, el_api_error *e) {
  if (r->failed) {
    *e = r->error;
    return false;
  }
  bool ok = r->request->route ? write_route(r, json) : write_answer(r, json);
  return ok || el_api_fail(e, 500, "no_memory", NULL, "Out of memory while writing the answer.");
}

/* ---------------------------------------------------------------- taking in */

static void fail(el_reply *r, const choice *c, const el_record *rec) {
  el_error err = {.code = EL_ERR_CLOSED};
  if (rec->finish == EL_FINISH_ERROR) el_record_error(rec, &err);
  r->failed = true;
  const char *name = el_record_failed(rec);
  if (!name) name = adapter_of(r, c);
  el_api_fail_engine(&r->error, &err, name ? name : r->asked, r->limited);
}

/* The first sign of life of a choice. */
static bool begin(el_reply *r, choice *c, el_buf *sse) {
  if (c->begun) return true;
  c->begun = true;
  if (sse && r->request->chat && !chunk_role(r, c, sse)) return false;
  return !r->request->echo || el_buf_append(&c->text, c->prompt->text, c->prompt->text_len);
}

static bool take_prompt(el_reply *r, choice *c, const el_record *rec) {
  size_t n = rec->n_prompt < c->prompt->n ? rec->n_prompt : c->prompt->n;
  return !r->request->echo || el_logprobs_add_prompt(&c->logprobs, c->prompt->tokens, el_record_prompt(rec), n);
}

static bool take_choice(el_reply *r, choice *c, const el_record *rec) {
  free(c->adapter);
  c->adapter = strdup(el_record_text(rec));
  bool wanted = r->request->scores || r->request->route;
  return c->adapter && (!wanted || el_choice_write(rec, &r->chosen));
}

static bool take_text(el_reply *r, choice *c, const el_record *rec) {
  c->text_bytes += rec->text_len;
  return el_buf_append(&c->text, el_record_text(rec), rec->text_len);
}

static bool take(el_reply *r, choice *c, const el_record *rec, el_buf *sse) {
  bool logprobs = r->request->request.logprobs;
  if (c->done) return true;
  if (rec->type == EL_EVENT_DONE && (rec->finish == EL_FINISH_ERROR || rec->finish == EL_FINISH_CANCELLED)) {
    fail(r, c, rec);
    return true;
  }
  if (rec->type == EL_EVENT_CHOICE) return take_choice(r, c, rec) && begin(r, c, sse);
  if (!begin(r, c, sse)) return false;
  if (rec->type == EL_EVENT_PROMPT && !take_prompt(r, c, rec)) return false;
  if (rec->type == EL_EVENT_TOKEN && logprobs &&
      !el_logprobs_add(&c->logprobs, rec->token, rec->logprob, el_record_top(rec), rec->n_top))
    return false;
  if (!take_text(r, c, rec)) return false;
  bool done = rec->type == EL_EVENT_DONE;
  c->not_invoked = rec->not_invoked;
  /* Tokens beyond the text were part of a stop string if one matched; else their text is nothing, or half a character.
   */
  if (logprobs && !el_logprobs_advance(&c->logprobs, done && !rec->stopped ? SIZE_MAX : c->text_bytes)) return false;
  if (sse && !chunk_text(r, c, sse)) return false;
  if (!done) return true;
  c->done = true;
  c->finish = rec->finish;
  c->completion_tokens = rec->completion_tokens;
  c->cached_tokens = rec->cached_tokens;
  r->n_done++;
  return !sse || chunk_finish(r, c, sse);
}

bool el_reply_feed(el_reply *r, const el_buf *records, size_t *pos, el_buf *sse) {
  const el_record *rec;
  while (!el_reply_finished(r) && !(sse && sse->len >= ENOUGH_TO_SEND) && (rec = el_record_next(records, pos))) {
    if (!take(r, &r->choices[rec->choice], rec, sse)) return false;
    if (sse && el_reply_finished(r) && !stream_end(r, sse)) return false;
  }
  return true;
}

bool el_reply_fail(el_reply *r, const el_api_error *e, el_buf *sse) {
  if (el_reply_finished(r)) return true;
  r->failed = true;
  r->error = *e;
  return stream_end(r, sse);
}
