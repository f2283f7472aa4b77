/* A prompt's features: the base model's residual stream after some layers (taps), pooled over the
 * tokens of the prompt.
 *
 * The trainer, which reads many prompts at once, and the engine, whose rows come step by step, both use
 * this code. */
#ifndef EL_ROUTER_POOLING_H
#define EL_ROUTER_POOLING_H

#include "edgelora.h"

/* A unit state is a token's state divided by its root mean square. A few tokens have states a hundred
 * times as large as the others, and would dominate a mean. */
typedef enum el_pooling {
  EL_POOL_MEAN,      /* mean of states */
  EL_POOL_UNIT_MEAN, /* mean of unit states */
  EL_POOL_UNIT_LAST, /* the last token's unit state */
  EL_POOL_UNIT_MAX,  /* largest value of each dimension of unit states */
  EL_POOL_UNIT_STD,  /* standard deviation of each dimension of unit states */
  EL_N_POOLINGS
} el_pooling;

const char *el_pooling_name(el_pooling p);
bool el_pooling_find(const char *name, size_t len, el_pooling *out);

enum { EL_ROUTER_MAX_TAPS = 64, EL_ROUTER_MAX_SLICES = EL_ROUTER_MAX_TAPS * EL_N_POOLINGS };

typedef struct el_feature_slice {
  int tap; /* index into taps */
  el_pooling pooling;
} el_feature_slice;

typedef struct el_features {
  int n_embd;
  int n_taps,
      taps[EL_ROUTER_MAX_TAPS]; /* ascending: after how many layers the residual stream is taken; 0: the embedding */
  int n_slices;
  el_feature_slice slices[EL_ROUTER_MAX_SLICES]; /* the features, one slice after the other: [n_slices, n_embd] */
  int max_tokens;                                /* to read of a prompt */
} el_features;

/* The number of values in a prompt's features. */
static inline size_t el_features_n(const el_features *f) {
  return (size_t)f->n_slices * (size_t)f->n_embd;
}

/* Which tokens to read, [*from, *to), of a prompt whose own text is [begin, end). They get positions
 * from 0. What comes before `begin`, such as a system message, is read too if the text begins in the
 * first half of what may be read, as states depend on it and training read it as well. Otherwise the
 * text is read alone. States before `begin` are not pooled. */
static inline void el_router_window(size_t begin, size_t end, size_t max_tokens, size_t *from, size_t *to) {
  *from = begin < max_tokens / 2 ? 0 : begin;
  *to = end - *from < max_tokens ? end : *from + max_tokens;
}

/* Pools states as they come. */
typedef struct el_pooler el_pooler;
el_status el_pooler_new(const el_features *f, el_pooler **out, el_error *err); /* keeps a copy of *f */
void el_pooler_free(el_pooler *p);
void el_pooler_reset(el_pooler *p);
/* Adds the next token's states: [n_taps, n_embd]. */
void el_pooler_add(el_pooler *p, const float *states);
int el_pooler_count(const el_pooler *p); /* tokens since the last reset */
/* out: [n_slices, n_embd]; zeros if no token has been added. */
void el_pooler_get(const el_pooler *p, float *out);

#endif
