/* Makes rules of sets of subschemas: follows in-place applicators until only assertions are left. */
#include <stdlib.h>
#include <string.h>

#include "constraint/schema_private.h"

/* ---------------------------------------------------------------------- rules by set */

static uint32_t rule_slot_of(const el_schema *s, const el_set *set) {
  uint64_t h = 1469598103934665603u;
  for (uint32_t i = 0; i < set->n; i++) h = (h ^ set->at[i]) * 1099511628211u;
  uint32_t i = (uint32_t)(h ^ h >> 32) & (s->n_rule_slots - 1);
  for (; s->rule_slots[i]; i = (i + 1) & (s->n_rule_slots - 1)) {
    const el_set *other = &s->rules[s->rule_slots[i] - 1].set;
    if (other->n == set->n && (!set->n || !memcmp(other->at, set->at, sizeof *set->at * set->n))) break;
  }
  return i;
}

static uint32_t rule_of_set(el_schema *s, const el_set *set) {
  uint32_t slot = rule_slot_of(s, set);
  if (s->rule_slots[slot]) return s->rule_slots[slot] - 1;
  s->rules = el_schema_more(s, s->rules, sizeof *s->rules, s->n_rules, &s->cap_rules);
  s->rules[s->n_rules++] = (el_schema_rule){.set = el_set_copy(s, set)};
  s->rule_slots[slot] = s->n_rules;
  if (s->n_rules * 2 > s->n_rule_slots) {
    s->n_rule_slots *= 2;
    s->rule_slots = el_schema_alloc(s, sizeof *s->rule_slots * s->n_rule_slots);
    for (uint32_t i = 0; i < s->n_rules; i++) s->rule_slots[rule_slot_of(s, &s->rules[i].set)] = i + 1;
  }
  return s->n_rules - 1;
}

static el_rule new_rule(el_schema *s, const char *name) {
  el_rule rule = el_grammar_add_rule(s->g, name);
  el_schema_check(s);
  return rule;
}

void el_goal_add(el_schema *s, el_goal *goal, uint32_t parent, const char *keyword, const char *item,
                 const json_t *schema) {
  if (json_is_true(schema)) return;
  if (json_is_false(schema)) {
    goal->never = true;
    return;
  }
  const char *step = item ? el_schema_print(s, "%s/%s", keyword, item) : keyword ? keyword : "";
  if (!json_is_object(schema))
    el_schema_fail(s, parent, EL_ERR_INVALID, "\"%s\" is neither an object nor a boolean", step);
  if (!json_object_size(schema)) return;
  el_set_add(s, &goal->set, el_schema_node_of(s, schema, parent, step));
}

static el_rule goal_rule(el_schema *s, const el_set *set) {
  uint32_t i = rule_of_set(s, set);
  if (!s->rules[i].has_goal) {
    s->rules[i].has_goal = true;
    s->rules[i].goal = new_rule(s, "value");
    s->todo = el_schema_more(s, s->todo, sizeof *s->todo, s->n_todo, &s->cap_todo);
    s->todo[s->n_todo++] = i;
  }
  return s->rules[i].goal;
}

el_expr el_goal_use(el_schema *s, const el_goal *goal) {
  if (goal->never) return el_grammar_never(s->g);
  return el_grammar_use(s->g, goal_rule(s, &goal->set));
}

/* ---------------------------------------------------------------------- applicators */

/* One of several schemas holds. */
typedef struct alternatives {
  uint32_t node;
  const char *keyword;
  uint32_t item; /* of dependencies */
} alternatives;

/* A way to a shape: subschemas visited, subschemas to visit, and alternatives of which one must still be taken. */
typedef struct way {
  el_set seen;
  el_goal todo;
  alternatives *open_ways;
  uint32_t n_open_ways, cap_open_ways;
} way;

/* What of the goal is found. */
typedef struct found {
  el_expr *shapes;
  el_set rules; /* of the shapes */
  uint32_t n, cap;
} found;

static const json_t *schema_list_of(el_schema *s, uint32_t node, const char *keyword) {
  const json_t *list = json_object_get(s->nodes[node].schema, keyword);
  if (list && (!json_is_array(list) || !json_array_size(list)))
    el_schema_fail(s, node, EL_ERR_INVALID, "\"%s\" must be a list of at least one schema", keyword);
  return list;
}

static void add_alternatives(el_schema *s, way *w, uint32_t node, const char *keyword, uint32_t item) {
  w->open_ways = el_schema_more(s, w->open_ways, sizeof *w->open_ways, w->n_open_ways, &w->cap_open_ways);
  w->open_ways[w->n_open_ways++] = (alternatives){node, keyword, item};
}

static void add_dependencies(el_schema *s, way *w, uint32_t node, const char *keyword) {
  const json_t *map = json_object_get(s->nodes[node].schema, keyword);
  if (!map) return;
  if (!json_is_object(map)) el_schema_fail(s, node, EL_ERR_INVALID, "\"%s\" must be an object", keyword);
  for (size_t i = 0; i < json_object_size(map); i++) add_alternatives(s, w, node, keyword, (uint32_t)i);
}

static void follow_node(el_schema *s, way *w, uint32_t node) {
  el_schema_check_keywords(s, node);
  const json_t *schema = s->nodes[node].schema;
  const json_t *ref = json_object_get(schema, "$ref");
  if (ref) {
    if (!json_is_string(ref)) el_schema_fail(s, node, EL_ERR_INVALID, "\"$ref\" must be a string");
    uint32_t target = 0;
    const json_t *to = el_schema_resolve(s, node, json_string_value(ref), &target);
    if (json_is_false(to)) w->todo.never = true;
    if (json_is_object(to)) el_set_add(s, &w->todo.set, target);
    if (el_schema_ref_alone(s, node)) return;
  }
  const json_t *all = schema_list_of(s, node, "allOf"), *item;
  size_t i;
  json_array_foreach(all, i, item) {
    el_goal_add(s, &w->todo, node, "allOf", el_schema_print(s, "%zu", i), item);
  }
  if (schema_list_of(s, node, "anyOf")) add_alternatives(s, w, node, "anyOf", 0);
  if (schema_list_of(s, node, "oneOf")) add_alternatives(s, w, node, "oneOf", 0);
  if (json_object_get(schema, "not")) add_alternatives(s, w, node, "not", 0);
  if (json_object_get(schema, "if") && (json_object_get(schema, "then") || json_object_get(schema, "else")))
    add_alternatives(s, w, node, "if", 0);
  add_dependencies(s, w, node, "dependentRequired");
  add_dependencies(s, w, node, "dependentSchemas");
  add_dependencies(s, w, node, "dependencies");
}

/* ---------------------------------------------------------------------- the ways to choose among */

/* As one schema: one of the ways. */
static json_t *make_any_of(el_schema *s, json_t *ways) {
  return json_array_size(ways) ? el_schema_keep(s, json_pack("{s:O}", "anyOf", ways)) : json_false();
}

/* An array of schemas, one of which holds if the schema under `keyword` does not. */
static json_t *make_negated(el_schema *s, uint32_t node, const char *keyword, const json_t *schema) {
  const char *why = keyword;
  json_t *ways = el_schema_negate(s, node, schema, 0, &why);
  if (!ways) el_schema_fail(s, node, EL_ERR_UNSUPPORTED, "\"%s\" is not supported with \"%s\" in it", keyword, why);
  return ways;
}

/* dependentRequired and dependentSchemas of one name as two alternatives: the name is missing, or what it needs is
 * there. */
static json_t *make_dependency(el_schema *s, uint32_t node, const char *keyword, uint32_t item) {
  json_t *map = json_object_get(s->nodes[node].schema, keyword);
  void *iter = json_object_iter(map);
  for (uint32_t i = 0; i < item; i++) iter = json_object_iter_next(map, iter);
  const char *name = json_object_iter_key(iter);
  json_t *needs = json_object_iter_value(iter);
  bool names = json_is_array(needs);
  if (!strcmp(keyword, "dependentRequired")
          ? !names
          : !json_is_object(needs) && !json_is_boolean(needs) && !(names && !strcmp(keyword, "dependencies")))
    el_schema_fail(s, node, EL_ERR_INVALID, "\"%s\" has a value that is not what it must be", keyword);
  return el_schema_keep(
      s, json_pack("[{s:{s:b}},{s:s,s:[s],s:[O]}]", "properties", name, 0, "type", "object", "required", name, "allOf",
                   names ? el_schema_keep(s, json_pack("{s:O}", "required", needs)) : needs));
}

static json_t *make_conditional(el_schema *s, uint32_t node) {
  const json_t *schema = s->nodes[node].schema;
  json_t *condition = json_object_get(schema, "if"), *then = json_object_get(schema, "then");
  json_t *otherwise = json_object_get(schema, "else");
  if (!then) then = json_true();
  if (!otherwise) otherwise = json_true();
  return el_schema_keep(s, json_pack("[{s:[O,O]},{s:[O,O]}]", "allOf", condition, then, "allOf",
                                     make_any_of(s, make_negated(s, node, "if", condition)), otherwise));
}

/* The alternatives of a oneOf, each combined with the negations of the others. */
static json_t *make_exclusive(el_schema *s, uint32_t node, const json_t *list) {
  size_t n = json_array_size(list);
  json_t *ways = el_schema_keep(s, json_array());
  for (size_t i = 0; i < n; i++) {
    json_t *all = json_pack("[O]", json_array_get(list, i));
    if (json_array_append_new(ways, json_pack("{s:o}", "allOf", all)))
      el_schema_stop(s, EL_ERR_NO_MEMORY, ": out of memory");
    for (size_t k = 0; k < n; k++) {
      if (k == i) continue;
      const char *why = "oneOf";
      json_t *other = el_schema_negate(s, node, json_array_get(list, k), 0, &why);
      if (!other)
        el_schema_fail(s, node, EL_ERR_UNSUPPORTED,
                       "\"oneOf\" is not supported where two alternatives may both hold and \"%s\" is in one of them: "
                       "make them exclude each other, or say \"anyOf\"",
                       why);
      if (json_array_append(all, make_any_of(s, other))) el_schema_stop(s, EL_ERR_NO_MEMORY, ": out of memory");
    }
  }
  return ways;
}

static void note_pairs(el_schema *s, uint32_t node, const json_t *list) {
  for (uint32_t i = 0; i < s->n_pairs; i++)
    if (s->pairs[i].node == node) return;
  size_t n = json_array_size(list);
  for (size_t i = 0; i < n; i++) {
    for (size_t k = 0; k < i; k++) {
      el_goal both = {0};
      el_goal_add(s, &both, node, "oneOf", el_schema_print(s, "%zu", k), json_array_get(list, k));
      el_goal_add(s, &both, node, "oneOf", el_schema_print(s, "%zu", i), json_array_get(list, i));
      if (both.never) continue;
      s->pairs = el_schema_more(s, s->pairs, sizeof *s->pairs, s->n_pairs, &s->cap_pairs);
      s->pairs[s->n_pairs++] = (el_schema_pair){.node = node, .both = goal_rule(s, &both.set)};
    }
  }
}

static const json_t *ways_of(el_schema *s, const alternatives *c) {
  const json_t *schema = s->nodes[c->node].schema, *list = json_object_get(schema, c->keyword);
  bool one = !strcmp(c->keyword, "oneOf");
  if (!strcmp(c->keyword, "anyOf")) return list;
  if (one && !el_set_has(&s->exclusive, c->node)) {
    if (s->g == s->trial) note_pairs(s, c->node, list);
    return list;
  }
  for (uint32_t i = 0; i < s->n_made; i++)
    if (s->made[i].node == c->node && s->made[i].keyword == c->keyword && s->made[i].item == c->item)
      return s->made[i].ways;
  json_t *ways = one                          ? make_exclusive(s, c->node, list)
                 : !strcmp(c->keyword, "not") ? make_negated(s, c->node, "not", list)
                 : !strcmp(c->keyword, "if")  ? make_conditional(s, c->node)
                                              : make_dependency(s, c->node, c->keyword, c->item);
  s->made = el_schema_more(s, s->made, sizeof *s->made, s->n_made, &s->cap_made);
  s->made[s->n_made++] = (el_schema_made){c->node, c->keyword, c->item, ways};
  return ways;
}

/* ---------------------------------------------------------------------- the goals */

static void add_shape(el_schema *s, found *f, const el_set *seen) {
  el_set own = {0};
  for (uint32_t i = 0; i < seen->n; i++)
    if (s->nodes[seen->at[i]].asserts) el_set_add(s, &own, seen->at[i]);
  uint32_t i = rule_of_set(s, &own);
  if (!s->rules[i].has_shape) {
    s->rules[i].has_shape = true;
    s->rules[i].shape = new_rule(s, "values");
    el_expr body = el_schema_shape(s, &own);
    el_grammar_define(s->g, s->rules[i].shape, body);
  }
  if (el_set_has(&f->rules, i)) return;
  el_set_add(s, &f->rules, i);
  f->shapes = el_schema_more(s, f->shapes, sizeof *f->shapes, f->n, &f->cap);
  f->shapes[f->n++] = el_grammar_use(s->g, s->rules[i].shape);
}

static void expand_way(el_schema *s, found *f, way *w) {
  if (++s->steps > EL_SCHEMA_STEPS)
    el_schema_stop(s, EL_ERR_TOO_LONG, " has more than %d combinations of alternatives", EL_SCHEMA_STEPS);
  el_schema_check(s);
  while (w->todo.set.n && !w->todo.never) {
    uint32_t node = w->todo.set.at[--w->todo.set.n];
    if (el_set_has(&w->seen, node)) continue;
    el_set_add(s, &w->seen, node);
    follow_node(s, w, node);
  }
  if (w->todo.never) return;
  if (!w->n_open_ways) {
    add_shape(s, f, &w->seen);
    return;
  }
  alternatives c = w->open_ways[--w->n_open_ways];
  const json_t *ways = ways_of(s, &c), *item;
  size_t i;
  json_array_foreach(ways, i, item) {
    way next = {.seen = el_set_copy(s, &w->seen), .n_open_ways = w->n_open_ways, .cap_open_ways = w->n_open_ways};
    next.open_ways = el_schema_alloc(s, sizeof *next.open_ways * (w->n_open_ways + 1));
    if (w->n_open_ways) memcpy(next.open_ways, w->open_ways, sizeof *next.open_ways * w->n_open_ways);
    el_goal_add(s, &next.todo, c.node, c.keyword, el_schema_print(s, "%zu", i), item);
    expand_way(s, f, &next);
  }
}

void el_goals_define(el_schema *s) {
  while (s->n_todo) {
    uint32_t i = s->todo[--s->n_todo];
    found f = {0};
    way w = {.todo = {.set = el_set_copy(s, &s->rules[i].set)}};
    expand_way(s, &f, &w);
    el_grammar_define(s->g, s->rules[i].goal, el_grammar_alternatives(s->g, f.shapes, f.n));
  }
}
