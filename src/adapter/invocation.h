/* Where an activated adapter begins (aLoRA, arXiv 2504.12397): at the last place of a prompt where its invocation, a
 * few tokens, stands. What comes before is the base's, keys and values too, so it serves the base and every activated
 * adapter; from there on, and for all of the answer, it is the adapter's.
 *
 * PEFT's alora_invocation_tokens begin with their first token. The format before it, invocation_string, was trained to
 * begin with the second one of the string's tokens, of which the first must be there all the same. */
#ifndef EL_ADAPTER_INVOCATION_H
#define EL_ADAPTER_INVOCATION_H

#include "adapter/lora_file.h"

enum { EL_NOT_INVOKED = INT32_MAX };

/* The first position of a prompt of n tokens that is the adapter's, n at most: 0 without an invocation; EL_NOT_INVOKED
 * when it is not there. */
int el_invocation_find(const el_invocation *inv, const int32_t *tokens, int n);

/* Checks a file's invocation against the base's vocabulary, and turns the text of one that has a text into tokens.
 * `path` is for messages. EL_ERR_FORMAT. */
el_status el_invocation_resolve(el_lora_file *f, const el_tokenizer *t, const char *path, el_error *err);

#endif
