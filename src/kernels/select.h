/* What a name selects: an instruction set, a layout, a kind of keys and values. Apart from kernels.h, since the public
 * header comes with el_error, and each instruction set's file takes long to compile: none of them is for a change of
 * the interface. */
#ifndef EL_KERNELS_SELECT_H
#define EL_KERNELS_SELECT_H

#include "base/error.h"
#include "kernels/kernels.h"

/* By name, or the best of this CPU when NULL or "auto". EL_ERR_UNSUPPORTED names what this CPU has. */
el_status el_kernels_get(const char *name, const el_kernels **out, el_error *err);
/* What this CPU has and this process cannot use, and why, in a line; NULL: nothing. */
const char *el_kernels_refused(void);
/* "keep", "q8" or "f16"; NULL is "keep". */
el_status el_weights_get(const char *name, el_weights *out, el_error *err);
/* "f16" or "q8"; NULL is "f16". */
el_status el_kv_type_get(const char *name, el_kv_type *out, el_error *err);
/* Memory for activations of max_k values in max_cols columns at most. */
el_status el_act_new(el_act *a, int max_k, int max_cols, el_error *err);

#endif
