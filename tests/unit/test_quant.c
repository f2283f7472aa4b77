/* Dequantisation against golden values of the gguf package; 16-bit floats against arithmetic in double. */
#include <jansson.h>
#include <math.h>

#include "bytes.h"
#include "format/quant.h"

static unsigned char *from_hex(const char *hex, size_t *n) {
  *n = strlen(hex) / 2;
  unsigned char *out = malloc(*n);
  assert_non_null(out);
  for (size_t i = 0; i < *n; i++) {
    unsigned v;
    assert_int_equal(sscanf(hex + 2 * i, "%2x", &v), 1);
    out[i] = (unsigned char)v;
  }
  return out;
}

/* Same bits as the gguf package's dequantiser, whatever the alignment of the blocks. */
static void every_type_gives_the_golden_floats(void **state) {
  char path[512];
  json_error_t e;
  snprintf(path, sizeof path, "%s/golden/dequant.json", getenv("EL_TEST_DATA"));
  json_t *root = json_load_file(path, 0, &e), *entry;
  if (!root) fail_msg("%s: %s", path, e.text);
  size_t i, seen = 0;
  json_array_foreach(json_object_get(root, "types"), i, entry) {
    size_t n_bytes, n_float_bytes;
    uint32_t type = (uint32_t)json_integer_value(json_object_get(entry, "ggml_type"));
    int64_t n = json_integer_value(json_object_get(entry, "values"));
    unsigned char *bytes = from_hex(json_string_value(json_object_get(entry, "bytes")), &n_bytes);
    unsigned char *floats = from_hex(json_string_value(json_object_get(entry, "floats")), &n_float_bytes);
    const el_type_info *info = el_type_get(type);
    assert_non_null(info);
    assert_string_equal(info->name, json_string_value(json_object_get(entry, "type")));
    assert_int_equal(n_bytes, n / info->block * info->block_bytes);
    assert_int_equal(n_float_bytes, n * 4);
    unsigned char *moved = malloc(n_bytes + 3);
    float *got = malloc((size_t)n * 4);
    for (size_t shift = 0; shift < 4; shift++) {
      memcpy(moved + shift, bytes, n_bytes);
      el_dequantize((el_type)type, moved + shift, got, n);
      assert_memory_equal(got, floats, (size_t)n * 4);
    }
    free(moved);
    free(got);
    free(bytes);
    free(floats);
    seen++;
  }
  json_decref(root);
  size_t known = 0;
  for (uint32_t t = 0; t < 100; t++) known += el_type_get(t) != NULL;
  assert_int_equal(seen, known);
}

/* The nearest value with `digits` significant bits and no exponent below `low`, ties to even; infinity above `max`. */
static double nearest(double x, int digits, int low, double max) {
  int e;
  frexp(x, &e);
  int unit = (e - 1 > low ? e - 1 : low) - (digits - 1);
  double r = ldexp(nearbyint(ldexp(x, -unit)), unit);
  return fabs(r) > max ? copysign(INFINITY, x) : r;
}

static float float_of(uint32_t bits) {
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

static void sixteen_bit_floats_round_to_nearest_even(void **state) {
  const double bf16_max = ldexp(255, 120);
  for (uint64_t u = 0; u < (uint64_t)1 << 32; u += 9973) { /* a prime: all exponents, all endings */
    float f = float_of((uint32_t)u);
    if (isnan(f)) {
      assert_true(isnan(el_f16_to_f32(el_f32_to_f16(f))));
      assert_true(isnan(el_bf16_to_f32(el_f32_to_bf16(f))));
      continue;
    }
    double half = nearest((double)f, 11, -14, 65504), brain = nearest((double)f, 8, -126, bf16_max);
    if (isinf(f)) half = brain = (double)f;
    double got_half = (double)el_f16_to_f32(el_f32_to_f16(f)), got_brain = (double)el_bf16_to_f32(el_f32_to_bf16(f));
    if (got_half != half || !signbit(got_half) != !signbit(f))
      fail_msg("%a: F16 %a, expected %a", (double)f, got_half, half);
    if (got_brain != brain || !signbit(got_brain) != !signbit(f))
      fail_msg("%a: BF16 %a, expected %a", (double)f, got_brain, brain);
  }
}

static void ties_and_limits_of_f16(void **state) {
  static const struct {
    float f;
    uint16_t h;
  } cases[] = {{65504.0f, 0x7bff},         {65519.996f, 0x7bff}, {65520.0f, 0x7c00},        {-65520.0f, 0xfc00},
               {0x1p-24f, 0x0001},         {0x1p-25f, 0x0000},   {0x1.000002p-25f, 0x0001}, {0x1.8p-24f, 0x0002},
               {0x1p-14f, 0x0400},         {-0.0f, 0x8000},      {0x1.ffdp-15f, 0x0400},    {1.0f + 0x1p-11f, 0x3c00},
               {1.0f + 0x1.8p-10f, 0x3c02}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) assert_int_equal(el_f32_to_f16(cases[i].f), cases[i].h);
}

static void every_f16_and_bf16_survives_the_round_trip(void **state) {
  for (uint32_t h = 0; h < 65536; h++) {
    float half = el_f16_to_f32((uint16_t)h), brain = el_bf16_to_f32((uint16_t)h);
    if (!isnan(half)) assert_int_equal(el_f32_to_f16(half), h);
    if (!isnan(brain)) assert_int_equal(el_f32_to_bf16(brain), h);
  }
}

static void every_f16_has_its_value(void **state) {
  for (uint32_t h = 0; h < 65536; h++) {
    uint32_t exponent = h >> 10 & 31, mantissa = h & 1023;
    double v = exponent ? ldexp(1024 + mantissa, (int)exponent - 25) : ldexp(mantissa, -24);
    if (exponent == 31) v = mantissa ? NAN : INFINITY;
    double got = (double)el_f16_to_f32((uint16_t)h);
    assert_true(!signbit(got) == !(h & 0x8000));
    assert_true(isnan(v) ? isnan(got) : fabs(got) == v);
  }
}

static void unknown_types_have_no_info(void **state) {
  assert_null(el_type_get(4)); /* once Q4_2 */
  assert_null(el_type_get(9)); /* Q8_1 */
  assert_null(el_type_get(31));
  assert_null(el_type_get(EL_N_TYPES));
  assert_null(el_type_get(UINT32_MAX));
}

static void every_name_is_in_the_list_of_types(void **state) {
  char names[300], cut[20], word[32];
  el_type_names(names, sizeof names);
  assert_true(!strncmp(names, "F32, F16, Q4_0, ", 16));
  size_t n = strlen(names);
  assert_string_equal(names + n - strlen(", Q1_0 and Q2_0"), ", Q1_0 and Q2_0");
  for (uint32_t t = 0; t < EL_N_TYPES; t++) {
    if (!el_type_get(t)) continue;
    snprintf(word, sizeof word, "%s", el_type_get(t)->name);
    assert_contains(names, word);
  }
  el_type_names(cut, sizeof cut);
  assert_int_equal(strlen(cut), sizeof cut - 1);
}

/* Packing keeps these, so they are as good as the floats. */
static void codes_times_scales_are_the_floats(void **state) {
  for (uint32_t t = 0; t < EL_N_TYPES; t++) {
    if (!el_type_get(t) || !el_quant_has_codes(t)) continue;
    const el_type_info *info = el_type_get(t);
    assert_true(info->block % 32 == 0 && info->block <= 32 * EL_QUANT_GROUPS);
    unsigned char block[256];
    uint32_t seed = t + 1;
    for (int round = 0; round < 100; round++) {
      for (int i = 0; i < info->block_bytes; i++)
        block[i] = (unsigned char)((seed = seed * 1664525u + 1013904223u) >> 24);
      el_quant_group g[EL_QUANT_GROUPS];
      float y[256];
      el_quant_codes(t, block, g);
      el_dequantize(t, block, y, info->block);
      for (int i = 0; i < info->block; i++) {
        const el_quant_group *q = &g[i / 32];
        float want = (float)((double)q->unit * q->mul[i % 32 / 16] * q->code[i % 32]);
        assert_true(isnan(want) ? isnan(y[i]) : want == y[i]);
      }
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_type_gives_the_golden_floats),
      cmocka_unit_test(sixteen_bit_floats_round_to_nearest_even),
      cmocka_unit_test(ties_and_limits_of_f16),
      cmocka_unit_test(every_f16_has_its_value),
      cmocka_unit_test(every_f16_and_bf16_survives_the_round_trip),
      cmocka_unit_test(unknown_types_have_no_info),
      cmocka_unit_test(every_name_is_in_the_list_of_types),
      cmocka_unit_test(codes_times_scales_are_the_floats),
  };
  return cmocka_run_group_tests_name("quant", tests, NULL, NULL);
}
