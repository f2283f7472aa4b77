#include "engine/ngram_tables.h"

#include <stdlib.h>
#include <string.h>

#include "base/random.h"

enum { MOST_CONFIRMED = 255 };

void el_ngram_tables_free(el_ngram_tables *t) {
  for (int i = 0; i < t->n; i++) free(t->tables[i].entries);
  *t = (el_ngram_tables){0};
}

/* A table that nobody has, or else the one that was used longest ago; NULL: out of memory. */
static el_ngram_table *make_room(el_ngram_tables *t) {
  if (t->n < EL_NGRAM_TABLES) {
    el_ngram_table *fresh = &t->tables[t->n];
    fresh->entries = calloc(EL_NGRAM_ENTRIES, sizeof *fresh->entries);
    if (!fresh->entries) return NULL;
    t->n++;
    return fresh;
  }
  el_ngram_table *oldest = t->tables;
  for (int i = 1; i < t->n; i++)
    if (t->tables[i].used < oldest->used) oldest = &t->tables[i];
  memset(oldest->entries, 0, EL_NGRAM_ENTRIES * sizeof *oldest->entries);
  return oldest;
}

el_ngram_table *el_ngram_tables_of(el_ngram_tables *t, el_ngram_owner owner) {
  el_ngram_table *found = NULL;
  for (int i = 0; i < t->n && !found; i++)
    if (t->tables[i].owner.adapter == owner.adapter && t->tables[i].owner.domain == owner.domain) found = &t->tables[i];
  if (!found && !(found = make_room(t))) return NULL;
  found->owner = owner;
  found->used = ++t->clock;
  return found;
}

/* Where the token behind a context is, and what the entry's check must be. */
static uint32_t place_of_hash(const int32_t *context, uint32_t *check) {
  uint64_t h = 0;
  for (int i = 0; i < EL_NGRAM; i++) h = el_mix64(h + (uint32_t)context[i]);
  *check = (uint32_t)(h >> 32);
  return (uint32_t)h % EL_NGRAM_ENTRIES;
}

void el_ngram_table_learn(el_ngram_table *t, const int32_t *context, int32_t next) {
  uint32_t check;
  el_ngram_entry *e = &t->entries[place_of_hash(context, &check)];
  if (next < 0 || next >= EL_NGRAM_VOCAB) return;
  const bool same = e->n_confirmed && e->check == check && e->next == (uint32_t)next;
  if (same) {
    if (e->n_confirmed < MOST_CONFIRMED) e->n_confirmed++;
  } else if (e->n_confirmed > 1) {
    e->n_confirmed /= 2; /* so that what has come often gives way soon when it comes no more */
  } else {
    *e = (el_ngram_entry){check, (uint32_t)next & (EL_NGRAM_VOCAB - 1), 1};
  }
}

int32_t el_ngram_table_guess(const el_ngram_table *t, const int32_t *context, int *n_confirmed) {
  uint32_t check;
  const el_ngram_entry *e = &t->entries[place_of_hash(context, &check)];
  *n_confirmed = e->n_confirmed;
  return e->n_confirmed && e->check == check ? (int32_t)e->next : -1;
}
