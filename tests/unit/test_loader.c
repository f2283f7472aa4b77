/* A load, with all that can go wrong on its way: it ends with a reason, leaves other blocks alone, and the next one
 * works. */
#include <pthread.h>
#include <semaphore.h>

#include "adapter/index_file.h"
#include "adapter/loader.h"
#include "bytes.h"
#include "failing_files.h"
#include "failing_memory.h"
#include "kernels/select.h"
#include "tiny_shape.h"

enum { N_BLOCKS = 256, BLOCK = 16 << 10, N_GIVEN = 100, GUARD = 0xa5 };

typedef struct rig {
  char dir[64], path[128];
  el_sites *sites;
  const el_kernels *kernels;
  el_pool pool;
  el_registry *registry;
  el_loader *loader;
  el_entry *entry;
} rig;

static void copy_file(const char *from, const char *dir, const char *name) {
  char command[1024];
  snprintf(command, sizeof command, "cp '%s/%s' '%s/%s'", from, name, dir, name);
  assert_int_equal(system(command), 0);
}

static rig open_rig(size_t block_bytes) {
  rig r = {0};
  el_error err;
  char from[512];
  snprintf(from, sizeof from, "%s/golden/lora/tiny-peft", getenv("EL_TEST_DATA"));
  make_dir(r.dir);
  snprintf(r.path, sizeof r.path, "%s/a", r.dir);
  assert_int_equal(mkdir(r.path, 0700), 0);
  copy_file(from, r.path, "adapter_config.json");
  copy_file(from, r.path, "adapter_model.safetensors");
  r.sites = read_tiny_sites();
  if (el_kernels_get(NULL, &r.kernels, &err) || el_pool_new(block_bytes, N_BLOCKS, &r.pool, &err) ||
      el_registry_new("base", NULL, NULL, &r.registry, &err) ||
      el_registry_add(r.registry, &(el_entry_spec){.name = "a", .path = r.path, .dir = EL_NO_DIR}, &err) ||
      el_registry_get(r.registry, "a", &r.entry, &err))
    fail_msg("%s", err.message);
  return r;
}

/* The pool may move no more once the loader knows it. */
static void start(rig *r) {
  el_error err;
  if (el_loader_new(r->sites, r->kernels, EL_LAYOUT_Q8, &r->pool, NULL, false, NULL, NULL, &r->loader, &err))
    fail_msg("%s", err.message);
}

static void close_rig(rig *r) {
  el_registry_put(r->registry, r->entry);
  el_loader_free(r->loader);
  el_registry_free(r->registry);
  el_pool_free(&r->pool);
  el_sites_free(r->sites);
  remove_tree(r->dir);
}

/* A load into every second block, or consecutive ones; the others must stay as they are. */
static el_load *load(rig *r, uint32_t n_given, bool consecutive) {
  memset(r->pool.base, GUARD, r->pool.block_bytes * N_BLOCKS);
  el_load *l = el_loader_next(r->loader);
  assert_non_null(l);
  l->entry = r->entry;
  l->n_blocks = n_given;
  l->consecutive = consecutive;
  for (uint32_t i = 0; i < n_given; i++) l->blocks[i] = consecutive ? 3 + i : 2 * i + 1;
  el_loader_push(r->loader);
  assert_true(el_loader_work(r->loader));
  l = el_loader_result(r->loader);
  assert_non_null(l);
  bool mine[N_BLOCKS] = {false};
  uint32_t n = l->end == EL_LOADED ? l->size.n_blocks : 0;
  for (uint32_t i = 0; i < n; i++) mine[l->blocks[i]] = true;
  for (uint32_t b = 0; b < N_BLOCKS; b++)
    for (size_t i = 0; !mine[b] && i < r->pool.block_bytes; i++)
      if (el_pool_at(&r->pool, b)[i] != GUARD) fail_msg("block %u has been written to", b);
  el_loader_pop(r->loader);
  return l;
}

static void same_matrix(const el_packed *x, const el_packed *y) {
  assert_int_equal(x->rows, y->rows);
  assert_int_equal(x->cols, y->cols);
  assert_int_equal(x->data == NULL, y->data == NULL);
  if (x->data) assert_memory_equal(x->data, y->data, el_packed_bytes(x));
}

static void assert_is_the_file(rig *r, const el_adapter *a) {
  el_lora_file *f = NULL;
  el_adapter *expected = NULL;
  el_error err;
  if (el_lora_file_open(r->path, r->sites, &f, &err) ||
      el_adapter_pack(f, r->sites, NULL, r->kernels, EL_LAYOUT_Q8, &expected, &err))
    fail_msg("%s", err.message);
  for (int l = 0; l < r->sites->n_layers; l++) {
    for (int i = 0; i < r->sites->n_inputs; i++) same_matrix(el_adapter_a(a, l, i), el_adapter_a(expected, l, i));
    for (int i = 0; i < r->sites->n_sites; i++) {
      const el_lora_site *x = el_adapter_site(a, l, i), *y = el_adapter_site(expected, l, i);
      same_matrix(&x->b, &y->b);
      assert_true(x->gain == y->gain);
      assert_int_equal(x->a_row, y->a_row);
    }
  }
  el_adapter_free(expected);
  el_lora_file_close(f);
}

static void an_adapter_is_the_same_in_whatever_blocks_it_lies(void **state) {
  static const size_t sizes[] = {1 << 10, 1536, 2 << 10, 3 << 10, 4 << 10, 8 << 10, 64 << 10};
  bool consecutive = false, scattered = false;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    rig r = open_rig(sizes[i]);
    start(&r);
    el_load *l = load(&r, 0, false);
    assert_int_equal(l->end, EL_LOAD_SIZED);
    el_pack_size size = l->size;
    assert_true(size.n_blocks > 0 && size.bytes <= size.n_blocks * sizes[i]);
    if (size.n_blocks <= N_GIVEN) {
      if (size.consecutive) assert_int_equal(load(&r, size.n_blocks, false)->end, EL_LOAD_SIZED);
      l = load(&r, size.n_blocks, size.consecutive);
      assert_int_equal(l->end, EL_LOADED);
      assert_is_the_file(&r, l->adapter);
      consecutive = consecutive || size.consecutive;
      scattered = scattered || (!size.consecutive && size.n_blocks > 1);
    }
    close_rig(&r);
  }
  assert_true(consecutive && scattered);
}

static void assert_works_again(rig *r) {
  el_load *l = load(r, N_GIVEN, true);
  if (l->end != EL_LOADED) fail_msg("%s", l->error.message);
  assert_is_the_file(r, l->adapter);
}

static void a_failed_allocation_fails_the_load_only(void **state) {
  rig r = open_rig(BLOCK);
  start(&r);
  int n = 0;
  for (bool failed = true; failed; n++) {
    fail_after(n, false);
    el_load *l = load(&r, N_GIVEN, true);
    failed = stop_failing();
    assert_int_equal(l->end, failed ? EL_LOAD_BROKEN : EL_LOADED);
    if (failed && l->error.code != EL_ERR_NO_MEMORY) fail_msg("allocation %d: %s", n, l->error.message);
  }
  assert_true(n > 10);
  assert_works_again(&r);
  close_rig(&r);
}

static void a_failed_file_call_fails_the_load_with_its_reason(void **state) {
  rig r = open_rig(BLOCK);
  start(&r);
  int n = 0;
  for (bool failed = true; failed; n++) {
    fail_file_call(n);
    el_load *l = load(&r, N_GIVEN, true);
    failed = stop_failing_file_calls();
    if (!failed) assert_int_equal(l->end, EL_LOADED);
    if (l->end == EL_LOADED) continue; /* a look at the files that failed once is taken again */
    assert_int_equal(l->end, EL_LOAD_BROKEN);
    assert_int_equal(l->error.code, EL_ERR_IO);
    assert_contains(l->error.message, r.path);
    assert_false(l->permanent);
  }
  assert_true(n > 8);
  assert_works_again(&r);
  close_rig(&r);
}

static void a_truncated_file_is_an_error_at_every_length(void **state) {
  rig r = open_rig(BLOCK);
  start(&r);
  char weights[256];
  struct stat st;
  snprintf(weights, sizeof weights, "%s/adapter_model.safetensors", r.path);
  assert_int_equal(stat(weights, &st), 0);
  for (off_t size = st.st_size - 1; size >= 0; size -= 1 + size / 23) {
    assert_int_equal(truncate(weights, size), 0);
    el_load *l = load(&r, N_GIVEN, true);
    assert_int_equal(l->end, EL_LOAD_BROKEN);
    assert_contains(l->error.message, "adapter_model.safetensors");
    assert_true(l->permanent);
  }
  close_rig(&r);
}

static rig *under_change;
static int changes;

static void change_the_file(void) {
  char config[256];
  if (!changes) return;
  changes--;
  snprintf(config, sizeof config, "%s/adapter_config.json", under_change->path);
  FILE *f = fopen(config, "ab");
  if (!f || fputc('\n', f) == EOF || fclose(f)) abort();
}

static void a_file_that_changes_while_it_is_read_is_read_again_once(void **state) {
  rig r = open_rig(BLOCK);
  start(&r);
  under_change = &r;
  before_read = change_the_file;
  changes = 1;
  el_load *l = load(&r, N_GIVEN, true);
  assert_int_equal(l->end, EL_LOADED);
  changes = 1000;
  l = load(&r, N_GIVEN, true);
  before_read = NULL;
  assert_int_equal(l->end, EL_LOAD_BROKEN);
  assert_int_equal(l->error.code, EL_ERR_IO);
  assert_contains(l->error.message, "changed while it was read");
  assert_works_again(&r);
  close_rig(&r);
}

static void an_index_file_is_for_one_layout(void **state) {
  rig r = open_rig(BLOCK);
  uint64_t q8 = el_index_file_key(r.sites, r.kernels, EL_LAYOUT_Q8, BLOCK),
           q4 = el_index_file_key(r.sites, r.kernels, EL_LAYOUT_Q4, BLOCK),
           f16 = el_index_file_key(r.sites, r.kernels, EL_LAYOUT_F16, BLOCK);
  assert_true(q8 != q4 && q8 != f16 && q4 != f16);
  close_rig(&r);
}

/* Which threads did the loads. Called by one after the other, each time before the test waits for that load. */
typedef struct workers {
  sem_t ended;
  pthread_t first;
  int n_loads, n_by_first;
} workers;

static void note_worker(void *user) {
  workers *w = user;
  if (!w->n_loads++) w->first = pthread_self();
  w->n_by_first += pthread_equal(w->first, pthread_self()) != 0;
  sem_post(&w->ended);
}

static void loads_of_both_threads_are_right_and_in_order(void **state) {
  enum { ROUNDS = 40, GIVEN = N_BLOCKS / EL_MAX_LOADS };
  rig r = open_rig(BLOCK);
  el_error err;
  workers w = {0};
  sem_init(&w.ended, 0, 0);
  if (el_loader_new(r.sites, r.kernels, EL_LAYOUT_Q8, &r.pool, NULL, true, note_worker, &w, &r.loader, &err))
    fail_msg("%s", err.message);
  int total = 0;
  for (int round = 0; round < ROUNDS; round++) {
    /* A single one, which the patient thread does, and as many as there may be, which the other one does but the last.
     */
    int n = round % 2 ? EL_MAX_LOADS : 1;
    for (int i = 0; i < n; i++) {
      el_load *l = el_loader_next(r.loader);
      assert_non_null(l);
      l->entry = r.entry;
      l->n_blocks = GIVEN;
      l->consecutive = true;
      for (uint32_t b = 0; b < GIVEN; b++) l->blocks[b] = (uint32_t)i * GIVEN + b;
      el_loader_push(r.loader);
    }
    assert_null(n == EL_MAX_LOADS ? el_loader_next(r.loader) : NULL);
    for (int i = 0; i < n; i++, total++) sem_wait(&w.ended);
    for (int i = 0; i < n; i++) {
      el_load *l = el_loader_result(r.loader);
      assert_non_null(l);
      assert_int_equal(l->end, EL_LOADED);
      assert_int_equal(l->blocks[0], i * GIVEN);
      assert_is_the_file(&r, l->adapter);
      el_loader_pop(r.loader);
    }
    assert_null(el_loader_result(r.loader));
  }
  assert_int_equal(w.n_loads, total);
  assert_in_range(w.n_by_first, ROUNDS / 2, total - 1);
  close_rig(&r);
  sem_destroy(&w.ended);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_adapter_is_the_same_in_whatever_blocks_it_lies),
      cmocka_unit_test(an_index_file_is_for_one_layout),
      cmocka_unit_test(a_failed_allocation_fails_the_load_only),
      cmocka_unit_test(a_failed_file_call_fails_the_load_with_its_reason),
      cmocka_unit_test(a_truncated_file_is_an_error_at_every_length),
      cmocka_unit_test(a_file_that_changes_while_it_is_read_is_read_again_once),
      cmocka_unit_test(loads_of_both_threads_are_right_and_in_order),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
