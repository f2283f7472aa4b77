/* Calls that are JSON objects, and arguments that are a JSON object. The bytes of the arguments are
 * given unchanged. */
#include <string.h>

#include "answer/parser.h"

void el_call_start_object(el_answer_parser *p, el_object_role role) {
  el_call_reader *c = &p->call;
  c->state = EL_CALL_OBJECT;
  c->role = role;
  c->scan = (el_json_scan){0};
  c->is_name = c->is_arguments = c->begun = false;
  c->arguments = c->arguments_end = 0;
  c->text.len = 0;
  if (role != EL_OBJECT_ARGUMENTS) c->tool = SIZE_MAX;
  c->from = c->arguments = p->at;
  if (role != EL_OBJECT_ARGUMENTS) c->arguments = 0;
}

static el_str text_piece(const el_answer_parser *p, size_t from, size_t to) {
  return (el_str){p->buf.data + from, to - from};
}

/* From here on it is a call, whatever follows. */
static void begin_call(el_answer_parser *p) {
  const char *name = p->tools->tools[p->call.tool].name;
  p->call.begun = true;
  p->n_calls++;
  p->given = p->call.arguments;
  el_answer_give(p, EL_ANSWER_CALL, name, strlen(name));
}

static bool knows_arguments(const el_call_reader *c) {
  return c->text.len || c->arguments_end > c->arguments;
}

/* The call is complete. False: it is no call. */
static bool finish_call(el_answer_parser *p) {
  el_call_reader *c = &p->call;
  if (c->tool == SIZE_MAX) return false;
  if (c->begun) {
    el_str rest = text_piece(p, p->given, c->arguments_end);
    el_answer_give(p, EL_ANSWER_ARGUMENTS, rest.data, rest.len);
  } else if (c->text.len) {
    el_call_give(p, c->tool, (el_str){c->text.data, c->text.len});
  } else {
    el_call_give(p, c->tool, knows_arguments(c) ? text_piece(p, c->arguments, c->arguments_end) : (el_str){"{}", 2});
  }
  c->begun = false;
  c->arguments = c->arguments_end = c->text.len = 0;
  return true;
}

static void give_so_far(el_answer_parser *p) {
  el_call_reader *c = &p->call;
  size_t end = c->arguments_end ? c->arguments_end : p->at;
  if (!c->begun || end <= p->given) return;
  el_answer_give(p, EL_ANSWER_ARGUMENTS, p->buf.data + p->given, end - p->given);
  p->given = end;
}

/* --- members */

static bool is_known_key(el_str key, const char *own, const char *const *others, size_t n) {
  bool is = own[0] && el_str_eq(key, own);
  for (size_t i = 0; i < n && !is; i++) is = el_str_eq(key, others[i]);
  return is;
}

/* Models mix up these names. */
static bool names_tool(const el_form *f, el_str key) {
  static const char *const KEYS[] = {"name", "tool_name", "function"};
  return is_known_key(key, f->name_key, KEYS, 3);
}

static bool names_arguments(const el_form *f, el_str key) {
  static const char *const KEYS[] = {"arguments", "parameters"};
  return is_known_key(key, f->args_key, KEYS, 2);
}

static void begin_call_value(el_answer_parser *p) {
  el_call_reader *c = &p->call;
  el_str key = text_piece(p, c->key_at, c->key_at + c->key_len);
  bool call = c->role == EL_OBJECT_CALL;
  c->value_at = p->at;
  c->is_name = call && c->tool == SIZE_MAX && names_tool(p->form, key) && p->buf.data[p->at] == '"';
  c->is_arguments = c->role == EL_OBJECT_KEYED || (call && !knows_arguments(c) && names_arguments(p->form, key));
  if (!c->is_arguments || p->buf.data[p->at] != '{') return;
  c->arguments = p->at;
  if (!p->whole_calls && c->tool != SIZE_MAX) begin_call(p);
}

/* Arguments that are a string contain JSON, or nothing. */
static bool read_string_arguments(el_answer_parser *p, el_str quoted) {
  el_buf *text = &p->call.text;
  text->len = 0;
  if (!el_json_unescape(text, (el_str){quoted.data + 1, quoted.len - 2})) return !(p->no_memory = true);
  el_str all = {text->data, text->len};
  size_t first = 0;
  while (first < all.len && el_is_space(all.data[first])) first++;
  return first == all.len || (all.data[first] == '{' && el_json_is_value(all));
}

static bool read_call_arguments(el_answer_parser *p, el_str value) {
  if (value.data[0] == '"') return read_string_arguments(p, value);
  if (value.data[0] == 'n') return true; /* null */
  if (value.data[0] != '{') return false;
  p->call.arguments_end = p->call.value_at + value.len;
  return true;
}

/* The value ends before `end`. False: this is no call. */
static bool end_value(el_answer_parser *p, size_t end) {
  el_call_reader *c = &p->call;
  el_str value = text_piece(p, c->value_at, end);
  if (c->is_name) {
    c->tool = el_tools_find(p->tools, (el_str){value.data + 1, value.len - 2});
    return c->tool != SIZE_MAX;
  }
  if (!c->is_arguments) return true;
  c->is_arguments = false;
  if (!read_call_arguments(p, value)) return false;
  if (c->role != EL_OBJECT_KEYED) return true;
  bool given = finish_call(p);
  p->given = end;
  return given;
}

static bool end_key(el_answer_parser *p) {
  el_call_reader *c = &p->call;
  c->key_len = p->at - c->key_at;
  if (c->role != EL_OBJECT_KEYED) return true;
  c->tool = el_tools_find(p->tools, text_piece(p, c->key_at, p->at));
  return c->tool != SIZE_MAX;
}

static bool note_event(el_answer_parser *p, unsigned event) {
  if (event & EL_JSON_VALUE_OVER && !end_value(p, p->at)) return false;
  if (event & EL_JSON_KEY) p->call.key_at = p->at + 1;
  if (event & EL_JSON_KEY_END && !end_key(p)) return false;
  if (event & EL_JSON_VALUE) begin_call_value(p);
  return !(event & EL_JSON_VALUE_LAST) || end_value(p, p->at + 1);
}

static el_step end_object(el_answer_parser *p) {
  el_call_reader *c = &p->call;
  bool given = c->role == EL_OBJECT_KEYED;
  if (c->role == EL_OBJECT_ARGUMENTS) c->arguments_end = p->at;
  if (!given && !finish_call(p)) return el_answer_fail(p);
  if (given && p->n_calls == c->calls_before) return el_answer_fail(p); /* {} */
  p->given = p->at;
  c->state = c->in_list ? EL_CALL_LIST : EL_CALL_END;
  return EL_STEP_GO;
}

el_step el_call_object(el_answer_parser *p) {
  el_call_reader *c = &p->call;
  if (c->role == EL_OBJECT_ARGUMENTS && !p->whole_calls && !c->begun && p->at == c->from && p->at < p->buf.len &&
      p->buf.data[p->at] == '{')
    begin_call(p);
  while (p->at < p->buf.len) {
    el_json_step step = el_json_next(&c->scan, (unsigned char)p->buf.data[p->at]);
    if (step == EL_JSON_WRONG || (c->role != EL_OBJECT_ARGUMENTS && c->scan.event && !note_event(p, c->scan.event))) {
      give_so_far(p);
      return el_answer_fail(p);
    }
    p->at++;
    if (step == EL_JSON_DONE) return end_object(p);
  }
  give_so_far(p);
  return p->last ? el_answer_fail(p) : EL_STEP_WAIT;
}
