/* Cuts texts into words, for vocabularies that are written as text, and writes spaces as these
 * do. */
#ifndef EL_TOKENIZER_WORDS_H
#define EL_TOKENIZER_WORDS_H

#include "base/buf.h"
#include "tokenizer/vocab.h"

typedef struct el_word {
  const char *data; /* with spaces in the place of U+2581; the first word has the space that was put
                     * before the text */
  size_t len;       /* at least 1 */
  size_t at;        /* where it begins in the text */
  bool prefixed;    /* data begins with a space that the text does not have */
} el_word;

/* Takes one word; anything but EL_OK ends the cutting with that status. */
typedef el_status (*el_word_fn)(void *user, const el_word *word);

/* Cuts the text before spaces that no token holds together with what precedes them, so the tokens
 * of the words are those of the text. space: put a space before the text. lines: runs of line ends
 * are words, too. EL_ERR_NO_MEMORY: a word had to be copied. */
el_status el_words_cut(const el_vocab *v, const char *text, size_t len, bool space, bool lines, el_buf *scratch,
                       el_word_fn fn, void *user);

/* Where byte i of a word comes from in the text. */
size_t el_word_origin(const el_word *word, const char *text, size_t len, size_t i);

#endif
