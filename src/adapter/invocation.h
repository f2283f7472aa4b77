/* Where an activated adapter begins (aLoRA, arXiv 2504.12397): at the last place in a prompt where
 * its invocation, a few tokens, occurs. What comes before is computed by the base model alone, so
 * its keys and values serve the base and every activated adapter. From there on, through the whole
 * answer, the adapter is used.
 *
 * PEFT's alora_invocation_tokens begin with the first token of the invocation. The older format,
 * invocation_string, was trained to begin with the second token of the string; the first token must
 * still be present. */
#ifndef EL_ADAPTER_INVOCATION_H
#define EL_ADAPTER_INVOCATION_H

#include "adapter/lora_file.h"

enum { EL_NOT_INVOKED = INT32_MAX };

/* The first position that belongs to the adapter in a prompt of n tokens, at most n. 0: the adapter
 * has no invocation. EL_NOT_INVOKED: the invocation does not occur. */
int el_invocation_find(const el_invocation *inv, const int32_t *tokens, int n);

/* Checks a file's invocation against the base's vocabulary, and tokenizes an invocation that is
 * given as text. `path` is for messages. Fails with EL_ERR_FORMAT. */
el_status el_invocation_resolve(el_lora_file *f, const el_tokenizer *t, const char *path, el_error *err);

#endif
