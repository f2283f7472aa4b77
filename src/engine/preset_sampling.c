/* A file of its own: a server on another engine has it too. */
#include "edgelora.h"

void el_sampling_apply_preset(el_sampling *s, const el_preset *p, unsigned fields) {
  const el_sampling *from = &p->sampling;
  fields &= p->set;
  if (fields & EL_PRESET_TEMPERATURE) s->temperature = from->temperature;
  if (fields & EL_PRESET_TOP_P) s->top_p = from->top_p;
  if (fields & EL_PRESET_TOP_K) s->top_k = from->top_k;
  if (fields & EL_PRESET_MIN_P) s->min_p = from->min_p;
  if (fields & EL_PRESET_REPETITION_PENALTY) s->repeat_penalty = from->repeat_penalty;
  if (fields & EL_PRESET_REPEAT_LAST_N) s->repeat_last_n = from->repeat_last_n;
  if (fields & EL_PRESET_FREQUENCY_PENALTY) s->frequency_penalty = from->frequency_penalty;
  if (fields & EL_PRESET_PRESENCE_PENALTY) s->presence_penalty = from->presence_penalty;
  if (fields & EL_PRESET_SEED) s->seed = from->seed;
}
