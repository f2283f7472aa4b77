/* Adding and removing adapters. They are read and packed on the caller's thread, while the engine runs. */
#include "adapter/discover.h"
#include "base/error.h"
#include "engine/engine.h"

static void shape_of(const el_engine *e, el_lora_shape *shape) {
  el_hparams_shape(el_model_hparams(e->model), shape);
}

el_status el_adapter_add(el_engine *e, const char *name, const char *path, el_error *err) {
  if (!e || !path) return el_fail(err, EL_ERR_INVALID, "adapter path: is NULL");
  el_status status = el_registry_check(e->registry, name, err);
  if (status) return status;
  el_lora_shape shape;
  shape_of(e, &shape);
  el_lora_file *file = NULL;
  el_adapter *adapter = NULL;
  status = el_lora_file_open(path, &shape, &file, err);
  if (!status) status = el_adapter_pack(file, &shape, e->kernels, &adapter, err);
  el_lora_file_close(file);
  if (status) return status;
  return el_registry_add(e->registry, name, path, adapter, err);
}

el_status el_adapter_add_random(el_engine *e, const char *name, int rank, uint64_t seed, el_error *err) {
  if (!e) return el_fail(err, EL_ERR_INVALID, "engine: is NULL");
  if (rank < 1 || rank > EL_LORA_MAX_RANK)
    return el_fail(err, EL_ERR_INVALID, "rank: %d is not in 1 to %d", rank, EL_LORA_MAX_RANK);
  el_status status = el_registry_check(e->registry, name, err);
  if (status) return status;
  el_lora_shape shape;
  shape_of(e, &shape);
  el_adapter *adapter = NULL;
  status = el_adapter_random(&shape, rank, seed, e->kernels, &adapter, err);
  if (status) return status;
  return el_registry_add(e->registry, name, "", adapter, err);
}

el_status el_adapter_add_dir(el_engine *e, const char *dir, size_t *n_added, size_t *n_failed, el_error *err) {
  if (!e || !dir) return el_fail(err, EL_ERR_INVALID, "adapter directory: is NULL");
  el_found found = {0};
  el_status status = el_adapter_discover(dir, &found, err);
  if (status) return status;
  size_t added = 0;
  for (size_t i = 0; i < found.n; i++) {
    const el_found_adapter *a = &found.items[i];
    el_error error;
    const char *problem = a->problem;
    if (!a->status && el_adapter_add(e, a->name, a->path, &error)) problem = error.message;
    if (problem)
      el_logf(&e->log, EL_LOG_WARN, "%s: skipped: %s", a->path, problem);
    else
      added++;
  }
  if (n_added) *n_added = added;
  if (n_failed) *n_failed = found.n - added;
  el_found_free(&found);
  return EL_OK;
}

el_status el_adapter_remove(el_engine *e, const char *name, el_error *err) {
  if (!e) return el_fail(err, EL_ERR_INVALID, "engine: is NULL");
  return el_registry_remove(e->registry, name, err);
}

el_status el_adapter_list(const el_engine *e, el_adapter_info **out, size_t *n, el_error *err) {
  if (!e || !out || !n) return el_fail(err, EL_ERR_INVALID, "adapter list: an argument is NULL");
  return el_registry_list(e->registry, out, n, err);
}
