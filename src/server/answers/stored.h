/* Answers of POST /v1/responses that are kept to be continued or read again; "store" is on by default.
 * They are kept in memory only, within limits; the oldest are dropped first. A key sees only the answers
 * given to that key. */
#ifndef EL_SERVER_STORED_H
#define EL_SERVER_STORED_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum { EL_MAX_STORED = 4096, EL_MAX_STORED_BYTES = 64 << 20, EL_STORED_ID = 48 };

typedef struct el_stored_answer {
  struct el_stored_answer *older, *newer;
  char id[EL_STORED_ID];
  uint64_t domain; /* of el_key_domain */
  size_t body_len, items_len, input_len;
  char text[]; /* the answer as JSON, then the conversation up to and with it, as a JSON array of items */
} el_stored_answer;

typedef struct el_stored {
  pthread_mutex_t mutex; /* guards all below */
  el_stored_answer *newest, *oldest;
  size_t n, bytes;
} el_stored;

void el_stored_init(el_stored *s);
void el_stored_free(el_stored *s);
/* Keeps an answer, unless it is larger than EL_MAX_STORED_BYTES or memory is short. */
void el_stored_put(el_stored *s, const char *id, uint64_t domain, const el_buf *body, const el_buf *items,
                   size_t input_len);
typedef enum el_stored_section {
  EL_STORED_BODY,
  EL_STORED_ITEMS, /* the whole conversation */
  EL_STORED_INPUT  /* the conversation before the answer: its first input_len bytes, and the end of the array */
} el_stored_section;
/* Appends one section of a stored answer. *found: the answer is there. False: out of memory. */
bool el_stored_get(el_stored *s, const char *id, uint64_t domain, el_stored_section section, el_buf *out, bool *found);
/* Whether it was there. */
bool el_stored_delete(el_stored *s, const char *id, uint64_t domain);

#endif
