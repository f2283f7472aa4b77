/* The CPUs that this process may use, and lists of them. */
#ifndef EL_BASE_CPUS_H
#define EL_BASE_CPUS_H

#include "edgelora.h"

enum { EL_MAX_CPUS = EL_MAX_THREADS };

/* The number of physical cores that this process may run on, at least 1. */
int el_physical_cores(void);

/* The CPUs that `list` names, in its order: numbers and ranges such as 0-3,8, or "auto" for one of
 * each physical core. Each must be one that this process may use (a container often has fewer than
 * the machine), and named once. */
el_status el_cpus_parse(const char *list, int out[EL_MAX_CPUS], int *n, el_error *err);

#endif
