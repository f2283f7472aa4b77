/* Requests, whole: what arrives is answered, in the form that its dialect has, and leaves nothing behind. The server is
 * the real one but for its sockets (no_sockets.h) and its engine (tests/server_fake), with a key that may all and one
 * that may "upper" alone.
 *
 * An input is two bytes and the rest. The first byte is the number of a path to which the rest is posted; one beyond
 * the last: the rest is "METHOD /path?query\n", headers of a line each, an empty line, the body. The second byte says
 * which key, which encoding the body has, and in which pieces it comes. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../server_fake/fake_engine.h"
#include "base/json_guard.h"
#include "no_sockets.h"
#include "server/http/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define FULL "Bearer key-of-the-operator"
#define LIMITED "Bearer key-of-a-tenant"

static const char *const PATHS[] = {"/v1/chat/completions",
                                    "/v1/completions",
                                    "/v1/messages",
                                    "/v1/responses",
                                    "/completion",
                                    "/api/chat",
                                    "/api/generate",
                                    "/v1/embeddings",
                                    "/embedding",
                                    "/api/embed",
                                    "/rerank",
                                    "/tokenize",
                                    "/detokenize",
                                    "/infill",
                                    "/apply-template",
                                    "/v1/route",
                                    "/v1/messages/count_tokens",
                                    "/v1/chat/completions/input_tokens",
                                    "/v1/responses/input_tokens",
                                    "/api/show",
                                    "/api/embeddings",
                                    "/lora-adapters",
                                    "/v1/load_lora_adapter",
                                    "/v1/unload_lora_adapter"};
enum { N_PATHS = sizeof PATHS / sizeof *PATHS };

static el_server *server;

/* A line is one line, whatever it is about. */
static void see_log(void *user, el_log_level level, const char *line) {
  for (const char *p = line; *p; p++) assert((unsigned char)*p >= 0x20 && *p != 0x7f);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  static const char *const allowed[] = {"/usr/share"};
  const fake_options fake = {.n_slots = 128, .max_queue = 1000, .ctx_size = 128, .router = 1, .n_more = 2};
  char keys[] = "/tmp/fuzz-keys-XXXXXX";
  int fd = mkstemp(keys);
  static const char lines[] = "key-of-the-operator\nkey-of-a-tenant upper\n";
  if (fd < 0 || write(fd, lines, sizeof lines - 1) != sizeof lines - 1) abort();
  close(fd);
  json_set_alloc_funcs(el_json_malloc, el_json_free);
  el_server_options o = el_server_options_default();
  el_error err;
  o.engine = fake_engine_open(&fake);
  o.port = 0;
  o.max_body_bytes = 1 << 16;
  o.has_router = true;
  o.api_keys = keys;
  o.allowed_folders = allowed;
  o.n_allowed_folders = 1;
  o.log = see_log;
  if (!o.engine || el_server_start(&o, &server, &err)) abort();
  unlink(keys);
  return 0;
}

/* ---------------------------------------------------------------- what was asked */

/* A request's text, taken apart in place. */
typedef struct request_text {
  char *text;
  no_sockets_pair headers[24], arguments[8];
  no_sockets_request request;
} request_text;

static char *next_line(char **at) {
  char *line = *at, *end = strchr(line, '\n');
  if (end) *end = 0;
  *at = end ? end + 1 : line + strlen(line);
  return line;
}

static void read_query(request_text *t, char *query) {
  no_sockets_request *q = &t->request;
  for (char *p = query, *next; p && q->n_arguments < 8; p = next) {
    next = strchr(p, '&');
    if (next) *next++ = 0;
    char *value = strchr(p, '=');
    if (value) *value++ = 0;
    t->arguments[q->n_arguments++] = (no_sockets_pair){p, value};
  }
}

/* What the library makes of a request line and of headers. False: it would not be one. */
static bool read_text(request_text *t, size_t size) {
  no_sockets_request *q = &t->request;
  char *at = t->text, *line = next_line(&at), *path = strchr(line, ' ');
  if (!path || path == line || path[1] != '/') return false;
  *path++ = 0;
  char *query = strchr(path, '?');
  if (query) *query++ = 0;
  q->method = line;
  q->path = path;
  read_query(t, query);
  while (q->n_headers < 20 && *at && *at != '\n') {
    char *name = next_line(&at), *value = strchr(name, ':');
    if (!value || value == name) return false;
    *value++ = 0;
    t->headers[q->n_headers++] = (no_sockets_pair){name, value + strspn(value, " ")};
  }
  if (*at == '\n') at++;
  q->body = at;
  q->len = size - (size_t)(at - t->text);
  return true;
}

/* ---------------------------------------------------------------- what came back */

static void check_json(const char *text, size_t len) {
  json_error_t why;
  json_t *j = json_loadb(text, len, JSON_ALLOW_NUL | JSON_DECODE_ANY, &why);
  if (!j) fprintf(stderr, "%s at %d of %.*s\n", why.text, why.position, (int)len, text);
  assert(j);
  json_decref(j);
}

static void check_lines(const char *text, const char *prefix, bool all) {
  size_t skip = strlen(prefix);
  while (*text) {
    size_t n = strcspn(text, "\n");
    bool data = !strncmp(text, prefix, skip);
    assert(data || !all);
    if (data && n > skip && strncmp(text + skip, "[DONE]", 6)) check_json(text + skip, n - skip);
    text += n + (text[n] == '\n');
  }
}

static void check(const no_sockets_request *q, const no_sockets_answer *a) {
  assert(a->status && !a->cut_off);
  if (!strcmp(q->method, "HEAD")) return;
  if (!strncmp(a->type, "application/json", 16))
    check_json(a->body, a->len);
  else if (!strncmp(a->type, "text/event-stream", 17))
    check_lines(a->body, "data: ", false);
  else if (!strncmp(a->type, "application/x-ndjson", 20))
    check_lines(a->body, "", true);
  /* The engine has an adapter that fails, with a 503; nothing else does. */
  if (a->status == 500) assert(strstr(a->body, "answer_too_large"));
}

static void wait_until_nothing_is_left(void) {
  pthread_mutex_lock(&server->mutex);
  while (server->n_exchanges) pthread_cond_wait(&server->changed, &server->mutex);
  pthread_mutex_unlock(&server->mutex);
  assert(!atomic_load(&server->body_bytes) && !atomic_load(&server->held_bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char *const KEYS[] = {FULL, LIMITED, "Bearer no", NULL};
  static const char *const CODINGS[] = {NULL, "gzip", "deflate", "zstd"};
  static const size_t PIECES[] = {1 << 16, 1, 7, 1024};
  if (size < 2) return 0;
  size_t len = size - 2, path = data[0] % (N_PATHS + 1);
  const char *key = KEYS[data[1] & 3], *coding = CODINGS[data[1] >> 2 & 3];
  request_text t = {.text = malloc(len + 1)};
  no_sockets_answer a;
  if (!t.text) abort();
  memcpy(t.text, data + 2, len);
  t.text[len] = 0;
  no_sockets_request *q = &t.request;
  *q = (no_sockets_request){.headers = t.headers, .arguments = t.arguments, .piece = PIECES[data[1] >> 4 & 3]};
  if (path < N_PATHS) {
    q->method = "POST";
    q->path = PATHS[path];
    q->body = t.text;
    q->len = len;
  } else if (!read_text(&t, len)) {
    free(t.text);
    return 0;
  }
  if (key) t.headers[q->n_headers++] = (no_sockets_pair){"Authorization", key};
  if (coding) t.headers[q->n_headers++] = (no_sockets_pair){"Content-Encoding", coding};
  /* After so many wrong keys their answers come a second late, and an input would be answered by what came before it.
   */
  server->strangers = (el_strangers){0};
  no_sockets_ask(q, &a);
  check(q, &a);
  free(a.body);
  free(t.text);
  wait_until_nothing_is_left();
  return 0;
}
