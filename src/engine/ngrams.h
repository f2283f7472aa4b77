/* Where in a sequence's own text its end has been before: what followed there may follow again. Answers copy names,
 * quotations and code from their prompt, and repeat themselves.
 *
 * An index of the places of every EL_NGRAM tokens, extended token by token: each place knows the last one before it
 * with the same hash, as in LZ77. Its memory is given once, some 8 bytes for each token that the sequence may have. */
#ifndef EL_ENGINE_NGRAMS_H
#define EL_ENGINE_NGRAMS_H

#include "base/error.h"

enum {
  EL_NGRAM = 3,         /* tokens that must be the same at least */
  EL_NGRAM_MATCH = 32,  /* and no more are compared */
  EL_NGRAM_PLACES = 16, /* that are looked at, the last ones first */
};

typedef struct el_ngrams {
  int32_t *before; /* [most] the place before with the same hash, -1: none. A place is its last token's position */
  int32_t *heads;  /* [mask + 1] the last place, -1: none */
  uint32_t mask;
  int n; /* tokens that are indexed */
} el_ngrams;

/* most: tokens that the text may ever have. */
el_status el_ngrams_new(int most, el_ngrams *out, el_error *err);
void el_ngrams_free(el_ngrams *g);

/* The text has n tokens now; the first g->n are as they were. */
void el_ngrams_extend(el_ngrams *g, const int32_t *tokens, int n);
/* The position behind the earlier place that has most in common with the text's end, of equal ones the last; *match:
 * how many tokens, EL_NGRAM_MATCH at most. -1: there is none. */
int el_ngrams_find(const el_ngrams *g, const int32_t *tokens, int *match);

#endif
