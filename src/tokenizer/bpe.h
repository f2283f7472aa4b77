/* Byte-pair encoding: turns the bytes of a piece of text (or its characters, if the vocabulary is
 * written as text) into tokens, by the merges that the file lists. */
#ifndef EL_TOKENIZER_BPE_H
#define EL_TOKENIZER_BPE_H

#include "tokenizer/vocab.h"

typedef struct el_merge {
  int32_t left, right, result; /* tokens */
} el_merge;

typedef struct el_merges {
  el_merge *items; /* by rank: the first has priority */
  uint32_t n;
  uint64_t key;    /* of the hash table */
  uint32_t *slots; /* hash table by (left, right): rank + 1, or 0 */
  uint32_t mask;
} el_merges;

/* Reads tokenizer.ggml.merges. A merge that names or makes anything but ordinary tokens is left
 * out: it could never be applied, or its result would have no id. If a pair is listed twice, the
 * first counts. */
el_status el_merges_open(el_merges *m, const el_gguf *g, const el_vocab *v, uint64_t key, el_error *err);
void el_merges_close(el_merges *m);

/* A growing list of token ids. */
typedef struct el_ids {
  int32_t *data;
  size_t n, cap;
} el_ids;
bool el_ids_add(el_ids *ids, int32_t id);

/* Bytes or characters of a piece, while they are joined to tokens. */
#define EL_NO_SYMBOL UINT32_MAX
typedef struct el_symbol {
  int32_t id, joined;  /* the token, and the token made with the next symbol: for the algorithm */
  uint32_t prev, next; /* neighbours, or EL_NO_SYMBOL */
  uint32_t at, len;    /* its bytes in the piece */
} el_symbol;

/* Scratch memory, kept from piece to piece; starts as zeros. */
typedef struct el_bpe_work {
  el_symbol *symbols; /* [cap] */
  uint64_t *heap;     /* [3 * cap] */
  size_t cap;
} el_bpe_work;
/* Makes room for a piece of `len` bytes. False: out of memory. */
bool el_bpe_work_reserve(el_bpe_work *w, size_t len);
void el_bpe_work_free(el_bpe_work *w);

/* The longest piece: positions have 32 bits, and the heap has three entries for each. A piece is at
 * most a text with a space in front. */
enum { EL_MAX_PIECE = EL_MAX_TEXT_BYTES + 1 };

typedef enum el_bpe_result { EL_BPE_OK, EL_BPE_NO_MEMORY, EL_BPE_NO_TOKEN } el_bpe_result;

/* Appends the tokens of a piece (1 to EL_MAX_PIECE bytes) in O(len log len). A character that is no
 * token becomes the tokens of its bytes. A byte for which the vocabulary has no token joins
 * nothing: with `lossy` it is left out, else the result is EL_BPE_NO_TOKEN and *bad its index. */
el_bpe_result el_bpe_encode(const el_vocab *v, const el_merges *m, const char *piece, size_t len, bool lossy,
                            el_bpe_work *w, el_ids *out, size_t *bad);

#endif
