/* Turns text into tokens. Special tokens are cut out first; what is between them is cut into
 * pieces, by the pre-tokenizer or into words; each piece is encoded as the kind of vocabulary
 * demands.
 *
 * With a limit of tokens, a text is given up as soon as it must exceed the limit: no token stands
 * for more bytes than the longest one of the vocabulary, so the rest of a text needs some number of
 * tokens at least. A text that is far too long costs one division, and no text costs more than
 * encoding as many tokens as the limit. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/error.h"
#include "tokenizer/private.h"
#include "tokenizer/words.h"

typedef struct encoder {
  const el_tokenizer *t;
  const char *text; /* the whole text, for positions in messages */
  size_t len;
  bool lossy;
  size_t most; /* the limit, in tokens */
  el_bpe_work work;
  el_buf word;
  const char *span; /* of the text, between special tokens */
  size_t span_len;
  el_ids ids;
  el_error *err;
} encoder;

static el_status encoder_no_memory(encoder *e) {
  return el_fail(e->err, EL_ERR_NO_MEMORY, "no memory for more than %zu tokens", e->ids.n);
}

/* Checks that the text can still have at most `most` tokens, given the tokens so far, which cover
 * bytes up to `done`. Bytes that are left out, or that a special token takes along, are no
 * tokens. */
static el_status check_most(encoder *e, size_t done) {
  size_t rest = e->lossy || e->t->strips ? 0 : e->len - done, longest = e->t->vocab.longest;
  size_t least = e->ids.n + rest / longest + (rest % longest > 0);
  if (least <= e->most) return EL_OK;
  return el_fail(e->err, EL_ERR_TOO_LONG, "a text of %zu bytes is at least %zu tokens; the limit is %zu", e->len, least,
                 e->most);
}

static el_status no_byte_token(encoder *e, size_t at) {
  return el_fail(e->err, EL_ERR_INVALID,
                 "the model's vocabulary has no token for byte 0x%02x (at byte %zu of the text)",
                 (unsigned char)e->text[at], at);
}

static el_status encode_piece(void *user, const char *piece, size_t len) {
  encoder *e = user;
  el_status status = check_most(e, (size_t)(piece - e->text));
  if (status) return status;
  if (e->t->ignore_merges) {
    int32_t id = el_vocab_find(&e->t->vocab, piece, len);
    if (id >= 0) return el_ids_add(&e->ids, id) ? EL_OK : encoder_no_memory(e);
  }
  size_t bad = 0;
  switch (el_bpe_encode(&e->t->vocab, &e->t->merges, piece, len, e->lossy, &e->work, &e->ids, &bad)) {
    case EL_BPE_OK: return EL_OK;
    case EL_BPE_NO_MEMORY: return encoder_no_memory(e);
    case EL_BPE_NO_TOKEN: break;
  }
  return no_byte_token(e, (size_t)(piece - e->text) + bad);
}

static bool all_lines(const el_word *w) {
  size_t i = 0;
  while (i < w->len && w->data[i] == '\n') i++;
  return i == w->len;
}

static el_status encode_word(void *user, const el_word *word) {
  encoder *e = user;
  const el_vocab *v = &e->t->vocab;
  el_status status = check_most(e, (size_t)(e->span - e->text) + word->at);
  if (status) return status;
  if (e->t->line_tokens && all_lines(word)) {
    int32_t id = el_vocab_find(v, word->data, word->len);
    if (id >= 0) return el_ids_add(&e->ids, id) ? EL_OK : encoder_no_memory(e);
  }
  size_t bad = 0;
  switch (v->kind == EL_VOCAB_SCORED
              ? el_scored_encode(v, word->data, word->len, e->lossy, &e->work, &e->ids, &bad)
              : el_bpe_encode(v, &e->t->merges, word->data, word->len, e->lossy, &e->work, &e->ids, &bad)) {
    case EL_BPE_OK: return EL_OK;
    case EL_BPE_NO_MEMORY: return encoder_no_memory(e);
    case EL_BPE_NO_TOKEN: break;
  }
  if (word->prefixed && bad == 0)
    return el_fail(e->err, EL_ERR_INVALID, "the model's vocabulary has no token for the space in front of a text");
  /* A word knows its position in the span of the text that it was cut from. */
  return no_byte_token(e, (size_t)(e->span - e->text) + el_word_origin(word, e->span, e->span_len, bad));
}

/* Encodes a span of the text, which follows a special token or nothing. */
static el_status encode_text(encoder *e, const char *text, size_t len) {
  if (!len) return EL_OK;
  if (e->t->pretokenizer) return el_pretokenizer_split(e->t->pretokenizer, text, len, encode_piece, e, e->err);
  e->span = text;
  e->span_len = len;
  el_status status = el_words_cut(&e->t->vocab, text, len, e->t->add_space, e->t->vocab.kind == EL_VOCAB_MERGED,
                                  &e->word, encode_word, e);
  return status == EL_ERR_NO_MEMORY ? encoder_no_memory(e) : status;
}

static el_status encode_between_specials(encoder *e, const el_special_match *specials, size_t n_specials) {
  const el_vocab *v = &e->t->vocab;
  size_t done = 0;
  for (size_t i = 0; i < n_specials; i++) {
    const unsigned flags = el_vocab_flags(v, (uint32_t)specials[i].id);
    size_t before = specials[i].pos - done;
    while (flags & EL_TOKEN_STRIP_BEFORE && before && el_ascii_spaces(e->text + done + before - 1, 1)) before--;
    el_status status = encode_text(e, e->text + done, before);
    if (status) return status;
    if (!el_ids_add(&e->ids, specials[i].id)) return encoder_no_memory(e);
    done = specials[i].pos + el_vocab_bytes(v, (uint32_t)specials[i].id).len;
    if (flags & EL_TOKEN_STRIP)
      done += el_ascii_spaces(e->text + done, (i + 1 < n_specials ? specials[i + 1].pos : e->len) - done);
  }
  el_status status = encode_text(e, e->text + done, e->len - done);
  return status ? status : check_most(e, e->len);
}

el_status el_tokenize_ranges(const el_tokenizer *t, const char *text, size_t len, int flags, const el_range *content,
                             size_t n_content, size_t most, int32_t **out, size_t *n, el_error *err) {
  if (len > EL_MAX_TEXT_BYTES)
    return el_fail(err, EL_ERR_INVALID, "a text of %zu bytes; the limit is %d", len, EL_MAX_TEXT_BYTES);
  encoder e = {.t = t, .text = text, .len = len, .lossy = flags & EL_TOKENIZE_LOSSY, .most = most, .err = err};
  el_special_match *specials = NULL;
  size_t n_specials = 0;
  /* A list without tokens is a list too: never NULL. */
  e.ids.data = malloc(16 * sizeof *e.ids.data);
  e.ids.cap = 16;
  el_status status = e.ids.data ? EL_OK : encoder_no_memory(&e);
  bool bos = flags & EL_TOKENIZE_BOS && t->add_bos;
  if (!status) status = check_most(&e, 0); /* before the whole text is searched for anything */
  if (!status)
    status = el_specials_find(&t->specials, &t->vocab, text, len, flags & EL_TOKENIZE_SPECIAL, content, n_content,
                              &specials, &n_specials, err);
  if (bos && n_specials && specials[0].pos == 0 && specials[0].id == t->vocab.bos)
    bos = false; /* the text starts with it */
  if (!status && bos) el_ids_add(&e.ids, t->vocab.bos);
  if (!status) status = encode_between_specials(&e, specials, n_specials);
  free(specials);
  el_bpe_work_free(&e.work);
  el_buf_free(&e.word);
  if (status) {
    free(e.ids.data);
    return status;
  }
  *out = e.ids.data;
  *n = e.ids.n;
  return EL_OK;
}

el_status el_tokenize_at_most(const el_tokenizer *t, const char *text, size_t len, int flags, size_t most,
                              int32_t **out, size_t *n, el_error *err) {
  return el_tokenize_ranges(t, text, len, flags, NULL, 0, most, out, n, err);
}

el_status el_tokenize(const el_tokenizer *t, const char *text, size_t len, int flags, int32_t **out, size_t *n,
                      el_error *err) {
  return el_tokenize_at_most(t, text, len, flags, SIZE_MAX, out, n, err);
}
