/* See fake_engine.c. Closed with el_engine_close. */
#ifndef EL_TESTS_FAKE_ENGINE_H
#define EL_TESTS_FAKE_ENGINE_H

#include "edgelora.h"

typedef struct fake_options {
  int n_slots, max_queue, ctx_size;
  int n_resident;   /* of them, the first ones, that are in memory from the start */
  int n_more;       /* adapters "more/0", "more/1", ... */
  long step_us;     /* sleep between steps, below a second */
  int router;       /* 1: there is one */
  int choice_steps; /* that it takes */
} fake_options;

el_engine *fake_engine_open(const fake_options *options);

#endif
