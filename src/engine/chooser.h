/* The engine's router and the adapters that it may choose. */
#ifndef EL_ENGINE_CHOOSER_H
#define EL_ENGINE_CHOOSER_H

#include <pthread.h>
#include <stdatomic.h>

#include "adapter/registry.h"
#include "router/bank.h"

typedef struct el_chooser {
  el_router *router; /* NULL: there is none */
  int top_k;
  float margin;
  int32_t *lead;    /* the tokens of e->limits.choice */
  el_entry *reader; /* the adapter that prompts are read with; NULL: none */

  /* The engine thread's. */
  el_pooler *pooler;
  float *features, *vector; /* of the prompt */
  float *logits;            /* [cap] of the bank's adapters, then the base's */
  bool *allowed;            /* [cap] */
  size_t cap;

  pthread_mutex_t mutex; /* guards the bank */
  el_bank *bank;

  atomic_uint_fast64_t n_choices, n_base, n_resident, n_tokens, ns; /* for el_stats */
} el_chooser;

struct el_engine;
struct el_seq;

/* Opens the router of the options, if there is one; the step and the registry are there. */
el_status el_chooser_open(struct el_engine *e, const el_engine_options *o, el_error *err);
/* Its threads are gone; the registry is still there. */
void el_chooser_close(struct el_engine *e);

/* A reference to what prompts are read with; NULL: the base. Any thread. */
el_entry *el_chooser_reader(struct el_engine *e);

/* Adapters that may be chosen; fills in_router of a list. Any thread. */
size_t el_chooser_n_adapters(struct el_engine *e);
void el_chooser_mark(struct el_engine *e, el_adapter_info *list, size_t n);

/* All rows of a sequence's window have been computed: chooses, and lets it go on, or ends it. Engine thread. */
void el_chooser_choose(struct el_engine *e, struct el_seq *q);
/* The adapter that was chosen for a waiting sequence cannot be used: it gets the next one, or the base. False: none was
 * chosen, or the client has been told of it, or there is no other; nothing has changed. Engine thread. */
bool el_chooser_choose_next(struct el_engine *e, struct el_seq *q, const el_error *why);
/* A sequence runs with what was chosen: tells its client, if that is still to be done. It may have failed and be gone
 * then. Engine thread. */
void el_chooser_settle(struct el_engine *e, struct el_seq *q);

#endif
