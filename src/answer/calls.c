/* Reads from the mark of a call to its end, by how the form writes it. */
#include <string.h>

#include "answer/parser.h"

void el_call_start(el_answer_parser *p, el_call_state state) {
  el_buf text = p->call.text;
  text.len = 0;
  p->call = (el_call_reader){.state = state,
                             .tool = SIZE_MAX,
                             .from = p->at,
                             .found = p->at,
                             .end = "",
                             .calls_before = p->n_calls,
                             .text = text};
  p->mode = EL_MODE_CALL;
}

void el_call_give(el_answer_parser *p, size_t tool, el_str arguments) {
  const char *name = p->tools->tools[tool].name;
  p->n_calls++;
  el_answer_give(p, EL_ANSWER_CALL, name, strlen(name));
  el_answer_give(p, EL_ANSWER_ARGUMENTS, arguments.data, arguments.len);
}

el_mark el_call_find(el_answer_parser *p, const char *mark, size_t most, size_t *at, size_t *len) {
  for (; p->call.found < p->buf.len && p->call.found - p->call.from < most; p->call.found++) {
    el_mark m = el_mark_match(mark, el_answer_rest(p, p->call.found), len);
    if (m == EL_MARK_NO) continue;
    *at = p->call.found;
    return m == EL_MARK_PARTIAL && p->last ? EL_MARK_NO : m;
  }
  return p->last || p->call.found - p->call.from >= most ? EL_MARK_NO : EL_MARK_PARTIAL;
}

static el_step go_to_state(el_answer_parser *p, el_call_state state) {
  p->call.state = state;
  p->call.from = p->call.found = p->at;
  return EL_STEP_GO;
}

/* At the end of the text so far. */
static el_step wait_for_more(el_answer_parser *p) {
  return p->last ? el_answer_fail(p) : EL_STEP_WAIT;
}

/* Whether a call has been given since the mark that began all calls. */
static bool has_given(const el_answer_parser *p) {
  return p->n_calls > p->call.calls_before;
}

static bool writes_names(const el_form *f) {
  return f->kind == EL_CALLS_NAMED || f->kind == EL_CALLS_PARAMETERS || f->kind == EL_CALLS_QUOTED;
}

/* --- around calls */

static el_step in_section(el_answer_parser *p) {
  const el_form *f = p->form;
  size_t len = 0;
  while (el_answer_skip_space(p) && strchr(",;", p->buf.data[p->at]) && p->buf.data[p->at]) p->at++;
  if (p->at == p->buf.len) return p->last && has_given(p) ? el_answer_leave(p) : wait_for_more(p);
  el_mark end = f->section_end[0] ? el_mark_match(f->section_end, el_answer_rest(p, p->at), &len) : EL_MARK_NO;
  if (end == EL_MARK_YES && has_given(p)) {
    p->given = p->at + len;
    return el_answer_leave(p);
  }
  if (end == EL_MARK_PARTIAL && p->last && has_given(p)) {
    p->given = p->buf.len;
    return el_answer_leave(p);
  }
  el_mark begin = el_mark_match(f->begin, el_answer_rest(p, p->at), &len);
  if (begin == EL_MARK_YES && end == EL_MARK_NO) {
    p->at += len;
    return go_to_state(p, EL_CALL_BEGIN);
  }
  if ((begin == EL_MARK_PARTIAL || end == EL_MARK_PARTIAL) && !p->last) return EL_STEP_WAIT;
  return has_given(p) ? el_answer_leave(p) : el_answer_fail(p);
}

static el_step at_begin(el_answer_parser *p) {
  if (!el_answer_skip_space(p)) return wait_for_more(p);
  char c = p->buf.data[p->at];
  bool json =
      p->form->kind != EL_CALLS_PARAMETERS && p->form->kind != EL_CALLS_PYTHON && p->form->kind != EL_CALLS_QUOTED;
  if (c == '{' && json) {
    el_call_start_object(p, p->form->kind == EL_CALLS_KEYED ? EL_OBJECT_KEYED : EL_OBJECT_CALL);
    return EL_STEP_GO;
  }
  if (c == '[' && json) {
    p->call.in_list = true;
    p->at++;
    return go_to_state(p, EL_CALL_LIST);
  }
  if (!writes_names(p->form)) return el_answer_fail(p);
  return go_to_state(p, p->form->id_end[0] ? EL_CALL_ID : EL_CALL_NAME);
}

static el_step in_list(el_answer_parser *p) {
  if (!el_answer_skip_space(p)) return wait_for_more(p);
  char c = p->buf.data[p->at];
  if (c == '{') {
    el_call_start_object(p, p->form->kind == EL_CALLS_KEYED ? EL_OBJECT_KEYED : EL_OBJECT_CALL);
    return EL_STEP_GO;
  }
  if (!has_given(p) || (c != ',' && c != ']')) return el_answer_fail(p);
  p->given = ++p->at;
  if (c == ']') return go_to_state(p, EL_CALL_END);
  return EL_STEP_GO;
}

/* The mark after a call may be missing: it matters only that the call is complete. */
static el_step at_call_end(el_answer_parser *p) {
  size_t len = 0;
  bool more = el_answer_skip_space(p);
  if (!more && !p->last && (p->call.end[0] || p->call.in_section || p->call.bare)) return EL_STEP_WAIT;
  el_mark m = p->call.end[0] && more ? el_mark_match(p->call.end, el_answer_rest(p, p->at), &len) : EL_MARK_NO;
  if (m == EL_MARK_PARTIAL && !p->last) return EL_STEP_WAIT;
  if (m == EL_MARK_PARTIAL) p->given = p->at = p->buf.len;
  if (m == EL_MARK_YES) p->given = p->at = p->at + len;
  if (p->call.in_section) return go_to_state(p, EL_CALL_SECTION);
  if (p->call.bare && more && strchr(";,{", p->buf.data[p->at]) && p->buf.data[p->at]) {
    if (p->buf.data[p->at] != '{') p->at++;
    return go_to_state(p, EL_CALL_BEGIN);
  }
  return el_answer_leave(p);
}

/* --- names */

static bool is_name_byte(char c) {
  return el_is_word(c) || c == '-' || c == '.';
}

static el_step at_id(el_answer_parser *p) {
  size_t at, len;
  el_mark m = el_call_find(p, p->form->id_end, EL_MAX_OPENING_BYTES, &at, &len);
  if (m == EL_MARK_PARTIAL) return EL_STEP_WAIT;
  if (m == EL_MARK_NO) return el_answer_fail(p);
  p->at = at + len;
  return go_to_state(p, EL_CALL_NAME);
}

/* If calls and what is said to the user begin with the same mark, the latter has a name, too. */
static bool is_text_name(const el_answer_parser *p, el_str name) {
  size_t n = strlen(p->form->begin);
  return p->form->text[0] && !strncmp(p->form->text, p->form->begin, n) && el_str_eq(name, p->form->text + n);
}

static el_step at_name(el_answer_parser *p) {
  while (p->at < p->buf.len && p->at - p->call.from <= EL_MAX_OPENING_BYTES && is_name_byte(p->buf.data[p->at]))
    p->at++;
  if (p->at == p->buf.len) return wait_for_more(p);
  el_str name = {p->buf.data + p->call.from, p->at - p->call.from};
  if (is_text_name(p, name)) {
    p->given = p->at;
    return el_answer_leave(p);
  }
  p->call.tool = el_tools_find(p->tools, name);
  if (p->call.tool == SIZE_MAX && el_str_skip(&name, "functions.")) p->call.tool = el_tools_find(p->tools, name);
  return p->call.tool == SIZE_MAX ? el_answer_fail(p) : go_to_state(p, EL_CALL_NAME_END);
}

static el_step at_name_end(el_answer_parser *p) {
  size_t at = p->at, len = 0;
  bool parameters = p->form->kind == EL_CALLS_PARAMETERS, quoted = p->form->kind == EL_CALLS_QUOTED;
  el_mark m = p->form->name_end[0] ? el_call_find(p, p->form->name_end, EL_MAX_OPENING_BYTES, &at, &len) : EL_MARK_YES;
  if (m == EL_MARK_PARTIAL) return EL_STEP_WAIT;
  if (m == EL_MARK_NO) return el_answer_fail(p);
  p->at = at + len;
  if (parameters) return go_to_state(p, EL_CALL_PARAMETER);
  if (!el_answer_skip_space(p)) {
    p->at = p->call.from;
    return wait_for_more(p);
  }
  if (p->buf.data[p->at] != '{') return el_answer_fail(p);
  if (quoted) return go_to_state(p, EL_CALL_QUOTED);
  el_call_start_object(p, EL_OBJECT_ARGUMENTS);
  return EL_STEP_GO;
}

/* --- messages in channels */

/* Reads up to <|message|>: "<|start|>assistant<|channel|>commentary to=functions.NAME
 * <|constrain|>json". */
static el_step at_header(el_answer_parser *p) {
  static const char ANALYSIS[] = "<|channel|>analysis", TO[] = "to=";
  size_t at, len;
  el_mark m = el_call_find(p, "<|message|>", EL_MAX_OPENING_BYTES, &at, &len);
  if (m == EL_MARK_PARTIAL) return EL_STEP_WAIT;
  if (m == EL_MARK_NO) {
    p->at = p->call.found;
    return el_answer_fail(p);
  }
  el_str head = {p->buf.data + p->call.from, at - p->call.from}, name = {NULL, 0};
  const char *to = memmem(head.data, head.len, TO, sizeof TO - 1);
  bool thought = memmem(head.data, head.len, ANALYSIS, sizeof ANALYSIS - 1);
  p->at = at + len;
  if (to) {
    name.data = to + sizeof TO - 1;
    while (name.data + name.len < head.data + head.len && is_name_byte(name.data[name.len])) name.len++;
    el_str_skip(&name, "functions.");
    p->call.tool = p->tools ? el_tools_find(p->tools, name) : SIZE_MAX;
    if (p->call.tool == SIZE_MAX) return el_answer_fail(p);
    p->call.end = "<|call|>";
    el_call_start_object(p, EL_OBJECT_ARGUMENTS);
    return EL_STEP_GO;
  }
  p->given = p->at;
  el_answer_leave(p);
  if (thought && !p->keep_reasoning) p->mode = EL_MODE_REASONING;
  return EL_STEP_GO;
}

el_step el_call_step(el_answer_parser *p) {
  switch (p->call.state) {
    case EL_CALL_SECTION: return in_section(p);
    case EL_CALL_BEGIN: return at_begin(p);
    case EL_CALL_LIST: return in_list(p);
    case EL_CALL_OBJECT: return el_call_object(p);
    case EL_CALL_ID: return at_id(p);
    case EL_CALL_NAME: return at_name(p);
    case EL_CALL_NAME_END: return at_name_end(p);
    case EL_CALL_PYTHON: return el_call_python(p);
    case EL_CALL_QUOTED: return el_call_quoted(p);
    case EL_CALL_HEADER: return at_header(p);
    case EL_CALL_END: return at_call_end(p);
    default: return el_call_parameters(p);
  }
}
