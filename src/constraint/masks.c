#include "constraint/masks.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/random.h"
#include "tokenizer/tokenizer.h"

enum { NEAR = 16, SLOTS = 256 };

static inline void set_bit(uint64_t *bits, int32_t i) {
  bits[i / 64] |= (uint64_t)1 << i % 64;
}

static inline void clear_bit(uint64_t *bits, int32_t i) {
  bits[i / 64] &= ~((uint64_t)1 << i % 64);
}

/* ---------------------------------------------------------------------- walks */

/* Sets the bits of tokens in nodes [from, to) that may follow `start`, the state after the bytes up to depth `base`. */
static bool walk_real(el_masks *m, el_state start, uint32_t from, uint32_t to, uint32_t base, uint64_t *bits) {
  const el_trie *t = m->trie;
  el_state *path = m->path;
  path[base] = start;
  m->n_walks++;
  for (uint32_t i = from; i < to;) {
    const el_trie_node *node = &t->nodes[i];
    el_state next = el_states_step(m->states, path[node->depth - 1], node->byte);
    if (next == EL_STATE_FULL) return false;
    if (next == EL_STATE_DEAD) {
      i = node->end;
      continue;
    }
    path[node->depth] = next;
    for (uint32_t k = node->first; k < node[1].first; k++) set_bit(bits, t->tokens[k]);
    i++;
  }
  return true;
}

/* Walks the whole vocabulary for a piece: sets the tokens that are surely allowed, and puts the *n_open open ones into
 * m->found. */
static bool walk_piece(el_masks *m, const el_mask_piece *p, uint64_t *bits, uint32_t *n_open) {
  const el_trie *t = m->trie;
  el_state *sure = m->path, *maybe = m->path + t->longest + 1;
  sure[0] = p->sure;
  maybe[0] = p->maybe;
  uint32_t n = 0;
  m->n_walks++;
  for (uint32_t i = 0; i < t->n_nodes;) {
    const el_trie_node *node = &t->nodes[i];
    uint32_t d = node->depth;
    el_state next = el_states_step(m->states, maybe[d - 1], node->byte);
    if (next == EL_STATE_FULL) return false;
    if (next == EL_STATE_DEAD) {
      i = node->end;
      continue;
    }
    maybe[d] = next;
    next = el_states_step(m->states, sure[d - 1], node->byte);
    if (next == EL_STATE_FULL) return false;
    sure[d] = next;
    for (uint32_t k = node->first; k < node[1].first; k++) {
      if (next != EL_STATE_DEAD)
        set_bit(bits, t->tokens[k]);
      else
        m->found[n++] = k;
    }
    if (p->near && d == NEAR) { /* as far as the piece is the state */
      for (uint32_t k = node[1].first; k < t->nodes[node->end].first; k++) m->found[n++] = k;
      i = node->end;
    } else {
      i++;
    }
  }
  *n_open = n;
  return true;
}

/* Whether the text leads anywhere; *full. */
static bool leads_on(el_masks *m, el_state state, el_str text, bool *full) {
  for (size_t i = 0; i < text.len && state != EL_STATE_DEAD; i++) {
    state = el_states_step(m->states, state, (unsigned char)text.data[i]);
    if (state == EL_STATE_FULL) {
      *full = true;
      return false;
    }
  }
  return state != EL_STATE_DEAD;
}

/* Tests open tokens one by one. They are in order of their texts, so the states of a prefix shared with the previous
 * token are known. */
static bool try_open_tokens(el_masks *m, el_state start, const uint32_t *open, uint32_t n, uint64_t *bits) {
  const el_trie *t = m->trie;
  el_state *path = m->path;
  path[0] = start;
  el_str before = {"", 0};
  uint32_t known = 0; /* bytes of `before` that path has */
  m->n_looked += n;
  for (uint32_t i = 0; i < n; i++) {
    int32_t token = t->tokens[open[i]];
    el_str text = el_token_bytes(t->tokenizer, token, false);
    uint32_t d = 0;
    while (d < known && d < text.len && text.data[d] == before.data[d]) d++;
    bool dead = path[d] == EL_STATE_DEAD;
    while (d < text.len && !dead) {
      el_state next = el_states_step(m->states, path[d], (unsigned char)text.data[d]);
      if (next == EL_STATE_FULL) return false;
      path[++d] = next;
      dead = next == EL_STATE_DEAD;
    }
    known = d;
    before = text;
    if (!dead) set_bit(bits, token);
  }
  return true;
}

/* --------------------------------------------------------------------- pieces */

static uint32_t hash_piece(el_state sure, el_state maybe, bool near) {
  return (uint32_t)el_mix64(((uint64_t)maybe << 32 | sure) + near);
}

static void free_pieces(el_masks *m) {
  for (uint32_t i = 0; i < m->n_pieces; i++) {
    free(m->pieces[i].bits);
    free(m->pieces[i].open);
  }
  m->n_pieces = 0;
  m->piece_bytes = 0;
  memset(m->piece_slots, 0, sizeof *m->piece_slots * ((size_t)m->piece_mask + 1));
}

/* Room for one more entry in a table of slots that is at most half full: slots of n numbers, each found by hash(i). */
static bool reserve_piece(el_masks *m) {
  if (m->n_pieces == m->cap_pieces) {
    uint32_t cap = m->cap_pieces ? m->cap_pieces * 2 : 16;
    el_mask_piece *pieces = realloc(m->pieces, sizeof *pieces * cap);
    if (!pieces) return false;
    m->pieces = pieces;
    m->cap_pieces = cap;
  }
  if ((m->n_pieces + 1) * 2 <= m->piece_mask) return true;
  uint32_t size = (m->piece_mask + 1) * 2;
  uint32_t *slots = calloc(size, sizeof *slots);
  if (!slots) return false;
  for (uint32_t i = 0; i < m->n_pieces; i++) {
    uint32_t at = hash_piece(m->pieces[i].sure, m->pieces[i].maybe, m->pieces[i].near) & (size - 1);
    while (slots[at]) at = (at + 1) & (size - 1);
    slots[at] = i + 1;
  }
  free(m->piece_slots);
  m->piece_slots = slots;
  m->piece_mask = size - 1;
  return true;
}

static const el_mask_piece *piece_of(el_masks *m, el_state sure, el_state maybe, bool near) {
  uint32_t hash = hash_piece(sure, maybe, near);
  for (uint32_t at = hash & m->piece_mask; m->piece_slots[at]; at = (at + 1) & m->piece_mask) {
    const el_mask_piece *p = &m->pieces[m->piece_slots[at] - 1];
    if (p->sure == sure && p->maybe == maybe && p->near == near) return p;
  }
  if (m->piece_bytes > EL_MASKS_BYTES) free_pieces(m);
  if (!reserve_piece(m)) return NULL;
  el_mask_piece p = {.sure = sure, .maybe = maybe, .near = near};
  p.bits = calloc(m->n_words, sizeof *p.bits);
  if (!p.bits || !walk_piece(m, &p, p.bits, &p.n_open)) {
    free(p.bits);
    return NULL;
  }
  p.open = malloc(sizeof *p.open * (p.n_open + 1));
  if (!p.open) {
    free(p.bits);
    return NULL;
  }
  memcpy(p.open, m->found, sizeof *p.open * p.n_open);
  m->piece_bytes += sizeof *p.bits * m->n_words + sizeof *p.open * p.n_open;
  uint32_t at = hash & m->piece_mask;
  while (m->piece_slots[at]) at = (at + 1) & m->piece_mask;
  m->pieces[m->n_pieces] = p;
  m->piece_slots[at] = ++m->n_pieces;
  return &m->pieces[m->n_pieces - 1];
}

/* ---------------------------------------------------------------------- masks */

static bool compute_mask(el_masks *m, el_state state, uint64_t *bits) {
  el_state sure, maybe, near_sure, near_maybe;
  uint32_t longest = m->trie->longest;
  if (!el_states_cut(m->states, state, longest, &sure, &maybe)) return false;
  bool near = false;
  if (longest > NEAR) {
    if (!el_states_cut(m->states, state, NEAR, &near_sure, &near_maybe)) return false;
    near = near_sure != sure;
  }
  const el_mask_piece *p = near ? piece_of(m, near_sure, near_maybe, true) : piece_of(m, sure, maybe, false);
  if (!p) return false;
  memcpy(bits, p->bits, sizeof *bits * m->n_words);
  return try_open_tokens(m, state, p->open, p->n_open, bits);
}

/* Like el_masks_of, into m->begin_bits, where the text begins: tokens that begin with a space give their text without
 * it, with exceptions (trie->spaced). */
static bool compute_begin_mask(el_masks *m, el_state state) {
  const el_trie *t = m->trie;
  uint64_t *bits = m->begin_bits;
  const uint64_t *plain = el_masks_of(m, state, false);
  if (!plain) return false;
  memcpy(bits, plain, sizeof *bits * m->n_words);
  if (t->space == t->space_end) return true;
  for (uint32_t k = t->nodes[t->space].first; k < t->nodes[t->space_end].first; k++) clear_bit(bits, t->tokens[k]);
  /* The subtree below the space, walked from here. A token that is only a space would show nothing, so it is not
   * allowed. */
  if (!walk_real(m, state, t->space + 1, t->space_end, 1, bits)) return false;
  bool full = false;
  for (uint32_t i = 0; i < t->n_spaced && !full; i++) {
    clear_bit(bits, t->spaced[i]);
    if (leads_on(m, state, el_token_bytes(t->tokenizer, t->spaced[i], false), &full)) set_bit(bits, t->spaced[i]);
  }
  return !full;
}

static uint32_t hash_mask(el_state state, bool begins) {
  return (uint32_t)el_mix64((uint64_t)state << 1 | begins);
}

static el_mask *find_mask(el_masks *m, el_state state, bool begins) {
  for (uint32_t at = hash_mask(state, begins) & m->mask_mask; m->mask_slots[at]; at = (at + 1) & m->mask_mask) {
    el_mask *x = &m->masks[m->mask_slots[at] - 1];
    if (x->state == state && x->begins == begins) return x;
  }
  return NULL;
}

static void put_mask(el_masks *m, uint32_t i) {
  uint32_t at = hash_mask(m->masks[i].state, m->masks[i].begins) & m->mask_mask;
  while (m->mask_slots[at]) at = (at + 1) & m->mask_mask;
  m->mask_slots[at] = i + 1;
}

static void rebuild_mask_slots(el_masks *m) {
  memset(m->mask_slots, 0, sizeof *m->mask_slots * ((size_t)m->mask_mask + 1));
  for (uint32_t i = 0; i < m->n_masks; i++)
    if (m->masks[i].state != EL_STATE_DEAD) put_mask(m, i);
}

/* Removes an entry from the table and reinserts those after it, up to a gap. */
static void remove_mask(el_masks *m, uint32_t i) {
  uint32_t at = hash_mask(m->masks[i].state, m->masks[i].begins) & m->mask_mask;
  while (m->mask_slots[at] != i + 1) at = (at + 1) & m->mask_mask;
  m->mask_slots[at] = 0;
  m->masks[i].state = EL_STATE_DEAD;
  for (at = (at + 1) & m->mask_mask; m->mask_slots[at]; at = (at + 1) & m->mask_mask) {
    uint32_t moved = m->mask_slots[at] - 1;
    m->mask_slots[at] = 0;
    put_mask(m, moved);
  }
}

/* An unused entry; NULL: out of memory. */
static el_mask *free_mask(el_masks *m) {
  if (m->n_masks < m->most_masks) {
    if (m->n_masks == m->cap_masks) {
      uint32_t cap = m->cap_masks ? m->cap_masks * 2 : 16;
      el_mask *masks = realloc(m->masks, sizeof *masks * cap);
      if (!masks) return NULL;
      m->masks = masks;
      m->cap_masks = cap;
    }
    uint64_t *bits = malloc(sizeof *bits * m->n_words);
    if (!bits) return NULL;
    m->masks[m->n_masks] = (el_mask){.bits = bits};
    return &m->masks[m->n_masks++];
  }
  for (;; m->hand = (m->hand + 1) % m->n_masks) {
    el_mask *x = &m->masks[m->hand];
    if (x->state == EL_STATE_DEAD) break;
    if (!x->used) {
      remove_mask(m, m->hand);
      break;
    }
    x->used = false;
  }
  uint32_t i = m->hand;
  m->hand = (i + 1) % m->n_masks;
  return &m->masks[i];
}

static bool reserve_mask_slots(el_masks *m) {
  if ((m->n_masks + 2) * 2 <= m->mask_mask) return true;
  uint32_t size = (m->mask_mask + 1) * 2;
  uint32_t *slots = malloc(sizeof *slots * size);
  if (!slots) return false;
  free(m->mask_slots);
  m->mask_slots = slots;
  m->mask_mask = size - 1;
  rebuild_mask_slots(m);
  return true;
}

const uint64_t *el_masks_of(el_masks *m, el_state state, bool begins) {
  begins = begins && m->trie->strips;
  el_mask *x = find_mask(m, state, begins);
  if (x) {
    x->used = true;
    return x->bits;
  }
  if (begins && !compute_begin_mask(m, state)) return NULL;
  if (!reserve_mask_slots(m)) return NULL;
  x = free_mask(m);
  if (!x) return NULL;
  bool full = false;
  if (begins)
    memcpy(x->bits, m->begin_bits, sizeof *x->bits * m->n_words);
  else if (!compute_mask(m, state, x->bits))
    return NULL;
  for (size_t k = 0; k < m->n_extra && !full; k++)
    if (leads_on(m, state, el_token_bytes(m->trie->tokenizer, m->extra[k], true), &full)) set_bit(x->bits, m->extra[k]);
  if (full) return NULL;
  x->state = state;
  x->begins = begins;
  x->used = true;
  put_mask(m, (uint32_t)(x - m->masks));
  return x->bits;
}

void el_masks_forget(el_masks *m) {
  free_pieces(m);
  for (uint32_t i = 0; i < m->n_masks; i++) m->masks[i].state = EL_STATE_DEAD;
  memset(m->mask_slots, 0, sizeof *m->mask_slots * ((size_t)m->mask_mask + 1));
}

size_t el_masks_bytes(const el_masks *m) {
  return m->n_masks * (sizeof *m->masks + sizeof *m->masks->bits * m->n_words) + m->piece_bytes +
         sizeof *m->found * m->trie->n_tokens + sizeof *m->begin_bits * m->n_words;
}

el_status el_masks_open(el_masks *m, el_states *states, const el_trie *trie, const int32_t *extra, size_t n_extra,
                        el_error *err) {
  *m = (el_masks){.states = states, .trie = trie, .extra = extra, .n_extra = n_extra};
  m->n_words = ((uint32_t)trie->n_vocab + 63) / 64;
  size_t most = EL_MASKS_BYTES / (sizeof *m->masks->bits * m->n_words);
  m->most_masks = most < 4 ? 4 : most > 4096 ? 4096 : (uint32_t)most;
  m->mask_slots = calloc(SLOTS, sizeof *m->mask_slots);
  m->piece_slots = calloc(SLOTS, sizeof *m->piece_slots);
  m->mask_mask = m->piece_mask = SLOTS - 1;
  m->path = malloc(sizeof *m->path * 2 * ((size_t)trie->longest + 2));
  m->found = malloc(sizeof *m->found * ((size_t)trie->n_tokens + 1));
  m->begin_bits = malloc(sizeof *m->begin_bits * m->n_words);
  if (m->mask_slots && m->piece_slots && m->path && m->found && m->begin_bits) return EL_OK;
  el_masks_close(m);
  return el_fail(err, EL_ERR_NO_MEMORY, "constraint: out of memory");
}

void el_masks_close(el_masks *m) {
  if (m->piece_slots) free_pieces(m);
  for (uint32_t i = 0; i < m->n_masks; i++) free(m->masks[i].bits);
  free(m->masks);
  free(m->mask_slots);
  free(m->pieces);
  free(m->piece_slots);
  free(m->path);
  free(m->found);
  free(m->begin_bits);
  *m = (el_masks){0};
}
