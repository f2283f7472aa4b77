#include "tokenizer/special.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "tokenizer/hash.h"

static const int SPECIAL = EL_TOKEN_CONTROL | EL_TOKEN_USER;

static uint32_t *special_slot(const el_specials *s, const el_vocab *v, const char *bytes, size_t len) {
  for (uint32_t i = (uint32_t)el_hash_bytes(s->key, bytes, len);; i++) {
    uint32_t *slot = &s->slots[i & s->mask];
    if (!*slot) return slot;
    el_str t = el_vocab_bytes(v, *slot - 1);
    if (t.len == len && memcmp(t.data, bytes, len) == 0) return slot;
  }
}

static int longest_first(const void *a, const void *b) {
  uint32_t x = ((const el_special_group *)a)->len, y = ((const el_special_group *)b)->len;
  return (x < y) - (x > y);
}

static el_status add_special(el_specials *s, const el_vocab *v, uint32_t id, uint32_t flags_by_len[], el_error *err) {
  el_str t = el_vocab_bytes(v, id);
  if (t.len == 0) return EL_OK; /* it could not be found in a text */
  char show[EL_SHOW];
  if (t.len > EL_MAX_SPECIAL_BYTES)
    return el_fail(err, EL_ERR_UNSUPPORTED, "special token %" PRIu32 ", '%s', has %zu bytes; the limit is %d", id,
                   el_str_show(t, show, sizeof show), t.len, EL_MAX_SPECIAL_BYTES);
  uint32_t *slot = special_slot(s, v, t.data, t.len);
  if (*slot)
    return el_fail(err, EL_ERR_FORMAT, "special token '%s' is there twice, as %" PRIu32 " and as %" PRIu32,
                   el_str_show(t, show, sizeof show), *slot - 1, id);
  *slot = id + 1;
  s->first[(unsigned char)t.data[0]] = true;
  s->has_user |= (el_vocab_flags(v, id) & EL_TOKEN_USER) != 0;
  flags_by_len[t.len] |= el_vocab_flags(v, id) & (uint32_t)SPECIAL;
  return EL_OK;
}

/* Makes one group for each length that occurs. */
static bool make_groups(el_specials *s, const el_vocab *v, const uint32_t flags_by_len[]) {
  size_t n = 0, index[EL_MAX_SPECIAL_BYTES + 1] = {0};
  for (size_t len = 1; len <= EL_MAX_SPECIAL_BYTES; len++) n += flags_by_len[len] != 0;
  s->groups = calloc(n + 1, sizeof *s->groups);
  if (!s->groups) return false;
  for (uint32_t len = 1; len <= EL_MAX_SPECIAL_BYTES; len++)
    if (flags_by_len[len]) s->groups[s->n_groups++] = (el_special_group){.len = len, .flags = flags_by_len[len]};
  qsort(s->groups, s->n_groups, sizeof *s->groups, longest_first);
  for (size_t i = 0; i < s->n_groups; i++) index[s->groups[i].len] = i;
  for (uint32_t id = 0; id < v->n; id++) {
    el_str t = el_vocab_bytes(v, id);
    if (el_vocab_flags(v, id) & SPECIAL && t.len) s->groups[index[t.len]].last[(unsigned char)t.data[t.len - 1]] = true;
  }
  return true;
}

el_status el_specials_open(el_specials *s, const el_vocab *v, uint64_t key, el_error *err) {
  *s = (el_specials){.key = key};
  uint32_t n = 0, flags_by_len[EL_MAX_SPECIAL_BYTES + 1] = {0};
  for (uint32_t id = 0; id < v->n; id++) n += (el_vocab_flags(v, id) & SPECIAL) != 0;
  s->mask = el_hash_table_mask(n);
  s->slots = calloc((size_t)s->mask + 1, sizeof *s->slots);
  el_status status = s->slots ? EL_OK : el_fail(err, EL_ERR_NO_MEMORY, "no memory for %" PRIu32 " special tokens", n);
  for (uint32_t id = 0; id < v->n && !status; id++)
    if (el_vocab_flags(v, id) & SPECIAL) status = add_special(s, v, id, flags_by_len, err);
  if (!status && !make_groups(s, v, flags_by_len))
    status = el_fail(err, EL_ERR_NO_MEMORY, "no memory for %" PRIu32 " special tokens", n);
  if (status) el_specials_close(s);
  return status;
}

void el_specials_close(el_specials *s) {
  free(s->groups);
  free(s->slots);
  *s = (el_specials){0};
}

/* --- finding */

size_t el_ascii_spaces(const char *text, size_t len) {
  size_t n = 0;
  while (n < len && (text[n] == ' ' || (text[n] >= '\t' && text[n] <= '\r'))) n++;
  return n;
}

enum { FREE, CONTENT, TAKEN }; /* what a byte of the text is */

static bool is_open(const unsigned char *state, size_t len, unsigned char most) {
  for (size_t i = 0; i < len; i++)
    if (state[i] > most) return false;
  return true;
}

/* Finds tokens of one length at all places where some special token may begin; id stays -1 where
 * there is none. */
static void find_group(const el_specials *s, const el_vocab *v, const el_special_group *g, bool control,
                       const char *text, size_t len, el_special_match *places, size_t n, unsigned char *state) {
  if (!(g->flags & EL_TOKEN_USER) && !control) return;
  for (size_t i = 0; i < n; i++) {
    size_t pos = places[i].pos;
    if (places[i].id >= 0 || len - pos < g->len || !g->last[(unsigned char)text[pos + g->len - 1]]) continue;
    uint32_t slot = *special_slot(s, v, text + pos, g->len);
    if (!slot) continue;
    bool user = el_vocab_flags(v, slot - 1) & EL_TOKEN_USER;
    if ((!user && !control) || !is_open(state + pos, g->len, user ? CONTENT : FREE)) continue;
    memset(state + pos, TAKEN, g->len);
    places[i].id = (int32_t)slot - 1;
  }
}

el_status el_specials_find(const el_specials *s, const el_vocab *v, const char *text, size_t len, bool control,
                           const el_range *content, size_t n_content, el_special_match **out, size_t *n,
                           el_error *err) {
  size_t n_places = 0, found = 0;
  if (control || s->has_user)
    for (size_t i = 0; i < len; i++) n_places += s->first[(unsigned char)text[i]];
  if (n_places == 0) {
    *out = NULL;
    *n = 0;
    return EL_OK;
  }
  el_special_match *places = calloc(n_places, sizeof *places);
  unsigned char *state = calloc(len, 1);
  if (!places || !state) {
    free(places);
    free(state);
    return el_fail(err, EL_ERR_NO_MEMORY, "no memory to look for special tokens in %zu bytes", len);
  }
  for (size_t i = 0; i < n_content; i++) memset(state + content[i].begin, CONTENT, content[i].end - content[i].begin);
  for (size_t i = 0, k = 0; i < len; i++)
    if (s->first[(unsigned char)text[i]]) places[k++] = (el_special_match){i, -1};
  for (size_t i = 0; i < s->n_groups; i++) find_group(s, v, &s->groups[i], control, text, len, places, n_places, state);
  free(state);
  for (size_t i = 0; i < n_places; i++)
    if (places[i].id >= 0) places[found++] = places[i];
  *out = places;
  *n = found;
  return EL_OK;
}
