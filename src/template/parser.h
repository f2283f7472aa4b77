/* The parser as its two files see it. Grammar and precedence are those of Jinja's own parser. */
#ifndef EL_TEMPLATE_PARSER_H
#define EL_TEMPLATE_PARSER_H

#include "template/ast.h"
#include "template/lexer.h"

typedef struct el_parser {
  el_task *task;
  el_names *names;
  el_lexer lexer;
  el_token now, ahead;
  bool has_ahead;
  int depth;                    /* of what is being parsed; at most EL_TEMPLATE_MAX_DEPTH */
  int loop_depth;               /* loops around, within the innermost macro */
  bool caller, kwargs, varargs; /* named since the innermost macro began */
} el_parser;

_Noreturn void el_parser_fail(el_parser *p, el_status code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
_Noreturn void el_parser_unexpected(el_parser *p, const char *wanted);
void el_parser_down(el_parser *p); /* enters one more level; p->depth-- leaves it */

void el_parser_skip(el_parser *p);
bool el_parser_at_name(el_parser *p, const char *name);
bool el_parser_at_op(el_parser *p, const char *op);
bool el_parser_take_name(el_parser *p, const char *name);
bool el_parser_take_op(el_parser *p, const char *op);
void el_parser_expect_op(el_parser *p, const char *op);
const el_token *el_parser_look(el_parser *p);

el_node *el_node_new(el_parser *p, el_node_kind kind, int line);
void el_nodes_add(el_parser *p, el_nodes *list, el_node *node);
uint32_t el_parser_name(el_parser *p, const el_token *token);

/* end_name: a name that may end the tuple, besides the end of the tag. */
el_node *el_parse_tuple(el_parser *p, bool with_condition, const char *end_name);
el_node *el_parse_expression(el_parser *p);
/* name: only a single variable. attributes: attributes of namespaces, too. */
el_node *el_parse_target(el_parser *p, bool name, bool attributes, const char *end_name);
/* value NULL: of a block. first: the first name has no bar before it. */
el_node *el_parse_filters(el_parser *p, el_node *value, bool first);

#endif
