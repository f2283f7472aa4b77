/* Inside of the LoRA file reader: what a module of a PEFT file is in the base. */
#ifndef EL_ADAPTER_LORA_MODULES_H
#define EL_ADAPTER_LORA_MODULES_H

#include "adapter/lora_parts.h"
#include "adapter/peft_config.h"

typedef struct el_lora_module {
  int first, n; /* the sites whose outputs it has, in their order; with `parameters` those of any of its parameters */
  int expert;   /* whose it is; else 0 */
  bool parameters; /* what it has are parameters, of all experts */
  bool alone;      /* its only parameter is called weight */
  bool stacked;    /* it is mlx-lm's of all experts: tensors are [experts, rank, in] and [experts, out, rank] */
} el_lora_module;

/* `name`: of the module inside of a layer. false: it is unknown. */
bool el_lora_module_find(el_lora_file *f, el_str name, el_lora_module *out);

/* The most sites that a module of the base has. */
size_t el_lora_most_sites(const el_sites *s);

/* A tensor of a PEFT file and the other half of its pair. */
typedef struct el_lora_halves {
  el_str name;        /* of the module, as PEFT's patterns have it but for `base_layer` */
  bool turned;        /* the file has them transposed */
  int64_t a[2], b[2]; /* shapes of lora_A and lora_B */
} el_lora_halves;

/* Completes the parts of a tensor, f's from f->n_parts - 1 on, of which the first has what they have in common. */
el_status el_lora_module_place(el_lora_file *f, const el_peft_config *config, const el_lora_module *m,
                               const el_lora_halves *t, el_error *err);

/* The same of a tensor [shape[0], shape[1], shape[2]] of mlx-lm's. */
el_status el_lora_module_place_stack(el_lora_file *f, const el_peft_config *config, const el_lora_module *m,
                                     el_str name, const int64_t *shape, el_error *err);

/* A module that several sites make up: each has the module's A, and its part of the rows of B, one below the other or
 * in turn. The first one's part is the last of f's; the others follow. */
el_status el_lora_module_split(el_lora_file *f, const el_lora_module *m, bool in_turn, el_error *err);

#endif
