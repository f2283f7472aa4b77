/* Values as text: str(), repr() and json.dumps(), equal to Python's byte for byte. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "template/builtins.h"

/* The shortest digits that read back as the same number, written as Python does. */
void el_float_repr(double f, char out[40]) {
  char digits[32];
  if (isnan(f) || isinf(f)) {
    strcpy(out, isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
    return;
  }
  int precision = 1;
  do snprintf(digits, sizeof digits, "%.*e", precision - 1, f);
  while (strtod(digits, NULL) != f && ++precision <= 17);
  int exponent = atoi(strchr(digits, 'e') + 1);
  if (exponent >= 16 || exponent < -4) {
    char *e = strchr(digits, 'e');
    snprintf(out, 40, "%.*se%c%02d", (int)(e - digits), digits, exponent < 0 ? '-' : '+', abs(exponent));
    return;
  }
  int places = precision - 1 - exponent;
  snprintf(out, 40, "%.*f", places > 1 ? places : 1, f);
}

static void print_number(el_writer *w, el_val v) {
  char out[40];
  if (v.kind == EL_BOOL)
    el_write(w, v.b ? "True" : "False", v.b ? 4 : 5, v.source);
  else if (v.kind == EL_INT)
    el_write_printf(w, v.source, "%lld", (long long)v.i);
  else
    el_float_repr(v.f, out), el_write(w, out, strlen(out), v.source);
}

/* --- repr() */

static void repr_string(el_writer *w, const el_text *s) {
  char quote = memchr(s->data, '\'', s->len) && !memchr(s->data, '"', s->len) ? '"' : '\'';
  el_write(w, &quote, 1, 0);
  size_t begin = 0;
  for (size_t at = 0, n; at < s->len; at += n) {
    uint32_t c = el_char_code(s->data + at, s->len - at, &n);
    char out[16];
    if (c == '\n' || c == '\r' || c == '\t')
      snprintf(out, sizeof out, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
    else if (c == '\\' || c == (uint32_t)quote)
      snprintf(out, sizeof out, "\\%c", (char)c);
    else if (c >= ' ' && c < 0x7f)
      continue;
    else if (el_char_is_printable(c))
      continue;
    else
      snprintf(out, sizeof out, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)c);
    el_write_range(w, s, begin, at);
    el_write(w, out, strlen(out), el_text_source(s, at));
    begin = at + n;
  }
  el_write_range(w, s, begin, s->len);
  el_write(w, &quote, 1, 0);
}

static void repr_items(el_rendering *r, el_writer *w, const char *open, const el_list *list, const char *close) {
  el_write_cstring(w, open);
  for (uint32_t i = 0; i < list->n; i++) {
    if (i) el_write_cstring(w, ", ");
    el_write_repr(r, w, list->items[i]);
  }
  el_write_cstring(w, close);
}

static void repr_pairs(el_rendering *r, el_writer *w, const el_dict *d) {
  el_write_cstring(w, "{");
  for (uint32_t i = 0; i < d->n; i++) {
    if (i) el_write_cstring(w, ", ");
    el_write_repr(r, w, d->pairs[i].key);
    el_write_cstring(w, ": ");
    el_write_repr(r, w, d->pairs[i].value);
  }
  el_write_cstring(w, "}");
}

static void repr_other(el_rendering *r, el_writer *w, el_val v) {
  static const char *const VIEWS[] = {"dict_keys([", "dict_values([", "dict_items(["};
  switch ((el_kind)v.kind) {
    case EL_VIEW: repr_items(r, w, VIEWS[v.view->kind], el_items(r, v), "])"); break;
    case EL_RANGE:
      el_write_printf(w, 0, "range(%lld, %lld", (long long)v.range->start, (long long)v.range->stop);
      if (v.range->step != 1) el_write_printf(w, 0, ", %lld", (long long)v.range->step);
      el_write_cstring(w, ")");
      break;
    case EL_NAMESPACE:
      el_write_cstring(w, "<Namespace ");
      repr_pairs(r, w, v.dict);
      el_write_cstring(w, ">");
      break;
    case EL_MACRO:
      el_write_cstring(w, "<Macro ");
      repr_string(w, v.macro->def->name);
      el_write_cstring(w, ">");
      break;
    case EL_ITER: el_write_printf(w, 0, "<%s object>", v.iter->name); break;
    default: el_write_printf(w, 0, "<%s object>", el_val_type(v)); break;
  }
}

void el_write_repr(el_rendering *r, el_writer *w, el_val v) {
  el_step(r, v.kind == EL_STRING ? v.s->len : 0);
  el_down(r);
  switch ((el_kind)v.kind) {
    case EL_MISSING:
    case EL_UNDEFINED: el_write_cstring(w, "Undefined"); break;
    case EL_NONE: el_write_cstring(w, "None"); break;
    case EL_BOOL:
    case EL_INT:
    case EL_FLOAT: print_number(w, v); break;
    case EL_STRING:
      if (v.safe) el_write_cstring(w, "Markup(");
      repr_string(w, v.s);
      if (v.safe) el_write_cstring(w, ")");
      break;
    case EL_LIST: repr_items(r, w, "[", v.list, "]"); break;
    case EL_TUPLE: repr_items(r, w, "(", v.list, v.list->n == 1 ? ",)" : ")"); break;
    case EL_DICT: repr_pairs(r, w, v.dict); break;
    default: repr_other(r, w, v); break;
  }
  r->depth--;
}

void el_write_string(el_rendering *r, el_writer *w, el_val v) {
  if (v.kind == EL_STRING)
    el_write_text(w, v.s);
  else if (v.kind != EL_UNDEFINED && v.kind != EL_MISSING)
    el_write_repr(r, w, v);
}

const el_text *el_string(el_rendering *r, el_val v) {
  if (v.kind == EL_STRING) return v.s;
  el_writer w = el_writer_of(r);
  el_write_string(r, &w, v);
  return el_written(&w);
}

/* --- json.dumps() */

static void print_json_string(el_rendering *r, el_writer *w, const el_text *s, bool ascii) {
  el_step(r, s->len);
  el_write_cstring(w, "\"");
  size_t begin = 0;
  for (size_t at = 0, n; at < s->len; at += n) {
    uint32_t c = el_char_code(s->data + at, s->len - at, &n);
    static const char NAMES[] = "\"\\nrtbf", VALUES[] = "\"\\\n\r\t\b\f";
    const char *known = c && c < 0x80 ? strchr(VALUES, (int)c) : NULL;
    char out[16];
    if (known)
      snprintf(out, sizeof out, "\\%c", NAMES[known - VALUES]);
    else if (c >= ' ' && (c < 0x7f || !ascii))
      continue;
    else if (c < 0x10000)
      snprintf(out, sizeof out, "\\u%04x", (unsigned)c);
    else
      snprintf(out, sizeof out, "\\u%04x\\u%04x", 0xd800 + ((unsigned)c - 0x10000) / 0x400,
               0xdc00 + ((unsigned)c - 0x10000) % 0x400);
    el_write_range(w, s, begin, at);
    el_write(w, out, strlen(out), el_text_source(s, at));
    begin = at + n;
  }
  el_write_range(w, s, begin, s->len);
  el_write_cstring(w, "\"");
}

static void print_json_number(el_writer *w, el_val v) {
  if (v.kind == EL_BOOL)
    el_write(w, v.b ? "true" : "false", v.b ? 4 : 5, v.source);
  else if (v.kind == EL_FLOAT && !isfinite(v.f))
    el_write_cstring(w, isnan(v.f) ? "NaN" : v.f < 0 ? "-Infinity" : "Infinity");
  else
    print_number(w, v);
}

static void json_value(el_rendering *r, el_writer *w, el_val v, const el_json_style *style, uint32_t level);

static void json_break(el_writer *w, const el_json_style *style, uint32_t level) {
  if (!style->indent) return;
  el_write_cstring(w, "\n");
  for (uint32_t i = 0; i < level; i++) el_write_text(w, style->indent);
}

static void json_key(el_rendering *r, el_writer *w, el_val key, const el_json_style *style) {
  if (key.kind == EL_STRING) {
    print_json_string(r, w, key.s, style->ascii);
    return;
  }
  if (!el_val_is_number(key) && key.kind != EL_NONE) el_fault(r, "keys of JSON are strings, not %s", el_val_type(key));
  el_write_cstring(w, "\"");
  json_value(r, w, key, style, 0);
  el_write_cstring(w, "\"");
}

/* Sorts by key. This is a merge sort because an insertion sort would be quadratic. */
static void sort_pairs(el_rendering *r, el_pair *pairs, el_pair *room, size_t n) {
  if (n < 2) return;
  size_t half = n / 2, a = 0, b = half, k = 0;
  sort_pairs(r, pairs, room, half);
  sort_pairs(r, pairs + half, room, n - half);
  while (k < n) {
    bool first = b == n || (a < half && el_order(r, pairs[b].key, pairs[a].key) >= 0);
    room[k++] = first ? pairs[a++] : pairs[b++];
  }
  memcpy(pairs, room, n * sizeof *pairs);
}

static void json_dict(el_rendering *r, el_writer *w, const el_dict *d, const el_json_style *style, uint32_t level) {
  const el_pair *pairs = d->pairs;
  if (!d->n) {
    el_write_cstring(w, "{}");
    return;
  }
  if (style->sort) {
    el_pair *sorted = el_task_alloc(&r->task, 2 * d->n * sizeof *sorted);
    memcpy(sorted, d->pairs, d->n * sizeof *sorted);
    sort_pairs(r, sorted, sorted + d->n, d->n);
    pairs = sorted;
  }
  el_write_cstring(w, "{");
  for (uint32_t i = 0; i < d->n; i++) {
    if (i) el_write_text(w, style->item_separator);
    json_break(w, style, level + 1);
    json_key(r, w, pairs[i].key, style);
    el_write_text(w, style->key_separator);
    json_value(r, w, pairs[i].value, style, level + 1);
  }
  json_break(w, style, level);
  el_write_cstring(w, "}");
}

static void json_list(el_rendering *r, el_writer *w, const el_list *list, const el_json_style *style, uint32_t level) {
  if (!list->n) {
    el_write_cstring(w, "[]");
    return;
  }
  el_write_cstring(w, "[");
  for (uint32_t i = 0; i < list->n; i++) {
    if (i) el_write_text(w, style->item_separator);
    json_break(w, style, level + 1);
    json_value(r, w, list->items[i], style, level + 1);
  }
  json_break(w, style, level);
  el_write_cstring(w, "]");
}

static void json_value(el_rendering *r, el_writer *w, el_val v, const el_json_style *style, uint32_t level) {
  el_step(r, 0);
  el_down(r);
  switch ((el_kind)v.kind) {
    case EL_NONE: el_write_cstring(w, "null"); break;
    case EL_BOOL:
    case EL_INT:
    case EL_FLOAT: print_json_number(w, v); break;
    case EL_STRING: print_json_string(r, w, v.s, style->ascii); break;
    case EL_LIST:
    case EL_TUPLE: json_list(r, w, v.list, style, level); break;
    case EL_DICT: json_dict(r, w, v.dict, style, level); break;
    default: el_need_defined(r, v); el_fault(r, "%s cannot be written as JSON", el_val_type(v));
  }
  r->depth--;
}

void el_write_json(el_rendering *r, el_writer *w, el_val v, const el_json_style *style) {
  json_value(r, w, v, style, 0);
}
