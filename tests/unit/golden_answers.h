/* Logits after each of 64 tokens, as tools/golden/families.py and targets.py write them, and ours beside them. */
#ifndef EL_TESTS_GOLDEN_ANSWERS_H
#define EL_TESTS_GOLDEN_ANSWERS_H

#include <math.h>
#include <stdlib.h>

#include <jansson.h>

#include "fixture.h"

enum { POSITIONS = 64, MAX_CTX = 512, PAGES = MAX_CTX / EL_PAGE_TOKENS, MAX_VOCAB = 512 };

/* F16 keeps 11 bits of weights, keys and values: root mean square and largest distance from exact, in units of the
 * logits' deviation. What families.py lets pass as visible moves them by 0.03 and more. */
static const double F16_RMS = 0.005, F16_MAX = 0.05;

/* Steps of one chunk each, of odd sizes: positions meet earlier ones of their own chunk, of the one before, and of
 * pages long full. */
static const int chunks[] = {1, 2, 13, 16, 5, 26, 1};

static inline void golden_path(char *out, size_t n, const char *name) {
  char in_golden[256];
  snprintf(in_golden, sizeof in_golden, "golden/%s", name);
  test_path(out, n, in_golden);
}

typedef struct answers {
  int ids[POSITIONS], n_vocab;
  double std;
  float *exact, *peer, *got; /* [POSITIONS, n_vocab] */
} answers;

static inline answers answers_read(const json_t *c) {
  answers a = {.n_vocab = (int)json_integer_value(json_object_get(c, "vocab")),
               .std = json_number_value(json_object_get(c, "std"))};
  const json_t *ids = json_object_get(c, "ids");
  assert_true(a.n_vocab > 0 && a.n_vocab <= MAX_VOCAB && a.std > 0);
  assert_int_equal(json_array_size(ids), POSITIONS);
  for (size_t i = 0; i < POSITIONS; i++) a.ids[i] = (int)json_integer_value(json_array_get(ids, i));
  size_t n = (size_t)POSITIONS * (size_t)a.n_vocab;
  int16_t *codes = malloc(n * sizeof *codes); /* exact */
  int8_t *above = calloc(n, 1);               /* llama.cpp's less exact, if it was asked */
  float *all = malloc(3 * n * sizeof *all);
  assert_true(codes && above && all);
  char path[512];
  golden_path(path, sizeof path, json_string_value(json_object_get(c, "logits")));
  double step = json_number_value(json_object_get(c, "step")),
         peer_step = json_number_value(json_object_get(c, "peer_step"));
  FILE *f = fopen(path, "rb");
  if (!f) fail_msg("cannot open %s", path);
  assert_true(fread(codes, sizeof *codes, n, f) == n && (!peer_step || fread(above, 1, n, f) == n) && fgetc(f) == EOF);
  fclose(f);
  for (size_t i = 0; i < n; i++) {
    all[i] = (float)(codes[i] * step);
    all[n + i] = (float)(codes[i] * step + above[i] * peer_step);
  }
  free(codes);
  free(above);
  a.exact = all;
  a.peer = all + n;
  a.got = all + 2 * n;
  return a;
}

/* Feeds the tokens, in chunks or in one step, and keeps the logits after each. */
static inline void feed(fixture *f, answers *a, bool in_chunks, const el_adapter *adapter) {
  uint32_t pages[PAGES];
  for (uint32_t i = 0; i < PAGES; i++) pages[i] = (i * 5 + 3) % PAGES;
  for (int pos = 0, k = 0, n; pos < POSITIONS; pos += n, k++) {
    el_row rows[POSITIONS];
    n = in_chunks ? chunks[k] : POSITIONS;
    for (int i = 0; i < n; i++)
      rows[i] =
          (el_row){.token = a->ids[pos + i], .pos = pos + i, .pages = pages, .adapter = adapter, .wants_logits = true};
    const float *logits = el_step_run(f->step, rows, n);
    for (int i = 0; i < n; i++)
      memcpy(a->got + (size_t)(pos + i) * (size_t)a->n_vocab, logits + (size_t)i * el_step_logits_stride(f->step),
             sizeof(float) * (size_t)a->n_vocab);
  }
}

typedef struct gap {
  double rms, max; /* in units of the logits' deviation */
} gap;

static inline gap distance(const answers *a, const float *x) {
  gap g = {0};
  size_t n = (size_t)POSITIONS * (size_t)a->n_vocab;
  for (size_t i = 0; i < n; i++) {
    double d = fabs((double)x[i] - (double)a->exact[i]) / a->std;
    if (!(d <= g.max)) g.max = d; /* NaN too */
    g.rms += d * d;
  }
  g.rms = sqrt(g.rms / (double)n);
  return g;
}

/* The widest lead, after exact, of the exact best token over ours, in units of the deviation; `same` of them agree. */
static inline double widest_tie(const answers *a, int *same) {
  double widest = 0;
  *same = 0;
  for (int p = 0; p < POSITIONS; p++) {
    const float *e = a->exact + (size_t)p * (size_t)a->n_vocab;
    int best = argmax(e, a->n_vocab), mine = argmax(a->got + (size_t)p * (size_t)a->n_vocab, a->n_vocab);
    *same += best == mine;
    widest = fmax(widest, (double)(e[best] - e[mine]) / a->std);
  }
  return widest;
}

#endif
