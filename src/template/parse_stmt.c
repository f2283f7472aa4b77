/* Parses statements; and what both files of the parser use. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "template/parser.h"
#include "template/template.h"

/* --- tokens */

void el_parser_fail(el_parser *p, el_status code, const char *fmt, ...) {
  char message[512];
  va_list args;
  va_start(args, fmt);
  vsnprintf(message, sizeof message, fmt, args);
  va_end(args);
  p->task->line = p->now.line;
  el_task_fail(p->task, code, "%s", message);
}

void el_parser_unexpected(el_parser *p, const char *wanted) {
  char show[EL_SHOW + 2];
  el_parser_fail(p, EL_ERR_INVALID, "expected %s, but found %s", wanted, el_token_show(&p->now, show, sizeof show));
}

void el_parser_down(el_parser *p) {
  if (++p->depth > EL_TEMPLATE_MAX_DEPTH)
    el_parser_fail(p, EL_ERR_INVALID, "the template is nested deeper than %d", EL_TEMPLATE_MAX_DEPTH);
}

void el_parser_skip(el_parser *p) {
  p->now = p->has_ahead ? p->ahead : el_lexer_next(&p->lexer);
  p->has_ahead = false;
}

const el_token *el_parser_look(el_parser *p) {
  if (!p->has_ahead) p->ahead = el_lexer_next(&p->lexer);
  p->has_ahead = true;
  return &p->ahead;
}

static bool at_token(const el_parser *p, el_token_type type, const char *what) {
  return p->now.type == type && el_str_eq((el_str){p->now.data, p->now.len}, what);
}

bool el_parser_at_name(el_parser *p, const char *name) {
  return at_token(p, EL_T_NAME, name);
}

bool el_parser_at_op(el_parser *p, const char *op) {
  return at_token(p, EL_T_OPERATOR, op);
}

bool el_parser_take_name(el_parser *p, const char *name) {
  if (!at_token(p, EL_T_NAME, name)) return false;
  el_parser_skip(p);
  return true;
}

bool el_parser_take_op(el_parser *p, const char *op) {
  if (!at_token(p, EL_T_OPERATOR, op)) return false;
  el_parser_skip(p);
  return true;
}

void el_parser_expect_op(el_parser *p, const char *op) {
  char wanted[8];
  snprintf(wanted, sizeof wanted, "'%s'", op);
  if (!el_parser_take_op(p, op)) el_parser_unexpected(p, wanted);
}

/* --- nodes */

el_node *el_node_new(el_parser *p, el_node_kind kind, int line) {
  el_node *n = el_task_zeroed(p->task, sizeof *n);
  n->kind = kind;
  n->line = line;
  return n;
}

void el_nodes_add(el_parser *p, el_nodes *list, el_node *node) {
  if (list->n == list->cap) {
    uint32_t cap = list->cap ? list->cap * 2 : 4;
    list->items = el_task_grow(p->task, list->items, list->n * sizeof *list->items, cap * sizeof *list->items);
    list->cap = cap;
  }
  list->items[list->n++] = node;
}

uint32_t el_parser_name(el_parser *p, const el_token *token) {
  return el_names_add(p->task, p->names, token->data, token->len);
}

/* --- statements */

static el_node *parse_statement(el_parser *p);

static bool at_block_end(el_parser *p, const char *const *ends) {
  for (size_t i = 0; ends && ends[i]; i++)
    if (el_parser_at_name(p, ends[i])) return true;
  return false;
}

static void add_data_node(el_parser *p, el_nodes *out) {
  if (p->now.len) {
    el_node *n = el_node_new(p, EL_N_DATA, p->now.line);
    n->value = el_val_string(el_text_new(p->task, p->now.data, p->now.len, 0));
    el_nodes_add(p, out, n);
  }
  el_parser_skip(p);
}

static void add_output(el_parser *p, el_nodes *out) {
  el_node *n = el_node_new(p, EL_N_OUTPUT, p->now.line);
  el_parser_skip(p);
  el_nodes_add(p, &n->items, el_parse_tuple(p, true, NULL));
  if (p->now.type != EL_T_VARIABLE_END) el_parser_unexpected(p, "the end of the expression");
  el_parser_skip(p);
  el_nodes_add(p, out, n);
}

/* Parses up to a tag with one of these names, which is the next token then; NULL: up to the end.
 * line: where the statement began that they end. */
static void parse_until(el_parser *p, const char *const *ends, int line, el_nodes *out) {
  el_parser_down(p);
  for (;;) {
    if (p->now.type == EL_T_DATA) {
      add_data_node(p, out);
    } else if (p->now.type == EL_T_VARIABLE_BEGIN) {
      add_output(p, out);
    } else if (p->now.type == EL_T_BLOCK_BEGIN) {
      el_parser_skip(p);
      if (at_block_end(p, ends)) break;
      el_nodes_add(p, out, parse_statement(p));
      if (p->now.type != EL_T_BLOCK_END) el_parser_unexpected(p, "the end of the statement");
      el_parser_skip(p);
    } else if (ends) {
      size_t n = 0;
      while (ends[n + 1]) n++;
      el_parser_fail(p, EL_ERR_INVALID, "'%s' is missing for what began in line %d", ends[n], line);
    } else {
      break;
    }
  }
  p->depth--;
}

/* Parses a statement's body, including the end of its own tag. */
static void parse_body(el_parser *p, const char *const *ends, int line, el_nodes *out) {
  el_parser_take_op(p, ":");
  if (p->now.type != EL_T_BLOCK_END) el_parser_unexpected(p, "the end of the statement");
  el_parser_skip(p);
  parse_until(p, ends, line, out);
}

enum { MAX_PARAMS = 255 };

#define ENDS(...)         \
  (const char *const[]) { \
    __VA_ARGS__, NULL     \
  }

static el_node *parse_for(el_parser *p) {
  el_node *n = el_node_new(p, EL_N_FOR, p->now.line);
  el_parser_skip(p);
  n->a = el_parse_target(p, false, false, "in");
  if (!el_parser_take_name(p, "in")) el_parser_unexpected(p, "'in'");
  n->b = el_parse_tuple(p, false, "recursive");
  if (el_parser_take_name(p, "if")) n->c = el_parse_expression(p);
  n->recursive = el_parser_take_name(p, "recursive");
  p->loop_depth++;
  parse_body(p, ENDS("else", "endfor"), n->line, &n->body);
  p->loop_depth--;
  if (el_parser_take_name(p, "else")) parse_body(p, ENDS("endfor"), n->line, &n->otherwise);
  el_parser_skip(p);
  return n;
}

static el_node *parse_if(el_parser *p) {
  el_node *first = el_node_new(p, EL_N_IF, p->now.line), *n = first;
  el_parser_skip(p);
  for (;;) {
    n->a = el_parse_tuple(p, false, NULL);
    parse_body(p, ENDS("elif", "else", "endif"), first->line, &n->body);
    if (!el_parser_at_name(p, "elif")) break;
    el_node *next = el_node_new(p, EL_N_IF, p->now.line);
    el_parser_skip(p);
    el_nodes_add(p, &n->otherwise, next);
    n = next;
  }
  if (el_parser_take_name(p, "else")) parse_body(p, ENDS("endif"), first->line, &n->otherwise);
  el_parser_skip(p);
  return first;
}

static el_node *parse_set(el_parser *p) {
  el_node *n = el_node_new(p, EL_N_SET, p->now.line);
  el_parser_skip(p);
  n->a = el_parse_target(p, false, true, NULL);
  if (el_parser_take_op(p, "=")) {
    n->b = el_parse_tuple(p, true, NULL);
    return n;
  }
  n->kind = EL_N_SET_BLOCK;
  n->b = el_parse_filters(p, NULL, false);
  parse_body(p, ENDS("endset"), n->line, &n->body);
  el_parser_skip(p);
  return n;
}

static el_node *parse_with(el_parser *p) {
  el_node *n = el_node_new(p, EL_N_WITH, p->now.line);
  el_parser_skip(p);
  while (p->now.type != EL_T_BLOCK_END) {
    if (n->items.n) el_parser_expect_op(p, ",");
    el_nodes_add(p, &n->items, el_parse_target(p, false, false, NULL));
    el_parser_expect_op(p, "=");
    el_nodes_add(p, &n->items, el_parse_expression(p));
  }
  parse_body(p, ENDS("endwith"), n->line, &n->body);
  el_parser_skip(p);
  return n;
}

static void parse_signature(el_parser *p, el_macro_def *m) {
  el_nodes params = {0}, defaults = {0};
  el_parser_expect_op(p, "(");
  while (!el_parser_at_op(p, ")")) {
    if (params.n) el_parser_expect_op(p, ",");
    el_nodes_add(p, &params, el_parse_target(p, true, false, NULL));
    if (el_parser_take_op(p, "="))
      el_nodes_add(p, &defaults, el_parse_expression(p));
    else if (defaults.n)
      el_parser_fail(p, EL_ERR_INVALID, "an argument without a default follows one that has one");
  }
  el_parser_expect_op(p, ")");
  if (params.n > MAX_PARAMS) el_parser_fail(p, EL_ERR_INVALID, "a macro has more than %d arguments", MAX_PARAMS);
  uint32_t *names = el_task_alloc(p->task, params.n * sizeof *names);
  m->param_names = el_task_alloc(p->task, params.n * sizeof *m->param_names);
  for (uint32_t i = 0; i < params.n; i++) {
    names[i] = params.items[i]->name;
    for (uint32_t k = 0; k < i; k++)
      if (names[k] == names[i]) el_parser_fail(p, EL_ERR_INVALID, "a macro has two arguments of one name");
    m->param_names[i] = p->names->items[names[i]];
  }
  m->params = names;
  m->n_params = params.n;
  m->defaults = defaults.items;
  m->n_defaults = defaults.n;
}

/* Parses a macro's body. Names used in it count for the macros around it, too, as their bodies
 * contain it. */
static void parse_macro_body(el_parser *p, el_macro_def *m, const char *end, int line) {
  bool caller = p->caller, kwargs = p->kwargs, varargs = p->varargs;
  int loops = p->loop_depth;
  p->caller = p->kwargs = p->varargs = false;
  p->loop_depth = 0;
  parse_body(p, ENDS(end), line, &m->body);
  el_parser_skip(p);
  m->caller = p->caller;
  m->kwargs = p->kwargs;
  m->varargs = p->varargs;
  p->caller |= caller;
  p->kwargs |= kwargs;
  p->varargs |= varargs;
  p->loop_depth = loops;
}

static el_node *parse_macro(el_parser *p) {
  el_node *n = el_node_new(p, EL_N_MACRO, p->now.line);
  el_parser_skip(p);
  n->name = el_parse_target(p, true, false, NULL)->name;
  n->macro = el_task_zeroed(p->task, sizeof *n->macro);
  n->macro->name = p->names->items[n->name];
  parse_signature(p, n->macro);
  parse_macro_body(p, n->macro, "endmacro", n->line);
  return n;
}

static el_node *parse_call_block(el_parser *p) {
  el_node *n = el_node_new(p, EL_N_CALL_BLOCK, p->now.line);
  el_parser_skip(p);
  n->macro = el_task_zeroed(p->task, sizeof *n->macro);
  n->macro->name = el_text_new(p->task, "caller", 6, 0);
  if (el_parser_at_op(p, "(")) parse_signature(p, n->macro);
  n->a = el_parse_expression(p);
  if (n->a->kind != EL_N_CALL) el_parser_fail(p, EL_ERR_INVALID, "'call' needs a call");
  parse_macro_body(p, n->macro, "endcall", n->line);
  return n;
}

static el_node *parse_filter_block(el_parser *p) {
  el_node *n = el_node_new(p, EL_N_FILTER_BLOCK, p->now.line);
  el_parser_skip(p);
  n->a = el_parse_filters(p, NULL, true);
  parse_body(p, ENDS("endfilter"), n->line, &n->body);
  el_parser_skip(p);
  return n;
}

static el_node *parse_generation(el_parser *p) {
  el_node *n = el_node_new(p, EL_N_GENERATION, p->now.line);
  el_parser_skip(p);
  parse_body(p, ENDS("endgeneration"), n->line, &n->body);
  el_parser_skip(p);
  return n;
}

static el_node *parse_print(el_parser *p) {
  el_node *n = el_node_new(p, EL_N_OUTPUT, p->now.line);
  el_parser_skip(p);
  while (p->now.type != EL_T_BLOCK_END) {
    if (n->items.n) el_parser_expect_op(p, ",");
    el_nodes_add(p, &n->items, el_parse_expression(p));
  }
  return n;
}

static el_node *parse_jump(el_parser *p, el_node_kind kind) {
  if (!p->loop_depth)
    el_parser_fail(p, EL_ERR_INVALID, "'%s' stands outside of a loop", kind == EL_N_BREAK ? "break" : "continue");
  el_node *n = el_node_new(p, kind, p->now.line);
  el_parser_skip(p);
  return n;
}

static el_node *parse_statement(el_parser *p) {
  static const char *const REFUSED[] = {"include", "import", "from", "extends", "block", "autoescape", "do", "trans"};
  if (p->now.type != EL_T_NAME) el_parser_unexpected(p, "a statement");
  if (el_parser_at_name(p, "for")) return parse_for(p);
  if (el_parser_at_name(p, "if")) return parse_if(p);
  if (el_parser_at_name(p, "set")) return parse_set(p);
  if (el_parser_at_name(p, "with")) return parse_with(p);
  if (el_parser_at_name(p, "macro")) return parse_macro(p);
  if (el_parser_at_name(p, "call")) return parse_call_block(p);
  if (el_parser_at_name(p, "filter")) return parse_filter_block(p);
  if (el_parser_at_name(p, "generation")) return parse_generation(p);
  if (el_parser_at_name(p, "print")) return parse_print(p);
  if (el_parser_at_name(p, "break")) return parse_jump(p, EL_N_BREAK);
  if (el_parser_at_name(p, "continue")) return parse_jump(p, EL_N_CONTINUE);
  for (size_t i = 0; i < sizeof REFUSED / sizeof *REFUSED; i++)
    if (el_parser_at_name(p, REFUSED[i]))
      el_parser_fail(p, EL_ERR_UNSUPPORTED, "the statement '%s' is not supported in chat templates", REFUSED[i]);
  char show[EL_SHOW + 2];
  el_parser_fail(p, EL_ERR_INVALID, "there is no statement %s", el_token_show(&p->now, show, sizeof show));
}

void el_parse(el_template *t) {
  el_parser p = {.task = &t->task, .names = &t->names};
  el_lexer_begin(&p.lexer, &t->task, t->source, t->len);
  el_parser_skip(&p);
  parse_until(&p, NULL, 0, &t->body);
  if (p.now.type != EL_T_END) el_parser_unexpected(&p, "the end of the template");
}
