/* The `for` statement, and the variable `loop`. */
#include <string.h>

#include "template/builtins.h"

/* A loop takes its items one after the other and passes those for which its condition is true. The
 * condition of an item is not evaluated before the item is wanted, by the body or by loop.last. */
struct el_loop {
  const el_node *node;
  el_scope *around; /* the scope that the loop was written in */
  el_list *all;
  uint32_t taken;  /* of `all` */
  el_list *passed; /* those of the taken items that passed the condition */
  uint32_t at;     /* index in `passed` of the item whose body runs */
  int depth;
  el_val changed; /* what `changed` was last called with */
};

static bool passes_loop_test(el_rendering *r, el_loop *loop, el_val item) {
  if (!loop->node->c) return true;
  el_scope scope = {.parent = loop->around}, *outer = r->scope;
  r->scope = &scope;
  el_assign(r, loop->node->a, item);
  bool yes = el_truth(r, el_eval(r, loop->node->c));
  r->scope = outer;
  return yes;
}

/* Whether item `index` exists; takes as many items as that needs. */
static bool reach_item(el_rendering *r, el_loop *loop, uint32_t index) {
  while (loop->passed->n <= index && loop->taken < loop->all->n) {
    el_val item = loop->all->items[loop->taken++];
    el_step(r, 0);
    if (passes_loop_test(r, loop, item)) el_list_add(&r->task, loop->passed, item);
  }
  return loop->passed->n > index;
}

static int64_t loop_length(el_rendering *r, el_loop *loop) {
  reach_item(r, loop, UINT32_MAX - 1);
  return loop->passed->n;
}

static el_val or_undefined(el_rendering *r, bool there, el_loop *loop, uint32_t at, const char *what) {
  return there ? loop->passed->items[at] : el_val_undefined(EL_NO_ITEM, el_text_new(&r->task, what, strlen(what), 0));
}

static el_val loop_cycle(el_rendering *r, el_val self, const el_arguments *a) {
  if (!a->n || a->n_keywords) el_fault(r, "'cycle' needs values");
  return a->positional[self.loop->at % a->n];
}

static el_val loop_changed(el_rendering *r, el_val self, const el_arguments *a) {
  el_list *values = el_list_new(&r->task, a->n);
  for (uint32_t i = 0; i < a->n; i++) el_list_add(&r->task, values, a->positional[i]);
  el_val now = el_val_tuple(values), before = self.loop->changed;
  self.loop->changed = now;
  return el_val_bool(before.kind == EL_MISSING || !el_equal(r, before, now));
}

static el_val bind_loop_method(el_rendering *r, el_loop *loop, const el_function *f) {
  el_method *m = el_task_zeroed(&r->task, sizeof *m);
  *m = (el_method){{.kind = EL_LOOP, .loop = loop}, f};
  return (el_val){.kind = EL_METHOD, .method = m};
}

el_val el_loop_attribute(el_rendering *r, el_loop *loop, const el_text *name) {
  static const el_function CYCLE = {"cycle", loop_cycle}, CHANGED = {"changed", loop_changed};
  uint32_t at = loop->at;
  if (el_text_is(name, "index")) return el_val_int((int64_t)at + 1);
  if (el_text_is(name, "index0")) return el_val_int(at);
  if (el_text_is(name, "first")) return el_val_bool(at == 0);
  if (el_text_is(name, "last")) return el_val_bool(!reach_item(r, loop, at + 1));
  if (el_text_is(name, "length")) return el_val_int(loop_length(r, loop));
  if (el_text_is(name, "revindex")) return el_val_int(loop_length(r, loop) - at);
  if (el_text_is(name, "revindex0")) return el_val_int(loop_length(r, loop) - at - 1);
  if (el_text_is(name, "previtem")) return or_undefined(r, at > 0, loop, at - 1, "previous");
  if (el_text_is(name, "nextitem")) return or_undefined(r, reach_item(r, loop, at + 1), loop, at + 1, "next");
  if (el_text_is(name, "depth")) return el_val_int(loop->depth + 1);
  if (el_text_is(name, "depth0")) return el_val_int(loop->depth);
  if (el_text_is(name, "cycle")) return bind_loop_method(r, loop, &CYCLE);
  if (el_text_is(name, "changed")) return bind_loop_method(r, loop, &CHANGED);
  return (el_val){0};
}

static el_flow run_for_loop(el_rendering *r, const el_node *n, el_scope *around, el_val over, int depth) {
  el_loop *loop = el_task_zeroed(&r->task, sizeof *loop);
  el_scope *outer = r->scope, *scope = el_task_zeroed(&r->task, sizeof *scope);
  uint32_t name = el_names_find(&r->t->names, "loop", 4);
  if (!el_iterable(over)) {
    el_need_defined(r, over);
    el_fault(r, "%s cannot be iterated over", el_val_type(over));
  }
  *loop = (el_loop){.node = n, .around = around, .all = el_items(r, over), .depth = depth};
  loop->passed = n->c ? el_list_new(&r->task, 0) : loop->all;
  if (!n->c) loop->taken = loop->all->n;
  scope->parent = around;
  r->scope = scope;
  el_flow flow = EL_GO_ON;
  bool completed = false; /* the end of the body was reached in some round */
  for (; flow != EL_BREAK && reach_item(r, loop, loop->at); loop->at++) {
    el_step(r, 0);
    scope->n = 0; /* every round starts with the variables from outside */
    if (name != UINT32_MAX) el_set_variable(r, scope, name, (el_val){.kind = EL_LOOP, .loop = loop});
    el_assign(r, n->a, loop->passed->items[loop->at]);
    flow = el_run(r, &n->body);
    completed |= flow == EL_GO_ON;
  }
  r->scope = around;
  if (!completed && n->otherwise.n) { /* also after rounds that all ended with break or continue, as
                                       * in Jinja */
    el_scope *inside = el_task_zeroed(&r->task, sizeof *inside);
    inside->parent = around;
    r->scope = inside;
    flow = el_run(r, &n->otherwise);
  } else {
    flow = EL_GO_ON;
  }
  r->scope = outer;
  return flow;
}

el_flow el_run_for(el_rendering *r, const el_node *n) {
  el_val over = el_eval(r, n->b);
  r->task.line = n->line;
  return run_for_loop(r, n, r->scope, over, 0);
}

el_val el_loop_call(el_rendering *r, el_loop *loop, const el_arguments *a) {
  static const char *const NAMES[] = {"iterable"};
  el_val over;
  if (!loop->node->recursive) el_fault(r, "'loop' can be called in a loop with 'recursive' alone");
  el_bind(r, "loop", a, NAMES, 1, 1, &over);
  el_writer w = el_writer_of(r), *outer = r->out;
  r->out = &w;
  run_for_loop(r, loop->node, loop->around, over, loop->depth + 1);
  r->out = outer;
  return el_val_string(el_written(&w));
}
