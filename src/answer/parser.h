/* The parser as its own files see it. Private to this folder.
 *
 * Text that is not certain yet waits in `buf`. `given` is where text begins that has not been
 * given, `at` how far it has been looked at. No byte is looked at twice, except those of a mark
 * that turned out to be none, so time is in proportion to the text. What began like a call but is
 * none becomes text as far as it was looked at. */
#ifndef EL_ANSWER_PARSER_H
#define EL_ANSWER_PARSER_H

#include "answer/form.h"
#include "answer/json_scan.h"
#include "answer/tools.h"

enum {
  EL_MAX_OPENING_BYTES = 256, /* bytes between a call's mark and its name, and between its name and its
                               * arguments */
  EL_MAX_MARKS = 12
};

typedef enum el_step { EL_STEP_GO, EL_STEP_WAIT } el_step; /* go on; wait for more text */

typedef enum el_mode { EL_MODE_START, EL_MODE_TEXT, EL_MODE_REASONING, EL_MODE_CALL } el_mode;

typedef enum el_call_state {
  EL_CALL_SECTION, /* before a call, or the end of the section */
  EL_CALL_BEGIN,   /* after a call's mark */
  EL_CALL_LIST,    /* before an object, or the list's end */
  EL_CALL_OBJECT,
  EL_CALL_ID,
  EL_CALL_NAME,
  EL_CALL_NAME_END,
  EL_CALL_PARAMETER, /* before a parameter, or the call's end */
  EL_CALL_KEY,
  EL_CALL_VALUE,
  EL_CALL_PYTHON,
  EL_CALL_QUOTED, /* in the arguments */
  EL_CALL_HEADER, /* in the header of a message in a channel */
  EL_CALL_END     /* before the mark after a call */
} el_call_state;

/* What an object is. */
typedef enum el_object_role { EL_OBJECT_CALL, EL_OBJECT_KEYED, EL_OBJECT_ARGUMENTS } el_object_role;

typedef struct el_call_reader {
  el_call_state state;
  el_object_role role;
  const char *end; /* the mark after it */
  bool in_section, in_list, bare;
  size_t calls_before;
  size_t tool;  /* SIZE_MAX: not known yet */
  size_t from;  /* where what is being read begins */
  size_t found; /* how far its end has been looked for */
  size_t key_at, key_len;
  el_json_scan scan;
  size_t value_at;
  bool is_name, is_arguments;      /* what the current value is */
  bool begun;                      /* CALL has been given, and arguments are given as they arrive */
  size_t arguments, arguments_end; /* equal: not known yet */
  el_buf text;                     /* arguments that are given in another form than they have in the
                                    * answer */
  bool value_is_text, value_is_json;
  int depth, quote; /* PYTHON, QUOTED: depth of brackets; the quote that is open, 0: none, -1: the
                     * form's */
  bool escaped;
} el_call_reader;

typedef enum el_mark_action {
  EL_MARK_SECTION,
  EL_MARK_CALL,
  EL_MARK_PYTHON,
  EL_MARK_HEADER,
  EL_MARK_DROP
} el_mark_action;

typedef struct el_trigger {
  const char *mark, *end; /* end: of the call that it begins */
  el_mark_action action;
} el_trigger;

struct el_answer_parser {
  const el_answer_format *f;
  const el_form *form;
  const el_tools *tools; /* NULL: calls are text */
  bool keep_reasoning, whole_calls;
  el_trigger triggers[EL_MAX_MARKS];
  size_t n_triggers;
  bool first[256]; /* bytes that triggers begin with */

  el_buf buf;
  size_t given, at;
  size_t text_end; /* at most `at`: only white space follows it */
  el_mode mode;
  bool after_mark; /* white space that follows belongs to the mark */
  bool last;       /* no more text will come */
  bool no_memory;
  size_t n_calls;
  el_call_reader call;

  el_answer_fn on_part;
  void *user;
};

static inline bool el_is_space(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline bool el_is_word(char c) {
  unsigned char l = (unsigned char)c | 32;
  return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static inline el_str el_answer_rest(const el_answer_parser *p, size_t at) {
  return (el_str){p->buf.data + at, p->buf.len - at};
}

/* Moves `at` behind white space. False: nothing follows it yet. */
bool el_answer_skip_space(el_answer_parser *p);
void el_answer_give(el_answer_parser *p, el_answer_part_type type, const char *text, size_t len);

/* parser.c: goes from a call back to text. Leave: what was read has been given. Fail: it was no
 * call, and becomes text. */
el_step el_answer_leave(el_answer_parser *p);
el_step el_answer_fail(el_answer_parser *p);

/* calls.c */
void el_call_start(el_answer_parser *p, el_call_state state);
el_step el_call_step(el_answer_parser *p);
/* Gives a call of this tool with these arguments. */
void el_call_give(el_answer_parser *p, size_t tool, el_str arguments);
/* Looks for a mark in the text that begins at call.from, starting at call.found, within at most
 * `most` bytes. YES: *at is its place, *len its length. NO: it is not there. */
el_mark el_call_find(el_answer_parser *p, const char *mark, size_t most, size_t *at, size_t *len);
/* call_object.c */
void el_call_start_object(el_answer_parser *p, el_object_role role);
el_step el_call_object(el_answer_parser *p);
/* call_parameters.c */
el_step el_call_parameters(el_answer_parser *p);
/* call_python.c */
el_step el_call_python(el_answer_parser *p);
/* Appends a value that is written as in Python, as JSON. False: it is no value. */
bool el_python_value(el_str text, el_buf *out, bool *no_memory);
/* call_quoted.c */
el_step el_call_quoted(el_answer_parser *p);

#endif
