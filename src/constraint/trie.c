#include "constraint/trie.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "tokenizer/tokenizer.h"

typedef struct entry {
  uint64_t begin; /* its first eight bytes, so that most comparisons need no more */
  const unsigned char *bytes;
  uint32_t len;
  int32_t token;
} entry;

static int compare_trie_entries(const void *a, const void *b) {
  const entry *x = a, *y = b;
  if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
  uint32_t n = x->len < y->len ? x->len : y->len;
  int c = memcmp(x->bytes, y->bytes, n);
  if (c) return c;
  if (x->len != y->len) return x->len < y->len ? -1 : 1;
  return (x->token > y->token) - (x->token < y->token);
}

static entry make_entry(int32_t token, el_str text) {
  entry e = {.bytes = (const unsigned char *)text.data, .len = (uint32_t)text.len, .token = token};
  for (uint32_t i = 0; i < 8; i++) e.begin = e.begin << 8 | (i < e.len ? e.bytes[i] : 0);
  return e;
}

static uint32_t common_prefix(const entry *a, const entry *b) {
  uint32_t n = a->len < b->len ? a->len : b->len, i = 0;
  while (i < n && a->bytes[i] == b->bytes[i]) i++;
  return i;
}

/* `open`: [EL_MAX_TOKEN_BYTES + 1] the node at each depth that what comes is still below of. */
static void append_trie_nodes(el_trie *t, const entry *sorted, uint32_t n) {
  uint32_t open[EL_MAX_TOKEN_BYTES + 1], depth = 0;
  for (uint32_t i = 0; i < n; i++) {
    uint32_t shared = i ? common_prefix(&sorted[i - 1], &sorted[i]) : 0;
    for (; depth > shared; depth--) t->nodes[open[depth]].end = t->n_nodes;
    while (depth < sorted[i].len) {
      unsigned char byte = sorted[i].bytes[depth++];
      open[depth] = t->n_nodes;
      t->nodes[t->n_nodes++] = (el_trie_node){.first = i, .depth = (uint16_t)depth, .byte = byte};
    }
    t->tokens[i] = sorted[i].token;
  }
  for (; depth > 0; depth--) t->nodes[open[depth]].end = t->n_nodes;
  t->nodes[t->n_nodes] = (el_trie_node){.first = n};
  t->n_tokens = n;
}

static void find_space(el_trie *t) {
  for (uint32_t i = 0; i < t->n_nodes; i = t->nodes[i].end)
    if (t->nodes[i].byte == ' ') {
      t->space = i;
      t->space_end = t->nodes[i].end;
    }
}

el_status el_trie_build(const el_tokenizer *tokenizer, el_trie *out, el_error *err) {
  el_trie t = {.tokenizer = tokenizer, .n_vocab = el_tokenizer_n_vocab(tokenizer)};
  size_t n_vocab = (size_t)t.n_vocab;
  entry *entries = malloc(sizeof *entries * (n_vocab + 1));
  t.tokens = malloc(sizeof *t.tokens * (n_vocab + 1));
  t.ends = malloc(sizeof *t.ends * (n_vocab + 1));
  t.spaced = malloc(sizeof *t.spaced * (n_vocab + 1));
  if (!entries || !t.tokens || !t.ends || !t.spaced) goto fail;
  uint32_t n = 0;
  for (int32_t i = 0; i < t.n_vocab; i++) {
    if (el_tokenizer_is_eog(tokenizer, i)) {
      t.ends[t.n_ends++] = i;
      continue;
    }
    el_str text = el_token_bytes(tokenizer, i, false);
    if (!text.len || text.len > EL_MAX_TOKEN_BYTES) continue;
    entries[n++] = make_entry(i, text);
    if (text.len > t.longest) t.longest = (uint32_t)text.len;
    if (text.data[0] != ' ') continue;
    if (el_token_text(tokenizer, -1, i, false).len < text.len)
      t.strips = true;
    else
      t.spaced[t.n_spaced++] = i;
  }
  qsort(entries, n, sizeof *entries, compare_trie_entries);
  /* Each distinct byte of a text beyond what it shares with the one before is a node. */
  size_t n_nodes = 0;
  for (uint32_t i = 0; i < n; i++) n_nodes += entries[i].len - (i ? common_prefix(&entries[i - 1], &entries[i]) : 0);
  t.nodes = malloc(sizeof *t.nodes * (n_nodes + 1));
  if (!t.nodes || n_nodes >= UINT32_MAX) goto fail;
  append_trie_nodes(&t, entries, n);
  find_space(&t);
  if (!t.strips) t.n_spaced = 0;
  free(entries);
  *out = t;
  return EL_OK;
fail:
  free(entries);
  el_trie_free(&t);
  return el_fail(err, EL_ERR_NO_MEMORY, "constraint: out of memory for the texts of %d tokens", t.n_vocab);
}

void el_trie_free(el_trie *t) {
  free(t->nodes);
  free(t->tokens);
  free(t->ends);
  free(t->spaced);
  *t = (el_trie){0};
}
