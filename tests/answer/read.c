/* Reads answers for the tests: read_answer MODEL, with a file that has a tokenizer. A JSON object a line in:
 *   {"template": TEXT, "messages": [...], "tools": [...], "opening": BOOL}: renders a conversation: {"text": TEXT}
 *   {"template": TEXT, "tools": [...], "prompt": TEXT, "answer": TEXT, "piece": BYTES, "whole": BOOL}: reads an answer
 *     that comes in pieces of so many bytes: {"parts": [[TYPE, TEXT, CALL], ...]}, of each type in a row joined
 *   {"template": TEXT, "tools": [...], "required": true}: what the model must write: {"tags": [[BEGIN, CONTENT, END],
 * ...]}; CONTENT is GBNF or a JSON schema
 *   {"template": TEXT}: {"calls": ..., and so on}, the format
 * or {"error": MESSAGE}. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer/form.h"
#include "server/common/json_value.h"

static json_t *fail(const el_error *e) {
  return json_pack("{s:s}", "error", e->message);
}

static json_t *text_of(const json_t *line, const el_tokenizer *t, const el_chat_template *template, el_error *e) {
  el_value messages, tools = {.type = EL_VALUE_NULL};
  const json_t *list = json_object_get(line, "tools");
  if (el_json_value(json_object_get(line, "messages"), &messages) != EL_CONVERTED) abort();
  if (list && el_json_value(list, &tools) != EL_CONVERTED) abort();
  const el_chat chat = {.messages = &messages,
                        .tools = list ? &tools : NULL,
                        .add_generation_prompt = json_is_true(json_object_get(line, "opening")),
                        .template_instead = template};
  char *text = NULL;
  size_t len;
  el_status status = el_chat_text(t, &chat, &text, &len, e);
  json_t *result = status ? fail(e) : json_pack("{s:o}", "text", json_stringn(text, len));
  free(text);
  el_json_value_free(&messages);
  el_json_value_free(&tools);
  return result;
}

static void add_part(void *user, const el_answer_part *part) {
  static const char *const TYPES[] = {"text", "reasoning", "call", "arguments"};
  json_t *parts = user, *last = json_array_get(parts, json_array_size(parts) - 1);
  const char *type = TYPES[part->type];
  if (last && part->type != EL_ANSWER_CALL && !strcmp(json_string_value(json_array_get(last, 0)), type)) {
    json_t *before = json_array_get(last, 1);
    char *both = malloc(json_string_length(before) + part->len + 1);
    memcpy(both, json_string_value(before), json_string_length(before));
    memcpy(both + json_string_length(before), part->text, part->len);
    json_array_set_new(last, 1, json_stringn_nocheck(both, json_string_length(before) + part->len));
    free(both);
    return;
  }
  json_array_append_new(
      parts, json_pack("[s, o, I]", type, json_stringn_nocheck(part->text, part->len), (json_int_t)part->call));
}

static json_t *read_answer(const json_t *line, const el_answer_format *f, el_error *e) {
  const json_t *list = json_object_get(line, "tools"), *answer = json_object_get(line, "answer");
  const json_t *prompt = json_object_get(line, "prompt");
  size_t piece = (size_t)json_integer_value(json_object_get(line, "piece")), len = json_string_length(answer);
  el_value value;
  el_tools *tools = NULL;
  el_answer_parser *p = NULL;
  json_t *parts = json_array();
  el_status status = EL_OK;
  if (list && el_json_value(list, &value) != EL_CONVERTED) abort();
  if (list) status = el_tools_open(&value, &tools, e);
  if (list) el_json_value_free(&value);
  const el_answer_options o = {.tools = tools,
                               .prompt = json_string_value(prompt),
                               .prompt_len = json_string_length(prompt),
                               .whole_calls = json_is_true(json_object_get(line, "whole"))};
  if (!status) status = el_answer_parser_open(f, &o, &p, e);
  for (size_t i = 0; i < len && !status; i += piece ? piece : len) {
    size_t n = piece && piece < len - i ? piece : len - i;
    status = el_answer_parser_push(p, json_string_value(answer) + i, n, add_part, parts, e);
  }
  if (!status) status = el_answer_parser_finish(p, add_part, parts, e);
  el_answer_parser_close(p);
  el_tools_close(tools);
  json_t *result = status ? fail(e) : json_pack("{s:O}", "parts", parts);
  json_decref(parts);
  return result;
}

static json_t *constrain(const json_t *line, const el_answer_format *f, el_error *e) {
  el_value value;
  el_tools *tools = NULL;
  el_constraint_source *s = NULL;
  json_t *tags = json_array();
  if (el_json_value(json_object_get(line, "tools"), &value) != EL_CONVERTED) abort();
  el_status status = el_tools_open(&value, &tools, e);
  if (!status) status = el_answer_constraint(f, tools, &(el_call_rules){.required = true}, "", 0, &s, e);
  for (size_t i = 0; !status && i < s->n_tags; i++)
    json_array_append_new(
        tags, json_pack("[s, o, s]", s->tags[i].begin, json_stringn(s->tags[i].text, s->tags[i].len), s->tags[i].end));
  free(s);
  el_tools_close(tools);
  el_json_value_free(&value);
  json_t *result = status ? fail(e) : json_pack("{s:O}", "tags", tags);
  json_decref(tags);
  return result;
}

static json_t *describe(const el_answer_format *f) {
  el_answer_info i;
  el_answer_format_info(f, &i);
  const el_form *m = &f->form;
  const char *const marks[] = {m->section,    m->section_end, m->begin,           m->end,     m->name_key,
                               m->args_key,   m->id_end,      m->name_end,        m->key,     m->value,
                               m->value_end,  m->value_space, m->value_end_space, m->key_end, m->text_value,
                               m->json_value, m->text,        m->text_end};
  json_t *list = json_array();
  for (size_t k = 0; k < sizeof marks / sizeof *marks; k++) json_array_append_new(list, json_string(marks[k]));
  return json_pack("{s:s, s:s, s:b, s:b, s:b, s:b, s:s, s:s, s:o}", "calls", i.calls, "begin", i.call_begin,
                   "shows_tools", i.shows_tools, "writes_calls", i.writes_calls, "text_arguments", i.text_arguments,
                   "parallel", i.parallel, "reasoning", i.reasoning_begin, "reasoning_end", i.reasoning_end, "marks",
                   list);
}

/* The last template and its format: tests ask many things of each. */
typedef struct kept {
  char *source; /* NULL: the file's own, or none yet */
  el_chat_template *template;
  el_answer_format *f;
} kept;

static void forget(kept *k) {
  el_answer_format_close(k->f);
  el_chat_template_close(k->template);
  free(k->source);
  *k = (kept){0};
}

static el_status use(kept *k, const char *source, const el_tokenizer *t, el_error *e) {
  if (k->f && source && k->source && !strcmp(source, k->source)) return EL_OK;
  forget(k);
  el_status status = source ? el_chat_template_open(t, source, &k->template, e) : EL_OK;
  if (!status) status = el_answer_format_open(t, k->template, &k->f, e);
  if (!status && source) k->source = strdup(source);
  return status;
}

static json_t *answer(const json_t *line, const el_tokenizer *t, kept *k) {
  el_error e = {0};
  if (use(k, json_string_value(json_object_get(line, "template")), t, &e)) return fail(&e);
  if (json_object_get(line, "messages")) return text_of(line, t, k->template, &e);
  if (json_object_get(line, "required")) return constrain(line, k->f, &e);
  return json_object_get(line, "answer") ? read_answer(line, k->f, &e) : describe(k->f);
}

int main(int argc, char **argv) {
  el_tokenizer *t = NULL;
  kept last = {0};
  el_error e = {0};
  char *line = NULL;
  size_t cap = 0;
  if (argc != 2 || el_tokenizer_open(argv[1], &t, &e)) {
    fprintf(stderr, "%s\n", argc == 2 ? e.message : "usage: read_answer MODEL");
    return 2;
  }
  while (getline(&line, &cap, stdin) > 0) {
    json_error_t why;
    json_t *j = json_loads(line, JSON_ALLOW_NUL, &why);
    if (!j) {
      fprintf(stderr, "%s\n", why.text);
      return 2;
    }
    json_t *result = answer(j, t, &last);
    if (!result || json_dumpf(result, stdout, JSON_COMPACT)) return 3;
    putchar('\n');
    fflush(stdout);
    json_decref(result);
    json_decref(j);
  }
  free(line);
  forget(&last);
  el_tokenizer_close(t);
  return 0;
}
