/* Pre-tokenizers: they cut text into pieces before byte-pair encoding, which never joins across a
 * cut. */
#ifndef EL_TOKENIZER_PRETOKENIZER_H
#define EL_TOKENIZER_PRETOKENIZER_H

#include "base/text.h"
#include "edgelora.h"

typedef struct el_pretokenizer el_pretokenizer;

typedef struct el_pretokenizer_traits {
  bool ignore_merges; /* a piece that is a token becomes that token, whatever the merges say */
  bool add_bos;       /* BOS comes first if the file does not say */
} el_pretokenizer_traits;

/* Finds a pre-tokenizer by `name`, as in tokenizer.ggml.pre. EL_ERR_UNSUPPORTED: unknown; the
 * message lists the known ones. */
el_status el_pretokenizer_open(el_str name, el_pretokenizer **out, el_pretokenizer_traits *traits, el_error *err);
/* Makes one of other patterns, at most EL_MAX_PATTERNS. */
enum { EL_MAX_PATTERNS = 8 };
el_status el_pretokenizer_compile(const char *const *patterns, int n, el_pretokenizer **out, el_error *err);
void el_pretokenizer_close(el_pretokenizer *p);

/* Takes one piece of at least 1 byte; anything but EL_OK ends the split with that status. */
typedef el_status (*el_piece_fn)(void *user, const char *piece, size_t len);

/* Hands out the pieces in order; together they are the text, byte for byte. Patterns see only valid
 * UTF-8: a run of other bytes is a piece of its own, and the text before and after it is cut as if
 * it stood alone. EL_ERR_INVALID: a pattern took too many steps; named pre-tokenizers take a number
 * in proportion to the text. */
el_status el_pretokenizer_split(const el_pretokenizer *p, const char *text, size_t len, el_piece_fn fn, void *user,
                                el_error *err);

#endif
