/* The one piece of memory that keys, values and adapters share: address space for a fixed number of
 * equal blocks. It is reserved when the engine opens, touched as it is used, and never grows. For
 * the engine thread only.
 *
 * Blocks of keys and values are taken from the bottom and adapters' blocks from the top, so that
 * neither splits up the other's room, and the consecutive blocks that a very large adapter needs
 * are likely to be free. */
#ifndef EL_ADAPTER_POOL_H
#define EL_ADAPTER_POOL_H

#include "base/error.h"

typedef enum el_use { EL_USE_FREE, EL_USE_KV, EL_USE_ADAPTER, EL_N_USE } el_use;

typedef struct el_pool {
  unsigned char *base; /* block i begins at base + i * block_bytes */
  size_t block_bytes;  /* a multiple of 64 */
  uint32_t n_blocks;
  uint32_t count[EL_N_USE]; /* number of blocks by use */
  unsigned char *use;       /* [n_blocks] el_use */
  unsigned char *touched;   /* [n_blocks] 1: written since its memory was last given back to the
                             * system */
  uint32_t low, high;       /* no block below low or from high on is free */
  bool keeps;               /* memory is never given back */
} el_pool;

el_status el_pool_new(size_t block_bytes, uint64_t n_blocks, el_pool *out, el_error *err);
void el_pool_free(el_pool *p);

/* Takes the memory of all blocks from the system and keeps it, so that writing to a block later
 * never waits for the system to find and clear a page. EL_ERR_NO_MEMORY says the size. */
el_status el_pool_prefault(el_pool *p, el_error *err);

/* Takes n blocks, or takes none and returns false. */
bool el_pool_take(el_pool *p, el_use use, uint32_t *blocks, uint32_t n);
/* The same for consecutive blocks. False also if enough blocks are free but not in one run. */
bool el_pool_take_run(el_pool *p, el_use use, uint32_t *blocks, uint32_t n);
void el_pool_give(el_pool *p, const uint32_t *blocks, uint32_t n);

static inline unsigned char *el_pool_at(const el_pool *p, uint32_t block) {
  return p->base + (size_t)block * p->block_bytes;
}

/* Whether a free block still holds memory that may be given back. */
bool el_pool_holds_idle_memory(const el_pool *p);
/* Gives the memory of free blocks back to the system. Their addresses stay reserved. */
void el_pool_forget(el_pool *p);

#endif
