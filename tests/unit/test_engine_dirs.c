/* Folders of adapters: what they hold is offered without being read, what comes, changes and goes is noticed, and what
 * has been learnt is there at the next start. On the fake model, with real files. */
#include "engine_fixture.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/inotify.h>

enum { WAIT_MS = 5000 };

/* The system refuses watches of what has this in its path, as when there are as many as it grants. */
static const char *_Atomic unwatchable;
int __real_inotify_add_watch(int fd, const char *path, uint32_t mask);
int __wrap_inotify_add_watch(int fd, const char *path, uint32_t mask);
int __wrap_inotify_add_watch(int fd, const char *path, uint32_t mask) {
  const char *part = atomic_load(&unwatchable);
  if (!part || !strstr(path, part)) return __real_inotify_add_watch(fd, path, mask);
  errno = ENOSPC;
  return -1;
}

static int slow_ms, max_watches; /* of the next engine; 0: as always */
static atomic_int n_unwatched;   /* lines of the log about it */

static void count_lines(void *user, el_log_level level, const char *line) {
  if (strstr(line, "cannot be watched")) atomic_fetch_add(&n_unwatched, 1);
}

static rig open_with(const char *dir, const char *cache_dir) {
  el_engine_options o = rig_options(2, 64, 16);
  o.cache_dir = cache_dir;
  o.log = count_lines;
  rig r = rig_open_options(o, 20);
  el_error err;
  if (slow_ms) r.engine->upkeep.slow_ms = slow_ms;
  if (max_watches) r.engine->upkeep.max_watches = max_watches;
  if (el_adapter_add_dir(r.engine, dir, NULL, NULL, &err)) fail_msg("%s", err.message);
  return r;
}

static el_status ask_adapter(rig *r, const char *name, result *out) {
  static const int32_t prompt[] = {'a'};
  el_request q = ask(prompt, 1, 5);
  q.adapter.name = name;
  q.ignore_eos = true;
  q.on_event = result_on_event;
  q.user = out;
  result_init(out);
  out->engine = r->engine;
  el_status status = el_submit(r->engine, &q, NULL, NULL);
  if (!status) result_wait(out);
  return status;
}

static void assert_answers(rig *r, const char *name, result *out) {
  assert_int_equal(ask_adapter(r, name, out), EL_OK);
  if (out->last.done.finish == EL_FINISH_ERROR) fail_msg("%s", out->last.done.error.message);
  assert_int_equal(out->n, 5);
}

static bool offered(rig *r, const char *name) {
  el_adapter_info *info;
  if (el_adapter_get(r->engine, name, &info, NULL)) return false;
  el_free(info);
  return true;
}

static void wait_until_offered(rig *r, const char *name, bool wanted) {
  for (int ms = 0; ms < WAIT_MS; ms += 5) {
    if (offered(r, name) == wanted) return;
    usleep(5000);
  }
  fail_msg("%s is still %s", name, wanted ? "not offered" : "offered");
}

static void folders_are_offered_by_name_nested_ones_too(void **state) {
  char dir[64], path[128];
  result out, other;
  make_dir(dir);
  put_fake_peft(dir, "one", 1);
  snprintf(path, sizeof path, "%s/tenant", dir);
  mkdir(path, 0700);
  put_fake_peft(path, "one", 2);
  rig r = open_with(dir, NULL);
  assert_int_equal(rig_stats(&r).adapters, 2);
  assert_int_equal(rig_stats(&r).adapters_resident, 0);
  assert_answers(&r, "one", &out);
  assert_answers(&r, "tenant/one", &other);
  assert_memory_not_equal(out.tokens, other.tokens, 5 * sizeof(int32_t));
  static const char *const tricks[] = {"../one", "tenant/../one", "/one", "one/", "./one", "tenant"};
  for (size_t i = 0; i < sizeof tricks / sizeof *tricks; i++)
    assert_int_equal(ask_adapter(&r, tricks[i], &out), EL_ERR_NOT_FOUND);
  rig_close(&r);
  remove_tree(dir);
}

static void what_comes_and_goes_is_noticed(void **state) {
  char dir[64], path[128], command[256];
  result before, after;
  make_dir(dir);
  put_fake_peft(dir, "stays", 1);
  rig r = open_with(dir, NULL);
  put_fake_peft(dir, "new", 2);
  wait_until_offered(&r, "new", true);
  assert_answers(&r, "new", &before);
  snprintf(path, sizeof path, "%s/tenant", dir);
  mkdir(path, 0700);
  put_fake_peft(path, "later", 3);
  wait_until_offered(&r, "tenant/later", true);
  snprintf(command, sizeof command, "rm -r '%s/new'", dir);
  assert_int_equal(system(command), 0);
  wait_until_offered(&r, "new", false);
  assert_true(offered(&r, "stays"));
  while (rig_stats(&r).adapters_resident) usleep(1000); /* nobody uses it: its memory goes at once */
  put_fake_peft(dir, "new", 4);
  wait_until_offered(&r, "new", true);
  assert_answers(&r, "new", &after);
  assert_memory_not_equal(before.tokens, after.tokens, 5 * sizeof(int32_t));
  rig_close(&r);
  remove_tree(dir);
}

static void a_changed_file_is_loaded_anew_and_running_requests_finish_with_the_old_one(void **state) {
  char dir[64];
  result first, changed;
  static result running;
  static const int32_t prompt[] = {'a'};
  make_dir(dir);
  put_fake_peft(dir, "a", 1);
  rig r = open_with(dir, NULL);
  assert_answers(&r, "a", &first);
  el_request q = ask(prompt, 1, 40);
  q.adapter.name = "a";
  q.ignore_eos = true;
  fake.step_us = 2000;
  result_init(&running);
  rig_submit(&r, q, &running);
  result_wait_tokens(&running, 1);
  put_fake_peft(dir, "a", 2);
  el_rescan_result scan;
  assert_int_equal(el_adapter_rescan(r.engine, &scan, NULL), EL_OK);
  assert_true(scan.n_changed <= 1 && scan.n_added == 0 && scan.n_removed == 0); /* 0: it had been noticed */
  assert_answers(&r, "a", &changed);
  result_wait(&running);
  assert_int_equal(running.n, 40);
  assert_memory_equal(running.tokens, first.tokens, 5 * sizeof(int32_t));
  assert_memory_not_equal(changed.tokens, first.tokens, 5 * sizeof(int32_t));
  rig_close(&r);
  remove_tree(dir);
}

static void a_broken_adapter_fails_its_own_requests_until_it_is_mended(void **state) {
  char dir[64], path[128];
  result out;
  make_dir(dir);
  put_fake_peft(dir, "good", 1);
  put_fake_peft(dir, "bad", 2);
  snprintf(path, sizeof path, "%s/bad/adapter_model.safetensors", dir);
  assert_int_equal(truncate(path, 100), 0);
  rig r = open_with(dir, NULL);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(ask_adapter(&r, "bad", &out), EL_OK);
    assert_int_equal(out.last.done.finish, EL_FINISH_ERROR);
    assert_int_equal(out.last.done.error.code, EL_ERR_FORMAT);
    assert_contains(out.last.done.error.message, "bad/adapter_model.safetensors");
    assert_answers(&r, "good", &out);
  }
  el_adapter_info *info;
  assert_int_equal(el_adapter_get(r.engine, "bad", &info, NULL), EL_OK);
  assert_int_equal(info->state, EL_ADAPTER_FAILED);
  el_free(info);
  put_fake_peft(dir, "bad", 2);
  assert_answers(&r, "bad", &out);
  el_stats st = rig_stats(&r);
  assert_int_equal(st.adapter_loads_failed, 2);
  assert_int_equal(st.requests_failed, 2);
  rig_close(&r);
  remove_tree(dir);
}

static void the_first_directory_keeps_a_name(void **state) {
  char one[64], two[64];
  el_error err;
  size_t added, failed;
  make_dir(one), make_dir(two);
  put_fake_peft(one, "a", 1), put_fake_peft(two, "a", 2), put_fake_peft(two, "b", 3);
  rig r = open_with(one, NULL);
  assert_int_equal(el_adapter_add_dir(r.engine, two, &added, &failed, &err), EL_OK);
  assert_int_equal(added, 1);
  assert_int_equal(failed, 1);
  el_adapter_info *info;
  assert_int_equal(el_adapter_get(r.engine, "a", &info, NULL), EL_OK);
  assert_contains(info->path, one);
  el_free(info);
  rig_close(&r);
  remove_tree(one), remove_tree(two);
}

static int rank_of(rig *r, const char *name) {
  el_adapter_info *info;
  assert_int_equal(el_adapter_get(r->engine, name, &info, NULL), EL_OK);
  int rank = info->rank;
  el_free(info);
  return rank;
}

/* Changes each byte of the index file in turn, and cuts it at each length: it is made anew, or what it says is true. */
static void damage_index(const char *cache, const char *dir) {
  char command[256], path[256];
  snprintf(command, sizeof command, "ls '%s'/adapters-*.index", cache);
  FILE *p = popen(command, "r");
  assert_non_null(p);
  assert_non_null(fgets(path, sizeof path, p));
  assert_int_equal(pclose(p), 0);
  path[strcspn(path, "\n")] = 0;
  struct stat st;
  assert_int_equal(stat(path, &st), 0);
  for (off_t at = 0; at < st.st_size; at += 7) {
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, at, SEEK_SET);
    int c = fgetc(f);
    fseek(f, at, SEEK_SET);
    fputc(c ^ 0x41, f);
    fclose(f);
    rig r = open_with(dir, cache);
    assert_int_equal(rank_of(&r, "a"), 0); /* nothing of a damaged file is believed */
    rig_close(&r);
    f = fopen(path, "r+b");
    fseek(f, at, SEEK_SET);
    fputc(c, f);
    fclose(f);
  }
  for (off_t size = st.st_size - 1; size >= 0; size -= 1 + size / 9) {
    assert_int_equal(truncate(path, size), 0);
    rig r = open_with(dir, cache);
    assert_int_equal(rank_of(&r, "a"), 0);
    rig_close(&r);
  }
}

static void what_was_learnt_is_there_at_the_next_start(void **state) {
  char dir[64], cache[64];
  result out;
  make_dir(dir), make_dir(cache);
  put_fake_peft(dir, "a", 1), put_fake_peft(dir, "b", 2);
  rig r = open_with(dir, cache);
  assert_answers(&r, "a", &out);
  rig_close(&r);
  r = open_with(dir, cache);
  assert_int_equal(rank_of(&r, "a"), 2);
  assert_int_equal(rank_of(&r, "b"), 0);
  assert_answers(&r, "b", &out);
  rig_close(&r);
  put_fake_peft(dir, "b", 3); /* changed: what is known is of other files */
  r = open_with(dir, cache);
  assert_int_equal(rank_of(&r, "a"), 2);
  assert_int_equal(rank_of(&r, "b"), 0);
  rig_close(&r);
  damage_index(cache, dir);
  remove_tree(cache);
  r = open_with(dir, cache);
  assert_answers(&r, "a", &out);
  rig_close(&r); /* makes the folder */
  r = open_with(dir, cache);
  assert_int_equal(rank_of(&r, "a"), 2);
  rig_close(&r);
  remove_tree(dir), remove_tree(cache);
}

static void folders_that_cannot_be_watched_are_looked_through(void **state) {
  char dir[64], path[128];
  make_dir(dir);
  for (int i = 0; i < 3; i++) {
    snprintf(path, sizeof path, "%s/tenant%d", dir, i);
    mkdir(path, 0700);
  }
  put_fake_peft(dir, "one", 1);
  slow_ms = 50;
  atomic_store(&n_unwatched, 0);
  atomic_store(&unwatchable, "/tenant");
  rig r = open_with(dir, NULL);
  put_fake_peft(path, "two", 2);
  wait_until_offered(&r, "tenant2/two", true);
  assert_int_equal(atomic_load(&n_unwatched), 1); /* and one line is said, for all of them and for good */
  atomic_store(&unwatchable, dir);
  put_fake_peft(path, "three", 2);
  wait_until_offered(&r, "tenant2/three", true);
  assert_int_equal(atomic_load(&n_unwatched), 1);
  rig_close(&r);
  atomic_store(&unwatchable, NULL);
  slow_ms = 0;
  remove_tree(dir);
}

static void a_directory_that_vanishes_is_found_again(void **state) {
  char dir[64], away[80];
  make_dir(dir);
  snprintf(away, sizeof away, "%s-away", dir);
  put_fake_peft(dir, "one", 1);
  slow_ms = 50;
  rig r = open_with(dir, NULL);
  assert_int_equal(rename(dir, away), 0);
  usleep(300000); /* it is looked for, in vain */
  assert_int_equal(mkdir(dir, 0700), 0);
  put_fake_peft(dir, "two", 2);
  wait_until_offered(&r, "two", true);
  wait_until_offered(&r, "one", false);
  rig_close(&r);
  slow_ms = 0;
  remove_tree(dir), remove_tree(away);
}

static void the_watch_of_a_folder_that_is_gone_is_anothers(void **state) {
  char dir[64], path[128];
  make_dir(dir);
  max_watches = 2;
  slow_ms = 60000;
  atomic_store(&n_unwatched, 0);
  rig r = open_with(dir, NULL);
  for (int i = 0; i < 4; i++) {
    char name[32];
    snprintf(name, sizeof name, "tenant%d/a", i);
    snprintf(path, sizeof path, "%s/tenant%d", dir, i);
    assert_int_equal(mkdir(path, 0700), 0);
    put_fake_peft(path, "a", 1);
    wait_until_offered(&r, name, true);
    remove_tree(path);
    wait_until_offered(&r, name, false);
    while (atomic_load(&r.engine->upkeep.n_watches) > 1) usleep(1000); /* the folder's own end has been reported too */
  }
  assert_int_equal(atomic_load(&n_unwatched), 0);
  rig_close(&r);
  max_watches = slow_ms = 0;
  remove_tree(dir);
}

/* --- what several adapters amount to */

static void ask_half(rig *r, result *out) {
  static int32_t prompt[40]; /* more than a page of keys and values */
  const el_adapter_scale half = {"b", 0.5f};
  el_request q = ask(prompt, 40, 5);
  q.adapter = (el_adapter_selection){.by = EL_BY_SCALES, .scales = {&half, 1}};
  q.ignore_eos = true;
  result_init(out);
  rig_run(r, q, out);
  assert_int_equal(out->last.done.finish, EL_FINISH_LENGTH);
}

static rig open_beside(const char *dir, const char *policy) {
  char path[128];
  el_error err;
  el_engine_options o = rig_options(2, 64, 16);
  o.cache_policy = policy;
  rig r = rig_open_options(o, 20);
  snprintf(path, sizeof path, "%s/b", dir);
  if (el_adapter_add(r.engine, "b", path, &err)) fail_msg("%s", err.message);
  return r;
}

static void assert_answers_as_fresh(const char *dir, const result *out) {
  static result fresh;
  rig r = open_beside(dir, NULL);
  ask_half(&r, &fresh);
  assert_memory_equal(out->tokens, fresh.tokens, 5 * sizeof(int32_t));
  rig_close(&r);
}

/* The files change unnoticed, and a load of the adapter itself is the first to see them. */
static void a_combination_is_not_left_behind_by_its_parts(void **state) {
  static result before, part, after;
  char dir[64];
  make_dir(dir);
  put_fake_peft(dir, "b", 1);
  rig r = open_beside(dir, NULL);
  ask_half(&r, &before);
  put_fake_peft_rank(dir, "b", 3, 2);
  assert_answers(&r, "b", &part);
  ask_half(&r, &after);
  assert_memory_not_equal(after.tokens, before.tokens, 5 * sizeof(int32_t));
  assert_answers_as_fresh(dir, &after);
  rig_close(&r);
  remove_tree(dir);
}

/* It has left memory, its keys and values have not, and it is loaded from other files. */
static void a_combination_of_other_files_finds_no_earlier_keys_and_values(void **state) {
  static result before, after;
  char dir[64];
  make_dir(dir);
  put_fake_peft(dir, "b", 1);
  rig r = open_beside(dir, "none");
  ask_half(&r, &before);
  while (rig_stats(&r).pool_blocks_adapters) usleep(200);
  put_fake_peft_rank(dir, "b", 3, 2);
  ask_half(&r, &after);
  assert_answers_as_fresh(dir, &after);
  rig_close(&r);
  remove_tree(dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(folders_are_offered_by_name_nested_ones_too),
      cmocka_unit_test(what_comes_and_goes_is_noticed),
      cmocka_unit_test(a_changed_file_is_loaded_anew_and_running_requests_finish_with_the_old_one),
      cmocka_unit_test(a_broken_adapter_fails_its_own_requests_until_it_is_mended),
      cmocka_unit_test(the_first_directory_keeps_a_name),
      cmocka_unit_test(folders_that_cannot_be_watched_are_looked_through),
      cmocka_unit_test(a_directory_that_vanishes_is_found_again),
      cmocka_unit_test(the_watch_of_a_folder_that_is_gone_is_anothers),
      cmocka_unit_test(a_combination_is_not_left_behind_by_its_parts),
      cmocka_unit_test(a_combination_of_other_files_finds_no_earlier_keys_and_values),
      cmocka_unit_test(what_was_learnt_is_there_at_the_next_start),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
