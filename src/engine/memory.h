/* Who has the pool's blocks: KV pages of running sequences, adapters that they use, adapters that may be wanted again.
 * Engine thread only; the loader writes into blocks that were given to it, and into no others.
 *
 * What gives way to what:
 * - An adapter that a running sequence uses is pinned, and so are the blocks of a load: nothing takes them.
 * - Admission walks the waiting requests in order and holds the adapters of those that it passes; room for a request is
 *   made of free blocks and of adapters that are neither pinned nor held by an older one. So the requests that come
 *   next do not drive out each other's adapters, and when all are in use they wait.
 * - A running sequence that grows takes any adapter that is not pinned; when none is left, the youngest sequence gives
 *   up its pages.
 * - An adapter that the operator has pinned (`kept` here, as `pinned` is what runs) gives way to nothing but the only
 *   sequence that runs, when that has no other page to grow into: which is so only where it began before the pin.
 * - Pages are of two kinds where a model has windowed layers (kv_layout.h); room for both is made together.
 * - Idle pages of the prefix cache give way to all of these: whatever room is wanted, nobody waits and nothing is
 *   preempted because of them. While there are idle adapters too, the pages go first if they have more than one
 *   EL_PREFIX_SHARE-th of all that is idle, else the adapters do. Pages first always would leave no page where adapters
 *   come and go all the time; adapters first always would fill the memory with prefixes that nobody repeats. To compute
 *   a page again costs more than to load as much of an adapter (16 rows of all weights against a copy), but fewer pages
 *   than adapters are wanted again: hence the share.
 * - KV pages leave `reserve` blocks alone, so that a request that wants an adapter can always come to it. */
#ifndef EL_ENGINE_MEMORY_H
#define EL_ENGINE_MEMORY_H

#include <stdatomic.h>

#include "adapter/loader.h"
#include "base/log.h"
#include "edgelora.h"
#include "engine/kv_layout.h"
#include "engine/prefix.h"
#include "engine/tuning.h"

enum {
  EL_MAX_SIZINGS =
      4 /* loads in a row that found an adapter larger than its room: two are enough while its files stay */
};

/* For el_stats: written by the engine thread, read by any. */
typedef struct el_memory_counters {
  atomic_uint_fast64_t hits, misses, evictions, loads, loads_failed, load_ns;
  atomic_uint_fast64_t load_histogram[EL_LOAD_BUCKETS];
  atomic_uint_fast64_t prefix_tokens; /* positions that were not computed, as their pages were there */
  atomic_uint_fast64_t pages_used, pages_idle, windowed_used, windowed_idle, blocks_kv, blocks_adapters, blocks_idle,
      n_resident;
} el_memory_counters;

typedef struct el_memory {
  el_pool pool;
  el_kv_layout layout;
  el_kv_pages kv, windowed; /* full pages; windowed ones, all 0 if there are none */
  el_prefix prefix;
  el_cache cache;
  el_loader *loader;
  el_registry *registry;
  const el_log *log;
  bool keeps_idle;  /* adapters that nobody wants stay until their room is wanted */
  uint32_t reserve; /* blocks that KV pages may not have */
  uint32_t pinned;  /* blocks of resident adapters that running sequences use */
  uint32_t held;    /* blocks of unpinned ones that the current admission holds */
  /* Adapters that are to stay whether anybody uses them or not, with references, and the blocks of those of them that
   * are resident and that no running sequence uses. */
  el_entry *kept[EL_MAX_PINNED];
  int n_kept;
  unsigned kept_version;
  uint32_t kept_idle;
  uint64_t admission; /* its number */
  bool learnt;        /* a load has told an adapter's size since the last admission */
  double ratio;       /* bytes in memory to bytes of the file, of the adapter that was loaded last */
  el_memory_counters count;
} el_memory;

typedef struct el_memory_options {
  el_kv_layout layout;
  uint32_t n_blocks, reserve;
  el_layout adapter_layout;
  const el_tokenizer *tokenizer; /* as of el_loader_new */
  const char *policy;            /* of el_cache_init, or "none": adapters that nobody wants leave */
  bool prefix_cache;
  bool prefault;   /* as in el_engine_options */
  bool own_thread; /* false: whoever tests calls el_loader_work */
  void (*on_result)(void *user);
  void *user;
} el_memory_options;

el_status el_memory_new(const el_memory_options *o, const el_sites *sites, const el_kernels *k, el_registry *registry,
                        const el_log *log, el_memory *out, el_error *err);
/* No sequence has pages or pins. Every adapter leaves memory. */
void el_memory_free(el_memory *m);

/* Begins an admission: nothing is held. */
void el_memory_begin(el_memory *m);
/* Keeps a resident adapter from being evicted for the rest of this admission. NULL is allowed. */
void el_memory_hold(el_memory *m, el_entry *entry);
/* Ends it. Without a policy, adapters that are neither in use nor held leave. */
void el_memory_end(el_memory *m);
/* Counts a request for the cache: once for each, when it is first looked at. */
void el_memory_use(el_memory *m, el_entry *entry);

void el_memory_pin(el_memory *m, el_entry *entry); /* resident, or NULL */
void el_memory_unpin(el_memory *m, el_entry *entry);

/* Makes room for n full and n_windowed windowed pages, which el_prefix_take and el_prefix_take_windowed then give, by
 * evicting what may be; false: there is none, and nothing has been evicted. It can be had when what runs has ended and
 * what loads has been loaded: el_memory_check has seen to that. */
bool el_memory_make_pages(el_memory *m, uint64_t n, uint64_t n_windowed);
/* One page, or windowed page, for a running sequence, whatever is held; `last`: it is the only one, and an adapter that
 * is to stay gives way before it is stuck. */
bool el_memory_grow(el_memory *m, bool windowed, bool last, uint32_t *page);

typedef enum el_want {
  EL_WANT_COMING, /* is being loaded, or now will be */
  EL_WANT_BUSY,   /* the loader has enough to do: ask again when a load has ended */
  EL_WANT_NO_ROOM /* ask again when a sequence or a load has ended */
} el_want;
/* Asks for an adapter that is not resident. */
el_want el_memory_want(el_memory *m, el_entry *entry);

/* Learns which adapters are to stay, and has those loaded that are not in memory, as far as there is room. */
void el_memory_keep(el_memory *m);
/* Whether that is why an adapter finds no consecutive blocks, though nothing runs or loads: then it never will. */
bool el_memory_is_split(const el_memory *m, const el_entry *entry, el_error *err);

/* What came of the loads that have ended; `failed` is called for each that did not succeed, while there is a reference
 * to its entry. */
void el_memory_collect(el_memory *m, void (*failed)(void *user, el_entry *entry, const el_error *error), void *user);
/* Frees the entries that nobody has a reference to any more, and their memory. */
void el_memory_bury(el_memory *m);

/* Writes down what has what, for el_stats. */
void el_memory_publish(el_memory *m);

/* Whether a request with an adapter (NULL: the base) and n_tokens tokens at most can ever run: whether it could if
 * nothing else did, all of the pool being evictable then, so that consecutive blocks can be had too. The message has
 * the figures. An adapter whose size is not known is taken to fit: ask again when a load has told it. */
el_status el_memory_check(el_memory *m, el_entry *entry, uint64_t n_tokens, int page_tokens, el_error *err);

/* Blocks of an adapter of `rank` on all linear layers. */
el_status el_memory_adapter_blocks(const el_sites *sites, const el_kernels *k, el_layout layout, size_t block_bytes,
                                   int rank, uint32_t *n_blocks, el_error *err);

#endif
