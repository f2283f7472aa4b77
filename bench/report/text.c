#include "bench/report/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

void el_text_printf(el_text *t, const char *fmt, ...) {
  /* Nearly every piece is short: formatted once, not once to measure and once to write. */
  char small[256];
  va_list args, again;
  va_start(args, fmt);
  va_copy(again, args);
  int n = vsnprintf(small, sizeof small, fmt, args);
  va_end(args);
  if (n < 0 || t->failed) {
    t->failed = true;
  } else if ((size_t)n < sizeof small) {
    t->failed = !el_buf_append(&t->buf, small, (size_t)n);
  } else if (el_buf_reserve(&t->buf, (size_t)n)) {
    vsnprintf(t->buf.data + t->buf.len, (size_t)n + 1, fmt, again);
    t->buf.len += (size_t)n;
  } else {
    t->failed = true;
  }
  va_end(again);
}

void el_text_put(el_text *t, const char *s) {
  if (!t->failed) t->failed = !el_buf_append(&t->buf, s, strlen(s));
}

static const uint32_t REPLACEMENT = 0xFFFD;

/* The next character of UTF-8; `s` moves behind it, by one byte when it is not valid. */
static uint32_t next_char(const char **s) {
  const unsigned char *p = (const unsigned char *)*s;
  int more = p[0] < 0x80                   ? 0
             : p[0] >= 0xC2 && p[0] < 0xE0 ? 1
             : p[0] >= 0xE0 && p[0] < 0xF0 ? 2
             : p[0] >= 0xF0                ? 3
                                           : -1;
  uint32_t c = more == 0 ? p[0] : more > 0 ? p[0] & (0x3Fu >> more) : REPLACEMENT;
  for (int i = 1; i <= more; i++) {
    if ((p[i] & 0xC0) != 0x80) { /* the terminating NUL as well */
      (*s)++;
      return REPLACEMENT;
    }
    c = c << 6 | (p[i] & 0x3F);
  }
  bool overlong = (more == 2 && c < 0x800) || (more == 3 && c < 0x10000);
  if (more < 0 || overlong || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) {
    (*s)++;
    return REPLACEMENT;
  }
  *s += 1 + more;
  return c;
}

static bool may_stand(uint32_t c) {
  if (c < 0x20 || (c >= 0x7F && c < 0xA0)) return false;                                         /* controls */
  if (c == 0x200E || c == 0x200F || c == 0x061C) return false;                                   /* direction marks */
  if ((c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) || c == 0xFEFF) return false; /* and overrides */
  return (c & 0xFFFE) != 0xFFFE;
}

static void put_char(el_text *t, uint32_t c) {
  char out[5] = {0};
  if (c < 0x80) {
    out[0] = (char)c;
  } else if (c < 0x800) {
    out[0] = (char)(0xC0 | c >> 6);
    out[1] = (char)(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out[0] = (char)(0xE0 | c >> 12);
    out[1] = (char)(0x80 | (c >> 6 & 0x3F));
    out[2] = (char)(0x80 | (c & 0x3F));
  } else {
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
  }
  el_text_put(t, out);
}

static void put_xml(el_text *t, uint32_t c) {
  switch (c) {
    case '&': el_text_put(t, "&amp;"); break;
    case '<': el_text_put(t, "&lt;"); break;
    case '>': el_text_put(t, "&gt;"); break;
    case '"': el_text_put(t, "&quot;"); break;
    case '\'': el_text_put(t, "&#39;"); break;
    default: put_char(t, c);
  }
}

static void put_markdown(el_text *t, uint32_t c) {
  /* Renderers take HTML and entities in Markdown as they are, so these go first. */
  if (c == '&' || c == '<' || c == '>') {
    put_xml(t, c);
    return;
  }
  if (c < 0x80 && strchr("\\`*_[]#|~$@", (int)c)) el_text_put(t, "\\");
  put_char(t, c);
}

static void put_name(el_text *t, const char *name, void (*put)(el_text *t, uint32_t c)) {
  for (int n = 0; *name; n++) {
    if (n == EL_TEXT_NAME_MAX) {
      el_text_put(t, "…");
      break;
    }
    uint32_t c = next_char(&name);
    put(t, may_stand(c) ? c : REPLACEMENT);
  }
}

void el_text_xml(el_text *t, const char *name) {
  put_name(t, name, put_xml);
}

void el_text_markdown(el_text *t, const char *name) {
  put_name(t, name, put_markdown);
}

void el_text_clean(el_text *t, const char *name) {
  put_name(t, name, put_char);
}

void el_text_free(el_text *t) {
  el_buf_free(&t->buf);
  *t = (el_text){0};
}
