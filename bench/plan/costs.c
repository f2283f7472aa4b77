#include "bench/plan/costs.h"

#include <stddef.h>

/* The curve at `member` of the rows, at x rows; 0 at no row. Beyond the last it goes on as between the last two. */
static double cost_at(const el_costs *c, size_t member, double x) {
  const unsigned char *rows = (const unsigned char *)c->rows;
  double x0 = 0, y0 = 0, x1 = 0, y1 = 0;
  if (x <= 0) return 0;
  for (int i = 0; i < c->n_rows && (i < 2 || x1 < x); i++) {
    x0 = x1;
    y0 = y1;
    x1 = c->rows[i].rows;
    y1 = *(const double *)(rows + (size_t)i * sizeof *c->rows + member);
    if (!i && x <= x1) return y1; /* less than the first: a step is no cheaper */
    if (x <= x1) break;
  }
  double y = y0 + (y1 - y0) * (x - x0) / (x1 - x0);
  return y > 0 ? y : 0;
}

double el_costs_step(const el_costs *c, const el_cost_step *s) {
  double t = c->step + cost_at(c, offsetof(el_cost_row, base), s->rows) +
             cost_at(c, offsetof(el_cost_row, logits), s->logits) + s->decode_positions * c->decode_position +
             s->prompt_positions * c->prompt_position + s->tokens * c->token;
  if (s->adapters)
    t += cost_at(c, offsetof(el_cost_row, adapter), s->adapter_rows) +
         (s->adapters - 1) * cost_at(c, offsetof(el_cost_row, more), s->adapter_rows);
  return t;
}
