/* A template as a tree. The parser makes it in the template's own memory, and it never changes
 * afterwards. */
#ifndef EL_TEMPLATE_AST_H
#define EL_TEMPLATE_AST_H

#include "template/template.h"
#include "template/value.h"

typedef enum el_node_kind {
  /* expressions */
  EL_N_CONST,   /* value */
  EL_N_NAME,    /* name */
  EL_N_LIST,    /* items */
  EL_N_TUPLE,   /* items */
  EL_N_DICT,    /* items: key, value, key, value, ... */
  EL_N_GETATTR, /* a.text */
  EL_N_GETITEM, /* a[b] */
  EL_N_SLICE,   /* a[b:c:d]; any of b, c, d may be NULL */
  EL_N_CALL,    /* a(args) */
  EL_N_FILTER,  /* a|text(args); a NULL: applied to the text of the block */
  EL_N_TEST,    /* a is text(args) */
  EL_N_NOT,
  EL_N_NEG,
  EL_N_POS, /* a */
  EL_N_AND,
  EL_N_OR,      /* a, b */
  EL_N_COND,    /* b if a else c; c may be NULL */
  EL_N_BINARY,  /* a op b */
  EL_N_CONCAT,  /* items */
  EL_N_COMPARE, /* a ops[0] items[0] ops[1] items[1] ... */

  /* what may be assigned to, besides EL_N_NAME and EL_N_TUPLE */
  EL_N_ATTRIBUTE, /* the attribute `text` of the namespace `name` */

  /* statements */
  EL_N_DATA,         /* value: a string that is written unchanged */
  EL_N_OUTPUT,       /* items: expressions that are written */
  EL_N_FOR,          /* for a in b if c: body, else; recursive */
  EL_N_IF,           /* if a: body, else (one EL_N_IF for an elif) */
  EL_N_SET,          /* a = b */
  EL_N_SET_BLOCK,    /* a = the text of the body; b: filters, or NULL */
  EL_N_WITH,         /* items: target, value, ...; body */
  EL_N_FILTER_BLOCK, /* a: filters; body */
  EL_N_MACRO,        /* name = macro */
  EL_N_CALL_BLOCK,   /* a: the call; macro: its caller */
  EL_N_GENERATION,   /* body */
  EL_N_BREAK,
  EL_N_CONTINUE
} el_node_kind;

typedef enum el_op {
  EL_OP_ADD,
  EL_OP_SUB,
  EL_OP_MUL,
  EL_OP_DIV,
  EL_OP_FLOORDIV,
  EL_OP_MOD,
  EL_OP_POW,
  EL_OP_EQ,
  EL_OP_NE,
  EL_OP_LT,
  EL_OP_LE,
  EL_OP_GT,
  EL_OP_GE,
  EL_OP_IN,
  EL_OP_NOT_IN
} el_op;

typedef struct el_node el_node;

typedef struct el_nodes {
  el_node **items;
  uint32_t n, cap;
} el_nodes;

/* The arguments of a call as they are written. */
typedef struct el_args {
  el_nodes positional, keywords;
  const el_text **names; /* [keywords.n] */
  el_node *list, *dict;  /* *list, **dict; NULL: none */
} el_args;

typedef struct el_macro_def {
  const el_text *name;
  uint32_t n_params, n_defaults; /* the last n_defaults parameters have defaults */
  const uint32_t *params;        /* names */
  const el_text **param_names;
  el_node **defaults;
  el_nodes body;
  bool caller, kwargs, varargs; /* whether the body names them */
} el_macro_def;

struct el_node {
  uint8_t kind, op;
  bool recursive;
  int line;
  uint32_t name; /* of a variable: an index into the template's names */
  el_node *a, *b, *c, *d;
  el_nodes items, body, otherwise;
  const uint8_t *ops; /* el_op: [items.n] of EL_N_COMPARE */
  const el_text *text;
  const void *builtin; /* the filter or test; NULL: there is none of this name */
  el_args *args;       /* NULL: none */
  el_macro_def *macro;
  el_val value;
};

/* Names of variables, numbered. */
typedef struct el_names {
  const el_text **items;
  uint32_t n, cap;
  uint32_t *slots; /* index + 1, or 0 */
  uint32_t n_slots;
} el_names;

struct el_template {
  el_task task; /* holds all memory */
  const char *source;
  size_t len;
  el_names names;
  el_nodes body;
};

uint32_t el_names_add(el_task *t, el_names *names, const char *data, size_t len);
/* UINT32_MAX: not there */
uint32_t el_names_find(const el_names *names, const char *data, size_t len);

/* Parses into t->names and t->body; jumps out on errors. */
void el_parse(el_template *t);

#endif
