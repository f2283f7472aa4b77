/* The adapters that requests can name. Entries are counted: a removed one is no longer found, and its memory goes when
 * the last request that uses it has ended. Any thread. */
#ifndef EL_ENGINE_REGISTRY_H
#define EL_ENGINE_REGISTRY_H

#include "adapter/adapter.h"

typedef struct el_registry el_registry;

typedef struct el_entry {
  char *name, *path;
  el_adapter *adapter;
  int64_t created; /* seconds since the epoch */
  uint64_t hash;   /* of the name */
  uint32_t refs;   /* requests, and the registry itself while it lists the entry */
} el_entry;

/* base_name is refused as an adapter's name; it is copied. */
el_status el_registry_new(const char *base_name, el_registry **out, el_error *err);
/* Every reference must have been given back. */
void el_registry_free(el_registry *r);

/* Whether `name` may be added: EL_ERR_INVALID, EL_ERR_EXISTS. To be asked before a file is read; el_registry_add
 * decides. */
el_status el_registry_check(el_registry *r, const char *name, el_error *err);
/* Takes `adapter` over, also when it fails. */
el_status el_registry_add(el_registry *r, const char *name, const char *path, el_adapter *adapter, el_error *err);
el_status el_registry_remove(el_registry *r, const char *name, el_error *err);

/* Takes a reference; EL_ERR_NOT_FOUND. */
el_status el_registry_get(el_registry *r, const char *name, el_entry **out, el_error *err);
void el_registry_put(el_registry *r, el_entry *entry); /* NULL is allowed */

el_status el_registry_list(el_registry *r, el_adapter_info **out, size_t *n, el_error *err);

#endif
