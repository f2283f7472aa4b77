/* What is known of adapters, for callers that list them. */
#include <stdlib.h>
#include <string.h>

#include "adapter/registry_private.h"
#include "base/error.h"

void el_registry_each_known(el_registry *r, void (*see)(void *user, const el_entry *entry), void *user) {
  pthread_mutex_lock(&r->mutex);
  for (size_t i = 0; i < r->n; i++)
    if (r->entries[i]->size.n_blocks && *r->entries[i]->path) see(user, r->entries[i]);
  pthread_mutex_unlock(&r->mutex);
}

/* Copies a string of an info to *at and moves *at behind it. */
static const char *put_info_string(char **at, const char *s) {
  const char *begin = *at;
  if (!s) return NULL;
  *at = stpcpy(*at, s) + 1;
  return begin;
}

static size_t string_bytes(const char *s) {
  return s ? strlen(s) + 1 : 0;
}

static size_t n_aliases(const el_entry *e) {
  return e->aliases ? e->preset->preset.n_aliases : 0;
}

/* Copies the aliases that lead to the entry to *at; returns their number. */
static size_t put_aliases(const el_registry *r, const el_entry *e, const char **pointers, char **at) {
  size_t n = 0;
  for (size_t i = 0; i < n_aliases(e); i++) {
    const char *alias = e->preset->preset.aliases[i];
    if (el_registry_resolve(r, alias) == e) pointers[n++] = put_info_string(at, alias);
  }
  return n;
}

/* The infos of n entries in one block together with their strings. NULL: out of memory. The mutex
 * is held. */
static el_adapter_info *describe_entries(const el_registry *r, el_entry *const *entries, size_t n) {
  size_t bytes = n * sizeof(el_adapter_info), n_pointers = 0, n_tokens = 0;
  for (size_t i = 0; i < n; i++) {
    const el_entry *e = entries[i];
    bytes += string_bytes(e->name) + string_bytes(e->path) + string_bytes(e->failure);
    if (e->preset) bytes += string_bytes(e->preset->preset.description);
    n_pointers += n_aliases(e);
    n_tokens += e->n_invocation > 0 ? (size_t)e->n_invocation : 0;
    for (size_t k = 0; k < n_aliases(e); k++) bytes += sizeof(char *) + string_bytes(e->preset->preset.aliases[k]);
  }
  bytes += n_tokens * sizeof(int32_t);
  el_adapter_info *list = malloc(bytes ? bytes : 1);
  const char **pointers = list ? (const char **)(list + n) : NULL;
  int32_t *tokens = list ? (int32_t *)(pointers + n_pointers) : NULL;
  char *strings = list ? (char *)(tokens + n_tokens) : NULL;
  for (size_t i = 0; list && i < n; i++) {
    el_entry *e = entries[i];
    const el_usage *u = e->usage;
    list[i] = (el_adapter_info){.id = e->id,
                                .name = put_info_string(&strings, e->name),
                                .path = put_info_string(&strings, e->path),
                                .rank = e->size.n_blocks ? e->size.rank : e->rank,
                                .bytes = e->size.bytes,
                                .created = e->created,
                                .state = (el_adapter_state)atomic_load(&e->state),
                                .requests = atomic_load(&u->requests),
                                .generation = e->generation,
                                .prompt_tokens = atomic_load(&u->prompt_tokens),
                                .generated_tokens = atomic_load(&u->generated_tokens),
                                .hits = atomic_load(&u->hits),
                                .loads = atomic_load(&u->loads),
                                .loads_failed = atomic_load(&u->loads_failed),
                                .load_ms = (double)atomic_load(&u->load_ns) * 1e-6,
                                .last_used = atomic_load(&u->last_used),
                                .failure = put_info_string(&strings, e->failure),
                                .failed_at = e->failed_at};
    if (e->failure) list[i].failure_detail = list[i].failure + e->failure_detail;
    if (e->preset) list[i].description = put_info_string(&strings, e->preset->preset.description);
    list[i].pinned = e->pinned;
    list[i].own_tokens = el_entry_n_own_tokens(e);
    list[i].activated = e->n_invocation < 0 ? -1 : e->n_invocation > 0;
    list[i].invocation = tokens;
    for (int k = 0; k < e->n_invocation; k++) *tokens++ = e->invocation[k];
    list[i].n_invocation = (size_t)(tokens - list[i].invocation);
    list[i].aliases = pointers;
    list[i].n_aliases = put_aliases(r, e, pointers, &strings);
    pointers += n_aliases(e);
  }
  return list;
}

el_status el_registry_list(el_registry *r, el_adapter_info **out, size_t *n, el_error *err) {
  pthread_mutex_lock(&r->mutex);
  size_t count = r->n;
  el_adapter_info *list = describe_entries(r, r->entries, count);
  pthread_mutex_unlock(&r->mutex);
  if (!list) return el_fail(err, EL_ERR_NO_MEMORY, "adapters: out of memory");
  *out = list;
  *n = count;
  return EL_OK;
}

el_status el_registry_list_resident(el_registry *r, el_adapter_info **out, size_t *n, el_error *err) {
  pthread_mutex_lock(&r->mutex);
  el_entry **some = malloc((r->n + 1) * sizeof(el_entry *));
  size_t count = 0;
  for (size_t i = 0; some && i < r->n; i++) {
    const int state = atomic_load(&r->entries[i]->state);
    if (state == EL_ADAPTER_RESIDENT || state == EL_ADAPTER_LOADING) some[count++] = r->entries[i];
  }
  el_adapter_info *list = some ? describe_entries(r, some, count) : NULL;
  pthread_mutex_unlock(&r->mutex);
  free((void *)some);
  if (!list) return el_fail(err, EL_ERR_NO_MEMORY, "adapters: out of memory");
  *out = list;
  *n = count;
  return EL_OK;
}

el_status el_registry_info(el_registry *r, const char *name, uint64_t id, el_adapter_info **out, el_error *err) {
  char shown[EL_SHOW];
  pthread_mutex_lock(&r->mutex);
  el_entry *e = name ? el_registry_resolve(r, name) : el_registry_at_id(r, id);
  el_adapter_info *info = e ? describe_entries(r, &e, 1) : NULL;
  pthread_mutex_unlock(&r->mutex);
  if (!e && !name) return el_fail(err, EL_ERR_NOT_FOUND, "adapter id %llu: there is none", (unsigned long long)id);
  if (!e)
    return el_fail(err, EL_ERR_NOT_FOUND, "adapter %s: there is none",
                   el_str_show(el_str_of(name), shown, sizeof shown));
  if (!info) return el_fail(err, EL_ERR_NO_MEMORY, "adapters: out of memory");
  *out = info;
  return EL_OK;
}

el_status el_registry_list_refused(el_registry *r, el_adapter_refusal **out, size_t *n, el_error *err) {
  pthread_mutex_lock(&r->mutex);
  const el_refused *refused = &r->refused;
  size_t count = refused->n, bytes = count * sizeof **out;
  for (size_t i = 0; i < count; i++)
    bytes +=
        strlen(refused->items[i].name) + strlen(refused->items[i].path) + strlen(refused->items[i].error.message) + 3;
  el_adapter_refusal *list = malloc(bytes ? bytes : 1);
  char *strings = list ? (char *)(list + count) : NULL;
  for (size_t i = 0; list && i < count; i++) {
    const el_refused_entry *e = &refused->items[i];
    list[i].name = strings;
    strings = stpcpy(strings, e->name) + 1;
    list[i].path = strings;
    strings = stpcpy(strings, e->path) + 1;
    list[i].reason = strings;
    list[i].detail = strings + e->error.detail;
    strings = stpcpy(strings, e->error.message) + 1;
  }
  pthread_mutex_unlock(&r->mutex);
  if (!list) return el_fail(err, EL_ERR_NO_MEMORY, "adapters: out of memory");
  *out = list;
  *n = count;
  return EL_OK;
}

uint64_t el_registry_generation(el_registry *r, const el_entry *entry) {
  pthread_mutex_lock(&r->mutex);
  uint64_t generation = entry->generation;
  pthread_mutex_unlock(&r->mutex);
  return generation;
}

size_t el_registry_count(el_registry *r) {
  pthread_mutex_lock(&r->mutex);
  size_t n = r->n;
  pthread_mutex_unlock(&r->mutex);
  return n;
}
