/* Inside of the packer: what an adapter has beside pairs, planned and packed as they are. */
#ifndef EL_ADAPTER_PACKER_MORE_H
#define EL_ADAPTER_PACKER_MORE_H

#include "adapter/adapter.h"

/* A matrix or a vector that lies in the adapter's blocks. */
typedef struct el_more_piece {
  el_lora_kind kind;
  const el_lora_extra *from;
  const el_lora_extra *added; /* BIAS: what B's adds to it; one of these two may be NULL */
  int place, site, expert;    /* as of a pair */
  bool table;                 /* the piece is the expert_adjust of `place`, whatever its kind */
  el_packed form;             /* of a matrix */
  size_t n;                   /* values of a vector */
  size_t bytes, offset;       /* in the planned blocks laid end to end */
  void *at;
} el_more_piece;

typedef struct el_more {
  const el_sites *sites;
  const el_base *base; /* NULL: nobody has it */
  const el_kernels *kernels;
  el_layout layout;
  const el_lora_file *file;
  el_more_piece *pieces; /* [n] in the order of the file's extras */
  size_t n, cap;
  size_t n_sorted;                     /* the first ones, in the order of kind, place, site and expert */
  bool adjusts, expert_adjusts, norms; /* there are tables of these */
  int rank;                            /* of the embedding's pair */
  int n_vocab;                         /* tokens that the adapter has: the base's at least */
  float *scratch;                      /* [n_scratch] */
  size_t n_scratch;
} el_more;

void el_more_free(el_more *m);
/* Plans what `file` has. NULL: nothing. */
el_status el_more_plan(el_more *m, const el_lora_file *file, el_error *err);
/* Bytes of its description, at the front of the first block; 0: there is nothing. */
size_t el_more_head_bytes(const el_more *m);
/* Writes the description to `head`, and the pieces, which have their places; but DoRA's factors are magnitudes until
 * el_more_factor. NULL: there is nothing. */
const el_adapter_more *el_more_pack(el_more *m, unsigned char *head);
/* Divides the magnitudes of a site, or of an expert's, by the norms of W + s B A, if it has any. a: [rank, in],
 * b: [out, rank]. */
void el_more_factor(const el_more *m, int place, int site, int expert, const float *a, const float *b, int rank,
                    float scale);

#endif
