/* JSON answers in the place of the ones that libmicrohttpd makes itself.
 *
 * libmicrohttpd answers requests that it cannot read (not HTTP, headers beyond its memory, an invalid length) with a
 * page of HTML before any code of ours sees them, and has no hook for that. But it queues that page with its own public
 * MHD_queue_response, called through the dynamic linker. So the definition below takes the place of the library's. It
 * sees each answer with its connection and status, and replaces those that are not ours. A libmicrohttpd that binds its
 * calls internally would answer with its own pages again; tests/py/test_server_bad_input.py would show it. */
#include <dlfcn.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "server/common/errors.h"
#include "server/http/state.h"

typedef enum MHD_Result queue_response(struct MHD_Connection *, unsigned, struct MHD_Response *);

static const struct {
  unsigned status;
  const char *code, *message;
} texts[] = {
    {400, "bad_request",
     "This is no request of HTTP/1.1 that can be read: the request line, a header or a length is malformed, or 'Host' "
     "is missing."},
    {413, "request_too_large", "The request's body is longer than can be read."},
    {414, "uri_too_long", "The request line is longer than the 32 KiB that it and the headers may have together."},
    {431, "headers_too_large", "The request line and headers are longer than the limit of 32 KiB."},
    {501, "not_implemented", "This method or transfer coding is not known here."},
    {503, "overloaded", "There is no memory for this request now; try again later."},
    {505, "http_version_not_supported", "This is HTTP/1.1: the request's version is not supported."},
};

static void describe_status(unsigned status, el_api_error *e) {
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    if (texts[i].status == status) {
      el_api_fail(e, (int)status, texts[i].code, NULL, "%s", texts[i].message);
      return;
    }
  el_api_fail(e, (int)status, NULL, NULL, "%s.", MHD_get_reason_phrase_for(status));
}

/* NULL: out of memory. */
static struct MHD_Response *make_json_response(el_buf *json) {
  struct MHD_Response *r = MHD_create_response_from_buffer(json->len, json->data, MHD_RESPMEM_MUST_FREE);
  if (r)
    MHD_add_response_header(r, "Content-Type", "application/json");
  else
    el_buf_free(json);
  return r;
}

/* libmicrohttpd 0.9.75 writes the header of its answer twice when a Content-Length is invalid. So the answer is sent
 * here. Nothing can be ahead of it, as the library reads a request only after the one before is answered completely.
 * What does not fit into the socket's buffer at once is lost; the library then closes the connection, as nothing was
 * queued. */
static void send_whole(int fd, unsigned status, el_buf *json) {
  el_buf b = {0};
  char date[64];
  time_t now = time(NULL);
  struct tm utc;
  strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &utc));
  if (el_buf_printf(
          &b,
          "HTTP/1.1 %u %s\r\nDate: %s\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: "
          "%zu\r\n\r\n%s",
          status, MHD_get_reason_phrase_for(status), date, json->len, json->data) &&
      send(fd, b.data, b.len, MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
    shutdown(fd, SHUT_WR);
  el_buf_free(&b);
  el_buf_free(json);
}

/* Our answers have a Content-Type and the library's pages have none; answers of ours without a body are not errors. */
static bool is_the_librarys(unsigned status, struct MHD_Response *r) {
  return status >= 400 && !MHD_get_response_header(r, "Content-Type");
}

__attribute__((visibility("default"))) enum MHD_Result MHD_queue_response(struct MHD_Connection *c, unsigned status,
                                                                          struct MHD_Response *r) {
  static _Atomic(queue_response *) of_the_library;
  queue_response *next = of_the_library;
  if (!next) {
    void *symbol = dlsym(RTLD_NEXT, "MHD_queue_response");
    if (!symbol) return MHD_NO;
    memcpy(&next, &symbol, sizeof next); /* ISO C has no cast from an object's pointer to a function's */
    of_the_library = next;
  }
  if (!r || !is_the_librarys(status, r)) return next(c, status, r);

  el_api_error e = {0};
  el_buf json = {0};
  describe_status(status, &e);
  if (!el_api_error_write(&e, &json)) {
    el_buf_free(&json);
    return MHD_NO;
  }
  const union MHD_ConnectionInfo *fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
  if (fd && !MHD_get_connection_info(c, MHD_CONNECTION_INFO_GNUTLS_SESSION)) {
    send_whole(fd->connect_fd, status, &json);
    return MHD_NO;
  }
  struct MHD_Response *ours = make_json_response(&json);
  enum MHD_Result rc = ours ? next(c, status, ours) : MHD_NO;
  if (ours) MHD_destroy_response(ours);
  return rc;
}
