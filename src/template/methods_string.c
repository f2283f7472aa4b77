/* Methods of strings. */
#include <string.h>

#include "template/builtins.h"

#define NAMES(...)        \
  (const char *const[]) { \
    __VA_ARGS__           \
  }

/* What is cut out of markup is markup, too. */
static el_val marked_like(el_val self, const el_text *s) {
  el_val v = el_val_string(s);
  v.safe = self.safe;
  return v;
}

static el_val list_like(el_val self, el_list *list) {
  for (uint32_t i = 0; i < list->n; i++) list->items[i].safe = self.safe;
  return el_val_list(list);
}

/* --- cutting */

static el_val strip_string(el_rendering *r, el_val self, const el_arguments *a, const char *what, bool left,
                           bool right) {
  el_val chars;
  el_bind(r, what, a, NAMES("chars"), 1, 0, &chars);
  return marked_like(self, el_strip(r, self.s, el_text_argument(r, chars, "chars"), left, right));
}
static el_val str_strip(el_rendering *r, el_val self, const el_arguments *a) {
  return strip_string(r, self, a, "strip", true, true);
}
static el_val str_lstrip(el_rendering *r, el_val self, const el_arguments *a) {
  return strip_string(r, self, a, "lstrip", true, false);
}
static el_val str_rstrip(el_rendering *r, el_val self, const el_arguments *a) {
  return strip_string(r, self, a, "rstrip", false, true);
}

static void add_part(el_rendering *r, el_list *list, const el_text *s, size_t begin, size_t end) {
  el_list_add(&r->task, list, el_val_string(el_text_cut(&r->task, s, begin, end)));
}

/* Splits at runs of white space; after `most` cuts, the rest keeps the white space at its end. */
static el_list *split_words(el_rendering *r, const el_text *s, int64_t most) {
  el_list *list = el_list_new(&r->task, 0);
  size_t at = 0, n;
  for (;;) {
    while (at < s->len && el_char_is_space(el_char_code(s->data + at, s->len - at, &n))) at += n;
    if (at == s->len) return list;
    if (most-- == 0) {
      add_part(r, list, s, at, s->len);
      return list;
    }
    size_t begin = at;
    while (at < s->len && !el_char_is_space(el_char_code(s->data + at, s->len - at, &n))) at += n;
    add_part(r, list, s, begin, at);
  }
}

static el_list *rsplit_words(el_rendering *r, const el_text *s, int64_t most) {
  el_list *list = el_list_new(&r->task, 0);
  size_t end = s->len, n;
  for (;;) {
    for (size_t before; end; end = before) {
      before = el_char_before(s, end);
      if (!el_char_is_space(el_char_code(s->data + before, end - before, &n))) break;
    }
    if (!end) return list;
    if (most-- == 0) {
      add_part(r, list, s, 0, end);
      return list;
    }
    size_t begin = end;
    for (size_t before; begin; begin = before) {
      before = el_char_before(s, begin);
      if (el_char_is_space(el_char_code(s->data + before, begin - before, &n))) break;
    }
    add_part(r, list, s, begin, end);
    end = begin;
  }
}

static el_list *split_at(el_rendering *r, const el_text *s, const el_text *at, int64_t most) {
  el_list *list = el_list_new(&r->task, 0);
  size_t begin = 0, end;
  for (; most != 0 && (end = el_text_find(s, at, begin)) != SIZE_MAX; most--) {
    add_part(r, list, s, begin, end);
    begin = end + at->len;
  }
  add_part(r, list, s, begin, s->len);
  return list;
}

static el_list *rsplit_at(el_rendering *r, const el_text *s, const el_text *at, int64_t most) {
  el_list *list = el_list_new(&r->task, 0);
  size_t end = s->len, found;
  for (; most != 0 && (found = el_text_find_last(s, at, end)) != SIZE_MAX; most--) {
    add_part(r, list, s, found + at->len, end);
    end = found;
  }
  add_part(r, list, s, 0, end);
  return list;
}

static void reverse_list(el_list *list) {
  for (uint32_t i = 0; i < list->n / 2; i++) {
    el_val v = list->items[i];
    list->items[i] = list->items[list->n - 1 - i];
    list->items[list->n - 1 - i] = v;
  }
}

static el_val split_string(el_rendering *r, el_val self, const el_arguments *a, const char *what, bool from_right) {
  el_val v[2];
  el_bind(r, what, a, NAMES("sep", "maxsplit"), 2, 0, v);
  const el_text *at = el_text_argument(r, v[0], "sep");
  int64_t most = el_int_argument(r, v[1], "maxsplit", -1);
  el_step(r, (size_t)self.s->len * 2);
  if (at && !at->len) el_fault(r, "'%s' needs something to split at", what);
  el_list *list = !from_right ? (at ? split_at(r, self.s, at, most) : split_words(r, self.s, most))
                  : at        ? rsplit_at(r, self.s, at, most)
                              : rsplit_words(r, self.s, most);
  if (from_right) reverse_list(list);
  return list_like(self, list);
}
static el_val str_split(el_rendering *r, el_val self, const el_arguments *a) {
  return split_string(r, self, a, "split", false);
}
static el_val str_rsplit(el_rendering *r, el_val self, const el_arguments *a) {
  return split_string(r, self, a, "rsplit", true);
}

static el_val str_splitlines(el_rendering *r, el_val self, const el_arguments *a) {
  el_val keep;
  el_bind(r, "splitlines", a, NAMES("keepends"), 1, 0, &keep);
  return list_like(self, el_split_lines(r, self.s, el_bool_argument(r, keep, false)));
}

static el_val partition_string(el_rendering *r, el_val self, const el_arguments *a, const char *what, bool last) {
  el_val sep;
  el_bind(r, what, a, NAMES("sep"), 1, 1, &sep);
  const el_text *s = self.s, *at = el_text_argument(r, sep, "sep");
  if (!at || !at->len) el_fault(r, "'%s' needs something to cut at", what);
  el_step(r, s->len);
  size_t found = last ? el_text_find_last(s, at, s->len) : el_text_find(s, at, 0);
  el_list *list = el_list_new(&r->task, 3);
  if (found == SIZE_MAX) {
    size_t whole = last ? 0 : s->len; /* where the two empty strings go */
    add_part(r, list, s, 0, last ? 0 : s->len);
    add_part(r, list, s, whole, whole);
    add_part(r, list, s, whole, s->len);
  } else {
    add_part(r, list, s, 0, found);
    add_part(r, list, s, found, found + at->len);
    add_part(r, list, s, found + at->len, s->len);
  }
  return el_val_tuple(list);
}
static el_val str_partition(el_rendering *r, el_val self, const el_arguments *a) {
  return partition_string(r, self, a, "partition", false);
}
static el_val str_rpartition(el_rendering *r, el_val self, const el_arguments *a) {
  return partition_string(r, self, a, "rpartition", true);
}

static bool has_at(const el_text *s, const el_text *what, bool end) {
  return what->len <= s->len && memcmp(s->data + (end ? s->len - what->len : 0), what->data, what->len) == 0;
}

static el_val remove_at(el_rendering *r, el_val self, const el_arguments *a, const char *what, bool end) {
  el_val part;
  el_bind(r, what, a, NAMES("part"), 1, 1, &part);
  const el_text *p = el_text_argument(r, part, "part");
  if (!p || !has_at(self.s, p, end)) return self;
  return marked_like(self, el_text_cut(&r->task, self.s, end ? 0 : p->len, end ? self.s->len - p->len : self.s->len));
}
static el_val str_removeprefix(el_rendering *r, el_val self, const el_arguments *a) {
  return remove_at(r, self, a, "removeprefix", false);
}
static el_val str_removesuffix(el_rendering *r, el_val self, const el_arguments *a) {
  return remove_at(r, self, a, "removesuffix", true);
}

/* --- looking */

/* Finds the range of a string that start and end name. False: start is behind its end. */
static bool find_range(el_rendering *r, el_val self, el_val from, el_val to, size_t *begin, size_t *end) {
  if (from.kind == EL_MISSING && to.kind == EL_MISSING) {
    *begin = 0;
    *end = self.s->len;
    return true;
  }
  int64_t n = el_length(r, self), b = el_int_argument(r, from, "start", 0), e = el_int_argument(r, to, "end", n);
  if (b < 0) b = b + n < 0 ? 0 : b + n;
  if (e < 0) e = e + n < 0 ? 0 : e + n;
  if (e > n) e = n;
  if (b > e) return false;
  *begin = el_text_offset(self.s, (size_t)b);
  *end = el_text_offset(self.s, (size_t)e);
  return true;
}

/* Takes one string, or several in a tuple. */
static el_val has_any(el_rendering *r, el_val self, const el_arguments *a, const char *what, bool at_end) {
  el_val v[3];
  size_t begin, end;
  el_bind(r, what, a, NAMES("prefix", "start", "end"), 3, 1, v);
  if (!find_range(r, self, v[1], v[2], &begin, &end)) return el_val_bool(false);
  const el_text *s = el_text_cut(&r->task, self.s, begin, end);
  el_list one = {.items = &v[0], .n = 1};
  const el_list *list = v[0].kind == EL_TUPLE ? v[0].list : &one;
  for (uint32_t i = 0; i < list->n; i++) {
    const el_text *part = el_text_argument(r, list->items[i], what);
    el_step(r, part ? part->len : 0);
    if (!part) el_fault(r, "'%s' needs a string", what);
    if (has_at(s, part, at_end)) return el_val_bool(true);
  }
  return el_val_bool(false);
}
static el_val str_startswith(el_rendering *r, el_val self, const el_arguments *a) {
  return has_any(r, self, a, "startswith", false);
}
static el_val str_endswith(el_rendering *r, el_val self, const el_arguments *a) {
  return has_any(r, self, a, "endswith", true);
}

static el_val find_substring(el_rendering *r, el_val self, const el_arguments *a, const char *what, bool last,
                             bool must) {
  el_val v[3];
  size_t begin, end, at = SIZE_MAX;
  el_bind(r, what, a, NAMES("sub", "start", "end"), 3, 1, v);
  const el_text *sub = el_text_argument(r, v[0], "sub");
  if (!sub) el_fault(r, "'%s' needs a string", what);
  el_step(r, self.s->len);
  if (find_range(r, self, v[1], v[2], &begin, &end)) {
    const el_text *s = el_text_cut(&r->task, self.s, begin, end);
    at = last ? el_text_find_last(s, sub, s->len) : el_text_find(s, sub, 0);
  }
  if (at == SIZE_MAX && must) el_fault(r, "'%s' finds nothing", what);
  if (at == SIZE_MAX) return el_val_int(-1);
  return el_val_int((int64_t)el_text_length(el_text_cut(&r->task, self.s, 0, begin + at)));
}
static el_val str_find(el_rendering *r, el_val self, const el_arguments *a) {
  return find_substring(r, self, a, "find", false, false);
}
static el_val str_rfind(el_rendering *r, el_val self, const el_arguments *a) {
  return find_substring(r, self, a, "rfind", true, false);
}
static el_val str_index(el_rendering *r, el_val self, const el_arguments *a) {
  return find_substring(r, self, a, "index", false, true);
}
static el_val str_rindex(el_rendering *r, el_val self, const el_arguments *a) {
  return find_substring(r, self, a, "rindex", true, true);
}

static el_val str_count(el_rendering *r, el_val self, const el_arguments *a) {
  el_val v[3];
  size_t begin, end;
  el_bind(r, "count", a, NAMES("sub", "start", "end"), 3, 1, v);
  const el_text *sub = el_text_argument(r, v[0], "sub");
  if (!sub) el_fault(r, "'count' needs a string");
  el_step(r, self.s->len);
  if (!find_range(r, self, v[1], v[2], &begin, &end)) return el_val_int(0);
  const el_text *s = el_text_cut(&r->task, self.s, begin, end);
  if (!sub->len) return el_val_int((int64_t)el_text_length(s) + 1);
  int64_t n = 0;
  for (size_t at = 0; (at = el_text_find(s, sub, at)) != SIZE_MAX; at += sub->len) n++;
  return el_val_int(n);
}

/* --- changing */

static el_val change_string_case(el_rendering *r, el_val self, const el_arguments *a, const char *what, el_case to) {
  el_no_arguments(r, what, a);
  return marked_like(self, el_change_case(r, self.s, to));
}
static el_val str_upper(el_rendering *r, el_val self, const el_arguments *a) {
  return change_string_case(r, self, a, "upper", EL_TO_UPPER);
}
static el_val str_lower(el_rendering *r, el_val self, const el_arguments *a) {
  return change_string_case(r, self, a, "lower", EL_TO_LOWER);
}
static el_val str_title(el_rendering *r, el_val self, const el_arguments *a) {
  return change_string_case(r, self, a, "title", EL_TO_TITLE);
}
static el_val str_capitalize(el_rendering *r, el_val self, const el_arguments *a) {
  el_no_arguments(r, "capitalize", a);
  return marked_like(self, el_capitalize(r, self.s));
}

static el_val str_replace(el_rendering *r, el_val self, const el_arguments *a) {
  el_val v[3];
  el_bind(r, "replace", a, NAMES("old", "new", "count"), 3, 2, v);
  const el_text *old = el_text_argument(r, v[0], "old"), *with = el_text_argument(r, v[1], "new");
  if (!old || !with) el_fault(r, "'replace' needs two strings");
  if (self.safe && !v[1].safe) with = el_escape(r, with);
  return marked_like(self, el_replace(r, self.s, old, with, el_int_argument(r, v[2], "count", -1)));
}

static el_val str_join(el_rendering *r, el_val self, const el_arguments *a) {
  el_val iterable;
  el_bind(r, "join", a, NAMES("iterable"), 1, 1, &iterable);
  const el_list *list = el_items(r, iterable);
  el_writer w = el_writer_of(r);
  for (uint32_t i = 0; i < list->n; i++) {
    el_val v = list->items[i];
    if (v.kind != EL_STRING) el_fault(r, "'join' needs strings, not %s", el_val_type(v));
    if (i) el_write_text(&w, self.s);
    el_write_text(&w, self.safe && !v.safe ? el_escape(r, v.s) : v.s);
  }
  el_step(r, w.len);
  return marked_like(self, el_written(&w));
}

static el_val str_format(el_rendering *r, el_val self, const el_arguments *a) {
  return marked_like(self, el_format(r, self.s, a));
}

static el_val pad_string(el_rendering *r, el_val self, const el_arguments *a, const char *what, char align) {
  el_val v[2];
  el_bind(r, what, a, NAMES("width", "fillchar"), 2, 1, v);
  const el_text *fill = el_text_argument(r, v[1], "fillchar");
  int64_t width = el_int_argument(r, v[0], "width", 0);
  if (fill && el_text_length(fill) != 1) el_fault(r, "'%s' fills with one character", what);
  return marked_like(self, align == '^' ? el_center(r, self.s, width, fill) : el_pad(r, self.s, width, align, fill));
}
static el_val str_ljust(el_rendering *r, el_val self, const el_arguments *a) {
  return pad_string(r, self, a, "ljust", '<');
}
static el_val str_rjust(el_rendering *r, el_val self, const el_arguments *a) {
  return pad_string(r, self, a, "rjust", '>');
}
static el_val str_center(el_rendering *r, el_val self, const el_arguments *a) {
  return pad_string(r, self, a, "center", '^');
}

static el_val str_zfill(el_rendering *r, el_val self, const el_arguments *a) {
  static const el_text ZERO = {.data = "0", .len = 1};
  el_val width;
  el_bind(r, "zfill", a, NAMES("width"), 1, 1, &width);
  const el_text *s = self.s;
  size_t sign = s->len && (s->data[0] == '+' || s->data[0] == '-');
  el_writer w = el_writer_of(r);
  el_write_range(&w, s, 0, sign);
  el_write_text(&w, el_pad(r, el_text_cut(&r->task, s, sign, s->len),
                           el_int_argument(r, width, "width", 0) - (int64_t)sign, '>', &ZERO));
  return marked_like(self, el_written(&w));
}

/* --- asking */

static bool is_alnum(uint32_t c) {
  return el_char_is_alpha(c) || el_char_is_numeric(c);
}

/* All characters are of the kind, and there is at least one. */
static el_val all_are(el_rendering *r, el_val self, const el_arguments *a, const char *what, bool (*is)(uint32_t)) {
  el_no_arguments(r, what, a);
  el_step(r, self.s->len);
  for (size_t at = 0, n; at < self.s->len; at += n)
    if (!is(el_char_code(self.s->data + at, self.s->len - at, &n))) return el_val_bool(false);
  return el_val_bool(self.s->len > 0);
}
#define ASKS(name, is)                                                            \
  static el_val str_##name(el_rendering *r, el_val self, const el_arguments *a) { \
    return all_are(r, self, a, #name, is);                                        \
  }
ASKS(isalnum, is_alnum)
ASKS(isalpha, el_char_is_alpha)
ASKS(isdecimal, el_char_is_decimal)
ASKS(isdigit, el_char_is_digit)
ASKS(isnumeric, el_char_is_numeric)
ASKS(isspace, el_char_is_space)

static el_val str_islower(el_rendering *r, el_val self, const el_arguments *a) {
  return el_find(el_tests, (el_str){"lower", 5})->fn(r, self, a);
}
static el_val str_isupper(el_rendering *r, el_val self, const el_arguments *a) {
  return el_find(el_tests, (el_str){"upper", 5})->fn(r, self, a);
}

const el_function el_string_methods[] = {{"capitalize", str_capitalize},
                                         {"center", str_center},
                                         {"count", str_count},
                                         {"endswith", str_endswith},
                                         {"find", str_find},
                                         {"format", str_format},
                                         {"index", str_index},
                                         {"isalnum", str_isalnum},
                                         {"isalpha", str_isalpha},
                                         {"isdecimal", str_isdecimal},
                                         {"isdigit", str_isdigit},
                                         {"islower", str_islower},
                                         {"isnumeric", str_isnumeric},
                                         {"isspace", str_isspace},
                                         {"isupper", str_isupper},
                                         {"join", str_join},
                                         {"ljust", str_ljust},
                                         {"lower", str_lower},
                                         {"lstrip", str_lstrip},
                                         {"partition", str_partition},
                                         {"removeprefix", str_removeprefix},
                                         {"removesuffix", str_removesuffix},
                                         {"replace", str_replace},
                                         {"rfind", str_rfind},
                                         {"rindex", str_rindex},
                                         {"rjust", str_rjust},
                                         {"rpartition", str_rpartition},
                                         {"rsplit", str_rsplit},
                                         {"rstrip", str_rstrip},
                                         {"split", str_split},
                                         {"splitlines", str_splitlines},
                                         {"startswith", str_startswith},
                                         {"strip", str_strip},
                                         {"title", str_title},
                                         {"upper", str_upper},
                                         {"zfill", str_zfill},
                                         {NULL, NULL}};
