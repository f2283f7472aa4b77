#include "engine/kv_pages.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

el_status el_kv_pages_new(size_t page_bytes, uint64_t n_pages, el_kv_pages *out, el_error *err) {
  assert(page_bytes > 0 && n_pages > 0);
  if (n_pages > UINT32_MAX || n_pages > SIZE_MAX / page_bytes)
    return el_fail(err, EL_ERR_NO_MEMORY, "KV cache: %llu pages of %zu bytes are more than can be addressed",
                   (unsigned long long)n_pages, page_bytes);
  el_kv_pages kv = {.page_bytes = page_bytes, .n_pages = (uint32_t)n_pages, .n_free = (uint32_t)n_pages};
  size_t bytes = page_bytes * (size_t)n_pages;
  kv.free_list = malloc(sizeof *kv.free_list * (size_t)n_pages);
  if (!kv.free_list) return el_fail(err, EL_ERR_NO_MEMORY, "KV cache: out of memory");
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) {
    int e = errno;
    free(kv.free_list);
    return el_fail(err, EL_ERR_NO_MEMORY, "KV cache: cannot reserve %zu MiB: %s", bytes >> 20, strerror(e));
  }
  madvise(p, bytes, MADV_HUGEPAGE); /* advice: a kernel without it works too */
  kv.base = p;
  for (uint32_t i = 0; i < kv.n_pages; i++) kv.free_list[i] = kv.n_pages - 1 - i;
  *out = kv;
  return EL_OK;
}

void el_kv_pages_free(el_kv_pages *kv) {
  if (kv->base) munmap(kv->base, kv->page_bytes * kv->n_pages);
  free(kv->free_list);
  *kv = (el_kv_pages){0};
}

bool el_kv_pages_take(el_kv_pages *kv, uint32_t *pages, int n) {
  assert(n >= 0);
  if (kv->n_free < (uint32_t)n) return false;
  for (int i = 0; i < n; i++) pages[i] = kv->free_list[--kv->n_free];
  kv->touched |= n > 0;
  return true;
}

void el_kv_pages_give(el_kv_pages *kv, const uint32_t *pages, int n) {
  assert(n >= 0 && kv->n_free + (uint32_t)n <= kv->n_pages);
  while (n > 0) { /* the last first, so that they come out again in the order in which they were taken */
    uint32_t page = pages[--n];
    assert(page < kv->n_pages);
    kv->free_list[kv->n_free++] = page;
  }
}

void el_kv_pages_forget(el_kv_pages *kv) {
  assert(kv->n_free == kv->n_pages);
  if (!kv->touched) return;
  madvise(kv->base, kv->page_bytes * kv->n_pages, MADV_DONTNEED);
  kv->touched = false;
}
