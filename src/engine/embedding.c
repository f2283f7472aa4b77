#include "engine/embedding.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/error.h"

static const char FIELD[] = "embed";

static el_status check_embedding(const el_request *r, el_embed pooling, el_error *err) {
  if (r->embed < EL_EMBED_NONE || r->embed > EL_EMBED_AS_MODEL || r->embed == EL_EMBED_RANK)
    return el_fail_field(err, EL_ERR_INVALID, FIELD, "embed: %d is no way to pool", (int)r->embed);
  if (pooling == EL_EMBED_RANK)
    return el_fail_field(err, EL_ERR_UNSUPPORTED, FIELD,
                         "embed: the model is one that ranks pairs of texts, and its head is not computed: say how to "
                         "pool");
  if (r->adapter.by == EL_BY_ROUTER)
    return el_fail_field(err, EL_ERR_INVALID, FIELD,
                         "embed: the router may choose another adapter for each text, and vectors of different ones "
                         "cannot be compared: name an adapter");
  if (r->logprobs || r->prompt_logprobs)
    return el_fail_field(err, EL_ERR_INVALID, FIELD, "embed: no logits are computed, so there are no probabilities");
  return EL_OK;
}

el_status el_embedding_new(const el_request *r, const el_embedding_limits *limits, el_embedding **out, el_error *err) {
  *out = NULL;
  if (r->embed == EL_EMBED_NONE) return EL_OK;
  const el_embed pooling = r->embed == EL_EMBED_AS_MODEL ? el_embed_of_model(limits->pooling) : r->embed;
  el_status status = check_embedding(r, pooling, err);
  if (status) return status;
  el_embedding *m = calloc(1, sizeof *m);
  if (!m) return el_fail(err, EL_ERR_NO_MEMORY, "request: out of memory");
  *m = (el_embedding){.pooling = pooling, .n_prompt = (int)r->n_prompt, .n_embd = limits->n_embd};
  *out = m;
  return EL_OK;
}

void el_embedding_free(el_embedding *m) {
  if (!m) return;
  free(m->sum);
  free(m->vector);
  free(m);
}

el_status el_embedding_start(el_embedding *m, el_error *err) {
  m->sum = calloc((size_t)m->n_embd, sizeof *m->sum);
  m->vector = malloc(sizeof *m->vector * (size_t)m->n_embd);
  return m->sum && m->vector ? EL_OK : el_fail(err, EL_ERR_NO_MEMORY, "request: out of memory for a vector");
}

int el_embedding_next(const el_embedding *m) {
  const int next = m->pooling == EL_EMBED_LAST ? m->n_prompt - 1 : m->n_seen;
  const int end = m->pooling == EL_EMBED_CLS ? 1 : m->n_prompt;
  return next >= m->n_seen && next < end ? next : m->n_prompt;
}

bool el_embedding_wants(const el_embedding *m, int pos) {
  return m->pooling == EL_EMBED_MEAN ? pos >= m->n_seen : pos == el_embedding_next(m);
}

void el_embedding_add(el_embedding *m, int pos, const float *hidden) {
  assert(pos == el_embedding_next(m));
  for (int i = 0; i < m->n_embd; i++) m->sum[i] += (double)hidden[i];
  m->n_seen = pos + 1;
}

bool el_embedding_end(el_embedding *m) {
  const double n = m->pooling == EL_EMBED_MEAN ? m->n_prompt : 1;
  bool finite = true;
  for (int i = 0; i < m->n_embd; i++) {
    m->vector[i] = (float)(m->sum[i] / n);
    finite = finite && isfinite(m->vector[i]);
  }
  return finite;
}
