/* Features of many prompts, for training and evaluation: a model of its own, outside any engine. */
#ifndef EL_ROUTER_READER_H
#define EL_ROUTER_READER_H

#include "router/router.h"

typedef struct el_reader el_reader;

typedef struct el_reader_options {
  const char *model_path;
  const char *isa; /* NULL: the best */
  int n_threads;   /* 0: one per physical core */
} el_reader_options;

el_status el_reader_open(const el_reader_options *o, el_reader **out, el_error *err);
void el_reader_close(el_reader *r);
/* From now on prompts are read with an adapter: a PEFT folder, a GGUF LoRA file, or a router that has one. */
el_status el_reader_use_lora(el_reader *r, const char *path, el_error *err);

const el_hparams *el_reader_hparams(const el_reader *r);
const el_sites *el_reader_sites(const el_reader *r);
const el_base_id *el_reader_base(const el_reader *r); /* valid while the reader is open */
el_threads *el_reader_threads(el_reader *r);

/* Called now and then with the number of prompts that have been read. */
typedef void (*el_reader_progress_fn)(void *user, size_t done, size_t total);

/* prompts: [n] as a user's first message in the model's chat template, or as they stand when it has none. out:
 * [n, n_parts, n_embd]. The same prompts give the same bits with any number of threads. An error names the prompt by
 * its place in `prompts`, through *failed (may be NULL). */
el_status el_reader_read(el_reader *r, const el_features *f, char *const *prompts, size_t n, float *out,
                         el_reader_progress_fn progress, void *user, size_t *failed, el_error *err);

#endif
