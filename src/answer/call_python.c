/* Calls as Python writes them: [name(key='value', other=[1, True]), ...], or a single one. They are
 * given once all of them are complete, with their arguments as JSON. */
#include <string.h>

#include "answer/parser.h"

/* --- where they end */

/* True: the byte ended the outermost bracket. */
static bool ends_at(el_call_reader *c, char b) {
  if (c->quote) {
    if (c->escaped)
      c->escaped = false;
    else if (b == '\\')
      c->escaped = true;
    else if (b == c->quote)
      c->quote = 0;
    return false;
  }
  if (b == '"' || b == '\'') c->quote = b;
  if (b && strchr("[({", b)) c->depth++;
  return b && strchr("])}", b) && --c->depth <= 0;
}

/* --- what they are: a reader of its own for their text */

typedef struct python {
  const char *at, *end;
  el_buf out;
  bool no_memory;
  int depth;
} python;

static void skip_python_space(python *y) {
  while (y->at < y->end && el_is_space(*y->at)) y->at++;
}

static bool take_python_char(python *y, char c) {
  skip_python_space(y);
  if (y->at == y->end || *y->at != c) return false;
  y->at++;
  return true;
}

static bool put_python(python *y, const char *text, size_t len) {
  if (!el_buf_append(&y->out, text, len)) y->no_memory = true;
  return !y->no_memory;
}

static bool is_word_byte(char c) {
  return el_is_word(c) || c == '-' || c == '.' || c == '+';
}

static el_str take_word(python *y) {
  skip_python_space(y);
  el_str word = {y->at, 0};
  while (y->at < y->end && is_word_byte(*y->at)) y->at++;
  word.len = (size_t)(y->at - word.data);
  return word;
}

/* Escapes of Python that JSON does not have stand for themselves, including the backslash. */
static bool take_string(python *y) {
  char quote = *y->at++;
  el_buf plain = {0};
  static const char FROM[] = "ntrbf\\'\"", TO[] = "\n\t\r\b\f\\'\"";
  bool ok = true;
  while (ok && y->at < y->end && *y->at != quote) {
    const char *known = *y->at == '\\' && y->at + 1 < y->end && y->at[1] ? strchr(FROM, y->at[1]) : NULL;
    ok = el_buf_append(&plain, known ? &TO[known - FROM] : y->at, 1);
    y->at += known ? 2 : 1;
  }
  if (!ok) y->no_memory = true;
  bool ended = ok && y->at < y->end;
  if (ended && !el_json_quote(&y->out, (el_str){plain.data, plain.len})) y->no_memory = true;
  y->at += ended;
  el_buf_free(&plain);
  return ended && !y->no_memory;
}

static bool take_python_value(python *y);

static bool take_python_items(python *y, char close) {
  bool dict = close == '}';
  if (!put_python(y, dict ? "{" : "[", 1)) return false;
  for (bool first = true; !take_python_char(y, close); first = false) {
    if (!first && (!take_python_char(y, ',') || !put_python(y, ", ", 2))) return false;
    if (dict && (skip_python_space(y), y->at == y->end || !strchr("'\"", *y->at) || !*y->at)) return false;
    if (!take_python_value(y)) return false;
    if (dict && (!take_python_char(y, ':') || !put_python(y, ": ", 2) || !take_python_value(y))) return false;
  }
  return put_python(y, dict ? "}" : "]", 1);
}

static bool take_python_plain(python *y) {
  static const char *const WORDS[][2] = {{"True", "true"}, {"False", "false"}, {"None", "null"}};
  el_str word = take_word(y);
  for (size_t i = 0; i < 3; i++)
    if (el_str_eq(word, WORDS[i][0])) return put_python(y, WORDS[i][1], strlen(WORDS[i][1]));
  return word.len && el_json_is_value(word) && put_python(y, word.data, word.len);
}

static bool take_python_value(python *y) {
  skip_python_space(y);
  if (y->at == y->end || y->depth == EL_JSON_MAX_DEPTH) return false;
  char c = *y->at;
  if (c == '"' || c == '\'') return take_string(y);
  if (c != '[' && c != '{' && c != '(') return take_python_plain(y);
  y->at++;
  y->depth++;
  bool ok = take_python_items(y, c == '{' ? '}' : c == '[' ? ']' : ')');
  y->depth--;
  return ok;
}

/* After the opening bracket: reads key=value, ... and the closing bracket as an object. */
static bool take_arguments(python *y) {
  if (!put_python(y, "{", 1)) return false;
  for (bool first = true; !take_python_char(y, ')'); first = false) {
    if (!first && (!take_python_char(y, ',') || !put_python(y, ", ", 2))) return false;
    el_str key = take_word(y);
    if (!key.len || !take_python_char(y, '=')) return false;
    if (!el_json_quote(&y->out, key) || !put_python(y, ": ", 2)) return !(y->no_memory = true);
    if (!take_python_value(y)) return false;
  }
  return put_python(y, "}", 1);
}

/* Reads all calls of a text; with `check`, only checks that all are valid. */
static bool take_calls(el_answer_parser *p, el_str text, bool check) {
  python y = {text.data, text.data + text.len, {0}, false, 0};
  bool list = take_python_char(&y, '['), ok = true;
  do {
    el_str name = take_word(&y);
    size_t tool = el_tools_find(p->tools, name);
    y.out.len = 0;
    ok = tool != SIZE_MAX && take_python_char(&y, '(') && take_arguments(&y);
    if (ok && !check) el_call_give(p, tool, (el_str){y.out.data, y.out.len});
  } while (ok && list && take_python_char(&y, ','));
  ok = ok && (!list || take_python_char(&y, ']'));
  skip_python_space(&y);
  if (y.no_memory) p->no_memory = true;
  el_buf_free(&y.out);
  return ok && y.at == y.end;
}

bool el_python_value(el_str text, el_buf *out, bool *no_memory) {
  python y = {text.data, text.data + text.len, {0}, false, 0};
  bool ok = take_python_value(&y);
  skip_python_space(&y);
  ok = ok && y.at == y.end && !y.no_memory;
  *no_memory = y.no_memory || (ok && !el_buf_append(out, y.out.data, y.out.len));
  el_buf_free(&y.out);
  return ok && !*no_memory;
}

el_step el_call_python(el_answer_parser *p) {
  el_call_reader *c = &p->call;
  if (c->found == c->from && !el_answer_skip_space(p)) return p->last ? el_answer_fail(p) : EL_STEP_WAIT;
  if (c->found == c->from) c->found = p->at;
  for (; c->found < p->buf.len; c->found++) {
    char b = p->buf.data[c->found];
    if (!c->depth && !is_word_byte(b) && b != '[' && b != '(') break;
    if (!ends_at(c, b)) continue;
    el_str text = {p->buf.data + p->at, c->found + 1 - p->at};
    p->at = c->found + 1;
    if (!take_calls(p, text, true)) return el_answer_fail(p);
    take_calls(p, text, false);
    p->given = p->at;
    c->state = EL_CALL_END;
    return EL_STEP_GO;
  }
  if (c->found == p->buf.len && !p->last) return EL_STEP_WAIT;
  p->at = c->found;
  return el_answer_fail(p);
}
