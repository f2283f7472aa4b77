/* Calls whose parameters stand between marks, with their values unchanged: strings without quotes,
 * everything else as JSON. */
#include <string.h>

#include "answer/parser.h"

static el_step go_from(el_answer_parser *p, el_call_state state, size_t at) {
  p->call.state = state;
  p->at = p->call.from = p->call.found = at;
  return EL_STEP_GO;
}

/* A value that is no string by the schema or the marks is JSON; or it is written as Python prints
 * it, as some templates do; or it is a string nevertheless. */
static bool put_parameter_value(el_answer_parser *p, el_str key, el_str value) {
  el_buf *out = &p->call.text;
  const el_tool *tool = &p->tools->tools[p->call.tool];
  bool text = p->call.value_is_text || (!p->call.value_is_json && el_tool_takes_text(tool, key)), no_memory = false;
  if (!text && el_json_is_value(value)) return el_buf_append(out, value.data, value.len);
  if (!text && el_python_value(value, out, &no_memory)) return true;
  return !no_memory && el_json_quote(out, value);
}

static bool put_parameter(el_answer_parser *p, el_str key, el_str value) {
  el_buf *out = &p->call.text;
  return el_buf_append(out, out->len ? ", " : "{", out->len ? 2 : 1) && el_json_quote(out, key) &&
         el_buf_append(out, ": ", 2) && put_parameter_value(p, key, value);
}

static el_step parameters_no_memory(el_answer_parser *p) {
  p->no_memory = true;
  return EL_STEP_WAIT;
}

static el_step end_call(el_answer_parser *p, size_t at) {
  el_buf *out = &p->call.text;
  if (!el_buf_append(out, out->len ? "}" : "{}", out->len ? 1 : 2)) return parameters_no_memory(p);
  el_call_give(p, p->call.tool, (el_str){out->data, out->len});
  out->len = 0;
  p->given = at;
  if (p->call.in_section) return go_from(p, EL_CALL_SECTION, at);
  return el_answer_leave(p);
}

static el_step at_parameter(el_answer_parser *p) {
  size_t len = 0;
  if (!el_answer_skip_space(p)) return p->last ? el_answer_fail(p) : EL_STEP_WAIT;
  el_mark m = el_mark_match(p->form->key, el_answer_rest(p, p->at), &len);
  if (m == EL_MARK_YES) return go_from(p, EL_CALL_KEY, p->at + len);
  el_mark end = el_mark_match(p->form->end, el_answer_rest(p, p->at), &len);
  if (end == EL_MARK_YES) return end_call(p, p->at + len);
  if (end == EL_MARK_PARTIAL && p->last && m == EL_MARK_NO) return end_call(p, p->buf.len);
  if ((m == EL_MARK_PARTIAL || end == EL_MARK_PARTIAL) && !p->last) return EL_STEP_WAIT;
  return el_answer_fail(p);
}

static el_step fail_parameters(el_answer_parser *p) {
  p->at = p->call.found;
  return el_answer_fail(p);
}

/* Reads a key, and what says that its value is a string, if anything does. */
static el_step at_key(el_answer_parser *p) {
  const el_form *f = p->form;
  size_t at, len;
  el_mark m = el_call_find(p, f->value, EL_MAX_OPENING_BYTES, &at, &len);
  if (m == EL_MARK_PARTIAL) return EL_STEP_WAIT;
  if (m == EL_MARK_NO) return fail_parameters(p);
  el_str key = {p->buf.data + p->call.from, at - p->call.from};
  p->call.value_is_text = p->call.value_is_json = false;
  if (f->key_end[0]) {
    const char *end = memmem(key.data, key.len, f->key_end, strlen(f->key_end));
    if (!end) return fail_parameters(p);
    el_str kind = {end + strlen(f->key_end), (size_t)(key.data + key.len - end) - strlen(f->key_end)};
    p->call.value_is_text = el_str_eq(kind, f->text_value);
    p->call.value_is_json = !p->call.value_is_text && el_str_eq(kind, f->json_value);
    key.len = (size_t)(end - key.data);
  }
  p->call.key_at = p->call.from;
  p->call.key_len = key.len;
  return go_from(p, EL_CALL_VALUE, at + len);
}

static el_step at_value(el_answer_parser *p) {
  const el_form *f = p->form;
  size_t at, len;
  el_mark m = el_call_find(p, f->value_end, SIZE_MAX, &at, &len);
  if (m == EL_MARK_PARTIAL) return EL_STEP_WAIT;
  if (m == EL_MARK_NO) return fail_parameters(p);
  el_str value = {p->buf.data + p->call.from, at - p->call.from};
  el_str_skip(&value, f->value_space);
  el_str_chop(&value, f->value_end_space);
  if (el_str_skip(&value, "<![CDATA["))
    el_str_chop(&value, "]]>"); /* MiniCPM writes values with XML marks in them this way */
  if (!put_parameter(p, (el_str){p->buf.data + p->call.key_at, p->call.key_len}, value)) return parameters_no_memory(p);
  return go_from(p, EL_CALL_PARAMETER, at + len);
}

el_step el_call_parameters(el_answer_parser *p) {
  if (p->call.state == EL_CALL_PARAMETER) return at_parameter(p);
  return p->call.state == EL_CALL_KEY ? at_key(p) : at_value(p);
}
