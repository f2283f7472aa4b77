/* Finds by name: an instruction set, a layout, a type of keys and values. This is separate from
 * kernels.h because el_error comes with the public header, and the files of instruction sets take
 * long to compile: they should not be recompiled when the interface changes. */
#ifndef EL_KERNELS_SELECT_H
#define EL_KERNELS_SELECT_H

#include "base/error.h"
#include "kernels/kernels.h"

/* Finds kernels by name; NULL or "auto": the best ones for this CPU. EL_ERR_UNSUPPORTED names what
 * this CPU has. */
el_status el_kernels_get(const char *name, const el_kernels **out, el_error *err);
/* A line that says what this CPU has but this process cannot use, and why; NULL: nothing. */
const char *el_kernels_refused(void);
/* "keep", "q8" or "f16"; NULL is "keep". */
el_status el_weights_get(const char *name, el_weights *out, el_error *err);
/* "f16" or "q8"; NULL is "f16". */
el_status el_kv_type_get(const char *name, el_kv_type *out, el_error *err);
/* Allocates memory for activations of at most max_k values in max_cols columns. */
el_status el_act_new(el_act *a, int max_k, int max_cols, el_error *err);

#endif
