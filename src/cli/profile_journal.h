/* The answers that `router profile` has so far, in a file from which a killed run can continue.
 *
 * It has lines of JSON: the first describes the run's set-up, each other line is one answer. Lines are only appended.
 * A last line without its newline was being written when the run ended; it is dropped. A run with another set-up does
 * not continue the journal. */
#ifndef EL_CLI_PROFILE_JOURNAL_H
#define EL_CLI_PROFILE_JOURNAL_H

#include "base/buf.h"
#include "base/text.h"
#include "edgelora.h"

/* The set-up of a run: names and values in order, as one JSON object. */
typedef struct el_setup {
  el_buf json; /* {"name":"value",...}; filled by el_setup_add, ended by el_journal_open */
} el_setup;
bool el_setup_add(el_setup *s, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void el_setup_free(el_setup *s);

typedef struct el_journal {
  int fd; /* locked while it is open; -1: not open */
  char *path;
  el_buf line; /* scratch */
} el_journal;

typedef struct el_journal_answer {
  uint64_t row;     /* index of the prompt */
  const char *name; /* of the candidate */
  double score;
  el_str answer;
} el_journal_answer;
/* Receives the answers in the journal; false: it is not an answer of this run. */
typedef bool (*el_journal_fn)(void *user, const el_journal_answer *a);

/* Opens or begins the journal at `path` and passes its answers to `each`. EL_ERR_EXISTS: it has another set-up; the
 * message says what differs. EL_ERR_BUSY: another process has it open. `restart`: its content is discarded. */
el_status el_journal_open(const char *path, el_setup *setup, bool restart, el_journal_fn each, void *user,
                          el_journal *out, el_error *err);
/* Appends an answer in one write, so a kill leaves a whole line or the beginning of one. */
el_status el_journal_add(el_journal *j, const el_journal_answer *a, el_error *err);
/* Closes it; with `remove` also deletes the file. */
void el_journal_close(el_journal *j, bool remove);

#endif
