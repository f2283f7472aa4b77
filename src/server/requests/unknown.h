/* Fields of requests that nobody here knows: each name is told once, so that whoever wrote "temprature" finds out, and
 * whoever makes names up cannot fill the log. */
#ifndef EL_SERVER_UNKNOWN_H
#define EL_SERVER_UNKNOWN_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* More names than clients have; of a name only so many bytes are told. */
enum { EL_MAX_UNKNOWN = 128, EL_MAX_UNKNOWN_BYTES = 80 };

typedef struct el_unknown {
  pthread_mutex_t mutex;
  char names[EL_MAX_UNKNOWN][EL_MAX_UNKNOWN_BYTES];
  size_t n;
  bool full; /* and that has been told */
} el_unknown;

void el_unknown_open(el_unknown *u);
void el_unknown_close(el_unknown *u);

typedef enum el_unknown_told { EL_UNKNOWN_NEW, EL_UNKNOWN_OLD, EL_UNKNOWN_LAST } el_unknown_told;
/* Remembers the name. LAST: it is not remembered, nor will others be, and this is said the first time. */
el_unknown_told el_unknown_add(el_unknown *u, const char *name);

#endif
