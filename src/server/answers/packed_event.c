#include "server/answers/packed_event.h"

#include <assert.h>
#include <string.h>

static_assert(sizeof(el_packed_event) % 8 == 0, "packed events follow one another aligned");
static_assert(_Alignof(el_token_logprob) <= _Alignof(float), "alternatives follow the floats of the prompt");
static_assert(_Alignof(el_packed_candidate) <= _Alignof(float), "and candidates them");

/* Appends the names in a decision, each with its NUL. b NULL: only computes their length. False: out of memory. */
static bool append_names(el_buf *b, const el_event_decision *d, size_t *len) {
  *len = 0;
  for (size_t i = 0; i <= d->n_candidates; i++) {
    const char *name = i ? d->candidates[i - 1].name : d->adapter;
    *len += strlen(name) + 1;
    if (b && !el_buf_append(b, name, strlen(name) + 1)) return false;
  }
  return true;
}

static void pack_done(el_packed_event *r, const el_event_done *end) {
  r->finish = end->finish;
  r->prompt_tokens = end->prompt_tokens;
  r->completion_tokens = end->completion_tokens;
  r->cached_tokens = end->cached_tokens;
  r->draft_tokens = end->draft_tokens;
  r->draft_tokens_accepted = end->draft_tokens_accepted;
  r->not_invoked = end->not_invoked;
  r->stopped = end->stop != NULL;
  r->stop_token = end->stop_token;
  if (end->stop) r->stop_len = (uint32_t)strlen(end->stop) + 1;
  r->queued_ms = end->queued_ms;
  r->prompt_ms = end->prompt_ms;
  r->decode_ms = end->decode_ms;
  r->error_code = end->error.code;
  if (end->finish != EL_FINISH_ERROR) return;
  r->error_len = (uint32_t)strlen(end->error.message);
  r->error_detail = (uint32_t)end->error.detail;
  r->error_field = end->error.field;
  if (end->adapter) r->failed_len = (uint32_t)strlen(end->adapter) + 1;
}

bool el_packed_event_append(el_buf *b, int choice, const el_event *ev) {
  const el_event_token *token = NULL;
  const void *prompt = NULL; /* or the vector */
  const el_candidate *candidates = NULL;
  size_t names = 0;
  el_packed_event r = {.choice = choice, .type = ev->type, .text_len = (uint32_t)ev->text_len};
  switch (ev->type) {
    case EL_EVENT_DECISION:
      append_names(NULL, &ev->decision, &names);
      r.text_len = (uint32_t)names;
      candidates = ev->decision.candidates;
      r.n_candidates = (uint32_t)ev->decision.n_candidates;
      r.choice_ms = ev->decision.ms;
      break;
    case EL_EVENT_PROMPT:
      prompt = ev->prompt.logprobs;
      r.n_prompt = (uint32_t)ev->prompt.n;
      r.n_prompt_top = (uint32_t)ev->prompt.n_top;
      break;
    case EL_EVENT_EMBEDDING:
      prompt = ev->embedding.values;
      r.n_prompt = (uint32_t)ev->embedding.n;
      break;
    case EL_EVENT_TOKEN: token = &ev->token; break;
    case EL_EVENT_DONE:
      token = &ev->done.token;
      pack_done(&r, &ev->done);
      break;
  }
  if (token) {
    r.token = token->id;
    r.logprob = token->logprob;
    r.n_top = (uint32_t)token->n_top;
  }

  size_t n_prompt_top = (size_t)r.n_prompt * r.n_prompt_top;
  size_t bytes = sizeof r + r.n_prompt * sizeof(float) + (n_prompt_top + r.n_top) * sizeof(el_token_logprob) +
                 r.n_candidates * sizeof(el_packed_candidate) + r.text_len + r.error_len + r.failed_len + r.stop_len;
  r.size = (bytes + 7) & ~(size_t)7;
  if (!el_buf_reserve(b, r.size)) return false;
  el_buf_append(b, &r, sizeof r);
  if (r.n_prompt) el_buf_append(b, prompt, r.n_prompt * sizeof(float));
  if (n_prompt_top) el_buf_append(b, ev->prompt.top, n_prompt_top * sizeof(el_token_logprob));
  if (r.n_top) el_buf_append(b, token->top, r.n_top * sizeof(el_token_logprob));
  for (uint32_t i = 0; i < r.n_candidates; i++) {
    el_packed_candidate c = {candidates[i].score, candidates[i].resident};
    el_buf_append(b, &c, sizeof c);
  }
  if (ev->type == EL_EVENT_DECISION)
    append_names(b, &ev->decision, &names);
  else if (r.text_len)
    el_buf_append(b, ev->text, r.text_len);
  if (r.error_len) el_buf_append(b, ev->done.error.message, r.error_len);
  if (r.failed_len) el_buf_append(b, ev->done.adapter, r.failed_len);
  if (r.stop_len) el_buf_append(b, ev->done.stop, r.stop_len);
  return el_buf_append(b, "\0\0\0\0\0\0\0", r.size - bytes);
}

void el_packed_event_error(const el_packed_event *r, el_error *out) {
  *out = (el_error){.code = r->error_code, .detail = r->error_detail, .field = r->error_field};
  memcpy(out->message, el_packed_event_text(r) + r->text_len, r->error_len);
}

const el_packed_event *el_packed_event_next(const el_buf *b, size_t *pos) {
  if (*pos >= b->len) return NULL;
  const el_packed_event *r = (const el_packed_event *)(const void *)(b->data + *pos);
  *pos += r->size;
  return r;
}

bool el_packed_events_begin_with_failure(const el_buf *b) {
  size_t pos = 0;
  const el_packed_event *r;
  while ((r = el_packed_event_next(b, &pos)) && r->type == EL_EVENT_DECISION) continue;
  return r && r->type == EL_EVENT_DONE && (r->finish == EL_FINISH_ERROR || r->finish == EL_FINISH_CANCELLED);
}
