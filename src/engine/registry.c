#include "engine/registry.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "adapter/discover.h"
#include "base/error.h"
#include "format/text.h"

struct el_registry {
  pthread_mutex_t mutex;
  char *base_name;
  el_entry **entries; /* [n] listed, in order of registration */
  size_t n, cap;
};

/* FNV-1a: thousands of names are compared by one number each. */
static uint64_t hash_of(const char *name) {
  uint64_t h = 0xcbf29ce484222325u;
  for (; *name; name++) h = (h ^ (unsigned char)*name) * 0x100000001b3u;
  return h;
}

/* The index, or n. The mutex is held. */
static size_t find(const el_registry *r, const char *name) {
  uint64_t hash = hash_of(name);
  size_t i = 0;
  while (i < r->n && (r->entries[i]->hash != hash || strcmp(r->entries[i]->name, name))) i++;
  return i;
}

static const char *show(const char *name, char out[EL_SHOW]) {
  return el_str_show((el_str){name, strlen(name)}, out, EL_SHOW);
}

static void free_entry(el_entry *e) {
  el_adapter_free(e->adapter);
  free(e->name);
  free(e->path);
  free(e);
}

el_status el_registry_new(const char *base_name, el_registry **out, el_error *err) {
  el_registry *r = calloc(1, sizeof *r);
  if (r) r->base_name = strdup(base_name);
  if (!r || !r->base_name) {
    free(r);
    return el_fail(err, EL_ERR_NO_MEMORY, "adapters: out of memory");
  }
  pthread_mutex_init(&r->mutex, NULL);
  *out = r;
  return EL_OK;
}

void el_registry_free(el_registry *r) {
  if (!r) return;
  for (size_t i = 0; i < r->n; i++) {
    assert(r->entries[i]->refs == 1);
    free_entry(r->entries[i]);
  }
  pthread_mutex_destroy(&r->mutex);
  free(r->entries);
  free(r->base_name);
  free(r);
}

/* The mutex is held. */
static el_status check_free(const el_registry *r, const char *name, el_error *err) {
  char shown[EL_SHOW];
  if (!strcmp(name, r->base_name))
    return el_fail(err, EL_ERR_EXISTS, "adapter name %s: is the base model's", show(name, shown));
  if (find(r, name) < r->n) return el_fail(err, EL_ERR_EXISTS, "adapter name %s: is taken", show(name, shown));
  return EL_OK;
}

el_status el_registry_check(el_registry *r, const char *name, el_error *err) {
  if (!name) return el_fail(err, EL_ERR_INVALID, "adapter name: is NULL");
  el_status status = el_adapter_name_check(name, err);
  if (status) return status;
  pthread_mutex_lock(&r->mutex);
  status = check_free(r, name, err);
  pthread_mutex_unlock(&r->mutex);
  return status;
}

el_status el_registry_add(el_registry *r, const char *name, const char *path, el_adapter *adapter, el_error *err) {
  el_entry *e = calloc(1, sizeof *e);
  if (!e) {
    el_adapter_free(adapter);
    return el_fail(err, EL_ERR_NO_MEMORY, "adapters: out of memory");
  }
  *e = (el_entry){.name = strdup(name),
                  .path = strdup(path),
                  .adapter = adapter,
                  .created = (int64_t)time(NULL),
                  .hash = hash_of(name),
                  .refs = 1};
  el_status status = EL_OK;
  if (!e->name || !e->path) status = el_fail(err, EL_ERR_NO_MEMORY, "adapters: out of memory");
  pthread_mutex_lock(&r->mutex);
  if (!status) status = check_free(r, name, err);
  if (!status && r->n == r->cap) {
    size_t cap = r->cap ? 2 * r->cap : 16;
    el_entry **entries = realloc(r->entries, cap * sizeof *entries);
    if (entries) {
      r->entries = entries;
      r->cap = cap;
    } else {
      status = el_fail(err, EL_ERR_NO_MEMORY, "adapters: out of memory");
    }
  }
  if (!status) r->entries[r->n++] = e;
  pthread_mutex_unlock(&r->mutex);
  if (status) free_entry(e);
  return status;
}

/* Gives one reference back. The mutex is held; the caller frees the entry after it has let go of it, when told to. */
static bool drop(el_entry *e) {
  assert(e->refs > 0);
  return --e->refs == 0;
}

el_status el_registry_remove(el_registry *r, const char *name, el_error *err) {
  char shown[EL_SHOW];
  if (!name) return el_fail(err, EL_ERR_INVALID, "adapter name: is NULL");
  el_entry *unused = NULL;
  pthread_mutex_lock(&r->mutex);
  size_t i = find(r, name);
  bool found = i < r->n;
  if (found) {
    if (drop(r->entries[i])) unused = r->entries[i];
    memmove(&r->entries[i], &r->entries[i + 1], (r->n - i - 1) * sizeof *r->entries);
    r->n--;
  }
  pthread_mutex_unlock(&r->mutex);
  if (unused) free_entry(unused);
  return found ? EL_OK : el_fail(err, EL_ERR_NOT_FOUND, "adapter %s: there is none", show(name, shown));
}

el_status el_registry_get(el_registry *r, const char *name, el_entry **out, el_error *err) {
  char shown[EL_SHOW];
  el_entry *e = NULL;
  pthread_mutex_lock(&r->mutex);
  size_t i = find(r, name);
  if (i < r->n) {
    e = r->entries[i];
    e->refs++;
  }
  pthread_mutex_unlock(&r->mutex);
  if (!e) return el_fail(err, EL_ERR_NOT_FOUND, "adapter %s: there is none", show(name, shown));
  *out = e;
  return EL_OK;
}

void el_registry_put(el_registry *r, el_entry *entry) {
  if (!entry) return;
  pthread_mutex_lock(&r->mutex);
  bool unused = drop(entry);
  pthread_mutex_unlock(&r->mutex);
  if (unused) free_entry(entry);
}

el_status el_registry_list(el_registry *r, el_adapter_info **out, size_t *n, el_error *err) {
  pthread_mutex_lock(&r->mutex);
  size_t bytes = r->n * sizeof(el_adapter_info);
  for (size_t i = 0; i < r->n; i++) bytes += strlen(r->entries[i]->name) + strlen(r->entries[i]->path) + 2;
  el_adapter_info *list = malloc(bytes ? bytes : 1);
  char *strings = list ? (char *)(list + r->n) : NULL;
  size_t count = r->n;
  for (size_t i = 0; list && i < count; i++) {
    const el_entry *e = r->entries[i];
    list[i] = (el_adapter_info){
        .rank = el_adapter_rank(e->adapter), .bytes = el_adapter_bytes(e->adapter), .created = e->created};
    list[i].name = strings;
    strings = stpcpy(strings, e->name) + 1;
    list[i].path = strings;
    strings = stpcpy(strings, e->path) + 1;
  }
  pthread_mutex_unlock(&r->mutex);
  if (!list) return el_fail(err, EL_ERR_NO_MEMORY, "adapters: out of memory");
  *out = list;
  *n = count;
  return EL_OK;
}
