/* Adapters from disk into blocks of the pool, on threads of their own, one load at a time.
 *
 * The engine thread, which owns the pool, fills in a load with the blocks that it may use and hands it over; the loader
 * reads, checks and packs, and hands it back. Loads are done in order. When the blocks do not suffice it says how many
 * are needed, and nothing has been packed. Files are read, never mapped: whoever truncates one while it is loaded gets
 * an error, not our process. */
#ifndef EL_ADAPTER_LOADER_H
#define EL_ADAPTER_LOADER_H

#include "adapter/pool.h"
#include "adapter/registry.h"

enum { EL_MAX_LOADS = 4 }; /* handed over and not taken back: the loader goes on while the engine is in a step */

typedef enum el_load_outcome {
  EL_LOADED,
  EL_LOAD_SIZED, /* it needs `size`, which is more than there was, or other blocks */
  EL_LOAD_BROKEN
} el_load_outcome;

typedef struct el_load {
  /* The engine thread's part. */
  el_entry *entry;  /* a reference */
  uint32_t *blocks; /* [pool's number of blocks] room for their numbers */
  uint32_t n_blocks;
  bool consecutive; /* the blocks are */

  /* The loader's. */
  el_load_outcome end;
  el_error error;
  el_signature signature;
  bool has_signature, permanent; /* permanent: it fails again while the signature stays the same */
  el_pack_size size;
  el_adapter *adapter;
  uint64_t ns;
} el_load;

typedef struct el_loader el_loader;

/* tokenizer: the base's, for adapters that are activated by tokens of it; NULL: these are not checked. on_result is
 * called by a thread of the loader's when a load has come to its end. own_thread false: el_loader_work does the work,
 * for tests that want it in order. */
el_status el_loader_new(const el_sites *sites, const el_kernels *k, el_layout layout, const el_pool *pool,
                        const el_tokenizer *tokenizer, bool own_thread, void (*on_result)(void *user), void *user,
                        el_loader **out, el_error *err);
/* The base's weights, before the first load: see el_packer_use_base. */
void el_loader_use_base(el_loader *l, const el_base *base);
/* Whether steps run, and a load is to make way for them in its turn. */
void el_loader_while_computing(el_loader *l, bool computing);
/* Ends the threads after the load that one is in. The entries of loads that were not taken back stay as they are. */
void el_loader_stop(el_loader *l);
void el_loader_free(el_loader *l); /* NULL is allowed */

/* A load to fill in, or NULL: EL_MAX_LOADS are under way. */
el_load *el_loader_next(el_loader *l);
/* Hands over what el_loader_next gave. */
void el_loader_push(el_loader *l);
/* The oldest load that has ended, or NULL. It is the caller's until el_loader_pop. */
el_load *el_loader_result(el_loader *l);
void el_loader_pop(el_loader *l);
int el_loader_n(el_loader *l); /* handed over and not taken back */
/* The i-th of those, the oldest first. */
el_load *el_loader_at(el_loader *l, int i);

/* Without a thread: does the next load; false: there is none. */
bool el_loader_work(el_loader *l);
/* Without a thread, for simulations: the next load has taken so long and come to an adapter of this size, whose files
 * nobody reads. It gets its blocks, and stays the caller's; it must live until it leaves memory. There is a load. */
void el_loader_pretend(el_loader *l, const el_pack_size *size, el_adapter *adapter, uint32_t *blocks, uint64_t ns);

#endif
