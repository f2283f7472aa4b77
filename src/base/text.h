/* Strings out of files: views that need not end in NUL, and how to print them safely. */
#ifndef EL_BASE_TEXT_H
#define EL_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct el_str {
  const char *data; /* not NUL-terminated */
  size_t len;
} el_str;

bool el_str_eq(el_str s, const char *literal);
/* A copy that ends in NUL, the caller's to free; NULL: no memory. */
char *el_str_dup(el_str s);
/* By bytes, a prefix first: < 0, 0, > 0. */
int el_str_cmp(el_str a, el_str b);

/* Drops a prefix, or a suffix, if it is there; says whether it was. */
bool el_str_skip(el_str *s, const char *prefix);
bool el_str_chop(el_str *s, const char *suffix);

/* Length of the UTF-8 character at s (1 to 4), or 0 if the bytes are not one. */
int el_utf8_length(const char *s, size_t len);
bool el_utf8_valid(const char *s, size_t len);

/* Writes s into out as something that is safe on a terminal and in a log: control characters, what reorders text
 * (bidirectional overrides) and bytes that are not UTF-8 become escapes such as \n, \x1b, \u202e; a backslash
 * becomes two. What does not fit in `size` bytes is cut and marked with "...". Always NUL-terminated; returns out.
 * size: 16 at least. */
const char *el_str_show(el_str s, char *out, size_t size);

/* Room for a name in a message: file-format names are shorter, hostile ones are cut. */
enum { EL_SHOW = 128 };

#endif
