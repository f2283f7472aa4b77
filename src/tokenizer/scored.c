/* The rule: of all neighbours that together are a token, join those whose token has the highest
 * score, the leftmost first, until there are none. A heap holds the candidates as score and
 * position. Each symbol records the token that it makes with the next one now. A candidate with
 * another score than that token's, or for a symbol without one, is outdated and dropped. (One with
 * the same score stands for the entry that is in the heap as well: they are equal.) Each join
 * removes a symbol and adds two candidates, so the heap never has more than 3 len entries. */
#include "tokenizer/scored.h"

#include <assert.h>
#include <stdlib.h>

#include "base/text.h"
#include "tokenizer/heap.h"

/* The id of an el_symbol is the token that it was joined to, or -1 for a single character. `joined`
 * is the token that it makes with the next symbol; -1: none, or it was merged into the symbol
 * before. Its length grows as it is joined. */

static void consider_join(const el_vocab *v, const char *piece, el_bpe_work *w, size_t *n, uint32_t left) {
  el_symbol *s = &w->symbols[left];
  s->joined = -1;
  if (s->next == EL_NO_SYMBOL) return;
  size_t len = (size_t)s->len + w->symbols[s->next].len;
  if (len <= v->longest_word) s->joined = el_vocab_find(v, piece + s->at, len);
  if (s->joined >= 0) el_heap_push(w->heap, n, (uint64_t)v->order[s->joined] << 32 | left);
}

static void join_pieces(const el_vocab *v, const char *piece, el_bpe_work *w, uint32_t n_symbols) {
  el_symbol *s = w->symbols;
  size_t n = 0;
  for (uint32_t i = 0; i < n_symbols; i++) consider_join(v, piece, w, &n, i);
  while (n) {
    uint64_t top = el_heap_pop(w->heap, &n);
    uint32_t left = (uint32_t)top, right = s[left].next;
    if (s[left].joined < 0 || v->order[s[left].joined] != top >> 32) continue;
    s[left].id = s[left].joined;
    s[left].len += s[right].len;
    s[left].next = s[right].next;
    s[right].joined = -1;
    if (s[left].next != EL_NO_SYMBOL) s[s[left].next].prev = left;
    if (s[left].prev != EL_NO_SYMBOL) consider_join(v, piece, w, &n, s[left].prev);
    consider_join(v, piece, w, &n, left);
    assert(n <= 3 * (size_t)n_symbols);
  }
}

/* Cuts a piece into characters; a byte that is not valid UTF-8 is a character of its own. */
static uint32_t cut_characters(const char *piece, size_t len, el_symbol *symbols) {
  uint32_t n = 0;
  for (size_t i = 0; i < len; n++) {
    int valid = el_utf8_length(piece + i, len - i);
    uint32_t bytes = valid > 0 ? (uint32_t)valid : 1;
    symbols[n] = (el_symbol){
        .id = -1, .joined = -1, .prev = n ? n - 1 : EL_NO_SYMBOL, .next = n + 1, .at = (uint32_t)i, .len = bytes};
    i += bytes;
  }
  symbols[n - 1].next = EL_NO_SYMBOL;
  return n;
}

static el_bpe_result add_bytes(const el_vocab *v, const char *piece, const el_symbol *s, bool lossy, el_ids *out,
                               size_t *bad) {
  size_t missing = 0;
  while (missing < s->len && v->byte_token[(unsigned char)piece[s->at + missing]] >= 0) missing++;
  if (missing < s->len && v->unk >= 0) return el_ids_add(out, v->unk) ? EL_BPE_OK : EL_BPE_NO_MEMORY;
  *bad = s->at + missing;
  if (missing < s->len && !lossy) return EL_BPE_NO_TOKEN;
  for (size_t i = 0; i < s->len; i++) {
    int32_t id = v->byte_token[(unsigned char)piece[s->at + i]];
    if (id >= 0 && !el_ids_add(out, id)) return EL_BPE_NO_MEMORY;
  }
  return EL_BPE_OK;
}

el_bpe_result el_scored_encode(const el_vocab *v, const char *piece, size_t len, bool lossy, el_bpe_work *w,
                               el_ids *out, size_t *bad) {
  assert(len > 0 && len <= EL_MAX_PIECE);
  if (!el_bpe_work_reserve(w, len)) return EL_BPE_NO_MEMORY;
  join_pieces(v, piece, w, cut_characters(piece, len, w->symbols));
  for (uint32_t i = 0; i != EL_NO_SYMBOL; i = w->symbols[i].next) {
    const el_symbol *s = &w->symbols[i];
    int32_t id = s->id >= 0 ? s->id : el_vocab_find(v, piece + s->at, s->len);
    if (id < 0) {
      el_bpe_result result = add_bytes(v, piece, s, lossy, out, bad);
      if (result) return result;
    } else if (!el_ids_add(out, id)) {
      return EL_BPE_NO_MEMORY;
    }
  }
  return EL_BPE_OK;
}
