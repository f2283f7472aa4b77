/* Which waiting requests start, and which adapters are loaded for those that cannot yet. Engine thread only. */
#ifndef EL_ENGINE_ADMISSION_H
#define EL_ENGINE_ADMISSION_H

#include "engine/scheduler.h"

/* What becomes of a request that can never start as it is: `fail` takes it out of the scheduler and frees it, or gives
 * it another adapter, with which it waits on where it is. */
typedef struct el_admission_end {
  void (*fail)(void *user, el_seq *q, const el_error *error);
  void *user;
} el_admission_end;

/* Before each step. now_ns: of the clock of el_seq.submitted_ns. */
void el_admission_run(el_scheduler *s, uint64_t now_ns, const el_admission_end *end);

#endif
