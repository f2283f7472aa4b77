/* Names of tensors in PEFT files, which may be wrapped by whatever the model was trained in. */
#ifndef EL_ADAPTER_PEFT_KEYS_H
#define EL_ADAPTER_PEFT_KEYS_H

#include "base/text.h"

/* Writes the plain form of a key, such as MODULE.lora_A.weight, to room [key.len] and returns it.
 * Removed are: the prefix base_model.model., once or more; what wrappers put between modules
 * (_orig_mod of torch.compile, module of data parallelism, _fsdp_wrapped_module of FSDP,
 * _checkpoint_wrapped_module); and the adapter's own name, which *adapter gets as a view of key
 * (empty: it has none). PEFT's patterns are matched with MODULE.
 *
 * Plain forms of what PEFT saves: MODULE.lora_A.weight, .lora_B.weight, .lora_B.bias,
 * .lora_embedding_A, .lora_embedding_B, .lora_magnitude_vector, and for modules_to_save
 * MODULE.weight. Other keys stay as they are. */
el_str el_peft_key(el_str key, char *room, el_str *adapter);

/* Takes "layers.N." off a module's name, with what may precede it: a model's name for its text
 * model (model., language_model., model.language_model., text_model., transformer.). False: the
 * module is in no layer of a text model, and *module is unchanged. */
bool el_peft_skip_layer(el_str *module, int *layer);

#endif
