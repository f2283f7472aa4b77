#include "base/json_out.h"

#include <math.h>
#include <string.h>

#include "base/text.h"

static bool write_escaped(el_buf *b, unsigned char c) {
  switch (c) {
    case '"': return el_buf_append(b, "\\\"", 2);
    case '\\': return el_buf_append(b, "\\\\", 2);
    case '\n': return el_buf_append(b, "\\n", 2);
    case '\r': return el_buf_append(b, "\\r", 2);
    case '\t': return el_buf_append(b, "\\t", 2);
    default: return el_buf_printf(b, "\\u%04x", c);
  }
}

bool el_json_string(el_buf *b, const char *s, size_t len) {
  if (!len) return el_buf_append(b, "\"\"", 2); /* s may be NULL */
  if (!el_buf_append(b, "\"", 1)) return false;
  size_t plain = 0, i = 0; /* [plain, i) can be copied as it is */
  while (i < len) {
    unsigned char c = (unsigned char)s[i];
    size_t n = c < 0x80 ? 1 : (size_t)el_utf8_length(s + i, len - i);
    if (n && c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) {
      i += n;
      continue;
    }
    if (!el_buf_append(b, s + plain, i - plain)) return false;
    if (n) {
      if (!write_escaped(b, c)) return false;
      i++;
    } else {
      if (!el_buf_append(b, "\xef\xbf\xbd", 3)) return false;
      for (i++; i < len && ((unsigned char)s[i] & 0xc0) == 0x80; i++) {
      }
    }
    plain = i;
  }
  return el_buf_append(b, s + plain, i - plain) && el_buf_append(b, "\"", 1);
}

bool el_json_cstring(el_buf *b, const char *s) {
  return s ? el_json_string(b, s, strlen(s)) : el_buf_append(b, "null", 4);
}

bool el_json_float(el_buf *b, double v) {
  return el_buf_printf(b, "%.9g", isfinite(v) ? v : -9999.0);
}
