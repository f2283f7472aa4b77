#include "server/http/tally.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Number of requests after which older ones count half. */
#define HALF_LIFE 4096
/* An adapter replaces a shown one when its weight is this many times as large, so that two do not take turns. */
#define MORE 2.0

static const double LIMITS[EL_TALLY_BUCKETS - 1] = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300};

void el_tally_init(el_tally *t) {
  *t = (el_tally){0};
  pthread_mutex_init(&t->mutex, NULL);
}

void el_tally_free(el_tally *t) {
  for (int i = 0; i < t->n_rows; i++) free(t->rows[i].name);
  pthread_mutex_destroy(&t->mutex);
}

static uint64_t hash_adapter_name(const char *name) {
  uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
  for (; *name; name++) h = (h ^ (unsigned char)*name) * 0x100000001b3u;
  return h;
}

static void add_sums(el_tally_sums *to, const el_tally_sums *from) {
  to->requests += from->requests;
  to->prompt_tokens += from->prompt_tokens;
  to->generated_tokens += from->generated_tokens;
  to->first_tokens += from->first_tokens;
  to->first_token_seconds += from->first_token_seconds;
  to->seconds += from->seconds;
}

static void observe_seconds(el_tally_histogram *h, double seconds) {
  int i = 0;
  while (i < EL_TALLY_BUCKETS - 1 && seconds > LIMITS[i]) i++;
  h->count[i]++;
  h->sum += seconds;
}

static el_tally_row *lightest_row(el_tally *t, bool shown) {
  el_tally_row *least = NULL;
  for (int i = 0; i < t->n_rows; i++) {
    el_tally_row *r = &t->rows[i];
    if (r->shown == shown && (!least || r->weight < least->weight)) least = r;
  }
  return least;
}

/* The row of this name. A new name replaces the least used row that is not shown, and inherits its weight ("space
 * saving", Metwally et al. 2005), so that an adapter that is used again and again rises in any case. NULL: out of
 * memory. */
static el_tally_row *tally_row_of(el_tally *t, const char *name) {
  uint64_t hash = hash_adapter_name(name);
  for (int i = 0; i < t->n_rows; i++)
    if (t->rows[i].hash == hash && !strcmp(t->rows[i].name, name)) return &t->rows[i];
  char *copy = strdup(name);
  if (!copy) return NULL;
  el_tally_row *r = t->n_rows < EL_TALLY_TRACKED ? &t->rows[t->n_rows++] : lightest_row(t, false);
  free(r->name);
  *r = (el_tally_row){.name = copy, .hash = hash, .weight = r->weight};
  return r;
}

static void show_row(el_tally *t, el_tally_row *r) {
  if (t->n_shown == EL_TALLY_SHOWN) {
    el_tally_row *least = lightest_row(t, true);
    if (r->weight <= MORE * least->weight) return;
    add_sums(&t->other, &least->sums);
    least->sums = (el_tally_sums){0};
    least->shown = false;
    t->n_shown--;
  }
  r->shown = true;
  t->n_shown++;
}

static void add_totals(el_tally_totals *t, const el_event_done *done) {
  const uint64_t prompt = (uint64_t)done->prompt_tokens, generated = (uint64_t)done->completion_tokens;
  t->prompt_tokens += prompt;
  t->cached_tokens += (uint64_t)done->cached_tokens;
  t->generated_tokens += generated;
  t->first_tokens += generated > 0;
  if (prompt + generated > t->most_tokens) t->most_tokens = prompt + generated;
  t->prompt_seconds += done->prompt_ms * 1e-3;
  t->decode_seconds += done->decode_ms * 1e-3;
}

el_tally_totals el_tally_get(el_tally *t) {
  pthread_mutex_lock(&t->mutex);
  el_tally_totals totals = t->totals;
  pthread_mutex_unlock(&t->mutex);
  return totals;
}

void el_tally_add(el_tally *t, const char *name, const el_event_done *done) {
  double first = (done->queued_ms + done->prompt_ms) * 1e-3, whole = first + done->decode_ms * 1e-3;
  bool has_first = done->completion_tokens > 0;
  el_tally_sums one = {.requests = 1,
                       .prompt_tokens = (uint64_t)done->prompt_tokens,
                       .generated_tokens = (uint64_t)done->completion_tokens,
                       .first_tokens = has_first,
                       .first_token_seconds = has_first ? first : 0,
                       .seconds = whole};
  pthread_mutex_lock(&t->mutex);
  if (++t->n_counted % HALF_LIFE == 0)
    for (int i = 0; i < t->n_rows; i++) t->rows[i].weight /= 2;
  el_tally_row *r = name && strcmp(name, "other") ? tally_row_of(t, name) : NULL;
  if (r) {
    r->weight += 1;
    if (!r->shown) show_row(t, r);
  }
  add_sums(r && r->shown ? &r->sums : &t->other, &one);
  if (has_first) observe_seconds(&t->first_token, first);
  observe_seconds(&t->whole, whole);
  add_totals(&t->totals, done);
  pthread_mutex_unlock(&t->mutex);
}

/* ------------------------------------------------------------------ writing */

bool el_metric_label(el_buf *out, const char *value) {
  bool ok = el_buf_append(out, "\"", 1);
  for (const char *s = value; ok && *s; s++) {
    if (*s == '\n')
      ok = el_buf_append(out, "\\n", 2);
    else
      ok = ((*s != '"' && *s != '\\') || el_buf_append(out, "\\", 1)) && el_buf_append(out, s, 1);
  }
  return ok && el_buf_append(out, "\"", 1);
}

static bool write_tally_histogram(const el_tally_histogram *h, const char *name, const char *help, el_buf *out) {
  bool ok = el_buf_printf(out, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name);
  uint64_t sum = 0;
  for (int i = 0; ok && i < EL_TALLY_BUCKETS - 1; i++)
    ok = el_buf_printf(out, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, LIMITS[i], sum += h->count[i]);
  sum += h->count[EL_TALLY_BUCKETS - 1];
  return ok && el_buf_printf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.9g\n%s_count %" PRIu64 "\n", name, sum,
                             name, h->sum, name, sum);
}

typedef enum series { REQUESTS, PROMPT_TOKENS, GENERATED_TOKENS, FIRST_TOKEN, WHOLE, N_SERIES } series;

static const struct {
  const char *name, *type, *help;
} SERIES[N_SERIES] = {
    {"edgelora_adapter_requests_total", "counter", "Requests that have ended, by adapter."},
    {"edgelora_adapter_prompt_tokens_total", "counter", "Prompt tokens of ended requests, by adapter."},
    {"edgelora_adapter_generated_tokens_total", "counter", "Generated tokens of ended requests, by adapter."},
    {"edgelora_adapter_first_token_seconds", "summary",
     "Time from a request's arrival to its first token, by adapter."},
    {"edgelora_adapter_request_seconds", "summary", "Time from a request's arrival to its end, by adapter."},
};

static bool write_tally_series(series s, const char *suffix, const char *adapter, el_buf *out) {
  return el_buf_printf(out, "%s%s{adapter=", SERIES[s].name, suffix) && el_metric_label(out, adapter) &&
         el_buf_append(out, "} ", 2);
}

static bool write_tally_count(series s, const char *suffix, const char *adapter, uint64_t n, el_buf *out) {
  return write_tally_series(s, suffix, adapter, out) && el_buf_printf(out, "%" PRIu64 "\n", n);
}

static bool write_tally_summary(series s, const char *adapter, double sum, uint64_t n, el_buf *out) {
  return write_tally_series(s, "_sum", adapter, out) && el_buf_printf(out, "%.9g\n", sum) &&
         write_tally_count(s, "_count", adapter, n, out);
}

static bool write_tally_sums(series s, const char *adapter, const el_tally_sums *sums, el_buf *out) {
  switch (s) {
    case REQUESTS: return write_tally_count(s, "", adapter, sums->requests, out);
    case PROMPT_TOKENS: return write_tally_count(s, "", adapter, sums->prompt_tokens, out);
    case GENERATED_TOKENS: return write_tally_count(s, "", adapter, sums->generated_tokens, out);
    case FIRST_TOKEN: return write_tally_summary(s, adapter, sums->first_token_seconds, sums->first_tokens, out);
    default: return write_tally_summary(s, adapter, sums->seconds, sums->requests, out);
  }
}

bool el_tally_write(el_tally *t, el_buf *out) {
  pthread_mutex_lock(&t->mutex);
  bool ok =
      write_tally_histogram(&t->first_token, "edgelora_first_token_seconds",
                            "Time from a request's arrival to its first token.", out) &&
      write_tally_histogram(&t->whole, "edgelora_request_seconds", "Time from a request's arrival to its end.", out);
  for (int s = 0; ok && s < N_SERIES; s++) {
    ok = el_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", SERIES[s].name, SERIES[s].help, SERIES[s].name,
                       SERIES[s].type);
    for (int i = 0; ok && i < t->n_rows; i++)
      if (t->rows[i].shown) ok = write_tally_sums((series)s, t->rows[i].name, &t->rows[i].sums, out);
    ok = ok && write_tally_sums((series)s, "other", &t->other, out);
  }
  pthread_mutex_unlock(&t->mutex);
  return ok;
}
