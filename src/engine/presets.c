/* What adapters say of how they want to be asked: held for a request, and applied to what it leaves open. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "engine/engine.h"

/* ------------------------------------------------------------------- made of */

static void close_template(void *made) {
  el_chat_template_close(made);
}

/* The template must be one that conversations can be rendered with, before any request wants it. */
static el_status make(void *user, el_preset_file *f, el_error *err) {
  const el_engine *e = user;
  el_chat_template *c = NULL;
  el_error why;
  if (!f->preset.chat_template) return EL_OK;
  el_status status = el_chat_template_open(e->tokenizer, f->preset.chat_template, &c, &why);
  if (status) return el_fail(err, status, "%s: chat_template: %s", EL_PRESET_FILE, why.message);
  f->made = c;
  f->unmake = close_template;
  return EL_OK;
}

el_status el_presets_open(el_engine *e, const char *base_preset, el_error *err) {
  el_registry_on_preset(e->registry, make, e);
  if (!base_preset) return EL_OK;
  el_status status = el_preset_read_at(base_preset, &e->base_preset, err);
  if (status) return status;
  const el_preset *p = &e->base_preset->preset;
  if (p->n_aliases)
    return el_fail_about(err, EL_ERR_INVALID, base_preset,
                         "aliases: are an adapter's; the base is called as it is loaded");
  if (p->lora_scale != 1) return el_fail_about(err, EL_ERR_INVALID, base_preset, "lora_scale: is an adapter's");
  return make(e, e->base_preset, err);
}

void el_presets_tell(el_engine *e) {
  char *lines = el_registry_take_notices(e->registry);
  for (char *next = lines; next && *next;) {
    char *line = next;
    next = strchr(line, '\n');
    if (next) *next++ = 0;
    el_logf(&e->log, EL_LOG_WARN, "%s", line);
  }
  free(lines);
}

/* ---------------------------------------------------------------------- held */

typedef struct held {
  el_held_adapter shown;
  el_entry *entry; /* a reference; NULL: the base */
} held;

el_status el_adapter_hold(el_engine *e, const char *name, const el_held_adapter **out, el_error *err) {
  if (!e || !name || !out) return el_fail(err, EL_ERR_INVALID, "adapter: an argument is NULL");
  held *h = calloc(1, sizeof *h);
  if (!h) return el_fail(err, EL_ERR_NO_MEMORY, "adapters: out of memory");
  const el_preset_file *f = e->base_preset;
  h->shown.name = e->name;
  h->shown.tokenizer = e->tokenizer;
  if (strcmp(name, e->name)) {
    el_status status = el_registry_get(e->registry, name, &h->entry, err);
    if (!status) status = el_presets_tokenizer(e, h->entry, &h->shown.tokenizer, err);
    if (status) {
      el_registry_put(e->registry, h->entry);
      free(h);
      return status;
    }
    f = h->entry->preset;
    h->shown.name = h->entry->name;
    h->shown.generation = el_registry_generation(e->registry, h->entry);
  }
  h->shown.preset = f ? &f->preset : NULL;
  h->shown.chat_template = f ? f->made : NULL;
  *out = &h->shown;
  return EL_OK;
}

el_status el_presets_tokenizer(const el_engine *e, el_entry *entry, const el_tokenizer **out, el_error *err) {
  const el_tokenizer *own = NULL;
  el_status status = entry ? el_entry_tokens(entry, &own, err) : EL_OK;
  *out = own ? own : e->tokenizer;
  return status;
}

void el_adapter_release(el_engine *e, const el_held_adapter *shown) {
  held *h = (held *)shown;
  if (!h) return;
  el_registry_put(e->registry, h->entry);
  free(h);
}

el_entry *el_presets_take_held(el_engine *e, const el_held_adapter *shown) {
  el_entry *entry = ((const held *)shown)->entry;
  if (entry) el_registry_hold(e->registry, entry);
  return entry;
}

/* ------------------------------------------------------------------- applied */

const el_preset *el_presets_of(const el_engine *e, const el_entry *adapter) {
  const el_preset_file *f = adapter ? adapter->preset : e->base_preset;
  return f ? &f->preset : NULL;
}

void el_presets_apply(const el_preset *p, el_request *r) {
  if (!p) return;
  unsigned fields = r->preset_fields & p->set;
  el_sampling_apply_preset(&r->sampling, p, fields);
  if (fields & EL_PRESET_MAX_TOKENS) r->max_tokens = p->max_tokens;
  if (!(fields & EL_PRESET_STOP)) return;
  r->stop = p->stop;
  r->n_stop = p->n_stop;
}

el_status el_presets_constraint(el_engine *e, const el_preset *p, unsigned fields, const el_constraint **out,
                                el_error *err) {
  *out = NULL;
  if (!p || !(p->set & fields & EL_PRESET_SCHEMA)) return EL_OK;
  el_constraint_source source = {.type = EL_CONSTRAINT_JSON_SCHEMA, .text = p->schema, .len = strlen(p->schema)};
  el_status status = el_constraint_store_open(e->constraints, &source, out, err);
  if (status && err) err->field = "constraint";
  return status ? el_fail_prefix(err, "the schema that the adapter brings") : EL_OK;
}
