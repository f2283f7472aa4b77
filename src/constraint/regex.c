/* Regular expressions: what Python, ECMAScript and PCRE have in common, as far as it is regular. White
 * space, digits and word characters are those of ASCII.
 *
 * Anchors are allowed at the beginning and the end of alternatives: of the whole pattern, or of a
 * group that itself stands there. An anchor elsewhere could never match, or is too hard to follow, and
 * is refused. So parsing gives a list of alternatives, each of which is anchored or not. */
#include <stdlib.h>
#include <string.h>

#include "constraint/regex_set.h"

enum { MAX_NESTING = 200, MAX_BRANCHES = 256 };

typedef struct branch {
  el_expr expr;
  bool start, end; /* anchored */
  bool empty;      /* only anchors have been read of it */
} branch;

typedef struct branches {
  branch *items;
  size_t n, cap;
  bool anchored; /* some are */
} branches;

typedef struct regex {
  el_reader r;
  bool json;
  int depth;
} regex;

static bool add_branch(el_grammar *g, branches *l, branch b) {
  if (el_grammar_failed(g)) return false;
  if (l->n == l->cap) {
    size_t cap = l->cap ? l->cap * 2 : 4;
    branch *items = realloc(l->items, sizeof *items * cap);
    if (!items) {
      el_grammar_fail(g, EL_ERR_NO_MEMORY, "grammar: out of memory");
      return false;
    }
    l->items = items;
    l->cap = cap;
  }
  l->anchored = l->anchored || b.start || b.end;
  l->items[l->n++] = b;
  return true;
}

/* All alternatives as one expression; none is anchored. */
static el_expr join_branches(el_grammar *g, const branches *l) {
  el_expr_list all = {0};
  for (size_t i = 0; i < l->n; i++) el_expr_list_add(g, &all, l->items[i].expr);
  el_expr choice = el_grammar_failed(g) ? EL_EXPR_NONE : el_grammar_alternatives(g, all.items, all.n);
  free(all.items);
  return choice;
}

static el_expr fail_misplaced_anchor(regex *x, const char *at) {
  return el_reader_fail(&x->r, at, EL_ERR_UNSUPPORTED, "an anchor that is neither at the beginning nor at the end");
}

/* Puts b behind a. */
static branch append_branch(regex *x, const branch *a, const branch *b, const char *at) {
  branch both = *a;
  if ((a->end && !b->empty) || (b->start && !a->empty)) fail_misplaced_anchor(x, at);
  both.start = a->start || b->start;
  both.end = a->end || b->end;
  both.empty = a->empty && b->empty;
  both.expr = a->empty ? b->expr : b->empty ? a->expr : el_grammar_pair(x->r.grammar, a->expr, b->expr);
  return both;
}

/* -------------------------------------------------------------------- pieces */

static branches read_branches(regex *x);

static bool is_ascii_digit(char c) {
  return c >= '0' && c <= '9';
}

/* Reads {m}, {m,}, {m,n}, {,n} or {,}. False: it has another form, and the brace is a character. */
static bool read_regex_counts(regex *x, uint32_t *min, uint32_t *max) {
  el_reader *r = &x->r;
  size_t i = 1;
  while (is_ascii_digit(el_reader_peek(r, i))) i++;
  bool has_min = i > 1, comma = el_reader_peek(r, i) == ',';
  size_t k = i + comma;
  while (comma && is_ascii_digit(el_reader_peek(r, k))) k++;
  bool has_max = comma && k > i + 1;
  if (el_reader_peek(r, k) != '}' || (!has_min && !comma)) return false;
  r->at++;
  *min = has_min ? el_reader_number(r) : 0;
  *max = *min;
  if (comma) {
    r->at++;
    *max = has_max ? el_reader_number(r) : EL_UNBOUNDED;
  }
  r->at++;
  return true;
}

/* What repeats a piece, if anything does. */
static bool read_quantifier(regex *x, uint32_t *min, uint32_t *max) {
  el_reader *r = &x->r;
  char c = el_reader_peek(r, 0);
  *min = c == '+' ? 1 : 0;
  *max = c == '?' ? 1 : EL_UNBOUNDED;
  const char *from = r->at;
  if (c == '{') {
    if (!read_regex_counts(x, min, max)) return false;
  } else if (c == '*' || c == '+' || c == '?') {
    r->at++;
  } else {
    return false;
  }
  if (el_reader_peek(r, 0) == '+') {
    el_reader_fail(r, r->at, EL_ERR_UNSUPPORTED, "possessive quantifiers are not supported");
    return false;
  }
  el_reader_skip(r, "?"); /* lazy: which of several matches does not matter here */
  if (!el_grammar_failed(r->grammar) && *min > *max)
    el_reader_fail(r, from, EL_ERR_INVALID, "the minimum is above the maximum");
  return !el_grammar_failed(r->grammar);
}

/* After "(?": reads the kind of the group. False: a fault. */
static bool read_group_kind(regex *x, const char *from) {
  el_reader *r = &x->r;
  if (el_reader_skip(r, ":")) return true;
  const char *what = el_reader_peek(r, 0) == '=' || el_reader_peek(r, 0) == '!' ? "lookahead"
                     : el_reader_peek(r, 0) == '<' && (el_reader_peek(r, 1) == '=' || el_reader_peek(r, 1) == '!')
                         ? "lookbehind"
                     : el_reader_peek(r, 0) == 'P' && el_reader_peek(r, 1) == '=' ? "a back reference (?P=...)"
                     : el_reader_peek(r, 0) == '>'                                ? "an atomic group"
                     : el_reader_peek(r, 0) == '('                                ? "a conditional group"
                                                                                  : NULL;
  if (!what && (el_reader_skip(r, "P<") || el_reader_skip(r, "<"))) {
    while (r->at < r->end && *r->at != '>' && *r->at != ')') r->at++;
    if (el_reader_skip(r, ">")) return true;
    el_reader_fail(r, from, EL_ERR_INVALID, "the group's name has no end");
    return false;
  }
  el_reader_fail(r, from, EL_ERR_UNSUPPORTED, "%s is not supported", what ? what : "a flag, or another (?...)");
  return false;
}

static branches read_regex_group(regex *x) {
  el_reader *r = &x->r;
  const char *from = r->at++;
  branches none = {0};
  if (el_reader_skip(r, "?") && !read_group_kind(x, from)) return none;
  if (++x->depth > MAX_NESTING) {
    el_reader_fail(r, from, EL_ERR_TOO_LONG, "groups are nested more than %d deep", MAX_NESTING);
    return none;
  }
  branches all = read_branches(x);
  x->depth--;
  if (!el_grammar_failed(r->grammar) && !el_reader_skip(r, ")"))
    el_reader_fail(r, from, EL_ERR_INVALID, "this group has no end");
  return all;
}

/* A single character, a set, or an escape. */
static el_expr read_atom(regex *x) {
  el_reader *r = &x->r;
  el_range_list ranges = {0};
  bool negated = false, set = false, ok = true;
  char c = el_reader_peek(r, 0);
  if (c == '[') {
    r->at++;
    ok = el_regex_set(r, &ranges, &negated);
  } else if (c == '.') {
    r->at++;
    negated = true;
    ok = el_range_list_add(r->grammar, &ranges, '\n', '\n');
  } else {
    uint32_t code = el_reader_skip(r, "\\") ? el_regex_escape(r, false, &ranges, &set) : el_reader_char(r);
    if (!set) {
      ok = code != EL_READ_END;
      bool itself = !x->json || (code >= 0x20 && code != '"' && code != '\\');
      if (ok && itself) return el_reader_literal(r, code);
      ok = ok && el_range_list_add(r->grammar, &ranges, code, code);
    }
  }
  el_expr chars = ok ? el_regex_chars(r->grammar, &ranges, negated, x->json) : EL_EXPR_NONE;
  free(ranges.items);
  return chars;
}

/* Reads the next piece with its repetition. Anchored pieces must not be repeated. */
static branches read_regex_piece(regex *x) {
  el_reader *r = &x->r;
  el_grammar *g = r->grammar;
  const char *from = r->at;
  char c = el_reader_peek(r, 0);
  branches all = {0};
  if (c == '^' || c == '$') {
    r->at++;
    add_branch(g, &all, (branch){el_grammar_empty(g), c == '^', c == '$', true});
  } else if (c == '\\' && (el_reader_peek(r, 1) == 'A' || el_reader_peek(r, 1) == 'z' || el_reader_peek(r, 1) == 'Z')) {
    bool start = el_reader_peek(r, 1) == 'A';
    r->at += 2;
    add_branch(g, &all, (branch){el_grammar_empty(g), start, !start, true});
  } else if (c == '(') {
    all = read_regex_group(x);
  } else if (c == '*' || c == '+' || c == '?') {
    el_reader_fail(r, from, EL_ERR_INVALID, "there is nothing to repeat");
  } else {
    add_branch(g, &all, (branch){.expr = read_atom(x)});
  }
  uint32_t min, max;
  for (bool again = false; !el_grammar_failed(g); again = true) {
    const char *at = r->at;
    if (!read_quantifier(x, &min, &max)) break;
    if (again) {
      el_reader_fail(r, at, EL_ERR_INVALID, "a repetition of a repetition");
    } else if (all.anchored) {
      fail_misplaced_anchor(x, at);
    } else {
      el_expr item = join_branches(g, &all);
      all.n = 0;
      add_branch(g, &all, (branch){.expr = el_grammar_repeat(g, item, min, max)});
    }
  }
  return all;
}

/* Reads one alternative. It becomes several if a group has both anchored alternatives and others. */
static branches read_regex_sequence(regex *x) {
  el_reader *r = &x->r;
  el_grammar *g = r->grammar;
  branches left = {0};
  el_expr_list run = {0}; /* pieces without anchors that are not yet in `left`; they become one sequence */
  add_branch(g, &left, (branch){.expr = el_grammar_empty(g), .empty = true});
  while (!el_grammar_failed(g)) {
    const char *at = r->at;
    bool more = at < r->end && *at != '|' && *at != ')';
    branches piece = {0};
    if (more) piece = read_regex_piece(x);
    if (more && !piece.anchored) {
      el_expr_list_add(g, &run, join_branches(g, &piece));
      free(piece.items);
      continue;
    }
    if (run.n) {
      branch b = {.expr = el_grammar_sequence(g, run.items, run.n)};
      for (size_t i = 0; i < left.n; i++) left.items[i] = append_branch(x, &left.items[i], &b, at);
      run.n = 0;
    }
    if (!more) break;
    branches longer = {0};
    if (left.n * piece.n > MAX_BRANCHES) el_reader_fail(r, at, EL_ERR_TOO_LONG, "too many alternatives with anchors");
    for (size_t i = 0; i < left.n; i++)
      for (size_t k = 0; k < piece.n && !el_grammar_failed(g); k++)
        add_branch(g, &longer, append_branch(x, &left.items[i], &piece.items[k], at));
    free(left.items);
    free(piece.items);
    left = longer;
  }
  free(run.items);
  return left;
}

static branches read_branches(regex *x) {
  el_grammar *g = x->r.grammar;
  branches all = {0};
  do {
    branches some = read_regex_sequence(x);
    for (size_t i = 0; i < some.n; i++) add_branch(g, &all, some.items[i]);
    free(some.items);
  } while (!el_grammar_failed(g) && el_reader_skip(&x->r, "|"));
  return all;
}

static el_expr any_text(regex *x) {
  el_range_list none = {0};
  return el_grammar_repeat(x->r.grammar, el_regex_chars(x->r.grammar, &none, true, x->json), 0, EL_UNBOUNDED);
}

el_expr el_regex_parse(el_grammar *g, const char *pattern, size_t len, int flags) {
  regex x = {.r = {g, "regular expression", pattern, pattern, pattern + len}, .json = flags & EL_REGEX_JSON_STRING};
  branches all = read_branches(&x);
  if (!el_grammar_failed(g) && x.r.at < x.r.end)
    el_reader_fail(&x.r, x.r.at, EL_ERR_INVALID, "a parenthesis closes nothing");
  for (size_t i = 0; i < all.n && flags & EL_REGEX_SEARCH && !el_grammar_failed(g); i++) {
    branch *b = &all.items[i];
    el_expr parts[3];
    size_t n = 0;
    if (!b->start) parts[n++] = any_text(&x);
    parts[n++] = b->expr;
    if (!b->end) parts[n++] = any_text(&x);
    b->expr = el_grammar_sequence(g, parts, n);
  }
  el_expr whole = el_grammar_failed(g) ? EL_EXPR_NONE : join_branches(g, &all);
  free(all.items);
  return whole;
}
