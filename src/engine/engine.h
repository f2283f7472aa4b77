/* The engine's parts, shared by the files of this folder. See README.md for who owns what. */
#ifndef EL_ENGINE_ENGINE_H
#define EL_ENGINE_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/log.h"
#include "base/threads.h"
#include "engine/kv_pages.h"
#include "engine/registry.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "engine/seq.h"
#include "model/model.h"

/* Limits of the options. */
enum {
  EL_MAX_SLOTS = 256,
  EL_MAX_CTX = 1 << 20,
  EL_MAX_STEP_ROWS = 4096,
  EL_MAX_QUEUE = 1 << 16,
  EL_DEFAULT_CTX = 4096, /* the model's own context may be so long that its pages would not fit */
  EL_PROMPT_LOGITS = 64  /* rows of a step that may want logits, when there are fewer slots: for prompt_logprobs */
};

enum {
  EL_TABLE = 1024,       /* buckets of the table of requests */
  EL_KEEP_DONE = 256,    /* requests that stay after their DONE event has been taken, since the client may look at it */
  EL_IDLE_FORGET_S = 10, /* after this time without work the KV arena's memory goes back to the system */
};

/* For el_stats; each is written by one thread at a time and read by any. */
typedef struct el_counters {
  atomic_uint_fast64_t steps, rows, prompt_tokens, generated_tokens, done, cancelled, failed, pages_used, step_ns;
  atomic_int running;
} el_counters;

struct el_engine {
  /* Nobody changes these while the engine is open. */
  char *name, *architecture;
  const el_kernels *kernels;
  el_threads *threads;
  el_tokenizer *tokenizer;
  el_model *model;
  el_registry *registry;
  el_log log;
  el_seq_limits limits;
  int max_queue;

  /* The engine thread's. */
  el_kv_pages kv;
  el_step *step;
  el_sampler *sampler;
  el_scheduler scheduler;

  pthread_t thread;
  bool thread_started;
  el_counters count;

  /* Shared, under the mutex. No callback runs while it is held. */
  pthread_mutex_t mutex;
  pthread_cond_t work;         /* for the engine thread: something below has changed */
  pthread_cond_t readers_gone; /* for el_engine_close */
  bool closing;
  bool cancels;               /* a request has been cancelled since the engine thread last looked */
  el_seq *inbox, **inbox_end; /* submitted, in order of id */
  el_seq *table[EL_TABLE];    /* by id: all that are not finished, and those whose events have not been taken */
  el_seq *kept, **kept_end;   /* in the table, their DONE event taken; the oldest first */
  int n_kept;
  uint64_t n_submitted; /* also the last id */
  int n_unfinished;     /* waiting or running */
  int n_readers;        /* threads inside el_next_event */
};

/* As el_engine_open; n_pages: pages of the KV arena, 0 for what all slots can use together. */
el_status el_engine_open_pages(const el_engine_options *options, uint64_t n_pages, el_engine **out, el_error *err);

/* The engine thread: runs steps until the engine closes. arg: el_engine. */
void *el_engine_main(void *arg);

/* Requests as clients see them (request.c). */
void el_request_deliver_done(el_engine *e, el_seq *q, const el_event *event);
bool el_request_deliver(el_engine *e, el_seq *q, el_event *event); /* false: out of memory */
void el_request_free_all(el_engine *e);

#endif
