/* A text with a gap that the model is to fill in. */
#ifndef EL_SERVER_INFILL_H
#define EL_SERVER_INFILL_H

#include "server/requests/fields.h"

/* Whether the model has tokens for it. */
bool el_infill_possible(const el_tokenizer *t);
/* The tokens of prefix and suffix as models with such tokens have learnt them: PREFIX prefix SUFFIX suffix MIDDLE, then
 * comes what fills the gap; a BOS first where the model wants one. Nothing in the texts becomes a control token. To be
 * freed. `param` is what errors call the suffix. False: *p->error. */
bool el_infill_tokens(el_api_parse *p, const char *prefix, size_t prefix_len, const char *suffix, size_t suffix_len,
                      const char *param, int32_t **out, size_t *n);

#endif
