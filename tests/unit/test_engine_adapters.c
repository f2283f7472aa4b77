/* Adapters that come into memory when they are wanted and leave when the room is: who waits for whom, who gives way,
 * and what is said when something cannot be. On the fake model, in pools of a few blocks of one page each. */
#include "engine_fixture.h"

static el_request with(const char *adapter, int max_tokens) {
  static const int32_t prompt[] = {'a'};
  el_request q = ask(prompt, 1, max_tokens);
  q.adapter.name = adapter;
  q.ignore_eos = true;
  return q;
}

static void run_one(rig *r, const char *adapter, result *out) {
  result_init(out);
  rig_run(r, with(adapter, 5), out);
  assert_int_equal(out->last.done.finish, EL_FINISH_LENGTH);
}

static el_adapter_state state_of(rig *r, const char *name) {
  el_adapter_info *info;
  assert_int_equal(el_adapter_get(r->engine, name, &info, NULL), EL_OK);
  el_adapter_state state = info->state;
  el_free(info);
  return state;
}

static void an_adapter_is_loaded_by_its_first_request_and_stays(void **state) {
  rig r = rig_open_options(rig_options(2, 64, 16), 20);
  result first, again;
  rig_add_rank(&r, "a", 3, 1);
  assert_int_equal(state_of(&r, "a"), EL_ADAPTER_ON_DISK);
  assert_int_equal(rig_stats(&r).pool_blocks_adapters, 0);
  run_one(&r, "a", &first);
  assert_int_equal(state_of(&r, "a"), EL_ADAPTER_RESIDENT);
  run_one(&r, "a", &again);
  assert_memory_equal(first.tokens, again.tokens, 5 * sizeof(int32_t));
  el_stats st = rig_stats(&r);
  assert_int_equal(st.adapter_misses, 1);
  assert_int_equal(st.adapter_hits, 1);
  assert_int_equal(st.adapter_loads, 1);
  assert_int_equal(st.pool_blocks_adapters, 3);
  assert_int_equal(st.pool_blocks_idle, 3);
  assert_int_equal(st.pool_blocks, 20);
  uint64_t loads = 0;
  for (int i = 0; i < EL_LOAD_BUCKETS; i++) loads += st.load_histogram[i];
  assert_int_equal(loads, 1);
  rig_close(&r);
}

static void many_requests_for_a_cold_adapter_share_one_load(void **state) {
  rig r = rig_open(8, 64, 16);
  static result out[20];
  rig_add(&r, "a", 1);
  fake.pack_us = 20000;
  for (int i = 0; i < 20; i++) {
    result_init(&out[i]);
    rig_submit(&r, with("a", 3), &out[i]);
  }
  for (int i = 0; i < 20; i++) {
    result_wait(&out[i]);
    assert_memory_equal(out[i].tokens, out[0].tokens, 3 * sizeof(int32_t));
  }
  assert_int_equal(rig_stats(&r).adapter_loads, 1);
  rig_close(&r);
}

static void more_adapters_than_fit_are_all_served(void **state) {
  rig r = rig_open_options(rig_options(4, 64, 16), 10);
  static result alone[12], out[120];
  char names[12][8];
  for (int i = 0; i < 12; i++) {
    snprintf(names[i], sizeof names[i], "a%d", i);
    rig_add_rank(&r, names[i], 1 + i % 4, (uint64_t)i);
    run_one(&r, names[i], &alone[i]);
    el_stats st = rig_stats(&r);
    assert_true(st.pool_blocks_adapters <= 10);
  }
  for (int i = 0; i < 120; i++) {
    result_init(&out[i]);
    rig_submit(&r, with(names[i * 7 % 12], 5), &out[i]);
  }
  for (int i = 0; i < 120; i++) {
    result_wait(&out[i]);
    assert_memory_equal(out[i].tokens, alone[i * 7 % 12].tokens, 5 * sizeof(int32_t));
  }
  el_stats st = rig_stats(&r);
  assert_true(st.adapter_evictions > 0);
  assert_int_equal(st.adapters, 12);
  assert_true(st.adapters_resident < 12);
  rig_close(&r);
}

/* --- order */

typedef struct order {
  atomic_int *clock;
  int at;
} order;

static void note_first(result *r, const el_event *e) {
  order *o = r->context;
  if (e->type == EL_EVENT_TOKEN && r->n == 1) o->at = atomic_fetch_add(o->clock, 1) + 1;
}

static void requests_behind_one_that_loads_go_first_but_not_for_ever(void **state) {
  enum { N = 200 };
  static result cold, warm[N];
  static order at[N + 1];
  atomic_int clock = 0;
  rig r = rig_open(2, 64, 16);
  rig_add(&r, "slow", 1);
  fake.pack_waits = true;
  result_init(&cold);
  at[N].clock = &clock;
  cold.hook = note_first;
  cold.context = &at[N];
  rig_submit(&r, with("slow", 1), &cold);
  for (int i = 0; i < N; i++) {
    result_init(&warm[i]);
    at[i].clock = &clock;
    warm[i].hook = note_first;
    warm[i].context = &at[i];
    rig_submit(&r, with(NULL, 1), &warm[i]);
  }
  while (clock < EL_MAX_OVERTAKEN) usleep(500);
  el_request_info *list;
  size_t n;
  assert_int_equal(el_request_list(r.engine, &list, &n, NULL), EL_OK);
  assert_true(n >= N - EL_MAX_OVERTAKEN);
  assert_string_equal(list[0].adapter, "slow");
  assert_int_equal(list[0].phase, EL_PHASE_LOADING);
  assert_int_equal(list[0].overtaken, EL_MAX_OVERTAKEN);
  assert_string_equal(list[1].adapter, "");
  assert_int_equal(list[1].phase, EL_PHASE_QUEUED);
  el_free(list);
  fake.pack_waits = false;
  result_wait(&cold);
  for (int i = 0; i < N; i++) result_wait(&warm[i]);
  assert_int_equal(at[N].at, EL_MAX_OVERTAKEN + 1);
  for (int i = 0; i < EL_MAX_OVERTAKEN; i++) assert_true(at[i].at < at[N].at); /* in order themselves */
  rig_close(&r);
}

static void steps_go_on_while_an_adapter_is_loaded(void **state) {
  rig r = rig_open(4, 512, 16);
  static result busy, cold;
  rig_add(&r, "a", 1);
  fake.pack_us = 100000;
  fake.step_us = 1000;
  result_init(&busy), result_init(&cold);
  rig_submit(&r, with(NULL, 400), &busy);
  result_wait_tokens(&busy, 2);
  rig_submit(&r, with("a", 1), &cold);
  pthread_mutex_lock(&busy.mutex);
  int before = busy.n;
  pthread_mutex_unlock(&busy.mutex);
  result_wait(&cold);
  pthread_mutex_lock(&busy.mutex);
  int during = busy.n - before;
  pthread_mutex_unlock(&busy.mutex);
  assert_true(during > 10);
  result_wait(&busy);
  rig_close(&r);
}

/* --- room */

static void idle_adapters_give_way_to_pages(void **state) {
  rig r = rig_open_options(rig_options(2, 128, 16), 12);
  static result out, longest;
  char name[2] = "a";
  for (int i = 0; i < 10; i++, name[0]++) {
    rig_add(&r, name, (uint64_t)i);
    run_one(&r, name, &out);
  }
  assert_int_equal(rig_stats(&r).adapters_resident, 10);
  result_init(&longest);
  rig_run(&r, with(NULL, 127), &longest); /* 8 pages */
  el_stats st = rig_stats(&r);
  assert_int_equal(longest.n, 127);
  assert_int_equal(st.adapters_resident, 4);
  assert_int_equal(st.adapter_evictions, 6);
  assert_int_equal(st.preemptions, 0);
  rig_close(&r);
}

static void a_request_waits_rather_than_drive_out_an_adapter_in_use(void **state) {
  rig r = rig_open_options(rig_options(4, 64, 16), 8);
  static result first, second;
  rig_add_rank(&r, "a", 6, 1);
  rig_add_rank(&r, "b", 6, 2);
  fake.step_us = 500;
  result_init(&first), result_init(&second);
  rig_submit(&r, with("a", 20), &first);
  result_wait_tokens(&first, 1);
  rig_submit(&r, with("b", 1), &second);
  result_wait(&second);
  assert_int_equal(first.n_done, 1);
  el_stats st = rig_stats(&r);
  assert_int_equal(st.adapter_loads, 2);
  assert_int_equal(st.adapter_evictions, 1);
  rig_close(&r);
}

static void what_can_never_fit_is_refused_at_once_with_the_figure(void **state) {
  rig r = rig_open_options(rig_options(4, 128, 16), 10);
  el_error err;
  assert_int_equal(el_adapter_add_random(r.engine, "huge", 10, 1, &err), EL_ERR_TOO_LARGE);
  assert_contains(err.message, "huge");
  assert_contains(err.message, "MiB");
  rig_add_rank(&r, "big", 6, 1);
  el_request q = with("big", 64); /* 65 tokens take 5 pages, and 6 blocks are the adapter's */
  assert_int_equal(el_submit(r.engine, &q, NULL, &err), EL_ERR_TOO_LONG);
  assert_contains(err.message, "65 tokens");
  assert_contains(err.message, "memory for 64");
  static result out;
  result_init(&out);
  rig_run(&r, with("big", 63), &out);
  assert_int_equal(out.n, 63);
  rig_close(&r);
}

static void pages_leave_room_for_one_adapter(void **state) {
  el_engine_options o = rig_options(4, 64, 16);
  rig r;
  el_error err;
  fake_write_model(r.dir, r.path);
  o.model_path = r.path;
  if (el_engine_open_pool(&o, (el_pool_setup){.n_blocks = 10, .pages_per_block = 1, .reserve = 4}, &r.engine, &err))
    fail_msg("%s", err.message);
  static result base[4], adapted;
  rig_add_rank(&r, "a", 4, 1);
  fake.step_us = 500;
  for (int i = 0; i < 4; i++) {
    result_init(&base[i]);
    rig_submit(&r, with(NULL, 60), &base[i]); /* 4 pages each, for 6 that there are */
  }
  result_wait_tokens(&base[0], 5);
  assert_int_equal(rig_stats(&r).kv_pages, 6);
  result_init(&adapted);
  rig_run(&r, with("a", 1), &adapted);
  assert_int_equal(adapted.n, 1);
  for (int i = 0; i < 4; i++) {
    result_wait(&base[i]);
    assert_int_equal(base[i].n, 60);
  }
  el_stats st = rig_stats(&r);
  assert_int_equal(st.kv_pages_used, 0);
  assert_int_equal(st.pool_blocks_kv, st.kv_pages_cached); /* that many blocks: they are one page each */
  rig_close(&r);
}

/* Two sequences of each of three adapters, and two of the base. */
static void a_step_has_as_many_adapters_as_it_may(void **state) {
  static const char *const names[] = {"a", "b", "c", NULL};
  static result free_of_limits[8], out[8];
  for (int limit = 0; limit <= 3; limit++) {
    el_engine_options o = rig_options(8, 64, 16);
    o.step_adapters = limit;
    rig r = rig_open_options(o, 0);
    for (int i = 0; i < 3; i++) {
      result first;
      rig_add(&r, names[i], (uint64_t)i);
      run_one(&r, names[i], &first);
    }
    fake_take_counts();
    fake_hold();
    for (int i = 0; i < 8; i++) {
      result_init(&out[i]);
      rig_submit(&r, with(names[i % 4], 20 + i), &out[i]);
    }
    fake_release();
    for (int i = 0; i < 8; i++) {
      result_wait(&out[i]);
      assert_int_equal(out[i].n, 20 + i);
      if (limit) assert_memory_equal(out[i].tokens, free_of_limits[i].tokens, (size_t)out[i].n * sizeof(int32_t));
    }
    assert_int_equal(fake_take_counts().max_adapters, limit ? limit : 4);
    if (!limit) memcpy(free_of_limits, out, sizeof out);
    rig_close(&r);
  }
}

static void without_a_policy_what_nobody_wants_leaves(void **state) {
  el_engine_options o = rig_options(2, 64, 16);
  o.cache_policy = "none";
  rig r = rig_open_options(o, 20);
  result first, again;
  rig_add_rank(&r, "a", 3, 1);
  run_one(&r, "a", &first);
  while (rig_stats(&r).pool_blocks_adapters) usleep(200);
  assert_int_equal(state_of(&r, "a"), EL_ADAPTER_ON_DISK);
  run_one(&r, "a", &again);
  assert_memory_equal(first.tokens, again.tokens, 5 * sizeof(int32_t));
  while (rig_stats(&r).pool_blocks_adapters) usleep(200);
  el_stats st = rig_stats(&r);
  assert_int_equal(st.adapter_loads, 2);
  assert_int_equal(st.adapter_hits, 0);
  assert_int_equal(st.adapter_evictions, 2);
  rig_close(&r);
}

static void options_for_memory_are_checked(void **state) {
  char dir[64], path[128];
  fake_write_model(dir, path);
  el_engine *e = NULL;
  el_error err;
  el_engine_options o = rig_options(2, 64, 16);
  o.model_path = path;
  o.cache_policy = "random";
  assert_int_equal(el_engine_open(&o, &e, &err), EL_ERR_INVALID);
  assert_contains(err.message, "cache_policy: 'random'");
  assert_contains(err.message, "lru");
  o.cache_policy = "lru";
  o.adapter_type = "f32";
  assert_int_equal(el_engine_open(&o, &e, &err), EL_ERR_INVALID);
  assert_contains(err.message, "adapter_type: 'f32' is none of q8, f16, q4");
  o.adapter_type = "q4";
  o.memory_bytes = 1 << 20;
  assert_int_equal(el_engine_open(&o, &e, &err), EL_ERR_INVALID);
  assert_contains(err.message, "memory: 1.0 MiB");
  o.memory_bytes = (uint64_t)20 << 20;
  assert_int_equal(el_engine_open(&o, &e, &err), EL_OK);
  el_model_info info;
  el_engine_info(e, &info);
  assert_true(info.pool_bytes <= o.memory_bytes && info.pool_bytes > o.memory_bytes - info.block_bytes);
  el_engine_close(e);
  o.memory_bytes = UINT64_MAX;
  assert_int_equal(el_engine_open(&o, &e, &err), EL_ERR_INVALID);
  o.prefault = true;
  o.memory_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) * 2;
  if (o.memory_bytes < (uint64_t)256 << 30) { /* a larger one is refused as it has too many pages */
    assert_int_equal(el_engine_open(&o, &e, &err), EL_ERR_NO_MEMORY);
    assert_contains(err.message, "prefault: the pool of ");
    assert_contains(err.message, " MiB that are free");
  }
  o.memory_bytes = (uint64_t)20 << 20;
  assert_int_equal(el_engine_open(&o, &e, &err), EL_OK);
  el_engine_close(e);
  remove_tree(dir);
}

/* --- generations */

static el_adapter_info info_of(rig *r, const char *name) {
  el_adapter_info *info, copy;
  assert_int_equal(el_adapter_get(r->engine, name, &info, NULL), EL_OK);
  copy = *info;
  copy.name = copy.path = copy.failure = copy.failure_detail = NULL;
  el_free(info);
  return copy;
}

static el_status offer(rig *r, const char *folder, bool in_place, uint64_t expected, el_error *err) {
  char path[160];
  snprintf(path, sizeof path, "%s/%s", r->dir, folder);
  const el_adapter_put_options how = {.in_place = in_place, .expected = expected};
  return el_adapter_put(r->engine, "x", path, &how, NULL, err);
}

static void an_adapter_that_is_replaced_answers_from_its_new_files_alone(void **state) {
  rig r = rig_open_options(rig_options(2, 64, 16), 20);
  static result running, first, after, again, fresh;
  el_error err;
  static const int32_t prompt[20] = {'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i',
                                     'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q'};
  put_fake_peft(r.dir, "old", 1);
  put_fake_peft(r.dir, "new", 2);
  el_request q = ask(prompt, 17, 5);
  q.adapter.name = "x";
  q.ignore_eos = true;
  assert_int_equal(offer(&r, "old", false, 0, &err), EL_OK);
  result_init(&first), rig_run(&r, q, &first);
  el_adapter_info old = info_of(&r, "x");
  q.max_tokens = 40;
  fake.step_us = 2000;
  result_init(&running), rig_submit(&r, q, &running);
  result_wait_tokens(&running, 1);
  assert_int_equal(offer(&r, "new", true, EL_ANY_GENERATION, &err), EL_OK);
  q.max_tokens = 5;
  result_init(&after), rig_run(&r, q, &after);
  assert_int_equal(after.last.done.cached_tokens, 0); /* the old one's keys and values are not its own */
  result_wait(&running);
  assert_int_equal(running.n, 40);
  assert_memory_equal(running.tokens, first.tokens, 5 * sizeof(int32_t));
  result_init(&again), rig_run(&r, q, &again);
  assert_int_equal(again.last.done.cached_tokens, EL_PAGE_TOKENS);
  assert_memory_equal(again.tokens, after.tokens, 5 * sizeof(int32_t));
  assert_memory_not_equal(after.tokens, first.tokens, 5 * sizeof(int32_t));
  char path[160];
  snprintf(path, sizeof path, "%s/new", r.dir);
  assert_int_equal(el_adapter_add(r.engine, "y", path, &err), EL_OK);
  q.adapter.name = "y";
  result_init(&fresh), rig_run(&r, q, &fresh);
  assert_memory_equal(fresh.tokens, after.tokens, 5 * sizeof(int32_t));
  el_adapter_info now = info_of(&r, "x");
  assert_true(now.generation > old.generation);
  assert_int_equal(now.id, old.id);
  assert_int_equal(now.requests, 4); /* all of them, whichever files they had */
  assert_int_equal(now.generated_tokens, 5 + 40 + 5 + 5);
  assert_int_equal(now.prompt_tokens, 4 * 17);
  assert_int_equal(now.loads, 2);
  assert_int_equal(now.hits, 2);
  assert_true(now.last_used > 0);
  rig_close(&r);
}

static void a_generation_that_is_not_the_expected_one_changes_nothing(void **state) {
  rig r = rig_open(2, 64, 16);
  el_error err;
  put_fake_peft(r.dir, "old", 1);
  put_fake_peft(r.dir, "new", 2);
  assert_int_equal(offer(&r, "old", false, 7, &err), EL_ERR_CONFLICT);
  assert_contains(err.message, "adapter x: there is none, and generation 7 was expected");
  assert_int_equal(offer(&r, "old", true, 0, &err), EL_OK); /* none is expected, and there is none */
  uint64_t first = info_of(&r, "x").generation;
  assert_int_equal(offer(&r, "new", true, 0, &err), EL_ERR_CONFLICT);
  assert_int_equal(offer(&r, "new", true, first + 1, &err), EL_ERR_CONFLICT);
  assert_int_equal(offer(&r, "new", false, first, &err), EL_ERR_EXISTS);
  assert_int_equal(offer(&r, "nothing", true, first, &err), EL_ERR_IO);
  assert_int_equal(info_of(&r, "x").generation, first);
  assert_int_equal(offer(&r, "new", true, first, &err), EL_OK);
  assert_true(info_of(&r, "x").generation > first);
  assert_int_equal(el_adapter_remove_expected(r.engine, "x", first, &err), EL_ERR_CONFLICT);
  uint64_t second = info_of(&r, "x").generation;
  assert_int_equal(el_adapter_remove_expected(r.engine, "x", second, &err), EL_OK);
  assert_int_equal(el_adapter_remove_expected(r.engine, "x", second, &err), EL_ERR_NOT_FOUND);
  assert_int_equal(offer(&r, "new", false, 0, &err), EL_OK);
  assert_true(info_of(&r, "x").generation > second); /* the same files, another adapter */
  rig_close(&r);
}

static void why_a_load_failed_is_known_until_the_files_are_others(void **state) {
  rig r = rig_open(2, 64, 16);
  el_adapter_info *info;
  char path[160];
  result out;
  put_fake_peft(r.dir, "bad", 1);
  assert_int_equal(offer(&r, "bad", false, 0, NULL), EL_OK);
  snprintf(path, sizeof path, "%s/bad/adapter_model.safetensors", r.dir);
  assert_int_equal(truncate(path, 40), 0);
  result_init(&out);
  rig_run(&r, with("x", 5), &out);
  assert_int_equal(out.last.done.finish, EL_FINISH_ERROR);
  assert_int_equal(el_adapter_get(r.engine, "x", &info, NULL), EL_OK);
  assert_int_equal(info->state, EL_ADAPTER_FAILED);
  assert_contains(info->failure, "adapter_model.safetensors");
  assert_null(strstr(info->failure_detail, r.dir));
  assert_true(info->failed_at > 0);
  assert_int_equal(info->loads_failed, 1);
  el_free(info);
  put_fake_peft(r.dir, "good", 2);
  assert_int_equal(offer(&r, "good", true, EL_ANY_GENERATION, NULL), EL_OK);
  assert_int_equal(el_adapter_get(r.engine, "x", &info, NULL), EL_OK);
  assert_null(info->failure);
  el_free(info);
  run_one(&r, "x", &out);
  rig_close(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_adapter_is_loaded_by_its_first_request_and_stays),
      cmocka_unit_test(many_requests_for_a_cold_adapter_share_one_load),
      cmocka_unit_test(more_adapters_than_fit_are_all_served),
      cmocka_unit_test(requests_behind_one_that_loads_go_first_but_not_for_ever),
      cmocka_unit_test(steps_go_on_while_an_adapter_is_loaded),
      cmocka_unit_test(idle_adapters_give_way_to_pages),
      cmocka_unit_test(a_request_waits_rather_than_drive_out_an_adapter_in_use),
      cmocka_unit_test(what_can_never_fit_is_refused_at_once_with_the_figure),
      cmocka_unit_test(pages_leave_room_for_one_adapter),
      cmocka_unit_test(a_step_has_as_many_adapters_as_it_may),
      cmocka_unit_test(without_a_policy_what_nobody_wants_leaves),
      cmocka_unit_test(options_for_memory_are_checked),
      cmocka_unit_test(an_adapter_that_is_replaced_answers_from_its_new_files_alone),
      cmocka_unit_test(a_generation_that_is_not_the_expected_one_changes_nothing),
      cmocka_unit_test(why_a_load_failed_is_known_until_the_files_are_others),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
