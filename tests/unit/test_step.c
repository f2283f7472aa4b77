/* The forward step: what a row gives depends on its own sequence and adapter only. */
#include <math.h>

#include "fixture.h"

enum { MAX_ROWS = 200, N_SEQ = 12, LEN = 21, PAGES_EACH = 4 };

static int token_of(int seq, int pos, int n_vocab) {
  return (seq * 7919 + pos * 104729 + 13) % n_vocab;
}

/* Of adapters. */
static const el_layout layouts[] = {EL_LAYOUT_Q8, EL_LAYOUT_F16, EL_LAYOUT_Q4};
enum { N_LAYOUTS = sizeof layouts / sizeof *layouts };

typedef struct run {
  fixture f;
  el_adapter *adapters[N_SEQ]; /* ranks differ; every fourth sequence is the base, two share one */
  uint32_t pages[N_SEQ][PAGES_EACH];
  size_t kv_bytes;
  float *alone; /* [N_SEQ][LEN][n_vocab] logits of each position when its sequence runs alone, token by token */
} run;

static const el_adapter *adapter_of(const run *r, int seq) {
  return seq % 4 == 3 ? NULL : r->adapters[seq == 5 ? 4 : seq];
}

static el_row row_at(const run *r, int seq, int pos) {
  return (el_row){.token = token_of(seq, pos, r->f.h->n_vocab),
                  .pos = pos,
                  .pages = r->pages[seq],
                  .adapter = adapter_of(r, seq),
                  .wants_logits = true};
}

/* NaN: nobody may read what nobody wrote. */
static void forget_keys_and_values(run *r) {
  memset(r->f.kv, 0xff, r->kv_bytes);
}

static run run_open_kv(const char *isa, int n_threads, el_layout layout, el_kv_type kv_type) {
  char path[512];
  test_path(path, sizeof path, "golden/tiny/q4_0.gguf");
  run r = {.f = fixture_open_kv(path, isa, EL_WEIGHTS_KEEP, kv_type, n_threads, MAX_ROWS, PAGES_EACH * EL_PAGE_TOKENS,
                                N_SEQ * PAGES_EACH)};
  r.kv_bytes = el_kv_page_bytes(r.f.h, kv_type) * N_SEQ * PAGES_EACH;
  static const int ranks[] = {1, 3, 8, 1, 16, 16, 31, 1, 64, 5, 256, 1};
  for (int s = 0; s < N_SEQ; s++) {
    r.adapters[s] = fixture_random_adapter(&r.f, ranks[s], (uint64_t)s + 1, layout);
    for (int p = 0; p < PAGES_EACH; p++) r.pages[s][p] = (uint32_t)(p * N_SEQ + (s * 5) % N_SEQ);
  }
  size_t v = (size_t)r.f.h->n_vocab;
  r.alone = malloc(sizeof(float) * N_SEQ * LEN * v);
  for (int s = 0; s < N_SEQ; s++)
    for (int p = 0; p < LEN; p++) {
      int t = token_of(s, p, r.f.h->n_vocab);
      memcpy(r.alone + ((size_t)s * LEN + (size_t)p) * v, fixture_run(&r.f, &t, 1, p, r.pages[s], adapter_of(&r, s)),
             v * sizeof(float));
    }
  forget_keys_and_values(&r);
  return r;
}

static run run_open(const char *isa, int n_threads, el_layout layout) {
  return run_open_kv(isa, n_threads, layout, EL_KV_F16);
}

static void run_close(run *r) {
  for (int s = 0; s < N_SEQ; s++) el_adapter_free(r->adapters[s]);
  free(r->alone);
  fixture_close(&r->f);
}

/* How many of 16 rows want logits; the last token of a sequence always does. */
enum { ALL = 16, MOST = 12, FEW = 2, LAST = 0 };

static bool wants(int of_16, unsigned random, int pos) {
  return (int)(random >> 20) % 16 < of_16 || pos == LEN - 1;
}

/* What follows are the logits of the rows of a step that want them, in order. */
static void assert_logits(const run *r, const float *logits, const el_row *rows, const int *row_seq, int n) {
  size_t v = (size_t)r->f.h->n_vocab;
  for (int i = 0; i < n; i++) {
    if (!rows[i].wants_logits) continue;
    assert_memory_equal(logits, r->alone + ((size_t)row_seq[i] * LEN + (size_t)rows[i].pos) * v, v * sizeof(float));
    logits += v;
  }
}

/* Mixes prompt chunks and single tokens of all sequences in a pseudo-random way until all have run. */
static void mixed_steps(run *r, unsigned seed, int of_16) {
  int done[N_SEQ] = {0};
  for (bool left = true; left;) {
    el_row rows[MAX_ROWS];
    int n = 0, row_seq[MAX_ROWS], first = (int)(seed >> 8) % N_SEQ;
    left = false;
    for (int i = 0; i < N_SEQ; i++) {
      int s = (first + i) % N_SEQ;
      seed = seed * 1664525u + 1013904223u;
      int chunk = (int)(seed >> 16) % 9 - 1;
      for (; chunk > 0 && done[s] < LEN; chunk--, done[s]++, n++) {
        seed = seed * 1664525u + 1013904223u;
        rows[n] = row_at(r, s, done[s]);
        rows[n].wants_logits = wants(of_16, seed, done[s]);
        row_seq[n] = s;
      }
      left |= done[s] < LEN;
    }
    if (n) assert_logits(r, el_step_run(r->f.step, rows, n), rows, row_seq, n);
  }
}

static void a_rows_logits_are_bit_identical_whoever_shares_the_step(void **state) {
  for (int i = 0; el_kernels_at(i); i++)
    for (size_t l = 0; l < N_LAYOUTS; l++) {
      run r = run_open(el_kernels_at(i)->name, 1 + i, layouts[l]);
      for (unsigned seed = 1; seed < 5; seed++) mixed_steps(&r, seed * 2654435761u, ALL);
      run_close(&r);
    }
}

static void rows_without_logits_leave_the_same_keys_and_values_and_change_no_logits(void **state) {
  for (el_kv_type type = EL_KV_F16; type <= EL_KV_Q8; type++)
    for (int i = 0; el_kernels_at(i); i++)
      for (size_t l = 0; l < N_LAYOUTS; l++) {
        run r = run_open_kv(el_kernels_at(i)->name, 1 + i, layouts[l], type);
        unsigned char *all = malloc(r.kv_bytes);
        assert_non_null(all);
        mixed_steps(&r, 1, ALL);
        memcpy(all, r.f.kv, r.kv_bytes);
        static const int shares[] = {LAST, FEW, MOST};
        for (unsigned k = 0; k < sizeof shares / sizeof *shares; k++) {
          forget_keys_and_values(&r);
          mixed_steps(&r, (k + 2) * 2654435761u, shares[k]);
          assert_memory_equal(r.f.kv, all, r.kv_bytes);
        }
        free(all);
        run_close(&r);
      }
}

static void threads_and_instruction_sets_do_not_change_a_bit(void **state) {
  for (size_t l = 0; l < N_LAYOUTS; l++) {
    run first = run_open("scalar", 1, layouts[l]);
    size_t v = (size_t)first.f.h->n_vocab;
    for (int i = 0; el_kernels_at(i); i++)
      for (int threads = 1; threads <= 3; threads += 2) {
        run r = run_open(el_kernels_at(i)->name, threads, layouts[l]);
        assert_memory_equal(r.alone, first.alone, sizeof(float) * N_SEQ * LEN * v);
        run_close(&r);
      }
    run_close(&first);
  }
}

/* Two of three sequences go through their first layers in some steps and through the others in later ones, beside
 * sequences that do all at once (which ones: `which`): logits are those of whole rows, and states at the taps are the
 * same in each mix. */
static void rows_in_two_parts(run *r, const int *taps, int n_taps, int which, unsigned seed, int of_16, float *states) {
  el_error e;
  size_t width = (size_t)(n_taps * r->f.h->n_embd);
  assert_int_equal(el_step_taps(r->f.step, taps, n_taps, &e), EL_OK);
  int head[N_SEQ] = {0}, done[N_SEQ] = {0}; /* positions that went through the first layers; through all */
  for (bool left = true; left;) {
    el_row rows[MAX_ROWS];
    int n = 0, row_seq[MAX_ROWS];
    for (el_row_layers layers = EL_ROW_LAST_LAYERS;;
         layers = layers == EL_ROW_LAST_LAYERS ? EL_ROW_ALL_LAYERS : EL_ROW_FIRST_LAYERS) {
      for (int s = 0; s < N_SEQ; s++) {
        bool whole = s % 3 == which;
        if (whole != (layers == EL_ROW_ALL_LAYERS)) continue;
        int *at = layers == EL_ROW_FIRST_LAYERS ? head : done, most = layers == EL_ROW_LAST_LAYERS ? head[s] : LEN;
        seed = seed * 1664525u + 1013904223u;
        for (int chunk = (int)(seed >> 16) % 7 - 1; chunk > 0 && at[s] < most; chunk--, at[s]++, n++) {
          rows[n] = row_at(r, s, at[s]);
          rows[n].layers = layers;
          rows[n].wants_logits = layers != EL_ROW_FIRST_LAYERS && wants(of_16, seed * (unsigned)(2 * chunk + 1), at[s]);
          rows[n].states = states + ((size_t)s * LEN + (size_t)at[s]) * width;
          row_seq[n] = s;
        }
      }
      if (layers == EL_ROW_FIRST_LAYERS) break;
    }
    left = false;
    for (int s = 0; s < N_SEQ; s++) left |= done[s] < LEN;
    if (n) assert_logits(r, el_step_run(r->f.step, rows, n), rows, row_seq, n);
  }
}

static void a_row_may_stop_after_some_layers_and_go_on_in_a_later_step(void **state) {
  for (int i = 0; el_kernels_at(i); i++) {
    run r = run_open(el_kernels_at(i)->name, 1 + i, EL_LAYOUT_Q8);
    int n_layers = r.f.h->n_layers;
    const int all[] = {0, 1, n_layers};
    size_t n = (size_t)N_SEQ * LEN * 3 * (size_t)r.f.h->n_embd;
    float *first = calloc(n, sizeof *first), *again = calloc(n, sizeof *again);
    rows_in_two_parts(&r, all, 3, 0, 1, ALL, first);
    static const int shares[] = {ALL, MOST, FEW, LAST};
    for (unsigned k = 0; k < sizeof shares / sizeof *shares; k++) {
      memset(again, 0, n * sizeof *again);
      forget_keys_and_values(&r);
      rows_in_two_parts(&r, all, 3, 0, 2 + k, shares[k], again);
      assert_memory_equal(first, again, n * sizeof *first);
    }
    for (unsigned k = 0; k < sizeof shares / sizeof *shares; k++) {
      forget_keys_and_values(&r);
      rows_in_two_parts(&r, all, 2, 1, 8 + k, shares[k], first);
      forget_keys_and_values(&r);
      rows_in_two_parts(&r, (const int[]){n_layers - 1}, 1, 2, 16 + k, shares[k], first);
    }
    free(first);
    free(again);
    run_close(&r);
  }
}

/* Hidden states of the sequences that are even, [of them][LEN][n_embd], beside logits of the others, in steps that are
 * mixed as `seed` says. Which positions want theirs, LEN - 1 among them, `of_16` says. */
static void hidden_in_mixed_steps(run *r, unsigned seed, int of_16, float *out) {
  const size_t n_embd = (size_t)r->f.h->n_embd;
  int done[N_SEQ] = {0};
  for (bool left = true; left;) {
    el_row rows[MAX_ROWS];
    int n = 0, n_hidden = 0, row_seq[MAX_ROWS];
    left = false;
    for (int i = 0; i < N_SEQ; i++) {
      const int s = i < N_SEQ / 2 ? 2 * i + 1 : 2 * (i - N_SEQ / 2); /* those that want logits first */
      seed = seed * 1664525u + 1013904223u;
      for (int chunk = (int)(seed >> 16) % 9 - 1; chunk > 0 && done[s] < LEN; chunk--, done[s]++, n++) {
        seed = seed * 1664525u + 1013904223u;
        rows[n] = row_at(r, s, done[s]);
        rows[n].wants_logits = s % 2 && wants(of_16, seed, done[s]);
        rows[n].wants_hidden = s % 2 == 0 && wants(of_16, seed, done[s]);
        row_seq[n] = s;
      }
      left |= done[s] < LEN;
    }
    if (!n) continue;
    assert_logits(r, el_step_run(r->f.step, rows, n), rows, row_seq, n);
    const float *hidden = el_step_hidden(r->f.step);
    for (int i = 0; i < n; i++) {
      if (!rows[i].wants_hidden) continue;
      float *to = out + ((size_t)(row_seq[i] / 2) * LEN + (size_t)rows[i].pos) * n_embd;
      memcpy(to, hidden + (size_t)n_hidden++ * n_embd, n_embd * sizeof *to);
    }
  }
}

static void hidden_states_are_the_same_bits_whoever_shares_the_step(void **state) {
  for (int i = 0; el_kernels_at(i); i++) {
    run r = run_open(el_kernels_at(i)->name, 1 + i, EL_LAYOUT_Q8);
    const size_t n_embd = (size_t)r.f.h->n_embd, n = N_SEQ / 2 * LEN * n_embd;
    float *all = malloc(n * sizeof *all), *some = malloc(n * sizeof *some);
    assert_true(all && some);
    hidden_in_mixed_steps(&r, 1, ALL, all);
    for (int s = 0; s < N_SEQ / 2; s++) { /* and those of a sequence alone */
      el_row rows[LEN];
      for (int p = 0; p < LEN; p++) {
        rows[p] = row_at(&r, 2 * s, p);
        rows[p].wants_logits = false;
        rows[p].wants_hidden = true;
      }
      el_step_run(r.f.step, rows, LEN);
      assert_memory_equal(el_step_hidden(r.f.step), all + (size_t)s * LEN * n_embd, LEN * n_embd * sizeof *all);
    }
    static const int shares[] = {MOST, FEW, LAST};
    for (unsigned k = 0; k < sizeof shares / sizeof *shares; k++) {
      for (size_t v = 0; v < n; v++) some[v] = NAN;
      forget_keys_and_values(&r);
      hidden_in_mixed_steps(&r, (k + 2) * 2654435761u, shares[k], some);
      for (size_t row = 0; row < N_SEQ / 2 * LEN; row++)
        if (!isnan(some[row * n_embd]))
          assert_memory_equal(some + row * n_embd, all + row * n_embd, n_embd * sizeof *all);
    }
    free(all);
    free(some);
    run_close(&r);
  }
}

static void taps_that_make_no_sense_are_refused(void **state) {
  run r = run_open(NULL, 1, EL_LAYOUT_Q8);
  el_error e;
  int many[EL_MAX_TAPS + 1] = {0};
  assert_int_equal(el_step_taps(r.f.step, many, 0, &e), EL_ERR_INVALID);
  assert_int_equal(el_step_taps(r.f.step, many, EL_MAX_TAPS + 1, &e), EL_ERR_INVALID);
  assert_int_equal(el_step_taps(r.f.step, (const int[]){0}, 1, &e), EL_ERR_INVALID);
  assert_int_equal(el_step_taps(r.f.step, (const int[]){-1, 1}, 2, &e), EL_ERR_INVALID);
  assert_int_equal(el_step_taps(r.f.step, (const int[]){1, 1}, 2, &e), EL_ERR_INVALID);
  assert_int_equal(el_step_taps(r.f.step, (const int[]){r.f.h->n_layers + 1}, 1, &e), EL_ERR_INVALID);
  run_close(&r);
}

static void one_step_advances_as_many_adapters_as_there_are_rows(void **state) {
  run r = run_open(NULL, 2, EL_LAYOUT_Q8);
  size_t v = (size_t)r.f.h->n_vocab;
  for (int p = 0; p < LEN; p++) { /* LEN steps for N_SEQ sequences with nine different adapters */
    el_row rows[N_SEQ];
    for (int s = 0; s < N_SEQ; s++) rows[s] = row_at(&r, s, p);
    const float *logits = el_step_run(r.f.step, rows, N_SEQ);
    for (int s = 0; s < N_SEQ; s++)
      assert_memory_equal(logits + (size_t)s * v, r.alone + ((size_t)s * LEN + (size_t)p) * v, v * sizeof(float));
  }
  run_close(&r);
}

/* A prompt of more than one block of attention, in pieces of `piece` tokens (0: of changing sizes). Logits of every
 * position: [LONG][n_vocab]. */
enum { LONG = EL_ATTN_BLOCK + 60, LONG_PAGES = (LONG + EL_PAGE_TOKENS - 1) / EL_PAGE_TOKENS };
static float *long_prompt(const char *isa, el_kv_type kv_type, int threads, int piece) {
  char path[512];
  test_path(path, sizeof path, "golden/tiny/q4_0.gguf");
  fixture f = fixture_open_kv(path, isa, EL_WEIGHTS_KEEP, kv_type, threads, LONG, LONG, LONG_PAGES);
  uint32_t pages[LONG_PAGES];
  for (int i = 0; i < LONG_PAGES; i++) pages[i] = (uint32_t)(LONG_PAGES - 1 - i);
  size_t v = (size_t)f.h->n_vocab;
  float *all = malloc(sizeof(float) * LONG * v);
  assert_non_null(all);
  el_row rows[LONG];
  for (int pos = 0, n = 7; pos < LONG; pos += n) {
    n = piece ? piece : n * 5 % 41 + 1;
    if (n > LONG - pos) n = LONG - pos;
    for (int i = 0; i < n; i++)
      rows[i] =
          (el_row){.token = token_of(1, pos + i, f.h->n_vocab), .pos = pos + i, .pages = pages, .wants_logits = true};
    memcpy(all + (size_t)pos * v, el_step_run(f.step, rows, n), sizeof(float) * v * (size_t)n);
  }
  fixture_close(&f);
  return all;
}

static int n_vocab_of_tiny(void) {
  char path[512];
  test_path(path, sizeof path, "golden/tiny/q4_0.gguf");
  fixture f = fixture_open(path, NULL, EL_WEIGHTS_KEEP, 1, 1, 1, 1);
  int n = f.h->n_vocab;
  fixture_close(&f);
  return n;
}

static void a_long_prompt_gives_the_same_bits_however_it_is_cut(void **state) {
  static const int pieces[] = {0, 1, 8, LONG};
  size_t bytes = sizeof(float) * LONG * (size_t)n_vocab_of_tiny();
  for (el_kv_type type = EL_KV_F16; type <= EL_KV_Q8; type++) {
    float *first = long_prompt("scalar", type, 1, 1);
    for (int i = 0; el_kernels_at(i); i++)
      for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++)
        for (int threads = 1; threads <= 3; threads += 2) {
          float *all = long_prompt(el_kernels_at(i)->name, type, threads, pieces[p]);
          assert_memory_equal(all, first, bytes);
          free(all);
        }
    free(first);
  }
}

static void a_long_prompt_whose_last_row_alone_wants_logits_gives_the_same_bits(void **state) {
  enum { DECODED = 5, PROMPT = LONG - DECODED };
  char path[512];
  test_path(path, sizeof path, "golden/tiny/q4_0.gguf");
  uint32_t pages[LONG_PAGES];
  for (uint32_t i = 0; i < LONG_PAGES; i++) pages[i] = i;
  int tokens[LONG];
  for (int i = 0; i < LONG; i++) tokens[i] = token_of(1, i, n_vocab_of_tiny());
  for (el_kv_type type = EL_KV_F16; type <= EL_KV_Q8; type++)
    for (int i = 0; el_kernels_at(i); i++)
      for (int threads = 1; threads <= 3; threads += 2) {
        const char *isa = el_kernels_at(i)->name;
        float *all = long_prompt(isa, type, threads, LONG);
        fixture f = fixture_open_kv(path, isa, EL_WEIGHTS_KEEP, type, threads, LONG, LONG, LONG_PAGES);
        size_t v = (size_t)f.h->n_vocab;
        assert_memory_equal(fixture_run(&f, tokens, PROMPT, 0, pages, NULL), all + (PROMPT - 1) * v, v * sizeof *all);
        for (int pos = PROMPT; pos < LONG; pos++)
          assert_memory_equal(fixture_run(&f, tokens + pos, 1, pos, pages, NULL), all + (size_t)pos * v,
                              v * sizeof *all);
        fixture_close(&f);
        free(all);
      }
}

static void keys_and_values_of_8_bits_change_logits_little(void **state) {
  size_t n = LONG * (size_t)n_vocab_of_tiny();
  float *f16 = long_prompt(NULL, EL_KV_F16, 1, 0), *q8 = long_prompt(NULL, EL_KV_Q8, 1, 0);
  double error = 0, size = 0;
  for (size_t i = 0; i < n; i++) {
    error += (q8[i] - f16[i]) * (q8[i] - f16[i]);
    size += f16[i] * f16[i];
  }
  /* Activations of 8 bits make 4 of 100 out of a change in the third digit; a wrong scale makes 100. */
  assert_true(error > 0 && sqrt(error / size) < 0.06);
  free(f16);
  free(q8);
}

static void adapters_change_the_answer(void **state) {
  run r = run_open(NULL, 1, EL_LAYOUT_Q8);
  size_t v = (size_t)r.f.h->n_vocab;
  float base[4096], with[4096];
  assert_true(v <= 4096);
  int tokens[] = {3, 5, 7, 11};
  memcpy(base, fixture_run(&r.f, tokens, 4, 0, r.pages[0], NULL), v * sizeof(float));
  for (int s = 0; s < N_SEQ; s++) {
    memcpy(with, fixture_run(&r.f, tokens, 4, 0, r.pages[0], r.adapters[s]), v * sizeof(float));
    assert_memory_not_equal(base, with, v * sizeof(float));
  }
  run_close(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_rows_logits_are_bit_identical_whoever_shares_the_step),
      cmocka_unit_test(rows_without_logits_leave_the_same_keys_and_values_and_change_no_logits),
      cmocka_unit_test(threads_and_instruction_sets_do_not_change_a_bit),
      cmocka_unit_test(a_row_may_stop_after_some_layers_and_go_on_in_a_later_step),
      cmocka_unit_test(hidden_states_are_the_same_bits_whoever_shares_the_step),
      cmocka_unit_test(taps_that_make_no_sense_are_refused),
      cmocka_unit_test(one_step_advances_as_many_adapters_as_there_are_rows),
      cmocka_unit_test(a_long_prompt_gives_the_same_bits_however_it_is_cut),
      cmocka_unit_test(a_long_prompt_whose_last_row_alone_wants_logits_gives_the_same_bits),
      cmocka_unit_test(keys_and_values_of_8_bits_change_logits_little),
      cmocka_unit_test(adapters_change_the_answer),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
