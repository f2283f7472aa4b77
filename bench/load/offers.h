/* What a server says about itself: its adapters, and the counters of its adapter cache. */
#ifndef EL_BENCH_LOAD_OFFERS_H
#define EL_BENCH_LOAD_OFFERS_H

#include "bench/load/names.h"
#include "edgelora.h"

typedef enum el_load_api {
  EL_LOAD_OPENAI,      /* an adapter is a model: {"model": NAME} */
  EL_LOAD_LLAMA_SERVER /* an adapter has a number: {"lora": [{"id": 3, "scale": 1}]} */
} el_load_api;

/* Of the answer to el_load_offers_path: appends the adapters that begin with `prefix` (NULL: all). Of OpenAI's models,
 * those that name a parent are adapters; if none does, all are but the first. *base: the first that is none, to be
 * released with free; NULL: none. */
el_status el_load_offers_read(el_load_api api, const char *json, size_t len, const char *prefix, el_load_names *out,
                              char **base, el_error *err);
const char *el_load_offers_path(el_load_api api);

typedef struct el_load_counters {
  bool told; /* hits and misses were there */
  double hits, misses, evictions;
} el_load_counters;

/* Of Prometheus' text form. */
el_load_counters el_load_counters_read(const char *text, size_t len);

#endif
