/* Small tokenizer files, built in memory. */
#ifndef EL_TESTS_VOCAB_FIXTURE_H
#define EL_TESTS_VOCAB_FIXTURE_H

#include "bytes.h"
#include "tokenizer/tokenizer.h"

/* A byte in GPT-2's byte-level alphabet, built here from its definition; NUL-terminated. */
static inline void byte_char(int byte, char out[3]) {
  uint32_t code = 0x100;
  if ((byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte != 0xad)) {
    code = (uint32_t)byte;
  } else {
    for (int b = 0; b < byte; b++) code += !((b > 0x20 && b < 0x7f) || (b > 0xa0 && b != 0xad));
  }
  if (code < 0x80) {
    out[0] = (char)code;
    out[1] = 0;
  } else {
    out[0] = (char)(0xc0 | code >> 6);
    out[1] = (char)(0x80 | (code & 0x3f));
    out[2] = 0;
  }
}

/* A string in the byte-level alphabet: a buffer of its own, to be freed. */
static inline char *byte_level(const char *s, size_t len) {
  el_buf b = {0};
  put(&b, "", 0);
  for (size_t i = 0; i < len; i++) {
    char c[3];
    byte_char((unsigned char)s[i], c);
    put(&b, c, strlen(c));
  }
  return b.data;
}

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, MAX_MORE = 64 };

typedef struct more_token {
  const char *text; /* as it stands in the file */
  int type;
} more_token;

/* What a file says. The tokens are the 256 bytes in order (those in `without` left out), then `more`. */
typedef struct vocab_spec {
  const char *model, *pre;               /* NULL: "gpt2"; NULL: not in the file */
  const char *without;                   /* bytes */
  more_token more[MAX_MORE];             /* up to one without text */
  const char *merges[MAX_MORE];          /* up to NULL */
  int bos, eos, eot;                     /* 0: not in the file (id 0 is a byte) */
  int add_bos;                           /* 1: true, -1: false, 0: not in the file */
  const char *template, *tools_template; /* NULL: not in the file */
  bool no_types, no_merges;
} vocab_spec;

static inline int count_more(const vocab_spec *s) {
  int n = 0;
  while (n < MAX_MORE && s->more[n].text) n++;
  return n;
}

static inline bool is_without(const vocab_spec *s, int byte) {
  return s->without && byte && strchr(s->without, byte);
}

/* The id of more[i]. */
static inline int32_t more_id(const vocab_spec *s, int i) {
  return 256 - (s->without ? (int32_t)strlen(s->without) : 0) + i;
}

static inline void put_array(el_buf *b, const char *key, uint32_t type, uint64_t n) {
  put_kv(b, key, EL_GGUF_ARRAY);
  put_u32(b, type);
  put_u64(b, n);
}

static inline void put_tokens(el_buf *b, const vocab_spec *s) {
  put_array(b, "tokenizer.ggml.tokens", EL_GGUF_STRING, (uint64_t)more_id(s, count_more(s)));
  for (int i = 0; i < 256; i++) {
    char c[3];
    byte_char(i, c);
    if (!is_without(s, i)) put_str(b, c);
  }
  for (int i = 0; i < count_more(s); i++) put_str(b, s->more[i].text);
}

static inline void put_types(el_buf *b, const vocab_spec *s) {
  put_array(b, "tokenizer.ggml.token_type", EL_GGUF_I32, (uint64_t)more_id(s, count_more(s)));
  for (int i = 0; i < more_id(s, 0); i++) put_u32(b, NORMAL);
  for (int i = 0; i < count_more(s); i++) put_u32(b, (uint32_t)s->more[i].type);
}

static inline void put_merges(el_buf *b, const vocab_spec *s) {
  uint64_t n = 0;
  while (n < MAX_MORE && s->merges[n]) n++;
  put_array(b, "tokenizer.ggml.merges", EL_GGUF_STRING, n);
  for (uint64_t i = 0; i < n; i++) put_str(b, s->merges[i]);
}

static inline void put_id(el_buf *b, uint64_t *n, const char *key, int id) {
  if (!id) return;
  put_kv_u32(b, key, (uint32_t)id);
  ++*n;
}

/* The file's bytes; to be freed. */
static inline el_buf vocab_file(const vocab_spec *s) {
  el_buf kvs = {0}, b = {0};
  uint64_t n = 2;
  put_kv_str(&kvs, "tokenizer.ggml.model", s->model ? s->model : "gpt2");
  put_tokens(&kvs, s);
  if (s->pre) put_kv_str(&kvs, "tokenizer.ggml.pre", s->pre), n++;
  if (!s->no_types) put_types(&kvs, s), n++;
  if (!s->no_merges) put_merges(&kvs, s), n++;
  put_id(&kvs, &n, "tokenizer.ggml.bos_token_id", s->bos);
  put_id(&kvs, &n, "tokenizer.ggml.eos_token_id", s->eos);
  put_id(&kvs, &n, "tokenizer.ggml.eot_token_id", s->eot);
  if (s->add_bos) put_kv(&kvs, "tokenizer.ggml.add_bos_token", EL_GGUF_BOOL), put_uint(&kvs, s->add_bos > 0, 1), n++;
  if (s->template) put_kv_str(&kvs, "tokenizer.chat_template", s->template), n++;
  if (s->tools_template) put_kv_str(&kvs, "tokenizer.chat_template.tool_use", s->tools_template), n++;
  put_gguf_header(&b, 3, 0, n);
  put(&b, kvs.data, kvs.len);
  el_buf_free(&kvs);
  return b;
}

/* Of a file that is one; b is used up. */
static inline el_status open_vocab_file(el_buf b, el_tokenizer **t, el_error *e) {
  el_gguf *g = NULL;
  if (el_gguf_open_memory(b.data, b.len, "test.gguf", &g, e)) fail_msg("%s", e->message);
  el_status status = el_tokenizer_from_gguf(g, t, e);
  el_gguf_close(g);
  el_buf_free(&b);
  return status;
}

static inline el_status open_spec(const vocab_spec *s, el_tokenizer **t, el_error *e) {
  return open_vocab_file(vocab_file(s), t, e);
}

static inline el_tokenizer *open_good(const vocab_spec *s) {
  el_tokenizer *t = NULL;
  el_error e = {0};
  if (open_spec(s, &t, &e)) fail_msg("%s", e.message);
  assert_non_null(t);
  return t;
}

/* Whether the file is refused with this status and a message that has `part` in it. */
static inline void assert_refused(const vocab_spec *s, el_status status, const char *part) {
  el_tokenizer *t = NULL;
  el_error e = {0};
  assert_int_equal(open_spec(s, &t, &e), status);
  assert_null(t);
  assert_contains(e.message, part);
  assert_contains(e.message, "test.gguf");
}

/* Text to the ids given, -1 at the end. */
#define assert_ids(t, text, flags, ...) \
  check_ids(t, text, sizeof(text) - 1, flags, (const int32_t[]){__VA_ARGS__}, sizeof((int32_t[]){__VA_ARGS__}) / 4 - 1)

static inline void check_ids(const el_tokenizer *t, const char *text, size_t len, int flags, const int32_t *want,
                             size_t n_want) {
  int32_t *ids = NULL;
  size_t n = 0;
  el_error e = {0};
  if (el_tokenize(t, text, len, flags, &ids, &n, &e)) fail_msg("%s", e.message);
  assert_non_null(ids);
  bool same = n == n_want && (n == 0 || memcmp(ids, want, n * sizeof *ids) == 0);
  if (!same) {
    el_buf b = {0};
    for (size_t i = 0; i < n; i++) el_buf_printf(&b, " %d", ids[i]);
    fail_msg("'%.*s' became%s", (int)len, text, b.data ? b.data : " nothing");
  }
  free(ids);
}

static inline void assert_round_trip(const el_tokenizer *t, const char *text, size_t len, int flags) {
  int32_t *ids = NULL;
  size_t n = 0, back_len = 0;
  char *back = NULL;
  el_error e = {0};
  if (el_tokenize(t, text, len, flags, &ids, &n, &e)) fail_msg("%s", e.message);
  if (el_detokenize(t, ids, n, true, &back, &back_len, &e)) fail_msg("%s", e.message);
  assert_int_equal(back_len, len);
  assert_memory_equal(back, text, len);
  assert_int_equal(back[len], 0);
  free(ids);
  free(back);
}

/* xorshift: the same numbers everywhere. */
static inline uint32_t next_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return (uint32_t)(*state >> 32);
}

#endif
