/* Memory of quantised activations. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/select.h"

el_status el_act_new(el_act *a, int max_k, int max_cols, el_error *err) {
  size_t groups = ((size_t)max_k + EL_GROUP - 1) / EL_GROUP, n = groups * (size_t)max_cols, k = (size_t)max_k;
  *a = (el_act){.max_k = max_k, .max_cols = max_cols};
  struct {
    void **at;
    size_t bytes;
  } parts[] = {{(void **)&a->q, n * EL_GROUP + EL_ACT_ROOM},
               {(void **)&a->d, n * 4},
               {(void **)&a->ds, n * 4},
               {(void **)&a->s8, n * 4},
               {(void **)&a->s128, n * 4},
               {(void **)&a->f, k * (size_t)max_cols * 4}};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    if (posix_memalign(parts[i].at, 64, (parts[i].bytes + 63) / 64 * 64)) {
      *parts[i].at = NULL;
      el_act_free(a);
      return el_fail(err, EL_ERR_NO_MEMORY, "activations: out of memory for %d columns of %d values", max_cols, max_k);
    }
  }
  return EL_OK;
}

void el_act_free(el_act *a) {
  free(a->q);
  free(a->d);
  free(a->ds);
  free(a->s8);
  free(a->s128);
  free(a->f);
  *a = (el_act){0};
}

void el_act_shape(el_act *a, int k, int n_cols) {
  assert(k <= a->max_k && n_cols <= a->max_cols);
  a->k = k;
  a->n_cols = n_cols;
  a->n_groups = (k + EL_GROUP - 1) / EL_GROUP;
}

el_act el_act_column(const el_act *a, int col) {
  assert(col >= 0 && col < a->max_cols);
  size_t groups = ((size_t)a->max_k + EL_GROUP - 1) / EL_GROUP, at = groups * (size_t)col;
  return (el_act){.max_k = a->max_k,
                  .max_cols = 1,
                  .q = a->q + at * EL_GROUP,
                  .d = a->d + at,
                  .ds = a->ds + at,
                  .s8 = a->s8 + at,
                  .s128 = a->s128 + at,
                  .f = a->f + (size_t)a->max_k * (size_t)col};
}
