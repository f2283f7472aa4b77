/* What keys have used, by their names: for /metrics and /v1/stats. A key is never told; those without a name are
 * counted together, as "other". */
#ifndef EL_SERVER_USAGE_H
#define EL_SERVER_USAGE_H

#include "base/buf.h"
#include "server/access/keys.h"

/* Series in Prometheus' text form; nothing where k is NULL. False: out of memory, as below. */
bool el_key_usage_metrics(const el_api_keys *k, el_buf *out);
/* `[{"name": ..., "requests": ...}, ...]` of all keys, or of `only`. */
bool el_key_usage_json(const el_api_keys *k, const el_key *only, el_buf *out);

#endif
