/* How blocks hold pages, and how many of them a sequence takes.
 *
 * A model whose layers all see everything has one kind of pages. One that has windowed layers too has two, and a block
 * holds pages of one kind: what it holds of each is as much of it as fits, so the block's size is looked for with which
 * little is left over. Pages of a kind are as far from each other as they can be then, block_bytes / per_block, so that
 * page i of any kind begins at base + i * (that): an index is an address, and no kernel divides.
 *
 * A sequence has full pages for all of its positions, and windowed pages for those that the next step's rows read or
 * write: some most_windowed at most, however long it is. */
#ifndef EL_ENGINE_KV_LAYOUT_H
#define EL_ENGINE_KV_LAYOUT_H

#include "model/model.h"

typedef struct el_kv_layout {
  size_t block_bytes;
  uint32_t per_block;          /* full pages */
  uint32_t windowed_per_block; /* 0: there are no windowed ones */
  int window;                  /* positions that a row sees in windowed layers */
  int most_windowed;           /* pages of a sequence */
} el_kv_layout;

/* Blocks of about `aim` bytes. Steps have `step_rows` rows at most. */
el_kv_layout el_kv_layout_new(const el_kv_shape *shape, size_t aim, int step_rows);
/* The same for blocks of so many pages of each kind, whatever their size. */
el_kv_layout el_kv_layout_of(const el_kv_shape *shape, uint32_t per_block, uint32_t windowed_per_block, int step_rows);

/* Blocks of a sequence that has n pages' positions, if nothing else is in them. */
uint64_t el_kv_layout_blocks(const el_kv_layout *l, uint64_t n_pages);
/* Bytes of its pages, with what is left over of blocks. */
double el_kv_layout_bytes(const el_kv_layout *l, uint64_t n_pages);
/* The pages' positions that a sequence may have in so many blocks. */
uint64_t el_kv_layout_most(const el_kv_layout *l, uint64_t n_blocks);

#endif
