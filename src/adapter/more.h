/* What an adapter has besides pairs of low-rank matrices on linear layers. What it does not have is
 * NULL, or a matrix without data; an adapter with pairs alone has no el_adapter_more. */
#ifndef EL_ADAPTER_MORE_H
#define EL_ADAPTER_MORE_H

#include "kernels/kernels.h"

/* y = factor * (x W^T + s x A^T B^T) + bias */
typedef struct el_lora_adjust {
  const float *factor; /* [out] DoRA (arXiv 2402.09353): magnitude / norm of the row of W + s B A;
                        * NULL: 1 */
  const float *bias;   /* [out] replaces the base's; NULL: the base's */
} el_lora_adjust;

typedef struct el_adapter_more {
  el_lora_adjust *adjust;         /* [n_places][n_sites] */
  el_lora_adjust **expert_adjust; /* [n_layers] of [n_experts][EL_N_EXPERT_SITES] each; NULL
                                   * entries: nothing for that layer */

  int n_vocab; /* tokens that the adapter has: the base's, or more. If there are not as many as the
                * base has, the matrices below have no low-rank pairs any more */

  /* The embedding. Row t is factor * length[t] * (W[t] + gain * a[t] b^T), where W is the base's
   * matrix or `embedding`. */
  el_packed embedding_a; /* [n_vocab, rank] */
  el_packed embedding_b; /* [n_embd, rank] */
  float embedding_gain;
  const float *embedding_factor; /* [n_embd] PEFT's DoRA: a factor for each column; NULL: 1 */
  const float *embedding_length; /* [n_vocab] mlx-lm's DoRA: a factor for each row; NULL: 1 */
  el_packed embedding;           /* [n_vocab, n_embd] replaces the base's */
  el_packed output;              /* [n_vocab, n_embd] replaces the base's */
  int n_tokens;
  const int32_t *tokens;   /* [n_tokens] ascending */
  const float *token_rows; /* [n_tokens, n_embd] replaces these tokens' rows of the embedding */
  bool tokens_of_output;   /* also of the output; all tokens beyond the base's are here if `output`
                            * has no data */

  const float **norms; /* [n_layers][n_norms] as the family lists its norms; NULL entries: the
                        * base's */
  const float *output_norm;
} el_adapter_more;

#endif
