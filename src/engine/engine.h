/* The engine's parts, shared by the files of this folder. See README.md for who owns what. */
#ifndef EL_ENGINE_ENGINE_H
#define EL_ENGINE_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/log.h"
#include "base/threads.h"
#include "engine/chooser.h"
#include "engine/draw.h"
#include "engine/memory.h"
#include "engine/readings.h"
#include "engine/scheduler.h"
#include "engine/seq.h"
#include "engine/turns.h"
#include "model/model.h"

enum {
  EL_USUAL_CTX = 4096,  /* the default pool is sized for contexts of this length, or the model's if that is shorter */
  EL_PROMPT_LOGITS = 64 /* rows of a step that may want logits, when there are fewer slots: for prompt_logprobs */
};

enum {
  EL_TABLE = 1024,       /* buckets of the table of requests */
  EL_KEEP_DONE = 256,    /* requests that stay after their DONE event has been taken, since the client may look at it */
  EL_IDLE_FORGET_S = 10, /* after this time without work the pool's free memory goes back to the system */
};

/* For el_stats; each is written by one thread at a time and read by any. */
typedef struct el_counters {
  atomic_uint_fast64_t steps, rows, prompt_tokens, generated_tokens, done, cancelled, failed, not_invoked, step_ns,
      preempted;
  atomic_int running;
} el_counters;

/* The directories of el_adapter_add_dir. */
typedef struct el_dirs {
  pthread_mutex_t mutex; /* held while one is looked through: two at once would undo each other */
  char **paths;
  int n;
} el_dirs;

/* The thread that watches them; there is one once there is a directory. */
typedef struct el_upkeep {
  pthread_t thread;
  el_status (*rescan)(el_engine *e, el_rescan_result *out, el_error *err); /* looks through all directories */
  bool has_thread;
  int inotify_fd, stop_fd;
  int last_watch, unsettled;
  atomic_int n_watches;
  atomic_bool unwatched; /* since all directories were last looked through: in some folder nothing would be noticed */
  int slow_ms;           /* how often they are looked through then, at most */
  int max_watches;
  bool said_unwatched, said_failed, said_unsure;
  uint64_t saved_loads; /* loads that the index file has */
} el_upkeep;

struct el_engine {
  /* Nobody changes these while the engine is open. */
  char *name, *architecture;
  char *cache_dir; /* NULL: nothing is kept */
  const el_kernels *kernels;
  el_layout adapter_layout;
  el_threads *threads;
  el_tokenizer *tokenizer;
  el_constraint_store *constraints;
  el_model *model;
  el_registry *registry;
  el_preset_file *base_preset; /* NULL: none */
  el_log log;
  el_seq_limits limits;
  int max_queue;
  bool by_hand;

  el_dirs dirs;
  el_upkeep upkeep; /* under dirs.mutex, but for what its thread alone has */

  /* The engine thread's. */
  el_memory memory;
  el_step *step;
  el_draws *draws;
  el_scheduler scheduler;
  el_speculation speculation;

  el_chooser chooser;    /* these say themselves who may touch what */
  el_readings *readings; /* NULL: there is no router */

  pthread_t thread;
  bool thread_started;
  el_counters count;

  /* Shared, under the mutex. No callback runs while it is held. */
  pthread_mutex_t mutex;
  pthread_cond_t work;         /* for the engine thread: something below has changed */
  pthread_cond_t readers_gone; /* for el_engine_close */
  bool closing;
  bool cancels;               /* a request has been cancelled since the engine thread last looked */
  bool news;                  /* a load has ended, or an entry is to be buried */
  uint64_t n_turns;           /* how often the engine thread has come by here */
  el_seq *inbox, **inbox_end; /* submitted, in order of id */
  el_flows flows;             /* of all that are not finished */
  el_seq *table[EL_TABLE];    /* by id: all that are not finished, and those whose events have not been taken */
  el_seq *kept, **kept_end;   /* in the table, their DONE event taken; the oldest first */
  int n_kept;
  el_seq *untaken, *untaken_last; /* in the table, at their end, which nobody has taken yet; the oldest first */
  int n_untaken;
  uint64_t n_submitted; /* also the last id */
  int n_unfinished;     /* waiting or running, readings not counted */
  uint64_t n_readings;  /* of n_submitted */
  int n_readers;        /* threads inside el_next_event */
};

/* As el_engine_open, but the pool is given: for tests. n_blocks 0: as the options say. by_hand: nothing happens but in
 * el_loop_turn and el_loader_work, so that a test decides what comes after what; directories are not watched. */
typedef struct el_pool_setup {
  uint32_t n_blocks, pages_per_block, reserve;
  bool by_hand;
  uint32_t windowed_per_block; /* 0: as many as of the others */
} el_pool_setup;
el_status el_engine_open_pool(const el_engine_options *options, el_pool_setup setup, el_engine **out, el_error *err);

/* What is wrong with options, whatever their files hold. */
el_status el_engine_options_check(const el_engine_options *o, el_error *err);

/* How much memory there is, and what it holds (budget.c). */
typedef struct el_budget {
  el_kv_type kv_type;
  el_layout adapter_layout;
  el_kv_layout layout;
  uint32_t n_blocks, reserve;
  int ctx_size; /* a sequence of this length fits, beside an adapter of `reserve` blocks */
} el_budget;
/* kv: in place of what h says; NULL: that. */
el_status el_budget_plan(const el_engine_options *o, const el_hparams *h, const el_kv_shape *kv, const el_kernels *k,
                         el_budget *out, el_error *err);

void el_dirs_free(el_dirs *dirs);

/* Watching directories (upkeep.c). */
void el_upkeep_init(el_upkeep *u);
/* rescan: el_adapter_rescan, which is above this. */
el_status el_upkeep_start(el_engine *e, el_status (*rescan)(el_engine *, el_rescan_result *, el_error *),
                          el_error *err);
void el_upkeep_stop(el_engine *e);
/* Watches a folder for what comes and goes in it; true: it was not watched before, so something may have come already.
 */
bool el_upkeep_watch(el_engine *e, const char *path);
/* What the cache folder knows about adapters; NULL: nothing. */
struct el_record_file *el_upkeep_read_index(el_engine *e);

/* Presets (presets.c): what adapters and the base say of how they want to be asked. base_preset: a file, or NULL. */
el_status el_presets_open(el_engine *e, const char *base_preset, el_error *err);
/* Puts into the log what is to be said of adapters that have come. */
void el_presets_tell(el_engine *e);
/* Another reference to a held adapter; NULL: the base is held. */
/* That of an adapter's tokens (NULL: the base), as long as the entry. What is wrong with its files. */
el_status el_presets_tokenizer(const el_engine *e, el_entry *entry, const el_tokenizer **out, el_error *err);
el_entry *el_presets_take_held(el_engine *e, const el_held_adapter *held);
/* An adapter's preset, or the base's; NULL: it has none. */
const el_preset *el_presets_of(const el_engine *e, const el_entry *adapter);
/* What a request leaves open is as the preset says. p NULL: nothing. */
void el_presets_apply(const el_preset *p, el_request *r);
/* The constraint of its schema, where `fields` leave it open: *out is to be closed, NULL: there is none. */
el_status el_presets_constraint(el_engine *e, const el_preset *p, unsigned fields, const el_constraint **out,
                                el_error *err);

/* The engine thread: runs steps until the engine closes. arg: el_engine. */
void *el_engine_main(void *arg);
/* One turn of it, for an engine by hand; false: there is nothing to do until a load ends or somebody comes. */
bool el_loop_turn(el_engine *e);
/* For the engine thread: something has happened that it does not see. Any thread; no mutex is held. */
void el_loop_notify(void *engine);

/* Requests as clients see them (request.c). */
/* A reading: a request with EL_BY_ROUTER that ends with the vector of its prompt; no client sees it. */
el_status el_request_submit_reading(el_engine *e, const el_request *request, el_vector_fn on_vector, void *user,
                                    el_error *err);
void el_request_deliver_done(el_engine *e, el_seq *q, const el_event *event);
bool el_request_deliver(el_engine *e, el_seq *q, el_event *event); /* false: out of memory */
void el_request_free_all(el_engine *e);

#endif
