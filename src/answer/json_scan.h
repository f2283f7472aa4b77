/* JSON (RFC 8259), a byte at a time: where a text that comes in pieces stops being JSON, where its value ends, and
 * where the members of its outermost object are. */
#ifndef EL_ANSWER_JSON_SCAN_H
#define EL_ANSWER_JSON_SCAN_H

#include "base/buf.h"
#include "base/text.h"

enum { EL_JSON_MAX_DEPTH = 128 }; /* arguments nest a few levels */

typedef enum el_json_step { EL_JSON_MORE, EL_JSON_DONE, EL_JSON_WRONG } el_json_step;

/* What a byte was for the outermost object's members. */
enum {
  EL_JSON_KEY = 1,        /* the opening quote of a key */
  EL_JSON_KEY_END = 2,    /* its closing quote */
  EL_JSON_VALUE = 4,      /* the first byte of a value */
  EL_JSON_VALUE_LAST = 8, /* its last byte */
  EL_JSON_VALUE_OVER = 16 /* the byte after it: of numbers and words, whose end is seen only then */
};

typedef struct el_json_scan { /* zeroed: before a value */
  unsigned char state, next_in_word, hex;
  const char *word;
  bool in_key;
  int depth;
  bool object[EL_JSON_MAX_DEPTH]; /* [depth]; else an array */
  unsigned event;                 /* of the last byte */
} el_json_scan;

/* DONE: `c` is the last byte of the value, or, of a number or word at depth 0, the one after it. WRONG: `c` cannot come
 * here. */
el_json_step el_json_next(el_json_scan *s, unsigned char c);

/* Whether `text` is one value, with white space around it at most. */
bool el_json_is_value(el_str text);

/* Appends the string that stands between two quotes in JSON. False: no memory. The text has been scanned. */
bool el_json_unescape(el_buf *out, el_str text);
/* Appends text as a JSON string, with its quotes. */
bool el_json_quote(el_buf *out, el_str text);

#endif
