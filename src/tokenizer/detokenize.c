/* Turns tokens into text, all at once and as a stream. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "tokenizer/private.h"

static bool is_hidden_token(const el_vocab *v, int32_t token, bool special) {
  return !special && (el_vocab_flags(v, (uint32_t)token) & (EL_TOKEN_CONTROL | EL_TOKEN_SHOWN)) == EL_TOKEN_CONTROL;
}

el_str el_token_bytes(const el_tokenizer *t, int32_t token, bool special) {
  const el_vocab *v = &t->vocab;
  if (token < 0 || (uint32_t)token >= v->n || is_hidden_token(v, token, special)) return (el_str){"", 0};
  return el_vocab_bytes(v, (uint32_t)token);
}

enum { SPECIAL = EL_TOKEN_CONTROL | EL_TOKEN_USER };

bool el_token_begins(const el_tokenizer *t, int32_t before) {
  const el_vocab *v = &t->vocab;
  return t->add_space && (before < 0 || (uint32_t)before >= v->n || el_vocab_flags(v, (uint32_t)before) & SPECIAL);
}

el_str el_token_text(const el_tokenizer *t, int32_t before, int32_t token, bool special) {
  const el_vocab *v = &t->vocab;
  el_str s = el_token_bytes(t, token, special);
  if (!el_token_begins(t, before) || s.len == 0 || s.data[0] != ' ') return s;
  return el_vocab_flags(v, (uint32_t)token) & (SPECIAL | EL_TOKEN_BYTE) ? s : (el_str){s.data + 1, s.len - 1};
}

el_status el_detokenize_after(const el_tokenizer *t, int32_t before, const int32_t *tokens, size_t n, bool special,
                              char **out, size_t *len, el_error *err) {
  size_t total = 0;
  int32_t last = before;
  for (size_t i = 0; i < n; last = tokens[i++]) {
    if (tokens[i] < 0 || (uint32_t)tokens[i] >= t->vocab.n)
      return el_fail(err, EL_ERR_INVALID, "token %" PRId32 " (number %zu) is not in the vocabulary of %" PRIu32,
                     tokens[i], i, t->vocab.n);
    size_t more = el_token_text(t, last, tokens[i], special).len;
    if (more >= SIZE_MAX - total) return el_fail(err, EL_ERR_INVALID, "the text of %zu tokens is too long", n);
    total += more;
  }
  char *text = malloc(total + 1), *p = text;
  if (!text) return el_fail(err, EL_ERR_NO_MEMORY, "no memory for a text of %zu bytes", total);
  last = before;
  for (size_t i = 0; i < n; last = tokens[i++]) {
    el_str s = el_token_text(t, last, tokens[i], special);
    memcpy(p, s.data, s.len);
    p += s.len;
  }
  *p = 0;
  *out = text;
  *len = total;
  return EL_OK;
}

el_status el_detokenize(const el_tokenizer *t, const int32_t *tokens, size_t n, bool special, char **out, size_t *len,
                        el_error *err) {
  return el_detokenize_after(t, -1, tokens, n, special, out, len, err);
}

/* How many bytes at s belong to one character that may still become valid, given that they are not
 * valid yet: what Unicode calls the maximal subpart. At least 1. */
static size_t started_bytes(const unsigned char *s, size_t len) {
  unsigned char lead = s[0];
  size_t whole = lead >= 0xf0 && lead <= 0xf4  ? 4
                 : lead >= 0xe0 && lead < 0xf0 ? 3
                 : lead >= 0xc2 && lead < 0xe0 ? 2
                                               : 1;
  /* After these bytes, not every continuation byte may follow: no overlong forms, no surrogates,
   * nothing above U+10FFFF. */
  unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  size_t n = 1;
  while (n < whole && n < len && s[n] >= low && s[n] <= high) {
    n++;
    low = 0x80;
    high = 0xbf;
  }
  return n;
}

/* Whether the n bytes that started_bytes counts could be completed by more bytes. */
static bool may_be_completed(const unsigned char *s, size_t n, size_t len) {
  return n == len && s[0] >= 0xc2 && s[0] <= 0xf4;
}

bool el_utf8_take(el_buf *pending, bool flush, el_buf *whole) {
  static const char REPLACEMENT[] = "\xef\xbf\xbd";
  if (pending->len == 0) return true;
  if (pending->len > SIZE_MAX / 8 || !el_buf_reserve(whole, 3 * pending->len))
    return false; /* appending cannot fail now */
  size_t i = 0;
  while (i < pending->len) {
    const char *s = pending->data + i;
    size_t left = pending->len - i;
    int valid = el_utf8_length(s, left);
    if (valid > 0) {
      el_buf_append(whole, s, (size_t)valid);
      i += (size_t)valid;
      continue;
    }
    size_t n = started_bytes((const unsigned char *)s, left);
    if (!flush && may_be_completed((const unsigned char *)s, n, left)) break;
    el_buf_append(whole, REPLACEMENT, 3);
    i += n;
  }
  el_buf_consume(pending, i);
  return true;
}
