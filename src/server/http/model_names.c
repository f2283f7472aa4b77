#include "server/http/model_names.h"

#include <string.h>

bool el_models_is_base(el_server *s, const char *name) {
  if (!strcmp(s->model.name, name)) return true;
  size_t i = 0;
  while (i < s->options.n_aliases && strcmp(s->options.aliases[i], name)) i++;
  el_adapter_info *adapter;
  if (i == s->options.n_aliases) return false;
  if (el_adapter_get(s->options.engine, name, &adapter, NULL)) return true;
  el_free(adapter);
  return false;
}

bool el_models_is_auto(el_server *s, const el_key *key, const char *name) {
  if (strcmp(name, EL_AUTO)) return false;
  if (el_models_is_base(s, name) && el_key_allows(key, s->model.name)) return false;
  el_adapter_info *info;
  el_status status = el_adapter_get(s->options.engine, name, &info, NULL);
  if (status) return status == EL_ERR_NOT_FOUND;
  el_free(info);
  return !el_key_allows(key, name);
}

bool el_models_allows(el_server *s, const el_key *key, const char *name) {
  el_adapter_info *info;
  if (el_models_is_base(s, name)) return el_key_allows(key, s->model.name);
  if (el_adapter_get(s->options.engine, name, &info, NULL)) return false;
  bool allows = el_key_allows(key, info->name);
  el_free(info);
  return allows;
}

bool el_models_may_ask(el_server *s, const el_key *key, const char *name) {
  el_adapter_info *info;
  if (!el_key_is_limited(key)) return true;
  if (el_models_is_base(s, name)) return el_key_allows(key, s->model.name);
  if (el_adapter_get(s->options.engine, name, &info, NULL)) return el_key_allows(key, name);
  bool allows = el_key_allows(key, info->name);
  el_free(info);
  return allows;
}
