/* How good an answer is beside what was expected: 0 to 1. */
#ifndef EL_CLI_SCORERS_H
#define EL_CLI_SCORERS_H

#include "base/text.h"

#include "edgelora.h"

typedef enum el_scorer_kind {
  EL_SCORER_EXACT,    /* equal, less white space at both ends */
  EL_SCORER_CONTAINS, /* what was expected, less white space at both ends, stands somewhere in the answer */
  EL_SCORER_JSON,     /* the same JSON value: order of keys and white space do not count, 1 and 1.0 are equal */
  EL_SCORER_F1,       /* words in common */
  EL_SCORER_COMMAND   /* what a command of the user's says */
} el_scorer_kind;

/* By its name, such as "exact". False: there is none. */
bool el_scorer_kind_parse(const char *name, el_scorer_kind *out);
/* All names, for messages. */
#define EL_SCORER_NAMES "exact, contains, json, f1, command"

/* One answer to score. */
typedef struct el_scoring {
  const char *prompt, *adapter;
  const char *const *expected; /* [n_expected] each is right; the best score counts */
  size_t n_expected;
  el_str answer;
} el_scoring;

/* By any kind but the command. Fails only for want of memory. */
el_status el_score(el_scorer_kind kind, const el_scoring *s, double *score, el_error *err);
/* Whether text is a JSON value, as EL_SCORER_JSON needs it. */
bool el_score_is_json(const char *text, size_t len);

/* A command that scores. `line` is run by /bin/sh, as the user wrote it, once an answer, with one JSON object
 * {"prompt", "expected", "answer", "adapter"} on its standard input ("expected" is a list); it prints a number from 0
 * to 1. */
typedef struct el_score_command {
  const char *line;
  int timeout_ms; /* then it is killed, with all that it has started in its process group */
  int stop_fd;    /* readable: the command is killed and the result is EL_ERR_CLOSED; -1: none */
} el_score_command;
el_status el_score_by_command(const el_score_command *c, const el_scoring *s, double *score, el_error *err);

#endif
