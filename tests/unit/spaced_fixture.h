/* Small files of vocabularies that are written as text: SentencePiece's and Gemma 4's. */
#ifndef EL_TESTS_SPACED_FIXTURE_H
#define EL_TESTS_SPACED_FIXTURE_H

#include "vocab_fixture.h"

#define SP "\xe2\x96\x81" /* how a vocabulary writes a space */

enum { UNUSED = 5, BYTE = 6 };

typedef struct spaced_token {
  const char *text; /* as it stands in the file */
  int type;
  float score;
} spaced_token;

/* What a file says. Tokens: 0 <unk>, 1 <s>, 2 </s>, then the 256 bytes (unless `no_bytes`), then `more`. */
typedef struct spaced_spec {
  const char *model, *pre, *name; /* NULL: "llama"; NULL: not in the file */
  bool no_bytes, no_unknown, no_types, no_scores;
  spaced_token more[MAX_MORE];
  const char *merges[MAX_MORE];
  int add_space, add_bos, add_eos; /* 1: true, -1: false, 0: not in the file */
  int bos;                         /* 0: not in the file */
  const char *template;
} spaced_spec;

enum { FIRST_BYTE = 3, FIRST_MORE = 3 + 256 };

static inline int count_spaced(const spaced_spec *s) {
  int n = 0;
  while (n < MAX_MORE && s->more[n].text) n++;
  return n;
}

static inline spaced_token spaced_token_at(const spaced_spec *s, int i, char name[8]) {
  static const spaced_token FIRST[] = {{"<unk>", UNKNOWN, 0}, {"<s>", CONTROL, 0}, {"</s>", CONTROL, 0}};
  if (i == 0 && s->no_unknown) return (spaced_token){"<x>", CONTROL, 0};
  if (i < FIRST_BYTE) return FIRST[i];
  i -= FIRST_BYTE;
  if (!s->no_bytes && i < 256) {
    snprintf(name, 8, "<0x%02X>", (unsigned)i);
    return (spaced_token){name, BYTE, 0};
  }
  return s->more[s->no_bytes ? i : i - 256];
}

static inline void put_bool(el_buf *b, uint64_t *n, const char *key, int value) {
  if (!value) return;
  put_kv(b, key, EL_GGUF_BOOL);
  put_uint(b, value > 0, 1);
  ++*n;
}

static inline el_buf spaced_file(const spaced_spec *s) {
  el_buf kvs = {0}, b = {0};
  uint64_t n = 2, n_merges = 0;
  int n_tokens = FIRST_BYTE + (s->no_bytes ? 0 : 256) + count_spaced(s);
  char name[8];
  put_kv_str(&kvs, "tokenizer.ggml.model", s->model ? s->model : "llama");
  put_array(&kvs, "tokenizer.ggml.tokens", EL_GGUF_STRING, (uint64_t)n_tokens);
  for (int i = 0; i < n_tokens; i++) put_str(&kvs, spaced_token_at(s, i, name).text);
  if (!s->no_types) {
    put_array(&kvs, "tokenizer.ggml.token_type", EL_GGUF_I32, (uint64_t)n_tokens), n++;
    for (int i = 0; i < n_tokens; i++) put_u32(&kvs, (uint32_t)spaced_token_at(s, i, name).type);
  }
  if (!s->no_scores) {
    put_array(&kvs, "tokenizer.ggml.scores", EL_GGUF_F32, (uint64_t)n_tokens), n++;
    for (int i = 0; i < n_tokens; i++) put_f32(&kvs, spaced_token_at(s, i, name).score);
  }
  while (n_merges < MAX_MORE && s->merges[n_merges]) n_merges++;
  put_array(&kvs, "tokenizer.ggml.merges", EL_GGUF_STRING, n_merges), n++;
  for (uint64_t i = 0; i < n_merges; i++) put_str(&kvs, s->merges[i]);
  if (s->pre) put_kv_str(&kvs, "tokenizer.ggml.pre", s->pre), n++;
  if (s->name) put_kv_str(&kvs, "general.name", s->name), n++;
  if (s->template) put_kv_str(&kvs, "tokenizer.chat_template", s->template), n++;
  put_id(&kvs, &n, "tokenizer.ggml.bos_token_id", s->bos);
  put_bool(&kvs, &n, "tokenizer.ggml.add_space_prefix", s->add_space);
  put_bool(&kvs, &n, "tokenizer.ggml.add_bos_token", s->add_bos);
  put_bool(&kvs, &n, "tokenizer.ggml.add_eos_token", s->add_eos);
  put_gguf_header(&b, 3, 0, n);
  put(&b, kvs.data, kvs.len);
  el_buf_free(&kvs);
  return b;
}

static inline el_status open_spaced(const spaced_spec *s, el_tokenizer **t, el_error *e) {
  return open_vocab_file(spaced_file(s), t, e);
}

static inline el_tokenizer *open_good_spaced(const spaced_spec *s) {
  el_tokenizer *t = NULL;
  el_error e = {0};
  if (open_spaced(s, &t, &e)) fail_msg("%s", e.message);
  return t;
}

#endif
