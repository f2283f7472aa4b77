/* The router: from what the base model's first layers make of a prompt to the score that each adapter's answer may be
 * expected to have.
 *
 * A router is a file, trained for one base model, and immutable once open. A bank is the set of adapters that may be
 * chosen at the moment. An adapter gets its score from a column that the router was trained with, by its name, or from
 * vectors of example prompts, or from both. */
#ifndef EL_ROUTER_ROUTER_H
#define EL_ROUTER_ROUTER_H

#include "model/model.h"

typedef struct el_router el_router;

/* model_name: what the base is called, for messages. EL_ERR_INVALID: it is a router for another model. */
el_status el_router_open(const char *path, const el_model *m, const char *model_name, el_router **out, el_error *err);
void el_router_free(el_router *r);

const int *el_router_taps(const el_router *r, int *n_taps); /* for el_step_taps */
int el_router_max_tokens(const el_router *r);               /* that are read of a prompt */
int el_router_top_k(const el_router *r);
float el_router_margin(const el_router *r);
bool el_router_has_lora(const el_router *r); /* the file is also a GGUF LoRA, and prompts are read with it */
int el_router_dim(const el_router *r);       /* of a prompt's vector */
uint64_t el_router_key(const el_router *r);  /* of routers that make the same vectors */

/* The tokens [*begin, *end) of a prompt of n that are read, at positions from 0, when those of [focus_begin, focus_end)
 * count. What is before them is read too, as long as there is room for it. */
void el_router_window(int max_tokens, int n, int focus_begin, int focus_end, int *begin, int *end);

/* A prompt's vector. states: [n_rows][n_taps][n_embd] of the tokens that count, n_rows at least 1; z: [dim]. */
void el_router_embed(const el_router *r, const float *states, int n_rows, float *z);

/* Not thread-safe, but for el_bank_rank beside itself. */
typedef struct el_bank el_bank;
enum { EL_ROUTER_MAX_EXAMPLES = 8 };

el_status el_bank_new(const el_router *r, el_bank **out, el_error *err);
void el_bank_free(el_bank *b);
/* Adds an adapter, or gives a known one other vectors: [n_vectors, dim], EL_ROUTER_MAX_EXAMPLES at most. One without
 * vectors that the router was not trained with is in the bank, but never ranked. id: not 0. */
el_status el_bank_put(el_bank *b, uint64_t id, const char *name, const float *vectors, int n_vectors, el_error *err);
void el_bank_remove(el_bank *b, uint64_t id);
bool el_bank_ranks(const el_bank *b, uint64_t id); /* it is there and can be ranked */
size_t el_bank_n_ranked(const el_bank *b);

typedef struct el_ranked {
  uint64_t id;      /* 0: the base */
  const char *name; /* NULL: the base's; valid until the bank changes */
  float score;      /* 0 to 1 */
} el_ranked;
/* The `max` best of those that `allowed` (NULL: all) lets pass, best first; returns how many. allowed gets a NULL name
 * for the base. */
int el_bank_rank(const el_bank *b, const float *z, bool (*allowed)(void *user, const char *name), void *user, int max,
                 el_ranked *out);

/* Of n candidates, best first: the best resident one among the first top_k within `margin` of the best one's score, or
 * the best one. */
int el_router_choose(const el_ranked *candidates, const bool *resident, int n, int top_k, float margin);

#endif
