#include "bench/batch/alone.h"

#include <stdlib.h>

#include "base/error.h"

static el_status open_steps(el_batch_alone *a, const char *path, int ctx, el_error *err) {
  const el_batch_options *o = a->asked;
  a->step_rows = o->common.options.step_rows > o->max_npl ? o->common.options.step_rows : o->max_npl;
  const el_bench_steps_setup setup = {.options = &o->common.options,
                                      .cores = a->machine.cores,
                                      .n_sequences = o->max_npl,
                                      .ctx = ctx,
                                      .step_rows = a->step_rows,
                                      .max_logits = o->max_npl,
                                      .ranks = o->ranks.items,
                                      .n_ranks = o->ranks.n,
                                      .n_adapters = o->n_adapters};
  el_status status = el_bench_steps_open(&a->steps, path, &setup, err);
  if (status) return status;
  const size_t part = el_bench_memory_part(&a->machine, 0, el_threads_count(a->steps.threads));
  if (!el_bench_memory_new(&a->memory, a->steps.threads, part))
    return el_fail(err, EL_ERR_NO_MEMORY, "not enough memory to measure how fast it is read");
  a->way = el_bench_read_fastest(a->steps.threads, &a->memory, 1);
  return EL_OK;
}

int el_batch_alone_open(el_batch_alone *a, const el_batch_options *asked, int ctx) {
  *a = (el_batch_alone){.asked = asked, .machine = el_bench_machine_get(), .results = json_array()};
  if (!a->results) return el_cli_no_memory();
  char *path = el_cli_model_path(asked->common.model);
  if (!path) return EL_EXIT_USAGE;
  el_error err;
  el_status status = open_steps(a, path, ctx, &err);
  free(path);
  return status ? el_cli_failed(&err) : -1;
}

void el_batch_alone_close(el_batch_alone *a) {
  el_bench_steps_close(&a->steps);
  free(a->memory.data);
  json_decref(a->results);
}

el_row el_batch_alone_row(el_batch_alone *a, int sequence, int pos, bool wants_logits) {
  const int n = a->steps.n_adapters;
  return el_bench_steps_row(&a->steps, sequence, pos, n ? a->steps.adapters[sequence % n] : NULL, wants_logits);
}

double el_batch_alone_kv_bytes(const el_batch_alone *a, int npl, int context) {
  const double positions = context + (a->asked->ntg + 1) / 2.0;
  return npl * positions * (double)(el_kv_page_bytes(a->steps.h, a->steps.kv_type) / EL_PAGE_TOKENS);
}

double el_batch_alone_read_now(el_batch_alone *a) {
  return el_bench_read_again(a->steps.threads, &a->memory, &a->way, 1).median;
}

bool el_batch_alone_add(el_batch_alone *a, json_t *entry) {
  return entry && json_array_append_new(a->results, entry) == 0;
}

int el_batch_alone_end(const el_batch_alone *a, json_t *asked) {
  json_t *report = NULL;
  if (a->asked->json && asked)
    report = json_pack("{s:o, s:s, s:i}", "machine", el_bench_machine_json(&a->machine), "isa", a->steps.kernels->name,
                       "threads", el_threads_count(a->steps.threads));
  bool complete = report && !json_object_update(report, asked) && !json_object_set(report, "results", a->results);
  json_decref(asked);
  if (!a->asked->json) return el_cli_end(EL_EXIT_OK);
  if (complete) return el_bench_print_json(report);
  json_decref(report);
  return el_cli_no_memory();
}
