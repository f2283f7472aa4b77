#include "router/pooling.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static const char *const names[EL_N_POOLINGS] = {
    [EL_POOL_MEAN] = "mean",         [EL_POOL_UNIT_MEAN] = "unit-mean", [EL_POOL_UNIT_LAST] = "unit-last",
    [EL_POOL_UNIT_MAX] = "unit-max", [EL_POOL_UNIT_STD] = "unit-std",
};

const char *el_pooling_name(el_pooling p) {
  return names[p];
}

bool el_pooling_find(const char *name, size_t len, el_pooling *out) {
  for (int i = 0; i < EL_N_POOLINGS; i++)
    if (strlen(names[i]) == len && !memcmp(names[i], name, len)) {
      *out = (el_pooling)i;
      return true;
    }
  return false;
}

/* Sums that a tap needs, [n_embd] each; NULL: no slice wants it. */
typedef struct sums {
  float *sum, *unit, *last, *max, *square;
} sums;

struct el_pooler {
  el_features f;
  int n;
  float *memory; /* of all sums, and of one unit state */
  size_t n_memory;
  float *unit;
  sums taps[EL_ROUTER_MAX_TAPS];
};

/* Finds the sums that a tap needs and returns the number of their vectors; with `memory`, sets where they are. */
static size_t lay_out_sums(const el_features *f, int tap, float *memory, sums *out) {
  bool wanted[EL_N_POOLINGS] = {false};
  for (int i = 0; i < f->n_slices; i++)
    if (f->slices[i].tap == tap) wanted[f->slices[i].pooling] = true;
  float **fields[] = {&out->sum, &out->unit, &out->last, &out->max, &out->square};
  const bool needed[] = {wanted[EL_POOL_MEAN], wanted[EL_POOL_UNIT_MEAN] || wanted[EL_POOL_UNIT_STD],
                         wanted[EL_POOL_UNIT_LAST], wanted[EL_POOL_UNIT_MAX], wanted[EL_POOL_UNIT_STD]};
  size_t n = 0;
  for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
    *fields[i] = needed[i] && memory ? memory + n * (size_t)f->n_embd : NULL;
    n += needed[i];
  }
  return n;
}

el_status el_pooler_new(const el_features *f, el_pooler **out, el_error *err) {
  el_pooler *p = calloc(1, sizeof *p);
  sums unused;
  size_t n = 1;
  for (int i = 0; i < f->n_taps; i++) n += lay_out_sums(f, i, NULL, &unused);
  if (p) p->memory = calloc(n * (size_t)f->n_embd, sizeof *p->memory);
  if (!p || !p->memory) {
    free(p);
    return el_fail(err, EL_ERR_NO_MEMORY, "no memory to pool %d states of %d values", f->n_taps, f->n_embd);
  }
  p->f = *f;
  p->unit = p->memory;
  p->n_memory = n * (size_t)f->n_embd;
  float *at = p->memory + f->n_embd;
  for (int i = 0; i < f->n_taps; i++) at += lay_out_sums(f, i, at, &p->taps[i]) * (size_t)f->n_embd;
  *out = p;
  return EL_OK;
}

void el_pooler_free(el_pooler *p) {
  if (!p) return;
  free(p->memory);
  free(p);
}

void el_pooler_reset(el_pooler *p) {
  memset(p->memory, 0, p->n_memory * sizeof *p->memory);
  p->n = 0;
}

/* unit = x / sqrt(mean(x^2)); all [n] */
static void make_unit(const float *restrict x, int n, float *restrict unit) {
  enum { LANES = 8 }; /* a fixed order of sums on every machine, which the compiler can vectorise */
  float sum[LANES] = {0}, total = 0;
  int i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int k = 0; k < LANES; k++) sum[k] += x[i + k] * x[i + k];
  for (; i < n; i++) total += x[i] * x[i];
  for (int k = 0; k < LANES; k++) total += sum[k];
  float scale = 1.0f / sqrtf(total / (float)n + 1e-12f);
  for (i = 0; i < n; i++) unit[i] = x[i] * scale;
}

static void add_vector(float *restrict sum, const float *restrict x, int n) {
  for (int i = 0; i < n; i++) sum[i] += x[i];
}

static void add_square(float *restrict sum, const float *restrict x, int n) {
  for (int i = 0; i < n; i++) sum[i] += x[i] * x[i];
}

static void keep_max(float *restrict max, const float *restrict x, int n) {
  for (int i = 0; i < n; i++) max[i] = x[i] > max[i] ? x[i] : max[i];
}

void el_pooler_add(el_pooler *p, const float *states) {
  const int n = p->f.n_embd;
  for (int t = 0; t < p->f.n_taps; t++) {
    const float *x = states + (size_t)t * (size_t)n;
    const sums *s = &p->taps[t];
    if (s->sum) add_vector(s->sum, x, n);
    if (!s->unit && !s->last && !s->max) continue;
    make_unit(x, n, p->unit);
    if (s->unit) add_vector(s->unit, p->unit, n);
    if (s->square) add_square(s->square, p->unit, n);
    if (s->last) memcpy(s->last, p->unit, (size_t)n * sizeof *p->unit);
    if (s->max && p->n == 0) memcpy(s->max, p->unit, (size_t)n * sizeof *p->unit);
    if (s->max) keep_max(s->max, p->unit, n);
  }
  p->n++;
}

int el_pooler_count(const el_pooler *p) {
  return p->n;
}

void el_pooler_get(const el_pooler *p, float *out) {
  const int n = p->f.n_embd;
  const float scale = p->n ? 1.0f / (float)p->n : 0;
  for (int i = 0; i < p->f.n_slices; i++, out += n) {
    const sums *s = &p->taps[p->f.slices[i].tap];
    switch (p->f.slices[i].pooling) {
      case EL_POOL_MEAN:
        for (int k = 0; k < n; k++) out[k] = s->sum[k] * scale;
        break;
      case EL_POOL_UNIT_MEAN:
        for (int k = 0; k < n; k++) out[k] = s->unit[k] * scale;
        break;
      case EL_POOL_UNIT_LAST: memcpy(out, s->last, (size_t)n * sizeof *out); break;
      case EL_POOL_UNIT_MAX: memcpy(out, s->max, (size_t)n * sizeof *out); break;
      case EL_POOL_UNIT_STD:
        for (int k = 0; k < n; k++) {
          float mean = s->unit[k] * scale, variance = s->square[k] * scale - mean * mean;
          out[k] = variance > 0 ? sqrtf(variance) : 0;
        }
        break;
      case EL_N_POOLINGS: assert(false); break;
    }
  }
}
