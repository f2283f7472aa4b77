/* Tests: what may follow `is`. */
#include <string.h>

#include "template/builtins.h"

#define NAMES(...)        \
  (const char *const[]) { \
    __VA_ARGS__           \
  }

/* Tests that depend on a value alone. */
#define SIMPLE(name, expression)                                                 \
  static el_val is_##name(el_rendering *r, el_val self, const el_arguments *a) { \
    el_no_arguments(r, #name, a);                                                \
    return el_val_bool(expression);                                              \
  }

SIMPLE(defined, self.kind != EL_UNDEFINED)
SIMPLE(undefined, self.kind == EL_UNDEFINED)
SIMPLE(none, self.kind == EL_NONE)
SIMPLE(boolean, self.kind == EL_BOOL)
SIMPLE(true, self.kind == EL_BOOL && self.b)
SIMPLE(false, self.kind == EL_BOOL && !self.b)
SIMPLE(integer, self.kind == EL_INT)
SIMPLE(float, self.kind == EL_FLOAT)
SIMPLE(number, el_val_is_number(self))
SIMPLE(string, self.kind == EL_STRING)
SIMPLE(mapping, self.kind == EL_DICT)
SIMPLE(iterable, el_iterable(self))
SIMPLE(sequence, el_has_length(self) && self.kind != EL_VIEW && self.kind != EL_LOOP)
SIMPLE(callable, self.kind == EL_MACRO || self.kind == EL_FUNCTION || self.kind == EL_METHOD ||
                     self.kind == EL_JOINER || self.kind == EL_LOOP || self.kind == EL_UNDEFINED)
SIMPLE(escaped, self.kind == EL_STRING && self.safe)

static bool has_case(el_rendering *r, const el_text *s, bool lower) {
  bool any = false;
  el_step(r, s->len);
  for (size_t at = 0, n; at < s->len; at += n) {
    uint32_t c = el_char_code(s->data + at, s->len - at, &n);
    if (lower ? el_char_is_upper(c) : el_char_is_lower(c)) return false;
    any |= lower ? el_char_is_lower(c) : el_char_is_upper(c);
  }
  return any;
}

SIMPLE(lower, has_case(r, el_string(r, self), true))
SIMPLE(upper, has_case(r, el_string(r, self), false))

static bool divides(el_rendering *r, el_val v, int64_t by, int64_t rest) {
  return el_equal(r, el_binary(r, EL_OP_MOD, v, el_val_int(by)), el_val_int(rest));
}

SIMPLE(odd, divides(r, self, 2, 1))
SIMPLE(even, divides(r, self, 2, 0))

static el_val is_divisibleby(el_rendering *r, el_val self, const el_arguments *a) {
  el_val by;
  el_bind(r, "divisibleby", a, NAMES("num"), 1, 1, &by);
  return el_val_bool(el_equal(r, el_binary(r, EL_OP_MOD, self, by), el_val_int(0)));
}

static el_val is_contained(el_rendering *r, el_val self, const el_arguments *a) {
  el_val seq;
  el_bind(r, "in", a, NAMES("seq"), 1, 1, &seq);
  return el_val_bool(el_contains(r, seq, self));
}

/* The same object; for numbers and strings, the same value of the same type. */
static el_val is_sameas(el_rendering *r, el_val self, const el_arguments *a) {
  el_val other;
  el_bind(r, "sameas", a, NAMES("other"), 1, 1, &other);
  bool object = self.kind == EL_LIST || self.kind == EL_TUPLE || self.kind == EL_DICT;
  return el_val_bool(self.kind == other.kind && (object ? self.list == other.list : el_equal(r, self, other)));
}

/* What is looked up by name must be something that can be a name. */
static el_str lookup_name(el_rendering *r, el_val v) {
  if (!el_hashable(v)) el_fault(r, "%s cannot be a name", el_val_type(v));
  return v.kind == EL_STRING ? (el_str){v.s->data, v.s->len} : (el_str){"", 0};
}

static el_val is_filter(el_rendering *r, el_val self, const el_arguments *a) {
  el_no_arguments(r, "filter", a);
  return el_val_bool(el_filter_find(lookup_name(r, self)) != NULL);
}

static el_val is_test(el_rendering *r, el_val self, const el_arguments *a) {
  el_no_arguments(r, "test", a);
  return el_val_bool(el_test_find(lookup_name(r, self)) != NULL);
}

#define COMPARISON(name, op)                                                     \
  static el_val is_##name(el_rendering *r, el_val self, const el_arguments *a) { \
    el_val other;                                                                \
    el_bind(r, #name, a, NAMES("other"), 1, 1, &other);                          \
    return el_val_bool(el_compare(r, op, self, other));                          \
  }

COMPARISON(eq, EL_OP_EQ)
COMPARISON(ne, EL_OP_NE)
COMPARISON(lt, EL_OP_LT)
COMPARISON(le, EL_OP_LE)
COMPARISON(gt, EL_OP_GT)
COMPARISON(ge, EL_OP_GE)

const el_function el_tests[] = {{"boolean", is_boolean},
                                {"callable", is_callable},
                                {"defined", is_defined},
                                {"divisibleby", is_divisibleby},
                                {"eq", is_eq},
                                {"==", is_eq},
                                {"equalto", is_eq},
                                {"escaped", is_escaped},
                                {"even", is_even},
                                {"false", is_false},
                                {"filter", is_filter},
                                {"float", is_float},
                                {"ge", is_ge},
                                {">=", is_ge},
                                {"gt", is_gt},
                                {">", is_gt},
                                {"greaterthan", is_gt},
                                {"in", is_contained},
                                {"integer", is_integer},
                                {"iterable", is_iterable},
                                {"le", is_le},
                                {"<=", is_le},
                                {"lower", is_lower},
                                {"lt", is_lt},
                                {"<", is_lt},
                                {"lessthan", is_lt},
                                {"mapping", is_mapping},
                                {"ne", is_ne},
                                {"!=", is_ne},
                                {"none", is_none},
                                {"number", is_number},
                                {"odd", is_odd},
                                {"sameas", is_sameas},
                                {"sequence", is_sequence},
                                {"string", is_string},
                                {"test", is_test},
                                {"true", is_true},
                                {"undefined", is_undefined},
                                {"upper", is_upper},
                                {NULL, NULL}};
