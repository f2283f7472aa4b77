/* What the kernels for 64-bit Arm share for low-rank products: when B is fetched. */
#ifndef EL_KERNELS_LOW_RANK_NEON_H
#define EL_KERNELS_LOW_RANK_NEON_H

#include "kernels/ops.h"

/* Fetches tile t of column c's B, which only this column reads. The rows of a prompt have the same
 * B. */
EL_INLINE void fetch_low_rank(const el_low_rank *lora, int c, int t) {
  const el_low_rank *l = lora + c;
  if (!l->b || (c > 0 && l->b == l[-1].b)) return;
  const unsigned char *p = l->data + (size_t)t * l->tile_bytes;
  for (uint32_t i = 0; i < 192; i += 64)
    vf_fetch(p + i); /* rank 16 in 8 bits; for less, also a part of the next tile */
  for (uint32_t i = 192; i < l->tile_bytes; i += 64) vf_fetch(p + i);
}

#endif
