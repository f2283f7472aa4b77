/* Fill in the middle: a text with a gap, which the model fills. */
#ifndef EL_SERVER_INFILL_H
#define EL_SERVER_INFILL_H

#include "server/requests/fields.h"

/* The prompt in the form that such models have learnt: PREFIX prefix SUFFIX suffix MIDDLE, after which the
 * model writes what fills the gap; with a BOS first if the model wants one. Nothing in the texts becomes
 * a control token. The caller frees *out. Errors name the suffix `param`. False: *p->error. */
bool el_infill_tokens(el_api_parse *p, const char *prefix, size_t prefix_len, const char *suffix, size_t suffix_len,
                      const char *param, int32_t **out, size_t *n);

#endif
