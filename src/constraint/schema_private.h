/* JSON Schema -> grammar: what its files share.
 *
 * A **goal** is a set of subschemas, and stands for the values that satisfy all of them: `properties` of two schemas in
 * an `allOf` make a goal of two. In-place applicators ($ref, allOf, anyOf, ...) are followed until only assertions are
 * left, which gives the goal's alternatives, each a set of subschemas whose own keywords all hold: a **shape**. Goals
 * and shapes are rules of the grammar, one for each different set, so that recursion ends and what occurs twice is
 * written once.
 *
 * Everything is made in an arena, and what fails jumps to where el_schema_parse began: the code between has no error
 * paths. Nothing that may jump holds anything else. */
#ifndef EL_CONSTRAINT_SCHEMA_PRIVATE_H
#define EL_CONSTRAINT_SCHEMA_PRIVATE_H

#include <jansson.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "constraint/grammar.h"

enum {
  EL_SCHEMA_ARENA = 128 << 20, /* bytes of all that is made of one schema */
  EL_SCHEMA_NODES = 1 << 18,   /* subschemas */
  EL_SCHEMA_STEPS = 1 << 18,   /* alternatives that are looked at: anyOf beside anyOf multiply */
  EL_SCHEMA_MEMBERS = 1 << 14, /* of an object, or places of an array, that have a schema of their own */
  EL_SCHEMA_DEPTH = 500        /* of schemas inside each other where a value or a negation is followed */
};

/* Keywords of schemas that are made here: a list of strings that the value is not; a number that is not an integer. */
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
  uint32_t parent;      /* which it stands in; its own number at the root */
  const char *step;     /* from there, as the end of a JSON pointer */
  uint32_t resource;
  bool checked, asserts; /* keywords looked at; whether one of them says something of the value itself */
} el_schema_node;

/* A part of the document with a base URI of its own. */
typedef struct el_schema_resource {
  const char *uri;
  const json_t *root;
  bool ref_alone; /* drafts up to 7: beside $ref nothing counts */
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

/* Alternatives that took a new schema to say, made once for each place. */
typedef struct el_schema_made {
  uint32_t node;
  const char *keyword;
  uint32_t item;
  json_t *ways; /* an array of schemas: one of them holds */
} el_schema_made;

/* Two alternatives of a node's oneOf: where `both` allows a text, they are not known to exclude each other. */
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
  bool open; /* an object with properties may have others, where the schema does not say */
  json_t *root;
  json_t *kept; /* an array: schemas made here */

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
  const json_t *listed; /* an enum whose values are looked at one by one: each of them is in it */
  el_set exclusive;     /* nodes whose oneOf is written with negations */
  el_expr character, space, colon, comma;
  el_rule numbers[2]; /* a fraction allowed or not; defined when first used */
  bool has_number[2];
} el_schema;

/* ------------------------------------------------------- schema.c: memory and the way out */

void *el_schema_alloc(el_schema *s, size_t bytes);
/* Room for one more of n in an array of the arena. */
void *el_schema_more(el_schema *s, void *array, size_t size, uint32_t n, uint32_t *cap);
const char *el_schema_print(el_schema *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
_Noreturn void el_schema_stop(el_schema *s, el_status code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* "JSON schema, #/properties/a: what fmt says" */
_Noreturn void el_schema_fail(el_schema *s, uint32_t node, el_status code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* "... "not" is not supported" */
_Noreturn void el_schema_unsupported(el_schema *s, uint32_t node, const char *keyword);
/* Keeps a schema that was made here as long as s; NULL is: out of memory. */
json_t *el_schema_keep(el_schema *s, json_t *j);
/* Ends if the grammar could not be built on. */
void el_schema_check(el_schema *s);

bool el_set_has(const el_set *set, uint32_t id);
void el_set_add(el_schema *s, el_set *set, uint32_t id); /* unless it has it */
el_set el_set_copy(el_schema *s, const el_set *set);

/* ------------------------------------------------------- schema_index.c: subschemas by number, and references */

void el_schema_index(el_schema *s);
/* The number of a subschema; one that stands where no keyword has a schema, or was made here, gets one now. */
uint32_t el_schema_node_of(el_schema *s, const json_t *schema, uint32_t parent, const char *step);
/* What a $ref of the node names: an object or a boolean; *node: its number, if an object. */
const json_t *el_schema_resolve(el_schema *s, uint32_t from, const char *ref, uint32_t *node);
/* Refuses keywords that are not supported, and notes whether the node asserts something. */
void el_schema_check_keywords(el_schema *s, uint32_t node);
bool el_schema_ref_alone(const el_schema *s, uint32_t node);
/* Of prefixItems or items as they were before 2020-12: the schemas of the first places, or NULL. *rest: the keyword
 * that has the schema of the others. */
const json_t *el_schema_prefix(const json_t *schema, const char **rest);
/* A count such as minLength; false: the node does not have it. */
bool el_schema_count(el_schema *s, uint32_t node, const char *keyword, uint32_t *out);

/* ------------------------------------------------------- schema_goals.c */

/* A set to which subschemas are added; `never`: one of them is false. */
typedef struct el_goal {
  el_set set;
  bool never;
} el_goal;

void el_goal_add(el_schema *s, el_goal *goal, uint32_t parent, const char *keyword, const char *item,
                 const json_t *schema);
/* A text of a value that satisfies all. */
el_expr el_goal_use(el_schema *s, const el_goal *goal);
/* Defines the rules of all goals that are used. */
void el_goals_define(el_schema *s);

/* schema_negate.c: an array of schemas, one of which holds wherever the schema does not; NULL: that cannot be said, and
 * *why is the keyword. */
json_t *el_schema_negate(el_schema *s, uint32_t node, const json_t *schema, int depth, const char **why);

/* schema_shape.c: values for which the own keywords of all nodes hold. */
el_expr el_schema_shape(el_schema *s, const el_set *nodes);

/* schema_object.c, schema_array.c */
el_expr el_schema_object(el_schema *s, const el_set *nodes);
el_expr el_schema_array(el_schema *s, const el_set *nodes);

/* ------------------------------------------------------- schema_string.c */

/* The character of a JSON string, however it is written. */
el_expr el_schema_character(el_schema *s);
el_expr el_schema_string(el_schema *s, const el_set *nodes);
/* ------------------------------------------------------- schema_number.c */

el_expr el_schema_number(el_schema *s, const el_set *nodes, unsigned types);
/* A number of JSON as decimal digits, exactly as the shortest text that means the same double; `size`: 512 at least. */
void el_schema_decimal(const json_t *number, char *out, size_t size);

/* ------------------------------------------------------- schema_value.c */

/* Whether a value satisfies a subschema, or the own keywords of it alone. */
bool el_schema_holds(el_schema *s, uint32_t parent, const json_t *schema, const json_t *value, int depth);
bool el_schema_asserted(el_schema *s, uint32_t node, const json_t *value, int depth);
bool el_schema_equal(const json_t *a, const json_t *b);
/* The text of a value. */
el_expr el_schema_literal(el_schema *s, const json_t *value, int depth);
/* The same of a value that is neither an array nor an object, as bytes. */
el_literal el_schema_scalar(el_schema *s, const json_t *value);
/* A string with its quotes. */
el_literal el_schema_quoted(el_schema *s, const char *text, size_t len);
unsigned el_schema_type_of(const json_t *value);
bool el_schema_search(el_schema *s, uint32_t node, const char *pattern, const char *text, size_t len);
unsigned el_schema_types(el_schema *s, uint32_t node);

#endif
