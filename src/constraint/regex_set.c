#include "constraint/regex_set.h"

#include <stdlib.h>
#include <string.h>

enum { LAST = 0x10ffff };

static const el_char_range DIGITS[] = {{'0', '9'}};
static const el_char_range WORD[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
static const el_char_range SPACE[] = {{'\t', '\r'}, {' ', ' '}};

static bool add_char_class(el_reader *r, char c, el_range_list *ranges) {
  bool other = c >= 'A' && c <= 'Z';
  const el_char_range *set = c == 'd' || c == 'D' ? DIGITS : c == 'w' || c == 'W' ? WORD : SPACE;
  size_t n = set == DIGITS ? 1 : set == WORD ? 4 : 2;
  uint32_t next = 0;
  bool ok = true;
  for (size_t i = 0; i < n; i++) {
    if (!other)
      ok = ok && el_range_list_add(r->grammar, ranges, set[i].low, set[i].high);
    else if (set[i].low > next)
      ok = ok && el_range_list_add(r->grammar, ranges, next, set[i].low - 1);
    next = set[i].high + 1;
  }
  return !other ? ok : ok && el_range_list_add(r->grammar, ranges, next, LAST);
}

/* \uHHHH, also two of them as a surrogate pair, or \u{...}. */
static uint32_t read_unicode_escape(el_reader *r, const char *from) {
  uint32_t c = 0;
  if (el_reader_skip(r, "{")) {
    int n = 0;
    while (n < 6 && el_reader_peek(r, 0) && el_reader_peek(r, 0) != '}') {
      uint32_t digit = el_reader_hex(r, 1);
      if (digit == EL_READ_END) return digit;
      c = c << 4 | digit;
      n++;
    }
    if (!n || !el_reader_skip(r, "}")) {
      el_reader_fail(r, from, EL_ERR_INVALID, "this escape has no end");
      return EL_READ_END;
    }
  } else {
    c = el_reader_hex(r, 4);
    if (c >= 0xd800 && c <= 0xdbff && el_reader_skip(r, "\\u")) {
      uint32_t low = el_reader_hex(r, 4);
      if (low == EL_READ_END) return low;
      c = low >= 0xdc00 && low <= 0xdfff ? 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00) : low;
    }
  }
  if (c == EL_READ_END) return c;
  if (c > LAST || (c >= 0xd800 && c <= 0xdfff)) {
    el_reader_fail(r, from, EL_ERR_INVALID, "U+%04X is no character", (unsigned)c);
    return EL_READ_END;
  }
  return c;
}

uint32_t el_regex_escape(el_reader *r, bool in_set, el_range_list *ranges, bool *set) {
  const char *from = r->at - 1;
  char c = el_reader_peek(r, 0);
  *set = false;
  if (r->at == r->end) {
    el_reader_fail(r, from, EL_ERR_INVALID, "a backslash ends it");
    return EL_READ_END;
  }
  if ((unsigned char)c >= 0x80) return el_reader_char(r);
  r->at++;
  switch (c) {
    case 'd':
    case 'D':
    case 'w':
    case 'W':
    case 's':
    case 'S': *set = add_char_class(r, c, ranges); return EL_READ_END;
    case 't': return '\t';
    case 'n': return '\n';
    case 'r': return '\r';
    case 'f': return '\f';
    case 'v': return '\v';
    case 'a': return '\a';
    case '0':
      if (el_reader_peek(r, 0) >= '0' && el_reader_peek(r, 0) <= '9') break;
      return 0;
    case 'x': return el_reader_hex(r, 2);
    case 'u': return read_unicode_escape(r, from);
    case 'U': {
      uint32_t code = el_reader_hex(r, 8);
      if (code == EL_READ_END || code <= LAST) return code;
      el_reader_fail(r, from, EL_ERR_INVALID, "this is no character");
      return EL_READ_END;
    }
    case 'c': {
      char letter = el_reader_peek(r, 0);
      if (!((letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z'))) break;
      r->at++;
      return (uint32_t)letter & 31;
    }
    case 'b':
      if (in_set) return '\b';
      el_reader_fail(r, from, EL_ERR_UNSUPPORTED, "word boundaries (\\b) are not supported");
      return EL_READ_END;
    case 'B':
      el_reader_fail(r, from, EL_ERR_UNSUPPORTED, "word boundaries (\\B) are not supported");
      return EL_READ_END;
    case 'p':
    case 'P':
      el_reader_fail(r, from, EL_ERR_UNSUPPORTED, "Unicode properties (\\%c) are not supported", c);
      return EL_READ_END;
    case 'k':
      el_reader_fail(r, from, EL_ERR_UNSUPPORTED, "back references (\\k) are not supported");
      return EL_READ_END;
    default: break;
  }
  if (c >= '1' && c <= '9')
    el_reader_fail(r, from, EL_ERR_UNSUPPORTED, "back references (\\%c) are not supported", c);
  else if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
    el_reader_fail(r, from, EL_ERR_INVALID, "the escape \\%c is not known", c);
  else
    return (unsigned char)c;
  return EL_READ_END;
}

bool el_regex_set(el_reader *r, el_range_list *ranges, bool *negated) {
  el_grammar *g = r->grammar;
  const char *from = r->at - 1;
  *negated = el_reader_skip(r, "^");
  for (bool first = true; el_reader_peek(r, 0) != ']' || first; first = false) {
    if (el_grammar_failed(g)) return false;
    if (r->at == r->end) {
      el_reader_fail(r, from, EL_ERR_INVALID, "this set has no end");
      return false;
    }
    bool set = false;
    const char *at = r->at;
    uint32_t low = el_reader_skip(r, "\\") ? el_regex_escape(r, true, ranges, &set) : el_reader_char(r);
    if (set) continue;
    uint32_t high = low;
    if (el_reader_peek(r, 0) == '-' && el_reader_peek(r, 1) != ']' && r->end - r->at > 1) {
      r->at++;
      high = el_reader_skip(r, "\\") ? el_regex_escape(r, true, ranges, &set) : el_reader_char(r);
      if (set) { /* as in [+-\d]: the dash is itself */
        el_range_list_add(g, ranges, '-', '-');
        high = low;
      }
    }
    if (el_grammar_failed(g)) return false;
    if (low > high) {
      el_reader_fail(r, at, EL_ERR_INVALID, "a range of this set ends before it begins");
      return false;
    }
    el_range_list_add(g, ranges, low, high);
  }
  r->at++;
  return !el_grammar_failed(g);
}

/* --------------------------------------------------------------------- in JSON */

static bool ranges_have(const el_char_range *ranges, size_t n, uint32_t c) {
  for (size_t i = 0; i < n; i++)
    if (c >= ranges[i].low && c <= ranges[i].high) return true;
  return false;
}

/* The escapes of a character that must be escaped. */
static el_expr escaped_char_expr(el_grammar *g, uint32_t c) {
  static const char NAMES[] = "\"\\\b\f\n\r\t", LETTERS[] = "\"\\bfnrt";
  const char *name = c ? strchr(NAMES, (int)c) : NULL;
  el_expr ways[2];
  size_t n = 0;
  if (name) ways[n++] = el_grammar_literal(g, (char[]){'\\', LETTERS[name - NAMES]}, 2);
  if (c < 0x20) {
    char code[6] = {'\\', 'u', '0', '0', (char)('0' + (c >> 4))};
    uint32_t digit = c & 15;
    el_char_range last[] = {{digit < 10 ? '0' + digit : 'a' + digit - 10, digit < 10 ? '0' + digit : 'a' + digit - 10},
                            {digit < 10 ? '0' + digit : 'A' + digit - 10, digit < 10 ? '0' + digit : 'A' + digit - 10}};
    ways[n++] = el_grammar_pair(g, el_grammar_literal(g, code, 5), el_grammar_chars(g, last, 2, false));
  }
  return el_grammar_alternatives(g, ways, n);
}

static el_expr chars_in_json(el_grammar *g, const el_range_list *ranges, bool negated) {
  el_range_list plain = {0};
  el_expr ways[0x20 + 4];
  size_t n = 0;
  /* The plain characters: the set, or its complement, without those that must be escaped. */
  static const el_char_range SPECIAL[] = {{0, 0x1f}, {'"', '"'}, {'\\', '\\'}};
  bool ok = true;
  if (negated) {
    for (size_t i = 0; i < ranges->n; i++)
      ok = ok && el_range_list_add(g, &plain, ranges->items[i].low, ranges->items[i].high);
    for (size_t i = 0; i < 3; i++) ok = ok && el_range_list_add(g, &plain, SPECIAL[i].low, SPECIAL[i].high);
  } else {
    static const el_char_range PLAIN[] = {{' ', '!'}, {'#', '['}, {']', LAST}};
    for (size_t i = 0; i < ranges->n; i++)
      for (size_t k = 0; k < 3; k++) {
        uint32_t low = ranges->items[i].low > PLAIN[k].low ? ranges->items[i].low : PLAIN[k].low;
        uint32_t high = ranges->items[i].high < PLAIN[k].high ? ranges->items[i].high : PLAIN[k].high;
        if (low <= high) ok = ok && el_range_list_add(g, &plain, low, high);
      }
  }
  el_expr all = ok ? el_grammar_chars(g, plain.items, plain.n, negated) : EL_EXPR_NONE;
  ways[n++] = all;
  free(plain.items);
  for (uint32_t c = 0; c <= '\\'; c++) {
    bool special = c < 0x20 || c == '"' || c == '\\';
    if (special && ranges_have(ranges->items, ranges->n, c) != negated) ways[n++] = escaped_char_expr(g, c);
  }
  return el_grammar_alternatives(g, ways, n);
}

el_expr el_regex_chars(el_grammar *g, const el_range_list *ranges, bool negated, bool json) {
  return json ? chars_in_json(g, ranges, negated) : el_grammar_chars(g, ranges->items, ranges->n, negated);
}
