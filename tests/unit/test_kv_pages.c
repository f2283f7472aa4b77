/* The KV arena: no page is handed out twice, and its memory goes back to the system. */
#include <sys/mman.h>

#include "bytes.h"
#include "engine/kv_pages.h"

enum { PAGE = 65536, N = 64 };

static el_kv_pages new_pages(uint64_t n) {
  el_kv_pages kv = {0};
  el_error err;
  if (el_kv_pages_new(PAGE, n, &kv, &err)) fail_msg("%s", err.message);
  return kv;
}

static void every_page_is_handed_out_once(void **state) {
  el_kv_pages kv = new_pages(N);
  uint32_t pages[N];
  bool seen[N] = {false};
  for (int i = 0; i < N; i++) {
    assert_true(el_kv_pages_take(&kv, &pages[i], 1));
    assert_true(pages[i] < N && !seen[pages[i]]);
    seen[pages[i]] = true;
    memset(kv.base + (size_t)pages[i] * PAGE, i, PAGE);
  }
  uint32_t more = 12345;
  assert_false(el_kv_pages_take(&kv, &more, 1));
  assert_int_equal(more, 12345);
  for (int i = 0; i < N; i++)
    for (int j = 0; j < PAGE; j += 997) assert_int_equal(kv.base[(size_t)pages[i] * PAGE + (size_t)j], i);
  el_kv_pages_give(&kv, pages, N);
  assert_int_equal(kv.n_free, N);
  el_kv_pages_free(&kv);
}

static void taking_more_than_there_is_takes_nothing(void **state) {
  el_kv_pages kv = new_pages(4);
  uint32_t pages[5];
  assert_false(el_kv_pages_take(&kv, pages, 5));
  assert_int_equal(kv.n_free, 4);
  assert_true(el_kv_pages_take(&kv, pages, 4));
  el_kv_pages_free(&kv);
}

static void pages_that_came_back_are_taken_first(void **state) {
  el_kv_pages kv = new_pages(N);
  uint32_t pages[8], again[8];
  assert_true(el_kv_pages_take(&kv, pages, 8));
  el_kv_pages_give(&kv, pages, 8);
  assert_true(el_kv_pages_take(&kv, again, 8));
  assert_memory_equal(pages, again, sizeof pages);
  el_kv_pages_free(&kv);
}

/* Bytes of the arena that are in memory. */
static size_t resident(const el_kv_pages *kv) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE), n = kv->page_bytes * kv->n_pages / page, count = 0;
  unsigned char *there = malloc(n);
  assert_non_null(there);
  assert_int_equal(mincore(kv->base, n * page, there), 0);
  for (size_t i = 0; i < n; i++) count += there[i] & 1;
  free(there);
  return count * page;
}

static void memory_is_touched_as_it_is_used_and_can_be_given_back(void **state) {
  enum { MANY = 512 }; /* 32 MiB */
  el_kv_pages kv = new_pages(MANY);
  assert_int_equal(resident(&kv), 0);
  uint32_t pages[MANY];
  assert_true(el_kv_pages_take(&kv, pages, MANY));
  kv.base[0] = 1;
  assert_true(resident(&kv) > 0 && resident(&kv) <= 4 << 20); /* a huge page is 2 MiB */
  memset(kv.base, 1, (size_t)MANY * PAGE);
  assert_int_equal(resident(&kv), (size_t)MANY * PAGE);
  el_kv_pages_give(&kv, pages, MANY);
  el_kv_pages_forget(&kv);
  assert_int_equal(resident(&kv), 0);
  assert_true(el_kv_pages_take(&kv, pages, 1));
  kv.base[(size_t)pages[0] * PAGE] = 1;
  el_kv_pages_free(&kv);
}

static void an_arena_beyond_the_address_space_is_refused_with_its_size(void **state) {
  el_kv_pages kv = {0};
  el_error err;
  assert_int_equal(el_kv_pages_new((size_t)1 << 40, 1 << 20, &kv, &err), EL_ERR_NO_MEMORY);
  assert_contains(err.message, "MiB");
  assert_int_equal(el_kv_pages_new(SIZE_MAX / 2, 3, &kv, &err), EL_ERR_NO_MEMORY);
  assert_int_equal(el_kv_pages_new(PAGE, (uint64_t)UINT32_MAX + 1, &kv, &err), EL_ERR_NO_MEMORY);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_page_is_handed_out_once),
      cmocka_unit_test(taking_more_than_there_is_takes_nothing),
      cmocka_unit_test(pages_that_came_back_are_taken_first),
      cmocka_unit_test(memory_is_touched_as_it_is_used_and_can_be_given_back),
      cmocka_unit_test(an_arena_beyond_the_address_space_is_refused_with_its_size),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
