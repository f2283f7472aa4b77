/* The prompts that `router profile` runs adapters over.
 *
 * JSONL, a line {"prompt": ..., "task": ..., "expected": ..., "scorer": ...}, or CSV with columns of these names; only
 * the prompt must be there. A file that begins with { is JSONL. "expected" may be a list of texts in JSONL, each of
 * them right; it may be called "completion", as in the demo adapters' files. Other fields are ignored. */
#ifndef EL_CLI_PROFILE_PROMPTS_H
#define EL_CLI_PROFILE_PROMPTS_H

#include "cli/scorers.h"

typedef struct el_prompt {
  char *text;        /* UTF-8, not empty */
  char *task;        /* NULL: none */
  char **expected;   /* [n_expected] */
  size_t n_expected; /* 0: the base's answer is what is expected */
  bool own_scorer;   /* `scorer` is this line's, not the run's */
  el_scorer_kind scorer;
  size_t line; /* where it begins in the file, from 1 */
} el_prompt;

typedef struct el_prompts {
  el_prompt *items;
  size_t n, cap;
  bool has_tasks; /* one of them has */
  uint64_t hash;  /* of the file's bytes */
} el_prompts;

enum {
  EL_PROMPTS_MAX_TASK = 255,    /* bytes */
  EL_PROMPTS_MAX_EXPECTED = 64, /* of a prompt */
  EL_PROMPTS_MAX = 1 << 20
};
#define EL_PROMPTS_MAX_BYTES ((size_t)1 << 30)

el_status el_prompts_read(const char *path, el_prompts *out, el_error *err);
/* The same from memory; `path` is for messages. A failure leaves *out as it was. */
el_status el_prompts_parse(const char *path, const char *data, size_t len, el_prompts *out, el_error *err);
void el_prompts_free(el_prompts *p);

#endif
