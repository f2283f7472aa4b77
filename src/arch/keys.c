#include "arch/keys.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"

enum { KEY_BYTES = 128 };

static const char *full_key(const el_keys *k, const char *name, char out[KEY_BYTES]) {
  snprintf(out, KEY_BYTES, "%s.%s", k->arch, name);
  return out;
}

bool el_keys_has(const el_keys *k, const char *name) {
  char key[KEY_BYTES];
  return el_gguf_find(k->g, full_key(k, name, key));
}

void el_keys_fail(el_keys *k, el_status status, const char *name, const char *fmt, ...) {
  char why[256];
  va_list ap;
  if (k->status) return;
  va_start(ap, fmt);
  vsnprintf(why, sizeof why, fmt, ap);
  va_end(ap);
  k->status = el_fail(k->err, status, "%s: %s.%s%s", el_gguf_path(k->g), k->arch, name, why);
}

int el_keys_int(el_keys *k, const char *name, int min, int max) {
  char key[KEY_BYTES];
  int64_t v = min;
  if (!k->status) k->status = el_gguf_i64(k->g, full_key(k, name, key), min, max, &v, k->err);
  return k->status ? min : (int)v;
}

int el_keys_int_or(el_keys *k, const char *name, int min, int max, int fallback) {
  return el_keys_has(k, name) ? el_keys_int(k, name, min, max) : fallback;
}

bool el_keys_bool_or(el_keys *k, const char *name, bool fallback) {
  char key[KEY_BYTES];
  bool v = fallback;
  if (!k->status && el_keys_has(k, name)) k->status = el_gguf_bool(k->g, full_key(k, name, key), &v, k->err);
  return v;
}

float el_keys_float_or(el_keys *k, const char *name, double min, double max, float fallback) {
  char key[KEY_BYTES];
  double v = fallback;
  if (k->status || !el_keys_has(k, name)) return fallback;
  k->status = el_gguf_f64(k->g, full_key(k, name, key), &v, k->err);
  if (!(v >= min && v <= max)) el_keys_fail(k, EL_ERR_FORMAT, name, ": %g is not in %g to %g", v, min, max);
  return k->status ? fallback : (float)v;
}

float el_keys_float_or_none(el_keys *k, const char *name, double min, double max, float fallback) {
  const float v = el_keys_float_or(k, name, 0, max, fallback);
  if (v > 0 && v < (float)min)
    el_keys_fail(k, EL_ERR_FORMAT, name, ": %g is neither 0 nor %g to %g", (double)v, min, max);
  return v;
}

el_str el_keys_str(el_keys *k, const char *name) {
  char key[KEY_BYTES];
  el_str s = {"", 0};
  if (!k->status && el_keys_has(k, name)) k->status = el_gguf_str(k->g, full_key(k, name, key), &s, k->err);
  return s;
}

bool el_keys_flags(el_keys *k, const char *name, int n, bool *out) {
  char key[KEY_BYTES];
  const el_gguf_kv *kv = el_gguf_find(k->g, full_key(k, name, key));
  if (k->status || !kv || kv->type != EL_GGUF_ARRAY) return false;
  k->status = el_gguf_bools_by_layer(k->g, key, n, out, k->err);
  return true;
}

void el_keys_layers(el_keys *k, const char *name, int n, int min, int max, int fallback, void *first, size_t stride) {
  char key[KEY_BYTES];
  int *values = malloc(sizeof *values * (size_t)n);
  if (!values && !k->status) k->status = el_fail(k->err, EL_ERR_NO_MEMORY, "%s: out of memory", el_gguf_path(k->g));
  for (int i = 0; values && i < n; i++) values[i] = fallback;
  if (!k->status && el_keys_has(k, name))
    k->status = el_gguf_ints_by_layer(k->g, full_key(k, name, key), n, min, max, values, k->err);
  for (int i = 0; i < n && !k->status; i++) *(int *)(void *)((char *)first + (size_t)i * stride) = values[i];
  free(values);
}
