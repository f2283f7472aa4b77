/* Typed access to the values of a GGUF file. A key's type, length and range are checked where it is
 * read; messages name the file and the key. */
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "format/gguf_private.h"

int64_t el_gguf_kv_int(const el_gguf_kv *kv, uint64_t i) {
  assert(i < kv->n);
  size_t size = el_gguf_value_bytes(kv->item_type);
  if (size == 0) return 0; /* strings have no numeric value */
  uint64_t v = el_gguf_load_le(kv->data + i * size, size);
  switch (kv->item_type) {
    case EL_GGUF_I8: return (int8_t)v;
    case EL_GGUF_I16: return (int16_t)v;
    case EL_GGUF_I32: return (int32_t)v;
    case EL_GGUF_U64: return v > INT64_MAX ? INT64_MAX : (int64_t)v;
    case EL_GGUF_F32:
    case EL_GGUF_F64: {
      double f = el_gguf_kv_num(kv, i);
      if (!(f >= -0x1p63)) return f != f ? 0 : INT64_MIN;
      return f < 0x1p63 ? (int64_t)f : INT64_MAX;
    }
    default: return (int64_t)v;
  }
}

double el_gguf_kv_num(const el_gguf_kv *kv, uint64_t i) {
  assert(i < kv->n);
  if (kv->item_type == EL_GGUF_F32) {
    uint32_t bits = (uint32_t)el_gguf_load_le(kv->data + i * 4, 4);
    float f;
    memcpy(&f, &bits, 4);
    return (double)f;
  }
  uint64_t v = kv->item_type == EL_GGUF_F64 || kv->item_type == EL_GGUF_U64 ? el_gguf_load_le(kv->data + i * 8, 8) : 0;
  if (kv->item_type == EL_GGUF_U64) return (double)v;
  if (kv->item_type != EL_GGUF_F64) return (double)el_gguf_kv_int(kv, i);
  double f;
  memcpy(&f, &v, 8);
  return f;
}

/* Finds a kv for typed access. */
static el_status find_kv(const el_gguf *g, const char *key, const el_gguf_kv **out, el_error *err) {
  *out = el_gguf_find(g, key);
  return *out ? EL_OK : el_fail_about(err, EL_ERR_NOT_FOUND, el_gguf_path(g), "key %s is missing", key);
}

static el_status wrong_type(const el_gguf *g, const el_gguf_kv *kv, const char *key, const char *wanted,
                            el_error *err) {
  return el_fail_about(err, EL_ERR_FORMAT, el_gguf_path(g), "%s is %s%s, expected %s", key,
                       kv->type == EL_GGUF_ARRAY ? "an array of " : "of type ", el_gguf_type_name(kv->item_type),
                       wanted);
}

static bool is_integer(const el_gguf_kv *kv) {
  return kv->item_type != EL_GGUF_STRING && kv->item_type != EL_GGUF_BOOL && kv->item_type != EL_GGUF_F32 &&
         kv->item_type != EL_GGUF_F64;
}

static bool holds_numbers(const el_gguf_kv *kv) {
  return is_integer(kv) || kv->item_type == EL_GGUF_F32 || kv->item_type == EL_GGUF_F64;
}

/* "[i]" for an item of an array, nothing for a plain value. */
static const char *show_subscript(const el_gguf_kv *kv, uint64_t i, char out[24]) {
  out[0] = 0;
  if (kv->type == EL_GGUF_ARRAY) snprintf(out, 24, "[%" PRIu64 "]", i);
  return out;
}

/* Item i of an integer value, which must be within min and max. */
static el_status int_at(const el_gguf *g, const el_gguf_kv *kv, const char *key, uint64_t i, int64_t min, int64_t max,
                        int64_t *out, el_error *err) {
  char at[24];
  int64_t v = el_gguf_kv_int(kv, i);
  bool too_big = kv->item_type == EL_GGUF_U64 && el_gguf_load_le(kv->data + i * 8, 8) > INT64_MAX;
  if (too_big || v < min || v > max)
    return el_fail_about(err, EL_ERR_FORMAT, el_gguf_path(g), "%s%s is %s%" PRId64 ", expected %" PRId64 " to %" PRId64,
                         key, show_subscript(kv, i, at), too_big ? "above " : "", v, min, max);
  *out = v;
  return EL_OK;
}

/* Item i of a numeric value, which must be finite. */
static el_status num_at(const el_gguf *g, const el_gguf_kv *kv, const char *key, uint64_t i, double *out,
                        el_error *err) {
  char at[24];
  double v = el_gguf_kv_num(kv, i);
  if (!isfinite(v))
    return el_fail_about(err, EL_ERR_FORMAT, el_gguf_path(g), "%s%s is not a finite number", key,
                         show_subscript(kv, i, at));
  *out = v;
  return EL_OK;
}

el_status el_gguf_i64(const el_gguf *g, const char *key, int64_t min, int64_t max, int64_t *out, el_error *err) {
  const el_gguf_kv *kv;
  el_status status = find_kv(g, key, &kv, err);
  if (status) return status;
  if (kv->type == EL_GGUF_ARRAY || !is_integer(kv)) return wrong_type(g, kv, key, "an integer", err);
  return int_at(g, kv, key, 0, min, max, out, err);
}

el_status el_gguf_f64(const el_gguf *g, const char *key, double *out, el_error *err) {
  const el_gguf_kv *kv;
  el_status status = find_kv(g, key, &kv, err);
  if (status) return status;
  if (kv->type == EL_GGUF_ARRAY || !holds_numbers(kv)) return wrong_type(g, kv, key, "a number", err);
  return num_at(g, kv, key, 0, out, err);
}

el_status el_gguf_bool(const el_gguf *g, const char *key, bool *out, el_error *err) {
  const el_gguf_kv *kv;
  el_status status = find_kv(g, key, &kv, err);
  if (status) return status;
  if (kv->type != EL_GGUF_BOOL) return wrong_type(g, kv, key, "a boolean", err);
  *out = kv->data[0] != 0;
  return EL_OK;
}

el_status el_gguf_str(const el_gguf *g, const char *key, el_str *out, el_error *err) {
  const el_gguf_kv *kv;
  el_status status = find_kv(g, key, &kv, err);
  if (status) return status;
  if (kv->type != EL_GGUF_STRING) return wrong_type(g, kv, key, "a string", err);
  *out = kv->strings[0];
  return EL_OK;
}

/* --- one value for all layers, or one for each */

/* Finds a key with a plain value or an array of n items. item_of(kv, l) is the item of layer l. */
static el_status find_by_layer(const el_gguf *g, const char *key, int n, const el_gguf_kv **out, el_error *err) {
  assert(n > 0);
  el_status status = find_kv(g, key, out, err);
  if (!status && (*out)->type == EL_GGUF_ARRAY && (*out)->n != (uint64_t)n)
    return el_fail_about(err, EL_ERR_FORMAT, el_gguf_path(g),
                         "%s is an array of %" PRIu64 ", expected %d: one for each layer", key, (*out)->n, n);
  return status;
}

static uint64_t item_of(const el_gguf_kv *kv, int layer) {
  return kv->type == EL_GGUF_ARRAY ? (uint64_t)layer : 0;
}

el_status el_gguf_ints_by_layer(const el_gguf *g, const char *key, int n, int min, int max, int *out, el_error *err) {
  const el_gguf_kv *kv;
  int64_t v = 0;
  el_status status = find_by_layer(g, key, n, &kv, err);
  if (status) return status;
  if (!is_integer(kv)) return wrong_type(g, kv, key, "integers", err);
  for (uint64_t i = 0; i < kv->n; i++)
    if ((status = int_at(g, kv, key, i, min, max, &v, err))) return status;
  for (int l = 0; l < n; l++) out[l] = (int)el_gguf_kv_int(kv, item_of(kv, l));
  return EL_OK;
}

el_status el_gguf_bools_by_layer(const el_gguf *g, const char *key, int n, bool *out, el_error *err) {
  const el_gguf_kv *kv;
  int64_t v = 0;
  el_status status = find_by_layer(g, key, n, &kv, err);
  if (status) return status;
  bool numbers = kv->type == EL_GGUF_ARRAY && is_integer(kv);
  if (kv->item_type != EL_GGUF_BOOL && !numbers) return wrong_type(g, kv, key, "booleans", err);
  for (uint64_t i = 0; numbers && i < kv->n; i++)
    if ((status = int_at(g, kv, key, i, 0, 1, &v, err))) return status;
  for (int l = 0; l < n; l++) out[l] = el_gguf_kv_int(kv, item_of(kv, l)) != 0;
  return EL_OK;
}

const char *el_gguf_type_name(el_gguf_type type) {
  static const char *const names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                      "bool", "string", "array", "u64", "i64", "f64"};
  return (size_t)type < sizeof names / sizeof names[0] ? names[type] : "unknown";
}
