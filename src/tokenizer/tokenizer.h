/* The internal side of the tokenizer: opening from a GGUF that has already been read, and
 * streaming output. The public functions (el_tokenize, el_detokenize, el_chat_render, ...) are in
 * edgelora.h. */
#ifndef EL_TOKENIZER_TOKENIZER_H
#define EL_TOKENIZER_TOKENIZER_H

#include "base/buf.h"
#include "edgelora.h"
#include "format/gguf.h"

/* Copies what it needs: `g` may be closed afterwards. */
el_status el_tokenizer_from_gguf(const el_gguf *g, el_tokenizer **out, el_error *err);

/* Uses another chat template instead of the file's. */
el_status el_tokenizer_use_template(el_tokenizer *t, el_str text, el_error *err);

/* The bytes of one token; empty for special tokens unless `special`. Valid as long as the
 * tokenizer. */
el_str el_token_bytes(const el_tokenizer *t, int32_t token, bool special);
/* The bytes that a token adds to a text after token `before` (-1: none). Unlike el_token_bytes,
 * this leaves out the space that some tokenizers put in front of a text, and of what follows a
 * special token. */
el_str el_token_text(const el_tokenizer *t, int32_t before, int32_t token, bool special);
/* Whether a token that follows `before` begins a text in this sense. */
bool el_token_begins(const el_tokenizer *t, int32_t before);

/* Moves all whole UTF-8 characters of `pending` (bytes not shown yet) to the end of *whole. An
 * incomplete sequence at the end that may still become valid stays; bytes that cannot become valid
 * are replaced by U+FFFD. flush: nothing stays. */
bool el_utf8_take(el_buf *pending, bool flush, el_buf *whole);

#endif
