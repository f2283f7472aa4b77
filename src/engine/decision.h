/* What a request with EL_BY_ROUTER has besides: which tokens the router reads, how far it is, whom it may choose.
 *
 * What counts of a prompt is read as in training, behind what the chat template puts before a first message (the lead),
 * so that system messages and earlier turns do not change the decision. Where the prompt begins in just that way, what
 * is read is the prompt's own beginning, and the base can go on from it.
 *
 * These rows go through the first layers as FIRST_LAYERS rows. The states that they leave become the prompt's vector.
 */
#ifndef EL_ENGINE_DECISION_H
#define EL_ENGINE_DECISION_H

#include "edgelora.h"
#include "router/bank.h"

/* Receives the vector of a prompt, [el_router_vector], or NULL: it could not be computed. Engine thread. */
typedef void (*el_vector_fn)(void *user, const float *vector);

/* Adapters that may be chosen and the base, best first, from the decision until the request starts with one of them. */
typedef struct el_ranked {
  uint64_t id; /* EL_NO_ID: the base */
  float logit;
  bool resident; /* when it was chosen among */
} el_ranked;

typedef struct el_decision {
  const el_router *router;
  char **candidates; /* [n_candidates] names and patterns, one block with its strings; none: all */
  size_t n_candidates;
  const int32_t *lead; /* [n_lead] tokens that are read first, and do not count */
  int n_lead;
  int from; /* of the prompt's tokens: the first that counts */
  int n;    /* tokens that are read, with the lead */
  bool own; /* they are the prompt's first ones */
  int n_scores;
  bool only_decide;
  el_vector_fn on_vector; /* instead of a decision */
  void *vector_user;

  el_sampling asked; /* before any preset; without biases */
  int asked_max_new;

  /* The engine thread's. */
  float *states; /* [n][n_taps][n_embd] */
  uint64_t started_ns;
  int n_read; /* tokens of the window whose rows have been in a step */
  bool made;
  el_ranked *ranking; /* [n_ranked]; NULL: there is none yet, or the client has been told */
  int n_ranked;
  double ms;    /* from the slot to the decision */
  bool goes_on; /* with the base, from the states */
} el_decision;

/* What the router reads with. */
typedef struct el_decision_limits {
  const el_router *router; /* NULL: there is none */
  const int32_t *lead;     /* [n_lead] */
  int n_lead, ctx_size;
} el_decision_limits;

/* Checks what a request says about it and copies that. */
el_status el_decision_new(const el_request *r, const el_decision_limits *limits, el_decision **out, el_error *err);
void el_decision_free(el_decision *c); /* NULL is allowed */
/* Before rows are computed: allocates the states. */
el_status el_decision_start(el_decision *c, el_error *err);
void el_decision_drop_states(el_decision *c);

/* Whether the request allows an adapter of this name, or the base. */
bool el_decision_allows(const el_decision *c, const char *name);

/* Its pages are gone. */
static inline void el_decision_restart(el_decision *c) {
  if (!c->made) c->n_read = 0;
  c->goes_on = false;
}

/* Positions whose first layers have been computed, for the base to go on. */
static inline int el_decision_headed(const el_decision *c) {
  return c->goes_on ? c->n : 0;
}

/* The i-th token that is read. */
static inline int32_t el_decision_token(const el_decision *c, const int32_t *prompt, int i) {
  return i < c->n_lead ? c->lead[i] : prompt[c->from + i - c->n_lead];
}

#endif
