/* The tokenizer as its own files see it. Private to this folder. */
#ifndef EL_TOKENIZER_PRIVATE_H
#define EL_TOKENIZER_PRIVATE_H

#include "tokenizer/bpe.h"
#include "tokenizer/conversation.h"
#include "tokenizer/pretokenizer.h"
#include "tokenizer/scored.h"
#include "tokenizer/special.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/vocab.h"

struct el_tokenizer {
  el_vocab vocab;
  el_merges merges; /* not with EL_VOCAB_SCORED */
  el_specials specials;
  el_pretokenizer *pretokenizer; /* EL_VOCAB_BYTE_LEVEL; else NULL */
  bool ignore_merges, add_bos;
  bool add_space;                   /* EL_VOCAB_SCORED: text at the beginning, or after a special
                                     * token, gets a space in front */
  bool strips;                      /* some special token takes white space along */
  bool line_tokens;                 /* EL_VOCAB_MERGED: a run of line ends that is a token becomes
                                     * it, whatever the merges say */
  bool has_template;                /* the file has a chat template, or another one is used
                                     * instead */
  el_chat_template *template;       /* renders conversations; NULL: see why_no_template */
  el_chat_template *tools_template; /* the same for conversations with tools, if the file has a
                                     * separate template for them
                                     * (tokenizer.chat_template.tool_use); else NULL */
  el_error why_no_template;
  el_buf notice; /* see el_tokenizer_notice */

  /* For an extension (extension.h); else NULL and 0. What the base has, too, is the base's. */
  const el_tokenizer *base;
  bool own_templates;
  int32_t *own; /* [n_own] ascending */
  size_t n_own;
  int32_t *own_ends; /* [n_own_ends] tokens that end an answer here but not with the base */
  size_t n_own_ends;
};

/* As el_tokenize_at_most, but control tokens are not looked for in the `content` ranges (in order,
 * without overlap). */
el_status el_tokenize_ranges(const el_tokenizer *t, const char *text, size_t len, int flags, const el_range *content,
                             size_t n_content, size_t most, int32_t **out, size_t *n, el_error *err);

#endif
