/* The rule: of all neighbours that are the pair of some merge, join those of the best rank, the
 * leftmost first, until there are none. A heap holds the candidates as rank and position. A
 * candidate whose neighbours have changed since is dropped when it comes up. Each join removes a
 * symbol and adds two candidates, so the heap never has more than 3 len entries. */
#include "tokenizer/bpe.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "tokenizer/hash.h"
#include "tokenizer/heap.h"

static const char MERGES[] = "tokenizer.ggml.merges";
enum { MAX_MERGES = 1 << 26, MAX_MERGE_BYTES = 1 << 16 };

/* --- the table of merges */

static uint32_t *merge_slot(const el_merges *m, int32_t left, int32_t right) {
  uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
  for (uint32_t i = (uint32_t)el_hash_u64(m->key, pair);; i++) {
    uint32_t *slot = &m->slots[i & m->mask];
    if (!*slot) return slot;
    const el_merge *merge = &m->items[*slot - 1];
    if (merge->left == left && merge->right == right) return slot;
  }
}

/* Parses "left right" into tokens. False: not all three are ordinary tokens. bytes: room for
 * MAX_MERGE_BYTES. */
static bool parse_merge(const el_vocab *v, el_str s, char *bytes, el_merge *out) {
  const char *space = s.len > 1 && s.len <= MAX_MERGE_BYTES ? memchr(s.data + 1, ' ', s.len - 1) : NULL;
  if (!space) return false;
  el_str left = {s.data, (size_t)(space - s.data)};
  el_str right = {space + 1, s.len - left.len - 1};
  size_t n_left, n_right;
  if (!el_vocab_decode(v, left, bytes, &n_left) || !el_vocab_decode(v, right, bytes + n_left, &n_right)) return false;
  out->left = el_vocab_find(v, bytes, n_left);
  out->right = el_vocab_find(v, bytes + n_left, n_right);
  out->result = el_vocab_find(v, bytes, n_left + n_right);
  return out->left >= 0 && out->right >= 0 && out->result >= 0;
}

el_status el_merges_open(el_merges *m, const el_gguf *g, const el_vocab *v, uint64_t key, el_error *err) {
  *m = (el_merges){.key = key};
  const el_gguf_kv *kv = el_gguf_find(g, MERGES);
  if (!kv) return el_fail(err, EL_ERR_FORMAT, "%s: %s is missing", el_gguf_path(g), MERGES);
  if (kv->type != EL_GGUF_ARRAY || kv->item_type != EL_GGUF_STRING)
    return el_fail(err, EL_ERR_FORMAT, "%s: %s is not an array of strings", el_gguf_path(g), MERGES);
  if (kv->n > MAX_MERGES)
    return el_fail(err, EL_ERR_FORMAT, "%s: %s has %" PRIu64 " items; the limit is %d", el_gguf_path(g), MERGES, kv->n,
                   MAX_MERGES);
  m->mask = el_hash_table_mask((uint32_t)kv->n);
  m->items = calloc((size_t)kv->n + 1, sizeof *m->items);
  m->slots = calloc((size_t)m->mask + 1, sizeof *m->slots);
  char *bytes = malloc(MAX_MERGE_BYTES);
  if (!m->items || !m->slots || !bytes) {
    free(bytes);
    el_merges_close(m);
    return el_fail(err, EL_ERR_NO_MEMORY, "%s: no memory for %" PRIu64 " merges", el_gguf_path(g), kv->n);
  }
  for (uint64_t i = 0; i < kv->n; i++) {
    el_merge merge;
    if (!parse_merge(v, kv->strings[i], bytes, &merge)) continue;
    uint32_t *slot = merge_slot(m, merge.left, merge.right);
    if (*slot) continue;
    m->items[m->n++] = merge;
    *slot = m->n;
  }
  free(bytes);
  return EL_OK;
}

void el_merges_close(el_merges *m) {
  free(m->items);
  free(m->slots);
  *m = (el_merges){0};
}

/* --- ids */

bool el_ids_add(el_ids *ids, int32_t id) {
  if (ids->n == ids->cap) {
    size_t cap = ids->cap ? ids->cap * 2 : 64;
    int32_t *p = realloc(ids->data, cap * sizeof *p);
    if (!p) return false;
    ids->data = p;
    ids->cap = cap;
  }
  ids->data[ids->n++] = id;
  return true;
}

/* --- encoding */

/* The id of an el_symbol is a token or one of these. */
enum { NO_TOKEN = -1, JOINED = -2 /* merged into the symbol before */ };

bool el_bpe_work_reserve(el_bpe_work *w, size_t len) {
  if (len <= w->cap) return true;
  size_t cap = len < 256 ? 256 : len; /* no spare room: growing costs no more than the piece that
                                       * needs it */
  el_symbol *symbols = realloc(w->symbols, cap * sizeof *symbols);
  if (!symbols) return false;
  w->symbols = symbols;
  uint64_t *heap = realloc(w->heap, 3 * cap * sizeof *heap);
  if (!heap) return false;
  w->heap = heap;
  w->cap = cap;
  return true;
}

void el_bpe_work_free(el_bpe_work *w) {
  free(w->symbols);
  free(w->heap);
  *w = (el_bpe_work){0};
}

/* Adds the merge of the symbol at `left` and the next one as a candidate, if there is one. */
static void consider_merge(const el_merges *m, el_bpe_work *w, size_t *n, uint32_t left) {
  uint32_t right = w->symbols[left].next;
  if (right == EL_NO_SYMBOL || w->symbols[left].id < 0 || w->symbols[right].id < 0) return;
  uint32_t rank = *merge_slot(m, w->symbols[left].id, w->symbols[right].id);
  if (rank) el_heap_push(w->heap, n, (uint64_t)rank << 32 | left);
}

static void apply_merges(const el_merges *m, el_bpe_work *w, size_t n_symbols) {
  el_symbol *s = w->symbols;
  size_t n = 0;
  for (uint32_t i = 0; i + 1 < n_symbols; i++) consider_merge(m, w, &n, i);
  while (n) {
    uint64_t top = el_heap_pop(w->heap, &n);
    const el_merge *merge = &m->items[(top >> 32) - 1];
    uint32_t left = (uint32_t)top, right = s[left].next;
    if (s[left].id != merge->left || right == EL_NO_SYMBOL || s[right].id != merge->right) continue;
    s[left].id = merge->result;
    s[left].next = s[right].next;
    s[right].id = JOINED;
    if (s[left].next != EL_NO_SYMBOL) s[s[left].next].prev = left;
    if (s[left].prev != EL_NO_SYMBOL) consider_merge(m, w, &n, s[left].prev);
    consider_merge(m, w, &n, left);
    assert(n <= 3 * n_symbols);
  }
}

/* Cuts a piece into bytes, or into characters if the vocabulary is written as text; returns their
 * number. */
static uint32_t cut_symbols(const el_vocab *v, const char *piece, size_t len, el_symbol *symbols) {
  uint32_t n = 0;
  for (size_t i = 0; i < len; n++) {
    uint32_t bytes = 1;
    int32_t id;
    if (v->kind == EL_VOCAB_BYTE_LEVEL) {
      id = v->byte_token[(unsigned char)piece[i]];
    } else {
      int valid = el_utf8_length(piece + i, len - i);
      if (valid > 0) bytes = (uint32_t)valid;
      id = el_vocab_find(v, piece + i, bytes);
    }
    symbols[n] =
        (el_symbol){.id = id, .prev = n ? n - 1 : EL_NO_SYMBOL, .next = n + 1, .at = (uint32_t)i, .len = bytes};
    i += bytes;
  }
  symbols[n - 1].next = EL_NO_SYMBOL;
  return n;
}

el_bpe_result el_bpe_encode(const el_vocab *v, const el_merges *m, const char *piece, size_t len, bool lossy,
                            el_bpe_work *w, el_ids *out, size_t *bad) {
  assert(len > 0 && len <= EL_MAX_PIECE);
  if (!el_bpe_work_reserve(w, len)) return EL_BPE_NO_MEMORY;
  apply_merges(m, w, cut_symbols(v, piece, len, w->symbols));
  for (uint32_t i = 0; i != EL_NO_SYMBOL; i = w->symbols[i].next) {
    const el_symbol *s = &w->symbols[i];
    if (s->id != NO_TOKEN) {
      if (!el_ids_add(out, s->id)) return EL_BPE_NO_MEMORY;
      continue;
    }
    for (uint32_t k = s->at; k < s->at + s->len; k++) {
      int32_t id = v->byte_token[(unsigned char)piece[k]];
      if (id >= 0 && !el_ids_add(out, id)) return EL_BPE_NO_MEMORY;
      if (id >= 0 || lossy) continue;
      *bad = k;
      return EL_BPE_NO_TOKEN;
    }
  }
  return EL_BPE_OK;
}
