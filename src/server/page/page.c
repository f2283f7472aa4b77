#include "server/page/page.h"

#include <string.h>

static const char LINE[] = "edgelora is running\n";

/* Browsers name text/html when a person opens an address; programs send no Accept header, or accept everything. */
static bool wants_html(const char *accept) {
  return accept && strstr(accept, "text/html");
}

/* Whether If-None-Match contains the page's tag. Tags that a proxy made weak count too, as the page's bytes are the
 * same. */
static bool has_page_tag(const char *if_none_match) {
  return if_none_match && (!strcmp(if_none_match, "*") || strstr(if_none_match, el_page_tag));
}

bool el_page_get(const el_query *q, el_answer *out, el_api_error *e) {
  static const char *const vary[] = {"Vary", "Accept", NULL};
  /* Browsers may store the page but must ask at each visit whether it has changed, as the program may be a newer one.
   */
  static const char *const headers[] = {"Content-Security-Policy",
                                        el_page_policy,
                                        "X-Content-Type-Options",
                                        "nosniff",
                                        "Referrer-Policy",
                                        "no-referrer",
                                        "Cross-Origin-Opener-Policy",
                                        "same-origin",
                                        "Cache-Control",
                                        "no-cache",
                                        "ETag",
                                        el_page_tag,
                                        "Vary",
                                        "Accept",
                                        NULL};
  bool html = wants_html(el_query_header(q, "Accept"));
  out->type = html ? "text/html; charset=utf-8" : "text/plain; charset=utf-8";
  out->headers = html ? headers : vary;
  if (html && has_page_tag(el_query_header(q, "If-None-Match"))) return out->status = 304, true;
  bool ok =
      html ? el_buf_append(&out->body, el_page_html, el_page_bytes) : el_buf_append(&out->body, LINE, sizeof LINE - 1);
  return ok || el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}
