/* All families. */
#include "arch/arch.h"

extern const el_arch el_arch_gemma2, el_arch_gemma3, el_arch_gemma4, el_arch_gpt_oss, el_arch_granite,
    el_arch_granitemoe, el_arch_llama, el_arch_mistral3, el_arch_olmo2, el_arch_openelm, el_arch_phi3, el_arch_qwen2,
    el_arch_qwen3, el_arch_qwen3moe, el_arch_smollm3;

static const el_arch *const families[] = {&el_arch_llama,      &el_arch_qwen2,    &el_arch_qwen3,   &el_arch_gemma3,
                                          &el_arch_gemma2,     &el_arch_mistral3, &el_arch_phi3,    &el_arch_granite,
                                          &el_arch_smollm3,    &el_arch_olmo2,    &el_arch_openelm, &el_arch_qwen3moe,
                                          &el_arch_granitemoe, &el_arch_gpt_oss,  &el_arch_gemma4};
enum { N_FAMILIES = sizeof families / sizeof *families };

const el_arch *el_arch_at(int i) {
  return i < N_FAMILIES ? families[i] : NULL;
}

const el_arch *el_arch_find(el_str name) {
  for (int i = 0; i < N_FAMILIES; i++)
    if (el_str_eq(name, families[i]->name)) return families[i];
  return NULL;
}
