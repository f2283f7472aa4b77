#include "tokenizer/extension.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "tokenizer/private.h"

enum { SPECIAL = EL_TOKEN_CONTROL | EL_TOKEN_USER };

static int compare_added_ids(const void *x, const void *y) {
  const int64_t a = (*(const el_added_token *const *)x)->id, b = (*(const el_added_token *const *)y)->id;
  return (a > b) - (a < b);
}

static const char *show_token(el_str s, char out[EL_SHOW]) {
  return el_str_show(s, out, EL_SHOW);
}

/* --- own tokens: those beyond the base's, and those of the base's that have another text */

/* The text as the vocabulary holds it; written to `room`, which is as long as the text. */
static el_str text_in(const el_vocab *v, const el_added_token *t, char *room) {
  if (t->text.len) memcpy(room, t->text.data, t->text.len);
  el_str s = {room, t->text.len};
  if (v->kind != EL_VOCAB_BYTE_LEVEL && !t->special) s.len = el_spaced_text_show(s, room);
  return s;
}

static bool is_bases(const el_vocab *v, const el_added_token *t) {
  char room[EL_MAX_SPECIAL_BYTES];
  if (t->id >= v->n || t->text.len > sizeof room) return false;
  const el_str is = el_vocab_bytes(v, (uint32_t)t->id), with = text_in(v, t, room);
  return (is.len == t->text.len && !memcmp(is.data, t->text.data, is.len)) ||
         (is.len == with.len && !memcmp(is.data, with.data, is.len));
}

static bool may_be_renamed(const el_vocab *v, int64_t id) {
  return el_vocab_flags(v, (uint32_t)id) & (EL_TOKEN_CONTROL | EL_TOKEN_UNUSED);
}

static el_status check_one(const el_vocab *v, const el_added_token *t, el_error *err) {
  char show[EL_SHOW], base[EL_SHOW];
  if (t->id < 0 || t->id > INT32_MAX)
    return el_fail(err, EL_ERR_FORMAT, "token '%s' has number %" PRId64, show_token(t->text, show), t->id);
  if (!t->text.len) return el_fail(err, EL_ERR_FORMAT, "token %" PRId64 " has no text", t->id);
  if (t->text.len > EL_MAX_SPECIAL_BYTES)
    return el_fail(err, EL_ERR_FORMAT, "token %" PRId64 ", '%s', has %zu bytes; the limit is %d", t->id,
                   show_token(t->text, show), t->text.len, EL_MAX_SPECIAL_BYTES);
  if (t->id < v->n && !may_be_renamed(v, t->id))
    return el_fail(err, EL_ERR_FORMAT, "token %" PRId64 " is '%s', and the base's is '%s'", t->id,
                   show_token(t->text, show), show_token(el_vocab_bytes(v, (uint32_t)t->id), base));
  return EL_OK;
}

/* Selects the own tokens of `all`, [*n] in order. Other texts for ordinary tokens of the base are
 * an error only if there are own tokens: an adapter that adds nothing may call them what it
 * likes. */
static el_status find_own(const el_vocab *v, const el_extension *e, const el_added_token **own, size_t *n,
                          el_error *err) {
  char show[EL_SHOW], other[EL_SHOW];
  size_t found = 0, bytes = 0, n_counting = 0;
  for (size_t i = 0; i < e->n; i++) {
    const el_added_token *t = &e->tokens[i];
    if (t->id >= 0 && is_bases(v, t)) continue;
    own[found++] = t;
    n_counting += t->id < 0 || t->id >= v->n || may_be_renamed(v, t->id);
  }
  *n = 0;
  if (!n_counting) return EL_OK;
  qsort(own, found, sizeof *own, compare_added_ids);
  int64_t next = v->n;
  for (size_t i = 0; i < found; i++) {
    el_status status = check_one(v, own[i], err);
    if (status) return status;
    bytes += own[i]->text.len;
    if (i && own[i]->id == own[i - 1]->id)
      return el_fail(err, EL_ERR_FORMAT, "token %" PRId64 " is there twice, as '%s' and as '%s'", own[i]->id,
                     show_token(own[i - 1]->text, show), show_token(own[i]->text, other));
    if (own[i]->id < v->n) continue;
    if (own[i]->id != next)
      return el_fail(err, EL_ERR_FORMAT,
                     "token %" PRId64 ", '%s', and none has number %" PRId64 ": the base has %" PRIu32, own[i]->id,
                     show_token(own[i]->text, show), next, v->n);
    next++;
  }
  if (found > EL_MAX_ADDED_TOKENS)
    return el_fail(err, EL_ERR_FORMAT, "%zu tokens that the base does not have; the limit is %d", found,
                   EL_MAX_ADDED_TOKENS);
  if (bytes > EL_MAX_ADDED_BYTES)
    return el_fail(err, EL_ERR_FORMAT, "tokens that the base does not have are %zu bytes; the limit is %d", bytes,
                   EL_MAX_ADDED_BYTES);
  if (own[0]->id + EL_MAX_RENAMED_SPAN < v->n)
    return el_fail(err, EL_ERR_FORMAT,
                   "token %" PRId64 " has another text than the base's, and is not among its last %d", own[0]->id,
                   EL_MAX_RENAMED_SPAN);
  *n = found;
  return EL_OK;
}

/* --- the vocabulary */

static el_status extension_no_memory(el_error *err) {
  return el_fail(err, EL_ERR_NO_MEMORY, "no memory for a tokenizer's own tokens");
}

/* Writes token `id`, which is an own one, or a copy of the base's. */
static void put_token(el_vocab *v, uint32_t id, const el_added_token *own) {
  const uint32_t at = id - v->first;
  char *out = v->bytes + v->begin[at];
  size_t len;
  if (own) {
    len = text_in(v, own, out).len;
    v->flags[at] =
        (unsigned char)((own->special ? EL_TOKEN_CONTROL : EL_TOKEN_USER) |
                        (own->strip_before ? EL_TOKEN_STRIP_BEFORE : 0) | (own->strip_after ? EL_TOKEN_STRIP : 0));
  } else {
    const el_str s = el_vocab_bytes(v->base, id);
    len = s.len;
    memcpy(out, s.data, len);
    v->flags[at] = (unsigned char)el_vocab_flags(v->base, id);
  }
  v->begin[at + 1] = v->begin[at] + (uint32_t)len;
}

static el_status extend_vocab(const el_vocab *base, const el_added_token **own, size_t n, el_vocab *v, el_error *err) {
  *v = *base;
  v->base = base;
  v->first = own[0]->id < base->n ? (uint32_t)own[0]->id : base->n;
  v->bytes = NULL;
  v->begin = NULL;
  v->flags = NULL;
  if (own[n - 1]->id >= base->n) v->n = (uint32_t)own[n - 1]->id + 1;
  const size_t more = v->n - v->first;
  size_t bytes = 1;
  for (size_t i = 0; i < n; i++) bytes += own[i]->text.len;
  for (uint32_t id = v->first; id < base->n; id++) bytes += el_vocab_bytes(base, id).len;
  if (bytes > UINT32_MAX) return extension_no_memory(err);
  v->bytes = malloc(bytes);
  v->begin = calloc(more + 1, sizeof *v->begin);
  v->flags = calloc(more, 1);
  if (!v->bytes || !v->begin || !v->flags) return extension_no_memory(err);
  for (uint32_t id = v->first, i = 0; id < v->n; id++) {
    const bool is_own = i < n && own[i]->id == id;
    put_token(v, id, is_own ? own[i] : NULL);
    i += is_own;
  }
  for (size_t i = 0; i < n; i++) {
    const size_t len = own[i]->text.len; /* a space may be written as three bytes */
    if (len > v->longest) v->longest = len;
    el_vocab_find_role(v, (uint32_t)own[i]->id);
  }
  return EL_OK;
}

/* --- roles */

/* Finds the token that a field of the folder names by its text; it must be a special one. */
static el_status find_text(const el_tokenizer *t, const char *field, el_str text, int32_t *id, el_error *err) {
  el_special_match *m = NULL;
  size_t n = 0;
  char show[EL_SHOW];
  *id = -1;
  if (!text.data) return EL_OK;
  el_status status = el_specials_find(&t->specials, &t->vocab, text.data, text.len, true, NULL, 0, &m, &n, err);
  if (status) return status;
  if (n == 1 && el_vocab_bytes(&t->vocab, (uint32_t)m[0].id).len == text.len) *id = m[0].id;
  free(m);
  if (*id >= 0) return EL_OK;
  return el_fail(err, EL_ERR_FORMAT, "%s is '%s', which is no special token", field, show_token(text, show));
}

/* Adds a token that ends an answer though its flags do not say so. A token of the base keeps its
 * flags in the base. */
static el_status add_end(el_tokenizer *t, int64_t id, el_error *err) {
  if (id < 0 || id >= t->vocab.n)
    return el_fail(err, EL_ERR_FORMAT, "an answer ends at token %" PRId64 ", and there are %" PRIu32, id, t->vocab.n);
  if (el_tokenizer_is_eog(t, (int32_t)id)) return EL_OK;
  if ((uint32_t)id >= t->vocab.first) t->vocab.flags[id - t->vocab.first] |= EL_TOKEN_EOG;
  if (t->n_own_ends < EL_MAX_ADDED_ENDS + 1) t->own_ends[t->n_own_ends++] = (int32_t)id;
  return EL_OK;
}

static el_status find_ends(el_tokenizer *t, const el_extension *e, el_error *err) {
  int32_t eos, bos;
  el_status status = find_text(t, "eos_token", e->eos, &eos, err);
  if (!status) status = find_text(t, "bos_token", e->bos, &bos, err);
  if (status) return status;
  if (e->n_ends > EL_MAX_ADDED_ENDS)
    return el_fail(err, EL_ERR_FORMAT, "an answer ends at %zu tokens; the limit is %d", e->n_ends, EL_MAX_ADDED_ENDS);
  size_t n_by_text = 0;
  for (size_t i = 0; i < t->n_own; i++) n_by_text += el_tokenizer_is_eog(t, t->own[i]);
  if (!(t->own_ends = calloc(n_by_text + EL_MAX_ADDED_ENDS + 1, sizeof *t->own_ends))) return extension_no_memory(err);
  if (eos >= 0) {
    t->vocab.eos = eos;
    status = add_end(t, eos, err);
  }
  if (bos >= 0) t->vocab.bos = bos;
  for (size_t i = 0; i < e->n_ends && !status; i++) status = add_end(t, e->ends[i], err);
  if (status) return status;
  /* Tokens that end an answer by their text come after these, and add_end has counted what it
   * added. */
  for (size_t i = 0, n_added = t->n_own_ends; i < t->n_own; i++) {
    bool there = !el_tokenizer_is_eog(t, t->own[i]);
    for (size_t k = 0; k < n_added; k++) there = there || t->own_ends[k] == t->own[i];
    if (!there) t->own_ends[t->n_own_ends++] = t->own[i];
  }
  return EL_OK;
}

/* --- templates */

/* A template that cannot be used only makes conversations fail, as with the model's own. */
static el_status use_templates(el_tokenizer *t, const el_extension *e, el_error *err) {
  if (!e->chat_template.data) return EL_OK;
  t->has_template = true;
  t->own_templates = true;
  t->template = t->tools_template = NULL;
  el_status status = el_chat_template_new(e->chat_template, &t->template, &t->why_no_template);
  if (status == EL_ERR_NO_MEMORY) return el_fail(err, status, "%s", t->why_no_template.message);
  el_error why;
  if (e->tools_template.data && el_chat_template_new(e->tools_template, &t->tools_template, &why) == EL_ERR_NO_MEMORY)
    return el_fail(err, EL_ERR_NO_MEMORY, "%s", why.message);
  return EL_OK;
}

/* --- whole */

el_status el_tokenizer_extend(const el_tokenizer *base, const el_extension *e, el_tokenizer **out, el_error *err) {
  size_t n;
  *out = NULL;
  const el_added_token **own = e->n ? malloc(sizeof *own * e->n) : NULL;
  if (!e->n) return EL_OK;
  if (!own) return extension_no_memory(err);
  el_status status = find_own(&base->vocab, e, own, &n, err);
  if (status || !n) {
    free(own);
    return status;
  }
  el_tokenizer *t = malloc(sizeof *t);
  if (t) {
    *t = *base;
    t->base = base;
    t->vocab = (el_vocab){.base = &base->vocab};
    t->specials = (el_specials){0};
    t->notice = (el_buf){0};
    t->own_templates = false;
    t->own_ends = NULL;
    t->n_own_ends = 0;
    t->n_own = n;
    t->own = malloc(sizeof *t->own * n);
  }
  status = t && t->own ? extend_vocab(&base->vocab, own, n, &t->vocab, err) : extension_no_memory(err);
  for (size_t i = 0; i < n && !status; i++) {
    t->own[i] = (int32_t)own[i]->id;
    t->strips |= own[i]->strip_before || own[i]->strip_after;
  }
  free(own);
  if (!status) status = el_specials_open(&t->specials, &t->vocab, base->vocab.key, err);
  if (!status) status = find_ends(t, e, err);
  if (!status) status = use_templates(t, e, err);
  if (status)
    el_tokenizer_close(t);
  else
    *out = t;
  return status;
}

const int32_t *el_tokenizer_own(const el_tokenizer *t, size_t *n) {
  *n = t->n_own;
  return t->own;
}

const int32_t *el_tokenizer_own_ends(const el_tokenizer *t, size_t *n) {
  *n = t->n_own_ends;
  return t->own_ends;
}

bool el_tokenizer_is_own(const el_tokenizer *t, int32_t token) {
  size_t low = 0, high = t->n_own;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (t->own[middle] < token)
      low = middle + 1;
    else
      high = middle;
  }
  return low < t->n_own && t->own[low] == token;
}

const el_tokenizer *el_tokenizer_base(const el_tokenizer *t) {
  return t->base ? t->base : t;
}

int32_t el_tokenizer_n_base(const el_tokenizer *t) {
  return (int32_t)(t->base ? t->base->vocab.n : t->vocab.n);
}

bool el_tokenizer_is_unused(const el_tokenizer *t, int32_t token) {
  return token >= 0 && (uint32_t)token < t->vocab.n && el_vocab_flags(&t->vocab, (uint32_t)token) & EL_TOKEN_UNUSED;
}

size_t el_tokenizer_extension_bytes(const el_tokenizer *t) {
  const el_vocab *v = &t->vocab;
  const size_t more = v->n - v->first;
  return t->base ? sizeof *t + (t->n_own + t->n_own_ends) * sizeof *t->own + v->begin[more] +
                       more * (sizeof *v->begin + 1) + ((size_t)t->specials.mask + 1) * sizeof *t->specials.slots
                 : 0;
}
