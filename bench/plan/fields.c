#include "bench/plan/fields.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

/* No figure is greater: a day in microseconds, or a petabyte. */
static const double FIGURE_MAX = 1e15;

/* No file is longer. */
enum { FILE_MAX = 1 << 30 };

/* ---- the file */

/* json_load_file would read what never ends to the end of memory. */
typedef struct source {
  int fd;
  int why;
  size_t read;
} source;

static size_t read_some(void *buffer, size_t size, void *user) {
  source *s = user;
  ssize_t n;
  do n = read(s->fd, buffer, size);
  while (n < 0 && errno == EINTR);
  if (n < 0) s->why = errno;
  if (n < 0 || s->read > FILE_MAX - (size_t)n) {
    if (n >= 0) s->why = EFBIG;
    return (size_t)-1;
  }
  s->read += (size_t)n;
  return (size_t)n;
}

el_status el_fields_load(const el_fields *r, json_t **out) {
  json_error_t error;
  source s = {.fd = strcmp(r->path, "-") == 0 ? STDIN_FILENO : open(r->path, O_RDONLY | O_CLOEXEC)};
  if (s.fd < 0) return el_fail(r->err, EL_ERR_IO, "%s: %s", r->path, strerror(errno));
  json_t *root = json_load_callback(read_some, &s, JSON_REJECT_DUPLICATES, &error);
  if (s.fd != STDIN_FILENO) close(s.fd);
  if (!root && s.why == EFBIG) return el_fail(r->err, EL_ERR_FORMAT, "%s: longer than %d bytes", r->path, FILE_MAX);
  if (!root && s.why) return el_fail(r->err, EL_ERR_IO, "%s: %s", r->path, strerror(s.why));
  if (!root) return el_fail(r->err, EL_ERR_FORMAT, "%s: line %d: %s", r->path, error.line, error.text);
  *out = root;
  return EL_OK;
}

/* ---- values */

el_status el_fields_wrong(const el_fields *r, const char *field, const char *what) {
  return el_fail(r->err, EL_ERR_FORMAT, "%s: %s: %s", r->path, field, what);
}

json_t *el_fields_get(json_t *object, const char *key) {
  json_t *value = json_object_get(object, key);
  return json_is_null(value) ? NULL : value;
}

el_status el_fields_find(const el_fields *r, json_t *root, const char *path, json_t **out) {
  char done[96];
  *out = root;
  for (const char *p = path; *p && *out;) {
    size_t len = strcspn(p, ".");
    snprintf(done, sizeof done, "%.*s", (int)(p > path ? p - path - 1 : 0), path);
    if (!json_is_object(*out)) return el_fields_wrong(r, done, "is no object");
    char key[64];
    snprintf(key, sizeof key, "%.*s", (int)len, p);
    *out = el_fields_get(*out, key);
    p += len + (p[len] == '.');
  }
  return EL_OK;
}

el_status el_fields_number(const el_fields *r, json_t *root, const char *path, double *out) {
  json_t *value;
  el_status status = el_fields_find(r, root, path, &value);
  if (status || !value) return status;
  if (!json_is_number(value)) return el_fields_wrong(r, path, "is no number");
  double x = json_number_value(value);
  if (!(x >= 0 && x <= FIGURE_MAX))
    return el_fail(r->err, EL_ERR_FORMAT, "%s: %s: %g is not from 0 to %g", r->path, path, x, FIGURE_MAX);
  *out = x;
  return EL_OK;
}

el_status el_fields_text(const el_fields *r, json_t *root, const char *path, const char **out) {
  json_t *value;
  el_status status = el_fields_find(r, root, path, &value);
  if (status || !value) return status;
  if (!json_is_string(value)) return el_fields_wrong(r, path, "is no text");
  *out = json_string_value(value);
  return EL_OK;
}

el_status el_fields_columns(const el_fields *r, const json_t *columns, const char *field, const char *const *names,
                            size_t n, size_t *places) {
  if (!json_is_array(columns)) return el_fields_wrong(r, field, "is no list");
  for (size_t i = 0; i < n; i++) {
    places[i] = 0;
    while (places[i] < json_array_size(columns)) {
      const char *text = json_string_value(json_array_get(columns, places[i]));
      if (text && strcmp(text, names[i]) == 0) break;
      places[i]++;
    }
    if (places[i] == json_array_size(columns))
      return el_fail(r->err, EL_ERR_FORMAT, "%s: %s: has no '%s'", r->path, field, names[i]);
  }
  return EL_OK;
}

el_status el_fields_cell(const el_fields *r, const json_t *row, size_t place, const char *field, size_t number,
                         const char *name, double *out) {
  json_t *value = json_array_get(row, place);
  *out = json_is_number(value) ? json_number_value(value) : NAN;
  if (json_is_null(value) || (*out >= 0 && *out <= FIGURE_MAX)) return EL_OK;
  return el_fail(r->err, EL_ERR_FORMAT, "%s: %s[%zu]: '%s' is no number from 0 to %g", r->path, field, number, name,
                 FIGURE_MAX);
}
