/* Internal side of the tokenizer: opening from a GGUF that is already read, and streaming output.
 * The public functions (el_tokenize, el_detokenize, el_chat_render, ...) are in edgelora.h. */
#ifndef EL_TOKENIZER_TOKENIZER_H
#define EL_TOKENIZER_TOKENIZER_H

#include "base/buf.h"
#include "edgelora.h"
#include "format/gguf.h"

/* Copies what it needs: `g` may be closed afterwards. */
el_status el_tokenizer_from_gguf(const el_gguf *g, el_tokenizer **out, el_error *err);

/* Uses another chat template than the file's. */
el_status el_tokenizer_use_template(el_tokenizer *t, el_str text, el_error *err);

/* The bytes of one token; empty for special tokens unless `special`. Valid while the tokenizer is. */
el_str el_token_bytes(const el_tokenizer *t, int32_t token, bool special);
/* And those that it adds to a text when token `before` (-1: none) came before it: without the space that some
 * tokenizers put in front of a text, and of what follows a special token. */
el_str el_token_text(const el_tokenizer *t, int32_t before, int32_t token, bool special);
/* Whether that is so of a token that follows `before`. */
bool el_token_begins(const el_tokenizer *t, int32_t before);

/* Appends to *whole the part of `pending` (bytes not yet shown) that consists of whole UTF-8 characters, and removes
 * it from pending. An incomplete but possible sequence at the end stays; bytes that can never become valid are replaced
 * by U+FFFD. `flush`: nothing stays. */
bool el_utf8_take(el_buf *pending, bool flush, el_buf *whole);

#endif
