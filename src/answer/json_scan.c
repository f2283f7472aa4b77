#include "answer/json_scan.h"

#include <stdint.h>
#include <string.h>

enum {
  VALUE, /* a value must follow */
  VALUE_OR_END,
  KEY,
  KEY_OR_END,
  COLON,
  STRING,
  ESCAPE,
  HEX,
  MINUS,
  ZERO,
  DIGITS,
  POINT,
  FRACTION,
  EXPONENT,
  EXPONENT_SIGN,
  EXPONENT_DIGITS,
  WORD,
  AFTER /* a comma or an end must follow */
};

static bool is_json_space(unsigned char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool is_json_digit(unsigned char c) {
  return c >= '0' && c <= '9';
}

static bool at_member(const el_json_scan *s) {
  return s->depth == 1 && s->object[0];
}

static el_json_step go_to(el_json_scan *s, unsigned char state) {
  s->state = state;
  return EL_JSON_MORE;
}

static el_json_step value_ended(el_json_scan *s) {
  if (!s->depth) return EL_JSON_DONE;
  if (at_member(s)) s->event |= EL_JSON_VALUE_LAST;
  return go_to(s, AFTER);
}

static el_json_step open_container(el_json_scan *s, bool object) {
  if (s->depth == EL_JSON_MAX_DEPTH) return EL_JSON_WRONG;
  s->object[s->depth++] = object;
  return go_to(s, object ? KEY_OR_END : VALUE_OR_END);
}

static el_json_step close_container(el_json_scan *s) {
  s->depth--;
  return value_ended(s);
}

static el_json_step begin_word(el_json_scan *s, const char *word) {
  s->word = word;
  s->next_in_word = 1;
  return go_to(s, WORD);
}

static el_json_step begin_json_value(el_json_scan *s, unsigned char c) {
  if (at_member(s)) s->event |= EL_JSON_VALUE;
  switch (c) {
    case '{': return open_container(s, true);
    case '[': return open_container(s, false);
    case '"': s->in_key = false; return go_to(s, STRING);
    case '-': return go_to(s, MINUS);
    case '0': return go_to(s, ZERO);
    case 't': return begin_word(s, "true");
    case 'f': return begin_word(s, "false");
    case 'n': return begin_word(s, "null");
    default: return is_json_digit(c) ? go_to(s, DIGITS) : EL_JSON_WRONG;
  }
}

static el_json_step begin_key(el_json_scan *s) {
  s->in_key = true;
  if (at_member(s)) s->event |= EL_JSON_KEY;
  return go_to(s, STRING);
}

static el_json_step end_string(el_json_scan *s) {
  if (!s->in_key) return value_ended(s);
  if (at_member(s)) s->event |= EL_JSON_KEY_END;
  return go_to(s, COLON);
}

static el_json_step after_value(el_json_scan *s, unsigned char c) {
  bool object = s->object[s->depth - 1];
  if (c == ',') return go_to(s, object ? KEY : VALUE);
  return c == (object ? '}' : ']') ? close_container(s) : EL_JSON_WRONG;
}

/* A number or a word ends where something else follows. */
static el_json_step end_plain_value(el_json_scan *s, unsigned char c) {
  if (!s->depth) return EL_JSON_DONE;
  unsigned event = at_member(s) ? EL_JSON_VALUE_OVER : 0;
  s->state = AFTER;
  el_json_step step = is_json_space(c) ? EL_JSON_MORE : after_value(s, c);
  s->event |= event;
  return step;
}

static el_json_step in_number(el_json_scan *s, unsigned char c) {
  bool digit = is_json_digit(c), exponent = c == 'e' || c == 'E';
  switch (s->state) {
    case MINUS: return !digit ? EL_JSON_WRONG : go_to(s, c == '0' ? ZERO : DIGITS);
    case ZERO:
      return c == '.' ? go_to(s, POINT) : exponent ? go_to(s, EXPONENT) : digit ? EL_JSON_WRONG : end_plain_value(s, c);
    case DIGITS:
      return digit ? EL_JSON_MORE : c == '.' ? go_to(s, POINT) : exponent ? go_to(s, EXPONENT) : end_plain_value(s, c);
    case POINT: return digit ? go_to(s, FRACTION) : EL_JSON_WRONG;
    case FRACTION: return digit ? EL_JSON_MORE : exponent ? go_to(s, EXPONENT) : end_plain_value(s, c);
    case EXPONENT:
      return digit ? go_to(s, EXPONENT_DIGITS) : c == '+' || c == '-' ? go_to(s, EXPONENT_SIGN) : EL_JSON_WRONG;
    case EXPONENT_SIGN: return digit ? go_to(s, EXPONENT_DIGITS) : EL_JSON_WRONG;
    default: return digit ? EL_JSON_MORE : end_plain_value(s, c);
  }
}

static el_json_step in_word(el_json_scan *s, unsigned char c) {
  if (!s->word[s->next_in_word]) return end_plain_value(s, c);
  return c == (unsigned char)s->word[s->next_in_word++] ? EL_JSON_MORE : EL_JSON_WRONG;
}

static el_json_step in_string(el_json_scan *s, unsigned char c) {
  if (s->state == ESCAPE) {
    s->hex = 0;
    return c == 'u' ? go_to(s, HEX) : c && strchr("\"\\/bfnrt", c) ? go_to(s, STRING) : EL_JSON_WRONG;
  }
  if (s->state == HEX) {
    if (!is_json_digit(c) && !((c | 32) >= 'a' && (c | 32) <= 'f')) return EL_JSON_WRONG;
    return ++s->hex == 4 ? go_to(s, STRING) : EL_JSON_MORE;
  }
  return c == '"' ? end_string(s) : c == '\\' ? go_to(s, ESCAPE) : c < 0x20 ? EL_JSON_WRONG : EL_JSON_MORE;
}

el_json_step el_json_next(el_json_scan *s, unsigned char c) {
  s->event = 0;
  switch (s->state) {
    case STRING:
    case ESCAPE:
    case HEX: return in_string(s, c);
    case WORD: return in_word(s, c);
    case MINUS:
    case ZERO:
    case DIGITS:
    case POINT:
    case FRACTION:
    case EXPONENT:
    case EXPONENT_SIGN:
    case EXPONENT_DIGITS: return in_number(s, c);
    default: break;
  }
  if (is_json_space(c)) return EL_JSON_MORE;
  switch (s->state) {
    case VALUE: return begin_json_value(s, c);
    case VALUE_OR_END: return c == ']' ? close_container(s) : begin_json_value(s, c);
    case KEY: return c == '"' ? begin_key(s) : EL_JSON_WRONG;
    case KEY_OR_END: return c == '}' ? close_container(s) : c == '"' ? begin_key(s) : EL_JSON_WRONG;
    case COLON: return c == ':' ? go_to(s, VALUE) : EL_JSON_WRONG;
    default: return after_value(s, c);
  }
}

bool el_json_is_value(el_str text) {
  el_json_scan s = {0};
  size_t first = 0;
  while (first < text.len && is_json_space((unsigned char)text.data[first])) first++;
  bool marked = first < text.len && text.data[first] && strchr("{[\"", text.data[first]);
  for (size_t i = first; i < text.len; i++) {
    el_json_step step = el_json_next(&s, (unsigned char)text.data[i]);
    if (step == EL_JSON_WRONG) return false;
    if (step == EL_JSON_MORE) continue;
    size_t rest = marked ? i + 1 : i; /* a number's end shows at the byte after it */
    while (rest < text.len && is_json_space((unsigned char)text.data[rest])) rest++;
    return rest == text.len;
  }
  return el_json_next(&s, ' ') == EL_JSON_DONE;
}

/* --- strings */

static uint32_t hex4(const char *p) {
  uint32_t u = 0;
  for (int i = 0; i < 4; i++) {
    unsigned char c = (unsigned char)p[i];
    u = u << 4 | (uint32_t)(is_json_digit(c) ? c - '0' : (c | 32) - 'a' + 10);
  }
  return u;
}

static bool put_code(el_buf *out, uint32_t u) {
  char b[4];
  size_t n = u < 0x80 ? 1 : u < 0x800 ? 2 : u < 0x10000 ? 3 : 4;
  static const unsigned char LEAD[] = {0, 0, 0xc0, 0xe0, 0xf0};
  for (size_t i = n; i-- > 1; u >>= 6) b[i] = (char)(0x80 | (u & 0x3f));
  b[0] = (char)(LEAD[n] | u);
  return el_buf_append(out, b, n);
}

/* Half of a surrogate pair becomes U+FFFD. */
static bool put_hex(el_buf *out, el_str text, size_t *at) {
  uint32_t u = hex4(text.data + *at);
  *at += 4;
  if (u >= 0xd800 && u < 0xdc00 && *at + 6 <= text.len && !memcmp(text.data + *at, "\\u", 2)) {
    uint32_t low = hex4(text.data + *at + 2);
    if (low >= 0xdc00 && low < 0xe000) {
      *at += 6;
      return put_code(out, 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00));
    }
  }
  return put_code(out, u >= 0xd800 && u < 0xe000 ? 0xfffd : u);
}

bool el_json_unescape(el_buf *out, el_str text) {
  static const char FROM[] = "bfnrt", TO[] = "\b\f\n\r\t";
  for (size_t i = 0; i < text.len;) {
    const char *escape = memchr(text.data + i, '\\', text.len - i);
    size_t plain = escape ? (size_t)(escape - text.data) - i : text.len - i;
    if (!el_buf_append(out, text.data + i, plain)) return false;
    i += plain + 2;
    if (!escape) break;
    char c = escape[1];
    const char *from = strchr(FROM, c);
    if (c == 'u' ? !put_hex(out, text, &i) : !el_buf_append(out, from ? &TO[from - FROM] : &c, 1)) return false;
  }
  return el_buf_append(out, "", 0);
}

bool el_json_quote(el_buf *out, el_str text) {
  static const char FROM[] = "\b\f\n\r\t\"\\", TO[] = "bfnrt\"\\";
  if (!text.len) return el_buf_append(out, "\"\"", 2);
  bool ok = el_buf_append(out, "\"", 1);
  for (size_t i = 0, begin = 0; i <= text.len && ok; i++) {
    unsigned char c = i < text.len ? (unsigned char)text.data[i] : 0;
    if (i < text.len && c >= 0x20 && c != '"' && c != '\\') continue;
    ok = el_buf_append(out, text.data + begin, i - begin);
    begin = i + 1;
    if (i == text.len || !ok) break;
    const char *from = c ? strchr(FROM, c) : NULL;
    ok = from ? el_buf_printf(out, "\\%c", TO[from - FROM]) : el_buf_printf(out, "\\u%04x", c);
  }
  return ok && el_buf_append(out, "\"", 1);
}
