/* Adding and removing adapters: by name, or all that a directory holds. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/index_file.h"
#include "adapter/invocation.h"
#include "base/error.h"
#include "engine/engine.h"

/* ------------------------------------------------------------------- by name */

/* What the adapter will take of the pool; it is read on the caller's thread, and packed later by the loader. */
static el_status measure(el_engine *e, el_entry_spec *spec, int32_t invocation[EL_MAX_INVOCATION], el_error *err) {
  const el_sites *sites = el_model_sites(e->model);
  el_lora_file *file = NULL;
  el_packer *packer = NULL;
  el_status status = EL_OK;
  if (*spec->path) {
    status = el_signature_read(spec->path, &spec->signature, err);
    if (!status) status = el_lora_file_open(spec->path, sites, &file, err);
    if (!status && e->tokenizer) status = el_invocation_resolve(file, e->tokenizer, spec->path, err);
  }
  if (!status) status = el_packer_new(sites, e->kernels, e->adapter_layout, e->memory.pool.block_bytes, &packer, err);
  if (!status) el_packer_use_base(packer, el_model_base(e->model));
  if (!status)
    status = file ? el_packer_plan(packer, file, &spec->size, err)
                  : el_packer_plan_random(packer, spec->rank, spec->seed, &spec->size, err);
  spec->invocation = invocation;
  spec->n_invocation = file ? el_lora_file_invocation(file)->n : 0;
  if (!status && spec->n_invocation)
    memcpy(invocation, el_lora_file_invocation(file)->tokens, sizeof *invocation * (size_t)spec->n_invocation);
  el_packer_free(packer);
  el_lora_file_close(file);
  return status;
}

static el_status add(el_engine *e, el_entry_spec *spec, const el_adapter_put_options *how, uint64_t *generation,
                     el_error *err) {
  int32_t invocation[EL_MAX_INVOCATION];
  el_status status = el_registry_check(e->registry, spec->name, how, err);
  if (!status) status = measure(e, spec, invocation, err);
  const el_pool *pool = &e->memory.pool;
  if (!status && spec->size.n_blocks >= pool->n_blocks)
    return el_fail(err, EL_ERR_TOO_LARGE,
                   "adapter %.255s: takes %.1f MiB of memory, and there are %.1f MiB for adapters, "
                   "keys and values",
                   spec->name, (double)spec->size.bytes / (1 << 20),
                   (double)pool->n_blocks * (double)pool->block_bytes / (1 << 20));
  if (!status) status = el_registry_read_preset(e->registry, spec->name, spec->path, &spec->preset, err);
  if (!status) status = el_registry_offer(e->registry, spec, how, generation, err);
  if (status) return status;
  el_readings_settle(e, false);
  el_presets_tell(e);
  if (how && (how->pinned || how->in_place)) el_loop_notify(e); /* one that is to stay may have come */
  return EL_OK;
}

el_status el_adapter_put(el_engine *e, const char *name, const char *path, const el_adapter_put_options *options,
                         uint64_t *generation, el_error *err) {
  if (!e || !path || !*path) return el_fail(err, EL_ERR_INVALID, "adapter path: is missing");
  el_entry_spec spec = {.name = name, .path = path, .dir = EL_NO_DIR};
  return add(e, &spec, options, generation, err);
}

el_status el_adapter_add(el_engine *e, const char *name, const char *path, el_error *err) {
  return el_adapter_put(e, name, path, NULL, NULL, err);
}

el_status el_adapter_add_random(el_engine *e, const char *name, int rank, uint64_t seed, el_error *err) {
  if (!e) return el_fail(err, EL_ERR_INVALID, "engine: is NULL");
  el_entry_spec spec = {.name = name, .path = "", .dir = EL_NO_DIR, .rank = rank, .seed = seed};
  return add(e, &spec, NULL, NULL, err);
}

/* Its size is known afterwards. */
static el_status learn_size(el_engine *e, el_entry *entry, el_error *err) {
  el_entry_spec spec = {.name = entry->name, .path = entry->path, .rank = entry->rank, .seed = entry->seed};
  uint64_t file_bytes;
  el_registry_size(e->registry, entry, &spec.size, &file_bytes);
  if (spec.size.n_blocks) return EL_OK;
  int32_t invocation[EL_MAX_INVOCATION];
  el_status status = measure(e, &spec, invocation, err);
  if (status) return status;
  el_registry_learn(e->registry, entry, *entry->path ? &spec.signature : NULL, &spec.size);
  el_registry_learn_invocation(e->registry, entry, &(el_invocation){.tokens = invocation, .n = spec.n_invocation});
  return status;
}

el_status el_adapter_pin(el_engine *e, const char *name, bool pinned, el_error *err) {
  if (!e || !name) return el_fail(err, EL_ERR_INVALID, "adapter: an argument is NULL");
  el_entry *entry = NULL;
  el_status status = el_registry_get(e->registry, name, &entry, err);
  if (status) return status;
  if (pinned) status = learn_size(e, entry, err);
  if (!status) status = el_registry_pin(e->registry, entry, pinned, err);
  el_registry_put(e->registry, entry);
  if (!status) el_loop_notify(e);
  return status;
}

el_status el_adapter_remove(el_engine *e, const char *name, el_error *err) {
  return el_adapter_remove_expected(e, name, EL_ANY_GENERATION, err);
}

el_status el_adapter_remove_expected(el_engine *e, const char *name, uint64_t expected, el_error *err) {
  if (!e) return el_fail(err, EL_ERR_INVALID, "engine: is NULL");
  el_status status = el_registry_remove(e->registry, name, expected, err);
  if (!status) el_readings_settle(e, false);
  return status;
}

/* --------------------------------------------------------------- directories */

void el_dirs_free(el_dirs *dirs) {
  for (int i = 0; i < dirs->n; i++) free(dirs->paths[i]);
  free(dirs->paths);
  pthread_mutex_destroy(&dirs->mutex);
}

static bool known(void *index, const el_found_adapter *f, el_pack_size *size) {
  return el_index_file_find(index, f->path, &f->signature, size);
}

/* Whoever waits for a start on a slow file system is to see that something happens. */
typedef struct look {
  el_engine *engine;
  const char *dir;
} look;

static void say_progress(void *user, size_t looked, size_t of) {
  const look *l = user;
  el_logf(&l->engine->log, EL_LOG_INFO, "%s: %zu of %zu entries looked at", l->dir, looked, of);
}

/* Lists directory `dir`, and watches it and the folders that may come to hold adapters. */
static el_status discover(el_engine *e, const char *dir, el_found *found, el_error *err) {
  for (int rounds = 0;; rounds++) {
    el_upkeep_watch(e, dir);
    el_status status = el_adapter_discover_told(dir, say_progress, &(look){e, dir}, found, err);
    if (status) return status;
    bool fresh = false;
    for (size_t i = 0; i < found->n_folders; i++) {
      char *path = NULL;
      if (asprintf(&path, "%s/%s", dir, found->folders[i]) < 0) continue;
      fresh = el_upkeep_watch(e, path) || fresh;
      free(path);
    }
    /* What came into a folder between its listing and its watch has been missed. */
    if (!fresh || rounds) return EL_OK;
    el_found_free(found);
  }
}

/* Listings that are longer leave holes of megabytes between the entries, which go back to the system at once. */
enum { TRIM_FROM = 1000 };

static void say_refused(void *engine, const el_refused_entry *entry) {
  el_engine *e = engine;
  const char *why = entry->error.message + entry->error.detail; /* without the path, which comes first */
  el_logf(&e->log, EL_LOG_WARN, "%s: skipped: %s", entry->path, *why ? why : entry->error.message);
}

/* Looks through directory i; its mutex is held. What is wrong is said once. *unsure is set where not all could be seen.
 */
static el_status scan(el_engine *e, int i, bool first, el_rescan_result *sum, bool *unsure, el_error *err) {
  el_found found;
  el_status status = discover(e, e->dirs.paths[i], &found, err);
  if (status) return status;
  size_t n_found = found.n;
  *unsure = *unsure || found.unsure;
  if (found.unsure) {
    atomic_store(&e->upkeep.unwatched, true); /* so that it is looked at again soon */
    if (!e->upkeep.said_unsure)
      el_logf(&e->log, EL_LOG_WARN, "%s: could not be looked through as a whole; what is not seen stays as it was",
              e->dirs.paths[i]);
  }
  el_record_file *index = first ? el_upkeep_read_index(e) : NULL; /* what changes while we run is new */
  el_sync sync = {.dir = i, .known = known, .user = index, .refused = say_refused, .log = e};
  status = el_registry_sync(e->registry, &found, &sync, err);
  el_record_file_free(index);
  if (!status && !first && sync.n_added + sync.n_changed + sync.n_removed)
    el_logf(&e->log, EL_LOG_INFO, "%s: %zu adapters are new, %zu have changed, %zu are gone", e->dirs.paths[i],
            sync.n_added, sync.n_changed, sync.n_removed);
  el_found_free(&found);
#ifdef __GLIBC__
  if (n_found >= TRIM_FROM) malloc_trim(0);
#endif
  sum->n_added += sync.n_added;
  sum->n_changed += sync.n_changed;
  sum->n_removed += sync.n_removed;
  sum->n_failed += sync.n_refused;
  return status;
}

/* Appends; false: out of memory. */
static bool append(el_dirs *d, const char *dir) {
  char **paths = realloc(d->paths, sizeof *paths * ((size_t)d->n + 1));
  if (!paths) return false;
  d->paths = paths;
  if (!(paths[d->n] = strdup(dir))) return false;
  d->n++;
  return true;
}

el_status el_adapter_add_dir(el_engine *e, const char *dir, size_t *n_added, size_t *n_failed, el_error *err) {
  if (!e || !dir) return el_fail(err, EL_ERR_INVALID, "adapter directory: is NULL");
  el_rescan_result sum = {0};
  el_dirs *d = &e->dirs;
  pthread_mutex_lock(&d->mutex);
  int i = 0;
  while (i < d->n && strcmp(d->paths[i], dir)) i++;
  bool old = i < d->n;
  el_status status = EL_OK;
  if (!old && !append(d, dir)) status = el_fail(err, EL_ERR_NO_MEMORY, "%s: out of memory", dir);
  if (!status) {
    if (!e->by_hand) status = el_upkeep_start(e, el_adapter_rescan, err);
    if (!status) status = scan(e, i, true, &sum, &e->upkeep.said_unsure, err);
    if (status && !old) free(d->paths[--d->n]);
  }
  pthread_mutex_unlock(&d->mutex);
  if (status) return status;
  el_readings_settle(e, false);
  el_presets_tell(e);
  if (n_added) *n_added = sum.n_added;
  if (n_failed) *n_failed = sum.n_failed;
  return EL_OK;
}

el_status el_adapter_rescan(el_engine *e, el_rescan_result *out, el_error *err) {
  if (!e) return el_fail(err, EL_ERR_INVALID, "engine: is NULL");
  el_rescan_result sum = {0};
  el_status status = EL_OK;
  bool unsure = false;
  pthread_mutex_lock(&e->dirs.mutex);
  atomic_store(&e->upkeep.unwatched, false);
  for (int i = 0; i < e->dirs.n; i++) {
    el_error error;
    /* One that is gone does not keep the others from being looked through. What it offered fails when it is asked for.
     */
    el_status one = scan(e, i, false, &sum, &unsure, &error);
    if (one && !status) {
      status = one;
      if (err) *err = error;
    }
  }
  e->upkeep.said_unsure = unsure;
  pthread_mutex_unlock(&e->dirs.mutex);
  el_readings_settle(e, true);
  el_presets_tell(e);
  if (out) *out = sum;
  return status;
}

/* ------------------------------------------------------------------- listing */

el_status el_adapter_list(el_engine *e, el_adapter_info **out, size_t *n, el_error *err) {
  if (!e || !out || !n) return el_fail(err, EL_ERR_INVALID, "adapter list: an argument is NULL");
  el_status status = el_registry_list(e->registry, out, n, err);
  if (!status) el_chooser_mark(&e->chooser, *out, *n);
  return status;
}

el_status el_adapter_list_resident(el_engine *e, el_adapter_info **out, size_t *n, el_error *err) {
  if (!e || !out || !n) return el_fail(err, EL_ERR_INVALID, "adapter list: an argument is NULL");
  el_status status = el_registry_list_resident(e->registry, out, n, err);
  if (!status) el_chooser_mark(&e->chooser, *out, *n);
  return status;
}

el_status el_adapter_list_refused(const el_engine *e, el_adapter_refusal **out, size_t *n, el_error *err) {
  if (!e || !out || !n) return el_fail(err, EL_ERR_INVALID, "adapter list: an argument is NULL");
  return el_registry_list_refused(e->registry, out, n, err);
}

static el_status get(el_engine *e, const char *name, uint64_t id, el_adapter_info **out, el_error *err) {
  el_status status = el_registry_info(e->registry, name, id, out, err);
  if (!status) el_chooser_mark(&e->chooser, *out, 1);
  return status;
}

el_status el_adapter_get(el_engine *e, const char *name, el_adapter_info **out, el_error *err) {
  if (!e || !name || !out) return el_fail(err, EL_ERR_INVALID, "adapter: an argument is NULL");
  return get(e, name, 0, out, err);
}

el_status el_adapter_get_by_id(el_engine *e, uint64_t id, el_adapter_info **out, el_error *err) {
  if (!e || !out) return el_fail(err, EL_ERR_INVALID, "adapter: an argument is NULL");
  return get(e, NULL, id, out, err);
}
