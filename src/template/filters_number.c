/* Filters on numbers, and `default`; strings read as numbers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "template/builtins.h"

#define NAMES(...)        \
  (const char *const[]) { \
    __VA_ARGS__           \
  }

static int digit_of(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'z' ? c - 'a' + 10
         : c >= 'A' && c <= 'Z' ? c - 'A' + 10
                                : 99;
}

/* As int(): white space around, a sign, a prefix for the base, underscores between digits. */
static bool int_of_text(el_rendering *r, const el_text *text, int64_t base, int64_t *out) {
  const el_text *s = el_strip(r, text, NULL, true, true);
  size_t at = 0;
  bool negative = false;
  if (base != 0 && (base < 2 || base > 36)) el_fault(r, "a base is 2 to 36");
  if (at < s->len && (s->data[at] == '+' || s->data[at] == '-')) negative = s->data[at++] == '-';
  bool prefixed = false;
  if (at + 1 < s->len && s->data[at] == '0') {
    char c = (char)(s->data[at + 1] | 0x20);
    int64_t of = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
    if (of && (base == of || base == 0)) {
      base = of;
      at += 2;
      prefixed = true;
    }
  }
  bool from_prefix = base == 0;
  if (base == 0) base = 10;
  int64_t n = 0;
  bool any = false, joint = prefixed, zero = at < s->len && s->data[at] == '0';
  for (; at < s->len; at++) {
    if (s->data[at] == '_') {
      if (!any && !joint) return false;
      if (at + 1 == s->len || s->data[at + 1] == '_') return false;
      continue;
    }
    int digit = digit_of(s->data[at]);
    if (digit >= base) return false;
    if (from_prefix && zero && digit) return false;
    if (__builtin_mul_overflow(n, base, &n) || __builtin_add_overflow(n, negative ? -digit : digit, &n))
      el_fault(r, "a number does not fit into 64 bits");
    any = true;
  }
  *out = n;
  return any;
}

/* As float(): no hexadecimal digits; underscores between digits. */
static bool float_of_text(el_rendering *r, const el_text *text, double *out) {
  const el_text *s = el_strip(r, text, NULL, true, true);
  char *copy = el_task_alloc(&r->task, (size_t)s->len + 1), *end;
  size_t n = 0;
  for (size_t i = 0; i < s->len; i++) {
    char c = s->data[i];
    bool digit_before = i && digit_of(s->data[i - 1]) < 10,
         digit_after = i + 1 < s->len && digit_of(s->data[i + 1]) < 10;
    if (c == '_' && digit_before && digit_after) continue;
    if (c == 'x' || c == 'X' || c == '(' || c == 0) return false;
    copy[n++] = c;
  }
  copy[n] = 0;
  if (!n || el_char_is_space((unsigned char)copy[0])) return false;
  *out = strtod(copy, &end);
  return end == copy + n;
}

static el_val filter_int(el_rendering *r, el_val self, const el_arguments *a) {
  el_val v[2];
  int64_t i;
  double f;
  el_bind(r, "int", a, NAMES("default", "base"), 2, 0, v);
  el_val otherwise = v[0].kind == EL_MISSING ? el_val_int(0) : v[0];
  if (el_val_is_integer(self)) return (el_val){.kind = EL_INT, .source = self.source, .i = el_val_integer(self)};
  if (self.kind == EL_STRING) {
    uint32_t source = el_text_any_source(self.s);
    if (int_of_text(r, self.s, el_int_argument(r, v[1], "base", 10), &i))
      return (el_val){.kind = EL_INT, .source = source, .i = i};
    if (!float_of_text(r, self.s, &f) || !isfinite(f)) return otherwise;
    self = (el_val){.kind = EL_FLOAT, .source = source, .f = f};
  }
  if (self.kind != EL_FLOAT) {
    el_need_defined(r, self);
    return otherwise;
  }
  if (isnan(self.f)) return otherwise;
  if (!(self.f > -9.2e18 && self.f < 9.2e18)) el_fault(r, "a number does not fit into 64 bits");
  return (el_val){.kind = EL_INT, .source = self.source, .i = (int64_t)self.f};
}

static el_val filter_float(el_rendering *r, el_val self, const el_arguments *a) {
  el_val otherwise;
  double f;
  el_bind(r, "float", a, NAMES("default"), 1, 0, &otherwise);
  if (otherwise.kind == EL_MISSING) otherwise = el_val_float(0);
  if (el_val_is_number(self)) return (el_val){.kind = EL_FLOAT, .source = self.source, .f = el_val_number(self)};
  el_need_defined(r, self);
  if (self.kind != EL_STRING || !float_of_text(r, self.s, &f)) return otherwise;
  return (el_val){.kind = EL_FLOAT, .source = el_text_any_source(self.s), .f = f};
}

static el_val filter_abs(el_rendering *r, el_val self, const el_arguments *a) {
  el_no_arguments(r, "abs", a);
  if (self.kind == EL_FLOAT) return (el_val){.kind = EL_FLOAT, .source = self.source, .f = fabs(self.f)};
  el_need_defined(r, self);
  if (!el_val_is_integer(self)) el_fault(r, "'abs' is for numbers, not %s", el_val_type(self));
  return el_val_integer(self) < 0 ? el_negative(r, self)
                                  : (el_val){.kind = EL_INT, .source = self.source, .i = el_val_integer(self)};
}

/* Rounds to the nearest, ties to even, going by the number's binary value: as printf does. */
static double round_to(double f, int64_t places) {
  char digits[400];
  if (!isfinite(f) || places > 22) return f;
  if (places >= 0) {
    snprintf(digits, sizeof digits, "%.*f", (int)places, f);
    return strtod(digits, NULL);
  }
  if (places < -308) return copysign(0, f);
  double scale = pow(10, (double)-places);
  return rint(f / scale) * scale;
}

static int64_t round_integer(el_rendering *r, int64_t i, int64_t places) {
  int64_t scale = 1;
  if (places >= 0) return i;
  if (places < -18) return 0;
  for (int64_t k = 0; k < -places; k++) scale *= 10;
  int64_t rest = i % scale, down = i - rest, half = scale / 2;
  if (rest < 0) {
    rest += scale;
    if (__builtin_sub_overflow(down, scale, &down)) el_fault(r, "a number does not fit into 64 bits");
  }
  bool up = rest > half || (rest == half && (down / scale) % 2 != 0);
  if (up && __builtin_add_overflow(down, scale, &down)) el_fault(r, "a number does not fit into 64 bits");
  return down;
}

static el_val filter_round(el_rendering *r, el_val self, const el_arguments *a) {
  el_val v[2];
  el_bind(r, "round", a, NAMES("precision", "method"), 2, 0, v);
  int64_t places = el_int_argument(r, v[0], "precision", 0);
  const el_text *method = el_text_argument(r, v[1], "method");
  bool ceils = method && el_text_is(method, "ceil"), floors = method && el_text_is(method, "floor");
  if (method && !ceils && !floors && !el_text_is(method, "common"))
    el_fault(r, "'method' is 'common', 'ceil' or 'floor'");
  el_need_defined(r, self);
  if (!el_val_is_number(self)) el_fault(r, "'round' is for numbers, not %s", el_val_type(self));
  if (!ceils && !floors && self.kind != EL_FLOAT)
    return (el_val){.kind = EL_INT, .source = self.source, .i = round_integer(r, el_val_integer(self), places)};
  if (places > 308 || places < -308) el_fault(r, "a precision of %lld", (long long)places);
  double f = el_val_number(self), scale = pow(10, (double)places);
  f = ceils ? ceil(f * scale) / scale : floors ? floor(f * scale) / scale : round_to(f, places);
  return (el_val){.kind = EL_FLOAT, .source = self.source, .f = f};
}

static el_val filter_default(el_rendering *r, el_val self, const el_arguments *a) {
  el_val v[2];
  el_bind(r, "default", a, NAMES("default_value", "boolean"), 2, 0, v);
  bool wanted = self.kind == EL_UNDEFINED || (el_bool_argument(r, v[1], false) && !el_truth(r, self));
  if (!wanted) return self;
  return v[0].kind == EL_MISSING ? el_val_string(el_text_new(&r->task, "", 0, 0)) : v[0];
}

const el_function el_number_filters[] = {{"abs", filter_abs},
                                         {"d", filter_default},
                                         {"default", filter_default},
                                         {"float", filter_float},
                                         {"int", filter_int},
                                         {"round", filter_round},
                                         {NULL, NULL}};
