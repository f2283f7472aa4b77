#include "engine/kv_pages.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

typedef struct el_kv_block {
  uint32_t first, n_free; /* free pages */
  uint32_t n_idle;
  uint32_t before, behind; /* in the list of those with free pages, while n_free > 0 */
} el_kv_block;

el_status el_kv_pages_new(el_pool *pool, size_t page_bytes, uint32_t max_blocks, el_kv_pages *out, el_error *err) {
  assert(page_bytes > 0 && pool->block_bytes % page_bytes == 0);
  el_kv_pages kv = {.pool = pool,
                    .page_bytes = page_bytes,
                    .per_block = (uint32_t)(pool->block_bytes / page_bytes),
                    .max_blocks = max_blocks,
                    .partial = EL_NO_BLOCK};
  uint64_t n_pages = (uint64_t)pool->n_blocks * kv.per_block;
  if (n_pages > UINT32_MAX || n_pages > SIZE_MAX / sizeof *kv.next)
    return el_fail(err, EL_ERR_NO_MEMORY, "KV cache: %llu pages are more than can be numbered",
                   (unsigned long long)n_pages);
  kv.next = malloc(sizeof *kv.next * (size_t)n_pages);
  kv.blocks = calloc(pool->n_blocks, sizeof *kv.blocks);
  if (!kv.next || !kv.blocks) {
    el_kv_pages_free(&kv);
    return el_fail(err, EL_ERR_NO_MEMORY, "KV cache: out of memory");
  }
  *out = kv;
  return EL_OK;
}

void el_kv_pages_free(el_kv_pages *kv) {
  free(kv->next);
  free(kv->blocks);
  *kv = (el_kv_pages){0};
}

static void list(el_kv_pages *kv, uint32_t b) {
  kv->blocks[b].before = EL_NO_BLOCK;
  kv->blocks[b].behind = kv->partial;
  if (kv->partial != EL_NO_BLOCK) kv->blocks[kv->partial].before = b;
  kv->partial = b;
}

static void unlist(el_kv_pages *kv, uint32_t b) {
  const el_kv_block *k = &kv->blocks[b];
  if (k->before == EL_NO_BLOCK)
    kv->partial = k->behind;
  else
    kv->blocks[k->before].behind = k->behind;
  if (k->behind != EL_NO_BLOCK) kv->blocks[k->behind].before = k->before;
}

/* All that holds the block are idle pages. */
static bool is_idle_block(const el_kv_pages *kv, uint32_t b) {
  const el_kv_block *k = &kv->blocks[b];
  return k->n_idle > 0 && k->n_idle + k->n_free == kv->per_block;
}

void el_kv_pages_mark(el_kv_pages *kv, uint32_t page, bool idle) {
  uint32_t b = page / kv->per_block;
  assert(kv->pool->use[b] == EL_USE_KV && (idle || kv->blocks[b].n_idle > 0));
  kv->n_idle_blocks -= is_idle_block(kv, b);
  kv->blocks[b].n_idle += idle ? 1 : -1u;
  kv->n_idle += idle ? 1 : -1u;
  kv->n_idle_blocks += is_idle_block(kv, b);
}

uint32_t el_kv_pages_need(const el_kv_pages *kv, uint64_t n) {
  if (n <= kv->n_free) return 0;
  uint64_t blocks = (n - kv->n_free + kv->per_block - 1) / kv->per_block;
  return kv->pool->count[EL_USE_KV] + blocks > kv->max_blocks ? UINT32_MAX : (uint32_t)blocks;
}

uint64_t el_kv_pages_need_at_last(const el_kv_pages *kv, uint64_t n) {
  const uint64_t room = kv->n_free + (uint64_t)kv->n_idle - (uint64_t)kv->n_idle_blocks * kv->per_block;
  return n > room ? (n - room + kv->per_block - 1) / kv->per_block : 0;
}

static void add_block(el_kv_pages *kv) {
  uint32_t b;
  bool taken = el_pool_take(kv->pool, EL_USE_KV, &b, 1);
  assert(taken);
  (void)taken;
  uint32_t first = b * kv->per_block;
  for (uint32_t i = 0; i < kv->per_block; i++) kv->next[first + i] = first + i + 1; /* the last is not looked at */
  kv->blocks[b].first = first;
  kv->blocks[b].n_free = kv->per_block;
  list(kv, b);
  kv->n_blocks++;
  kv->n_free += kv->per_block;
}

bool el_kv_pages_take(el_kv_pages *kv, uint32_t *pages, int n) {
  assert(n >= 0);
  if (el_kv_pages_need(kv, (uint64_t)n) > kv->pool->count[EL_USE_FREE]) return false;
  for (int i = 0; i < n; i++) {
    if (kv->partial == EL_NO_BLOCK) add_block(kv);
    uint32_t b = kv->partial;
    el_kv_block *k = &kv->blocks[b];
    kv->n_idle_blocks -= is_idle_block(kv, b);
    pages[i] = k->first;
    k->first = kv->next[k->first];
    if (!--k->n_free) unlist(kv, b);
    kv->n_free--;
    kv->n_used++;
  }
  return true;
}

void el_kv_pages_give(el_kv_pages *kv, const uint32_t *pages, int n) {
  while (n > 0) { /* the last first, so that they come out again in the order in which they were taken */
    uint32_t page = pages[--n], b = page / kv->per_block;
    el_kv_block *k = &kv->blocks[b];
    assert(b < kv->pool->n_blocks && kv->pool->use[b] == EL_USE_KV && k->n_free + k->n_idle < kv->per_block);
    kv->next[page] = k->first;
    k->first = page;
    if (!k->n_free++) list(kv, b);
    kv->n_free++;
    kv->n_used--;
    kv->n_idle_blocks += is_idle_block(kv, b);
    if (k->n_free < kv->per_block) continue;
    unlist(kv, b);
    el_pool_give(kv->pool, &b, 1);
    kv->n_blocks--;
    kv->n_free -= kv->per_block;
  }
}
