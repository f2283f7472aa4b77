/* Text to tokens: special tokens are cut out first, what lies between them goes through the pre-tokenizer, and each of
 * its pieces through byte-pair encoding. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/error.h"
#include "tokenizer/private.h"

typedef struct encoder {
  const el_tokenizer *t;
  const char *text; /* the whole, to say where */
  bool lossy;
  el_bpe_work work;
  el_ids ids;
  el_error *err;
} encoder;

static el_status no_memory(encoder *e) {
  return el_fail(e->err, EL_ERR_NO_MEMORY, "no memory for more than %zu tokens", e->ids.n);
}

static el_status add_piece(void *user, const char *piece, size_t len) {
  encoder *e = user;
  if (e->t->ignore_merges) {
    int32_t id = el_vocab_find(&e->t->vocab, piece, len);
    if (id >= 0) return el_ids_add(&e->ids, id) ? EL_OK : no_memory(e);
  }
  size_t bad = 0;
  switch (el_bpe_encode(&e->t->vocab, &e->t->merges, piece, len, e->lossy, &e->work, &e->ids, &bad)) {
    case EL_BPE_OK: return EL_OK;
    case EL_BPE_NO_MEMORY: return no_memory(e);
    case EL_BPE_NO_TOKEN: break;
  }
  return el_fail(e->err, EL_ERR_INVALID,
                 "the model's vocabulary has no token for byte 0x%02x (at byte %zu of the text)",
                 (unsigned char)piece[bad], (size_t)(piece - e->text) + bad);
}

static el_status add_text(encoder *e, const char *text, size_t len) {
  return len ? el_pretokenizer_split(e->t->pretokenizer, text, len, add_piece, e, e->err) : EL_OK;
}

static el_status encode(encoder *e, size_t len, const el_special_match *specials, size_t n_specials) {
  size_t done = 0;
  for (size_t i = 0; i < n_specials; i++) {
    el_status status = add_text(e, e->text + done, specials[i].pos - done);
    if (status) return status;
    if (!el_ids_add(&e->ids, specials[i].id)) return no_memory(e);
    done = specials[i].pos + el_vocab_bytes(&e->t->vocab, (uint32_t)specials[i].id).len;
  }
  return add_text(e, e->text + done, len - done);
}

el_status el_tokenize_ranges(const el_tokenizer *t, const char *text, size_t len, int flags, const el_range *content,
                             size_t n_content, int32_t **out, size_t *n, el_error *err) {
  if (len > EL_MAX_PIECE)
    return el_fail(err, EL_ERR_INVALID, "a text of %zu bytes; the limit is %d", len, EL_MAX_PIECE);
  encoder e = {.t = t, .text = text, .lossy = flags & EL_TOKENIZE_LOSSY, .err = err};
  el_special_match *specials = NULL;
  size_t n_specials = 0;
  /* A list without tokens is a list too: never NULL. */
  e.ids.data = malloc(16 * sizeof *e.ids.data);
  e.ids.cap = 16;
  el_status status = e.ids.data ? EL_OK : no_memory(&e);
  if (!status && flags & EL_TOKENIZE_BOS && t->add_bos) el_ids_add(&e.ids, t->vocab.bos);
  if (!status)
    status = el_specials_find(&t->specials, &t->vocab, text, len, flags & EL_TOKENIZE_SPECIAL, content, n_content,
                              &specials, &n_specials, err);
  if (!status) status = encode(&e, len, specials, n_specials);
  free(specials);
  el_bpe_work_free(&e.work);
  if (status) {
    free(e.ids.data);
    return status;
  }
  *out = e.ids.data;
  *n = e.ids.n;
  return EL_OK;
}

el_status el_tokenize(const el_tokenizer *t, const char *text, size_t len, int flags, int32_t **out, size_t *n,
                      el_error *err) {
  return el_tokenize_ranges(t, text, len, flags, NULL, 0, out, n, err);
}
