/* Packing of adapters. See adapter.h for the form. */
#include "adapter/adapter.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "base/random.h"

enum { HUGE_PAGE = 2 << 20 };

el_input el_input_of(el_linear linear) {
  switch (linear) {
    case EL_LIN_Q:
    case EL_LIN_K:
    case EL_LIN_V: return EL_IN_ATTN;
    case EL_LIN_O: return EL_IN_O;
    case EL_LIN_GATE:
    case EL_LIN_UP: return EL_IN_FFN;
    default: return EL_IN_DOWN;
  }
}

/* Lays out all matrices for the ranks [n_layers][EL_N_LINEAR] (0: nothing there) and allocates them. */
static el_status layout(const el_lora_shape *shape, const int *ranks, const el_kernels *k, el_adapter **out,
                        el_error *err) {
  el_adapter *a = calloc(1, sizeof *a);
  if (a) a->layers = calloc((size_t)shape->n_layers, sizeof *a->layers);
  if (!a || !a->layers) {
    free(a);
    return el_fail(err, EL_ERR_NO_MEMORY, "adapter: out of memory");
  }
  a->n_layers = shape->n_layers;
  size_t total = 0;
  for (int l = 0; l < shape->n_layers; l++) {
    el_lora_layer *layer = &a->layers[l];
    int rows[EL_N_INPUT] = {0};
    for (int i = 0; i < EL_N_LINEAR; i++) {
      int r = ranks[l * EL_N_LINEAR + i], in = el_input_of((el_linear)i);
      if (!r) continue;
      layer->site[i].a_row = rows[in];
      rows[in] += r;
      if (r > a->rank) a->rank = r;
      el_packed_init(&layer->site[i].b, EL_LAYOUT_Q8, shape->out[i], r, k->tile);
      total += el_packed_bytes(&layer->site[i].b);
    }
    for (int i = 0; i < EL_N_LINEAR; i++) {
      int in = el_input_of((el_linear)i);
      if (!rows[in] || layer->a[in].rows) continue;
      el_packed_init(&layer->a[in], EL_LAYOUT_Q8, rows[in], shape->in[i], k->tile);
      total += el_packed_bytes(&layer->a[in]);
    }
  }
  /* Huge pages where they fit: a step reads all of an adapter, and page walks would cost as much as the reads. */
  void *arena = NULL;
  if (posix_memalign(&arena, total >= HUGE_PAGE ? HUGE_PAGE : 64, total ? total : 64)) {
    free(a->layers);
    free(a);
    return el_fail(err, EL_ERR_NO_MEMORY, "adapter: out of memory for %zu bytes", total);
  }
  a->arena = arena;
  a->arena_bytes = total;
  if (total >= HUGE_PAGE) madvise(arena, total, MADV_HUGEPAGE);
  unsigned char *p = arena;
  for (int l = 0; l < shape->n_layers; l++) {
    el_lora_layer *layer = &a->layers[l];
    /* in the order of use, A before the Bs that it feeds */
    for (int in = 0; in < EL_N_INPUT; in++) {
      if (!layer->a[in].rows) continue;
      layer->a[in].data = p;
      el_packed_clear(&layer->a[in]);
      p += el_packed_bytes(&layer->a[in]);
      for (int i = 0; i < EL_N_LINEAR; i++) {
        el_packed *b = &layer->site[i].b;
        if ((int)el_input_of((el_linear)i) != in || !b->rows) continue;
        b->data = p;
        el_packed_clear(b);
        p += el_packed_bytes(b);
      }
    }
  }
  assert(p == a->arena + total);
  *out = a;
  return EL_OK;
}

/* Scales x by the power of two that brings its largest magnitude to [512, 1024), so that group scales are well inside
 * F16. */
static int normalise(float *x, size_t n) {
  float amax = 0;
  for (size_t i = 0; i < n; i++) amax = fmaxf(amax, fabsf(x[i]));
  if (amax == 0) return 0;
  int e;
  frexpf(amax, &e); /* amax = m * 2^e, m in [0.5, 1) */
  for (size_t i = 0; i < n; i++) x[i] = ldexpf(x[i], 10 - e);
  return 10 - e;
}

/* Puts A: [rank, in] and B: [out, rank] of one layer in place; both are overwritten. */
static void put_pair(el_lora_layer *layer, el_linear linear, float *a, float *b, float scale) {
  el_lora_site *site = &layer->site[linear];
  el_packed *stacked = &layer->a[el_input_of(linear)];
  int rank = site->b.cols;
  int shift = normalise(a, (size_t)rank * (size_t)stacked->cols) + normalise(b, (size_t)site->b.rows * (size_t)rank);
  site->gain = ldexpf(scale, -shift);
  el_pack_rows_q8(stacked, site->a_row, rank, a);
  el_pack_rows_q8(&site->b, 0, site->b.rows, b);
}

/* PEFT's order of rows inside a head, (2, d / 2), to GGUF's, (d / 2, 2). */
static void interleave_rows(float *b, int rows, int rank, int n_head, float *tmp) {
  int d = rows / n_head;
  size_t row = (size_t)rank;
  memcpy(tmp, b, sizeof(float) * (size_t)rows * row);
  for (int h = 0; h < n_head; h++)
    for (int c = 0; c < 2; c++)
      for (int i = 0; i < d / 2; i++)
        memcpy(b + (size_t)(h * d + 2 * i + c) * row, tmp + (size_t)(h * d + c * (d / 2) + i) * row,
               sizeof(float) * row);
}

el_status el_adapter_pack(const el_lora_file *f, const el_lora_shape *shape, const el_kernels *k, el_adapter **out,
                          el_error *err) {
  size_t n = el_lora_file_n(f), largest = 0;
  el_adapter *a = NULL;
  float *tmp = NULL;
  int *ranks = calloc((size_t)shape->n_layers * EL_N_LINEAR, sizeof *ranks);
  if (!ranks) return el_fail(err, EL_ERR_NO_MEMORY, "adapter: out of memory");
  for (size_t i = 0; i < n; i++) {
    const el_lora_pair *p = el_lora_file_at(f, i);
    ranks[p->layer * EL_N_LINEAR + (int)p->linear] = p->rank;
    size_t widest =
        (size_t)(shape->in[p->linear] > shape->out[p->linear] ? shape->in[p->linear] : shape->out[p->linear]);
    if (widest * (size_t)p->rank > largest) largest = widest * (size_t)p->rank;
  }
  el_status status = layout(shape, ranks, k, &a, err);
  if (status) goto done;
  tmp = malloc(sizeof(float) * 3 * (largest ? largest : 1));
  if (!tmp) {
    status = el_fail(err, EL_ERR_NO_MEMORY, "adapter: out of memory");
    goto done;
  }
  for (size_t i = 0; i < n; i++) {
    const el_lora_pair *p = el_lora_file_at(f, i);
    int in = shape->in[p->linear], rows = shape->out[p->linear];
    float *pa = tmp, *pb = tmp + largest;
    el_dequantize(p->type, p->a, pa, (int64_t)p->rank * in);
    el_dequantize(p->type, p->b, pb, (int64_t)rows * p->rank);
    if (p->b_rows_half_split)
      interleave_rows(pb, rows, p->rank, p->linear == EL_LIN_Q ? shape->n_head : shape->n_head_kv, tmp + 2 * largest);
    put_pair(&a->layers[p->layer], p->linear, pa, pb, p->scale);
  }
  *out = a;
  a = NULL;
done:
  el_adapter_free(a);
  free(tmp);
  free(ranks);
  return status;
}

/* The next of a splitmix64 sequence, as a float in [-1, 1). */
static float next_uniform(uint64_t *state) {
  return (float)((int64_t)el_mix64(*state += EL_GOLDEN_GAMMA) >> 40) / (float)(1 << 23);
}

el_status el_adapter_random(const el_lora_shape *shape, int rank, uint64_t seed, const el_kernels *k, el_adapter **out,
                            el_error *err) {
  if (rank < 1 || rank > EL_LORA_MAX_RANK)
    return el_fail(err, EL_ERR_INVALID, "rank: %d is not in 1 to %d", rank, EL_LORA_MAX_RANK);
  el_adapter *a = NULL;
  int n = shape->n_layers * EL_N_LINEAR, widest = 0;
  for (int i = 0; i < EL_N_LINEAR; i++) {
    if (shape->in[i] > widest) widest = shape->in[i];
    if (shape->out[i] > widest) widest = shape->out[i];
  }
  size_t largest = (size_t)widest * (size_t)rank;
  int *ranks = calloc((size_t)n, sizeof *ranks);
  float *tmp = malloc(sizeof(float) * 2 * largest);
  el_status status = EL_OK;
  if (!ranks || !tmp) {
    status = el_fail(err, EL_ERR_NO_MEMORY, "adapter: out of memory");
    goto done;
  }
  for (int i = 0; i < n; i++) ranks[i] = rank;
  if ((status = layout(shape, ranks, k, &a, err))) goto done;
  for (int i = 0; i < n; i++) {
    int lin = i % EL_N_LINEAR, in = shape->in[lin], rows = shape->out[lin];
    float bound = 1.0f / sqrtf((float)in); /* B * A then has entries of about 0.01 / in * sqrt(rank) */
    for (int j = 0; j < rank * in; j++) tmp[j] = bound * next_uniform(&seed);
    for (int j = 0; j < rows * rank; j++) tmp[largest + (size_t)j] = 0.01f * next_uniform(&seed);
    put_pair(&a->layers[i / EL_N_LINEAR], (el_linear)lin, tmp, tmp + largest, 1.0f);
  }
  *out = a;
done:
  free(tmp);
  free(ranks);
  return status;
}

void el_adapter_free(el_adapter *a) {
  if (!a) return;
  free(a->layers);
  free(a->arena);
  free(a);
}

size_t el_adapter_bytes(const el_adapter *a) {
  return a->arena_bytes;
}

int el_adapter_rank(const el_adapter *a) {
  return a->rank;
}
