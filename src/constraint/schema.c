/* JSON Schema -> grammar: the entry point, the arena, and failures. schema_private.h explains the idea. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json_guard.h"
#include "base/text.h"
#include "constraint/ir.h"
#include "constraint/schema.h"
#include "constraint/schema_private.h"

enum { ALIGN = 16, FIRST_CHUNK = 16 << 10, LARGEST_CHUNK = 1 << 20 };

struct el_schema_chunk {
  _Alignas(ALIGN) el_schema_chunk *next;
};

void el_schema_stop(el_schema *s, el_status code, const char *fmt, ...) {
  char message[sizeof s->err.message];
  va_list args;
  va_start(args, fmt);
  vsnprintf(message, sizeof message, fmt, args);
  va_end(args);
  el_fail(&s->err, code, "JSON schema%s", message);
  longjmp(s->escape, 1);
}

void *el_schema_alloc(el_schema *s, size_t bytes) {
  if (bytes > EL_SCHEMA_ARENA) el_schema_stop(s, EL_ERR_TOO_LONG, ": needs more than %d bytes", EL_SCHEMA_ARENA);
  bytes = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
  if ((size_t)(s->free_end - s->free_at) < bytes) {
    size_t size = s->taken < FIRST_CHUNK ? FIRST_CHUNK : s->taken < LARGEST_CHUNK ? s->taken : LARGEST_CHUNK;
    if (size < bytes + sizeof(el_schema_chunk)) size = bytes + sizeof(el_schema_chunk);
    if (size > EL_SCHEMA_ARENA - s->taken)
      el_schema_stop(s, EL_ERR_TOO_LONG, ": needs more than %d bytes", EL_SCHEMA_ARENA);
    el_schema_chunk *c = malloc(size);
    if (!c) el_schema_stop(s, EL_ERR_NO_MEMORY, ": out of memory");
    c->next = s->chunks;
    s->chunks = c;
    s->taken += size;
    s->free_at = (char *)(c + 1);
    s->free_end = (char *)c + size;
  }
  void *p = s->free_at;
  s->free_at += bytes;
  memset(p, 0, bytes);
  return p;
}

void *el_schema_more(el_schema *s, void *array, size_t size, uint32_t n, uint32_t *cap) {
  if (n < *cap) return array;
  uint32_t want = *cap ? *cap * 2 : 4;
  if (want > EL_SCHEMA_ARENA / size) el_schema_stop(s, EL_ERR_TOO_LONG, ": too large");
  void *larger = el_schema_alloc(s, size * want);
  if (n) memcpy(larger, array, size * n);
  *cap = want;
  return larger;
}

const char *el_schema_print(el_schema *s, const char *fmt, ...) {
  va_list args, again;
  va_start(args, fmt);
  va_copy(again, args);
  int n = vsnprintf(NULL, 0, fmt, args);
  va_end(args);
  char *text = n < 0 ? NULL : el_schema_alloc(s, (size_t)n + 1);
  if (text) vsnprintf(text, (size_t)n + 1, fmt, again);
  va_end(again);
  return text ? text : "";
}

/* Writes the JSON pointer of a node; of a long one only its end. */
static void show_pointer(const el_schema *s, uint32_t node, char *out, size_t size) {
  char text[300];
  size_t at = sizeof text;
  bool cut = false;
  for (; node && !cut; node = s->nodes[node].parent) {
    size_t n = strlen(s->nodes[node].step);
    cut = n + 1 > at;
    if (cut) break;
    at -= n;
    memcpy(text + at, s->nodes[node].step, n);
    text[--at] = '/';
  }
  char shown[sizeof text + 16];
  el_str_show((el_str){text + at, sizeof text - at}, shown, sizeof shown);
  snprintf(out, size, "#%s%s", cut ? "..." : "", shown);
}

void el_schema_fail(el_schema *s, uint32_t node, el_status code, const char *fmt, ...) {
  char message[sizeof s->err.message], pointer[340];
  va_list args;
  va_start(args, fmt);
  vsnprintf(message, sizeof message, fmt, args);
  va_end(args);
  show_pointer(s, node, pointer, sizeof pointer);
  el_schema_stop(s, code, ", %s: %s", pointer, message);
}

void el_schema_unsupported(el_schema *s, uint32_t node, const char *keyword) {
  el_schema_fail(s, node, EL_ERR_UNSUPPORTED, "\"%s\" is not supported", keyword);
}

json_t *el_schema_keep(el_schema *s, json_t *j) {
  if (!j || json_array_append_new(s->kept, j)) el_schema_stop(s, EL_ERR_NO_MEMORY, ": out of memory");
  return j;
}

void el_schema_check(el_schema *s) {
  if (!el_grammar_failed(s->g)) return;
  s->err = s->g->error;
  longjmp(s->escape, 1);
}

/* ---------------------------------------------------------------------- sets */

static uint32_t lower_bound(const el_set *set, uint32_t id) {
  uint32_t lo = 0, hi = set->n;
  while (lo < hi) {
    uint32_t mid = (lo + hi) / 2;
    if (set->at[mid] < id)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo;
}

bool el_set_has(const el_set *set, uint32_t id) {
  uint32_t i = lower_bound(set, id);
  return i < set->n && set->at[i] == id;
}

void el_set_add(el_schema *s, el_set *set, uint32_t id) {
  uint32_t i = lower_bound(set, id);
  if (i < set->n && set->at[i] == id) return;
  set->at = el_schema_more(s, set->at, sizeof *set->at, set->n, &set->cap);
  memmove(set->at + i + 1, set->at + i, sizeof *set->at * (set->n - i));
  set->at[i] = id;
  set->n++;
}

el_set el_set_copy(el_schema *s, const el_set *set) {
  el_set copy = {el_schema_alloc(s, sizeof *copy.at * (set->n + 1)), set->n, set->n + 1};
  if (set->n) memcpy(copy.at, set->at, sizeof *copy.at * set->n);
  return copy;
}

/* ---------------------------------------------------------------------- the whole */

static el_expr build_schema(el_schema *s, el_grammar *g) {
  s->g = g;
  s->rules = NULL;
  s->n_rules = s->cap_rules = 0;
  s->n_rule_slots = 256;
  s->rule_slots = el_schema_alloc(s, sizeof *s->rule_slots * s->n_rule_slots);
  s->n_todo = s->n_pairs = s->steps = 0;
  s->has_number[0] = s->has_number[1] = false;
  s->character = s->space = EL_EXPR_NONE;
  /* A space, or a line end with indentation, as models and JSON printers write it. More is not allowed, as a model that
   * may go on with white space sometimes does. */
  el_expr indent =
      el_grammar_repeat(g, el_grammar_chars(g, (el_char_range[]){{' ', ' '}, {'\t', '\t'}}, 2, false), 0, 40);
  el_expr line = el_grammar_pair(g, el_grammar_text(g, "\n"), indent);
  el_rule space = el_grammar_add_rule(g, "space");
  el_grammar_define(g, space,
                    el_grammar_optional(g, el_grammar_alternatives(g, (el_expr[]){el_grammar_text(g, " "), line}, 2)));
  s->space = el_grammar_use(g, space);
  s->colon = el_grammar_pair(g, el_grammar_text(g, ":"), el_grammar_optional(g, el_grammar_text(g, " ")));
  s->comma = el_grammar_pair(g, el_grammar_text(g, ","), s->space);
  el_rule character = el_grammar_add_rule(g, "character");
  el_grammar_define(g, character, el_schema_character(s));
  s->character = el_grammar_use(g, character);
  el_goal whole = {0};
  el_goal_add(s, &whole, 0, NULL, NULL, s->root);
  el_expr root = el_goal_use(s, &whole);
  el_goals_define(s);
  el_schema_check(s);
  return root;
}

/* Finds out which alternatives of oneOf exclude each other. Those that may overlap are written with negations. */
static void find_overlapping_pairs(el_schema *s) {
  uint32_t before;
  do {
    before = s->exclusive.n;
    el_grammar_free(s->trial);
    s->trial = NULL;
    bool *exprs = NULL, *rules = NULL;
    if (el_grammar_new(&s->trial, &s->err)) longjmp(s->escape, 1);
    build_schema(s, s->trial);
    if (el_grammar_derive(s->trial, EL_TRAIT_PRODUCTIVE, &exprs, &rules, &s->err)) longjmp(s->escape, 1);
    /* Adding to a set may jump, so the flags are stored first and the arrays freed. */
    for (uint32_t i = 0; i < s->n_pairs; i++) s->pairs[i].overlap = rules[s->pairs[i].both];
    free(exprs);
    free(rules);
    for (uint32_t i = 0; i < s->n_pairs; i++)
      if (s->pairs[i].overlap) el_set_add(s, &s->exclusive, s->pairs[i].node);
  } while (s->exclusive.n > before);
}

static void parse_schema(el_schema *s, const char *text, size_t len) {
  json_error_t where;
  bool no_memory;
  s->root = el_json_load(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &where, &no_memory);
  if (no_memory || !(s->kept = json_array())) el_schema_stop(s, EL_ERR_NO_MEMORY, ": out of memory");
  if (!s->root) {
    char shown[EL_SHOW];
    el_str_show((el_str){where.text, strlen(where.text)}, shown, sizeof shown);
    el_schema_stop(s, EL_ERR_INVALID, " is not valid JSON: line %d, column %d: %s", where.line, where.column, shown);
  }
  if (!json_is_object(s->root) && !json_is_boolean(s->root))
    el_schema_stop(s, EL_ERR_INVALID, " is neither an object nor a boolean");
}

static el_expr compile_schema(el_grammar *g, const char *text, size_t len, bool open) {
  if (el_grammar_failed(g)) return EL_EXPR_NONE;
  el_schema *s = calloc(1, sizeof *s);
  if (!s) return el_grammar_fail(g, EL_ERR_NO_MEMORY, "JSON schema: out of memory");
  s->g = g;
  s->open = open;
  el_expr root = EL_EXPR_NONE;
  if (!setjmp(s->escape)) {
    parse_schema(s, text, len);
    el_schema_index(s);
    if (s->has_one_of) find_overlapping_pairs(s);
    root = build_schema(s, g);
  } else {
    g->error = s->err; /* which says more than the grammar's own error */
  }
  el_grammar_free(s->trial);
  el_grammar_free(s->scratch);
  json_decref(s->root);
  json_decref(s->kept);
  while (s->chunks) {
    el_schema_chunk *next = s->chunks->next;
    free(s->chunks);
    s->chunks = next;
  }
  free(s);
  return root;
}

el_expr el_schema_parse(el_grammar *g, const char *text, size_t len) {
  return compile_schema(g, text, len, false);
}

el_expr el_schema_parse_open(el_grammar *g, const char *text, size_t len) {
  return compile_schema(g, text, len, true);
}
