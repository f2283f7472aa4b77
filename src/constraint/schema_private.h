/* JSON Schema -> grammar: what its files share.
 *
 * A **goal** is a set of subschemas. It stands for the values that satisfy all of them: `properties`
 * of two schemas in an `allOf` make a goal of two. In-place applicators ($ref, allOf, anyOf, ...) are
 * followed until only assertions are left. That gives the alternatives of the goal. Each is a
 * **shape**: a set of subschemas whose own keywords must all hold. Goals and shapes are rules of the
 * grammar, one for each different set, so recursion ends and nothing is written twice.
 *
 * Everything is allocated in an arena. A failure jumps (longjmp) back to el_schema_parse, so the code
 * between has no error paths. Code that may jump must not hold other resources. */
#ifndef EL_CONSTRAINT_SCHEMA_PRIVATE_H
#define EL_CONSTRAINT_SCHEMA_PRIVATE_H

#include <jansson.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "constraint/grammar.h"

enum {
  EL_SCHEMA_ARENA = 128 << 20, /* bytes allocated for one schema */
  EL_SCHEMA_NODES = 1 << 18,   /* subschemas */
  EL_SCHEMA_STEPS = 1 << 18,   /* alternatives to follow: two anyOf side by side multiply */
  EL_SCHEMA_MEMBERS = 1 << 14, /* members of an object, or places of an array, with a schema of their own */
  EL_SCHEMA_DEPTH = 500        /* nesting of schemas, where a value or a negation is followed */
};

/* Keywords of schemas that are made here: strings that the value must not be; a number that is not an
 * integer. */
#define EL_SCHEMA_EXCEPT "edgelora:except"
#define EL_SCHEMA_FRACTION "edgelora:fraction"

/* Types as bits. Every integer is a number too: "number" is both. */
enum {
  EL_JSON_NULL = 1,
  EL_JSON_BOOLEAN = 2,
  EL_JSON_INTEGER = 4,
  EL_JSON_FRACTION = 8,
  EL_JSON_TEXT = 16,
  EL_JSON_LIST = 32,
  EL_JSON_MAP = 64,
  EL_JSON_NUMBER = EL_JSON_INTEGER | EL_JSON_FRACTION,
  EL_JSON_ANY = 127
};

/* Ascending numbers of subschemas. */
typedef struct el_set {
  uint32_t *at;
  uint32_t n, cap;
} el_set;

typedef struct el_schema_node {
  const json_t *schema; /* an object */
  uint32_t parent;      /* the node that contains it; the root contains itself */
  const char *step;     /* from there, as the end of a JSON pointer */
  uint32_t resource;
  bool checked, asserts; /* its keywords have been checked; one of them is an assertion about the value */
} el_schema_node;

/* A subtree of the document with a base URI of its own. */
typedef struct el_schema_resource {
  const char *uri;
  const json_t *root;
  bool ref_alone; /* drafts up to 7: keywords beside $ref are ignored */
} el_schema_resource;

typedef struct el_schema_anchor {
  uint32_t resource;
  const char *name;
  uint32_t node;
} el_schema_anchor;

typedef struct el_schema_rule {
  el_set set;
  el_rule goal, shape;
  bool has_goal, has_shape;
} el_schema_rule;

/* Alternatives for which new schemas had to be made, once for each place. */
typedef struct el_schema_made {
  uint32_t node;
  const char *keyword;
  uint32_t item;
  json_t *ways; /* an array of schemas: one of them holds */
} el_schema_made;

/* Two alternatives of a node's oneOf. If `both` allows a text, they may overlap. */
typedef struct el_schema_pair {
  uint32_t node;
  el_rule both;
  bool overlap;
} el_schema_pair;

typedef struct el_schema_chunk el_schema_chunk;

typedef struct el_schema {
  jmp_buf escape;
  el_error err;
  el_grammar *g, *trial, *scratch;
  bool has_one_of;
  bool open; /* objects may have properties that the schema does not name */
  json_t *root;
  json_t *kept; /* an array of the schemas made here */

  el_schema_chunk *chunks;
  char *free_at, *free_end;
  size_t taken;

  el_schema_node *nodes;
  uint32_t n_nodes, cap_nodes;
  uint32_t *node_slots; /* hash table of node + 1, by schema */
  uint32_t n_node_slots;
  el_schema_resource *resources;
  uint32_t n_resources, cap_resources;
  el_schema_anchor *anchors;
  uint32_t n_anchors, cap_anchors;
  el_schema_made *made;
  uint32_t n_made, cap_made;

  /* Of one build of the grammar. */
  el_schema_rule *rules;
  uint32_t n_rules, cap_rules;
  uint32_t *rule_slots; /* hash table of rule + 1, by set */
  uint32_t n_rule_slots;
  uint32_t *todo; /* goals to define */
  uint32_t n_todo, cap_todo;
  el_schema_pair *pairs;
  uint32_t n_pairs, cap_pairs;
  uint32_t steps;
  const json_t *listed; /* an enum whose values are tested one by one, so that each is known to be in it */
  el_set exclusive;     /* nodes whose oneOf is written with negations */
  el_expr character, space, colon, comma;
  el_rule numbers[2]; /* a fraction allowed or not; defined when first used */
  bool has_number[2];
} el_schema;

/* ------------------------------------------------------- schema.c: memory and the way out */

void *el_schema_alloc(el_schema *s, size_t bytes);
/* Makes room for one more than n elements in an array of the arena. */
void *el_schema_more(el_schema *s, void *array, size_t size, uint32_t n, uint32_t *cap);
const char *el_schema_print(el_schema *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
_Noreturn void el_schema_stop(el_schema *s, el_status code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* "JSON schema, #/properties/a: what fmt says" */
_Noreturn void el_schema_fail(el_schema *s, uint32_t node, el_status code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* "... "not" is not supported" */
_Noreturn void el_schema_unsupported(el_schema *s, uint32_t node, const char *keyword);
/* Keeps a schema that was made here as long as s lives. j NULL: out of memory. */
json_t *el_schema_keep(el_schema *s, json_t *j);
/* Stops if the grammar has failed. */
void el_schema_check(el_schema *s);

bool el_set_has(const el_set *set, uint32_t id);
void el_set_add(el_schema *s, el_set *set, uint32_t id); /* unless it has it */
el_set el_set_copy(el_schema *s, const el_set *set);

/* ------------------------------------------------------- schema_index.c: subschemas by number, and references */

void el_schema_index(el_schema *s);
/* The number of a subschema. A schema that was not indexed, because it was made here or stands where no
 * keyword expects one, gets a number now. */
uint32_t el_schema_node_of(el_schema *s, const json_t *schema, uint32_t parent, const char *step);
/* The schema that a $ref of the node names: an object or a boolean. *node: its number if it is an object. */
const json_t *el_schema_resolve(el_schema *s, uint32_t from, const char *ref, uint32_t *node);
/* Refuses keywords that are not supported, and notes whether the node asserts something. */
void el_schema_check_keywords(el_schema *s, uint32_t node);
bool el_schema_ref_alone(const el_schema *s, uint32_t node);
/* The schemas of the first places, from prefixItems, or from an array `items` as before 2020-12; NULL:
 * none. *rest: the keyword with the schema of the other places. */
const json_t *el_schema_prefix(const json_t *schema, const char **rest);
/* A count such as minLength; false: the node does not have it. */
bool el_schema_count(el_schema *s, uint32_t node, const char *keyword, uint32_t *out);

/* ------------------------------------------------------- schema_goals.c */

/* A set of subschemas; `never`: one of them is the schema `false`. */
typedef struct el_goal {
  el_set set;
  bool never;
} el_goal;

void el_goal_add(el_schema *s, el_goal *goal, uint32_t parent, const char *keyword, const char *item,
                 const json_t *schema);
/* The texts of values that satisfy all subschemas of the goal. */
el_expr el_goal_use(el_schema *s, const el_goal *goal);
/* Defines the rules of all goals in use. */
void el_goals_define(el_schema *s);

/* schema_negate.c: an array of schemas, of which at least one holds for every value that does not
 * satisfy the schema. NULL: the negation cannot be expressed; *why is the keyword at fault. */
json_t *el_schema_negate(el_schema *s, uint32_t node, const json_t *schema, int depth, const char **why);

/* schema_shape.c: the values that satisfy the own keywords of all nodes. */
el_expr el_schema_shape(el_schema *s, const el_set *nodes);

/* schema_object.c, schema_array.c */
el_expr el_schema_object(el_schema *s, const el_set *nodes);
el_expr el_schema_array(el_schema *s, const el_set *nodes);

/* ------------------------------------------------------- schema_string.c */

/* One character of a JSON string, in any of its forms. */
el_expr el_schema_character(el_schema *s);
el_expr el_schema_string(el_schema *s, const el_set *nodes);
/* ------------------------------------------------------- schema_number.c */

el_expr el_schema_number(el_schema *s, const el_set *nodes, unsigned types);
/* A JSON number as decimal digits: the shortest text that gives the same double. `size` is at least 512. */
void el_schema_decimal(const json_t *number, char *out, size_t size);

/* ------------------------------------------------------- schema_value.c */

/* Whether a value satisfies a subschema; and whether it satisfies a node's own keywords. */
bool el_schema_holds(el_schema *s, uint32_t parent, const json_t *schema, const json_t *value, int depth);
bool el_schema_asserted(el_schema *s, uint32_t node, const json_t *value, int depth);
bool el_schema_equal(const json_t *a, const json_t *b);
/* The text of a value. */
el_expr el_schema_literal(el_schema *s, const json_t *value, int depth);
/* The same as bytes, of a value that is neither an array nor an object. */
el_literal el_schema_scalar(el_schema *s, const json_t *value);
/* A string with its quotes. */
el_literal el_schema_quoted(el_schema *s, const char *text, size_t len);
unsigned el_schema_type_of(const json_t *value);
bool el_schema_search(el_schema *s, uint32_t node, const char *pattern, const char *text, size_t len);
unsigned el_schema_types(el_schema *s, uint32_t node);

#endif
