/* Calls: arguments, macros, built-in functions. */
#include <string.h>

#include "template/builtins.h"

/* --- arguments */

static void add_keyword(el_rendering *r, el_arguments *out, uint32_t *cap, const el_text *name, el_val v) {
  if (out->n_keywords == *cap) {
    uint32_t grown = *cap ? *cap * 2 : 4;
    out->names = el_task_grow(&r->task, (void *)out->names, *cap * sizeof *out->names, grown * sizeof *out->names);
    out->keywords = el_task_grow(&r->task, out->keywords, *cap * sizeof(el_val), grown * sizeof(el_val));
    *cap = grown;
  }
  out->names[out->n_keywords] = name;
  out->keywords[out->n_keywords++] = v;
}

static void add_dict(el_rendering *r, el_arguments *out, uint32_t *cap, el_val dict) {
  if (dict.kind != EL_DICT) el_fault(r, "'**' needs a dict, not %s", el_val_type(dict));
  for (uint32_t i = 0; i < dict.dict->n; i++) {
    el_val key = dict.dict->pairs[i].key;
    if (key.kind != EL_STRING) el_fault(r, "the names of arguments are strings, not %s", el_val_type(key));
    for (uint32_t k = 0; k < out->n_keywords; k++)
      if (el_text_eq(out->names[k], key.s)) el_fault(r, "a call has a keyword argument twice");
    add_keyword(r, out, cap, key.s, dict.dict->pairs[i].value);
  }
}

void el_evaluate_arguments(el_rendering *r, const el_args *args, el_arguments *out) {
  *out = (el_arguments){0};
  if (!args) return;
  uint32_t cap = 0;
  el_list *list = el_list_new(&r->task, args->positional.n);
  for (uint32_t i = 0; i < args->positional.n; i++) el_list_add(&r->task, list, el_eval(r, args->positional.items[i]));
  if (args->list) {
    const el_list *more = el_items(r, el_eval(r, args->list));
    for (uint32_t i = 0; i < more->n; i++) el_list_add(&r->task, list, more->items[i]);
  }
  for (uint32_t i = 0; i < args->keywords.n; i++)
    add_keyword(r, out, &cap, args->names[i], el_eval(r, args->keywords.items[i]));
  if (args->dict) add_dict(r, out, &cap, el_eval(r, args->dict));
  out->positional = list->items;
  out->n = list->n;
}

void el_bind(el_rendering *r, const char *what, const el_arguments *a, const char *const *names, size_t n,
             size_t n_required, el_val *out) {
  if (a->n > n) el_fault(r, "'%s' takes %zu arguments at most, not %u", what, n, (unsigned)a->n);
  for (size_t i = 0; i < n; i++) out[i] = i < a->n ? a->positional[i] : (el_val){0};
  for (uint32_t k = 0; k < a->n_keywords; k++) {
    size_t i = 0;
    while (i < n && !el_text_is(a->names[k], names[i])) i++;
    if (i == n || out[i].kind != EL_MISSING)
      el_fault(r, "'%s' %s the argument '%.*s'", what, i == n ? "does not know" : "has twice",
               (int)(a->names[k]->len < 60 ? a->names[k]->len : 60), a->names[k]->data);
    out[i] = a->keywords[k];
  }
  for (size_t i = 0; i < n_required; i++)
    if (out[i].kind == EL_MISSING) el_fault(r, "'%s' needs the argument '%s'", what, names[i]);
}

void el_no_arguments(el_rendering *r, const char *what, const el_arguments *a) {
  if (a->n || a->n_keywords) el_fault(r, "'%s' takes no arguments", what);
}

int64_t el_int_argument(el_rendering *r, el_val v, const char *what, int64_t otherwise) {
  if (v.kind == EL_MISSING || v.kind == EL_NONE) return otherwise;
  el_need_defined(r, v);
  if (!el_val_is_integer(v)) el_fault(r, "'%s' is an integer, not %s", what, el_val_type(v));
  return el_val_integer(v);
}

bool el_bool_argument(el_rendering *r, el_val v, bool otherwise) {
  return v.kind == EL_MISSING ? otherwise : el_truth(r, v);
}

const el_text *el_text_argument(el_rendering *r, el_val v, const char *what) {
  if (v.kind == EL_MISSING || v.kind == EL_NONE) return NULL;
  el_need_defined(r, v);
  if (v.kind != EL_STRING) el_fault(r, "'%s' is a string, not %s", what, el_val_type(v));
  return v.s;
}

/* --- macros */

static void check_rest(el_rendering *r, const el_macro_def *m, const el_arguments *a, const bool *used) {
  char show[EL_SHOW];
  el_str name = {m->name->data, m->name->len};
  if (!m->varargs && a->n > m->n_params)
    el_fault(r, "the macro '%s' takes %u arguments at most, not %u", el_str_show(name, show, sizeof show),
             (unsigned)m->n_params, (unsigned)a->n);
  for (uint32_t k = 0; !m->kwargs && k < a->n_keywords; k++)
    if (!used[k])
      el_fault(r, "the macro '%s' takes no argument '%.*s'", el_str_show(name, show, sizeof show),
               (int)(a->names[k]->len < 60 ? a->names[k]->len : 60), a->names[k]->data);
}

/* Takes a keyword argument and marks it as used; or EL_MISSING. */
static el_val take_keyword(const el_arguments *a, bool *used, const el_text *name) {
  for (uint32_t k = 0; k < a->n_keywords; k++) {
    if (used[k] || !el_text_eq(a->names[k], name)) continue;
    used[k] = true;
    return a->keywords[k];
  }
  return (el_val){0};
}

static void set_by_name(el_rendering *r, el_scope *scope, const char *name, el_val v) {
  uint32_t id = el_names_find(&r->t->names, name, strlen(name));
  if (id != UINT32_MAX) el_set_variable(r, scope, id, v);
}

static void set_extras(el_rendering *r, const el_macro_def *m, el_scope *scope, const el_arguments *a, bool *used) {
  if (m->caller) {
    el_val caller = take_keyword(a, used, el_text_new(&r->task, "caller", 6, 0));
    const el_text *name = el_text_new(&r->task, "caller", 6, 0);
    set_by_name(r, scope, "caller",
                caller.kind == EL_MISSING || caller.kind == EL_NONE ? el_val_undefined(EL_NO_ARGUMENT, name) : caller);
  }
  check_rest(r, m, a, used);
  if (m->kwargs) {
    el_dict *d = el_dict_new(&r->task);
    for (uint32_t k = 0; k < a->n_keywords; k++)
      if (!used[k]) el_dict_set(r, d, el_val_string(a->names[k]), a->keywords[k]);
    set_by_name(r, scope, "kwargs", el_val_dict(d));
  }
  if (m->varargs) {
    el_list *rest = el_list_new(&r->task, 0);
    for (uint32_t i = m->n_params; i < a->n; i++) el_list_add(&r->task, rest, a->positional[i]);
    set_by_name(r, scope, "varargs", el_val_tuple(rest));
  }
}

static el_val call_macro(el_rendering *r, const el_macro *macro, const el_arguments *a) {
  const el_macro_def *m = macro->def;
  el_scope *scope = el_task_zeroed(&r->task, sizeof *scope), *outer = r->scope;
  bool *used = el_task_zeroed(&r->task, a->n_keywords);
  int line = r->task.line;
  el_val block = r->block;
  scope->parent = macro->scope;
  for (uint32_t i = 0; i < m->n_params; i++) {
    el_val v = i < a->n ? a->positional[i] : take_keyword(a, used, m->param_names[i]);
    el_set_variable(r, scope, m->params[i], v);
  }
  set_extras(r, m, scope, a, used);
  r->scope = scope;
  for (uint32_t i = 0; i < m->n_params; i++) {
    if (scope->vars[i].value.kind != EL_MISSING) continue;
    uint32_t first = m->n_params - m->n_defaults;
    el_val v = i >= first ? el_eval(r, m->defaults[i - first]) : el_val_undefined(EL_NO_ARGUMENT, m->param_names[i]);
    el_set_variable(r, scope, m->params[i], v);
  }
  const el_text *text = el_capture(r, &m->body);
  r->scope = outer;
  r->task.line = line;
  r->block = block;
  return el_val_string(text);
}

/* --- */

el_val el_call(el_rendering *r, el_val fn, const el_arguments *a) {
  el_down(r);
  el_val v;
  switch ((el_kind)fn.kind) {
    case EL_MACRO: v = call_macro(r, fn.macro, a); break;
    case EL_FUNCTION: v = fn.function->fn(r, EL_VAL_NONE, a); break;
    case EL_METHOD: v = fn.method->function->fn(r, fn.method->self, a); break;
    case EL_LOOP: v = el_loop_call(r, fn.loop, a); break;
    case EL_JOINER: { /* the separator, but not the first time */
      el_no_arguments(r, "joiner", a);
      const el_list *state = fn.list;
      bool first = !state->items[1].b;
      state->items[1].b = true;
      v = first ? el_val_string(el_text_new(&r->task, "", 0, 0)) : state->items[0];
      break;
    }
    default: el_need_defined(r, fn); el_fault(r, "%s cannot be called", el_val_type(fn));
  }
  r->depth--;
  return v;
}
