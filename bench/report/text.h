/* Text that grows, and what hostile names must go through before they stand in a page.
 *
 * A failed allocation is remembered instead of being told by every call: a page is built of thousands of small pieces,
 * and only its whole is of use. */
#ifndef EL_BENCH_REPORT_TEXT_H
#define EL_BENCH_REPORT_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

typedef struct el_text {
  el_buf buf;
  bool failed; /* no memory: what follows is dropped */
} el_text;

void el_text_printf(el_text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void el_text_put(el_text *t, const char *s);

/* The longest name that is shown, in characters; the rest of a longer one becomes "…". */
enum { EL_TEXT_NAME_MAX = 120 };

/* A name as the text or the quoted attribute of HTML and XML. What XML cannot hold, and what changes the direction of
 * the text around it, becomes U+FFFD, and so does each byte that is not UTF-8 (a file's name may be anything). */
void el_text_xml(el_text *t, const char *name);
/* A name in a cell of a Markdown table, with no meaning left in its signs. */
void el_text_markdown(el_text *t, const char *name);
/* A name as it is, cleaned as above and cut, for JSON. */
void el_text_clean(el_text *t, const char *name);

void el_text_free(el_text *t);

#endif
