/* The parts of speculation: what is guessed, what a step is thought to cost, and how far a guess goes. */
#include <math.h>

#include "bytes.h"
#include "engine/speculation.h"

/* ------------------------------------------------------------------ n-grams */

static void the_longest_match_wins_and_of_equal_ones_the_last(void **state) {
  const int32_t tokens[] = {1, 2, 3, 4, 9, 7, 2, 3, 4, 8, 5, 2, 3, 4, 6, 1, 2, 3, 4};
  const int n = sizeof tokens / sizeof *tokens;
  el_ngrams g;
  assert_int_equal(el_ngrams_new(64, &g, NULL), EL_OK);
  int match;
  for (int i = 1; i <= n; i++) el_ngrams_extend(&g, tokens, i); /* token by token as well as at once */
  assert_int_equal(el_ngrams_find(&g, tokens, &match), 4);
  assert_int_equal(match, 4);
  el_ngrams_free(&g);
  assert_int_equal(el_ngrams_new(64, &g, NULL), EL_OK);
  el_ngrams_extend(&g, tokens, 14); /* ends with 2 3 4, which was there twice */
  assert_int_equal(el_ngrams_find(&g, tokens, &match), 9);
  assert_int_equal(match, 3);
  el_ngrams_free(&g);
}

static void a_text_without_repetition_has_no_match(void **state) {
  int32_t tokens[100];
  el_ngrams g;
  int match;
  assert_int_equal(el_ngrams_new(100, &g, NULL), EL_OK);
  for (int i = 0; i < 100; i++) {
    tokens[i] = i * i;
    el_ngrams_extend(&g, tokens, i + 1);
    assert_int_equal(el_ngrams_find(&g, tokens, &match), -1);
  }
  el_ngrams_free(&g);
}

static void what_repeats_is_guessed_beyond_its_end(void **state) {
  el_draft d;
  int32_t tokens[12];
  assert_int_equal(el_draft_new(64, &d, NULL), EL_OK);
  for (int i = 0; i < 12; i++) tokens[i] = 5 + i % 3;
  el_draft_guess(&d, NULL, tokens, 12, 15);
  assert_int_equal(d.guess.n, 15);
  for (int i = 0; i < 15; i++) assert_int_equal(d.guess.tokens[i], 5 + (12 + i) % 3);
  el_draft_free(&d);
}

static void tables_are_their_owners_alone_and_bounded(void **state) {
  static el_ngram_tables t;
  static const int32_t context[EL_NGRAM] = {1, 2, 3};
  int n_confirmed;
  for (int i = 0; i < 3; i++) el_ngram_table_learn(el_ngram_tables_of(&t, (el_ngram_owner){1, 0}), context, 42);
  assert_int_equal(el_ngram_table_guess(el_ngram_tables_of(&t, (el_ngram_owner){1, 0}), context, &n_confirmed), 42);
  assert_int_equal(n_confirmed, 3);
  static const el_ngram_owner others[] = {{0, 0}, {2, 0}, {1, 1}, {0, 1}};
  for (int i = 0; i < 4; i++)
    assert_int_equal(el_ngram_table_guess(el_ngram_tables_of(&t, others[i]), context, &n_confirmed), -1);
  for (uint64_t i = 10; i < 10 + 3 * EL_NGRAM_TABLES; i++) {
    assert_int_equal(el_ngram_table_guess(el_ngram_tables_of(&t, (el_ngram_owner){i, i}), context, &n_confirmed), -1);
    el_ngram_table_learn(el_ngram_tables_of(&t, (el_ngram_owner){i, i}), context, (int32_t)i);
  }
  assert_int_equal(t.n, EL_NGRAM_TABLES);
  /* The first owner's made room, and what it gets now is empty. */
  assert_int_equal(el_ngram_table_guess(el_ngram_tables_of(&t, (el_ngram_owner){1, 0}), context, &n_confirmed), -1);
  el_ngram_tables_free(&t);
}

static void a_table_follows_what_comes_now(void **state) {
  static el_ngram_tables t;
  static const int32_t context[EL_NGRAM] = {1, 2, 3};
  el_ngram_table *own = el_ngram_tables_of(&t, (el_ngram_owner){1, 0});
  int n_confirmed;
  for (int i = 0; i < 1000; i++) el_ngram_table_learn(own, context, 42);
  int turns = 0;
  for (; el_ngram_table_guess(own, context, &n_confirmed) != 43; turns++) el_ngram_table_learn(own, context, 43);
  assert_in_range(turns, 2, 10);
  el_ngram_tables_free(&t);
}

/* -------------------------------------------------------------------- costs */

static void learn(el_step_cost *c, double first, double each, int rows, int times) {
  for (int i = 0; i < times; i++) el_step_cost_learn(c, rows, first + each * (rows - 1));
}

static float ratio(const el_step_cost *c, int rows) {
  return el_step_cost_of(c, rows) / el_step_cost_of(c, 1);
}

static void what_steps_cost_is_learnt_by_their_rows(void **state) {
  static const double each[] = {0, 1e5, 4e5, 1e6};
  for (int k = 0; k < 4; k++) {
    el_step_cost c;
    el_step_cost_init(&c);
    for (int i = 0; i < 40; i++) {
      learn(&c, 1e6, each[k], 1, 3);
      learn(&c, 1e6, each[k], 8, 1);
      learn(&c, 1e6, each[k], 5, 1); /* between two points */
    }
    for (int rows = 1; rows <= 8; rows++) {
      const double right = 1 + each[k] * (rows - 1) / 1e6;
      assert_true(fabs((double)ratio(&c, rows) - right) < 0.06 * right);
    }
    assert_true(ratio(&c, 32) >= ratio(&c, 8));
  }
}

static void a_machine_that_slows_down_does_not_make_rows_dear(void **state) {
  el_step_cost c;
  el_step_cost_init(&c);
  for (int i = 0; i < 50; i++) learn(&c, 1e6, 1e5, 1, 1), learn(&c, 1e6, 1e5, 8, 1);
  const float before = ratio(&c, 8);
  for (int i = 0; i < 50; i++) learn(&c, 3e6, 3e5, 1, 1), learn(&c, 3e6, 3e5, 8, 1);
  assert_true(fabsf(ratio(&c, 8) - before) < 0.1f * before);
}

/* --------------------------------------------------------------------- plan */

/* A sequence whose text is one period of n tokens after the other: it guesses right if `comes`. */
static el_seq *repeating(int period) {
  el_seq *q = calloc(1, sizeof *q);
  assert_non_null(q);
  q->tokens = calloc(4000, sizeof *q->tokens);
  q->n_prompt = 4 * period;
  q->n_tokens = q->n_prompt + 1;
  q->max_new = 3900;
  q->most_guessed = EL_MAX_SPECULATE;
  for (int i = 0; i < 4000; i++) q->tokens[i] = 1 + i % period;
  assert_int_equal(el_draft_new(4000, &q->draft, NULL), EL_OK);
  return q;
}

static void free_seq(el_seq *q) {
  el_draft_free(&q->draft);
  free(q->tokens);
  free(q);
}

/* A step, as the engine does it: `right` guesses come, others do not. Returns the tokens that it gave. */
static int step(el_speculation *s, el_seq **seqs, int n, bool right, double first, double each) {
  el_speculation_plan(s, seqs, n, 64, true);
  int rows = n, tokens = 0;
  for (int i = 0; i < n; i++) {
    el_seq *q = seqs[i];
    const int proposed = q->draft.n_rows;
    bool goes_on = true;
    rows += proposed;
    for (int k = 0; k <= proposed && goes_on; k++, tokens++) {
      const int32_t token = right ? q->tokens[q->n_tokens] : 1000 + q->n_tokens % 700;
      q->tokens[q->n_tokens++] = token;
      goes_on = el_draft_drawn(&q->draft, token);
    }
    el_speculation_count(s, q, proposed);
    if (!right && q->n_tokens > 2000) q->n_tokens = q->n_prompt + 1;
  }
  el_speculation_took(s, n, rows, first + each * (rows - 1));
  return tokens;
}

/* Tokens a second once it has settled, against those without guesses. */
static double gain(int n, bool right, double first, double each) {
  static el_speculation s;
  el_seq *seqs[EL_SPECULATE_SEQS];
  el_speculation_init(&s, EL_SPECULATE_AUTO);
  for (int i = 0; i < n; i++) seqs[i] = repeating(20 + i);
  double took = 0;
  int tokens = 0;
  for (int i = 0; i < 200; i++) {
    const uint64_t before = atomic_load(&s.n_proposed);
    const int came = step(&s, seqs, n, right, first, each);
    if (i < 40) continue;
    took += first + each * (double)((uint64_t)(n - 1) + atomic_load(&s.n_proposed) - before);
    tokens += came;
  }
  for (int i = 0; i < n; i++) free_seq(seqs[i]);
  el_speculation_free(&s);
  return tokens / took / (n / (first + each * (n - 1)));
}

static void guesses_that_come_true_go_as_far_as_rows_are_cheap(void **state) {
  assert_true(gain(1, true, 1e6, 5e4) > 7); /* read from memory: rows cost little */
  assert_true(gain(1, true, 1e6, 2e5) > 3); /* from a cache */
  assert_true(gain(4, true, 1e6, 1e5) > 2.5);
  assert_true(gain(1, true, 1e6, 9.5e5) > 0.98); /* a row is a step */
  assert_true(gain(8, true, 1e6, 9.5e5) > 0.98);
}

static void guesses_that_do_not_come_true_cost_next_to_nothing(void **state) {
  assert_true(gain(1, false, 1e6, 5e4) > 0.99);
  assert_true(gain(1, false, 1e6, 3e5) > 0.99);
  assert_true(gain(4, false, 1e6, 9e5) > 0.99);
}

static void one_slow_step_does_not_end_it_for_good(void **state) {
  static el_speculation s;
  el_seq *q = repeating(20);
  el_speculation_init(&s, EL_SPECULATE_AUTO);
  for (int i = 0; i < 10; i++) el_speculation_took(&s, 1, 1, 1e6);
  for (int i = 0; i < 30; i++) step(&s, &q, 1, true, 1e6, 5e6); /* as if somebody else had the machine then */
  el_speculation_plan(&s, &q, 1, 64, true);
  assert_int_equal(q->draft.n_rows, 0);
  int tokens = 0;
  for (int i = 0; i < 20 * EL_SPECULATE_PROBE && q->n_tokens < 3900; i++) tokens = step(&s, &q, 1, true, 1e6, 5e4);
  assert_true(tokens > 8);
  free_seq(q);
  el_speculation_free(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_longest_match_wins_and_of_equal_ones_the_last),
      cmocka_unit_test(a_text_without_repetition_has_no_match),
      cmocka_unit_test(what_repeats_is_guessed_beyond_its_end),
      cmocka_unit_test(tables_are_their_owners_alone_and_bounded),
      cmocka_unit_test(a_table_follows_what_comes_now),
      cmocka_unit_test(what_steps_cost_is_learnt_by_their_rows),
      cmocka_unit_test(a_machine_that_slows_down_does_not_make_rows_dear),
      cmocka_unit_test(guesses_that_come_true_go_as_far_as_rows_are_cheap),
      cmocka_unit_test(guesses_that_do_not_come_true_cost_next_to_nothing),
      cmocka_unit_test(one_slow_step_does_not_end_it_for_good),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
