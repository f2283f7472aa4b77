/* Opening a tokenizer, and what is asked about it. */
#include "tokenizer/tokenizer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/error.h"
#include "tokenizer/hash.h"
#include "tokenizer/private.h"

/* Unknown to whoever made the file. */
static uint64_t random_key(const void *p) {
  uint64_t key;
  if (getrandom(&key, sizeof key, GRND_NONBLOCK) == sizeof key) return key;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return el_hash_mix((uint64_t)(uintptr_t)p ^ (uint64_t)now.tv_nsec << 32, 0x9e3779b97f4a7c15u ^ (uint64_t)now.tv_sec);
}

/* "gpt2" is byte-level BPE, the only kind here. */
static el_status check_model(const el_gguf *g, el_error *err) {
  static const struct {
    const char *name, *what;
  } OTHERS[] = {{"llama", "SentencePiece"}, {"bert", "WordPiece"}, {"t5", "Unigram"}, {"rwkv", "RWKV's"}};
  el_str model;
  el_status status = el_gguf_str(g, "tokenizer.ggml.model", &model, err);
  if (status == EL_ERR_NOT_FOUND)
    return el_fail(err, EL_ERR_FORMAT, "%s: tokenizer.ggml.model is missing: the file has no tokenizer",
                   el_gguf_path(g));
  if (status || el_str_eq(model, "gpt2")) return status;
  const char *what = "unknown";
  for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++)
    if (el_str_eq(model, OTHERS[i].name)) what = OTHERS[i].what;
  char show[EL_SHOW];
  return el_fail(err, EL_ERR_UNSUPPORTED,
                 "%s: tokenizer.ggml.model is '%s' (%s); only byte-level BPE ('gpt2') is supported", el_gguf_path(g),
                 el_str_show(model, show, sizeof show), what);
}

static el_status open_pretokenizer(el_tokenizer *t, const el_gguf *g, el_error *err) {
  static const char PRE[] = "tokenizer.ggml.pre", ADD_BOS[] = "tokenizer.ggml.add_bos_token";
  el_str name = {"default", strlen("default")};
  el_pretokenizer_traits traits;
  if (el_gguf_find(g, PRE)) {
    el_status status = el_gguf_str(g, PRE, &name, err);
    if (status) return status;
  }
  el_error why;
  el_status status = el_pretokenizer_open(name, &t->pretokenizer, &traits, &why);
  if (status) return el_fail(err, status, "%s: %s", el_gguf_path(g), why.message);
  t->ignore_merges = traits.ignore_merges;
  t->add_bos = traits.add_bos && t->vocab.bos >= 0;
  if (!el_gguf_find(g, ADD_BOS)) return EL_OK;
  status = el_gguf_bool(g, ADD_BOS, &t->add_bos, err);
  if (!status && t->add_bos && t->vocab.bos < 0)
    return el_fail(err, EL_ERR_FORMAT, "%s: %s is true, but there is no tokenizer.ggml.bos_token_id", el_gguf_path(g),
                   ADD_BOS);
  return status;
}

static el_status open_template(el_tokenizer *t, const el_gguf *g, el_error *err) {
  static const char KEY[] = "tokenizer.chat_template";
  if (!el_gguf_find(g, KEY)) return EL_OK;
  el_str source;
  el_status status = el_gguf_str(g, KEY, &source, err);
  if (status) return status;
  el_str bos = el_token_bytes(t, t->vocab.bos, true), eos = el_token_bytes(t, t->vocab.eos, true);
  return el_template_open(source, bos, eos, &t->template, err);
}

/* tokenizer.ggml.add_space_prefix belongs to SentencePiece: byte-level BPE takes text as it is. add_eos_token is for
 * training and embedding: a prompt that ends in EOS has no continuation. */
el_status el_tokenizer_from_gguf(const el_gguf *g, el_tokenizer **out, el_error *err) {
  el_status status = check_model(g, err);
  if (status) return status;
  el_tokenizer *t = calloc(1, sizeof *t);
  if (!t) return el_fail(err, EL_ERR_NO_MEMORY, "%s: no memory for a tokenizer", el_gguf_path(g));
  uint64_t key = random_key(t);
  el_error why = {0};
  status = el_vocab_open(&t->vocab, g, key, err);
  if (!status) status = el_merges_open(&t->merges, g, &t->vocab, key, err);
  if (!status && (status = el_specials_open(&t->specials, &t->vocab, key, &why)))
    el_fail(err, status, "%s: tokenizer.ggml.tokens: %s", el_gguf_path(g), why.message);
  if (!status) status = open_pretokenizer(t, g, err);
  if (!status) status = open_template(t, g, err);
  if (status) {
    el_tokenizer_close(t);
    return status;
  }
  *out = t;
  return EL_OK;
}

el_status el_tokenizer_open(const char *gguf_path, el_tokenizer **out, el_error *err) {
  el_gguf *g = NULL;
  el_status status = el_gguf_open(gguf_path, &g, err);
  if (status) return status;
  status = el_tokenizer_from_gguf(g, out, err);
  el_gguf_close(g);
  return status;
}

void el_tokenizer_close(el_tokenizer *t) {
  if (!t) return;
  el_vocab_close(&t->vocab);
  el_merges_close(&t->merges);
  el_specials_close(&t->specials);
  el_pretokenizer_close(t->pretokenizer);
  el_template_close(t->template);
  free(t);
}

int32_t el_tokenizer_n_vocab(const el_tokenizer *t) {
  return (int32_t)t->vocab.n;
}

int32_t el_tokenizer_bos(const el_tokenizer *t) {
  return t->vocab.bos;
}

int32_t el_tokenizer_eos(const el_tokenizer *t) {
  return t->vocab.eos;
}

bool el_tokenizer_is_eog(const el_tokenizer *t, int32_t token) {
  return token >= 0 && (uint32_t)token < t->vocab.n && t->vocab.flags[token] & EL_TOKEN_EOG;
}
