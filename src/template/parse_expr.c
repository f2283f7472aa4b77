/* Parses expressions. */
#include <string.h>

#include "template/builtins.h"
#include "template/parser.h"

static el_node *parse_unary(el_parser *p, bool with_filter);
static el_node *parse_condition(el_parser *p);
static el_node *parse_or(el_parser *p);

static el_node *new_with_operands(el_parser *p, el_node_kind kind, int line, el_node *a, el_node *b) {
  el_node *n = el_node_new(p, kind, line);
  n->a = a;
  n->b = b;
  return n;
}

static el_node *constant(el_parser *p, int line, el_val v) {
  el_node *n = el_node_new(p, EL_N_CONST, line);
  n->value = v;
  return n;
}

/* --- primary expressions */

static el_node *parse_strings(el_parser *p) {
  int line = p->now.line;
  el_writer w = {.task = p->task};
  while (p->now.type == EL_T_STRING) {
    el_write(&w, p->now.data, p->now.len, 0);
    el_parser_skip(p);
  }
  return constant(p, line, el_val_string(el_written(&w)));
}

static bool token_is(const el_token *token, const char *word) {
  return strlen(word) == token->len && memcmp(token->data, word, token->len) == 0;
}

static el_node *parse_name(el_parser *p, bool attributes) {
  el_token token = p->now;
  el_parser_skip(p);
  if (token_is(&token, "true") || token_is(&token, "True")) return constant(p, token.line, el_val_bool(true));
  if (token_is(&token, "false") || token_is(&token, "False")) return constant(p, token.line, el_val_bool(false));
  if (token_is(&token, "none") || token_is(&token, "None")) return constant(p, token.line, EL_VAL_NONE);
  el_node *n = el_node_new(p, EL_N_NAME, token.line);
  n->name = el_parser_name(p, &token);
  if (attributes && el_parser_take_op(p, ".")) {
    if (p->now.type != EL_T_NAME) el_parser_unexpected(p, "a name");
    n->kind = EL_N_ATTRIBUTE;
    n->text = el_text_new(p->task, p->now.data, p->now.len, 0);
    el_parser_skip(p);
    return n;
  }
  p->caller |= token_is(&token, "caller");
  p->kwargs |= token_is(&token, "kwargs");
  p->varargs |= token_is(&token, "varargs");
  return n;
}

static el_node *parse_list(el_parser *p) {
  el_node *n = el_node_new(p, EL_N_LIST, p->now.line);
  el_parser_expect_op(p, "[");
  while (!el_parser_at_op(p, "]")) {
    if (n->items.n) el_parser_expect_op(p, ",");
    if (el_parser_at_op(p, "]")) break;
    el_nodes_add(p, &n->items, el_parse_expression(p));
  }
  el_parser_expect_op(p, "]");
  return n;
}

static el_node *parse_dict(el_parser *p) {
  el_node *n = el_node_new(p, EL_N_DICT, p->now.line);
  el_parser_expect_op(p, "{");
  while (!el_parser_at_op(p, "}")) {
    if (n->items.n) el_parser_expect_op(p, ",");
    if (el_parser_at_op(p, "}")) break;
    el_nodes_add(p, &n->items, el_parse_expression(p));
    el_parser_expect_op(p, ":");
    el_nodes_add(p, &n->items, el_parse_expression(p));
  }
  el_parser_expect_op(p, "}");
  return n;
}

static el_node *parse_items(el_parser *p, bool simple, bool with_condition, bool attributes, bool parentheses,
                            const char *end_name);

static el_node *parse_primary(el_parser *p, bool attributes) {
  el_token token = p->now;
  switch (token.type) {
    case EL_T_NAME: return parse_name(p, attributes);
    case EL_T_STRING: return parse_strings(p);
    case EL_T_INTEGER: el_parser_skip(p); return constant(p, token.line, el_val_int(token.integer));
    case EL_T_FLOAT: el_parser_skip(p); return constant(p, token.line, el_val_float(token.number));
    default: break;
  }
  if (el_parser_at_op(p, "[")) return parse_list(p);
  if (el_parser_at_op(p, "{")) return parse_dict(p);
  if (!el_parser_take_op(p, "(")) el_parser_unexpected(p, "an expression");
  el_node *n = parse_items(p, false, true, false, true, NULL);
  el_parser_expect_op(p, ")");
  return n;
}

static bool at_tuple_end(el_parser *p, const char *end_name) {
  return p->now.type == EL_T_VARIABLE_END || p->now.type == EL_T_BLOCK_END || el_parser_at_op(p, ")") ||
         (end_name && el_parser_at_name(p, end_name));
}

/* One expression, or several separated by commas: a tuple. */
static el_node *parse_items(el_parser *p, bool simple, bool with_condition, bool attributes, bool parentheses,
                            const char *end_name) {
  el_node *tuple = el_node_new(p, EL_N_TUPLE, p->now.line);
  bool is_tuple = false;
  el_parser_down(p);
  for (;;) {
    if (tuple->items.n) el_parser_expect_op(p, ",");
    if (at_tuple_end(p, end_name)) break;
    el_nodes_add(p, &tuple->items,
                 simple           ? parse_primary(p, attributes)
                 : with_condition ? parse_condition(p)
                                  : parse_or(p));
    if (!el_parser_at_op(p, ",")) break;
    is_tuple = true;
  }
  p->depth--;
  if (is_tuple) return tuple;
  if (tuple->items.n) return tuple->items.items[0];
  if (!parentheses) el_parser_unexpected(p, "an expression");
  return tuple;
}

el_node *el_parse_tuple(el_parser *p, bool with_condition, const char *end_name) {
  return parse_items(p, false, with_condition, false, false, end_name);
}

static void check_target(el_parser *p, const el_node *n) {
  if (n->kind == EL_N_TUPLE)
    for (uint32_t i = 0; i < n->items.n; i++) check_target(p, n->items.items[i]);
  else if (n->kind != EL_N_NAME && n->kind != EL_N_ATTRIBUTE)
    el_parser_fail(p, EL_ERR_INVALID, "this cannot be assigned to");
}

el_node *el_parse_target(el_parser *p, bool name, bool attributes, const char *end_name) {
  if (name && p->now.type != EL_T_NAME) el_parser_unexpected(p, "a name");
  el_node *n = name ? parse_name(p, false) : parse_items(p, true, false, attributes, false, end_name);
  check_target(p, n);
  return n;
}

/* --- postfix expressions */

static el_node *parse_subscribed(el_parser *p) {
  el_node *slice = el_node_new(p, EL_N_SLICE, p->now.line);
  if (!el_parser_at_op(p, ":")) {
    slice->b = el_parse_expression(p);
    if (!el_parser_at_op(p, ":")) return slice->b;
  }
  el_parser_expect_op(p, ":");
  if (!el_parser_at_op(p, ":") && !el_parser_at_op(p, "]") && !el_parser_at_op(p, ","))
    slice->c = el_parse_expression(p);
  if (el_parser_take_op(p, ":") && !el_parser_at_op(p, "]") && !el_parser_at_op(p, ","))
    slice->d = el_parse_expression(p);
  return slice;
}

static el_node *parse_brackets(el_parser *p, el_node *of, int line) {
  el_node *first = NULL, *tuple = NULL;
  while (!el_parser_at_op(p, "]")) {
    if (first) el_parser_expect_op(p, ",");
    el_node *one = parse_subscribed(p);
    if (first && !tuple) {
      tuple = el_node_new(p, EL_N_TUPLE, line);
      el_nodes_add(p, &tuple->items, first);
    }
    if (tuple) el_nodes_add(p, &tuple->items, one);
    if (!first) first = one;
  }
  el_parser_expect_op(p, "]");
  if (!first) first = el_node_new(p, EL_N_TUPLE, line);
  for (uint32_t i = 0; tuple && i < tuple->items.n; i++)
    if (tuple->items.items[i]->kind == EL_N_SLICE && !tuple->items.items[i]->a)
      el_parser_fail(p, EL_ERR_UNSUPPORTED, "slices in several dimensions");
  if (!tuple && first->kind == EL_N_SLICE && !first->a) {
    first->a = of;
    return first;
  }
  return new_with_operands(p, EL_N_GETITEM, line, of, tuple ? tuple : first);
}

static el_node *parse_subscript(el_parser *p, el_node *of) {
  int line = p->now.line;
  if (!el_parser_take_op(p, ".")) {
    el_parser_skip(p);
    return parse_brackets(p, of, line);
  }
  el_token token = p->now;
  if (token.type != EL_T_NAME && token.type != EL_T_INTEGER) el_parser_unexpected(p, "a name or a number");
  el_parser_skip(p);
  if (token.type == EL_T_INTEGER)
    return new_with_operands(p, EL_N_GETITEM, line, of, constant(p, line, el_val_int(token.integer)));
  el_node *n = new_with_operands(p, EL_N_GETATTR, line, of, NULL);
  n->text = el_text_new(p->task, token.data, token.len, 0);
  return n;
}

static void parse_keyword(el_parser *p, el_args *args) {
  const el_text *name = el_text_new(p->task, p->now.data, p->now.len, 0);
  uint32_t n = args->keywords.n;
  for (uint32_t i = 0; i < n; i++)
    if (el_text_eq(args->names[i], name)) el_parser_fail(p, EL_ERR_INVALID, "a call has a keyword argument twice");
  args->names = el_task_grow(p->task, (void *)args->names, n * sizeof *args->names, (n + 1) * sizeof *args->names);
  args->names[n] = name;
  el_parser_skip(p);
  el_parser_skip(p);
  el_nodes_add(p, &args->keywords, el_parse_expression(p));
}

static el_args *parse_args(el_parser *p) {
  el_args *args = el_task_zeroed(p->task, sizeof *args);
  bool comma = false;
  el_parser_expect_op(p, "(");
  while (!el_parser_at_op(p, ")")) {
    if (comma) {
      el_parser_expect_op(p, ",");
      if (el_parser_at_op(p, ")")) break;
    }
    bool ok = !args->dict;
    if (el_parser_take_op(p, "*")) {
      ok &= !args->list;
      args->list = el_parse_expression(p);
    } else if (el_parser_take_op(p, "**")) {
      args->dict = el_parse_expression(p);
    } else if (p->now.type == EL_T_NAME && el_parser_look(p)->type == EL_T_OPERATOR &&
               token_is(el_parser_look(p), "=")) {
      parse_keyword(p, args);
    } else {
      ok &= !args->list && !args->keywords.n;
      el_nodes_add(p, &args->positional, el_parse_expression(p));
    }
    if (!ok) el_parser_fail(p, EL_ERR_INVALID, "the arguments of a call are in the wrong order");
    comma = true;
  }
  el_parser_expect_op(p, ")");
  return args;
}

static el_node *parse_call(el_parser *p, el_node *of) {
  el_node *n = new_with_operands(p, EL_N_CALL, p->now.line, of, NULL);
  n->args = parse_args(p);
  return n;
}

/* The name of a filter or a test may contain points. */
static const el_text *parse_builtin_name(el_parser *p) {
  el_writer w = {.task = p->task};
  for (;;) {
    if (p->now.type != EL_T_NAME) el_parser_unexpected(p, "a name");
    el_write(&w, p->now.data, p->now.len, 0);
    el_parser_skip(p);
    if (!el_parser_take_op(p, ".")) return el_written(&w);
    el_write_cstring(&w, ".");
  }
}

el_node *el_parse_filters(el_parser *p, el_node *value, bool first) {
  while (first || el_parser_at_op(p, "|")) {
    if (!first) el_parser_skip(p);
    first = false;
    el_node *n = new_with_operands(p, EL_N_FILTER, p->now.line, value, NULL);
    n->text = parse_builtin_name(p);
    n->builtin = el_filter_find((el_str){n->text->data, n->text->len});
    if (el_parser_at_op(p, "(")) n->args = parse_args(p);
    value = n;
  }
  return value;
}

static bool begins_argument(el_parser *p) {
  switch (p->now.type) {
    case EL_T_NAME: return !el_parser_at_name(p, "else") && !el_parser_at_name(p, "or") && !el_parser_at_name(p, "and");
    case EL_T_STRING:
    case EL_T_INTEGER:
    case EL_T_FLOAT: return true;
    default: return el_parser_at_op(p, "[") || el_parser_at_op(p, "{");
  }
}

static el_node *parse_postfix(el_parser *p, el_node *n) {
  for (;;) {
    if (el_parser_at_op(p, ".") || el_parser_at_op(p, "["))
      n = parse_subscript(p, n);
    else if (el_parser_at_op(p, "("))
      n = parse_call(p, n);
    else
      return n;
  }
}

static el_node *parse_test(el_parser *p, el_node *of) {
  int line = p->now.line;
  el_parser_skip(p);
  bool not = el_parser_take_name(p, "not");
  el_node *n = new_with_operands(p, EL_N_TEST, line, of, NULL);
  n->text = parse_builtin_name(p);
  n->builtin = el_test_find((el_str){n->text->data, n->text->len});
  if (el_parser_at_op(p, "(")) {
    n->args = parse_args(p);
  } else if (begins_argument(p)) {
    if (el_parser_at_name(p, "is")) el_parser_fail(p, EL_ERR_INVALID, "tests with 'is' cannot follow each other");
    n->args = el_task_zeroed(p->task, sizeof *n->args);
    el_nodes_add(p, &n->args->positional, parse_postfix(p, parse_primary(p, false)));
  }
  return not ? new_with_operands(p, EL_N_NOT, line, n, NULL) : n;
}

static el_node *parse_filter_expr(el_parser *p, el_node *n) {
  for (;;) {
    if (el_parser_at_op(p, "|"))
      n = el_parse_filters(p, n, false);
    else if (el_parser_at_name(p, "is"))
      n = parse_test(p, n);
    else if (el_parser_at_op(p, "("))
      n = parse_call(p, n);
    else
      return n;
  }
}

/* --- operators, from the highest precedence down */

static el_node *parse_unary(el_parser *p, bool with_filter) {
  int line = p->now.line;
  el_node *n;
  el_parser_down(p);
  if (el_parser_take_op(p, "-"))
    n = new_with_operands(p, EL_N_NEG, line, parse_unary(p, false), NULL);
  else if (el_parser_take_op(p, "+"))
    n = new_with_operands(p, EL_N_POS, line, parse_unary(p, false), NULL);
  else
    n = parse_primary(p, false);
  n = parse_postfix(p, n);
  if (with_filter) n = parse_filter_expr(p, n);
  p->depth--;
  return n;
}

typedef struct operator_name {
  const char *text;
  el_op op;
} operator_name;

/* Takes the next token if it is one of the operators; NULL: it is not. */
static const operator_name *take_one(el_parser *p, const operator_name *list, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (el_parser_take_op(p, list[i].text)) return &list[i];
  return NULL;
}

static el_node *new_binary(el_parser *p, int line, el_op op, el_node *a, el_node *b) {
  el_node *n = new_with_operands(p, EL_N_BINARY, line, a, b);
  n->op = op;
  return n;
}

static el_node *parse_power(el_parser *p) {
  int line = p->now.line;
  el_node *left = parse_unary(p, true);
  while (el_parser_take_op(p, "**")) left = new_binary(p, line, EL_OP_POW, left, parse_unary(p, true));
  return left;
}

static el_node *parse_product(el_parser *p) {
  static const operator_name OPS[] = {{"*", EL_OP_MUL}, {"/", EL_OP_DIV}, {"//", EL_OP_FLOORDIV}, {"%", EL_OP_MOD}};
  int line = p->now.line;
  el_node *left = parse_power(p);
  for (const operator_name *o; (o = take_one(p, OPS, 4));) left = new_binary(p, line, o->op, left, parse_power(p));
  return left;
}

static el_node *parse_concat(el_parser *p) {
  int line = p->now.line;
  el_node *first = parse_product(p);
  if (!el_parser_at_op(p, "~")) return first;
  el_node *n = el_node_new(p, EL_N_CONCAT, line);
  el_nodes_add(p, &n->items, first);
  while (el_parser_take_op(p, "~")) el_nodes_add(p, &n->items, parse_product(p));
  return n;
}

static el_node *parse_sum(el_parser *p) {
  static const operator_name OPS[] = {{"+", EL_OP_ADD}, {"-", EL_OP_SUB}};
  int line = p->now.line;
  el_node *left = parse_concat(p);
  for (const operator_name *o; (o = take_one(p, OPS, 2));) left = new_binary(p, line, o->op, left, parse_concat(p));
  return left;
}

static bool take_comparison(el_parser *p, uint8_t *op) {
  static const operator_name OPS[] = {{"==", EL_OP_EQ}, {"!=", EL_OP_NE}, {"<", EL_OP_LT},
                                      {"<=", EL_OP_LE}, {">", EL_OP_GT},  {">=", EL_OP_GE}};
  const operator_name *o = take_one(p, OPS, 6);
  if (o) {
    *op = (uint8_t)o->op;
  } else if (el_parser_take_name(p, "in")) {
    *op = EL_OP_IN;
  } else if (el_parser_at_name(p, "not") && el_parser_look(p)->type == EL_T_NAME && token_is(el_parser_look(p), "in")) {
    el_parser_skip(p);
    el_parser_skip(p);
    *op = EL_OP_NOT_IN;
  } else {
    return false;
  }
  return true;
}

static el_node *parse_compare(el_parser *p) {
  int line = p->now.line;
  el_node *first = parse_sum(p), *n = NULL;
  uint8_t op, *ops = NULL;
  while (take_comparison(p, &op)) {
    if (!n) n = new_with_operands(p, EL_N_COMPARE, line, first, NULL);
    ops = el_task_grow(p->task, ops, n->items.n, n->items.n + 1);
    ops[n->items.n] = op;
    n->ops = ops;
    el_nodes_add(p, &n->items, parse_sum(p));
  }
  return n ? n : first;
}

static el_node *parse_not(el_parser *p) {
  int line = p->now.line;
  if (!el_parser_take_name(p, "not")) return parse_compare(p);
  el_parser_down(p);
  el_node *n = new_with_operands(p, EL_N_NOT, line, parse_not(p), NULL);
  p->depth--;
  return n;
}

static el_node *parse_and(el_parser *p) {
  int line = p->now.line;
  el_node *left = parse_not(p);
  while (el_parser_take_name(p, "and")) left = new_with_operands(p, EL_N_AND, line, left, parse_not(p));
  return left;
}

static el_node *parse_or(el_parser *p) {
  int line = p->now.line;
  el_node *left = parse_and(p);
  while (el_parser_take_name(p, "or")) left = new_with_operands(p, EL_N_OR, line, left, parse_and(p));
  return left;
}

static el_node *parse_condition(el_parser *p) {
  int line = p->now.line;
  el_node *value = parse_or(p);
  while (el_parser_take_name(p, "if")) {
    el_node *n = el_node_new(p, EL_N_COND, line);
    n->b = value;
    n->a = parse_or(p);
    if (el_parser_take_name(p, "else")) {
      el_parser_down(p);
      n->c = parse_condition(p);
      p->depth--;
    }
    value = n;
  }
  return value;
}

el_node *el_parse_expression(el_parser *p) {
  el_parser_down(p);
  el_node *n = parse_condition(p);
  p->depth--;
  return n;
}
