/* Arrays: first places with schemas of their own, then any number of elements with the same schema. */
#include <string.h>

#include "constraint/schema_private.h"

/* The goal of place i: the schemas that the nodes have for it. i >= places: the goal of all further places. */
static el_goal place_goal(el_schema *s, const el_set *nodes, size_t i) {
  el_goal goal = {0};
  for (uint32_t k = 0; k < nodes->n; k++) {
    uint32_t node = nodes->at[k];
    const char *rest;
    const json_t *prefix = el_schema_prefix(s->nodes[node].schema, &rest);
    if (i < json_array_size(prefix)) {
      const char *keyword = rest[0] == 'a' ? "items" : "prefixItems";
      el_goal_add(s, &goal, node, keyword, el_schema_print(s, "%zu", i), json_array_get(prefix, i));
    } else {
      const json_t *others = json_object_get(s->nodes[node].schema, rest);
      /* additionalItems without a list of items has no meaning. */
      if (others) el_goal_add(s, &goal, node, rest, NULL, others);
    }
  }
  return goal;
}

typedef struct counts {
  uint32_t min, max;
  size_t places;
  bool unique;
  uint32_t contains; /* node + 1 that has it; 0: none */
} counts;

static counts read_array_counts(el_schema *s, const el_set *nodes) {
  counts c = {0, EL_UNBOUNDED, 0, false, 0};
  for (uint32_t k = 0; k < nodes->n; k++) {
    uint32_t node = nodes->at[k], n;
    const json_t *schema = s->nodes[node].schema;
    const char *rest;
    const json_t *prefix = el_schema_prefix(schema, &rest);
    if (prefix && !json_is_array(prefix))
      el_schema_fail(s, node, EL_ERR_INVALID, "\"prefixItems\" must be a list of schemas");
    if (json_array_size(prefix) > c.places) c.places = json_array_size(prefix);
    if (c.places > EL_SCHEMA_MEMBERS)
      el_schema_fail(s, node, EL_ERR_TOO_LONG, "more than %d places of an array", EL_SCHEMA_MEMBERS);
    if (el_schema_count(s, node, "minItems", &n) && n > c.min) c.min = n;
    if (el_schema_count(s, node, "maxItems", &n) && n < c.max) c.max = n;
    if (json_is_true(json_object_get(schema, "uniqueItems"))) c.unique = true;
    const json_t *contains = json_object_get(schema, "contains");
    if (contains) {
      uint32_t least = 1, most;
      el_schema_count(s, node, "minContains", &least);
      bool bounded = el_schema_count(s, node, "maxContains", &most);
      if (bounded) el_schema_unsupported(s, node, "maxContains");
      if (least > 1) el_schema_unsupported(s, node, "minContains");
      if (least && c.contains) el_schema_unsupported(s, node, "contains");
      if (least) c.contains = node + 1;
    }
  }
  if (c.max <= 1) c.unique = false;
  return c;
}

/* ---------------------------------------------------------------------- uniqueItems */

enum { MOST_DIFFERENT = 128 };

/* A new array of the values that elements may have, if an enum, a const or the type lists them. NULL: there are too
 * many. */
static json_t *different_values(el_schema *s, const el_goal *goal) {
  el_set todo = el_set_copy(s, &goal->set), seen = {0};
  const json_t *values = NULL, *ref, *list, *type;
  json_t *all = json_pack("[b,b]", 1, 0);
  el_schema_keep(s, all);
  while (todo.n && !values) {
    uint32_t node = todo.at[--todo.n], target;
    if (el_set_has(&seen, node)) continue;
    el_set_add(s, &seen, node);
    const json_t *schema = s->nodes[node].schema;
    if ((ref = json_object_get(schema, "$ref")) && json_is_string(ref) &&
        json_is_object(el_schema_resolve(s, node, json_string_value(ref), &target)))
      el_set_add(s, &todo, target);
    if ((list = json_object_get(schema, "enum")) && json_is_array(list)) values = list;
    if ((list = json_object_get(schema, "const"))) values = el_schema_keep(s, json_pack("[O]", list));
    type = json_object_get(schema, "type");
    if (!values && json_is_string(type) && !strcmp(json_string_value(type), "boolean")) values = all;
  }
  if (!values) return NULL;
  json_t *fit = el_schema_keep(s, json_array()), *value;
  size_t i, k;
  json_array_foreach(values, i, value) {
    bool holds = true;
    for (uint32_t n = 0; n < goal->set.n && holds; n++)
      holds = el_schema_holds(s, goal->set.at[n], s->nodes[goal->set.at[n]].schema, value, 0);
    for (k = 0; k < json_array_size(fit) && holds; k++) holds = !el_schema_equal(json_array_get(fit, k), value);
    if (holds && json_array_append(fit, value)) el_schema_stop(s, EL_ERR_NO_MEMORY, ": out of memory");
  }
  return fit;
}

/* uniqueItems is possible only for few values. Elements appear in the order of the schema; there is a rule for each
 * value and each number of elements before it. */
static el_expr some_of(el_schema *s, const el_set *nodes, const counts *c) {
  el_grammar *g = s->g;
  el_goal goal = place_goal(s, nodes, 0);
  json_t *values = c->places || c->contains || goal.never ? NULL : different_values(s, &goal);
  size_t n = json_array_size(values);
  for (uint32_t k = 0; k < nodes->n && (!values || n > MOST_DIFFERENT); k++)
    if (json_is_true(json_object_get(s->nodes[nodes->at[k]].schema, "uniqueItems")))
      el_schema_unsupported(s, nodes->at[k], "uniqueItems");
  el_rule *next = el_schema_alloc(s, sizeof *next * (n + 2)), *here = el_schema_alloc(s, sizeof *here * (n + 2));
  for (size_t i = n + 1; i-- > 0;) {
    for (size_t before = 0; before <= i; before++) {
      el_expr ways[2];
      size_t n_ways = 0;
      here[before] = el_grammar_add_rule(g, "elements");
      if (i == n && before >= c->min) ways[n_ways++] = el_grammar_empty(g);
      if (i < n) ways[n_ways++] = el_grammar_use(g, next[before]);
      if (i < n && before < c->max) {
        el_expr element = el_schema_literal(s, json_array_get(values, i), 0);
        if (before) element = el_grammar_pair(g, s->comma, element);
        ways[n_ways++] = el_grammar_pair(g, element, el_grammar_use(g, next[before + 1]));
      }
      el_grammar_define(g, here[before], el_grammar_alternatives(g, ways, n_ways));
    }
    el_schema_check(s);
    el_rule *swap = next;
    next = here;
    here = swap;
  }
  return el_grammar_use(g, next[0]);
}

/* What follows the first i elements, without the closing bracket. */
static el_expr items_after(el_schema *s, const el_set *nodes, const counts *c, size_t i) {
  el_grammar *g = s->g;
  if (i >= c->max) return el_grammar_empty(g);
  uint32_t min = c->min > i ? c->min - (uint32_t)i : 0;
  uint32_t max = c->max == EL_UNBOUNDED ? EL_UNBOUNDED : c->max - (uint32_t)i;
  el_goal goal = place_goal(s, nodes, i);
  el_expr element = el_goal_use(s, &goal), next;
  if (i < c->places) {
    next = el_grammar_pair(g, element, items_after(s, nodes, c, i + 1));
    if (i) next = el_grammar_pair(g, s->comma, next);
    return min ? next : el_grammar_optional(g, next);
  }
  el_expr more = el_grammar_pair(g, s->comma, element);
  if (i) return el_grammar_repeat(g, more, min, max);
  if (max != EL_UNBOUNDED) max--;
  next = el_grammar_pair(g, element, el_grammar_repeat(g, more, min ? min - 1 : 0, max));
  return min ? next : el_grammar_optional(g, next);
}

/* `contains`: one element that satisfies it, among any others. */
static el_expr with_contained(el_schema *s, const el_set *nodes, const counts *c) {
  el_grammar *g = s->g;
  uint32_t node = c->contains - 1;
  if (c->places || c->min > 1 || c->max != EL_UNBOUNDED) el_schema_unsupported(s, node, "contains");
  el_goal any = place_goal(s, nodes, 0), that = {.set = el_set_copy(s, &any.set), .never = any.never};
  el_goal_add(s, &that, node, "contains", NULL, json_object_get(s->nodes[node].schema, "contains"));
  el_expr before = el_grammar_repeat(g, el_grammar_pair(g, el_goal_use(s, &any), s->comma), 0, EL_UNBOUNDED);
  el_expr behind = el_grammar_repeat(g, el_grammar_pair(g, s->comma, el_goal_use(s, &any)), 0, EL_UNBOUNDED);
  return el_grammar_sequence(g, (el_expr[]){before, el_goal_use(s, &that), behind}, 3);
}

el_expr el_schema_array(el_schema *s, const el_set *nodes) {
  counts c = read_array_counts(s, nodes);
  if (c.min > c.max) return el_grammar_never(s->g);
  if (c.min > EL_MAX_REPETITION) el_schema_fail(s, nodes->at[0], EL_ERR_TOO_LONG, "\"minItems\" is too large");
  if (c.max != EL_UNBOUNDED && c.max > EL_MAX_REPETITION) c.max = EL_MAX_REPETITION;
  el_expr inside = c.unique     ? some_of(s, nodes, &c)
                   : c.contains ? with_contained(s, nodes, &c)
                                : items_after(s, nodes, &c, 0);
  return el_grammar_sequence(
      s->g, (el_expr[]){el_grammar_text(s->g, "["), s->space, inside, s->space, el_grammar_text(s->g, "]")}, 5);
}
