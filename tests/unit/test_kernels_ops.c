/* Operations that families have beside products: each gives its formula, computed in double precision, and on every
 * instruction set of this CPU the bits of the scalar reference. Attention with windows, caps and sinks gives a query
 * the bits that it gets in a call of its own, and reads no page that lies before the window. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "kernels/kernels.h"
#include "kernels/tables.h"

static uint32_t next_random(uint32_t *s) {
  *s ^= *s << 13;
  *s ^= *s >> 17;
  return *s ^= *s << 5;
}
static float uniform(uint32_t *s) {
  return (float)(int32_t)next_random(s) / 2147483648.0f;
}

/* ------------------------------------------------------------- elementwise */

enum { MOST = 133 };

/* Values of a call, and behind them some that must stay as they are. */
typedef struct values {
  float at[MOST + 16];
} values;

static values random_values(int n, float size, uint32_t *seed) {
  values v;
  for (int i = 0; i < MOST + 16; i++) v.at[i] = i < n ? size * uniform(seed) : NAN;
  return v;
}

static void assert_same(const values *a, const values *b) {
  assert_memory_equal(a, b, sizeof *a);
}

static void assert_near(double got, double exact, double tolerance) {
  if (!(fabs(got - exact) <= tolerance)) fail_msg("%.9g is not near %.9g", got, exact);
}

static double gelu(double x) {
  return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

static void geglu_is_gelu_by_tanh_times_the_other_half(void **state) {
  static const float extremes[] = {0, -0.0f, 1e-30f, -1e-30f, 5, -5, 12, -12, 1e4f, -1e4f};
  uint32_t seed = 7;
  for (int n = 1; n <= MOST; n++) {
    values gate = random_values(n, n % 3 ? 4 : 30, &seed), up = random_values(n, 3, &seed);
    for (size_t i = 0; i < sizeof extremes / sizeof *extremes && (int)i < n; i++) gate.at[i] = extremes[i];
    values ref = random_values(0, 0, &seed);
    el_kernels_scalar.geglu(gate.at, up.at, n, ref.at);
    for (int i = 0; i < n; i++) {
      const double exact = gelu((double)gate.at[i]) * (double)up.at[i];
      assert_near((double)ref.at[i], exact, 1e-6 * (1 + fabs(exact)));
    }
    for (int i = 0; el_kernels_at(i); i++) {
      values y = random_values(0, 0, &seed), in_place = gate;
      el_kernels_at(i)->geglu(gate.at, up.at, n, y.at);
      assert_same(&y, &ref);
      el_kernels_at(i)->geglu(in_place.at, up.at, n, in_place.at);
      assert_memory_equal(in_place.at, ref.at, sizeof *ref.at * (size_t)n);
    }
  }
}

static void caps_are_tanh_and_without_one_there_is_the_scale(void **state) {
  static const struct {
    float scale, cap;
  } cases[] = {{1, 30}, {1, 0.5f}, {0.0625f, 5}, {3, 50}, {0.25f, 0}, {1, 0}, {1, 1e6f}};
  uint32_t seed = 9;
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
    for (int n = 1; n <= MOST; n += 1 + n / 20) {
      const float scale = cases[c].scale, cap = cases[c].cap;
      const values x = random_values(n, n % 2 ? 20 : 2000, &seed);
      values ref = x;
      el_kernels_scalar.cap(ref.at, n, scale, cap);
      for (int i = 0; i < n; i++) {
        const double z = (double)scale * (double)x.at[i], exact = cap > 0 ? (double)cap * tanh(z / (double)cap) : z;
        /* 1 - 2 / (e^2z + 1) has the error of numbers near 1, times the cap. */
        assert_near((double)ref.at[i], exact, cap > 0 ? 3e-7 * (double)cap : 1e-7 * fabs(exact));
        assert_true(cap == 0 || fabsf(ref.at[i]) <= cap);
      }
      for (int i = 0; el_kernels_at(i); i++) {
        values y = x;
        el_kernels_at(i)->cap(y.at, n, scale, cap);
        assert_same(&y, &ref);
      }
    }
}

static void rotation_of_halves_turns_each_pair_and_nothing_behind_them(void **state) {
  uint32_t seed = 21;
  for (int n_rot = 2; n_rot <= MOST; n_rot += 2) {
    const int half = n_rot / 2;
    values cs = random_values(0, 0, &seed), x = random_values(MOST, 5, &seed);
    for (int i = 0; i < half; i++) {
      const float angle = 3 * uniform(&seed), magnitude = 1.25f;
      cs.at[i] = cosf(angle) * magnitude;
      cs.at[half + i] = sinf(angle) * magnitude;
    }
    values ref = x;
    el_kernels_scalar.rope_halves(ref.at, cs.at, n_rot);
    for (int i = 0; i < half; i++) {
      const double a = (double)x.at[i], b = (double)x.at[half + i], c = (double)cs.at[i], s = (double)cs.at[half + i];
      assert_near((double)ref.at[i], a * c - b * s, 2e-6);
      assert_near((double)ref.at[half + i], a * s + b * c, 2e-6);
    }
    assert_memory_equal(ref.at + n_rot, x.at + n_rot, sizeof *x.at * (size_t)(MOST + 16 - n_rot));
    for (int i = 0; el_kernels_at(i); i++) {
      values y = x;
      el_kernels_at(i)->rope_halves(y.at, cs.at, n_rot);
      assert_same(&y, &ref);
    }
  }
}

static void a_norm_without_weights_is_one_with_ones(void **state) {
  uint32_t seed = 5;
  for (int n = 1; n <= MOST; n++) {
    const values x = random_values(n, n % 2 ? 1 : 100, &seed);
    values ref = random_values(0, 0, &seed), ones = ref, by_ones = ref;
    for (int i = 0; i < n; i++) ones.at[i] = 1;
    el_kernels_scalar.rms_norm(x.at, NULL, n, 1e-6f, ref.at);
    el_kernels_scalar.rms_norm(x.at, ones.at, n, 1e-6f, by_ones.at);
    assert_same(&ref, &by_ones);
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)x.at[i] * (double)x.at[i];
    for (int i = 0; i < n; i++) assert_near((double)ref.at[i], (double)x.at[i] / sqrt(sum / n + 1e-6), 3e-6);
    for (int i = 0; el_kernels_at(i); i++) {
      values y = random_values(0, 0, &seed), in_place = x;
      el_kernels_at(i)->rms_norm(x.at, NULL, n, 1e-6f, y.at);
      assert_same(&y, &ref);
      el_kernels_at(i)->rms_norm(in_place.at, NULL, n, 1e-6f, in_place.at);
      assert_memory_equal(in_place.at, ref.at, sizeof *ref.at * (size_t)n);
    }
  }
}

/* --------------------------------------------------------------- attention */

enum {
  MOST_POS = 3 * EL_ATTN_SPAN,
  MOST_PAGES = MOST_POS / EL_LANES,
  MOST_DIM = 128,
  /* Pages in front of the arena that nobody may touch: so many that they are whole pages of the system. */
  GUARDS = 65536 / 64
};

typedef struct shape {
  el_kv_type type;
  int head_dim, n_q, pos, n_rows; /* rows at positions pos, pos + 1, ... */
  int window;
  float cap;
  bool sinks;
} shape;

/* One head's keys and values, NaN where nothing has been written. */
typedef struct cache {
  unsigned char *memory;
  size_t bytes, page_bytes, offset;
  uint32_t table[MOST_PAGES];
  double keys[MOST_POS][MOST_DIM], values[MOST_POS][MOST_DIM]; /* what the pages mean */
} cache;

static cache *new_cache(const shape *s) {
  cache *c = calloc(1, sizeof *c);
  assert_non_null(c);
  c->offset = el_kv_piece_bytes(s->type, s->head_dim);
  c->page_bytes = 2 * c->offset;
  c->bytes = c->page_bytes * (GUARDS + MOST_PAGES);
  c->memory = mmap(NULL, c->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(c->memory != MAP_FAILED);
  assert_int_equal(mprotect(c->memory, c->page_bytes * GUARDS, PROT_NONE), 0);
  memset(c->memory + c->page_bytes * GUARDS, 0xff, c->page_bytes * MOST_PAGES);
  for (uint32_t i = 0; i < MOST_PAGES; i++) c->table[i] = GUARDS + (i * 7 + 5) % MOST_PAGES;
  return c;
}

static void free_cache(cache *c) {
  munmap(c->memory, c->bytes);
  free(c);
}

static double f16(const unsigned char *p) {
  uint16_t h;
  memcpy(&h, p, 2);
  return (double)el_f16_to_f32(h);
}

/* Writes a random key and value at a position and reads back what they have become. */
static void write_position(cache *c, const shape *s, int pos, uint32_t *seed) {
  const int hd = s->head_dim, slot = pos % EL_LANES;
  unsigned char *at = c->memory + c->table[pos / EL_LANES] * c->page_bytes + c->offset;
  float key[MOST_DIM] = {0}, value[MOST_DIM] = {0};
  for (int d = 0; d < hd; d++) {
    key[d] = 2 * uniform(seed);
    value[d] = uniform(seed);
  }
  el_kernels_scalar.kv_write(s->type, at, slot, hd, key, value);
  const size_t values_at = (size_t)(hd + 3) / 4 * 64, scales_at = values_at + (size_t)hd * EL_LANES;
  for (int d = 0; d < hd; d++) {
    if (s->type == EL_KV_F16) {
      c->keys[pos][d] = f16(at + (d * EL_LANES + slot) * 2);
      c->values[pos][d] = f16(at + (hd * EL_LANES + slot * hd + d) * 2);
      continue;
    }
    c->keys[pos][d] = (at[d / 4 * 64 + slot * 4 + d % 4] - 128) * f16(at + scales_at + (size_t)slot * 2);
    c->values[pos][d] =
        (signed char)at[values_at + (size_t)(slot * hd + d)] * f16(at + scales_at + (size_t)(EL_LANES + slot) * 2);
  }
}

static int first_seen(const shape *s, int pos) {
  return s->window > 0 && pos >= s->window ? pos - s->window + 1 : 0;
}

/* The page table for rows from `pos` on: what lies before the first one's window is not there. */
static void table_from(const cache *c, const shape *s, int pos, uint32_t *table) {
  memcpy(table, c->table, sizeof c->table);
  for (int i = 0; i < first_seen(s, pos) / EL_LANES; i++) table[i] = (uint32_t)i % GUARDS;
}

/* A query of 8-bit keys is quantised too. */
static void meaning_of_query(const shape *s, const float *q, double *out) {
  double amax = 0;
  for (int d = 0; d < s->head_dim; d++) amax = fmax(amax, fabs((double)q[d]));
  for (int d = 0; d < s->head_dim; d++)
    out[d] = s->type == EL_KV_F16 ? (double)q[d] : rint((double)q[d] * 127 / amax) * amax / 127;
}

static void check_formula(const cache *c, const shape *s, int pos, const float *q, double sink, const float *got) {
  double p[MOST_POS], query[MOST_DIM], max = s->sinks ? sink : -INFINITY, sum = 0;
  const int from = first_seen(s, pos);
  meaning_of_query(s, q, query);
  for (int t = from; t <= pos; t++) {
    p[t] = 0;
    for (int d = 0; d < s->head_dim; d++) p[t] += query[d] * c->keys[t][d];
    p[t] /= sqrt(s->head_dim);
    if (s->cap > 0) p[t] = (double)s->cap * tanh(p[t] / (double)s->cap);
    max = fmax(max, p[t]);
  }
  for (int t = from; t <= pos; t++) sum += p[t] = exp(p[t] - max);
  if (s->sinks) sum += exp(sink - max);
  for (int d = 0; d < s->head_dim; d++) {
    double exact = 0;
    for (int t = from; t <= pos; t++) exact += p[t] / sum * c->values[t][d];
    assert_near((double)got[d], exact, s->type == EL_KV_F16 ? 1e-5 : 2e-3);
  }
}

/* The same in parts, spans from the last to the first, two of them in a call where there are more. */
static void attend_in_parts(const el_kernels *k, const el_attn *whole) {
  int begin, end, own;
  el_attn_spans(whole->n_pos, whole->window, &begin, &own);
  el_attn_spans(whole->n_pos + whole->n_rows - 1, whole->window, &own, &end);
  const size_t n = (size_t)(end - begin) * (size_t)(whole->n_rows * whole->n_q) * el_attn_partial(whole->head_dim);
  el_attn a = *whole;
  a.partials = malloc(sizeof *a.partials * n);
  assert_non_null(a.partials);
  memset(a.partials, 0xff, sizeof *a.partials * n);
  for (a.span_end = end; a.span_end > begin; a.span_end = a.span_begin) {
    a.span_begin = a.span_end - 2 > begin ? a.span_end - 2 : begin;
    k->attend(&a);
  }
  k->attend_join(&a);
  free(a.partials);
}

static void assert_rows(const el_kernels *k, const shape *s, const float *out, size_t ldo, const float *alone,
                        const char *how) {
  const size_t width = (size_t)(s->n_q * s->head_dim);
  for (size_t r = 0; r < (size_t)s->n_rows; r++)
    if (memcmp(out + ldo * r, alone + width * r, sizeof *out * width))
      fail_msg("%s: row %zu of %d at %d, %d heads of %d, window %d, cap %g, %s, %s: not what it gives alone", k->name,
               r, s->n_rows, s->pos, s->n_q, s->head_dim, s->window, (double)s->cap, s->type == EL_KV_Q8 ? "q8" : "f16",
               how);
}

static void check_attention(const shape *s) {
  enum { PAD = 5 };
  const size_t width = (size_t)(s->n_q * s->head_dim), ldq = width + PAD, ldo = width + 2 * PAD,
               n_rows = (size_t)s->n_rows;
  float *q = malloc(sizeof *q * ldq * n_rows), *alone = malloc(sizeof *q * width * n_rows),
        *out = malloc(sizeof *q * ldo * n_rows), *scratch = malloc(sizeof *q * el_attn_scratch(s->head_dim)),
        *sinks = malloc(sizeof *q * (size_t)s->n_q);
  assert_true(q && alone && out && scratch && sinks);
  uint32_t seed = (uint32_t)(s->head_dim * 31 + s->pos + s->window) | 1, table[MOST_PAGES];
  cache *c = new_cache(s);
  for (size_t i = 0; i < ldq * n_rows; i++) q[i] = 4 * uniform(&seed);
  for (int i = 0; i < s->n_q; i++) sinks[i] = 6 * uniform(&seed);
  el_attn a = {.q = q,
               .ldq = ldq,
               .ldo = ldo,
               .scratch = scratch,
               .n_q = s->n_q,
               .head_dim = s->head_dim,
               .window = s->window,
               .scale = 1 / sqrtf((float)s->head_dim),
               .cap = s->cap,
               .sinks = s->sinks ? sinks : NULL,
               .pages = table,
               .kv = c->memory,
               .page_bytes = c->page_bytes,
               .offset = c->offset,
               .kv_type = s->type};
  for (int i = 0; i < s->pos; i++) write_position(c, s, i, &seed);
  for (int r = 0; r < s->n_rows; r++) { /* when later positions are not there yet */
    write_position(c, s, s->pos + r, &seed);
    table_from(c, s, s->pos + r, table);
    el_attn one = a;
    one.q = q + ldq * (size_t)r;
    one.out = alone + width * (size_t)r;
    one.n_rows = 1;
    one.n_pos = s->pos + r + 1;
    memset(scratch, 0xff, sizeof *scratch * el_attn_scratch(s->head_dim));
    el_kernels_scalar.attend(&one);
    for (int h = 0; h < s->n_q; h++)
      check_formula(c, s, s->pos + r, one.q + h * s->head_dim, (double)sinks[h], one.out + h * s->head_dim);
  }
  table_from(c, s, s->pos, table);
  a.out = out;
  a.n_rows = s->n_rows;
  a.n_pos = s->pos + 1;
  for (int i = 0; el_kernels_at(i); i++)
    for (int in_parts = 0; in_parts < 2; in_parts++) {
      memset(out, 0xff, sizeof *out * ldo * n_rows);
      memset(scratch, 0xff, sizeof *scratch * el_attn_scratch(s->head_dim));
      if (in_parts)
        attend_in_parts(el_kernels_at(i), &a);
      else
        el_kernels_at(i)->attend(&a);
      assert_rows(el_kernels_at(i), s, out, ldo, alone, in_parts ? "in parts" : "in one call");
    }
  free_cache(c);
  free(q);
  free(alone);
  free(out);
  free(scratch);
  free(sinks);
}

/* A page has 16 positions, a block EL_ATTN_BLOCK. */
static const int windows[] = {
    1, 5, 15, 16, 17, 48, 100, EL_ATTN_BLOCK - 1, EL_ATTN_BLOCK, EL_ATTN_BLOCK + 1, 200, EL_ATTN_SPAN + 30, 1000, 0};
enum { N_WINDOWS = sizeof windows / sizeof *windows };

/* Goes over all windows and positions, with shapes of heads and rows that change from case to case. */
static void check_windows(float cap, bool sinks, int turn) {
  static const int dims[] = {2, 10, 16, 30, 48}, heads[] = {1, 3, 2, 7}, rows[] = {1, 9, 2, 16, 5, 24, 3},
                   positions[] = {0, 3, 40, EL_ATTN_BLOCK - 5, EL_ATTN_BLOCK, 2 * EL_ATTN_SPAN - 9};
  for (int w = 0; w < N_WINDOWS; w++)
    for (size_t p = 0; p < sizeof positions / sizeof *positions; p++)
      for (el_kv_type type = EL_KV_F16; type <= EL_KV_Q8; type++, turn++)
        check_attention(&(shape){.type = type,
                                 .head_dim = dims[turn % 5],
                                 .n_q = heads[turn % 4],
                                 .n_rows = rows[turn % 7],
                                 .pos = positions[p],
                                 .window = windows[w],
                                 .cap = cap,
                                 .sinks = sinks});
}

static void windows_hide_what_lies_before_them(void **state) {
  check_windows(0, false, 0);
}

static void caps_and_sinks_change_scores_as_their_formulas_say(void **state) {
  check_windows(3, false, 1);
  check_windows(0, true, 2);
  check_windows(0.5f, true, 3);
}

static void spans_that_are_joined_later_give_the_same_bits(void **state) {
  static const int positions[] = {EL_ATTN_SPAN - 3, EL_ATTN_SPAN, 2 * EL_ATTN_SPAN - 1, 3 * EL_ATTN_SPAN - 12};
  int turn = 0;
  for (size_t p = 0; p < sizeof positions / sizeof *positions; p++)
    for (int window = 0; window <= 2 * EL_ATTN_SPAN; window += EL_ATTN_SPAN)
      for (el_kv_type type = EL_KV_F16; type <= EL_KV_Q8; type++, turn++)
        check_attention(&(shape){.type = type,
                                 .head_dim = turn % 3 ? 18 : 64,
                                 .n_q = 1 + turn % 5,
                                 .n_rows = turn % 2 ? 1 : 11,
                                 .pos = positions[p],
                                 .window = window,
                                 .cap = turn % 4 ? 0 : 5,
                                 .sinks = turn % 3 == 1});
}

/* More queries than a tile has, and the largest groups, where rows of a tile begin their windows in different blocks.
 */
static void rows_whose_windows_begin_in_different_blocks_share_a_call(void **state) {
  static const int wide[] = {1, 16, 60, EL_ATTN_BLOCK};
  for (size_t w = 0; w < sizeof wide / sizeof *wide; w++)
    for (el_kv_type type = EL_KV_F16; type <= EL_KV_Q8; type++)
      for (int n_q = 1; n_q <= 8; n_q += 7)
        check_attention(&(shape){.type = type,
                                 .head_dim = n_q == 1 ? MOST_DIM : 20,
                                 .n_q = n_q,
                                 .n_rows = 30,
                                 .pos = EL_ATTN_BLOCK + wide[w] - 15,
                                 .window = wide[w],
                                 .cap = n_q == 1 ? 0 : 20});
}

/* ------------------------------------------------------------- rows of logits */

enum { ROW = 3 * EL_LOGIT_CHUNK + 77 };

static void fill_row(float *x, int n, uint32_t *seed) {
  for (int i = 0; i < n; i++) x[i] = 12 * uniform(seed) * uniform(seed);
  for (int i = 5; i < n; i += 91) x[i] = -INFINITY; /* banned */
}

static void the_largest_of_each_block_is_found_and_what_is_not_finite_is_noticed(void **state) {
  uint32_t seed = 31;
  float x[ROW], most[ROW];
  for (int n = 1; n <= ROW; n += 1 + n / 9) {
    fill_row(x, n, &seed);
    for (int i = 0; el_kernels_at(i); i++) {
      assert_true(el_kernels_at(i)->row_most(x, n, most));
      for (int b = 0; b * EL_LOGIT_BLOCK < n; b++) {
        float largest = -INFINITY;
        for (int k = b * EL_LOGIT_BLOCK; k < n && k < (b + 1) * EL_LOGIT_BLOCK; k++)
          largest = x[k] > largest ? x[k] : largest;
        assert_true(most[b] == largest);
      }
      const float bad[] = {NAN, -NAN, INFINITY};
      for (int k = 0; k < 3; k++) {
        const int at = (int)(next_random(&seed) % (uint32_t)n);
        const float was = x[at];
        x[at] = bad[k];
        assert_true(!el_kernels_at(i)->row_most(x, n, most));
        x[at] = was;
      }
    }
  }
}

static void weights_of_a_row_are_its_exponentials_and_the_same_bits_everywhere(void **state) {
  static const float scales[] = {1, 0.1f, 1.7f, 1e6f, 1e-38f};
  uint32_t seed = 33;
  float x[ROW], ref[ROW + 1], e[ROW + 1];
  double ref_sums[4], sums[4], only_sums[4];
  for (int n = 1; n <= ROW; n += 1 + n / 9)
    for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
      fill_row(x, n, &seed);
      x[n / 2] = 12.5f;
      ref[n] = e[n] = 42;
      el_kernels_scalar.row_exp(x, n, 12.5f, scales[s], ref, ref_sums);
      for (int c = 0; c * EL_LOGIT_CHUNK < n; c++) {
        double sum = 0;
        for (int i = c * EL_LOGIT_CHUNK; i < n && i < (c + 1) * EL_LOGIT_CHUNK; i++) {
          const double t = (double)((x[i] - 12.5f) * scales[s]), exact = t >= -86 ? exp(t) : 0;
          assert_near((double)ref[i], exact, 2e-7 * exact);
          sum += (double)ref[i];
        }
        assert_near(ref_sums[c], sum, 1e-12 * sum);
      }
      for (int i = 0; el_kernels_at(i); i++) {
        el_kernels_at(i)->row_exp(x, n, 12.5f, scales[s], e, sums);
        assert_memory_equal(e, ref, sizeof *e * (size_t)(n + 1));
        el_kernels_at(i)->row_exp(x, n, 12.5f, scales[s], NULL, only_sums);
        for (int c = 0; c * EL_LOGIT_CHUNK < n; c++) assert_true(sums[c] == ref_sums[c] && only_sums[c] == sums[c]);
      }
      /* Distances, with a negative scale, give the same. */
      for (int i = 0; i < n; i++) x[i] = 12.5f - x[i];
      el_kernels_at(0)->row_exp(x, n, 0, -scales[s], e, NULL);
      assert_memory_equal(e, ref, sizeof *e * (size_t)n);
    }
}

static void what_is_near_is_listed_in_order(void **state) {
  static const float limits[] = {0, 3, 9, 15, INFINITY};
  uint32_t seed = 35;
  float x[ROW], below[ROW + EL_LANES];
  int32_t ids[ROW + EL_LANES];
  for (int n = 1; n <= ROW; n += 1 + n / 9)
    for (size_t l = 0; l < sizeof limits / sizeof *limits; l++) {
      fill_row(x, n, &seed);
      x[n / 2] = 12.5f;
      for (int i = 0; el_kernels_at(i); i++) {
        const int found = el_kernels_at(i)->row_near(x, n, 1000, 12.5f, limits[l], ids, below);
        int at = 0;
        for (int k = 0; k < n; k++) {
          if (!(12.5f - x[k] <= limits[l])) continue;
          assert_true(at < found && ids[at] == 1000 + k && below[at] == 12.5f - x[k]);
          at++;
        }
        assert_int_equal(at, found);
      }
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(geglu_is_gelu_by_tanh_times_the_other_half),
      cmocka_unit_test(caps_are_tanh_and_without_one_there_is_the_scale),
      cmocka_unit_test(rotation_of_halves_turns_each_pair_and_nothing_behind_them),
      cmocka_unit_test(a_norm_without_weights_is_one_with_ones),
      cmocka_unit_test(the_largest_of_each_block_is_found_and_what_is_not_finite_is_noticed),
      cmocka_unit_test(weights_of_a_row_are_its_exponentials_and_the_same_bits_everywhere),
      cmocka_unit_test(what_is_near_is_listed_in_order),
      cmocka_unit_test(windows_hide_what_lies_before_them),
      cmocka_unit_test(caps_and_sinks_change_scores_as_their_formulas_say),
      cmocka_unit_test(spans_that_are_joined_later_give_the_same_bits),
      cmocka_unit_test(rows_whose_windows_begin_in_different_blocks_share_a_call),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
