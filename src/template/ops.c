/* Operators: truth, order, equality, arithmetic. */
#include <math.h>
#include <string.h>

#include "template/eval.h"

bool el_truth(el_rendering *r, el_val v) {
  switch ((el_kind)v.kind) {
    case EL_MISSING:
    case EL_UNDEFINED:
    case EL_NONE: return false;
    case EL_BOOL: return v.b;
    case EL_INT: return v.i != 0;
    case EL_FLOAT: return v.f != 0;
    case EL_STRING: return v.s->len > 0;
    case EL_LIST:
    case EL_TUPLE: return v.list->n > 0;
    case EL_DICT: return v.dict->n > 0;
    case EL_VIEW: return v.view->dict->n > 0;
    case EL_RANGE: return v.range->n > 0;
    case EL_LOOP: return el_length(r, v) > 0;
    default: return true;
  }
}

/* --- equality and order */

static bool equal_lists(el_rendering *r, const el_list *a, const el_list *b) {
  if (a->n != b->n) return false;
  for (uint32_t i = 0; i < a->n; i++)
    if (!el_equal(r, a->items[i], b->items[i])) return false;
  return true;
}

static bool equal_dicts(el_rendering *r, const el_dict *a, const el_dict *b) {
  if (a->n != b->n) return false;
  for (uint32_t i = 0; i < a->n; i++) {
    el_val other = el_dict_get(r, b, a->pairs[i].key);
    if (other.kind == EL_MISSING || !el_equal(r, a->pairs[i].value, other)) return false;
  }
  return true;
}

/* Compares an integer and a float exactly: most large integers are not floats. */
static int compare_numbers(el_val a, el_val b) {
  if (a.kind != EL_FLOAT && b.kind != EL_FLOAT) {
    int64_t x = el_val_integer(a), y = el_val_integer(b);
    return (x > y) - (x < y);
  }
  if (a.kind == EL_FLOAT && b.kind == EL_FLOAT) return (a.f > b.f) - (a.f < b.f);
  if (a.kind != EL_FLOAT) return -compare_numbers(b, a);
  int64_t y = el_val_integer(b);
  if (a.f >= 9223372036854775808.0) return 1;
  if (a.f < -9223372036854775808.0) return -1;
  int64_t x = (int64_t)a.f;
  double rest = a.f - (double)x;
  return x != y ? (x > y) - (x < y) : (rest > 0) - (rest < 0);
}

static bool is_nan(el_val v) {
  return v.kind == EL_FLOAT && isnan(v.f);
}

bool el_equal(el_rendering *r, el_val a, el_val b) {
  if (el_val_is_number(a) && el_val_is_number(b)) return !is_nan(a) && !is_nan(b) && compare_numbers(a, b) == 0;
  if (a.kind != b.kind) return false;
  el_down(r);
  bool equal = false;
  switch ((el_kind)a.kind) {
    case EL_MISSING:
    case EL_UNDEFINED:
    case EL_NONE: equal = true; break;
    case EL_STRING:
      el_step(r, a.s->len == b.s->len ? a.s->len : 0);
      equal = el_text_eq(a.s, b.s);
      break;
    case EL_LIST:
    case EL_TUPLE: equal = a.list == b.list || equal_lists(r, a.list, b.list); break;
    case EL_DICT: equal = a.dict == b.dict || equal_dicts(r, a.dict, b.dict); break;
    case EL_RANGE: equal = equal_lists(r, el_items(r, a), el_items(r, b)); break;
    case EL_VIEW:
      equal =
          a.view->kind == b.view->kind && a.view->kind != EL_VIEW_VALUES && equal_dicts(r, a.view->dict, b.view->dict);
      break;
    case EL_FUNCTION: equal = a.function == b.function; break;
    default: equal = a.list == b.list; break; /* the same object */
  }
  r->depth--;
  return equal;
}

int el_order(el_rendering *r, el_val a, el_val b) {
  el_need_defined(r, a);
  el_need_defined(r, b);
  el_step(r, 0);
  if (el_val_is_number(a) && el_val_is_number(b)) return compare_numbers(a, b);
  if (a.kind != b.kind || (a.kind != EL_STRING && a.kind != EL_LIST && a.kind != EL_TUPLE))
    el_fault(r, "%s and %s have no order", el_val_type(a), el_val_type(b));
  if (a.kind == EL_STRING) {
    el_step(r, a.s->len < b.s->len ? a.s->len : b.s->len);
    return el_text_cmp(a.s, b.s);
  }
  el_down(r);
  int order = 0;
  for (uint32_t i = 0; !order; i++) {
    if (i == a.list->n || i == b.list->n) {
      order = (a.list->n > b.list->n) - (a.list->n < b.list->n);
      break;
    }
    if (!el_equal(r, a.list->items[i], b.list->items[i])) {
      order = el_order(r, a.list->items[i], b.list->items[i]);
      break;
    }
  }
  r->depth--;
  return order;
}

bool el_contains(el_rendering *r, el_val in, el_val item) {
  if (in.kind == EL_STRING) {
    if (item.kind != EL_STRING) el_fault(r, "'in' a string needs a string, not %s", el_val_type(item));
    el_step(r, in.s->len);
    return el_text_find(in.s, item.s, 0) != SIZE_MAX;
  }
  if (in.kind == EL_DICT) return el_dict_get(r, in.dict, item).kind != EL_MISSING;
  if (in.kind == EL_VIEW && in.view->kind == EL_VIEW_KEYS)
    return el_dict_get(r, in.view->dict, item).kind != EL_MISSING;
  if (!el_iterable(in)) el_fault(r, "'in' needs something to look in, not %s", el_val_type(in));
  const el_list *list = el_items(r, in);
  for (uint32_t i = 0; i < list->n; i++)
    if (el_equal(r, list->items[i], item)) return true;
  return false;
}

bool el_compare(el_rendering *r, el_op op, el_val a, el_val b) {
  switch (op) {
    case EL_OP_EQ: return el_equal(r, a, b);
    case EL_OP_NE: return !el_equal(r, a, b);
    case EL_OP_IN: return el_contains(r, b, a);
    case EL_OP_NOT_IN: return !el_contains(r, b, a);
    default: break;
  }
  int order = el_order(r, a, b);
  if (is_nan(a) || is_nan(b)) return false;
  return op == EL_OP_LT ? order < 0 : op == EL_OP_LE ? order <= 0 : op == EL_OP_GT ? order > 0 : order >= 0;
}

/* --- arithmetic */

static _Noreturn void overflow(el_rendering *r) {
  el_fault(r, "a number does not fit into 64 bits");
}

static el_val floor_divide(el_rendering *r, int64_t a, int64_t b) {
  if (!b) el_fault(r, "division by zero");
  if (a == INT64_MIN && b == -1) overflow(r);
  int64_t q = a / b;
  return el_val_int(q - (a % b != 0 && (a < 0) != (b < 0)));
}

static el_val modulo(el_rendering *r, int64_t a, int64_t b) {
  if (!b) el_fault(r, "division by zero");
  if (b == -1) return el_val_int(0);
  int64_t m = a % b;
  return el_val_int(m && (m < 0) != (b < 0) ? m + b : m);
}

static el_val raise_integer(el_rendering *r, int64_t a, int64_t b) {
  if (b < 0) {
    if (!a) el_fault(r, "division by zero");
    return el_val_float(pow((double)a, (double)b));
  }
  int64_t result = 1;
  while (b) {
    if (b & 1 && __builtin_mul_overflow(result, a, &result)) overflow(r);
    b >>= 1;
    if (b && __builtin_mul_overflow(a, a, &a)) overflow(r);
  }
  return el_val_int(result);
}

static el_val integer_arithmetic(el_rendering *r, el_op op, int64_t a, int64_t b) {
  int64_t out = 0;
  bool over = false;
  switch (op) {
    case EL_OP_ADD: over = __builtin_add_overflow(a, b, &out); break;
    case EL_OP_SUB: over = __builtin_sub_overflow(a, b, &out); break;
    case EL_OP_MUL: over = __builtin_mul_overflow(a, b, &out); break;
    case EL_OP_DIV:
      if (!b) el_fault(r, "division by zero");
      return el_val_float((double)a / (double)b);
    case EL_OP_FLOORDIV: return floor_divide(r, a, b);
    case EL_OP_MOD: return modulo(r, a, b);
    default: return raise_integer(r, a, b);
  }
  if (over) overflow(r);
  return el_val_int(out);
}

/* As in CPython: the quotient is computed from the remainder. */
static el_val float_divmod(double a, double b, bool quotient) {
  double mod = fmod(a, b), div = (a - mod) / b, floor_div;
  if (mod) {
    if ((b < 0) != (mod < 0)) {
      mod += b;
      div -= 1;
    }
  } else {
    mod = copysign(0, b);
  }
  if (div) {
    floor_div = floor(div);
    if (div - floor_div > 0.5) floor_div += 1;
  } else {
    floor_div = copysign(0, a / b);
  }
  return el_val_float(quotient ? floor_div : mod);
}

static el_val float_arithmetic(el_rendering *r, el_op op, double a, double b) {
  switch (op) {
    case EL_OP_ADD: return el_val_float(a + b);
    case EL_OP_SUB: return el_val_float(a - b);
    case EL_OP_MUL: return el_val_float(a * b);
    case EL_OP_POW: {
      if (a == 0 && b < 0) el_fault(r, "division by zero");
      if (a < 0 && isfinite(a) && isfinite(b) && b != floor(b)) el_fault(r, "complex numbers are not supported");
      double p = pow(a, b);
      if (isinf(p) && isfinite(a) && isfinite(b)) el_fault(r, "a number is too large");
      return el_val_float(p);
    }
    default: break;
  }
  if (!b) el_fault(r, "division by zero");
  return op == EL_OP_DIV ? el_val_float(a / b) : float_divmod(a, b, op == EL_OP_FLOORDIV);
}

static el_val add_sequences(el_rendering *r, el_val a, el_val b) {
  el_list *list = el_list_new(&r->task, (size_t)a.list->n + b.list->n);
  el_step(r, ((size_t)a.list->n + b.list->n) * sizeof(el_val));
  if (a.list->n) memcpy(list->items, a.list->items, a.list->n * sizeof(el_val));
  if (b.list->n) memcpy(list->items + a.list->n, b.list->items, b.list->n * sizeof(el_val));
  list->n = a.list->n + b.list->n;
  return (el_val){.kind = a.kind, .list = list};
}

/* Markup escapes what is added to it. */
static el_val add_strings(el_rendering *r, el_val a, el_val b) {
  el_writer w = el_writer_of(r);
  el_step(r, (size_t)a.s->len + b.s->len);
  el_write_text(&w, b.safe && !a.safe ? el_escape(r, a.s) : a.s);
  el_write_text(&w, a.safe && !b.safe ? el_escape(r, b.s) : b.s);
  el_val v = el_val_string(el_written(&w));
  v.safe = a.safe || b.safe;
  return v;
}

static el_val repeat_value(el_rendering *r, el_val v, int64_t times) {
  if (times < 0) times = 0;
  size_t one = v.kind == EL_STRING ? v.s->len : v.list->n * sizeof(el_val);
  if (one && (uint64_t)times > r->task.most / one) el_fault(r, "a text or a list is repeated too often");
  el_step(r, one * (size_t)times);
  if (v.kind == EL_STRING) {
    el_writer w = el_writer_of(r);
    for (int64_t i = 0; i < times && one; i++) el_write_text(&w, v.s);
    el_val out = el_val_string(el_written(&w));
    out.safe = v.safe;
    return out;
  }
  el_list *list = el_list_new(&r->task, v.list->n * (size_t)times);
  for (int64_t i = 0; i < times && one; i++)
    for (uint32_t k = 0; k < v.list->n; k++) el_list_add(&r->task, list, v.list->items[k]);
  return (el_val){.kind = v.kind, .list = list};
}

static bool is_sequence(el_val v) {
  return v.kind == EL_STRING || v.kind == EL_LIST || v.kind == EL_TUPLE;
}

el_val el_binary(el_rendering *r, el_op op, el_val a, el_val b) {
  static const char *const SIGNS[] = {"+", "-", "*", "/", "//", "%", "**"};
  if (op == EL_OP_MOD && a.kind == EL_STRING) {
    el_val v = el_percent(r, a.s, b);
    v.safe = a.safe;
    return v;
  }
  el_need_defined(r, a);
  el_need_defined(r, b);
  if (el_val_is_number(a) && el_val_is_number(b)) {
    el_val v = a.kind == EL_FLOAT || b.kind == EL_FLOAT
                   ? float_arithmetic(r, op, el_val_number(a), el_val_number(b))
                   : integer_arithmetic(r, op, el_val_integer(a), el_val_integer(b));
    v.source = a.source ? a.source : b.source;
    return v;
  }
  if (op == EL_OP_ADD && a.kind == b.kind && a.kind == EL_STRING) return add_strings(r, a, b);
  if (op == EL_OP_ADD && a.kind == b.kind && (a.kind == EL_LIST || a.kind == EL_TUPLE)) return add_sequences(r, a, b);
  if (op == EL_OP_MUL && is_sequence(a) && el_val_is_integer(b)) return repeat_value(r, a, el_val_integer(b));
  if (op == EL_OP_MUL && is_sequence(b) && el_val_is_integer(a)) return repeat_value(r, b, el_val_integer(a));
  el_fault(r, "%s %s %s is not possible", el_val_type(a), SIGNS[op], el_val_type(b));
}

el_val el_negative(el_rendering *r, el_val v) {
  el_need_defined(r, v);
  if (v.kind == EL_FLOAT) return (el_val){.kind = EL_FLOAT, .source = v.source, .f = -v.f};
  if (!el_val_is_integer(v)) el_fault(r, "-%s is not possible", el_val_type(v));
  if (el_val_integer(v) == INT64_MIN) overflow(r);
  return (el_val){.kind = EL_INT, .source = v.source, .i = -el_val_integer(v)};
}

const el_text *el_escape(el_rendering *r, const el_text *s) {
  el_writer w = el_writer_of(r);
  el_step(r, s->len);
  size_t begin = 0;
  for (size_t i = 0; i < s->len; i++) {
    const char *as = NULL;
    switch (s->data[i]) {
      case '&': as = "&amp;"; break;
      case '<': as = "&lt;"; break;
      case '>': as = "&gt;"; break;
      case '\'': as = "&#39;"; break;
      case '"': as = "&#34;"; break;
      default: continue;
    }
    el_write_range(&w, s, begin, i);
    el_write(&w, as, strlen(as), el_text_source(s, i));
    begin = i + 1;
  }
  el_write_range(&w, s, begin, s->len);
  return el_written(&w);
}
