/* The tokens that an adapter's folder brings along, where it was trained with a larger vocabulary than the base's: as
 * transformers saves a tokenizer beside an adapter.
 *
 *   tokenizer_config.json    added_tokens_decoder, eos_token, bos_token, chat_template
 *   tokenizer.json           added_tokens, where the first has none
 *   added_tokens.json        where neither has any; special_tokens_map.json says which of them are special
 *   chat_template.jinja      in the place of chat_template
 *   generation_config.json   eos_token_id
 *
 * All of them list the base's tokens too, and most folders have nothing beside these. Files are hostile until checked:
 * what is wrong is named with its file. */
#ifndef EL_ADAPTER_OWN_TOKENS_H
#define EL_ADAPTER_OWN_TOKENS_H

#include "adapter/lora_file.h"
#include "tokenizer/extension.h"

enum {
  EL_OWN_TOKENS_MAX_BYTES = 8 << 20,     /* of a file; a list of Gemma's tokens has 1.2 MB */
  EL_OWN_TOKENS_MAX_DEPTH = 32,          /* of its JSON */
  EL_OWN_TOKENS_MAX_LISTED = 1 << 16,    /* tokens, the base's among them */
  EL_OWN_TOKENS_MAX_TEMPLATE = 256 << 10 /* bytes */
};

/* folder: an adapter's path; one that is a file has none of this. *out is NULL where all tokens are the base's.
 * Where there are tokens behind the base's, the adapter's weights are looked at. If they have no rows of the
 * vocabulary, these tokens have none at all: no model has ever read them. Trainers add such ones to pad with, and they
 * are passed over; n_passed, which may be NULL, says how many. Of weights that cannot be read the load tells.
 * EL_ERR_FORMAT, EL_ERR_UNSUPPORTED, EL_ERR_IO. */
el_status el_own_tokens_read(const char *folder, const el_tokenizer *base, const el_sites *sites, el_tokenizer **out,
                             size_t *n_passed, el_error *err);
/* Another number when one of those files is another, without reading them. 0: there is none of them. */
uint64_t el_own_tokens_stamp(const char *folder);

/* Whether weights and tokens are of one vocabulary. own NULL: the base's tokens. `path` is for messages. */
el_status el_own_tokens_check(const el_lora_file *f, const el_tokenizer *base, const el_tokenizer *own,
                              const char *path, el_error *err);

#endif
