/* The metrics that Kubernetes' inference gateway needs from a model server (Gateway API Inference Extension, proposal
 * 003, "model server protocol"): how many requests wait and run, how full the KV cache is, and which adapters are in
 * memory. They have vLLM's names, which its endpoint picker expects by default. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json_out.h"
#include "server/endpoints/endpoints.h"
#include "server/endpoints/metrics.h"

/* The longest value of the label that lists the adapters. Names that do not fit are left out, first those used longest
 * ago. The picker then takes them for absent, which at most costs a load on another server. */
enum { MOST_NAMES = 256, MOST_BYTES = 16 << 10 };

static bool write_vllm_gauge(const el_server *s, const char *name, const char *help, double value, el_buf *out) {
  return el_buf_printf(out, "# HELP %s %s\n# TYPE %s gauge\n%s{model_name=", name, help, name, name) &&
         el_metric_label(out, s->model.name) && el_buf_printf(out, "} %.17g\n", value);
}

static double fraction_of(uint64_t part, uint64_t whole) {
  if (!whole) return 0;
  return part < whole ? (double)part / (double)whole : 1;
}

bool el_vllm_metrics_write(const el_server *s, const el_stats *st, el_buf *out) {
  static const char cache[] = "vllm:cache_config_info";
  return write_vllm_gauge(s, "vllm:num_requests_waiting", "Requests that wait.", st->queued, out) &&
         write_vllm_gauge(s, "vllm:num_requests_running", "Requests that run.", st->slots_busy, out) &&
         write_vllm_gauge(s, "vllm:kv_cache_usage_perc",
                          "Part of the pages of keys and values that sequences have, 0 to 1.",
                          fraction_of(st->kv_pages_used, st->kv_pages), out) &&
         el_buf_printf(out,
                       "# HELP %s Tokens of a page of keys and values, and pages, as labels.\n# TYPE %s gauge\n"
                       "%s{block_size=\"%d\",num_gpu_blocks=\"%llu\"} 1\n",
                       cache, cache, cache, st->page_tokens, (unsigned long long)st->kv_pages);
}

/* ---------------------------------------------------------------- adapters */

/* Borrowed names, each once, in the order of their bytes. */
typedef struct names {
  const char *items[MOST_NAMES];
  size_t n, bytes;
} names;

/* The picker splits the list at commas and trims blanks, so a name with either would be read as another name. */
static bool can_be_label(const char *name) {
  size_t n = strlen(name);
  return n && !strchr(name, ',') && name[0] != ' ' && name[n - 1] != ' ';
}

static void add_label_name(names *l, const char *name) {
  size_t at = 0, bytes = strlen(name) + 1;
  if (!can_be_label(name) || l->n == MOST_NAMES || l->bytes + bytes > MOST_BYTES) return;
  while (at < l->n && strcmp(l->items[at], name) < 0) at++;
  if (at < l->n && !strcmp(l->items[at], name)) return;
  memmove(&l->items[at + 1], &l->items[at], (l->n - at) * sizeof *l->items);
  l->items[at] = name;
  l->n++;
  l->bytes += bytes;
}

static int latest_first(const void *x, const void *y) {
  const el_adapter_info *a = x, *b = y;
  if (a->last_used != b->last_used) return a->last_used < b->last_used ? 1 : -1;
  return a->id < b->id ? -1 : a->id > b->id;
}

static bool write_names(const char *label, const names *l, el_buf *out) {
  el_buf joined = {0};
  bool ok = el_buf_printf(&joined, "%s", "");
  for (size_t i = 0; ok && i < l->n; i++) ok = el_buf_printf(&joined, "%s%s", i ? "," : "", l->items[i]);
  ok = ok && el_buf_printf(out, "%s=", label) && el_metric_label(out, joined.data);
  el_buf_free(&joined);
  return ok;
}

/* How many more adapters of the current mean size fit without dropping one, at most as many as can run at once. The
 * picker rates a node with room nearly as high as one that has the adapter. */
static size_t names_room(const el_server *s, const el_stats *st, size_t n_resident) {
  const el_pool_use use = el_info_pool(st);
  uint64_t blocks = use.adapters_used + use.adapters_idle;
  uint64_t each = n_resident && blocks > n_resident ? blocks / n_resident : 1, n = use.free / each;
  return (size_t)(n < (uint64_t)s->model.n_slots ? n : (uint64_t)s->model.n_slots);
}

static bool write_lora_info(const el_server *s, const el_stats *st, const names *there, const names *coming,
                            size_t n_resident, el_buf *out) {
  static const char name[] = "vllm:lora_requests_info";
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return el_buf_printf(out,
                       "# HELP %s Adapters in memory, and those that requests wait for, as labels; its value is the "
                       "time.\n# TYPE %s gauge\n%s{max_lora=\"%zu\",",
                       name, name, name, there->n + names_room(s, st, n_resident)) &&
         write_names("running_lora_adapters", there, out) && el_buf_append(out, ",", 1) &&
         write_names("waiting_lora_adapters", coming, out) &&
         el_buf_printf(out, "} %.3f\n", (double)now.tv_sec + (double)now.tv_nsec * 1e-9);
}

bool el_vllm_lora_write(const el_server *s, const el_stats *st, el_buf *out) {
  el_engine *e = s->options.engine;
  names *there = calloc(2, sizeof *there), *coming = there ? there + 1 : NULL;
  el_adapter_info *adapters = NULL;
  el_request_info *requests = NULL;
  size_t n_adapters = 0, n_requests = 0, n_resident = 0;
  bool ok = there && !el_adapter_list_resident(e, &adapters, &n_adapters, NULL) &&
            !el_request_list(e, &requests, &n_requests, NULL);
  if (ok && n_adapters) qsort(adapters, n_adapters, sizeof *adapters, latest_first);
  for (size_t i = 0; ok && i < n_adapters; i++) {
    bool resident = adapters[i].state == EL_ADAPTER_RESIDENT;
    add_label_name(resident ? there : coming, adapters[i].name);
    n_resident += resident;
  }
  for (size_t i = 0; ok && i < n_requests; i++)
    if (requests[i].phase == EL_PHASE_LOADING) add_label_name(coming, requests[i].adapter);
  ok = ok && write_lora_info(s, st, there, coming, n_resident, out);
  el_free(adapters);
  el_free(requests);
  free(there);
  return ok;
}
