#include "engine/speculation.h"

/* What speculation must promise at least, as a share of the tokens without. */
#define LEAST_GAIN 1.05f

void el_speculation_init(el_speculation *s, int most) {
  *s = (el_speculation){.most = most};
  for (int i = 0; i < EL_COST_CROWDS; i++) el_step_cost_init(&s->costs[i]);
}

void el_speculation_free(el_speculation *s) {
  el_ngram_tables_free(&s->tables);
}

/* The table of whoever answers a sequence. NULL: there is none, of a combination of adapters or for want of memory. */
static el_ngram_table *table_of(el_speculation *s, const el_seq *q) {
  const bool base = !q->adapter || q->adapter_from >= q->n_prompt;
  if (!base && !q->adapter->serial) return NULL;
  return el_ngram_tables_of(&s->tables, (el_ngram_owner){base ? 0 : q->adapter->serial, q->prefix_domain});
}

/* The longest guess that a sequence may make: its last token needs no row. */
static int most_of(const el_speculation *s, const el_seq *q) {
  int most = q->max_new - el_seq_n_new(q) - 1;
  if (most > q->most_guessed) most = q->most_guessed;
  return s->most >= 0 && s->most < most ? s->most : most;
}

static void guess(el_speculation *s, el_seq *q) {
  el_draft *d = &q->draft;
  if (!el_draft_is_on(d)) return;
  el_ngram_table *t = table_of(s, q);
  el_draft_teach(d, t, q->tokens, q->n_prompt, q->n_tokens);
  el_draft_guess(d, t, q->tokens, q->n_tokens, most_of(s, q));
  if (s->guess) d->guess.n = s->guess(s->guess_user, q, d->guess.tokens, most_of(s, q));
}

/* Every guess as it is, in order, as far as there are rows. */
static void plan_fixed(el_seq *const *seqs, int n, int rows) {
  for (int i = 0; i < n; i++) {
    el_draft *d = &seqs[i]->draft;
    d->n_rows = d->guess.n < rows ? d->guess.n : rows;
    rows -= d->n_rows;
  }
}

/* What is looked at while guesses are lengthened row by row. */
typedef struct reach {
  el_draft *draft;
  int n;        /* tokens so far */
  float chance; /* that the next one comes, and all before it */
} reach;

static void advance(reach *r) {
  if (r->n == r->draft->guess.n)
    r->chance = 0;
  else
    r->chance *= el_draft_chance(r->draft, r->n);
}

/* Gives rows to the likeliest tokens, up to the number of them that promises most tokens a time. cost NULL: as hoped.
 * False: none does. */
static bool plan_by_gain(const el_step_cost *cost, el_seq *const *seqs, int n, int rows) {
  reach reaches[EL_SPECULATE_SEQS];
  int order[EL_COST_ROWS], n_best = 0;
  for (int i = 0; i < n; i++) {
    reaches[i] = (reach){&seqs[i]->draft, 0, 1};
    advance(&reaches[i]);
  }
  const float alone = cost ? el_step_cost_of(cost, n) : el_step_cost_hoped(n);
  float tokens = (float)n, best = LEAST_GAIN * tokens / alone;
  if (rows > EL_COST_ROWS - n) rows = EL_COST_ROWS - n;
  for (int k = 0; k < rows; k++) {
    int likeliest = 0;
    for (int i = 1; i < n; i++)
      if (reaches[i].chance > reaches[likeliest].chance) likeliest = i;
    reach *r = &reaches[likeliest];
    if (r->chance <= 0) break;
    tokens += r->chance;
    order[k] = likeliest;
    r->n++;
    advance(r);
    const float pace = tokens / (cost ? el_step_cost_of(cost, n + k + 1) : el_step_cost_hoped(n + k + 1));
    if (pace <= best) continue;
    best = pace;
    n_best = k + 1;
  }
  for (int i = 0; i < n; i++) seqs[i]->draft.n_rows = 0;
  for (int k = 0; k < n_best; k++) seqs[order[k]]->draft.n_rows++;
  return n_best > 0;
}

static el_step_cost *cost_of_seqs(el_speculation *s, int n) {
  return &s->costs[n == 1 ? 0 : n == 2 ? 1 : n <= 4 ? 2 : n <= 8 ? 3 : 4];
}

void el_speculation_plan(el_speculation *s, el_seq *const *seqs, int n, int rows, bool alone) {
  if (!s->most || !n) return;
  const bool fixed = s->most > 0;
  if (!fixed && (!alone || n > EL_SPECULATE_SEQS)) {
    for (int i = 0; i < n; i++) el_draft_drop(&seqs[i]->draft);
    return;
  }
  for (int i = 0; i < n; i++) guess(s, seqs[i]);
  if (fixed) {
    plan_fixed(seqs, n, rows);
  } else if (plan_by_gain(cost_of_seqs(s, n), seqs, n, rows)) {
    s->n_unprofitable = 0;
  } else if (plan_by_gain(NULL, seqs, n, rows) && ++s->n_unprofitable % EL_SPECULATE_PROBE) {
    for (int i = 0; i < n; i++) seqs[i]->draft.n_rows = 0;
  }
}

void el_speculation_count(el_speculation *s, el_seq *q, int proposed) {
  el_draft *d = &q->draft;
  d->n_proposed += proposed;
  d->n_accepted += d->n_came;
  atomic_fetch_add(&s->n_proposed, (uint64_t)proposed);
  atomic_fetch_add(&s->n_accepted, (uint64_t)d->n_came);
  el_draft_drop(d);
}

void el_speculation_took(el_speculation *s, int n, int rows, double ns) {
  if (s->most == EL_SPECULATE_AUTO && n <= EL_SPECULATE_SEQS) el_step_cost_learn(cost_of_seqs(s, n), rows, ns);
}

void el_speculation_end(el_speculation *s, el_seq *q) {
  if (s->most && el_draft_is_on(&q->draft) && el_seq_n_new(q) > 0 && q->tokens)
    el_draft_teach(&q->draft, table_of(s, q), q->tokens, q->n_prompt, q->n_tokens);
}
