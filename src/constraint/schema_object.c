/* Objects: the members that schemas name, in the schemas' order, then others. A member that is not required may be
 * missing. */
#include <string.h>

#include "constraint/schema_dfa.h"

enum { MOST_PATTERNS = 6, MOST_COUNTED = 1 << 14 };

typedef struct member {
  const char *name;
  size_t len;
  bool required, said; /* said: a `properties` names it */
} member;

typedef struct pattern {
  uint32_t node; /* that has it */
  const char *text;
  size_t len;
} pattern;

typedef struct object {
  const el_set *nodes;
  member *members;
  uint32_t n, cap;
  json_t *index; /* name -> member + 1 */
  pattern *patterns;
  uint32_t n_patterns, cap_patterns;
  el_set names; /* nodes under propertyNames */
  bool no_names;
  bool closed; /* nothing says that there may be others */
  uint32_t min, max;
} object;

static member *member_of(el_schema *s, object *o, const char *name) {
  json_int_t found = json_integer_value(json_object_get(o->index, name));
  if (found) return &o->members[found - 1];
  if (o->n >= EL_SCHEMA_MEMBERS)
    el_schema_fail(s, o->nodes->at[0], EL_ERR_TOO_LONG, "an object has more than %d names", EL_SCHEMA_MEMBERS);
  o->members = el_schema_more(s, o->members, sizeof *o->members, o->n, &o->cap);
  o->members[o->n++] = (member){name, strlen(name), false, false};
  if (json_object_set_new(o->index, name, json_integer(o->n))) el_schema_stop(s, EL_ERR_NO_MEMORY, ": out of memory");
  return &o->members[o->n - 1];
}

static const json_t *map_of(el_schema *s, uint32_t node, const char *keyword) {
  const json_t *map = json_object_get(s->nodes[node].schema, keyword);
  if (map && !json_is_object(map)) el_schema_fail(s, node, EL_ERR_INVALID, "\"%s\" must be an object", keyword);
  return map;
}

static void read_object_node(el_schema *s, object *o, uint32_t node) {
  const json_t *schema = s->nodes[node].schema, *item;
  const char *name;
  json_t *value;
  size_t i;
  uint32_t n;
  json_object_foreach((json_t *)map_of(s, node, "properties"), name, value) {
    member_of(s, o, name)->said = true;
  }
  json_object_foreach((json_t *)map_of(s, node, "patternProperties"), name, value) {
    o->patterns = el_schema_more(s, o->patterns, sizeof *o->patterns, o->n_patterns, &o->cap_patterns);
    o->patterns[o->n_patterns++] = (pattern){node, name, strlen(name)};
  }
  const json_t *required = json_object_get(schema, "required");
  if (required && !json_is_array(required) && !json_is_boolean(required))
    el_schema_fail(s, node, EL_ERR_INVALID, "\"required\" must be a list of names");
  json_array_foreach(required, i, item) {
    if (!json_is_string(item)) el_schema_fail(s, node, EL_ERR_INVALID, "\"required\" must be a list of names");
    if (strlen(json_string_value(item)) != json_string_length(item))
      el_schema_fail(s, node, EL_ERR_UNSUPPORTED, "\"required\" has a name with a NUL in it");
    member_of(s, o, json_string_value(item))->required = true;
  }
  const json_t *names = json_object_get(schema, "propertyNames");
  if (names) {
    el_goal goal = {.set = o->names};
    el_goal_add(s, &goal, node, "propertyNames", NULL, names);
    o->names = goal.set;
    o->no_names |= goal.never;
  }
  if (json_object_get(schema, "additionalProperties")) o->closed = false;
  if (el_schema_count(s, node, "minProperties", &n) && n > o->min) o->min = n;
  if (el_schema_count(s, node, "maxProperties", &n) && n < o->max) o->max = n;
}

/* propertyNames is a schema of strings; in-place applicators in it would need goals and are not supported. */
static void check_property_names(el_schema *s, object *o) {
  static const char *const no[] = {"$ref", "allOf", "anyOf", "oneOf", "not", "if"};
  for (uint32_t i = 0; i < o->names.n; i++) {
    el_schema_check_keywords(s, o->names.at[i]);
    if (!(el_schema_types(s, o->names.at[i]) & EL_JSON_TEXT)) o->no_names = true;
    for (size_t k = 0; k < sizeof no / sizeof *no; k++)
      if (json_object_get(s->nodes[o->names.at[i]].schema, no[k])) el_schema_unsupported(s, o->names.at[i], no[k]);
  }
}

/* The goal of a member: what each node says about its name. */
static el_goal goal_of(el_schema *s, const object *o, const member *m) {
  el_goal goal = {.never = o->no_names};
  const char *name = el_schema_print(s, "%s", m->name);
  for (uint32_t i = 0; i < o->nodes->n; i++) {
    uint32_t node = o->nodes->at[i];
    const json_t *schema = s->nodes[node].schema;
    const json_t *own = json_object_get(json_object_get(schema, "properties"), m->name);
    bool said = own != NULL;
    if (own) el_goal_add(s, &goal, node, "properties", name, own);
    for (uint32_t k = 0; k < o->n_patterns; k++) {
      const pattern *p = &o->patterns[k];
      if (p->node != node || !el_schema_search(s, node, p->text, m->name, m->len)) continue;
      said = true;
      el_goal_add(s, &goal, node, "patternProperties", p->text,
                  json_object_get(json_object_get(schema, "patternProperties"), p->text));
    }
    const json_t *others = json_object_get(schema, "additionalProperties");
    if (others && !said) el_goal_add(s, &goal, node, "additionalProperties", NULL, others);
  }
  if (o->names.n) {
    json_t *as_value = el_schema_keep(s, json_stringn(m->name, m->len));
    for (uint32_t i = 0; i < o->names.n; i++)
      if (!el_schema_asserted(s, o->names.at[i], as_value, 0)) goal.never = true;
  }
  return goal;
}

static el_expr colon_and(el_schema *s, el_expr key, el_expr value) {
  return el_grammar_sequence(s->g, (el_expr[]){key, s->colon, value}, 3);
}

/* ---------------------------------------------------------------------- members that are not named */

/* The goal for names that match exactly the patterns whose bits are set; never: no such name is allowed. */
static el_goal goal_of_others(el_schema *s, const object *o, unsigned fits) {
  el_goal goal = {0};
  for (uint32_t i = 0; i < o->nodes->n; i++) {
    uint32_t node = o->nodes->at[i];
    const json_t *schema = s->nodes[node].schema;
    bool said = false;
    for (uint32_t k = 0; k < o->n_patterns; k++) {
      const pattern *p = &o->patterns[k];
      if (p->node != node || !(fits >> k & 1)) continue;
      said = true;
      el_goal_add(s, &goal, node, "patternProperties", p->text,
                  json_object_get(json_object_get(schema, "patternProperties"), p->text));
    }
    const json_t *others = json_object_get(schema, "additionalProperties");
    if (others && !said) el_goal_add(s, &goal, node, "additionalProperties", NULL, others);
  }
  return goal;
}

/* One member with another name; EL_EXPR_NONE: none is allowed. */
static el_expr other_member(el_schema *s, const object *o) {
  el_grammar *g = s->g;
  if (o->no_names || (o->closed && !o->n_patterns)) return EL_EXPR_NONE;
  uint32_t node = o->nodes->n ? o->nodes->at[0] : 0;
  if (o->n_patterns > MOST_PATTERNS)
    el_schema_fail(s, node, EL_ERR_UNSUPPORTED, "\"patternProperties\" with more than %d patterns is not supported",
                   MOST_PATTERNS);
  if (!o->n && !o->n_patterns && !o->names.n) {
    el_goal goal = goal_of_others(s, o, 0);
    el_expr quote = el_grammar_text(g, "\"");
    el_expr key =
        el_grammar_sequence(g, (el_expr[]){quote, el_grammar_repeat(g, s->character, 0, EL_UNBOUNDED), quote}, 3);
    return goal.never ? EL_EXPR_NONE : colon_and(s, key, el_goal_use(s, &goal));
  }
  el_dfa *names = el_schema_strings(s, &o->names);
  if (o->n) {
    el_literal *words = el_schema_alloc(s, sizeof *words * o->n);
    for (uint32_t i = 0; i < o->n; i++) words[i] = (el_literal){o->members[i].name, o->members[i].len};
    names = el_dfa_minus(s, node, names, el_dfa_words(s, node, words, o->n));
  }
  el_dfa *patterns[MOST_PATTERNS];
  for (uint32_t k = 0; k < o->n_patterns; k++)
    patterns[k] = el_dfa_regex(s, o->patterns[k].node, o->patterns[k].text, o->patterns[k].len, EL_REGEX_SEARCH);
  el_expr ways[1 << MOST_PATTERNS];
  size_t n = 0;
  for (unsigned fits = o->closed ? 1 : 0; fits < 1u << o->n_patterns; fits++) {
    el_goal goal = goal_of_others(s, o, fits);
    if (goal.never) continue;
    el_dfa *these = names;
    for (uint32_t k = 0; k < o->n_patterns; k++)
      these = fits >> k & 1 ? el_dfa_and(s, node, these, patterns[k]) : el_dfa_minus(s, node, these, patterns[k]);
    el_expr quote = el_grammar_text(g, "\"");
    el_expr inside = these ? el_dfa_write(s, these) : el_grammar_repeat(g, s->character, 0, EL_UNBOUNDED);
    ways[n++] = colon_and(s, el_grammar_sequence(g, (el_expr[]){quote, inside, quote}, 3), el_goal_use(s, &goal));
  }
  if (!n) return EL_EXPR_NONE;
  el_rule rule = el_grammar_add_rule(g, "member");
  el_grammar_define(g, rule, el_grammar_alternatives(g, ways, n));
  return el_grammar_use(g, rule);
}

/* ---------------------------------------------------------------------- members one after the other */

typedef struct line {
  el_expr *members; /* [n] */
  const object *o;
  el_expr other; /* EL_EXPR_NONE: there are none */
} line;

/* The members from i on, after one that has been written. */
static el_expr members_after(el_schema *s, const line *l, uint32_t i) {
  el_expr *parts = el_schema_alloc(s, sizeof *parts * (l->o->n - i + 1));
  size_t n = 0;
  for (; i < l->o->n; i++) {
    el_expr one = el_grammar_pair(s->g, s->comma, l->members[i]);
    parts[n++] = l->o->members[i].required ? one : el_grammar_optional(s->g, one);
  }
  if (l->other) parts[n++] = el_grammar_repeat(s->g, el_grammar_pair(s->g, s->comma, l->other), 0, EL_UNBOUNDED);
  return el_grammar_sequence(s->g, parts, n);
}

/* All members. The first one written is one of the optional ones, up to the first required one. What may follow each of
 * these is a rule. */
static el_expr members_in_order(el_schema *s, const line *l) {
  el_grammar *g = s->g;
  uint32_t n = l->o->n, leave = 0;
  while (leave < n && !l->o->members[leave].required) leave++;
  bool all = leave == n;
  if (!leave && !all) return el_grammar_pair(g, l->members[0], members_after(s, l, 1));
  el_expr *ways = el_schema_alloc(s, sizeof *ways * (n + 2));
  size_t n_ways = 0;
  el_rule after = el_grammar_add_rule(g, "members");
  if (all) {
    el_grammar_define(g, after, members_after(s, l, n));
    ways[n_ways++] = el_grammar_empty(g);
    if (l->other) ways[n_ways++] = el_grammar_pair(g, l->other, el_grammar_use(g, after));
  } else {
    el_rule behind = el_grammar_add_rule(g, "members");
    el_grammar_define(g, behind, members_after(s, l, leave + 1));
    el_grammar_define(g, after,
                      el_grammar_sequence(g, (el_expr[]){s->comma, l->members[leave], el_grammar_use(g, behind)}, 3));
    ways[n_ways++] = el_grammar_pair(g, l->members[leave], el_grammar_use(g, behind));
  }
  for (uint32_t i = leave; i-- > 0;) {
    ways[n_ways++] = el_grammar_pair(g, l->members[i], el_grammar_use(g, after));
    if (!i) break;
    el_rule next = el_grammar_add_rule(g, "members");
    el_grammar_define(g, next,
                      el_grammar_pair(g, el_grammar_optional(g, el_grammar_pair(g, s->comma, l->members[i])),
                                      el_grammar_use(g, after)));
    after = next;
  }
  return el_grammar_alternatives(g, ways, n_ways);
}

/* The same with counted members: a rule for each place and count. Other members may have equal names, so for
 * minProperties all of them count as one. */
static el_expr counted_members(el_schema *s, const line *l) {
  el_grammar *g = s->g;
  const object *o = l->o;
  uint32_t n = o->n, node = o->nodes->at[0];
  if (o->min > n + 1 || (o->min > n && !l->other)) {
    if (!l->other) return el_grammar_never(g);
    el_schema_fail(s, node, EL_ERR_UNSUPPORTED,
                   "\"minProperties\" is supported up to the number of \"properties\" and one");
  }
  /* Counts above `top` are not told apart. */
  uint32_t top = o->max != EL_UNBOUNDED ? o->max : o->min;
  if (top > n + 1 && !l->other) top = n + 1;
  if ((uint64_t)(n + 1) * (top + 1) > MOST_COUNTED)
    el_schema_fail(s, node, EL_ERR_UNSUPPORTED,
                   "\"minProperties\" and \"maxProperties\" are too large together with \"properties\"");
  el_rule *next = el_schema_alloc(s, sizeof *next * (top + 1)), *here = el_schema_alloc(s, sizeof *here * (top + 1));
  for (uint32_t i = n + 1; i-- > 0;) {
    for (uint32_t c = 0; c <= top; c++) {
      here[c] = el_grammar_add_rule(g, "members");
      bool may_add = o->max == EL_UNBOUNDED || c < o->max;
      uint32_t more = c < top ? c + 1 : c;
      el_expr ways[2];
      size_t n_ways = 0;
      if (i < n) {
        el_expr one = c ? el_grammar_pair(g, s->comma, l->members[i]) : l->members[i];
        if (may_add) ways[n_ways++] = el_grammar_pair(g, one, el_grammar_use(g, next[more]));
        if (!o->members[i].required) ways[n_ways++] = el_grammar_use(g, next[c]);
      } else {
        if (c >= o->min) ways[n_ways++] = el_grammar_empty(g);
        if (l->other && may_add && c + 1 >= o->min) {
          el_expr again = el_grammar_pair(g, s->comma, l->other);
          el_expr rest = el_grammar_repeat(g, again, 0, o->max == EL_UNBOUNDED ? EL_UNBOUNDED : o->max - c - 1);
          ways[n_ways++] = el_grammar_sequence(g, (el_expr[]){c ? s->comma : el_grammar_empty(g), l->other, rest}, 3);
        }
      }
      el_grammar_define(g, here[c], el_grammar_alternatives(g, ways, n_ways));
    }
    el_schema_check(s);
    el_rule *swap = next;
    next = here;
    here = swap;
  }
  return el_grammar_use(g, next[0]);
}

el_expr el_schema_object(el_schema *s, const el_set *nodes) {
  el_grammar *g = s->g;
  object o = {.nodes = nodes, .max = EL_UNBOUNDED, .closed = !s->open};
  o.index = el_schema_keep(s, json_object());
  for (uint32_t i = 0; i < nodes->n; i++) read_object_node(s, &o, nodes->at[i]);
  check_property_names(s, &o);
  uint32_t n_said = 0, n_required = 0;
  for (uint32_t i = 0; i < o.n; i++) {
    n_said += o.members[i].said;
    n_required += o.members[i].required;
  }
  if ((!n_said && !o.n_patterns) || o.min > o.n) o.closed = false;
  line l = {el_schema_alloc(s, sizeof *l.members * (o.n + 1)), &o, EL_EXPR_NONE};
  for (uint32_t i = 0; i < o.n; i++) {
    el_goal goal = goal_of(s, &o, &o.members[i]);
    el_literal key = el_schema_quoted(s, o.members[i].name, o.members[i].len);
    l.members[i] = colon_and(s, el_grammar_literal(g, key.bytes, key.len), el_goal_use(s, &goal));
  }
  l.other = other_member(s, &o);
  el_schema_check(s);
  bool counts = o.min > n_required || (o.max != EL_UNBOUNDED && (l.other || o.max < o.n));
  el_expr inside = counts ? counted_members(s, &l) : members_in_order(s, &l);
  return el_grammar_sequence(
      g, (el_expr[]){el_grammar_text(g, "{"), s->space, inside, s->space, el_grammar_text(g, "}")}, 5);
}
