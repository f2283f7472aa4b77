/* The sampler: each parameter does what edgelora.h says, compared with a plain sort. */
#include <math.h>

#include "base/random.h"
#include "base/threads.h"
#include "bytes.h"
#include "engine/sampler.h"

enum { N = 20000 };

typedef struct rng {
  uint64_t state;
} rng;

static double unit(rng *r) {
  return el_random_unit(17, r->state++);
}

static float normal(rng *r) {
  double u = 1 - unit(r), v = unit(r);
  return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

static el_sampler *new_sampler(int n) {
  el_sampler *s = NULL;
  assert_int_equal(el_sampler_new(el_kernels_at(0), n, &s, NULL), EL_OK);
  return s;
}

static int32_t pick(el_sampler *s, const float *x, const el_sampling *p) {
  int32_t token = -1;
  el_error err;
  if (el_sampler_pick(s, x, p, NULL, 0, 0, &token, &err)) fail_msg("%s", err.message);
  return token;
}

/* ---------------------------------------------------------------- reference */

typedef struct candidate {
  int32_t token;
  float logit;
} candidate;

static int by_logit(const void *x, const void *y) {
  const candidate *a = x, *b = y;
  if (a->logit != b->logit) return a->logit > b->logit ? -1 : 1;
  return a->token - b->token;
}

/* The tokens that top-k, top-p and min-p leave: allowed[i] is the probability of i, 0 when it is out. order: [n] all
 * tokens, the likeliest first. */
static void reference(const float *x, int n, const el_sampling *p, double *allowed, int *order) {
  candidate *c = malloc(sizeof *c * (size_t)n);
  for (int i = 0; i < n; i++) c[i] = (candidate){i, x[i]};
  qsort(c, (size_t)n, sizeof *c, by_logit);
  int left = p->top_k > 0 && p->top_k < n ? p->top_k : n;
  double max = (double)c[0].logit, total = 0, sum = 0;
  for (int i = 0; i < left; i++) total += exp((double)c[i].logit - max);
  if (p->top_p < 1) {
    int i = 0;
    for (; i < left && sum < (double)p->top_p * total; i++) sum += exp((double)c[i].logit - max);
    left = i;
  }
  for (int i = 0; i < left; i++)
    if (exp((double)c[i].logit - max) < (double)p->min_p * (1 - 1e-6)) left = i;
  total = 0;
  for (int i = 0; i < left; i++) total += exp(((double)c[i].logit - max) / (double)p->temperature);
  memset(allowed, 0, sizeof *allowed * (size_t)n);
  for (int i = 0; i < left; i++) allowed[c[i].token] = exp(((double)c[i].logit - max) / (double)p->temperature) / total;
  for (int i = 0; i < n; i++) order[i] = c[i].token;
  free(c);
}

static void fill(float *x, int n, int kind, rng *r) {
  for (int i = 0; i < n; i++) switch (kind) {
      case 0: x[i] = 3 * normal(r); break;
      case 1: x[i] = 0.01f * normal(r); break;                      /* nearly flat */
      case 2: x[i] = (float)(int)(2 * normal(r)); break;            /* many ties */
      case 3: x[i] = -5 + normal(r) + (i % 300 == 7) * 12.f; break; /* a few stand out */
      default: x[i] = 1; break;                                     /* all equal */
    }
}

static void draws_follow_the_distribution_that_the_parameters_leave(void **state) {
  static const el_sampling cases[] = {
      {.temperature = 1, .top_p = 1},
      {.temperature = 0.7f, .top_p = 1, .top_k = 5},
      {.temperature = 1.3f, .top_p = 1, .top_k = 1000},
      {.temperature = 1, .top_p = 0.5f},
      {.temperature = 0.8f, .top_p = 0.95f},
      {.temperature = 1, .top_p = 0.9999f},
      {.temperature = 1, .top_p = 1e-6f},
      {.temperature = 1, .top_p = 1, .min_p = 0.1f},
      {.temperature = 2, .top_p = 1, .min_p = 1},
      {.temperature = 0.9f, .top_p = 0.9f, .top_k = 40, .min_p = 0.02f},
  };
  /* Long rows take shortcuts that short ones do not have. */
  static const struct { int n, draws; } sizes[] = {{300, 1500}, {N, 200}};
  static float x[N];
  static double allowed[N];
  static int seen[N], order[N];
  rng r = {1};
  for (int z = 0; z < 2; z++) {
    int n = sizes[z].n, draws = sizes[z].draws;
    el_sampler *s = new_sampler(n);
    for (int kind = 0; kind < 5; kind++)
      for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        fill(x, n, kind, &r);
        el_sampling p = cases[c];
        p.repeat_penalty = 1;
        reference(x, n, &p, allowed, order);
        memset(seen, 0, sizeof seen);
        for (int i = 0; i < draws; i++) {
          p.seed = (uint64_t)i * 7919 + c;
          seen[pick(s, x, &p)]++;
        }
        /* The distribution function, likeliest first, never strays far: the bound is exceeded by chance once in 10^8
         * (Massart 1990). */
        double worst = 0, sum = 0, count = 0;
        for (int at = 0; at < n; at++) {
          int i = order[at];
          if (allowed[i] == 0 && seen[i])
            fail_msg("%d, kind %d, case %zu: token %d is not among the candidates", n, kind, c, i);
          sum += allowed[i];
          count += seen[i];
          double d = fabs(sum - count / draws);
          worst = d > worst ? d : worst;
        }
        if (worst > 3.1 / sqrt(draws)) fail_msg("%d, kind %d, case %zu: off by %g", n, kind, c, worst);
      }
    el_sampler_free(s);
  }
}

static void exactly_the_candidates_of_a_sort_remain(void **state) {
  /* At a high temperature every candidate is drawn sooner or later. */
  enum { SMALL = 40, DRAWS = 1000 };
  float x[SMALL];
  double allowed[SMALL];
  int order[SMALL];
  rng r = {5};
  el_sampler *s = new_sampler(SMALL);
  for (int round = 0; round < 60; round++) {
    fill(x, SMALL, round % 5, &r);
    el_sampling p = {
        .temperature = 1000, .top_p = round % 3 ? 1 : (float)(0.05 + 0.95 * unit(&r)), .repeat_penalty = 1};
    p.top_k = round % 4 ? 1 + (int)(unit(&r) * SMALL) : 0;
    p.min_p = round % 7 ? 0 : (float)unit(&r);
    if (p.top_k == 1) continue; /* greedy */
    reference(x, SMALL, &p, allowed, order);
    bool seen[SMALL] = {false};
    for (int i = 0; i < DRAWS; i++) {
      p.seed = (uint64_t)i;
      seen[pick(s, x, &p)] = true;
    }
    for (int i = 0; i < SMALL; i++)
      if (seen[i] != (allowed[i] > 0)) fail_msg("round %d: token %d", round, i);
  }
  el_sampler_free(s);
}

static void greedy_takes_the_largest_and_the_lower_of_equals(void **state) {
  el_sampling p = el_sampling_default();
  float x[100];
  rng r = {2};
  for (int n = 1; n <= 100; n++) {
    el_sampler *s = new_sampler(n);
    for (int at = 0; at < n; at++) {
      for (int i = 0; i < n; i++) x[i] = normal(&r) - 20;
      x[at] = -10;
      if (at + 1 < n) x[n - 1] = -10;
      assert_int_equal(pick(s, x, &p), at);
      el_sampling one = {.temperature = 1, .top_k = 1, .top_p = 1, .repeat_penalty = 1};
      assert_int_equal(pick(s, x, &one), at);
    }
    el_sampler_free(s);
  }
}

static void a_temperature_near_zero_is_greedy(void **state) {
  static float x[N];
  rng r = {3};
  el_sampler *s = new_sampler(N);
  fill(x, N, 0, &r);
  el_sampling greedy = el_sampling_default();
  static const float cold[] = {1e-45f, 1e-30f, 1e-9f, 1e-5f};
  for (size_t i = 0; i < sizeof cold / sizeof *cold; i++) {
    el_sampling p = {.temperature = cold[i], .top_p = 1, .repeat_penalty = 1, .seed = i};
    assert_int_equal(pick(s, x, &p), pick(s, x, &greedy));
  }
  el_sampling hot = {.temperature = 3e38f, .top_p = 1, .repeat_penalty = 1};
  pick(s, x, &hot);
  el_sampler_free(s);
}

static void the_same_seed_gives_the_same_token_and_another_index_another(void **state) {
  static float x[N];
  static const int32_t tokens[64] = {0};
  rng r = {4};
  el_sampler *s = new_sampler(N);
  fill(x, N, 1, &r);
  el_sampling p = {.temperature = 1, .top_p = 1, .repeat_penalty = 1, .seed = 99};
  int32_t first[64], again;
  int differ = 0;
  for (int i = 0; i < 64; i++) assert_int_equal(el_sampler_pick(s, x, &p, tokens, 0, i, &first[i], NULL), EL_OK);
  for (int i = 63; i >= 0; i--) {
    assert_int_equal(el_sampler_pick(s, x, &p, tokens, 0, i, &again, NULL), EL_OK);
    assert_int_equal(again, first[i]);
    differ += i > 0 && first[i] != first[i - 1];
  }
  assert_true(differ > 55);
  el_sampler_free(s);
}

static void random_numbers_are_uniform_over_seeds_and_indices(void **state) {
  for (int by_seed = 0; by_seed < 2; by_seed++) {
    int buckets[64] = {0};
    double chi = 0;
    for (uint64_t i = 0; i < 64000; i++) {
      double u = by_seed ? el_random_unit(i, 3) : el_random_unit(42, i);
      assert_true(u >= 0 && u < 1);
      buckets[(int)(u * 64)]++;
    }
    for (int i = 0; i < 64; i++) chi += (buckets[i] - 1000.0) * (buckets[i] - 1000.0) / 1000.0;
    assert_true(chi > 25 && chi < 130); /* 63 degrees of freedom */
  }
}

static int32_t pick_after(const float *x, int n, const el_sampling *p, const int32_t *tokens, int n_prompt,
                          int n_tokens) {
  el_sampler *s = new_sampler(n);
  int32_t token = -1;
  assert_int_equal(el_sampler_pick(s, x, p, tokens, n_prompt, n_tokens, &token, NULL), EL_OK);
  el_sampler_free(s);
  return token;
}

static void a_bias_is_added_and_minus_100_bans(void **state) {
  const float x[4] = {1, 2, 3, 200};
  el_logit_bias bias[] = {{3, -100}, {1, 1.5f}};
  el_sampling p = el_sampling_default();
  p.logit_bias = bias;
  p.n_logit_bias = 2;
  assert_int_equal(pick_after(x, 4, &p, NULL, 0, 0), 1);
  p.temperature = 100;
  for (p.seed = 0; p.seed < 200; p.seed++) assert_int_not_equal(pick_after(x, 4, &p, NULL, 0, 0), 3);
}

static void banning_every_token_is_an_error(void **state) {
  const float x[2] = {1, 2};
  el_logit_bias bias[] = {{0, -100}, {1, -1000}};
  el_sampling p = el_sampling_default();
  p.logit_bias = bias;
  p.n_logit_bias = 2;
  el_sampler *s = new_sampler(2);
  int32_t token;
  el_error err;
  assert_int_equal(el_sampler_pick(s, x, &p, NULL, 0, 0, &token, &err), EL_ERR_INVALID);
  assert_contains(err.message, "logit_bias");
  el_sampler_free(s);
}

static void repeat_penalty_divides_positive_and_multiplies_negative_logits(void **state) {
  el_sampling p = el_sampling_default();
  p.repeat_penalty = 2;
  const int32_t tokens[] = {0, 0, 1};
  /* 4 / 2 = 2 < 3: token 1 is better; -1 * 2 = -2: worse than -1.5. A token that is there twice counts once. */
  assert_int_equal(pick_after((float[]){4, 0, 3}, 3, &p, tokens, 1, 2), 2);
  assert_int_equal(pick_after((float[]){4, 0, 1.5f}, 3, &p, tokens, 1, 2), 0);
  assert_int_equal(pick_after((float[]){-5, -1, -1.5f}, 3, &p, tokens, 3, 3), 2);
}

static void the_repeat_window_is_the_last_tokens_prompt_included(void **state) {
  el_sampling p = el_sampling_default();
  p.repeat_penalty = 10;
  const float x[3] = {5, 4, 3};
  const int32_t tokens[] = {0, 1, 2, 2, 2};
  p.repeat_last_n = 3;
  assert_int_equal(pick_after(x, 3, &p, tokens, 2, 5), 0);
  p.repeat_last_n = 4;
  assert_int_equal(pick_after(x, 3, &p, tokens, 2, 5), 0);
  p.repeat_last_n = 5;
  assert_int_equal(pick_after(x, 3, &p, tokens, 2, 5), 0); /* 0.5, 0.4, 0.3 */
  const int32_t first[] = {0, 2, 2, 2, 2};
  assert_int_equal(pick_after(x, 3, &p, first, 2, 5), 1);
  p.repeat_last_n = -1;
  assert_int_equal(pick_after(x, 3, &p, first, 2, 5), 1);
  p.repeat_last_n = 0;
  assert_int_equal(pick_after(x, 3, &p, first, 2, 5), 0);
}

static void frequency_and_presence_count_generated_tokens_only(void **state) {
  el_sampling p = el_sampling_default();
  const int32_t tokens[] = {1, 1, 1, 0, 0, 2}; /* the prompt is the first three */
  p.presence_penalty = 1.5f;
  assert_int_equal(pick_after((float[]){4, 3, 3.5f}, 3, &p, tokens, 3, 6), 1);
  assert_int_equal(pick_after((float[]){4, 2, 3.5f}, 3, &p, tokens, 3, 6), 0);
  p.presence_penalty = 0;
  p.frequency_penalty = 1.5f; /* 4 - 2 * 1.5 = 1, 3.5 - 1.5 = 2 */
  assert_int_equal(pick_after((float[]){4, 1.5f, 3.5f}, 3, &p, tokens, 3, 6), 2);
  p.frequency_penalty = -1;
  assert_int_equal(pick_after((float[]){4, 5, 3.5f}, 3, &p, tokens, 3, 6), 0);
}

static void scratch_memory_carries_nothing_over(void **state) {
  el_sampler *s = new_sampler(3);
  el_sampling p = el_sampling_default(), none = p;
  p.repeat_penalty = 100;
  p.frequency_penalty = 5;
  const int32_t tokens[] = {2, 2};
  const float x[3] = {1, 2, 3};
  int32_t token;
  assert_int_equal(el_sampler_pick(s, x, &p, tokens, 0, 2, &token, NULL), EL_OK);
  assert_int_equal(token, 1);
  assert_int_equal(pick(s, x, &none), 2);
  assert_int_equal(el_sampler_pick(s, x, &p, tokens, 0, 0, &token, NULL), EL_OK);
  assert_int_equal(token, 2);
  el_sampler_free(s);
}

static void a_logit_that_is_not_finite_is_an_error(void **state) {
  static float x[N];
  rng r = {6};
  el_sampler *s = new_sampler(N);
  static const int where[] = {0, 1, 15, 16, 1023, 1024, 2047, N - 2, N - 1};
  const float bad[] = {NAN, -NAN, INFINITY};
  for (size_t i = 0; i < sizeof where / sizeof *where; i++)
    for (int b = 0; b < 3; b++)
      for (int t = 0; t < 2; t++) {
        fill(x, N, 0, &r);
        x[where[i]] = bad[b];
        el_sampling p = el_sampling_default();
        p.temperature = (float)t;
        int32_t token = -1;
        assert_int_equal(el_sampler_pick(s, x, &p, NULL, 0, 0, &token, NULL), EL_ERR_FORMAT);
        assert_int_equal(token, -1);
      }
  for (int i = 0; i < N; i++) x[i] = -INFINITY;
  int32_t token;
  assert_int_equal(el_sampler_pick(s, x, &(el_sampling){.top_p = 1, .repeat_penalty = 1}, NULL, 0, 0, &token, NULL),
                   EL_ERR_FORMAT);
  el_sampler_free(s);
}

static void extreme_parameters_within_their_limits_are_survived(void **state) {
  static float x[N];
  rng r = {8};
  el_sampler *s = new_sampler(N);
  fill(x, N, 0, &r);
  el_logit_bias bias[] = {{5, EL_MAX_BIAS}, {6, -99}, {7, 1e-30f}};
  const int32_t tokens[] = {5, 5, 6, 7, 5};
  for (int i = 0; i < 64; i++) {
    el_sampling p = {.temperature = i & 1 ? 3e38f : 1e-38f,
                     .top_k = i & 2 ? 2000000000 : 2,
                     .top_p = i & 4 ? 1e-38f : 1,
                     .min_p = i & 8 ? 1e-38f : 0,
                     .repeat_penalty = i & 16 ? EL_MAX_PENALTY : EL_MIN_REPEAT_PENALTY,
                     .frequency_penalty = i & 32 ? EL_MAX_PENALTY : -EL_MAX_PENALTY,
                     .presence_penalty = EL_MAX_PENALTY,
                     .repeat_last_n = -1,
                     .seed = UINT64_MAX,
                     .logit_bias = bias,
                     .n_logit_bias = 3};
    int32_t token = -1;
    el_error err;
    assert_int_equal(el_sampling_check(&p, N, &err), EL_OK);
    assert_int_equal(el_sampler_pick(s, x, &p, tokens, 1, 5, &token, &err), EL_OK);
    assert_true(token >= 0 && token < N);
  }
  el_sampler_free(s);
}

static void the_last_token_of_a_bad_word_is_not_drawn_behind_the_others(void **state) {
  static const int32_t WORDS[] = {7, -1, 1, 2, 3, -1};
  float x[10] = {[7] = 9, [3] = 8, [5] = 7};
  const int32_t tokens[] = {1, 2, 1, 2}; /* the first two are the prompt */
  el_sampler *s = NULL;
  el_error err;
  el_sampling p = el_sampling_default();
  assert_int_equal(el_sampler_new(el_kernels_at(0), 10, &s, &err), EL_OK);
  p.bad_words = WORDS;
  p.n_bad_words = sizeof WORDS / sizeof *WORDS;
  for (int n = 2; n <= 4; n++) {
    int32_t token = -1;
    assert_int_equal(el_sampler_pick(s, x, &p, tokens, 2, n, &token, &err), EL_OK);
    assert_int_equal(token, n == 4 ? 5 : 3);
  }
  el_sampler_free(s);
}

static void refuse(el_sampling p, const char *field) {
  el_error err = {0};
  assert_int_equal(el_sampling_check(&p, 100, &err), EL_ERR_INVALID);
  assert_contains(err.message, field);
  assert_non_null(err.field);
  assert_memory_equal(err.field, field, strlen(err.field)); /* without the item's number */
}
#define REFUSE(field, value)                \
  do {                                      \
    el_sampling p_ = el_sampling_default(); \
    p_.field = value;                       \
    refuse(p_, #field);                     \
  } while (0)

static void parameters_out_of_range_are_refused_by_name(void **state) {
  el_error err;
  el_sampling ok = el_sampling_default();
  assert_int_equal(el_sampling_check(&ok, 100, &err), EL_OK);
  REFUSE(temperature, -0.1f);
  REFUSE(temperature, NAN);
  REFUSE(temperature, INFINITY);
  REFUSE(top_k, -1);
  REFUSE(top_p, 0);
  REFUSE(top_p, 1.01f);
  REFUSE(top_p, NAN);
  REFUSE(min_p, -0.1f);
  REFUSE(min_p, 1.1f);
  REFUSE(min_p, NAN);
  REFUSE(repeat_penalty, 0);
  REFUSE(repeat_penalty, NAN);
  REFUSE(repeat_penalty, INFINITY);
  REFUSE(frequency_penalty, NAN);
  REFUSE(frequency_penalty, -INFINITY);
  REFUSE(presence_penalty, 1e9f);
  REFUSE(repeat_last_n, -2);
  el_logit_bias bias = {100, 0};
  el_sampling p = ok;
  p.n_logit_bias = 1;
  refuse(p, "logit_bias");
  p.logit_bias = &bias;
  refuse(p, "logit_bias[0]");
  bias = (el_logit_bias){-1, 0};
  refuse(p, "logit_bias[0]");
  bias = (el_logit_bias){1, NAN};
  refuse(p, "logit_bias[0]");
  p.n_logit_bias = EL_MAX_LOGIT_BIAS + 1;
  refuse(p, "logit_bias");
  static const int32_t BAD[][4] = {{-1, 1, 2, -1}, {1, -1, -1, 2}, {1, 2, 3, 4}, {1, 100, 2, -1}, {1, -2, 2, -1}};
  p = ok;
  p.n_bad_words = 4;
  refuse(p, "bad_words: is NULL");
  for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
    p.bad_words = BAD[i];
    refuse(p, "bad_words");
  }
  p.n_bad_words = EL_MAX_BAD_WORDS + 1;
  refuse(p, "bad_words");
}

static void log_probabilities_are_those_of_the_softmax(void **state) {
  static float x[N];
  rng r = {9};
  for (int kind = 0; kind < 5; kind++)
    for (int n = 1; n <= N; n = n * 3 + 1) {
      fill(x, n, kind, &r);
      double sum = 0;
      for (int i = 0; i < n; i++) sum += exp((double)x[i]);
      candidate *c = malloc(sizeof *c * (size_t)n);
      for (int i = 0; i < n; i++) c[i] = (candidate){i, x[i]};
      qsort(c, (size_t)n, sizeof *c, by_logit);
      el_token_logprob top[20];
      int n_top = n < 20 ? n : 20;
      el_sampler *s = new_sampler(n);
      float first;
      assert_int_equal(el_sampler_score(s, x, 0, n_top, &first, top, NULL), EL_OK);
      assert_true(fabs((double)first - ((double)x[0] - log(sum))) < 1e-5);
      for (int i = 0; i < n_top; i++) {
        assert_int_equal(top[i].token, c[i].token);
        assert_true(fabs((double)top[i].logprob - ((double)c[i].logit - log(sum))) < 1e-5);
      }
      el_sampler_free(s);
      free(c);
    }
  float logprob = 0;
  el_sampler *s = new_sampler(2);
  assert_int_equal(el_sampler_score(s, (float[]){0, NAN}, 0, 0, &logprob, NULL, NULL), EL_ERR_FORMAT);
  assert_int_equal(el_sampler_score(s, (float[]){-1e30f, 1e30f}, 1, 0, &logprob, NULL, NULL), EL_OK);
  assert_true(logprob == 0);
  el_sampler_free(s);
}

/* Drawing among allowed tokens is drawing with all others banned, however few they are. */
static void among_allowed_tokens_the_others_are_as_if_banned(void **state) {
  enum { V = 1000 };
  el_sampler *s;
  float x[V], banned[V];
  uint64_t bits[(V + 63) / 64];
  assert_int_equal(el_sampler_new(el_kernels_at(0), V, &s, NULL), EL_OK);
  for (int round = 0; round < 300; round++) {
    for (int i = 0; i < V; i++) x[i] = (float)(8 * el_random_unit((uint64_t)round, (uint64_t)i));
    memset(bits, 0, sizeof bits);
    int share = round % 3 == 0 ? 2 : round % 3 == 1 ? 40 : 900; /* one of so many */
    const int32_t more[] = {(int32_t)(round * 7 % V), 999};
    for (int i = 0; i < V; i++)
      if (el_mix64((uint64_t)(round * V + i)) % (uint64_t)share == 0) bits[i / 64] |= (uint64_t)1 << i % 64;
    for (int i = 0; i < 2; i++) bits[more[i] / 64] |= (uint64_t)1 << more[i] % 64;
    for (int i = 0; i < V; i++) banned[i] = bits[i / 64] >> i % 64 & 1 ? x[i] : -INFINITY;
    el_sampling p = el_sampling_default();
    p.temperature = round % 5 ? 0.9f : 0;
    p.top_k = round % 4 == 1 ? 5 : 0;
    p.top_p = round % 4 == 2 ? 0.7f : 1;
    p.min_p = round % 4 == 3 ? 0.05f : 0;
    p.seed = (uint64_t)round;
    const int32_t seen[] = {1, 2, 3, more[0]};
    if (round % 7 == 0) p.repeat_penalty = 1.3f;
    int32_t a, b;
    assert_int_equal(el_sampler_pick_among(s, x, bits, &p, seen, 1, 4, &a, NULL), EL_OK);
    assert_int_equal(el_sampler_pick(s, banned, &p, seen, 1, 4, &b, NULL), EL_OK);
    assert_int_equal(a, b);
  }
  memset(bits, 0, sizeof bits);
  el_sampling p = el_sampling_default();
  int32_t a;
  el_error err;
  assert_int_equal(el_sampler_pick_among(s, x, bits, &p, NULL, 0, 0, &a, &err), EL_ERR_INVALID);
  assert_contains(err.message, "constraint");
  el_sampler_free(s);
}

typedef struct shared_row {
  el_sampler *s;
  int n_parts;
  el_cursor cursors[2];
} shared_row;

static void pass_over_parts(void *arg, int phase, el_turn turn) {
  shared_row *r = arg;
  for (int i; (i = el_cursor_take(&r->cursors[phase], r->n_parts)) >= 0;)
    (phase ? el_sampler_weigh : el_sampler_look)(r->s, i);
}

static void a_row_that_threads_share_gives_the_same_draw(void **state) {
  static const int sizes[] = {1, 63, EL_ROW_PART, EL_ROW_PART + 1, 3 * EL_ROW_PART - 200};
  const int most = sizes[4];
  const el_sampling base = el_sampling_default();
  el_sampler *alone = new_sampler(most), *together = new_sampler(most);
  float *x = malloc(sizeof *x * (size_t)most);
  el_threads *threads;
  rng r = {3};
  assert_int_equal(el_threads_new(3, NULL, &threads, NULL), EL_OK);
  for (int i = 0; i < 5 * 4 * 8; i++) {
    const int n = sizes[i % 5], kind = i / 5 % 4;
    const float spread = kind == 3 ? 0.3f : 3;
    for (int k = 0; k < n; k++) x[k] = spread * normal(&r);
    if (kind == 2) x[n / 2] = NAN;
    el_sampling p = base;
    p.temperature = 0.5f + 0.25f * (float)(i % 4);
    if (i % 3) p.top_p = 0.5f + 0.15f * (float)(i % 3);
    if (i % 7 == 0) p.min_p = 0.02f;
    p.seed = (uint64_t)i;
    shared_row row = {.s = together, .n_parts = el_row_parts(n)};
    el_sampler_use(alone, n);
    el_sampler_use(together, n);
    el_sampler_share(together, x, &p);
    el_threads_run_phases(threads, 2, pass_over_parts, &row);
    int32_t a = -1, b = -2;
    el_error one, other;
    const el_status status = el_sampler_pick(alone, x, &p, NULL, 0, 0, &a, &one);
    assert_int_equal(el_sampler_pick(together, x, &p, NULL, 0, 0, &b, &other), status);
    assert_int_equal(status, kind == 2 ? EL_ERR_FORMAT : EL_OK);
    if (status)
      assert_string_equal(one.message, other.message);
    else
      assert_int_equal(a, b);
    x[0] += 1; /* another row at the same address is not taken for it */
    if (!status) assert_int_equal(pick(together, x, &p), pick(alone, x, &p));
  }
  el_threads_free(threads);
  el_sampler_free(alone);
  el_sampler_free(together);
  free(x);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(among_allowed_tokens_the_others_are_as_if_banned),
      cmocka_unit_test(a_row_that_threads_share_gives_the_same_draw),
      cmocka_unit_test(draws_follow_the_distribution_that_the_parameters_leave),
      cmocka_unit_test(exactly_the_candidates_of_a_sort_remain),
      cmocka_unit_test(greedy_takes_the_largest_and_the_lower_of_equals),
      cmocka_unit_test(a_temperature_near_zero_is_greedy),
      cmocka_unit_test(the_same_seed_gives_the_same_token_and_another_index_another),
      cmocka_unit_test(random_numbers_are_uniform_over_seeds_and_indices),
      cmocka_unit_test(a_bias_is_added_and_minus_100_bans),
      cmocka_unit_test(banning_every_token_is_an_error),
      cmocka_unit_test(repeat_penalty_divides_positive_and_multiplies_negative_logits),
      cmocka_unit_test(the_repeat_window_is_the_last_tokens_prompt_included),
      cmocka_unit_test(frequency_and_presence_count_generated_tokens_only),
      cmocka_unit_test(scratch_memory_carries_nothing_over),
      cmocka_unit_test(a_logit_that_is_not_finite_is_an_error),
      cmocka_unit_test(extreme_parameters_within_their_limits_are_survived),
      cmocka_unit_test(the_last_token_of_a_bad_word_is_not_drawn_behind_the_others),
      cmocka_unit_test(parameters_out_of_range_are_refused_by_name),
      cmocka_unit_test(log_probabilities_are_those_of_the_softmax),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
