/* What keys have used, by name, for /metrics and /v1/stats. The keys themselves never appear. Keys without a
 * name are counted together as "other". */
#ifndef EL_SERVER_USAGE_H
#define EL_SERVER_USAGE_H

#include "base/buf.h"
#include "server/access/keys.h"

/* Series in Prometheus' text format; nothing if k is NULL. False: out of memory; also below. */
bool el_key_usage_metrics(const el_api_keys *k, el_buf *out);
/* `[{"name": ..., "requests": ...}, ...]` of all keys; with `only`, of that key. */
bool el_key_usage_json(const el_api_keys *k, const el_key *only, el_buf *out);

#endif
