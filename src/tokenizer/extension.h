/* A tokenizer that has tokens beside another's, as an adapter brings them that was trained with a larger vocabulary.
 *
 * What ordinary text becomes is the base's: an added token is a special one, cut out of a text by its spelling. So an
 * extension is small. It has the added tokens, and a table of all special ones; the rest is the base's. */
#ifndef EL_TOKENIZER_EXTENSION_H
#define EL_TOKENIZER_EXTENSION_H

#include "tokenizer/tokenizer.h"

enum {
  EL_MAX_ADDED_TOKENS = 4096,     /* published adapters add 1 to some hundred */
  EL_MAX_ADDED_BYTES = 256 << 10, /* of their texts together */
  EL_MAX_RENAMED_SPAN = 64 << 10, /* from the first of the base's tokens with another text to its last token */
  EL_MAX_ADDED_ENDS = 16          /* tokens that end an answer, beside those that their texts tell */
};

typedef struct el_added_token {
  int64_t id;
  el_str text;
  bool special;                   /* a control token; else one that is always cut out and always shown */
  bool strip_before, strip_after; /* takes white space along */
} el_added_token;

typedef struct el_extension {
  const el_added_token *tokens; /* [n] in any order, those of the base too */
  size_t n;
  el_str bos, eos;     /* texts of tokens; data NULL: the base's */
  const int64_t *ends; /* [n_ends] tokens that end an answer, EL_MAX_ADDED_ENDS at most */
  size_t n_ends;
  el_str chat_template, tools_template; /* data NULL: none is there. With the first, the base's are not used */
} el_extension;

/* *out is NULL where no token is another than the base's. Tokens behind the base's last must have no gap; a control
 * token of the base's, or a row that no text has, may get another text, an ordinary one may not. The base must outlive
 * *out. EL_ERR_FORMAT names the token. */
el_status el_tokenizer_extend(const el_tokenizer *base, const el_extension *e, el_tokenizer **out, el_error *err);

/* The tokens that an extension has of its own, ascending; n 0: it is none. */
const int32_t *el_tokenizer_own(const el_tokenizer *t, size_t *n);
/* Tokens that end an answer, that the base has not as such: own ones, and others. */
const int32_t *el_tokenizer_own_ends(const el_tokenizer *t, size_t *n);
/* Whether this token is one of them; of the base none is. */
bool el_tokenizer_is_own(const el_tokenizer *t, int32_t token);
/* The one that it extends; of one that is no extension, itself. */
const el_tokenizer *el_tokenizer_base(const el_tokenizer *t);
/* Tokens of the one that it extends; of one that is no extension, all. */
int32_t el_tokenizer_n_base(const el_tokenizer *t);
/* Whether a token is a name for a row that no text has, as files have them for padding. */
bool el_tokenizer_is_unused(const el_tokenizer *t, int32_t token);
/* Memory that it takes, about. */
size_t el_tokenizer_extension_bytes(const el_tokenizer *t);

#endif
