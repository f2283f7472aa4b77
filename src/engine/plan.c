/* What an engine would take, by headers alone: the model's, and those of adapters. No weights are read into memory, no
 * thread is started and nothing is kept. */
#include <stdio.h>
#include <string.h>

#include "edgelora.h"

#include "adapter/discover.h"
#include "adapter/lora_file.h"
#include "adapter/packer.h"
#include "adapter/preset.h"
#include "base/error.h"
#include "base/file.h"
#include "engine/engine.h"
#include "format/gguf.h"
#include "kernels/select.h"
#include "template/template.h"
#include "tokenizer/tokenizer.h"

/* Adapters of a folder whose headers are read; what the others take is taken to be alike. */
enum { LOOK_AT = 256 };

typedef struct planner {
  const el_engine_options *options;
  el_log log;
  const el_kernels *kernels;
  el_hparams hparams;
  el_sites *sites;
  el_packer *packer;
  el_budget budget;
  uint64_t blocks; /* of the adapters that were looked at */
  el_engine_plan *out;
} planner;

static el_status check_template(const char *path, el_tokenizer *tokenizer, el_error *err) {
  el_file f;
  el_error why;
  el_status status = el_file_read(path, EL_TEMPLATE_MAX_BYTES, &f, err);
  if (status) return status;
  status = el_tokenizer_use_template(tokenizer, (el_str){(const char *)f.data, f.size}, &why);
  el_file_close(&f);
  return status ? el_fail_about(err, status, path, "%s", why.message) : EL_OK;
}

static el_status read_model(planner *p, el_error *err) {
  const el_engine_options *o = p->options;
  el_gguf *g = NULL;
  el_tokenizer *tokenizer = NULL;
  el_preset_file *preset = NULL;
  el_weights weights;
  el_status status = el_weights_get(o->weights, &weights, err);
  if (!status) status = el_gguf_open(o->model_path, &g, err);
  if (!status) status = el_hparams_read(g, &p->hparams, err);
  if (!status) status = el_tokenizer_from_gguf(g, &tokenizer, err);
  if (!status && o->chat_template_path) status = check_template(o->chat_template_path, tokenizer, err);
  if (!status && o->preset_path) status = el_preset_read_at(o->preset_path, &preset, err);
  for (size_t i = 0; !status && i < el_gguf_n_tensors(g); i++) p->out->weight_bytes += el_gguf_tensor_at(g, i)->n_bytes;
  el_str architecture;
  if (!status) status = el_gguf_str(g, "general.architecture", &architecture, err);
  if (!status)
    snprintf(p->out->architecture, sizeof p->out->architecture, "%.*s", (int)architecture.len, architecture.data);
  if (preset) el_preset_free(preset);
  el_tokenizer_close(tokenizer);
  el_gguf_close(g);
  return status;
}

static el_status plan_memory(planner *p, el_error *err) {
  el_budget *b = &p->budget;
  el_engine_plan *out = p->out;
  el_status status = el_budget_plan(p->options, &p->hparams, NULL, p->kernels, b, err);
  if (!status) status = el_sites_new(&p->hparams, &p->sites, err);
  if (!status) status = el_packer_new(p->sites, p->kernels, b->adapter_layout, b->layout.block_bytes, &p->packer, err);
  if (status) return status;
  const uint64_t context = el_kv_layout_blocks(&b->layout, (uint64_t)el_pages_for(b->ctx_size));
  out->block_bytes = b->layout.block_bytes;
  out->pool_bytes = out->block_bytes * b->n_blocks;
  out->ctx_size = b->ctx_size;
  out->ctx_train = p->hparams.ctx_train;
  out->context_bytes = out->block_bytes * context;
  out->n_contexts = (b->n_blocks - b->reserve) / context;
  return EL_OK;
}

/* What an adapter takes of the pool. Some cannot be planned without the base's weights: these are not counted. */
static el_status look_at(planner *p, const char *path, el_error *err) {
  el_lora_file *f = NULL;
  el_pack_size size;
  el_error ignored;
  el_status status = el_lora_file_open(path, p->sites, &f, err);
  if (!status && !el_packer_plan(p->packer, f, &size, &ignored)) {
    p->out->n_looked_at++;
    p->blocks += size.n_blocks;
  }
  el_lora_file_close(f);
  return status;
}

static el_status look_through(planner *p, const char *dir, el_error *err) {
  el_found found;
  el_status status = el_adapter_discover(dir, &found, err);
  if (status) return status;
  for (size_t i = 0; i < found.n; i++) {
    el_error why;
    const el_found_adapter *a = &found.items[i];
    bool usable = !a->status;
    if (usable && p->out->n_looked_at < LOOK_AT && look_at(p, a->path, &why)) {
      usable = false;
      el_logf(&p->log, EL_LOG_WARN, "adapter %s: %s", a->name, why.message);
    } else if (!usable) {
      el_logf(&p->log, EL_LOG_WARN, "adapter %s: %s", a->name, a->problem);
    }
    p->out->n_adapters += usable;
    p->out->n_refused += !usable;
  }
  el_found_free(&found);
  return EL_OK;
}

/* An adapter's size on average; where there are none, that of rank 16. */
static void count_fitting(planner *p) {
  const el_budget *b = &p->budget;
  el_engine_plan *out = p->out;
  const uint64_t context = out->context_bytes / out->block_bytes;
  const uint64_t n = out->n_looked_at, blocks = n ? p->blocks : b->reserve, each = n ? n : 1;
  out->adapter_bytes = blocks * out->block_bytes / each;
  out->n_adapters_fit = blocks && b->n_blocks > context ? (b->n_blocks - context) * each / blocks : 0;
}

el_status el_engine_plan_read(const el_engine_options *options, const char *const *adapters, size_t n_adapters,
                              const char *const *dirs, size_t n_dirs, el_engine_plan *out, el_error *err) {
  el_error error;
  if (!err) err = &error;
  *out = (el_engine_plan){0};
  planner p = {.options = options, .log = {options->log, options->log_user}, .out = out};
  el_status status = el_engine_options_check(options, err);
  if (!status) status = el_kernels_get(options->isa, &p.kernels, err);
  if (!status) status = read_model(&p, err);
  if (!status) status = plan_memory(&p, err);
  for (size_t i = 0; !status && i < n_adapters; i++) {
    status = look_at(&p, adapters[i], err);
    out->n_adapters++;
  }
  for (size_t i = 0; !status && i < n_dirs; i++) status = look_through(&p, dirs[i], err);
  if (!status) count_fitting(&p);
  el_packer_free(p.packer);
  el_sites_free(p.sites);
  el_hparams_free(&p.hparams);
  return status;
}
