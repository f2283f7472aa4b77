/* Kernels: every instruction set of this CPU gives the scalar reference's bits, and the reference gives the
 * mathematics. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/select.h"
#include "kernels/tables.h"

#if defined(__x86_64__)
extern const el_kernels el_kernels_avxvnni_evex;
#endif

/* Every instruction set of this CPU; that of AVX-VNNI in AVX-512's encoding, too, if the CPU has it so only. */
static const el_kernels *kernels_at(int i) {
  int n = 0;
  bool avxvnni = false;
  for (; el_kernels_at(n); n++) {
    if (n == i) return el_kernels_at(n);
    avxvnni = avxvnni || !strcmp(el_kernels_at(n)->name, "avxvnni");
  }
#if defined(__x86_64__)
  if (i == n && !avxvnni && !strcmp(el_kernels_at(0)->name, "avx512vnni")) return &el_kernels_avxvnni_evex;
#endif
  return NULL;
}

static uint32_t next_random(uint32_t *s) {
  *s ^= *s << 13;
  *s ^= *s >> 17;
  return *s ^= *s << 5;
}
static float uniform(uint32_t *s) {
  return (float)(int32_t)next_random(s) / 2147483648.0f;
}

static void *aligned(size_t n) {
  void *p = NULL;
  assert_int_equal(posix_memalign(&p, 64, (n + 63) / 64 * 64), 0);
  return p;
}

typedef struct matrix {
  el_packed w;
  float *values; /* [rows, cols], what the packed codes mean */
} matrix;

/* Random blocks of a GGUF type; scales stay finite because they are drawn as floats. */
static matrix make_matrix(el_type type, int rows, int cols, int tile, uint32_t seed, bool extreme) {
  const el_type_info *info = el_type_get(type);
  size_t blocks = (size_t)rows * (size_t)(cols / info->block), bytes = blocks * (size_t)info->block_bytes;
  unsigned char *src = aligned(bytes);
  for (size_t i = 0; i < bytes; i++) src[i] = extreme ? 0xff : (unsigned char)next_random(&seed);
  for (size_t b = 0; b < blocks; b++) {
    unsigned char *p = src + b * (size_t)info->block_bytes;
    uint16_t d = el_f32_to_f16(extreme ? 1.0f : 0.01f * uniform(&seed)), m = el_f32_to_f16(0.05f * uniform(&seed));
    switch (type) {
      case EL_TYPE_Q4_0:
      case EL_TYPE_Q5_0: memcpy(p, &d, 2); break;
      case EL_TYPE_Q8_0:
        memcpy(p, &d, 2);
        if (extreme) memset(p + 2, b & 1 ? 0x80 : 0x7f, 32); /* -128 and 127 */
        break;
      case EL_TYPE_Q4_1:
      case EL_TYPE_Q5_1:
      case EL_TYPE_Q4_K:
      case EL_TYPE_Q5_K:
        memcpy(p, &d, 2);
        memcpy(p + 2, &m, 2);
        break;
      case EL_TYPE_Q6_K: memcpy(p + 208, &d, 2); break;
      case EL_TYPE_F16: {
        uint16_t h = el_f32_to_f16(uniform(&seed));
        memcpy(p, &h, 2);
        break;
      }
      case EL_TYPE_BF16: {
        uint16_t h = el_f32_to_bf16(uniform(&seed));
        memcpy(p, &h, 2);
        break;
      }
      case EL_TYPE_F32: {
        float f = uniform(&seed);
        memcpy(p, &f, 4);
        break;
      }
      default: fail();
    }
  }
  matrix m = {0};
  el_packed_init(&m.w, el_layout_for(type, src, (int64_t)rows * cols, EL_WEIGHTS_KEEP), rows, cols, tile);
  m.w.data = aligned(el_packed_bytes(&m.w));
  el_pack_tiles(&m.w, type, src, 0, m.w.n_tiles);
  m.values = aligned(sizeof(float) * (size_t)rows * (size_t)cols);
  for (int r = 0; r < rows; r++) el_packed_get_row(&m.w, r, m.values + (size_t)r * (size_t)cols);

  /* What was packed is what the file says: exactly for 4-bit, 8-bit and 16-bit types, to 1/254 of a group's maximum
   * else. */
  float *plain = aligned(sizeof(float) * (size_t)rows * (size_t)cols);
  el_dequantize(type, src, plain, (int64_t)rows * cols);
  for (int i = 0; i < rows * cols; i += EL_GROUP) {
    int n = rows * cols - i < EL_GROUP ? rows * cols - i : EL_GROUP;
    float amax = 0;
    for (int k = 0; k < n; k++) amax = fmaxf(amax, fabsf(plain[i + k]));
    float bound = type == EL_TYPE_Q6_K                                                  ? amax / 250
                  : type == EL_TYPE_Q4_K || type == EL_TYPE_Q5_K || type == EL_TYPE_F32 ? amax / 500
                                                                                        : 1e-6f * amax;
    for (int k = 0; k < n; k++) assert_true(fabsf(plain[i + k] - m.values[i + k]) <= bound);
  }
  free(plain);
  free(src);
  return m;
}

static void free_matrix(matrix *m) {
  free(m->w.data);
  free(m->values);
}

static void fill_act(const el_kernels *k, el_act *a, const float *x, int cols, int n_cols) {
  el_act_shape(a, cols, n_cols);
  for (int c = 0; c < n_cols; c++) {
    k->quantize(x + (size_t)c * (size_t)cols, 0, a->n_groups, 1.0f, a, c);
    memcpy(a->f + (size_t)c * (size_t)cols, x + (size_t)c * (size_t)cols, sizeof(float) * (size_t)cols);
  }
}

static void check_gemm(const el_kernels *k, el_type type, int rows, int cols, int n_cols, bool extreme) {
  matrix m = make_matrix(type, rows, cols, k->tile, (uint32_t)(rows * 31 + cols) | 1, extreme);
  size_t n_x = (size_t)cols * (size_t)n_cols, n_y = (size_t)rows * (size_t)n_cols;
  float *x = aligned(sizeof(float) * n_x), *y = aligned(sizeof(float) * n_y), *ref = aligned(sizeof(float) * n_y);
  uint32_t seed = 77;
  for (size_t i = 0; i < n_x; i++)
    x[i] = extreme ? (i & 1 ? -3.0f : 3.0f) * (i % 64 < 32 ? 1.0f : -1.0f) : 2 * uniform(&seed);
  if (extreme)
    for (size_t i = 0; i < n_x / 2; i++) x[i] = 3.0f; /* all products of one sign: the largest sums there are */
  el_act a, a_ref;
  assert_int_equal(el_act_new(&a, cols, n_cols, NULL), EL_OK);
  assert_int_equal(el_act_new(&a_ref, cols, n_cols, NULL), EL_OK);
  fill_act(k, &a, x, cols, n_cols);
  fill_act(&el_kernels_scalar, &a_ref, x, cols, n_cols);
  size_t figures = (size_t)a.n_groups * (size_t)n_cols;
  assert_memory_equal(a.q, a_ref.q, figures * EL_GROUP);
  assert_memory_equal(a.d, a_ref.d, figures * 4);
  assert_memory_equal(a.ds, a_ref.ds, figures * 4);
  assert_memory_equal(a.s8, a_ref.s8, figures * 4);
  assert_memory_equal(a.s128, a_ref.s128, figures * 4);

  for (int add = 0; add < 2; add++) {
    for (size_t i = 0; i < n_y; i++) y[i] = ref[i] = (float)(i % 7);
    /* in two parts, rows and columns, as threads and adapter groups cut it */
    int mid = m.w.n_tiles / 2, mid_col = n_cols / 3;
    const el_span spans[] = {{(const unsigned char *)x, sizeof(float) * n_x}, {(const unsigned char *)y, 100}};
    el_fetch fetch = {.next = (const unsigned char *)ref, .spans = spans, .n_spans = 2, .lines = 3};
    for (int t = 0; t < 2; t++)
      for (int c = 0; c < 2; c++)
        k->gemm(&m.w, t ? mid : 0, t ? m.w.n_tiles : mid, &a, c ? mid_col : 0, c ? n_cols : mid_col, y, (size_t)rows,
                add, t ? NULL : &fetch);
    el_kernels_scalar.gemm(&m.w, 0, m.w.n_tiles, &a_ref, 0, n_cols, ref, (size_t)rows, add, NULL);
    assert_memory_equal(y, ref, n_y * sizeof(float));
  }
  for (int c = 0; c < n_cols; c++)
    for (int r = 0; r < rows; r++) {
      double exact = (double)((c * rows + r) % 7), size = 1e-3;
      for (int i = 0; i < cols; i++) {
        size_t at = el_act_at(&a, c, i / EL_GROUP);
        bool integer = m.w.layout != EL_LAYOUT_F16 && m.w.layout != EL_LAYOUT_BF16;
        double xi = integer ? (double)a.d[at] * a.q[at * EL_GROUP + (size_t)(i % EL_GROUP)]
                            : x[(size_t)c * (size_t)cols + (size_t)i];
        double p = xi * m.values[(size_t)r * (size_t)cols + (size_t)i];
        exact += p;
        size += fabs(p);
      }
      assert_true(fabs(exact - ref[(size_t)c * (size_t)rows + (size_t)r]) <= 1e-5 * size + 1e-4);
    }
  el_act_free(&a);
  el_act_free(&a_ref);
  free(x);
  free(y);
  free(ref);
  free_matrix(&m);
}

static void every_isa_gives_the_reference_bits_on_odd_shapes(void **state) {
  static const el_type quantised[] = {EL_TYPE_Q4_0, EL_TYPE_Q4_1, EL_TYPE_Q8_0, EL_TYPE_Q5_0, EL_TYPE_Q5_1};
  static const el_type floats[] = {EL_TYPE_F16, EL_TYPE_BF16, EL_TYPE_F32};
  for (int i = 0; kernels_at(i); i++) {
    const el_kernels *k = kernels_at(i);
    printf("%s\n", k->name);
    for (size_t t = 0; t < 5; t++)
      for (int n = 1; n <= 19; n++) check_gemm(k, quantised[t], 8 + n * 3, 32 * (1 + n % 5), n, false);
    check_gemm(k, EL_TYPE_Q4_0, 1, 32, 1, false);
    check_gemm(k, EL_TYPE_Q8_0, 17, 4096, 9, false);
    check_gemm(k, EL_TYPE_Q4_K, 23, 512, 11, false);
    check_gemm(k, EL_TYPE_Q5_K, 9, 256, 4, false);
    check_gemm(k, EL_TYPE_Q6_K, 9, 256, 3, false);
    check_gemm(k, EL_TYPE_Q4_1, 300, 1088, 15, false); /* more tiles and groups than any kernel takes at once */
    for (size_t t = 0; t < 5; t++) { /* blocks of tiles, chunks of groups and passes of columns, none of them whole */
      check_gemm(k, quantised[t], 1105, 32 * 19, 17 + (int)t * 5, false);
      check_gemm(k, quantised[t], 64, 32 * 67, 7, false);
    }
    for (size_t t = 0; t < 3; t++)
      for (int n = 1; n <= 9; n++) check_gemm(k, floats[t], 5 * n, 7 * n + 1, n, false);
  }
}

static void all_max_codes_and_activations_do_not_overflow(void **state) {
  static const el_type types[] = {EL_TYPE_Q4_0, EL_TYPE_Q4_1, EL_TYPE_Q5_1, EL_TYPE_Q8_0};
  for (int i = 0; kernels_at(i); i++)
    for (size_t t = 0; t < 4; t++) {
      check_gemm(kernels_at(i), types[t], 16, 8192, 9, true);
      check_gemm(kernels_at(i), types[t], 128, 1024, 20, true); /* enough of both for every way there is */
    }
}

static void check_low_rank(const el_kernels *k, el_layout layout, int rank) {
  enum { ROWS = 40, N = 9 };
  float *src = aligned(sizeof(float) * (size_t)(ROWS * rank)), *x = aligned(sizeof(float) * (size_t)rank * N);
  float y[N * ROWS], ref[N * ROWS], row[70];
  uint32_t seed = (uint32_t)rank;
  for (int j = 0; j < ROWS * rank; j++) src[j] = uniform(&seed);
  for (int j = 0; j < rank * N; j++) x[j] = uniform(&seed);
  el_packed w;
  el_packed_init(&w, layout, ROWS, rank, k->tile);
  w.data = aligned(el_packed_bytes(&w));
  el_packed_clear(&w);
  el_pack_rows(k, &w, 0, 13, src, 1);
  el_pack_rows(k, &w, 13, ROWS - 13, src + 13 * rank, 1);
  el_act a;
  assert_int_equal(el_act_new(&a, rank, N, NULL), EL_OK);
  fill_act(k, &a, x, rank, N);
  memcpy(a.f, x, sizeof(float) * (size_t)(rank * N));
  for (int n = 1; n <= N; n++) {
    k->gemm(&w, 0, w.n_tiles, &a, 0, n, y, ROWS, false, NULL);
    el_kernels_scalar.gemm(&w, 0, w.n_tiles, &a, 0, n, ref, ROWS, false, NULL);
    assert_memory_equal(y, ref, sizeof(float) * (size_t)(n * ROWS));
  }
  for (int c = 0; c < N; c++) { /* as a step of one row for each adapter does */
    k->gemm(&w, 0, w.n_tiles, &a, c, c + 1, y, ROWS, true, NULL);
    el_kernels_scalar.gemm(&w, 0, w.n_tiles, &a, c, c + 1, ref, ROWS, true, NULL);
  }
  assert_memory_equal(y, ref, sizeof y);
  for (int r = 0; r < ROWS; r++) {
    el_packed_get_row(&w, r, row);
    for (int j = 0; j < rank; j++)
      assert_true(fabsf(row[j] - src[r * rank + j]) < (layout == EL_LAYOUT_Q4 ? 0.15f : 0.005f));
    for (int c = 0; c < N; c++) {
      double exact = 0;
      for (int j = 0; j < rank; j++) exact += (double)row[j] * x[c * rank + j];
      assert_true(fabs(2 * exact - y[c * ROWS + r]) < 0.04 * sqrt(rank));
    }
  }
  el_act_free(&a);
  free(w.data);
  free(src);
  free(x);
}

static void low_rank_matrices_of_any_rank_and_layout_multiply(void **state) {
  static const el_layout layouts[] = {EL_LAYOUT_Q8, EL_LAYOUT_Q4, EL_LAYOUT_F16};
  for (int i = 0; kernels_at(i); i++)
    for (int l = 0; l < 3; l++)
      for (int rank = 1; rank <= 70; rank++) check_low_rank(kernels_at(i), layouts[l], rank);
}

static void a_column_does_not_depend_on_its_neighbours(void **state) {
  enum { ROWS = 50, COLS = 96, N = 19 };
  for (int i = 0; kernels_at(i); i++) {
    const el_kernels *k = kernels_at(i);
    matrix m = make_matrix(EL_TYPE_Q4_1, ROWS, COLS, k->tile, 5, false);
    float x[N * COLS], y[N * ROWS], alone[ROWS];
    uint32_t seed = 9;
    for (int j = 0; j < N * COLS; j++) x[j] = uniform(&seed);
    x[3 * COLS + 5] = NAN; /* and a bad one harms only itself */
    el_act a;
    assert_int_equal(el_act_new(&a, COLS, N, NULL), EL_OK);
    fill_act(k, &a, x, COLS, N);
    k->gemm(&m.w, 0, m.w.n_tiles, &a, 0, N, y, ROWS, false, NULL);
    for (int c = 0; c < N; c++) {
      fill_act(k, &a, x + c * COLS, COLS, 1);
      k->gemm(&m.w, 0, m.w.n_tiles, &a, 0, 1, alone, ROWS, false, NULL);
      for (int r = 0; r < ROWS; r++) {
        if (c == 3)
          assert_true(isnan(y[c * ROWS + r]));
        else
          assert_memory_equal(&alone[r], &y[c * ROWS + r], 4);
      }
    }
    el_act_free(&a);
    free_matrix(&m);
  }
}

/* What a group of activations becomes, by the definition: codes x 127 / max |x| to the nearest, ties to even. */
static void check_group(const el_act *a, int g, const float *x, int n) {
  size_t at = el_act_at(a, 0, g);
  const int8_t *q = a->q + at * EL_GROUP;
  float amax = 0;
  bool finite = true;
  int sum = 0;
  for (int i = 0; i < n; i++) finite = finite && isfinite(x[i]), amax = fmaxf(amax, fabsf(x[i]));
  float id = amax > 1e-36f ? 127.0f / amax : 0.0f;
  for (int i = 0; i < EL_GROUP; i++) {
    int want = finite && i < n ? (int)rintf(x[i] * id) : 0;
    if (q[i] != want) fail_msg("group %d: code %d is %d, expected %d", g, i, q[i], want);
    sum += want;
  }
  assert_int_equal(a->s8[at], -8 * sum);
  assert_int_equal(a->s128[at], -128 * sum);
  if (!finite)
    assert_true(isnan(a->d[at]) && isnan(a->ds[at]));
  else
    assert_true(a->d[at] == amax / 127.0f && a->ds[at] == amax / 127.0f * (float)sum);
}

static void activations_are_quantised_by_the_definition(void **state) {
  enum { GROUPS = 12 };
  static const float extremes[] = {0, 1e-45f, 1e-38f, 1e-36f,   1.1e-36f,  1e-30f,
                                   1, 127,    3e38f,  INFINITY, -INFINITY, NAN};
  for (int i = 0; kernels_at(i); i++)
    for (int tail = 1; tail <= EL_GROUP; tail++) {
      const int k = (GROUPS - 1) * EL_GROUP + tail;
      float x[GROUPS * EL_GROUP];
      uint32_t seed = (uint32_t)tail;
      for (int j = 0; j < k; j++) {
        int g = j / EL_GROUP;
        float largest = isfinite(extremes[g]) ? extremes[g] : 5, u = uniform(&seed);
        /* In the group of 127 all are halves, so that ties are seen. */
        x[j] = largest == 127 ? roundf(u * 126) + 0.5f : u * largest;
        if (j % EL_GROUP == tail % (g == GROUPS - 1 ? tail : EL_GROUP)) x[j] = extremes[g];
      }
      el_act a;
      assert_int_equal(el_act_new(&a, k, 1, NULL), EL_OK);
      el_act_shape(&a, k, 1);
      kernels_at(i)->quantize(x, 0, a.n_groups, 1.0f, &a, 0);
      for (int g = 0; g < a.n_groups; g++) check_group(&a, g, x + g * EL_GROUP, g == GROUPS - 1 ? tail : EL_GROUP);
      el_act_free(&a);
    }
}

static void elementwise_operations_agree_with_libm_and_across_isas(void **state) {
  enum { N = 533 };
  float x[N], w[N], y[N], ref[N];
  uint32_t seed = 3;
  for (int n = 1; n <= N; n += 19) {
    for (int j = 0; j < n; j++) x[j] = 20 * uniform(&seed), w[j] = uniform(&seed);
    for (int i = 0; kernels_at(i); i++) {
      const el_kernels *k = kernels_at(i);
      k->rms_norm(x, w, n, 1e-5f, y);
      el_kernels_scalar.rms_norm(x, w, n, 1e-5f, ref);
      assert_memory_equal(y, ref, sizeof(float) * (size_t)n);
      double sum = 0;
      for (int j = 0; j < n; j++) sum += (double)x[j] * x[j];
      for (int j = 0; j < n; j++) assert_true(fabs(y[j] - x[j] / sqrt(sum / n + 1e-5) * w[j]) < 1e-5);
      k->swiglu(x, w, n, y);
      el_kernels_scalar.swiglu(x, w, n, ref);
      assert_memory_equal(y, ref, sizeof(float) * (size_t)n);
      for (int j = 0; j < n; j++) {
        double exact = x[j] / (1 + exp(-(double)x[j])) * w[j];
        assert_true(fabs(y[j] - exact) < 1e-6 * (1 + fabs(exact)));
      }
    }
  }
}

static void rotation_keeps_lengths_and_agrees_across_isas(void **state) {
  float x[64], y[64], ref[64], cos_sin[64];
  uint32_t seed = 21;
  for (int n = 2; n <= 64; n += 2) {
    for (int j = 0; j < n; j += 2) {
      float angle = 3 * uniform(&seed);
      cos_sin[j] = cosf(angle), cos_sin[j + 1] = sinf(angle);
      x[j] = uniform(&seed), x[j + 1] = uniform(&seed);
    }
    memcpy(ref, x, sizeof x);
    el_kernels_scalar.rope(ref, cos_sin, n);
    for (int j = 0; j < n; j += 2) {
      assert_true(fabsf(hypotf(ref[j], ref[j + 1]) - hypotf(x[j], x[j + 1])) < 1e-6f);
      assert_true(fabsf(ref[j] - (x[j] * cos_sin[j] - x[j + 1] * cos_sin[j + 1])) < 1e-6f);
    }
    for (int i = 0; kernels_at(i); i++) {
      memcpy(y, x, sizeof x);
      kernels_at(i)->rope(y, cos_sin, n);
      assert_memory_equal(y, ref, sizeof(float) * (size_t)n);
    }
  }
}

static void attention_is_softmax_of_scores_times_values(void **state) {
  static const int dims[] = {2, 10, 16, 64, 80, 128}, lengths[] = {1, 5, 16, 17, 100, 128, 129, 300};
  enum { PAGES = 20, MOST = 300 };
  for (size_t di = 0; di < sizeof dims / sizeof *dims; di++) {
    int hd = dims[di], n_q = 1 + (int)di;
    size_t head_bytes = (size_t)hd * 64, page_bytes = head_bytes * 2;
    unsigned char *kv = aligned(page_bytes * PAGES);
    memset(kv, 0xff, page_bytes * PAGES); /* NaN wherever nothing is written */
    uint32_t pages[PAGES], seed = 11;
    for (uint32_t i = 0; i < PAGES; i++) pages[i] = (i * 7 + 4) % PAGES;
    float *scratch = aligned(sizeof(float) * el_attn_scratch(hd));
    float *keys = aligned(sizeof(float) * MOST * (size_t)hd), *values = aligned(sizeof(float) * MOST * (size_t)hd);
    for (size_t li = 0; li < sizeof lengths / sizeof *lengths; li++) {
      int n_pos = lengths[li];
      for (int p = 0; p < n_pos; p++) {
        for (int d = 0; d < hd; d++) {
          keys[p * hd + d] = el_f16_to_f32(el_f32_to_f16(uniform(&seed)));
          values[p * hd + d] = el_f16_to_f32(el_f32_to_f16(uniform(&seed)));
        }
        kernels_at(0)->kv_write(EL_KV_F16, kv + pages[p / 16] * page_bytes + head_bytes, p % 16, hd, keys + p * hd,
                                values + p * hd);
      }
      float q[6 * 128], out[6 * 128], ref[6 * 128];
      for (int j = 0; j < n_q * hd; j++) q[j] = 4 * uniform(&seed);
      el_attn a = {.q = q,
                   .out = out,
                   .scratch = scratch,
                   .n_rows = 1,
                   .n_q = n_q,
                   .head_dim = hd,
                   .n_pos = n_pos,
                   .scale = 1.0f / sqrtf((float)hd),
                   .pages = pages,
                   .kv = kv,
                   .page_bytes = page_bytes,
                   .offset = head_bytes};
      el_attn b = a;
      b.out = ref;
      el_kernels_scalar.attend(&b);
      for (int i = 0; kernels_at(i); i++) {
        kernels_at(i)->attend(&a);
        assert_memory_equal(out, ref, sizeof(float) * (size_t)(n_q * hd));
      }
      for (int h = 0; h < n_q; h++) {
        double p[MOST], sum = 0, max = -1e30;
        for (int t = 0; t < n_pos; t++) {
          p[t] = 0;
          for (int d = 0; d < hd; d++) p[t] += (double)q[h * hd + d] * keys[t * hd + d];
          p[t] /= sqrt(hd);
          max = fmax(max, p[t]);
        }
        for (int t = 0; t < n_pos; t++) sum += p[t] = exp(p[t] - max);
        for (int d = 0; d < hd; d++) {
          double exact = 0;
          for (int t = 0; t < n_pos; t++) exact += p[t] / sum * values[t * hd + d];
          assert_true(fabs(out[h * hd + d] - exact) < 1e-5);
        }
      }
    }
    free(kv);
    free(scratch);
    free(keys);
    free(values);
  }
}

/* Pages of one head, positions 0 .. n_pos - 1 written and the rest NaN. */
typedef struct pages {
  unsigned char *kv;
  uint32_t *table;
  size_t page_bytes, offset;
} pages;

static pages make_pages(el_kv_type type, int hd, int n_pos) {
  enum { HEADS = 2 };
  const int n = (n_pos + 15) / 16;
  pages p = {.page_bytes = el_kv_piece_bytes(type, hd) * HEADS, .offset = el_kv_piece_bytes(type, hd)};
  uint32_t seed = 11;
  p.kv = aligned(p.page_bytes * (size_t)n);
  p.table = aligned(sizeof *p.table * (size_t)n);
  memset(p.kv, 0xff, p.page_bytes * (size_t)n);
  for (int i = 0; i < n; i++) p.table[i] = (uint32_t)(n - 1 - i);
  float key[256], value[256];
  for (int pos = 0; pos < n_pos; pos++) {
    for (int d = 0; d < hd; d++) key[d] = 2 * uniform(&seed), value[d] = uniform(&seed);
    el_kernels_at(0)->kv_write(type, p.kv + p.table[pos / 16] * p.page_bytes + p.offset, pos % 16, hd, key, value);
  }
  return p;
}

/* n_rows rows from position `pos` on in one call, and each alone by the reference, when later positions are not there
 * yet: a NaN behind a row's own position must not reach it. */
static void check_rows_of(el_kv_type type, int hd, int n_q, int pos, int n_rows) {
  const size_t row = (size_t)(n_q * hd), ldq = row + 24, ldo = row + 8;
  float *q = aligned(sizeof(float) * ldq * (size_t)n_rows), *out = aligned(sizeof(float) * ldo * (size_t)n_rows),
        *ref = aligned(sizeof(float) * row * (size_t)n_rows), *scratch = aligned(sizeof(float) * el_attn_scratch(hd));
  uint32_t seed = 5;
  for (size_t i = 0; i < ldq * (size_t)n_rows; i++) q[i] = 3 * uniform(&seed);
  el_attn a = {.out = out,
               .ldq = ldq,
               .ldo = ldo,
               .scratch = scratch,
               .kv_type = type,
               .n_q = n_q,
               .head_dim = hd,
               .scale = 1 / sqrtf((float)hd)};
  for (int r = 0; r < n_rows; r++) {
    pages p = make_pages(type, hd, pos + r + 1);
    el_attn one = a;
    one.q = q + ldq * (size_t)r;
    one.out = ref + row * (size_t)r;
    one.n_rows = 1;
    one.n_pos = pos + r + 1;
    one.pages = p.table;
    one.kv = p.kv;
    one.page_bytes = p.page_bytes;
    one.offset = p.offset;
    el_kernels_scalar.attend(&one);
    free(p.kv);
    free(p.table);
  }
  pages p = make_pages(type, hd, pos + n_rows);
  a.q = q;
  a.n_rows = n_rows;
  a.n_pos = pos + 1;
  a.pages = p.table;
  a.kv = p.kv;
  a.page_bytes = p.page_bytes;
  a.offset = p.offset;
  for (int i = 0; el_kernels_at(i); i++)
    for (int next = 0; next < 2; next++) {
      a.next_pages = next ? p.table : NULL;
      a.next_n_pages = 1;
      memset(out, 0xff, sizeof(float) * ldo * (size_t)n_rows);
      el_kernels_at(i)->attend(&a);
      for (int r = 0; r < n_rows; r++)
        assert_memory_equal(out + ldo * (size_t)r, ref + row * (size_t)r, sizeof(float) * row);
    }
  free(p.kv);
  free(p.table);
  free(q);
  free(out);
  free(ref);
  free(scratch);
}

static void check_rows(int hd, int n_q, int pos, int n_rows) {
  check_rows_of(EL_KV_F16, hd, n_q, pos, n_rows);
  check_rows_of(EL_KV_Q8, hd, n_q, pos, n_rows);
}

static void rows_that_share_a_pass_over_keys_give_what_each_gives_alone(void **state) {
  for (int n_q = 1; n_q <= 9; n_q++)
    for (int n_rows = 1; n_rows <= 9; n_rows++) check_rows(16, n_q, 20 - n_rows, n_rows);
  for (int n_rows = 1; n_rows <= 24; n_rows++) check_rows(32, 1, EL_ATTN_BLOCK - 5, n_rows);
  static const int dims[] = {2, 10, 80, 128, 256};
  for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) check_rows(dims[i], 3, 2 * EL_ATTN_BLOCK - 3, 8);
  check_rows(64, 3, 0, 8);
  check_rows(64, 3, 1000, 8);
  check_rows(64, 32, 40, 1); /* more heads than a tile has queries */
  check_rows(16, 8, 130, 7);
}

/* A piece as every instruction set writes it, and what its codes mean. */
static void keys_and_values_of_8_bits_are_near_and_the_same_everywhere(void **state) {
  static const int dims[] = {2, 6, 64, 80};
  uint32_t seed = 3;
  for (size_t di = 0; di < sizeof dims / sizeof *dims; di++) {
    const int hd = dims[di];
    const size_t bytes = el_kv_piece_bytes(EL_KV_Q8, hd), values_at = (size_t)(hd + 3) / 4 * 64,
                 scales_at = values_at + (size_t)hd * 16;
    unsigned char *a = aligned(bytes), *b = aligned(bytes);
    float key[80], value[80];
    for (int slot = 0; slot < 16; slot++) {
      for (int d = 0; d < hd; d++) {
        key[d] = ldexpf(uniform(&seed), 3 * (slot - 8)); /* down to scales that F16 hardly has */
        value[d] = uniform(&seed);
      }
      if (slot == 5) key[1] = NAN;
      if (slot == 6) value[0] = INFINITY;
      if (slot == 7) memset(value, 0, sizeof value);
      memset(b, 0x55, bytes);
      el_kernels_scalar.kv_write(EL_KV_Q8, b, slot, hd, key, value);
      for (int i = 0; el_kernels_at(i); i++) {
        memset(a, 0x55, bytes);
        el_kernels_at(i)->kv_write(EL_KV_Q8, a, slot, hd, key, value);
        assert_memory_equal(a, b, bytes);
      }
      uint16_t scale[2];
      memcpy(&scale[0], b + scales_at + 2 * slot, 2);
      memcpy(&scale[1], b + scales_at + 32 + 2 * slot, 2);
      float kd = el_f16_to_f32(scale[0]), vd = el_f16_to_f32(scale[1]);
      assert_true(isnan(kd) == (slot == 5) && isnan(vd) == (slot == 6));
      for (int d = 0; d < hd; d++) {
        float k = (float)(b[d / 4 * 64 + slot * 4 + d % 4] - 128) * kd,
              v = (float)(int8_t)b[values_at + (size_t)(slot * hd + d)] * vd;
        if (slot != 5) assert_true(fabsf(k - key[d]) <= 0.501f * kd);
        if (slot != 6) assert_true(fabsf(v - value[d]) <= 0.501f * vd);
      }
    }
    free(a);
    free(b);
  }
}

static void an_unknown_isa_is_refused_by_name(void **state) {
  el_error err;
  const el_kernels *k = NULL;
  assert_int_equal(el_kernels_get("mmx", &k, &err), EL_ERR_UNSUPPORTED);
  assert_non_null(strstr(err.message, "mmx"));
  assert_non_null(strstr(err.message, "scalar"));
  assert_int_equal(el_kernels_get("scalar", &k, &err), EL_OK);
  assert_ptr_equal(k, &el_kernels_scalar);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_isa_gives_the_reference_bits_on_odd_shapes),
      cmocka_unit_test(all_max_codes_and_activations_do_not_overflow),
      cmocka_unit_test(low_rank_matrices_of_any_rank_and_layout_multiply),
      cmocka_unit_test(a_column_does_not_depend_on_its_neighbours),
      cmocka_unit_test(activations_are_quantised_by_the_definition),
      cmocka_unit_test(elementwise_operations_agree_with_libm_and_across_isas),
      cmocka_unit_test(rotation_keeps_lengths_and_agrees_across_isas),
      cmocka_unit_test(attention_is_softmax_of_scores_times_values),
      cmocka_unit_test(rows_that_share_a_pass_over_keys_give_what_each_gives_alone),
      cmocka_unit_test(keys_and_values_of_8_bits_are_near_and_the_same_everywhere),
      cmocka_unit_test(an_unknown_isa_is_refused_by_name),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
