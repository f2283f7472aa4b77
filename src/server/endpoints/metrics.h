/* What the files that write GET /metrics share. */
#ifndef EL_SERVER_METRICS_H
#define EL_SERVER_METRICS_H

#include "server/http/tally.h"

struct el_server;

/* A metric without labels, with its two comment lines. False: out of memory; also below. */
bool el_metric_one(el_buf *out, const char *name, const char *type, const char *help, double value);

/* llama_metrics.c */
bool el_llama_metrics_write(struct el_server *s, const el_stats *st, el_buf *out);

/* vllm_metrics.c: gauges; and the list of adapters, where every change makes a new series for whoever
 * stores it. */
bool el_vllm_metrics_write(const struct el_server *s, const el_stats *st, el_buf *out);
bool el_vllm_lora_write(const struct el_server *s, const el_stats *st, el_buf *out);

#endif
