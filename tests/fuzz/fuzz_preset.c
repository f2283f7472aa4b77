/* Presets of adapters: whatever opens is within its limits. The input is the file's text. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "adapter/discover.h"
#include "adapter/preset.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *s, size_t most) {
  if (!s) return;
  size_t len = strlen(s);
  assert(len <= most);
  for (size_t i = 0, n; i < len; i += n) assert((n = (size_t)el_utf8_length(s + i, len - i)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  el_preset_file *f = NULL;
  el_error e = {0};
  /* A template's file is looked for in a folder that is not there. */
  el_status status = el_preset_parse((const char *)data, size, "/nowhere/edgelora.json", &f, &e);
  assert(status ? !f && e.message[0] : f != NULL);
  if (status) return 0;
  const el_preset *p = &f->preset;
  const el_sampling *s = &p->sampling;
  check_text(p->description, EL_PRESET_MAX_DESCRIPTION);
  check_text(p->system, EL_PRESET_MAX_SYSTEM);
  check_text(p->chat_template, EL_PRESET_MAX_CHAT_TEMPLATE);
  check_text(p->schema, EL_PRESET_MAX_SCHEMA);
  assert(p->n_stop <= EL_MAX_STOPS && p->n_aliases <= EL_PRESET_MAX_ALIASES);
  for (size_t i = 0; i < p->n_stop; i++) check_text(p->stop[i], EL_MAX_STOP_BYTES);
  for (size_t i = 0; i < p->n_aliases; i++) assert(!el_adapter_name_check(p->aliases[i], NULL));
  assert(isfinite(p->lora_scale) && p->lora_scale != 0 && fabsf(p->lora_scale) <= EL_MAX_SCALE);
  assert(s->temperature >= 0 && s->temperature <= 2 && s->top_k >= 0 && s->min_p >= 0 && s->min_p <= 1);
  if (p->set & EL_PRESET_TOP_P) assert(s->top_p > 0 && s->top_p <= 1);
  if (p->set & EL_PRESET_REPETITION_PENALTY) assert(s->repeat_penalty >= 0.0099f && s->repeat_penalty <= 100);
  if (p->set & EL_PRESET_MAX_TOKENS) assert(p->max_tokens >= 1);
  el_preset_free(f);
  return 0;
}
