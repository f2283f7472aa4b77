#include "tokenizer/words.h"

#include <string.h>

static const char SPACE[] = "\xe2\x96\x81"; /* what vocabularies write for a space; in a text it is
                                             * a space, too */

/* Bytes of the space at text[i]: 1, 3, or 0 if there is none. */
static size_t space_at(const char *text, size_t len, size_t i) {
  if (text[i] == ' ') return 1;
  return len - i >= 3 && memcmp(text + i, SPACE, 3) == 0 ? 3 : 0;
}

/* Makes an el_word; it is copied only if it must differ from the text. */
static bool make_word(const char *text, size_t begin, size_t end, bool space, bool copy, el_buf *scratch,
                      el_word *out) {
  *out = (el_word){text + begin, end - begin, begin, space};
  if (!space && !copy) return true;
  el_buf_consume(scratch, scratch->len);
  if (!el_buf_reserve(scratch, end - begin + 1)) return false; /* appending cannot fail now */
  if (space) el_buf_append(scratch, " ", 1);
  for (size_t i = begin; i < end;) {
    size_t n = space_at(text, end, i);
    el_buf_append(scratch, n ? " " : text + i, 1);
    i += n ? n : 1;
  }
  out->data = scratch->data;
  out->len = scratch->len;
  return true;
}

el_status el_words_cut(const el_vocab *v, const char *text, size_t len, bool space, bool lines, el_buf *scratch,
                       el_word_fn fn, void *user) {
  size_t begin = 0;
  char before = ' '; /* the byte before i; at the beginning a space, before which there is no cut */
  bool copy = false; /* the word has a space of three bytes */
  for (size_t i = 0; i <= len;) {
    size_t n_space = i < len ? space_at(text, len, i) : 0;
    bool cut = i == len || (n_space && before != ' ' && !v->before_space[(unsigned char)before]) ||
               (lines && (text[i] == '\n') != (before == '\n'));
    if (cut && i > begin) {
      el_word word;
      if (!make_word(text, begin, i, space && begin == 0, copy, scratch, &word)) return EL_ERR_NO_MEMORY;
      el_status status = fn(user, &word);
      if (status) return status;
      begin = i;
      copy = false;
    }
    if (i == len) break;
    copy |= n_space == 3;
    before = n_space ? ' ' : text[i];
    i += n_space ? n_space : 1;
  }
  return EL_OK;
}

size_t el_word_origin(const el_word *word, const char *text, size_t len, size_t i) {
  size_t at = word->at;
  for (size_t k = word->prefixed; k < i; k++) at += space_at(text, len, at) == 3 ? 3 : 1;
  return at;
}
