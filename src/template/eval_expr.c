/* Evaluates expressions. */
#include <stdio.h>
#include <string.h>

#include "template/builtins.h"

void el_step(el_rendering *r, size_t bytes) {
  uint64_t cost = 1 + bytes / 64;
  if (r->steps < cost) el_fault(r, "the chat template takes more steps than the limit");
  r->steps -= cost;
}

void el_down(el_rendering *r) {
  if (++r->depth > EL_MAX_CALLS) el_fault(r, "the chat template goes deeper than %d calls", EL_MAX_CALLS);
}

static _Noreturn void fault_undefined(el_rendering *r, el_val v) {
  char show[EL_SHOW];
  static const char *const WHAT[] = {[EL_NO_VARIABLE] = "'%s' is undefined",
                                     [EL_NO_ATTRIBUTE] = "there is no '%s' in the value",
                                     [EL_NO_ARGUMENT] = "the argument '%s' was not given",
                                     [EL_NO_ITEM] = "there is no %s item, the sequence is empty"};
  const char *name = el_str_show(v.s ? (el_str){v.s->data, v.s->len} : (el_str){"", 0}, show, sizeof show);
  char message[EL_SHOW + 64];
  switch (v.source) {
    case EL_NO_ATTRIBUTE: snprintf(message, sizeof message, WHAT[EL_NO_ATTRIBUTE], name); break;
    case EL_NO_ARGUMENT: snprintf(message, sizeof message, WHAT[EL_NO_ARGUMENT], name); break;
    case EL_NO_ITEM: snprintf(message, sizeof message, WHAT[EL_NO_ITEM], name); break;
    default: snprintf(message, sizeof message, WHAT[EL_NO_VARIABLE], name); break;
  }
  el_fault(r, "%s", message);
}

void el_need_defined(el_rendering *r, el_val v) {
  if (v.kind == EL_UNDEFINED || v.kind == EL_MISSING) fault_undefined(r, v);
}

static el_val variable(el_rendering *r, uint32_t name) {
  for (const el_scope *s = r->scope; s; s = s->parent)
    for (uint32_t i = s->n; i > 0; i--)
      if (s->vars[i - 1].name == name && s->vars[i - 1].value.kind != EL_MISSING) return s->vars[i - 1].value;
  el_val v = r->globals[name];
  return v.kind == EL_MISSING ? el_val_undefined(EL_NO_VARIABLE, r->t->names.items[name]) : v;
}

static el_list *eval_items(el_rendering *r, const el_nodes *nodes) {
  el_list *list = el_list_new(&r->task, nodes->n);
  for (uint32_t i = 0; i < nodes->n; i++) el_list_add(&r->task, list, el_eval(r, nodes->items[i]));
  return list;
}

static el_val eval_dict(el_rendering *r, const el_nodes *nodes) {
  el_dict *d = el_dict_new(&r->task);
  for (uint32_t i = 0; i < nodes->n; i += 2) {
    el_val key = el_eval(r, nodes->items[i]);
    el_dict_set(r, d, key, el_eval(r, nodes->items[i + 1]));
  }
  return el_val_dict(d);
}

static el_val eval_concat(el_rendering *r, const el_nodes *nodes) {
  const el_list *list = eval_items(r, nodes);
  el_writer w = el_writer_of(r);
  for (uint32_t i = 0; i < list->n; i++) el_write_string(r, &w, list->items[i]);
  el_step(r, w.len);
  return el_val_string(el_written(&w));
}

static bool eval_comparison(el_rendering *r, const el_node *n) {
  el_val left = el_eval(r, n->a);
  for (uint32_t i = 0; i < n->items.n; i++) {
    el_val right = el_eval(r, n->items.items[i]);
    if (!el_compare(r, n->ops[i], left, right)) return false;
    left = right;
  }
  return true;
}

static el_val slice(el_rendering *r, const el_node *n) {
  el_val of = el_eval(r, n->a), part[3] = {{0}};
  const el_node *nodes[3] = {n->b, n->c, n->d};
  for (int i = 0; i < 3; i++)
    if (nodes[i]) part[i] = el_eval(r, nodes[i]);
  return el_get_slice(r, of, part[0], part[1], part[2]);
}

static el_val eval_call(el_rendering *r, const el_node *n) {
  el_val fn = el_eval(r, n->a);
  el_arguments args;
  el_evaluate_arguments(r, n->args, &args);
  r->task.line = n->line;
  return el_call(r, fn, &args);
}

static el_val filter(el_rendering *r, const el_node *n) {
  el_val self = n->a ? el_eval(r, n->a) : r->block;
  el_arguments args;
  el_evaluate_arguments(r, n->args, &args);
  r->task.line = n->line;
  return el_apply_filter(r, n, self, &args);
}

static bool test(el_rendering *r, const el_node *n) {
  el_val self = el_eval(r, n->a);
  el_arguments args;
  el_evaluate_arguments(r, n->args, &args);
  r->task.line = n->line;
  return el_apply_test(r, (el_str){n->text->data, n->text->len}, n->builtin, self, &args);
}

static el_val evaluate(el_rendering *r, const el_node *n) {
  el_val v;
  switch ((el_node_kind)n->kind) {
    case EL_N_CONST: return n->value;
    case EL_N_NAME: return variable(r, n->name);
    case EL_N_LIST: return el_val_list(eval_items(r, &n->items));
    case EL_N_TUPLE: return el_val_tuple(eval_items(r, &n->items));
    case EL_N_DICT: return eval_dict(r, &n->items);
    case EL_N_GETATTR:
      v = el_eval(r, n->a);
      r->task.line = n->line;
      return el_get_attribute(r, v, n->text);
    case EL_N_GETITEM: {
      v = el_eval(r, n->a);
      el_val key = el_eval(r, n->b);
      r->task.line = n->line;
      return el_get_item(r, v, key);
    }
    case EL_N_SLICE: return slice(r, n);
    case EL_N_CALL: return eval_call(r, n);
    case EL_N_FILTER: return filter(r, n);
    case EL_N_TEST: return el_val_bool(test(r, n));
    case EL_N_NOT: return el_val_bool(!el_truth(r, el_eval(r, n->a)));
    case EL_N_NEG: return el_negative(r, el_eval(r, n->a));
    case EL_N_POS:
      v = el_eval(r, n->a);
      if (!el_val_is_number(v)) el_negative(r, v); /* the same values, the same errors */
      return v.kind == EL_BOOL ? el_val_int(v.b) : v;
    case EL_N_AND: v = el_eval(r, n->a); return el_truth(r, v) ? el_eval(r, n->b) : v;
    case EL_N_OR: v = el_eval(r, n->a); return el_truth(r, v) ? v : el_eval(r, n->b);
    case EL_N_COND:
      if (el_truth(r, el_eval(r, n->a))) return el_eval(r, n->b);
      return n->c ? el_eval(r, n->c)
                  : el_val_undefined(EL_NO_VARIABLE, el_text_new(&r->task, "an 'if' without 'else'", 22, 0));
    case EL_N_BINARY: {
      v = el_eval(r, n->a);
      el_val right = el_eval(r, n->b);
      r->task.line = n->line;
      return el_binary(r, n->op, v, right);
    }
    case EL_N_CONCAT: return eval_concat(r, &n->items);
    case EL_N_COMPARE: return el_val_bool(eval_comparison(r, n));
    default: el_fault(r, "not an expression");
  }
}

el_val el_eval(el_rendering *r, const el_node *n) {
  el_down(r);
  el_step(r, 0);
  r->task.line = n->line;
  el_val v = evaluate(r, n);
  r->depth--;
  return v;
}
