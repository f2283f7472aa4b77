/* Compute kernels: one table of function pointers per instruction set.  (work in progress) */
#ifndef EL_KERNELS_KERNELS_H
#define EL_KERNELS_KERNELS_H
#include "edgelora.h"
typedef struct el_kernels el_kernels;
/* By name, or the best of this CPU when NULL or "auto". EL_ERR_UNSUPPORTED names what this CPU has. */
el_status el_kernels_get(const char *name, const el_kernels **out, el_error *err);
const char *el_kernels_name(const el_kernels *k);
#endif
