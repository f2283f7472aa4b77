/* Loads adapters from disk into blocks of the pool, on threads of its own, one load at a time.
 *
 * The engine thread owns the pool. It fills in a load with the blocks that may be used and hands it
 * over; the loader reads, checks and packs the adapter, and hands the load back. Loads are done in
 * order. Where the blocks do not suffice, the loader says how many are needed and packs nothing.
 * Files are read and never mapped, so truncating a file during a load causes an error and does not
 * stop the process. */
#ifndef EL_ADAPTER_LOADER_H
#define EL_ADAPTER_LOADER_H

#include "adapter/pool.h"
#include "adapter/registry.h"

/* Loads handed over and not taken back: the loader goes on while the engine is in a step. */
enum { EL_MAX_LOADS = 4 };

typedef enum el_load_outcome {
  EL_LOADED,
  EL_LOAD_SIZED, /* not packed: it needs `size`, more than it was given, or other blocks */
  EL_LOAD_BROKEN
} el_load_outcome;

typedef struct el_load {
  /* Filled in by the engine thread. */
  el_entry *entry;  /* the load holds a reference */
  uint32_t *blocks; /* [number of blocks of the pool] room for block numbers */
  uint32_t n_blocks;
  bool consecutive; /* the blocks are consecutive */

  /* Filled in by the loader. */
  el_load_outcome end;
  el_error error;
  el_signature signature;
  bool has_signature, permanent; /* permanent: it fails again as long as the signature is the
                                  * same */
  el_pack_size size;
  el_adapter *adapter;
  uint64_t ns;
} el_load;

typedef struct el_loader el_loader;

/* tokenizer: the base's, to check the invocations of activated adapters; NULL: they are not
 * checked. on_result is called by a thread of the loader at the end of each load. own_thread false:
 * el_loader_work does the work, for tests that need a fixed order. */
el_status el_loader_new(const el_sites *sites, const el_kernels *k, el_layout layout, const el_pool *pool,
                        const el_tokenizer *tokenizer, bool own_thread, void (*on_result)(void *user), void *user,
                        el_loader **out, el_error *err);
/* Sets the base's weights, before the first load: see el_packer_use_base. */
void el_loader_use_base(el_loader *l, const el_base *base);
/* Says whether steps are running. While they are, a load gives way to them in turn. */
void el_loader_while_computing(el_loader *l, bool computing);
/* Stops the threads after the load that one of them is in. Entries of loads that were not taken
 * back stay unchanged. */
void el_loader_stop(el_loader *l);
void el_loader_free(el_loader *l); /* NULL is allowed */

/* A load to fill in. NULL: EL_MAX_LOADS are under way. */
el_load *el_loader_next(el_loader *l);
/* Hands over the load that el_loader_next gave. */
void el_loader_push(el_loader *l);
/* The oldest load that has ended, or NULL. It belongs to the caller until el_loader_pop. */
el_load *el_loader_result(el_loader *l);
void el_loader_pop(el_loader *l);
int el_loader_n(el_loader *l); /* loads handed over and not taken back */
/* Load i of those, the oldest first. */
el_load *el_loader_at(el_loader *l, int i);

/* Without a thread: does the next load. False: there is none. */
bool el_loader_work(el_loader *l);
/* Without a thread, for simulations: the next load ends as if it had taken `ns` and had packed an
 * adapter of this size. No file is read. `adapter` gets its blocks but stays the caller's; it must
 * live until it leaves memory. There must be a load. */
void el_loader_pretend(el_loader *l, const el_pack_size *size, el_adapter *adapter, uint32_t *blocks, uint64_t ns);

#endif
