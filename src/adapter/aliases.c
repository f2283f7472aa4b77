/* Aliases that presets give to adapters, and notices about presets. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/registry_private.h"
#include "base/error.h"

/* The index of a name's bucket in el_registry.aliases. */
static size_t alias_bucket(const char *name) {
  return el_registry_hash(name) % EL_ALIAS_BUCKETS;
}

/* The entry that has the alias: of those that want it, the one that was registered first. NULL:
 * nobody wants it. */
static el_entry *find_alias(const el_registry *r, const char *name) {
  el_entry *first = NULL;
  for (const el_alias *a = r->aliases[alias_bucket(name)]; a; a = a->next)
    if (!strcmp(a->name, name) && (!first || a->entry->id < first->id)) first = a->entry;
  return first;
}

el_entry *el_registry_resolve(const el_registry *r, const char *name) {
  el_entry *e = el_registry_find(r, name);
  return e || !strcmp(name, r->base_name) ? e : find_alias(r, name);
}

void el_registry_notice(el_registry *r, const char *fmt, ...) {
  char line[1400];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  if (r->notices.len < EL_MAX_NOTICE_BYTES) el_buf_printf(&r->notices, "%s\n", line);
}

void el_registry_add_aliases(el_registry *r, el_entry *e) {
  char shown[EL_SHOW], other[EL_SHOW], own[EL_SHOW];
  size_t n = e->preset ? e->preset->preset.n_aliases : 0;
  for (size_t i = 0; e->aliases && i < n; i++) {
    const char *name = e->preset->preset.aliases[i];
    el_alias **at = &r->aliases[alias_bucket(name)];
    e->aliases[i] = (el_alias){*at, name, e};
    *at = &e->aliases[i];
    const el_entry *has = el_registry_resolve(r, name);
    if (!strcmp(name, r->base_name))
      el_registry_notice(r, "adapter %s: alias %s: is the base model's name", el_registry_show(e->name, own),
                         el_registry_show(name, shown));
    else if (has != e)
      el_registry_notice(r, "adapter %s: alias %s: adapter %s has that name", el_registry_show(e->name, own),
                         el_registry_show(name, shown), el_registry_show(has->name, other));
  }
  const el_entry *late = find_alias(r, e->name);
  if (late && late != e)
    el_registry_notice(r, "adapter %s: alias %s: adapter %s has that name", el_registry_show(late->name, own),
                       el_registry_show(e->name, shown), el_registry_show(e->name, other));
  if (e->preset_error)
    el_registry_notice(r, "adapter %s: %s", el_registry_show(e->name, own), e->preset_error->message);
}

void el_registry_remove_aliases(el_registry *r, el_entry *e) {
  size_t n = e->preset ? e->preset->preset.n_aliases : 0;
  for (size_t i = 0; e->aliases && i < n; i++) {
    el_alias **at = &r->aliases[alias_bucket(e->aliases[i].name)];
    while (*at != &e->aliases[i]) at = &(*at)->next;
    *at = e->aliases[i].next;
  }
}

char *el_registry_take_notices(el_registry *r) {
  pthread_mutex_lock(&r->mutex);
  char *lines = r->notices.len ? r->notices.data : NULL;
  if (lines) r->notices = (el_buf){0};
  pthread_mutex_unlock(&r->mutex);
  return lines;
}

/* ------------------------------------------------------------------ presets */

void el_registry_on_preset(el_registry *r, el_status (*make)(void *user, el_preset_file *f, el_error *err),
                           void *user) {
  r->make = make;
  r->make_user = user;
}

el_status el_registry_read_preset(el_registry *r, const char *name, const char *path, el_preset_file **out,
                                  el_error *err) {
  el_preset_file *f = NULL;
  *out = NULL;
  if (!*path) return EL_OK;
  el_status status = el_preset_read(path, &f, err);
  if (!status) status = el_preset_check_aliases(f, name, err);
  if (!status && f && r->make) status = r->make(r->make_user, f, err);
  if (!status && f && atomic_load(&r->preset_bytes) + f->bytes > EL_MAX_PRESET_BYTES)
    status = el_fail_about(err, EL_ERR_NO_MEMORY, path, "%s: presets of all adapters would take more than %zu MiB",
                           EL_PRESET_FILE, EL_MAX_PRESET_BYTES >> 20);
  if (status)
    el_preset_free(f);
  else
    *out = f;
  return status;
}
