#include "answer/derive.h"

#include <stdlib.h>
#include <string.h>

#include "answer/json_scan.h"
#include "answer/parser.h"
#include "answer/probe.h"

/* --- texts */

static el_str cut_text(el_str s, size_t from, size_t to) {
  if (to > s.len) to = s.len;
  if (from > to) from = to;
  return (el_str){s.data + from, to - from};
}

static el_str text_after(el_str s, size_t from) {
  return cut_text(s, from, s.len);
}

static el_str trim_space(el_str s) {
  while (s.len && el_is_space(s.data[0])) s = text_after(s, 1);
  while (s.len && el_is_space(s.data[s.len - 1])) s.len--;
  return s;
}

/* SIZE_MAX: not found. */
static size_t find_in_text(el_str s, const char *what, size_t from) {
  if (from > s.len) return SIZE_MAX;
  const char *at = memmem(s.data + from, s.len - from, what, strlen(what));
  return at ? (size_t)(at - s.data) : SIZE_MAX;
}

static bool opens_mark(char c) {
  return c == '<' || c == '[';
}

static bool closes_mark(char c) {
  return c == '>' || c == ']';
}

bool el_set_mark(char **mark, el_str s) {
  free(*mark);
  s = trim_space(s);
  *mark = el_str_dup(s.len ? s : (el_str){"", 0});
  return *mark != NULL;
}

size_t el_common_front(el_str a, el_str b) {
  size_t n = 0, open = SIZE_MAX;
  while (n < a.len && n < b.len && a.data[n] == b.data[n]) {
    if (opens_mark(a.data[n])) open = n;
    if (closes_mark(a.data[n])) open = SIZE_MAX;
    n++;
  }
  return open != SIZE_MAX ? open : n;
}

static size_t common_bytes_at_end(el_str a, el_str b) {
  size_t n = 0;
  while (n < a.len && n < b.len && a.data[a.len - 1 - n] == b.data[b.len - 1 - n]) n++;
  return n;
}

size_t el_common_end(el_str a, el_str b) {
  size_t n = common_bytes_at_end(a, b), at = a.len - n;
  if (n == a.len || n == b.len) return at;
  /* Not from the middle of a mark on. */
  for (size_t i = at; i < a.len; i++)
    if (opens_mark(a.data[i])) return i;
  for (size_t i = at; i < a.len; i++)
    if (closes_mark(a.data[i])) return a.len;
  return at;
}

static bool set_spaces(char **space, el_str s, bool front) {
  size_t n = 0;
  while (n < s.len && el_is_space(s.data[front ? n : s.len - 1 - n])) n++;
  el_str is = front ? cut_text(s, 0, n) : text_after(s, s.len - n);
  free(*space);
  *space = el_str_dup(is.len ? is : (el_str){"", 0});
  return *space != NULL;
}

/* --- JSON in a turn */

/* The end of the value that begins at `at`; SIZE_MAX: no value begins there. */
static size_t value_end(el_str s, size_t at) {
  el_json_scan scan = {0};
  for (size_t i = at; i < s.len; i++) {
    el_json_step step = el_json_next(&scan, (unsigned char)s.data[i]);
    if (step == EL_JSON_WRONG) break;
    if (step == EL_JSON_DONE) return i + 1;
  }
  return SIZE_MAX;
}

typedef struct span {
  size_t begin, end; /* begin SIZE_MAX: none */
} span;

/* The first list or object, from `from` on, that contains the position `inside`. */
static span value_around(el_str s, size_t from, size_t inside) {
  for (size_t i = from; i < inside; i++) {
    if (s.data[i] != '{' && s.data[i] != '[') continue;
    size_t end = value_end(s, i);
    if (end != SIZE_MAX && end > inside) return (span){i, end};
  }
  return (span){SIZE_MAX, 0};
}

/* The first object after `from` that has the key. */
static span arguments_after(el_str s, size_t from) {
  for (size_t i = from; i < s.len; i++) {
    if (s.data[i] != '{') continue;
    size_t end = value_end(s, i), key = find_in_text(s, EL_PROBE_KEY, i);
    if (end != SIZE_MAX && key < end) return (span){i, end};
  }
  return (span){SIZE_MAX, 0};
}

/* The "key": before the value at `at`. */
static el_str key_before(el_str s, size_t at) {
  while (at && el_is_space(s.data[at - 1])) at--;
  if (!at || s.data[--at] != ':') return (el_str){"", 0};
  while (at && el_is_space(s.data[at - 1])) at--;
  if (!at || s.data[at - 1] != '"') return (el_str){"", 0};
  size_t end = at - 1, begin = end;
  while (begin && s.data[begin - 1] != '"') begin--;
  return cut_text(s, begin, end);
}

/* --- marks around calls */

static el_str skip_mark(el_str s, const char *mark) {
  size_t len = 0;
  s = trim_space(s);
  return el_mark_match(mark, s, &len) == EL_MARK_YES ? text_after(s, len) : s;
}

/* front: before the first call; between: between two calls; behind: after the last one. */
static bool set_around(el_form *f, el_str front, el_str between, el_str behind, bool two) {
  if (!two) return el_set_mark(&f->begin, front) && el_set_mark(&f->end, behind);
  size_t begin = trim_space(front).len ? el_common_end(between, front) : 0;
  if (!trim_space(front).len && f->kind != EL_CALLS_NAMED) begin = between.len;
  el_str call = text_after(between, begin);
  return el_set_mark(&f->begin, call) &&
         el_set_mark(&f->section, cut_text(front, 0, front.len > call.len ? front.len - call.len : 0)) &&
         el_set_mark(&f->end, cut_text(between, 0, begin)) &&
         el_set_mark(&f->section_end, f->section[0] ? skip_mark(behind, f->end) : (el_str){"", 0});
}

/* --- the forms */

static bool derive_json(const el_turns *t, el_form *f, size_t name, span value) {
  el_str c = t->call, none = {"", 0};
  size_t quote = name + strlen(EL_PROBE_NAME), arguments = find_in_text(c, EL_PROBE_KEY, name);
  bool keyed = name && c.data[name - 1] == '"' && quote + 1 < c.len && c.data[quote] == '"' &&
               trim_space(text_after(c, quote + 1)).data[0] == ':';
  f->kind = keyed ? EL_CALLS_KEYED : EL_CALLS_JSON;
  f->list = c.data[value.begin] == '[';
  if (!keyed) {
    /* The arguments may come first. */
    if (arguments == SIZE_MAX) arguments = find_in_text(c, EL_PROBE_KEY, 0);
    while (arguments != SIZE_MAX && arguments && c.data[arguments] != '{') arguments--;
    /* a string of JSON */
    if (arguments != SIZE_MAX && arguments && c.data[arguments - 1] == '"') arguments--;
    if (arguments == SIZE_MAX || !el_set_mark(&f->name_key, key_before(c, name - 1)) ||
        !el_set_mark(&f->args_key, key_before(c, arguments)))
      return false;
  }
  el_str front = cut_text(c, 0, value.begin), behind = text_after(c, value.end);
  if (!set_spaces(&f->begin_space, front, false) || !set_spaces(&f->end_space, behind, true)) return false;
  size_t name_2 = t->calls.data && !f->list ? find_in_text(t->calls, EL_PROBE_NAME_2, 0) : SIZE_MAX;
  if (name_2 == SIZE_MAX) return set_around(f, front, none, behind, false);
  span second = value_around(t->calls, value.end, name_2);
  if (second.begin == SIZE_MAX) return set_around(f, front, none, behind, false);
  return set_around(f, front, cut_text(t->calls, value.end, second.begin), text_after(t->calls, second.end), true);
}

/* What precedes a name: a mark, and possibly an id and another mark. */
static bool set_id_end(el_form *f, el_str *front) {
  size_t id = find_in_text(*front, EL_PROBE_ID, 0);
  if (id == SIZE_MAX) return true;
  if (!el_set_mark(&f->id_end, text_after(*front, id + strlen(EL_PROBE_ID)))) return false;
  front->len = id;
  return true;
}

static bool derive_named(const el_turns *t, el_form *f, size_t name, span arguments) {
  el_str c = t->call, front = cut_text(c, 0, name), middle = cut_text(c, name + strlen(EL_PROBE_NAME), arguments.begin);
  el_str behind = text_after(c, arguments.end), none = {"", 0};
  f->kind = EL_CALLS_NAMED;
  if (!set_id_end(f, &front)) return false;
  size_t name_2 = t->calls.data ? find_in_text(t->calls, EL_PROBE_NAME_2, 0) : SIZE_MAX;
  span second = name_2 == SIZE_MAX ? (span){SIZE_MAX, 0} : arguments_after(t->calls, name_2);
  if (second.begin == SIZE_MAX) return el_set_mark(&f->name_end, middle) && set_around(f, front, none, behind, false);
  el_str between = cut_text(t->calls, arguments.end, name_2);
  size_t id = find_in_text(between, "zqid00002", 0), begin_2 = name_2 + strlen(EL_PROBE_NAME_2);
  if (id != SIZE_MAX) between.len = id;
  el_str middle_2 = cut_text(t->calls, begin_2, second.begin);
  return el_set_mark(&f->name_end, text_after(middle_2, el_common_end(middle_2, middle))) &&
         set_around(f, front, between, text_after(t->calls, second.end), true);
}

static bool derive_python(const el_turns *t, el_form *f, size_t name) {
  el_str front = trim_space(cut_text(t->call, 0, name));
  size_t end = find_in_text(t->call, ")", name);
  f->kind = EL_CALLS_PYTHON;
  if (front.len && front.data[front.len - 1] == '[') {
    front.len--;
    end = find_in_text(t->call, "]", end);
  }
  return end != SIZE_MAX && el_set_mark(&f->begin, front) && el_set_mark(&f->end, text_after(t->call, end + 1));
}

/* NAME{key:<|"|>text<|"|>,other:1}: what stands on both sides of a string is its quote. */
static bool derive_quoted(const el_turns *t, el_form *f, size_t name) {
  el_str c = t->call, none = {"", 0};
  size_t begin = name + strlen(EL_PROBE_NAME), key = find_in_text(c, EL_PROBE_KEY ":", begin);
  size_t value = key == SIZE_MAX ? SIZE_MAX : find_in_text(c, EL_PROBE_VALUE, key), end = find_in_text(c, "}", begin);
  if (c.data[begin] != '{' || value == SIZE_MAX || end == SIZE_MAX || end < value) return false;
  el_str quote = cut_text(c, key + strlen(EL_PROBE_KEY ":"), value);
  size_t behind = value + strlen(EL_PROBE_VALUE);
  if (!quote.len || behind + quote.len > end || memcmp(c.data + behind, quote.data, quote.len)) return false;
  f->kind = EL_CALLS_QUOTED;
  if (!el_set_mark(&f->quote, quote)) return false;
  el_str front = cut_text(c, 0, name), rest = text_after(c, end + 1);
  size_t name_2 = t->calls.data ? find_in_text(t->calls, EL_PROBE_NAME_2, 0) : SIZE_MAX;
  size_t end_2 = name_2 == SIZE_MAX ? SIZE_MAX : find_in_text(t->calls, "}", name_2);
  if (end_2 == SIZE_MAX || name_2 < end) return set_around(f, front, none, rest, false);
  return set_around(f, front, cut_text(t->calls, end + 1, name_2), text_after(t->calls, end_2 + 1), true);
}

/* text, json: what stands between a key and its value, for a string and for a number. */
static bool set_value_marks(el_form *f, el_str text, el_str json) {
  if (!set_spaces(&f->value_space, text, false)) return false;
  if (text.len == json.len && !memcmp(text.data, json.data, text.len)) return el_set_mark(&f->value, text);
  size_t front = 0, end = common_bytes_at_end(text, json);
  while (front < text.len && front < json.len && text.data[front] == json.data[front]) front++;
  /* Words are not cut: "true" and "false" end alike. */
  while (end && el_is_word(text.data[text.len - end])) end--;
  while (front && el_is_word(text.data[front - 1])) front--;
  if (!front || !end || front + end > text.len || front + end > json.len) return false;
  return el_set_mark(&f->key_end, cut_text(text, 0, front)) &&
         el_set_mark(&f->value, text_after(text, text.len - end)) &&
         el_set_mark(&f->text_value, cut_text(text, front, text.len - end)) &&
         el_set_mark(&f->json_value, cut_text(json, front, json.len - end));
}

/* Where the last mark begins that both end with. */
static size_t last_mark(el_str a, el_str b) {
  size_t at = b.len - common_bytes_at_end(a, b);
  for (size_t i = b.len; i > at; i--)
    if (opens_mark(b.data[i - 1])) return i - 1;
  return at;
}

static bool derive_parameters(const el_turns *t, el_form *f, size_t name) {
  el_str c = t->call, none = {"", 0};
  size_t end = name + strlen(EL_PROBE_NAME), key = find_in_text(c, EL_PROBE_KEY, end),
         number = find_in_text(c, EL_PROBE_KEY_2, end);
  size_t value = key == SIZE_MAX ? SIZE_MAX : find_in_text(c, EL_PROBE_VALUE, key);
  size_t value_2 = number == SIZE_MAX ? SIZE_MAX : find_in_text(c, EL_PROBE_VALUE_2, number);
  if (value == SIZE_MAX || value_2 == SIZE_MAX || number < value) return false;
  if (c.data[end] == '(' && c.data[key + strlen(EL_PROBE_KEY)] == '=') return derive_python(t, f, name);
  el_str first = cut_text(c, end, key), next = cut_text(c, value + strlen(EL_PROBE_VALUE), number);
  size_t mark = last_mark(first, next), behind = value_2 + strlen(EL_PROBE_VALUE_2);
  el_str closing = cut_text(next, 0, mark), front = cut_text(c, 0, name);
  if (!trim_space(closing).len || !trim_space(text_after(next, mark)).len) return false;
  f->kind = EL_CALLS_PARAMETERS;
  if (!el_set_mark(&f->key, text_after(next, mark)) || !el_set_mark(&f->value_end, closing) ||
      !set_spaces(&f->value_end_space, closing, true) ||
      !set_value_marks(f, cut_text(c, key + strlen(EL_PROBE_KEY), value),
                       cut_text(c, number + strlen(EL_PROBE_KEY_2), value_2)))
    return false;
  el_str middle = cut_text(first, 0, first.len - (next.len - mark)),
         rest = skip_mark(text_after(c, behind), f->value_end);
  size_t name_2 = t->calls.data ? find_in_text(t->calls, EL_PROBE_NAME_2, 0) : SIZE_MAX;
  if (name_2 == SIZE_MAX) return el_set_mark(&f->name_end, middle) && set_around(f, front, none, rest, false);
  size_t key_2 = find_in_text(t->calls, EL_PROBE_KEY, name_2), last = find_in_text(t->calls, EL_PROBE_VALUE_2, name_2);
  if (key_2 == SIZE_MAX || last == SIZE_MAX) return false;
  el_str first_2 = cut_text(t->calls, name_2 + strlen(EL_PROBE_NAME_2), key_2);
  el_str middle_2 = cut_text(first_2, 0, first_2.len - (next.len - mark));
  return el_set_mark(&f->name_end, text_after(middle_2, el_common_end(middle_2, middle))) &&
         set_around(f, front, skip_mark(cut_text(t->calls, behind, name_2), f->value_end),
                    skip_mark(text_after(t->calls, last + strlen(EL_PROBE_VALUE_2)), f->value_end), true);
}

bool el_derive_calls(const el_turns *t, el_form *f) {
  el_str c = t->call;
  size_t name = c.data ? find_in_text(c, EL_PROBE_NAME, 0) : SIZE_MAX;
  if (name == SIZE_MAX) return false;
  if (find_in_text(c, "<|channel|>", 0) != SIZE_MAX && find_in_text(c, "<|message|>", 0) != SIZE_MAX) {
    f->kind = EL_CALLS_HARMONY;
    return true;
  }
  span value = value_around(c, 0, name);
  if (value.begin != SIZE_MAX) return derive_json(t, f, name, value);
  span arguments = arguments_after(c, name);
  if (arguments.begin != SIZE_MAX) return derive_named(t, f, name, arguments);
  return derive_quoted(t, f, name) || derive_parameters(t, f, name);
}

/* --- reasoning */

bool el_derive_reasoning(el_str turn, el_str opening, el_form *f) {
  size_t thought = find_in_text(turn, EL_PROBE_THOUGHT, 0), said = find_in_text(turn, EL_PROBE_SAID, 0);
  if (thought == SIZE_MAX || said == SIZE_MAX || said < thought) return false;
  size_t base = el_common_front(turn, opening);
  if (base > thought) base = thought;
  el_str begin = trim_space(cut_text(turn, base, thought)),
         end = trim_space(cut_text(turn, thought + strlen(EL_PROBE_THOUGHT), said));
  if (!begin.len) begin = trim_space(text_after(opening, base));
  if (begin.len == end.len && !memcmp(begin.data, end.data, end.len)) begin.len = 0;
  if (!begin.len) /* both open it: its mark is the last one before the reasoning */
    for (size_t i = base; i > 0 && !begin.len; i--)
      if (opens_mark(turn.data[i - 1])) begin = trim_space(cut_text(turn, i - 1, base));
  /* The answer may have a mark of its own. */
  if (f->text[0] && end.len > strlen(f->text)) el_str_chop(&end, f->text);
  end = trim_space(end);
  if (!end.len) return false;
  return el_set_mark(&f->reasoning, begin) && el_set_mark(&f->reasoning_end, end);
}
