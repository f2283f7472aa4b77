/* GBNF, the grammars of llama.cpp:
 *
 *   name ::= "text" other [a-z]* ( this | that ){1,3} . # a comment
 *
 * A rule ends at the end of its line, except for line ends inside parentheses, after ::= and after |. Two additions are
 * not in llama.cpp: %json {...}, a JSON text that satisfies a schema, and %until "text", anything up to and including
 * the text. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json_guard.h"
#include "constraint/reader.h"
#include "constraint/schema.h"

enum { MAX_NESTING = 200 };

typedef struct gbnf {
  el_reader r;
  struct {
    const char *name;
    size_t len;
    el_rule rule;
  } * names;
  uint32_t *slots; /* hash table: index + 1 */
  size_t n_names, cap_names, mask;
  int depth;
} gbnf;

/* ---------------------------------------------------------------------- names */

static bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static size_t hash_rule_name(const char *s, size_t n) {
  uint64_t h = 1469598103934665603u; /* FNV-1a */
  for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * 1099511628211u;
  return (size_t)(h ^ h >> 32);
}

static bool grow_name_table(gbnf *b) {
  size_t cap = b->cap_names ? b->cap_names * 2 : 32;
  void *names = realloc(b->names, sizeof *b->names * cap);
  if (names) b->names = names;
  uint32_t *slots = calloc(cap * 2, sizeof *slots);
  if (!names || !slots) {
    free(slots);
    el_grammar_fail(b->r.grammar, EL_ERR_NO_MEMORY, "grammar: out of memory");
    return false;
  }
  free(b->slots);
  b->slots = slots;
  b->cap_names = cap;
  b->mask = cap * 2 - 1;
  for (size_t i = 0; i < b->n_names; i++) {
    size_t at = hash_rule_name(b->names[i].name, b->names[i].len) & b->mask;
    while (slots[at]) at = (at + 1) & b->mask;
    slots[at] = (uint32_t)i + 1;
  }
  return true;
}

/* The rule with this name; adds it if it is not there. */
static el_rule rule_of_name(gbnf *b, const char *name, size_t len) {
  if (b->n_names == b->cap_names && !grow_name_table(b)) return UINT32_MAX;
  size_t at = hash_rule_name(name, len) & b->mask;
  for (; b->slots[at]; at = (at + 1) & b->mask) {
    size_t i = b->slots[at] - 1;
    if (b->names[i].len == len && !memcmp(b->names[i].name, name, len)) return b->names[i].rule;
  }
  char shown[64];
  size_t n = len < sizeof shown - 1 ? len : sizeof shown - 1;
  memcpy(shown, name, n);
  shown[n] = 0;
  el_rule rule = el_grammar_add_rule(b->r.grammar, shown);
  b->names[b->n_names].name = name;
  b->names[b->n_names].len = len;
  b->names[b->n_names].rule = rule;
  b->slots[at] = (uint32_t)++b->n_names;
  return rule;
}

static size_t read_gbnf_name(gbnf *b, const char **name) {
  *name = b->r.at;
  while (is_name_char(el_reader_peek(&b->r, 0))) b->r.at++;
  return (size_t)(b->r.at - *name);
}

/* --------------------------------------------------------------------- pieces */

/* Skips space and comments; with `lines` also line ends. */
static void skip_gbnf_space(gbnf *b, bool lines) {
  el_reader *r = &b->r;
  for (; r->at < r->end; r->at++) {
    if (*r->at == '#') {
      while (r->at < r->end && *r->at != '\n' && *r->at != '\r') r->at++;
      if (r->at == r->end) return;
    }
    if (*r->at != ' ' && *r->at != '\t' && !(lines && (*r->at == '\n' || *r->at == '\r'))) return;
  }
}

/* Reads a character of a text or a set, escaped or not. */
static uint32_t read_gbnf_char(gbnf *b) {
  el_reader *r = &b->r;
  const char *from = r->at;
  if (el_reader_peek(r, 0) != '\\') return el_reader_char(r);
  r->at++;
  char c = el_reader_peek(r, 0);
  r->at += r->at < r->end;
  switch (c) {
    case 'x': return el_reader_hex(r, 2);
    case 'u': return el_reader_hex(r, 4);
    case 'U': return el_reader_hex(r, 8);
    case 't': return '\t';
    case 'r': return '\r';
    case 'n': return '\n';
    case '\\':
    case '"':
    case '[':
    case ']': return (unsigned char)c;
    default: break;
  }
  el_reader_fail(r, from, EL_ERR_INVALID, "this escape is not known");
  return EL_READ_END;
}

static el_expr read_gbnf_text(gbnf *b) {
  el_reader *r = &b->r;
  el_expr_list parts = {0};
  const char *from = r->at++;
  while (!el_grammar_failed(r->grammar) && el_reader_peek(r, 0) != '"') {
    if (r->at == r->end) {
      el_reader_fail(r, from, EL_ERR_INVALID, "this text has no end");
      break;
    }
    uint32_t c = read_gbnf_char(b);
    if (c != EL_READ_END) el_expr_list_add(r->grammar, &parts, el_reader_literal(r, c));
  }
  r->at += r->at < r->end;
  el_expr all = el_grammar_sequence(r->grammar, parts.items, parts.n);
  free(parts.items);
  return all;
}

/* %until "text" */
static el_expr read_until(gbnf *b) {
  el_reader *r = &b->r;
  el_buf stop = {0};
  char bytes[4];
  const char *from = r->at;
  bool ok = true;
  if (!el_reader_skip(r, "\"")) return el_reader_fail(r, from, EL_ERR_INVALID, "%%until needs a text");
  while (ok && !el_grammar_failed(r->grammar) && r->at < r->end && *r->at != '"') {
    uint32_t c = read_gbnf_char(b);
    if (c != EL_READ_END) ok = el_buf_append(&stop, bytes, el_reader_utf8(c, bytes));
  }
  if (!ok) el_grammar_fail(r->grammar, EL_ERR_NO_MEMORY, "grammar: out of memory");
  if (!el_reader_skip(r, "\"") || !stop.len)
    el_reader_fail(r, from, EL_ERR_INVALID, "this text is empty, or has no end");
  const el_literal literal = {stop.data, stop.len};
  const el_expr nothing = el_grammar_empty(r->grammar);
  el_expr all =
      el_grammar_failed(r->grammar) ? EL_EXPR_NONE : el_grammar_until(r->grammar, &literal, &nothing, 1, false);
  el_buf_free(&stop);
  return all;
}

/* %json {...} */
static el_expr read_json(gbnf *b) {
  el_reader *r = &b->r;
  json_error_t where;
  bool no_memory;
  if (el_reader_peek(r, 0) != '{') return el_reader_fail(r, r->at, EL_ERR_INVALID, "%%json needs a JSON schema");
  json_t *schema =
      el_json_load(r->at, (size_t)(r->end - r->at), JSON_ALLOW_NUL | JSON_DISABLE_EOF_CHECK, &where, &no_memory);
  if (!schema && no_memory) return el_grammar_fail(r->grammar, EL_ERR_NO_MEMORY, "grammar: out of memory");
  if (!schema) return el_reader_fail(r, r->at, EL_ERR_INVALID, "this schema is not JSON: %s", where.text);
  json_decref(schema);
  const char *text = r->at;
  r->at += where.position;
  return el_schema_parse(r->grammar, text, (size_t)where.position);
}

static el_expr read_addition(gbnf *b) {
  el_reader *r = &b->r;
  const char *from = r->at;
  bool json = el_reader_skip(r, "%json"), until = !json && el_reader_skip(r, "%until");
  skip_gbnf_space(b, false);
  if (json) return read_json(b);
  if (until) return read_until(b);
  return el_reader_fail(r, from, EL_ERR_INVALID, "neither %%json nor %%until");
}

static el_expr read_gbnf_set(gbnf *b) {
  el_reader *r = &b->r;
  el_range_list set = {0};
  const char *from = r->at++;
  bool negated = el_reader_skip(r, "^");
  while (!el_grammar_failed(r->grammar) && el_reader_peek(r, 0) != ']') {
    if (r->at == r->end) {
      el_reader_fail(r, from, EL_ERR_INVALID, "this set has no end");
      break;
    }
    uint32_t low = read_gbnf_char(b), high = low;
    if (el_reader_peek(r, 0) == '-' && el_reader_peek(r, 1) != ']') {
      r->at++;
      high = read_gbnf_char(b);
    }
    if (low <= high)
      el_range_list_add(r->grammar, &set, low, high);
    else
      el_reader_fail(r, from, EL_ERR_INVALID, "a range of this set ends before it begins");
  }
  r->at += r->at < r->end;
  el_expr chars = el_grammar_chars(r->grammar, set.items, set.n, negated);
  free(set.items);
  return chars;
}

static el_expr read_gbnf_alternatives(gbnf *b, bool nested);

static el_expr read_gbnf_group(gbnf *b) {
  el_reader *r = &b->r;
  const char *from = r->at++;
  if (++b->depth > MAX_NESTING)
    return el_reader_fail(r, from, EL_ERR_TOO_LONG, "groups are nested more than %d deep", MAX_NESTING);
  skip_gbnf_space(b, true);
  el_expr all = read_gbnf_alternatives(b, true);
  if (!el_grammar_failed(r->grammar) && !el_reader_skip(r, ")"))
    return el_reader_fail(r, r->at, EL_ERR_INVALID, "a closing parenthesis is missing");
  b->depth--;
  return all;
}

/* Reads the repetition after a piece, if there is one. */
static el_expr read_repetition(gbnf *b, el_expr item, bool nested) {
  el_reader *r = &b->r;
  el_grammar *g = r->grammar;
  if (el_reader_skip(r, "*")) return el_grammar_repeat(g, item, 0, EL_UNBOUNDED);
  if (el_reader_skip(r, "+")) return el_grammar_repeat(g, item, 1, EL_UNBOUNDED);
  if (el_reader_skip(r, "?")) return el_grammar_optional(g, item);
  const char *from = r->at;
  if (!el_reader_skip(r, "{")) return item;
  skip_gbnf_space(b, nested);
  if (el_reader_peek(r, 0) < '0' || el_reader_peek(r, 0) > '9')
    return el_reader_fail(r, r->at, EL_ERR_INVALID, "a number is missing");
  uint32_t min = el_reader_number(r), max = min;
  skip_gbnf_space(b, nested);
  if (el_reader_skip(r, ",")) {
    skip_gbnf_space(b, nested);
    bool bounded = el_reader_peek(r, 0) >= '0' && el_reader_peek(r, 0) <= '9';
    max = bounded ? el_reader_number(r) : EL_UNBOUNDED;
    skip_gbnf_space(b, nested);
  }
  if (el_grammar_failed(g)) return EL_EXPR_NONE;
  if (!el_reader_skip(r, "}")) return el_reader_fail(r, r->at, EL_ERR_INVALID, "a closing brace is missing");
  if (min > max) return el_reader_fail(r, from, EL_ERR_INVALID, "the minimum is above the maximum");
  return el_grammar_repeat(g, item, min, max);
}

/* Reads a piece without its repetition. EL_EXPR_NONE: there is none, or a fault. */
static el_expr read_gbnf_piece(gbnf *b) {
  el_reader *r = &b->r;
  char c = el_reader_peek(r, 0);
  if (c == '"') return read_gbnf_text(b);
  if (c == '[') return read_gbnf_set(b);
  if (c == '(') return read_gbnf_group(b);
  if (c == '%') return read_addition(b);
  if (c == '.') {
    r->at++;
    return el_grammar_chars(r->grammar, NULL, 0, true);
  }
  if (c == '<' || c == '!')
    return el_reader_fail(r, r->at, EL_ERR_UNSUPPORTED, "references to tokens are not supported");
  if (!is_name_char(c)) return EL_EXPR_NONE;
  const char *name;
  size_t len = read_gbnf_name(b, &name);
  return el_grammar_use(r->grammar, rule_of_name(b, name, len));
}

static el_expr read_gbnf_sequence(gbnf *b, bool nested) {
  el_grammar *g = b->r.grammar;
  el_expr_list parts = {0};
  while (!el_grammar_failed(g)) {
    el_expr piece = read_gbnf_piece(b);
    if (piece == EL_EXPR_NONE) break;
    skip_gbnf_space(b, nested);
    /* A repetition after a repetition applies to the repeated piece. */
    for (el_expr before = EL_EXPR_NONE; piece != before && !el_grammar_failed(g); skip_gbnf_space(b, nested)) {
      before = piece;
      const char *from = b->r.at;
      piece = read_repetition(b, piece, nested);
      if (b->r.at == from) break;
      if (piece == before) before = EL_EXPR_NONE; /* {1} leaves it as it is */
    }
    el_expr_list_add(g, &parts, piece);
  }
  el_expr all = el_grammar_sequence(g, parts.items, parts.n);
  free(parts.items);
  return all;
}

static el_expr read_gbnf_alternatives(gbnf *b, bool nested) {
  el_grammar *g = b->r.grammar;
  el_expr_list parts = {0};
  do {
    if (parts.n) skip_gbnf_space(b, true);
    el_expr_list_add(g, &parts, read_gbnf_sequence(b, nested));
  } while (!el_grammar_failed(g) && el_reader_skip(&b->r, "|"));
  el_expr all = el_grammar_alternatives(g, parts.items, parts.n);
  free(parts.items);
  return all;
}

static void read_gbnf_rule(gbnf *b) {
  el_reader *r = &b->r;
  const char *name;
  size_t len = read_gbnf_name(b, &name);
  if (!len) {
    el_reader_fail(r, r->at, EL_ERR_INVALID, "a rule's name is missing");
    return;
  }
  el_rule rule = rule_of_name(b, name, len);
  skip_gbnf_space(b, false);
  if (!el_reader_skip(r, "::=")) {
    el_reader_fail(r, r->at, EL_ERR_INVALID, "::= is missing");
    return;
  }
  skip_gbnf_space(b, true);
  el_grammar_define(r->grammar, rule, read_gbnf_alternatives(b, false));
  if (el_grammar_failed(r->grammar)) return;
  if (r->at < r->end && *r->at != '\n' && *r->at != '\r')
    el_reader_fail(r, r->at, EL_ERR_INVALID, "the rule should end here");
}

el_expr el_gbnf_parse(el_grammar *g, const char *text, size_t len) {
  gbnf b = {.r = {g, "grammar", text, text, text + len}};
  for (skip_gbnf_space(&b, true); b.r.at < b.r.end && !el_grammar_failed(g); skip_gbnf_space(&b, true))
    read_gbnf_rule(&b);
  el_expr root = EL_EXPR_NONE;
  if (!el_grammar_failed(g)) {
    for (size_t i = 0; i < b.n_names; i++)
      if (b.names[i].len == 4 && !memcmp(b.names[i].name, "root", 4)) root = el_grammar_use(g, b.names[i].rule);
    if (root == EL_EXPR_NONE) el_grammar_fail(g, EL_ERR_INVALID, "grammar: there is no rule \"root\"");
  }
  free(b.names);
  free(b.slots);
  return root;
}
