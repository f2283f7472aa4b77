#include "bench/report/data.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "bench/report/in.h"
#include "bench/report/text.h"

const el_report_dim_info el_report_dims[EL_REPORT_DIMS] = {
    [EL_DIM_SERVER] = {"server", "server", "%s"},
    [EL_DIM_MODEL] = {"model", "model", "%s"},
    [EL_DIM_ADAPTERS] = {"adapters", "adapters", "%s adapters"},
    [EL_DIM_SELECTION] = {"selection", "selection", "%s"},
    [EL_DIM_LOOP] = {"loop", "loop", "%s loop"},
    [EL_DIM_CLIENTS] = {"clients", "clients", "%s clients"},
    [EL_DIM_RATE] = {"rate", "arrivals (requests/s)", "%s req/s"},
    [EL_DIM_ALPHA] = {"alpha", "power law's exponent", "alpha %s"},
    [EL_DIM_CV] = {"cv", "variation of arrivals (cv)", "cv %s"},
    [EL_DIM_INPUT] = {"input", "tokens in", "%s tokens in"},
    [EL_DIM_OUTPUT] = {"output", "tokens out", "%s tokens out"},
    [EL_DIM_DURATION] = {"duration", "duration (s)", "%s s"},
    [EL_DIM_REQUESTS] = {"requests", "requests", "%s requests"},
    [EL_DIM_REPLAY] = {"replay", "trace", "trace %s"},
    [EL_DIM_SPEED] = {"speed", "speed of the trace", "at %s times its speed"},
};

const el_report_metric_info el_report_metrics[EL_REPORT_METRICS] = {
    [EL_METRIC_REQUEST_RATE] = {"requests_per_second", "Requests per second", EL_UNIT_RATE, 1},
    [EL_METRIC_TOKENS_IN] = {"tokens_in_per_second", "Tokens in per second", EL_UNIT_RATE, 1},
    [EL_METRIC_TOKENS_OUT] = {"tokens_out_per_second", "Tokens out per second", EL_UNIT_RATE, 1},
    [EL_METRIC_LATENCY_MEAN] = {"latency_mean_seconds", "Mean latency, seconds", EL_UNIT_SECONDS, -1},
    [EL_METRIC_LATENCY_P50] = {"latency_p50_seconds", "Latency p50, seconds", EL_UNIT_SECONDS, -1},
    [EL_METRIC_LATENCY_P90] = {"latency_p90_seconds", "Latency p90, seconds", EL_UNIT_SECONDS, -1},
    [EL_METRIC_LATENCY_P99] = {"latency_p99_seconds", "Latency p99, seconds", EL_UNIT_SECONDS, -1},
    [EL_METRIC_TTFT_MEAN] = {"first_token_mean_seconds", "Mean first token, seconds", EL_UNIT_SECONDS, -1},
    [EL_METRIC_TTFT_P50] = {"first_token_p50_seconds", "First token p50, seconds", EL_UNIT_SECONDS, -1},
    [EL_METRIC_TTFT_P99] = {"first_token_p99_seconds", "First token p99, seconds", EL_UNIT_SECONDS, -1},
    [EL_METRIC_GAP_P50] = {"gap_p50_seconds", "Between tokens p50, seconds", EL_UNIT_MILLISECONDS, -1},
    [EL_METRIC_GAP_P99] = {"gap_p99_seconds", "Between tokens p99, seconds", EL_UNIT_MILLISECONDS, -1},
    [EL_METRIC_TOKEN_P50] = {"per_token_p50_seconds", "A token p50, seconds", EL_UNIT_MILLISECONDS, -1},
    [EL_METRIC_TOKEN_P99] = {"per_token_p99_seconds", "A token p99, seconds", EL_UNIT_MILLISECONDS, -1},
    [EL_METRIC_SLO] = {"slo_attainment", "First token within the goal, % of requests", EL_UNIT_SHARE, 1},
    [EL_METRIC_REQUESTS] = {"requests_done", "Requests answered", EL_UNIT_COUNT, 0},
    [EL_METRIC_ERRORS] = {"requests_failed", "Requests failed", EL_UNIT_COUNT, -1},
    [EL_METRIC_HIT_RATE] = {"hit_rate", "Adapter cache hits, % of lookups", EL_UNIT_SHARE, 1},
    [EL_METRIC_MEMORY] = {"peak_memory_bytes", "Peak memory, MiB", EL_UNIT_BYTES, -1},
    [EL_METRIC_ENERGY] = {"joules_per_request", "Energy, J a request", EL_UNIT_JOULES, -1},
    [EL_METRIC_LATE] = {"sent_late_max_seconds", "Sent late at worst, seconds", EL_UNIT_MILLISECONDS, 0},
    [EL_METRIC_OWN_CPU] = {"generator_cores", "Load generator, % of a core", EL_UNIT_SHARE, 0},
};

/* Times are written with nine digits, so the end of a short request may be rounded to just before its arrival. */
static const double ROUNDING = 1e-3;

/* ---- dimensions */

static el_status set_dim(const el_report_in *r, el_report_dim d, const char *text, double number) {
  char *copy = strdup(text);
  if (!copy) return el_fail(r->err, EL_ERR_NO_MEMORY, "out of memory");
  free(r->run->dims[d].text);
  r->run->dims[d] = (el_report_value){copy, number};
  return EL_OK;
}

static el_status read_number_dim(const el_report_in *r, json_t *root, const char *path, el_report_dim d) {
  double x = NAN;
  char text[32];
  el_status status = el_report_in_number(r, root, path, &x);
  if (status || isnan(x)) return status;
  el_report_number_text(x, text, sizeof text);
  return set_dim(r, d, text, strtod(text, NULL));
}

static el_status read_range_dim(const el_report_in *r, json_t *root, const char *path, el_report_dim d) {
  json_t *value;
  el_text text = {0};
  el_status status = el_report_in_find(r, root, path, &value);
  if (status || !value) return status;
  double ends[2];
  for (size_t i = 0; i < 2; i++) {
    json_t *end = json_array_size(value) == 2 ? json_array_get(value, i) : NULL;
    if (!json_is_integer(end) || json_integer_value(end) < 0)
      return el_report_in_wrong(r, path, "is not two counts of tokens");
    ends[i] = (double)json_integer_value(end);
  }
  /* With equal ends it is a number, over which there may be a chart. */
  if (ends[0] == ends[1])
    el_text_printf(&text, "%.0f", ends[0]);
  else
    el_text_printf(&text, "%.0f–%.0f", ends[0], ends[1]);
  status = text.failed ? el_fail(r->err, EL_ERR_NO_MEMORY, "out of memory")
                       : set_dim(r, d, text.buf.data, ends[0] == ends[1] ? ends[0] : NAN);
  el_text_free(&text);
  return status;
}

static el_status read_dims(const el_report_in *r, json_t *root, const char *name) {
  static const struct {
    const char *path;
    el_report_dim dim;
  } numbers[] = {{"workload.adapters", EL_DIM_ADAPTERS}, {"workload.alpha", EL_DIM_ALPHA},
                 {"workload.rate", EL_DIM_RATE},         {"workload.cv", EL_DIM_CV},
                 {"workload.duration", EL_DIM_DURATION}, {"workload.requests", EL_DIM_REQUESTS},
                 {"workload.speed", EL_DIM_SPEED}};
  el_status status;
  const char *server = NULL, *model = NULL, *replay = NULL, *loop = NULL;
  bool automatic = false, own = false;
  double clients = 0;
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    if ((status = read_number_dim(r, root, numbers[i].path, numbers[i].dim))) return status;
  if ((status = read_range_dim(r, root, "workload.input", EL_DIM_INPUT)) ||
      (status = read_range_dim(r, root, "workload.output", EL_DIM_OUTPUT)) ||
      (status = el_report_in_text(r, root, "server.api", &server)) ||
      (status = el_report_in_text(r, root, "server.name", &server)) ||
      (status = el_report_in_text(r, root, "server.model", &model)) ||
      (status = el_report_in_text(r, root, "workload.replay", &replay)) ||
      (status = el_report_in_text(r, root, "workload.loop", &loop)) ||
      (status = el_report_in_bool(r, root, "workload.auto", &automatic)) ||
      (status = el_report_in_bool(r, root, "workload.own_adapter", &own)) ||
      (status = el_report_in_number(r, root, "workload.clients", &clients)))
    return status;
  if (name) server = name;
  if (server && (status = set_dim(r, EL_DIM_SERVER, server, NAN))) return status;
  if (model && (status = set_dim(r, EL_DIM_MODEL, model, NAN))) return status;
  if (replay && (status = set_dim(r, EL_DIM_REPLAY, replay, NAN))) return status;
  if (loop && (status = set_dim(r, EL_DIM_LOOP, loop, NAN))) return status;
  const char *selection = automatic ? "adapters chosen by the server" : own ? "each client its own adapter" : NULL;
  if (selection && (status = set_dim(r, EL_DIM_SELECTION, selection, NAN))) return status;
  return clients > 0 ? read_number_dim(r, root, "workload.clients", EL_DIM_CLIENTS) : EL_OK;
}

/* ---- figures */

static el_status read_metrics(const el_report_in *r, json_t *root) {
  static const struct {
    const char *path;
    el_report_metric metric;
  } paths[] = {
      {"summary.requests_per_second", EL_METRIC_REQUEST_RATE},
      {"summary.tokens_in_per_second", EL_METRIC_TOKENS_IN},
      {"summary.tokens_out_per_second", EL_METRIC_TOKENS_OUT},
      {"summary.latency_seconds.mean", EL_METRIC_LATENCY_MEAN},
      {"summary.latency_seconds.p50", EL_METRIC_LATENCY_P50},
      {"summary.latency_seconds.p90", EL_METRIC_LATENCY_P90},
      {"summary.latency_seconds.p99", EL_METRIC_LATENCY_P99},
      {"summary.first_text_seconds.mean", EL_METRIC_TTFT_MEAN},
      {"summary.first_text_seconds.p50", EL_METRIC_TTFT_P50},
      {"summary.first_text_seconds.p99", EL_METRIC_TTFT_P99},
      {"summary.gap_seconds.p50", EL_METRIC_GAP_P50},
      {"summary.gap_seconds.p99", EL_METRIC_GAP_P99},
      {"summary.per_token_seconds.p50", EL_METRIC_TOKEN_P50},
      {"summary.per_token_seconds.p99", EL_METRIC_TOKEN_P99},
      {"summary.done", EL_METRIC_REQUESTS},
      {"summary.failed", EL_METRIC_ERRORS},
      {"summary.late_seconds.max", EL_METRIC_LATE},
      {"cache.hit_rate", EL_METRIC_HIT_RATE},
      {"energy.joules_per_request", EL_METRIC_ENERGY},
      {"generator.cores", EL_METRIC_OWN_CPU},
  };
  double met = NAN, of = NAN, *m = r->run->metrics;
  el_status status;
  for (el_report_metric i = 0; i < EL_REPORT_METRICS; i++) m[i] = NAN;
  r->run->slo = NAN;
  if (!json_is_object(el_report_in_get(root, "summary"))) return el_report_in_wrong(r, "summary", "is no object");
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
    if ((status = el_report_in_number(r, root, paths[i].path, &m[paths[i].metric]))) return status;
  if ((status = el_report_in_number(r, root, "summary.slo.met", &met)) ||
      (status = el_report_in_number(r, root, "summary.slo.of", &of)) ||
      (status = el_report_in_number(r, root, "summary.slo.first_text_seconds", &r->run->slo)))
    return status;
  if (of > 0) m[EL_METRIC_SLO] = met / of;
  if (m[EL_METRIC_SLO] > 1) return el_report_in_wrong(r, "summary.slo.met", "is more than summary.slo.of");
  if (m[EL_METRIC_HIT_RATE] > 1) return el_report_in_wrong(r, "cache.hit_rate", "is more than 1");
  return EL_OK;
}

static el_status read_memory(const el_report_in *r, json_t *root) {
  static const char *const names[] = {"at", "resident_bytes"};
  json_t *columns, *samples;
  size_t places[2];
  el_status status;
  if (!el_report_in_get(root, "memory")) return EL_OK;
  if ((status = el_report_in_find(r, root, "memory.columns", &columns)) ||
      (status = el_report_in_find(r, root, "memory.samples", &samples)) ||
      (status = el_report_in_columns(r, columns, "memory.columns", names, 2, places)))
    return status;
  if (!json_is_array(samples)) return el_report_in_wrong(r, "memory.samples", "is no list");
  size_t n = json_array_size(samples);
  if (n > EL_REPORT_REQUESTS_MAX) return el_report_in_wrong(r, "memory.samples", "has more than 5000000 samples");
  el_report_samples *out = &r->run->memory;
  out->items = malloc((n + 1) * sizeof *out->items);
  if (!out->items) return el_fail(r->err, EL_ERR_NO_MEMORY, "out of memory");
  for (size_t i = 0; i < n; i++) {
    json_t *row = json_array_get(samples, i);
    double at, bytes;
    if ((status = el_report_in_cell(r, row, places[0], "memory.samples", i, names[0], &at)) ||
        (status = el_report_in_cell(r, row, places[1], "memory.samples", i, names[1], &bytes)))
      return status;
    if (isnan(at) || isnan(bytes)) continue;
    if (out->n && at < out->items[out->n - 1].at)
      return el_fail(r->err, EL_ERR_FORMAT, "%s: memory.samples[%zu]: is earlier than the one before", r->path, i);
    out->items[out->n++] = (el_report_sample){at, bytes};
    double *peak = &r->run->metrics[EL_METRIC_MEMORY];
    if (!(bytes <= *peak)) *peak = bytes;
  }
  return EL_OK;
}

static el_status add_sample(const el_report_in *r, el_report_samples *s, double at, double time, size_t number,
                            const char *name) {
  if (isnan(time)) return EL_OK;
  if (time < at - ROUNDING)
    return el_fail(r->err, EL_ERR_FORMAT, "%s: requests[%zu]: '%s' is before 'at'", r->path, number, name);
  s->items[s->n++] = (el_report_sample){at, fmax(time - at, 0)};
  return EL_OK;
}

static el_status read_requests(const el_report_in *r, json_t *root) {
  static const char *const names[] = {"at", "first", "done", "end"};
  json_t *requests = el_report_in_get(root, "requests");
  size_t places[4], n = json_array_size(requests);
  if (!json_is_array(requests)) return el_report_in_wrong(r, "requests", "is no list");
  if (n > EL_REPORT_REQUESTS_MAX) return el_report_in_wrong(r, "requests", "has more than 5000000 requests");
  el_status status =
      el_report_in_columns(r, el_report_in_get(root, "request_columns"), "request_columns", names, 4, places);
  if (status) return status;
  el_report_samples *latency = &r->run->latency, *ttft = &r->run->ttft;
  latency->items = malloc((n + 1) * sizeof *latency->items);
  ttft->items = malloc((n + 1) * sizeof *ttft->items);
  if (!latency->items || !ttft->items) return el_fail(r->err, EL_ERR_NO_MEMORY, "out of memory");
  for (size_t i = 0; i < n; i++) {
    json_t *row = json_array_get(requests, i);
    double at, first, done;
    if (!json_is_array(row)) return el_fail(r->err, EL_ERR_FORMAT, "%s: requests[%zu]: is no list", r->path, i);
    const char *end = json_string_value(json_array_get(row, places[3]));
    if (!end) return el_fail(r->err, EL_ERR_FORMAT, "%s: requests[%zu]: 'end' is no text", r->path, i);
    if ((status = el_report_in_cell(r, row, places[0], "requests", i, names[0], &at)) ||
        (status = el_report_in_cell(r, row, places[1], "requests", i, names[1], &first)) ||
        (status = el_report_in_cell(r, row, places[2], "requests", i, names[2], &done)))
      return status;
    if (isnan(at)) return el_fail(r->err, EL_ERR_FORMAT, "%s: requests[%zu]: 'at' is no number", r->path, i);
    r->run->n_ended += strcmp(end, "cut") != 0;
    if (strcmp(end, "done") != 0) continue;
    if ((status = add_sample(r, ttft, at, first, i, "first")) || (status = add_sample(r, latency, at, done, i, "done")))
      return status;
  }
  return EL_OK;
}

/* ---- the whole */

static el_status read_root(const el_report_in *r, json_t *root, const char *name) {
  const char *schema = NULL;
  if (!json_is_object(root)) return el_fail(r->err, EL_ERR_FORMAT, "%s: is no object", r->path);
  el_status status = el_report_in_text(r, root, "schema", &schema);
  if (status) return status;
  if (!schema || strcmp(schema, "edgelora-load/1") != 0)
    return el_fail(r->err, EL_ERR_FORMAT,
                   "%s: schema: '%.40s' is not 'edgelora-load/1', which edgelora-bench load --json writes", r->path,
                   schema ? schema : "");
  status = el_report_in_bool(r, root, "interrupted", &r->run->interrupted);
  if (!status) status = read_dims(r, root, name);
  if (!status) status = read_metrics(r, root);
  if (!status) status = read_requests(r, root);
  if (!status) status = read_memory(r, root);
  return status ? status : el_report_facts_read(r, root);
}

el_status el_report_run_read(el_report_run *run, const char *path, const char *name, el_error *err) {
  const el_report_in r = {path, run, err};
  json_t *root = NULL;
  *run = (el_report_run){.file = strdup(path)};
  for (el_report_dim d = 0; d < EL_REPORT_DIMS; d++) run->dims[d].number = NAN;
  el_status status = run->file ? el_report_in_load(&r, &root) : el_fail(err, EL_ERR_NO_MEMORY, "out of memory");
  if (!status) status = read_root(&r, root, name);
  json_decref(root);
  if (status) el_report_run_free(run);
  return status;
}

void el_report_run_free(el_report_run *run) {
  for (el_report_dim d = 0; d < EL_REPORT_DIMS; d++) free(run->dims[d].text);
  for (size_t i = 0; i < run->n_facts; i++) {
    free(run->facts[i].name);
    free(run->facts[i].value);
  }
  free(run->facts);
  free(run->latency.items);
  free(run->ttft.items);
  free(run->memory.items);
  free(run->file);
  *run = (el_report_run){0};
}
