/* Numbers: their digits are compared with those of the bounds, one by one.
 *
 * A number is written as an integer or a decimal fraction; with an exponent only if it has no bounds. An integer has no
 * fraction, not even ".0", and -0 is not written. A fraction between bounds has no more digits than a double
 * distinguishes, so a number that is above a bound as text is also above it after parsing. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "constraint/schema_private.h"

enum {
  DIGITS = 18,       /* of an integer without bounds, as 64 bits hold */
  PRECISION = 15,    /* decimal digits that a double tells apart */
  MOST_DIGITS = 700, /* of a bound: a double has no more before or after its point */
  MOST_FACTOR = 10000,
  MOST_STATES = 1 << 14
};

/* |x| */
typedef struct decimal {
  char whole[MOST_DIGITS], part[MOST_DIGITS]; /* "0" or without leading zeros; without trailing zeros */
  bool negative, infinite;
} decimal;

void el_schema_decimal(const json_t *number, char *out, size_t size) {
  if (json_is_integer(number)) {
    snprintf(out, size, "%" JSON_INTEGER_FORMAT, json_integer_value(number));
    return;
  }
  double x = json_real_value(number);
  for (int digits = 1; digits <= 17; digits++) {
    snprintf(out, size, "%.*g", digits, x);
    if (strtod(out, NULL) == x) break;
  }
}

/* A number as digits without an exponent. */
static void parse_decimal(const json_t *number, decimal *d) {
  char text[64], digits[40];
  el_schema_decimal(number, text, sizeof text);
  memset(d, 0, sizeof *d);
  const char *at = text;
  d->negative = *at == '-';
  if (d->negative) at++;
  int n = 0, point = -1;
  for (; *at && *at != 'e'; at++) {
    if (*at == '.')
      point = n;
    else
      digits[n++] = *at;
  }
  if (point < 0) point = n;
  if (*at == 'e') point += atoi(at + 1);
  int n_whole = 0, n_part = 0;
  for (int i = 0; i < point; i++) {
    char c = i < n ? digits[i] : '0';
    if (n_whole || c != '0') d->whole[n_whole++] = c;
  }
  if (!n_whole) d->whole[n_whole++] = '0';
  for (int i = point; i < n; i++) d->part[n_part++] = i < 0 ? '0' : digits[i];
  while (n_part && d->part[n_part - 1] == '0') n_part--;
  d->whole[n_whole] = d->part[n_part] = 0;
  if (!strcmp(d->whole, "0") && !n_part) d->negative = false;
}

static int compare_sizes(const decimal *a, const decimal *b) {
  if (a->infinite || b->infinite) return (int)a->infinite - (int)b->infinite;
  size_t n = strlen(a->whole), m = strlen(b->whole);
  if (n != m) return n < m ? -1 : 1;
  int c = strcmp(a->whole, b->whole);
  return c ? c : strcmp(a->part, b->part);
}

static int compare_decimals(const decimal *a, const decimal *b) {
  if (a->negative != b->negative) return a->negative ? -1 : 1;
  int c = compare_sizes(a, b);
  return a->negative ? -c : c;
}

typedef struct bound {
  decimal at;
  bool open; /* the bound itself is not allowed */
} bound;

typedef struct limits {
  bound low, high;
  bool bounded;
  uint32_t factor; /* of the number times 10^places; 1: no multipleOf */
  int places;      /* behind the point, at most; -1: any */
} limits;

static void tighten_limit(limits *l, const json_t *number, bool low, bool open) {
  decimal d;
  parse_decimal(number, &d);
  bound *b = low ? &l->low : &l->high;
  int c = compare_decimals(&d, &b->at);
  if (c == 0) {
    b->open |= open;
  } else if (low ? c > 0 : c < 0) {
    b->at = d;
    b->open = open;
  }
  l->bounded = true;
}

static uint32_t gcd(uint32_t a, uint32_t b) {
  while (b) {
    uint32_t c = a % b;
    a = b;
    b = c;
  }
  return a;
}

/* The number must be a multiple of `of` as well. The result is factor / 10^places, in lowest terms with the same
 * places. */
static void add_factor(el_schema *s, uint32_t node, limits *l, const json_t *of) {
  decimal d;
  parse_decimal(of, &d);
  if (d.negative || (!strcmp(d.whole, "0") && !*d.part))
    el_schema_fail(s, node, EL_ERR_INVALID, "\"multipleOf\" must be above 0");
  char digits[2 * MOST_DIGITS];
  snprintf(digits, sizeof digits, "%s%s", d.whole, d.part);
  int places = (int)strlen(d.part);
  uint64_t factor = strtoull(digits, NULL, 10), own = l->factor;
  int most = l->places > places ? l->places : places;
  bool large = strlen(digits) > 9;
  for (int i = places; i < most && !large; i++) large = (factor *= 10) > 1000000000;
  for (int i = l->places < 0 ? most : l->places; i < most && !large; i++) large = (own *= 10) > 1000000000;
  if (!large && l->places >= 0) factor = factor / gcd((uint32_t)factor, (uint32_t)own) * own;
  if (large || factor > MOST_FACTOR)
    el_schema_fail(s, node, EL_ERR_UNSUPPORTED, "\"multipleOf\" is not supported with more than %d different ends",
                   MOST_FACTOR);
  l->factor = (uint32_t)factor;
  l->places = most;
}

static const json_t *number_keyword(el_schema *s, uint32_t node, const char *keyword) {
  const json_t *j = json_object_get(s->nodes[node].schema, keyword);
  if (j && !json_is_number(j) && !(json_is_boolean(j) && keyword[0] == 'e'))
    el_schema_fail(s, node, EL_ERR_INVALID, "\"%s\" must be a number", keyword);
  return j;
}

static void read_limits(el_schema *s, const el_set *nodes, limits *l) {
  memset(l, 0, sizeof *l);
  l->low.at.infinite = l->low.at.negative = l->high.at.infinite = true;
  l->factor = 1;
  l->places = -1;
  for (uint32_t i = 0; i < nodes->n; i++) {
    uint32_t node = nodes->at[i];
    const json_t *min = number_keyword(s, node, "minimum"), *max = number_keyword(s, node, "maximum");
    const json_t *above = number_keyword(s, node, "exclusiveMinimum"),
                 *below = number_keyword(s, node, "exclusiveMaximum");
    const json_t *of = number_keyword(s, node, "multipleOf");
    /* Up to draft 4 these two were booleans that changed the meaning of minimum and maximum. */
    if (min) tighten_limit(l, min, true, json_is_true(above));
    if (max) tighten_limit(l, max, false, json_is_true(below));
    if (json_is_number(above)) tighten_limit(l, above, true, true);
    if (json_is_number(below)) tighten_limit(l, below, false, true);
    if (of) add_factor(s, node, l, of);
  }
}

/* ---------------------------------------------------------------------- digits between two sizes */

/* The interval, and how the digits so far compare with those of its bounds. */
typedef struct span {
  el_schema *s;
  el_grammar *g;
  uint32_t node;
  const bound *low, *high;   /* sizes: no signs */
  int n_low, n_high, n_most; /* digits before the point; of high, INT_MAX if it is infinite */
  bool fractions, no_integers;
  uint32_t factor;
  int places;
  uint32_t *memo_keys; /* [MOST_STATES] of the rules, 0: free */
  el_rule *memo;
  uint32_t n_memo;
} span;

static el_expr digits_expr(span *p, int min, int max) {
  return el_grammar_repeat(p->g, el_grammar_byte(p->g, '0', '9'), (uint32_t)min, (uint32_t)max);
}

static int sign_of(int x) {
  return (x > 0) - (x < 0);
}

/* How the digits compare after one more digit, when those before compare as `so_far`. */
static int compare_digit(int so_far, int digit, const char *digits_of, int at) {
  return so_far ? so_far : sign_of(digit - (digits_of[at] ? digits_of[at] - '0' : 0));
}

/* Whether the number may end with n digits after its point, when the digits so far compare as a and b. */
static bool may_end(const span *p, int n, int a, int b, uint32_t rest) {
  int n_a = (int)strlen(p->low->at.part), n_b = (int)strlen(p->high->at.part);
  if (!a && n < n_a) a = -1;
  if (!b && n < n_b) b = -1;
  if (a < 0 || (!a && p->low->open)) return false;
  if (!p->high->at.infinite && (b > 0 || (!b && p->high->open))) return false;
  for (int i = n; i < p->places; i++) rest = rest * 10 % p->factor;
  return rest == 0;
}

/* Digits after the point, of which n are written; `part_of_one`: one of them is not 0. EL_EXPR_NONE: no continuation.
 */
static el_expr fraction_part(span *p, int n, int most, int a, int b, uint32_t rest, bool part_of_one) {
  if (el_grammar_failed(p->g)) return EL_EXPR_NONE;
  el_grammar *g = p->g;
  bool free = part_of_one || !p->no_integers;
  if (a > 0 && b < 0 && p->factor == 1 && free) return digits_expr(p, n ? 0 : 1, most - n);
  el_expr ways[12];
  size_t n_ways = 0;
  if (n && free && may_end(p, n, a, b, rest)) ways[n_ways++] = el_grammar_empty(g);
  for (int d = 0; d <= 9 && n < most;) {
    int from = d, next_a = compare_digit(a, d, p->low->at.part, n), next_b = compare_digit(b, d, p->high->at.part, n);
    d++;
    uint32_t next_rest = (uint32_t)((rest * 10ull + (uint32_t)from) % p->factor);
    while (d <= 9 && p->factor == 1 && (from || free) && compare_digit(a, d, p->low->at.part, n) == next_a &&
           compare_digit(b, d, p->high->at.part, n) == next_b)
      d++;
    if (next_a < 0 || next_b > 0) continue;
    el_expr more = fraction_part(p, n + 1, most, next_a, next_b, next_rest, part_of_one || from);
    if (more)
      ways[n_ways++] =
          el_grammar_pair(g, el_grammar_byte(g, (unsigned char)('0' + from), (unsigned char)('0' + d - 1)), more);
  }
  return n_ways ? el_grammar_alternatives(g, ways, n_ways) : EL_EXPR_NONE;
}

/* All n digits before the point are written. */
static el_expr whole_end(span *p, int n, int a, int b, uint32_t rest) {
  el_grammar *g = p->g;
  if (n != p->n_low) a = n < p->n_low ? -1 : 1;
  if (n != p->n_high) b = n < p->n_high ? -1 : 1;
  if (a < 0 || b > 0) return EL_EXPR_NONE;
  el_expr end = !p->no_integers && may_end(p, 0, a, b, rest) ? el_grammar_empty(g) : EL_EXPR_NONE;
  if (!p->fractions || !p->places) return end;
  /* A text at or above a closed bound is also parsed as such; above an open bound only if a double can distinguish it.
   */
  int most = PRECISION > n ? PRECISION - n : 0;
  if (!p->low->open && !p->high->open) {
    int n_a = (int)strlen(p->low->at.part), n_b = (int)strlen(p->high->at.part);
    if (n_a > most) most = n_a;
    if (n_b > most) most = n_b;
  }
  if (p->places >= 0) most = p->places;
  el_expr fraction = most ? fraction_part(p, 0, most, a, b, rest, false) : EL_EXPR_NONE;
  if (!fraction) return end;
  fraction = el_grammar_pair(g, el_grammar_text(g, "."), fraction);
  return end ? el_grammar_optional(g, fraction) : fraction;
}

static el_expr whole_part(span *p, int n, int a, int b, bool zero, uint32_t rest);

/* With multipleOf, states are reached on many paths, so each is a rule. */
static el_expr whole_rule(span *p, int n, int a, int b, uint32_t rest) {
  if (p->factor == 1) return whole_part(p, n, a, b, false, rest);
  uint32_t key = 1 + (uint32_t)((((uint32_t)n * 3 + (uint32_t)(a + 1)) * 3 + (uint32_t)(b + 1)) * p->factor + rest);
  uint32_t slot = (uint32_t)(key * 2654435769u) % (2 * MOST_STATES);
  for (; p->memo_keys[slot]; slot = (slot + 1) % (2 * MOST_STATES))
    if (p->memo_keys[slot] == key)
      return p->memo[slot] == UINT32_MAX ? EL_EXPR_NONE : el_grammar_use(p->g, p->memo[slot]);
  if (++p->n_memo > MOST_STATES)
    el_schema_fail(p->s, p->node, EL_ERR_UNSUPPORTED, "\"multipleOf\" is not supported with bounds so wide");
  el_expr body = whole_part(p, n, a, b, false, rest);
  /* What was made in the meantime may have taken the slot. */
  while (p->memo_keys[slot]) slot = (slot + 1) % (2 * MOST_STATES);
  p->memo_keys[slot] = key;
  p->memo[slot] = UINT32_MAX;
  if (!body) return EL_EXPR_NONE;
  p->memo[slot] = el_grammar_add_rule(p->g, "number");
  el_grammar_define(p->g, p->memo[slot], body);
  return el_grammar_use(p->g, p->memo[slot]);
}

/* Digits before the point, of which n are written. `zero`: they are "0", so no more follow. */
static el_expr whole_part(span *p, int n, int a, int b, bool zero, uint32_t rest) {
  if (el_grammar_failed(p->g)) return EL_EXPR_NONE;
  el_grammar *g = p->g;
  if (n && a && b && !zero && p->factor == 1 && !p->fractions) {
    /* Both comparisons are decided; only the number of digits is open. */
    int min = a < 0 ? p->n_low + 1 : p->n_low, max = b > 0 ? p->n_high - 1 : p->n_high;
    if (max > p->n_most) max = p->n_most;
    if (min < n) min = n;
    return max < min ? EL_EXPR_NONE : digits_expr(p, min - n, max - n);
  }
  el_expr ways[12];
  size_t n_ways = 0;
  el_expr end = n ? whole_end(p, n, a, b, rest) : EL_EXPR_NONE;
  if (end) ways[n_ways++] = end;
  for (int d = 0; d <= 9 && n < p->n_most && !zero;) {
    const char *low = n < p->n_low ? p->low->at.whole : "", *high = n < p->n_high ? p->high->at.whole : "";
    int from = d, next_a = *low ? compare_digit(a, d, low, n) : a, next_b = *high ? compare_digit(b, d, high, n) : b;
    d++;
    uint32_t next_rest = (uint32_t)((rest * 10ull + (uint32_t)from) % p->factor);
    bool is_zero = !n && !from;
    while (d <= 9 && p->factor == 1 && !is_zero && (*low ? compare_digit(a, d, low, n) : a) == next_a &&
           (*high ? compare_digit(b, d, high, n) : b) == next_b)
      d++;
    el_expr more =
        is_zero ? whole_part(p, 1, next_a, next_b, true, next_rest) : whole_rule(p, n + 1, next_a, next_b, next_rest);
    if (more)
      ways[n_ways++] =
          el_grammar_pair(g, el_grammar_byte(g, (unsigned char)('0' + from), (unsigned char)('0' + d - 1)), more);
  }
  return n_ways ? el_grammar_alternatives(g, ways, n_ways) : EL_EXPR_NONE;
}

/* Sizes of low to high. */
static el_expr numbers_between(el_schema *s, uint32_t node, const limits *l, const bound *low, const bound *high,
                               bool fractions, bool integers) {
  int c = compare_sizes(&low->at, &high->at);
  if (c > 0 || (!c && (low->open || high->open)) || low->at.infinite) return EL_EXPR_NONE;
  span p = {
      .s = s, .g = s->g, .node = node, .low = low, .high = high, .fractions = fractions, .no_integers = !integers};
  p.factor = l->factor;
  p.places = l->places;
  p.n_low = (int)strlen(low->at.whole);
  p.n_high = high->at.infinite ? 1 << 20 : (int)strlen(high->at.whole);
  p.n_most = p.n_low + 1 > DIGITS ? p.n_low + 1 : DIGITS;
  if (p.n_most > p.n_high) p.n_most = p.n_high;
  if (fractions && high->at.infinite && p.n_low < PRECISION) p.n_most = PRECISION;
  if (p.factor > 1) {
    p.memo_keys = el_schema_alloc(s, sizeof *p.memo_keys * 2 * MOST_STATES);
    p.memo = el_schema_alloc(s, sizeof *p.memo * 2 * MOST_STATES);
  }
  /* Every digit is below an infinite bound. */
  return whole_part(&p, 0, 0, high->at.infinite ? -1 : 0, false, 0);
}

/* ---------------------------------------------------------------------- any number */

static el_expr any_number(el_schema *s, bool fractions) {
  if (s->has_number[fractions]) return el_grammar_use(s->g, s->numbers[fractions]);
  el_grammar *g = s->g;
  el_expr digit = el_grammar_byte(g, '0', '9'), first = el_grammar_byte(g, '1', '9');
  el_expr minus = el_grammar_optional(g, el_grammar_text(g, "-"));
  el_expr zero = el_grammar_text(g, "0");
  el_expr natural = el_grammar_pair(g, first, el_grammar_repeat(g, digit, 0, DIGITS - 1));
  el_expr body;
  if (fractions) {
    el_expr fraction =
        el_grammar_optional(g, el_grammar_pair(g, el_grammar_text(g, "."), el_grammar_repeat(g, digit, 1, DIGITS)));
    el_char_range signs[] = {{'+', '+'}, {'-', '-'}}, e[] = {{'e', 'e'}, {'E', 'E'}};
    el_expr exponent = el_grammar_optional(
        g, el_grammar_sequence(g,
                               (el_expr[]){el_grammar_chars(g, e, 2, false),
                                           el_grammar_optional(g, el_grammar_chars(g, signs, 2, false)),
                                           el_grammar_repeat(g, digit, 1, 2)},
                               3));
    body = el_grammar_sequence(
        g, (el_expr[]){minus, el_grammar_alternatives(g, (el_expr[]){zero, natural}, 2), fraction, exponent}, 4);
  } else {
    body = el_grammar_alternatives(g, (el_expr[]){zero, el_grammar_pair(g, minus, natural)}, 2);
  }
  s->numbers[fractions] = el_grammar_add_rule(g, fractions ? "number" : "integer");
  s->has_number[fractions] = true;
  el_grammar_define(g, s->numbers[fractions], body);
  return el_grammar_use(g, s->numbers[fractions]);
}

el_expr el_schema_number(el_schema *s, const el_set *nodes, unsigned types) {
  bool fractions = types & EL_JSON_FRACTION;
  limits *l = el_schema_alloc(s, sizeof *l);
  read_limits(s, nodes, l);
  bool integers = types & EL_JSON_INTEGER;
  if (integers && !l->bounded && l->factor == 1 && l->places < 0) return any_number(s, fractions);
  el_grammar *g = s->g;
  uint32_t node = nodes->n ? nodes->at[0] : 0;
  if (compare_decimals(&l->low.at, &l->high.at) > 0) return el_grammar_never(g);
  el_expr ways[2];
  size_t n = 0;
  bound zero = {.at = {.whole = "0"}};
  if (!l->high.at.negative) {
    el_expr e = numbers_between(s, node, l, l->low.at.negative ? &zero : &l->low, &l->high, fractions, integers);
    if (e) ways[n++] = e;
  }
  if (l->low.at.negative) {
    bound none = zero;
    none.open = true;
    el_expr e = numbers_between(s, node, l, l->high.at.negative ? &l->high : &none, &l->low, fractions, integers);
    if (e) ways[n++] = el_grammar_pair(g, el_grammar_text(g, "-"), e);
  }
  el_schema_check(s);
  return el_grammar_alternatives(g, ways, n);
}
