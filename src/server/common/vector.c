#include "server/common/vector.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* 1 / length; of nothing but zeros, 1. */
static double vector_scale(const float *v, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += (double)v[i] * (double)v[i];
  return sum > 0 ? 1 / sqrt(sum) : 1;
}

/* A byte of the vector as little-endian values. */
static uint32_t vector_byte_at(const float *v, size_t n, double scale, size_t at) {
  if (at / 4 >= n) return 0;
  const float x = (float)((double)v[at / 4] * scale);
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits >> 8 * (at % 4) & 0xff;
}

static bool write_base64(const float *v, size_t n, double scale, el_buf *out) {
  if (!el_buf_reserve(out, 4 * n * 4 / 3 + 6)) return false;
  el_buf_append(out, "\"", 1);
  for (size_t at = 0; at < 4 * n; at += 3) {
    const uint32_t three = vector_byte_at(v, n, scale, at) << 16 | vector_byte_at(v, n, scale, at + 1) << 8 |
                           vector_byte_at(v, n, scale, at + 2);
    const size_t left = 4 * n - at;
    const char four[4] = {DIGITS[three >> 18], DIGITS[three >> 12 & 63], left > 1 ? DIGITS[three >> 6 & 63] : '=',
                          left > 2 ? DIGITS[three & 63] : '='};
    el_buf_append(out, four, sizeof four);
  }
  return el_buf_append(out, "\"", 1);
}

static bool write_vector_numbers(const float *v, size_t n, double scale, el_buf *out) {
  bool ok = el_buf_append(out, "[", 1);
  /* Nine digits distinguish any two values. */
  for (size_t i = 0; ok && i < n; i++)
    ok = el_buf_printf(out, "%s%.9g", i ? "," : "", (double)(float)((double)v[i] * scale));
  return ok && el_buf_append(out, "]", 1);
}

bool el_vector_write(const float *v, size_t n, el_vector_form form, el_buf *out) {
  if (form.dimensions > 0 && (size_t)form.dimensions < n) n = (size_t)form.dimensions;
  const double scale = form.not_normalised ? 1 : vector_scale(v, n);
  return form.base64 ? write_base64(v, n, scale, out) : write_vector_numbers(v, n, scale, out);
}
