/* Packing against its definition: each weight's code, scale and minimum are taken from the file's block one by one and
 * put where src/kernels/README.md says. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#ifndef EL_TESTS_CROSS_CMOCKA_H /* cross-compiled tests have no libraries */
#include <jansson.h>
#endif

#include "kernels/kernels.h"

static uint64_t next_random(uint64_t *s) {
  *s ^= *s << 13;
  *s ^= *s >> 7;
  return *s ^= *s << 17;
}

/* A weight of a packed matrix. */
typedef struct weight {
  int code;
  uint16_t d, m; /* F16 */
} weight;

static uint16_t u16_at(const unsigned char *p) {
  return (uint16_t)(p[0] | p[1] << 8);
}
static float f16_at(const unsigned char *p) {
  return el_f16_to_f32(u16_at(p));
}

/* Bit i of the bytes at p. */
static int bit(const unsigned char *p, int i) {
  return p[i / 8] >> (i % 8) & 1;
}
/* Value i of 32 whose low nibbles are the first half. */
static int nibble(const unsigned char *p, int i) {
  return i < 16 ? p[i] & 15 : p[i - 16] >> 4;
}

/* Weight i of a row of n floats: int8 with the largest of its 32 at 127. */
static weight requantised(const float *row, int i, int n) {
  int from = i / 32 * 32, end = from + 32 < n ? from + 32 : n;
  float amax = 0;
  for (int k = from; k < end; k++)
    if (fabsf(row[k]) > amax) amax = fabsf(row[k]);
  weight w = {.d = el_f32_to_f16(amax / 127.0f)};
  float d = el_f16_to_f32(w.d), x = rintf(row[i] * (d > 0 ? 1.0f / d : 0.0f));
  if (!(x > -127)) x = -127;
  if (x > 127) x = 127;
  w.code = (int)x + 128;
  return w;
}

static int common_divisor(int a, int b) {
  return b == 0 ? abs(a) : common_divisor(b, a % b);
}

/* Weight l of a group whose values are integers times scales; values: the 32 as floats. */
static weight weight_of_codes(el_type type, const el_quant_group *q, const float *values, int l) {
  int code = q->code[l], *a = (int[]){q->mul[0], q->mul[1]};
  float d = q->unit * (float)a[0];
  switch (type) {
    case EL_TYPE_TQ1_0:
    case EL_TYPE_TQ2_0:
    case EL_TYPE_Q1_0:
    case EL_TYPE_Q2_0: return (weight){code + 8, el_f32_to_f16(d), 0};
    case EL_TYPE_IQ1_S: { /* a whole number and an eighth, more or less, of eight d */
      int whole = (int)lrint(code / 8.0), eighth = code - 8 * whole;
      return (weight){whole + 1, el_f32_to_f16(8 * d), el_f32_to_f16(d * (float)(eighth - 8))};
    }
    default: break;
  }
  if (a[0] == a[1]) return (weight){code + 128, el_f32_to_f16(d), 0};
  int common = common_divisor(a[0], a[1]);
  for (int i = 0; i < 32; i++)
    if (abs(q->code[i]) * (int64_t)abs(a[i / 16] / common) > 127 || abs(a[i / 16] / common) > 127)
      return requantised(values, l, 32);
  return (weight){code * (a[l / 16] / common) + 128, el_f32_to_f16(q->unit * (float)common), 0};
}

/* Weight i of a row in `type`; values: the row dequantised. */
static weight weight_of(el_type type, const unsigned char *row, const float *values, int i, int n) {
  const el_type_info *info = el_type_get(type);
  const unsigned char *b = row + (size_t)(i / info->block) * (size_t)info->block_bytes;
  int k = i % info->block, j = k / 32, l = k % 32;
  switch (type) {
    case EL_TYPE_Q4_0: return (weight){nibble(b + 2, k), u16_at(b), 0};
    case EL_TYPE_Q4_1: return (weight){nibble(b + 4, k), u16_at(b), u16_at(b + 2)};
    case EL_TYPE_Q5_0: return (weight){nibble(b + 6, k) + 16 * bit(b + 2, k) - 16 + 128, u16_at(b), 0};
    case EL_TYPE_Q5_1: return (weight){nibble(b + 8, k) + 16 * bit(b + 4, k), u16_at(b), u16_at(b + 2)};
    case EL_TYPE_Q8_0: return (weight){(int8_t)b[2 + k] + 128, u16_at(b), 0};
    case EL_TYPE_Q4_K:
    case EL_TYPE_Q5_K: {
      const unsigned char *s = b + 4, *qs = b + (type == EL_TYPE_Q5_K ? 48 : 16) + j / 2 * 32;
      int scale = j < 4 ? s[j] % 64 : s[j + 4] % 16 + s[j - 4] / 64 * 16,
          min = j < 4 ? s[j + 4] % 64 : s[j + 4] / 16 + s[j] / 64 * 16, code = j % 2 ? qs[l] / 16 : qs[l] % 16;
      if (type == EL_TYPE_Q5_K) code += 16 * (b[16 + l] >> j & 1);
      return (weight){code, el_f32_to_f16(f16_at(b) * (float)scale), el_f32_to_f16(-f16_at(b + 2) * (float)min)};
    }
    default: break;
  }
  if (!el_quant_has_codes(type)) return requantised(values, i, n);
  el_quant_group q[EL_QUANT_GROUPS];
  el_quant_codes(type, b, q);
  return weight_of_codes(type, &q[j], values + i / 32 * 32, l);
}

static void put_u16(unsigned char *p, uint16_t v) {
  p[0] = (unsigned char)v;
  p[1] = (unsigned char)(v >> 8);
}

/* The packed matrix, byte by byte, and the rows that come back from it. */
static void define(const el_packed *w, el_type type, const unsigned char *src, unsigned char *out, float *back) {
  size_t cols = (size_t)w->cols, tile = (size_t)w->tile,
         row_bytes = cols / (size_t)el_type_get(type)->block * (size_t)el_type_get(type)->block_bytes;
  bool wide = w->layout == EL_LAYOUT_Q8 || w->layout == EL_LAYOUT_Q8M,
       mins = w->layout == EL_LAYOUT_Q4M || w->layout == EL_LAYOUT_Q8M;
  float *values = malloc(sizeof(float) * cols);
  for (int t = 0; t < w->n_tiles; t++) {
    memset(out + (size_t)t * w->tile_bytes, 0, w->tile_bytes);
    if (w->layout == EL_LAYOUT_Q8) memset(out + (size_t)t * w->tile_bytes, 128, w->scales_at);
  }
  for (int row = 0; row < w->rows; row++) {
    const unsigned char *from = src + (size_t)row * row_bytes;
    unsigned char *to = out + (size_t)row / tile * w->tile_bytes;
    size_t r = (size_t)row % tile;
    el_dequantize(type, from, values, w->cols);
    for (size_t i = 0; i < cols; i++, back++) {
      if (w->layout == EL_LAYOUT_F16 || w->layout == EL_LAYOUT_BF16) {
        bool f16 = w->layout == EL_LAYOUT_F16;
        uint16_t v = f16 ? el_f32_to_f16(values[i]) : el_f32_to_bf16(values[i]);
        if (type == EL_TYPE_F16 && f16) v = u16_at(from + 2 * i); /* as it is, whatever NaN it may be */
        if (type == EL_TYPE_BF16) v = u16_at(from + 2 * i);
        put_u16(to + (i * 16 + r) * 2, v);
        *back = f16 ? el_f16_to_f32(v) : el_bf16_to_f32(v);
        continue;
      }
      weight x = weight_of(type, from, values, (int)i, w->cols);
      size_t g = i / 32, k = i % 32, half = k % 16;
      put_u16(to + w->scales_at + (g * tile + r) * 2, x.d);
      if (mins) put_u16(to + w->mins_at + (g * tile + r) * 2, x.m);
      if (wide)
        to[g * 32 * tile + k / 4 * tile * 4 + r * 4 + k % 4] = (unsigned char)x.code;
      else
        to[g * 16 * tile + half / 4 * tile * 4 + r * 4 + half % 4] |= (unsigned char)(k < 16 ? x.code : x.code << 4);
      int offset = w->layout == EL_LAYOUT_Q4 ? 8 : w->layout == EL_LAYOUT_Q8 ? 128 : 0;
      *back = el_f16_to_f32(x.d) * (float)(x.code - offset) + (mins ? el_f16_to_f32(x.m) : 0.0f);
    }
  }
  free(values);
}

/* Bits, but any NaN is as good as another. */
static void assert_same_floats(const float *a, const float *b, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (!(isnan(a[i]) && isnan(b[i]))) assert_memory_equal(&a[i], &b[i], sizeof *a);
}

static void check(el_type type, el_weights weights, int rows, int cols, int tile, bool any_bits) {
  const el_type_info *info = el_type_get(type);
  size_t bytes = (size_t)rows * (size_t)(cols / info->block) * (size_t)info->block_bytes, at = 1;
  unsigned char *src = malloc(bytes + at + 8); /* at an odd address: a file promises nothing */
  uint64_t seed = 88172645463325252u + (uint64_t)(rows * 1000 + cols);
  for (size_t i = 0; i < bytes; i += 8) memcpy(src + at + i, &(uint64_t){next_random(&seed)}, 8);
  for (size_t i = 0; i < bytes && info->block == 1; i += (size_t)info->block_bytes) {
    float v = (float)(int64_t)next_random(&seed) / 0x1p62f;
    uint16_t half = type == EL_TYPE_F16 ? el_f32_to_f16(v) : el_f32_to_bf16(v);
    uint32_t u;
    if (!any_bits) memcpy(src + at + i, info->block_bytes == 4 ? (void *)&v : (void *)&half, (size_t)info->block_bytes);
    /* a signalling NaN may turn quiet on its way, or not */
    if (type == EL_TYPE_F32 && (memcpy(&u, src + at + i, 4), (u & 0x7fffffff) > 0x7f800000)) src[at + i + 2] |= 0x40;
    if (type == EL_TYPE_BF16 && (u16_at(src + at + i) & 0x7fff) > 0x7f80) src[at + i] |= 0x40;
  }
  el_packed w;
  el_packed_init(&w, el_layout_for(type, src + at, (int64_t)rows * cols, weights), rows, cols, tile);
  size_t n = el_packed_bytes(&w), n_values = (size_t)rows * (size_t)cols;
  unsigned char *want = malloc(n);
  float *back = malloc(sizeof(float) * n_values), *got = malloc(sizeof(float) * n_values);
  assert_int_equal(posix_memalign((void **)&w.data, 64, n), 0);
  define(&w, type, src + at, want, back);
  memset(w.data, 0x5a, n); /* nothing may count on what was there */
  size_t half = (size_t)(w.n_tiles / 2 * w.tile) * (size_t)(cols / info->block) * (size_t)info->block_bytes;
  el_pack_tiles(&w, type, src + at + half, w.n_tiles / 2, w.n_tiles);
  el_pack_tiles(&w, type, src + at, 0, w.n_tiles / 2);
  if (memcmp(w.data, want, n))
    fail_msg("%s as %s: [%d, %d] in tiles of %d", info->name, el_layout_name(w.layout), rows, cols, tile);
  for (int r = 0; r < rows; r++) el_packed_get_row(&w, r, got + (size_t)r * (size_t)cols);
  assert_same_floats(got, back, n_values);
  free(w.data);
  free(want);
  free(back);
  free(got);
  free(src);
}

static void every_type_is_packed_byte_for_byte_as_defined(void **state) {
  static const el_type types[] = {
      EL_TYPE_Q4_0,   EL_TYPE_Q4_1,  EL_TYPE_Q5_0,    EL_TYPE_Q5_1,  EL_TYPE_Q8_0,  EL_TYPE_Q2_K,  EL_TYPE_Q3_K,
      EL_TYPE_Q4_K,   EL_TYPE_Q5_K,  EL_TYPE_Q6_K,    EL_TYPE_F16,   EL_TYPE_BF16,  EL_TYPE_F32,   EL_TYPE_IQ2_XXS,
      EL_TYPE_IQ2_XS, EL_TYPE_IQ2_S, EL_TYPE_IQ3_XXS, EL_TYPE_IQ3_S, EL_TYPE_IQ1_S, EL_TYPE_IQ1_M, EL_TYPE_IQ4_NL,
      EL_TYPE_IQ4_XS, EL_TYPE_TQ1_0, EL_TYPE_TQ2_0,   EL_TYPE_Q1_0,  EL_TYPE_Q2_0,  EL_TYPE_MXFP4, EL_TYPE_NVFP4};
  static const int rows[] = {1, 8, 13, 37}, blocks[] = {1, 3}, any_cols[] = {1, 20, 45, 96, 300};
  for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
    int block = el_type_get(types[t])->block;
    for (int tile = 8; tile <= 16; tile += 8)
      for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (el_weights weights = EL_WEIGHTS_KEEP; weights <= EL_WEIGHTS_F16; weights++)
          for (int any_bits = 0; any_bits < 2; any_bits++)
            if (block == 1)
              for (size_t c = 0; c < sizeof any_cols / sizeof *any_cols; c++)
                check(types[t], weights, rows[r], any_cols[c], tile, any_bits);
            else
              for (size_t c = 0; c < sizeof blocks / sizeof *blocks; c++)
                check(types[t], weights, rows[r], blocks[c] * block, tile, any_bits);
  }
}

#ifndef EL_TESTS_CROSS_CMOCKA_H
/* Blocks that ggml quantised, of 512 values from a normal distribution: what types keep, and what they lose. */
static void types_are_packed_without_loss_or_say_so(void **state) {
  char path[512];
  json_error_t e;
  snprintf(path, sizeof path, "%s/golden/dequant.json", getenv("EL_TEST_DATA"));
  json_t *root = json_load_file(path, 0, &e), *entry;
  if (!root) fail_msg("%s: %s", path, e.text);
  size_t index, seen = 0;
  json_array_foreach(json_object_get(root, "quantised"), index, entry) {
    el_type type = (el_type)json_integer_value(json_object_get(entry, "ggml_type"));
    int cols = (int)json_integer_value(json_object_get(entry, "values"));
    const char *hex = json_string_value(json_object_get(entry, "bytes"));
    size_t n = strlen(hex) / 2;
    unsigned char *src = malloc(n);
    for (size_t i = 0; i < n; i++) {
      unsigned v;
      assert_int_equal(sscanf(hex + 2 * i, "%2x", &v), 1);
      src[i] = (unsigned char)v;
    }
    el_packed w;
    el_layout layout = el_layout_for(type, src, cols, EL_WEIGHTS_KEEP);
    el_packed_init(&w, layout, 1, cols, 8);
    assert_int_equal(posix_memalign((void **)&w.data, 64, el_packed_bytes(&w)), 0);
    el_pack_tiles(&w, type, src, 0, w.n_tiles);
    float *scratch = malloc(sizeof(float) * 2 * (size_t)cols);
    el_pack_loss loss = {0};
    el_pack_measure(&w, type, src, 0, 1, scratch, &loss);
    double error = el_pack_relative(&loss);
    bool loses = el_packing_loses(type, layout);
    print_message("%-8s %-4s %.4f%%\n", el_type_get(type)->name, el_layout_name(layout), 100 * error);
    /* Scales and minimums that are products are rounded to F16, by 2^-12 at most. Where there is a minimum, weights are
     * differences of two that are larger. */
    bool mins = layout == EL_LAYOUT_Q4M || layout == EL_LAYOUT_Q8M;
    assert_true(error <= (loses ? 0.007 : mins ? 0x1p-10 : 0x1p-12));
    assert_true(loss.size > 0.5 * 0.05 * 0.05 * 512);
    free(scratch);
    free(w.data);
    free(src);
    seen++;
  }
  json_decref(root);
  size_t known = 0;
  for (uint32_t t = 0; t < EL_N_TYPES; t++) known += el_type_get(t) && el_type_get(t)->block > 1;
  assert_int_equal(seen, known);
}
#endif

/* LoRA matrices are packed a few rows at a time. */
static void rows_of_floats_are_packed_as_the_whole_matrix_is(void **state) {
  enum { ROWS = 37 };
  static const el_layout layouts[] = {EL_LAYOUT_Q8, EL_LAYOUT_F16};
  for (size_t l = 0; l < sizeof layouts / sizeof *layouts; l++)
    for (int tile = 8; tile <= 16; tile += 8)
      for (int cols = 1; cols <= 70; cols += 3) {
        float src[ROWS * 70];
        uint64_t seed = 5;
        for (int i = 0; i < ROWS * cols; i++) src[i] = (float)(int64_t)next_random(&seed) / 0x1p62f;
        el_packed whole, parts;
        el_packed_init(&whole, layouts[l], ROWS, cols, tile);
        parts = whole;
        size_t n = el_packed_bytes(&whole);
        assert_int_equal(posix_memalign((void **)&whole.data, 64, n), 0);
        assert_int_equal(posix_memalign((void **)&parts.data, 64, n), 0);
        el_pack_tiles(&whole, EL_TYPE_F32, src, 0, whole.n_tiles);
        for (int k = 0; el_kernels_at(k); k++) {
          memset(parts.data, 0x5a, n);
          el_packed_clear(&parts);
          el_pack_rows(el_kernels_at(k), &parts, 0, 5, src, 1);
          el_pack_rows(el_kernels_at(k), &parts, 5, ROWS - 5, src + 5 * cols, 1);
          assert_memory_equal(parts.data, whole.data, n);
        }
        free(whole.data);
        free(parts.data);
      }
}

/* Sum of squared errors of a group of n values with the best of many scales, each value at its nearest code. */
static double least_error(const float *x, int n) {
  double best = INFINITY, amax = 0;
  for (int i = 0; i < n; i++) amax = fmax(amax, fabs(x[i]));
  for (int k = -400; k <= 400; k++) {
    double d = amax * k / 100 / 16, sum = 0;
    for (int i = 0; k && i < n; i++) {
      double e = x[i] - d * fmin(7, fmax(-8, rint(x[i] / d)));
      sum += e * e;
    }
    if (k) best = fmin(best, sum);
  }
  return best;
}

static void rows_in_4_bits_are_near_the_floats_and_take_no_more_room_than_their_columns(void **state) {
  enum { ROWS = 37 };
  for (int tile = 8; tile <= 16; tile += 8)
    for (int cols = 1; cols <= 70; cols += 3) {
      float src[ROWS * 70], row[70];
      uint64_t seed = 5;
      for (int i = 0; i < ROWS * cols; i++) src[i] = (float)(int64_t)next_random(&seed) / 0x1p62f;
      for (int i = 0; i < cols; i++) src[2 * cols + i] = 0;      /* a row of zeros */
      for (int i = 0; i < cols; i++) src[3 * cols + i] *= 1e-6f; /* small ones */
      el_packed w;
      el_packed_init(&w, EL_LAYOUT_Q4, ROWS, cols, tile);
      size_t n = el_packed_bytes(&w), groups = ((size_t)cols + 31) / 32;
      assert_true(w.tile_bytes <= ((size_t)((cols + 7) / 8 * 4) + 2 * groups) * (size_t)tile + 63);
      assert_int_equal(posix_memalign((void **)&w.data, 64, n), 0);
      memset(w.data, 0x5a, n);
      el_packed_clear(&w);
      el_pack_rows(el_kernels_at(0), &w, 0, 5, src, 1);
      el_pack_rows(el_kernels_at(0), &w, 5, ROWS - 5, src + 5 * cols, 1);
      double all = 0, all_least = 0;
      for (int r = 0; r < ROWS; r++) {
        el_packed_get_row(&w, r, row);
        for (int g = 0; g < cols; g += 32) {
          const float *x = src + r * cols + g;
          int m = cols - g < 32 ? cols - g : 32;
          double sum = 0, size = 0;
          for (int i = 0; i < m; i++) {
            double e = (double)row[g + i] - (double)x[i];
            sum += e * e;
            size += (double)x[i] * (double)x[i];
          }
          if (r == 3) { /* its scales are below F16's normal range; packers multiply matrices up first */
            assert_true(sum <= size + 1e-12);
            continue;
          }
          assert_true(sum <= 0.02 * size + 1e-12);
          all += sum;
          all_least += least_error(x, m);
        }
      }
      /* the last term: scales are rounded to F16 */
      assert_true(all <= 1.2 * all_least + 1e-6 * ROWS);
      free(w.data);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_type_is_packed_byte_for_byte_as_defined),
#ifndef EL_TESTS_CROSS_CMOCKA_H
      cmocka_unit_test(types_are_packed_without_loss_or_say_so),
#endif
      cmocka_unit_test(rows_of_floats_are_packed_as_the_whole_matrix_is),
      cmocka_unit_test(rows_in_4_bits_are_near_the_floats_and_take_no_more_room_than_their_columns),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
