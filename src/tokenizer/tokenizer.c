/* Opens a tokenizer, and answers questions about it. */
#include "tokenizer/tokenizer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

#include "base/error.h"
#include "tokenizer/hash.h"
#include "tokenizer/private.h"

/* The file's maker cannot know this key. */
static uint64_t random_key(const void *p) {
  uint64_t key;
  if (getrandom(&key, sizeof key, GRND_NONBLOCK) == sizeof key) return key;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return el_hash_mix((uint64_t)(uintptr_t)p ^ (uint64_t)now.tv_nsec << 32, 0x9e3779b97f4a7c15u ^ (uint64_t)now.tv_sec);
}

static void add_notice(el_tokenizer *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add_notice(el_tokenizer *t, const char *fmt, ...) {
  char line[1024];
  va_list args;
  va_start(args, fmt);
  vsnprintf(line, sizeof line, fmt, args);
  va_end(args);
  /* without memory the notice is lost */
  el_buf_printf(&t->notice, "%s%s", t->notice.len ? "; " : "", line);
}

/* --- kinds */

typedef struct kind {
  el_vocab_kind vocab;
  bool spaced;      /* tokenizer.ggml.add_space_prefix is read */
  bool line_tokens; /* as in el_tokenizer */
  bool add_bos;     /* if the file does not say */
} kind;

/* Byte-pair tokenizers whose vocabulary is written as text after all. */
static const struct {
  const char *pre;
  bool line_tokens;
} AS_TEXT[] = {{"gemma4", true}, {"granite-embed-multi-311m", true}, {"sarvam-moe", false}};

static el_status read_kind(const el_gguf *g, kind *out, el_error *err) {
  static const char MODEL[] = "tokenizer.ggml.model", PRE[] = "tokenizer.ggml.pre";
  static const struct {
    const char *name, *what;
  } OTHERS[] = {{"bert", "WordPiece"},   {"t5", "Unigram"},       {"rwkv", "RWKV's"},   {"plamo2", "PLaMo 2's"},
                {"hybriddna", "k-mers"}, {"whitespace", "words"}, {"no_vocab", "none"}, {"none", "no vocabulary"}};
  el_str model, pre = {"", 0};
  el_status status = el_gguf_str(g, MODEL, &model, err);
  if (status == EL_ERR_NOT_FOUND)
    return el_fail(err, EL_ERR_FORMAT, "%s: %s is missing: the file has no tokenizer", el_gguf_path(g), MODEL);
  if (!status) status = el_gguf_optional(el_gguf_str(g, PRE, &pre, err));
  if (status) return status;
  *out = (kind){.vocab = EL_VOCAB_BYTE_LEVEL};
  if (el_str_eq(model, "llama")) *out = (kind){.vocab = EL_VOCAB_SCORED, .spaced = true, .add_bos = true};
  if (el_str_eq(model, "gemma4")) pre = (el_str){"gemma4", 6};
  for (size_t i = 0; i < sizeof AS_TEXT / sizeof *AS_TEXT && out->vocab == EL_VOCAB_BYTE_LEVEL; i++)
    if (el_str_eq(pre, AS_TEXT[i].pre))
      *out = (kind){EL_VOCAB_MERGED, false, AS_TEXT[i].line_tokens, AS_TEXT[i].line_tokens};
  if (el_str_eq(model, "gpt2") || el_str_eq(model, "llama") || el_str_eq(model, "gemma4")) return EL_OK;
  const char *what = "unknown";
  for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++)
    if (el_str_eq(model, OTHERS[i].name)) what = OTHERS[i].what;
  char show[EL_SHOW];
  return el_fail(
      err, EL_ERR_UNSUPPORTED,
      "%s: %s is '%s' (%s); supported are 'gpt2' (byte-level BPE), 'llama' (SentencePiece's BPE) and 'gemma4'",
      el_gguf_path(g), MODEL, el_str_show(model, show, sizeof show), what);
}

static el_status open_pretokenizer(el_tokenizer *t, const el_gguf *g, bool *add_bos, el_error *err) {
  static const char PRE[] = "tokenizer.ggml.pre";
  static const el_str DEFAULT = {"default", sizeof "default" - 1};
  el_str name = DEFAULT;
  el_pretokenizer_traits traits;
  el_error why;
  if (el_gguf_find(g, PRE)) {
    el_status status = el_gguf_str(g, PRE, &name, err);
    if (status) return status;
  } else {
    add_notice(t, "%s is missing: text is cut as 'default' does, which few models were trained with", PRE);
  }
  el_status status = el_pretokenizer_open(name, &t->pretokenizer, &traits, &why);
  if (status == EL_ERR_UNSUPPORTED) {
    char show[EL_SHOW];
    add_notice(t, "%s '%s' is not known: text is cut as 'default' does, and answers may be worse for it", PRE,
               el_str_show(name, show, sizeof show));
    status = el_pretokenizer_open(DEFAULT, &t->pretokenizer, &traits, &why);
  }
  if (status) return el_fail(err, status, "%s: %s", el_gguf_path(g), why.message);
  t->ignore_merges = traits.ignore_merges;
  *add_bos = traits.add_bos;
  return EL_OK;
}

/* Some keys are not read. tokenizer.ggml.remove_extra_whitespaces is only for the unigram kind, as
 * in llama.cpp. add_eos_token is for training and embedding: a prompt that ends in EOS has no
 * continuation. add_sep_token is for encoders. */
static el_status read_bos_eos_space(el_tokenizer *t, const el_gguf *g, const kind *k, bool add_bos, el_error *err) {
  static const char BOS[] = "tokenizer.ggml.add_bos_token", EOS[] = "tokenizer.ggml.add_eos_token",
                    SPACE[] = "tokenizer.ggml.add_space_prefix";
  bool add_eos = false;
  t->add_bos = add_bos && t->vocab.bos >= 0;
  t->add_space = k->spaced;
  t->line_tokens = k->line_tokens;
  el_status status = el_gguf_optional(el_gguf_bool(g, BOS, &t->add_bos, err));
  if (!status) status = el_gguf_optional(el_gguf_bool(g, EOS, &add_eos, err));
  if (!status && k->spaced) status = el_gguf_optional(el_gguf_bool(g, SPACE, &t->add_space, err));
  if (status) return status;
  if (add_eos) add_notice(t, "%s is true, and is not heeded: after EOS a prompt has no continuation", EOS);
  /* files say false, which is wrong */
  if (k->vocab == EL_VOCAB_MERGED && k->add_bos) t->add_bos |= t->vocab.bos >= 0;
  if (t->add_bos && t->vocab.bos < 0)
    return el_fail(err, EL_ERR_FORMAT, "%s: %s is true, but there is no tokenizer.ggml.bos_token_id", el_gguf_path(g),
                   BOS);
  return EL_OK;
}

/* Phi 3's tokens take the white space after them along. No key of the file says so; llama.cpp, too,
 * goes by the model's name. */
static el_status read_stripping(el_tokenizer *t, const el_gguf *g, el_error *err) {
  static const char *const EXCEPT[] = {"<unk>", "<s>", "<|endoftext|>"};
  el_vocab *v = &t->vocab;
  el_str name = {"", 0};
  el_status status = el_gguf_optional(el_gguf_str(g, "general.name", &name, err));
  if (status) return status;
  bool phi3 = false;
  for (size_t i = 0; i + 4 <= name.len && !phi3; i++)
    phi3 = strncasecmp(name.data + i, "phi3", 4) == 0 ||
           (i + 5 <= name.len && strncasecmp(name.data + i, "phi-3", 5) == 0);
  for (uint32_t id = 0; id < v->n && phi3; id++) {
    if (!(v->flags[id] & (EL_TOKEN_CONTROL | EL_TOKEN_USER))) continue;
    bool except = false;
    for (size_t i = 0; i < sizeof EXCEPT / sizeof *EXCEPT; i++) except |= el_str_eq(el_vocab_bytes(v, id), EXCEPT[i]);
    if (!except) v->flags[id] |= EL_TOKEN_STRIP;
    t->strips |= !except;
  }
  return EL_OK;
}

/* The format that llama.cpp, too, uses for conversations if a file has no template. */
static const char CHATML[] =
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{% "
    "endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/* A template that cannot be used only makes conversations fail: then *out is NULL, and *why says
 * why. */
static el_status read_template(el_tokenizer *t, const el_gguf *g, const char *key, el_str instead,
                               el_chat_template **out, el_error *why, el_error *err) {
  el_str source = instead;
  el_status status = el_gguf_find(g, key) ? el_gguf_str(g, key, &source, err) : EL_OK;
  if (status || !source.data) return status;
  status = el_chat_template_new(source, out, why);
  if (status == EL_ERR_NO_MEMORY) return el_fail(err, status, "%s: %s", el_gguf_path(g), why->message);
  if (status)
    add_notice(t, "%s cannot be used, %s: %s", key, instead.data ? "chats are refused" : "it is passed over",
               why->message);
  return EL_OK;
}

/* A file may have a second template for conversations with tools. One that cannot be used counts as
 * missing. */
static el_status open_templates(el_tokenizer *t, const el_gguf *g, el_error *err) {
  static const char KEY[] = "tokenizer.chat_template", TOOLS_KEY[] = "tokenizer.chat_template.tool_use";
  t->has_template = el_gguf_find(g, KEY) != NULL;
  el_error why = {0};
  el_str chatml = {CHATML, sizeof CHATML - 1}, none = {0};
  el_status status = read_template(t, g, KEY, chatml, &t->template, &t->why_no_template, err);
  return status ? status : read_template(t, g, TOOLS_KEY, none, &t->tools_template, &why, err);
}

el_status el_tokenizer_use_template(el_tokenizer *t, el_str text, el_error *err) {
  el_chat_template *template = NULL;
  el_status status = el_chat_template_new(text, &template, err);
  if (status) return status;
  el_chat_template_close(t->template);
  el_chat_template_close(t->tools_template);
  t->template = template;
  t->tools_template = NULL;
  t->has_template = true;
  return EL_OK;
}

bool el_tokenizer_has_template(const el_tokenizer *t) {
  return t->has_template;
}

el_status el_tokenizer_from_gguf(const el_gguf *g, el_tokenizer **out, el_error *err) {
  kind k = {0};
  el_status status = read_kind(g, &k, err);
  if (status) return status;
  el_tokenizer *t = calloc(1, sizeof *t);
  if (!t) return el_fail(err, EL_ERR_NO_MEMORY, "%s: no memory for a tokenizer", el_gguf_path(g));
  uint64_t key = random_key(t);
  el_error why = {0};
  status = el_vocab_open(&t->vocab, g, k.vocab, key, err);
  if (!status && k.vocab != EL_VOCAB_SCORED) status = el_merges_open(&t->merges, g, &t->vocab, key, err);
  if (!status && (status = el_specials_open(&t->specials, &t->vocab, key, &why)))
    el_fail(err, status, "%s: tokenizer.ggml.tokens: %s", el_gguf_path(g), why.message);
  bool add_bos = k.add_bos;
  if (!status && k.vocab == EL_VOCAB_BYTE_LEVEL) status = open_pretokenizer(t, g, &add_bos, err);
  if (!status) status = read_bos_eos_space(t, g, &k, add_bos, err);
  if (!status) status = read_stripping(t, g, err);
  if (!status) status = open_templates(t, g, err);
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
  if (!t->base) el_merges_close(&t->merges);
  if (!t->base) el_pretokenizer_close(t->pretokenizer);
  if (!t->base || t->own_templates) el_chat_template_close(t->template);
  if (!t->base || t->own_templates) el_chat_template_close(t->tools_template);
  el_vocab_close(&t->vocab);
  el_specials_close(&t->specials);
  free(t->own);
  free(t->own_ends);
  el_buf_free(&t->notice);
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

int32_t el_tokenizer_fim(const el_tokenizer *t, el_fim which) {
  return (unsigned)which < EL_N_FIM ? t->vocab.fim[which] : -1;
}

bool el_tokenizer_is_eog(const el_tokenizer *t, int32_t token) {
  if (token < 0 || (uint32_t)token >= t->vocab.n) return false;
  if (el_vocab_flags(&t->vocab, (uint32_t)token) & EL_TOKEN_EOG) return true;
  bool end = false; /* a token of the base that ends an answer only with an adapter */
  for (size_t i = 0; i < t->n_own_ends && !end; i++) end = t->own_ends[i] == token;
  return end;
}

const char *el_tokenizer_notice(const el_tokenizer *t) {
  return t->notice.data;
}
