/* Engine events packed into one buffer: what the engine's thread leaves for the HTTP thread to format. */
#ifndef EL_SERVER_PACKED_EVENT_H
#define EL_SERVER_PACKED_EVENT_H

#include "base/buf.h"
#include "edgelora.h"

typedef struct el_packed_candidate {
  float score;
  uint32_t resident;
} el_packed_candidate;

/* It is followed by prompt[n_prompt], prompt_top[n_prompt, n_prompt_top], top[n_top],
 * candidates[n_candidates], text[text_len], error[error_len], the name of the adapter that failed with
 * its NUL [failed_len], the stop string with its NUL [stop_len], and padding. An EMBEDDING has its vector
 * in the place of `prompt`. The text of a CHOICE is names, each with its NUL: the adapter's, then the
 * candidates'. */
typedef struct el_packed_event {
  uint64_t size; /* of the whole packed event; a multiple of 8 */
  int choice;
  el_event_type type;
  int32_t token; /* DONE: the token that ended it; -1: none */
  float logprob;
  el_finish finish;
  el_status error_code;
  int prompt_tokens, completion_tokens, cached_tokens, draft_tokens, draft_tokens_accepted;
  uint32_t not_invoked; /* 1: as in el_event_done */
  uint32_t stopped;     /* 1: a stop string ended it */
  uint32_t stop_token;  /* 1: `token` ended it, one of stop_tokens */
  uint32_t n_prompt, n_prompt_top, n_top, n_candidates, text_len, error_len, error_detail, failed_len, stop_len;
  double choice_ms, queued_ms, prompt_ms, decode_ms;
  const char *error_field; /* as in el_error, like error_detail */
} el_packed_event;

/* False: out of memory, the buffer is as before. */
bool el_packed_event_append(el_buf *b, int choice, const el_event *ev);
/* The event at *pos, which moves on; NULL at the end. */
const el_packed_event *el_packed_event_next(const el_buf *b, size_t *pos);

/* Whether a choice has failed, or was cancelled, before any choice produced output. */
bool el_packed_events_begin_with_failure(const el_buf *b);

static inline const float *el_packed_event_prompt(const el_packed_event *r) {
  return (const float *)(r + 1);
}
static inline const el_token_logprob *el_packed_event_prompt_top(const el_packed_event *r) {
  return (const el_token_logprob *)(el_packed_event_prompt(r) + r->n_prompt);
}
static inline const el_token_logprob *el_packed_event_top(const el_packed_event *r) {
  return el_packed_event_prompt_top(r) + (size_t)r->n_prompt * r->n_prompt_top;
}
static inline const el_packed_candidate *el_packed_event_candidates(const el_packed_event *r) {
  return (const el_packed_candidate *)(el_packed_event_top(r) + r->n_top);
}
static inline const char *el_packed_event_text(const el_packed_event *r) {
  return (const char *)(el_packed_event_candidates(r) + r->n_candidates);
}
/* The adapter that a DONE event names; NULL: none. */
static inline const char *el_packed_event_failed(const el_packed_event *r) {
  return r->failed_len ? el_packed_event_text(r) + r->text_len + r->error_len : NULL;
}
/* The stop string that ended it; with `stopped`. */
static inline const char *el_packed_event_stop(const el_packed_event *r) {
  return el_packed_event_text(r) + r->text_len + r->error_len + r->failed_len;
}
/* The error of a DONE event. */
void el_packed_event_error(const el_packed_event *r, el_error *out);

#endif
