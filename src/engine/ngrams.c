#include "engine/ngrams.h"

#include <stdlib.h>
#include <string.h>

#include "base/random.h"

enum { MAX_HEADS = 1 << 16 };

el_status el_ngrams_new(int most, el_ngrams *out, el_error *err) {
  uint32_t n_heads = 64;
  while (n_heads < (uint32_t)most && n_heads < MAX_HEADS) n_heads *= 2;
  *out = (el_ngrams){.before = malloc(sizeof *out->before * (size_t)most),
                     .heads = malloc(sizeof *out->heads * n_heads),
                     .mask = n_heads - 1};
  if (!out->before || !out->heads) {
    el_ngrams_free(out);
    return el_fail(err, EL_ERR_NO_MEMORY, "request: out of memory for an index of %d tokens", most);
  }
  memset(out->heads, 0xff, sizeof *out->heads * n_heads);
  return EL_OK;
}

void el_ngrams_free(el_ngrams *g) {
  free(g->before);
  free(g->heads);
  *g = (el_ngrams){0};
}

/* Of the tokens up to a place. */
static uint32_t bucket(const el_ngrams *g, const int32_t *tokens, int place) {
  uint64_t h = 0;
  for (int i = 0; i < EL_NGRAM; i++) h = el_mix64(h + (uint32_t)tokens[place - i]);
  return (uint32_t)h & g->mask;
}

void el_ngrams_extend(el_ngrams *g, const int32_t *tokens, int n) {
  for (int i = g->n < EL_NGRAM - 1 ? EL_NGRAM - 1 : g->n; i < n; i++) {
    int32_t *head = &g->heads[bucket(g, tokens, i)];
    g->before[i] = *head;
    *head = i;
  }
  g->n = n;
}

/* Tokens that the text up to `place` has in common with all of it, counted from their ends. */
static int common(const int32_t *tokens, int place, int last) {
  int n = 0;
  while (n < EL_NGRAM_MATCH && n <= place && tokens[place - n] == tokens[last - n]) n++;
  return n;
}

int el_ngrams_find(const el_ngrams *g, const int32_t *tokens, int *match) {
  const int last = g->n - 1;
  int best = -1;
  *match = EL_NGRAM - 1;
  if (last < EL_NGRAM) return -1;
  int place = g->before[last];
  for (int i = 0; place >= 0 && i < EL_NGRAM_PLACES && *match < EL_NGRAM_MATCH; i++, place = g->before[place]) {
    const int n = common(tokens, place, last);
    if (n <= *match) continue;
    *match = n;
    best = place + 1;
  }
  return best;
}
