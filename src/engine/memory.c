#include "engine/memory.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"

/* Upper limits of el_stats.load_histogram, milliseconds; the last has none. */
static const double bucket_ms[EL_LOAD_BUCKETS - 1] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000};

const double *el_load_bucket_ms(void) {
  return bucket_ms;
}

/* Files are F16 or BF16 as often as F32; the first load tells more. */
#define FIRST_RATIO 0.56

el_status el_memory_new(const el_memory_options *o, const el_sites *sites, const el_kernels *k, el_registry *registry,
                        const el_log *log, el_memory *out, el_error *err) {
  el_memory *m = out;
  *m = (el_memory){.layout = o->layout, .registry = registry, .log = log, .reserve = o->reserve, .ratio = FIRST_RATIO};
  const el_kv_layout *l = &m->layout;
  const bool split = l->windowed_per_block > 0;
  m->keeps_idle = !o->policy || strcmp(o->policy, "none");
  assert(o->reserve < o->n_blocks);
  el_status status = el_cache_init(&m->cache, m->keeps_idle ? o->policy : NULL, err);
  if (!status) status = el_pool_new(l->block_bytes, o->n_blocks, &m->pool, err);
  if (!status && o->prefault) status = el_pool_prefault(&m->pool, err);
  const uint32_t most = o->n_blocks - o->reserve;
  if (!status) status = el_kv_pages_new(&m->pool, l->block_bytes / l->per_block, most, &m->kv, err);
  if (!status && split)
    status = el_kv_pages_new(&m->pool, l->block_bytes / l->windowed_per_block, most, &m->windowed, err);
  if (!status) status = el_prefix_new(&m->kv, split ? &m->windowed : NULL, o->prefix_cache, &m->prefix, err);
  if (!status)
    status = el_loader_new(sites, k, o->adapter_layout, &m->pool, o->tokenizer, o->own_thread, o->on_result, o->user,
                           &m->loader, err);
  if (status) el_memory_free(m);
  return status;
}

/* ------------------------------------------------------------------ figures */

/* What an error is about, kept apart from the rest: a combination's name has those of all that are in it. */
enum { SUBJECT_BYTES = EL_MAX_NAME_BYTES + 16 };
static const char *subject_of(const el_entry *e, char out[SUBJECT_BYTES]) {
  snprintf(out, SUBJECT_BYTES, "adapter %.255s", e->name);
  return out;
}

static el_entry *entry_of(const el_cache_item *item) {
  return (el_entry *)(uintptr_t)((uintptr_t)item - offsetof(el_entry, item));
}

void el_memory_publish(el_memory *m) {
  el_memory_counters *c = &m->count;
  atomic_store(&c->pages_used, m->kv.n_used - m->kv.n_idle);
  atomic_store(&c->pages_idle, m->kv.n_idle);
  atomic_store(&c->windowed_used, m->windowed.n_used - m->windowed.n_idle);
  atomic_store(&c->windowed_idle, m->windowed.n_idle);
  atomic_store(&c->blocks_kv, m->pool.count[EL_USE_KV]);
  atomic_store(&c->blocks_adapters, m->pool.count[EL_USE_ADAPTER]);
  atomic_store(&c->blocks_idle, m->cache.size - m->pinned);
  atomic_store(&c->n_resident, m->cache.n_items);
}

/* ----------------------------------------------------------------- eviction */

/* The count that an adapter's blocks are in while nobody runs with it; NULL: they may be taken. */
static uint32_t *set_aside(el_memory *m, const el_entry *e) {
  return e->kept ? &m->kept_idle : e->held == m->admission ? &m->held : NULL;
}

static void now_idle(el_memory *m, const el_entry *e) {
  uint32_t *count = set_aside(m, e);
  if (count) *count += e->item.size;
}

static void no_longer_idle(el_memory *m, const el_entry *e) {
  uint32_t *count = set_aside(m, e);
  if (count) *count -= e->item.size;
}

/* Takes a resident adapter out of memory. */
static void drop_adapter(el_memory *m, el_entry *e, bool evicted) {
  assert(e->adapter && !e->n_pins);
  no_longer_idle(m, e);
  el_cache_remove(&m->cache, &e->item, evicted);
  el_pool_give(&m->pool, e->adapter->blocks, e->adapter->n_blocks);
  e->adapter = NULL;
  atomic_store(&e->state, EL_ADAPTER_ON_DISK);
  if (evicted) {
    atomic_fetch_add(&m->count.evictions, 1);
    el_logf(m->log, EL_LOG_DEBUG, "adapter %s: evicted", e->name);
  }
}

static bool is_unused(const void *user, const el_cache_item *item) {
  return !entry_of(item)->n_pins;
}

static bool is_idle_adapter(const void *user, const el_cache_item *item) {
  return !entry_of(item)->n_pins && !entry_of(item)->kept;
}

static bool is_not_held(const void *user, const el_cache_item *item) {
  const el_memory *m = user;
  const el_entry *e = entry_of(item);
  return !e->n_pins && !e->kept && e->held != m->admission;
}

/* Whether idle pages have more than their share of what is idle. */
static bool pages_go_first(const el_memory *m) {
  uint64_t adapters = (uint64_t)(m->cache.size - m->pinned - m->kept_idle) * m->pool.block_bytes,
           pages = (uint64_t)m->kv.n_idle * m->kv.page_bytes + (uint64_t)m->windowed.n_idle * m->windowed.page_bytes;
  return pages * EL_PREFIX_SHARE > pages + adapters;
}

/* Evicts an idle page or an adapter that is not held; false: there is neither. */
static bool evict_one(el_memory *m) {
  const bool pages = el_prefix_n_idle(&m->prefix) > 0;
  el_cache_item *item = pages && pages_go_first(m) ? NULL : el_cache_victim(&m->cache, is_not_held, m);
  if (item)
    drop_adapter(m, entry_of(item), true);
  else if (pages)
    el_prefix_evict(&m->prefix);
  else
    return false;
  return true;
}

/* Blocks of adapters that may be evicted. */
static uint64_t evictable(const el_memory *m) {
  return m->cache.size - m->pinned - m->held - m->kept_idle;
}

/* What was counted is not there: whoever wanted it waits. */
static bool miscounted(el_memory *m, const char *what) {
  el_bug(m->log,
         "memory: %s; %u of %u blocks are free, %u hold pages (%u pages idle), %llu hold adapters (%u in use, %u held, "
         "%u to stay)",
         what, m->pool.count[EL_USE_FREE], m->pool.n_blocks, m->pool.count[EL_USE_KV], el_prefix_n_idle(&m->prefix),
         (unsigned long long)m->cache.size, m->pinned, m->held, m->kept_idle);
  return false;
}

/* Blocks that have idle pages and no others. */
static uint64_t idle_page_blocks(const el_memory *m) {
  return (uint64_t)m->kv.n_idle_blocks + m->windowed.n_idle_blocks;
}

/* Evicts until n blocks are free; false, and nothing happens, when what may be evicted does not suffice. */
static bool make_free(el_memory *m, uint32_t n) {
  if (n > m->pool.count[EL_USE_FREE] + idle_page_blocks(m) + evictable(m)) return false;
  while (m->pool.count[EL_USE_FREE] < n)
    if (!evict_one(m)) return miscounted(m, "blocks that may be evicted are not found");
  return true;
}

/* Blocks that must be free for so many pages of each kind; UINT64_MAX: more than pages may have. */
static uint64_t blocks_wanted(const el_memory *m, uint64_t n, uint64_t n_windowed) {
  const uint64_t blocks = (uint64_t)el_kv_pages_need(&m->kv, n) + el_kv_pages_need(&m->windowed, n_windowed);
  return m->pool.count[EL_USE_KV] + blocks > m->kv.max_blocks ? UINT64_MAX : blocks;
}

/* The same for pages. If all that is idle were given back, blocks with other pages would stay, with room for more. */
static bool make_free_pages(el_memory *m, uint64_t n, uint64_t n_windowed) {
  const uint64_t idle = idle_page_blocks(m), stay = m->pool.count[EL_USE_KV] - idle,
                 at_last = el_kv_pages_need_at_last(&m->kv, n) + el_kv_pages_need_at_last(&m->windowed, n_windowed);
  if (at_last > m->pool.count[EL_USE_FREE] + idle + evictable(m) || at_last > m->kv.max_blocks - stay) return false;
  for (uint64_t wanted; (wanted = blocks_wanted(m, n, n_windowed)) > m->pool.count[EL_USE_FREE];) {
    if (wanted == UINT64_MAX) {
      if (!el_prefix_n_idle(&m->prefix)) return miscounted(m, "idle pages are not found");
      el_prefix_evict(&m->prefix); /* pages have all the blocks that they may have */
    } else if (!evict_one(m)) {
      return miscounted(m, "blocks for pages are not found");
    }
  }
  return true;
}

/* ---------------------------------------------------------------- to stay */

static void set_kept(el_memory *m, el_entry *e, bool kept) {
  if (e->kept == kept) return;
  const bool idle = e->adapter && !e->n_pins;
  if (idle) no_longer_idle(m, e);
  e->held = 0; /* admissions begin at 1 */
  e->kept = kept;
  if (idle) now_idle(m, e);
}

static void forget_kept(el_memory *m) {
  for (int i = 0; i < m->n_kept; i++) {
    set_kept(m, m->kept[i], false);
    el_registry_put(m->registry, m->kept[i]);
  }
  m->n_kept = 0;
}

void el_memory_keep(el_memory *m) {
  if (el_registry_pins_changed(m->registry, &m->kept_version)) {
    forget_kept(m);
    m->n_kept = el_registry_get_pinned(m->registry, m->kept);
    for (int i = 0; i < m->n_kept; i++) set_kept(m, m->kept[i], true);
  }
  for (int i = 0; i < m->n_kept; i++) {
    el_entry *e = m->kept[i];
    int state = atomic_load(&e->state);
    /* One that failed is tried again by the request that asks for it, or when its files are others. */
    if (e->adapter || state == EL_ADAPTER_LOADING || state == EL_ADAPTER_FAILED) continue;
    if (el_memory_want(m, e) != EL_WANT_COMING) break;
  }
}

bool el_memory_is_split(const el_memory *m, const el_entry *e, el_error *err) {
  el_pack_size size;
  uint64_t file_bytes;
  el_registry_size(m->registry, e, &size, &file_bytes);
  if (!m->n_kept || !size.consecutive || el_loader_n(m->loader)) return false;
  char subject[SUBJECT_BYTES];
  el_fail_about(err, EL_ERR_NO_MEMORY, subject_of(e, subject),
                "takes %u blocks of memory in a row, and pinned adapters lie in between", size.n_blocks);
  return true;
}

void el_memory_free(el_memory *m) {
  if (m->loader) el_loader_stop(m->loader);
  for (int i = 0; m->loader && i < el_loader_n(m->loader); i++) {
    /* Nothing else gives back the reference of a load whose result was not taken. */
    el_entry *e = el_loader_at(m->loader, i)->entry;
    atomic_store(&e->state, EL_ADAPTER_ON_DISK);
    el_registry_put(m->registry, e);
  }
  forget_kept(m);
  m->held = 0;
  m->admission++;
  while (m->prefix.kv && el_prefix_n_idle(&m->prefix)) el_prefix_evict(&m->prefix);
  for (el_cache_item *item; m->pool.base && (item = el_cache_victim(&m->cache, is_idle_adapter, m));)
    drop_adapter(m, entry_of(item), false);
  el_loader_free(m->loader);
  el_prefix_free(&m->prefix);
  el_kv_pages_free(&m->kv);
  el_kv_pages_free(&m->windowed);
  el_pool_free(&m->pool);
  m->loader = NULL;
}

/* ---------------------------------------------------------------- admission */

void el_memory_begin(el_memory *m) {
  m->admission++;
  m->held = 0;
}

void el_memory_end(el_memory *m) {
  if (m->keeps_idle) return;
  for (el_cache_item *item; (item = el_cache_victim(&m->cache, is_not_held, m));) drop_adapter(m, entry_of(item), true);
  el_memory_publish(m);
}

void el_memory_hold(el_memory *m, el_entry *e) {
  if (!e || !e->adapter || e->n_pins || e->kept || e->held == m->admission) return;
  e->held = m->admission;
  m->held += e->item.size;
}

void el_memory_use(el_memory *m, el_entry *e) {
  if (!e) return;
  atomic_fetch_add(&e->usage->requests, 1);
  atomic_store(&e->usage->last_used, (int_fast64_t)time(NULL));
  if (e->adapter) atomic_fetch_add(&e->usage->hits, 1);
  atomic_fetch_add(e->adapter ? &m->count.hits : &m->count.misses, 1);
  el_cache_use(&m->cache, &e->item);
}

void el_memory_pin(el_memory *m, el_entry *e) {
  if (!e) return;
  assert(e->adapter);
  if (e->n_pins++) return;
  no_longer_idle(m, e);
  m->pinned += e->item.size;
}

void el_memory_unpin(el_memory *m, el_entry *e) {
  if (!e) return;
  assert(e->n_pins > 0);
  if (--e->n_pins) return;
  m->pinned -= e->item.size;
  now_idle(m, e);
}

bool el_memory_make_pages(el_memory *m, uint64_t n, uint64_t n_windowed) {
  bool made = make_free_pages(m, n, n_windowed);
  el_memory_publish(m);
  return made;
}

bool el_memory_grow(el_memory *m, bool windowed, bool last, uint32_t *page) {
  if (!make_free_pages(m, !windowed, windowed)) {
    el_cache_item *item = el_cache_victim(&m->cache, is_idle_adapter, m);
    bool stuck = !item && last && !el_loader_n(m->loader); /* else it has room when a load has ended */
    if (stuck && (item = el_cache_victim(&m->cache, is_unused, m)))
      el_logf(m->log, EL_LOG_WARN, "adapter %s: is pinned, and leaves memory for a while: a request needs the room",
              entry_of(item)->name);
    if (!item || blocks_wanted(m, !windowed, windowed) == UINT64_MAX) return false;
    drop_adapter(m, entry_of(item), true);
  }
  bool taken = windowed ? el_prefix_take_windowed(&m->prefix, page, 1) : el_prefix_take(&m->prefix, page, 1);
  el_memory_publish(m);
  return taken || miscounted(m, "a page is not found");
}

/* -------------------------------------------------------------------- loads */

static bool take_blocks(el_memory *m, el_load *load, const el_pack_size *size) {
  if (!make_free(m, size->n_blocks)) return false;
  load->n_blocks = size->n_blocks;
  load->consecutive = size->consecutive;
  if (!size->consecutive) return el_pool_take(&m->pool, EL_USE_ADAPTER, load->blocks, load->n_blocks);
  while (!el_pool_take_run(&m->pool, EL_USE_ADAPTER, load->blocks, load->n_blocks)) {
    if (!evict_one(m)) return false; /* pages are in between: they come back when their sequences end */
  }
  return true;
}

/* What an adapter that has not been read yet may take. 0: by its file it does not fit, and nobody is driven out for
 * what is likely to be refused. */
static uint32_t guess_blocks(const el_memory *m, uint64_t file_bytes) {
  double blocks = (double)file_bytes * m->ratio * 1.05 / (double)m->pool.block_bytes + 1;
  return blocks < (double)m->pool.n_blocks ? (uint32_t)blocks : 0;
}

el_want el_memory_want(el_memory *m, el_entry *e) {
  assert(!e->adapter);
  if (atomic_load(&e->state) == EL_ADAPTER_LOADING) return EL_WANT_COMING;
  el_load *load = el_loader_next(m->loader);
  if (!load) return EL_WANT_BUSY;
  el_pack_size size;
  uint64_t file_bytes;
  el_registry_size(m->registry, e, &size, &file_bytes);
  if (size.n_blocks) {
    if (!take_blocks(m, load, &size)) return EL_WANT_NO_ROOM;
  } else {
    size.n_blocks = guess_blocks(m, file_bytes);
    size.consecutive = false;
    if (!take_blocks(m, load, &size)) load->n_blocks = 0; /* then we learn its size */
  }
  load->entry = e;
  el_registry_hold(m->registry, e);
  atomic_store(&e->state, EL_ADAPTER_LOADING);
  el_loader_push(m->loader);
  el_memory_publish(m);
  return EL_WANT_COMING;
}

static void count_load(el_memory *m, uint64_t ns) {
  int i = 0;
  while (i < EL_LOAD_BUCKETS - 1 && (double)ns * 1e-6 > bucket_ms[i]) i++;
  atomic_fetch_add(&m->count.load_histogram[i], 1);
  atomic_fetch_add(&m->count.load_ns, ns);
  atomic_fetch_add(&m->count.loads, 1);
}

static void take_adapter(el_memory *m, el_load *load) {
  el_entry *e = load->entry;
  uint32_t n = load->size.n_blocks;
  el_pool_give(&m->pool, load->blocks + n, load->n_blocks - n);
  e->adapter = load->adapter;
  free(e->problem);
  e->problem = NULL;
  e->n_sizings = 0;
  if (load->has_signature) {
    /* The files have changed while it was out of memory, and nobody has noticed yet. */
    if (!el_signature_same_weights(&e->computed, &load->signature)) el_prefix_purge(&m->prefix, e);
    e->computed = load->signature;
  }
  el_cache_insert(&m->cache, &e->item, n);
  if (e->kept) m->kept_idle += n;
  atomic_store(&e->state, EL_ADAPTER_RESIDENT);
  el_registry_learn(m->registry, e, load->has_signature ? &load->signature : NULL, &load->size);
  el_registry_learn_invocation(m->registry, e, &e->adapter->invocation);
  if (load->has_signature && load->signature.file[0].size)
    m->ratio = (double)load->size.bytes / (double)load->signature.file[0].size;
  count_load(m, load->ns);
  atomic_fetch_add(&e->usage->loads, 1);
  atomic_store(&e->usage->load_ns, load->ns);
  el_logf(m->log, EL_LOG_DEBUG, "adapter %s: loaded in %.1f ms, rank %d, %.2f MB in %u blocks", e->name,
          (double)load->ns * 1e-6, load->size.rank, (double)load->size.bytes * 1e-6, n);
}

/* It needs other blocks than it had. That is so once for what has not been read, and once more for what has changed
 * since; whoever keeps on changing it keeps those that want it waiting. False: so it is. */
static bool take_size(el_memory *m, el_load *load) {
  el_entry *e = load->entry;
  if (++e->n_sizings > EL_MAX_SIZINGS) {
    char subject[SUBJECT_BYTES];
    el_fail_about(&load->error, EL_ERR_IO, subject_of(e, subject),
                  "its files have changed each of the %d times that it was loaded", EL_MAX_SIZINGS);
    return false;
  }
  el_pool_give(&m->pool, load->blocks, load->n_blocks);
  atomic_store(&e->state, EL_ADAPTER_ON_DISK);
  el_registry_learn(m->registry, e, load->has_signature ? &load->signature : NULL, &load->size);
  return true;
}

static void take_failure(el_memory *m, el_load *load) {
  el_entry *e = load->entry;
  e->n_sizings = 0;
  el_pool_give(&m->pool, load->blocks, load->n_blocks);
  atomic_store(&e->state, EL_ADAPTER_FAILED);
  if (load->permanent) {
    if (!e->problem) e->problem = malloc(sizeof *e->problem);
    if (e->problem) *e->problem = load->error;
    e->failed_signature = load->signature;
  }
  atomic_fetch_add(&m->count.loads_failed, 1);
  atomic_fetch_add(&e->usage->loads_failed, 1);
  el_registry_fail(m->registry, e, &load->error);
  el_logf(m->log, EL_LOG_WARN, "adapter %s: %s", e->name, load->error.message);
}

void el_memory_collect(el_memory *m, void (*failed)(void *user, el_entry *entry, const el_error *error), void *user) {
  for (el_load *load; (load = el_loader_result(m->loader)); el_loader_pop(m->loader)) {
    el_entry *e = load->entry;
    switch (load->end) {
      case EL_LOADED:
        take_adapter(m, load);
        m->learnt = true;
        break;
      case EL_LOAD_SIZED:
        if (take_size(m, load)) {
          m->learnt = true;
          break;
        } /* fall through */
      case EL_LOAD_BROKEN:
        take_failure(m, load);
        failed(user, e, &load->error);
        break;
    }
    el_registry_put(m->registry, e);
    el_memory_publish(m);
  }
}

void el_memory_bury(el_memory *m) {
  for (el_entry *e = el_registry_take_dead(m->registry), *next; e; e = next) {
    next = e->dead_next;
    el_prefix_purge(&m->prefix, e);
    if (e->adapter) drop_adapter(m, e, false);
    el_entry_free(e);
    el_memory_publish(m);
  }
}

/* ------------------------------------------------------------------- limits */

el_status el_memory_check(el_memory *m, el_entry *e, uint64_t n_tokens, int page_tokens, el_error *err) {
  el_pack_size size = {0};
  uint64_t file_bytes;
  if (e) el_registry_size(m->registry, e, &size, &file_bytes);
  uint64_t page = (uint64_t)page_tokens, kv = el_kv_layout_blocks(&m->layout, (n_tokens + page - 1) / page);
  uint32_t kept = el_registry_pinned_beside(m->registry, e), all = m->pool.n_blocks - kept;
  if (kv + size.n_blocks <= all && kv <= m->kv.max_blocks) return EL_OK;
  double mib = (double)m->pool.block_bytes / (1 << 20), pool = mib * all;
  char subject[SUBJECT_BYTES];
  if (size.n_blocks >= m->pool.n_blocks)
    return el_fail_about(err, EL_ERR_TOO_LARGE, subject_of(e, subject),
                         "takes %.1f MiB, the memory pool has %.1f MiB and some of it for keys and values",
                         mib * size.n_blocks, pool);
  if (size.n_blocks >= all)
    return el_fail_about(err, EL_ERR_NO_MEMORY, subject_of(e, subject),
                         "takes %.1f MiB, and pinned adapters leave %.1f MiB of the memory pool", mib * size.n_blocks,
                         pool);
  uint64_t room = all - size.n_blocks;
  if (room > m->kv.max_blocks) room = m->kv.max_blocks;
  unsigned long long most = el_kv_layout_most(&m->layout, room) * page;
  if (!e)
    return el_fail(err, EL_ERR_TOO_LONG,
                   "request: %llu tokens, prompt and answer; in the memory pool of %.1f MiB there is memory for %llu",
                   (unsigned long long)n_tokens, pool, most);
  return el_fail_about(err, EL_ERR_TOO_LONG, subject_of(e, subject),
                       "takes %.1f MiB of the memory pool's %.1f MiB; the request has %llu tokens, prompt and answer, "
                       "and beside it there is memory for %llu",
                       mib * size.n_blocks, pool, (unsigned long long)n_tokens, most);
}

el_status el_memory_adapter_blocks(const el_sites *sites, const el_kernels *k, el_layout layout, size_t block_bytes,
                                   int rank, uint32_t *n_blocks, el_error *err) {
  el_packer *p = NULL;
  el_pack_size size;
  el_status status = el_packer_new(sites, k, layout, block_bytes, &p, err);
  if (!status) status = el_packer_plan_random(p, rank, 0, &size, err);
  el_packer_free(p);
  if (!status) *n_blocks = size.n_blocks;
  return status;
}
