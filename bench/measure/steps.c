#include "bench/measure/steps.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "bench/measure/limits.h"
#include "kernels/select.h"

static el_status load_steps_model(el_bench_steps *s, const char *path, const el_bench_steps_setup *setup,
                                  el_error *err) {
  const el_engine_options *o = setup->options;
  el_weights weights = EL_WEIGHTS_KEEP;
  el_gguf *g = NULL;
  el_status status = el_weights_get(o->weights, &weights, err);
  if (!status) status = el_kv_type_get(o->kv_type, &s->kv_type, err);
  if (!status) status = el_adapter_layout_get(o->adapter_type, &s->adapter_layout, err);
  if (!status) status = el_kernels_get(o->isa, &s->kernels, err);
  if (!status) status = el_bench_threads_new(o->n_threads ? o->n_threads : setup->cores, &s->threads, err);
  if (!status) status = el_gguf_open(path, &g, err);
  if (!status) status = el_model_load(g, s->kernels, s->threads, weights, NULL, NULL, &s->model, err);
  el_gguf_close(g);
  if (!status) s->h = el_model_hparams(s->model);
  return status;
}

static el_status make_adapters(el_bench_steps *s, const el_bench_steps_setup *setup, el_error *err) {
  el_status status = EL_OK;
  for (; s->n_adapters < setup->n_adapters && !status; s->n_adapters += !status)
    status =
        el_adapter_random(el_model_sites(s->model), setup->ranks[(size_t)s->n_adapters % setup->n_ranks],
                          (uint64_t)s->n_adapters + 1, s->kernels, s->adapter_layout, &s->adapters[s->n_adapters], err);
  return status;
}

static el_status reserve_steps(el_bench_steps *s, const el_bench_steps_setup *setup, el_error *err) {
  const int n = setup->n_sequences;
  s->pages_each = (setup->ctx + EL_PAGE_TOKENS - 1) / EL_PAGE_TOKENS;
  const size_t n_pages = (size_t)s->pages_each * (size_t)n, bytes = n_pages * el_kv_page_bytes(s->h, s->kv_type);
  s->adapters = calloc((size_t)setup->n_adapters + 1, sizeof *s->adapters);
  s->pages = malloc(n_pages * sizeof *s->pages);
  s->rows = calloc((size_t)setup->step_rows, sizeof *s->rows);
  s->kv = el_bench_pages_new(bytes);
  if (!s->adapters || !s->pages || !s->rows || !s->kv)
    return el_fail(err, EL_ERR_NO_MEMORY, "not enough memory for %d sequences of %d tokens", n, setup->ctx);
  memset(s->kv, 0, bytes);
  for (int q = 0; q < n; q++)
    for (int i = 0; i < s->pages_each; i++)
      s->pages[(size_t)q * (size_t)s->pages_each + (size_t)i] = (uint32_t)(i * n + q);
  return el_step_new(s->model, s->threads, s->kv, s->kv_type, setup->step_rows, setup->max_logits, setup->ctx, &s->step,
                     err);
}

el_status el_bench_steps_open(el_bench_steps *s, const char *model_path, const el_bench_steps_setup *setup,
                              el_error *err) {
  *s = (el_bench_steps){.threads = NULL};
  el_status status = load_steps_model(s, model_path, setup, err);
  if (!status) status = reserve_steps(s, setup, err);
  return status ? status : make_adapters(s, setup, err);
}

void el_bench_steps_close(el_bench_steps *s) {
  el_step_free(s->step);
  for (int i = 0; i < s->n_adapters; i++) el_adapter_free(s->adapters[i]);
  free(s->adapters);
  free(s->pages);
  free(s->rows);
  free(s->kv);
  el_model_free(s->model);
  el_threads_free(s->threads);
  *s = (el_bench_steps){.threads = NULL};
}

el_row el_bench_steps_row(el_bench_steps *s, int sequence, int pos, const el_adapter *adapter, bool wants_logits) {
  return (el_row){.token = (int32_t)(el_mix64(++s->random * EL_GOLDEN_GAMMA) % (uint64_t)s->h->n_vocab),
                  .pos = pos,
                  .pages = s->pages + (size_t)sequence * (size_t)s->pages_each,
                  .adapter = adapter,
                  .wants_logits = wants_logits};
}

double el_bench_steps_run(el_bench_steps *s, int n_rows) {
  double begin = el_seconds();
  el_step_run(s->step, s->rows, n_rows);
  return el_seconds() - begin;
}
