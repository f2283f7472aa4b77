/* Private to the packer: plans and packs what an adapter has besides pairs. */
#ifndef EL_ADAPTER_PACKER_MORE_H
#define EL_ADAPTER_PACKER_MORE_H

#include "adapter/adapter.h"

/* Whatever lies in an adapter's blocks begins at a multiple of this many bytes. */
enum { EL_PACK_ALIGN = 64 };
static inline size_t el_pack_align(size_t bytes) {
  return (bytes + EL_PACK_ALIGN - 1) / EL_PACK_ALIGN * EL_PACK_ALIGN;
}

/* A matrix or a vector that lies in the adapter's blocks. */
typedef struct el_more_piece {
  el_lora_kind kind;
  const el_lora_extra *from;
  const el_lora_extra *added; /* BIAS: the bias of B, which is added to `from`; one of the two may
                               * be NULL */
  int place, site, expert;    /* as for a pair */
  bool table;                 /* the piece is the table expert_adjust of layer `place`, whatever its
                               * kind */
  el_packed form;             /* of a matrix */
  size_t n;                   /* number of values of a vector */
  size_t bytes, offset;       /* in bytes, as if the planned blocks were laid end to end */
  void *at;
} el_more_piece;

typedef struct el_more {
  const el_sites *sites;
  const el_base *base; /* NULL: not known, and what needs it is refused */
  const el_kernels *kernels;
  el_layout layout;
  const el_lora_file *file;
  el_more_piece *pieces; /* [n] in the order of the file's extras */
  size_t n, cap;
  size_t n_sorted;                     /* this many at the front are sorted by kind, place, site and
                                        * expert */
  bool adjusts, expert_adjusts, norms; /* whether there are tables of these */
  int rank;                            /* of the embedding's pair */
  int n_vocab;                         /* tokens that the adapter has, at least the base's */
  float *scratch;                      /* [n_scratch] */
  size_t n_scratch;
} el_more;

void el_more_free(el_more *m);
/* Plans what `file` has besides pairs. NULL: nothing. */
el_status el_more_plan(el_more *m, const el_lora_file *file, el_error *err);
/* Bytes of the description, at the front of the first block; 0: there is nothing to describe. */
size_t el_more_description_bytes(const el_more *m);
/* Writes the description to `to`, and the pieces to their places. DoRA's factors are still
 * magnitudes until el_more_factor. Returns NULL if there is nothing. */
const el_adapter_more *el_more_pack(el_more *m, unsigned char *to);
/* Divides the magnitudes of a site, or of an expert's site, by the norms of W + s B A, if it has
 * any. a: [rank, in], b: [out, rank]. */
void el_more_factor(const el_more *m, int place, int site, int expert, const float *a, const float *b, int rank,
                    float scale);

#endif
