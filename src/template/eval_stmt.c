/* Runs statements. */
#include <string.h>

#include "template/builtins.h"

/* --- variables */

void el_set_variable(el_rendering *r, el_scope *scope, uint32_t name, el_val v) {
  if (!scope) {
    r->globals[name] = v;
    return;
  }
  for (uint32_t i = 0; i < scope->n; i++) {
    if (scope->vars[i].name != name) continue;
    scope->vars[i].value = v;
    return;
  }
  if (scope->n == scope->cap) {
    uint32_t cap = scope->cap ? scope->cap * 2 : 4;
    scope->vars = el_task_grow(&r->task, scope->vars, scope->n * sizeof *scope->vars, cap * sizeof *scope->vars);
    scope->cap = cap;
  }
  scope->vars[scope->n++] = (el_binding){name, v};
}

static void assign_attribute(el_rendering *r, const el_node *target, el_val v) {
  el_node name = {.kind = EL_N_NAME, .name = target->name, .line = target->line};
  el_val space = el_eval(r, &name);
  if (space.kind != EL_NAMESPACE)
    el_fault(r, "an attribute can be set of a namespace alone, not of %s", el_val_type(space));
  if (target->text->len && target->text->data[0] == '_')
    el_fault(r, "attributes of a namespace must not begin with '_'");
  el_dict_set(r, space.dict, el_val_string(target->text), v);
}

void el_assign(el_rendering *r, const el_node *target, el_val v) {
  if (target->kind == EL_N_NAME) {
    el_set_variable(r, r->scope, target->name, v);
  } else if (target->kind == EL_N_ATTRIBUTE) {
    assign_attribute(r, target, v);
  } else {
    el_need_defined(r, v);
    const el_list *list = el_items(r, v);
    if (list->n != target->items.n)
      el_fault(r, "%u values for %u variables", (unsigned)list->n, (unsigned)target->items.n);
    for (uint32_t i = 0; i < list->n; i++) el_assign(r, target->items.items[i], list->items[i]);
  }
}

/* --- bodies */

static el_scope *enter_scope(el_rendering *r) {
  el_scope *scope = el_task_zeroed(&r->task, sizeof *scope);
  scope->parent = r->scope;
  r->scope = scope;
  return scope;
}

const el_text *el_capture(el_rendering *r, const el_nodes *body) {
  el_writer w = el_writer_of(r), *outer = r->out;
  r->out = &w;
  el_run(r, body);
  r->out = outer;
  return el_written(&w);
}

/* Captures with a scope of its own. */
static const el_text *capture_inside(el_rendering *r, const el_nodes *body) {
  el_scope *outer = r->scope;
  enter_scope(r);
  const el_text *text = el_capture(r, body);
  r->scope = outer;
  return text;
}

static void write_value(el_rendering *r, el_val v) {
  uint32_t before = r->out->len;
  el_write_string(r, r->out, v);
  el_step(r, r->out->len - before);
}

/* The result of a block as a whole must be a text already. */
static void write_block_text(el_rendering *r, el_val v) {
  if (v.kind != EL_STRING) el_fault(r, "a block gives %s, not a text", el_val_type(v));
  write_value(r, v);
}

/* Applies filters to the block's text. */
static el_val filter_block(el_rendering *r, const el_text *text, const el_node *filters) {
  el_val outer = r->block;
  r->block = el_val_string(text);
  el_val v = filters ? el_eval(r, filters) : r->block;
  r->block = outer;
  return v;
}

static void run_macro(el_rendering *r, const el_node *n) {
  el_macro *m = el_task_zeroed(&r->task, sizeof *m);
  *m = (el_macro){n->macro, r->scope};
  el_set_variable(r, r->scope, n->name, (el_val){.kind = EL_MACRO, .macro = m});
}

static void run_call_block(el_rendering *r, const el_node *n) {
  el_macro *m = el_task_zeroed(&r->task, sizeof *m);
  *m = (el_macro){n->macro, r->scope};
  el_val fn = el_eval(r, n->a->a);
  el_arguments args;
  el_evaluate_arguments(r, n->a->args, &args);
  const el_text **names = el_task_alloc(&r->task, (args.n_keywords + 1) * sizeof *names);
  el_val *values = el_task_alloc(&r->task, (args.n_keywords + 1) * sizeof *values);
  for (uint32_t i = 0; i < args.n_keywords; i++) {
    names[i] = args.names[i];
    values[i] = args.keywords[i];
  }
  names[args.n_keywords] = el_text_new(&r->task, "caller", 6, 0);
  values[args.n_keywords++] = (el_val){.kind = EL_MACRO, .macro = m};
  args.names = names;
  args.keywords = values;
  r->task.line = n->line;
  write_block_text(r, el_call(r, fn, &args));
}

/* Values see the variables outside, also in `{% with a = 1, b = a %}`. */
static el_flow run_with_block(el_rendering *r, const el_node *n) {
  el_scope *outer = r->scope;
  el_list *values = el_list_new(&r->task, n->items.n / 2);
  for (uint32_t i = 1; i < n->items.n; i += 2) el_list_add(&r->task, values, el_eval(r, n->items.items[i]));
  enter_scope(r);
  for (uint32_t i = 0; i < values->n; i++) el_assign(r, n->items.items[2 * i], values->items[i]);
  el_flow flow = el_run(r, &n->body);
  r->scope = outer;
  return flow;
}

static el_flow run_if(el_rendering *r, const el_node *n) {
  for (;;) {
    if (el_truth(r, el_eval(r, n->a))) return el_run(r, &n->body);
    if (n->otherwise.n != 1 || n->otherwise.items[0]->kind != EL_N_IF) return el_run(r, &n->otherwise);
    n = n->otherwise.items[0]; /* an elif, of which there may be thousands */
  }
}

static el_flow run_node(el_rendering *r, const el_node *n) {
  switch ((el_node_kind)n->kind) {
    case EL_N_DATA: write_value(r, n->value); break;
    case EL_N_OUTPUT:
      for (uint32_t i = 0; i < n->items.n; i++) write_value(r, el_eval(r, n->items.items[i]));
      break;
    case EL_N_FOR: return el_run_for(r, n);
    case EL_N_IF: return run_if(r, n);
    case EL_N_SET: el_assign(r, n->a, el_eval(r, n->b)); break;
    case EL_N_SET_BLOCK: el_assign(r, n->a, filter_block(r, capture_inside(r, &n->body), n->b)); break;
    case EL_N_WITH: return run_with_block(r, n);
    case EL_N_FILTER_BLOCK: write_block_text(r, filter_block(r, capture_inside(r, &n->body), n->a)); break;
    case EL_N_MACRO: run_macro(r, n); break;
    case EL_N_CALL_BLOCK: run_call_block(r, n); break;
    case EL_N_GENERATION: write_value(r, el_val_string(capture_inside(r, &n->body))); break;
    case EL_N_BREAK: return EL_BREAK;
    case EL_N_CONTINUE: return EL_CONTINUE;
    default: el_fault(r, "not a statement");
  }
  return EL_GO_ON;
}

el_flow el_run(el_rendering *r, const el_nodes *body) {
  el_down(r);
  el_flow flow = EL_GO_ON;
  for (uint32_t i = 0; i < body->n && flow == EL_GO_ON; i++) {
    el_step(r, 0);
    r->task.line = body->items[i]->line;
    flow = run_node(r, body->items[i]);
  }
  r->depth--;
  return flow;
}
