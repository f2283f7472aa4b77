/* Strings as in Python: immutable sequences of characters. Each string knows where its bytes come
 * from, and every function here preserves this: what is cut out of a message, or joined with
 * something else, still counts as the message's. */
#ifndef EL_TEMPLATE_TEXT_H
#define EL_TEMPLATE_TEXT_H

#include "base/text.h"
#include "template/task.h"

/* Bytes begin to end - 1 come from `source`, which is not the template. */
typedef struct el_span {
  uint32_t begin, end, source;
} el_span;

typedef struct el_text {
  const char *data; /* UTF-8; a byte that belongs to no character counts as one. Not
                     * NUL-terminated */
  uint32_t len, n_spans;
  const el_span *spans; /* in order, disjoint, none empty; neighbours of one source are joined */
} el_text;

/* Puts a string together. */
typedef struct el_writer {
  el_task *task;
  char *data;
  el_span *spans;
  uint32_t len, cap, n_spans, cap_spans;
  uint32_t most; /* bytes; more end the task. 0: as many as memory allows */
} el_writer;

void el_write(el_writer *w, const char *data, size_t len, uint32_t source);
void el_write_cstring(el_writer *w, const char *s); /* from the template */
void el_write_text(el_writer *w, const el_text *s);
void el_write_range(el_writer *w, const el_text *s, size_t begin, size_t end);
void el_write_repeated(el_writer *w, const char *s, size_t times, uint32_t source);
void el_write_printf(el_writer *w, uint32_t source, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Returns what has been written, and starts anew. */
const el_text *el_written(el_writer *w);

/* `data` is not copied. */
const el_text *el_text_new(el_task *t, const char *data, size_t len, uint32_t source);
const el_text *el_text_copy(el_task *t, const char *data, size_t len, uint32_t source);
const el_text *el_text_cut(el_task *t, const el_text *s, size_t begin, size_t end);
/* Where a byte of a string comes from; 0: the template. */
uint32_t el_text_source(const el_text *s, size_t at);
/* The origin of a whole string: that of its first byte that is not from the template. */
uint32_t el_text_any_source(const el_text *s);

bool el_text_eq(const el_text *a, const el_text *b);
bool el_text_is(const el_text *s, const char *literal);
int el_text_cmp(const el_text *a, const el_text *b); /* by characters, which in UTF-8 is the order
                                                      * of bytes */
/* SIZE_MAX: not there */
size_t el_text_find(const el_text *s, const el_text *what, size_t from);
/* ends at or before `before` */
size_t el_text_find_last(const el_text *s, const el_text *what, size_t before);

/* --- characters */

/* Bytes of the character at data[0]; 1 for a byte that belongs to no character. */
size_t el_char_size(const char *data, size_t len);
/* Its code point; for such a byte b: 0xdc80 + b - 0x80, as with Python's surrogateescape. */
uint32_t el_char_code(const char *data, size_t len, size_t *size);
size_t el_text_length(const el_text *s);
/* The byte offset of character `index`, or the string's length. */
size_t el_text_offset(const el_text *s, size_t index);
/* Where the character before byte `at` begins. */
size_t el_char_before(const el_text *s, size_t at);

#endif
