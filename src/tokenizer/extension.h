/* A tokenizer that has tokens besides another's, as adapters bring them that were trained with a
 * larger vocabulary.
 *
 * Ordinary text becomes the base's tokens: an added token is a special one, cut out of a text by
 * its spelling. So an extension is small: it has the added tokens and a table of all special ones,
 * and uses the base for the rest. */
#ifndef EL_TOKENIZER_EXTENSION_H
#define EL_TOKENIZER_EXTENSION_H

#include "tokenizer/tokenizer.h"

enum {
  EL_MAX_ADDED_TOKENS = 4096,     /* published adapters add 1 to a few hundred */
  EL_MAX_ADDED_BYTES = 256 << 10, /* of all their texts together */
  EL_MAX_RENAMED_SPAN = 64 << 10, /* from the first of the base's tokens with another text to the
                                   * base's last token */
  EL_MAX_ADDED_ENDS = 16          /* tokens that end an answer, besides those that do so by their
                                   * texts */
};

typedef struct el_added_token {
  int64_t id;
  el_str text;
  bool special;                   /* a control token; else one that is always cut out and always
                                   * shown */
  bool strip_before, strip_after; /* it takes white space before or after it along */
} el_added_token;

typedef struct el_extension {
  const el_added_token *tokens; /* [n] in any order, including the base's */
  size_t n;
  el_str bos, eos;     /* texts of tokens; data NULL: the base's */
  const int64_t *ends; /* [n_ends] tokens that end an answer, at most EL_MAX_ADDED_ENDS */
  size_t n_ends;
  el_str chat_template, tools_template; /* data NULL: none. If there is a chat_template, the base's
                                         * are not used */
} el_extension;

/* Makes an extension; *out is NULL if all tokens are the base's. Tokens beyond the base's last must
 * have no gap. A control token of the base, or a name for a row that no text has, may get another
 * text; an ordinary token may not. The base must outlive *out. EL_ERR_FORMAT names the token. */
el_status el_tokenizer_extend(const el_tokenizer *base, const el_extension *e, el_tokenizer **out, el_error *err);

/* The tokens of an extension's own, ascending; n 0: it is no extension. */
const int32_t *el_tokenizer_own(const el_tokenizer *t, size_t *n);
/* Tokens that end an answer here but not with the base: own ones, and others. */
const int32_t *el_tokenizer_own_ends(const el_tokenizer *t, size_t *n);
/* Whether this token is an own one; with a base, none is. */
bool el_tokenizer_is_own(const el_tokenizer *t, int32_t token);
/* The tokenizer that it extends, or itself. */
const el_tokenizer *el_tokenizer_base(const el_tokenizer *t);
/* The number of tokens of el_tokenizer_base. */
int32_t el_tokenizer_n_base(const el_tokenizer *t);
/* Whether a token is a name for a row that no text has, as files have them for padding. */
bool el_tokenizer_is_unused(const el_tokenizer *t, int32_t token);
/* Memory that it takes, about, in bytes. */
size_t el_tokenizer_extension_bytes(const el_tokenizer *t);

#endif
