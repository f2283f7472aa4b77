#include "adapter/apply.h"

#include <assert.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/threads.h"

el_status el_apply_new(const el_kernels *k, int max_rows, int n_threads, el_apply *out, el_error *err) {
  el_apply p = {.kernels = k, .max_rows = max_rows, .n_threads = n_threads};
  p.groups = calloc((size_t)max_rows, sizeof *p.groups);
  p.h = malloc(sizeof(float) * (size_t)max_rows * EL_APPLY_LD);
  p.act = calloc((size_t)n_threads, sizeof *p.act);
  el_status status =
      p.groups && p.h && p.act ? EL_OK : el_fail(err, EL_ERR_NO_MEMORY, "step: out of memory for low-rank products");
  for (int i = 0; i < n_threads && !status; i++) status = el_act_new(&p.act[i], EL_LORA_MAX_RANK, max_rows, err);
  if (status)
    el_apply_free(&p);
  else
    *out = p;
  return status;
}

void el_apply_free(el_apply *p) {
  if (p->act)
    for (int i = 0; i < p->n_threads; i++) el_act_free(&p->act[i]);
  free(p->act);
  free(p->h);
  free(p->groups);
  *p = (el_apply){0};
}

void el_apply_begin(el_apply *p) {
  p->n_groups = 0;
}

void el_apply_row(el_apply *p, int row, const el_adapter *adapter) {
  if (!adapter) return;
  el_lora_group *last = p->n_groups ? &p->groups[p->n_groups - 1] : NULL;
  if (last && last->adapter == adapter && last->row_end == row) {
    last->row_end++;
    return;
  }
  assert(p->n_groups < p->max_rows);
  p->groups[p->n_groups++] = (el_lora_group){adapter, row, row + 1};
}

void el_apply_a(const el_apply *p, int layer, el_input in, const el_act *x, int ith, int nth) {
  int total = 0, begin, end, at = 0;
  for (int g = 0; g < p->n_groups; g++) total += p->groups[g].adapter->layers[layer].a[in].n_tiles;
  el_share(total, 1, ith, nth, &begin, &end);
  for (int g = 0; g < p->n_groups && at < end; g++) {
    const el_lora_group *group = &p->groups[g];
    const el_packed *a = &group->adapter->layers[layer].a[in];
    int from = begin > at ? begin - at : 0, to = end - at < a->n_tiles ? end - at : a->n_tiles;
    if (from < to) p->kernels->gemm(a, from, to, x, group->row_begin, group->row_end, p->h, EL_APPLY_LD, false, NULL);
    at += a->n_tiles;
  }
}

void el_apply_b(const el_apply *p, int layer, el_linear linear, int out_begin, int out_end, float *y, size_t ldy,
                int ith) {
  if (out_begin >= out_end) return;
  el_act *act = &p->act[ith];
  for (int g = 0; g < p->n_groups; g++) {
    const el_lora_group *group = &p->groups[g];
    const el_lora_site *site = &group->adapter->layers[layer].site[linear];
    if (!site->b.data) continue;
    int n = group->row_end - group->row_begin, tile = site->b.tile;
    assert(out_begin % tile == 0);
    /* every thread quantises the whole of h for itself: rank values a row cost less than a barrier */
    el_act_shape(act, site->b.cols, n);
    for (int c = 0; c < n; c++)
      p->kernels->quantize(p->h + (size_t)(group->row_begin + c) * EL_APPLY_LD + site->a_row, 0, act->n_groups,
                           site->gain, act, c);
    p->kernels->gemm(&site->b, out_begin / tile, (out_end + tile - 1) / tile, act, 0, n,
                     y + (size_t)group->row_begin * ldy, ldy, true, NULL);
  }
}
