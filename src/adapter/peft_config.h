/* Reads adapter_config.json as PEFT or mlx-lm writes it: ranks, scales, the invocation, and whether
 * this is LoRA in a form that is supported. */
#ifndef EL_ADAPTER_PEFT_CONFIG_H
#define EL_ADAPTER_PEFT_CONFIG_H

#include "base/text.h"
#include "edgelora.h"

typedef struct el_peft_config el_peft_config;

/* Parses and checks. Refuses everything that would make the result differ from LoRA's, naming the
 * field. Fields that matter only for training are ignored; so are unknown fields that are off
 * (null, false, 0, empty). `path` is for messages. */
el_status el_peft_config_parse(const void *data, size_t len, const char *path, el_peft_config **out, el_error *err);
void el_peft_config_free(el_peft_config *c);

const char *el_peft_config_base(const el_peft_config *c); /* base_model_name_or_path, or "" */
bool el_peft_config_rslora(const el_peft_config *c);
/* Whether mlx-lm wrote it: tensors are then MODULE.lora_a, [in, rank], and MODULE.lora_b, [rank,
 * out]. */
bool el_peft_config_is_mlx(const el_peft_config *c);
/* mlx-lm: only this many layers at the end have adapters; 0: any layer may. */
int el_peft_config_last_layers(const el_peft_config *c);

/* Whether target_parameters names a parameter that is no module of its own. */
bool el_peft_config_has_parameters(const el_peft_config *c);
/* Whether a module's weight was trained in that way: PEFT's patterns then see its name with
 * ".weight" at the end. */
bool el_peft_config_has_weight(const el_peft_config *c, el_str module);
/* Whether the PEFT that wrote it mixes up inputs and outputs of an experts' parameter: [experts,
 * in, out] if `transposed`, else [experts, out, in]. */
bool el_peft_config_swaps_experts(const el_peft_config *c, bool transposed);
/* Copies alora_invocation_tokens, 0 to EL_MAX_INVOCATION of them, into `tokens`; returns their
 * number. */
int el_peft_config_invocation(const el_peft_config *c, int32_t *tokens);
/* invocation_string, from before PEFT had alora_invocation_tokens; NULL: there is none. */
const char *el_peft_config_invocation_text(const el_peft_config *c);

/* --- what adapters have besides pairs */
bool el_peft_config_dora(const el_peft_config *c);
bool el_peft_config_lora_bias(const el_peft_config *c); /* B has a bias */
bool el_peft_config_biases(const el_peft_config *c);    /* it has biases that replace the base's */
bool el_peft_config_ties(const el_peft_config *c);      /* where the output is the embedding, so is
                                                         * the adapter's */

typedef enum el_peft_saved {
  EL_PEFT_SAVED_EMBEDDING,
  EL_PEFT_SAVED_OUTPUT,
  EL_PEFT_SAVED_NORM,
  EL_PEFT_SAVED_OTHER
} el_peft_saved;
/* Whether modules_to_save names one of the kind. */
bool el_peft_config_saves(const el_peft_config *c, el_peft_saved kind);
bool el_peft_config_has_tokens(const el_peft_config *c);
/* trainable_token_indices of a module, in the order of their rows. *out is the caller's to free,
 * also after a failure. */
el_status el_peft_config_tokens(const el_peft_config *c, el_str module, int32_t **out, size_t *n, el_error *err);

/* Rank (1 to EL_MAX_RANK) and alpha (finite) of a module such as
 * "model.layers.0.self_attn.q_proj": the value of the first key of rank_pattern or alpha_pattern
 * that matches the name, else r and lora_alpha. As in PEFT, a key is a regular expression that
 * matches the whole name, or its end after a dot. */
el_status el_peft_config_module(const el_peft_config *c, el_str module, int *rank, double *alpha, el_error *err);

#endif
