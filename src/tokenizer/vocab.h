/* The vocabulary: what bytes each token stands for, and which token stands for some bytes. */
#ifndef EL_TOKENIZER_VOCAB_H
#define EL_TOKENIZER_VOCAB_H

#include "edgelora.h"
#include "format/gguf.h"

/* Ids are int32_t; the largest vocabulary in use has a quarter of a million tokens. */
enum { EL_MAX_VOCAB = 1 << 24 };

enum {
  EL_TOKEN_CONTROL = 1, /* steers the model: made from text only where the caller allows it, shown only on request */
  EL_TOKEN_USER = 2,    /* user-defined: text that is cut out before anything else, and always shown */
  EL_TOKEN_EOG = 4      /* generation ends here */
};

typedef struct el_vocab {
  uint32_t n;
  uint64_t key;         /* of the hash table */
  char *bytes;          /* of all tokens, one after the other */
  uint32_t *begin;      /* [n + 1] token i is bytes[begin[i]] to bytes[begin[i + 1]] */
  unsigned char *flags; /* [n] EL_TOKEN_... */
  uint32_t *slots;      /* hash table of ordinary tokens: id + 1, or 0 */
  uint32_t mask;
  int32_t byte_token[256]; /* the token of a single byte; -1: the vocabulary has none */
  int32_t bos, eos;        /* -1: none */
  uint32_t longest; /* bytes of the longest token, 1 at least: a text of n bytes is n / longest tokens at least */
} el_vocab;

/* Reads tokenizer.ggml.tokens, .token_type and the ids of special tokens. On failure *v is closed. */
el_status el_vocab_open(el_vocab *v, const el_gguf *g, uint64_t key, el_error *err);
void el_vocab_close(el_vocab *v);

/* The bytes of a token; id < n. */
static inline el_str el_vocab_bytes(const el_vocab *v, uint32_t id) {
  return (el_str){v->bytes + v->begin[id], v->begin[id + 1] - v->begin[id]};
}

/* The ordinary token (neither control nor user-defined) that stands for exactly these bytes; -1: none. */
int32_t el_vocab_find(const el_vocab *v, const char *bytes, size_t len);

/* Byte-level text, as vocabularies and merges are written: each byte is a printable character of GPT-2's alphabet.
 * Writes the bytes to out (room for text.len) and their number to *n; false: text has a character outside the alphabet.
 */
bool el_byte_level_decode(el_str text, char *out, size_t *n);

#endif
