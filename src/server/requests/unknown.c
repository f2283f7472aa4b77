#include "server/requests/unknown.h"

#include <stdio.h>
#include <string.h>

void el_unknown_open(el_unknown *u) {
  *u = (el_unknown){.n = 0};
  pthread_mutex_init(&u->mutex, NULL);
}

void el_unknown_close(el_unknown *u) {
  pthread_mutex_destroy(&u->mutex);
}

el_unknown_told el_unknown_add(el_unknown *u, const char *name) {
  char cut[EL_MAX_UNKNOWN_BYTES];
  snprintf(cut, sizeof cut, "%s", name);
  el_unknown_told told = EL_UNKNOWN_OLD;
  pthread_mutex_lock(&u->mutex);
  size_t i = 0;
  while (i < u->n && strcmp(u->names[i], cut)) i++;
  if (i < EL_MAX_UNKNOWN && i == u->n) {
    memcpy(u->names[u->n++], cut, sizeof cut);
    told = EL_UNKNOWN_NEW;
  } else if (i == EL_MAX_UNKNOWN && !u->full) {
    u->full = true;
    told = EL_UNKNOWN_LAST;
  }
  pthread_mutex_unlock(&u->mutex);
  return told;
}
