#include "server/answers/logprobs.h"

#include <string.h>

#include "base/json_out.h"
#include "base/text.h"

typedef struct waiting {
  size_t start, offset;  /* byte offset in the completion; character offset in the answer's text */
  int32_t before, token; /* before: the previous token; -1: none */
  float logprob;
  size_t n_top; /* el_token_logprob that follow */
} waiting;

static bool is_continuation_byte(const char *s, size_t len) {
  return len && ((unsigned char)s[0] & 0xc0) == 0x80;
}

static size_t count_chars(const char *s, size_t len) {
  size_t n = 0;
  for (size_t i = 0; i < len; i++) n += ((unsigned char)s[i] & 0xc0) != 0x80;
  return n;
}

/* The bytes of a token that follows `before`; [*len]. special: also for a control token. */
static char *bytes_of(const el_tokenizer *t, int32_t before, int32_t token, bool special, size_t *len) {
  char *s;
  el_error err;
  /* With several prompts the router may choose adapters whose tokens differ from those of the first one. */
  if (token >= el_tokenizer_n_vocab(t)) return *len = 0, strdup("");
  return el_detokenize_after(t, before, &token, 1, special, &s, len, &err) ? NULL : s;
}

/* Whether a control token is part of the completion's text. */
static bool shows_token(const el_logprobs *l, int32_t token) {
  const el_request *q = l->request;
  size_t i = 0;
  while (i < q->n_shown_tokens && q->shown_tokens[i] != token) i++;
  return q->show_special || i < q->n_shown_tokens;
}

static char *token_bytes(const el_logprobs *l, int32_t before, int32_t token, size_t *len) {
  return bytes_of(l->tokenizer, before, token, true, len);
}

/* A token that is not valid UTF-8 is written as OpenAI writes it: bytes:\xe2\x80. So is a NUL, which would end a name.
 */
static bool name_bytes(el_buf *name, const char *s, size_t len) {
  if (el_utf8_valid(s, len) && !memchr(s, 0, len)) return el_buf_append(name, s, len);
  bool ok = el_buf_append(name, "bytes:", 6);
  for (size_t i = 0; ok && i < len; i++) ok = el_buf_printf(name, "\\x%02x", (unsigned char)s[i]);
  return ok;
}

static bool write_token_name(el_buf *out, const char *s, size_t len) {
  el_buf name = {0};
  bool ok = name_bytes(&name, s, len) && el_json_string(out, name.data, name.len);
  el_buf_free(&name);
  return ok;
}

static bool write_chat_token(const el_logprobs *l, el_buf *out, int32_t before, int32_t token, float logprob) {
  size_t len;
  char *s = token_bytes(l, before, token, &len);
  if (!s) return false;
  bool ok = el_buf_append(out, "{", 1) && (!l->ids || el_buf_printf(out, "\"id\":%d,", (int)token)) &&
            el_buf_printf(out, "\"token\":") && write_token_name(out, s, len) && el_buf_printf(out, ",\"logprob\":") &&
            el_json_float(out, logprob) && el_buf_printf(out, ",\"bytes\":[");
  for (size_t i = 0; ok && i < len; i++) ok = el_buf_printf(out, i ? ",%u" : "%u", (unsigned char)s[i]);
  el_free(s);
  return ok && el_buf_append(out, "]", 1);
}

static bool write_chat_logprob(el_logprobs *l, const waiting *w, const el_token_logprob *top) {
  el_buf *out = &l->content;
  bool ok = (!l->n || el_buf_append(out, ",", 1)) && write_chat_token(l, out, w->before, w->token, w->logprob) &&
            el_buf_printf(out, ",\"top_logprobs\":[");
  for (size_t i = 0; ok && i < w->n_top; i++)
    ok = (!i || el_buf_append(out, ",", 1)) && write_chat_token(l, out, w->before, top[i].token, top[i].logprob) &&
         el_buf_append(out, "}", 1);
  return ok && el_buf_append(out, "]}", 2);
}

/* {"token": logprob, ...}, best first, always with the sampled token. Several tokens may have the same name; the first
 * of them is kept, as the keys of an object must differ. */
static bool write_top_object(el_logprobs *l, const waiting *w, const el_token_logprob *top) {
  el_buf names = {0}; /* every key so far, each with its NUL */
  bool ok = el_buf_append(&l->top, "{", 1);
  for (size_t i = 0; ok && i <= w->n_top; i++) {
    el_token_logprob t = i < w->n_top ? top[i] : (el_token_logprob){w->token, w->logprob};
    size_t len, at = names.len;
    char *s = token_bytes(l, w->before, t.token, &len);
    ok = s && name_bytes(&names, s, len) && el_buf_append(&names, "", 1);
    el_free(s);
    if (!ok) break;
    size_t size = names.len - at, k = 0;
    while (k < at && strcmp(names.data + k, names.data + at)) k += strlen(names.data + k) + 1;
    if (k < at) {
      names.len = at;
      continue;
    }
    ok = (!at || el_buf_append(&l->top, ",", 1)) && el_json_string(&l->top, names.data + at, size - 1) &&
         el_buf_append(&l->top, ":", 1) && el_json_float(&l->top, t.logprob);
  }
  el_buf_free(&names);
  return ok && el_buf_append(&l->top, "}", 1);
}

static bool write_text_logprob(el_logprobs *l, const waiting *w, const el_token_logprob *top, bool known) {
  const char *comma = l->n ? "," : "";
  size_t len;
  char *s = token_bytes(l, w->before, w->token, &len);
  if (!s) return false;
  bool ok = el_buf_printf(&l->tokens, "%s", comma) && write_token_name(&l->tokens, s, len);
  el_free(s);
  ok = ok && el_buf_printf(&l->offsets, "%s%zu", comma, w->offset) && el_buf_printf(&l->values, "%s", comma) &&
       (known ? el_json_float(&l->values, w->logprob) : el_buf_append(&l->values, "null", 4));
  return ok && (!l->n_top || (el_buf_printf(&l->top, "%s", comma) &&
                              (known ? write_top_object(l, w, top) : el_buf_append(&l->top, "null", 4))));
}

/* The character offset of the next token. A token that continues a character has the offset of that character. */
static size_t token_offset_of(const el_logprobs *l, const char *s, size_t len) {
  return l->token_chars - (l->token_chars && is_continuation_byte(s, len));
}

bool el_logprobs_add(el_logprobs *l, int32_t token, float logprob, const el_token_logprob *top, size_t n_top) {
  waiting w = {.start = l->token_bytes, .before = l->last, .token = token, .logprob = logprob, .n_top = n_top};
  size_t len;
  char *s = bytes_of(l->tokenizer, l->last, token, shows_token(l, token), &len);
  if (!s) return false;
  l->last = token;
  w.offset = token_offset_of(l, s, len);
  l->token_bytes += len;
  l->token_chars += count_chars(s, len);
  el_free(s);
  return el_buf_append(&l->waiting, &w, sizeof w) && el_buf_append(&l->waiting, top, n_top * sizeof *top);
}

bool el_logprobs_add_prompt(el_logprobs *l, const el_prompt_logprobs *p, bool hidden) {
  size_t n_top = (size_t)l->n_top < p->n_top ? (size_t)l->n_top : p->n_top;
  for (size_t i = 0; i < p->n; i++) {
    waiting w = {.before = i ? p->tokens[i - 1] : -1, .token = p->tokens[i], .logprob = p->logprobs[i], .n_top = n_top};
    size_t len = 0;
    char *s = token_bytes(l, w.before, w.token, &len);
    if (!s) return false;
    if (!i && hidden) len = 0;
    w.offset = token_offset_of(l, s, len);
    l->token_chars += count_chars(s, len);
    el_free(s);
    if (!write_text_logprob(l, &w, p->top + i * p->n_top, i > 0)) return false;
    l->n++;
  }
  return true;
}

static bool write_logprob_entry(const el_tokenizer *t, int32_t before, el_token_logprob one, size_t rank, bool first,
                                el_buf *out) {
  size_t len;
  char *s = bytes_of(t, before, one.token, true, &len);
  if (!s) return false;
  bool ok = el_buf_printf(out, "%s\"%d\":{\"logprob\":", first ? "" : ",", (int)one.token) &&
            el_json_float(out, one.logprob) &&
            (rank ? el_buf_printf(out, ",\"rank\":%zu", rank) : el_buf_printf(out, ",\"rank\":null")) &&
            el_buf_printf(out, ",\"decoded_token\":") && write_token_name(out, s, len) && el_buf_append(out, "}", 1);
  el_free(s);
  return ok;
}

bool el_prompt_logprobs_write(const el_tokenizer *t, const el_prompt_logprobs *p, size_t n_top, el_buf *out) {
  bool ok = el_buf_printf(out, "[null");
  for (size_t i = 1; ok && i < p->n; i++) {
    const el_token_logprob *top = p->top + i * p->n_top;
    size_t n = n_top < p->n_top ? n_top : p->n_top, rank = 0;
    while (rank < p->n_top && top[rank].token != p->tokens[i]) rank++;
    rank = rank < p->n_top ? rank + 1 : 0;
    ok = el_buf_append(out, ",{", 2) &&
         write_logprob_entry(t, p->tokens[i - 1], (el_token_logprob){p->tokens[i], p->logprobs[i]}, rank, true, out);
    for (size_t k = 0; ok && k < n; k++)
      ok = k + 1 == rank || write_logprob_entry(t, p->tokens[i - 1], top[k], k + 1, false, out);
    ok = ok && el_buf_append(out, "}", 1);
  }
  return ok && el_buf_append(out, "]", 1);
}

bool el_logprobs_advance(el_logprobs *l, size_t end) {
  size_t pos = 0;
  while (pos < l->waiting.len) {
    waiting w;
    memcpy(&w, l->waiting.data + pos, sizeof w);
    if (w.start >= end) break;
    const el_token_logprob *top = (const el_token_logprob *)(const void *)(l->waiting.data + pos + sizeof w);
    if (!(l->chat ? write_chat_logprob(l, &w, top) : write_text_logprob(l, &w, top, true))) return false;
    l->n++;
    pos += sizeof w + w.n_top * sizeof *top;
  }
  el_buf_consume(&l->waiting, pos);
  return true;
}

static bool write_logprob_array(el_buf *out, const char *name, el_buf *items) {
  bool ok =
      el_buf_printf(out, "\"%s\":[", name) && el_buf_append(out, items->data, items->len) && el_buf_append(out, "]", 1);
  el_buf_consume(items, items->len);
  return ok;
}

bool el_logprobs_take(el_logprobs *l, el_buf *out) {
  l->n = 0;
  if (l->chat)
    return el_buf_append(out, "{", 1) && write_logprob_array(out, "content", &l->content) &&
           el_buf_printf(out, ",\"refusal\":null}");
  return el_buf_append(out, "{", 1) && write_logprob_array(out, "tokens", &l->tokens) && el_buf_append(out, ",", 1) &&
         write_logprob_array(out, "token_logprobs", &l->values) && el_buf_append(out, ",", 1) &&
         write_logprob_array(out, "text_offset", &l->offsets) && el_buf_append(out, ",", 1) &&
         (l->n_top ? write_logprob_array(out, "top_logprobs", &l->top) : el_buf_printf(out, "\"top_logprobs\":null")) &&
         el_buf_append(out, "}", 1);
}

bool el_logprobs_take_list(el_logprobs *l, el_buf *out) {
  l->n = 0;
  bool ok =
      el_buf_append(out, "[", 1) && el_buf_append(out, l->content.data, l->content.len) && el_buf_append(out, "]", 1);
  el_buf_consume(&l->content, l->content.len);
  return ok;
}

void el_logprobs_free(el_logprobs *l) {
  el_buf *all[] = {&l->waiting, &l->content, &l->tokens, &l->values, &l->offsets, &l->top};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) el_buf_free(all[i]);
}
