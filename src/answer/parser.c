/* Finds text, reasoning and the beginning of calls; calls.c reads the calls. */
#include "answer/parser.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* White space in a mark stands for at most this much of it in a text, so that looking at a mark
 * takes bounded time. */
enum { MAX_SPACE = 16 };

el_mark el_mark_match(const char *mark, el_str text, size_t *len) {
  size_t at = 0;
  while (*mark) {
    if (el_is_space(*mark)) {
      while (el_is_space(*mark)) mark++;
      size_t most = at + MAX_SPACE;
      while (at < text.len && at < most && el_is_space(text.data[at])) at++;
      continue;
    }
    if (at == text.len) return EL_MARK_PARTIAL;
    if (text.data[at++] != *mark++) return EL_MARK_NO;
  }
  *len = at;
  return EL_MARK_YES;
}

/* --- giving */

void el_answer_give(el_answer_parser *p, el_answer_part_type type, const char *text, size_t len) {
  if (!len) return;
  const el_answer_part part = {type, text, len, p->n_calls ? p->n_calls - 1 : 0};
  p->on_part(p->user, &part);
}

/* Gives what has been looked at, without white space at its end: more text may follow, or a
 * mark. */
static void give_certain(el_answer_parser *p, el_answer_part_type type) {
  if (p->text_end <= p->given) return;
  el_answer_give(p, type, p->buf.data + p->given, p->text_end - p->given);
  p->given = p->text_end;
}

bool el_answer_skip_space(el_answer_parser *p) {
  while (p->at < p->buf.len && el_is_space(p->buf.data[p->at])) p->at++;
  return p->at < p->buf.len;
}

static void drop_space(el_answer_parser *p) {
  while (p->after_mark && p->given < p->buf.len) {
    if (el_is_space(p->buf.data[p->given]))
      p->given++;
    else
      p->after_mark = false;
  }
  if (p->at < p->given) p->at = p->given;
}

static el_step enter_mode(el_answer_parser *p, el_mode mode, size_t from) {
  p->given = p->at = p->text_end = from;
  p->after_mark = true;
  p->mode = mode;
  return EL_STEP_GO;
}

el_step el_answer_leave(el_answer_parser *p) {
  return enter_mode(p, EL_MODE_TEXT, p->given);
}

el_step el_answer_fail(el_answer_parser *p) {
  p->text_end = p->at;
  while (p->text_end > p->given && el_is_space(p->buf.data[p->text_end - 1])) p->text_end--;
  p->after_mark = false;
  p->mode = EL_MODE_TEXT;
  return EL_STEP_GO;
}

/* --- text */

static el_step act_on_trigger(el_answer_parser *p, const el_trigger *t, size_t len) {
  static const el_call_state STATES[] = {[EL_MARK_SECTION] = EL_CALL_SECTION,
                                         [EL_MARK_CALL] = EL_CALL_BEGIN,
                                         [EL_MARK_PYTHON] = EL_CALL_PYTHON,
                                         [EL_MARK_HEADER] = EL_CALL_HEADER};
  give_certain(p, EL_ANSWER_TEXT);
  if (t->action == EL_MARK_DROP) return enter_mode(p, EL_MODE_TEXT, p->at + len);
  /* The white space before the mark is given, too, if this turns out to be no call. */
  if (t->action != EL_MARK_HEADER) p->at += len;
  el_call_start(p, STATES[t->action]);
  p->call.in_section = t->action == EL_MARK_SECTION;
  p->call.end = t->end;
  return EL_STEP_GO;
}

static el_mark trigger_at(const el_answer_parser *p, size_t at, const el_trigger **found, size_t *len) {
  el_mark m = EL_MARK_NO;
  if (!p->first[(unsigned char)p->buf.data[at]]) return m;
  /* The first match counts, so that another trigger that begins alike does not hide it. */
  for (size_t i = 0; i < p->n_triggers && m == EL_MARK_NO; i++) {
    m = el_mark_match(p->triggers[i].mark, el_answer_rest(p, at), len);
    *found = &p->triggers[i];
  }
  return m;
}

static el_step in_text(el_answer_parser *p) {
  drop_space(p);
  for (; p->at < p->buf.len; p->at++) {
    const el_trigger *t;
    size_t len;
    el_mark m = trigger_at(p, p->at, &t, &len);
    if (m == EL_MARK_YES) return act_on_trigger(p, t, len);
    if (m == EL_MARK_PARTIAL && !p->last) break;
    if (!el_is_space(p->buf.data[p->at])) p->text_end = p->at + 1;
  }
  if (p->last) p->text_end = p->buf.len;
  give_certain(p, EL_ANSWER_TEXT);
  return EL_STEP_WAIT;
}

/* --- reasoning */

static el_step in_reasoning(el_answer_parser *p) {
  drop_space(p);
  for (; p->at < p->buf.len; p->at++) {
    size_t len;
    el_mark m = el_mark_match(p->form->reasoning_end, el_answer_rest(p, p->at), &len);
    if (m == EL_MARK_YES) {
      give_certain(p, EL_ANSWER_REASONING);
      return enter_mode(p, EL_MODE_START, p->at + len);
    }
    if (m == EL_MARK_PARTIAL && !p->last) break;
    if (!el_is_space(p->buf.data[p->at])) p->text_end = p->at + 1;
  }
  give_certain(p, EL_ANSWER_REASONING);
  return EL_STEP_WAIT;
}

/* --- the beginning */

static bool is_bare_json(const el_form *f) {
  return (f->kind == EL_CALLS_JSON || f->kind == EL_CALLS_KEYED) && !f->begin[0] && !f->section[0];
}

static el_step at_start(el_answer_parser *p) {
  size_t len;
  if (!el_answer_skip_space(p) && !p->last) return EL_STEP_WAIT;
  const char *reasoning = p->keep_reasoning ? "" : p->form->reasoning;
  el_mark m = reasoning[0] ? el_mark_match(reasoning, el_answer_rest(p, p->at), &len) : EL_MARK_NO;
  if (m == EL_MARK_YES) return enter_mode(p, EL_MODE_REASONING, p->at + len);
  if (m == EL_MARK_PARTIAL && !p->last) return EL_STEP_WAIT;
  /* Some prompts open and close it, and models close it once more. */
  m = reasoning[0] ? el_mark_match(p->form->reasoning_end, el_answer_rest(p, p->at), &len) : EL_MARK_NO;
  if (m == EL_MARK_YES) return enter_mode(p, EL_MODE_START, p->at + len);
  if (m == EL_MARK_PARTIAL && !p->last) return EL_STEP_WAIT;
  bool harmony = p->form->kind == EL_CALLS_HARMONY;
  m = harmony ? el_mark_match("to=", el_answer_rest(p, p->at), &len) : EL_MARK_NO;
  if (m == EL_MARK_PARTIAL && !p->last) return EL_STEP_WAIT;
  bool is_call =
      p->tools && p->at < p->buf.len && is_bare_json(p->form) && strchr("{[", p->buf.data[p->at]) && p->buf.data[p->at];
  if (m == EL_MARK_YES || is_call) {
    if (p->after_mark) drop_space(p);
    el_call_start(p, is_call ? EL_CALL_BEGIN : EL_CALL_HEADER);
    p->call.bare = is_call;
    p->call.end = p->form->end;
    return EL_STEP_GO;
  }
  p->at = p->text_end = p->given;
  p->mode = EL_MODE_TEXT;
  return EL_STEP_GO;
}

/* --- all of it */

static el_step step_parser(el_answer_parser *p) {
  switch (p->mode) {
    case EL_MODE_START: return at_start(p);
    case EL_MODE_REASONING: return in_reasoning(p);
    case EL_MODE_CALL: return el_call_step(p);
    default: return in_text(p);
  }
}

static void forget_given(el_answer_parser *p) {
  size_t n = p->given;
  if (p->mode == EL_MODE_CALL || !n) return; /* the reader of calls has offsets into the buffer */
  el_buf_consume(&p->buf, n);
  p->at -= n;
  p->text_end = p->text_end > n ? p->text_end - n : 0;
  p->given = 0;
}

static el_status run_parser(el_answer_parser *p, el_answer_fn on_part, void *user, el_error *err) {
  p->on_part = on_part;
  p->user = user;
  while (!p->no_memory && step_parser(p) == EL_STEP_GO) {
  }
  forget_given(p);
  return p->no_memory ? el_fail(err, EL_ERR_NO_MEMORY, "no memory to read an answer") : EL_OK;
}

el_status el_answer_parser_push(el_answer_parser *p, const char *text, size_t len, el_answer_fn on_part, void *user,
                                el_error *err) {
  if (!len) return EL_OK;
  if (!el_buf_append(&p->buf, text, len)) p->no_memory = true;
  return run_parser(p, on_part, user, err);
}

el_status el_answer_parser_finish(el_answer_parser *p, el_answer_fn on_part, void *user, el_error *err) {
  if (!p->buf.data && !el_buf_append(&p->buf, "", 0)) p->no_memory = true;
  p->last = true;
  return run_parser(p, on_part, user, err);
}

size_t el_answer_parser_calls(const el_answer_parser *p) {
  return p->n_calls;
}

/* --- opening */

static void add_trigger(el_answer_parser *p, const char *mark, const char *end, el_mark_action action) {
  if (!mark[0]) return;
  assert(p->n_triggers < EL_MAX_MARKS);
  p->triggers[p->n_triggers++] = (el_trigger){mark, end, action};
  p->first[(unsigned char)mark[0]] = true;
}

static void add_triggers(el_answer_parser *p) {
  const el_form *f = p->form;
  if (f->kind == EL_CALLS_HARMONY) {
    add_trigger(p, "<|channel|>", "", EL_MARK_HEADER);
    add_trigger(p, "<|start|>", "", EL_MARK_HEADER);
    add_trigger(p, "<|end|>", "", EL_MARK_DROP);
    return;
  }
  add_trigger(p, f->text, "", EL_MARK_DROP);
  add_trigger(p, f->text_end, "", EL_MARK_DROP);
  if (!p->tools) return;
  el_mark_action call = f->kind == EL_CALLS_PYTHON ? EL_MARK_PYTHON : EL_MARK_CALL;
  add_trigger(p, f->section, f->end, EL_MARK_SECTION);
  add_trigger(p, f->begin, f->end, call);
  /* Some models leave out the outer of two marks: <function=...> without <tool_call>. */
  const char *inner = strpbrk(f->begin, " \n\r\t");
  if (inner && f->kind == EL_CALLS_PARAMETERS) add_trigger(p, inner + strspn(inner, " \n\r\t"), f->end, call);
  if (!is_bare_json(f)) return;
  add_trigger(p, "<|python_tag|>", "", EL_MARK_CALL);
  add_trigger(p, "<tool_call>", "</tool_call>", EL_MARK_CALL);
  add_trigger(p, "```json", "```", EL_MARK_CALL);
  add_trigger(p, "```tool_call", "```", EL_MARK_CALL);
  add_trigger(p, "```tool_code", "```", EL_MARK_PYTHON);
}

bool el_ends_with_mark(el_str text, const char *mark) {
  size_t n = strlen(mark);
  while (text.len && el_is_space(text.data[text.len - 1])) text.len--;
  return n && text.len >= n && !memcmp(text.data + text.len - n, mark, n);
}

el_status el_answer_parser_open(const el_answer_format *f, const el_answer_options *o, el_answer_parser **out,
                                el_error *err) {
  el_answer_parser *p = calloc(1, sizeof *p);
  if (!p) return el_fail(err, EL_ERR_NO_MEMORY, "no memory to read an answer");
  *p = (el_answer_parser){
      .f = f, .form = &f->form, .tools = o->tools, .keep_reasoning = o->keep_reasoning, .whole_calls = o->whole_calls};
  add_triggers(p);
  el_str prompt = {o->prompt, o->prompt ? o->prompt_len : 0};
  if (!o->keep_reasoning && el_ends_with_mark(prompt, f->form.reasoning)) enter_mode(p, EL_MODE_REASONING, 0);
  /* If the prompt ends with the mark of a call, this counts as if the answer began with it. */
  if (o->tools && f->form.kind == EL_CALLS_NAMED && el_ends_with_mark(prompt, f->form.begin)) {
    el_call_start(p, EL_CALL_BEGIN);
    p->call.end = f->form.end;
  }
  *out = p;
  return EL_OK;
}

void el_answer_parser_close(el_answer_parser *p) {
  if (!p) return;
  el_buf_free(&p->buf);
  el_buf_free(&p->call.text);
  free(p);
}
