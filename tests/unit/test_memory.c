/* The pool, the cache of adapters, the page table and the prefix cache under random operations, beside a simple model
 * of who has what: no block is lost, none has two owners, a page that several sequences have is what each would have
 * computed, nothing that is in use changes. EL_PROPERTY_OPS: how many operations for each setup. */
#include "engine_fixture.h"
#include "kernels/select.h"

enum { N_ENTRIES = 24, N_SEQS = 12, MAX_PAGES = 40, PAGE = 512 };

typedef struct sim {
  bool waits, runs, seen;
  el_entry *entry; /* a reference; NULL: base */
  uint32_t pages[MAX_PAGES];
  uint32_t windowed[MAX_PAGES]; /* it has those from windowed_begin on, as far as it has pages */
  int windowed_begin;
  int n_pages, wanted; /* pages now, when it starts */
  int n_chained;       /* leading pages that are full, and in the prefix cache */
  int32_t text;        /* what its tokens are: see token_of */
  uint64_t domain;
} sim;

typedef struct world {
  el_model *model;
  el_registry *registry;
  el_memory m;
  sim seqs[N_SEQS]; /* in order of age: the oldest first */
  uint64_t rng, ops;
  int n_started, n_grown, n_stuck, n_failed, n_found, n_twins, n_passed, n_lost;
  int window; /* pages that stay when a sequence goes on; 0: there are no windowed ones */
} world;

static uint32_t below(world *w, uint32_t n) {
  w->rng ^= w->rng << 13;
  w->rng ^= w->rng >> 7;
  w->rng ^= w->rng << 17;
  return (uint32_t)(w->rng >> 33) % n;
}

static void name_of(int i, char name[16]) {
  snprintf(name, 16, "adapter-%d", i);
}

/* Every fifth is not there when it is wanted. */
static void add_entry(world *w, int i) {
  char name[16];
  el_error err;
  name_of(i, name);
  el_entry_spec spec = {.name = name,
                        .path = i % 5 == 4 ? "/does/not/exist" : "",
                        .dir = EL_NO_DIR,
                        .rank = 1 + (int)below(w, 7),
                        .seed = (uint64_t)i << 32};
  if (below(w, 2)) spec.size = (el_pack_size){(uint32_t)spec.rank, spec.rank % 4 == 3, spec.rank, 1}; /* known */
  el_status status = el_registry_add(w->registry, &spec, &err);
  if (status && status != EL_ERR_EXISTS) fail_msg("%s", err.message);
}

static void open_world(world *w, uint64_t seed, uint32_t n_blocks, uint32_t per_block, uint32_t reserve,
                       const char *policy, bool weak_hash, uint32_t windowed_per_block) {
  *w = (world){.rng = seed * 0x9e3779b97f4a7c15u + 1, .window = windowed_per_block ? 1 + (int)(seed % 3) : 0};
  el_error err;
  const el_kernels *k;
  static const el_log silent;
  /* A block of either kind of pages, whatever is left of it. */
  el_memory_options o = {.layout = {.block_bytes = (size_t)PAGE * per_block * (w->window ? windowed_per_block : 1),
                                    .per_block = per_block,
                                    .windowed_per_block = windowed_per_block,
                                    .window = 1,
                                    .most_windowed = MAX_PAGES},
                         .n_blocks = n_blocks,
                         .reserve = reserve,
                         .policy = policy,
                         .prefix_cache = true};
  if (el_model_load(NULL, NULL, NULL, EL_WEIGHTS_KEEP, NULL, NULL, &w->model, &err)) fail_msg("%s", err.message);
  if (el_kernels_get("scalar", &k, &err) || el_registry_new("base", NULL, NULL, &w->registry, &err) ||
      el_memory_new(&o, el_model_sites(w->model), k, w->registry, &silent, &w->m, &err))
    fail_msg("%s", err.message);
  if (weak_hash) w->m.prefix.mask = 0; /* all pages are in one bucket */
  for (int i = 0; i < N_ENTRIES; i++) add_entry(w, i);
}

/* ------------------------------------------------------------------- texts */

/* Texts t and u begin alike, up to a page that depends on both: they part where a bit of their numbers differs, the
 * lowest first. What follows is alike again, so that equal pages behind different ones must be told apart. */
static int32_t token_of(int32_t text, int page) {
  return page < 6 ? page * 2 + (text >> (page / 2) & page & 1) : page;
}

static void tokens_of(const sim *q, int page, int32_t tokens[EL_PAGE_TOKENS]) {
  for (int i = 0; i < EL_PAGE_TOKENS; i++) tokens[i] = i == 3 ? token_of(q->text, page) : 'x';
}

/* What a full page of the sequence holds: it depends on the adapter and on all before it; here on the domain too. */
static unsigned char content_of(const sim *q, int page) {
  uint64_t h = (uint64_t)(uintptr_t)q->entry + q->domain * 12345;
  for (int p = 0; p <= page; p++) h = (h + (uint64_t)token_of(q->text, p) + 1) * 0x9e3779b97f4a7c15u;
  return (unsigned char)(h >> 56);
}

/* ------------------------------------------------------------- what must hold */

static unsigned char *page_at(world *w, bool windowed, uint32_t page) {
  return w->m.pool.base + (size_t)page * (windowed ? &w->m.windowed : &w->m.kv)->page_bytes;
}

static void own(unsigned char *owner, uint32_t n_blocks, uint32_t block, unsigned char who) {
  assert_true(block < n_blocks);
  if (owner[block]) fail_msg("block %u belongs to %d and to %d", block, owner[block], who);
  owner[block] = who;
}

typedef struct adapters {
  world *w;
  unsigned char *owner;
  uint64_t n, pinned, idle;
} adapters;

/* The tree of cached pages and the list of idle ones. `had`: by how many sequences a page is had. */
static void check_prefixes(world *w, const uint32_t *had) {
  static uint32_t children[256 * 16];
  static bool seen[256 * 16];
  const el_prefix *p = &w->m.prefix;
  const el_kv_pages *kv = p->kv;
  uint32_t n_pages = w->m.pool.n_blocks * kv->per_block, n_cached = 0, n_idle = 0, n_idle_blocks = 0;
  memset(children, 0, sizeof children);
  memset(seen, 0, sizeof seen);
  for (uint32_t i = 0; i < n_pages; i++) {
    const el_prefix_page *at = &p->pages[i];
    assert_int_equal(at->refs, had[i]);
    if (!at->cached) continue;
    n_cached++;
    n_idle += !at->refs;
    assert_int_equal(el_prefix_find(p, at->owner, at->parent, at->tokens), i); /* so there are no twins */
    if (at->parent == EL_NO_PAGE) continue;
    assert_true(p->pages[at->parent].cached);
    assert_ptr_equal(p->pages[at->parent].owner.adapter, at->owner.adapter);
    assert_int_equal(p->pages[at->parent].owner.domain, at->owner.domain);
    assert_true(p->pages[at->parent].refs >= at->refs);
    children[at->parent]++;
  }
  for (uint32_t i = 0; i < n_pages; i++)
    if (p->pages[i].cached) assert_int_equal(p->pages[i].n_children, children[i]);
  assert_int_equal(n_cached, p->n_cached);
  assert_int_equal(n_idle, kv->n_idle);
  for (uint32_t i = p->idle.oldest, older = EL_NO_PAGE; i != EL_NO_PAGE;
       older = i, i = p->idle.links[i].newer, n_idle--) {
    const el_prefix_page *at = &p->pages[i];
    assert_true(at->cached && !at->refs && p->idle.links[i].older == older && !children[i]);
    if (at->parent != EL_NO_PAGE) children[at->parent]--; /* those behind a page are before it in the list */
  }
  assert_int_equal(n_idle, 0);
  for (uint32_t b = 0; b < w->m.pool.n_blocks; b++) {
    bool all = false;
    for (uint32_t i = b * kv->per_block; i < (b + 1) * kv->per_block; i++) {
      bool idle = p->pages[i].cached && !p->pages[i].refs;
      if (had[i]) {
        all = false;
        break;
      }
      all = all || idle;
    }
    n_idle_blocks += all;
  }
  assert_int_equal(n_idle_blocks, kv->n_idle_blocks);
}

/* Every resident adapter, by the policy's own queues. */
static void own_adapters(adapters *a) {
  for (int q = 0; q < EL_CACHE_QUEUES; q++) {
    uint64_t size = 0;
    for (el_cache_item *i = a->w->m.cache.queue[q].first; i; i = i->next) {
      el_entry *e = (el_entry *)(void *)((char *)i - offsetof(el_entry, item));
      assert_non_null(e->adapter);
      assert_true(i->resident && i->size == e->adapter->n_blocks);
      assert_int_equal(atomic_load(&e->state), EL_ADAPTER_RESIDENT);
      for (uint32_t b = 0; b < e->adapter->n_blocks; b++)
        own(a->owner, a->w->m.pool.n_blocks, e->adapter->blocks[b], EL_USE_ADAPTER);
      size += i->size;
      a->n++;
      uint32_t pins = 0;
      for (int s = 0; s < N_SEQS; s++) pins += a->w->seqs[s].runs && a->w->seqs[s].entry == e;
      assert_int_equal(e->n_pins, pins);
      *(pins ? &a->pinned : &a->idle) += i->size;
    }
    assert_int_equal(size, a->w->m.cache.queue[q].size);
  }
}

/* Windowed pages: had by as many as say so, in the tree by one page that knows it, idle in one list. */
static void check_windowed(world *w, unsigned char *owner) {
  static uint32_t had[256 * 16];
  const el_prefix *p = &w->m.prefix;
  const el_kv_pages *kv = &w->m.windowed;
  const uint32_t n_pages = w->m.pool.n_blocks * kv->per_block;
  uint32_t n_used = 0, n_idle = 0, n_listed = 0, n_kept = 0, n_owned = 0;
  memset(had, 0, sizeof had);
  for (int s = 0; s < N_SEQS; s++)
    for (int i = w->seqs[s].windowed_begin; i < w->seqs[s].n_pages; i++) had[w->seqs[s].windowed[i]]++;
  for (uint32_t i = 0; i < n_pages; i++) {
    const el_windowed_page *at = &p->windowed_pages[i];
    assert_int_equal(at->refs, had[i]);
    if (at->page) assert_true(p->pages[at->page - 1].cached && p->pages[at->page - 1].windowed == i);
    assert_true(at->refs <= 1 || at->page);
    if (at->page) assert_true(p->pages[at->page - 1].refs >= at->refs);
    n_owned += at->page > 0;
    if (!at->refs && !at->page) continue;
    n_used++;
    n_idle += !at->refs;
    const uint32_t b = i / kv->per_block;
    if (owner[b] != 99) own(owner, w->m.pool.n_blocks, b, 99); /* no full page is in it */
  }
  assert_int_equal(n_used, kv->n_used);
  assert_int_equal(n_idle, kv->n_idle);
  for (uint32_t i = 0; i < w->m.pool.n_blocks * w->m.kv.per_block; i++)
    n_kept += p->pages[i].cached && p->pages[i].windowed != EL_NO_PAGE;
  for (int passed = 0; passed < 2; passed++) {
    uint32_t n = 0;
    for (uint32_t i = p->idle_windowed[passed].oldest, older = EL_NO_PAGE; i != EL_NO_PAGE;
         older = i, i = p->idle_windowed[passed].links[i].newer, n++)
      assert_true(!p->windowed_pages[i].refs && p->windowed_pages[i].passed == passed &&
                  p->idle_windowed[passed].links[i].older == older);
    assert_int_equal(n, p->idle_windowed[passed].n);
    n_listed += n;
  }
  assert_int_equal(n_listed, n_idle);
  assert_int_equal(n_kept, n_owned);
  for (uint32_t b = 0; b < w->m.pool.n_blocks; b++)
    if (owner[b] == 99) owner[b] = EL_USE_KV;
}

static void check(world *w) {
  static unsigned char owner[256];
  static uint32_t had[256 * 16];
  el_memory *m = &w->m;
  uint32_t n_blocks = m->pool.n_blocks, n_pages = 0;
  memset(owner, 0, sizeof owner);
  memset(had, 0, sizeof had);
  adapters a = {.w = w, .owner = owner};
  own_adapters(&a);
  assert_int_equal(a.n, m->cache.n_items);
  assert_int_equal(a.pinned, m->pinned);
  assert_int_equal(a.pinned + a.idle, m->cache.size);
  assert_true(m->held <= a.idle);
  for (int i = 0; i < el_loader_n(m->loader); i++) {
    const el_load *load = el_loader_at(m->loader, i);
    for (uint32_t b = 0; b < load->n_blocks; b++) own(owner, n_blocks, load->blocks[b], EL_USE_ADAPTER);
  }
  for (int s = 0; s < N_SEQS; s++) {
    sim *q = &w->seqs[s];
    assert_true(q->runs || !q->n_pages);
    if (q->runs && q->entry) assert_non_null(q->entry->adapter);
    for (int p = 0; p < q->n_pages; p++) {
      bool cached = m->prefix.pages[q->pages[p]].cached;
      assert_int_equal(cached, p < q->n_chained);
      if (had[q->pages[p]]++) assert_true(cached); /* what is written has one sequence */
    }
  }
  for (uint32_t i = 0; i < n_blocks * m->kv.per_block; i++) {
    uint32_t b = i / m->kv.per_block;
    if (!had[i] && !m->prefix.pages[i].cached) continue;
    if (owner[b] != EL_USE_KV) own(owner, n_blocks, b, EL_USE_KV);
    n_pages++;
  }
  assert_int_equal(n_pages, m->kv.n_used);
  if (w->window) check_windowed(w, owner);
  check_prefixes(w, had);
  uint32_t count[EL_N_USE] = {0};
  for (uint32_t b = 0; b < n_blocks; b++) {
    assert_int_equal(owner[b], m->pool.use[b]); /* the free ones too: nothing is lost */
    count[owner[b]]++;
  }
  for (int u = 0; u < EL_N_USE; u++) assert_int_equal(count[u], m->pool.count[u]);
  assert_int_equal(count[EL_USE_KV], m->kv.n_blocks + m->windowed.n_blocks);
  assert_true(count[EL_USE_KV] <= n_blocks - m->reserve);
}

/* ----------------------------------------------------------------- operations */

static void fill_page(world *w, bool windowed, uint32_t page, int with) {
  memset(page_at(w, windowed, page), with, (windowed ? &w->m.windowed : &w->m.kv)->page_bytes);
}

static void fill(world *w, sim *q, int from) {
  for (int p = from; p < q->n_pages; p++) fill_page(w, false, q->pages[p], (int)(q->pages[p] * 7 + 1));
  for (int p = from; w->window && p < q->n_pages; p++)
    fill_page(w, true, q->windowed[p], (int)(q->windowed[p] * 5 + 2));
}

static void assert_page(world *w, bool windowed, uint32_t page, unsigned char is) {
  const unsigned char *at = page_at(w, windowed, page);
  const size_t n = (windowed ? &w->m.windowed : &w->m.kv)->page_bytes;
  for (size_t i = 0; i < n; i++)
    if (at[i] != is) fail_msg("page %u of a sequence has %d, not %d", page, at[i], is);
}

static void assert_whole(world *w, const sim *q) {
  for (int p = 0; p < q->n_pages; p++)
    assert_page(w, false, q->pages[p], p < q->n_chained ? content_of(q, p) : (unsigned char)(q->pages[p] * 7 + 1));
  for (int p = q->windowed_begin; w->window && p < q->n_pages; p++)
    assert_page(w, true, q->windowed[p],
                p < q->n_chained ? (unsigned char)~content_of(q, p) : (unsigned char)(q->windowed[p] * 5 + 2));
  if (q->runs && q->entry) assert_true(fake_adapter_is_whole(q->entry->adapter));
}

static void release(world *w, sim *q) {
  assert_whole(w, q);
  if (w->window)
    el_prefix_release_windowed(&w->m.prefix, q->windowed + q->windowed_begin, q->n_pages - q->windowed_begin, false);
  el_prefix_release(&w->m.prefix, q->pages, q->n_pages);
  el_memory_unpin(&w->m, q->entry);
  q->n_pages = q->n_chained = q->windowed_begin = 0;
  q->runs = false;
}

/* Finished, cancelled or failed, whatever it was doing. */
static void end(world *w, int s) {
  sim *q = &w->seqs[s];
  if (q->runs) release(w, q);
  el_registry_put(w->registry, q->entry);
  memmove(q, q + 1, sizeof *q * (size_t)(N_SEQS - 1 - s)); /* the others stay in order */
  w->seqs[N_SEQS - 1] = (sim){0};
}

static void submit(world *w) {
  int s = 0;
  while (s < N_SEQS && (w->seqs[s].waits || w->seqs[s].runs)) s++;
  if (s == N_SEQS) return;
  sim q = {.waits = true, .wanted = 1 + (int)below(w, 6), .text = (int32_t)below(w, 8), .domain = below(w, 2)};
  char name[16];
  /* Some are asked for more often. */
  name_of((int)below(w, below(w, 2) ? N_ENTRIES : 5), name);
  if (below(w, 6) && el_registry_get(w->registry, name, &q.entry, NULL)) return; /* it has been removed */
  el_error err;
  if (q.entry && el_memory_check(&w->m, q.entry, (uint64_t)q.wanted * EL_PAGE_TOKENS, EL_PAGE_TOKENS, &err)) {
    el_registry_put(w->registry, q.entry);
    return;
  }
  w->seqs[s] = q;
}

static el_prefix_owner owner_of(const sim *q) {
  return (el_prefix_owner){q->entry, q->domain, 0};
}

static uint32_t last_chained(const sim *q) {
  return q->n_chained ? q->pages[q->n_chained - 1] : (uint32_t)EL_NO_PAGE;
}

/* The first windowed page that it goes on with behind n pages. */
static int window_begin(const world *w, int n) {
  return n > w->window ? n - w->window : 0;
}

static void pass_window(world *w, sim *q) {
  for (; w->window && q->windowed_begin < window_begin(w, q->n_chained); q->windowed_begin++, w->n_passed++)
    el_prefix_release_windowed(&w->m.prefix, &q->windowed[q->windowed_begin], 1, true);
}

/* Pages that are there with the windowed ones that are wanted then. */
static int found(world *w, const sim *q, int n) {
  int32_t tokens[EL_PAGE_TOKENS];
  int best = q->n_chained, missing = -1;
  uint32_t page = last_chained(q);
  for (int i = q->n_chained; i < n - 1; i++) {
    tokens_of(q, i, tokens);
    page = el_prefix_find(&w->m.prefix, owner_of(q), page, tokens);
    if (page == EL_NO_PAGE) break;
    if (w->window && w->m.prefix.pages[page].windowed == EL_NO_PAGE) missing = i;
    if (missing < window_begin(w, i + 1) || !w->window) best = i + 1;
  }
  w->n_lost += missing >= 0;
  return best;
}

/* As scheduler.c does it, page by page: all but the last page may be another's. */
static void reuse(world *w, sim *q, int n) {
  n = found(w, q, n) + 1;
  const int had = q->n_pages;
  int32_t tokens[EL_PAGE_TOKENS];
  while (q->n_chained < n - 1) {
    tokens_of(q, q->n_chained, tokens);
    uint32_t page = el_prefix_find(&w->m.prefix, owner_of(q), last_chained(q), tokens);
    if (page == EL_NO_PAGE) return;
    el_prefix_use(&w->m.prefix, page);
    if (q->n_chained < q->n_pages)
      el_prefix_release(&w->m.prefix, &q->pages[q->n_chained], 1);
    else
      q->n_pages++;
    const int i = q->n_chained++;
    q->pages[i] = page;
    w->n_found++;
    if (!w->window) continue;
    if (i < had) el_prefix_release_windowed(&w->m.prefix, &q->windowed[i], 1, true);
    if (i >= window_begin(w, n - 1)) {
      q->windowed[i] = el_prefix_use_windowed(&w->m.prefix, page);
    } else {
      assert_true(q->windowed_begin <= i);
      for (; q->windowed_begin < i; q->windowed_begin++)
        el_prefix_release_windowed(&w->m.prefix, &q->windowed[q->windowed_begin], 1, true);
      q->windowed_begin = i + 1;
    }
  }
  pass_window(w, q);
}

/* Some pages more are full. */
static void compute(world *w, sim *q) {
  int32_t tokens[EL_PAGE_TOKENS];
  if (!q->runs) return;
  if (below(w, 2)) reuse(w, q, q->n_pages);
  for (uint32_t n = below(w, 4); n && q->n_chained < q->n_pages - 1; n--) {
    int p = q->n_chained;
    tokens_of(q, p, tokens);
    uint32_t page = q->pages[p];
    fill_page(w, false, page, content_of(q, p));
    q->pages[p] = el_prefix_insert(&w->m.prefix, owner_of(q), last_chained(q), tokens, page);
    q->n_chained++;
    w->n_twins += q->pages[p] != page;
    if (!w->window) continue;
    fill_page(w, true, q->windowed[p], (unsigned char)~content_of(q, p));
    q->windowed[p] = el_prefix_insert_windowed(&w->m.prefix, q->pages[p], q->windowed[p]);
  }
  pass_window(w, q);
}

/* As admission.c does it, but for who may overtake whom. */
static void admit(world *w) {
  bool loads = true;
  el_memory_begin(&w->m);
  for (int s = 0; s < N_SEQS; s++) {
    sim *q = &w->seqs[s];
    if (!q->waits) continue;
    if (!q->seen) el_memory_use(&w->m, q->entry);
    q->seen = true;
    if (q->entry && !q->entry->adapter) {
      loads = loads && el_memory_want(&w->m, q->entry) == EL_WANT_COMING;
    } else {
      el_memory_pin(&w->m, q->entry);
      reuse(w, q, q->wanted);
      int n = q->wanted - q->n_pages;
      if (el_memory_make_pages(&w->m, (uint64_t)n, w->window ? (uint64_t)n : 0)) {
        assert_true(el_prefix_take(&w->m.prefix, q->pages + q->n_pages, n));
        if (w->window) assert_true(el_prefix_take_windowed(&w->m.prefix, q->windowed + q->n_pages, n));
        q->n_pages = q->wanted;
        fill(w, q, q->n_chained);
        q->runs = true;
        q->waits = false;
        w->n_started++;
        continue;
      }
      release(w, q);
      w->n_stuck++;
      loads = false;
    }
    el_memory_hold(&w->m, q->entry);
  }
}

static void grow(world *w, int s) {
  sim *q = &w->seqs[s];
  if (!q->runs || q->n_pages == MAX_PAGES) return;
  const bool full = el_memory_grow(&w->m, false, false, &q->pages[q->n_pages]),
             both = full && (!w->window || el_memory_grow(&w->m, true, false, &q->windowed[q->n_pages])),
             has_all = w->m.pool.count[EL_USE_KV] == w->m.kv.max_blocks;
  if (full && !both) el_prefix_release(&w->m.prefix, &q->pages[q->n_pages], 1);
  if (both) {
    q->n_pages++;
    fill(w, q, q->n_pages - 1);
    w->n_grown++;
    return;
  }
  /* Nothing idle is left (of two kinds: that would free a block), or all that pages may have is taken. */
  if (!w->window) assert_int_equal(w->m.kv.n_idle, 0);
  assert_true(w->m.cache.size == w->m.pinned || has_all);
  int youngest = N_SEQS - 1; /* is preempted */
  while (!w->seqs[youngest].runs) youngest--;
  release(w, &w->seqs[youngest]);
  w->seqs[youngest].waits = true;
}

static void on_failed(void *user, el_entry *entry, const el_error *err) {
  world *w = user;
  assert_contains(err->message, "/does/not/exist");
  for (int s = N_SEQS - 1; s >= 0; s--) {
    if (!w->seqs[s].waits || w->seqs[s].entry != entry) continue;
    end(w, s);
    w->n_failed++;
  }
}

static void step(world *w) {
  char name[16];
  int i;
  switch (below(w, 12)) {
    case 0:
    case 1: submit(w); break;
    case 2:
    case 3: admit(w); break;
    case 4:
    case 5: grow(w, (int)below(w, N_SEQS)); break;
    case 6:
      i = (int)below(w, N_SEQS);
      if ((w->seqs[i].runs || w->seqs[i].waits) && below(w, 2)) end(w, i);
      break;
    case 7: el_loader_work(w->m.loader); break;
    case 8: el_memory_collect(&w->m, on_failed, w); break;
    case 9:
    case 10: compute(w, &w->seqs[below(w, N_SEQS)]); break;
    default:
      i = (int)below(w, N_ENTRIES);
      name_of(i, name);
      if (below(w, 4)) break;
      if (el_registry_remove(w->registry, name, EL_ANY_GENERATION, NULL)) add_entry(w, i);
      el_memory_bury(&w->m);
  }
}

static void run(uint64_t seed, uint32_t n_blocks, uint32_t per_block, uint32_t reserve, const char *policy,
                bool weak_hash, uint32_t windowed_per_block, uint64_t ops) {
  world w;
  open_world(&w, seed, n_blocks, per_block, reserve, policy, weak_hash, windowed_per_block);
  for (w.ops = 0; w.ops < ops; w.ops++) {
    step(&w);
    if (w.ops % 8 == 0) check(&w);
  }
  if (ops >= 200000) { /* what is rare has happened */
    el_memory_counters *c = &w.m.count;
    assert_true(w.n_started > 0 && w.n_grown > 0 && w.n_failed > 0 && w.n_stuck > 0);
    assert_true(w.n_found > 0 && w.n_twins > 0);
    if (w.window) assert_true(w.n_passed > 0 && w.n_lost > 0);
    assert_true(atomic_load(&c->evictions) > 0 && atomic_load(&c->hits) > 0 && atomic_load(&c->loads) > 0);
  }
  /* Everybody who waits is served when the others have gone: nothing is stuck for ever. */
  for (int turn = 0; w.seqs[0].waits || w.seqs[0].runs; turn++) {
    assert_true(turn < 1000);
    el_memory_collect(&w.m, on_failed, &w);
    admit(&w);
    while (el_loader_work(w.m.loader)) continue;
    check(&w);
    for (int s = N_SEQS - 1; s >= 0; s--)
      if (w.seqs[s].runs) end(&w, s);
  }
  assert_int_equal(w.m.kv.n_used, w.m.kv.n_idle);
  assert_int_equal(w.m.windowed.n_used, w.m.windowed.n_idle);
  el_memory_free(&w.m);
  el_registry_free(w.registry);
  el_model_free(w.model);
}

static void no_block_is_lost_or_used_twice(void **state) {
  const char *given = getenv("EL_PROPERTY_OPS");
  uint64_t ops = given ? strtoull(given, NULL, 10) : 400000;
  uint64_t seed = 1;
  for (int p = 0; el_cache_policy_name(p); p++) {
    run(seed++, 16, 1, 0, el_cache_policy_name(p), p == 1, 0, ops);
    run(seed++, 24, 2, 7, el_cache_policy_name(p), p == 1, 0, ops);
    run(seed++, 60, 3, 1, el_cache_policy_name(p), p == 1, 0, ops);
  }
}

static void nor_where_pages_are_of_two_kinds(void **state) {
  const char *given = getenv("EL_PROPERTY_OPS");
  uint64_t ops = given ? strtoull(given, NULL, 10) : 200000;
  run(101, 40, 1, 0, "lru", false, 1, ops);
  run(102, 32, 4, 3, NULL, true, 1, ops);
  run(103, 60, 2, 1, "s3-fifo", false, 3, ops);
}

static void keep_error(void *user, el_entry *entry, const el_error *error) {
  *(el_error *)user = *error;
}

/* Whoever changes an adapter's files each time before they are read keeps those that want it waiting, not for ever. */
static void a_file_that_grows_whenever_it_is_loaded_is_given_up(void **state) {
  char dir[64], path[128];
  make_dir(dir);
  snprintf(path, sizeof path, "%s/a", dir);
  world w;
  open_world(&w, 1, 60, 1, 0, NULL, false, 0);
  el_error err = {0};
  el_entry *e;
  put_fake_peft_rank(dir, "a", 1, 1);
  el_entry_spec spec = {.name = "a", .path = path, .dir = EL_NO_DIR};
  assert_int_equal(el_registry_add_unlisted(w.registry, &spec, &e, NULL), EL_OK);
  for (int turn = 0; turn < 2; turn++) {
    int loads = 0;
    el_memory_collect(&w.m, keep_error, &err);
    for (err = (el_error){0}; !err.code; loads++) {
      assert_true(loads < 20);
      assert_null(e->adapter);
      assert_int_equal(el_memory_want(&w.m, e), EL_WANT_COMING);
      put_fake_peft_rank(dir, "a", 20 * turn + 2 * loads + 5, 1); /* more than the file was when room was made */
      assert_true(el_loader_work(w.m.loader));
      el_memory_collect(&w.m, keep_error, &err);
      assert_int_equal(w.m.pool.count[EL_USE_FREE], 60);
    }
    assert_contains(err.message, "adapter a: its files have changed each of the");
    assert_int_equal(loads, EL_MAX_SIZINGS + 1);
  }
  /* Left alone, it is loaded. */
  for (int i = 0; i < 2 && !e->adapter; i++) {
    assert_int_equal(el_memory_want(&w.m, e), EL_WANT_COMING);
    assert_true(el_loader_work(w.m.loader));
    el_memory_collect(&w.m, keep_error, &err);
  }
  assert_non_null(e->adapter);
  el_registry_put(w.registry, e);
  el_memory_bury(&w.m);
  el_memory_free(&w.m);
  el_registry_free(w.registry);
  el_model_free(w.model);
  remove_tree(dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(no_block_is_lost_or_used_twice),
      cmocka_unit_test(nor_where_pages_are_of_two_kinds),
      cmocka_unit_test(a_file_that_grows_whenever_it_is_loaded_is_given_up),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
