/* Splits a template's text into tokens, by Jinja's rules with trim_blocks and lstrip_blocks. */
#ifndef EL_TEMPLATE_LEXER_H
#define EL_TEMPLATE_LEXER_H

#include "template/text.h"

typedef enum el_token_type {
  EL_T_END,
  EL_T_DATA,
  EL_T_BLOCK_BEGIN,
  EL_T_BLOCK_END,
  EL_T_VARIABLE_BEGIN,
  EL_T_VARIABLE_END,
  EL_T_NAME,
  EL_T_STRING,
  EL_T_INTEGER,
  EL_T_FLOAT,
  EL_T_OPERATOR /* data: which one */
} el_token_type;

typedef struct el_token {
  el_token_type type;
  int line;
  const char *data; /* as in the source; of a string, its value */
  size_t len;
  int64_t integer;
  double number;
} el_token;

enum { EL_MAX_BRACKETS = 200 };

typedef struct el_lexer {
  el_task *task;
  const char *source; /* with line ends as \n, and without the last one */
  size_t len, at;
  int line;
  char inside;                    /* 0: in text; '%' or '{': in a tag */
  bool line_starting;             /* what came before ended a line */
  char brackets[EL_MAX_BRACKETS]; /* open brackets, as the characters that close them */
  size_t n_brackets;
  bool pending; /* a text has been returned, and `next` follows it */
  el_token next;
} el_lexer;

/* Copies the text. */
void el_lexer_begin(el_lexer *l, el_task *t, const char *text, size_t len);
el_token el_lexer_next(el_lexer *l);
/* Writes a token for messages. */
const char *el_token_show(const el_token *token, char *out, size_t size);

#endif
