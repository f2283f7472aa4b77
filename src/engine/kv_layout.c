#include "engine/kv_layout.h"

#include <assert.h>
#include <math.h>

enum { ALIGN = 64 };

static size_t round_up(size_t n, size_t to) {
  return (n + to - 1) / to * to;
}

/* Pages that the rows of a step read or write: from the first that its first row sees to that of its last one. */
static int most_windowed(int window, int step_rows) {
  const int positions = window - 1 + step_rows;
  return (positions - 1 + EL_PAGE_TOKENS - 1) / EL_PAGE_TOKENS + 1;
}

/* How many pages of `bytes` a block holds at equal distances that keep them aligned. */
static uint32_t fitting(size_t block, size_t bytes) {
  size_t n = block / bytes;
  while (n > 1 && block % (n * ALIGN)) n--;
  return (uint32_t)n;
}

/* What is left over of a block, as a share of it, of both kinds together. */
static double wasted(const el_kv_shape *s, size_t block) {
  const double full = (double)fitting(block, s->full_bytes) * (double)s->full_bytes,
               windowed = (double)fitting(block, s->windowed_bytes) * (double)s->windowed_bytes;
  return 2 - (full + windowed) / (double)block;
}

/* The better of two blocks: with less left over, else the one nearer to what is aimed at. */
static size_t better(const el_kv_shape *s, size_t aim, size_t a, size_t b) {
  const double score_a = wasted(s, a) + 0.02 * fabs(log2((double)a / (double)aim)),
               score_b = wasted(s, b) + 0.02 * fabs(log2((double)b / (double)aim));
  return score_b < score_a ? b : a;
}

/* A block for two kinds: as many pages of one of them as make about `aim` bytes, half of it to twice as much, or one or
 * two of the larger pages; or a little more, which the pages of both kinds that fit divide evenly. */
static size_t choose_block(const el_kv_shape *s, size_t aim) {
  const size_t larger = s->full_bytes > s->windowed_bytes ? s->full_bytes : s->windowed_bytes,
               least = aim / 2 > larger ? aim / 2 : larger, most = 2 * (aim > larger ? aim : larger);
  const size_t kinds[] = {s->full_bytes, s->windowed_bytes};
  size_t best = round_up(most, ALIGN);
  for (int k = 0; k < 2; k++)
    for (size_t n = (least + kinds[k] - 1) / kinds[k]; n * kinds[k] <= most; n++) {
      const size_t block = round_up(n * kinds[k], ALIGN),
                   even = round_up(block, ALIGN * (block / s->full_bytes) * (block / s->windowed_bytes));
      best = better(s, aim, best, block);
      if (even <= most) best = better(s, aim, best, even);
    }
  return best;
}

el_kv_layout el_kv_layout_new(const el_kv_shape *s, size_t aim, int step_rows) {
  el_kv_layout l = {.window = s->window};
  if (!s->windowed_bytes) {
    l.per_block = s->full_bytes < aim ? (uint32_t)(aim / s->full_bytes) : 1;
    l.block_bytes = s->full_bytes * l.per_block;
    return l;
  }
  l.block_bytes = choose_block(s, aim);
  l.per_block = fitting(l.block_bytes, s->full_bytes);
  l.windowed_per_block = fitting(l.block_bytes, s->windowed_bytes);
  l.most_windowed = most_windowed(s->window, step_rows);
  return l;
}

el_kv_layout el_kv_layout_of(const el_kv_shape *s, uint32_t per_block, uint32_t windowed_per_block, int step_rows) {
  if (!s->windowed_bytes) return (el_kv_layout){.block_bytes = s->full_bytes * per_block, .per_block = per_block};
  const size_t full = s->full_bytes * per_block, windowed = s->windowed_bytes * windowed_per_block;
  return (el_kv_layout){
      .block_bytes = round_up(full > windowed ? full : windowed, (size_t)ALIGN * per_block * windowed_per_block),
      .per_block = per_block,
      .windowed_per_block = windowed_per_block,
      .window = s->window,
      .most_windowed = most_windowed(s->window, step_rows)};
}

double el_kv_layout_bytes(const el_kv_layout *l, uint64_t n) {
  const uint64_t windowed = n < (uint64_t)l->most_windowed ? n : (uint64_t)l->most_windowed;
  double blocks = (double)n / l->per_block;
  if (l->windowed_per_block) blocks += (double)windowed / l->windowed_per_block;
  return blocks * (double)l->block_bytes;
}

uint64_t el_kv_layout_blocks(const el_kv_layout *l, uint64_t n) {
  const uint64_t full = (n + l->per_block - 1) / l->per_block;
  if (!l->windowed_per_block) return full;
  if (n > (uint64_t)l->most_windowed) n = (uint64_t)l->most_windowed;
  return full + (n + l->windowed_per_block - 1) / l->windowed_per_block;
}

uint64_t el_kv_layout_most(const el_kv_layout *l, uint64_t n_blocks) {
  uint64_t least = 0, most = n_blocks * l->per_block; /* that many full pages alone */
  while (least < most) {
    const uint64_t n = least + (most - least + 1) / 2;
    if (el_kv_layout_blocks(l, n) <= n_blocks)
      least = n;
    else
      most = n - 1;
  }
  return least;
}
