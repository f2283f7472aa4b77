/* Adapters that are pinned in memory: which, and how much memory they may take. */
#include <string.h>

#include "adapter/registry_private.h"
#include "base/error.h"

void el_registry_limit_pins(el_registry *r, uint32_t most_blocks, size_t block_bytes) {
  r->most_pinned = most_blocks;
  r->block_bytes = block_bytes;
}

void el_registry_recount_pins(el_registry *r) {
  uint64_t sum = 0;
  for (size_t i = 0; i < r->n; i++)
    if (r->entries[i]->pinned) sum += r->entries[i]->size.n_blocks;
  atomic_store(&r->pinned_blocks, sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX);
  atomic_fetch_add(&r->pins_version, 1);
}

el_status el_registry_check_pin(const el_registry *r, const el_entry *old, const el_entry *e, el_error *err) {
  uint64_t others = 0;
  size_t n = 1;
  for (size_t i = 0; i < r->n; i++) {
    const el_entry *other = r->entries[i];
    if (!other->pinned || other == old || other == e) continue;
    others += other->size.n_blocks;
    n++;
  }
  char shown[EL_SHOW];
  el_str_show(el_str_of(e->name), shown, sizeof shown);
  if (n > EL_MAX_PINNED)
    return el_fail(err, EL_ERR_INVALID, "adapter %s: cannot be pinned: %d are, which is the limit", shown,
                   EL_MAX_PINNED);
  if (others + e->size.n_blocks <= r->most_pinned) return EL_OK;
  double mib = (double)r->block_bytes / (1 << 20);
  return el_fail(
      err, EL_ERR_NO_MEMORY,
      "adapter %s: cannot be pinned: it takes %.1f MiB, other pinned ones have %.1f MiB, and all together may "
      "have %.1f MiB, so that there is room for one whole context and another adapter",
      shown, mib * e->size.n_blocks, mib * (double)others, mib * r->most_pinned);
}

el_status el_registry_pin(el_registry *r, el_entry *e, bool pinned, el_error *err) {
  char shown[EL_SHOW];
  pthread_mutex_lock(&r->mutex);
  el_status status = EL_OK;
  if (!e->listed)
    status = el_fail(err, EL_ERR_NOT_FOUND, "adapter %s: there is none",
                     el_str_show(el_str_of(e->name), shown, sizeof shown));
  else if (pinned)
    status = el_registry_check_pin(r, e, e, err);
  if (!status && e->pinned != pinned) {
    e->pinned = pinned;
    el_registry_recount_pins(r);
  }
  pthread_mutex_unlock(&r->mutex);
  return status;
}

bool el_registry_pins_changed(const el_registry *r, unsigned *version) {
  unsigned now = atomic_load(&r->pins_version);
  bool changed = now != *version;
  *version = now;
  return changed;
}

int el_registry_get_pinned(el_registry *r, el_entry *out[EL_MAX_PINNED]) {
  int n = 0;
  pthread_mutex_lock(&r->mutex);
  for (size_t i = 0; i < r->n && n < EL_MAX_PINNED; i++) {
    if (!r->entries[i]->pinned) continue;
    r->entries[i]->refs++;
    out[n++] = r->entries[i];
  }
  pthread_mutex_unlock(&r->mutex);
  return n;
}

uint32_t el_registry_pinned_beside(el_registry *r, const el_entry *e) {
  uint32_t all = atomic_load(&r->pinned_blocks);
  if (!all || !e) return all;
  pthread_mutex_lock(&r->mutex);
  all = atomic_load(&r->pinned_blocks);
  if (e->pinned && e->listed) all -= e->size.n_blocks;
  pthread_mutex_unlock(&r->mutex);
  return all;
}
