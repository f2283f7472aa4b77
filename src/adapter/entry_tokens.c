/* The tokens that an entry's folder brings along. They are read when somebody first asks for them
 * and kept as long as the entry. When the files change, another entry replaces it. */
#include <stdlib.h>

#include "adapter/own_tokens.h"
#include "adapter/registry_private.h"
#include "base/error.h"

void el_registry_use_tokenizer(el_registry *r, const el_tokenizer *base, const el_sites *sites) {
  r->tokenizer = base;
  r->sites = sites;
}

/* The mutex is held. What all adapters bring besides their weights has one limit together. */
static el_status read_entry_tokens(el_registry *r, el_entry *e, el_error *err) {
  e->tokens_stamp = el_own_tokens_stamp(e->path);
  el_status status =
      e->tokens_stamp ? el_own_tokens_read(e->path, r->tokenizer, r->sites, &e->tokenizer, NULL, err) : EL_OK;
  if (status || !e->tokenizer) return status;
  const size_t bytes = el_tokenizer_extension_bytes(e->tokenizer);
  if (atomic_load(&r->preset_bytes) + bytes <= EL_MAX_PRESET_BYTES) {
    atomic_fetch_add(&r->preset_bytes, bytes);
    return EL_OK;
  }
  el_tokenizer_close(e->tokenizer);
  e->tokenizer = NULL;
  return el_fail_about(err, EL_ERR_NO_MEMORY, e->path, "tokens and presets of all adapters take more than %zu MiB",
                       EL_MAX_PRESET_BYTES >> 20);
}

el_status el_entry_tokens(el_entry *e, const el_tokenizer **out, el_error *err) {
  el_registry *r = e->registry;
  el_error why = {0};
  *out = NULL;
  if (!r || !r->tokenizer || !*e->path) return EL_OK;
  pthread_mutex_lock(&r->tokens_mutex);
  el_status status = EL_OK;
  if (!e->tokens_known && (status = read_entry_tokens(r, e, &why)) && status != EL_ERR_NO_MEMORY &&
      (e->tokens_error = malloc(sizeof why)))
    *e->tokens_error = why;
  e->tokens_known = !status || e->tokens_error; /* after out of memory the next request tries
                                                 * again */
  if (!status && e->tokens_error) {
    why = *e->tokens_error;
    status = why.code;
  }
  *out = e->tokenizer;
  pthread_mutex_unlock(&r->tokens_mutex);
  if (status && err) *err = why;
  return status;
}

bool el_entry_tokens_current(el_entry *e) {
  el_registry *r = e->registry;
  if (!r || !*e->path) return true;
  pthread_mutex_lock(&r->tokens_mutex);
  const bool known = e->tokens_known;
  const uint64_t stamp = e->tokens_stamp;
  pthread_mutex_unlock(&r->tokens_mutex);
  return !known || stamp == el_own_tokens_stamp(e->path);
}

int el_entry_n_own_tokens(el_entry *e) {
  el_registry *r = e->registry;
  size_t n = 0;
  if (!r || !r->tokenizer || !*e->path) return 0;
  pthread_mutex_lock(&r->tokens_mutex);
  const bool known = e->tokens_known;
  if (e->tokenizer) el_tokenizer_own(e->tokenizer, &n);
  pthread_mutex_unlock(&r->tokens_mutex);
  return known ? (int)n : -1;
}

void el_entry_free_tokens(el_entry *e) {
  if (e->tokenizer) atomic_fetch_sub(&e->registry->preset_bytes, el_tokenizer_extension_bytes(e->tokenizer));
  el_tokenizer_close(e->tokenizer);
  free(e->tokens_error);
}
