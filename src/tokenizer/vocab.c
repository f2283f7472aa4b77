#include "tokenizer/vocab.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "tokenizer/hash.h"

/* The values of tokenizer.ggml.token_type that matter here; all others mean ordinary tokens. */
enum { TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_USER = 4, TYPE_UNUSED = 5, TYPE_BYTE = 6 };

static const char TOKENS[] = "tokenizer.ggml.tokens", TYPES[] = "tokenizer.ggml.token_type",
                  SCORES[] = "tokenizer.ggml.scores";

/* --- the byte-level alphabet: bytes that print as themselves in Latin-1 are that character, the
 * other 68 are the characters from U+0100 on, in order */

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
    if (c >= 0x80) { /* the other characters of the alphabet have two bytes each */
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

/* --- text with U+2581 in the place of spaces */

/* Replaces U+2581 by spaces. Returns the length of the result in bytes; `out` may be text.data. */
size_t el_spaced_text_show(el_str text, char *out) {
  static const char SPACE[] = "\xe2\x96\x81";
  size_t made = 0;
  for (size_t i = 0; i < text.len;) {
    bool space = text.len - i >= 3 && memcmp(text.data + i, SPACE, 3) == 0;
    out[made++] = space ? ' ' : text.data[i];
    i += space ? 3 : 1;
  }
  return made;
}

bool el_spaced_text_decode(el_str text, char *out, size_t *n) {
  if (text.len && memchr(text.data, ' ', text.len)) return false;
  *n = el_spaced_text_show(text, out);
  return true;
}

/* The byte that "<0x1F>" stands for; -1: the text has another form. */
static int byte_of_name(el_str s) {
  static const char DIGITS[] = "0123456789ABCDEF0123456789abcdef";
  if (s.len != 6 || memcmp(s.data, "<0x", 3) || s.data[5] != '>' || !s.data[3] || !s.data[4]) return -1;
  const char *high = strchr(DIGITS, s.data[3]), *low = strchr(DIGITS, s.data[4]);
  return high && low ? (int)((high - DIGITS) % 16 * 16 + (low - DIGITS) % 16) : -1;
}

/* --- the table of ordinary tokens */

/* The slot that holds a token with these bytes, or the free slot where it belongs. */
static uint32_t *token_slot(const el_vocab *v, const char *bytes, size_t len) {
  for (uint32_t i = (uint32_t)el_hash_bytes(v->key, bytes, len);; i++) {
    uint32_t *slot = &v->slots[i & v->mask];
    if (!*slot) return slot;
    el_str s = el_vocab_bytes(v, *slot - 1);
    if (s.len == len && memcmp(s.data, bytes, len) == 0) return slot;
  }
}

int32_t el_vocab_find(const el_vocab *v, const char *bytes, size_t len) {
  if (v->base) {
    int32_t id = el_vocab_find(v->base, bytes, len);
    return id >= 0 && (el_vocab_flags(v, (uint32_t)id) & (EL_TOKEN_CONTROL | EL_TOKEN_USER)) ? -1 : id;
  }
  return (int32_t)*token_slot(v, bytes, len) - 1;
}

/* --- reading */

static unsigned char flags_of_type(const el_vocab *v, int64_t type) {
  switch (type) {
    case TYPE_UNKNOWN:
    case TYPE_CONTROL: return EL_TOKEN_CONTROL;
    case TYPE_USER: return EL_TOKEN_USER;
    case TYPE_UNUSED: return EL_TOKEN_UNUSED;
    case TYPE_BYTE: return v->kind == EL_VOCAB_BYTE_LEVEL ? 0 : EL_TOKEN_BYTE;
    default: return 0;
  }
}

/* A file without types has only ordinary tokens and tokens of bytes. */
static el_status read_types(el_vocab *v, const el_gguf *g, const el_gguf_kv *tokens, el_error *err) {
  const el_gguf_kv *kv = el_gguf_find(g, TYPES);
  if (!kv) {
    for (uint32_t i = 0; i < v->n && v->kind != EL_VOCAB_BYTE_LEVEL; i++)
      if (byte_of_name(tokens->strings[i]) >= 0) v->flags[i] = EL_TOKEN_BYTE;
    return EL_OK;
  }
  if (kv->type != EL_GGUF_ARRAY || (kv->item_type != EL_GGUF_I32 && kv->item_type != EL_GGUF_U32))
    return el_fail(err, EL_ERR_FORMAT, "%s: %s is not an array of 32-bit integers", el_gguf_path(g), TYPES);
  if (kv->n < v->n)
    return el_fail(err, EL_ERR_FORMAT, "%s: %s has %" PRIu64 " items for %" PRIu32 " tokens", el_gguf_path(g), TYPES,
                   kv->n, v->n);
  for (uint32_t i = 0; i < v->n; i++) {
    int64_t type = el_gguf_kv_int(kv, i);
    v->flags[i] = flags_of_type(v, type);
    if (type == TYPE_UNKNOWN && v->unk < 0) v->unk = (int32_t)i;
  }
  return EL_OK;
}

/* Turns a finite score into a number that is smaller for a higher score; 0 and -0 are equal. */
static uint32_t order_of(float score) {
  uint32_t bits;
  score += 0.0f;
  memcpy(&bits, &score, sizeof bits);
  return bits & 0x80000000u ? bits : 0x7fffffffu - bits;
}

static el_status read_token_scores(el_vocab *v, const el_gguf *g, el_error *err) {
  if (v->kind != EL_VOCAB_SCORED) return EL_OK;
  const el_gguf_kv *kv = el_gguf_find(g, SCORES);
  if (!kv) return el_fail(err, EL_ERR_FORMAT, "%s: %s is missing", el_gguf_path(g), SCORES);
  if (kv->type != EL_GGUF_ARRAY || (kv->item_type != EL_GGUF_F32 && kv->item_type != EL_GGUF_I32))
    return el_fail(err, EL_ERR_FORMAT, "%s: %s is not an array of 32-bit numbers", el_gguf_path(g), SCORES);
  if (kv->n < v->n)
    return el_fail(err, EL_ERR_FORMAT, "%s: %s has %" PRIu64 " items for %" PRIu32 " tokens", el_gguf_path(g), SCORES,
                   kv->n, v->n);
  v->order = malloc(v->n * sizeof *v->order);
  if (!v->order) return el_fail(err, EL_ERR_NO_MEMORY, "%s: no memory for %" PRIu32 " scores", el_gguf_path(g), v->n);
  for (uint32_t i = 0; i < v->n; i++) {
    double score = el_gguf_kv_num(kv, i);
    if (!isfinite(score))
      return el_fail(err, EL_ERR_FORMAT, "%s: %s: the score of token %" PRIu32 " is not a finite number",
                     el_gguf_path(g), SCORES, i);
    v->order[i] = order_of((float)score);
  }
  return EL_OK;
}

static void note_spaces(el_vocab *v, const char *s, size_t len) {
  if (len > v->longest_word) v->longest_word = len;
  for (size_t i = 1; i < len; i++)
    if (s[i] == ' ' && s[i - 1] != ' ') v->before_space[(unsigned char)s[i - 1]] = true;
}

/* Control and user-defined tokens are written as they are (but for spaces), ordinary ones as their
 * kind demands. An ordinary token that is written differently is never made from text, and stands
 * for the characters of its name. */
static el_status read_vocab_tokens(el_vocab *v, const el_gguf *g, const el_gguf_kv *kv, el_error *err) {
  char show[EL_SHOW];
  for (int b = 0; b < 256; b++) v->byte_token[b] = -1;
  for (uint32_t i = 0; i < v->n; i++) {
    el_str text = kv->strings[i];
    char *out = v->bytes + v->begin[i];
    size_t len = text.len;
    bool special = v->flags[i] & (EL_TOKEN_CONTROL | EL_TOKEN_USER | EL_TOKEN_BYTE);
    bool ordinary = !special && el_vocab_decode(v, text, out, &len) && len > 0;
    if (!ordinary) {
      len = text.len;
      if (len) memcpy(out, text.data, len);
    }
    if (v->flags[i] & EL_TOKEN_USER && v->kind != EL_VOCAB_BYTE_LEVEL)
      len = el_spaced_text_show((el_str){out, len}, out);
    if (v->flags[i] & EL_TOKEN_BYTE) {
      int byte = byte_of_name(text);
      if (byte < 0)
        return el_fail(err, EL_ERR_FORMAT, "%s: %s: token %" PRIu32 " is of a byte, but is written '%s', not '<0x..>'",
                       el_gguf_path(g), TOKENS, i, el_str_show(text, show, sizeof show));
      if (v->byte_token[byte] >= 0)
        return el_fail(err, EL_ERR_FORMAT, "%s: %s has '%s' twice, as %" PRId32 " and as %" PRIu32, el_gguf_path(g),
                       TOKENS, el_str_show(text, show, sizeof show), v->byte_token[byte], i);
      v->byte_token[byte] = (int32_t)i;
      *out = (char)byte;
      len = 1;
    }
    v->begin[i + 1] = v->begin[i] + (uint32_t)len;
    if (!ordinary) continue;
    uint32_t *slot = token_slot(v, out, len);
    if (*slot)
      return el_fail(err, EL_ERR_FORMAT, "%s: %s has '%s' twice, as %" PRIu32 " and as %" PRIu32, el_gguf_path(g),
                     TOKENS, el_str_show(text, show, sizeof show), *slot - 1, i);
    *slot = i + 1;
    note_spaces(v, out, len);
  }
  v->longest = v->kind == EL_VOCAB_SCORED ? 4 : 1; /* an unknown character */
  for (uint32_t i = 0; i < v->n; i++) {
    el_str s = el_vocab_bytes(v, i);
    size_t len = s.len;
    for (size_t k = 0; k < s.len && v->kind != EL_VOCAB_BYTE_LEVEL; k++) len += s.data[k] == ' ' ? 2 : 0;
    if (len > v->longest) v->longest = len;
  }
  for (int b = 0; b < 256; b++)
    if (v->byte_token[b] < 0) v->byte_token[b] = el_vocab_find(v, &(char){(char)b}, 1);
  return EL_OK;
}

/* If the file does not name a token, *out stays unchanged. */
static el_status read_id(const el_vocab *v, const el_gguf *g, const char *key, int32_t *out, el_error *err) {
  int64_t id;
  if (!el_gguf_find(g, key)) return EL_OK;
  el_status status = el_gguf_i64(g, key, 0, (int64_t)v->n - 1, &id, err);
  if (!status) *out = (int32_t)id;
  return status;
}

static el_status read_special_ids(el_vocab *v, const el_gguf *g, el_error *err) {
  static const char *const END_KEYS[] = {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id",
                                         "tokenizer.ggml.fim_pad_token_id", "tokenizer.ggml.fim_rep_token_id",
                                         "tokenizer.ggml.fim_sep_token_id"};
  if (v->kind == EL_VOCAB_SCORED) { /* as in SentencePiece's own models */
    if (v->n > 1 && v->flags[1] & EL_TOKEN_CONTROL) v->bos = 1;
    if (v->n > 2 && v->flags[2] & EL_TOKEN_CONTROL) v->eos = 2;
  }
  el_status status = read_id(v, g, "tokenizer.ggml.bos_token_id", &v->bos, err);
  if (!status) status = read_id(v, g, "tokenizer.ggml.eos_token_id", &v->eos, err);
  if (!status) status = read_id(v, g, "tokenizer.ggml.unknown_token_id", &v->unk, err);
  if (!status && v->eos >= 0) v->flags[v->eos] |= EL_TOKEN_EOG;
  for (size_t i = 0; !status && i < sizeof END_KEYS / sizeof *END_KEYS; i++) {
    int32_t id = -1;
    status = read_id(v, g, END_KEYS[i], &id, err);
    if (!status && id >= 0) v->flags[id] |= EL_TOKEN_EOG;
  }
  return status;
}

/* Older files have other names for some. */
static el_status read_fim(el_vocab *v, const el_gguf *g, el_error *err) {
  static const char *const KEYS[EL_N_FIM][2] = {
      [EL_FIM_PREFIX] = {"tokenizer.ggml.prefix_token_id", "tokenizer.ggml.fim_pre_token_id"},
      [EL_FIM_SUFFIX] = {"tokenizer.ggml.suffix_token_id", "tokenizer.ggml.fim_suf_token_id"},
      [EL_FIM_MIDDLE] = {"tokenizer.ggml.middle_token_id", "tokenizer.ggml.fim_mid_token_id"},
      [EL_FIM_PAD] = {"tokenizer.ggml.fim_pad_token_id", "tokenizer.ggml.fim_pad_token_id"},
      [EL_FIM_REPOSITORY] = {"tokenizer.ggml.fim_rep_token_id", "tokenizer.ggml.fim_rep_token_id"},
      [EL_FIM_SEPARATOR] = {"tokenizer.ggml.fim_sep_token_id", "tokenizer.ggml.fim_sep_token_id"}};
  el_status status = EL_OK;
  for (int i = 0; i < EL_N_FIM; i++) {
    v->fim[i] = -1;
    for (int k = 0; k < 2 && !status; k++) status = read_id(v, g, KEYS[i][k], &v->fim[i], err);
  }
  return status;
}

el_status el_vocab_open(el_vocab *v, const el_gguf *g, el_vocab_kind kind, uint64_t key, el_error *err) {
  *v = (el_vocab){.kind = kind, .key = key, .bos = -1, .eos = -1, .unk = -1};
  const el_gguf_kv *kv = el_gguf_find(g, TOKENS);
  if (!kv) return el_fail(err, EL_ERR_FORMAT, "%s: %s is missing: the file has no vocabulary", el_gguf_path(g), TOKENS);
  if (kv->type != EL_GGUF_ARRAY || kv->item_type != EL_GGUF_STRING)
    return el_fail(err, EL_ERR_FORMAT, "%s: %s is not an array of strings", el_gguf_path(g), TOKENS);
  if (kv->n == 0 || kv->n > EL_MAX_VOCAB)
    return el_fail(err, EL_ERR_FORMAT, "%s: %s has %" PRIu64 " items; 1 to %d are possible", el_gguf_path(g), TOKENS,
                   kv->n, EL_MAX_VOCAB);
  size_t total = 0;
  /* no overflow: they are all in one file */
  for (uint64_t i = 0; i < kv->n; i++) total += kv->strings[i].len;
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
  if (!status) status = read_types(v, g, kv, err);
  if (!status) status = read_token_scores(v, g, err);
  if (!status) status = read_vocab_tokens(v, g, kv, err);
  if (!status) status = read_special_ids(v, g, err);
  if (!status) status = read_fim(v, g, err);
  if (status) {
    el_vocab_close(v);
    return status;
  }
  el_vocab_find_roles(v);
  return EL_OK;
}

void el_vocab_close(el_vocab *v) {
  free(v->bytes);
  free(v->begin);
  free(v->flags);
  if (!v->base) free(v->slots);
  if (!v->base) free(v->order);
  *v = (el_vocab){0};
}
