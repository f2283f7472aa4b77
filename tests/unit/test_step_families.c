/* The forward step with every family's layers (windows, norms of heads, joined products, layers of different widths,
 * shared keys, experts): what test_step.c promises of llama holds for each of them. A row gives the same bits whoever
 * shares its step, however its prompt is cut, whether it goes through the layers at once or in two steps, on any number
 * of threads and any instruction set. And what a windowed layer has stored is not read once the window has passed. */
#include "arch/arch.h"
#include "fixture.h"

enum { N_SEQ = 6, LEN = 40, MAX_ROWS = N_SEQ * LEN, PAGES_EACH = 3, N_PAGES = N_SEQ * PAGES_EACH, MAX_THREADS = 3 };

/* tests/golden/families: their windows end inside of LEN, and their layers differ where the family's do. */
static const char *const families[] = {"llama3", "llama-biases", "qwen2",    "qwen3",   "gemma2",    "gemma3",
                                       "gemma4", "mistral3",     "phi3",     "granite", "smollm3",   "olmo2",
                                       "olmo3",  "openelm",      "qwen3moe", "gpt-oss", "granitemoe"};
enum { N_FAMILIES = sizeof families / sizeof *families };

typedef struct run {
  fixture f;
  el_adapter *adapters[N_SEQ]; /* two sequences are the base, two share one */
  uint32_t pages[N_SEQ][PAGES_EACH];
  size_t kv_bytes;
} run;

/* Logits of each position of each sequence, [N_SEQ][LEN][n_vocab], and the pages behind all of them. */
typedef struct answers {
  float *logits;
  unsigned char *kv;
} answers;

static int token_of(int seq, int pos, int n_vocab) {
  return (seq * 7919 + pos * 104729 + 13) % n_vocab;
}

static const el_adapter *adapter_of(const run *r, int seq) {
  return seq % 3 == 2 ? NULL : r->adapters[seq == 4 ? 3 : seq];
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

/* Where there are experts, two of the adapters have matrices for them: one as it was trained, one combined. */
static void adapt_experts(run *r, int family, el_layout layout) {
  char name[64], path[512];
  if (!el_model_sites(r->f.model)->n_experts) return;
  snprintf(name, sizeof name, "golden/families/%s-lora.gguf", families[family]);
  test_path(path, sizeof path, name);
  el_adapter_free(r->adapters[0]);
  el_adapter_free(r->adapters[3]);
  r->adapters[0] = fixture_adapter_as(&r->f, path, layout);
  r->adapters[3] = fixture_combined_adapter(&r->f, path, -0.5f, 5, 9, layout);
}

static run run_open(int family, const char *isa, int n_threads, el_kv_type type) {
  static const el_layout layouts[] = {EL_LAYOUT_Q8, EL_LAYOUT_F16, EL_LAYOUT_Q4};
  static const int ranks[N_SEQ] = {1, 8, 0, 31, 0, 0};
  char name[64], path[512];
  snprintf(name, sizeof name, "golden/families/%s.gguf", families[family]);
  test_path(path, sizeof path, name);
  run r = {.f = fixture_open_kv(path, isa, EL_WEIGHTS_KEEP, type, n_threads, MAX_ROWS, PAGES_EACH * EL_PAGE_TOKENS,
                                N_PAGES)};
  r.kv_bytes = el_kv_page_bytes(r.f.h, type) * N_PAGES;
  for (int s = 0; s < N_SEQ; s++) {
    if (ranks[s]) r.adapters[s] = fixture_random_adapter(&r.f, ranks[s], (uint64_t)s + 1, layouts[family % 3]);
    for (int p = 0; p < PAGES_EACH; p++) r.pages[s][p] = (uint32_t)(p * N_SEQ + s * 5 % N_SEQ);
  }
  adapt_experts(&r, family, layouts[family % 3]);
  return r;
}

static void run_close(run *r) {
  for (int s = 0; s < N_SEQ; s++) el_adapter_free(r->adapters[s]);
  fixture_close(&r->f);
}

/* Each sequence by itself, token by token. */
static answers alone(int family, el_kv_type type) {
  run r = run_open(family, NULL, 1, type);
  const size_t v = (size_t)r.f.h->n_vocab;
  answers a = {.logits = malloc(sizeof(float) * N_SEQ * LEN * v), .kv = malloc(r.kv_bytes)};
  assert_true(a.logits && a.kv);
  for (int s = 0; s < N_SEQ; s++)
    for (int p = 0; p < LEN; p++) {
      const el_row row = row_at(&r, s, p);
      memcpy(a.logits + (size_t)(s * LEN + p) * v, el_step_run(r.f.step, &row, 1), v * sizeof(float));
    }
  memcpy(a.kv, r.f.kv, r.kv_bytes);
  run_close(&r);
  return a;
}

static unsigned next_random(unsigned *seed) {
  return (*seed = *seed * 1664525u + 1013904223u) >> 16;
}

/* A step's rows, and whose they are. */
typedef struct step_rows {
  el_row rows[MAX_ROWS];
  int seq[MAX_ROWS], n;
} step_rows;

static void step_and_compare(run *r, const answers *a, const step_rows *s, const char *what) {
  const size_t v = (size_t)r->f.h->n_vocab;
  if (!s->n) return;
  const float *logits = el_step_run(r->f.step, s->rows, s->n);
  for (int i = 0; i < s->n; i++) {
    if (!s->rows[i].wants_logits) continue;
    if (memcmp(logits, a->logits + (size_t)(s->seq[i] * LEN + s->rows[i].pos) * v, v * sizeof(float)))
      fail_msg("%s, %s, %d threads: sequence %d at %d is not what it is alone, %s", r->f.h->arch->name,
               r->f.kernels->name, el_threads_count(r->f.threads), s->seq[i], s->rows[i].pos, what);
    logits += v;
  }
}

static void assert_kv(const run *r, const answers *a) {
  assert_memory_equal(r->f.kv, a->kv, r->kv_bytes);
}

/* Single tokens beside chunks of up to `most` of all sequences; some rows want no logits. */
static void mixed_steps(run *r, const answers *a, unsigned seed, int most) {
  int done[N_SEQ] = {0};
  forget_keys_and_values(r);
  for (bool left = true; left;) {
    step_rows step = {.n = 0};
    const int first = (int)next_random(&seed) % N_SEQ;
    left = false;
    for (int i = 0; i < N_SEQ; i++) {
      const int s = (first + i) % N_SEQ;
      int chunk = next_random(&seed) % 2 ? 1 : (int)next_random(&seed) % (most + 1);
      for (; chunk > 0 && done[s] < LEN; chunk--, done[s]++, step.n++) {
        step.rows[step.n] = row_at(r, s, done[s]);
        step.rows[step.n].wants_logits = next_random(&seed) % 4 || done[s] == LEN - 1;
        step.seq[step.n] = s;
      }
      left |= done[s] < LEN;
    }
    step_and_compare(r, a, &step, "in mixed steps");
  }
  assert_kv(r, a);
}

/* All there is in one step, of which the last rows want logits, or all. */
static void one_step(run *r, const answers *a, bool all) {
  step_rows step = {.n = MAX_ROWS};
  for (int i = 0; i < MAX_ROWS; i++) {
    step.seq[i] = i / LEN;
    step.rows[i] = row_at(r, i / LEN, i % LEN);
    step.rows[i].wants_logits = all || i % LEN == LEN - 1;
  }
  forget_keys_and_values(r);
  step_and_compare(r, a, &step, "in one step");
  assert_kv(r, a);
}

/* Every third sequence goes through all layers at once; the others through the first `depth` in some steps, and through
 * the rest in later ones. */
static void steps_in_two_parts(run *r, const answers *a, int depth, unsigned seed) {
  el_error err = {0};
  int head[N_SEQ] = {0}, done[N_SEQ] = {0};
  const size_t width = (size_t)r->f.h->n_embd;
  float *states = calloc((size_t)N_SEQ * LEN * 2 * width, sizeof *states);
  assert_non_null(states);
  assert_int_equal(el_step_taps(r->f.step, (const int[]){0, depth}, 2, &err), EL_OK);
  forget_keys_and_values(r);
  for (bool left = true; left;) {
    step_rows step = {.n = 0};
    for (el_row_layers layers = EL_ROW_LAST_LAYERS;;
         layers = layers == EL_ROW_LAST_LAYERS ? EL_ROW_ALL_LAYERS : EL_ROW_FIRST_LAYERS) {
      for (int s = 0; s < N_SEQ; s++) {
        if ((s % 3 == 1) != (layers == EL_ROW_ALL_LAYERS)) continue;
        int *at = layers == EL_ROW_FIRST_LAYERS ? head : done, most = layers == EL_ROW_LAST_LAYERS ? head[s] : LEN;
        for (int chunk = (int)next_random(&seed) % 20; chunk > 0 && at[s] < most; chunk--, at[s]++, step.n++) {
          el_row *row = &step.rows[step.n];
          *row = row_at(r, s, at[s]);
          row->layers = layers;
          row->wants_logits = layers != EL_ROW_FIRST_LAYERS && (next_random(&seed) % 4 || at[s] == LEN - 1);
          row->states = states + (size_t)(s * LEN + at[s]) * 2 * width;
          step.seq[step.n] = s;
        }
      }
      if (layers == EL_ROW_FIRST_LAYERS) break;
    }
    left = false;
    for (int s = 0; s < N_SEQ; s++) left |= done[s] < LEN;
    step_and_compare(r, a, &step, "in two parts");
  }
  assert_kv(r, a);
  free(states);
}

/* Windowed pages apart from the others, in the hands of whoever needs one: when the window has passed, a page is
 * overwritten and goes to the next. */
typedef struct windowed {
  el_step *step;
  unsigned char *kv;
  uint32_t table[N_SEQ][PAGES_EACH], free[N_PAGES], first; /* first: of their numbers */
  size_t bytes;
  int n_free, begin[N_SEQ], end[N_SEQ], n_again;
  bool given[N_PAGES];
} windowed;

static void windowed_open(windowed *w, const run *r, el_kv_type type) {
  const el_kv_shape shape = el_kv_shape_of(r->f.h, type);
  const size_t full = shape.full_bytes + 64;
  el_error err = {0};
  *w = (windowed){.bytes = shape.windowed_bytes + 192, .n_free = N_PAGES};
  w->first = (uint32_t)((N_PAGES * full + w->bytes - 1) / w->bytes);
  w->kv = malloc((w->first + N_PAGES) * w->bytes);
  assert_non_null(w->kv);
  memset(w->kv, 0xff, (w->first + N_PAGES) * w->bytes);
  memset(w->table, 0xff, sizeof w->table); /* far from all that is mapped */
  for (int i = 0; i < N_PAGES; i++) w->free[i] = (uint32_t)i;
  if (el_step_new(r->f.model, r->f.threads, w->kv, type, MAX_ROWS, MAX_ROWS, PAGES_EACH * EL_PAGE_TOKENS, &w->step,
                  &err))
    fail_msg("%s", err.message);
  el_step_split_pages(w->step, full, w->bytes);
}

static void windowed_take(windowed *w, int seq, int n_pos) {
  for (; w->end[seq] * EL_PAGE_TOKENS < n_pos; w->end[seq]++) {
    const uint32_t page = w->free[--w->n_free];
    w->n_again += w->given[page];
    w->table[seq][w->end[seq]] = w->first + page;
  }
}

static void windowed_give(windowed *w, int seq, int pos, int window) {
  for (; w->begin[seq] < w->end[seq] && w->begin[seq] < el_window_begin(pos, window); w->begin[seq]++) {
    const uint32_t page = w->table[seq][w->begin[seq]] - w->first;
    memset(w->kv + (w->first + page) * w->bytes, 0xff, w->bytes);
    w->table[seq][w->begin[seq]] = UINT32_MAX;
    w->given[page] = true;
    w->free[w->n_free++] = page;
  }
}

/* Sequences begin one after the other. */
static void steps_with_windowed_pages(run *r, const answers *a, el_kv_type type, unsigned seed) {
  const int window = el_kv_shape_of(r->f.h, type).window;
  int done[N_SEQ] = {0}, n_begun = 1;
  windowed w;
  if (!window) return;
  windowed_open(&w, r, type);
  el_step *own = r->f.step;
  r->f.step = w.step;
  for (bool left = true; left;) {
    step_rows step = {.n = 0};
    left = false;
    for (int s = 0; s < n_begun; s++) {
      int chunk = 1 + (int)next_random(&seed) % 12;
      if (chunk > LEN - done[s]) chunk = LEN - done[s];
      windowed_take(&w, s, done[s] + chunk);
      for (; chunk > 0; chunk--, done[s]++, step.n++) {
        step.rows[step.n] = row_at(r, s, done[s]);
        step.rows[step.n].windowed = w.table[s];
        step.seq[step.n] = s;
      }
    }
    step_and_compare(r, a, &step, "with windowed pages apart");
    for (int s = 0; s < n_begun; s++) windowed_give(&w, s, done[s] < LEN ? done[s] : 2 * LEN, window);
    n_begun += n_begun < N_SEQ && done[n_begun - 1] > 20;
    for (int s = 0; s < N_SEQ; s++) left |= done[s] < LEN;
  }
  assert_true(w.n_again > 0);
  r->f.step = own;
  el_step_free(w.step);
  free(w.kv);
}

/* Each instruction set with one number of threads and one type of keys and values after the other, so that a family
 * sees all of each. The scalar reference, which is slow, has one type. */
static void check_family(int family) {
  int turn = family;
  for (el_kv_type type = EL_KV_F16; type <= EL_KV_Q8; type++) {
    const answers a = alone(family, type);
    for (int i = 0; el_kernels_at(i); i++, turn++) {
      if (!strcmp(el_kernels_at(i)->name, "scalar") && (int)type != family % 2) continue;
      run r = run_open(family, el_kernels_at(i)->name, 1 + turn % MAX_THREADS, type);
      mixed_steps(&r, &a, (unsigned)turn * 2654435761u, turn % 2 ? 9 : 33);
      one_step(&r, &a, turn % 3 == 0);
      steps_with_windowed_pages(&r, &a, type, (unsigned)turn * 9176u + 3);
      steps_in_two_parts(&r, &a, 1 + turn % r.f.h->n_layers, (unsigned)turn * 40503u + 1);
      run_close(&r);
    }
    free(a.logits);
    free(a.kv);
  }
}

static void each_familys_rows_give_the_same_bits_whoever_shares_the_step(void **state) {
  for (int family = 0; family < N_FAMILIES; family++) check_family(family);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_familys_rows_give_the_same_bits_whoever_shares_the_step),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
