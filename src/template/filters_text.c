/* Filters that return texts. */
#include <string.h>

#include "template/builtins.h"

#define NAMES(...)        \
  (const char *const[]) { \
    __VA_ARGS__           \
  }

static el_val text_like(el_val self, const el_text *s) {
  el_val v = el_val_string(s);
  v.safe = self.kind == EL_STRING && self.safe;
  return v;
}

static el_val filter_string(el_rendering *r, el_val self, const el_arguments *a) {
  el_no_arguments(r, "string", a);
  return text_like(self, el_string(r, self));
}

static el_val filter_safe(el_rendering *r, el_val self, const el_arguments *a) {
  el_no_arguments(r, "safe", a);
  el_val v = el_val_string(el_string(r, self));
  v.safe = true;
  return v;
}

static el_val filter_escape(el_rendering *r, el_val self, const el_arguments *a) {
  el_no_arguments(r, "escape", a);
  if (self.kind == EL_STRING && self.safe) return self;
  el_val v = el_val_string(el_escape(r, el_string(r, self)));
  v.safe = true;
  return v;
}

static el_val filter_forceescape(el_rendering *r, el_val self, const el_arguments *a) {
  el_no_arguments(r, "forceescape", a);
  el_val v = el_val_string(el_escape(r, el_string(r, self)));
  v.safe = true;
  return v;
}

static el_val filter_upper(el_rendering *r, el_val self, const el_arguments *a) {
  el_no_arguments(r, "upper", a);
  return text_like(self, el_change_case(r, el_string(r, self), EL_TO_UPPER));
}

static el_val filter_lower(el_rendering *r, el_val self, const el_arguments *a) {
  el_no_arguments(r, "lower", a);
  return text_like(self, el_change_case(r, el_string(r, self), EL_TO_LOWER));
}

static el_val filter_capitalize(el_rendering *r, el_val self, const el_arguments *a) {
  el_no_arguments(r, "capitalize", a);
  return text_like(self, el_capitalize(r, el_string(r, self)));
}

static bool begins_word_after(uint32_t c) {
  return el_char_is_space(c) || (c < 0x80 && strchr("-({[<", (int)c) && c);
}

/* Jinja's own rule, which is not str.title(): words begin only after white space, brackets and
 * hyphens. */
static el_val filter_title(el_rendering *r, el_val self, const el_arguments *a) {
  el_no_arguments(r, "title", a);
  const el_text *s = el_string(r, self);
  el_writer w = el_writer_of(r);
  for (size_t at = 0, end; at < s->len; at = end) {
    size_t n, first;
    bool between = begins_word_after(el_char_code(s->data + at, s->len - at, &first));
    for (end = at + first; end < s->len; end += n)
      if (begins_word_after(el_char_code(s->data + end, s->len - end, &n)) != between) break;
    el_write_text(&w, el_change_case(r, el_text_cut(&r->task, s, at, at + first), EL_TO_UPPER));
    el_write_text(&w, el_change_case(r, el_text_cut(&r->task, s, at + first, end), EL_TO_LOWER));
  }
  return el_val_string(el_written(&w));
}

static el_val filter_trim(el_rendering *r, el_val self, const el_arguments *a) {
  el_val chars;
  el_bind(r, "trim", a, NAMES("chars"), 1, 0, &chars);
  return text_like(self, el_strip(r, el_string(r, self), el_text_argument(r, chars, "chars"), true, true));
}

static el_val filter_replace(el_rendering *r, el_val self, const el_arguments *a) {
  el_val v[3];
  el_bind(r, "replace", a, NAMES("old", "new", "count"), 3, 2, v);
  return el_val_string(
      el_replace(r, el_string(r, self), el_string(r, v[0]), el_string(r, v[1]), el_int_argument(r, v[2], "count", -1)));
}

static el_val filter_join(el_rendering *r, el_val self, const el_arguments *a) {
  el_val v[2];
  el_bind(r, "join", a, NAMES("d", "attribute"), 2, 0, v);
  el_writer empty = el_writer_of(r);
  const el_text *between = v[0].kind == EL_MISSING ? el_written(&empty) : el_string(r, v[0]);
  const el_list *list = el_items(r, self);
  el_writer w = el_writer_of(r);
  for (uint32_t i = 0; i < list->n; i++) {
    if (i) el_write_text(&w, between);
    el_write_string(r, &w, el_get_path(r, list->items[i], v[1], (el_val){0}));
  }
  el_step(r, w.len);
  return el_val_string(el_written(&w));
}

static el_val filter_indent(el_rendering *r, el_val self, const el_arguments *a) {
  el_val v[3];
  el_bind(r, "indent", a, NAMES("width", "first", "blank"), 3, 0, v);
  if (self.kind != EL_STRING) {
    el_need_defined(r, self);
    el_fault(r, "'indent' is for strings, not %s", el_val_type(self));
  }
  el_val width = v[0];
  const el_text *indent;
  if (width.kind == EL_STRING) {
    indent = width.s;
  } else {
    el_writer spaces = el_writer_of(r);
    int64_t n = el_int_argument(r, width, "width", 4);
    el_write_repeated(&spaces, " ", n > 0 ? (size_t)n : 0, 0);
    indent = el_written(&spaces);
  }
  bool first = el_bool_argument(r, v[1], false), blank = el_bool_argument(r, v[2], false);
  el_writer with_end = el_writer_of(r), w = el_writer_of(r);
  el_write_text(&with_end, self.s);
  el_write_cstring(&with_end, "\n");
  const el_list *lines = el_split_lines(r, el_written(&with_end), false);
  for (uint32_t i = 0; i < lines->n; i++) {
    if (i) el_write_cstring(&w, "\n");
    if (i ? blank || lines->items[i].s->len : first) el_write_text(&w, indent);
    el_write_text(&w, lines->items[i].s);
    el_step(r, w.len / 16);
  }
  return text_like(self, el_written(&w));
}

static el_val filter_center(el_rendering *r, el_val self, const el_arguments *a) {
  el_val width;
  el_bind(r, "center", a, NAMES("width"), 1, 0, &width);
  const el_text *s = el_string(r, self);
  return text_like(self, el_center(r, s, el_int_argument(r, width, "width", 80), NULL));
}

static el_val filter_format(el_rendering *r, el_val self, const el_arguments *a) {
  if (a->n && a->n_keywords) el_fault(r, "'format' takes arguments with or without names, not both");
  el_val args;
  if (a->n_keywords) {
    el_dict *d = el_dict_new(&r->task);
    for (uint32_t i = 0; i < a->n_keywords; i++) el_dict_set(r, d, el_val_string(a->names[i]), a->keywords[i]);
    args = el_val_dict(d);
  } else {
    el_list *list = el_list_new(&r->task, a->n);
    for (uint32_t i = 0; i < a->n; i++) el_list_add(&r->task, list, a->positional[i]);
    args = el_val_tuple(list);
  }
  return text_like(self, el_percent(r, el_string(r, self), args).s);
}

static el_val filter_truncate(el_rendering *r, el_val self, const el_arguments *a) {
  el_val v[4];
  el_bind(r, "truncate", a, NAMES("length", "killwords", "end", "leeway"), 4, 0, v);
  const el_text *end = el_text_argument(r, v[2], "end");
  if (!end) end = el_text_new(&r->task, "...", 3, 0);
  int64_t most = el_int_argument(r, v[0], "length", 255), leeway = el_int_argument(r, v[3], "leeway", 5);
  int64_t tail = (int64_t)el_text_length(end), have = el_length(r, self);
  if (most < tail || leeway < 0) el_fault(r, "'truncate' needs a length that its end fits into");
  if (have - leeway <= most) return self;
  if (self.kind != EL_STRING) el_fault(r, "'truncate' is for strings, not %s", el_val_type(self));
  const el_text *s = self.s;
  const el_text *cut = el_text_cut(&r->task, s, 0, el_text_offset(s, (size_t)(most - tail)));
  if (!el_bool_argument(r, v[1], false)) {
    const el_text space = {.data = " ", .len = 1};
    size_t at = el_text_find_last(cut, &space, cut->len);
    if (at != SIZE_MAX) cut = el_text_cut(&r->task, cut, 0, at);
  }
  el_writer w = el_writer_of(r);
  el_write_text(&w, cut);
  el_write_text(&w, end);
  return el_val_string(el_written(&w));
}

static el_val filter_wordcount(el_rendering *r, el_val self, const el_arguments *a) {
  el_no_arguments(r, "wordcount", a);
  const el_text *s = el_string(r, self);
  int64_t n_words = 0;
  bool inside = false;
  el_step(r, s->len);
  for (size_t at = 0, n; at < s->len; at += n) {
    uint32_t c = el_char_code(s->data + at, s->len - at, &n);
    bool word = c == '_' || el_char_is_alpha(c) || el_char_is_numeric(c);
    n_words += word && !inside;
    inside = word;
  }
  return el_val_int(n_words);
}

static void quote_url(el_writer *w, const el_text *s, bool query) {
  static const char SAFE[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-~";
  for (size_t i = 0; i < s->len; i++) {
    unsigned char c = (unsigned char)s->data[i];
    if ((c && strchr(SAFE, c)) || (c == '/' && !query))
      el_write_range(w, s, i, i + 1);
    else if (c == ' ' && query)
      el_write(w, "+", 1, el_text_source(s, i));
    else
      el_write_printf(w, el_text_source(s, i), "%%%02X", c);
  }
}

static el_val filter_urlencode(el_rendering *r, el_val self, const el_arguments *a) {
  el_no_arguments(r, "urlencode", a);
  el_writer w = el_writer_of(r);
  if (self.kind == EL_STRING || !el_iterable(self)) {
    quote_url(&w, el_string(r, self), false);
  } else {
    el_view view = {EL_VIEW_ITEMS, self.dict};
    const el_list *pairs = el_items(r, self.kind == EL_DICT ? (el_val){.kind = EL_VIEW, .view = &view} : self);
    for (uint32_t i = 0; i < pairs->n; i++) {
      const el_list *pair = el_items(r, pairs->items[i]);
      if (pair->n != 2) el_fault(r, "'urlencode' needs pairs");
      if (i) el_write_cstring(&w, "&");
      quote_url(&w, el_string(r, pair->items[0]), true);
      el_write_cstring(&w, "=");
      quote_url(&w, el_string(r, pair->items[1]), true);
    }
  }
  el_step(r, w.len);
  return el_val_string(el_written(&w));
}

static const el_text *indent_of(el_rendering *r, el_val v) {
  if (v.kind == EL_MISSING || v.kind == EL_NONE) return NULL;
  if (v.kind == EL_STRING) return v.s;
  int64_t n = el_int_argument(r, v, "indent", 0);
  if (n > 1000) el_fault(r, "'tojson' indents by 1000 characters at most");
  el_writer w = el_writer_of(r);
  el_write_repeated(&w, " ", n > 0 ? (size_t)n : 0, 0);
  return el_written(&w);
}

/* As transformers defines it for chat templates: json.dumps without escapes for HTML. */
static el_val filter_tojson(el_rendering *r, el_val self, const el_arguments *a) {
  el_val v[4];
  el_bind(r, "tojson", a, NAMES("ensure_ascii", "indent", "separators", "sort_keys"), 4, 0, v);
  el_json_style style = {.ascii = el_bool_argument(r, v[0], false),
                         .sort = el_bool_argument(r, v[3], false),
                         .indent = indent_of(r, v[1])};
  style.item_separator = el_text_new(&r->task, ", ", style.indent ? 1 : 2, 0);
  style.key_separator = el_text_new(&r->task, ": ", 2, 0);
  if (v[2].kind != EL_MISSING && v[2].kind != EL_NONE) {
    const el_list *two = el_items(r, v[2]);
    if (two->n != 2 || two->items[0].kind != EL_STRING || two->items[1].kind != EL_STRING)
      el_fault(r, "'separators' are two strings");
    style.item_separator = two->items[0].s;
    style.key_separator = two->items[1].s;
  }
  el_writer w = el_writer_of(r);
  el_write_json(r, &w, self, &style);
  return el_val_string(el_written(&w));
}

const el_function el_text_filters[] = {{"capitalize", filter_capitalize},
                                       {"center", filter_center},
                                       {"e", filter_escape},
                                       {"escape", filter_escape},
                                       {"forceescape", filter_forceescape},
                                       {"format", filter_format},
                                       {"indent", filter_indent},
                                       {"join", filter_join},
                                       {"lower", filter_lower},
                                       {"replace", filter_replace},
                                       {"safe", filter_safe},
                                       {"string", filter_string},
                                       {"title", filter_title},
                                       {"tojson", filter_tojson},
                                       {"trim", filter_trim},
                                       {"truncate", filter_truncate},
                                       {"upper", filter_upper},
                                       {"urlencode", filter_urlencode},
                                       {"wordcount", filter_wordcount},
                                       {NULL, NULL}};
