/* Figures by batch size: a table for a person, or one JSON object. */
#ifndef EL_BENCH_BATCH_TABLE_H
#define EL_BENCH_BATCH_TABLE_H

#include "bench/batch/batch.h"
#include "bench/measure/figures.h"

typedef struct el_batch_row {
  int npl;
  el_bench_figure prompt, decode; /* tokens per second, of the whole batch */
} el_batch_row;

typedef struct el_batch_table {
  const el_engine *engine;
  const el_batch_options *asked;
  json_t *results;
} el_batch_table;

/* The machine, the model and the adapters; then rows as they come, false: no memory; then the end, which gives the exit
 * status. */
void el_batch_table_begin(const el_batch_table *t);
bool el_batch_table_add(el_batch_table *t, const el_batch_row *row);
int el_batch_table_end(const el_batch_table *t);
void el_batch_table_free(el_batch_table *t);

#endif
