#include "server/requests/structured.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_guard.h"
#include "server/requests/fields.h"

/* ---------------------------------------------------------------- one of them */

/* Begins the constraint of a field; only one field may have one. */
static bool begin_constraint(el_api_parse *p, const char *field, el_constraint_type type) {
  el_structured *s = &p->structured;
  if (s->field[0])
    return el_api_fail(p->error, 400, "invalid_value", field,
                       "'%s' and '%s' both say what the answer must be; give one of them.", s->field, field);
  snprintf(s->field, sizeof s->field, "%s", field);
  s->source.type = type;
  return true;
}

static bool fail_source_type(el_api_parse *p, const char *field, const char *expected, const json_t *v) {
  return el_api_type_error(p, field, expected, v);
}

/* The text of a JSON value, kept until the constraint is compiled. */
static bool dump_json(el_api_parse *p, const json_t *v, const char **text, size_t *len) {
  el_structured *s = &p->structured;
  char **more = realloc(s->texts, sizeof *more * (s->n_texts + 1));
  if (!more) return el_api_no_memory(p);
  s->texts = more;
  char *own = el_json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
  if (!own) return el_api_no_memory(p);
  s->texts[s->n_texts++] = own;
  *text = own;
  *len = strlen(own);
  return true;
}

static bool schema_text(el_api_parse *p, const char *field, const json_t *v, const char **text, size_t *len) {
  if (json_is_object(v) || json_is_boolean(v)) return dump_json(p, v, text, len);
  if (!json_is_string(v)) return fail_source_type(p, field, "a JSON Schema: an object, or a text of one", v);
  *text = json_string_value(v);
  *len = json_string_length(v);
  return true;
}

static bool read_json_schema(el_api_parse *p, const char *field, const json_t *v) {
  el_constraint_source *s = &p->structured.source;
  return begin_constraint(p, field, EL_CONSTRAINT_JSON_SCHEMA) && schema_text(p, field, v, &s->text, &s->len);
}

static bool read_source_text(el_api_parse *p, const char *field, const json_t *v, el_constraint_type type) {
  if (!json_is_string(v)) return fail_source_type(p, field, "a string", v);
  if (!json_string_length(v)) return true; /* as clients send what is not set */
  el_constraint_source *s = &p->structured.source;
  s->text = json_string_value(v);
  s->len = json_string_length(v);
  return begin_constraint(p, field, type);
}

static bool read_choices(el_api_parse *p, const char *field, const json_t *v) {
  el_structured *s = &p->structured;
  if (!json_is_array(v)) return fail_source_type(p, field, "an array of strings", v);
  size_t n = json_array_size(v);
  if (!n || n > EL_MAX_CHOICES)
    return el_api_fail(p->error, 400, "invalid_value", field, "Invalid value for '%s': %zu texts; 1 to %d are allowed.",
                       field, n, EL_MAX_CHOICES);
  if (!begin_constraint(p, field, EL_CONSTRAINT_CHOICE)) return false;
  if (!(s->choices = calloc(n, sizeof *s->choices))) return el_api_no_memory(p);
  for (size_t i = 0; i < n; i++) {
    const json_t *one = json_array_get(v, i);
    if (!json_is_string(one)) return fail_source_type(p, field, "strings inside the array", one);
    s->choices[i] = json_string_value(one);
    if (!*s->choices[i] || strlen(s->choices[i]) != json_string_length(one))
      return el_api_fail(p->error, 400, "invalid_value", field,
                         "Invalid value for '%s': a text must not be empty nor contain a NUL character.", field);
  }
  s->source.choices = s->choices;
  s->source.n_choices = n;
  return true;
}

static bool read_json_object(el_api_parse *p, const char *field, const json_t *v) {
  if (!json_is_boolean(v)) return fail_source_type(p, field, "a boolean", v);
  return json_is_false(v) || begin_constraint(p, field, EL_CONSTRAINT_JSON_OBJECT);
}

/* ---------------------------------------------------------------- structural tags */

static const char *string_member_of(const json_t *v, const char *key) {
  return json_string_value(json_object_get(v, key));
}

/* The content of a tag: {"type": "json_schema", "json_schema": ...} and the like. */
static bool read_tag_content(el_api_parse *p, const char *field, const json_t *v, el_constraint_tag *tag) {
  const char *type = string_member_of(v, "type");
  const json_t *text = NULL;
  tag->content = EL_CONSTRAINT_JSON_SCHEMA;
  if (type && !strcmp(type, "json_schema"))
    return schema_text(p, field, json_object_get(v, "json_schema"), &tag->text, &tag->len);
  if (type && !strcmp(type, "regex")) {
    tag->content = EL_CONSTRAINT_REGEX;
    text = json_object_get(v, "pattern");
  } else if (type && !strcmp(type, "grammar")) {
    tag->content = EL_CONSTRAINT_GRAMMAR;
    text = json_object_get(v, "grammar");
  } else {
    return el_api_fail(
        p->error, 400, "unsupported_value", field,
        "Unsupported value for '%s': a tag's 'content' has the type 'json_schema', 'regex' or 'grammar'.", field);
  }
  if (!json_is_string(text)) return fail_source_type(p, field, "a string as a tag's content", text);
  tag->text = json_string_value(text);
  tag->len = json_string_length(text);
  return true;
}

static bool read_structural_tag_of(el_api_parse *p, const char *field, const json_t *v, el_constraint_tag *tag) {
  tag->begin = string_member_of(v, "begin");
  tag->end = string_member_of(v, "end");
  const json_t *schema = json_object_get(v, "schema"), *content = json_object_get(v, "content");
  if (!tag->begin || !tag->end || (!schema && !content))
    return el_api_fail(p->error, 400, "invalid_value", field,
                       "Invalid value for '%s': a tag needs 'begin', 'end' and 'content', or 'schema'.", field);
  if (content) return read_tag_content(p, field, content, tag);
  tag->content = EL_CONSTRAINT_JSON_SCHEMA;
  return schema_text(p, field, schema, &tag->text, &tag->len);
}

static bool read_tags(el_api_parse *p, const char *field, const json_t *tags, const json_t *triggers) {
  el_structured *s = &p->structured;
  size_t n = json_array_size(tags), n_triggers = json_array_size(triggers);
  if (!n || n > EL_MAX_TAGS || n_triggers > EL_MAX_TAGS)
    return el_api_fail(p->error, 400, "invalid_value", field,
                       "Invalid value for '%s': %zu tags and %zu triggers; 1 to %d tags are allowed.", field, n,
                       n_triggers, EL_MAX_TAGS);
  s->tags = calloc(n, sizeof *s->tags);
  s->triggers = calloc(n_triggers + 1, sizeof *s->triggers);
  if (!s->tags || !s->triggers) return el_api_no_memory(p);
  for (size_t i = 0; i < n; i++)
    if (!read_structural_tag_of(p, field, json_array_get(tags, i), &s->tags[i])) return false;
  for (size_t i = 0; i < n_triggers; i++)
    if (!(s->triggers[i] = json_string_value(json_array_get(triggers, i))))
      return fail_source_type(p, field, "strings as triggers", json_array_get(triggers, i));
  s->source.tags = s->tags;
  s->source.n_tags = n;
  s->source.triggers = s->triggers;
  s->source.n_triggers = n_triggers;
  return true;
}

/* vLLM's two forms: "structures" and "triggers"; or a "format", which may be triggered tags or a single tag. */
static bool read_structural_tag(el_api_parse *p, const char *field, const json_t *v) {
  el_constraint_source *s = &p->structured.source;
  const json_t *format = json_object_get(v, "format"), *structures = json_object_get(v, "structures");
  if (!begin_constraint(p, field, EL_CONSTRAINT_TAGS)) return false;
  if (structures) {
    const json_t *triggers = json_object_get(v, "triggers");
    s->at_least_one = s->stop_after_first = !json_array_size(triggers); /* there is nothing else then */
    return read_tags(p, field, structures, triggers);
  }
  const char *type = string_member_of(format, "type");
  s->at_least_one = json_is_true(json_object_get(format, "at_least_one"));
  s->stop_after_first = json_is_true(json_object_get(format, "stop_after_first"));
  if (type && !strcmp(type, "triggered_tags"))
    return read_tags(p, field, json_object_get(format, "tags"), json_object_get(format, "triggers"));
  if (type && !strcmp(type, "tag")) {
    json_t *one = json_pack("[O]", format);
    if (!one) return el_api_no_memory(p);
    s->at_least_one = s->stop_after_first = true;
    bool ok = read_tags(p, field, one, NULL);
    json_decref(one); /* the format itself is the body's */
    return ok;
  }
  return el_api_fail(p->error, 400, "unsupported_value", field,
                     "Unsupported value for '%s': a structural tag has 'structures' and 'triggers', or a 'format' of "
                     "the type 'triggered_tags' or 'tag'.",
                     field);
}

/* ---------------------------------------------------------------- rows */

bool el_read_schema(el_api_parse *p, const el_field *f, const json_t *v) {
  return read_json_schema(p, f->name, v);
}

bool el_read_regex(el_api_parse *p, const el_field *f, const json_t *v) {
  return read_source_text(p, f->name, v, EL_CONSTRAINT_REGEX);
}

bool el_read_choices(el_api_parse *p, const el_field *f, const json_t *v) {
  return read_choices(p, f->name, v);
}

bool el_read_grammar(el_api_parse *p, const el_field *f, const json_t *v) {
  return read_source_text(p, f->name, v, EL_CONSTRAINT_GRAMMAR);
}

bool el_read_json_object(el_api_parse *p, const el_field *f, const json_t *v) {
  return read_json_object(p, f->name, v);
}

/* OpenAI's {"type": "json_schema", "json_schema": {"name", "schema", "strict"}}. Clients of llama-server put the schema
 * beside the type, also for json_object, and OpenAI's Responses put "name" and "schema" there. The answer satisfies the
 * schema whether "strict" is set or not. */
bool el_read_response_format(el_api_parse *p, const el_field *f, const json_t *v) {
  if (!json_is_object(v)) return fail_source_type(p, f->name, "an object", v);
  const char *type = string_member_of(v, "type");
  const json_t *beside = json_object_get(v, "schema");
  char at[96];
  if (!type) {
    snprintf(at, sizeof at, "%s.type", f->name);
    return el_api_fail(p->error, 400, "missing_required_parameter", at, "Missing required parameter: '%s'.", at);
  }
  if (!strcmp(type, "text")) return true;
  if (beside && !json_is_null(beside) && (!strcmp(type, "json_object") || !strcmp(type, "json_schema"))) {
    snprintf(at, sizeof at, "%s.schema", f->name);
    return read_json_schema(p, at, beside);
  }
  if (!strcmp(type, "json_object")) return begin_constraint(p, f->name, EL_CONSTRAINT_JSON_OBJECT);
  if (!strcmp(type, "json_schema")) {
    const json_t *named = json_object_get(v, "json_schema"), *schema = json_object_get(named, "schema");
    snprintf(at, sizeof at, "%s.json_schema", f->name);
    if (!json_is_object(named))
      return el_api_fail(p->error, 400, "missing_required_parameter", at, "Missing required parameter: '%s'.", at);
    if (!schema || json_is_null(schema)) return begin_constraint(p, at, EL_CONSTRAINT_JSON_OBJECT);
    snprintf(at, sizeof at, "%s.json_schema.schema", f->name);
    return read_json_schema(p, at, schema);
  }
  if (!strcmp(type, "structural_tag")) return read_structural_tag(p, f->name, v);
  if (!strcmp(type, "grammar") || !strcmp(type, "regex")) {
    const json_t *text = json_object_get(v, !strcmp(type, "grammar") ? "grammar" : "pattern");
    snprintf(at, sizeof at, "%s.%s", f->name, !strcmp(type, "grammar") ? "grammar" : "pattern");
    return read_source_text(p, at, text, !strcmp(type, "grammar") ? EL_CONSTRAINT_GRAMMAR : EL_CONSTRAINT_REGEX);
  }
  return el_api_fail(p->error, 400, "unsupported_value", f->name,
                     "Unsupported value for '%s': its type is 'text', 'json_object', 'json_schema', 'structural_tag', "
                     "'regex' or 'grammar'.",
                     f->name);
}

bool el_read_structured_outputs(el_api_parse *p, const el_field *f, const json_t *v) {
  if (!json_is_object(v)) return fail_source_type(p, f->name, "an object", v);
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)v, key, value) {
    char at[96];
    snprintf(at, sizeof at, "%s.%.60s", f->name, key);
    bool ok = true;
    if (json_is_null(value)) continue;
    if (!strcmp(key, "json"))
      ok = read_json_schema(p, at, value);
    else if (!strcmp(key, "regex"))
      ok = read_source_text(p, at, value, EL_CONSTRAINT_REGEX);
    else if (!strcmp(key, "choice"))
      ok = read_choices(p, at, value);
    else if (!strcmp(key, "grammar"))
      ok = read_source_text(p, at, value, EL_CONSTRAINT_GRAMMAR);
    else if (!strcmp(key, "json_object"))
      ok = read_json_object(p, at, value);
    else if (!strcmp(key, "structural_tag")) {
      if (json_is_string(value)) {
        bool no_memory;
        json_error_t why;
        p->structured.parsed = el_json_load(json_string_value(value), json_string_length(value), 0, &why, &no_memory);
        if (!p->structured.parsed)
          return no_memory ? el_api_no_memory(p)
                           : el_api_fail(p->error, 400, "invalid_value", at,
                                         "Invalid value for '%s': it is not valid JSON: %s.", at, why.text);
        value = p->structured.parsed;
      }
      ok = read_structural_tag(p, at, value);
    }
    /* All else is about how vLLM does it. */
    if (!ok) return false;
  }
  return true;
}

/* ---------------------------------------------------------------- the constraint */

bool el_structured_open(el_api_parse *p) {
  el_structured *s = &p->structured;
  el_api_request *r = p->out;
  if (!s->field[0]) return true;
  el_error err;
  r->engine = p->setup->engine;
  el_status status = el_constraint_open(r->engine, &s->source, &r->constraint, &err);
  if (status == EL_ERR_INVALID || status == EL_ERR_UNSUPPORTED || status == EL_ERR_TOO_LONG)
    return el_api_fail(p->error, 400, status == EL_ERR_UNSUPPORTED ? "unsupported_value" : "invalid_value", s->field,
                       "%s value for '%s': %s.", status == EL_ERR_UNSUPPORTED ? "Unsupported" : "Invalid", s->field,
                       err.message);
  if (status) return el_api_fail_engine(p->error, &err, "", true);
  r->request.constraint = r->constraint;
  return true;
}

static bool opens_reasoning(const el_calling *c, const el_answer_info *info) {
  size_t n = c->prompt_len, len = strlen(info->reasoning_begin);
  while (n && strchr(" \n", c->prompt[n - 1])) n--;
  return c->prompt && len && info->reasoning_end[0] && n >= len &&
         !memcmp(c->prompt + n - len, info->reasoning_begin, len);
}

/* Writes the texts to choose from as a GBNF grammar, as tags take no choices. */
static bool write_choice_texts(const el_constraint_source *s, el_buf *out) {
  bool ok = el_buf_printf(out, "root ::= ");
  for (size_t i = 0; ok && i < s->n_choices; i++) {
    ok = el_buf_printf(out, "%s\"", i ? " | " : "");
    for (const char *c = s->choices[i]; ok && *c; c++)
      ok = strchr("\"\\\n\r", *c) ? el_buf_printf(out, "\\x%02X", (unsigned)*c) : el_buf_append(out, c, 1);
    ok = ok && el_buf_printf(out, "\"");
  }
  return ok;
}

bool el_structured_after_reasoning(el_api_parse *p) {
  el_structured *s = &p->structured;
  el_api_request *r = p->out;
  el_answer_info info = {0};
  char begin[128];
  if (!s->field[0] || s->source.type == EL_CONSTRAINT_TAGS) return true;
  if (r->calling.format) el_answer_format_info(r->calling.format, &info);
  if (!r->calling.format || r->calling.keep_reasoning || !opens_reasoning(&r->calling, &info)) return true;
  snprintf(begin, sizeof begin, "%s\n\n", info.reasoning_end);
  el_constraint_tag tag = {
      .begin = begin, .end = "", .content = s->source.type, .text = s->source.text, .len = s->source.len};
  el_buf choices = {0};
  if (s->source.type == EL_CONSTRAINT_CHOICE) {
    if (!write_choice_texts(&s->source, &choices)) {
      el_buf_free(&choices);
      return el_api_no_memory(p);
    }
    tag.content = EL_CONSTRAINT_GRAMMAR;
    tag.text = choices.data;
    tag.len = choices.len;
  }
  /* Constraints know only the base's tokens. The ids ascend. */
  size_t n_shown = r->request.n_shown_tokens;
  while (n_shown && r->request.shown_tokens[n_shown - 1] >= el_tokenizer_n_vocab(p->setup->tokenizer)) n_shown--;
  const el_constraint_source source = {.type = EL_CONSTRAINT_TAGS,
                                       .tags = &tag,
                                       .n_tags = 1,
                                       .triggers = &info.reasoning_end,
                                       .n_triggers = 1,
                                       .at_least_one = true,
                                       .stop_after_first = true,
                                       .shown_tokens = r->request.shown_tokens,
                                       .n_shown_tokens = n_shown};
  el_constraint_close(r->engine, r->constraint);
  r->request.constraint = r->constraint = NULL;
  el_error err;
  el_status status = el_constraint_open(r->engine, &source, &r->constraint, &err);
  el_buf_free(&choices);
  if (status)
    return el_api_fail(p->error, 400, "invalid_value", s->field, "Invalid value for '%s': %s.", s->field, err.message);
  r->request.constraint = r->constraint;
  return true;
}

void el_structured_free(el_structured *s) {
  for (size_t i = 0; i < s->n_texts; i++) free(s->texts[i]);
  free(s->texts);
  free(s->choices);
  free(s->tags);
  free(s->triggers);
  json_decref(s->parsed);
  *s = (el_structured){0};
}
