/* adapter_config.json, as PEFT writes it: what it says about ranks and scales, and whether it is plain LoRA at all. */
#ifndef EL_ADAPTER_PEFT_CONFIG_H
#define EL_ADAPTER_PEFT_CONFIG_H

#include "edgelora.h"
#include "format/text.h"

typedef struct el_peft_config el_peft_config;

/* Parses and checks; refuses what would make the result another one than plain LoRA's, naming the field. Fields that
 * matter for training only, and unknown ones, are ignored. `path` is for messages. */
el_status el_peft_config_parse(const void *data, size_t len, const char *path, el_peft_config **out, el_error *err);
void el_peft_config_free(el_peft_config *c);

const char *el_peft_config_base(const el_peft_config *c); /* base_model_name_or_path, or "" */
bool el_peft_config_rslora(const el_peft_config *c);

/* Rank (1 to EL_LORA_MAX_RANK) and alpha (finite) of a module, such as "model.layers.0.self_attn.q_proj": the value of
 * the first key of rank_pattern or alpha_pattern that matches it, else r and lora_alpha. As in PEFT, a key is a
 * regular expression, and it matches the whole name or its end after a dot. */
el_status el_peft_config_module(const el_peft_config *c, el_str module, int *rank, double *alpha, el_error *err);

#endif
