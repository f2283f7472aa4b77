/* What a request with `embed` has besides: which positions' hidden states it wants, and what they have come to so far.
 *
 * States are added one by one in order of position, whatever the chunks that they come in and whoever shared the steps;
 * and one that was added is not wanted again when the sequence has lost its pages. So the vector is the same bits
 * always. */
#ifndef EL_ENGINE_EMBEDDING_H
#define EL_ENGINE_EMBEDDING_H

#include "edgelora.h"

typedef struct el_embedding {
  el_embed pooling; /* MEAN, LAST or CLS */
  int n_prompt, n_embd;
  int n_seen;    /* positions before it are not wanted any more */
  double *sum;   /* [n_embd] while the sequence runs */
  float *vector; /* [n_embd] */
} el_embedding;

typedef struct el_embedding_limits {
  int n_embd;
  el_embed pooling; /* of the model */
} el_embedding_limits;

/* What a model's file says (EL_EMBED_NONE: nothing) and what is done. A decoder's last state is what it takes to guess
 * the next token, so where a file is silent the mean over the text says more of it. */
static inline el_embed el_embed_of_model(el_embed of_file) {
  return of_file == EL_EMBED_NONE ? EL_EMBED_MEAN : of_file;
}

/* Checks what a request says about it. *out: NULL if it says nothing. */
el_status el_embedding_new(const el_request *r, const el_embedding_limits *limits, el_embedding **out, el_error *err);
void el_embedding_free(el_embedding *m); /* NULL is allowed */
/* Before rows are computed: allocates the sum. */
el_status el_embedding_start(el_embedding *m, el_error *err);

/* The first position whose state is still wanted; n_prompt: none is. */
int el_embedding_next(const el_embedding *m);
bool el_embedding_wants(const el_embedding *m, int pos);
/* hidden: [n_embd], of a position that is wanted. */
void el_embedding_add(el_embedding *m, int pos, const float *hidden);
/* Makes the vector when all have come; false: it is not finite. */
bool el_embedding_end(el_embedding *m);

#endif
