/* Names of tensors in PEFT's files, as they come: wrapped by whatever the model was trained in. */
#ifndef EL_ADAPTER_PEFT_KEYS_H
#define EL_ADAPTER_PEFT_KEYS_H

#include "base/text.h"

/* The key in its plain form, MODULE.lora_A.weight or the like, written to room [key.len]: without the prefix
 * base_model.model., once or more; without what wrappers put between modules (torch.compile's _orig_mod, data
 * parallelism's module, FSDP's _fsdp_wrapped_module, _checkpoint_wrapped_module); without the adapter's own name, which
 * *adapter gets, a view of key (empty: it has none). MODULE is what PEFT's patterns are matched with.
 *
 * Plain forms of what PEFT saves: MODULE.lora_A.weight, .lora_B.weight, .lora_B.bias, .lora_embedding_A,
 * .lora_embedding_B, .lora_magnitude_vector, and of modules_to_save MODULE.weight. Other keys stay what they are. */
el_str el_peft_key(el_str key, char *room, el_str *adapter);

/* Takes "layers.N." off a module's name, with what may stand before it: a model's name for its text part
 * (model., language_model., model.language_model., text_model., transformer.). False, and *module is as it was: it is
 * in no layer of a text model. */
bool el_peft_skip_layer(el_str *module, int *layer);

#endif
