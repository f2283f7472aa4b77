/* What makes a model write calls: tags. Each has a tool's call up to its arguments, what the tool's
 * schema allows, and the rest of the call. Also what tells a model about tools if its template does
 * not. */
#include <stdlib.h>
#include <string.h>

#include "answer/arguments.h"
#include "answer/form.h"
#include "answer/json_scan.h"
#include "answer/parser.h"
#include "answer/tools.h"
#include "base/error.h"

/* --- one call, but for its arguments */

static const char *key_or(const char *key, const char *usual) {
  return key[0] ? key : usual;
}

static bool is_bare_form(const el_form *f) {
  return !f->begin[0] && !f->section[0];
}

/* Writes what a call of this tool begins with, up to its arguments. opened: the prompt ends with
 * the mark. */
static bool put_begin(el_buf *b, const el_form *f, const char *name, bool opened) {
  bool ok = el_put_cstring(b, f->section) && el_put_cstring(b, opened ? "" : f->begin);
  switch (f->kind) {
    case EL_CALLS_JSON:
      return ok && el_put_cstring(b, f->begin_space) &&
             el_buf_printf(b, "%s{\"%s\": \"%s\", \"%s\": ", f->list ? "[" : "", key_or(f->name_key, "name"), name,
                           key_or(f->args_key, "arguments"));
    case EL_CALLS_KEYED: return ok && el_buf_printf(b, "%s{\"%s\": ", f->list ? "[" : "", name);
    case EL_CALLS_NAMED:
      return ok && el_buf_printf(b, "%s%s%s%s", f->id_end[0] ? "call00001" : "", f->id_end, name, f->name_end);
    case EL_CALLS_PARAMETERS: return ok && el_buf_printf(b, "%s%s", name, f->name_end);
    case EL_CALLS_PYTHON: return ok && el_buf_printf(b, "[%s(", name);
    case EL_CALLS_QUOTED: return ok && el_buf_printf(b, "%s%s{", name, f->name_end);
    default:
      return el_put_cstring(b, "<|channel|>commentary to=functions.") && el_put_cstring(b, name) &&
             el_put_cstring(b, " <|constrain|>json<|message|>");
  }
}

static bool put_end(el_buf *b, const el_form *f) {
  switch (f->kind) {
    case EL_CALLS_JSON:
    case EL_CALLS_KEYED:
      return el_put_cstring(b, f->list ? "}]" : "}") && el_put_cstring(b, f->end_space) && el_put_cstring(b, f->end) &&
             el_put_cstring(b, f->section_end);
    case EL_CALLS_PYTHON: return el_put_cstring(b, ")]") && el_put_cstring(b, f->end);
    case EL_CALLS_QUOTED:
      return el_put_cstring(b, "}") && el_put_cstring(b, f->end) && el_put_cstring(b, f->section_end);
    case EL_CALLS_HARMONY: return el_put_cstring(b, ""); /* an end-of-generation token follows */
    default: return el_put_cstring(b, f->end) && el_put_cstring(b, f->section_end);
  }
}

/* What the calls of all tools begin with: where it occurs, a call must follow. */
static const char *trigger_of_form(const el_form *f) {
  if (f->kind == EL_CALLS_HARMONY) return "<|channel|>commentary to=";
  if (is_bare_form(f)) return f->kind == EL_CALLS_JSON ? "{\"name\": \"" : "{\"";
  return f->section[0] ? f->section : f->begin;
}

/* --- the source, in one block */

typedef struct tag_text {
  size_t begin, content, end; /* where they begin in `text` */
  size_t len;                 /* of the content */
  el_constraint_type type;
} tag_text;

typedef struct tags {
  el_buf text; /* all strings, each with its NUL */
  tag_text *tags;
  size_t n;
} tags;

static bool add_tag_string(tags *t, size_t *at, const el_buf *s) {
  *at = t->text.len;
  return el_buf_append(&t->text, s->data ? s->data : "", s->len) && el_buf_append(&t->text, "", 1);
}

/* A schema that says nothing but its properties is taken to allow these alone: held to a schema
 * that leaves the rest open, models go on with properties that they make up. */
static bool put_schema(el_buf *b, const el_tool *tool) {
  bool closed = !tool->open;
  return el_buf_append(b, tool->parameters.data, tool->parameters.len - closed) &&
         (!closed || el_put_cstring(b, ", \"additionalProperties\": false}"));
}

/* by_schema: the arguments follow the tool's schema; else they are any object. */
static bool add_tag(tags *t, const el_form *f, const el_tool *tool, bool opened, bool by_schema) {
  el_buf begin = {0}, content = {0}, end = {0};
  tag_text *tag = &t->tags[t->n++];
  bool json = el_writes_json(f);
  tag->type = !json ? EL_CONSTRAINT_GRAMMAR : by_schema ? EL_CONSTRAINT_JSON_SCHEMA : EL_CONSTRAINT_JSON_OBJECT;
  bool ok = put_begin(&begin, f, tool->name, opened) && put_end(&end, f);
  if (json)
    ok = ok && (!by_schema || put_schema(&content, tool));
  else
    ok = ok && el_put_arguments_grammar(&content, f, tool, by_schema);
  ok = ok && add_tag_string(t, &tag->begin, &begin) && add_tag_string(t, &tag->content, &content) &&
       add_tag_string(t, &tag->end, &end);
  tag->len = content.len;
  el_buf_free(&begin);
  el_buf_free(&content);
  el_buf_free(&end);
  return ok;
}

typedef struct source_block {
  el_constraint_source source;
  const char *trigger;
  el_constraint_tag tags[];
} source_block;

static el_constraint_source *build_constraint(const tags *t, const el_answer_format *f, const char *trigger_text) {
  size_t n = t->n, texts = t->text.len, trigger_len = trigger_text ? strlen(trigger_text) + 1 : 0;
  source_block *b = malloc(sizeof *b + n * sizeof *b->tags + texts + trigger_len);
  if (!b) return NULL;
  char *strings = (char *)&b->tags[n];
  memcpy(strings, t->text.data, texts);
  if (trigger_text) memcpy(strings + texts, trigger_text, trigger_len);
  for (size_t i = 0; i < n; i++)
    b->tags[i] = (el_constraint_tag){.begin = strings + t->tags[i].begin,
                                     .end = strings + t->tags[i].end,
                                     .content = t->tags[i].type,
                                     .text = strings + t->tags[i].content,
                                     .len = t->tags[i].len};
  b->trigger = strings + texts;
  b->source = (el_constraint_source){.type = EL_CONSTRAINT_TAGS,
                                     .tags = b->tags,
                                     .n_tags = n,
                                     .triggers = trigger_text ? &b->trigger : NULL,
                                     .n_triggers = trigger_text != NULL,
                                     .shown_tokens = f->shown,
                                     .n_shown_tokens = f->n_shown_of_base};
  return &b->source;
}

static bool any_strict(const el_tools *t) {
  for (size_t i = 0; i < t->n; i++)
    if (t->tools[i].strict) return true;
  return false;
}

el_status el_answer_constraint(const el_answer_format *f, const el_tools *t, const el_call_rules *rules,
                               const char *prompt, size_t prompt_len, el_constraint_source **out, el_error *err) {
  size_t only = rules->only ? el_tools_find(t, el_str_of(rules->only)) : SIZE_MAX;
  bool required = rules->required || rules->only;
  if (rules->only && only == SIZE_MAX)
    return el_fail(err, EL_ERR_INVALID, "tool_choice names '%.128s', which is none of the tools", rules->only);
  *out = NULL;
  if (!required && !any_strict(t)) return EL_OK;
  el_str end = {prompt, prompt_len};
  bool thinks = f->form.kind == EL_CALLS_HARMONY || el_ends_with_mark(end, f->form.reasoning);
  bool opened = f->form.kind == EL_CALLS_NAMED && el_ends_with_mark(end, f->form.begin);
  bool free_text = (!required || thinks) && !opened;
  tags all = {.tags = calloc(t->n, sizeof *all.tags)};
  bool ok = all.tags;
  for (size_t i = 0; i < t->n && ok; i++)
    if (only == SIZE_MAX || i == only)
      ok = add_tag(&all, &f->form, &t->tools[i], opened, required || t->tools[i].strict);
  el_constraint_source *source = ok ? build_constraint(&all, f, free_text ? trigger_of_form(&f->form) : NULL) : NULL;
  el_buf_free(&all.text);
  free(all.tags);
  if (!source) return el_fail(err, EL_ERR_NO_MEMORY, "no memory for the constraint of %zu tools", t->n);
  source->at_least_one = required;
  source->stop_after_first = required && !rules->parallel;
  *out = source;
  return EL_OK;
}

/* --- texts about tools and calls */

el_status el_answer_call_text(const el_answer_format *f, const char *name, const char *arguments, size_t n, char **out,
                              size_t *len, el_error *err) {
  static const el_form BARE = {.kind = EL_CALLS_JSON,
                               .section = "",
                               .begin = "",
                               .name_key = "",
                               .args_key = "",
                               .begin_space = "",
                               .end_space = "",
                               .end = "",
                               .section_end = ""};
  const el_form *form = el_writes_json(&f->form) ? &f->form : &BARE;
  el_buf b = {0};
  if (!put_begin(&b, form, name, false) || !el_buf_append(&b, arguments, n) || !put_end(&b, form)) {
    el_buf_free(&b);
    return el_fail(err, EL_ERR_NO_MEMORY, "no memory to write a call");
  }
  *out = b.data;
  *len = b.len;
  return EL_OK;
}

static bool put_tool(el_buf *b, const el_tool *t) {
  return el_buf_printf(b, "{\"name\": \"%s\"", t->name) &&
         (!t->description.len || (el_put_cstring(b, ", \"description\": ") && el_json_quote(b, t->description))) &&
         el_put_cstring(b, ", \"parameters\": ") && el_buf_append(b, t->parameters.data, t->parameters.len) &&
         el_put_cstring(b, "}\n");
}

el_status el_answer_instructions(const el_answer_format *f, const el_tools *t, const el_call_rules *rules, char **out,
                                 size_t *len, el_error *err) {
  el_buf b = {0};
  bool named = rules->only != NULL;
  bool ok = el_put_cstring(&b, "You can call these tools, each with arguments by its JSON schema:\n");
  for (size_t i = 0; i < t->n && ok; i++)
    if (!named || !strcmp(t->tools[i].name, rules->only)) ok = put_tool(&b, &t->tools[i]);
  ok = ok && el_put_cstring(&b, "To call a tool, answer with nothing but ") && put_begin(&b, &f->form, "NAME", false) &&
       el_put_cstring(&b, el_writes_json(&f->form) ? "{ARGUMENTS}" : "ARGUMENTS") && put_end(&b, &f->form) &&
       el_put_cstring(&b, "\n");
  if (ok && named)
    ok = el_buf_printf(&b, "Call %s now.\n", rules->only);
  else if (ok && rules->required)
    ok = el_put_cstring(&b, "Call one now.\n");
  else if (ok)
    ok = el_put_cstring(&b, "If no tool is needed, answer as usual.\n");
  if (ok && rules->parallel) ok = el_put_cstring(&b, "You can call several, one after the other.\n");
  if (!ok) {
    el_buf_free(&b);
    return el_fail(err, EL_ERR_NO_MEMORY, "no memory to describe %zu tools", t->n);
  }
  *out = b.data;
  *len = b.len;
  return EL_OK;
}
