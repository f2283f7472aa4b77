#include "cli/profile_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json_out.h"
#include "cli/cli.h"

/* ---- what a run is made of */

bool el_setup_add(el_setup *s, const char *name, const char *fmt, ...) {
  char *value = NULL;
  va_list args;
  va_start(args, fmt);
  int len = vasprintf(&value, fmt, args);
  va_end(args);
  bool ok = len >= 0 && el_buf_append(&s->json, s->json.len ? "," : "{", 1) && el_json_cstring(&s->json, name) &&
            el_buf_append(&s->json, ":", 1) && el_json_string(&s->json, value, (size_t)len);
  if (len >= 0) free(value);
  return ok;
}

void el_setup_free(el_setup *s) {
  el_buf_free(&s->json);
}

static const char *text_member(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "not there";
}

static el_status fail_setup_differs(const char *path, const char *name, const char *then, const char *now,
                                    el_error *err) {
  char shown_name[EL_SHOW], shown_then[EL_SHOW], shown_now[EL_SHOW];
  return el_fail(err, EL_ERR_EXISTS,
                 "%s was begun with other arguments: %s was %s, and is %s now; --restart throws it away", path,
                 el_str_show((el_str){name, strlen(name)}, shown_name, sizeof shown_name),
                 el_str_show((el_str){then, strlen(then)}, shown_then, sizeof shown_then),
                 el_str_show((el_str){now, strlen(now)}, shown_now, sizeof shown_now));
}

/* line: the journal's first. */
static el_status compare_setup(const char *path, const char *line, size_t len, const el_setup *setup, el_error *err) {
  json_t *then = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
  json_t *now = json_loadb(setup->json.data, setup->json.len, JSON_REJECT_DUPLICATES, NULL);
  el_status status = EL_OK;
  const char *key;
  json_t *value;
  if (!json_is_object(then)) {
    status = el_fail(err, EL_ERR_FORMAT, "%s is no journal of this command: its first line is no JSON object", path);
  } else if (!now) {
    status = el_fail(err, EL_ERR_INVALID, "%s: what this run is made of cannot be written down: a name is there twice",
                     path);
  } else {
    json_object_foreach(now, key, value) {
      if (!status && strcmp(text_member(then, key), text_member(now, key)))
        status = fail_setup_differs(path, key, text_member(then, key), text_member(now, key), err);
    }
    json_object_foreach(then, key, value) {
      if (!status && !json_object_get(now, key))
        status = fail_setup_differs(path, key, text_member(then, key), "not there", err);
    }
  }
  json_decref(then);
  json_decref(now);
  return status;
}

/* ---- reading */

static bool take_answer(const char *line, size_t len, el_journal_fn each, void *user) {
  json_t *o = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
  const json_t *row = json_object_get(o, "row"), *name = json_object_get(o, "adapter");
  const json_t *score = json_object_get(o, "score"), *answer = json_object_get(o, "answer");
  bool ok = json_is_integer(row) && json_integer_value(row) >= 0 && json_is_string(name) && json_is_number(score) &&
            json_is_string(answer);
  if (ok) {
    el_journal_answer a = {.row = (uint64_t)json_integer_value(row),
                           .name = json_string_value(name),
                           .score = json_number_value(score),
                           .answer = {json_string_value(answer), json_string_length(answer)}};
    ok = a.score >= 0 && a.score <= 1 && each(user, &a);
  }
  json_decref(o);
  return ok;
}

static el_status read_lines(const char *path, const char *data, size_t len, const el_setup *setup, el_journal_fn each,
                            void *user, el_error *err) {
  size_t line = 1;
  for (const char *p = data, *end = data + len; p < end; line++) {
    const char *newline = memchr(p, '\n', (size_t)(end - p));
    if (line == 1) {
      el_status status = compare_setup(path, p, (size_t)(newline - p), setup, err);
      if (status) return status;
    } else if (!take_answer(p, (size_t)(newline - p), each, user)) {
      return el_fail(err, EL_ERR_FORMAT, "%s: line %zu is no answer of this run; --restart throws all of it away", path,
                     line);
    }
    p = newline + 1;
  }
  return EL_OK;
}

/* ---- writing */

static el_status append_to_journal(el_journal *j, const char *data, size_t len, el_error *err) {
  while (len > 0) {
    ssize_t n = write(j->fd, data, len);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return el_fail(err, EL_ERR_IO, "%s: %s", j->path, strerror(errno));
    data += n;
    len -= (size_t)n;
  }
  return EL_OK;
}

static el_status io_error(const char *path, el_error *err) {
  return el_fail(err, EL_ERR_IO, "%s: %s", path, strerror(errno));
}

static el_status read_whole_journal(el_journal *j, const el_setup *setup, el_journal_fn each, void *user,
                                    el_error *err) {
  size_t len = 0;
  char *data = el_cli_read_all(j->fd, &len);
  if (!data) return io_error(j->path, err);
  const char *last = memrchr(data, '\n', len);
  size_t whole = last ? (size_t)(last - data) + 1 : 0;
  el_status status = EL_OK;
  if (whole > 0) status = read_lines(j->path, data, whole, setup, each, user, err);
  /* A file that is not a journal of ours is never truncated. */
  if (whole == 0 && (len > setup->json.len || memcmp(data, setup->json.data, len)))
    status = el_fail(err, EL_ERR_FORMAT, "%s is no journal of this run; --restart throws it away", j->path);
  if (!status && whole < len && ftruncate(j->fd, (off_t)whole)) status = io_error(j->path, err);
  if (!status && whole == 0) status = append_to_journal(j, setup->json.data, setup->json.len, err);
  free(data);
  return status;
}

el_status el_journal_open(const char *path, el_setup *setup, bool restart, el_journal_fn each, void *user,
                          el_journal *out, el_error *err) {
  el_journal j = {.fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666), .path = strdup(path)};
  struct stat st;
  el_status status = EL_OK;
  /* A FIFO or a device with this name would block, or never end. */
  if (j.fd < 0 || fstat(j.fd, &st)) {
    status = io_error(path, err);
  } else if (!S_ISREG(st.st_mode)) {
    status = el_fail(err, EL_ERR_IO, "%s is no regular file", path);
  } else if (!j.path || !el_buf_append(&setup->json, "}\n", 2)) {
    status = el_fail(err, EL_ERR_NO_MEMORY, "%s: out of memory", path);
  } else if (flock(j.fd, LOCK_EX | LOCK_NB)) {
    status =
        errno == EWOULDBLOCK ? el_fail(err, EL_ERR_BUSY, "%s: another run is writing it", path) : io_error(path, err);
  } else if (restart && ftruncate(j.fd, 0)) {
    status = io_error(path, err);
  }
  if (!status) status = read_whole_journal(&j, setup, each, user, err);
  if (status)
    el_journal_close(&j, false);
  else
    *out = j;
  return status;
}

el_status el_journal_add(el_journal *j, const el_journal_answer *a, el_error *err) {
  el_buf *b = &j->line;
  b->len = 0;
  /* 17 digits preserve the number, and so the table. */
  bool ok = el_buf_printf(b, "{\"row\":%llu,\"adapter\":", (unsigned long long)a->row) && el_json_cstring(b, a->name) &&
            el_buf_printf(b, ",\"score\":%.17g,\"answer\":", a->score) &&
            el_json_string(b, a->answer.data ? a->answer.data : "", a->answer.len) && el_buf_append(b, "}\n", 2);
  if (!ok) return el_fail(err, EL_ERR_NO_MEMORY, "%s: out of memory for an answer", j->path);
  return append_to_journal(j, b->data, b->len, err);
}

void el_journal_close(el_journal *j, bool remove) {
  if (j->fd >= 0) {
    if (remove) unlink(j->path);
    close(j->fd);
  }
  free(j->path);
  el_buf_free(&j->line);
  *j = (el_journal){.fd = -1};
}
