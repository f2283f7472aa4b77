/* How calls and reasoning are marked: the data of a format, derived from a template's own
 * renderings.
 *
 * Marks are patterns: white space inside one stands for any white space, or none, since models
 * are careless about it. No mark begins or ends with white space, except those that are nothing
 * else. */
#ifndef EL_ANSWER_FORM_H
#define EL_ANSWER_FORM_H

#include "base/text.h"
#include "edgelora.h"

typedef enum el_call_kind {
  EL_CALLS_JSON,       /* {"name": NAME, "arguments": {...}}, alone or in a list */
  EL_CALLS_KEYED,      /* {NAME: {...}} */
  EL_CALLS_NAMED,      /* NAME {...}: the name stands between marks, before the arguments as JSON */
  EL_CALLS_PARAMETERS, /* NAME, then each parameter between marks with its value unchanged */
  EL_CALLS_PYTHON,     /* [NAME(parameter=value), ...] */
  EL_CALLS_QUOTED,     /* NAME{parameter:value, ...}, strings between marks instead of quotes */
  EL_CALLS_HARMONY     /* gpt-oss: messages in channels, to the user or to a tool */
} el_call_kind;

/* Marks are never NULL; "": there is none. */
typedef struct el_form {
  el_call_kind kind;
  char *section, *section_end;             /* around all calls of an answer */
  char *begin, *end;                       /* around a call; around all calls together if `list` */
  bool list;                               /* one JSON list contains all calls */
  char *name_key, *args_key;               /* JSON: the keys of the name and of the arguments */
  char *id_end;                            /* NAMED: between a call's id, which then comes first,
                                            * and the name */
  char *begin_space, *end_space;           /* what the template puts between these marks and a call
                                            * that is JSON */
  char *name_end;                          /* NAMED, PARAMETERS: between the name and what
                                            * follows */
  char *key, *value, *value_end;           /* PARAMETERS: before a key, between it and its value,
                                            * after the value */
  char *value_space, *value_end_space;     /* white space before and after a value that is not part
                                            * of it */
  char *key_end, *text_value, *json_value; /* if a mark tells whether the value is a string:
                                            * `key_end`, then one of these, then `value` */
  char *quote;                             /* QUOTED: before and after a string */
  char *reasoning, *reasoning_end;
  char *text, *text_end; /* around what is said to the user */
} el_form;

struct el_answer_format {
  el_form form;
  bool takes_system, shows_tools, writes_calls, parallel, text_arguments;
  int32_t *shown;
  size_t n_shown;
  size_t n_shown_of_base; /* this many at the front; constraints know no others */
};

typedef enum el_mark { EL_MARK_NO, EL_MARK_YES, EL_MARK_PARTIAL } el_mark;
/* Whether `text` begins with the mark. YES: with *len bytes of it. PARTIAL: it may, once there is
 * more text. */
el_mark el_mark_match(const char *mark, el_str text, size_t *len);
/* Whether a text ends with a mark, followed by nothing but white space. */
bool el_ends_with_mark(el_str text, const char *mark);

#endif
