/* Computes the features of many prompts, for training and evaluation. It has a model of its own,
 * outside any engine. */
#ifndef EL_ROUTER_EXTRACTOR_H
#define EL_ROUTER_EXTRACTOR_H

#include "router/router.h"

typedef struct el_extractor el_extractor;

typedef struct el_extractor_options {
  const char *model_path;
  const char *isa; /* NULL: the best */
  int n_threads;   /* 0: one per physical core */
} el_extractor_options;

el_status el_extractor_open(const el_extractor_options *o, el_extractor **out, el_error *err);
void el_extractor_close(el_extractor *r);
/* From now on prompts are read with this adapter: a PEFT folder, a GGUF LoRA file, or a router file that
 * has one. */
el_status el_extractor_use_lora(el_extractor *r, const char *path, el_error *err);

const el_hparams *el_extractor_hparams(const el_extractor *r);
const el_sites *el_extractor_sites(const el_extractor *r);
const el_base_id *el_extractor_base(const el_extractor *r); /* valid while the extractor is open */
el_threads *el_extractor_threads(el_extractor *r);

/* Called now and then with the number of prompts that are done. */
typedef void (*el_extractor_progress_fn)(void *user, size_t done, size_t total);

/* prompts: [n], each read as a user's first message in the model's chat template, or as plain text if
 * the model has none. out: [n, n_slices, n_embd]. The same prompts give the same bits with any number
 * of threads. On an error *failed (may be NULL) is the index of the prompt at fault. */
el_status el_extractor_run(el_extractor *r, const el_features *f, char *const *prompts, size_t n, float *out,
                           el_extractor_progress_fn progress, void *user, size_t *failed, el_error *err);

#endif
