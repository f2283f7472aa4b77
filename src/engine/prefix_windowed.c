/* Windowed pages in the prefix cache: whose they are, and which may go. prefix.h has the idea. */
#include <assert.h>

#include "engine/prefix.h"

static void make_windowed_idle(el_prefix *p, uint32_t windowed, bool passed) {
  p->windowed_pages[windowed].passed = passed;
  el_idle_add(&p->idle_windowed[passed], windowed);
  el_kv_pages_mark(p->windowed, windowed, true);
}

static void make_windowed_used(el_prefix *p, uint32_t windowed) {
  el_idle_remove(&p->idle_windowed[p->windowed_pages[windowed].passed], windowed);
  el_kv_pages_mark(p->windowed, windowed, false);
}

bool el_prefix_take_windowed(el_prefix *p, uint32_t *pages, int n) {
  if (!el_kv_pages_take(p->windowed, pages, n)) return false;
  for (int i = 0; i < n; i++) {
    assert(!p->windowed_pages[pages[i]].refs && !p->windowed_pages[pages[i]].page);
    p->windowed_pages[pages[i]].refs = 1;
  }
  return true;
}

void el_prefix_release_windowed(el_prefix *p, const uint32_t *pages, int n, bool passed) {
  for (int i = 0; i < n; i++) {
    el_windowed_page *at = &p->windowed_pages[pages[i]];
    assert(at->refs > 0);
    if (--at->refs) continue;
    if (at->page)
      make_windowed_idle(p, pages[i], passed);
    else
      el_kv_pages_give(p->windowed, &pages[i], 1);
  }
}

uint32_t el_prefix_use_windowed(el_prefix *p, uint32_t page) {
  const uint32_t windowed = p->pages[page].windowed;
  assert(p->pages[page].cached && p->pages[page].refs && windowed != EL_NO_PAGE);
  if (!p->windowed_pages[windowed].refs++) make_windowed_used(p, windowed);
  return windowed;
}

uint32_t el_prefix_insert_windowed(el_prefix *p, uint32_t page, uint32_t windowed) {
  el_windowed_page *at = &p->windowed_pages[windowed];
  assert(p->pages[page].cached && p->pages[page].refs && at->refs == 1 && !at->page);
  if (p->pages[page].windowed != EL_NO_PAGE) {
    const uint32_t twin = el_prefix_use_windowed(p, page);
    el_prefix_release_windowed(p, &windowed, 1, false);
    return twin;
  }
  p->pages[page].windowed = windowed;
  at->page = page + 1;
  return windowed;
}

/* An idle one leaves its page and is free. */
static void evict_windowed(el_prefix *p, uint32_t windowed) {
  el_windowed_page *at = &p->windowed_pages[windowed];
  assert(!at->refs && at->page);
  make_windowed_used(p, windowed);
  p->pages[at->page - 1].windowed = EL_NO_PAGE;
  at->page = 0;
  el_kv_pages_give(p->windowed, &windowed, 1);
}

void el_prefix_drop_windowed(el_prefix *p, uint32_t page) {
  if (p->windowed && p->pages[page].windowed != EL_NO_PAGE) evict_windowed(p, p->pages[page].windowed);
}

void el_prefix_evict_windowed(el_prefix *p) {
  const el_idle_pages *idle = &p->idle_windowed[p->idle_windowed[true].n > 0];
  assert(idle->oldest != EL_NO_PAGE);
  evict_windowed(p, idle->oldest);
}
