/* What `router profile` has found out so far, in a file that a killed run leaves behind.
 *
 * Lines of JSON: the first says what the run is made of, each of the others is one answer. Lines are only appended; a
 * last one without its newline was being written when the run ended, and is dropped. A run that is made of other things
 * does not go on with it. */
#ifndef EL_CLI_PROFILE_JOURNAL_H
#define EL_CLI_PROFILE_JOURNAL_H

#include "base/buf.h"
#include "base/text.h"
#include "edgelora.h"

/* What a run is made of: names and values in order, as one JSON object. */
typedef struct el_setup {
  el_buf json; /* {"name":"value",...}; filled by el_setup_add, ended by el_journal_open */
} el_setup;
bool el_setup_add(el_setup *s, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void el_setup_free(el_setup *s);

typedef struct el_journal {
  int fd; /* -1: not open; locked while it is */
  char *path;
  el_buf line; /* scratch */
} el_journal;

typedef struct el_journal_answer {
  uint64_t row;     /* index of the prompt */
  const char *name; /* of the candidate */
  double score;
  el_str answer;
} el_journal_answer;
/* Receives what is in the journal; false: it is no answer of this run. */
typedef bool (*el_journal_fn)(void *user, const el_journal_answer *a);

/* Opens or begins the journal at `path` and passes the answers that it has to `each`. EL_ERR_EXISTS: it is another
 * set-up's; the message says what differs. EL_ERR_BUSY: another process has it. `restart`: what it has is thrown away.
 */
el_status el_journal_open(const char *path, el_setup *setup, bool restart, el_journal_fn each, void *user,
                          el_journal *out, el_error *err);
/* In one write: a kill leaves a whole line or the beginning of one. */
el_status el_journal_add(el_journal *j, const el_journal_answer *a, el_error *err);
/* Closes it; `remove`: and deletes the file. */
void el_journal_close(el_journal *j, bool remove);

#endif
