/* What directories hold that looks like an adapter but cannot be offered: by name, with the
 * reason. */
#ifndef EL_ADAPTER_REFUSED_H
#define EL_ADAPTER_REFUSED_H

#include "adapter/discover.h"

typedef struct el_refused_entry {
  char *name, *path;
  el_error error;
  int dir;
} el_refused_entry;

typedef struct el_refused {
  el_refused_entry *items; /* in the order of directories, then as found */
  size_t n;
} el_refused;

/* Replaces the entries of directory `dir` by those of `found` that cannot be used. `fresh` (may be
 * NULL) is called for each one that was not there before for the same reason. False: out of memory,
 * and nothing has changed. */
bool el_refused_replace(el_refused *r, int dir, const el_found *found,
                        void (*fresh)(void *user, const el_refused_entry *entry), void *user);
/* The first of this name; NULL: there is none. */
const el_refused_entry *el_refused_find(const el_refused *r, const char *name);
void el_refused_free(el_refused *r);

#endif
