/* The tokens that an adapter's folder brings along because the adapter was trained with a larger
 * vocabulary than the base's. They are read from the files in which transformers saves a tokenizer
 * beside an adapter.
 *
 *   tokenizer_config.json    added_tokens_decoder, eos_token, bos_token, chat_template
 *   tokenizer.json           added_tokens, where the first has none
 *   added_tokens.json        where neither has any; special_tokens_map.json says which are special
 *   chat_template.jinja      instead of chat_template
 *   generation_config.json   eos_token_id
 *
 * All of them list the base's tokens too, and most folders have no others. The files are hostile
 * until they have been checked; an error names the file. */
#ifndef EL_ADAPTER_OWN_TOKENS_H
#define EL_ADAPTER_OWN_TOKENS_H

#include "adapter/lora_file.h"
#include "tokenizer/extension.h"

enum {
  EL_OWN_TOKENS_MAX_BYTES = 8 << 20,     /* of a file; a list of Gemma's tokens has 1.2 MB */
  EL_OWN_TOKENS_MAX_DEPTH = 32,          /* of its JSON */
  EL_OWN_TOKENS_MAX_LISTED = 1 << 16,    /* tokens, including the base's */
  EL_OWN_TOKENS_MAX_TEMPLATE = 256 << 10 /* bytes */
};

/* folder: an adapter's path; a path of a file has no tokens of its own. *out is NULL where all
 * tokens are the base's. If the folder lists tokens beyond the base's, the adapter's weights are
 * looked at: without rows for the vocabulary these tokens have no weights at all, and no model has
 * ever read them. Trainers add such tokens for padding; they are skipped, and *n_passed (n_passed
 * may be NULL) says how many. Weights that cannot be read are reported by the load. Fails with
 * EL_ERR_FORMAT, EL_ERR_UNSUPPORTED or EL_ERR_IO. */
el_status el_own_tokens_read(const char *folder, const el_tokenizer *base, const el_sites *sites, el_tokenizer **out,
                             size_t *n_passed, el_error *err);
/* A number that changes when one of those files changes; no file is read. 0: none of them
 * exists. */
uint64_t el_own_tokens_stamp(const char *folder);

/* Checks that weights and tokens have the same vocabulary. own NULL: the base's tokens. `path` is
 * for messages. */
el_status el_own_tokens_check(const el_lora_file *f, const el_tokenizer *base, const el_tokenizer *own,
                              const char *path, el_error *err);

#endif
