/* The AMX kernels: products of integer layouts, alone and with low-rank ones, give the scalar reference's bits, on the
 * model of the tile unit and, where this CPU has one, on that. The model itself is held against a plain sum of
 * products, and refuses what the hardware faults on. */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/random.h"
#include "kernels/select.h"
#include "kernels/tables.h"
#define EL_AMX_MODEL
#include "kernels/tiles_amx.h"

enum { TILE = 16, MOST = 300, RANK = 128 };

static const el_layout integer_layouts[] = {EL_LAYOUT_Q4, EL_LAYOUT_Q4M, EL_LAYOUT_Q8, EL_LAYOUT_Q8M};

/* The model in C, that with this CPU's vectors, the tile unit itself. */
static const el_kernels *kernels_at(int i) {
  static const el_kernels *all[4];
  const el_kernels *k;
  int n = 0;
  if (all[0]) return all[i];
  all[n++] = &el_kernels_amx_model;
#if defined(__x86_64__)
  if (!el_kernels_get("avx512vnni", &k, NULL)) all[n++] = &el_kernels_amx_model_avx512;
#endif
  if (!el_kernels_get("amx_int8", &k, NULL)) all[n++] = k;
  return all[i];
}

static uint64_t draw(uint64_t *s) {
  return el_mix64(*s += EL_GOLDEN_GAMMA);
}
static float uniform(uint64_t *s) {
  return (float)(int64_t)draw(s) / 9223372036854775808.0f;
}

static void *aligned(size_t n) {
  void *p = NULL;
  assert_int_equal(posix_memalign(&p, 64, (n + 63) / 64 * 64), 0);
  return p;
}

/* Any codes, all of those that a layout has, with scales and minimums that are finite; what is not written of a tile
 * may hold anything. */
static el_packed make_weights(el_layout layout, int rows, int cols, uint64_t seed) {
  el_packed w;
  el_packed_init(&w, layout, rows, cols, TILE);
  w.data = aligned(el_packed_bytes(&w));
  for (size_t i = 0; i < el_packed_bytes(&w); i++)
    w.data[i] = (unsigned char)draw(&seed) & (layout == EL_LAYOUT_Q8M ? 31 : 255);
  for (int t = 0; t < w.n_tiles; t++)
    for (size_t at = w.scales_at; at + 2 <= w.tile_bytes; at += 2) {
      uint16_t h = el_f32_to_f16(0.02f * uniform(&seed));
      memcpy(w.data + (size_t)t * w.tile_bytes + at, &h, 2);
    }
  return w;
}

static el_act make_inputs(int k, int n, uint64_t seed) {
  el_act x;
  assert_int_equal(el_act_new(&x, k, n, NULL), EL_OK);
  el_act_shape(&x, k, n);
  for (int c = 0; c < n; c++) {
    float *values = x.f + (size_t)c * (size_t)k;
    for (int i = 0; i < k; i++) values[i] = uniform(&seed);
    el_kernels_scalar.quantize(values, 0, x.n_groups, 1.0f, &x, c);
  }
  return x;
}

/* Rows [0, rows) of columns [begin, end), by the reference and by each of the kernels in parts, as threads cut tiles.
 */
static void check(const el_packed *w, const el_act *x, int begin, int end, bool add, const el_low_rank *lora) {
  const size_t ldy = (size_t)w->rows + 3, n = ldy * (size_t)x->n_cols;
  float *ref = aligned(n * sizeof *ref), *y = aligned(n * sizeof *y);
  for (size_t i = 0; i < n; i++) ref[i] = (float)(i % 7);
  el_gemm_lora(&el_kernels_scalar, w, 0, w->n_tiles, x, begin, end, ref, ldy, add, lora, NULL);
  for (int i = 0; kernels_at(i); i++) {
    for (size_t j = 0; j < n; j++) y[j] = (float)(j % 7);
    const el_span spans[] = {{(const unsigned char *)x->f, 700}, {(const unsigned char *)ref, n * sizeof *ref}};
    el_fetch fetch = {.next = w->data, .spans = spans, .n_spans = 2, .lines = 2};
    const int cut = w->n_tiles / 2;
    el_gemm_lora(kernels_at(i), w, 0, cut, x, begin, end, y, ldy, add, lora, &fetch);
    kernels_at(i)->release();
    el_gemm_lora(kernels_at(i), w, cut, w->n_tiles, x, begin, end, y, ldy, add, lora, NULL);
    assert_memory_equal(y, ref, n * sizeof *y); /* what lies between the columns is untouched, too */
  }
  free(ref);
  free(y);
}

static void check_shape(el_layout layout, int rows, int cols, int n) {
  el_packed w = make_weights(layout, rows, cols, (uint64_t)(rows * cols + n));
  el_act x = make_inputs(cols, n, (uint64_t)n);
  for (int add = 0; add < 2; add++) check(&w, &x, 0, n, add, NULL);
  free(w.data);
  el_act_free(&x);
}

static void any_number_of_rows_has_the_reference_bits(void **state) {
  for (size_t l = 0; l < 4; l++) {
    for (int n = 1; n <= 40; n++) check_shape(integer_layouts[l], 33, 96, n);
    check_shape(integer_layouts[l], 9, 288, MOST); /* more than share one unpacking */
  }
}

static void any_number_of_groups_has_the_reference_bits(void **state) {
  for (size_t l = 0; l < 4; l++)
    for (int groups = 1; groups <= 25; groups++) check_shape(integer_layouts[l], 17, groups * EL_GROUP, 19);
}

/* As the base's rows have it: of any inner length; and as A and B have, of which the last group is short. */
static void columns_need_not_fill_a_group(void **state) {
  for (size_t l = 0; l < 4; l++)
    for (int cols = 1; cols <= 70; cols++) check_shape(integer_layouts[l], 15, cols, 9);
}

/* As rows of several sequences and of views have it: a call takes some columns of many. */
static void a_call_may_begin_and_end_within_a_panel(void **state) {
  enum { N = 45 };
  for (size_t l = 0; l < 4; l++) {
    el_packed w = make_weights(integer_layouts[l], 33, 288, 3);
    el_act x = make_inputs(288, N, 4);
    for (int begin = 0; begin < N; begin += 3)
      for (int end = begin; end <= N; end += 7) check(&w, &x, begin, end, true, NULL);
    free(w.data);
    el_act_free(&x);
  }
}

/* All codes and activations of the largest size and one sign: the largest sums that there are. */
static void the_largest_sums_are_exact(void **state) {
  for (size_t l = 0; l < 4; l++)
    for (int high = 0; high < 2; high++) {
      el_packed w = make_weights(integer_layouts[l], 8, 1024, 5);
      memset(w.data, high ? (integer_layouts[l] == EL_LAYOUT_Q8M ? 31 : 255) : 0, w.scales_at);
      el_act x = make_inputs(1024, 17, 6);
      for (size_t i = 0; i < (size_t)x.n_groups * 17; i++) {
        memset(x.q + i * EL_GROUP, 127, EL_GROUP);
        x.ds[i] = x.d[i] * 127 * EL_GROUP;
        x.s8[i] = -8 * 127 * EL_GROUP;
        x.s128[i] = -128 * 127 * EL_GROUP;
      }
      check(&w, &x, 0, 17, false, NULL);
      free(w.data);
      el_act_free(&x);
    }
}

static void a_row_without_numbers_harms_itself_alone(void **state) {
  enum { N = 21, COLS = 320, ROWS = 33, BAD = 11 };
  el_packed w = make_weights(EL_LAYOUT_Q4M, ROWS, COLS, 7);
  el_act x = make_inputs(COLS, N, 8), bad = make_inputs(COLS, N, 8);
  bad.f[BAD * COLS + 50] = NAN;
  el_kernels_scalar.quantize(bad.f + BAD * COLS, 0, bad.n_groups, 1.0f, &bad, BAD);
  float y[N * ROWS], of_bad[N * ROWS];
  for (int i = 0; kernels_at(i); i++) {
    kernels_at(i)->gemm(&w, 0, w.n_tiles, &x, 0, N, y, ROWS, false, NULL);
    kernels_at(i)->gemm(&w, 0, w.n_tiles, &bad, 0, N, of_bad, ROWS, false, NULL);
    for (int c = 0; c < N; c++)
      for (int r = 0; r < ROWS; r++) {
        if (c == BAD)
          assert_true(of_bad[c * ROWS + r] != of_bad[c * ROWS + r]);
        else
          assert_memory_equal(&y[c * ROWS + r], &of_bad[c * ROWS + r], sizeof(float));
      }
  }
  free(w.data);
  el_act_free(&x);
  el_act_free(&bad);
}

/* ---- with low-rank products */

typedef struct adapters {
  el_packed b[MOST];
  el_act h, columns[MOST];
  el_low_rank lora[MOST];
  int n;
} adapters;

/* rank_of(column, of), 0: none; `share` columns in turn have one B. */
static adapters *make_adapters(int rows, int n, int share, el_layout layout, bool mixed, int (*rank_of)(int, int),
                               int of) {
  adapters *a = calloc(1, sizeof *a);
  assert_non_null(a);
  a->n = n;
  a->h = make_inputs(RANK, n, 11);
  for (int c = 0; c < n; c++) {
    const int first = c - c % share, rank = rank_of(first, of);
    if (!rank) continue;
    if (c == first) a->b[c] = make_weights(mixed && c % 2 ? EL_LAYOUT_Q4 : layout, rows, rank, (uint64_t)c);
    a->columns[c] = el_act_column(&a->h, c);
    el_act_shape(&a->columns[c], rank, 1);
    float h[RANK];
    uint64_t seed = (uint64_t)c;
    for (int i = 0; i < rank; i++) h[i] = uniform(&seed);
    el_kernels_scalar.quantize(h, 0, a->columns[c].n_groups, 0.5f, &a->columns[c], 0);
    a->lora[c] = el_low_rank_of(&a->b[first], &a->columns[c]);
  }
  return a;
}

static void free_adapters(adapters *a) {
  for (int c = 0; c < a->n; c++) free(a->b[c].data);
  el_act_free(&a->h);
  free(a);
}

static int same_rank(int c, int of) {
  return of;
}
static int some_rank(int c, int of) {
  uint64_t seed = (uint64_t)(c + of);
  return draw(&seed) % 3 ? (int)(draw(&seed) % RANK + 1) : 0;
}

static void check_adapters(el_layout base, int cols, int n, int share, el_layout layout, bool mixed,
                           int (*rank_of)(int, int), int of) {
  enum { ROWS = 35 };
  el_packed w = make_weights(base, ROWS, cols, 9);
  el_act x = make_inputs(cols, n, 10);
  adapters *a = make_adapters(ROWS, n, share, layout, mixed, rank_of, of);
  for (int add = 0; add < 2; add++) check(&w, &x, 0, n, add, a->lora);
  if (n > 5) check(&w, &x, 3, n - 1, true, a->lora);
  free_adapters(a);
  free(w.data);
  el_act_free(&x);
}

static void low_rank_products_are_added_to_each_row(void **state) {
  static const int ranks[] = {1, 4, 8, 13, 16, 32, 33, 64, 128}, shares[] = {1, 3, 16, MOST};
  for (size_t r = 0; r < sizeof ranks / sizeof *ranks; r++)
    for (size_t s = 0; s < sizeof shares / sizeof *shares; s++) {
      check_adapters(EL_LAYOUT_Q4, 96, 21, shares[s], EL_LAYOUT_Q8, false, same_rank, ranks[r]);
      check_adapters(EL_LAYOUT_Q8, 544, 9, shares[s], EL_LAYOUT_Q4, false, same_rank, ranks[r]);
    }
  for (int n = 1; n <= 40; n++)
    check_adapters(integer_layouts[n % 4], 64, n, 1 + n % 3, EL_LAYOUT_Q8, true, some_rank, n);
  check_adapters(EL_LAYOUT_Q4M, 320, 150, 40, EL_LAYOUT_Q8, true, some_rank, 3);
}

/* ---- the model */

static void fill(void *p, size_t n, uint64_t *seed) {
  for (size_t i = 0; i < n; i++) ((unsigned char *)p)[i] = (unsigned char)draw(seed);
}

static void the_model_multiplies_signed_bytes_and_adds_up(void **state) {
  int8_t x[8][40], w[8][16][4];
  int32_t sums[8][20], before[8][20];
  uint64_t seed = 1;
  fill(x, sizeof x, &seed);
  fill(w, sizeof w, &seed);
  fill(sums, sizeof sums, &seed);
  memcpy(before, sums, sizeof sums);
  tiles_configure();
  tile_load(4, x, sizeof x[0]);
  tile_load(6, w, sizeof w[0]);
  tile_load(0, sums, sizeof sums[0]);
  tile_dot(0, 4, 6);
  tile_dot(0, 4, 6);
  tile_store(0, sums, sizeof sums[0]);
  for (int m = 0; m < 8; m++)
    for (int n = 0; n < 20; n++) {
      uint32_t sum = (uint32_t)before[m][n];
      for (int k = 0; n < 16 && k < 32; k++) sum += 2 * (uint32_t)(x[m][k] * w[k / 4][n][k % 4]);
      assert_true((uint32_t)sums[m][n] == sum);
    }
  tile_zero(0);
  tile_store(0, sums, sizeof sums[0]);
  for (int i = 0; i < 8 * 16; i++) assert_int_equal(sums[i / 16][i % 16], 0);
  tiles_release();
}

static void use_without_configuration(void) {
  tile_zero(0);
}
static void use_after_release(void) {
  tiles_configure();
  tiles_release();
  tile_zero(0);
}
static void tiles_that_do_not_fit(void) {
  tiles_configure();
  tile_dot(0, 6, 4);
}
static void the_sums_as_an_operand(void) {
  tiles_configure();
  tile_dot(6, 4, 6);
}

static void the_model_refuses_what_the_hardware_faults_on(void **state) {
  void (*const wrong[])(void) = {use_without_configuration, use_after_release, tiles_that_do_not_fit,
                                 the_sums_as_an_operand};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
      signal(SIGABRT, SIG_DFL);
      if (!freopen("/dev/null", "w", stderr)) _exit(1);
      wrong[i]();
      _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
  }
}

/* ---- what a CPU has */

static void amx_is_offered_or_refused_by_name(void **state) {
  el_error err;
  const el_kernels *k = NULL;
  if (!el_kernels_get("amx_int8", &k, &err)) {
    assert_string_equal(k->name, "amx_int8");
    assert_ptr_equal(el_kernels_at(0), k); /* and the best there is */
    assert_null(el_kernels_refused());
    return;
  }
  assert_non_null(strstr(err.message, "'amx_int8' is not available"));
  assert_non_null(strstr(err.message, "scalar"));
  if (el_kernels_refused()) assert_non_null(strstr(err.message, el_kernels_refused()));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_model_multiplies_signed_bytes_and_adds_up),
      cmocka_unit_test(the_model_refuses_what_the_hardware_faults_on),
      cmocka_unit_test(any_number_of_rows_has_the_reference_bits),
      cmocka_unit_test(any_number_of_groups_has_the_reference_bits),
      cmocka_unit_test(columns_need_not_fill_a_group),
      cmocka_unit_test(a_call_may_begin_and_end_within_a_panel),
      cmocka_unit_test(the_largest_sums_are_exact),
      cmocka_unit_test(a_row_without_numbers_harms_itself_alone),
      cmocka_unit_test(low_rank_products_are_added_to_each_row),
      cmocka_unit_test(amx_is_offered_or_refused_by_name),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
