#include "tokenizer/vocab.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "tokenizer/hash.h"

/* Values of tokenizer.ggml.token_type that matter here; all others are ordinary tokens. */
enum { TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_USER = 4 };

static const char TOKENS[] = "tokenizer.ggml.tokens", TYPES[] = "tokenizer.ggml.token_type";

/* --- the byte-level alphabet: bytes that print as themselves in Latin-1 are that character, the other 68 are the
 * characters from U+0100 on, in order */

/* -1: not in the alphabet. */
static int byte_of_char(uint32_t c) {
  if ((c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff)) return (int)c;
  if (c < 0x100 || c > 0x143) return -1;
  c -= 0x100;
  return (int)(c < 33 ? c : c < 67 ? 0x7f + c - 33 : 0xad);
}

bool el_byte_level_decode(el_str text, char *out, size_t *n) {
  size_t made = 0;
  for (size_t i = 0; i < text.len;) {
    unsigned char c = (unsigned char)text.data[i++];
    uint32_t code = c;
    if (c >= 0x80) { /* the alphabet's other characters have two bytes each */
      if ((c & 0xe0) != 0xc0 || i == text.len || ((unsigned char)text.data[i] & 0xc0) != 0x80) return false;
      code = (c & 0x1fu) << 6 | ((unsigned char)text.data[i++] & 0x3fu);
    }
    int byte = byte_of_char(code);
    if (byte < 0 || (c >= 0x80 && code < 0x80)) return false;
    out[made++] = (char)byte;
  }
  *n = made;
  return true;
}

/* --- the table of ordinary tokens */

/* The slot that holds a token with these bytes, or the free one where it belongs. */
static uint32_t *slot_of(const el_vocab *v, const char *bytes, size_t len) {
  for (uint32_t i = (uint32_t)el_hash_bytes(v->key, bytes, len);; i++) {
    uint32_t *slot = &v->slots[i & v->mask];
    if (!*slot) return slot;
    el_str s = el_vocab_bytes(v, *slot - 1);
    if (s.len == len && memcmp(s.data, bytes, len) == 0) return slot;
  }
}

int32_t el_vocab_find(const el_vocab *v, const char *bytes, size_t len) {
  return (int32_t)*slot_of(v, bytes, len) - 1;
}

/* --- reading */

static unsigned char flags_of_type(int64_t type) {
  switch (type) {
    case TYPE_UNKNOWN:
    case TYPE_CONTROL: return EL_TOKEN_CONTROL;
    case TYPE_USER: return EL_TOKEN_USER;
    default: return 0;
  }
}

static el_status read_types(el_vocab *v, const el_gguf *g, el_error *err) {
  const el_gguf_kv *kv = el_gguf_find(g, TYPES);
  if (!kv) return EL_OK; /* a file without types has ordinary tokens only */
  if (kv->type != EL_GGUF_ARRAY || (kv->item_type != EL_GGUF_I32 && kv->item_type != EL_GGUF_U32))
    return el_fail(err, EL_ERR_FORMAT, "%s: %s is not an array of 32-bit integers", el_gguf_path(g), TYPES);
  if (kv->n < v->n)
    return el_fail(err, EL_ERR_FORMAT, "%s: %s has %" PRIu64 " items for %" PRIu32 " tokens", el_gguf_path(g), TYPES,
                   kv->n, v->n);
  for (uint32_t i = 0; i < v->n; i++) v->flags[i] = flags_of_type(el_gguf_kv_int(kv, i));
  return EL_OK;
}

/* Control and user-defined tokens are written as they are, ordinary ones in the byte-level alphabet. An ordinary one
 * with a character outside the alphabet is never made from text, and stands for the characters themselves. */
static el_status read_tokens(el_vocab *v, const el_gguf *g, const el_gguf_kv *kv, el_error *err) {
  for (uint32_t i = 0; i < v->n; i++) {
    el_str text = kv->strings[i];
    char *out = v->bytes + v->begin[i];
    size_t len = text.len;
    bool special = v->flags[i] & (EL_TOKEN_CONTROL | EL_TOKEN_USER);
    bool ordinary = !special && el_byte_level_decode(text, out, &len) && len > 0;
    if (!ordinary) {
      len = text.len;
      if (len) memcpy(out, text.data, len);
    }
    v->begin[i + 1] = v->begin[i] + (uint32_t)len;
    if (!ordinary) continue;
    uint32_t *slot = slot_of(v, out, len);
    char show[EL_SHOW];
    if (*slot)
      return el_fail(err, EL_ERR_FORMAT, "%s: %s has '%s' twice, as %" PRIu32 " and as %" PRIu32, el_gguf_path(g),
                     TOKENS, el_str_show(text, show, sizeof show), *slot - 1, i);
    *slot = i + 1;
  }
  v->longest = 1;
  for (uint32_t i = 0; i < v->n; i++) {
    uint32_t len = v->begin[i + 1] - v->begin[i];
    if (len > v->longest) v->longest = len;
  }
  for (int b = 0; b < 256; b++) v->byte_token[b] = el_vocab_find(v, &(char){(char)b}, 1);
  return EL_OK;
}

/* -1 when the file does not name one. */
static el_status read_id(const el_vocab *v, const el_gguf *g, const char *key, int32_t *out, el_error *err) {
  int64_t id = -1;
  if (el_gguf_find(g, key)) {
    el_status status = el_gguf_i64(g, key, 0, (int64_t)v->n - 1, &id, err);
    if (status) return status;
  }
  *out = (int32_t)id;
  return EL_OK;
}

/* How models write the end of a turn, of a text, of a file: files name one or two of these by id, and a model may have
 * been trained to end with another. */
static const char *const EOG_TEXTS[] = {"<|eot_id|>",
                                        "<|im_end|>",
                                        "<|end|>",
                                        "<end_of_turn>",
                                        "<|endoftext|>",
                                        "<|end_of_text|>",
                                        "</s>",
                                        "<|eom_id|>",
                                        "<EOT>",
                                        "_<EOT>",
                                        "[EOT]",
                                        "[EOS]",
                                        "<eos>",
                                        "<|return|>",
                                        "<|call|>",
                                        "<|fim_pad|>",
                                        "<fim-pad>",
                                        "<fim_pad>",
                                        "<PAD>",
                                        "[PAD]",
                                        "<|fim_repo|>",
                                        "<|repo_name|>",
                                        "<fim-repo>",
                                        "<REPO>",
                                        "<reponame>",
                                        "<|file_sep|>",
                                        "<end_of_utterance>",
                                        "<｜end▁of▁sentence｜>"};

static el_status read_special_ids(el_vocab *v, const el_gguf *g, el_error *err) {
  static const char *const END_KEYS[] = {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id",
                                         "tokenizer.ggml.fim_pad_token_id", "tokenizer.ggml.fim_rep_token_id",
                                         "tokenizer.ggml.fim_sep_token_id"};
  el_status status = read_id(v, g, "tokenizer.ggml.bos_token_id", &v->bos, err);
  if (!status) status = read_id(v, g, "tokenizer.ggml.eos_token_id", &v->eos, err);
  if (!status && v->eos >= 0) v->flags[v->eos] |= EL_TOKEN_EOG;
  for (size_t i = 0; !status && i < sizeof END_KEYS / sizeof *END_KEYS; i++) {
    int32_t id;
    status = read_id(v, g, END_KEYS[i], &id, err);
    if (!status && id >= 0) v->flags[id] |= EL_TOKEN_EOG;
  }
  return status;
}

/* Only among special tokens: ordinary text that reads like one of these ends nothing. A user-defined one becomes a
 * control token, so that a user's text cannot hold it. */
static void mark_eog_texts(el_vocab *v) {
  for (uint32_t i = 0; i < v->n; i++) {
    if (!(v->flags[i] & (EL_TOKEN_CONTROL | EL_TOKEN_USER))) continue;
    el_str s = el_vocab_bytes(v, i);
    for (size_t k = 0; k < sizeof EOG_TEXTS / sizeof *EOG_TEXTS; k++)
      if (el_str_eq(s, EOG_TEXTS[k])) v->flags[i] = EL_TOKEN_CONTROL | EL_TOKEN_EOG;
  }
}

el_status el_vocab_open(el_vocab *v, const el_gguf *g, uint64_t key, el_error *err) {
  *v = (el_vocab){.key = key, .bos = -1, .eos = -1};
  const el_gguf_kv *kv = el_gguf_find(g, TOKENS);
  if (!kv) return el_fail(err, EL_ERR_FORMAT, "%s: %s is missing: the file has no vocabulary", el_gguf_path(g), TOKENS);
  if (kv->type != EL_GGUF_ARRAY || kv->item_type != EL_GGUF_STRING)
    return el_fail(err, EL_ERR_FORMAT, "%s: %s is not an array of strings", el_gguf_path(g), TOKENS);
  if (kv->n == 0 || kv->n > EL_MAX_VOCAB)
    return el_fail(err, EL_ERR_FORMAT, "%s: %s has %" PRIu64 " items; 1 to %d are possible", el_gguf_path(g), TOKENS,
                   kv->n, EL_MAX_VOCAB);
  size_t total = 0;
  for (uint64_t i = 0; i < kv->n; i++) total += kv->strings[i].len; /* no overflow: they are all in one file */
  if (total > UINT32_MAX)
    return el_fail(err, EL_ERR_FORMAT, "%s: %s has %zu bytes; the limit is %" PRIu32, el_gguf_path(g), TOKENS, total,
                   UINT32_MAX);
  v->n = (uint32_t)kv->n;
  v->mask = el_hash_table_mask(v->n);
  v->bytes = malloc(total + 1);
  v->begin = calloc((size_t)v->n + 1, sizeof *v->begin);
  v->flags = calloc(v->n, 1);
  v->slots = calloc((size_t)v->mask + 1, sizeof *v->slots);
  el_status status = EL_OK;
  if (!v->bytes || !v->begin || !v->flags || !v->slots)
    status = el_fail(err, EL_ERR_NO_MEMORY, "%s: no memory for %" PRIu32 " tokens", el_gguf_path(g), v->n);
  if (!status) status = read_types(v, g, err);
  if (!status) status = read_tokens(v, g, kv, err);
  if (!status) status = read_special_ids(v, g, err);
  if (status) {
    el_vocab_close(v);
    return status;
  }
  mark_eog_texts(v);
  return EL_OK;
}

void el_vocab_close(el_vocab *v) {
  free(v->bytes);
  free(v->begin);
  free(v->flags);
  free(v->slots);
  *v = (el_vocab){0};
}
