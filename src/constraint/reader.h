/* Reads the text of a GBNF grammar or a regular expression: characters, escapes, numbers, and the
 * place of a fault. */
#ifndef EL_CONSTRAINT_READER_H
#define EL_CONSTRAINT_READER_H

#include "constraint/grammar.h"

#define EL_READ_END UINT32_MAX

typedef struct el_reader {
  el_grammar *grammar; /* gets the faults */
  const char *what;    /* for messages: "grammar" */
  const char *text, *at, *end;
} el_reader;

/* Fails the grammar with what is wrong, line and column, and the text there. Returns EL_EXPR_NONE. */
el_expr el_reader_fail(el_reader *r, const char *at, el_status code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The byte `ahead` of the current place; 0: the end, or a NUL. */
static inline char el_reader_peek(const el_reader *r, size_t ahead) {
  return ahead < (size_t)(r->end - r->at) ? r->at[ahead] : 0;
}
bool el_reader_skip(el_reader *r, const char *literal); /* false: the literal is not there */
/* Reads the next character. EL_READ_END: the end, or it is not UTF-8, which is a fault. */
uint32_t el_reader_char(el_reader *r);
/* Reads a number of n hexadecimal digits. EL_READ_END: a digit is missing, which is a fault. */
uint32_t el_reader_hex(el_reader *r, int n);
/* Reads a decimal number; the next byte is a digit. EL_READ_END: it is above EL_MAX_REPETITION, which
 * is a fault. */
uint32_t el_reader_number(el_reader *r);

/* Encodes a character in UTF-8 and returns the number of bytes. */
size_t el_reader_utf8(uint32_t c, char bytes[4]);
/* A character as a literal. */
el_expr el_reader_literal(el_reader *r, uint32_t c);

/* A growing list of expressions. */
typedef struct el_expr_list {
  el_expr *items;
  size_t n, cap;
} el_expr_list;
/* False: out of memory, which fails the grammar. */
bool el_expr_list_add(el_grammar *g, el_expr_list *l, el_expr e);

/* A growing list of ranges. */
typedef struct el_range_list {
  el_char_range *items;
  size_t n, cap;
} el_range_list;
bool el_range_list_add(el_grammar *g, el_range_list *l, uint32_t low, uint32_t high);

#endif
