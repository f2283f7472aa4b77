#include "cli/report/data.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/report/text.h"

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
    [EL_METRIC_SLO] = {"slo_attainment", "First token within the goal, % of requests", EL_UNIT_SHARE, 1},
    [EL_METRIC_REQUESTS] = {"requests_done", "Requests answered", EL_UNIT_COUNT, 0},
    [EL_METRIC_ERRORS] = {"requests_failed", "Requests failed", EL_UNIT_COUNT, -1},
    [EL_METRIC_HIT_RATE] = {"hit_rate", "Adapter cache hits, % of lookups", EL_UNIT_SHARE, 1},
    [EL_METRIC_MEMORY] = {"peak_memory_bytes", "Peak memory, MiB", EL_UNIT_BYTES, -1},
    [EL_METRIC_ENERGY] = {"joules_per_request", "Energy, J a request", EL_UNIT_JOULES, -1},
    [EL_METRIC_LATE] = {"sent_late_max_seconds", "Sent late at worst, seconds", EL_UNIT_MILLISECONDS, 0},
    [EL_METRIC_OWN_CPU] = {"generator_cores", "Load generator, % of a core", EL_UNIT_SHARE, 0},
};

/* No figure of a run is greater: a day in microseconds, or a petabyte. */
static const double FIGURE_MAX = 1e15;
/* Times are written with nine digits, so the end of a short request may be rounded to just before its arrival. */
static const double ROUNDING = 1e-3;

typedef struct reader {
  const char *path;
  el_report_run *run;
  el_error *err;
} reader;

/* ---- the file */

/* json_load_file would read what never ends to the end of memory. */
typedef struct source {
  int fd;
  int why;
  size_t read;
} source;

static size_t read_some(void *buffer, size_t size, void *user) {
  source *s = user;
  ssize_t n;
  do n = read(s->fd, buffer, size);
  while (n < 0 && errno == EINTR);
  if (n < 0) s->why = errno;
  if (n < 0 || s->read > EL_REPORT_FILE_MAX - (size_t)n) {
    if (n >= 0) s->why = EFBIG;
    return (size_t)-1;
  }
  s->read += (size_t)n;
  return (size_t)n;
}

static el_status load(const reader *r, json_t **out) {
  json_error_t error;
  source s = {.fd = strcmp(r->path, "-") == 0 ? STDIN_FILENO : open(r->path, O_RDONLY | O_CLOEXEC)};
  if (s.fd < 0) return el_fail(r->err, EL_ERR_IO, "%s: %s", r->path, strerror(errno));
  json_t *root = json_load_callback(read_some, &s, JSON_REJECT_DUPLICATES, &error);
  if (s.fd != STDIN_FILENO) close(s.fd);
  if (!root && s.why == EFBIG)
    return el_fail(r->err, EL_ERR_FORMAT, "%s: longer than %d bytes", r->path, EL_REPORT_FILE_MAX);
  if (!root && s.why) return el_fail(r->err, EL_ERR_IO, "%s: %s", r->path, strerror(s.why));
  if (!root) return el_fail(r->err, EL_ERR_FORMAT, "%s: line %d: %s", r->path, error.line, error.text);
  *out = root;
  return EL_OK;
}

/* ---- values */

static el_status wrong(const reader *r, const char *field, const char *what) {
  return el_fail(r->err, EL_ERR_FORMAT, "%s: %s: %s", r->path, field, what);
}

/* Of an object; absent and null are the same. */
static json_t *get(json_t *object, const char *key) {
  json_t *value = json_object_get(object, key);
  return json_is_null(value) ? NULL : value;
}

/* `path`: keys with points between them; "a.b" of {"a": {"b": 1}}. *out: NULL where one of them is absent. */
static el_status find(const reader *r, json_t *root, const char *path, json_t **out) {
  char done[96];
  *out = root;
  for (const char *p = path; *p && *out;) {
    size_t len = strcspn(p, ".");
    snprintf(done, sizeof done, "%.*s", (int)(p > path ? p - path - 1 : 0), path);
    if (!json_is_object(*out)) return wrong(r, done, "is no object");
    char key[64];
    snprintf(key, sizeof key, "%.*s", (int)len, p);
    *out = get(*out, key);
    p += len + (p[len] == '.');
  }
  return EL_OK;
}

static el_status get_number(const reader *r, json_t *root, const char *path, double *out) {
  json_t *value;
  el_status status = find(r, root, path, &value);
  if (status || !value) return status;
  if (!json_is_number(value)) return wrong(r, path, "is no number");
  double x = json_number_value(value);
  if (!(x >= 0 && x <= FIGURE_MAX))
    return el_fail(r->err, EL_ERR_FORMAT, "%s: %s: %g is not from 0 to %g", r->path, path, x, FIGURE_MAX);
  *out = x;
  return EL_OK;
}

static el_status get_text(const reader *r, json_t *root, const char *path, const char **out) {
  json_t *value;
  el_status status = find(r, root, path, &value);
  if (status || !value) return status;
  if (!json_is_string(value)) return wrong(r, path, "is no text");
  *out = json_string_value(value);
  return EL_OK;
}

/* A number as a person writes it; floats of the command line are 0.1 again, not 0.100000001. */
static void number_text(double x, char *out, size_t size) {
  snprintf(out, size, "%.6g", x);
}

/* A scalar or a short list of them ("[8, 128]" is "8–128"); false: something else. */
static bool value_text(const json_t *value, el_text *out) {
  char number[32];
  if (json_is_string(value)) {
    el_text_put(out, json_string_value(value));
  } else if (json_is_boolean(value)) {
    el_text_put(out, json_is_true(value) ? "yes" : "no");
  } else if (json_is_integer(value)) {
    el_text_printf(out, "%lld", (long long)json_integer_value(value));
  } else if (json_is_real(value)) {
    number_text(json_real_value(value), number, sizeof number);
    el_text_put(out, number);
  } else if (json_is_array(value) && json_array_size(value) == 2 && json_is_number(json_array_get(value, 0)) &&
             json_is_number(json_array_get(value, 1))) {
    value_text(json_array_get(value, 0), out);
    el_text_put(out, "–");
    value_text(json_array_get(value, 1), out);
  } else {
    return false;
  }
  return true;
}

/* ---- dimensions */

static el_status set_dim(const reader *r, el_report_dim d, const char *text, double number) {
  char *copy = strdup(text);
  if (!copy) return el_fail(r->err, EL_ERR_NO_MEMORY, "out of memory");
  free(r->run->dims[d].text);
  r->run->dims[d] = (el_report_value){copy, number};
  return EL_OK;
}

static el_status read_number_dim(const reader *r, json_t *root, const char *path, el_report_dim d) {
  double x = NAN;
  char text[32];
  el_status status = get_number(r, root, path, &x);
  if (status || isnan(x)) return status;
  number_text(x, text, sizeof text);
  return set_dim(r, d, text, strtod(text, NULL));
}

static el_status read_range_dim(const reader *r, json_t *root, const char *path, el_report_dim d) {
  json_t *value;
  el_text text = {0};
  el_status status = find(r, root, path, &value);
  if (status || !value) return status;
  double ends[2];
  for (size_t i = 0; i < 2; i++) {
    json_t *end = json_array_size(value) == 2 ? json_array_get(value, i) : NULL;
    if (!json_is_integer(end) || json_integer_value(end) < 0) return wrong(r, path, "is not two counts of tokens");
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

static el_status get_bool(const reader *r, json_t *root, const char *path, bool *out) {
  json_t *value;
  el_status status = find(r, root, path, &value);
  if (status || !value) return status;
  if (!json_is_boolean(value)) return wrong(r, path, "is neither true nor false");
  *out = json_is_true(value);
  return EL_OK;
}

static el_status read_dims(const reader *r, json_t *root, const char *name) {
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
      (status = get_text(r, root, "server.api", &server)) || (status = get_text(r, root, "server.name", &server)) ||
      (status = get_text(r, root, "server.model", &model)) ||
      (status = get_text(r, root, "workload.replay", &replay)) ||
      (status = get_text(r, root, "workload.loop", &loop)) ||
      (status = get_bool(r, root, "workload.auto", &automatic)) ||
      (status = get_bool(r, root, "workload.own_adapter", &own)) ||
      (status = get_number(r, root, "workload.clients", &clients)))
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

static el_status read_metrics(const reader *r, json_t *root) {
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
  if (!json_is_object(get(root, "summary"))) return wrong(r, "summary", "is no object");
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
    if ((status = get_number(r, root, paths[i].path, &m[paths[i].metric]))) return status;
  if ((status = get_number(r, root, "summary.slo.met", &met)) ||
      (status = get_number(r, root, "summary.slo.of", &of)) ||
      (status = get_number(r, root, "summary.slo.first_text_seconds", &r->run->slo)))
    return status;
  if (of > 0) m[EL_METRIC_SLO] = met / of;
  if (m[EL_METRIC_SLO] > 1) return wrong(r, "summary.slo.met", "is more than summary.slo.of");
  if (m[EL_METRIC_HIT_RATE] > 1) return wrong(r, "cache.hit_rate", "is more than 1");
  return EL_OK;
}

/* ---- rows of a table: an array of column names, and an array of arrays */

static el_status find_columns(const reader *r, const json_t *columns, const char *field, const char *const *names,
                              size_t n, size_t *places) {
  if (!json_is_array(columns)) return wrong(r, field, "is no list");
  for (size_t i = 0; i < n; i++) {
    places[i] = 0;
    while (places[i] < json_array_size(columns)) {
      const char *text = json_string_value(json_array_get(columns, places[i]));
      if (text && strcmp(text, names[i]) == 0) break;
      places[i]++;
    }
    if (places[i] == json_array_size(columns))
      return el_fail(r->err, EL_ERR_FORMAT, "%s: %s: has no '%s'", r->path, field, names[i]);
  }
  return EL_OK;
}

/* A time or a size of a row; NAN where it is null. */
static el_status cell(const reader *r, const json_t *row, size_t place, const char *field, size_t number,
                      const char *name, double *out) {
  json_t *value = json_array_get(row, place);
  *out = json_is_number(value) ? json_number_value(value) : NAN;
  if (json_is_null(value) || (*out >= 0 && *out <= FIGURE_MAX)) return EL_OK;
  return el_fail(r->err, EL_ERR_FORMAT, "%s: %s[%zu]: '%s' is no number from 0 to %g", r->path, field, number, name,
                 FIGURE_MAX);
}

static el_status read_memory(const reader *r, json_t *root) {
  static const char *const names[] = {"at", "resident_bytes"};
  json_t *columns, *samples;
  size_t places[2];
  el_status status;
  if (!get(root, "memory")) return EL_OK;
  if ((status = find(r, root, "memory.columns", &columns)) || (status = find(r, root, "memory.samples", &samples)) ||
      (status = find_columns(r, columns, "memory.columns", names, 2, places)))
    return status;
  if (!json_is_array(samples)) return wrong(r, "memory.samples", "is no list");
  size_t n = json_array_size(samples);
  if (n > EL_REPORT_REQUESTS_MAX) return wrong(r, "memory.samples", "has more than 5000000 samples");
  el_report_samples *out = &r->run->memory;
  out->items = malloc((n + 1) * sizeof *out->items);
  if (!out->items) return el_fail(r->err, EL_ERR_NO_MEMORY, "out of memory");
  for (size_t i = 0; i < n; i++) {
    json_t *row = json_array_get(samples, i);
    double at, bytes;
    if ((status = cell(r, row, places[0], "memory.samples", i, names[0], &at)) ||
        (status = cell(r, row, places[1], "memory.samples", i, names[1], &bytes)))
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

static el_status add_sample(const reader *r, el_report_samples *s, double at, double time, size_t number,
                            const char *name) {
  if (isnan(time)) return EL_OK;
  if (time < at - ROUNDING)
    return el_fail(r->err, EL_ERR_FORMAT, "%s: requests[%zu]: '%s' is before 'at'", r->path, number, name);
  s->items[s->n++] = (el_report_sample){at, fmax(time - at, 0)};
  return EL_OK;
}

static el_status read_requests(const reader *r, json_t *root) {
  static const char *const names[] = {"at", "first", "done", "end"};
  json_t *requests = get(root, "requests");
  size_t places[4], n = json_array_size(requests);
  if (!json_is_array(requests)) return wrong(r, "requests", "is no list");
  if (n > EL_REPORT_REQUESTS_MAX) return wrong(r, "requests", "has more than 5000000 requests");
  el_status status = find_columns(r, get(root, "request_columns"), "request_columns", names, 4, places);
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
    if ((status = cell(r, row, places[0], "requests", i, names[0], &at)) ||
        (status = cell(r, row, places[1], "requests", i, names[1], &first)) ||
        (status = cell(r, row, places[2], "requests", i, names[2], &done)))
      return status;
    if (isnan(at)) return el_fail(r->err, EL_ERR_FORMAT, "%s: requests[%zu]: 'at' is no number", r->path, i);
    r->run->n_ended += strcmp(end, "cut") != 0;
    if (strcmp(end, "done") != 0) continue;
    if ((status = add_sample(r, ttft, at, first, i, "first")) || (status = add_sample(r, latency, at, done, i, "done")))
      return status;
  }
  return EL_OK;
}

/* ---- facts: shown as they are */

enum { FACTS_MAX = 200 };

static el_status add_fact(const reader *r, const char *name, const char *value) {
  el_report_run *run = r->run;
  if (run->n_facts == FACTS_MAX) return el_fail(r->err, EL_ERR_FORMAT, "%s: more than %d facts", r->path, FACTS_MAX);
  if (!run->facts) run->facts = calloc(FACTS_MAX, sizeof *run->facts);
  if (!run->facts) return el_fail(r->err, EL_ERR_NO_MEMORY, "out of memory");
  el_report_fact *f = &run->facts[run->n_facts];
  *f = (el_report_fact){strdup(name), strdup(value)};
  if (f->name && f->value) {
    run->n_facts++;
    return EL_OK;
  }
  free(f->name);
  free(f->value);
  return el_fail(r->err, EL_ERR_NO_MEMORY, "out of memory");
}

/* What a member of the file says, if it is a simple thing. */
static el_status add_value(const reader *r, const char *prefix, const char *key, const json_t *value) {
  el_text name = {0}, text = {0};
  el_status status = EL_OK;
  el_text_printf(&name, "%s%s%s", prefix, *prefix ? " " : "", key);
  el_text_put(&text, "");
  if (!json_is_null(value) && value_text(value, &text)) {
    for (char *p = name.buf.data; p && *p; p++)
      if (*p == '_') *p = ' ';
    status = name.failed || text.failed ? el_fail(r->err, EL_ERR_NO_MEMORY, "out of memory")
                                        : add_fact(r, name.buf.data, text.buf.data);
  }
  el_text_free(&name);
  el_text_free(&text);
  return status;
}

static el_status add_members(const reader *r, json_t *root, const char *object, const char *prefix) {
  const char *key;
  json_t *value, *members = get(root, object);
  if (members && !json_is_object(members)) return wrong(r, object, "is no object");
  json_object_foreach(members, key, value) {
    el_status status = add_value(r, prefix, key, value);
    if (status) return status;
  }
  return EL_OK;
}

static el_status add_errors(const reader *r, json_t *root) {
  const char *kind;
  json_t *value, *errors = get(root, "errors");
  if (errors && !json_is_object(errors)) return wrong(r, "errors", "is no object");
  json_object_foreach(errors, kind, value) {
    el_text name = {0}, text = {0};
    const char *first = json_string_value(json_object_get(value, "first"));
    el_text_printf(&name, "errors: %s", kind);
    el_text_printf(&text, "%lld%s", (long long)json_integer_value(json_object_get(value, "n")),
                   first ? "; the first: " : "");
    el_text_put(&text, first ? first : "");
    el_status status = name.failed || text.failed ? el_fail(r->err, EL_ERR_NO_MEMORY, "out of memory")
                                                  : add_fact(r, name.buf.data, text.buf.data);
    el_text_free(&name);
    el_text_free(&text);
    if (status) return status;
  }
  return EL_OK;
}

static el_status add_began(const reader *r, json_t *root) {
  double began = NAN;
  struct tm when;
  char text[64];
  el_status status = get_number(r, root, "began", &began);
  if (status || isnan(began)) return status;
  /* Beyond the year 9999 it is no date of a run. */
  time_t t = (time_t)began;
  if (began > 253402300799.0 || !gmtime_r(&t, &when)) return wrong(r, "began", "is no time");
  strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &when);
  return add_fact(r, "began", text);
}

typedef struct asked {
  size_t adapter, n;
} asked;

/* By how often, then by their order in the file. */
static int by_count(const void *a, const void *b) {
  const asked *x = a, *y = b;
  if (x->n != y->n) return x->n < y->n ? 1 : -1;
  return (x->adapter > y->adapter) - (x->adapter < y->adapter);
}

/* Whether the load was as told can be seen by who was asked for most. */
static el_status add_popular(const reader *r, json_t *root) {
  static const char *const names[] = {"adapter"};
  json_t *adapters = get(root, "adapters"), *requests = get(root, "requests");
  size_t place, n = json_array_size(adapters);
  if (!n || !json_is_array(adapters)) return EL_OK;
  el_status status = find_columns(r, get(root, "request_columns"), "request_columns", names, 1, &place);
  if (status) return status;
  asked *counts = calloc(n, sizeof *counts);
  if (!counts) return el_fail(r->err, EL_ERR_NO_MEMORY, "out of memory");
  for (size_t i = 0; i < n; i++) counts[i].adapter = i;
  for (size_t i = 0; i < json_array_size(requests); i++) {
    json_t *value = json_array_get(json_array_get(requests, i), place);
    json_int_t adapter = json_is_integer(value) ? json_integer_value(value) : -1;
    if (adapter >= 0 && (size_t)adapter < n) counts[adapter].n++;
  }
  qsort(counts, n, sizeof *counts, by_count);
  el_text text = {0};
  el_text_put(&text, "");
  for (size_t i = 0; i < 3 && i < n && counts[i].n; i++) {
    const char *name = json_string_value(json_array_get(adapters, counts[i].adapter));
    el_text_put(&text, i ? ", " : "");
    el_text_clean(&text, name ? name : "?");
    el_text_printf(&text, " (%zu)", counts[i].n);
  }
  free(counts);
  if (text.failed)
    status = el_fail(r->err, EL_ERR_NO_MEMORY, "out of memory");
  else if (text.buf.len)
    status = add_fact(r, "asked for most", text.buf.data);
  el_text_free(&text);
  return status;
}

static el_status add_facts(const reader *r, json_t *root) {
  el_status status = add_began(r, root);
  if (!status) status = add_members(r, root, "machine", "");
  if (!status) status = add_members(r, root, "server", "server");
  if (!status && get(root, "version")) status = add_value(r, "", "load generator", get(root, "version"));
  if (!status) status = add_members(r, root, "workload", "");
  if (!status && get(root, "energy"))
    status = add_value(r, "energy", "source", json_object_get(get(root, "energy"), "source"));
  if (!status) status = add_popular(r, root);
  if (!status) status = add_errors(r, root);
  return status;
}

/* ---- the whole */

static el_status read_root(const reader *r, json_t *root, const char *name) {
  const char *schema = NULL;
  if (!json_is_object(root)) return el_fail(r->err, EL_ERR_FORMAT, "%s: is no object", r->path);
  el_status status = get_text(r, root, "schema", &schema);
  if (status) return status;
  if (!schema || strcmp(schema, "edgelora-load/1") != 0)
    return el_fail(r->err, EL_ERR_FORMAT,
                   "%s: schema: '%.40s' is not 'edgelora-load/1', which bench load --json writes", r->path,
                   schema ? schema : "");
  status = get_bool(r, root, "interrupted", &r->run->interrupted);
  if (!status) status = read_dims(r, root, name);
  if (!status) status = read_metrics(r, root);
  if (!status) status = read_requests(r, root);
  if (!status) status = read_memory(r, root);
  return status ? status : add_facts(r, root);
}

el_status el_report_run_read(el_report_run *run, const char *path, const char *name, el_error *err) {
  const reader r = {path, run, err};
  json_t *root = NULL;
  *run = (el_report_run){.file = strdup(path)};
  for (el_report_dim d = 0; d < EL_REPORT_DIMS; d++) run->dims[d].number = NAN;
  el_status status = run->file ? load(&r, &root) : el_fail(err, EL_ERR_NO_MEMORY, "out of memory");
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
