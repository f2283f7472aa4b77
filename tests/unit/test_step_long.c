/* Contexts of several spans of attention, which threads share: a row gives the same bits on any number of threads,
 * alone or beside sequences of other lengths, however its prompt is cut. With windows, caps and sinks, and both types
 * of keys and values. test_kernels_ops.c has the same of the kernels. */
#include "fixture.h"

enum { SPAN = EL_ATTN_SPAN, N_SEQ = 5, MAX_ROWS = 160, MAX_CTX = 3 * SPAN, PAGES_EACH = MAX_CTX / EL_PAGE_TOKENS };

/* What each sequence has before its next token. They end before, at and behind the borders of spans. */
static const int lengths[N_SEQ] = {2 * SPAN + 70, SPAN - 1, 9, SPAN, 2 * SPAN + 1};

static const char *const models[] = {"tiny/q4_0", "families/gemma2", "families/gpt-oss", "families/gemma3"};

typedef struct run {
  fixture f;
  uint32_t pages[N_SEQ][PAGES_EACH];
  size_t kv_bytes;
} run;

/* What one thread gives: keys and values of all prompts, and the logits of each sequence's next token. */
typedef struct answers {
  unsigned char *kv;
  float *logits; /* [N_SEQ][n_vocab] */
} answers;

static run run_open(const char *model, int n_threads, el_kv_type type) {
  char name[64], path[512];
  snprintf(name, sizeof name, "golden/%s.gguf", model);
  test_path(path, sizeof path, name);
  run r = {.f = fixture_open_kv(path, NULL, EL_WEIGHTS_KEEP, type, n_threads, MAX_ROWS, MAX_CTX, N_SEQ * PAGES_EACH)};
  r.kv_bytes = el_kv_page_bytes(r.f.h, type) * N_SEQ * PAGES_EACH;
  for (int s = 0; s < N_SEQ; s++)
    for (int p = 0; p < PAGES_EACH; p++) r.pages[s][p] = (uint32_t)(p * N_SEQ + (s * 3) % N_SEQ);
  return r;
}

static el_row row_at(const run *r, int seq, int pos) {
  return (el_row){.token = (seq * 7919 + pos * 104729 + 13) % r->f.h->n_vocab, .pos = pos, .pages = r->pages[seq]};
}

/* The sequence's prompt from `pos` on, in pieces of `piece` tokens. */
static void prompt(run *r, int seq, int pos, int piece) {
  el_row rows[MAX_ROWS];
  while (pos < lengths[seq]) {
    int n = 0;
    for (; n < piece && pos < lengths[seq]; n++, pos++) rows[n] = row_at(r, seq, pos);
    el_step_run(r->f.step, rows, n);
  }
}

/* The next tokens of sequences [first, first + n) in one step. */
static const float *decode(run *r, int first, int n) {
  el_row rows[N_SEQ];
  for (int i = 0; i < n; i++) {
    rows[i] = row_at(r, first + i, lengths[first + i]);
    rows[i].wants_logits = true;
  }
  return el_step_run(r->f.step, rows, n);
}

static answers alone(const char *model, el_kv_type type) {
  run r = run_open(model, 1, type);
  const size_t v = (size_t)r.f.h->n_vocab;
  answers a = {.kv = malloc(r.kv_bytes), .logits = malloc(sizeof *a.logits * N_SEQ * v)};
  assert_true(a.kv && a.logits);
  for (int s = 0; s < N_SEQ; s++) prompt(&r, s, 0, 61);
  memcpy(a.kv, r.f.kv, r.kv_bytes);
  for (int s = 0; s < N_SEQ; s++) memcpy(a.logits + (size_t)s * v, decode(&r, s, 1), sizeof *a.logits * v);
  fixture_close(&r.f);
  return a;
}

static void check(const char *model, el_kv_type type, int n_threads, const answers *a) {
  run r = run_open(model, n_threads, type);
  const size_t v = (size_t)r.f.h->n_vocab;
  memcpy(r.f.kv, a->kv, r.kv_bytes);
  for (int s = 0; s < N_SEQ; s++) assert_memory_equal(decode(&r, s, 1), a->logits + (size_t)s * v, sizeof(float) * v);
  memcpy(r.f.kv, a->kv, r.kv_bytes);
  assert_memory_equal(decode(&r, 0, N_SEQ), a->logits, sizeof(float) * N_SEQ * v);
  /* The end of the longest prompt again, from before a border on: pieces of few rows are shared as single ones are. */
  memcpy(r.f.kv, a->kv, r.kv_bytes);
  prompt(&r, 0, 2 * SPAN - 7, 5);
  assert_memory_equal(r.f.kv, a->kv, r.kv_bytes);
  prompt(&r, 0, SPAN - 30, MAX_ROWS);
  assert_memory_equal(r.f.kv, a->kv, r.kv_bytes);
  fixture_close(&r.f);
}

static void threads_share_long_contexts_without_changing_a_bit(void **state) {
  static const int threads[] = {2, 3, 8};
  for (size_t m = 0; m < sizeof models / sizeof *models; m++)
    for (el_kv_type type = EL_KV_F16; type <= EL_KV_Q8; type++) {
      const answers a = alone(models[m], type);
      for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) check(models[m], type, threads[t], &a);
      free(a.kv);
      free(a.logits);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(threads_share_long_contexts_without_changing_a_bit)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
