/* Costs that are computed instead of measured, for models and machines that the user does not have: by the roofline
 * model (Williams, Waterman, Patterson: "Roofline", Communications of the ACM 52, 2009), a step takes as long as
 * reading its bytes or doing its operations takes, whichever is longer. */
#ifndef EL_BENCH_PLAN_SHAPES_H
#define EL_BENCH_PLAN_SHAPES_H

#include "bench/plan/costs.h"

/* The i-th shape's name; NULL at the end. */
const char *el_shape_name(int i);
/* All of them, "a, b, c". */
void el_shape_names(char *out, size_t size);

typedef struct el_shape_machine {
  double gops;                        /* billions of operations a second in a step that computing bounds */
  double gbs;                         /* billions of bytes a second in one that reading bounds */
  const char *kv_type, *adapter_type; /* NULL: the engine's defaults */
  int rank, step_rows;
} el_shape_machine;

/* EL_ERR_NOT_FOUND names the shapes. */
el_status el_shape_costs(const char *name, const el_shape_machine *m, el_costs *out, el_error *err);

#endif
