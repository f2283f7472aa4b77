#include "bench/kernels/work.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/random.h"
#include "kernels/select.h"

enum { LINE_INTS = 16 }; /* counters of threads lie on lines of their own */

static el_status no_memory_for_kernel(el_error *err) {
  return el_fail(err, EL_ERR_NO_MEMORY, "not enough memory for the data of this measurement");
}

static uint64_t random_at(uint64_t i) {
  return el_mix64((i + 1) * EL_GOLDEN_GAMMA);
}
static void fill_floats(float *out, size_t n, uint64_t seed) {
  for (size_t i = 0; i < n; i++) out[i] = (float)(random_at(seed + i) >> 40) * 0x1p-23f - 1; /* [-1, 1) */
}

/* ---- matrix products */

/* The type of a file that becomes this layout. */
static el_type type_of(el_layout layout) {
  static const el_type types[] = {
      [EL_LAYOUT_Q4] = EL_TYPE_Q4_0,  [EL_LAYOUT_Q4M] = EL_TYPE_Q4_1, [EL_LAYOUT_Q8] = EL_TYPE_Q8_0,
      [EL_LAYOUT_Q8M] = EL_TYPE_Q5_1, [EL_LAYOUT_F16] = EL_TYPE_F16,  [EL_LAYOUT_BF16] = EL_TYPE_BF16};
  return types[layout];
}

/* Random codes with scales near 0.01: [rows, cols]. */
static unsigned char *random_weights(el_type type, size_t n) {
  const el_type_info *info = el_type_get(type);
  size_t bytes = n / (size_t)info->block * (size_t)info->block_bytes;
  unsigned char *out = malloc(bytes);
  if (!out) return NULL;
  if (type == EL_TYPE_F16 || type == EL_TYPE_BF16) {
    for (size_t i = 0; i < n; i++) {
      float v = (float)(random_at(i) >> 40) * 0x1p-23f - 1;
      uint16_t bits = type == EL_TYPE_F16 ? el_f32_to_f16(v) : el_f32_to_bf16(v);
      memcpy(out + 2 * i, &bits, 2);
    }
    return out;
  }
  for (size_t i = 0; i < bytes; i++) out[i] = (unsigned char)(random_at(i) >> 56);
  const bool has_min = type == EL_TYPE_Q4_1 || type == EL_TYPE_Q5_1;
  const uint16_t d = el_f32_to_f16(0.01f), m = el_f32_to_f16(-0.08f);
  for (size_t at = 0; at < bytes; at += (size_t)info->block_bytes) {
    memcpy(out + at, &d, 2);
    if (has_min) memcpy(out + at + 2, &m, 2);
  }
  return out;
}

el_status el_bench_gemm_new(el_bench_gemm *g, const el_kernels *kernels, el_layout layout, int rows, int cols,
                            int max_cols, size_t streamed, int max_threads, el_error *err) {
  *g = (el_bench_gemm){.kernels = kernels, .max_cols = max_cols};
  el_packed_init(&g->w, layout, rows, cols, kernels->tile);
  size_t bytes = el_packed_bytes(&g->w);
  g->n_copies = (int)((streamed + bytes - 1) / bytes);
  if (g->n_copies < 1) g->n_copies = 1;
  unsigned char *source = random_weights(type_of(layout), (size_t)rows * (size_t)cols);
  g->copies = el_bench_pages_new(bytes * (size_t)g->n_copies);
  g->y = el_bench_pages_new((size_t)rows * (size_t)max_cols * sizeof(float));
  g->at = calloc((size_t)max_threads * LINE_INTS, sizeof *g->at);
  el_status status =
      source && g->copies && g->y && g->at ? el_act_new(&g->x, cols, max_cols, err) : no_memory_for_kernel(err);
  if (!status) {
    g->w.data = g->copies;
    el_pack_tiles(&g->w, type_of(layout), source, 0, g->w.n_tiles);
    for (int i = 1; i < g->n_copies; i++) memcpy(g->copies + bytes * (size_t)i, g->copies, bytes);
    memset(g->y, 0, (size_t)rows * (size_t)max_cols * sizeof(float));
  } else {
    g->x = (el_act){0};
    el_bench_gemm_free(g);
  }
  free(source);
  return status;
}

void el_bench_gemm_free(el_bench_gemm *g) {
  free(g->copies);
  free(g->y);
  free(g->at);
  el_act_free(&g->x);
  *g = (el_bench_gemm){0};
}

void el_bench_gemm_columns(el_bench_gemm *g, int n_cols) {
  el_act *x = &g->x;
  el_act_shape(x, g->w.cols, n_cols);
  fill_floats(x->f, (size_t)n_cols * (size_t)x->k, 1);
  for (int c = 0; c < n_cols; c++) g->kernels->quantize(x->f + (size_t)c * (size_t)x->k, 0, x->n_groups, 1.0f, x, c);
}

void el_bench_gemm_run(void *gemm, uint64_t passes, int ith, int n) {
  el_bench_gemm *g = gemm;
  int begin, end, *at = &g->at[ith * LINE_INTS];
  el_share(g->w.n_tiles, 1, ith, n, &begin, &end);
  if (begin == end) return;
  size_t bytes = el_packed_bytes(&g->w), first = (size_t)begin * g->w.tile_bytes;
  while (passes--) {
    el_packed w = g->w;
    w.data = g->copies + bytes * (size_t)*at;
    *at = *at + 1 < g->n_copies ? *at + 1 : 0;
    el_fetch fetch = {.next = g->copies + bytes * (size_t)*at + first};
    g->kernels->gemm(&w, begin, end, &g->x, 0, g->x.n_cols, g->y, (size_t)w.rows, false, &fetch);
  }
}

/* ---- rows */

el_status el_bench_rows_new(el_bench_rows *r, const el_kernels *kernels, int n, int max_threads, el_error *err) {
  size_t values = (size_t)n * (size_t)max_threads;
  *r = (el_bench_rows){.kernels = kernels, .n = n, .max_threads = max_threads};
  r->in = el_bench_pages_new(values * sizeof(float));
  r->other = el_bench_pages_new(values * sizeof(float));
  r->out = el_bench_pages_new(values * sizeof(float));
  r->acts = calloc((size_t)max_threads, sizeof *r->acts);
  el_status status = r->in && r->other && r->out && r->acts ? EL_OK : no_memory_for_kernel(err);
  for (int i = 0; !status && i < max_threads; i++) {
    status = el_act_new(&r->acts[i], n, 1, err);
    if (!status) el_act_shape(&r->acts[i], n, 1);
  }
  if (status) {
    el_bench_rows_free(r);
    return status;
  }
  fill_floats(r->in, values, 1);
  fill_floats(r->other, values, 2);
  return EL_OK;
}

void el_bench_rows_free(el_bench_rows *r) {
  free(r->in);
  free(r->other);
  free(r->out);
  for (int i = 0; r->acts && i < r->max_threads; i++) el_act_free(&r->acts[i]);
  free(r->acts);
  *r = (el_bench_rows){0};
}

void el_bench_quantize_run(void *rows, uint64_t passes, int ith, int n) {
  el_bench_rows *r = rows;
  el_act *a = &r->acts[ith];
  while (passes--) r->kernels->quantize(r->in + (size_t)ith * (size_t)r->n, 0, a->n_groups, 1.0f, a, 0);
}

void el_bench_rms_norm_run(void *rows, uint64_t passes, int ith, int n) {
  el_bench_rows *r = rows;
  size_t at = (size_t)ith * (size_t)r->n;
  while (passes--) r->kernels->rms_norm(r->in + at, r->other + at, r->n, 1e-5f, r->out + at);
}

void el_bench_swiglu_run(void *rows, uint64_t passes, int ith, int n) {
  el_bench_rows *r = rows;
  size_t at = (size_t)ith * (size_t)r->n;
  while (passes--) r->kernels->swiglu(r->in + at, r->other + at, r->n, r->out + at);
}

/* ---- attention */

enum { PAGE_TOKENS = 16 };

static int n_pages(const el_bench_attend *a) {
  return (a->n_pos + PAGE_TOKENS - 1) / PAGE_TOKENS;
}
size_t el_bench_attend_bytes(const el_bench_attend *a) {
  return a->piece / PAGE_TOKENS * (size_t)a->n_pos;
}

static void fill_kv(el_bench_attend *a) {
  float *values = a->out; /* [2, head_dim] fits: nothing is there yet */
  for (int p = 0; p < n_pages(a); p++)
    for (int i = 0; i < a->n_pieces; i++)
      for (int slot = 0; slot < PAGE_TOKENS; slot++) {
        fill_floats(values, (size_t)a->head_dim * 2, (uint64_t)(p * PAGE_TOKENS + slot));
        a->kernels->kv_write(EL_KV_F16, a->kv + ((size_t)p * (size_t)a->n_pieces + (size_t)i) * a->piece, slot,
                             a->head_dim, values, values + a->head_dim);
      }
}

el_status el_bench_attend_new(el_bench_attend *a, const el_kernels *kernels, int n_q, int head_dim, int n_pos,
                              size_t streamed, int max_threads, el_error *err) {
  *a = (el_bench_attend){.kernels = kernels,
                         .n_q = n_q,
                         .head_dim = head_dim,
                         .n_pos = n_pos,
                         .max_threads = max_threads,
                         .piece = (size_t)head_dim * PAGE_TOKENS * 2 * sizeof(uint16_t)};
  size_t pages = (size_t)n_pages(a), pieces = (streamed + pages * a->piece - 1) / (pages * a->piece);
  a->n_pieces = (int)pieces < max_threads ? max_threads : (int)pieces;
  size_t threads = (size_t)max_threads, row = (size_t)n_q * (size_t)head_dim;
  a->kv = el_bench_pages_new(pages * (size_t)a->n_pieces * a->piece);
  a->pages = malloc(pages * sizeof *a->pages);
  a->q = el_bench_pages_new(threads * row * sizeof(float));
  a->out = el_bench_pages_new((threads * row + 2 * (size_t)head_dim) * sizeof(float));
  a->scratch = el_bench_pages_new(threads * el_attn_scratch(head_dim) * sizeof(float));
  a->at = calloc(threads * LINE_INTS, sizeof *a->at);
  if (!a->kv || !a->pages || !a->q || !a->out || !a->scratch || !a->at) {
    el_bench_attend_free(a);
    return no_memory_for_kernel(err);
  }
  for (size_t i = 0; i < pages; i++) a->pages[i] = (uint32_t)i;
  fill_floats(a->q, threads * row, 1);
  fill_kv(a);
  return EL_OK;
}

void el_bench_attend_free(el_bench_attend *a) {
  free(a->kv);
  free(a->pages);
  free(a->q);
  free(a->out);
  free(a->scratch);
  free(a->at);
  *a = (el_bench_attend){0};
}

/* Thread i takes pieces i, i + n, and so on. */
void el_bench_attend_run(void *attend, uint64_t passes, int ith, int n) {
  el_bench_attend *a = attend;
  size_t row = (size_t)a->n_q * (size_t)a->head_dim;
  int *at = &a->at[ith * LINE_INTS];
  el_attn call = {.q = a->q + (size_t)ith * row,
                  .out = a->out + (size_t)ith * row,
                  .ldq = row,
                  .ldo = row,
                  .scratch = a->scratch + (size_t)ith * el_attn_scratch(a->head_dim),
                  .n_rows = 1,
                  .n_q = a->n_q,
                  .head_dim = a->head_dim,
                  .n_pos = a->n_pos,
                  .scale = 1.0f / sqrtf((float)a->head_dim),
                  .pages = a->pages,
                  .kv = a->kv,
                  .page_bytes = (size_t)a->n_pieces * a->piece,
                  .next_pages = a->pages,
                  .next_n_pages = n_pages(a)};
  int own = (a->n_pieces - ith + n - 1) / n; /* how many of the pieces are this thread's */
  while (passes--) {
    call.offset = (size_t)(ith + *at * n) * a->piece;
    *at = *at + 1 < own ? *at + 1 : 0;
    call.next_offset = (size_t)(ith + *at * n) * a->piece;
    a->kernels->attend(&call);
  }
}
