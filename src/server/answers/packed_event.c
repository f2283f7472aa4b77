#include "server/answers/packed_event.h"

#include <assert.h>
#include <string.h>

static_assert(sizeof(el_packed_event) % 8 == 0, "packed events follow one another aligned");
static_assert(_Alignof(el_token_logprob) <= _Alignof(float), "alternatives follow the floats of the prompt");
static_assert(_Alignof(el_packed_candidate) <= _Alignof(float), "and candidates them");

/* The names of a choice, each with its NUL; false: out of memory. b NULL: only their length. */
static bool append_names(el_buf *b, const el_event *ev, size_t *len) {
  *len = 0;
  for (size_t i = 0; i <= ev->n_candidates; i++) {
    const char *name = i ? ev->candidates[i - 1].name : ev->adapter;
    *len += strlen(name) + 1;
    if (b && !el_buf_append(b, name, strlen(name) + 1)) return false;
  }
  return true;
}

bool el_packed_event_append(el_buf *b, int choice, const el_event *ev) {
  bool prompt = ev->type == EL_EVENT_PROMPT, token = ev->type == EL_EVENT_TOKEN, done = ev->type == EL_EVENT_DONE;
  bool chosen = ev->type == EL_EVENT_CHOICE, vector = ev->type == EL_EVENT_EMBEDDING;
  size_t names = 0;
  el_packed_event r = {.choice = choice, .type = ev->type};
  if (prompt) {
    r.n_prompt = (uint32_t)ev->n_prompt_logprobs;
    r.n_prompt_top = (uint32_t)ev->n_prompt_top;
  }
  if (vector) r.n_prompt = (uint32_t)ev->n_embedding;
  if (token || done) {
    r.token = ev->token;
    r.logprob = ev->logprob;
    r.n_top = (uint32_t)ev->n_top;
  }
  if (done) {
    r.finish = ev->finish;
    r.prompt_tokens = ev->prompt_tokens;
    r.completion_tokens = ev->completion_tokens;
    r.cached_tokens = ev->cached_tokens;
    r.draft_tokens = ev->draft_tokens;
    r.draft_tokens_accepted = ev->draft_tokens_accepted;
    r.not_invoked = ev->not_invoked;
    r.stopped = ev->stop != NULL;
    r.stop_token = ev->stop_token;
    if (ev->stop) r.stop_len = (uint32_t)strlen(ev->stop) + 1;
    r.queued_ms = ev->queued_ms;
    r.prompt_ms = ev->prompt_ms;
    r.decode_ms = ev->decode_ms;
    r.error_code = ev->error.code;
    if (ev->finish == EL_FINISH_ERROR) {
      r.error_len = (uint32_t)strlen(ev->error.message);
      r.error_detail = (uint32_t)ev->error.detail;
      r.error_field = ev->error.field;
      if (ev->adapter) r.failed_len = (uint32_t)strlen(ev->adapter) + 1;
    }
  }
  if (token || done) r.text_len = (uint32_t)ev->text_len;
  if (chosen) {
    append_names(NULL, ev, &names);
    r.text_len = (uint32_t)names;
    r.n_candidates = (uint32_t)ev->n_candidates;
    r.choice_ms = ev->choice_ms;
  }

  size_t n_prompt_top = (size_t)r.n_prompt * r.n_prompt_top;
  size_t bytes = sizeof r + r.n_prompt * sizeof(float) + (n_prompt_top + r.n_top) * sizeof(el_token_logprob) +
                 r.n_candidates * sizeof(el_packed_candidate) + r.text_len + r.error_len + r.failed_len + r.stop_len;
  r.size = (bytes + 7) & ~(size_t)7;
  if (!el_buf_reserve(b, r.size)) return false;
  el_buf_append(b, &r, sizeof r);
  if (r.n_prompt) el_buf_append(b, vector ? ev->embedding : ev->prompt_logprobs, r.n_prompt * sizeof(float));
  if (n_prompt_top) el_buf_append(b, ev->prompt_top, n_prompt_top * sizeof(el_token_logprob));
  if (r.n_top) el_buf_append(b, ev->top, r.n_top * sizeof(el_token_logprob));
  for (uint32_t i = 0; i < r.n_candidates; i++) {
    el_packed_candidate c = {ev->candidates[i].score, ev->candidates[i].resident};
    el_buf_append(b, &c, sizeof c);
  }
  if (chosen)
    append_names(b, ev, &names);
  else if (r.text_len)
    el_buf_append(b, ev->text, r.text_len);
  if (r.error_len) el_buf_append(b, ev->error.message, r.error_len);
  if (r.failed_len) el_buf_append(b, ev->adapter, r.failed_len);
  if (r.stop_len) el_buf_append(b, ev->stop, r.stop_len);
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
  while ((r = el_packed_event_next(b, &pos)) && r->type == EL_EVENT_CHOICE) continue;
  return r && r->type == EL_EVENT_DONE && (r->finish == EL_FINISH_ERROR || r->finish == EL_FINISH_CANCELLED);
}
