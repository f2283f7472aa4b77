/* Counters of GET /metrics under llama-server's names, for dashboards that were made for it. Tokens and their times are
 * those of finished requests. */
#include "base/json_out.h"
#include "server/endpoints/endpoints.h"
#include "server/endpoints/metrics.h"

static bool write_llama_counter(el_buf *out, const char *name, const char *help, double value) {
  return el_metric_one(out, name, "counter", help, value);
}

static bool write_llama_gauge(el_buf *out, const char *name, const char *help, double value) {
  return el_metric_one(out, name, "gauge", help, value);
}

static double per_second(double n, double seconds) {
  return seconds > 0 ? n / seconds : 0;
}

bool el_llama_metrics_write(el_server *s, const el_stats *st, el_buf *out) {
  const el_tally_totals t = el_tally_get(&s->tally);
  const double computed = (double)(t.prompt_tokens - t.cached_tokens);
  const double drawn = (double)t.generated_tokens, steps = (double)st->steps;
  return write_llama_counter(out, "llamacpp:prompt_tokens_total", "Prompt tokens computed.", computed) &&
         write_llama_counter(out, "llamacpp:prompt_tokens_cached_total", "Prompt tokens that were there already.",
                             (double)t.cached_tokens) &&
         write_llama_counter(out, "llamacpp:prompt_seconds_total", "Time from a slot to the first token.",
                             t.prompt_seconds) &&
         write_llama_counter(out, "llamacpp:tokens_predicted_total", "Tokens generated.", drawn) &&
         write_llama_counter(out, "llamacpp:tokens_predicted_seconds_total", "Time from the first token to the end.",
                             t.decode_seconds) &&
         write_llama_counter(out, "llamacpp:n_decode_total", "Forward passes.", steps) &&
         write_llama_counter(out, "llamacpp:n_tokens_max", "Tokens of the longest request, its answer included.",
                             (double)t.most_tokens) &&
         write_llama_gauge(out, "llamacpp:prompt_tokens_seconds", "Prompt tokens a second.",
                           per_second(computed, t.prompt_seconds)) &&
         write_llama_gauge(out, "llamacpp:predicted_tokens_seconds",
                           "Tokens a second, the first of each request left out.",
                           per_second(drawn - (double)t.first_tokens, t.decode_seconds)) &&
         write_llama_gauge(out, "llamacpp:requests_processing", "Requests that run.", st->slots_busy) &&
         write_llama_gauge(out, "llamacpp:requests_deferred", "Requests that wait.", st->queued) &&
         write_llama_gauge(out, "llamacpp:n_busy_slots_per_decode",
                           "Tokens generated in a forward pass, on the average.",
                           per_second((double)st->generated_tokens, steps));
}
