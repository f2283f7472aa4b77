/* The energy that the machine uses, where it can be read: from the RAPL counters of Intel and AMD, or from the power
 * sensors of a board (INA219, INA3221 and the like, as on Jetson boards), whose power is summed up over time. */
#ifndef EL_BENCH_LOAD_ENERGY_H
#define EL_BENCH_LOAD_ENERGY_H

#include <stdbool.h>

enum { EL_ENERGY_MAX_SOURCES = 16 };

typedef struct el_energy_source {
  char path[256];     /* RAPL: energy_uj. Sensor: power1_input, or in1_input */
  char other[256];    /* sensor: curr1_input, if `path` is a voltage */
  double last, range; /* RAPL: the counter, in uJ, and where it starts anew. Sensor: watts */
} el_energy_source;

typedef struct el_energy {
  const char *kind; /* "rapl", "ina"; NULL: nothing can be read */
  el_energy_source sources[EL_ENERGY_MAX_SOURCES];
  int n;
  double joules, at; /* since it was opened; the time of the latest sample */
} el_energy;

/* sysfs: "/sys". */
void el_energy_open(el_energy *e, const char *sysfs, double now);
/* To be called once a second or so: a sensor tells the power of a moment, a counter starts anew after a while. */
void el_energy_sample(el_energy *e, double now);

#endif
