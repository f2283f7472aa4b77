#include "bench/load/summary.h"

#include <math.h>

#include "base/figures.h"

double el_load_percentile(const double *sorted, size_t n, double share) {
  double place = ceil(share * (double)n);
  size_t at = place < 1 ? 1 : (size_t)place;
  return sorted[(at > n ? n : at) - 1];
}

el_load_spread el_load_spread_of(double *values, size_t n) {
  if (!n) return (el_load_spread){0};
  el_sort_figures(values, n);
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += values[i];
  return (el_load_spread){n,
                          sum / (double)n,
                          el_load_percentile(values, n, 0.5),
                          el_load_percentile(values, n, 0.9),
                          el_load_percentile(values, n, 0.99),
                          values[n - 1]};
}

static double tokens_in(const el_load_record *r) {
  return r->prompt_tokens >= 0 ? (double)r->prompt_tokens : r->n_in;
}

static double tokens_out(const el_load_record *r) {
  return r->completion_tokens >= 0 ? (double)r->completion_tokens : (double)r->texts;
}

static double latency_of(const el_load_record *r) {
  return r->done - r->at;
}

static double seconds_to_first(const el_load_record *r) {
  return r->first - r->at;
}

static double lateness_of(const el_load_record *r) {
  return r->sent - r->at;
}

static double per_token(const el_load_record *r) {
  return (r->last - r->first) / (tokens_out(r) - 1);
}

static bool is_done(const el_load_record *r) {
  return r->ended && r->end == EL_LOAD_DONE;
}

static bool was_sent(const el_load_record *r) {
  return r->ended;
}

static bool has_several(const el_load_record *r) {
  return is_done(r) && r->texts > 1 && tokens_out(r) > 1;
}

static el_load_spread spread_of(const el_load_log *log, double *scratch, bool (*counts)(const el_load_record *),
                                double (*value)(const el_load_record *)) {
  size_t n = 0;
  for (size_t i = 0; i < log->n; i++)
    if (counts(&log->records[i])) scratch[n++] = value(&log->records[i]);
  return el_load_spread_of(scratch, n);
}

static void count_record(const el_load_record *r, double slo_first, el_load_summary *s) {
  s->n++;
  if (!r->ended || r->end == EL_LOAD_CUT) {
    s->cut++;
    return;
  }
  s->slo_of++;
  if (r->end != EL_LOAD_DONE) {
    s->errors++;
    return;
  }
  s->done++;
  s->slo_met += seconds_to_first(r) <= slo_first;
  s->tokens_in += tokens_in(r);
  s->tokens_out += tokens_out(r);
  s->uncounted += r->completion_tokens < 0;
  s->other_lengths += tokens_in(r) != r->n_in || tokens_out(r) != r->n_out;
}

bool el_load_summarize(const el_load_log *log, double seconds, double slo_first, el_load_summary *out) {
  *out = (el_load_summary){.seconds = seconds};
  size_t most = log->n > log->n_gaps ? log->n : log->n_gaps;
  double *scratch = malloc((most + 1) * sizeof *scratch);
  if (!scratch) return false;
  for (size_t i = 0; i < log->n; i++) count_record(&log->records[i], slo_first, out);
  if (seconds > 0) {
    out->requests_per_second = (double)out->done / seconds;
    out->tokens_in_per_second = out->tokens_in / seconds;
    out->tokens_out_per_second = out->tokens_out / seconds;
  }
  out->latency = spread_of(log, scratch, is_done, latency_of);
  out->first = spread_of(log, scratch, is_done, seconds_to_first);
  out->late = spread_of(log, scratch, was_sent, lateness_of);
  out->per_token = spread_of(log, scratch, has_several, per_token);
  for (size_t i = 0; i < log->n_gaps; i++) scratch[i] = log->gaps[i];
  out->gap = el_load_spread_of(scratch, log->n_gaps);
  free(scratch);
  return true;
}
