#include "constraint/reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"

el_expr el_reader_fail(el_reader *r, const char *at, el_status code, const char *fmt, ...) {
  char why[256], near[48];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(why, sizeof why, fmt, ap);
  va_end(ap);
  size_t line = 1, column = 1;
  for (const char *p = r->text; p < at; p++) {
    column = *p == '\n' ? 1 : column + (((unsigned char)*p & 0xc0) != 0x80);
    line += *p == '\n';
  }
  size_t left = (size_t)(r->end - at);
  el_str_show((el_str){at, left < 20 ? left : 20}, near, sizeof near);
  return el_grammar_fail(r->grammar, code, "%s, line %zu, column %zu: %s%s%s%s", r->what, line, column, why,
                         left ? ", at \"" : ", at its end", left ? near : "", left ? "\"" : "");
}

bool el_reader_skip(el_reader *r, const char *literal) {
  size_t n = 0;
  while (literal[n] && el_reader_peek(r, n) == literal[n]) n++;
  if (literal[n]) return false;
  r->at += n;
  return true;
}

uint32_t el_reader_char(el_reader *r) {
  size_t left = (size_t)(r->end - r->at);
  if (!left) {
    el_reader_fail(r, r->at, EL_ERR_INVALID, "it ends here");
    return EL_READ_END;
  }
  int n = el_utf8_length(r->at, left);
  if (!n) {
    el_reader_fail(r, r->at, EL_ERR_INVALID, "this is not UTF-8");
    return EL_READ_END;
  }
  uint32_t c = (unsigned char)*r->at;
  if (n > 1) c &= 0x7fu >> n;
  for (int i = 1; i < n; i++) c = c << 6 | ((unsigned char)r->at[i] & 0x3fu);
  r->at += n;
  return c;
}

uint32_t el_reader_hex(el_reader *r, int n) {
  uint32_t value = 0;
  const char *from = r->at;
  for (int i = 0; i < n; i++) {
    char c = el_reader_peek(r, 0);
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
    if (digit < 0) {
      el_reader_fail(r, from, EL_ERR_INVALID, "%d hexadecimal digits are missing", n);
      return EL_READ_END;
    }
    value = value << 4 | (uint32_t)digit;
    r->at++;
  }
  return value;
}

uint32_t el_reader_number(el_reader *r) {
  uint32_t value = 0;
  const char *from = r->at;
  while (el_reader_peek(r, 0) >= '0' && el_reader_peek(r, 0) <= '9') {
    value = value * 10 + (uint32_t)(*r->at++ - '0');
    if (value > EL_MAX_REPETITION) {
      el_reader_fail(r, from, EL_ERR_TOO_LONG, "a repetition of more than %d", EL_MAX_REPETITION);
      return EL_READ_END;
    }
  }
  return value;
}

size_t el_reader_utf8(uint32_t c, char bytes[4]) {
  size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (size_t i = n - 1; i > 0; i--, c >>= 6) bytes[i] = (char)(0x80 | (c & 0x3f));
  bytes[0] = (char)((n == 1 ? 0 : n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0) | c);
  return n;
}

el_expr el_reader_literal(el_reader *r, uint32_t c) {
  char bytes[4];
  return el_grammar_literal(r->grammar, bytes, el_reader_utf8(c, bytes));
}

static bool grow_list(el_grammar *g, void **items, size_t size, size_t n, size_t *cap) {
  if (el_grammar_failed(g)) return false;
  if (n < *cap) return true;
  size_t want = *cap ? *cap * 2 : 16;
  void *larger = want <= EL_MAX_EXPRS * 2 ? realloc(*items, size * want) : NULL;
  if (!larger) {
    el_grammar_fail(g, EL_ERR_NO_MEMORY, "grammar: out of memory");
    return false;
  }
  *items = larger;
  *cap = want;
  return true;
}

bool el_expr_list_add(el_grammar *g, el_expr_list *l, el_expr e) {
  if (e == EL_EXPR_NONE || !grow_list(g, (void **)&l->items, sizeof *l->items, l->n, &l->cap)) return false;
  l->items[l->n++] = e;
  return true;
}

bool el_range_list_add(el_grammar *g, el_range_list *l, uint32_t low, uint32_t high) {
  if (!grow_list(g, (void **)&l->items, sizeof *l->items, l->n, &l->cap)) return false;
  l->items[l->n++] = (el_char_range){low, high};
  return true;
}
