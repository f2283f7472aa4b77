/* The arena of KV pages: one piece of address space, reserved when the engine opens and touched as it is used, and a
 * list of the pages that nobody has. Engine thread only. */
#ifndef EL_ENGINE_KV_PAGES_H
#define EL_ENGINE_KV_PAGES_H

#include "base/error.h"

typedef struct el_kv_pages {
  unsigned char *base; /* page i begins at base + i * page_bytes */
  size_t page_bytes;
  uint32_t n_pages, n_free;
  uint32_t *free_list; /* [n_free] a stack: the page that came back last, which is in memory, goes first */
  bool touched;        /* a page has been taken since the memory was last given back */
} el_kv_pages;

el_status el_kv_pages_new(size_t page_bytes, uint64_t n_pages, el_kv_pages *out, el_error *err);
void el_kv_pages_free(el_kv_pages *kv);

/* Takes n pages, or none and returns false. */
bool el_kv_pages_take(el_kv_pages *kv, uint32_t *pages, int n);
void el_kv_pages_give(el_kv_pages *kv, const uint32_t *pages, int n);

/* Gives the arena's memory back to the system; every page must be free. The address space stays. */
void el_kv_pages_forget(el_kv_pages *kv);

#endif
