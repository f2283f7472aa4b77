/* KV pages out of blocks of the pool: a block that holds a page belongs to the pages until its last one comes back.
 * Engine thread only.
 *
 * A block holds a whole number of pages of one kind and nothing else, so page i begins at the pool's base + i *
 * page_bytes. Where there are two kinds (kv_layout.h) each has an el_kv_pages, and the limit is both's together. */
#ifndef EL_ENGINE_KV_PAGES_H
#define EL_ENGINE_KV_PAGES_H

#include "adapter/pool.h"

typedef struct el_kv_pages {
  el_pool *pool;
  size_t page_bytes;
  uint32_t per_block;
  uint32_t max_blocks; /* that pages, of any kind, may have at once */
  uint32_t n_blocks;   /* that these have */
  uint32_t n_free;     /* pages in them that nobody has */
  uint32_t n_used;
  uint32_t n_idle;            /* of the used ones: pages that may be given back at any time */
  uint32_t n_idle_blocks;     /* that have no other pages */
  uint32_t *next;             /* [pool's blocks * per_block] chains of a block's free pages */
  struct el_kv_block *blocks; /* [pool's blocks] */
  uint32_t partial;           /* the first of the blocks with free pages, or EL_NO_BLOCK */
} el_kv_pages;

enum { EL_NO_BLOCK = UINT32_MAX };

/* The pool's blocks have page_bytes * per_block bytes. */
el_status el_kv_pages_new(el_pool *pool, size_t page_bytes, uint32_t max_blocks, el_kv_pages *out, el_error *err);
void el_kv_pages_free(el_kv_pages *kv);

/* Blocks that must be free in the pool so that n pages can be taken; UINT32_MAX: more than there may be. */
uint32_t el_kv_pages_need(const el_kv_pages *kv, uint64_t n);
/* Blocks that n pages want beside those that stay if all idle pages are given back. */
uint64_t el_kv_pages_need_at_last(const el_kv_pages *kv, uint64_t n);
/* Takes n pages, or none and returns false. */
bool el_kv_pages_take(el_kv_pages *kv, uint32_t *pages, int n);
void el_kv_pages_give(el_kv_pages *kv, const uint32_t *pages, int n); /* none is idle */
/* Whoever has a page says that it has become idle, or that it is no longer. */
void el_kv_pages_mark(el_kv_pages *kv, uint32_t page, bool idle);

#endif
