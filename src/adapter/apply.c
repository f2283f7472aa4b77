#include "adapter/apply.h"

#include <assert.h>
#include <stdlib.h>

#include "base/error.h"

el_status el_apply_new(const el_kernels *k, int max_rows, int n_threads, el_apply *out, el_error *err) {
  el_apply p = {.kernels = k, .max_rows = max_rows, .n_threads = n_threads};
  p.groups = calloc((size_t)max_rows, sizeof *p.groups);
  p.h = malloc(sizeof(float) * (size_t)max_rows * EL_APPLY_LD);
  p.act = calloc((size_t)n_threads, sizeof *p.act);
  p.spans = calloc((size_t)n_threads * EL_APPLY_SPANS, sizeof *p.spans);
  el_status status = p.groups && p.h && p.act && p.spans
                         ? EL_OK
                         : el_fail(err, EL_ERR_NO_MEMORY, "step: out of memory for low-rank products");
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
  free(p->spans);
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

/* A thread's tiles of the stacked A matrices of all groups, as one range that the threads share; *at: where the tiles
 * of group g begin in it. */
typedef struct a_walk {
  int begin, end, at;
} a_walk;

static a_walk share_a(const el_apply *p, int layer, el_input in, el_turn turn) {
  a_walk w = {0};
  int total = 0;
  for (int g = 0; g < p->n_groups; g++) total += p->groups[g].adapter->layers[layer].a[in].n_tiles;
  el_share(total, 1, turn.rank, turn.size, &w.begin, &w.end);
  return w;
}

/* The thread's tiles of the next group's matrix. */
static bool next_a(a_walk *w, const el_packed *a, int *from, int *to) {
  *from = w->begin > w->at ? w->begin - w->at : 0;
  *to = w->end - w->at < a->n_tiles ? w->end - w->at : a->n_tiles;
  w->at += a->n_tiles;
  return *from < *to;
}

void el_apply_a(const el_apply *p, int layer, el_input in, const el_act *x, el_turn turn) {
  a_walk walk = share_a(p, layer, in, turn);
  for (int g = 0; g < p->n_groups && walk.at < walk.end; g++) {
    const el_lora_group *group = &p->groups[g];
    const el_packed *a = &group->adapter->layers[layer].a[in];
    int from, to;
    if (!next_a(&walk, a, &from, &to)) continue;
    p->kernels->gemm(a, from, to, x, group->row_begin, group->row_end, p->h, EL_APPLY_LD, false, NULL);
  }
}

void el_apply_b(const el_apply *p, int layer, el_linear linear, int tile_begin, int tile_end, float *y, size_t ldy,
                int ith, const unsigned char *next) {
  el_act *act = &p->act[ith];
  for (int g = 0; g < p->n_groups; g++) {
    const el_lora_group *group = &p->groups[g];
    const el_lora_site *site = &group->adapter->layers[layer].site[linear];
    if (!site->b.data) continue;
    int n = group->row_end - group->row_begin;
    /* every thread quantises the whole of h for itself: rank values a row cost less than a barrier */
    el_act_shape(act, site->b.cols, n);
    for (int c = 0; c < n; c++)
      p->kernels->quantize(p->h + (size_t)(group->row_begin + c) * EL_APPLY_LD + site->a_row, 0, act->n_groups,
                           site->gain, act, c);
    el_fetch fetch = {.next = g + 1 < p->n_groups ? NULL : next};
    p->kernels->gemm(&site->b, tile_begin, tile_end, act, 0, n, y + (size_t)group->row_begin * ldy, ldy, true, &fetch);
  }
}

/* Adds a matrix's tiles to the list of what is fetched, or lengthens its last entry. Returns false when the list is
 * full. */
static bool add_span(el_span *spans, int *n, size_t *total, const el_packed *w, int from, int to) {
  const unsigned char *data = w->data + (size_t)from * w->tile_bytes;
  size_t bytes = (size_t)(to - from) * w->tile_bytes;
  *total += bytes;
  if (*total > EL_APPLY_FETCH_BYTES) return false;
  if (*n && spans[*n - 1].data + spans[*n - 1].bytes == data) {
    spans[*n - 1].bytes += bytes;
    return true;
  }
  if (*n == EL_APPLY_SPANS) return false;
  spans[(*n)++] = (el_span){data, bytes};
  return true;
}

void el_apply_fetch(const el_apply *p, int layer, el_input in, const el_apply_share *shares, int n_shares, el_turn turn,
                    int visits, el_fetch *fetch) {
  el_span *spans = p->spans + (size_t)turn.ith * EL_APPLY_SPANS;
  int n = 0, from, to;
  size_t total = 0;
  bool room = true;
  a_walk walk = share_a(p, layer, in, turn);
  for (int g = 0; g < p->n_groups && walk.at < walk.end && room; g++) {
    const el_packed *a = &p->groups[g].adapter->layers[layer].a[in];
    if (next_a(&walk, a, &from, &to)) room = add_span(spans, &n, &total, a, from, to);
  }
  for (int i = 0; i < n_shares && room; i++)
    for (int g = 0; g < p->n_groups && room; g++) {
      const el_packed *b = &p->groups[g].adapter->layers[layer].site[shares[i].linear].b;
      if (b->data && shares[i].tile_begin < shares[i].tile_end)
        room = add_span(spans, &n, &total, b, shares[i].tile_begin, shares[i].tile_end);
    }
  if (visits < 1) return;
  fetch->spans = spans;
  fetch->n_spans = n;
  fetch->lines = (int)((total / 64 + (size_t)visits - 1) / (size_t)visits);
  if (fetch->lines > 8) fetch->lines = 8;
}
