/* The pool: no block is handed out twice, and its memory goes back to the system. */
#include <sys/mman.h>

#include "adapter/pool.h"
#include "bytes.h"

enum { BLOCK = 65536, N = 64 };

static el_pool new_pool(uint64_t n) {
  el_pool p = {0};
  el_error err;
  if (el_pool_new(BLOCK, n, &p, &err)) fail_msg("%s", err.message);
  return p;
}

static void every_block_is_handed_out_once(void **state) {
  el_pool p = new_pool(N);
  uint32_t blocks[N];
  bool seen[N] = {false};
  for (int i = 0; i < N; i++) {
    assert_true(el_pool_take(&p, i % 3 ? EL_USE_KV : EL_USE_ADAPTER, &blocks[i], 1));
    assert_true(blocks[i] < N && !seen[blocks[i]]);
    seen[blocks[i]] = true;
    memset(el_pool_at(&p, blocks[i]), i, BLOCK);
  }
  uint32_t more = 12345;
  assert_false(el_pool_take(&p, EL_USE_KV, &more, 1));
  assert_false(el_pool_take_run(&p, EL_USE_KV, &more, 1));
  assert_int_equal(more, 12345);
  assert_int_equal(p.count[EL_USE_FREE], 0);
  for (int i = 0; i < N; i++)
    for (int j = 0; j < BLOCK; j += 997) assert_int_equal(el_pool_at(&p, blocks[i])[j], i);
  el_pool_give(&p, blocks, N);
  assert_int_equal(p.count[EL_USE_FREE], N);
  assert_int_equal(p.count[EL_USE_KV] + p.count[EL_USE_ADAPTER], 0);
  el_pool_free(&p);
}

static void taking_more_than_there_is_takes_nothing(void **state) {
  el_pool p = new_pool(4);
  uint32_t blocks[5];
  assert_false(el_pool_take(&p, EL_USE_KV, blocks, 5));
  assert_false(el_pool_take_run(&p, EL_USE_ADAPTER, blocks, 5));
  assert_int_equal(p.count[EL_USE_FREE], 4);
  assert_true(el_pool_take(&p, EL_USE_KV, blocks, 4));
  el_pool_free(&p);
}

static void keys_and_adapters_come_from_opposite_ends(void **state) {
  el_pool p = new_pool(N);
  uint32_t kv[3], adapter[3];
  assert_true(el_pool_take(&p, EL_USE_KV, kv, 3));
  assert_true(el_pool_take(&p, EL_USE_ADAPTER, adapter, 3));
  for (uint32_t i = 0; i < 3; i++) {
    assert_int_equal(kv[i], i);
    assert_int_equal(adapter[i], N - 1 - i);
  }
  el_pool_free(&p);
}

static void a_run_is_consecutive_and_needs_neighbours(void **state) {
  el_pool p = new_pool(N);
  uint32_t all[N], run[N / 2];
  assert_true(el_pool_take(&p, EL_USE_KV, all, N));
  for (uint32_t i = 0; i < N; i += 2) el_pool_give(&p, &i, 1);
  assert_false(
      el_pool_take_run(&p, EL_USE_ADAPTER, run, 2)); /* half of the blocks are free, no two of them neighbours */
  assert_int_equal(p.count[EL_USE_FREE], N / 2);
  el_pool_give(&p, (uint32_t[]){31}, 1);
  assert_true(el_pool_take_run(&p, EL_USE_ADAPTER, run, 3));
  for (uint32_t i = 0; i < 3; i++) assert_int_equal(run[i], 30 + i);
  el_pool_free(&p);
}

/* Bytes of the pool that are in memory. */
static size_t resident(const el_pool *p) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE), n = p->block_bytes * p->n_blocks / page, count = 0;
  unsigned char *there = malloc(n);
  assert_non_null(there);
  assert_int_equal(mincore(p->base, n * page, there), 0);
  for (size_t i = 0; i < n; i++) count += there[i] & 1;
  free(there);
  return count * page;
}

static void memory_is_touched_as_it_is_used_and_can_be_given_back(void **state) {
  enum { MANY = 512 }; /* 32 MiB */
  el_pool p = new_pool(MANY);
  assert_int_equal(resident(&p), 0);
  assert_false(el_pool_holds_idle_memory(&p));
  uint32_t blocks[MANY];
  assert_true(el_pool_take(&p, EL_USE_KV, blocks, MANY));
  p.base[0] = 1;
  assert_true(resident(&p) > 0 && resident(&p) <= 4 << 20); /* a huge page is 2 MiB */
  memset(p.base, 1, (size_t)MANY * BLOCK);
  assert_int_equal(resident(&p), (size_t)MANY * BLOCK);
  assert_false(el_pool_holds_idle_memory(&p));
  el_pool_give(&p, blocks + 64, MANY - 64);
  assert_true(el_pool_holds_idle_memory(&p));
  el_pool_forget(&p);
  assert_int_equal(resident(&p), (size_t)64 * BLOCK); /* what is in use stays as it is */
  for (size_t i = 0; i < (size_t)64 * BLOCK; i += 4099) assert_int_equal(p.base[i], 1);
  assert_false(el_pool_holds_idle_memory(&p));
  assert_true(el_pool_take(&p, EL_USE_KV, blocks, 1));
  el_pool_at(&p, blocks[0])[0] = 1;
  el_pool_free(&p);
}

static void memory_that_was_taken_at_once_is_kept(void **state) {
  enum { MANY = 512 };
  el_pool p = new_pool(MANY);
  el_error err;
  assert_int_equal(el_pool_prefault(&p, &err), EL_OK);
  assert_int_equal(resident(&p), (size_t)MANY * BLOCK);
  for (size_t i = 0; i < (size_t)MANY * BLOCK; i += 4099) assert_int_equal(p.base[i], 0);
  uint32_t blocks[MANY];
  assert_true(el_pool_take(&p, EL_USE_KV, blocks, MANY));
  el_pool_give(&p, blocks, MANY);
  assert_false(el_pool_holds_idle_memory(&p));
  el_pool_free(&p);
}

static void a_pool_beyond_the_address_space_is_refused_with_its_size(void **state) {
  el_pool p = {0};
  el_error err;
  assert_int_equal(el_pool_new((size_t)1 << 40, 1 << 20, &p, &err), EL_ERR_NO_MEMORY);
  assert_contains(err.message, "MiB");
  assert_int_equal(el_pool_new(SIZE_MAX / 2 / 64 * 64, 3, &p, &err), EL_ERR_NO_MEMORY);
  assert_int_equal(el_pool_new(BLOCK, (uint64_t)UINT32_MAX + 1, &p, &err), EL_ERR_NO_MEMORY);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_block_is_handed_out_once),
      cmocka_unit_test(taking_more_than_there_is_takes_nothing),
      cmocka_unit_test(keys_and_adapters_come_from_opposite_ends),
      cmocka_unit_test(a_run_is_consecutive_and_needs_neighbours),
      cmocka_unit_test(memory_is_touched_as_it_is_used_and_can_be_given_back),
      cmocka_unit_test(memory_that_was_taken_at_once_is_kept),
      cmocka_unit_test(a_pool_beyond_the_address_space_is_refused_with_its_size),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
