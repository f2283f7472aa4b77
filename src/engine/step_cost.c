#include "engine/step_cost.h"

#include "engine/tuning.h"

static const int points[EL_COST_POINTS] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32};

float el_step_cost_hoped(int rows) {
  return 1 + EL_COST_HOPED_SLOPE * (float)(rows - 1);
}

void el_step_cost_init(el_step_cost *c) {
  *c = (el_step_cost){0};
  for (int i = 0; i < EL_COST_POINTS; i++) c->shape[i] = el_step_cost_hoped(points[i]);
}

/* The point at or below a number of rows, and how far towards the next one it is. */
static int point_of(int rows, float *part) {
  int i = 0;
  while (i + 1 < EL_COST_POINTS && points[i + 1] <= rows) i++;
  *part = i + 1 < EL_COST_POINTS ? (float)(rows - points[i]) / (float)(points[i + 1] - points[i]) : 0;
  return i;
}

float el_step_cost_of(const el_step_cost *c, int rows) {
  float part;
  const int i = point_of(rows, &part);
  return part > 0 ? c->shape[i] + part * (c->shape[i + 1] - c->shape[i]) : c->shape[i];
}

/* Points that nothing has been measured at: between two that are known, on the line through them; above, as steep as up
 * to the last one that is known; below, and above the only one, as steep as hoped. */
static void fill_unknown(el_step_cost *c) {
  int first = 0, last = -1;
  while (!c->n[first]) first++;
  const float unit = c->shape[first] / el_step_cost_hoped(points[first]);
  for (int k = 0; k < first; k++) c->shape[k] = unit * el_step_cost_hoped(points[k]);
  for (int i = first; i < EL_COST_POINTS; i++) {
    if (!c->n[i]) continue;
    for (int k = last + 1; last >= 0 && k < i; k++) {
      const float part = (float)(points[k] - points[last]) / (float)(points[i] - points[last]);
      c->shape[k] = c->shape[last] + part * (c->shape[i] - c->shape[last]);
    }
    last = i;
  }
  float slope = unit * EL_COST_HOPED_SLOPE;
  if (last > first) slope = (c->shape[last] - c->shape[first]) / (float)(points[last] - points[first]);
  if (slope < 0) slope = 0;
  for (int k = last + 1; k < EL_COST_POINTS; k++)
    c->shape[k] = c->shape[last] + slope * (float)(points[k] - points[last]);
}

static void learn_point(el_step_cost *c, int i, float times, float weight) {
  if (c->n[i] < EL_COST_MEMORY) c->n[i]++;
  c->shape[i] *= 1 + (times - 1) * weight / (float)c->n[i];
}

void el_step_cost_learn(el_step_cost *c, int rows, double ns) {
  if (rows < 1 || rows > EL_COST_ROWS || !(ns > 0)) return;
  float part;
  const int i = point_of(rows, &part), near = part < 0.5f ? i : i + 1;
  if (c->level == 0) c->level = ns / (double)el_step_cost_of(c, rows);
  double times = ns / (c->level * (double)el_step_cost_of(c, rows));
  if (times > 2) times = 2;
  if (times < 0.5) times = 0.5;
  const bool known = c->n[near] >= EL_COST_KNOWN;
  if (part < 0.75f) learn_point(c, i, (float)times, 1 - part);
  if (part > 0.25f) learn_point(c, i + 1, (float)times, part);
  if (known) c->level *= 1 + (times - 1) / EL_COST_LEVEL_MEMORY;
  fill_unknown(c);
}
