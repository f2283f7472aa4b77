#include "engine/mailbox.h"

#include <string.h>

/* A record is this, then items (candidates of a DECISION, else floats), what else was likely, and text: of a DECISION
 * the names, each terminated, the chosen one and then those of the candidates. It is padded to 8 bytes. */
typedef struct record {
  uint32_t type;
  int32_t id;
  float logprob;
  uint32_t n_top; /* of a PROMPT: for each item */
  uint64_t n, text_len;
  double ms;
} record;

static size_t items_bytes(const record *r) {
  return r->n * (r->type == EL_EVENT_DECISION ? sizeof(el_candidate) : sizeof(float));
}

static size_t top_bytes(const record *r) {
  return (r->type == EL_EVENT_PROMPT ? r->n : 1) * r->n_top * sizeof(el_token_logprob);
}

static size_t record_bytes(const record *r) {
  return (sizeof *r + items_bytes(r) + top_bytes(r) + r->text_len + 7) / 8 * 8;
}

static size_t names_bytes(const el_event_decision *d) {
  size_t n = strlen(d->adapter) + 1;
  for (size_t i = 0; i < d->n_candidates; i++) n += strlen(d->candidates[i].name) + 1;
  return n;
}

bool el_mailbox_put(el_mailbox *box, const el_event *event) {
  const bool decision = event->type == EL_EVENT_DECISION;
  const void *items = NULL;
  const el_token_logprob *top = NULL;
  record r = {.type = (uint32_t)event->type, .text_len = event->text_len};
  switch (event->type) {
    case EL_EVENT_DECISION:
      items = event->decision.candidates;
      r.n = event->decision.n_candidates;
      r.ms = event->decision.ms;
      r.text_len = names_bytes(&event->decision);
      break;
    case EL_EVENT_PROMPT:
      items = event->prompt.logprobs;
      r.n = event->prompt.n;
      top = event->prompt.top;
      r.n_top = (uint32_t)event->prompt.n_top;
      break;
    case EL_EVENT_EMBEDDING:
      items = event->embedding.values;
      r.n = event->embedding.n;
      break;
    case EL_EVENT_TOKEN:
      r.id = event->token.id;
      r.logprob = event->token.logprob;
      top = event->token.top;
      r.n_top = (uint32_t)event->token.n_top;
      break;
    case EL_EVENT_DONE: break;
  }
  const size_t bytes = record_bytes(&r), end = box->in.len + bytes;
  if (!el_buf_reserve(&box->in, bytes)) return false;
  /* These fit, so they do not fail. */
  el_buf_append(&box->in, &r, sizeof r);
  el_buf_append(&box->in, items, items_bytes(&r));
  el_buf_append(&box->in, top, top_bytes(&r));
  if (decision) {
    const el_event_decision *d = &event->decision;
    el_buf_append(&box->in, d->adapter, strlen(d->adapter) + 1);
    for (size_t i = 0; i < d->n_candidates; i++)
      el_buf_append(&box->in, d->candidates[i].name, strlen(d->candidates[i].name) + 1);
  } else {
    el_buf_append(&box->in, event->text, event->text_len);
  }
  el_buf_append(&box->in, "\0\0\0\0\0\0\0", end - box->in.len);
  return true;
}

/* The candidates point to where their names were, until it is said where they are. */
static el_event_decision take_decision(const record *r, el_candidate *candidates, const char *names) {
  el_event_decision d = {.adapter = names, .candidates = candidates, .n_candidates = r->n, .ms = r->ms};
  for (size_t i = 0; i < r->n; i++) candidates[i].name = names += strlen(names) + 1;
  return d;
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
  box->out_at += record_bytes(&r);
  void *items = at + sizeof r;
  const el_token_logprob *top = (const void *)((char *)items + items_bytes(&r));
  const char *text = (const char *)top + top_bytes(&r);
  *out = (el_event){.type = (el_event_type)r.type, .text = text, .text_len = r.text_len};
  if (!r.n_top) top = NULL;
  switch (out->type) {
    case EL_EVENT_DECISION:
      out->text_len = 0;
      out->decision = take_decision(&r, items, text);
      break;
    case EL_EVENT_PROMPT: out->prompt = (el_event_prompt){items, r.n, top, r.n_top}; break;
    case EL_EVENT_EMBEDDING: out->embedding = (el_event_embedding){items, r.n}; break;
    case EL_EVENT_TOKEN: out->token = (el_event_token){r.id, r.logprob, top, r.n_top}; break;
    case EL_EVENT_DONE: break;
  }
  return true;
}

void el_mailbox_free(el_mailbox *box) {
  el_buf_free(&box->in);
  el_buf_free(&box->out);
}
