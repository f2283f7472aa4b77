#include "base/text.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool el_str_eq(el_str s, const char *literal) {
  return strlen(literal) == s.len && memcmp(s.data, literal, s.len) == 0;
}

char *el_str_dup(el_str s) {
  char *p = malloc(s.len + 1);
  if (!p) return NULL;
  if (s.len) memcpy(p, s.data, s.len);
  p[s.len] = 0;
  return p;
}

int el_str_cmp(el_str a, el_str b) {
  int c = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
  return c ? c : (a.len > b.len) - (a.len < b.len);
}

bool el_str_skip(el_str *s, const char *prefix) {
  size_t n = strlen(prefix);
  if (s->len < n || memcmp(s->data, prefix, n)) return false;
  s->data += n;
  s->len -= n;
  return true;
}

bool el_str_chop(el_str *s, const char *suffix) {
  size_t n = strlen(suffix);
  if (s->len < n || memcmp(s->data + s->len - n, suffix, n)) return false;
  s->len -= n;
  return true;
}

/* Decodes one character and returns its length; 0: malformed, overlong, a surrogate, or beyond
 * U+10FFFF. */
static int decode_utf8(const char *s, size_t len, uint32_t *code) {
  const unsigned char *p = (const unsigned char *)s;
  if (len == 0) return 0;
  if (p[0] < 0x80) {
    *code = p[0];
    return 1;
  }
  int n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
  if (p[0] < 0xc2 || p[0] > 0xf4 || len < (size_t)n) return 0;
  uint32_t c = p[0] & (0x7fu >> n);
  for (int i = 1; i < n; i++) {
    if ((p[i] & 0xc0) != 0x80) return 0;
    c = c << 6 | (p[i] & 0x3f);
  }
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) return 0;
  *code = c;
  return n;
}

int el_utf8_length(const char *s, size_t len) {
  uint32_t code;
  return decode_utf8(s, len, &code);
}

bool el_utf8_valid(const char *s, size_t len) {
  for (size_t i = 0, n; i < len; i += n)
    if (!(n = (size_t)el_utf8_length(s + i, len - i))) return false;
  return true;
}

static bool is_unsafe(uint32_t c) {
  return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x061c || (c >= 0x200e && c <= 0x200f) ||
         (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

const char *el_str_show(el_str s, char *out, size_t size) {
  assert(size >= 16);
  size_t at = 0, keep = 0; /* keep: how much stays if the rest is replaced by "..." */
  for (size_t i = 0; i < s.len;) {
    char piece[8];
    uint32_t code = 0;
    int n = decode_utf8(s.data + i, s.len - i, &code), len;
    if (n == 0) {
      n = 1;
      len = snprintf(piece, sizeof piece, "\\x%02x", (unsigned char)s.data[i]);
    } else if (code == '\\' || code == '\n' || code == '\t' || code == '\r') {
      piece[0] = '\\';
      piece[1] = code == '\n' ? 'n' : code == '\t' ? 't' : code == '\r' ? 'r' : '\\';
      len = 2;
    } else if (is_unsafe(code)) {
      len = snprintf(piece, sizeof piece, code < 0x80 ? "\\x%02x" : "\\u%04x", code);
    } else {
      memcpy(piece, s.data + i, (size_t)n);
      len = n;
    }
    if (at + (size_t)len + 1 > size) {
      memcpy(out + keep, "...", 4);
      return out;
    }
    memcpy(out + at, piece, (size_t)len);
    at += (size_t)len;
    i += (size_t)n;
    if (at + 4 <= size) keep = at;
  }
  out[at] = 0;
  return out;
}
