/* What an adapter has beside pairs of low-rank matrices on linear layers. A part that it does not have is NULL, or a
 * matrix without data; an adapter that has pairs alone has none of this. */
#ifndef EL_ADAPTER_MORE_H
#define EL_ADAPTER_MORE_H

#include "kernels/kernels.h"

/* y = factor * (x W^T + s x A^T B^T) + bias */
typedef struct el_lora_adjust {
  const float *factor; /* [out] of DoRA (arXiv 2402.09353): magnitude / norm of the row of W + s B A; NULL: 1 */
  const float *bias;   /* [out] in the place of the base's; NULL: the base's */
} el_lora_adjust;

typedef struct el_adapter_more {
  el_lora_adjust *adjust;         /* [n_places][n_sites] */
  el_lora_adjust **expert_adjust; /* [n_layers] of [n_experts][EL_N_EXPERT_SITES] each; NULL among them: nothing */

  int n_vocab; /* tokens that there are for it: the base's, and perhaps more. In what follows, where there are others
                * than the base's, matrices have no low-rank parts any more */

  /* Of the embedding: row t is factor * length[t] * (W[t] + gain * a[t] b^T), where W is the base's or `embedding`. */
  el_packed embedding_a; /* [n_vocab, rank] */
  el_packed embedding_b; /* [n_embd, rank] */
  float embedding_gain;
  const float *embedding_factor; /* [n_embd] of PEFT's DoRA: each column is multiplied by its own; NULL: 1 */
  const float *embedding_length; /* [n_vocab] of mlx-lm's: each row is; NULL: 1 */
  el_packed embedding;           /* [n_vocab, n_embd] in the place of the base's */
  el_packed output;              /* the same */
  int n_tokens;
  const int32_t *tokens;   /* [n_tokens] ascending */
  const float *token_rows; /* [n_tokens, n_embd] in the place of those of the embedding, */
  bool tokens_of_output;   /* and of the output: of all tokens behind the base's, where `output` has no data */

  const float **norms; /* [n_layers][n_norms] as the family lists them; NULL among them: the base's */
  const float *output_norm;
} el_adapter_more;

#endif
