/* Formats: the operator % of strings, and str.format(). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "template/builtins.h"

/* Wider than any text for people; hostile ones ask for gigabytes. */
enum { MAX_WIDTH = 10000, MAX_PRECISION = 300 };

typedef struct spec {
  const el_text *fill; /* NULL: a space */
  char align;          /* < > ^ =, or 0 */
  char sign;           /* + - space, or 0 */
  bool alternative, zero, comma, underscore;
  int64_t width, precision; /* precision < 0: none */
  char type;                /* 0: none */
} spec;

static int64_t read_format_number(el_rendering *r, const el_text *s, size_t *at, int64_t most) {
  int64_t n = 0;
  while (*at < s->len && s->data[*at] >= '0' && s->data[*at] <= '9') {
    n = n * 10 + (s->data[(*at)++] - '0');
    if (n > most) el_fault(r, "a format asks for more than %lld characters", (long long)most);
  }
  return n;
}

/* --- numbers */

static el_val to_integer(el_rendering *r, el_val v, char type) {
  if (v.kind == EL_FLOAT && (type == 'd' || type == 'i' || type == 'u')) {
    if (!(v.f > -9.2e18 && v.f < 9.2e18)) el_fault(r, "a number does not fit into 64 bits");
    return (el_val){.kind = EL_INT, .source = v.source, .i = (int64_t)v.f};
  }
  if (!el_val_is_integer(v)) {
    el_need_defined(r, v);
    el_fault(r, "a format '%c' needs an integer, not %s", type, el_val_type(v));
  }
  return (el_val){.kind = EL_INT, .source = v.source, .i = el_val_integer(v)};
}

static void group_digits(char *digits, size_t size, size_t whole, char separator, int every) {
  for (size_t i = whole; i > (size_t)every; i -= (size_t)every) {
    size_t len = strlen(digits);
    if (len + 1 >= size) return;
    memmove(digits + i - (size_t)every + 1, digits + i - (size_t)every, len - (i - (size_t)every) + 1);
    digits[i - (size_t)every] = separator;
  }
}

/* The digits that follow the sign. */
static void integer_digits(const spec *s, uint64_t n, char *out, size_t size) {
  const char *prefix = "";
  switch (s->type) {
    case 'x':
      snprintf(out, size, "%llx", (unsigned long long)n);
      prefix = "0x";
      break;
    case 'X':
      snprintf(out, size, "%llX", (unsigned long long)n);
      prefix = "0X";
      break;
    case 'o':
      snprintf(out, size, "%llo", (unsigned long long)n);
      prefix = "0o";
      break;
    case 'b': {
      size_t k = 0;
      int bit = 63;
      while (bit > 0 && !(n >> bit & 1)) bit--;
      for (; bit >= 0; bit--) out[k++] = (char)('0' + (n >> bit & 1));
      out[k] = 0;
      prefix = "0b";
      break;
    }
    default: snprintf(out, size, "%llu", (unsigned long long)n); break;
  }
  if (s->comma || s->underscore)
    group_digits(out, size, strlen(out), s->comma ? ',' : '_', s->type && strchr("xXob", s->type) ? 4 : 3);
  if (s->alternative && *prefix) {
    memmove(out + 2, out, strlen(out) + 1);
    memcpy(out, prefix, 2);
  }
}

static void float_digits(el_rendering *r, const spec *s, double f, char *out, size_t size) {
  char type = s->type, fmt[16];
  bool percent = type == '%';
  if (percent) {
    f *= 100;
    type = 'f';
  }
  if (!type && s->precision < 0) {
    char repr[40];
    el_float_repr(f, repr);
    snprintf(out, size, "%s", repr);
  } else {
    int precision = s->precision < 0 ? 6 : (int)s->precision;
    snprintf(fmt, sizeof fmt, "%%%s.*%c", s->alternative ? "#" : "", type ? type : 'g');
    snprintf(out, size, fmt, precision, f);
    if (!type) { /* as 'g', with at least a point and a digit after it */
      if (!strpbrk(out, ".en")) strncat(out, ".0", size - strlen(out) - 1);
    }
  }
  if (s->comma || s->underscore) group_digits(out, size, strspn(out, "0123456789"), s->comma ? ',' : '_', 3);
  if (percent) strncat(out, "%", size - strlen(out) - 1);
  (void)r;
}

static void write_formatted_number(el_rendering *r, el_writer *w, const spec *s, el_val v) {
  enum { ROOM = 2 * MAX_PRECISION + 400 };
  char digits[ROOM];
  bool integer = v.kind != EL_FLOAT && (!s->type || strchr("diuxXob", s->type));
  bool negative;
  if (integer) {
    int64_t n = el_val_integer(v);
    negative = n < 0;
    integer_digits(s, negative ? 0 - (uint64_t)n : (uint64_t)n, digits, sizeof digits);
  } else {
    double f = el_val_number(v);
    negative = signbit(f) && !isnan(f);
    float_digits(r, s, fabs(f), digits, sizeof digits);
  }
  const char *sign = negative ? "-" : s->sign == '+' ? "+" : s->sign == ' ' ? " " : "";
  el_writer number = el_writer_of(r);
  if (s->zero || s->align == '=') {
    size_t have = strlen(sign) + strlen(digits);
    el_write(&number, sign, strlen(sign), v.source);
    char fill[8] = "0";
    if (s->fill) {
      memcpy(fill, s->fill->data, s->fill->len); /* one character */
      fill[s->fill->len] = 0;
    }
    if ((int64_t)have < s->width) el_write_repeated(&number, fill, (size_t)s->width - have, v.source);
  } else {
    el_write(&number, sign, strlen(sign), v.source);
  }
  el_write(&number, digits, strlen(digits), v.source);
  el_write_text(w, el_pad(r, el_written(&number), s->width, s->align && s->align != '=' ? s->align : '>', s->fill));
}

static void write_padded(el_rendering *r, el_writer *w, const spec *s, const el_text *text, char align) {
  if (s->precision >= 0) text = el_text_cut(&r->task, text, 0, el_text_offset(text, (size_t)s->precision));
  el_write_text(w, el_pad(r, text, s->width, s->align ? s->align : align, s->fill));
}

/* --- % */

/* The value of %(name)s; s->data[*at] is the bracket. */
static el_val named_value(el_rendering *r, const el_text *s, size_t *at, el_val args) {
  size_t begin = *at + 1, end = begin;
  int open = 1;
  for (; end < s->len; end++) {
    open += s->data[end] == '(' ? 1 : s->data[end] == ')' ? -1 : 0;
    if (!open) break;
  }
  if (end >= s->len) el_fault(r, "a format has no end");
  *at = end + 1;
  if (args.kind != EL_DICT) el_fault(r, "a format with names needs a dict");
  el_val v = el_dict_get(r, args.dict, el_val_string(el_text_cut(&r->task, s, begin, end)));
  if (v.kind == EL_MISSING) el_fault(r, "a format names what is not there");
  return v;
}

typedef struct values {
  el_val args;
  uint32_t used;
  bool is_named;
} values;

static el_val next_value(el_rendering *r, values *v) {
  bool tuple = v->args.kind == EL_TUPLE;
  if (tuple ? v->used >= v->args.list->n : v->used > 0) el_fault(r, "a format has not enough arguments");
  return tuple ? v->args.list->items[v->used++] : (v->used++, v->args);
}

static void percent_value(el_rendering *r, el_writer *w, spec *s, el_val v) {
  switch (s->type) {
    case 's': write_padded(r, w, s, el_string(r, v), '>'); return;
    case 'a':
    case 'r': {
      el_writer repr = el_writer_of(r);
      el_write_repr(r, &repr, v);
      write_padded(r, w, s, el_written(&repr), '>');
      return;
    }
    case 'c':
      if (v.kind == EL_STRING && el_text_length(v.s) == 1) {
        write_padded(r, w, s, v.s, '>');
        return;
      }
      el_fault(r, "a format 'c' needs a character");
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o': v = to_integer(r, v, s->type); break;
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G':
      if (!el_val_is_number(v)) el_fault(r, "a format '%c' needs a number, not %s", s->type, el_val_type(v));
      v = (el_val){.kind = EL_FLOAT, .source = v.source, .f = el_val_number(v)};
      if (s->zero && !isfinite(v.f)) s->zero = false;
      break;
    default: el_fault(r, "there is no format '%%%c'", s->type);
  }
  if (s->align == '<') s->zero = false;
  write_formatted_number(r, w, s, v);
}

el_val el_percent(el_rendering *r, const el_text *f, el_val args) {
  el_writer w = el_writer_of(r);
  values v = {.args = args};
  el_step(r, f->len);
  size_t at = 0;
  while (at < f->len) {
    const char *p = memchr(f->data + at, '%', f->len - at);
    size_t stop = p ? (size_t)(p - f->data) : f->len;
    el_write_range(&w, f, at, stop);
    if (!p) break;
    at = stop + 1;
    if (at < f->len && f->data[at] == '%') {
      el_write_range(&w, f, at, at + 1);
      at++;
      continue;
    }
    spec s = {.precision = -1};
    el_val value = {0};
    if (at < f->len && f->data[at] == '(') {
      value = named_value(r, f, &at, args);
      v.is_named = true;
    }
    for (; at < f->len && strchr("-+ #0", f->data[at]) && f->data[at]; at++) {
      char c = f->data[at];
      if (c == '-') s.align = '<';
      if (c == '+' || (c == ' ' && !s.sign)) s.sign = c;
      s.alternative |= c == '#';
      s.zero |= c == '0';
    }
    if (at < f->len && f->data[at] == '*') el_fault(r, "a format's width as an argument is not supported");
    s.width = read_format_number(r, f, &at, MAX_WIDTH);
    if (at < f->len && f->data[at] == '.') {
      at++;
      s.precision = read_format_number(r, f, &at, MAX_PRECISION);
    }
    while (at < f->len && strchr("hlL", f->data[at]) && f->data[at]) at++;
    if (at >= f->len) el_fault(r, "a format has no end");
    s.type = f->data[at++];
    if (value.kind == EL_MISSING) value = next_value(r, &v);
    percent_value(r, &w, &s, value);
  }
  bool mapping = args.kind == EL_DICT || args.kind == EL_LIST || args.kind == EL_RANGE || args.kind == EL_UNDEFINED;
  bool all = args.kind == EL_TUPLE ? v.used == args.list->n : v.used == 1 || mapping;
  if (!all && !v.is_named) el_fault(r, "a format does not use all of its arguments");
  return el_val_string(el_written(&w));
}

/* --- str.format() */

/* "fill align sign # 0 width , .precision type" */
static spec read_spec(el_rendering *r, const el_text *f) {
  spec s = {.precision = -1};
  size_t at = 0;
  if (f->len) {
    size_t n = el_char_size(f->data, f->len);
    if (n < f->len && strchr("<>^=", f->data[n]) && f->data[n]) {
      s.fill = el_text_cut(&r->task, f, 0, n);
      at = n;
    }
    if (strchr("<>^=", f->data[at]) && f->data[at]) s.align = f->data[at++];
  }
  if (at < f->len && strchr("+- ", f->data[at]) && f->data[at]) s.sign = f->data[at++];
  if (at < f->len && f->data[at] == '#') s.alternative = true, at++;
  if (at < f->len && f->data[at] == '0') {
    if (!s.align) s.zero = true;
    at++;
  }
  s.width = read_format_number(r, f, &at, MAX_WIDTH);
  if (at < f->len && f->data[at] == ',') s.comma = true, at++;
  if (at < f->len && f->data[at] == '_') s.underscore = true, at++;
  if (at < f->len && f->data[at] == '.') {
    at++;
    s.precision = read_format_number(r, f, &at, MAX_PRECISION);
  }
  if (at < f->len) s.type = f->data[at++];
  if (at < f->len) el_fault(r, "a format cannot be read");
  return s;
}

static void write_formatted(el_rendering *r, el_writer *w, el_val v, const el_text *format) {
  if (!format->len) {
    el_write_string(r, w, v);
    return;
  }
  spec s = read_spec(r, format);
  if (v.kind == EL_STRING) {
    if ((s.type && s.type != 's') || s.align == '=' || s.sign) el_fault(r, "this format is not for strings");
    if (s.zero && !s.align) s.align = '<', s.fill = el_text_new(&r->task, "0", 1, 0);
    write_padded(r, w, &s, v.s, '<');
  } else if (el_val_is_number(v) && !(v.kind == EL_BOOL && !s.type)) {
    bool known = !s.type || strchr("dxXobeEfFgG%", s.type);
    if (!known || (v.kind == EL_FLOAT && s.type && strchr("dxXob", s.type)))
      el_fault(r, "there is no format '%c' for %s", s.type, el_val_type(v));
    if (v.kind != EL_FLOAT && s.precision >= 0 && (!s.type || strchr("dxXob", s.type)))
      el_fault(r, "an integer's format has no precision");
    write_formatted_number(r, w, &s, v);
  } else if (v.kind == EL_BOOL) {
    v.kind = EL_INT;
    v.i = v.b;
    write_formatted_number(r, w, &s, v);
  } else {
    el_need_defined(r, v);
    el_fault(r, "%s has no format", el_val_type(v));
  }
}

/* "name.attribute[item]" */
static el_val find_field(el_rendering *r, const el_text *f, const el_arguments *a, int64_t *automatic) {
  size_t end = 0;
  while (end < f->len && f->data[end] != '.' && f->data[end] != '[') end++;
  size_t digits = 0;
  int64_t index = read_format_number(r, f, &digits, 1 << 20);
  bool number = digits == end;
  el_val v = {0};
  if (number) {
    if (!end) {
      if (*automatic < 0) el_fault(r, "a format has fields with and without numbers");
      index = (*automatic)++;
    } else {
      if (*automatic > 0) el_fault(r, "a format has fields with and without numbers");
      *automatic = -1;
    }
    if (index < a->n) v = a->positional[index];
  } else {
    for (uint32_t k = 0; k < a->n_keywords; k++)
      if (a->names[k]->len == end && memcmp(a->names[k]->data, f->data, end) == 0) v = a->keywords[k];
  }
  if (v.kind == EL_MISSING) el_fault(r, "a format has not enough arguments");
  while (end < f->len) {
    bool item = f->data[end] == '[';
    size_t begin = ++end;
    while (end < f->len && (item ? f->data[end] != ']' : f->data[end] != '.' && f->data[end] != '[')) end++;
    const el_text *name = el_text_cut(&r->task, f, begin, end);
    size_t n = 0;
    int64_t at = item ? read_format_number(r, name, &n, 1 << 20) : 0;
    v = item && n && n == name->len ? el_get_item(r, v, el_val_int(at))
        : item                      ? el_get_item(r, v, el_val_string(name))
                                    : el_get_attribute(r, v, name);
    el_need_defined(r, v);
    if (item) end++;
  }
  return v;
}

static void write_field(el_rendering *r, el_writer *w, const el_text *f, const el_arguments *a, int64_t *automatic) {
  size_t name = 0;
  int brackets = 0;
  while (name < f->len && (brackets || (f->data[name] != '!' && f->data[name] != ':'))) {
    brackets += f->data[name] == '[' ? 1 : f->data[name] == ']' ? -1 : 0;
    name++;
  }
  size_t at = name;
  char conversion = 0;
  if (at < f->len && f->data[at] == '!') {
    conversion = at + 1 < f->len ? f->data[at + 1] : '?';
    at += 2;
  }
  if (at < f->len && f->data[at] != ':') el_fault(r, "a format cannot be read");
  const el_text *format = el_text_cut(&r->task, f, at + 1, f->len);
  if (memchr(format->data, '{', format->len)) el_fault(r, "formats inside of formats are not supported");
  el_val v = find_field(r, el_text_cut(&r->task, f, 0, name), a, automatic);
  if (conversion == 'r' || conversion == 'a') {
    el_writer repr = el_writer_of(r);
    el_write_repr(r, &repr, v);
    v = el_val_string(el_written(&repr));
  } else if (conversion == 's') {
    v = el_val_string(el_string(r, v));
  } else if (conversion) {
    el_fault(r, "a format has an unknown conversion");
  }
  write_formatted(r, w, v, format);
}

const el_text *el_format(el_rendering *r, const el_text *f, const el_arguments *a) {
  el_writer w = el_writer_of(r);
  int64_t automatic = 0;
  el_step(r, f->len);
  for (size_t at = 0; at < f->len;) {
    char c = f->data[at];
    if (c != '{' && c != '}') {
      size_t end = at;
      while (end < f->len && f->data[end] != '{' && f->data[end] != '}') end++;
      el_write_range(&w, f, at, end);
      at = end;
    } else if (at + 1 < f->len && f->data[at + 1] == c) {
      el_write_range(&w, f, at, at + 1);
      at += 2;
    } else {
      if (c == '}') el_fault(r, "a format has a '}' too much");
      size_t end = at + 1;
      int open = 1;
      for (; end < f->len; end++) {
        open += f->data[end] == '{' ? 1 : f->data[end] == '}' ? -1 : 0;
        if (!open) break;
      }
      if (open) el_fault(r, "a format has no end");
      write_field(r, &w, el_text_cut(&r->task, f, at + 1, end), a, &automatic);
      at = end + 1;
    }
  }
  return el_written(&w);
}
