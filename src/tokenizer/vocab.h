/* The vocabulary: which bytes each token stands for, and which token stands for some bytes. */
#ifndef EL_TOKENIZER_VOCAB_H
#define EL_TOKENIZER_VOCAB_H

#include "edgelora.h"
#include "format/gguf.h"

/* Ids are int32_t; the largest vocabularies in use have a quarter of a million tokens. */
enum { EL_MAX_VOCAB = 1 << 24 };

enum {
  EL_TOKEN_CONTROL = 1,       /* steers the model: made from text only where the caller allows it,
                               * shown only on request */
  EL_TOKEN_USER = 2,          /* user-defined: cut out of a text before anything else, and always
                               * shown */
  EL_TOKEN_EOG = 4,           /* generation ends here */
  EL_TOKEN_BYTE = 8,          /* a byte that no ordinary token has, in a vocabulary written as
                               * text */
  EL_TOKEN_SHOWN = 16,        /* a control token that is shown nevertheless: without it the answer
                               * could not be read */
  EL_TOKEN_STRIP = 32,        /* white space after it in a text is dropped */
  EL_TOKEN_STRIP_BEFORE = 64, /* white space before it in a text is dropped */
  EL_TOKEN_UNUSED = 128       /* a name for a row of the embedding that no text has */
};

/* How ordinary tokens are written, and what joins characters to tokens. */
typedef enum el_vocab_kind {
  EL_VOCAB_BYTE_LEVEL, /* in GPT-2's alphabet of bytes, with a list of merges */
  EL_VOCAB_SCORED,     /* as text, with U+2581 for a space; each token has a score (SentencePiece's
                        * BPE) */
  EL_VOCAB_MERGED      /* as text, with U+2581 for a space, and a list of merges (Gemma 4) */
} el_vocab_kind;

typedef struct el_vocab {
  el_vocab_kind kind;
  uint32_t n;
  uint64_t key; /* of the hash table */
  /* For a vocabulary that extends another (extension.c): tokens below `first` are those of `base`,
   * and so is everything by which ordinary text becomes tokens. The next three lists begin with
   * token `first`. Else NULL and 0. */
  const struct el_vocab *base;
  uint32_t first;
  char *bytes;          /* of all tokens, one after the other */
  uint32_t *begin;      /* [n + 1] token i has bytes[begin[i]] to bytes[begin[i + 1]] */
  unsigned char *flags; /* [n] EL_TOKEN_... */
  uint32_t *slots;      /* hash table of ordinary tokens: id + 1, or 0 */
  uint32_t mask;
  int32_t byte_token[256]; /* the token of each single byte; -1: none */
  int32_t bos, eos, unk;   /* -1: none */
  int32_t fim[EL_N_FIM];   /* -1: none */
  /* The most bytes of a text that become one token, at least 1. So a text of n bytes has at least n
   * / longest tokens. In a vocabulary written as text, a space may be one of three bytes. */
  size_t longest;
  /* EL_VOCAB_SCORED: [n] numbers that are smaller for a higher score; else NULL. */
  uint32_t *order;
  /* Vocabularies written as text: the bytes of the longest ordinary token, and the bytes that
   * precede a space inside some token. No token reaches from any other byte across a space. */
  size_t longest_word;
  bool before_space[256];
} el_vocab;

/* Reads tokenizer.ggml.tokens, .token_type, .scores and the ids of special tokens. After a failure
 * *v is closed. */
el_status el_vocab_open(el_vocab *v, const el_gguf *g, el_vocab_kind kind, uint64_t key, el_error *err);
void el_vocab_close(el_vocab *v);

/* The bytes of a token; id < n. */
static inline el_str el_vocab_bytes(const el_vocab *v, uint32_t id) {
  if (id < v->first) v = v->base;
  id -= v->first;
  return (el_str){v->bytes + v->begin[id], v->begin[id + 1] - v->begin[id]};
}

/* The EL_TOKEN_... flags of a token; id < n. */
static inline unsigned el_vocab_flags(const el_vocab *v, uint32_t id) {
  if (id < v->first) v = v->base;
  return v->flags[id - v->first];
}

/* The ordinary token (neither control nor user-defined) that stands for exactly these bytes; -1:
 * none. */
int32_t el_vocab_find(const el_vocab *v, const char *bytes, size_t len);

/* Decodes byte-level text, as vocabularies and merges are written: each byte is a printable
 * character of GPT-2's alphabet. Writes the bytes to out (room for text.len) and their number to
 * *n. False: the text has a character outside the alphabet. */
bool el_byte_level_decode(el_str text, char *out, size_t *n);

/* The same for a vocabulary written as text, where U+2581 is a space. False: the text has a real
 * space, so it is never made from text, which has none. */
bool el_spaced_text_decode(el_str text, char *out, size_t *n);

/* Decodes text as vocabularies and merges of v's kind are written. */
static inline bool el_vocab_decode(const el_vocab *v, el_str text, char *out, size_t *n) {
  return (v->kind == EL_VOCAB_BYTE_LEVEL ? el_byte_level_decode : el_spaced_text_decode)(text, out, n);
}

/* Finds out what special tokens do by their texts: see roles.c. What the file says has been read
 * before. */
void el_vocab_find_roles(el_vocab *v);
/* The same for one token, for an extension; `v` may know the marks around gaps already. */
void el_vocab_find_role(el_vocab *v, uint32_t id);

/* Turns U+2581 into spaces. Returns the length of the result in bytes; `out` may be text.data. */
size_t el_spaced_text_show(el_str text, char *out);

#endif
