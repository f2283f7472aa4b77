/* A program that answers lines of JSON, each with a line. */
#ifndef EL_TESTS_CONSTRAINT_LINES_H
#define EL_TESTS_CONSTRAINT_LINES_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* For main: 1 when a line is no JSON, or `answer` has none. */
static inline int answer_lines(json_t *(*answer)(const json_t *line)) {
  char *line = NULL;
  size_t cap = 0;
  for (ssize_t n; (n = getline(&line, &cap, stdin)) > 0;) {
    json_t *asked = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, NULL);
    json_t *said = asked ? answer(asked) : NULL;
    if (!said) return 1;
    json_dumpf(said, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    json_decref(asked);
    json_decref(said);
  }
  free(line);
  return 0;
}

#endif
