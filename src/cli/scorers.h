/* Scores an answer against the expected ones: 0 to 1. */
#ifndef EL_CLI_SCORERS_H
#define EL_CLI_SCORERS_H

#include "base/text.h"

#include "edgelora.h"

typedef enum el_scorer_kind {
  EL_SCORER_EXACT,    /* equal, without white space at both ends */
  EL_SCORER_CONTAINS, /* the answer contains the expected text, without white space at both ends */
  EL_SCORER_JSON,     /* the same JSON value: order of keys and white space do not count, 1 and 1.0 are equal */
  EL_SCORER_F1,       /* words in common */
  EL_SCORER_COMMAND   /* the score that the user's command prints */
} el_scorer_kind;

/* Finds a scorer by name, such as "exact". False: there is none. */
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

/* Scores by any kind but the command. Fails only when memory is short. */
el_status el_score(el_scorer_kind kind, const el_scoring *s, double *score, el_error *err);
/* Whether text is a JSON value, as EL_SCORER_JSON needs it. */
bool el_score_is_json(const char *text, size_t len);

/* A command that scores. /bin/sh runs `line` once for each answer, as the user wrote it. It gets one JSON object
 * {"prompt", "expected", "answer", "adapter"} on its standard input ("expected" is a list) and prints a number from 0
 * to 1. */
typedef struct el_score_command {
  const char *line;
  int timeout_ms; /* after which it is killed with its whole process group */
  int stop_fd;    /* readable: the command is killed and the result is EL_ERR_CLOSED; -1: none */
} el_score_command;
el_status el_score_by_command(const el_score_command *c, const el_scoring *s, double *score, el_error *err);

#endif
