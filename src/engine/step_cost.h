/* How long a step takes by its number of rows, learnt while steps run: what one more row costs differs by model, CPU
 * and the length of what attention reads.
 *
 * Two things are kept apart. The level is the time of a step of the fewest rows, and follows what is measured within
 * some steps, since it changes with contexts and with what else the machine does. The shape says how many times as long
 * a step of more rows takes; it follows slowly, and where nothing has been measured yet it is a guess that invites to
 * try. A measurement counts as half or twice of what was expected at most. Nothing here is random, and a step changes
 * what is expected by a share, so what is decided by it does not swing. */
#ifndef EL_ENGINE_STEP_COST_H
#define EL_ENGINE_STEP_COST_H

#include <stdbool.h>
#include <stdint.h>

enum {
  EL_COST_ROWS = 32, /* more are not told apart */
  EL_COST_POINTS = 10,
};

typedef struct el_step_cost {
  double level;                /* nanoseconds; 0: nothing has been measured */
  float shape[EL_COST_POINTS]; /* at numbers of rows in between it is interpolated */
  int n[EL_COST_POINTS];       /* what it has been measured with, EL_COST_MEMORY at most */
} el_step_cost;

void el_step_cost_init(el_step_cost *c);
/* A step of `rows` rows has taken so long. */
void el_step_cost_learn(el_step_cost *c, int rows, double ns);
/* How long one takes, in units of its own. rows: 1 to EL_COST_ROWS. */
float el_step_cost_of(const el_step_cost *c, int rows);
/* The same as if nothing had been measured. */
float el_step_cost_hoped(int rows);

#endif
