/* Answers whose text a constraint decides on. */
#ifndef EL_ENGINE_CONSTRAINED_H
#define EL_ENGINE_CONSTRAINED_H

#include "engine/sampler.h"
#include "engine/seq.h"

/* The next token: as el_sampler_pick, among those that the constraint allows, and those that end the answer where it
 * may end. EL_ERR_INVALID: there is none. */
el_status el_constrained_pick(el_seq *q, el_sampler *s, const el_tokenizer *t, const float *logits,
                              const el_sampling *p, int32_t *token, el_error *err);
/* It has been drawn, and is not the end. *complete: nothing can follow, the answer is whole. */
el_status el_constrained_take(el_seq *q, const el_tokenizer *t, int32_t token, bool *complete, el_error *err);

#endif
