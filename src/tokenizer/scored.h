/* BPE of SentencePiece: turns the characters of a piece of text into tokens, by the tokens'
 * scores. */
#ifndef EL_TOKENIZER_SCORED_H
#define EL_TOKENIZER_SCORED_H

#include "tokenizer/bpe.h"

/* Appends the tokens of a piece (1 to EL_MAX_PIECE bytes) in O(len log len) steps, each as long as
 * a token. A character that is no token becomes the tokens of its bytes. If one of these is
 * missing, it becomes the unknown token. If that is missing too, the byte is left out with `lossy`;
 * else the result is EL_BPE_NO_TOKEN and *bad its index. A space becomes the token of byte 0x20
 * (not those of U+2581), so that it comes back as a space. */
el_bpe_result el_scored_encode(const el_vocab *v, const char *piece, size_t len, bool lossy, el_bpe_work *w,
                               el_ids *out, size_t *bad);

#endif
