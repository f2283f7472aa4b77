/* What filters and methods of strings share. */
#include <string.h>

#include "template/builtins.h"

static bool is_stripped(uint32_t c, const char *at, size_t n, const el_text *chars) {
  if (!chars) return el_char_is_space(c);
  el_text one = {.data = at, .len = (uint32_t)n};
  return el_text_find(chars, &one, 0) != SIZE_MAX;
}

const el_text *el_strip(el_rendering *r, const el_text *s, const el_text *chars, bool left, bool right) {
  size_t begin = 0, end = s->len, n;
  el_step(r, s->len);
  while (left && begin < end) {
    uint32_t c = el_char_code(s->data + begin, end - begin, &n);
    if (!is_stripped(c, s->data + begin, n, chars)) break;
    begin += n;
  }
  while (right && begin < end) {
    size_t before = el_char_before(s, end);
    uint32_t c = el_char_code(s->data + before, end - before, &n);
    if (!is_stripped(c, s->data + before, n, chars)) break;
    end = before;
  }
  return el_text_cut(&r->task, s, begin, end);
}

/* The small Greek sigma has another form at the end of a word. */
static bool is_last_letter(const el_text *s, size_t begin, size_t end) {
  size_t n;
  if (begin == 0) return false;
  size_t before = el_char_before(s, begin);
  if (!el_char_is_alpha(el_char_code(s->data + before, begin - before, &n))) return false;
  return end == s->len || !el_char_is_alpha(el_char_code(s->data + end, s->len - end, &n));
}

static void write_char(el_writer *w, el_case to, const el_text *s, size_t at, uint32_t c, size_t n) {
  uint32_t changed[3];
  if (to == EL_TO_LOWER && c == 0x3a3 && is_last_letter(s, at, at + n)) {
    el_write(w, "\xcf\x82", 2, el_text_source(s, at));
    return;
  }
  size_t count = el_char_to(to, c, changed);
  for (size_t k = 0; k < count; k++) {
    char bytes[4];
    el_write(w, bytes, el_char_write(changed[k], bytes), el_text_source(s, at));
  }
}

const el_text *el_change_case(el_rendering *r, const el_text *s, el_case to) {
  el_writer w = el_writer_of(r);
  bool word = false; /* the character before was a letter with case: in a title the next one stays
                      * small */
  el_step(r, (size_t)s->len * 4);
  for (size_t at = 0, n; at < s->len; at += n) {
    uint32_t c = el_char_code(s->data + at, s->len - at, &n);
    bool cased = el_char_is_lower(c) || el_char_is_upper(c);
    write_char(&w, to == EL_TO_TITLE && word ? EL_TO_LOWER : to, s, at, c, n);
    word = cased;
  }
  return el_written(&w);
}

const el_text *el_capitalize(el_rendering *r, const el_text *s) {
  el_writer w = el_writer_of(r);
  el_step(r, (size_t)s->len * 4);
  for (size_t at = 0, n; at < s->len; at += n) {
    uint32_t c = el_char_code(s->data + at, s->len - at, &n);
    write_char(&w, at ? EL_TO_LOWER : EL_TO_TITLE, s, at, c, n);
  }
  return el_written(&w);
}

const el_text *el_replace(el_rendering *r, const el_text *s, const el_text *old, const el_text *with, int64_t most) {
  el_writer w = el_writer_of(r);
  size_t begin = 0, at = 0;
  el_step(r, s->len);
  if (!old->len) { /* between all characters, and at both ends */
    for (size_t n; most != 0; at += n, most--) {
      el_write_text(&w, with);
      if (at == s->len) break;
      n = el_char_size(s->data + at, s->len - at);
      el_write_range(&w, s, at, at + n);
    }
    el_write_range(&w, s, at, s->len);
    el_step(r, w.len);
    return el_written(&w);
  }
  for (; most != 0 && (at = el_text_find(s, old, begin)) != SIZE_MAX; most--) {
    el_write_range(&w, s, begin, at);
    el_write_text(&w, with);
    begin = at + old->len;
  }
  if (!begin) return s;
  el_write_range(&w, s, begin, s->len);
  el_step(r, w.len);
  return el_written(&w);
}

el_list *el_split_lines(el_rendering *r, const el_text *s, bool keep_ends) {
  el_list *list = el_list_new(&r->task, 0);
  size_t begin = 0;
  el_step(r, (size_t)s->len * 2);
  for (size_t at = 0, n; at < s->len; at += n) {
    if (!el_char_is_line_end(el_char_code(s->data + at, s->len - at, &n))) continue;
    if (s->data[at] == '\r' && at + 1 < s->len && s->data[at + 1] == '\n') n = 2;
    el_list_add(&r->task, list, el_val_string(el_text_cut(&r->task, s, begin, keep_ends ? at + n : at)));
    begin = at + n;
  }
  if (begin < s->len) el_list_add(&r->task, list, el_val_string(el_text_cut(&r->task, s, begin, s->len)));
  return list;
}

const el_text *el_pad(el_rendering *r, const el_text *s, int64_t width, char align, const el_text *fill) {
  if (width <= 0) return s;
  size_t have = el_text_length(s);
  if (have >= (uint64_t)width) return s;
  size_t room = (size_t)width - have;
  size_t left = align == '>' ? room : align == '^' ? room / 2 : 0;
  if ((uint64_t)width > r->task.most) el_fault(r, "a text is padded to %lld characters", (long long)width);
  el_writer w = el_writer_of(r);
  el_step(r, room);
  for (size_t i = 0; i < left; i++) fill ? el_write_text(&w, fill) : el_write_cstring(&w, " ");
  el_write_text(&w, s);
  for (size_t i = left; i < room; i++) fill ? el_write_text(&w, fill) : el_write_cstring(&w, " ");
  return el_written(&w);
}

const el_text *el_center(el_rendering *r, const el_text *s, int64_t width, const el_text *fill) {
  int64_t have = (int64_t)el_text_length(s);
  if (width <= have) return s;
  int64_t room = width - have, left = room / 2 + (room & width & 1);
  return el_pad(r, el_pad(r, s, have + left, '>', fill), width, '<', fill);
}
