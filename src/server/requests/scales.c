#include "server/requests/scales.h"

#include <string.h>

void el_scales_init(el_scales *s) {
  *s = (el_scales){0};
  pthread_mutex_init(&s->mutex, NULL);
}

void el_scales_free(el_scales *s) {
  pthread_mutex_destroy(&s->mutex);
}

void el_scales_set(el_scales *s, const el_lora_scale *all, size_t n) {
  pthread_mutex_lock(&s->mutex);
  s->n = n;
  if (n) memcpy(s->all, all, n * sizeof *all);
  pthread_mutex_unlock(&s->mutex);
}

size_t el_scales_get(el_scales *s, el_lora_scale all[EL_MAX_COMBINED]) {
  pthread_mutex_lock(&s->mutex);
  size_t n = s->n;
  memcpy(all, s->all, sizeof s->all);
  pthread_mutex_unlock(&s->mutex);
  return n;
}

/* Like el_adapter_get_by_id, for adapters that the key allows. */
static el_status get_allowed_adapter(el_engine *engine, const el_key *key, uint64_t id, el_adapter_info **out,
                                     el_error *err) {
  el_status status = el_adapter_get_by_id(engine, id, out, err);
  if (status || el_key_allows(key, (*out)->name)) return status;
  el_free(*out);
  return err->code = EL_ERR_NOT_FOUND;
}

bool el_scaled_find(el_engine *engine, el_scales *s, const char *base, const el_key *key, const el_api_request *r,
                    el_scaled *out, el_api_error *e) {
  *out = (el_scaled){0};
  el_lora_scale all[EL_MAX_COMBINED];
  bool named = strcmp(r->model, base) != 0;
  if (named && r->has_lora)
    return el_api_fail(e, 400, "invalid_value", "lora",
                       "'lora' says which adapters are applied, and so does 'model': leave 'model' out, or name the "
                       "base model.");
  if (named) return true;
  size_t n = r->has_lora ? r->n_lora : el_scales_get(s, all);
  const el_lora_scale *choices = r->has_lora ? r->lora : all;
  for (size_t i = 0; i < n; i++) {
    el_error err;
    if (choices[i].scale == 0 && !r->has_lora) continue;
    /* Scales for all requests apply to every key. */
    if (!get_allowed_adapter(engine, r->has_lora ? key : NULL, choices[i].id, &out->infos[out->n], &err)) {
      out->list[out->n] = (el_adapter_scale){out->infos[out->n]->name, choices[i].scale};
      out->n++;
    } else if (err.code != EL_ERR_NOT_FOUND) {
      return el_api_fail_engine(e, &err, r->model, el_key_is_limited(key));
    } else if (r->has_lora) {
      return el_api_fail(e, 400, "invalid_value", "lora",
                         "Invalid value for 'lora': there is no adapter with id %llu; see GET /lora-adapters.",
                         (unsigned long long)choices[i].id);
    } /* otherwise the adapter was unloaded after its scale was set */
  }
  return true;
}

void el_scaled_release(el_scaled *a) {
  for (size_t i = 0; i < a->n; i++) el_free(a->infos[i]);
  a->n = 0;
}
