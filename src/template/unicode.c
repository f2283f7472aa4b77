#include "template/unicode.h"

#include "template/unicode_tables.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static bool in_ranges(uint32_t c, const el_char_range *list, size_t n) {
  size_t low = 0, high = n;
  while (low < high) {
    size_t mid = low + (high - low) / 2;
    if (c > list[mid].last)
      low = mid + 1;
    else
      high = mid;
  }
  return low < n && c >= list[low].first;
}
#define IN(c, list) in_ranges(c, list, COUNT(list))

bool el_char_is_space(uint32_t c) {
  return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool el_char_is_line_end(uint32_t c) {
  return (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool el_char_is_printable(uint32_t c) {
  return !IN(c, NOT_PRINTABLE);
}

bool el_char_is_alpha(uint32_t c) {
  return IN(c, ALPHA);
}

bool el_char_is_decimal(uint32_t c) {
  return IN(c, DECIMAL);
}

bool el_char_is_digit(uint32_t c) {
  return IN(c, DECIMAL) || IN(c, DIGIT);
}

bool el_char_is_numeric(uint32_t c) {
  return el_char_is_digit(c) || IN(c, NUMERIC);
}

bool el_char_is_lower(uint32_t c) {
  return IN(c, LOWER);
}

bool el_char_is_upper(uint32_t c) {
  return IN(c, UPPER);
}

typedef struct case_table {
  const el_case_range *ranges;
  size_t n;
  const el_case_several *several;
  size_t n_several;
} case_table;

static const case_table CASES[] = {
    [EL_TO_LOWER] = {TO_LOWER, COUNT(TO_LOWER), TO_LOWER_SEVERAL, COUNT(TO_LOWER_SEVERAL)},
    [EL_TO_UPPER] = {TO_UPPER, COUNT(TO_UPPER), TO_UPPER_SEVERAL, COUNT(TO_UPPER_SEVERAL)},
    [EL_TO_TITLE] = {TO_TITLE, COUNT(TO_TITLE), TO_TITLE_SEVERAL, COUNT(TO_TITLE_SEVERAL)},
};

size_t el_char_to(el_case to, uint32_t c, uint32_t out[3]) {
  const case_table *t = &CASES[to];
  out[0] = c;
  for (size_t i = 0; c >= 0x80 && i < t->n_several; i++) {
    if (t->several[i].from != c) continue;
    size_t n = 0;
    while (n < 3 && t->several[i].to[n]) out[n] = t->several[i].to[n], n++;
    return n;
  }
  size_t low = 0, high = t->n;
  while (low < high) {
    size_t mid = low + (high - low) / 2;
    if (c > t->ranges[mid].last)
      low = mid + 1;
    else
      high = mid;
  }
  if (low < t->n && c >= t->ranges[low].first && (c - t->ranges[low].first) % t->ranges[low].step == 0)
    out[0] = (uint32_t)((int64_t)c + t->ranges[low].distance);
  return 1;
}

size_t el_char_write(uint32_t c, char out[4]) {
  if (c >= 0xdc80 && c <= 0xdcff) { /* a byte that belongs to no character becomes what it was */
    out[0] = (char)(c - 0xdc00);
    return 1;
  }
  if (c < 0x80) {
    out[0] = (char)c;
    return 1;
  }
  size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  static const unsigned char LEAD[] = {0, 0, 0xc0, 0xe0, 0xf0};
  for (size_t i = n - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3f));
  out[0] = (char)(LEAD[n] | c);
  return n;
}
