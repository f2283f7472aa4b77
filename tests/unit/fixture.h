/* A model with its workspace and pages for tests that run forward steps directly. */
#ifndef EL_TESTS_FIXTURE_H
#define EL_TESTS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "adapter/packer.h"
#include "kernels/select.h"
#include "model/model.h"

typedef struct fixture {
  const el_kernels *kernels;
  el_threads *threads;
  el_model *model;
  el_step *step;
  unsigned char *kv;
  const el_hparams *h;
} fixture;

static inline void test_path(char *out, size_t n, const char *name) {
  const char *dir = getenv("EL_TEST_DATA");
  snprintf(out, n, "%s/%s", dir ? dir : "tests", name);
}

/* max_rows rows a step, all of which may want logits; n_pages pages. */
static inline fixture fixture_open_kv(const char *path, const char *isa, el_weights weights, el_kv_type kv_type,
                                      int n_threads, int max_rows, int max_ctx, int n_pages) {
  fixture f = {0};
  el_error err = {0};
  el_gguf *g = NULL;
  if (el_kernels_get(isa, &f.kernels, &err) || el_threads_new(n_threads, NULL, &f.threads, &err) ||
      el_gguf_open(path, &g, &err) || el_model_load(g, f.kernels, f.threads, weights, NULL, NULL, &f.model, &err))
    fail_msg("%s", err.message);
  el_gguf_close(g);
  f.h = el_model_hparams(f.model);
  f.kv = malloc(el_kv_page_bytes(f.h, kv_type) * (size_t)n_pages);
  assert_non_null(f.kv);
  memset(f.kv, 0xff, el_kv_page_bytes(f.h, kv_type) * (size_t)n_pages); /* NaN: nobody may read what nobody wrote */
  if (el_step_new(f.model, f.threads, f.kv, kv_type, max_rows, max_rows, max_ctx, &f.step, &err))
    fail_msg("%s", err.message);
  return f;
}

static inline fixture fixture_open(const char *path, const char *isa, el_weights weights, int n_threads, int max_rows,
                                   int max_ctx, int n_pages) {
  return fixture_open_kv(path, isa, weights, EL_KV_F16, n_threads, max_rows, max_ctx, n_pages);
}

static inline void fixture_close(fixture *f) {
  el_step_free(f->step);
  free(f->kv);
  el_model_free(f->model);
  el_threads_free(f->threads);
}

static inline el_adapter *fixture_adapter_as(const fixture *f, const char *path, el_layout layout) {
  const el_sites *sites = el_model_sites(f->model);
  el_lora_file *file = NULL;
  el_adapter *a = NULL;
  el_error err = {0};
  if (el_lora_file_open(path, sites, &file, &err) ||
      el_adapter_pack(file, sites, el_model_base(f->model), f->kernels, layout, &a, &err))
    fail_msg("%s", err.message);
  el_lora_file_close(file);
  return a;
}

static inline el_adapter *fixture_adapter(const fixture *f, const char *path) {
  return fixture_adapter_as(f, path, EL_LAYOUT_Q8);
}

static inline el_adapter *fixture_random_adapter(const fixture *f, int rank, uint64_t seed, el_layout layout) {
  const el_sites *sites = el_model_sites(f->model);
  el_adapter *a = NULL;
  el_error err = {0};
  if (el_adapter_random(sites, rank, seed, f->kernels, layout, &a, &err)) fail_msg("%s", err.message);
  return a;
}

/* The adapter of a file, `scale` times, and a random one together. */
static inline el_adapter *fixture_combined_adapter(const fixture *f, const char *path, float scale, int rank,
                                                   uint64_t seed, el_layout layout) {
  enum { BLOCK = 64 << 10 };
  const el_sites *sites = el_model_sites(f->model);
  el_lora_file *file = NULL;
  el_packer *p = NULL;
  el_pack_size size;
  el_error err = {0};
  void *memory = NULL;
  if (el_lora_file_open(path, sites, &file, &err) || el_packer_new(sites, f->kernels, layout, BLOCK, &p, &err))
    fail_msg("%s", err.message);
  const el_pack_source sources[] = {{.file = file, .scale = scale}, {.rank = rank, .seed = seed, .scale = 1}};
  if (el_packer_plan_combined(p, sources, 2, &size, &err)) fail_msg("%s", err.message);
  uint32_t *blocks = calloc(size.n_blocks, sizeof *blocks);
  assert_true(blocks && !posix_memalign(&memory, 64, (size_t)size.n_blocks * BLOCK));
  for (uint32_t i = 0; i < size.n_blocks; i++) blocks[i] = i;
  el_adapter *a = el_packer_pack(p, memory, blocks);
  free(blocks);
  el_packer_free(p);
  el_lora_file_close(file);
  return a;
}

/* Runs tokens at positions pos .. pos + n - 1 of one sequence; logits of the last, [n_vocab]. */
static inline const float *fixture_run(fixture *f, const int *tokens, int n, int pos, const uint32_t *pages,
                                       const el_adapter *a) {
  el_row rows[256];
  assert_true(n <= 256);
  for (int i = 0; i < n; i++)
    rows[i] = (el_row){.token = tokens[i], .pos = pos + i, .pages = pages, .adapter = a, .wants_logits = i == n - 1};
  return el_step_run(f->step, rows, n);
}

static inline int argmax(const float *x, int n) {
  int best = 0;
  for (int i = 1; i < n; i++)
    if (x[i] > x[best]) best = i;
  return best;
}

#endif
