/* Finds special tokens in a text: they are tokens by their spelling, before any other cut. */
#ifndef EL_TOKENIZER_SPECIAL_H
#define EL_TOKENIZER_SPECIAL_H

#include "tokenizer/vocab.h"

/* The longest in use have about 40 bytes. */
enum { EL_MAX_SPECIAL_BYTES = 1024 };

/* All special tokens of one length. */
typedef struct el_special_group {
  uint32_t len, flags; /* EL_TOKEN_CONTROL and EL_TOKEN_USER, of any token in the group */
  bool last[256];      /* bytes that its tokens end with */
} el_special_group;

typedef struct el_specials {
  el_special_group *groups; /* longest first */
  size_t n_groups;
  bool first[256]; /* bytes that special tokens begin with */
  bool has_user;
  uint64_t key;    /* of the hash table */
  uint32_t *slots; /* id + 1, or 0 */
  uint32_t mask;
} el_specials;

el_status el_specials_open(el_specials *s, const el_vocab *v, uint64_t key, el_error *err);
void el_specials_close(el_specials *s);

/* A range of a text: bytes begin to end - 1. */
typedef struct el_range {
  size_t begin, end;
} el_range;

typedef struct el_special_match {
  size_t pos;
  int32_t id; /* its length is that of its bytes */
} el_special_match;

/* How many bytes of white space (as C defines it) a text begins with: what a token with
 * EL_TOKEN_STRIP takes along. */
size_t el_ascii_spaces(const char *text, size_t len);

/* Finds the special tokens in a text, by position. Longer ones are looked for first; among those of
 * one length the first in the text counts; none overlaps another. User-defined tokens are found
 * everywhere; control tokens only with `control`, and only where no byte is in one of the `content`
 * ranges (in order). The caller frees *out. */
el_status el_specials_find(const el_specials *s, const el_vocab *v, const char *text, size_t len, bool control,
                           const el_range *content, size_t n_content, el_special_match **out, size_t *n, el_error *err);

#endif
