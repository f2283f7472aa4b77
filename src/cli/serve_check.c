/* serve --check: checks whether a server would start with these options, and prints its memory plan. It reads headers
 * of files, but no weights, and makes no threads and no sockets. */
#include <stdlib.h>

#include "cli/serve.h"
#include "edgelora.h"

static double to_mib(uint64_t bytes) {
  return (double)bytes / (1 << 20);
}

static bool drop_output(void *user, const char *data, size_t len) {
  return true;
}

/* The paths of NAME=PATH; the caller frees the array. NULL: a message was printed. */
static const char **paths_of(const el_cli_list *adapters) {
  const char **paths = calloc(adapters->n + 1, sizeof *paths);
  if (!paths) el_cli_no_memory();
  for (size_t i = 0; paths && i < adapters->n; i++)
    if (!(paths[i] = el_cli_adapter_path(adapters->items[i]))) {
      free(paths);
      return NULL;
    }
  return paths;
}

static void print_memory_plan(const el_serve_options *o, const char *model, const el_engine_plan *p, size_t n_keys) {
  if (o->config) printf("configuration: %s, %zu keys\n", o->config, o->file.n);
  printf("model:         %s, %s\n", model, p->architecture);
  printf("weights:       %.1f MiB in the file\n", to_mib(p->weight_bytes));
  printf("pool:          %.1f MiB for keys, values and adapters, in %llu blocks of %.0f KiB\n", to_mib(p->pool_bytes),
         (unsigned long long)(p->pool_bytes / p->block_bytes), (double)p->block_bytes / 1024);
  printf("contexts:      %d tokens a sequence, %.1f MiB; %llu whole ones at once beside an adapter, for %d slots\n",
         p->ctx_size, to_mib(p->context_bytes), (unsigned long long)p->n_contexts, o->common.options.n_slots);
  printf("adapters:      %zu, and %zu that cannot be used; %s takes %.1f MiB, and %llu fit beside a whole context\n",
         p->n_adapters, p->n_refused, p->n_looked_at ? "one of them" : "one of rank 16", to_mib(p->adapter_bytes),
         (unsigned long long)p->n_adapters_fit);
  if (n_keys) printf("api keys:      %zu in %s\n", n_keys, o->api_keys);
  if (o->port)
    printf("address:       %s port %d\n", o->host, o->port);
  else
    printf("address:       %s, any free port\n", o->host);
}

int el_serve_check(el_serve_options *o, const el_server_options *server) {
  el_cli_engine *e = &o->common;
  el_engine_plan plan;
  el_error err;
  size_t n_keys = 0;
  char *model = el_cli_model_path(e->model);
  if (!model) return e->model ? EL_EXIT_FAILED : EL_EXIT_USAGE;
  const char **adapters = paths_of(&e->adapters);
  if (!adapters) {
    free(model);
    return EL_EXIT_USAGE;
  }
  el_engine_options options = e->options;
  options.model_path = model;
  el_status status =
      el_engine_plan_read(&options, adapters, e->adapters.n, e->adapter_dirs.items, e->adapter_dirs.n, &plan, &err);
  if (!status && options.router_path) status = el_router_describe(options.router_path, drop_output, NULL, &err);
  if (!status) status = el_server_check(server, &n_keys, &err);
  if (!status) print_memory_plan(o, model, &plan, n_keys);
  free(adapters);
  free(model);
  return status ? el_cli_failed(&err) : el_cli_end(EL_EXIT_OK);
}
