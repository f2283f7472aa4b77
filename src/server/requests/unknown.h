/* Unknown fields of requests. Each name is logged once, so that someone who wrote "temprature" finds out,
 * and someone who invents names cannot fill the log. */
#ifndef EL_SERVER_UNKNOWN_H
#define EL_SERVER_UNKNOWN_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* Names that are remembered, more than real clients have; and bytes of a name that are logged. */
enum { EL_MAX_UNKNOWN = 128, EL_MAX_UNKNOWN_BYTES = 80 };

typedef struct el_unknown {
  pthread_mutex_t mutex;
  char names[EL_MAX_UNKNOWN][EL_MAX_UNKNOWN_BYTES];
  size_t n;
  bool full; /* no more names fit, and that has been logged */
} el_unknown;

void el_unknown_open(el_unknown *u);
void el_unknown_close(el_unknown *u);

typedef enum el_unknown_told { EL_UNKNOWN_NEW, EL_UNKNOWN_OLD, EL_UNKNOWN_LAST } el_unknown_told;
/* Remembers the name. NEW: it is new. OLD: it is known, or there is no more room. LAST: from now on there is
 * no more room; this is returned once. */
el_unknown_told el_unknown_add(el_unknown *u, const char *name);

#endif
