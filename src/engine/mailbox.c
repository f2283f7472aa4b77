#include "engine/mailbox.h"

#include <string.h>

/* A record is this, then candidates, top, prompt log-probabilities and what else was likely in their places, the
 * vector, text, and the names, each terminated: the chosen one, then those of the candidates. It is padded to 8 bytes.
 */
typedef struct record {
  uint32_t type;
  int32_t token;
  float logprob;
  uint32_t n_top;
  uint64_t text_len, n_prompt_logprobs, n_prompt_top, n_embedding, n_candidates, names_len;
  double choice_ms;
} record;

static size_t size_of(const record *r) {
  size_t n = sizeof *r + r->n_top * sizeof(el_token_logprob) + (r->n_prompt_logprobs + r->n_embedding) * sizeof(float) +
             r->n_prompt_logprobs * r->n_prompt_top * sizeof(el_token_logprob) + r->text_len +
             r->n_candidates * sizeof(el_candidate) + r->names_len;
  return (n + 7) / 8 * 8;
}

bool el_mailbox_put(el_mailbox *box, const el_event *event) {
  record r = {.type = (uint32_t)event->type,
              .token = event->token,
              .logprob = event->logprob,
              .n_top = (uint32_t)event->n_top,
              .text_len = event->text_len,
              .n_prompt_logprobs = event->n_prompt_logprobs,
              .n_prompt_top = event->n_prompt_top,
              .n_embedding = event->n_embedding,
              .n_candidates = event->n_candidates,
              .choice_ms = event->choice_ms};
  if (event->adapter) r.names_len = strlen(event->adapter) + 1;
  for (size_t i = 0; i < event->n_candidates; i++) r.names_len += strlen(event->candidates[i].name) + 1;
  size_t end = box->in.len + size_of(&r);
  if (!el_buf_reserve(&box->in, size_of(&r))) return false;
  /* These fit, so they do not fail. */
  el_buf_append(&box->in, &r, sizeof r);
  el_buf_append(&box->in, event->candidates, event->n_candidates * sizeof *event->candidates);
  el_buf_append(&box->in, event->top, event->n_top * sizeof *event->top);
  el_buf_append(&box->in, event->prompt_logprobs, event->n_prompt_logprobs * sizeof *event->prompt_logprobs);
  el_buf_append(&box->in, event->prompt_top,
                event->n_prompt_logprobs * event->n_prompt_top * sizeof *event->prompt_top);
  el_buf_append(&box->in, event->embedding, event->n_embedding * sizeof *event->embedding);
  el_buf_append(&box->in, event->text, event->text_len);
  if (event->adapter) el_buf_append(&box->in, event->adapter, strlen(event->adapter) + 1);
  for (size_t i = 0; i < event->n_candidates; i++)
    el_buf_append(&box->in, event->candidates[i].name, strlen(event->candidates[i].name) + 1);
  el_buf_append(&box->in, "\0\0\0\0\0\0\0", end - box->in.len);
  return true;
}

bool el_mailbox_take(el_mailbox *box, el_event *out) {
  if (box->out_at == box->out.len) {
    el_buf read = box->out;
    box->out = box->in;
    box->in = read;
    box->in.len = box->out_at = 0;
  }
  if (box->out_at == box->out.len) return false;
  char *at = box->out.data + box->out_at;
  record r;
  memcpy(&r, at, sizeof r);
  box->out_at += size_of(&r);
  at += sizeof r;
  *out = (el_event){.type = (el_event_type)r.type, .token = r.token, .logprob = r.logprob, .choice_ms = r.choice_ms};
  el_candidate *candidates = (el_candidate *)(void *)at;
  at += r.n_candidates * sizeof *candidates;
  if (r.n_top) out->top = (const el_token_logprob *)(const void *)at;
  out->n_top = r.n_top;
  at += r.n_top * sizeof *out->top;
  if (r.n_prompt_logprobs) out->prompt_logprobs = (const float *)(const void *)at;
  out->n_prompt_logprobs = r.n_prompt_logprobs;
  at += r.n_prompt_logprobs * sizeof *out->prompt_logprobs;
  if (r.n_prompt_top) out->prompt_top = (const el_token_logprob *)(const void *)at;
  out->n_prompt_top = r.n_prompt_top;
  at += r.n_prompt_logprobs * r.n_prompt_top * sizeof *out->prompt_top;
  if (r.n_embedding) out->embedding = (const float *)(const void *)at;
  out->n_embedding = r.n_embedding;
  out->text = at + r.n_embedding * sizeof *out->embedding;
  out->text_len = r.text_len;
  if (!r.names_len) return true;
  const char *name = out->text + r.text_len;
  out->adapter = name;
  for (size_t i = 0; i < r.n_candidates; i++) candidates[i].name = name += strlen(name) + 1;
  out->candidates = candidates;
  out->n_candidates = r.n_candidates;
  return true;
}

void el_mailbox_free(el_mailbox *box) {
  el_buf_free(&box->in);
  el_buf_free(&box->out);
}
