#include "bench/load/http.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

void el_http_reset(el_http *h) {
  *h = (el_http){.state = EL_HTTP_START};
}

static void bad_response(el_http *h, const char *why) {
  h->state = EL_HTTP_BAD;
  h->why = why;
}

/* ---- the head */

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/* HTTP/1.x SSS[ reason] */
static void status_line(el_http *h) {
  const char *s = h->line;
  if (h->n_line < 12 || strncmp(s, "HTTP/1.", 7) != 0 || (s[7] != '0' && s[7] != '1') || s[8] != ' ' ||
      !is_digit(s[9]) || !is_digit(s[10]) || !is_digit(s[11]) || (s[12] && s[12] != ' ')) {
    bad_response(h, "it begins with no status line of HTTP/1.1");
    return;
  }
  h->status = (s[9] - '0') * 100 + (s[10] - '0') * 10 + (s[11] - '0');
  h->keep_alive = s[7] == '1';
  h->chunked = h->has_length = false;
  if (h->status < 100 || h->status == 101)
    bad_response(h, "its status is none that was asked for");
  else
    h->state = EL_HTTP_FIELDS;
}

/* Whether a comma-separated list has the word. */
static bool has_word(const char *list, const char *word) {
  size_t len = strlen(word);
  while (*list) {
    list += strspn(list, ", \t");
    size_t n = strcspn(list, ", \t");
    if (n == len && strncasecmp(list, word, n) == 0) return true;
    list += n;
  }
  return false;
}

static bool read_decimal(const char *text, uint64_t *out) {
  uint64_t n = 0;
  if (!*text) return false;
  for (; *text; text++) {
    if (!is_digit(*text) || n > (UINT64_MAX - 9) / 10) return false;
    n = n * 10 + (uint64_t)(*text - '0');
  }
  *out = n;
  return true;
}

static void content_length(el_http *h, const char *value) {
  uint64_t n;
  if (!read_decimal(value, &n)) {
    bad_response(h, "its Content-Length is no number");
  } else if (h->has_length && n != h->left) {
    bad_response(h, "it has two Content-Lengths");
  } else {
    h->has_length = true;
    h->left = n;
  }
}

static void take_field(el_http *h) {
  char *colon = strchr(h->line, ':');
  if (!colon || colon == h->line || memchr(h->line, ' ', (size_t)(colon - h->line)) || strlen(h->line) != h->n_line) {
    bad_response(h, "a line of its head is no field");
    return;
  }
  *colon = 0;
  char *value = colon + 1 + strspn(colon + 1, " \t"), *end = value + strlen(value);
  while (end > value && (end[-1] == ' ' || end[-1] == '\t')) *--end = 0;
  if (strcasecmp(h->line, "content-length") == 0) {
    content_length(h, value);
  } else if (strcasecmp(h->line, "transfer-encoding") == 0) {
    if (strcasecmp(value, "chunked") != 0 || h->chunked)
      bad_response(h, "its Transfer-Encoding is not 'chunked'");
    else
      h->chunked = true;
  } else if (strcasecmp(h->line, "connection") == 0) {
    if (has_word(value, "close")) h->keep_alive = false;
  }
}

static void head_end(el_http *h) {
  if (h->status < 200) { /* 100 Continue and the like: the answer follows */
    h->state = EL_HTTP_START;
    h->status = 0;
  } else if (h->chunked && h->has_length) {
    bad_response(h, "it has both a Content-Length and a Transfer-Encoding");
  } else if (h->status == 204 || h->status == 304) {
    h->state = EL_HTTP_DONE;
  } else if (h->chunked) {
    h->state = EL_HTTP_CHUNK_SIZE;
  } else if (h->has_length) {
    h->state = h->left ? EL_HTTP_LENGTH : EL_HTTP_DONE;
  } else {
    h->state = EL_HTTP_CLOSE;
    h->keep_alive = false;
  }
}

/* ---- the body's frame */

static int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  c = (char)tolower((unsigned char)c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void chunk_size(el_http *h) {
  const char *p = h->line;
  uint64_t n = 0;
  for (; hex_digit(*p) >= 0; p++) {
    if (n >> 56) break; /* then it is no size, either */
    n = n << 4 | (uint64_t)hex_digit(*p);
  }
  if (p == h->line || (*p && *p != ';' && *p != ' ' && *p != '\t')) {
    bad_response(h, "the size of a chunk is no number");
  } else {
    h->left = n;
    h->head = 0; /* trailers are counted as a head of their own */
    h->state = n ? EL_HTTP_CHUNK : EL_HTTP_TRAILER;
  }
}

static void line_end(el_http *h) {
  h->line[h->n_line] = 0;
  switch (h->state) {
    case EL_HTTP_START: status_line(h); break;
    case EL_HTTP_FIELDS:
      if (h->n_line)
        take_field(h);
      else
        head_end(h);
      break;
    case EL_HTTP_CHUNK_SIZE: chunk_size(h); break;
    case EL_HTTP_CHUNK_END:
      if (h->n_line)
        bad_response(h, "a chunk is longer than its size");
      else
        h->state = EL_HTTP_CHUNK_SIZE;
      break;
    default: /* EL_HTTP_TRAILER: fields that say nothing here */
      if (!h->n_line) h->state = EL_HTTP_DONE;
      break;
  }
  h->n_line = 0;
}

/* One byte of a line. It ends with CR LF, and neither stands inside it. */
static void line_byte(el_http *h, char c) {
  bool after_cr = h->n_line && h->line[h->n_line - 1] == '\r';
  if (++h->head > EL_HTTP_MAX_HEAD && h->state != EL_HTTP_CHUNK_SIZE && h->state != EL_HTTP_CHUNK_END) {
    bad_response(h, "its head is longer than 64 KiB");
  } else if (c == '\n' && after_cr) {
    h->n_line--;
    line_end(h);
  } else if (c == '\n' || after_cr) {
    bad_response(h, "a line does not end with CR LF");
  } else if (h->n_line + 1 >= sizeof h->line) {
    bad_response(h, "a line is longer than 8 KiB");
  } else {
    h->line[h->n_line++] = c;
  }
}

static size_t body_bytes(el_http *h, const char *data, size_t len, const char **body, size_t *body_len) {
  size_t n = h->state == EL_HTTP_CLOSE || h->left > len ? len : (size_t)h->left;
  *body = data;
  *body_len = n;
  if (h->state == EL_HTTP_CLOSE) return n;
  h->left -= n;
  if (!h->left) h->state = h->state == EL_HTTP_CHUNK ? EL_HTTP_CHUNK_END : EL_HTTP_DONE;
  return n;
}

size_t el_http_read(el_http *h, const char *data, size_t len, const char **body, size_t *body_len) {
  *body = NULL;
  *body_len = 0;
  size_t i = 0;
  while (i < len && h->state != EL_HTTP_DONE && h->state != EL_HTTP_BAD) {
    if (h->state == EL_HTTP_LENGTH || h->state == EL_HTTP_CLOSE || h->state == EL_HTTP_CHUNK)
      return i + body_bytes(h, data + i, len - i, body, body_len);
    line_byte(h, data[i++]);
  }
  return i;
}

void el_http_end(el_http *h) {
  if (h->state == EL_HTTP_CLOSE) {
    h->state = EL_HTTP_DONE;
  } else if (h->state != EL_HTTP_DONE && h->state != EL_HTTP_BAD) {
    bad_response(h, "the connection was closed before the answer's end");
  }
  h->keep_alive = false;
}
