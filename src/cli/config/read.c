#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/read_all.h"
#include "cli/config/config.h"

/* One parse. */
typedef struct reader {
  yaml_parser_t parser;
  yaml_event_t event; /* the last one; empty: it is nobody's */
  el_config *out;
  el_error *err;
} reader;

static size_t line_of_event(const reader *r) {
  return r->event.start_mark.line + 1;
}

static el_status fail_config_memory(const reader *r) {
  return el_fail(r->err, EL_ERR_NO_MEMORY, "%s: out of memory", r->out->path);
}

static el_status fail_at_mark(const reader *r, size_t line, const char *what) {
  return el_fail(r->err, EL_ERR_INVALID, "%s, line %zu: %s", r->out->path, line, what);
}

/* Reads the next event, which replaces the last one. */
static el_status next_yaml_event(reader *r) {
  yaml_event_delete(&r->event);
  if (yaml_parser_parse(&r->parser, &r->event)) return EL_OK;
  const yaml_parser_t *p = &r->parser;
  memset(&r->event, 0, sizeof r->event);
  if (p->error == YAML_MEMORY_ERROR) return fail_config_memory(r);
  if (p->error == YAML_READER_ERROR)
    return el_fail(r->err, EL_ERR_INVALID, "%s, byte %zu: %s", r->out->path, p->problem_offset, p->problem);
  return el_fail(r->err, EL_ERR_INVALID, "%s, line %zu: %s%s%s", r->out->path, p->problem_mark.line + 1,
                 p->context ? p->context : "", p->context ? ": " : "", p->problem ? p->problem : "it is no YAML");
}

/* What no value may have, whatever it is. */
static el_status refuse_extras(const reader *r) {
  const yaml_event_t *e = &r->event;
  const yaml_char_t *anchor = NULL, *tag = NULL;
  switch (e->type) {
    case YAML_ALIAS_EVENT: return fail_at_mark(r, line_of_event(r), "aliases (*) are not read");
    case YAML_SCALAR_EVENT: anchor = e->data.scalar.anchor, tag = e->data.scalar.tag; break;
    case YAML_SEQUENCE_START_EVENT: anchor = e->data.sequence_start.anchor, tag = e->data.sequence_start.tag; break;
    case YAML_MAPPING_START_EVENT: anchor = e->data.mapping_start.anchor, tag = e->data.mapping_start.tag; break;
    default: break;
  }
  if (anchor) return fail_at_mark(r, line_of_event(r), "anchors (&) are not read");
  if (tag) return fail_at_mark(r, line_of_event(r), "tags (!) are not read");
  return EL_OK;
}

static bool is_null_scalar(const yaml_event_t *e) {
  static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
  if (e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return false;
  for (size_t i = 0; i < sizeof nulls / sizeof *nulls; i++)
    if (!strcmp((const char *)e->data.scalar.value, nulls[i])) return true;
  return false;
}

/* Takes the scalar of the last event. what: "key", or the key to which the value belongs. */
static el_status take_scalar(reader *r, const char *key, el_config_value *out) {
  const yaml_event_t *e = &r->event;
  el_status status = refuse_extras(r);
  if (status) return status;
  const char *text = e->type == YAML_SCALAR_EVENT ? (const char *)e->data.scalar.value : NULL;
  const char *subject = key ? key : "a key";
  if (!text)
    return el_fail(r->err, EL_ERR_INVALID, "%s, line %zu: %s: %s", r->out->path, line_of_event(r), subject,
                   key ? "a value is a text, a number, true or false, or a list of these" : "a key is a text");
  if (strlen(text) != e->data.scalar.length)
    return el_fail(r->err, EL_ERR_INVALID, "%s, line %zu: %s: has a NUL character", r->out->path, line_of_event(r),
                   subject);
  for (const char *p = text; *p; p++)
    if (((unsigned char)*p < 0x20 && *p != '\n' && *p != '\t') || *p == 0x7f)
      return el_fail(r->err, EL_ERR_INVALID, "%s, line %zu: %s: has a control character", r->out->path,
                     line_of_event(r), subject);
  if (is_null_scalar(e))
    return el_fail(r->err, EL_ERR_INVALID, "%s, line %zu: %s: has no value; leave it out for the default", r->out->path,
                   line_of_event(r), subject);
  char *copy = strdup(text);
  if (!copy) return fail_config_memory(r);
  *out = (el_config_value){copy, e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE, line_of_event(r)};
  return EL_OK;
}

/* Reads the value of the last entry; it begins with the last event. */
static el_status take_config_value(reader *r) {
  el_config_entry *entry = &r->out->entries[r->out->n - 1];
  el_status status = refuse_extras(r);
  entry->list = r->event.type == YAML_SEQUENCE_START_EVENT;
  size_t room = 1;
  if (!status && !(entry->values = calloc(room, sizeof *entry->values))) status = fail_config_memory(r);
  if (!status && !entry->list) status = take_scalar(r, entry->key.text, &entry->values[entry->n++]);
  while (!status && entry->list && !(status = next_yaml_event(r)) && r->event.type != YAML_SEQUENCE_END_EVENT) {
    if (entry->n == room) {
      el_config_value *grown = realloc(entry->values, 2 * room * sizeof *grown);
      if (!grown) return fail_config_memory(r);
      memset(grown + room, 0, room * sizeof *grown);
      entry->values = grown;
      room *= 2;
    }
    status = take_scalar(r, entry->key.text, &entry->values[entry->n++]);
  }
  return status;
}

/* Reads the file's mapping; the last event began it. */
static el_status take_mapping(reader *r) {
  el_status status = refuse_extras(r);
  while (!status && !(status = next_yaml_event(r)) && r->event.type != YAML_MAPPING_END_EVENT) {
    el_config *c = r->out;
    el_config_value key = {0};
    if ((status = take_scalar(r, NULL, &key))) break;
    const el_config_entry *before = el_config_find(c, key.text);
    if (before)
      status = el_fail(r->err, EL_ERR_INVALID, "%s, line %zu: %s: is there twice, in line %zu too", c->path, key.line,
                       key.text, before->key.line);
    else if (c->n == EL_CONFIG_MAX_KEYS)
      status = el_fail(r->err, EL_ERR_INVALID, "%s, line %zu: there are more than %d keys", c->path, key.line,
                       EL_CONFIG_MAX_KEYS);
    if (status) {
      free(key.text);
      break;
    }
    c->entries[c->n++] = (el_config_entry){.key = key};
    if (!(status = next_yaml_event(r))) status = take_config_value(r);
  }
  return status;
}

static el_status take_file(reader *r) {
  el_status status = next_yaml_event(r); /* the stream's start */
  if (!status) status = next_yaml_event(r);
  if (status || r->event.type == YAML_STREAM_END_EVENT) return status; /* nothing but comments */
  status = next_yaml_event(r);
  /* "---" and nothing behind it. */
  bool empty = !status && r->event.type == YAML_SCALAR_EVENT && is_null_scalar(&r->event);
  if (!status && !empty && r->event.type != YAML_MAPPING_START_EVENT)
    return fail_at_mark(r, line_of_event(r), "this is no mapping: lines such as 'slots: 32' make one");
  if (!status && !empty) status = take_mapping(r);
  if (!status) status = next_yaml_event(r); /* the document's end */
  if (!status) status = next_yaml_event(r);
  if (!status && r->event.type != YAML_STREAM_END_EVENT)
    return fail_at_mark(r, line_of_event(r), "a second document begins here; a file has one");
  return status;
}

el_status el_config_parse(const char *text, size_t len, const char *path, el_config *out, el_error *err) {
  *out = (el_config){.path = strdup(path), .entries = calloc(EL_CONFIG_MAX_KEYS, sizeof *out->entries)};
  reader r = {.out = out, .err = err};
  el_status status = EL_OK;
  if (!out->path || !out->entries)
    status = el_fail(err, EL_ERR_NO_MEMORY, "%s: out of memory", path);
  else if (len > EL_CONFIG_MAX_BYTES)
    status = el_fail(err, EL_ERR_INVALID, "%s: is larger than %d bytes", path, EL_CONFIG_MAX_BYTES);
  else if (!yaml_parser_initialize(&r.parser))
    status = fail_config_memory(&r);
  else {
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
    status = take_file(&r);
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
  }
  if (status) el_config_free(out);
  return status;
}

el_status el_config_read(const char *path, el_config *out, el_error *err) {
  el_buf text = {0};
  struct stat st;
  el_status status = EL_OK;
  *out = (el_config){0};
  /* O_NONBLOCK, as a FIFO without a writer would block. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 || fstat(fd, &st))
    status = el_fail(err, EL_ERR_IO, "%s: %s", path, strerror(errno));
  else if (!S_ISREG(st.st_mode))
    status = el_fail(err, EL_ERR_IO, "%s: is not a regular file", path);
  if (!status) status = el_read_all(fd, NULL, path, EL_CONFIG_MAX_BYTES, &text, err);
  if (fd >= 0) close(fd);
  if (!status) status = el_config_parse(text.data ? text.data : "", text.len, path, out, err);
  el_buf_free(&text);
  return status;
}

void el_config_free(el_config *c) {
  for (size_t i = 0; i < c->n; i++) {
    for (size_t j = 0; j < c->entries[i].n; j++) free(c->entries[i].values[j].text);
    free(c->entries[i].values);
    free(c->entries[i].key.text);
  }
  free(c->entries);
  free(c->path);
  *c = (el_config){0};
}

const el_config_entry *el_config_find(const el_config *c, const char *key) {
  for (size_t i = 0; i < c->n; i++)
    if (!strcmp(c->entries[i].key.text, key)) return &c->entries[i];
  return NULL;
}
