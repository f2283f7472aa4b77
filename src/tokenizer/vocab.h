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
  EL_TOKEN_EOG = 4,     /* generation ends here */
  EL_TOKEN_BYTE = 8,    /* of a vocabulary written as text: a byte that no ordinary token has */
  EL_TOKEN_SHOWN = 16,  /* a control token that is shown all the same: without it, the answer could not be read */
  EL_TOKEN_STRIP = 32,  /* white space that follows it in a text is dropped, */
  EL_TOKEN_STRIP_BEFORE = 64, /* or that comes before it */
  EL_TOKEN_UNUSED = 128       /* a name for a row of the embedding that no text has */
};

/* How ordinary tokens are written, and what joins characters to tokens. */
typedef enum el_vocab_kind {
  EL_VOCAB_BYTE_LEVEL, /* in GPT-2's alphabet of bytes; a list of merges */
  EL_VOCAB_SCORED,     /* as text, a space as U+2581; each token has a score (SentencePiece's BPE) */
  EL_VOCAB_MERGED      /* as text, a space as U+2581; a list of merges (Gemma 4) */
} el_vocab_kind;

typedef struct el_vocab {
  el_vocab_kind kind;
  uint32_t n;
  uint64_t key; /* of the hash table */
  /* Of one that extends another (extension.c): tokens below `first` are those of `base`, and so is all that ordinary
   * text becomes tokens by. What is listed by token in the next three begins with token `first`. Else NULL and 0. */
  const struct el_vocab *base;
  uint32_t first;
  char *bytes;          /* of all tokens, one after the other */
  uint32_t *begin;      /* [n + 1] token i is bytes[begin[i]] to bytes[begin[i + 1]] */
  unsigned char *flags; /* [n] EL_TOKEN_... */
  uint32_t *slots;      /* hash table of ordinary tokens: id + 1, or 0 */
  uint32_t mask;
  int32_t byte_token[256]; /* the token of a single byte; -1: the vocabulary has none */
  int32_t bos, eos, unk;   /* -1: none */
  int32_t fim[EL_N_FIM];   /* -1: none */
  /* The most bytes of a text that become one token, 1 at least: a text of n bytes is n / longest tokens at least.
   * Written as text, a space may be one of three bytes. */
  size_t longest;
  /* EL_VOCAB_SCORED: [n] the smaller, the higher the token's score; else NULL */
  uint32_t *order;
  /* Written as text: the bytes of the longest ordinary token, and the bytes that come right before a space, inside a
   * token: no token reaches from any other byte over to a space. */
  size_t longest_word;
  bool before_space[256];
} el_vocab;

/* Reads tokenizer.ggml.tokens, .token_type, .scores and the ids of special tokens. On failure *v is closed. */
el_status el_vocab_open(el_vocab *v, const el_gguf *g, el_vocab_kind kind, uint64_t key, el_error *err);
void el_vocab_close(el_vocab *v);

/* The bytes of a token; id < n. */
static inline el_str el_vocab_bytes(const el_vocab *v, uint32_t id) {
  if (id < v->first) v = v->base;
  id -= v->first;
  return (el_str){v->bytes + v->begin[id], v->begin[id + 1] - v->begin[id]};
}

/* EL_TOKEN_... of a token; id < n. */
static inline unsigned el_vocab_flags(const el_vocab *v, uint32_t id) {
  if (id < v->first) v = v->base;
  return v->flags[id - v->first];
}

/* The ordinary token (neither control nor user-defined) that stands for exactly these bytes; -1: none. */
int32_t el_vocab_find(const el_vocab *v, const char *bytes, size_t len);

/* Byte-level text, as vocabularies and merges are written: each byte is a printable character of GPT-2's alphabet.
 * Writes the bytes to out (room for text.len) and their number to *n; false: text has a character outside the alphabet.
 */
bool el_byte_level_decode(el_str text, char *out, size_t *n);

/* The same for a vocabulary that is written as text, where U+2581 is a space; false: text has a space that is written
 * as such, and so it is never made from text, which has none. */
bool el_spaced_text_decode(el_str text, char *out, size_t *n);

/* As vocabularies and merges of v's kind are written. */
static inline bool el_vocab_decode(const el_vocab *v, el_str text, char *out, size_t *n) {
  return (v->kind == EL_VOCAB_BYTE_LEVEL ? el_byte_level_decode : el_spaced_text_decode)(text, out, n);
}

/* What special tokens do is told by their texts as much as by the file: roles.c. Where the file knows better, it has
 * been read before. */
void el_vocab_find_roles(el_vocab *v);
/* The same of one token, for an extension; `v` may know already what is around gaps. */
void el_vocab_find_role(el_vocab *v, uint32_t id);

/* Text with U+2581 as spaces. Returns how many bytes the result has; `out` may be text.data. */
size_t el_spaced_text_show(el_str text, char *out);

#endif
