#include "server/page/page.h"

#include <string.h>

static const char LINE[] = "edgelora is running\n";

/* Browsers name text/html when a person goes to an address; programs say nothing, or that they take all. */
static bool wants_html(const char *accept) {
  return accept && strstr(accept, "text/html");
}

/* Whether one of the tags of If-None-Match is the page's; those that proxies weakened count, as the page's bytes are
 * what they were. */
static bool has_page_tag(const char *if_none_match) {
  return if_none_match && (!strcmp(if_none_match, "*") || strstr(if_none_match, el_page_tag));
}

bool el_page_get(const el_query *q, el_answer *out, el_api_error *e) {
  static const char *const vary[] = {"Vary", "Accept", NULL};
  /* It is kept, and asked for at each visit: the program may be another one. */
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
