#include "server/record.h"

#include <assert.h>
#include <string.h>

static_assert(sizeof(el_record) % 8 == 0, "records follow one another aligned");
static_assert(_Alignof(el_token_logprob) <= _Alignof(float), "alternatives follow the floats of the prompt");

bool el_record_append(el_buf *b, int choice, const el_event *ev) {
  bool prompt = ev->type == EL_EVENT_PROMPT, token = ev->type == EL_EVENT_TOKEN, done = ev->type == EL_EVENT_DONE;
  el_record r = {.choice = choice, .type = ev->type};
  if (prompt) r.n_prompt = (uint32_t)ev->n_prompt_logprobs;
  if (token) {
    r.token = ev->token;
    r.logprob = ev->logprob;
    r.n_top = (uint32_t)ev->n_top;
  }
  if (done) {
    r.finish = ev->finish;
    r.completion_tokens = ev->completion_tokens;
    r.cached_tokens = ev->cached_tokens;
    r.stopped = ev->stop != NULL;
    r.error_code = ev->error.code;
    if (ev->finish == EL_FINISH_ERROR) r.error_len = (uint32_t)strlen(ev->error.message);
  }
  if (!prompt) r.text_len = (uint32_t)ev->text_len;

  size_t bytes = sizeof r + r.n_prompt * sizeof(float) + r.n_top * sizeof(el_token_logprob) + r.text_len + r.error_len;
  r.size = (bytes + 7) & ~(size_t)7;
  if (!el_buf_reserve(b, r.size)) return false;
  el_buf_append(b, &r, sizeof r);
  if (r.n_prompt) el_buf_append(b, ev->prompt_logprobs, r.n_prompt * sizeof(float));
  if (r.n_top) el_buf_append(b, ev->top, r.n_top * sizeof(el_token_logprob));
  if (r.text_len) el_buf_append(b, ev->text, r.text_len);
  if (r.error_len) el_buf_append(b, ev->error.message, r.error_len);
  return el_buf_append(b, "\0\0\0\0\0\0\0", r.size - bytes);
}

const el_record *el_record_next(const el_buf *b, size_t *pos) {
  if (*pos >= b->len) return NULL;
  const el_record *r = (const el_record *)(const void *)(b->data + *pos);
  *pos += r->size;
  return r;
}
