#include "answer/arguments.h"

#include <stdlib.h>
#include <string.h>

#include "answer/json_scan.h"

bool el_writes_json(const el_form *f) {
  return f->kind != EL_CALLS_PARAMETERS && f->kind != EL_CALLS_PYTHON && f->kind != EL_CALLS_QUOTED;
}

static bool put_literal(el_buf *b, const char *s) {
  /* GBNF has JSON's escapes for these */
  return el_json_quote(b, el_str_of(s)) && el_put_cstring(b, " ");
}

static bool put_until(el_buf *b, const char *end) {
  return el_put_cstring(b, "%until ") && put_literal(b, end);
}

/* --- a value by its schema */

static bool put_json(el_buf *b, const el_tool *tool, const el_parameter *p) {
  bool refers = tool->definitions.len && memmem(p->schema.data, p->schema.len, "\"$ref\"", 6);
  return el_put_cstring(b, "%json ") &&
         (!refers || (el_put_cstring(b, "{") && el_buf_append(b, tool->definitions.data, tool->definitions.len) &&
                      el_put_cstring(b, "\"allOf\": ["))) &&
         el_buf_append(b, p->schema.data, p->schema.len) && el_put_cstring(b, refers ? "]} " : " ");
}

/* A string as Python writes it, in either kind of quotes. */
static bool put_python_string(el_buf *b, const char *s, const char *quote) {
  el_buf text = {0};
  bool ok = el_put_cstring(&text, quote);
  for (; *s && ok; s++) {
    if (*s == '\n')
      ok = el_put_cstring(&text, "\\n");
    else
      ok = ((*s != '\\' && *s != *quote) || el_put_cstring(&text, "\\")) && el_buf_append(&text, s, 1);
  }
  ok = ok && el_put_cstring(&text, quote) && put_literal(b, text.data);
  el_buf_free(&text);
  return ok;
}

static bool put_values(el_buf *b, const el_form *f, const el_parameter *p) {
  bool ok = el_put_cstring(b, "( ");
  for (size_t i = 0; i < p->n_values && ok; i++) {
    const char *value = p->values[i];
    ok = el_put_cstring(b, i ? "| " : "");
    if (f->kind == EL_CALLS_PYTHON)
      ok = ok && put_python_string(b, value, "'") && el_put_cstring(b, "| ") && put_python_string(b, value, "\"");
    else
      ok = ok && put_literal(b, value);
  }
  return ok && el_put_cstring(b, ") ");
}

static bool put_python_value(el_buf *b, const el_tool *tool, const el_parameter *p) {
  switch (p->kind) {
    case EL_PARAMETER_TEXT: return el_put_cstring(b, "string ");
    case EL_PARAMETER_NUMBER: return put_json(b, tool, p);
    case EL_PARAMETER_BOOL: return el_put_cstring(b, "(\"True\" | \"False\") ");
    default: return el_put_cstring(b, "value ");
  }
}

/* A value, from behind the key to behind the value. */
static bool put_argument_value(el_buf *b, const el_form *f, const el_tool *tool, const el_parameter *p) {
  bool text = p->kind == EL_PARAMETER_TEXT, listed = text && p->n_values;
  switch (f->kind) {
    case EL_CALLS_PYTHON: return listed ? put_values(b, f, p) : put_python_value(b, tool, p);
    case EL_CALLS_QUOTED:
      if (p->kind == EL_PARAMETER_OTHER) return el_put_cstring(b, "value ");
      if (!text) return put_json(b, tool, p);
      return put_literal(b, f->quote) &&
             (listed ? put_values(b, f, p) && put_literal(b, f->quote) : put_until(b, f->quote));
    default:
      if (text && !listed) return put_until(b, f->value_end);
      return (listed ? put_values(b, f, p) : put_json(b, tool, p)) && put_literal(b, f->value_end_space) &&
             put_literal(b, f->value_end);
  }
}

/* --- a parameter */

static bool put_kind_mark(el_buf *b, const el_form *f, bool text) {
  return !f->key_end[0] || put_literal(b, text ? f->text_value : f->json_value);
}

static bool put_parameter_grammar(el_buf *b, const el_form *f, const el_tool *tool, const el_parameter *p) {
  if (f->kind != EL_CALLS_PARAMETERS)
    return put_literal(b, p->name) && put_literal(b, f->kind == EL_CALLS_PYTHON ? "=" : ":") &&
           put_argument_value(b, f, tool, p);
  return put_literal(b, f->key) && put_literal(b, p->name) && put_literal(b, f->key_end) &&
         put_kind_mark(b, f, p->kind == EL_PARAMETER_TEXT) && put_literal(b, f->value) &&
         put_literal(b, f->value_space) && put_argument_value(b, f, tool, p) && el_put_cstring(b, "\"\\n\"? ");
}

/* --- any parameters with any values */

#define NUMBER "number ::= \"-\"? (\"0\" | [1-9] [0-9]*) (\".\" [0-9]+)?\n"

static bool put_any_between_marks(el_buf *b, const el_form *f) {
  return el_put_cstring(b, "any ::= ") && put_literal(b, f->key) && el_put_cstring(b, "[a-zA-Z0-9_.-]+ ") &&
         put_literal(b, f->key_end) &&
         (!f->key_end[0] || (el_put_cstring(b, "(") && put_literal(b, f->text_value) && el_put_cstring(b, "| ") &&
                             put_literal(b, f->json_value) && el_put_cstring(b, ") "))) &&
         put_literal(b, f->value) && put_literal(b, f->value_space) && put_until(b, f->value_end) &&
         el_put_cstring(b, "\"\\n\"?\n");
}

static bool put_any_of_python(el_buf *b) {
  return el_put_cstring(
      b,
      "any ::= [a-zA-Z_] [a-zA-Z0-9_]* \"=\" value\n"
      "value ::= string | number | \"True\" | \"False\" | \"None\" | list | dict\n"
      "string ::= \"'\" ([^'\\\\\\n] | \"\\\\\" [nt'\"\\\\])* \"'\" | \"\\\"\" ([^\"\\\\\\n] | \"\\\\\" "
      "[nt'\"\\\\])* \"\\\"\"\n" NUMBER
      "list ::= \"[\" (value (\", \" value)*)? \"]\"\n"
      "dict ::= \"{\" (string \": \" value (\", \" string \": \" value)*)? \"}\"\n");
}

static bool put_any_quoted(el_buf *b, const el_form *f) {
  return el_put_cstring(b,
                        "any ::= [a-zA-Z0-9_.-]+ \":\" value\n"
                        "value ::= string | number | \"true\" | \"false\" | \"null\" | list | dict\n"
                        "string ::= ") &&
         put_literal(b, f->quote) && put_until(b, f->quote) &&
         el_put_cstring(b, "\n" NUMBER
                           "list ::= \"[\" (value (\",\" value)*)? \"]\"\n"
                           "dict ::= \"{\" (any (\",\" any)*)? \"}\"\n");
}

static bool put_any(el_buf *b, const el_form *f) {
  if (f->kind == EL_CALLS_PYTHON) return put_any_of_python(b);
  return f->kind == EL_CALLS_QUOTED ? put_any_quoted(b, f) : put_any_between_marks(b, f);
}

/* --- all of them */

static int compare_parameters(const void *a, const void *b) {
  const el_parameter *const *x = a, *const *y = b;
  return strcmp((*x)->name, (*y)->name);
}

/* What comes between two parameters, as GBNF. */
static const char *comma_of(const el_form *f) {
  return f->kind == EL_CALLS_PYTHON ? "\", \"" : f->kind == EL_CALLS_QUOTED ? "\",\"" : "";
}

/* White space at a mark's end is not part of the mark, and models write the line end that they have
 * seen there. */
static bool put_root(el_buf *b, const el_form *f) {
  return el_put_cstring(b, "root ::= ") && (f->kind != EL_CALLS_PARAMETERS || el_put_cstring(b, "\"\\n\"? "));
}

/* Rule a-i is what may come from parameter i on if nothing precedes it, b-i if something does. */
static bool put_list(el_buf *b, const el_form *f, const el_tool *tool, const el_parameter *const *order) {
  const char *comma = comma_of(f);
  bool ok = put_root(b, f) && el_put_cstring(b, "a-0\n");
  for (size_t i = 0; i < tool->n_list && ok; i++) {
    const el_parameter *p = order[i];
    ok = el_buf_printf(b, "p-%zu ::= ", i) && put_parameter_grammar(b, f, tool, p) && el_put_cstring(b, "\n") &&
         el_buf_printf(b, "a-%zu ::= p-%zu b-%zu", i, i, i + 1) &&
         (p->required || el_buf_printf(b, " | a-%zu", i + 1)) &&
         el_buf_printf(b, "\nb-%zu ::= %s p-%zu b-%zu", i, comma, i, i + 1) &&
         (p->required || el_buf_printf(b, " | b-%zu", i + 1)) && el_put_cstring(b, "\n");
  }
  if (!ok || !tool->others)
    return ok && el_buf_printf(b, "a-%zu ::= \"\"\nb-%zu ::= \"\"\n", tool->n_list, tool->n_list);
  return el_buf_printf(b, "a-%zu ::= (any (%s any)*)?\nb-%zu ::= (%s any)*\n", tool->n_list, comma, tool->n_list,
                       comma);
}

static bool put_any_list(el_buf *b, const el_form *f) {
  return put_root(b, f) && el_buf_printf(b, "(any (%s any)*)?\n", comma_of(f));
}

bool el_put_arguments_grammar(el_buf *b, const el_form *f, const el_tool *tool, bool by_schema) {
  if (!by_schema || !tool->listed) return put_any_list(b, f) && put_any(b, f);
  const el_parameter **order = malloc((tool->n_list + 1) * sizeof *order);
  if (!order) return false;
  for (size_t i = 0; i < tool->n_list; i++) order[i] = &tool->list[i];
  /* Templates that put marks around strings sort the keys, and models do as they were taught. */
  if (f->kind == EL_CALLS_QUOTED) qsort(order, tool->n_list, sizeof *order, compare_parameters);
  bool ok = put_list(b, f, tool, order) && put_any(b, f);
  free(order);
  return ok;
}
