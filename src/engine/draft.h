/* A sequence's guess of its next tokens, and how often guesses like it have come true.
 *
 * A guess comes from the sequence's own text, or from the table of what its adapter has answered, whichever has been
 * right more often. Every guess is of a kind: so many tokens in common with the place that it comes from, or so often
 * confirmed by the table. Of each kind a running share of those that came true is kept, for this sequence alone, since
 * a prompt to be copied and a chat differ. The first token of a guess is judged even if no row was spent on it: the
 * token that is drawn tells. So to find out that guesses have become good costs nothing. */
#ifndef EL_ENGINE_DRAFT_H
#define EL_ENGINE_DRAFT_H

#include "engine/ngram_tables.h"

enum {
  EL_DRAFT_KINDS = 8, /* 5 of the own text, 3 of the table */
};

/* A share of guesses, as a running mean that begins at what is usual. */
typedef struct el_draft_rate {
  float share;
  int n; /* guesses so far, EL_DRAFT_MEMORY at most */
} el_draft_rate;

typedef struct el_guess {
  int32_t tokens[EL_MAX_SPECULATE]; /* [n] what follows the sequence's last token */
  uint8_t kinds[EL_MAX_SPECULATE];
  int n;
} el_guess;

typedef struct el_draft {
  el_ngrams own;
  el_draft_rate rates[EL_DRAFT_KINDS];
  int n_learnt; /* tokens up to here are in the table, or need not be */

  el_guess guess, other;      /* what the other source says: its first token is judged too */
  int n_rows;                 /* of the guess, that the next step computes */
  int n_drawn;                /* tokens that have been drawn since it was made; */
  int n_came;                 /* of them, that a row was spent on, and were right */
  int n_proposed, n_accepted; /* of all guesses */
} el_draft;

/* most: tokens that the sequence may ever have. */
el_status el_draft_new(int most, el_draft *out, el_error *err);
void el_draft_free(el_draft *d);
/* Without an index there is no guess. */
static inline bool el_draft_is_on(const el_draft *d) {
  return d->own.before != NULL;
}

/* Puts answered tokens, those from n_prompt on, into the table that have come since. NULL is allowed. */
void el_draft_teach(el_draft *d, el_ngram_table *t, const int32_t *tokens, int n_prompt, int n_tokens);
/* Makes a guess of `most` tokens at most; table NULL: of the own text alone. No row is spent on it yet. */
void el_draft_guess(el_draft *d, const el_ngram_table *t, const int32_t *tokens, int n_tokens, int most);
/* The chance that the i-th token of the guess comes, if those before it have. */
float el_draft_chance(const el_draft *d, int i);
/* The sequence's next token has been drawn, from the step that follows el_draft_guess. True: it is the next one of the
 * guess and a row has been spent on that, so the logits behind it are those of the sequence. */
bool el_draft_drawn(el_draft *d, int32_t token);
/* The step has been dealt with. */
static inline void el_draft_drop(el_draft *d) {
  d->guess.n = d->other.n = d->n_rows = d->n_came = 0;
}

#endif
