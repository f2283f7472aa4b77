/* Several adapters with scales, packed as one: what it adds is the sum of what they add. Combinations in the registry:
 * found again, and forgotten when a part goes. */
#include <math.h>

#include "adapter/loader.h"
#include "bytes.h"
#include "kernels/select.h"
#include "tiny_shape.h"

enum { N_BLOCKS = 256, BLOCK = 64 << 10 };

typedef struct rig {
  el_sites *sites;
  const el_kernels *kernels;
  el_pool pool;
  el_registry *registry;
  el_loader *loader;
  int n_dead;
} rig;

static void on_dead(void *user) {
  ((rig *)user)->n_dead++;
}

static void add(rig *r, const char *name, const char *path, int rank, uint64_t seed) {
  el_error err;
  el_entry_spec spec = {.name = name, .path = path, .dir = EL_NO_DIR, .rank = rank, .seed = seed};
  if (el_registry_add(r->registry, &spec, &err)) fail_msg("%s", err.message);
}

static void open_rig_of(rig *r, el_layout layout) {
  char path[512];
  el_error err;
  *r = (rig){0};
  r->sites = read_tiny_sites();
  if (el_kernels_get(NULL, &r->kernels, &err) || el_pool_new(BLOCK, N_BLOCKS, &r->pool, &err) ||
      el_registry_new("base", on_dead, r, &r->registry, &err) ||
      el_loader_new(r->sites, r->kernels, layout, &r->pool, NULL, false, NULL, NULL, &r->loader, &err))
    fail_msg("%s", err.message);
  snprintf(path, sizeof path, "%s/golden/lora/tiny-peft", getenv("EL_TEST_DATA"));
  add(r, "file", path, 0, 0);
  add(r, "small", "", 5, 1);
  add(r, "large", "", 40, 2);
  add(r, "huge", "", 1000, 3);
}

static void open_rig(rig *r) {
  open_rig_of(r, EL_LAYOUT_Q8);
}

static void bury(rig *r) {
  for (el_entry *e = el_registry_take_dead(r->registry), *next; e; e = next) {
    next = e->dead_next;
    el_entry_free(e);
  }
}

static void close_rig(rig *r) {
  el_loader_free(r->loader);
  bury(r);
  el_registry_free(r->registry);
  el_pool_free(&r->pool);
  el_sites_free(r->sites);
}

static el_entry *combine(rig *r, const el_adapter_scale *scales, size_t n) {
  el_error err;
  el_entry *e = NULL;
  if (el_registry_combine(r->registry, scales, n, &e, &err)) fail_msg("%s", err.message);
  return e;
}
#define COMBINE(r, ...)                               \
  combine(r, (const el_adapter_scale[]){__VA_ARGS__}, \
          sizeof((const el_adapter_scale[]){__VA_ARGS__}) / sizeof(el_adapter_scale))

/* Loads into blocks from `first` on; the reference to the entry is given back. */
static el_load *load(rig *r, el_entry *entry, uint32_t first) {
  el_load *l = el_loader_next(r->loader);
  assert_non_null(l);
  l->entry = entry;
  l->n_blocks = 64;
  l->consecutive = true;
  for (uint32_t i = 0; i < 64; i++) l->blocks[i] = first + i;
  el_loader_push(r->loader);
  assert_true(el_loader_work(r->loader));
  l = el_loader_result(r->loader);
  el_loader_pop(r->loader);
  el_registry_put(r->registry, entry);
  return l;
}

/* y: [out] += factor * what the adapter adds to one site for x: [in]. */
static void add_product(rig *r, const el_adapter *a, int layer, int i_site, const float *x, float factor, double *y) {
  const el_lora_site *site = el_adapter_site(a, layer, i_site);
  const el_packed *stacked = el_adapter_a(a, layer, r->sites->site[i_site].input);
  if (!site->b.data) return;
  el_act in = {0}, act = {0};
  float *h = calloc((size_t)stacked->n_tiles * (size_t)stacked->tile, sizeof *h);
  float *out = calloc((size_t)site->b.n_tiles * (size_t)site->b.tile, sizeof *out);
  assert_int_equal(el_act_new(&in, stacked->cols, 1, NULL), EL_OK);
  assert_int_equal(el_act_new(&act, EL_MAX_RANK, 1, NULL), EL_OK);
  el_act_shape(&in, stacked->cols, 1);
  r->kernels->quantize(x, 0, in.n_groups, 1, &in, 0);
  memcpy(in.f, x, sizeof(float) * (size_t)stacked->cols);
  r->kernels->gemm(stacked, 0, stacked->n_tiles, &in, 0, 1, h, 0, false, NULL);
  el_act_shape(&act, site->b.cols, 1);
  r->kernels->quantize(h + site->a_row, 0, act.n_groups, site->gain, &act, 0);
  for (int i = 0; i < site->b.cols; i++) act.f[i] = h[site->a_row + i] * site->gain;
  r->kernels->gemm(&site->b, 0, site->b.n_tiles, &act, 0, 1, out, 0, false, NULL);
  for (int i = 0; i < site->b.rows; i++) y[i] += (double)factor * (double)out[i];
  el_act_free(&in);
  el_act_free(&act);
  free(h);
  free(out);
}

/* The combination against its parts, each loaded alone. */
static void assert_is_the_sum(rig *r, const el_adapter_scale *scales, size_t n) {
  const el_adapter *parts[8], *sum;
  double most = 0.02; /* products of int8: about half a percent each */
  for (size_t i = 0; i < n; i++) {
    el_entry *e;
    assert_int_equal(el_registry_get(r->registry, scales[i].adapter, &e, NULL), EL_OK);
    el_load *l = load(r, e, (uint32_t)i * 40);
    if (l->end != EL_LOADED) fail_msg("%s", l->error.message);
    parts[i] = l->adapter;
  }
  el_load *l = load(r, combine(r, scales, n), 160);
  if (l->end != EL_LOADED) fail_msg("%s", l->error.message);
  sum = l->adapter;
  float x[1024];
  for (int i = 0; i < 1024; i++) x[i] = sinf((float)(i * i));
  for (int layer = 0; layer < r->sites->n_layers; layer++)
    for (int site = 0; site < r->sites->n_sites; site++) {
      const el_site_dims dims = el_sites_dims(r->sites, layer, site);
      double expected[1024] = {0}, got[1024] = {0}, error = 0, size = 0;
      assert_true(dims.in <= 1024 && dims.out <= 1024);
      for (size_t i = 0; i < n; i++) add_product(r, parts[i], layer, site, x, scales[i].scale, expected);
      add_product(r, sum, layer, site, x, 1, got);
      for (int i = 0; i < dims.out; i++) {
        error += (got[i] - expected[i]) * (got[i] - expected[i]);
        size += expected[i] * expected[i];
      }
      const el_packed *b = &el_adapter_site(sum, layer, site)->b;
      el_layout layout = b->layout;
      if (b->data && layout != EL_LAYOUT_Q8)
        most = layout == EL_LAYOUT_F16 ? 0.002 : 0.15; /* B in 4 bits, whose columns share scales */
      if (!(sqrt(error) <= most * sqrt(size))) fail_msg("layer %d, site %d: %g of %g", layer, site, error, size);
    }
}
#define SUM(r, ...)                                             \
  assert_is_the_sum(r, (const el_adapter_scale[]){__VA_ARGS__}, \
                    sizeof((const el_adapter_scale[]){__VA_ARGS__}) / sizeof(el_adapter_scale))

static void a_combination_adds_the_sum_of_its_parts(void **state) {
  rig r;
  open_rig(&r);
  SUM(&r, {"file", 1}, {"small", 1});
  SUM(&r, {"file", 0.3f}, {"small", -2}, {"large", 0.5f});
  SUM(&r, {"small", 1000}, {"large", 1e-6f});
  SUM(&r, {"large", 1}, {"small", 1e-30f});
  close_rig(&r);
}

static void a_combination_adds_the_sum_of_its_parts_in_every_layout(void **state) {
  static const el_layout layouts[] = {EL_LAYOUT_F16, EL_LAYOUT_Q4};
  for (size_t i = 0; i < 2; i++) {
    rig r;
    open_rig_of(&r, layouts[i]);
    SUM(&r, {"file", 1}, {"small", 1});
    SUM(&r, {"file", 0.3f}, {"small", -2}, {"large", 0.5f});
    close_rig(&r);
  }
}

static void one_adapter_with_a_scale_is_itself_times_it(void **state) {
  rig r;
  open_rig(&r);
  SUM(&r, {"file", 0.5f});
  SUM(&r, {"small", -1});
  SUM(&r, {"file", 3}, {"large", 0});
  close_rig(&r);
}

static void a_scale_of_one_alone_is_the_adapter_and_zeros_are_the_base(void **state) {
  rig r;
  open_rig(&r);
  el_entry *plain, *alone = COMBINE(&r, {"small", 1}, {"large", 0});
  assert_int_equal(el_registry_get(r.registry, "small", &plain, NULL), EL_OK);
  assert_ptr_equal(alone, plain);
  assert_null(COMBINE(&r, {"small", 0}, {"large", 0}));
  el_registry_put(r.registry, alone);
  el_registry_put(r.registry, plain);
  close_rig(&r);
}

static void a_combination_is_found_again_in_any_order(void **state) {
  rig r;
  open_rig(&r);
  el_entry *first = COMBINE(&r, {"small", 1}, {"large", 0.5f}), *again = COMBINE(&r, {"large", 0.5f}, {"small", 1});
  el_entry *other = COMBINE(&r, {"large", 1}, {"small", 0.5f});
  assert_ptr_equal(first, again);
  assert_ptr_not_equal(first, other);
  assert_string_equal(first->name, "small*1 + large*0.5");
  el_registry_put(r.registry, first);
  el_registry_put(r.registry, again);
  el_registry_put(r.registry, other);
  assert_int_equal(r.n_dead, 0); /* they are remembered */
  close_rig(&r);
}

static void a_combination_is_forgotten_with_its_parts(void **state) {
  rig r;
  open_rig(&r);
  el_entry *used = COMBINE(&r, {"small", 1}, {"large", 2});
  el_registry_put(r.registry, COMBINE(&r, {"large", 0.5f}));
  el_registry_put(r.registry, COMBINE(&r, {"huge", 0.5f}));
  assert_int_equal(el_registry_remove(r.registry, "large", EL_ANY_GENERATION, NULL), EL_OK);
  bury(&r);
  add(&r, "large", "", 8, 9);
  el_entry *now = COMBINE(&r, {"small", 1}, {"large", 2});
  assert_ptr_not_equal(used, now); /* the old one goes on for who uses it */
  el_registry_put(r.registry, used);
  el_registry_put(r.registry, now);
  bury(&r);
  close_rig(&r);
}

static void no_number_of_combinations_is_kept_for_ever(void **state) {
  rig r;
  open_rig(&r);
  for (int i = 1; i <= 1000; i++) el_registry_put(r.registry, COMBINE(&r, {"small", 1}, {"large", (float)i}));
  assert_true(r.n_dead >= 1000 - 256);
  bury(&r);
  close_rig(&r);
}

static void ranks_above_the_limit_are_refused_with_the_figure(void **state) {
  rig r;
  open_rig(&r);
  el_load *l = load(&r, COMBINE(&r, {"huge", 1}, {"small", 1}, {"large", 1}), 0);
  assert_int_equal(l->end, EL_LOAD_BROKEN);
  assert_int_equal(l->error.code, EL_ERR_INVALID);
  assert_contains(l->error.message, "add up to 1045");
  assert_contains(l->error.message, "1024");
  close_rig(&r);
}

static void what_cannot_be_combined_is_refused_and_leaks_nothing(void **state) {
  rig r;
  open_rig(&r);
  el_error err;
  el_entry *e = NULL;
  const struct {
    el_adapter_scale scales[2];
    el_status status;
  } bad[] = {
      {{{"small", 1}, {"none", 1}}, EL_ERR_NOT_FOUND},   {{{"small", 1}, {"small", 2}}, EL_ERR_INVALID},
      {{{"small", 1}, {"large", NAN}}, EL_ERR_INVALID},  {{{"small", 1}, {"large", INFINITY}}, EL_ERR_INVALID},
      {{{"small", 1}, {"large", 1001}}, EL_ERR_INVALID}, {{{"small", 1}, {NULL, 1}}, EL_ERR_INVALID},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(el_registry_combine(r.registry, bad[i].scales, 2, &e, &err), bad[i].status);
  el_adapter_scale many[EL_MAX_COMBINED + 1];
  for (int i = 0; i <= EL_MAX_COMBINED; i++) many[i] = (el_adapter_scale){"small", 1};
  assert_int_equal(el_registry_combine(r.registry, many, EL_MAX_COMBINED + 1, &e, &err), EL_ERR_INVALID);
  assert_contains(err.message, "16");
  assert_null(e);
  close_rig(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_combination_adds_the_sum_of_its_parts),
      cmocka_unit_test(a_combination_adds_the_sum_of_its_parts_in_every_layout),
      cmocka_unit_test(one_adapter_with_a_scale_is_itself_times_it),
      cmocka_unit_test(a_scale_of_one_alone_is_the_adapter_and_zeros_are_the_base),
      cmocka_unit_test(a_combination_is_found_again_in_any_order),
      cmocka_unit_test(a_combination_is_forgotten_with_its_parts),
      cmocka_unit_test(no_number_of_combinations_is_kept_for_ever),
      cmocka_unit_test(ranks_above_the_limit_are_refused_with_the_figure),
      cmocka_unit_test(what_cannot_be_combined_is_refused_and_leaks_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
