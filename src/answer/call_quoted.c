/* Arguments as {key:value, other:[1,true]}: keys are bare words; strings stand unchanged between
 * marks of the form, and nothing in them is escaped. They are given as JSON once they are
 * complete. */
#include <string.h>

#include "answer/parser.h"

/* --- what they are */

typedef struct reader {
  el_str rest;
  el_str quote;
  el_buf out;
  bool no_memory;
  int depth;
} reader;

static bool put_output(reader *r, const char *text, size_t len) {
  if (!el_buf_append(&r->out, text, len)) r->no_memory = true;
  return !r->no_memory;
}

static bool put_string(reader *r, el_str text) {
  if (!el_json_quote(&r->out, text)) r->no_memory = true;
  return !r->no_memory;
}

static void skip_bytes(reader *r, size_t n) {
  r->rest.data += n;
  r->rest.len -= n;
}

static void skip_quoted_space(reader *r) {
  while (r->rest.len && el_is_space(*r->rest.data)) skip_bytes(r, 1);
}

static bool take_quoted_char(reader *r, char c) {
  skip_quoted_space(r);
  if (!r->rest.len || *r->rest.data != c) return false;
  skip_bytes(r, 1);
  return true;
}

static bool at_quote(const reader *r) {
  return r->rest.len >= r->quote.len && !memcmp(r->rest.data, r->quote.data, r->quote.len);
}

/* Reads a string between two marks. */
static bool take_marked(reader *r) {
  skip_bytes(r, r->quote.len);
  const char *end = memmem(r->rest.data, r->rest.len, r->quote.data, r->quote.len);
  if (!end) return false;
  el_str text = {r->rest.data, (size_t)(end - r->rest.data)};
  skip_bytes(r, text.len + r->quote.len);
  return put_string(r, text);
}

/* Models write JSON strings, too. */
static bool take_json_string(reader *r) {
  el_json_scan scan = {0};
  for (size_t i = 0; i < r->rest.len; i++) {
    el_json_step step = el_json_next(&scan, (unsigned char)r->rest.data[i]);
    if (step == EL_JSON_WRONG) return false;
    if (step != EL_JSON_DONE) continue;
    el_str text = {r->rest.data, i + 1};
    skip_bytes(r, text.len);
    return put_output(r, text.data, text.len);
  }
  return false;
}

/* Reads up to what ends the value, without the space around it. */
static el_str take_bare(reader *r, const char *ends) {
  skip_quoted_space(r);
  el_str word = {r->rest.data, 0};
  while (word.len < r->rest.len && (!word.data[word.len] || !strchr(ends, word.data[word.len]))) word.len++;
  skip_bytes(r, word.len);
  while (word.len && el_is_space(word.data[word.len - 1])) word.len--;
  return word;
}

static bool take_key(reader *r) {
  skip_quoted_space(r);
  if (at_quote(r)) return take_marked(r);
  if (r->rest.len && *r->rest.data == '"') return take_json_string(r);
  el_str key = take_bare(r, ":,{}[]");
  return key.len && put_string(r, key);
}

static bool take_quoted_value(reader *r);

static bool take_quoted_items(reader *r, char close) {
  if (!put_output(r, close == '}' ? "{" : "[", 1)) return false;
  for (bool first = true; !take_quoted_char(r, close); first = false) {
    if (!first && (!take_quoted_char(r, ',') || !put_output(r, ", ", 2))) return false;
    if (close == '}' && (!take_key(r) || !take_quoted_char(r, ':') || !put_output(r, ": ", 2))) return false;
    if (!take_quoted_value(r)) return false;
  }
  return put_output(r, &close, 1);
}

/* Reads numbers and JSON's words; None as Python's templates print it; else a string without its
 * marks. */
static bool take_quoted_plain(reader *r) {
  el_str word = take_bare(r, ",{}[]");
  if (el_str_eq(word, "None")) return put_output(r, "null", 4);
  if (el_json_is_value(word)) return put_output(r, word.data, word.len);
  return word.len && put_string(r, word);
}

static bool take_quoted_value(reader *r) {
  skip_quoted_space(r);
  if (!r->rest.len || r->depth == EL_JSON_MAX_DEPTH) return false;
  if (at_quote(r)) return take_marked(r);
  char c = *r->rest.data;
  if (c == '"') return take_json_string(r);
  if (c != '{' && c != '[') return take_quoted_plain(r);
  skip_bytes(r, 1);
  r->depth++;
  bool ok = take_quoted_items(r, c == '{' ? '}' : ']');
  r->depth--;
  return ok;
}

static bool give_arguments(el_answer_parser *p, el_str text) {
  reader r = {.rest = text, .quote = {p->form->quote, strlen(p->form->quote)}};
  bool ok = take_quoted_value(&r) && !r.rest.len;
  if (r.no_memory) p->no_memory = true;
  if (ok) el_call_give(p, p->call.tool, (el_str){r.out.data, r.out.len});
  el_buf_free(&r.out);
  return ok;
}

/* --- where they end */

enum { NO_QUOTE = 0, MARKED = -1 };

/* Handles a byte in a JSON string. */
static void in_json_string(el_call_reader *c, char b) {
  if (c->escaped)
    c->escaped = false;
  else if (b == '\\')
    c->escaped = true;
  else if (b == c->quote)
    c->quote = NO_QUOTE;
}

el_step el_call_quoted(el_answer_parser *p) {
  el_call_reader *c = &p->call;
  while (c->found < p->buf.len) {
    size_t len = 0;
    char b = p->buf.data[c->found];
    if (c->quote > NO_QUOTE) {
      in_json_string(c, b);
      c->found++;
      continue;
    }
    el_mark m = el_mark_match(p->form->quote, el_answer_rest(p, c->found), &len);
    if (m == EL_MARK_PARTIAL && !p->last) return EL_STEP_WAIT;
    if (m == EL_MARK_YES) {
      c->quote = c->quote ? NO_QUOTE : MARKED;
      c->found += len;
      continue;
    }
    c->found++;
    if (c->quote) continue;
    if (b == '"') c->quote = b;
    if (b == '{' || b == '[') c->depth++;
    if ((b != '}' && b != ']') || --c->depth > 0) continue;
    el_str text = {p->buf.data + c->from, c->found - c->from};
    p->at = c->found;
    if (!give_arguments(p, text)) return el_answer_fail(p);
    p->given = p->at;
    c->state = EL_CALL_END;
    return EL_STEP_GO;
  }
  if (!p->last) return EL_STEP_WAIT;
  p->at = c->found;
  return el_answer_fail(p);
}
