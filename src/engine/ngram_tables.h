/* What adapters have answered, as far as it helps to guess what they answer next: after which EL_NGRAM tokens came
 * which. An adapter that always answers in the same form is guessed well, whatever the prompt.
 *
 * A table belongs to one adapter in one domain (el_request.prefix_domain), and only requests of both read and write it:
 * nobody's answers change how soon another tenant's come, as with pages of the prefix cache. A table has a fixed number
 * of entries, and there is a fixed number of tables; the one that has not been used for longest makes room. What is
 * guessed changes no answer, so that entries which collide cost time alone. Engine thread only. */
#ifndef EL_ENGINE_NGRAM_TABLES_H
#define EL_ENGINE_NGRAM_TABLES_H

#include "engine/ngrams.h"

enum {
  EL_NGRAM_ENTRIES = 1 << 13, /* of a table: 64 KiB */
  EL_NGRAM_TABLES = 64,
  EL_NGRAM_VOCAB = 1 << 24, /* tokens from this one on are not learnt */
};

typedef struct el_ngram_owner {
  uint64_t adapter; /* its entry's serial; 0: the base */
  uint64_t domain;
} el_ngram_owner;

typedef struct el_ngram_entry {
  uint32_t check;           /* other bits of the hash than those that find it */
  unsigned next : 24;       /* the token that came */
  unsigned n_confirmed : 8; /* how often more than others; 0: the entry is empty */
} el_ngram_entry;

typedef struct el_ngram_table {
  el_ngram_owner owner;
  uint64_t used; /* el_ngram_tables.clock, when it last was */
  el_ngram_entry *entries;
} el_ngram_table;

typedef struct el_ngram_tables {
  el_ngram_table tables[EL_NGRAM_TABLES];
  int n;
  uint64_t clock;
} el_ngram_tables;

void el_ngram_tables_free(el_ngram_tables *t);
/* The owner's table, a new one if it has none; NULL: out of memory. It is the owner's until the next call. */
el_ngram_table *el_ngram_tables_of(el_ngram_tables *t, el_ngram_owner owner);

/* context: [EL_NGRAM], the tokens before. */
void el_ngram_table_learn(el_ngram_table *t, const int32_t *context, int32_t next);
/* The token that is likely to come, or -1; *n_confirmed: how often it has come more than others, 255 at most. */
int32_t el_ngram_table_guess(const el_ngram_table *t, const int32_t *context, int *n_confirmed);

#endif
