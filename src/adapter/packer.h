/* Packs adapters into blocks of memory. First a plan says how much memory an adapter takes. Once
 * the blocks are there, the adapter is written into them: this allocates nothing and cannot fail.
 *
 * The kernels need each matrix in one piece. Matrices are placed, in the order of use, into the
 * first block with room for them. Matrices of ranks up to 64 fit into a block for every model, so
 * any free blocks will do. When one does not fit, the whole adapter is laid into consecutive
 * blocks. */
#ifndef EL_ADAPTER_PACKER_H
#define EL_ADAPTER_PACKER_H

#include "adapter/adapter.h"

typedef struct el_packer el_packer; /* a workspace for one thread, used for one adapter after
                                     * another */

/* sites: the model's; they must outlive the packer. layout: of A and B, from
 * el_adapter_layout_get. */
el_status el_packer_new(const el_sites *sites, const el_kernels *k, el_layout layout, size_t block_bytes,
                        el_packer **out, el_error *err);
void el_packer_free(el_packer *p);
/* Sets the base's weights, which must outlive the packer. Without them, adapters that need them are
 * refused. */
void el_packer_use_base(el_packer *p, const el_base *base);

typedef struct el_pack_size {
  uint32_t n_blocks;
  bool consecutive; /* the blocks must be consecutive */
  int rank;         /* the largest of any site */
  uint64_t bytes;   /* bytes in use within the blocks */
} el_pack_size;

/* Plans `f`, which was opened with the packer's sites and must stay open until it has been
 * packed. */
el_status el_packer_plan(el_packer *p, const el_lora_file *f, el_pack_size *out, el_error *err);
/* Plans random weights of `rank` for all linear layers except those of experts. A and B are scaled
 * so that their product is a small change. */
el_status el_packer_plan_random(el_packer *p, int rank, uint64_t seed, el_pack_size *out, el_error *err);
/* One of several adapters that become one. Their ranks are laid side by side, so that the result
 * adds the sum of what they add, each multiplied by its scale. */
typedef struct el_pack_source {
  const el_lora_file *file; /* as for el_packer_plan; NULL: random weights of `rank` and `seed` */
  int rank;
  uint64_t seed;
  float scale;
} el_pack_source;
/* n: 1 to EL_MAX_COMBINED. Of several adapters, none may be an activated one. EL_ERR_INVALID: the
 * ranks of a layer add up to more than EL_MAX_RANK. */
el_status el_packer_plan_combined(el_packer *p, const el_pack_source *sources, int n, el_pack_size *out, el_error *err);
/* Packs what was planned last. Block i is at base + blocks[i] * block_bytes. The result lies in the
 * blocks. */
el_adapter *el_packer_pack(el_packer *p, unsigned char *base, const uint32_t *blocks);

#endif
