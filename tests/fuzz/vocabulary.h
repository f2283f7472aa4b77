/* Files of a byte-level vocabulary, made in memory. */
#ifndef EL_TESTS_FUZZ_VOCABULARY_H
#define EL_TESTS_FUZZ_VOCABULARY_H

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "tokenizer/tokenizer.h"

static inline void put(el_buf *b, const void *data, size_t n) {
  if (!el_buf_append(b, data, n)) abort();
}

static inline void put_uint(el_buf *b, uint64_t v, int bytes) {
  for (int i = 0; i < bytes; i++) put(b, &(unsigned char){(unsigned char)(v >> (8 * i))}, 1);
}

static inline void put_str(el_buf *b, const void *s, size_t n) {
  put_uint(b, n, 8);
  put(b, s, n);
}

static inline void put_kv(el_buf *b, const char *key, el_gguf_type type) {
  put_str(b, key, strlen(key));
  put_uint(b, type, 4);
}

static inline void put_array(el_buf *b, const char *key, el_gguf_type type, uint64_t n, const el_buf *items) {
  put_kv(b, key, EL_GGUF_ARRAY);
  put_uint(b, type, 4);
  put_uint(b, n, 8);
  put(b, items->data, items->len);
}

/* --- a vocabulary of all bytes and what the caller adds */

typedef struct lists {
  el_buf tokens, types, merges, rest; /* rest: whole key-value pairs */
  uint64_t n_tokens, n_merges, n_rest;
} lists;

static inline void add_token(lists *l, const void *text, size_t n, int type) {
  put_str(&l->tokens, text, n);
  put_uint(&l->types, (uint64_t)type, 4);
  l->n_tokens++;
}

static inline void add_merge(lists *l, const void *text, size_t n) {
  put_str(&l->merges, text, n);
  l->n_merges++;
}

static inline void add_string(lists *l, const char *key, const void *text, size_t n) {
  put_kv(&l->rest, key, EL_GGUF_STRING);
  put_str(&l->rest, text, n);
  l->n_rest++;
}

static inline void add_id(lists *l, const char *key, uint32_t id) {
  put_kv(&l->rest, key, EL_GGUF_U32);
  put_uint(&l->rest, id, 4);
  l->n_rest++;
}

static inline void add_bytes(lists *l) {
  uint32_t other = 0x100;
  for (uint32_t b = 0; b < 256; b++) {
    bool same = (b > 0x20 && b < 0x7f) || (b > 0xa0 && b != 0xad);
    uint32_t c = same ? b : other++;
    char text[2] = {(char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f))};
    if (c < 0x80) text[0] = (char)c;
    add_token(l, text, c < 0x80 ? 1 : 2, 1);
  }
}

static inline el_buf make_file(lists *l) {
  el_buf b = {0};
  put(&b, "GGUF", 4);
  put_uint(&b, 3, 4);
  put_uint(&b, 0, 8);
  put_uint(&b, 4 + l->n_rest, 8);
  put_kv(&b, "tokenizer.ggml.model", EL_GGUF_STRING);
  put_str(&b, "gpt2", 4);
  put_array(&b, "tokenizer.ggml.tokens", EL_GGUF_STRING, l->n_tokens, &l->tokens);
  put_array(&b, "tokenizer.ggml.token_type", EL_GGUF_I32, l->n_tokens, &l->types);
  put_array(&b, "tokenizer.ggml.merges", EL_GGUF_STRING, l->n_merges, &l->merges);
  put(&b, l->rest.data, l->rest.len);
  el_buf_free(&l->tokens);
  el_buf_free(&l->types);
  el_buf_free(&l->merges);
  el_buf_free(&l->rest);
  return b;
}

#endif
