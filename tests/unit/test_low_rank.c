/* el_gemm_lora: the base product and then each column's own low-rank product, whichever way an instruction set does it,
 * to the bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "kernels/select.h"

enum { COLS = 96, MAX_COLUMNS = 21, FEW = 87, MANY = 607 /* more tiles than go through a column's B together */ };
static int n_rows = FEW;

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

/* [n_rows, COLS] of a type whose blocks begin with an F16 scale, or of F16. */
static el_packed make_base(const el_kernels *k, el_type type, uint64_t seed) {
  const el_type_info *info = el_type_get(type);
  size_t blocks = (size_t)n_rows * COLS / (size_t)info->block, bytes = blocks * (size_t)info->block_bytes;
  unsigned char *src = aligned(bytes);
  for (size_t i = 0; i < bytes; i++) src[i] = (unsigned char)draw(&seed);
  for (size_t i = 0; i < blocks; i++) {
    uint16_t d = el_f32_to_f16(0.02f * uniform(&seed));
    memcpy(src + i * (size_t)info->block_bytes, &d, 2);
    if (type == EL_TYPE_Q4_1) memcpy(src + i * (size_t)info->block_bytes + 2, &d, 2);
  }
  el_packed w;
  el_packed_init(&w, el_layout_for(type, src, n_rows * COLS, EL_WEIGHTS_KEEP), n_rows, COLS, k->tile);
  w.data = aligned(el_packed_bytes(&w));
  el_pack_tiles(&w, type, src, 0, w.n_tiles);
  free(src);
  return w;
}

static el_packed make_b(const el_kernels *k, el_layout layout, int rank, uint64_t seed) {
  float *src = aligned(sizeof(float) * (size_t)(n_rows * rank));
  for (int i = 0; i < n_rows * rank; i++) src[i] = uniform(&seed);
  el_packed b;
  el_packed_init(&b, layout, n_rows, rank, k->tile);
  b.data = aligned(el_packed_bytes(&b));
  el_packed_clear(&b);
  el_pack_rows(k, &b, 0, n_rows, src, 1);
  free(src);
  return b;
}

static const el_layout layouts[] = {EL_LAYOUT_Q8, EL_LAYOUT_F16, EL_LAYOUT_Q4};
enum { MIXED = 3 }; /* in the place of one of them: they take turns */

/* A call with its own memory. ranks[c]: of column c's B, 0 for none; so many columns in turn share the first one's.
 * layout: of the Bs, an index. */
static void product(const el_kernels *k, el_type type, int layout, const int *ranks, int share, int n, bool add,
                    bool in_parts, float *y) {
  el_packed w = make_base(k, type, 5), b[MAX_COLUMNS] = {0};
  el_act x, h, columns[MAX_COLUMNS];
  el_low_rank lora[MAX_COLUMNS] = {0};
  assert_int_equal(el_act_new(&x, COLS, n, NULL), EL_OK);
  assert_int_equal(el_act_new(&h, EL_LANES * 8, n, NULL), EL_OK);
  el_act_shape(&x, COLS, n);
  uint64_t seed = 9;
  for (int c = 0; c < n; c++) {
    float *values = x.f + c * COLS, low[EL_LANES * 8];
    for (int i = 0; i < COLS; i++) values[i] = uniform(&seed);
    k->quantize(values, 0, x.n_groups, 1.0f, &x, c);
    for (int i = 0; i < EL_LANES * 8; i++) low[i] = uniform(&seed);
    if (!ranks[c]) continue;
    if (c % share)
      b[c] = b[c - c % share];
    else
      b[c] = make_b(k, layouts[layout == MIXED ? c % 3 : layout], ranks[c], (uint64_t)c + 100);
    columns[c] = el_act_column(&h, c);
    el_act_shape(&columns[c], ranks[c], 1);
    k->quantize(low, 0, columns[c].n_groups, 0.5f, &columns[c], 0);
    for (int i = 0; i < ranks[c]; i++) columns[c].f[i] = 0.5f * low[i];
    lora[c] = el_low_rank_of(&b[c - c % share], &columns[c]);
  }
  for (int i = 0; i < n_rows * n; i++) y[i] = (float)(i % 7);
  if (in_parts) { /* as threads cut tiles: at borders of W's, which may lie inside of one of B's */
    static const int cuts[] = {0, 1, 5, 6, 8, 1000};
    for (int i = 0; i < 5; i++) {
      int begin = cuts[i] < w.n_tiles ? cuts[i] : w.n_tiles, end = cuts[i + 1] < w.n_tiles ? cuts[i + 1] : w.n_tiles;
      if (begin < end) el_gemm_lora(k, &w, begin, end, &x, 0, n, y, n_rows, add, lora, NULL);
    }
  } else { /* the definition */
    k->gemm(&w, 0, w.n_tiles, &x, 0, n, y, n_rows, add, NULL);
    for (int c = 0; c < n; c++)
      if (ranks[c]) k->gemm(&b[c], 0, b[c].n_tiles, &columns[c], 0, 1, y + c * n_rows, n_rows, true, NULL);
  }
  for (int c = 0; c < n; c += share) free(b[c].data);
  free(w.data);
  el_act_free(&x);
  el_act_free(&h);
}

/* Numbers of columns are tried one by one, or, where a sanitizer makes that take half a minute, one of so many. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { COLUMNS_STEP = 4 };
#else
enum { COLUMNS_STEP = 1 };
#endif

static void check_shared(const int *ranks, int share, int n) {
  static const el_type types[] = {EL_TYPE_Q4_0, EL_TYPE_Q4_1, EL_TYPE_Q8_0, EL_TYPE_F16};
  const el_kernels *scalar = NULL;
  assert_int_equal(el_kernels_get("scalar", &scalar, NULL), EL_OK);
  static float y[MANY * MAX_COLUMNS], expected[MANY * MAX_COLUMNS];
  for (size_t t = 0; t < sizeof types / sizeof *types; t++)
    for (int layout = 0; layout <= MIXED; layout++)
      for (int add = 0; add < 2; add++) {
        if (layout && types[t] != EL_TYPE_Q4_0 && types[t] != EL_TYPE_F16)
          continue; /* integer or not is all there is */
        product(scalar, types[t], layout, ranks, share, n, add, false, expected);
        for (int i = 0; el_kernels_at(i); i++) {
          product(el_kernels_at(i), types[t], layout, ranks, share, n, add, true, y);
          assert_memory_equal(y, expected, sizeof(float) * (size_t)(n_rows * n));
        }
      }
}

static void check(const int *ranks, int n) {
  check_shared(ranks, 1, n);
}

static void columns_share_a_matrix(void **state) {
  static const int ranks[] = {8, 12, 16, 32, 64}, shares[] = {2, 5, MAX_COLUMNS};
  for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++)
    for (size_t j = 0; j < sizeof shares / sizeof *shares; j++)
      for (int n = 2; n <= MAX_COLUMNS; n += 3 * COLUMNS_STEP) {
        int each[MAX_COLUMNS];
        for (int c = 0; c < n; c++) each[c] = ranks[i];
        check_shared(each, shares[j], n);
      }
}

static void columns_with_the_same_rank_get_their_own_products(void **state) {
  static const int ranks[] = {1, 8, 12, 16, 31, 32, 33, 64, 128};
  for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++)
    for (int n = 1; n <= MAX_COLUMNS; n += ranks[i] == 16 ? COLUMNS_STEP : 5 * COLUMNS_STEP) {
      int each[MAX_COLUMNS];
      for (int c = 0; c < n; c++) each[c] = ranks[i];
      check(each, n);
    }
}

static void ranks_may_differ_and_columns_have_none(void **state) {
  uint64_t seed = 3;
  for (int n = 1; n <= MAX_COLUMNS; n += COLUMNS_STEP) {
    int ranks[MAX_COLUMNS];
    for (int c = 0; c < n; c++) ranks[c] = draw(&seed) % 3 ? (int)(draw(&seed) % 128 + 1) : 0;
    check(ranks, n);
    for (int c = 0; c < n; c++) ranks[c] = ranks[c] ? 16 : 0;
    check(ranks, n);
  }
}

static void many_rows_are_taken_in_blocks(void **state) {
  static const int each[][MAX_COLUMNS] = {
      {16, 16, 0, 8}, {16, 8, 64, 16, 0, 24, 16, 16, 32, 16, 16, 16, 4, 16, 16, 16, 33, 16, 16, 0, 8}};
  n_rows = MANY;
  check(each[0], 4);
  check(each[1], MAX_COLUMNS);
  n_rows = FEW;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(columns_with_the_same_rank_get_their_own_products),
      cmocka_unit_test(columns_share_a_matrix),
      cmocka_unit_test(ranks_may_differ_and_columns_have_none),
      cmocka_unit_test(many_rows_are_taken_in_blocks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
