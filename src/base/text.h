/* Strings from files: views that need not end in NUL, and how to print them safely. */
#ifndef EL_BASE_TEXT_H
#define EL_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

typedef struct el_str {
  const char *data; /* not NUL-terminated */
  size_t len;
} el_str;

/* A view of a text that ends in NUL. */
static inline el_str el_str_of(const char *s) {
  return (el_str){s, strlen(s)};
}

bool el_str_eq(el_str s, const char *literal);
/* A copy that ends in NUL, which the caller frees. NULL: out of memory. */
char *el_str_dup(el_str s);
/* Compares bytes; a prefix comes first. Returns < 0, 0 or > 0. */
int el_str_cmp(el_str a, el_str b);

/* Removes a prefix, or a suffix, if it is there; says whether it was. */
bool el_str_skip(el_str *s, const char *prefix);
bool el_str_chop(el_str *s, const char *suffix);

/* Length of the UTF-8 character at s (1 to 4), or 0 if the bytes are not UTF-8. */
int el_utf8_length(const char *s, size_t len);
bool el_utf8_valid(const char *s, size_t len);

/* Writes s to out so that it is safe on a terminal and in a log. Control characters, characters
 * that reorder text (bidirectional overrides) and bytes that are not UTF-8 become escapes such as
 * \n, \x1b or \u202e; a backslash is doubled. What does not fit into `size` bytes is cut off and
 * marked with "...". Always ends in NUL; returns out. size: at least 16. */
const char *el_str_show(el_str s, char *out, size_t size);

/* Room for a name in a message: names in file formats are shorter, hostile ones are cut off. */
enum { EL_SHOW = 128 };

#endif
