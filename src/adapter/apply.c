#include "adapter/apply.h"

#include <assert.h>
#include <stdlib.h>

#include "base/error.h"
#include "kernels/select.h"

el_status el_apply_new(const el_kernels *k, const el_sites *sites, int max_rows, int n_threads, el_apply *out,
                       el_error *err) {
  el_apply p = {.kernels = k, .sites = sites, .max_rows = max_rows, .ldh = (size_t)sites->most_shared * EL_MAX_RANK};
  int n = sites->most_shared * max_rows;
  p.h = malloc(sizeof(float) * (size_t)max_rows * p.ldh);
  p.acts = calloc((size_t)n, sizeof *p.acts);
  p.low = calloc((size_t)n, sizeof *p.low);
  p.spans = calloc((size_t)n_threads * EL_APPLY_SPANS, sizeof *p.spans);
  el_status status = p.h && p.acts && p.low && p.spans
                         ? EL_OK
                         : el_fail(err, EL_ERR_NO_MEMORY, "step: out of memory for low-rank products");
  if (!status) status = el_act_new(&p.memory, EL_MAX_RANK, n, err);
  for (int i = 0; i < n && !status; i++) p.acts[i] = el_act_column(&p.memory, i);
  if (status)
    el_apply_free(&p);
  else
    *out = p;
  return status;
}

void el_apply_free(el_apply *p) {
  el_act_free(&p->memory);
  free(p->acts);
  free(p->low);
  free(p->h);
  free(p->spans);
  *p = (el_apply){0};
}

void el_lora_groups_add(el_lora_groups *g, int row, const el_adapter *adapter, int expert) {
  if (!adapter) return;
  el_lora_group *last = g->n ? &g->at[g->n - 1] : NULL;
  assert(!last || last->row_end <= row);
  if (last && last->adapter == adapter && last->row_end == row && last->expert == expert) {
    last->row_end++;
    return;
  }
  g->at[g->n++] = (el_lora_group){adapter, row, row + 1, expert};
}

/* Narrows [*begin, *end) to the rows of the group; false: none is left. */
static bool clip_to_group(const el_lora_group *group, int *begin, int *end) {
  if (group->row_begin > *begin) *begin = group->row_begin;
  if (group->row_end < *end) *end = group->row_end;
  return *begin < *end;
}

static int n_readers(const el_apply *p, int in) {
  return p->sites->first[in + 1] - p->sites->first[in];
}

/* What a group's adapter has for an input, or for a site; NULL: nothing. */
static const el_packed *group_a(const el_apply *p, const el_lora_group *g, int layer, int in) {
  const el_packed *a = in < p->sites->n_inputs ? el_adapter_a(g->adapter, layer, in)
                                               : el_adapter_expert_a(g->adapter, layer, in, g->expert);
  return a && a->data ? a : NULL;
}

static const el_lora_site *group_site(const el_apply *p, const el_lora_group *g, int layer, int site) {
  const el_lora_site *s = el_sites_of_expert(p->sites, site)
                              ? el_adapter_expert_site(g->adapter, layer, site, g->expert)
                              : el_adapter_site(g->adapter, layer, site);
  return s && s->b.data ? s : NULL;
}

bool el_apply_has(const el_apply *p, const el_lora_groups *groups, int layer, int in) {
  for (int g = 0; g < groups->n; g++)
    if (group_a(p, &groups->at[g], layer, in)) return true;
  return false;
}

/* Writes h in the form that its B takes. */
static void quantize_h(const el_apply *p, const float *h, const el_packed *b, float gain, el_act *act) {
  el_act_shape(act, b->cols, 1);
  if (el_layout_is_float(b->layout))
    for (int r = 0; r < b->cols; r++) act->f[r] = h[r] * gain;
  else
    p->kernels->quantize(h, 0, act->n_groups, gain, act, 0);
}

/* Writes h of one row, for each site that the adapter has something for, in the form that its B
 * takes. */
static void quantize_row(const el_apply *p, const el_lora_group *g, int place, int in, int row) {
  for (int i = 0; i < n_readers(p, in); i++) {
    const el_lora_site *site = group_site(p, g, place, p->sites->first[in] + i);
    int at = i * p->max_rows + row;
    if (!site) continue;
    el_act *act = &p->acts[at];
    quantize_h(p, p->h + (size_t)row * p->ldh + site->a_row, &site->b, site->gain, act);
    p->low[at] = el_low_rank_of(&site->b, act);
  }
}

void el_apply_h(const el_apply *p, const el_lora_groups *groups, int place, int in, const el_act *x, int row_begin,
                int row_end) {
  for (int i = 0; i < n_readers(p, in); i++)
    for (int row = row_begin; row < row_end; row++) p->low[i * p->max_rows + row] = (el_low_rank){0};
  for (int g = 0; g < groups->n; g++) {
    const el_packed *a = group_a(p, &groups->at[g], place, in);
    int begin = row_begin, end = row_end;
    if (!a || !clip_to_group(&groups->at[g], &begin, &end)) continue;
    p->kernels->gemm(a, 0, a->n_tiles, x, begin, end, p->h, p->ldh, false, NULL);
    for (int row = begin; row < end; row++) quantize_row(p, &groups->at[g], place, in, row);
  }
}

void el_apply_embedding(const el_apply *p, const el_adapter_more *more, int token, int row, float *x) {
  float *h = p->h + (size_t)row * p->ldh;
  const el_packed *b = &more->embedding_b;
  el_act *act = &p->acts[row];
  el_packed_get_row(&more->embedding_a, token, h);
  quantize_h(p, h, b, more->embedding_gain, act);
  p->kernels->gemm(b, 0, b->n_tiles, act, 0, 1, x, 0, true, NULL);
}

const el_low_rank *el_apply_low(const el_apply *p, const el_lora_groups *groups, int i) {
  return groups->n ? p->low + (size_t)i * (size_t)p->max_rows : NULL;
}

void el_apply_fetch(const el_apply *p, const el_lora_groups *groups, int layer, int in, int row_begin, int row_end,
                    int ith, int visits, el_fetch *fetch) {
  el_span *spans = p->spans + (size_t)ith * EL_APPLY_SPANS;
  size_t total = 0;
  int n = 0;
  for (int g = 0; g < groups->n && n < EL_APPLY_SPANS; g++) {
    const el_packed *a = group_a(p, &groups->at[g], layer, in);
    int begin = row_begin, end = row_end;
    if (!a || !clip_to_group(&groups->at[g], &begin, &end)) continue;
    if (total + el_packed_bytes(a) > EL_APPLY_FETCH_BYTES) break;
    total += el_packed_bytes(a);
    spans[n++] = (el_span){a->data, el_packed_bytes(a)};
  }
  if (!n || visits < 1) return;
  fetch->spans = spans;
  fetch->n_spans = n;
  fetch->lines = (int)((total / 64 + (size_t)visits - 1) / (size_t)visits);
  if (fetch->lines > 8) fetch->lines = 8;
}
