/* Reading a pattern's text, for GBNF and regular expressions: characters, escapes, numbers, and where a fault is. */
#ifndef EL_CONSTRAINT_READER_H
#define EL_CONSTRAINT_READER_H

#include "constraint/grammar.h"

#define EL_READ_END UINT32_MAX

typedef struct el_reader {
  el_grammar *grammar; /* that faults are told to */
  const char *what;    /* for messages: "grammar" */
  const char *text, *at, *end;
} el_reader;

/* Says what is wrong at a place: what, line and column, and what stands there. Returns EL_EXPR_NONE. */
el_expr el_reader_fail(el_reader *r, const char *at, el_status code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The byte at the place, or `ahead` further on; 0: the end, or a NUL. */
static inline char el_reader_peek(const el_reader *r, size_t ahead) {
  return ahead < (size_t)(r->end - r->at) ? r->at[ahead] : 0;
}
bool el_reader_skip(el_reader *r, const char *literal); /* if it is there */
/* The next character, and past it; EL_READ_END: there is none, or it is not UTF-8, which is a fault. */
uint32_t el_reader_char(el_reader *r);
/* A number of n hexadecimal digits; EL_READ_END: they are not there, which is a fault. */
uint32_t el_reader_hex(el_reader *r, int n);
/* A decimal number, bounded by EL_MAX_REPETITION, else a fault: EL_READ_END. A digit is there. */
uint32_t el_reader_number(el_reader *r);

/* A character in UTF-8; how many bytes it has. */
size_t el_reader_utf8(uint32_t c, char bytes[4]);
/* A character as a literal. */
el_expr el_reader_literal(el_reader *r, uint32_t c);

/* A growing list of expressions. */
typedef struct el_expr_list {
  el_expr *items;
  size_t n, cap;
} el_expr_list;
/* False: out of memory, which is a fault. */
bool el_expr_list_add(el_grammar *g, el_expr_list *l, el_expr e);

/* A growing list of ranges. */
typedef struct el_range_list {
  el_char_range *items;
  size_t n, cap;
} el_range_list;
bool el_range_list_add(el_grammar *g, el_range_list *l, uint32_t low, uint32_t high);

#endif
