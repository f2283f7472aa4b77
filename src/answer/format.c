/* Derives formats from templates, with built-in knowledge where a template teaches calls but writes
 * none. */
#include <stdlib.h>
#include <string.h>

#include "answer/derive.h"
#include "answer/parser.h"
#include "answer/probe.h"
#include "base/error.h"
#include "tokenizer/extension.h"

/* --- all marks of a form */

enum { N_MARKS = 24 }; /* plus a NULL */

static void marks_of(el_form *f, char **marks[N_MARKS]) {
  char **all[N_MARKS] = {
      &f->section,   &f->section_end, &f->begin,           &f->end,      &f->begin_space, &f->end_space,
      &f->name_key,  &f->args_key,    &f->id_end,          &f->name_end, &f->key,         &f->value,
      &f->value_end, &f->value_space, &f->value_end_space, &f->key_end,  &f->text_value,  &f->json_value,
      &f->quote,     &f->reasoning,   &f->reasoning_end,   &f->text,     &f->text_end,    NULL};
  memcpy(marks, all, sizeof all);
}

/* Sets missing marks to "". False: out of memory. */
static bool complete_form(el_form *f) {
  char **marks[N_MARKS];
  marks_of(f, marks);
  for (size_t i = 0; marks[i]; i++)
    if (!*marks[i] && !(*marks[i] = strdup(""))) return false;
  return true;
}

static void clear_form(el_form *f) {
  char **marks[N_MARKS];
  marks_of(f, marks);
  for (size_t i = 0; marks[i]; i++) free(*marks[i]);
  *f = (el_form){0};
}

static bool set_mark(char **mark, const char *s) {
  return el_set_mark(mark, el_str_of(s));
}

/* --- renderings */

typedef struct renderings {
  char *text[EL_PROBE_CALLS + 1];
  size_t len[EL_PROBE_CALLS + 1];
} renderings;

static void free_renderings(renderings *r) {
  for (size_t i = 0; i <= EL_PROBE_CALLS; i++) free(r->text[i]);
}

/* What follows the question. data NULL: not rendered. */
static el_str answer_turn(const renderings *r, el_probe_turn which) {
  const char *text = r->text[which], *at = NULL, *next = text;
  if (!text) return (el_str){NULL, 0};
  size_t n = strlen(EL_PROBE_QUESTION);
  while ((next = memmem(next, r->len[which] - (size_t)(next - text), EL_PROBE_QUESTION, n))) at = next += n;
  return at ? (el_str){at, r->len[which] - (size_t)(at - text)} : (el_str){NULL, 0};
}

static bool rendering_has(const renderings *r, el_probe_turn which, const char *what) {
  return r->text[which] && memmem(r->text[which], r->len[which], what, strlen(what));
}

static el_str text_between(el_str s, size_t front, size_t end) {
  if (!s.data || front + end > s.len) return (el_str){NULL, 0};
  return (el_str){s.data + front, s.len - front - end};
}

static el_status render_all(el_probe *p, renderings *r, el_error *err) {
  el_status status = EL_OK;
  for (el_probe_turn i = 0; i < EL_PROBE_CALL && !status; i++)
    status = el_probe_render(p, i, &r->text[i], &r->len[i], err);
  /* Arguments as an object, or as the string of the API, whichever the template writes
   * correctly. */
  for (int text = 0; text < 2 && !status; text++) {
    p->text_arguments = text;
    free(r->text[EL_PROBE_CALL]);
    status = el_probe_render(p, EL_PROBE_CALL, &r->text[EL_PROBE_CALL], &r->len[EL_PROBE_CALL], err);
    if (answer_turn(r, EL_PROBE_CALL).data && rendering_has(r, EL_PROBE_CALL, EL_PROBE_NAME) &&
        rendering_has(r, EL_PROBE_CALL, EL_PROBE_VALUE))
      break;
  }
  if (!status) status = el_probe_render(p, EL_PROBE_CALLS, &r->text[EL_PROBE_CALLS], &r->len[EL_PROBE_CALLS], err);
  return status;
}

/* --- finding the form */

/* Sets a known form if a template writes no calls but tells the model how to, in words or by what
 * it puts before the tools. */
static bool set_known(el_form *f, const renderings *r) {
  static const struct {
    const char *taught;
    el_call_kind kind;
    const char *begin, *end;
    bool list;
  } KNOWN[] = {
      {"<tool_call>", EL_CALLS_JSON, "<tool_call>", "</tool_call>", false},
      /* Granite 3, Phi-4-mini */
      {"<|tool_call|>", EL_CALLS_JSON, "<|tool_call|>", "<|/tool_call|>", true},
      {"<|tool|>", EL_CALLS_JSON, "<|tool_call|>", "<|/tool_call|>", true},
      {"functools[", EL_CALLS_JSON, "functools", "", true},
      /* LFM2 */
      {"<|tool_list_start|>", EL_CALLS_PYTHON, "<|tool_call_start|>", "<|tool_call_end|>", false},
      {"\nList of tools: [", EL_CALLS_PYTHON, "<|tool_call_start|>", "<|tool_call_end|>", false},
      {"[AVAILABLE_TOOLS]", EL_CALLS_JSON, "[TOOL_CALLS]", "", true},
      {"<function=", EL_CALLS_NAMED, "<function=", "</function>", false},
  };
  f->kind = EL_CALLS_JSON;
  for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++) {
    if (!rendering_has(r, EL_PROBE_OPENING, KNOWN[i].taught)) continue;
    f->kind = KNOWN[i].kind;
    f->list = KNOWN[i].list;
    return set_mark(&f->begin, KNOWN[i].begin) && set_mark(&f->end, KNOWN[i].end) &&
           set_mark(&f->name_end, KNOWN[i].kind == EL_CALLS_NAMED ? ">" : "");
  }
  /* JSON without marks: with "parameters" if the model is told so, as Llama 3 is. */
  return set_mark(&f->args_key,
                  rendering_has(r, EL_PROBE_OPENING, "\"parameters\": dictionary") ? "parameters" : "arguments");
}

/* Sets known marks of reasoning if a template leaves out earlier reasoning, as those of DeepSeek R1
 * and Magistral do. */
static bool set_known_reasoning(el_form *f, const renderings *r) {
  if (rendering_has(r, EL_PROBE_OPENING, "<think>") || rendering_has(r, EL_PROBE_OPENING, "</think>"))
    return set_mark(&f->reasoning, "<think>") && set_mark(&f->reasoning_end, "</think>");
  if (rendering_has(r, EL_PROBE_OPENING, "[THINK]"))
    return set_mark(&f->reasoning, "[THINK]") && set_mark(&f->reasoning_end, "[/THINK]");
  return true;
}

/* Sets the marks around the answer. said: a turn without its opening and its end. */
static bool set_text(el_form *f, el_str said, bool same_mark) {
  const char *at = said.data ? memmem(said.data, said.len, EL_PROBE_SAID, strlen(EL_PROBE_SAID)) : NULL;
  if (!at) return true;
  size_t n = (size_t)(at - said.data), end = n + strlen(EL_PROBE_SAID);
  el_str mark = {said.data, n}, close = {said.data + end, said.len - end};
  if (memmem(mark.data, mark.len, "think", 5) || mark.len > 64 || close.len > 64) return true;
  if (!el_set_mark(&f->text, mark) || !el_set_mark(&f->text_end, close)) return false;
  if (!same_mark || !f->text[0]) return true;
  el_buf both = {0};
  bool ok = el_buf_printf(&both, "%s%s", f->begin, f->text) && set_mark(&f->text, both.data);
  el_buf_free(&both);
  return ok;
}

/* The mark that closes a text may also precede calls. */
static bool drop_text_end(el_form *f) {
  el_str section = el_str_of(f->section);
  if (!f->text_end[0] || !el_str_skip(&section, f->text_end)) return true;
  el_buf rest = {0};
  bool ok = el_buf_append(&rest, section.data, section.len) && set_mark(&f->section, rest.data);
  el_buf_free(&rest);
  return ok;
}

/* --- checks that what was derived can read what it was derived from */

typedef struct read_back {
  size_t calls;
  el_buf arguments;
  bool same, no_memory;
} read_back;

static void note_part(void *user, const el_answer_part *part) {
  read_back *r = user;
  const char *const names[] = {EL_PROBE_NAME, EL_PROBE_NAME_2};
  if (part->type == EL_ANSWER_CALL) {
    r->same = r->same && r->calls < 2 && el_str_eq((el_str){part->text, part->len}, names[r->calls]);
    r->calls++;
  }
  if (part->type == EL_ANSWER_ARGUMENTS && !el_buf_append(&r->arguments, part->text, part->len)) r->no_memory = true;
}

static bool reads_turn(const el_answer_format *f, el_str turn, size_t n) {
  el_tool tools[] = {{.name = EL_PROBE_NAME}, {.name = EL_PROBE_NAME_2}};
  const el_tools both = {tools, 2};
  const el_answer_options o = {.tools = &both, .whole_calls = true};
  el_answer_parser *p = NULL;
  read_back r = {.same = true};
  el_error why;
  /* If the mark of the first call is in the generation prompt, the parser is told so. */
  bool named = f->form.kind == EL_CALLS_NAMED && !strncmp(turn.data, EL_PROBE_NAME, strlen(EL_PROBE_NAME));
  el_answer_options opened = o;
  opened.prompt = f->form.begin;
  opened.prompt_len = strlen(f->form.begin);
  if (el_answer_parser_open(f, named ? &opened : &o, &p, &why)) return false;
  bool ok = !el_answer_parser_push(p, turn.data, turn.len, note_part, &r, &why) &&
            !el_answer_parser_finish(p, note_part, &r, &why);
  const char *text = r.arguments.data ? r.arguments.data : "";
  ok = ok && r.same && !r.no_memory && r.calls == n && strstr(text, "\"" EL_PROBE_KEY "\"") &&
       strstr(text, "\"" EL_PROBE_VALUE "\"") && strstr(text, EL_PROBE_VALUE_2);
  el_answer_parser_close(p);
  el_buf_free(&r.arguments);
  return ok;
}

static bool reads_back(const el_answer_format *f, const el_turns *t) {
  if (!t->call.len || !reads_turn(f, t->call, 1)) return false;
  bool two = t->calls.data && memmem(t->calls.data, t->calls.len, EL_PROBE_NAME_2, strlen(EL_PROBE_NAME_2));
  return !two || reads_turn(f, t->calls, 2);
}

static bool find_form(el_answer_format *f, const renderings *r) {
  el_form *form = &f->form;
  el_str text = answer_turn(r, EL_PROBE_TEXT), call = answer_turn(r, EL_PROBE_CALL),
         calls = answer_turn(r, EL_PROBE_CALLS);
  el_str thought = answer_turn(r, EL_PROBE_REASONING), opening = answer_turn(r, EL_PROBE_OPENING);
  el_str said = {NULL, 0};
  if (!complete_form(form)) return false;
  if (call.data && text.data) {
    size_t front = el_common_front(call, text);
    const char *at = memmem(text.data, text.len, EL_PROBE_SAID, strlen(EL_PROBE_SAID));
    size_t least = at ? (size_t)(at - text.data) + strlen(EL_PROBE_SAID) : front;
    size_t end = text.len - el_common_end(text, call);
    if (end > text.len - least) end = text.len - least;
    /* What is in the generation prompt is not part of a call. */
    bool opened = opening.data && call.len >= opening.len && !memcmp(call.data, opening.data, opening.len);
    size_t begin = opened && opening.len > front ? opening.len : front;
    bool same_end =
        calls.data && calls.len >= end && !memcmp(calls.data + calls.len - end, text.data + text.len - end, end);
    const el_turns turns = {text_between(call, begin, end), text_between(calls, begin, same_end ? end : 0)};
    said = text_between(text, front, end);
    f->writes_calls = el_derive_calls(&turns, form) && complete_form(form) && reads_back(f, &turns);
    f->parallel =
        f->writes_calls && calls.data && memmem(calls.data, calls.len, EL_PROBE_NAME_2, strlen(EL_PROBE_NAME_2));
    bool same = form->kind == EL_CALLS_NAMED && turns.call.data && !strncmp(turns.call.data, EL_PROBE_NAME, 7);
    if (f->writes_calls && (!set_text(form, said, same) || !drop_text_end(form))) return false;
  }
  if (!f->writes_calls) {
    clear_form(form);
    if (!complete_form(form) || !set_known(form, r)) return false;
    f->parallel = true;
  }
  if (!complete_form(form)) return false;
  if (form->kind == EL_CALLS_HARMONY) return set_mark(&form->reasoning_end, "<|end|>");
  if (thought.data && opening.data && el_derive_reasoning(thought, opening, form)) return true;
  return set_known_reasoning(form, r);
}

/* --- control tokens */

static bool is_in_mark(el_str token, const char *mark) {
  return memmem(mark, strlen(mark), token.data, token.len);
}

static bool is_of(el_form *f, el_str token) {
  static const char *const HARMONY[] = {"<|channel|>", "<|message|>",   "<|start|>",
                                        "<|end|>",     "<|constrain|>", "<|call|>"};
  static const char *const BARE[] = {"<|python_tag|>", "<tool_call>", "</tool_call>"};
  char **marks[N_MARKS];
  marks_of(f, marks);
  for (size_t i = 0; marks[i]; i++)
    if (is_in_mark(token, *marks[i])) return true;
  for (size_t i = 0; i < 6 && f->kind == EL_CALLS_HARMONY; i++)
    if (el_str_eq(token, HARMONY[i])) return true;
  for (size_t i = 0; i < 3 && f->kind == EL_CALLS_JSON && !f->begin[0]; i++)
    if (el_str_eq(token, BARE[i])) return true;
  return false;
}

static el_status find_shown(el_answer_format *f, const el_tokenizer *t, el_error *err) {
  el_buf ids = {0};
  for (int32_t i = 0; i < el_tokenizer_n_vocab(t); i++) {
    el_str text = el_token_bytes(t, i, true);
    if (text.len < 2 || el_tokenizer_is_eog(t, i) || el_token_bytes(t, i, false).len || !is_of(&f->form, text))
      continue;
    if (el_buf_append(&ids, &i, sizeof i)) continue;
    el_buf_free(&ids);
    return el_fail(err, EL_ERR_NO_MEMORY, "no memory for the format of answers");
  }
  f->shown = (int32_t *)(void *)ids.data;
  f->n_shown = ids.len / sizeof(int32_t);
  while (f->n_shown_of_base < f->n_shown && f->shown[f->n_shown_of_base] < el_tokenizer_n_base(t)) f->n_shown_of_base++;
  return EL_OK;
}

/* --- opening */

static el_status open_format(el_answer_format *f, el_probe *p, el_error *err) {
  renderings with = {0};
  el_status status = render_all(p, &with, err);
  if (!status) {
    f->takes_system = rendering_has(&with, EL_PROBE_SYSTEM, EL_PROBE_SAID);
    f->shows_tools = rendering_has(&with, EL_PROBE_OPENING, EL_PROBE_NAME);
    if (!find_form(f, &with)) status = el_fail(err, EL_ERR_NO_MEMORY, "no memory for the format of answers");
    f->text_arguments = f->writes_calls && p->text_arguments;
  }
  free_renderings(&with);
  return status ? status : find_shown(f, p->t, err);
}

el_status el_answer_format_open(const el_tokenizer *t, const el_chat_template *template_instead, el_answer_format **out,
                                el_error *err) {
  el_answer_format *f = calloc(1, sizeof *f);
  if (!f) return el_fail(err, EL_ERR_NO_MEMORY, "no memory for the format of answers");
  el_probe p = {.t = t, .template = template_instead};
  el_status status = open_format(f, &p, err);
  if (status)
    el_answer_format_close(f);
  else
    *out = f;
  return status;
}

void el_answer_format_close(el_answer_format *f) {
  if (!f) return;
  clear_form(&f->form);
  free(f->shown);
  free(f);
}

void el_answer_format_info(const el_answer_format *f, el_answer_info *out) {
  static const char *const KINDS[] = {[EL_CALLS_JSON] = "json",           [EL_CALLS_KEYED] = "json by name",
                                      [EL_CALLS_NAMED] = "name and json", [EL_CALLS_PARAMETERS] = "parameters",
                                      [EL_CALLS_PYTHON] = "python",       [EL_CALLS_QUOTED] = "quoted",
                                      [EL_CALLS_HARMONY] = "channels"};
  *out = (el_answer_info){.calls = KINDS[f->form.kind],
                          .call_begin = f->form.section[0] ? f->form.section : f->form.begin,
                          .shows_tools = f->shows_tools,
                          .writes_calls = f->writes_calls,
                          .takes_system = f->takes_system,
                          .text_arguments = f->text_arguments,
                          .parallel = f->parallel,
                          .reasoning_begin = f->form.reasoning,
                          .reasoning_end = f->form.reasoning_end,
                          .shown_tokens = f->shown,
                          .n_shown_tokens = f->n_shown};
}
