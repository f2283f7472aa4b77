#include "engine/prefix.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* An empty list; false: out of memory. */
static bool list_new(size_t n_pages, el_idle_pages *out) {
  *out = (el_idle_pages){calloc(n_pages, sizeof *out->links), EL_NO_PAGE, EL_NO_PAGE, 0};
  return out->links;
}

el_status el_prefix_new(el_kv_pages *kv, el_kv_pages *windowed, bool on, el_prefix *out, el_error *err) {
  size_t n_pages = (size_t)kv->pool->n_blocks * kv->per_block, n_buckets = 1;
  while (n_buckets < n_pages && n_buckets < (size_t)1 << 31) n_buckets *= 2;
  const size_t n_windowed = windowed ? (size_t)kv->pool->n_blocks * windowed->per_block : 0;
  el_prefix p = {.kv = kv, .on = on, .mask = (uint32_t)(n_buckets - 1), .windowed = windowed};
  /* Zeros are right to begin with, so that memory is touched only as pages are. */
  p.pages = calloc(n_pages, sizeof *p.pages);
  p.buckets = calloc(n_buckets, sizeof *p.buckets);
  bool ok = p.pages && p.buckets && list_new(n_pages, &p.idle);
  if (ok && windowed) {
    p.windowed_pages = calloc(n_windowed, sizeof *p.windowed_pages);
    ok = p.windowed_pages && list_new(n_windowed, &p.idle_windowed[0]);
    p.idle_windowed[1] = p.idle_windowed[0];
  }
  if (!ok) {
    el_prefix_free(&p);
    return el_fail(err, EL_ERR_NO_MEMORY, "prefix cache: out of memory");
  }
  *out = p;
  return EL_OK;
}

void el_prefix_free(el_prefix *p) {
  free(p->pages);
  free(p->buckets);
  free(p->idle.links);
  free(p->windowed_pages);
  free(p->idle_windowed[0].links);
  *p = (el_prefix){0};
}

/* ---------------------------------------------------------------- idle pages */

static void make_page_idle(el_prefix *p, uint32_t page) {
  el_idle_add(&p->idle, page);
  el_kv_pages_mark(p->kv, page, true);
}

static void make_page_used(el_prefix *p, uint32_t page) {
  el_idle_remove(&p->idle, page);
  el_kv_pages_mark(p->kv, page, false);
}

/* ------------------------------------------------------------------ the tree */

static bool same_owner(el_prefix_owner a, el_prefix_owner b) {
  return a.adapter == b.adapter && a.domain == b.domain && a.base_tokens == b.base_tokens;
}

/* Whether a page may hang on another one: an adapter's hang on its own, or on the base's where it begins. */
static bool may_follow(el_prefix_owner owner, el_prefix_owner parent) {
  return owner.domain == parent.domain && (!parent.adapter || (owner.adapter == parent.adapter && !owner.base_tokens));
}

static uint32_t bucket_of(const el_prefix *p, el_prefix_owner owner, uint32_t parent, const int32_t *tokens) {
  uint64_t h = ((uint64_t)(uintptr_t)owner.adapter ^ (uint64_t)parent << 32) + owner.domain * 0xd6e8feb86659fd93u;
  for (int i = 0; i < EL_PAGE_TOKENS; i++) {
    h = (h ^ (uint32_t)tokens[i]) * 0x9e3779b97f4a7c15u;
    h ^= h >> 29;
  }
  return (uint32_t)(h >> 24) & p->mask;
}

uint32_t el_prefix_find(const el_prefix *p, el_prefix_owner owner, uint32_t parent, const int32_t *tokens) {
  if (!p->on) return EL_NO_PAGE;
  for (uint32_t i = p->buckets[bucket_of(p, owner, parent, tokens)]; i; i = p->pages[i - 1].hash_next) {
    const el_prefix_page *at = &p->pages[i - 1];
    if (same_owner(at->owner, owner) && at->parent == parent && !memcmp(at->tokens, tokens, sizeof at->tokens))
      return i - 1;
  }
  return EL_NO_PAGE;
}

/* Out of the tree, and free. */
static void drop_page(el_prefix *p, uint32_t page) {
  el_prefix_page *at = &p->pages[page];
  assert(at->cached && !at->refs && !at->n_children);
  el_prefix_drop_windowed(p, page);
  uint32_t *link = &p->buckets[bucket_of(p, at->owner, at->parent, at->tokens)];
  while (*link != page + 1) link = &p->pages[*link - 1].hash_next;
  *link = at->hash_next;
  if (at->parent != EL_NO_PAGE) p->pages[at->parent].n_children--;
  if (at->owner.adapter) at->owner.adapter->n_prefix_pages--;
  at->cached = false;
  p->n_cached--;
  make_page_used(p, page);
  el_kv_pages_give(p->kv, &page, 1);
}

void el_prefix_use(el_prefix *p, uint32_t page) {
  el_prefix_page *at = &p->pages[page];
  assert(at->cached);
  if (!at->refs++) make_page_used(p, page);
}

uint32_t el_prefix_insert(el_prefix *p, el_prefix_owner owner, uint32_t parent, const int32_t *tokens, uint32_t page) {
  assert(p->on && p->pages[page].refs == 1 && !p->pages[page].cached);
  assert(parent == EL_NO_PAGE ||
         (p->pages[parent].cached && p->pages[parent].refs && may_follow(owner, p->pages[parent].owner)));
  uint32_t twin = el_prefix_find(p, owner, parent, tokens);
  if (twin != EL_NO_PAGE) {
    el_prefix_use(p, twin);
    el_prefix_release(p, &page, 1);
    return twin;
  }
  el_prefix_page *at = &p->pages[page];
  uint32_t *bucket = &p->buckets[bucket_of(p, owner, parent, tokens)];
  *at = (el_prefix_page){
      .owner = owner, .parent = parent, .refs = 1, .hash_next = *bucket, .windowed = EL_NO_PAGE, .cached = true};
  memcpy(at->tokens, tokens, sizeof at->tokens);
  *bucket = page + 1;
  if (parent != EL_NO_PAGE) p->pages[parent].n_children++;
  if (owner.adapter) owner.adapter->n_prefix_pages++;
  p->n_cached++;
  return page;
}

/* ---------------------------------------------------------------- take, give */

bool el_prefix_take(el_prefix *p, uint32_t *pages, int n) {
  if (!el_kv_pages_take(p->kv, pages, n)) return false;
  for (int i = 0; i < n; i++) {
    assert(!p->pages[pages[i]].refs && !p->pages[pages[i]].cached);
    p->pages[pages[i]].refs = 1;
  }
  return true;
}

void el_prefix_release(el_prefix *p, const uint32_t *pages, int n) {
  /* The last first: then a page becomes idle before the one that it hangs on, and is evicted before it. */
  while (n > 0) {
    uint32_t page = pages[--n];
    el_prefix_page *at = &p->pages[page];
    assert(at->refs > 0);
    if (--at->refs) continue;
    if (at->cached)
      make_page_idle(p, page);
    else
      el_kv_pages_give(p->kv, &page, 1);
  }
}

uint32_t el_prefix_n_idle(const el_prefix *p) {
  return p->kv->n_idle + (p->windowed ? p->windowed->n_idle : 0);
}

/* Whether windowed pages that were passed have more than their share of the idle pages' memory. */
static bool passed_go_first(const el_prefix *p) {
  const uint64_t full = (uint64_t)p->kv->n_idle * p->kv->page_bytes, each = p->windowed->page_bytes;
  return EL_PASSED_SHARE * each * p->idle_windowed[true].n > full + each * p->windowed->n_idle;
}

void el_prefix_evict(el_prefix *p) {
  if (p->windowed && (p->idle.oldest == EL_NO_PAGE || passed_go_first(p))) {
    el_prefix_evict_windowed(p);
    return;
  }
  assert(p->idle.oldest != EL_NO_PAGE);
  drop_page(p, p->idle.oldest);
}

void el_prefix_purge(el_prefix *p, el_entry *adapter) {
  for (uint32_t page = p->idle.oldest, newer; adapter->n_prefix_pages; page = newer) {
    assert(page != EL_NO_PAGE); /* all of them are idle */
    newer = p->idle.links[page].newer;
    if (p->pages[page].owner.adapter == adapter) drop_page(p, page);
  }
}
