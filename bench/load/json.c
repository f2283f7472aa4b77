/* The JSON report of `edgelora-bench load`: schema "edgelora-load/1", described in docs/performance/load.md. */
#include "bench/load/report.h"

#include "bench/measure/machine.h"

/* NULL where there is nothing to tell becomes null. */
static json_t *spread_json(const el_load_spread *s) {
  if (!s->n) return json_null();
  return json_pack("{s:I, s:f, s:f, s:f, s:f, s:f}", "n", (json_int_t)s->n, "mean", s->mean, "p50", s->p50, "p90",
                   s->p90, "p99", s->p99, "max", s->max);
}

static json_t *load_workload_json(const el_load_run *r) {
  const el_load_options *o = r->options;
  const el_load_spec *s = &r->spec;
  const char *loop = o->clients ? "closed" : "open";
  json_t *w =
      json_pack("{s:s, s:b, s:b, s:i, s:i, s:I, s:I, s:f, s:f, s:s}", "loop", loop, "auto", o->automatic, "own_adapter",
                o->own_adapter, "clients", o->clients, "adapters", (int)r->names.n, "seed", (json_int_t)o->seed,
                "prompt_seed", (json_int_t)o->prompt_seed, "temperature", (double)o->temperature, "top_p",
                (double)o->top_p, "prompts", r->ask.words ? "words" : "token ids");
  if (!w) return NULL;
  if (o->replay) {
    json_object_set_new(w, "replay", json_string(o->replay));
    json_object_set_new(w, "speed", json_real((double)o->speed));
    return w;
  }
  json_object_set_new(w, "alpha", json_real(s->alpha));
  json_object_set_new(w, "input", json_pack("[i, i]", s->in_min, s->in_max));
  json_object_set_new(w, "output", json_pack("[i, i]", s->out_min, s->out_max));
  if (!o->clients) {
    json_object_set_new(w, "rate", json_real(s->rate));
    json_object_set_new(w, "cv", json_real(s->cv));
  }
  if (!o->clients || !o->n_requests) json_object_set_new(w, "duration", json_real((double)o->duration));
  if (o->n_requests) json_object_set_new(w, "requests", json_integer(o->n_requests));
  return w;
}

json_t *el_load_summary_json(const el_load_summary *s, double slo_first) {
  json_t *slo = json_pack("{s:f, s:I, s:I}", "first_text_seconds", slo_first, "met", (json_int_t)s->slo_met, "of",
                          (json_int_t)s->slo_of);
  return json_pack("{s:f, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}",
                   "seconds", s->seconds, "sent", (json_int_t)s->n, "done", (json_int_t)s->done, "failed",
                   (json_int_t)s->errors, "cut", (json_int_t)s->cut, "requests_per_second", s->requests_per_second,
                   "tokens_in_per_second", s->tokens_in_per_second, "tokens_out_per_second", s->tokens_out_per_second,
                   "tokens_in", s->tokens_in, "tokens_out", s->tokens_out, "other_lengths",
                   (json_int_t)s->other_lengths, "uncounted", (json_int_t)s->uncounted, "latency_seconds",
                   spread_json(&s->latency), "first_text_seconds", spread_json(&s->first), "gap_seconds",
                   spread_json(&s->gap), "per_token_seconds", spread_json(&s->per_token), "late_seconds",
                   spread_json(&s->late), "slo", slo);
}

/* 101 values: the 0th to the 100th percentile; what a curve is drawn from without every gap. */
static json_t *gap_percentiles(const double *sorted, size_t n) {
  if (!n) return json_null();
  json_t *list = json_array();
  for (int i = 0; i <= 100; i++) json_array_append_new(list, json_real(el_load_percentile(sorted, n, (double)i / 100)));
  return list;
}

static json_t *errors_json(const el_load_run *r) {
  json_t *errors = json_object();
  for (int end = EL_LOAD_STATUS; end < EL_LOAD_CUT; end++)
    if (r->log.ends[end])
      json_object_set_new(errors, el_load_end_name(end),
                          json_pack("{s:I, s:s}", "n", (json_int_t)r->log.ends[end], "first", r->log.why[end]));
  return errors;
}

static json_t *memory_json(const el_load_run *r) {
  if (!r->n_samples) return json_null();
  json_t *samples = json_array();
  for (size_t i = 0; i < r->n_samples; i++)
    json_array_append_new(samples,
                          json_pack("[f, I, f]", r->samples[i].at, (json_int_t)r->samples[i].process.resident_bytes,
                                    r->samples[i].process.cpu_seconds));
  return json_pack("{s:i, s:[s, s, s], s:o}", "pid", r->options->server_pid, "columns", "at", "resident_bytes",
                   "cpu_seconds", "samples", samples);
}

static json_t *load_cache_json(const el_load_run *r) {
  if (!r->before.told || !r->after.told) return json_null();
  double hits = r->after.hits - r->before.hits, misses = r->after.misses - r->before.misses;
  return json_pack("{s:f, s:f, s:f, s:o}", "hits", hits, "misses", misses, "evictions",
                   r->after.evictions - r->before.evictions, "hit_rate",
                   hits + misses > 0 ? json_real(hits / (hits + misses)) : json_null());
}

static json_t *energy_json(const el_load_run *r, const el_load_summary *s) {
  if (!r->energy.kind) return json_null();
  return json_pack("{s:s, s:f, s:o}", "source", r->energy.kind, "joules", r->energy.joules, "joules_per_request",
                   s->done ? json_real(r->energy.joules / (double)s->done) : json_null());
}

static json_t *time_json(double at) {
  return at < 0 ? json_null() : json_real(at);
}

static json_t *count_json(long long n) {
  return n < 0 ? json_null() : json_integer(n);
}

/* One array a request: an object each would be three times as long. */
static json_t *request_json(const el_load_record *x) {
  return json_pack("[f, o, o, o, o, i, i, i, o, o, o, I, s, i]", x->at, time_json(x->sent), time_json(x->first),
                   time_json(x->last), time_json(x->done), x->adapter, x->n_in, x->n_out, count_json(x->prompt_tokens),
                   count_json(x->completion_tokens), count_json(x->cached_tokens), (json_int_t)x->texts,
                   x->ended ? el_load_end_name(x->end) : "cut", x->status);
}

json_t *el_load_report_json(const el_load_run *r, const el_load_summary *s, const double *gaps) {
  char cpu[128];
  el_bench_cpu_name(cpu, sizeof cpu);
  json_t *names = json_array(), *requests = json_array();
  for (size_t i = 0; i < r->names.n; i++) json_array_append_new(names, json_string(r->names.items[i]));
  for (size_t i = 0; i < r->log.n; i++)
    if (json_array_append_new(requests, request_json(&r->log.records[i]))) {
      json_decref(names);
      json_decref(requests);
      return NULL;
    }
  json_t *columns =
      json_pack("[s, s, s, s, s, s, s, s, s, s, s, s, s, s]", "at", "sent", "first", "last", "done", "adapter", "input",
                "output", "prompt_tokens", "completion_tokens", "cached_tokens", "texts", "end", "status");
  json_t *generator = json_pack("{s:f, s:I}", "cores", s->seconds > 0 ? r->cpu_seconds / s->seconds : 0, "connections",
                                (json_int_t)r->connections);
  json_t *server =
      json_pack("{s:s, s:s, s:s?}", "url", r->options->url_text, "api", r->options->api_text, "model", r->base);
  return json_pack("{s:s, s:s, s:I, s:b, s:{s:s, s:o}, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
                   "schema", "edgelora-load/1", "version", el_version(), "began", (json_int_t)r->began, "interrupted",
                   r->signal != 0, "machine", "cpu", cpu, "load", time_json(r->load), "server", server, "workload",
                   load_workload_json(r), "summary", el_load_summary_json(s, (double)r->options->slo_first), "errors",
                   errors_json(r), "cache", load_cache_json(r), "memory", memory_json(r), "energy", energy_json(r, s),
                   "generator", generator, "gap_percentiles", gap_percentiles(gaps, r->log.n_gaps), "adapters", names,
                   "request_columns", columns, "requests", requests);
}
