/* A rendering: the evaluator's state, and what its files share. */
#ifndef EL_TEMPLATE_EVAL_H
#define EL_TEMPLATE_EVAL_H

#include "template/ast.h"
#include "template/template.h"

/* Variables of a block; those of the whole template are in el_rendering.globals. */
typedef struct el_binding {
  uint32_t name;
  el_val value;
} el_binding;

typedef struct el_scope el_scope;
struct el_scope {
  el_scope *parent; /* NULL: the template */
  el_binding *vars;
  uint32_t n, cap;
};

/* The most nested calls: values on the C stack have at most this many frames; see el_down. */
enum { EL_MAX_CALLS = 1200 };

struct el_rendering {
  el_task task;
  const el_template *t;
  el_val *globals; /* [names.n]; EL_MISSING: not set */
  el_scope *scope; /* NULL: the template */
  el_writer *out;
  el_val block;   /* the text that a block's filters apply to */
  uint64_t steps; /* steps left */
  int depth;
  int64_t now;
};

/* A macro, with the variables around it. */
struct el_macro {
  const el_macro_def *def;
  el_scope *scope;
};

typedef struct el_arguments {
  const el_val *positional;
  uint32_t n;
  const el_text **names; /* [n_keywords] */
  el_val *keywords;
  uint32_t n_keywords;
} el_arguments;

/* For a filter or a test, self is what it is applied to; for a method, its object. */
typedef el_val (*el_builtin_fn)(el_rendering *r, el_val self, const el_arguments *a);
struct el_function {
  const char *name;
  el_builtin_fn fn;
};
struct el_method {
  el_val self;
  const el_function *function;
};

/* --- limits and errors */

/* Counts an operation that reads this many bytes. */
void el_step(el_rendering *r, size_t bytes);
/* Enters one more level of nesting; r->depth-- leaves it. */
void el_down(el_rendering *r);
#define el_fault(r, ...) el_task_fail(&(r)->task, EL_ERR_INVALID, __VA_ARGS__)
/* Fails with "x is undefined" unless it is a value. */
void el_need_defined(el_rendering *r, el_val v);

/* --- eval_expr.c, eval_stmt.c */

el_val el_eval(el_rendering *r, const el_node *n);
typedef enum el_flow { EL_GO_ON, EL_BREAK, EL_CONTINUE } el_flow;
el_flow el_run(el_rendering *r, const el_nodes *body);
/* The text that the body writes. */
const el_text *el_capture(el_rendering *r, const el_nodes *body);
void el_assign(el_rendering *r, const el_node *target, el_val v);
void el_set_variable(el_rendering *r, el_scope *scope, uint32_t name, el_val v);

/* --- loop.c */

el_flow el_run_for(el_rendering *r, const el_node *n);
el_val el_loop_attribute(el_rendering *r, el_loop *loop, const el_text *name);
/* calls a recursive loop */
el_val el_loop_call(el_rendering *r, el_loop *loop, const el_arguments *a);

/* --- call.c */

el_val el_call(el_rendering *r, el_val fn, const el_arguments *a);
/* Binds positional and keyword arguments to `names` in order. The first n_required must be given;
 * others may be missing. */
void el_bind(el_rendering *r, const char *what, const el_arguments *a, const char *const *names, size_t n,
             size_t n_required, el_val *out);
void el_no_arguments(el_rendering *r, const char *what, const el_arguments *a);
int64_t el_int_argument(el_rendering *r, el_val v, const char *what, int64_t otherwise);
bool el_bool_argument(el_rendering *r, el_val v, bool otherwise);
/* missing or none: NULL */
const el_text *el_text_argument(el_rendering *r, el_val v, const char *what);
void el_evaluate_arguments(el_rendering *r, const el_args *args, el_arguments *out);

/* --- ops.c */

bool el_truth(el_rendering *r, el_val v);
bool el_equal(el_rendering *r, el_val a, el_val b);
int el_order(el_rendering *r, el_val a, el_val b); /* < 0, 0 or > 0; values without an order are an
                                                    * error */
bool el_contains(el_rendering *r, el_val list, el_val item);
bool el_compare(el_rendering *r, el_op op, el_val a, el_val b);
el_val el_binary(el_rendering *r, el_op op, el_val a, el_val b);
el_val el_negative(el_rendering *r, el_val v);
/* Escapes & < > ' ". */
const el_text *el_escape(el_rendering *r, const el_text *s);

/* --- access.c */

el_val el_get_item(el_rendering *r, el_val of, el_val key);
el_val el_get_attribute(el_rendering *r, el_val of, const el_text *name);
el_val el_get_slice(el_rendering *r, el_val of, el_val from, el_val to, el_val step);
el_val el_dict_get(el_rendering *r, const el_dict *d, el_val key); /* EL_MISSING: not there */
void el_dict_set(el_rendering *r, el_dict *d, el_val key, el_val value);
bool el_hashable(el_val v); /* whether it may be a key */
bool el_iterable(el_val v);
/* The items that iterating gives; of a generator, those that are left. Must not be changed. */
el_list *el_items(el_rendering *r, el_val v);
bool el_has_length(el_val v);
int64_t el_length(el_rendering *r, el_val v);
el_val el_generator(el_rendering *r, el_list *items, const char *name);
/* A list or tuple of two items. */
el_list *el_list_of(el_rendering *r, el_val a, el_val b);

/* --- print.c */

/* str(), and the value as it is written into a text. */
const el_text *el_string(el_rendering *r, el_val v);
void el_write_string(el_rendering *r, el_writer *w, el_val v);
void el_write_repr(el_rendering *r, el_writer *w, el_val v);
void el_float_repr(double f, char out[40]);
/* json.dumps */
typedef struct el_json_style {
  bool ascii, sort;
  const el_text *indent; /* NULL: everything in one line */
  const el_text *item_separator, *key_separator;
} el_json_style;
void el_write_json(el_rendering *r, el_writer *w, el_val v, const el_json_style *style);

/* --- format.c */

el_val el_percent(el_rendering *r, const el_text *format, el_val args);
const el_text *el_format(el_rendering *r, const el_text *format, const el_arguments *a);

static inline el_writer el_writer_of(el_rendering *r) {
  return (el_writer){.task = &r->task};
}

#endif
