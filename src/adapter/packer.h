/* Packs adapters into blocks of memory. First a plan says how much it takes, then, once the blocks are there, the
 * adapter is written into them: no memory is allocated for an adapter, and packing cannot fail.
 *
 * A matrix must lie in one piece for the kernels. Matrices are put, in the order of use, into the first block with room
 * for them; ranks up to 64 of every model fit a block, so any free blocks do. When one does not fit, the whole
 * adapter is laid into consecutive blocks. */
#ifndef EL_ADAPTER_PACKER_H
#define EL_ADAPTER_PACKER_H

#include "adapter/adapter.h"

typedef struct el_packer el_packer; /* a workspace for one thread, kept from adapter to adapter */

/* sites: the model's, which outlive the packer. layout: of A and B, what el_adapter_layout_get gives. */
el_status el_packer_new(const el_sites *sites, const el_kernels *k, el_layout layout, size_t block_bytes,
                        el_packer **out, el_error *err);
void el_packer_free(el_packer *p);
/* The base's weights, which outlive it: without them there are no plans of what needs them. */
void el_packer_use_base(el_packer *p, const el_base *base);

typedef struct el_pack_size {
  uint32_t n_blocks;
  bool consecutive; /* the blocks must be */
  int rank;         /* the largest */
  uint64_t bytes;   /* in use of the blocks */
} el_pack_size;

/* Plans `f`, which has been opened with the packer's sites and must stay open until it is packed. */
el_status el_packer_plan(el_packer *p, const el_lora_file *f, el_pack_size *out, el_error *err);
/* Random weights of `rank` on all linear layers but those of experts; A and B scaled so that the product is a small
 * change. */
el_status el_packer_plan_random(el_packer *p, int rank, uint64_t seed, el_pack_size *out, el_error *err);
/* One of several adapters that become one: their ranks lie side by side, so that what it adds is the sum of what they
 * add, each times its scale. */
typedef struct el_pack_source {
  const el_lora_file *file; /* as for el_packer_plan; NULL: random weights, of `rank` and `seed` */
  int rank;
  uint64_t seed;
  float scale;
} el_pack_source;
/* n: 1 to EL_MAX_COMBINED; of several none is an activated one. EL_ERR_INVALID: the ranks of a layer add up to more
 * than EL_MAX_RANK. */
el_status el_packer_plan_combined(el_packer *p, const el_pack_source *sources, int n, el_pack_size *out, el_error *err);
/* Packs what was planned last. Block i is at base + blocks[i] * block_bytes. The result is in the blocks. */
el_adapter *el_packer_pack(el_packer *p, unsigned char *base, const uint32_t *blocks);

#endif
