/* Reads the prompts for `router profile`.
 *
 * The file is JSONL, with lines {"prompt": ..., "task": ..., "expected": ..., "scorer": ...}, or CSV with columns of
 * these names. Only the prompt is required. A file that begins with { is JSONL. In JSONL, "expected" may be a list of
 * texts, of which each is right. The field may also be called "completion", as in the files of the demo adapters. Other
 * fields are ignored. */
#ifndef EL_CLI_PROFILE_PROMPTS_H
#define EL_CLI_PROFILE_PROMPTS_H

#include "cli/scorers.h"

typedef struct el_prompt {
  char *text;        /* UTF-8, not empty */
  char *task;        /* NULL: none */
  char **expected;   /* [n_expected] */
  size_t n_expected; /* 0: the base's answer is expected */
  bool own_scorer;   /* `scorer` is given by this line; otherwise the run's scorer counts */
  el_scorer_kind scorer;
  size_t line; /* where it begins in the file; the first line is 1 */
} el_prompt;

typedef struct el_prompts {
  el_prompt *items;
  size_t n, cap;
  bool has_tasks; /* at least one prompt has a task */
  uint64_t hash;  /* of the file's bytes */
} el_prompts;

enum {
  EL_PROMPTS_MAX_TASK = 255,    /* bytes */
  EL_PROMPTS_MAX_EXPECTED = 64, /* per prompt */
  EL_PROMPTS_MAX = 1 << 20
};
#define EL_PROMPTS_MAX_BYTES ((size_t)1 << 30)

el_status el_prompts_read(const char *path, el_prompts *out, el_error *err);
/* The same from memory; `path` is for messages. A failure leaves *out as it was. */
el_status el_prompts_parse(const char *path, const char *data, size_t len, el_prompts *out, el_error *err);
void el_prompts_free(el_prompts *p);

#endif
