/* GET /: a page for people, and a line of text for programs that look whether somebody is there (Ollama's clients do).
 *
 * The page is one HTML file, made of src/server/page when the program is built, and the same for everybody: what it
 * shows it gets from the other endpoints, with the key that its reader gives it. */
#ifndef EL_SERVER_PAGE_H
#define EL_SERVER_PAGE_H

#include "server/http/route.h"

extern const unsigned char el_page_html[];
extern const size_t el_page_bytes;
extern const char el_page_policy[]; /* Content-Security-Policy */
extern const char el_page_tag[];    /* ETag, with its quotes */

bool el_page_get(const el_query *q, el_answer *out, el_api_error *e);

#endif
