#include "template/lexer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "template/unicode.h"

void el_lexer_begin(el_lexer *l, el_task *t, const char *text, size_t len) {
  char *copy = el_task_alloc(t, len + 1);
  size_t n = 0;
  for (size_t i = 0; i < len; i++) {
    if (text[i] == '\r' && i + 1 < len && text[i + 1] == '\n') continue;
    copy[n++] = text[i] == '\r' ? '\n' : text[i];
  }
  if (n && copy[n - 1] == '\n') n--;
  copy[n] = 0;
  *l = (el_lexer){.task = t, .source = copy, .len = n, .line = 1, .line_starting = true};
}

static _Noreturn void lexer_fail(el_lexer *l, const char *what) {
  l->task->line = l->line;
  el_task_fail(l->task, EL_ERR_INVALID, "%s", what);
}

/* --- places in the source */

static bool at_literal(const el_lexer *l, size_t at, const char *what) {
  size_t n = strlen(what);
  return at <= l->len && l->len - at >= n && memcmp(l->source + at, what, n) == 0;
}

static size_t after_spaces(const el_lexer *l, size_t at) {
  while (at < l->len) {
    size_t n;
    if (!el_char_is_space(el_char_code(l->source + at, l->len - at, &n))) break;
    at += n;
  }
  return at;
}

static size_t before_spaces(const el_lexer *l, size_t begin, size_t end) {
  el_text s = {.data = l->source + begin, .len = (uint32_t)(end - begin)};
  size_t at = s.len;
  while (at) {
    size_t before = el_char_before(&s, at), n;
    if (!el_char_is_space(el_char_code(s.data + before, at - before, &n))) break;
    at = before;
  }
  return begin + at;
}

static int count_lines(const char *data, size_t len) {
  int n = 0;
  for (const char *p = data, *end = data + len; (p = memchr(p, '\n', (size_t)(end - p))); p++) n++;
  return n;
}

static void move_to(el_lexer *l, size_t at) {
  l->line += count_lines(l->source + l->at, at - l->at);
  l->line_starting = at > l->at ? l->source[at - 1] == '\n' : l->line_starting;
  l->at = at;
}

/* Where a tag ends whose closing mark is at `at`, after its sign if it has one: behind the line end
 * that it takes along. 0: the tag does not end here. */
static size_t tag_end(const el_lexer *l, size_t at, const char *end, bool plus, bool trims) {
  if (at_literal(l, at, "-") && at_literal(l, at + 1, end)) return after_spaces(l, at + 3);
  if (plus && at_literal(l, at, "+") && at_literal(l, at + 1, end)) return at + 3;
  if (!at_literal(l, at, end)) return 0;
  return trims && at_literal(l, at + 2, "\n") ? at + 3 : at + 2;
}

/* Where {% raw %} (or {% endraw %}, by `word`) ends; 0: it is not here. */
static size_t raw_tag(const el_lexer *l, size_t at, const char *word) {
  if (!at_literal(l, at, "{%")) return 0;
  at += 2;
  if (at_literal(l, at, "-") || at_literal(l, at, "+")) at++;
  at = after_spaces(l, at);
  if (!at_literal(l, at, word)) return 0;
  at = after_spaces(l, at + strlen(word));
  bool ends = word[0] == 'e';
  return tag_end(l, at, "%}", ends, ends);
}

/* --- text */

/* Where a text before a tag ends, without the white space that the tag removes. */
static size_t text_end(const el_lexer *l, size_t begin, size_t tag) {
  char sign = tag + 2 < l->len ? l->source[tag + 2] : 0;
  if (sign == '-') return before_spaces(l, begin, tag);
  if (sign == '+' || l->source[tag + 1] == '{') return tag;
  size_t line = tag;
  while (line > begin && l->source[line - 1] != '\n') line--;
  if (line == begin && !l->line_starting) return tag;
  return before_spaces(l, line, tag) == line ? line : tag;
}

static el_token data_token(const el_lexer *l, size_t begin, size_t end) {
  return (el_token){.type = EL_T_DATA, .line = l->line, .data = l->source + begin, .len = end - begin};
}

static void skip_comment(el_lexer *l, size_t at) {
  const char *p = memmem(l->source + at, l->len - at, "#}", 2);
  if (!p) lexer_fail(l, "a comment has no end, '#}'");
  size_t end = (size_t)(p - l->source);
  if (end > at && (l->source[end - 1] == '-' || l->source[end - 1] == '+')) end--;
  move_to(l, tag_end(l, end, "#}", true, true));
}

static el_token raw_text(el_lexer *l, size_t after) {
  move_to(l, after);
  size_t begin = l->at, tag = begin, end = 0;
  for (;; tag++) {
    const char *p = memmem(l->source + tag, l->len - tag, "{%", 2);
    if (!p) lexer_fail(l, "'raw' has no end, '{% endraw %}'");
    tag = (size_t)(p - l->source);
    if ((end = raw_tag(l, tag, "endraw"))) break;
  }
  el_token data = data_token(l, begin, text_end(l, begin, tag));
  move_to(l, end);
  return data;
}

/* The first of "{%", "{{" and "{#"; l->len: none. */
static size_t find_tag(const el_lexer *l, size_t at) {
  while (at < l->len) {
    const char *p = memchr(l->source + at, '{', l->len - at);
    if (!p) return l->len;
    at = (size_t)(p - l->source);
    if (at + 1 < l->len && strchr("%{#", l->source[at + 1])) return at;
    at++;
  }
  return l->len;
}

/* The next token in text: a text, the beginning of a tag, both (the second is pending), or the
 * end. */
static el_token next_in_text(el_lexer *l) {
  for (;;) {
    size_t begin = l->at, tag = find_tag(l, begin);
    if (tag == l->len) {
      el_token data = data_token(l, begin, tag);
      move_to(l, tag);
      if (!data.len) data.type = EL_T_END;
      return data;
    }
    el_token data = data_token(l, begin, text_end(l, begin, tag));
    size_t raw = raw_tag(l, tag, "raw");
    char type = l->source[tag + 1];
    size_t after = tag + 2 + (at_literal(l, tag + 2, "-") || at_literal(l, tag + 2, "+"));
    if (raw) {
      move_to(l, tag);
      l->next = raw_text(l, raw);
      l->pending = l->next.len > 0;
    } else if (type == '#') {
      move_to(l, tag);
      skip_comment(l, after);
    } else {
      move_to(l, after);
      l->line_starting = false;
      l->inside = type;
      l->next = (el_token){.type = type == '%' ? EL_T_BLOCK_BEGIN : EL_T_VARIABLE_BEGIN, .line = l->line};
      l->pending = true;
    }
    if (data.len) return data;
    if (l->pending) {
      l->pending = false;
      return l->next;
    }
  }
}

/* --- tags */

static size_t digits_end(const el_lexer *l, size_t at) { /* (\d+_)*\d+ */
  size_t end = at;
  while (end < l->len) {
    char c = l->source[end];
    bool digit = c >= '0' && c <= '9';
    bool joint = c == '_' && end > at && l->source[end - 1] != '_' && end + 1 < l->len && l->source[end + 1] >= '0' &&
                 l->source[end + 1] <= '9';
    if (!digit && !joint) break;
    end++;
  }
  return end;
}

static size_t float_end(const el_lexer *l, size_t at) {
  if (at && l->source[at - 1] == '.') return at;
  size_t whole = digits_end(l, at), end = whole;
  if (whole == at) return at;
  if (at_literal(l, end, ".") && digits_end(l, end + 1) > end + 1) end = digits_end(l, end + 1);
  if (end < l->len && (l->source[end] == 'e' || l->source[end] == 'E')) {
    size_t e = end + 1;
    if (at_literal(l, e, "+") || at_literal(l, e, "-")) e++;
    if (digits_end(l, e) > e) return digits_end(l, e);
  }
  return end > whole ? end : at;
}

static int base_of(const el_lexer *l, size_t at) {
  if (l->source[at] != '0' || at + 2 >= l->len) return 10;
  switch (l->source[at + 1]) {
    case 'x':
    case 'X': return 16;
    case 'o':
    case 'O': return 8;
    case 'b':
    case 'B': return 2;
    default: return 10;
  }
}

static int digit_value(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : 99;
}

static el_token lex_integer(el_lexer *l) {
  size_t at = l->at;
  int base = base_of(l, at);
  if (base != 10) at += 2;
  bool zero = base == 10 && l->source[at] == '0';
  int64_t value = 0;
  for (; at < l->len; at++) {
    if (l->source[at] == '_' && at + 1 < l->len && digit_value(l->source[at + 1]) < base) continue;
    int digit = digit_value(l->source[at]);
    if (digit >= base || (zero && digit)) break;
    if (__builtin_mul_overflow(value, base, &value) || __builtin_add_overflow(value, digit, &value))
      lexer_fail(l, "a number does not fit into 64 bits");
  }
  el_token token = {
      .type = EL_T_INTEGER, .line = l->line, .data = l->source + l->at, .len = at - l->at, .integer = value};
  move_to(l, at);
  return token;
}

static el_token lex_number(el_lexer *l) {
  size_t end = float_end(l, l->at);
  if (end == l->at) return lex_integer(l);
  char *copy = el_task_alloc(l->task, end - l->at + 1);
  size_t n = 0;
  for (size_t i = l->at; i < end; i++)
    if (l->source[i] != '_') copy[n++] = l->source[i];
  copy[n] = 0;
  el_token token = {.type = EL_T_FLOAT, .line = l->line, .data = copy, .len = n, .number = strtod(copy, NULL)};
  move_to(l, end);
  return token;
}

/* Reads an escape after its backslash. Returns how many bytes of the source it takes; 0: it is not
 * an escape. */
static size_t lex_escape(el_lexer *l, const char *s, size_t len, el_writer *w) {
  static const char NAMES[] = "\\'\"abfnrtv", VALUES[] = "\\'\"\a\b\f\n\r\t\v";
  if (s[0] == '\n') return 1;
  const char *known = strchr(NAMES, s[0]);
  if (known && s[0]) {
    el_write(w, &VALUES[known - NAMES], 1, 0);
    return 1;
  }
  size_t n = 0, most = s[0] == 'x' ? 2 : s[0] == 'u' ? 4 : s[0] == 'U' ? 8 : 0;
  uint32_t code = 0;
  if (most) {
    for (; n < most && n + 1 < len && digit_value(s[n + 1]) < 16; n++)
      code = code << 4 | (uint32_t)digit_value(s[n + 1]);
    if (n < most) lexer_fail(l, "a string has an escape that is cut off");
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
      lexer_fail(l, "a string has an escape that is no character");
    n++;
  } else {
    for (; n < 3 && n < len && s[n] >= '0' && s[n] <= '7'; n++) code = code * 8 + (uint32_t)(s[n] - '0');
  }
  if (s[0] == 'N') lexer_fail(l, "characters by name, \\N{...}, are not supported");
  if (!n) return 0;
  char out[4];
  el_write(w, out, el_char_write(code, out), 0);
  return n;
}

static el_token lex_string(el_lexer *l) {
  size_t begin = l->at + 1, end = begin;
  char quote = l->source[l->at];
  bool plain = true;
  while (end < l->len && l->source[end] != quote) {
    plain &= l->source[end] != '\\';
    end += l->source[end] == '\\' ? 2 : 1;
  }
  if (end >= l->len) lexer_fail(l, "a string has no end");
  el_token token = {.type = EL_T_STRING, .line = l->line, .data = l->source + begin, .len = end - begin};
  if (!plain) {
    el_writer w = {.task = l->task};
    for (size_t i = begin; i < end;) {
      size_t n = l->source[i] == '\\' ? lex_escape(l, l->source + i + 1, end - i - 1, &w) : 0;
      if (!n) el_write(&w, l->source + i, 1, 0);
      i += n + 1;
    }
    const el_text *s = el_written(&w);
    token.data = s->data;
    token.len = s->len;
  }
  move_to(l, end + 1);
  return token;
}

static size_t name_end(const el_lexer *l, size_t at) {
  for (size_t begin = at; at < l->len;) {
    size_t n;
    uint32_t c = el_char_code(l->source + at, l->len - at, &n);
    bool letter = c == '_' || (c < 0x80 ? (c | 0x20) >= 'a' && (c | 0x20) <= 'z' : el_char_is_alpha(c));
    if (!letter && (at == begin || !el_char_is_decimal(c))) break;
    at += n;
  }
  return at;
}

static void balance_bracket(el_lexer *l, char c) {
  char closing = c == '(' ? ')' : c == '[' ? ']' : c == '{' ? '}' : 0;
  if (closing) {
    if (l->n_brackets == EL_MAX_BRACKETS) lexer_fail(l, "brackets are nested deeper than 200");
    l->brackets[l->n_brackets++] = closing;
  } else if (c == ')' || c == ']' || c == '}') {
    if (!l->n_brackets || l->brackets[--l->n_brackets] != c) lexer_fail(l, "a bracket closes what was not opened");
  }
}

static el_token operator_token(el_lexer *l) {
  static const char *const TWO[] = {"//", "**", "==", "!=", ">=", "<="};
  size_t n = 0;
  for (size_t i = 0; i < sizeof TWO / sizeof *TWO && !n; i++)
    if (at_literal(l, l->at, TWO[i])) n = 2;
  char c = l->source[l->at];
  if (!n && c && strchr("+-/*%~[](){}><=.:|,;", c)) n = 1;
  if (!n) {
    char show[EL_SHOW], message[EL_SHOW + 32];
    snprintf(
        message, sizeof message, "unexpected character '%s'",
        el_str_show((el_str){l->source + l->at, el_char_size(l->source + l->at, l->len - l->at)}, show, sizeof show));
    lexer_fail(l, message);
  }
  if (n == 1) balance_bracket(l, c);
  el_token token = {.type = EL_T_OPERATOR, .line = l->line, .data = l->source + l->at, .len = n};
  move_to(l, l->at + n);
  return token;
}

static el_token next_in_tag(el_lexer *l) {
  bool block = l->inside == '%';
  for (;;) {
    if (!l->n_brackets) {
      size_t end = tag_end(l, l->at, block ? "%}" : "}}", block, block);
      if (end) {
        el_token token = {.type = block ? EL_T_BLOCK_END : EL_T_VARIABLE_END, .line = l->line};
        move_to(l, end);
        l->inside = 0;
        return token;
      }
    }
    size_t after = after_spaces(l, l->at);
    if (after == l->at) break;
    move_to(l, after);
  }
  if (l->at == l->len) return (el_token){.type = EL_T_END, .line = l->line};
  char c = l->source[l->at];
  if (c >= '0' && c <= '9') return lex_number(l);
  if (c == '\'' || c == '"') return lex_string(l);
  size_t end = name_end(l, l->at);
  if (end == l->at) return operator_token(l);
  el_token token = {.type = EL_T_NAME, .line = l->line, .data = l->source + l->at, .len = end - l->at};
  move_to(l, end);
  return token;
}

el_token el_lexer_next(el_lexer *l) {
  if (l->pending) {
    l->pending = false;
    return l->next;
  }
  return l->inside ? next_in_tag(l) : next_in_text(l);
}

const char *el_token_show(const el_token *token, char *out, size_t size) {
  switch (token->type) {
    case EL_T_END: return "the end of the template";
    case EL_T_DATA: return "text";
    case EL_T_BLOCK_BEGIN: return "'{%'";
    case EL_T_BLOCK_END: return "the end of the statement";
    case EL_T_VARIABLE_BEGIN: return "'{{'";
    case EL_T_VARIABLE_END: return "the end of the expression";
    default: break;
  }
  char show[EL_SHOW];
  snprintf(out, size, "'%s'", el_str_show((el_str){token->data, token->len}, show, sizeof show));
  return out;
}
