/* What happens before a load: find the adapters of the server and the form of prompts that it takes, and decide what is
 * requested when. */
#ifndef EL_BENCH_LOAD_PREPARE_H
#define EL_BENCH_LOAD_PREPARE_H

#include "bench/load/run.h"

/* Fills the run up to its start. Returns -1, or the exit status of a failure that has been said. */
int el_load_prepare(el_load_run *r);
/* Those of /metrics. `told` is false if the server has none. */
void el_load_read_counters(const el_load_run *r, el_load_counters *out);
void el_load_release(el_load_run *r);

#endif
