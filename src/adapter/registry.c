#include "adapter/registry_private.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"

/* A request looks at an adapter's files again if the last look is longer ago than this. */
enum { CHECK_AFTER_NS = 1000000000 };

static el_status registry_no_memory(el_error *err) {
  return el_fail(err, EL_ERR_NO_MEMORY, "adapters: out of memory");
}

uint64_t el_registry_hash(const char *name) {
  uint64_t h = 0xcbf29ce484222325u;
  for (; *name; name++) h = (h ^ (unsigned char)*name) * 0x100000001b3u;
  return h ^ h >> 32;
}

/* ------------------------------------------------- inside; the mutex is held */

el_entry *el_registry_find(const el_registry *r, const char *name) {
  if (!r->n_buckets) return NULL;
  uint64_t hash = el_registry_hash(name);
  el_entry *e = r->buckets[hash & (r->n_buckets - 1)];
  while (e && (e->hash != hash || strcmp(e->name, name))) e = e->hash_next;
  return e;
}

el_entry *el_registry_at_id(const el_registry *r, uint64_t id) {
  size_t lo = 0, hi = r->n;
  while (lo < hi) {
    size_t mid = lo + (hi - lo) / 2;
    if (r->entries[mid]->id < id)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo < r->n && r->entries[lo]->id == id ? r->entries[lo] : NULL;
}

/* Checks that the adapter of this name (e NULL: there is none) has the expected generation. */
static el_status check_generation(const el_entry *e, const char *name, uint64_t expected, el_error *err) {
  char shown[EL_SHOW];
  uint64_t is = e ? e->generation : 0;
  if (expected == EL_ANY_GENERATION || expected == is) return EL_OK;
  if (!e)
    return el_fail(err, EL_ERR_CONFLICT, "adapter %s: there is none, and generation %llu was expected",
                   el_registry_show(name, shown), (unsigned long long)expected);
  return el_fail(err, EL_ERR_CONFLICT, "adapter %s: is of generation %llu, and %llu was expected",
                 el_registry_show(name, shown), (unsigned long long)is, (unsigned long long)expected);
}

static el_status check_free(const el_registry *r, const char *name, const el_adapter_put_options *how, el_error *err) {
  char shown[EL_SHOW];
  if (!strcmp(name, r->base_name))
    return el_fail(err, EL_ERR_EXISTS, "adapter name %s: is the base model's", el_registry_show(name, shown));
  const el_entry *e = el_registry_find(r, name);
  el_status status = how ? check_generation(e, name, how->expected, err) : EL_OK;
  if (!status && e && !(how && how->in_place))
    status = el_fail(err, EL_ERR_EXISTS, "adapter name %s: is taken", el_registry_show(name, shown));
  return status;
}

/* Makes room for one more entry. False: out of memory. */
static bool grow_entries(el_registry *r) {
  if (r->n == r->cap) {
    size_t cap = r->cap ? 2 * r->cap : 16;
    el_entry **entries = realloc(r->entries, cap * sizeof *entries);
    if (!entries) return false;
    r->entries = entries;
    r->cap = cap;
  }
  if (r->n < r->n_buckets) return true;
  size_t n_buckets = r->n_buckets ? 2 * r->n_buckets : 16;
  el_entry **buckets = calloc(n_buckets, sizeof *buckets);
  if (!buckets) return false;
  for (size_t i = 0; i < r->n; i++) {
    el_entry *e = r->entries[i], **at = &buckets[e->hash & (n_buckets - 1)];
    e->hash_next = *at;
    *at = e;
  }
  free(r->buckets);
  r->buckets = buckets;
  r->n_buckets = n_buckets;
  return true;
}

static void chain_entry(el_registry *r, el_entry *e) {
  if (e->id == EL_NO_ID) e->id = r->next_id++;
  e->serial = ++r->last_serial;
  e->generation = ++r->last_generation;
  el_entry **at = &r->buckets[e->hash & (r->n_buckets - 1)];
  e->hash_next = *at;
  *at = e;
  e->listed = true;
  el_registry_add_aliases(r, e);
  if (r->report) r->report(r->report_user, e->id, e->name, e->path);
}

/* Gives one reference back. True: it was the last one, and on_dead must be called once the mutex is
 * free. */
static bool drop_entry(el_registry *r, el_entry *e) {
  assert(e->refs > 0);
  if (--e->refs) return false;
  e->dead_next = r->dead;
  r->dead = e;
  return true;
}

/* Forgets combination i; result as of drop_entry. */
static bool forget_combination(el_registry *r, size_t i) {
  el_entry *e = r->combined[i];
  memmove(&r->combined[i], &r->combined[i + 1], (--r->n_combined - i) * sizeof *r->combined);
  e->listed = false;
  return drop_entry(r, e);
}

/* Forgets all combinations with this entry. True: an entry is dead. */
static bool forget_with(el_registry *r, uint64_t serial) {
  bool dead = false;
  for (size_t i = r->n_combined; i-- > 0;) {
    const el_entry *e = r->combined[i];
    int k = 0;
    while (k < e->n_components && e->components[k].serial != serial) k++;
    if (k < e->n_components) dead = forget_combination(r, i) || dead;
  }
  return dead;
}

/* Takes an entry out of the hash table; the caller closes or fills its place in the list. */
static bool unchain_entry(el_registry *r, el_entry *e) {
  el_entry **at = &r->buckets[e->hash & (r->n_buckets - 1)];
  while (*at != e) at = &(*at)->hash_next;
  *at = e->hash_next;
  e->hash_next = NULL;
  e->listed = false;
  el_registry_remove_aliases(r, e);
  if (r->report) r->report(r->report_user, e->id, NULL, NULL);
  bool dead = forget_with(r, e->serial);
  return drop_entry(r, e) || dead;
}

static size_t entry_place(const el_registry *r, const el_entry *e) {
  size_t i = 0;
  while (r->entries[i] != e) i++;
  return i;
}

static bool unlist_entry(el_registry *r, el_entry *e) {
  size_t i = entry_place(r, e);
  memmove(&r->entries[i], &r->entries[i + 1], (r->n - i - 1) * sizeof *r->entries);
  r->n--;
  if (e->pinned) el_registry_recount_pins(r);
  return unchain_entry(r, e);
}

static bool replace_entry(el_registry *r, el_entry *old, el_entry *e) {
  e->created = old->created;
  e->pinned = old->pinned;
  e->id = old->id;
  r->entries[entry_place(r, old)] = e;
  bool dead = unchain_entry(r, old);
  chain_entry(r, e);
  if (e->pinned) el_registry_recount_pins(r);
  return dead;
}

/* ------------------------------------------------------------------ entries */

static void drop_usage(el_usage *u) {
  if (u && atomic_fetch_sub(&u->refs, 1) == 1) free(u);
}

/* Takes the usage of `before`, or a new one. False: out of memory. */
static bool take_usage(el_entry *e, const el_entry *before) {
  e->usage = before ? before->usage : calloc(1, sizeof *e->usage);
  if (e->usage) atomic_fetch_add(&e->usage->refs, 1);
  return e->usage;
}

/* Takes the preset, or the error that replaces it. False: out of memory. */
static bool take_preset(el_registry *r, el_entry *e, const el_entry_spec *spec) {
  e->preset = spec->preset;
  e->preset_error = spec->preset_error;
  e->scale = 1;
  if (e->preset_error) {
    atomic_store(&e->state, EL_ADAPTER_FAILED);
    if (!(e->failure = strdup(e->preset_error->message))) return false;
    e->failure_detail = e->preset_error->detail;
    e->failed_at = e->created;
  }
  if (!e->preset) return true;
  e->scale = e->preset->preset.lora_scale;
  e->counted_in = &r->preset_bytes;
  atomic_fetch_add(e->counted_in, e->preset->bytes);
  size_t n = e->preset->preset.n_aliases;
  return !n || (e->aliases = calloc(n, sizeof *e->aliases));
}

/* Without memory it stays unknown, which is shown but decides nothing. */
static void keep_invocation(el_entry *e, const int32_t *tokens, int n) {
  int32_t *copy = n ? malloc(sizeof *copy * (size_t)n) : NULL;
  if (n && !copy) return;
  if (n) memcpy(copy, tokens, sizeof *copy * (size_t)n);
  free(e->invocation);
  e->invocation = copy;
  e->n_invocation = n;
}

/* Makes an entry that is not listed yet. before: the entry that it will replace, or NULL. The
 * spec's preset belongs to the entry now, or has been freed. NULL: out of memory. */
static el_entry *new_entry(el_registry *r, const el_entry_spec *spec, const el_entry *before) {
  size_t name = strlen(spec->name) + 1, path = strlen(spec->path) + 1;
  el_entry *e = calloc(1, sizeof *e + name + path); /* strings follow it: there are thousands of
                                                     * entries, and each takes few allocations */
  if (!e || !take_usage(e, before)) {
    el_preset_free(spec->preset);
    free(spec->preset_error);
    free(e);
    return NULL;
  }
  char *strings = (char *)(e + 1);
  e->id = EL_NO_ID;
  e->registry = r;
  memcpy(strings, spec->name, name);
  memcpy(strings + name, spec->path, path);
  e->name = strings;
  e->path = strings + name;
  e->rank = spec->rank;
  e->seed = spec->seed;
  e->dir = spec->dir;
  e->created = (int64_t)time(NULL);
  e->hash = el_registry_hash(spec->name);
  e->refs = 1;
  e->signature = spec->signature;
  e->size = spec->size;
  e->n_invocation = -1;
  if (spec->invocation) keep_invocation(e, spec->invocation, spec->n_invocation);
  atomic_store(&e->checked_ns, r->now_ns());
  if (take_preset(r, e, spec)) return e;
  el_entry_free(e);
  return NULL;
}

void el_entry_free(el_entry *e) {
  assert(!e->adapter && !e->n_pins);
  if (e->preset) atomic_fetch_sub(e->counted_in, e->preset->bytes);
  el_preset_free(e->preset);
  el_entry_free_tokens(e);
  free(e->preset_error);
  free(e->aliases);
  drop_usage(e->usage);
  free(e->failure);
  free(e->problem);
  free(e->invocation);
  free(e);
}

el_status el_registry_new(const char *base_name, void (*on_dead)(void *user), void *user, el_registry **out,
                          el_error *err) {
  el_registry *r = calloc(1, sizeof *r);
  if (r) r->base_name = strdup(base_name);
  if (!r || !r->base_name) {
    free(r);
    return registry_no_memory(err);
  }
  r->on_dead = on_dead;
  r->user = user;
  r->now_ns = el_now_ns;
  pthread_mutex_init(&r->mutex, NULL);
  pthread_mutex_init(&r->tokens_mutex, NULL);
  *out = r;
  return EL_OK;
}

void el_registry_on_listing(el_registry *r, void (*report)(void *user, uint64_t id, const char *name, const char *path),
                            void *user) {
  r->report = report;
  r->report_user = user;
}

void el_registry_use_clock(el_registry *r, uint64_t (*now_ns)(void)) {
  r->now_ns = now_ns;
}

void el_registry_free(el_registry *r) {
  if (!r) return;
  for (size_t i = 0; i < r->n; i++) {
    assert(r->entries[i]->refs == 1);
    el_entry_free(r->entries[i]);
  }
  for (size_t i = 0; i < r->n_combined; i++) {
    assert(r->combined[i]->refs == 1);
    el_entry_free(r->combined[i]);
  }
  for (el_entry *e = r->dead, *next; e; e = next) {
    next = e->dead_next;
    el_entry_free(e);
  }
  pthread_mutex_destroy(&r->mutex);
  pthread_mutex_destroy(&r->tokens_mutex);
  el_buf_free(&r->notices);
  el_refused_free(&r->refused);
  free(r->entries);
  free(r->buckets);
  free(r->base_name);
  free(r);
}

static void unlock_registry(el_registry *r, bool dead) {
  pthread_mutex_unlock(&r->mutex);
  if (dead && r->on_dead) r->on_dead(r->user);
}

el_status el_registry_check(el_registry *r, const char *name, const el_adapter_put_options *how, el_error *err) {
  if (!name) return el_fail(err, EL_ERR_INVALID, "adapter name: is NULL");
  el_status status = el_adapter_name_check(name, err);
  if (status) return status;
  pthread_mutex_lock(&r->mutex);
  status = check_free(r, name, how, err);
  pthread_mutex_unlock(&r->mutex);
  return status;
}

/* Makes the entry the successor of another, before it is listed: it inherits what that was used
 * for. */
static void succeed_entry(el_entry *e, const el_entry *old) {
  drop_usage(e->usage);
  take_usage(e, old);
}

el_status el_registry_add(el_registry *r, const el_entry_spec *spec, el_error *err) {
  return el_registry_offer(r, spec, NULL, NULL, err);
}

el_status el_registry_offer(el_registry *r, const el_entry_spec *spec, const el_adapter_put_options *how,
                            uint64_t *generation, el_error *err) {
  el_entry *e = new_entry(r, spec, NULL);
  bool dead = false;
  if (!e) return registry_no_memory(err);
  pthread_mutex_lock(&r->mutex);
  el_status status = check_free(r, spec->name, how, err);
  el_entry *old = status ? NULL : el_registry_find(r, spec->name);
  bool pinned = (how && how->pinned) || (old && old->pinned);
  if (!status && pinned) status = el_registry_check_pin(r, old, e, err);
  if (!status && !grow_entries(r)) status = registry_no_memory(err);
  if (!status && old) {
    /* The same files still belong to the directory, which decides how long they are offered. */
    if (*e->path && el_signature_equal(&e->signature, &old->signature)) e->dir = old->dir;
    succeed_entry(e, old);
    dead = replace_entry(r, old, e);
  } else if (!status) {
    r->entries[r->n++] = e;
    chain_entry(r, e);
  }
  if (!status && generation) *generation = e->generation;
  if (!status && pinned) {
    e->pinned = true;
    el_registry_recount_pins(r);
  }
  unlock_registry(r, dead);
  if (status) el_entry_free(e);
  return status;
}

el_status el_registry_add_unlisted(el_registry *r, const el_entry_spec *spec, el_entry **out, el_error *err) {
  *out = new_entry(r, spec, NULL);
  return *out ? EL_OK : registry_no_memory(err);
}

el_status el_registry_remove(el_registry *r, const char *name, uint64_t expected, el_error *err) {
  char shown[EL_SHOW];
  if (!name) return el_fail(err, EL_ERR_INVALID, "adapter name: is NULL");
  pthread_mutex_lock(&r->mutex);
  el_entry *e = el_registry_find(r, name);
  el_status status = e ? check_generation(e, name, expected, err)
                       : el_fail(err, EL_ERR_NOT_FOUND, "adapter %s: there is none", el_registry_show(name, shown));
  unlock_registry(r, !status && unlist_entry(r, e));
  return status;
}

/* Reads the preset into the spec, or the error that replaces it. False: out of memory. */
static bool fetch_preset(el_registry *r, el_entry_spec *spec) {
  el_error why;
  if (!el_registry_read_preset(r, spec->name, spec->path, &spec->preset, &why)) return true;
  if (!(spec->preset_error = malloc(sizeof why))) return false;
  *spec->preset_error = why;
  return true;
}

/* Looks at the files of *entry, to which the caller has a reference. If they have changed, another
 * entry takes its place and the caller's reference. If they are gone and the entry came from a
 * directory, no name finds it any longer. */
static el_status refresh_entry(el_registry *r, el_entry **entry, el_error *err) {
  el_entry *old = *entry, *e = NULL;
  uint64_t now = r->now_ns(), checked = atomic_load(&old->checked_ns);
  el_signature signature;
  el_error gone;
  if (!*old->path || now - checked < CHECK_AFTER_NS) return EL_OK;
  /* another thread is looking */
  if (!atomic_compare_exchange_strong(&old->checked_ns, &checked, now)) return EL_OK;
  el_status status = el_signature_read(old->path, &signature, &gone);
  if (status && old->dir == EL_NO_DIR)
    return EL_OK; /* it was registered by name: what is in memory still serves, and a load says what
                   * is wrong */
  if (!status) {
    pthread_mutex_lock(&r->mutex);
    bool same = el_signature_equal(&signature, &old->signature);
    pthread_mutex_unlock(&r->mutex);
    if (same && el_preset_is_current(old->preset) && el_entry_tokens_current(old)) return EL_OK;
    el_entry_spec spec = {.name = old->name, .path = old->path, .dir = old->dir, .signature = signature};
    /* tried again later */
    if (!fetch_preset(r, &spec) || !(e = new_entry(r, &spec, old))) return EL_OK;
  }
  bool dead = false, used = false;
  pthread_mutex_lock(&r->mutex);
  if (old->listed) {
    if (e) {
      dead = replace_entry(r, old, e);
      e->refs++;
      used = true;
    } else {
      dead = unlist_entry(r, old);
    }
  }
  if (used || status) dead = drop_entry(r, old) || dead;
  unlock_registry(r, dead);
  if (e && !used) el_entry_free(e);
  if (used) *entry = e;
  if (status && err) {
    *err = gone;
    err->code = EL_ERR_NOT_FOUND;
  }
  return status ? EL_ERR_NOT_FOUND : EL_OK;
}

el_entry *el_registry_find_id(el_registry *r, uint64_t id) {
  pthread_mutex_lock(&r->mutex);
  el_entry *e = el_registry_at_id(r, id);
  if (e) e->refs++;
  pthread_mutex_unlock(&r->mutex);
  return e;
}

void el_registry_each(el_registry *r, void (*see)(void *user, uint64_t id, const char *name), void *user) {
  pthread_mutex_lock(&r->mutex);
  for (size_t i = 0; i < r->n; i++) see(user, r->entries[i]->id, r->entries[i]->name);
  pthread_mutex_unlock(&r->mutex);
}

el_status el_registry_get(el_registry *r, const char *name, el_entry **out, el_error *err) {
  char shown[EL_SHOW];
  pthread_mutex_lock(&r->mutex);
  el_entry *e = el_registry_resolve(r, name);
  if (e) e->refs++;
  const el_refused_entry *refused = e ? NULL : el_refused_find(&r->refused, name);
  const el_error why = refused ? refused->error : (el_error){0};
  pthread_mutex_unlock(&r->mutex);
  if (refused && err) *err = why;
  if (refused) return why.code;
  if (!e) return el_fail(err, EL_ERR_NOT_FOUND, "adapter %s: there is none", el_registry_show(name, shown));
  el_status status = refresh_entry(r, &e, err);
  if (!status && e->preset_error) {
    status = e->preset_error->code;
    if (err) *err = *e->preset_error;
    el_registry_put(r, e);
  }
  if (!status) *out = e;
  return status;
}

/* ------------------------------------------------------------- combinations */

/* A component that has been found, with a reference. */
typedef struct chosen {
  el_entry *entry;
  float scale;
} chosen;

static int by_serial(const void *x, const void *y) {
  const chosen *a = x, *b = y;
  return a->entry->serial < b->entry->serial ? -1 : a->entry->serial > b->entry->serial;
}

static bool is_combination_of(const el_entry *e, const chosen *c, int n) {
  if (e->n_components != n) return false;
  for (int i = 0; i < n; i++)
    if (e->components[i].serial != c[i].entry->serial || e->components[i].scale != c[i].scale) return false;
  return true;
}

/* "a*0.5 + b*1", cut off at the length of a name; for people to read. */
static void name_combination(const chosen *c, int n, char out[EL_MAX_NAME_BYTES + 1]) {
  size_t at = 0, room = EL_MAX_NAME_BYTES + 1;
  for (int i = 0; i < n && at < room - 1; i++) {
    int len = snprintf(out + at, room - at, "%s%s*%g", i ? " + " : "", c[i].entry->name, (double)c[i].scale);
    at += len < (int)(room - at) ? (size_t)len : room - at - 1;
  }
}

/* Makes an entry that is not remembered yet. NULL: out of memory. */
static el_entry *new_combination(const chosen *c, int n) {
  char name[EL_MAX_NAME_BYTES + 1];
  name_combination(c, n, name);
  size_t bytes = sizeof(el_entry) + (size_t)n * sizeof(el_entry_component) + strlen(name) + 2;
  for (int i = 0; i < n; i++) bytes += strlen(c[i].entry->name) + strlen(c[i].entry->path) + 2;
  el_entry *e = calloc(1, bytes);
  if (!e || !take_usage(e, NULL)) {
    free(e);
    return NULL;
  }
  el_entry_component *components = (el_entry_component *)(void *)(e + 1);
  char *strings = (char *)(components + n);
  e->name = strings;
  strings = stpcpy(strings, name) + 1;
  e->path = strings++; /* "" */
  for (int i = 0; i < n; i++) {
    const el_entry *part = c[i].entry;
    char *path = stpcpy(strings, part->name) + 1;
    components[i] = (el_entry_component){strings, path, part->rank, part->seed, c[i].scale, part->serial};
    strings = stpcpy(path, part->path) + 1;
    e->signature.file[0].size += part->signature.file[0].size; /* to estimate what it takes */
  }
  e->n_components = n;
  e->components = components;
  e->scale = 1;
  e->dir = EL_NO_DIR;
  return e;
}

/* Finds or makes the combination's entry, remembers it, and takes a reference for the caller. */
static el_status find_combination(el_registry *r, const chosen *c, int n, el_entry **out, el_error *err) {
  bool dead = false;
  el_entry *e = NULL;
  pthread_mutex_lock(&r->mutex);
  size_t i = 0;
  while (i < r->n_combined && !is_combination_of(r->combined[i], c, n)) i++;
  if (i < r->n_combined) {
    e = r->combined[i];
    memmove(&r->combined[i], &r->combined[i + 1], (--r->n_combined - i) * sizeof *r->combined);
  } else if ((e = new_combination(c, n))) {
    bool current = true; /* otherwise a component has gone since, and nothing would make this one
                          * forgotten */
    for (int k = 0; k < n; k++) current = current && c[k].entry->listed;
    e->refs = current;
    e->listed = current;
    if (current && r->n_combined == EL_MAX_COMBINATIONS) dead = forget_combination(r, 0);
  }
  if (e) {
    if (e->listed) r->combined[r->n_combined++] = e;
    e->refs++;
  }
  unlock_registry(r, dead);
  if (!e) return registry_no_memory(err);
  *out = e;
  return EL_OK;
}

el_status el_registry_combine(el_registry *r, const el_adapter_scale *scales, size_t n, el_entry **out, el_error *err) {
  chosen c[EL_MAX_COMBINED];
  char shown[EL_SHOW];
  int n_chosen = 0;
  el_status status = EL_OK;
  if (n > EL_MAX_COMBINED)
    return el_fail(err, EL_ERR_INVALID, "adapters: %zu together, the limit is %d", n, EL_MAX_COMBINED);
  for (size_t i = 0; i < n && !status; i++) {
    const char *name = scales[i].adapter;
    float scale = scales[i].scale;
    el_entry *e = NULL;
    if (!name) status = el_fail(err, EL_ERR_INVALID, "adapters[%zu]: is NULL", i);
    if (!status && !(scale >= -EL_MAX_SCALE && scale <= EL_MAX_SCALE))
      status = el_fail(err, EL_ERR_INVALID, "adapters[%zu]: scale %g is not in -%d to %d", i, (double)scale,
                       EL_MAX_SCALE, EL_MAX_SCALE);
    for (size_t k = 0; k < i && !status; k++)
      if (!strcmp(scales[k].adapter, name))
        status = el_fail(err, EL_ERR_INVALID, "adapters[%zu]: %s is there twice", i, el_registry_show(name, shown));
    if (!status) status = el_registry_get(r, name, &e, err);
    if (status) break;
    if (scale == 0)
      el_registry_put(r, e);
    else
      c[n_chosen++] = (chosen){e, scale};
  }
  el_entry *found = NULL;
  if (!status && n_chosen == 1 && c[0].scale == c[0].entry->scale) {
    *out = c[0].entry;
    return EL_OK;
  }
  if (!status && n_chosen) {
    qsort(c, (size_t)n_chosen, sizeof *c, by_serial);
    status = find_combination(r, c, n_chosen, &found, err);
  }
  for (int i = 0; i < n_chosen; i++) {
    if (!status) atomic_fetch_add(&c[i].entry->usage->requests, 1);
    el_registry_put(r, c[i].entry);
  }
  if (!status) *out = found;
  return status;
}

void el_registry_hold(el_registry *r, el_entry *entry) {
  pthread_mutex_lock(&r->mutex);
  assert(entry->refs > 0);
  entry->refs++;
  pthread_mutex_unlock(&r->mutex);
}

void el_registry_put(el_registry *r, el_entry *entry) {
  if (!entry) return;
  pthread_mutex_lock(&r->mutex);
  unlock_registry(r, drop_entry(r, entry));
}

void el_registry_fail(el_registry *r, el_entry *entry, const el_error *error) {
  char *failure = strdup(error->message); /* without memory only the log has it */
  pthread_mutex_lock(&r->mutex);
  free(entry->failure);
  entry->failure = failure;
  entry->failure_detail = error->detail;
  entry->failed_at = (int64_t)time(NULL);
  pthread_mutex_unlock(&r->mutex);
}

void el_registry_learn(el_registry *r, el_entry *entry, const el_signature *signature, const el_pack_size *size) {
  bool dead = false;
  pthread_mutex_lock(&r->mutex);
  if (signature && !el_signature_same_weights(signature, &entry->signature)) {
    for (int i = 0; i < EL_SIGNED_PRESET; i++) entry->signature.file[i] = signature->file[i];
    if (entry->generation) entry->generation = ++r->last_generation;
    /* A load was the first to notice the change, and nobody will replace the entry for it. What was
     * made of the earlier files must go. */
    if (entry->serial) dead = forget_with(r, entry->serial);
  }
  bool other_size = entry->size.n_blocks != size->n_blocks;
  entry->size = *size;
  el_error why;
  if (entry->pinned && entry->listed && other_size) {
    if (el_registry_check_pin(r, entry, entry, &why)) {
      entry->pinned = false; /* its files are larger than they were */
      el_registry_notice(r, "%s; it is not any more", why.message);
    }
    el_registry_recount_pins(r);
  }
  unlock_registry(r, dead);
}

void el_registry_learn_invocation(el_registry *r, el_entry *entry, const el_invocation *invocation) {
  pthread_mutex_lock(&r->mutex);
  keep_invocation(entry, invocation->tokens, invocation->n);
  pthread_mutex_unlock(&r->mutex);
}

void el_registry_size(el_registry *r, const el_entry *entry, el_pack_size *size, uint64_t *file_bytes) {
  pthread_mutex_lock(&r->mutex);
  *size = entry->size;
  *file_bytes = entry->signature.file[0].size;
  pthread_mutex_unlock(&r->mutex);
}

el_entry *el_registry_take_dead(el_registry *r) {
  pthread_mutex_lock(&r->mutex);
  el_entry *dead = r->dead;
  r->dead = NULL;
  pthread_mutex_unlock(&r->mutex);
  return dead;
}

/* ------------------------------------------------------------- directories */

/* Whether an entry is exactly what has been found. */
static bool is_unchanged(const el_entry *old, const el_found_adapter *f, int dir) {
  return old && old->dir == dir && !strcmp(old->path, f->path) && el_signature_equal(&old->signature, &f->signature) &&
         el_preset_is_current(old->preset);
}

/* Reads the presets of all new or changed adapters, before the mutex is taken for long;
 * specs[found->n]. False: out of memory. */
static bool fetch_presets(el_registry *r, const el_found *found, int dir, el_entry_spec *specs) {
  bool ok = true;
  for (size_t i = 0; i < found->n && ok; i++) {
    const el_found_adapter *f = &found->items[i];
    specs[i] = (el_entry_spec){.name = f->name, .path = f->path, .dir = dir, .signature = f->signature};
    if (f->status || !f->signature.file[EL_SIGNED_PRESET].inode) continue;
    pthread_mutex_lock(&r->mutex);
    bool same = is_unchanged(el_registry_find(r, f->name), f, dir);
    pthread_mutex_unlock(&r->mutex);
    ok = same || fetch_preset(r, &specs[i]);
  }
  return ok;
}

/* Brings one found adapter up to date; *dead as of drop_entry. The mutex is held. */
static el_status sync_one(el_registry *r, const el_found_adapter *f, el_entry_spec *spec, el_sync *sync, bool *dead,
                          el_error *err) {
  el_entry *old = el_registry_find(r, f->name);
  /* The same name in the same directory may now be at another path: another snapshot, or a folder
   * instead of a file. */
  if (old && old->dir == sync->dir && old->scan != r->scan) {
    old->scan = r->scan;
    /* If its preset changes at this moment, the next scan or request notices. */
    bool fetched = spec->preset || spec->preset_error || !f->signature.file[EL_SIGNED_PRESET].inode;
    if (!fetched || is_unchanged(old, f, sync->dir)) return EL_OK;
  } else {
    el_status status = check_free(r, f->name, NULL, err);
    if (status) return status;
    old = NULL;
  }
  if (sync->known) sync->known(sync->user, f, &spec->size);
  el_entry *e = grow_entries(r) ? new_entry(r, spec, old) : NULL;
  spec->preset = NULL;
  spec->preset_error = NULL;
  if (!e) return registry_no_memory(err);
  e->scan = r->scan;
  if (old) {
    *dead = replace_entry(r, old, e) || *dead;
    sync->n_changed++;
  } else {
    r->entries[r->n++] = e;
    chain_entry(r, e);
    sync->n_added++;
  }
  return EL_OK;
}

el_status el_registry_sync(el_registry *r, el_found *found, el_sync *sync, el_error *err) {
  bool dead = false;
  sync->n_added = sync->n_changed = sync->n_removed = sync->n_refused = 0;
  el_entry_spec *specs = calloc(found->n ? found->n : 1, sizeof *specs);
  el_status status = specs && fetch_presets(r, found, sync->dir, specs) ? EL_OK : registry_no_memory(err);
  pthread_mutex_lock(&r->mutex);
  r->scan++;
  for (size_t i = 0; i < found->n && !status; i++) {
    el_found_adapter *f = &found->items[i];
    el_error error;
    if (!f->status && (f->status = sync_one(r, f, &specs[i], sync, &dead, &error)) &&
        !(f->problem = strdup(error.message)))
      f->status = EL_ERR_NO_MEMORY;
    if (f->status == EL_ERR_NO_MEMORY) status = registry_no_memory(err);
    sync->n_refused += f->status != EL_OK;
  }
  size_t n = 0;
  bool pins_gone = false;
  for (size_t i = 0; i < r->n; i++) {
    el_entry *e = r->entries[i];
    /* What was there, and was not seen by a look that did not see all, is likely there still. */
    if (status || e->dir != sync->dir || e->scan == r->scan || found->unsure) {
      r->entries[n++] = e;
      continue;
    }
    pins_gone = pins_gone || e->pinned;
    dead = unchain_entry(r, e) || dead;
    sync->n_removed++;
  }
  r->n = n;
  if (pins_gone) el_registry_recount_pins(r);
  if (!status && !el_refused_replace(&r->refused, sync->dir, found, sync->refused, sync->log))
    status = registry_no_memory(err);
  unlock_registry(r, dead);
  for (size_t i = 0; specs && i < found->n; i++) {
    el_preset_free(specs[i].preset);
    free(specs[i].preset_error);
  }
  free(specs);
  return status;
}
