/* From token bytes to text that may be shown: whole UTF-8 characters, and nothing that is, or may become, a stop
 * string. */
#ifndef EL_ENGINE_STOP_H
#define EL_ENGINE_STOP_H

#include "base/buf.h"

typedef struct el_stop {
  const char *const *strings; /* [n] not empty; the caller's */
  size_t n;
  bool include;     /* the stop string that is found is part of the text */
  el_buf bytes;     /* the beginning of a character */
  el_buf text;      /* whole characters that have not been taken */
  size_t n_certain; /* bytes of `text`, from its front, that can be taken */
  const char
      *matched; /* the stop string that was found; `text` ends before or with it, and nothing is added any more */
} el_stop;

/* Adds a token's bytes. With several stop strings in the text, the one that is complete first counts, and of those that
 * end there, the one that begins first: what it would be if every byte came alone. `flush`: this is the end, so nothing
 * is held back. False: out of memory, and the text is not to be relied on. */
bool el_stop_push(el_stop *s, const char *bytes, size_t len, bool flush);
/* The same, but the text is certain: stop strings are not looked for in it. */
bool el_stop_push_certain(el_stop *s, const char *bytes, size_t len);

/* Removes the certain text, after it has been delivered. */
void el_stop_taken(el_stop *s);

void el_stop_free(el_stop *s);

#endif
