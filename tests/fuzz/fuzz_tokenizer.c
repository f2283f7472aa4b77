/* The tokenizer: whatever file it opens, tokens stand for exactly the text that they were made from. The first byte of
 * the input says what the rest is: a text for well-formed vocabularies, a whole GGUF file, or the lists of one. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "vocabulary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Written as text, a vocabulary may know no bytes, and takes U+2581 for a space: not every text comes back then. */
static bool exact;

static bool is_exact(const el_gguf *g) {
  static const char *const AS_TEXT[] = {"gemma4", "granite-embed-multi-311m", "sarvam-moe"};
  el_str model = {"", 0}, pre = {"", 0};
  el_error e;
  if (el_gguf_str(g, "tokenizer.ggml.model", &model, &e) || !el_str_eq(model, "gpt2")) return false;
  if (el_gguf_str(g, "tokenizer.ggml.pre", &pre, &e)) return true;
  for (size_t i = 0; i < sizeof AS_TEXT / sizeof *AS_TEXT; i++)
    if (el_str_eq(pre, AS_TEXT[i])) return false;
  return true;
}

static el_tokenizer *open_file(const void *data, size_t size) {
  el_gguf *g = NULL;
  el_tokenizer *t = NULL;
  el_error e = {0};
  if (el_gguf_open_memory(data, size, "fuzz", &g, &e)) return NULL;
  el_status status = el_tokenizer_from_gguf(g, &t, &e);
  assert((status != EL_OK) == (t == NULL) && (status == EL_OK || e.message[0]));
  exact = is_exact(g);
  el_gguf_close(g);
  return t;
}

/* --- what holds */

static void check_back(const el_tokenizer *t, const int32_t *ids, size_t n, const char *text, size_t len) {
  char *back = NULL;
  size_t back_len = 0;
  el_error e = {0};
  if (el_detokenize(t, ids, n, true, &back, &back_len, &e)) abort();
  assert(!exact || (back_len == len && (len == 0 || memcmp(back, text, len) == 0)));
  free(back);
}

static void check_text(const el_tokenizer *t, const char *text, size_t len) {
  for (int flags = 0; flags < 8; flags++) {
    int32_t *ids = NULL;
    size_t n = 0;
    el_error e = {0};
    el_status status = el_tokenize(t, text, len, flags & ~EL_TOKENIZE_BOS, &ids, &n, &e);
    if (status) {
      assert(status == EL_ERR_INVALID && e.message[0] && !(flags & EL_TOKENIZE_LOSSY));
      continue;
    }
    for (size_t i = 0; i < n; i++) {
      assert(ids[i] >= 0 && ids[i] < el_tokenizer_n_vocab(t));
      el_tokenizer_is_eog(t, ids[i]);
    }
    if (!(flags & EL_TOKENIZE_LOSSY)) check_back(t, ids, n, text, len);
    free(ids);
  }
}

static void check_stream(const char *text, size_t len) {
  el_buf pending = {0}, whole = {0}, once = {0}, all = {0};
  put(&all, text, len);
  if (!el_utf8_take(&all, true, &once)) abort();
  for (size_t i = 0; i < len; i++) {
    put(&pending, text + i, 1);
    if (!el_utf8_take(&pending, false, &whole)) abort();
    assert(pending.len < 4);
  }
  if (!el_utf8_take(&pending, true, &whole)) abort();
  assert(whole.len == once.len && (whole.len == 0 || memcmp(whole.data, once.data, whole.len) == 0));
  el_buf_free(&pending);
  el_buf_free(&whole);
  el_buf_free(&once);
  el_buf_free(&all);
}

static void check_chat(const el_tokenizer *t, const char *text, size_t len) {
  char *content = strndup(text, len), *rendered = NULL;
  if (!content) abort();
  const el_message talk[] = {{"system", "Be brief."}, {"user", content}, {"assistant", "Yes.\n"}, {"user", content}};
  for (size_t first = 0; first < 2; first++) {
    int32_t *ids = NULL;
    size_t n = 0;
    el_error e = {0};
    if (el_chat_render(t, talk + first, 4 - first, true, &rendered, &e)) continue;
    if (!el_chat_tokenize(t, talk + first, 4 - first, true, &ids, &n, &e))
      check_back(t, ids, n, rendered, strlen(rendered));
    free(ids);
    free(rendered);
  }
  free(content);
}

static void check(const el_tokenizer *t, const char *text, size_t len) {
  check_text(t, text, len);
  check_chat(t, text, len);
}

/* --- inputs */

static void try_text(const char *text, size_t len) {
  static const char *const PRE[] = {"smollm",  "gpt-2",  "llama-bpe",    "qwen2",
                                    "default", "gpt-4o", "deepseek-llm", "deepseek-v3"};
  enum { N = sizeof PRE / sizeof *PRE };
  static el_tokenizer *tokenizers[N];
  if (len == 0) return;
  int k = (unsigned char)text[0] % N;
  if (!tokenizers[k]) {
    lists l = {0};
    add_bytes(&l);
    add_token(&l, "aa", 2, 1), add_merge(&l, "a a", 3);
    add_token(&l, "aaaa", 4, 1), add_merge(&l, "aa aa", 5);
    add_token(&l, "\xc4\xa0\xc4\xa0", 4, 1), add_merge(&l, "\xc4\xa0 \xc4\xa0", 5);
    add_token(&l, "<|im_start|>", 12, 3), add_token(&l, "<|im_end|>", 10, 3), add_token(&l, "<u>", 3, 4);
    add_string(&l, "tokenizer.ggml.pre", PRE[k], strlen(PRE[k]));
    static const char CHATML[] = "{{'<|im_start|>' + role + '<|im_end|>'}}";
    add_string(&l, "tokenizer.chat_template", CHATML, sizeof CHATML - 1);
    el_buf file = make_file(&l);
    tokenizers[k] = open_file(file.data, file.len);
    if (!tokenizers[k]) abort();
    el_buf_free(&file);
  }
  exact = true;
  check(tokenizers[k], text + 1, len - 1);
  check_stream(text + 1, len - 1);
}

/* A line is an entry: its first character says of which list, and the rest is what it says. */
static void try_lists(const char *text, size_t len) {
  lists l = {0};
  const char *sample = "<|im_start|> a 12\n", *end = text + len;
  size_t sample_len = strlen(sample);
  bool bytes = false, pre = false, template = false, ids = false;
  while (text < end) {
    const char *line = text, *stop = memchr(text, '\n', (size_t)(end - text));
    size_t n = (size_t)((stop ? stop : end) - line);
    text = stop ? stop + 1 : end;
    if (n == 0) continue;
    line++, n--;
    switch (line[-1]) {
      case 'b':
        if (!bytes) add_bytes(&l);
        bytes = true;
        break;
      case 'p':
        if (!pre) add_string(&l, "tokenizer.ggml.pre", line, n);
        pre = true;
        break;
      case 't':
        if (!template) add_string(&l, "tokenizer.chat_template", line, n);
        template = true;
        break;
      case 'i':
        if (!ids && n >= 2) {
          add_id(&l, "tokenizer.ggml.bos_token_id", (unsigned char)line[0]);
          add_id(&l, "tokenizer.ggml.eos_token_id", 256 + (unsigned char)line[1]);
        }
        ids = ids || n >= 2;
        break;
      case 'm': add_merge(&l, line, n); break;
      case 's':
        sample = line;
        sample_len = n;
        break;
      default: add_token(&l, line, n, line[-1] - '0');
    }
  }
  el_buf file = make_file(&l);
  el_tokenizer *t = open_file(file.data, file.len);
  if (t) check(t, sample, sample_len);
  el_buf_free(&file);
  el_tokenizer_close(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  const char *rest = (const char *)data + 1;
  switch (data[0]) {
    case 'g': {
      el_tokenizer *t = open_file(rest, size - 1);
      if (t) check(t, "<|im_start|>user\nHello  12 \xff", 27);
      el_tokenizer_close(t);
      break;
    }
    case 'l': try_lists(rest, size - 1); break;
    default: try_text(rest, size - 1);
  }
  return 0;
}
