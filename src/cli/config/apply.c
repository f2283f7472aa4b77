#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "cli/config/config.h"

static bool takes_list(const el_cli_option *o) {
  return o->kind == EL_CLI_TEXTS || o->kind == EL_CLI_PATHS || o->kind == EL_CLI_NAMED_PATHS;
}

static bool is_config_number(const el_cli_option *o) {
  return o->kind == EL_CLI_INT || o->kind == EL_CLI_U64 || o->kind == EL_CLI_REAL || o->kind == EL_CLI_FLAG;
}

static el_status fail_config_value(const el_config *c, size_t line, const char *key, const char *what, el_error *err) {
  return el_fail(err, EL_ERR_INVALID, "%s, line %zu: %s: %s", c->path, line, key, what);
}

static el_status unknown(const el_config *c, const el_config_entry *entry, const el_cli_group *groups, size_t n_groups,
                         el_error *err) {
  const char *nearest = el_cli_nearest_option(groups, n_groups, entry->key.text);
  if (!nearest || !strcmp(nearest, "help"))
    return fail_config_value(c, entry->key.line, entry->key.text, "there is no such key", err);
  return el_fail(err, EL_ERR_INVALID, "%s, line %zu: %s: there is no such key; did you mean '%s'?", c->path,
                 entry->key.line, entry->key.text, nearest);
}

/* Puts the file's folder before a relative path. */
static bool resolve(const el_config *c, const el_cli_option *o, el_config_value *v) {
  const char *equals = o->kind == EL_CLI_NAMED_PATHS ? strchr(v->text, '=') : NULL, *slash = strrchr(c->path, '/');
  size_t name = equals ? (size_t)(equals + 1 - v->text) : 0;
  bool path = o->kind == EL_CLI_PATH || o->kind == EL_CLI_PATHS || equals;
  if (!path || !slash || !v->text[name] || v->text[name] == '/') return true;
  char *whole;
  if (asprintf(&whole, "%.*s%.*s/%s", (int)name, v->text, (int)(slash - c->path), c->path, v->text + name) < 0)
    return false;
  free(v->text);
  v->text = whole;
  return true;
}

/* Puts the values into `target`. */
static el_status set_config_option(const el_config *c, const el_config_entry *entry, const el_cli_option *o,
                                   void *target, el_error *err) {
  for (size_t i = 0; i < entry->n; i++) {
    el_error why;
    el_status status = el_cli_option_set(o, target, entry->values[i].text, &why);
    if (status == EL_ERR_NO_MEMORY) return el_fail(err, status, "%s: out of memory", c->path);
    if (status) return fail_config_value(c, entry->values[i].line, o->name, why.message, err);
  }
  return EL_OK;
}

static el_status check_config_value(el_config *c, el_config_entry *entry, const el_cli_option *o, el_error *err) {
  if (takes_list(o) && !entry->list)
    return el_fail(err, EL_ERR_INVALID, "%s, line %zu: %s: is a list: write [%s], or lines that begin with '- '",
                   c->path, entry->key.line, o->name, o->value);
  if (!takes_list(o) && entry->list)
    return fail_config_value(c, entry->key.line, o->name, "is one value, and this is a list", err);
  for (size_t i = 0; i < entry->n; i++) {
    if (is_config_number(o) && entry->values[i].quoted)
      return fail_config_value(
          c, entry->values[i].line, o->name,
          o->kind == EL_CLI_FLAG ? "is true or false, without quotes" : "is a number, without quotes", err);
    if (!resolve(c, o, &entry->values[i])) return el_fail(err, EL_ERR_NO_MEMORY, "%s: out of memory", c->path);
  }
  union {
    bool flag;
    int integer;
    uint64_t u64;
    float real;
    const char *text;
    el_cli_list list;
    el_cli_numbers numbers;
  } scratch = {.list = {0}};
  el_status status = set_config_option(c, entry, o, &scratch, err);
  if (takes_list(o)) el_cli_list_free(&scratch.list);
  return status;
}

/* Quoted text may contain line ends, but a message is one line. */
static el_status one_line(el_status status, el_error *err) {
  for (char *p = err->message; status && *p; p++)
    if (*p == '\n' || *p == '\t') *p = ' ';
  return status;
}

el_status el_config_check(el_config *c, const el_cli_group *groups, size_t n_groups, el_error *err) {
  el_status status = EL_OK;
  for (size_t i = 0; !status && i < c->n; i++) {
    el_config_entry *entry = &c->entries[i];
    const el_cli_option *o = el_cli_find(groups, n_groups, entry->key.text, strlen(entry->key.text));
    status = o ? check_config_value(c, entry, o, err) : unknown(c, entry, groups, n_groups, err);
  }
  return one_line(status, err);
}

el_status el_config_apply(const el_config *c, const el_cli_group *groups, size_t n_groups, const el_cli_given *given,
                          el_error *err) {
  el_status status = EL_OK;
  for (size_t i = 0; !status && i < c->n; i++) {
    const el_config_entry *entry = &c->entries[i];
    const el_cli_option *o = el_cli_find(groups, n_groups, entry->key.text, strlen(entry->key.text));
    if (o && !el_cli_is_given(given, o)) status = set_config_option(c, entry, o, o->target, err);
  }
  return status;
}
