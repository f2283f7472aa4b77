/* Pages out of blocks: none is handed out twice, blocks come from the pool and go back to it. */
#include "bytes.h"
#include "engine/kv_layout.h"
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

/* Pages of both kinds fill blocks of about the size that is aimed at, at distances that leave them aligned. */
static void two_kinds_of_pages_leave_little_of_a_block(void **state) {
  enum { AIM = 512 << 10, KIB = 1 << 10 };
  static const struct {
    el_kv_shape shape;
    double most_wasted;                              /* of a block, by the worse kind */
  } cases[] = {{{48 * KIB, 240 * KIB, 512}, 0},      /* Gemma 3 270M */
               {{64 * KIB, 352 * KIB, 512}, 0.1},    /* 1B */
               {{320 * KIB, 1856 * KIB, 1024}, 0.1}, /* 4B */
               {{1280 * KIB, 6656 * KIB, 1024}, 0.1},
               {{384 * KIB, 384 * KIB, 128}, 0}, /* gpt-oss 20B */
               {{26112, 130560, 512}, 0.05},     /* 270M with 8-bit codes */
               {{64, 128, 1}, 0.02},
               {{192, 64, 4096}, 0.02},
               {{3 << 20, 64, 20}, 0.02}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const el_kv_shape *s = &cases[i].shape;
    const el_kv_layout l = el_kv_layout_new(s, AIM, 128);
    const size_t larger = s->full_bytes > s->windowed_bytes ? s->full_bytes : s->windowed_bytes;
    assert_true(l.block_bytes >= (larger < AIM ? AIM / 2 : larger));
    assert_true(l.block_bytes <= 2 * (larger > AIM ? larger : AIM));
    assert_int_equal(l.block_bytes % (l.per_block * 64), 0);
    assert_int_equal(l.block_bytes % (l.windowed_per_block * 64), 0);
    assert_true((double)(l.per_block * s->full_bytes) >= (1 - cases[i].most_wasted) * (double)l.block_bytes);
    assert_true((double)(l.windowed_per_block * s->windowed_bytes) >=
                (1 - cases[i].most_wasted) * (double)l.block_bytes);
    assert_true(l.block_bytes / l.per_block >= s->full_bytes);
    assert_true(l.block_bytes / l.windowed_per_block >= s->windowed_bytes);
  }
}

static void one_kind_of_pages_has_blocks_as_before(void **state) {
  const el_kv_shape small = {.full_bytes = 5760}, large = {.full_bytes = 600 << 10};
  el_kv_layout l = el_kv_layout_new(&small, 512 << 10, 128);
  assert_int_equal(l.per_block, 91);
  assert_int_equal(l.block_bytes, 91 * 5760);
  assert_int_equal(l.windowed_per_block + l.most_windowed, 0);
  assert_int_equal(el_kv_layout_blocks(&l, 92), 2);
  assert_int_equal(el_kv_layout_most(&l, 2), 182);
  assert_int_equal(el_kv_layout_new(&large, 512 << 10, 128).per_block, 1);
}

/* From any position on, a step's rows find all that they read and write in so many pages; and some step needs them. */
static void a_sequence_has_windowed_pages_for_any_step(void **state) {
  static const int windows[] = {1, 2, 5, 15, 16, 17, 31, 40, 100}, rows[] = {1, 2, 8, 16, 17, 40};
  for (int i = 0; i < 9; i++)
    for (int k = 0; k < 6; k++) {
      const el_kv_shape s = {64, 64, windows[i]};
      const el_kv_layout l = el_kv_layout_new(&s, 4096, rows[k]);
      int most = 0;
      for (int pos = 0; pos < 300; pos++) {
        const int n = (pos + rows[k] - 1) / EL_PAGE_TOKENS + 1 - el_window_begin(pos, windows[i]);
        if (n > most) most = n;
      }
      assert_int_equal(l.most_windowed, most);
      for (uint64_t blocks = 0; blocks < 40; blocks++) {
        const uint64_t pages = el_kv_layout_most(&l, blocks);
        assert_true(el_kv_layout_blocks(&l, pages) <= blocks && el_kv_layout_blocks(&l, pages + 1) > blocks);
      }
    }
}

static void pages_of_two_kinds_share_no_block(void **state) {
  rig r;
  el_kv_pages other;
  el_error err;
  uint32_t a[N], b[N];
  open_rig(&r, 6);
  if (el_kv_pages_new(&r.pool, PAGE * PER_BLOCK / 2, 6, &other, &err)) fail_msg("%s", err.message);
  assert_true(el_kv_pages_take(&r.kv, a, PER_BLOCK + 1));
  assert_true(el_kv_pages_take(&other, b, 3));
  assert_int_equal(r.pool.count[EL_USE_KV], 4);
  memset(r.pool.base + a[0] * r.kv.page_bytes, 1, r.kv.page_bytes);
  for (int i = 0; i < PER_BLOCK + 1; i++)
    for (int k = 0; k < 3; k++) assert_true(a[i] / PER_BLOCK != b[k] / 2);
  /* The limit is of both together. */
  assert_int_equal(el_kv_pages_need(&other, 5), 2);
  assert_int_equal(el_kv_pages_need(&other, 6), UINT32_MAX);
  assert_int_equal(el_kv_pages_need(&r.kv, 3 * PER_BLOCK), UINT32_MAX);
  /* An idle page leaves its block to its own kind; a block of idle ones is anybody's. */
  el_kv_pages_mark(&other, b[0], true);
  assert_int_equal(el_kv_pages_need_at_last(&other, 2), 0);
  assert_int_equal(el_kv_pages_need_at_last(&other, 3), 1);
  el_kv_pages_mark(&other, b[1], true);
  assert_int_equal(other.n_idle_blocks, 1);
  assert_int_equal(el_kv_pages_need_at_last(&other, 2), 1);
  el_kv_pages_give(&r.kv, a, PER_BLOCK + 1);
  assert_int_equal(r.pool.count[EL_USE_KV], 2);
  el_kv_pages_free(&other);
  close_rig(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_page_is_handed_out_once),
      cmocka_unit_test(taking_more_than_there_is_takes_nothing),
      cmocka_unit_test(pages_that_came_back_are_taken_first),
      cmocka_unit_test(too_many_pages_to_number_are_refused),
      cmocka_unit_test(two_kinds_of_pages_leave_little_of_a_block),
      cmocka_unit_test(one_kind_of_pages_has_blocks_as_before),
      cmocka_unit_test(a_sequence_has_windowed_pages_for_any_step),
      cmocka_unit_test(pages_of_two_kinds_share_no_block),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
