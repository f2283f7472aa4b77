/* Pages out of blocks: none is handed out twice, blocks come from the pool and go back to it. */
#include "bytes.h"
#include "engine/kv_pages.h"

enum { PAGE = 4096, PER_BLOCK = 3, N_BLOCKS = 20, N = PER_BLOCK * N_BLOCKS };

typedef struct rig {
  el_pool pool;
  el_kv_pages kv;
} rig;

static void open_rig(rig *r, uint32_t max_blocks) {
  el_error err;
  if (el_pool_new(PAGE * PER_BLOCK, N_BLOCKS, &r->pool, &err)) fail_msg("%s", err.message);
  if (el_kv_pages_new(&r->pool, PAGE, max_blocks, &r->kv, &err)) fail_msg("%s", err.message);
}

static void close_rig(rig *r) {
  el_kv_pages_free(&r->kv);
  el_pool_free(&r->pool);
}

static void every_page_is_handed_out_once(void **state) {
  rig r;
  open_rig(&r, N_BLOCKS);
  uint32_t pages[N];
  bool seen[N] = {false};
  for (int i = 0; i < N; i++) {
    assert_true(el_kv_pages_take(&r.kv, &pages[i], 1));
    assert_true(pages[i] < N && !seen[pages[i]]);
    seen[pages[i]] = true;
    memset(r.pool.base + (size_t)pages[i] * PAGE, i, PAGE);
  }
  uint32_t more = 12345;
  assert_false(el_kv_pages_take(&r.kv, &more, 1));
  assert_int_equal(more, 12345);
  for (int i = 0; i < N; i++)
    for (int j = 0; j < PAGE; j += 97) assert_int_equal(r.pool.base[(size_t)pages[i] * PAGE + (size_t)j], i);
  el_kv_pages_give(&r.kv, pages, N);
  assert_int_equal(r.pool.count[EL_USE_FREE], N_BLOCKS);
  close_rig(&r);
}

static void taking_more_than_there_is_takes_nothing(void **state) {
  rig r;
  uint32_t pages[N];
  open_rig(&r, 4);
  assert_int_equal(el_kv_pages_need(&r.kv, 4 * PER_BLOCK + 1), UINT32_MAX);
  assert_false(el_kv_pages_take(&r.kv, pages, 4 * PER_BLOCK + 1));
  assert_int_equal(r.pool.count[EL_USE_FREE], N_BLOCKS);
  assert_true(el_kv_pages_take(&r.kv, pages, 4 * PER_BLOCK));
  assert_int_equal(r.pool.count[EL_USE_KV], 4);
  close_rig(&r);
}

static void pages_that_came_back_are_taken_first(void **state) {
  rig r;
  open_rig(&r, N_BLOCKS);
  uint32_t pages[8], again[8];
  assert_true(el_kv_pages_take(&r.kv, pages, 8));
  el_kv_pages_give(&r.kv, pages + 6, 2); /* the last block keeps none, the one before keeps all: */
  assert_int_equal(r.kv.n_blocks, 2);
  assert_int_equal(el_kv_pages_need(&r.kv, 1), 1);
  el_kv_pages_give(&r.kv, pages + 4, 2);
  assert_int_equal(r.kv.n_free, 2);
  assert_int_equal(el_kv_pages_need(&r.kv, 2), 0);
  assert_true(el_kv_pages_take(&r.kv, again, 2));
  assert_memory_equal(pages + 4, again, 2 * sizeof *pages);
  close_rig(&r);
}

static void too_many_pages_to_number_are_refused(void **state) {
  el_pool pool;
  el_kv_pages kv = {0};
  el_error err;
  if (el_pool_new((size_t)64 << 20, (uint64_t)1 << 13, &pool, &err)) fail_msg("%s", err.message);
  assert_int_equal(el_kv_pages_new(&pool, 64, 1, &kv, &err), EL_ERR_NO_MEMORY);
  assert_contains(err.message, "pages");
  el_pool_free(&pool);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_page_is_handed_out_once),
      cmocka_unit_test(taking_more_than_there_is_takes_nothing),
      cmocka_unit_test(pages_that_came_back_are_taken_first),
      cmocka_unit_test(too_many_pages_to_number_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
