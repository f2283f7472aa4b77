/* What a machine's steps and loads cost with one model: the figures that `edgelora-bench plan` simulates with.
 *
 * A step's time is taken to be a sum of parts that were measured one by one (or computed, see shapes.h):
 *   base(rows) + logits(rows that want them) + adapter(rows with one) + more(rows with one) * (adapters - 1)
 *   + positions that attention reads * seconds a position
 * each of the first four a curve over a number of rows, linear between the rows that were measured. */
#ifndef EL_BENCH_PLAN_COSTS_H
#define EL_BENCH_PLAN_COSTS_H

#include <jansson.h>

#include "adapter/packer.h"
#include "engine/engine.h"

enum { EL_COSTS_MAX_ROWS = 64, EL_COSTS_MAX_TEXT = 128 };

/* Seconds of a step of so many rows. */
typedef struct el_cost_row {
  int rows;
  double base;    /* without adapters and without logits */
  double logits;  /* more, if all rows want logits */
  double adapter; /* more, if all rows have the same adapter */
  double more;    /* more, for each further adapter among them */
} el_cost_row;

typedef struct el_costs {
  /* Of what: names for people. */
  char model[EL_COSTS_MAX_TEXT], cpu[EL_COSTS_MAX_TEXT], isa[EL_COSTS_MAX_TEXT];
  int cores, threads;
  el_hparams shape; /* all layers have the largest one's; without what only rotation and norms need */
  char kv_type[8], adapter_type[8];
  el_kv_shape kv; /* of the model's own layers */
  int rank;
  uint64_t weight_bytes;
  uint64_t started_bytes; /* memory of a process that has loaded the model, weights included */

  el_pack_size adapter;                /* of one of these in the pool; its n_blocks is for blocks of the default size */
  el_cost_row rows[EL_COSTS_MAX_ROWS]; /* ascending, from 1 row on */
  int n_rows;
  double decode_position; /* seconds for each earlier position, of a row that generates */
  double prompt_position; /* of a prompt's row */
  double step;            /* seconds between two steps, whatever they are */
  double token;           /* and for each generated token: drawing it, sending it, the client's reading */
  double request;         /* from a client's sending a request to the engine's having it */
  double load;            /* of an adapter, seconds of one core that nobody else wants */
  double load_beside;     /* as long as it takes beside steps, alone */
  double load_queued;     /* and with others behind it */
  double slow_beside;     /* how many times as long a step takes meanwhile, 1 at least */
  double slow_queued;
} el_costs;

typedef struct el_cost_step {
  int rows, logits;
  int adapter_rows, adapters; /* rows that have one; distinct ones */
  double decode_positions, prompt_positions;
  int tokens; /* that are drawn */
} el_cost_step;

/* Seconds, with what follows until the next step. */
double el_costs_step(const el_costs *c, const el_cost_step *s);

/* JSON, schema "edgelora-costs/1". NULL: no memory. */
json_t *el_costs_json(const el_costs *c);
/* EL_ERR_FORMAT, EL_ERR_IO: file and field are named. */
el_status el_costs_read(const char *path, el_costs *out, el_error *err);
el_status el_costs_save(const el_costs *c, const char *path, el_error *err);

#endif
