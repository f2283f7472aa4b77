/* Compiling, and rendering with values from outside. */
#include "template/template.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "template/builtins.h"

/* --- compiling */

/* A separate function, since the function that calls setjmp may not change variables of its own. */
static bool compile_template(el_template *t) {
  if (setjmp(t->task.escape)) return false;
  el_parse(t);
  return true;
}

el_status el_template_new(el_str text, el_template **out, el_error *err) {
  el_error local = {0};
  if (text.len > EL_TEMPLATE_MAX_BYTES)
    return el_fail(err, EL_ERR_INVALID, "a chat template of %zu bytes; the limit is %d", text.len,
                   EL_TEMPLATE_MAX_BYTES);
  el_template *t = calloc(1, sizeof *t);
  if (!t) return el_fail(err, EL_ERR_NO_MEMORY, "no memory for a chat template of %zu bytes", text.len);
  t->task.err = err ? err : &local;
  t->task.most = (size_t)1 << 30;
  t->source = text.data;
  t->len = text.len;
  if (!compile_template(t)) {
    el_status status = t->task.err->code;
    el_template_free(t);
    return status;
  }
  *out = t;
  return EL_OK;
}

void el_template_free(el_template *t) {
  if (!t) return;
  el_task_free(&t->task);
  free(t);
}

/* --- values from outside */

static el_val *keep_value(el_rendering *r, el_val v) {
  el_val *p = el_task_alloc(&r->task, sizeof *p);
  *p = v;
  return p;
}

void el_template_set(el_rendering *r, const char *name, const el_val *value) {
  uint32_t id = el_names_find(&r->t->names, name, strlen(name));
  if (id != UINT32_MAX) r->globals[id] = *value;
}

const el_val *el_template_none(el_rendering *r) {
  return keep_value(r, EL_VAL_NONE);
}

const el_val *el_template_bool(el_rendering *r, bool b) {
  return keep_value(r, el_val_bool(b));
}

const el_val *el_template_string(el_rendering *r, el_str s, el_origin source) {
  return keep_value(r, el_val_string(el_text_new(&r->task, s.data, s.len, source)));
}

void *el_template_room(el_rendering *r, size_t bytes) {
  return el_task_alloc(&r->task, bytes);
}

const el_val *el_template_lines(el_rendering *r, const el_str *texts, size_t n, el_origin source) {
  el_writer w = el_writer_of(r);
  for (size_t i = 0; i < n; i++) {
    if (i) el_write(&w, "\n", 1, source);
    el_write(&w, texts[i].data, texts[i].len, source);
  }
  return keep_value(r, el_val_string(el_written(&w)));
}

static el_val convert_value(el_rendering *r, const el_value *value, el_origin source) {
  el_val v = {.kind = EL_NONE};
  el_down(r);
  switch (value->type) {
    case EL_VALUE_NULL: break;
    case EL_VALUE_BOOL: v = (el_val){.kind = EL_BOOL, .source = source, .b = value->boolean}; break;
    case EL_VALUE_INTEGER: v = (el_val){.kind = EL_INT, .source = source, .i = value->integer}; break;
    case EL_VALUE_REAL: v = (el_val){.kind = EL_FLOAT, .source = source, .f = value->real}; break;
    case EL_VALUE_STRING:
      v = el_val_string(el_text_new(&r->task, value->string.data, value->string.len, source));
      break;
    case EL_VALUE_ARRAY: {
      el_list *list = el_list_new(&r->task, value->array.n);
      for (size_t i = 0; i < value->array.n; i++)
        el_list_add(&r->task, list, convert_value(r, &value->array.items[i], source));
      v = el_val_list(list);
      break;
    }
    case EL_VALUE_OBJECT: {
      el_dict *d = el_dict_new(&r->task);
      for (size_t i = 0; i < value->object.n; i++) {
        const el_member *m = &value->object.members[i];
        el_dict_set(r, d, el_val_string(el_text_new(&r->task, m->name, strlen(m->name), source)),
                    convert_value(r, &m->value, source));
      }
      v = el_val_dict(d);
      break;
    }
  }
  r->depth--;
  return v;
}

const el_val *el_template_value(el_rendering *r, const el_value *value, el_origin source) {
  return keep_value(r, convert_value(r, value, source));
}

el_val *el_template_list(el_rendering *r) {
  return keep_value(r, el_val_list(el_list_new(&r->task, 0)));
}

void el_template_append(el_rendering *r, el_val *list, const el_val *item) {
  el_list_add(&r->task, list->list, *item);
}

el_val *el_template_dict(el_rendering *r) {
  return keep_value(r, el_val_dict(el_dict_new(&r->task)));
}

void el_template_put(el_rendering *r, el_val *dict, const char *key, el_origin source, const el_val *value) {
  el_dict_set(r, dict->dict, el_val_string(el_text_new(&r->task, key, strlen(key), source)), *value);
}

/* --- rendering */

static void begin_rendering(el_rendering *r, el_template_fn set, void *user) {
  const el_names *names = &r->t->names;
  r->globals = el_task_zeroed(&r->task, names->n * sizeof *r->globals);
  for (uint32_t i = 0; i < names->n; i++) {
    const el_function *f = el_function_find((el_str){names->items[i]->data, names->items[i]->len});
    if (f) r->globals[i] = (el_val){.kind = EL_FUNCTION, .function = f};
  }
  if (set) set(r, user);
}

/* Copies the result out of the arena. */
static void take_rendered(el_rendering *r, const el_text *text, el_rendered *out) {
  bool ok = el_buf_append(&out->text, text->data, text->len);
  if (ok && text->n_spans) ok = (out->spans = malloc(text->n_spans * sizeof *out->spans)) != NULL;
  if (!ok) el_task_fail(&r->task, EL_ERR_NO_MEMORY, "no memory for a conversation of %u bytes", (unsigned)text->len);
  for (uint32_t i = 0; i < text->n_spans; i++)
    out->spans[i] = (el_template_span){text->spans[i].begin, text->spans[i].end, text->spans[i].source};
  out->n_spans = text->n_spans;
}

static bool run_rendering(el_rendering *r, el_template_fn set, void *user, el_rendered *out) {
  if (setjmp(r->task.escape)) return false;
  begin_rendering(r, set, user);
  el_run(r, &r->t->body);
  r->task.line = 0;
  take_rendered(r, el_written(r->out), out);
  return true;
}

el_status el_template_render(const el_template *t, el_template_fn set, void *user, int64_t now,
                             const el_template_limits *limits, el_rendered *out, el_error *err) {
  static const el_template_limits DEFAULTS = {0};
  if (!limits) limits = &DEFAULTS;
  el_error local = {0};
  el_rendered made = {0};
  el_rendering r = {.t = t, .now = now};
  el_writer w = {.task = &r.task, .most = limits->output ? (uint32_t)limits->output : 64 << 20};
  r.task.err = err ? err : &local;
  r.task.most = limits->memory ? limits->memory : 256 << 20;
  r.steps = limits->steps ? limits->steps : 50000000;
  r.out = &w;
  bool ok = run_rendering(&r, set, user, &made);
  el_task_free(&r.task);
  if (!ok) {
    el_rendered_free(&made);
    return r.task.err->code;
  }
  *out = made;
  return EL_OK;
}

void el_rendered_free(el_rendered *r) {
  el_buf_free(&r->text);
  free(r->spans);
  *r = (el_rendered){0};
}
