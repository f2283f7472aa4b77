/* Scans JSON (RFC 8259) byte by byte: finds where a text that arrives in pieces stops being JSON,
 * where its value ends, and where the members of its outermost object are. */
#ifndef EL_ANSWER_JSON_SCAN_H
#define EL_ANSWER_JSON_SCAN_H

#include "base/buf.h"
#include "base/text.h"

enum { EL_JSON_MAX_DEPTH = 128 }; /* arguments nest a few levels deep */

typedef enum el_json_step { EL_JSON_MORE, EL_JSON_DONE, EL_JSON_WRONG } el_json_step;

/* What a byte is for the members of the outermost object. */
enum {
  EL_JSON_KEY = 1,        /* the opening quote of a key */
  EL_JSON_KEY_END = 2,    /* its closing quote */
  EL_JSON_VALUE = 4,      /* the first byte of a value */
  EL_JSON_VALUE_LAST = 8, /* its last byte */
  EL_JSON_VALUE_OVER = 16 /* the byte after it, for numbers and words, whose end shows only there */
};

typedef struct el_json_scan { /* zeros: before a value */
  unsigned char state, next_in_word, hex;
  const char *word;
  bool in_key;
  int depth;
  bool object[EL_JSON_MAX_DEPTH]; /* [depth] an object; else an array */
  unsigned event;                 /* of the last byte */
} el_json_scan;

/* DONE: `c` is the last byte of the value, or for a number or word at depth 0 the byte after it.
 * WRONG: `c` cannot follow here. */
el_json_step el_json_next(el_json_scan *s, unsigned char c);

/* Whether `text` is one value, surrounded by nothing but white space. */
bool el_json_is_value(el_str text);

/* Appends the content of a JSON string, given without its quotes. The text must have been scanned.
 * False: out of memory. */
bool el_json_unescape(el_buf *out, el_str text);
/* Appends a text that ends in NUL. False: out of memory. */
static inline bool el_put_cstring(el_buf *out, const char *s) {
  return el_buf_append(out, s, strlen(s));
}
/* Appends text as a JSON string with its quotes. */
bool el_json_quote(el_buf *out, el_str text);

#endif
