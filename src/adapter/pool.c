#include "adapter/pool.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

el_status el_pool_new(size_t block_bytes, uint64_t n_blocks, el_pool *out, el_error *err) {
  assert(block_bytes > 0 && block_bytes % 64 == 0 && n_blocks > 0);
  if (n_blocks > UINT32_MAX || n_blocks > SIZE_MAX / block_bytes)
    return el_fail(err, EL_ERR_NO_MEMORY, "memory pool: %llu blocks of %zu bytes are more than can be addressed",
                   (unsigned long long)n_blocks, block_bytes);
  el_pool p = {.block_bytes = block_bytes, .n_blocks = (uint32_t)n_blocks, .high = (uint32_t)n_blocks};
  size_t bytes = block_bytes * (size_t)n_blocks;
  p.use = calloc((size_t)n_blocks, 1);
  p.touched = calloc((size_t)n_blocks, 1);
  el_status status = p.use && p.touched ? EL_OK : el_fail(err, EL_ERR_NO_MEMORY, "memory pool: out of memory");
  if (!status) {
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
      status = el_fail(err, EL_ERR_NO_MEMORY, "memory pool: cannot reserve %zu MiB: %s", bytes >> 20, strerror(errno));
    } else {
      /* A step reads whole adapters and many pages: address translations would cost as much as the
       * reads. This is advice: a kernel that ignores it works too. */
      madvise(base, bytes, MADV_HUGEPAGE);
      p.base = base;
      p.count[EL_USE_FREE] = p.n_blocks;
    }
  }
  if (status)
    el_pool_free(&p);
  else
    *out = p;
  return status;
}

void el_pool_free(el_pool *p) {
  if (p->base) munmap(p->base, p->block_bytes * p->n_blocks);
  free(p->use);
  free(p->touched);
  *p = (el_pool){0};
}

el_status el_pool_prefault(el_pool *p, el_error *err) {
  const size_t bytes = p->block_bytes * p->n_blocks, page = (size_t)sysconf(_SC_PAGESIZE);
  if (madvise(p->base, bytes, MADV_POPULATE_WRITE)) {
    if (errno != EINVAL)
      return el_fail(err, EL_ERR_NO_MEMORY, "memory pool: cannot get %zu MiB at once: %s", bytes >> 20,
                     strerror(errno));
    /* Linux before 5.14. Memory that is written to is zero already. */
    for (size_t i = 0; i < bytes; i += page) *(volatile unsigned char *)(p->base + i) = 0;
  }
  p->keeps = true;
  return EL_OK;
}

static void mark_block(el_pool *p, uint32_t block, el_use use) {
  assert(p->use[block] == EL_USE_FREE);
  p->use[block] = (unsigned char)use;
  p->touched[block] = 1;
  p->count[EL_USE_FREE]--;
  p->count[use]++;
}

bool el_pool_take(el_pool *p, el_use use, uint32_t *blocks, uint32_t n) {
  assert(use == EL_USE_KV || use == EL_USE_ADAPTER);
  if (p->count[EL_USE_FREE] < n) return false;
  for (uint32_t i = 0; i < n; i++) {
    /* A free block exists, so the search cannot fail. */
    const unsigned char *at = use == EL_USE_KV ? memchr(p->use + p->low, EL_USE_FREE, p->high - p->low)
                                               : memrchr(p->use + p->low, EL_USE_FREE, p->high - p->low);
    assert(at);
    blocks[i] = (uint32_t)(at - p->use);
    if (use == EL_USE_KV)
      p->low = blocks[i] + 1;
    else
      p->high = blocks[i];
    mark_block(p, blocks[i], use);
  }
  return true;
}

bool el_pool_take_run(el_pool *p, el_use use, uint32_t *blocks, uint32_t n) {
  assert(use == EL_USE_KV || use == EL_USE_ADAPTER);
  uint32_t have = 0;
  for (uint32_t i = p->high; have < n && i-- > p->low;) {
    have = p->use[i] == EL_USE_FREE ? have + 1 : 0;
    if (have < n) continue;
    for (uint32_t k = 0; k < n; k++) {
      blocks[k] = i + k;
      mark_block(p, i + k, use);
    }
  }
  return have >= n;
}

void el_pool_give(el_pool *p, const uint32_t *blocks, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    uint32_t block = blocks[i];
    assert(block < p->n_blocks && p->use[block] != EL_USE_FREE);
    p->count[p->use[block]]--;
    p->count[EL_USE_FREE]++;
    p->use[block] = EL_USE_FREE;
    if (block < p->low) p->low = block;
    if (block >= p->high) p->high = block + 1;
  }
}

/* The next run of free, touched blocks at or after `from`: [*begin, result). */
static uint32_t idle_run(const el_pool *p, uint32_t from, uint32_t *begin) {
  while (from < p->n_blocks && (p->use[from] != EL_USE_FREE || !p->touched[from])) from++;
  *begin = from;
  while (from < p->n_blocks && p->use[from] == EL_USE_FREE && p->touched[from]) from++;
  return from;
}

bool el_pool_holds_idle_memory(const el_pool *p) {
  uint32_t begin;
  return !p->keeps && idle_run(p, 0, &begin) > begin;
}

void el_pool_forget(el_pool *p) {
  uint32_t begin, end = 0;
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  while ((end = idle_run(p, end, &begin)) > begin) {
    /* Blocks need not begin at a page of memory: a page that blocks share stays with its
     * neighbours. */
    uintptr_t from = ((uintptr_t)el_pool_at(p, begin) + page - 1) / page * page,
              to = (uintptr_t)el_pool_at(p, end) / page * page;
    if (from < to) madvise(p->base + (from - (uintptr_t)p->base), to - from, MADV_DONTNEED);
    memset(p->touched + begin, 0, end - begin);
  }
}
