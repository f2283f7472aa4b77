/* The router and the adapters that it may choose: it decides, and whoever asked applies that (decide.h). */
#ifndef EL_ENGINE_CHOOSER_H
#define EL_ENGINE_CHOOSER_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/log.h"
#include "engine/memory.h"
#include "engine/seq.h"
#include "router/bank.h"

typedef struct el_chooser {
  el_registry *registry;
  el_memory *memory;
  const el_log *log;
  const char *base_name;
  el_router *router; /* NULL: there is none */
  int top_k;
  float margin;
  int32_t *lead; /* [n_lead] that are read before what counts */
  int n_lead;
  el_entry *reader; /* the adapter that prompts are read with; NULL: none */

  /* The engine thread's. */
  el_pooler *pooler;
  float *features, *vector; /* of the prompt */
  float *logits;            /* [cap] of the bank's adapters, then the base's */
  bool *allowed;            /* [cap] */
  size_t cap;

  pthread_mutex_t mutex; /* guards the bank */
  el_bank *bank;

  atomic_uint_fast64_t n_decisions, n_base, n_resident, n_tokens, ns; /* for el_stats */
} el_chooser;

/* What it works with, open as long as it is. */
typedef struct el_chooser_setup {
  const el_engine_options *options; /* with a router_path */
  const el_base_id *base;
  const el_tokenizer *tokenizer;
  el_registry *registry;
  el_memory *memory;
  const el_log *log;
} el_chooser_setup;

/* Candidates as a client is told of them; their names are valid until el_chooser_unlist. */
typedef struct el_candidate_list {
  int n;
  el_candidate items[EL_MAX_SCORES];
  el_entry *entries[EL_MAX_SCORES]; /* references; NULL: the base */
} el_candidate_list;

el_status el_chooser_open(el_chooser *c, const el_chooser_setup *s, el_error *err);
/* Its threads are gone; the registry is still there. */
void el_chooser_close(el_chooser *c);

/* What it reads with; the engine's longest sequence is ctx_size. */
el_decision_limits el_chooser_limits(const el_chooser *c, int ctx_size);
/* A reference to what prompts are read with; NULL: the base. Any thread. */
el_entry *el_chooser_reader(el_chooser *c);

/* Adapters that may be chosen; fills in_router of a list. Any thread. */
size_t el_chooser_n_adapters(el_chooser *c);
void el_chooser_mark(el_chooser *c, el_adapter_info *list, size_t n);
/* What is known of an adapter from now on: `n` vectors of its examples, or none. Any thread. */
el_status el_chooser_put(el_chooser *c, uint64_t id, const char *name, const float *vectors, int n, el_error *err);
void el_chooser_remove(el_chooser *c, uint64_t id);

/* The rest is the engine thread's. All rows that the router reads of a prompt have been computed: makes their vector,
 * [el_router_vector] in `vector`. */
void el_chooser_read(el_chooser *c, const el_decision *decision, size_t state_floats);
/* Whom a sequence gets whose prompt has just been read: a reference in *out, NULL: the base. */
el_status el_chooser_decide(el_chooser *c, el_seq *q, el_entry **out, el_error *err);
/* Whom it gets instead of the adapter that it has, which cannot be used for the reason `why`; *out as above. False:
 * nobody was chosen for it, or the client has been told of it, or there is no other; nothing has changed. */
bool el_chooser_decide_next(el_chooser *c, el_seq *q, const el_error *why, el_entry **out);
/* The n_scores best as they were when it was decided, without those that have gone meanwhile. */
void el_chooser_list(const el_chooser *c, const el_decision *decision, el_candidate_list *out);
void el_chooser_unlist(const el_chooser *c, el_candidate_list *list);
const char *el_chooser_name_of(const el_chooser *c, const el_entry *entry); /* NULL: the base */

#endif
