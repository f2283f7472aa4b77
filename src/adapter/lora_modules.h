/* Private to the LoRA file reader: which sites of the base a module of a PEFT file stands for. */
#ifndef EL_ADAPTER_LORA_MODULES_H
#define EL_ADAPTER_LORA_MODULES_H

#include "adapter/lora_halves.h"
#include "adapter/peft_config.h"

typedef struct el_lora_module {
  int first, n;    /* the sites whose outputs the module has, in order; with `parameters`, those of
                    * any of its parameters */
  int expert;      /* the expert that it belongs to; else 0 */
  bool parameters; /* the module has parameters of all experts */
  bool alone;      /* its only parameter is called "weight" */
  bool stacked;    /* mlx-lm, all experts: tensors are [experts, rank, in] and [experts, out,
                    * rank] */
} el_lora_module;

/* name: the module's, inside its layer. False: it is unknown. */
bool el_lora_module_find(el_lora_file *f, el_str name, el_lora_module *out);

/* The most sites that one module of the base has. */
size_t el_lora_most_sites(const el_sites *s);

/* What a tensor of a PEFT file and the other half of its pair have in common. */
typedef struct el_lora_halves {
  el_str name;        /* the module's, as PEFT's patterns see it but for `base_layer` */
  bool turned;        /* the file has both transposed */
  int64_t a[2], b[2]; /* shapes of lora_A and lora_B */
} el_lora_halves;

/* Completes the halves that a tensor becomes: those of f from f->n_halves - 1 on. The first has
 * what they share. */
el_status el_lora_module_place(el_lora_file *f, const el_peft_config *config, const el_lora_module *m,
                               const el_lora_halves *t, el_error *err);

/* The same for a tensor [shape[0], shape[1], shape[2]] of mlx-lm. */
el_status el_lora_module_place_stack(el_lora_file *f, const el_peft_config *config, const el_lora_module *m,
                                     el_str name, const int64_t *shape, el_error *err);

/* Splits a module that consists of several sites. Each site gets the module's A and its share of
 * the rows of B: rows one below the other, or in turn. The first site's half is the last of f's so
 * far; the others are appended. */
el_status el_lora_module_split(el_lora_file *f, const el_lora_module *m, bool in_turn, el_error *err);

#endif
