/* GET /metrics in Prometheus' text format, version 0.0.4. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "server/endpoints/endpoints.h"
#include "server/endpoints/metrics.h"
#include "server/endpoints/usage.h"

/* A metric's two comment lines. */
static bool write_metric_header(el_buf *out, const char *name, const char *type, const char *help) {
  return el_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

bool el_metric_one(el_buf *out, const char *name, const char *type, const char *help, double value) {
  /* A double has 17 digits; with fewer, large counters would seem to stand still. */
  return write_metric_header(out, name, type, help) && el_buf_printf(out, "%s %.17g\n", name, value);
}

static bool write_labelled_metric(el_buf *out, const char *name, const char *label, const char *value, uint64_t n) {
  return el_buf_printf(out, "%s{%s=\"%s\"} %" PRIu64 "\n", name, label, value, n);
}

static double resident_bytes(void) {
  unsigned long long size, resident = 0;
  FILE *f = fopen("/proc/self/statm", "re");
  if (!f) return 0;
  if (fscanf(f, "%llu %llu", &size, &resident) != 2) resident = 0;
  fclose(f);
  return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static bool write_server_metrics(const el_server *s, el_buf *out) {
  return write_metric_header(out, "edgelora_info", "gauge", "What is served, as labels.") &&
         el_buf_printf(out, "edgelora_info{version=\"%s\",model=", el_version()) &&
         el_metric_label(out, s->model.name) && el_buf_printf(out, ",isa=\"%s\"} 1\n", s->model.isa) &&
         el_metric_one(out, "process_start_time_seconds", "gauge", "When the server was started, since the epoch.",
                       (double)s->started) &&
         el_metric_one(out, "edgelora_unauthorized_total", "counter",
                       "Requests refused as they had no API key, or a wrong one.", (double)atomic_load(&s->n_denied)) &&
         el_metric_one(out, "process_resident_memory_bytes", "gauge", "Resident memory of the process.",
                       resident_bytes());
}

static bool write_request_metrics(const el_server *s, const el_stats *st, el_buf *out) {
  static const char done[] = "edgelora_requests_total";
  return el_metric_one(out, "edgelora_slots", "gauge", "Sequences that can run at once.", s->model.n_slots) &&
         el_metric_one(out, "edgelora_slots_busy", "gauge", "Sequences that run.", st->slots_busy) &&
         el_metric_one(out, "edgelora_queue_length", "gauge", "Requests that wait for a slot, memory or an adapter.",
                       st->queued) &&
         el_metric_one(out, "edgelora_requests_submitted_total", "counter", "Requests that were accepted.",
                       (double)st->requests_submitted) &&
         write_metric_header(out, done, "counter", "Requests that have ended, by how.") &&
         write_labelled_metric(out, done, "result", "done", st->requests_done) &&
         write_labelled_metric(out, done, "result", "cancelled", st->requests_cancelled) &&
         write_labelled_metric(out, done, "result", "failed", st->requests_failed) &&
         el_metric_one(out, "edgelora_prompt_tokens_total", "counter", "Prompt tokens computed.",
                       (double)st->prompt_tokens) &&
         el_metric_one(out, "edgelora_requests_not_invoked_total", "counter",
                       "Requests that the base answered, as the prompt did not have the adapter's invocation.",
                       (double)st->requests_not_invoked) &&
         el_metric_one(out, "edgelora_cached_tokens_total", "counter",
                       "Tokens not computed, as the prefix cache had them.", (double)st->cached_tokens) &&
         el_metric_one(out, "edgelora_generated_tokens_total", "counter", "Tokens generated.",
                       (double)st->generated_tokens) &&
         el_metric_one(out, "edgelora_steps_total", "counter", "Forward passes.", (double)st->steps) &&
         el_metric_one(out, "edgelora_step_rows_total", "counter", "Rows of all forward passes.", (double)st->rows) &&
         el_metric_one(out, "edgelora_step_seconds_total", "counter", "Time inside forward passes.",
                       st->step_seconds) &&
         el_metric_one(out, "edgelora_preemptions_total", "counter",
                       "Times that a sequence gave up its pages for an older one.", (double)st->preemptions) &&
         el_metric_one(out, "edgelora_draft_tokens_total", "counter",
                       "Tokens guessed ahead, each a row of a forward pass.", (double)st->draft_tokens) &&
         el_metric_one(out, "edgelora_draft_tokens_accepted_total", "counter",
                       "Of the tokens guessed ahead, those that came.", (double)st->draft_tokens_accepted);
}

static bool write_load_time_metrics(const el_stats *st, el_buf *out) {
  static const char name[] = "edgelora_adapter_load_seconds";
  const double *ms = el_load_bucket_ms();
  bool ok = write_metric_header(out, name, "histogram", "Time to read and pack an adapter, of loads that succeeded.");
  uint64_t sum = 0;
  for (int i = 0; ok && i < EL_LOAD_BUCKETS - 1; i++)
    ok = el_buf_printf(out, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, ms[i] * 1e-3, sum += st->load_histogram[i]);
  sum += st->load_histogram[EL_LOAD_BUCKETS - 1];
  return ok && el_buf_printf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.9g\n%s_count %" PRIu64 "\n", name, sum,
                             name, st->load_seconds, name, sum);
}

static bool write_adapter_metrics(const el_stats *st, el_buf *out) {
  static const char loads[] = "edgelora_adapter_loads_total";
  return el_metric_one(out, "edgelora_adapters", "gauge", "Adapters that are offered.", (double)st->adapters) &&
         el_metric_one(out, "edgelora_adapters_resident", "gauge", "Adapters in memory.",
                       (double)st->adapters_resident) &&
         el_metric_one(out, "edgelora_adapter_hits_total", "counter",
                       "Requests whose adapter was in memory when they were first looked at.",
                       (double)st->adapter_hits) &&
         el_metric_one(out, "edgelora_adapter_misses_total", "counter", "Requests whose adapter was not.",
                       (double)st->adapter_misses) &&
         el_metric_one(out, "edgelora_adapter_evictions_total", "counter", "Adapters that left memory to make room.",
                       (double)st->adapter_evictions) &&
         write_metric_header(out, loads, "counter", "Loads of adapters that have ended, by how.") &&
         write_labelled_metric(out, loads, "result", "done", st->adapter_loads) &&
         write_labelled_metric(out, loads, "result", "failed", st->adapter_loads_failed) &&
         write_load_time_metrics(st, out);
}

static bool write_decision_metrics(const el_stats *st, el_buf *out) {
  return el_metric_one(out, "edgelora_adapters_in_router", "gauge", "Adapters that 'auto' may choose.",
                       (double)st->adapters_in_router) &&
         el_metric_one(out, "edgelora_choices_total", "counter", "Requests that the router chose an adapter for.",
                       (double)st->decisions) &&
         el_metric_one(out, "edgelora_choices_base_total", "counter",
                       "Of them: those that the base model was chosen for.", (double)st->decisions_base) &&
         el_metric_one(out, "edgelora_choices_resident_total", "counter",
                       "Of them: those that got another adapter than the best, as it was in memory.",
                       (double)st->decisions_resident) &&
         el_metric_one(out, "edgelora_choice_tokens_total", "counter", "Tokens that the router has read.",
                       (double)st->decision_tokens) &&
         el_metric_one(out, "edgelora_choice_seconds_total", "counter", "Time from a slot to the choice.",
                       st->decision_seconds);
}

/* Counts change while they are read one by one, so differences are kept from going below 0. */
el_pool_use el_info_pool(const el_stats *st) {
  uint64_t used = st->pool_blocks_kv + st->pool_blocks_adapters;
  uint64_t idle = st->pool_blocks_idle < st->pool_blocks_adapters ? st->pool_blocks_idle : st->pool_blocks_adapters;
  return (el_pool_use){.kv = st->pool_blocks_kv,
                       .adapters_used = st->pool_blocks_adapters - idle,
                       .adapters_idle = idle,
                       .free = st->pool_blocks > used ? st->pool_blocks - used : 0};
}

static bool write_pool_metrics(const el_server *s, const el_stats *st, el_buf *out) {
  static const char name[] = "edgelora_pool_blocks";
  const el_pool_use use = el_info_pool(st);
  return el_metric_one(out, "edgelora_pool_block_bytes", "gauge", "Size of a block of the memory pool.",
                       (double)s->model.block_bytes) &&
         write_metric_header(out, name, "gauge", "Blocks of the memory pool, by use.") &&
         write_labelled_metric(out, name, "use", "kv", use.kv) &&
         write_labelled_metric(out, name, "use", "adapters_used", use.adapters_used) &&
         write_labelled_metric(out, name, "use", "adapters_idle", use.adapters_idle) &&
         write_labelled_metric(out, name, "use", "free", use.free) &&
         el_metric_one(out, "edgelora_kv_pages", "gauge", "Pages of keys and values that there may be.",
                       (double)st->kv_pages) &&
         el_metric_one(out, "edgelora_kv_pages_used", "gauge", "Pages of keys and values that sequences have.",
                       (double)st->kv_pages_used) &&
         el_metric_one(out, "edgelora_kv_pages_cached", "gauge",
                       "Pages that no sequence has, kept for those that begin alike.", (double)st->kv_pages_cached) &&
         el_metric_one(out, "edgelora_kv_windowed_pages_used", "gauge",
                       "Pages of layers that see a window alone, that sequences have.", (double)st->kv_windowed_used) &&
         el_metric_one(out, "edgelora_kv_windowed_pages_cached", "gauge",
                       "Pages of layers that see a window alone, kept for those that begin alike.",
                       (double)st->kv_windowed_cached);
}

static bool write_key_metrics(el_server *s, el_buf *out) {
  el_api_keys *keys = el_server_keys(s);
  bool ok = el_key_usage_metrics(keys, out);
  el_api_keys_release(keys);
  return ok;
}

bool el_info_metrics(el_server *s, el_buf *out) {
  el_stats st;
  el_engine_stats(s->options.engine, &st);
  return write_server_metrics(s, out) && write_request_metrics(s, &st, out) && write_adapter_metrics(&st, out) &&
         write_decision_metrics(&st, out) && write_pool_metrics(s, &st, out) && el_tally_write(&s->tally, out) &&
         write_key_metrics(s, out) && el_llama_metrics_write(s, &st, out) && el_vllm_metrics_write(s, &st, out) &&
         (!s->options.lora_info || el_vllm_lora_write(s, &st, out));
}
