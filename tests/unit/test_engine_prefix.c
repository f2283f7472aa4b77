/* The prefix cache as requests meet it: what is computed, what is not, and for whom. On the fake model, whose rows
 * check that every page has what their own sequence and adapter would have put there. */
#include "engine_fixture.h"

enum { CTX = 160, PAGE = EL_PAGE_TOKENS };

static int32_t text[CTX];

static void make_text(void) {
  for (int i = 0; i < CTX; i++) text[i] = 'a' + i * i % 23;
}

static rig open_cached(int n_slots, int step_rows, uint64_t n_pages) {
  make_text();
  return rig_open_options(rig_options(n_slots, CTX, step_rows), n_pages);
}

/* Runs a request for the first n tokens of the text; the rows that it took. */
static int run(rig *r, const char *adapter, const int32_t *prompt, size_t n, int max_tokens, result *out) {
  el_request q = ask(prompt, n, max_tokens);
  q.adapter.name = adapter;
  q.ignore_eos = true;
  result_init(out);
  fake_take_counts();
  rig_run(r, q, out);
  assert_int_equal(out->last.done.finish, EL_FINISH_LENGTH);
  return fake_take_counts().rows;
}

static result a, b, c;

static void whole_pages_of_an_earlier_prompt_are_not_computed_again(void **state) {
  rig r = open_cached(2, 16, 0);
  assert_int_equal(run(&r, NULL, text, 50, 1, &a), 50);
  assert_int_equal(a.last.done.cached_tokens, 0);
  int32_t other[CTX];
  memcpy(other, text, sizeof other);
  for (int i = 40; i < 70; i++) other[i] = 'z';
  assert_int_equal(run(&r, NULL, other, 70, 1, &b), 70 - 2 * PAGE); /* they part in the third page */
  assert_int_equal(b.last.done.cached_tokens, 2 * PAGE);
  assert_int_equal(run(&r, NULL, text, 50, 1, &b), 50 - 3 * PAGE);
  assert_int_equal(b.tokens[0], a.tokens[0]);
  /* The last token is always computed: its logits are wanted. */
  assert_int_equal(run(&r, NULL, text, 3 * PAGE, 1, &b), PAGE);
  assert_int_equal(b.last.done.cached_tokens, 2 * PAGE);
  assert_int_equal(run(&r, NULL, text, 3 * PAGE + 1, 0, &b), 1);
  assert_int_equal(b.last.done.cached_tokens, 3 * PAGE);
  el_stats st = rig_stats(&r);
  assert_int_equal(st.cached_tokens, (2 + 3 + 2 + 3) * PAGE);
  assert_int_equal(st.kv_pages_cached, 3 + 2); /* of the two texts, the first two pages are the same */
  assert_int_equal(st.kv_pages_used, 0);
  rig_close(&r);
}

static void a_second_turn_finds_the_first_one_and_its_answer(void **state) {
  rig r = open_cached(2, 64, 0);
  run(&r, NULL, text, 37, 40, &a);
  int32_t turn[CTX];
  memcpy(turn, text, 37 * sizeof *turn);
  memcpy(turn + 37, a.tokens, 40 * sizeof *turn);
  for (int i = 77; i < 90; i++) turn[i] = 'q';
  assert_int_equal(run(&r, NULL, turn, 90, 1, &b), 90 - 4 * PAGE);
  assert_int_equal(b.last.done.cached_tokens, 4 * PAGE);
  rig_close(&r);
}

static void no_adapter_uses_what_the_base_or_another_one_computed(void **state) {
  rig r = open_cached(2, 64, 0);
  rig_add(&r, "one", 1);
  rig_add(&r, "two", 2);
  static const char *const names[] = {NULL, "one", "two"};
  for (int turn = 0; turn < 2; turn++)
    for (int i = 0; i < 3; i++) {
      int rows = run(&r, names[i], text, 40, 1, &a);
      assert_int_equal(rows, turn ? 40 - 2 * PAGE : 40);
    }
  /* One that is registered anew under the same name is another one. */
  el_error err;
  assert_int_equal(el_adapter_remove(r.engine, "one", &err), EL_OK);
  rig_add(&r, "one", 3);
  assert_int_equal(run(&r, "one", text, 40, 1, &a), 40);
  for (int ms = 0; rig_stats(&r).kv_pages_cached != 3 * 2 && ms < 5000; ms += 5) usleep(5000);
  assert_int_equal(rig_stats(&r).kv_pages_cached, 3 * 2); /* nothing of the old one is left */
  rig_close(&r);
}

/* For `domain` instead: tokens of the prompt that were found, while every row is counted. */
static int cached_in(rig *r, const char *adapter, uint64_t domain, size_t n) {
  el_request q = ask(text, n, 1);
  q.adapter.name = adapter;
  q.ignore_eos = true;
  q.prefix_domain = domain;
  result_init(&a);
  fake_take_counts();
  rig_run(r, q, &a);
  assert_int_equal(a.last.done.finish, EL_FINISH_LENGTH);
  assert_int_equal(fake_take_counts().rows + a.last.done.cached_tokens, n);
  return a.last.done.cached_tokens;
}

static void what_one_domain_has_asked_no_other_finds(void **state) {
  static const char *const names[] = {NULL, "one"};
  rig r = open_cached(2, 64, 0);
  rig_add(&r, "one", 1);
  for (int turn = 0; turn < 2; turn++)
    for (int i = 0; i < 2; i++)
      for (uint64_t domain = 0; domain < 3; domain++)
        assert_int_equal(cached_in(&r, names[i], domain == 2 ? UINT64_MAX : domain, 40), turn ? 2 * PAGE : 0);
  assert_int_equal(rig_stats(&r).kv_pages_cached, 2 * 3 * 2);
  /* An adapter that is registered anew has nothing in any domain. */
  el_error err;
  assert_int_equal(el_adapter_remove(r.engine, "one", &err), EL_OK);
  rig_add(&r, "one", 3);
  assert_int_equal(cached_in(&r, "one", 1, 40), 0);
  for (int ms = 0; rig_stats(&r).kv_pages_cached != 3 * 2 + 2 && ms < 5000; ms += 5) usleep(5000);
  assert_int_equal(rig_stats(&r).kv_pages_cached, 3 * 2 + 2);
  rig_close(&r);
}

static void domains_that_come_together_share_nothing(void **state) {
  enum { N = 6, LENGTH = 3 * PAGE + 1 };
  static result out[N];
  rig r = open_cached(N, 24, 0);
  fake_take_counts();
  fake_hold();
  for (int i = 0; i < N; i++) {
    el_request q = ask(text, LENGTH, 1);
    q.prefix_domain = (uint64_t)i;
    result_init(&out[i]);
    rig_submit(&r, q, &out[i]);
  }
  fake_release();
  for (int i = 0; i < N; i++) {
    result_wait(&out[i]);
    assert_int_equal(out[i].last.done.cached_tokens, 0);
    assert_int_equal(out[i].tokens[0], out[0].tokens[0]);
  }
  assert_int_equal(fake_take_counts().rows, N * LENGTH);
  assert_int_equal(rig_stats(&r).kv_pages_cached, N * 3); /* a copy for each */
  rig_close(&r);
}

static void log_probabilities_of_a_prompt_are_computed_and_found_by_others(void **state) {
  rig r = open_cached(2, 64, 0);
  run(&r, NULL, text, 60, 1, &a);
  el_request q = ask(text, 60, 1);
  q.prompt_logprobs = true;
  result_init(&b);
  rig_run(&r, q, &b);
  assert_int_equal(b.n_prompt_logprobs, 60);
  for (int i = 1; i < 60; i++) assert_true(b.prompt_logprobs[i] < 0);
  assert_int_equal(b.last.done.cached_tokens, 0);
  assert_int_equal(rig_stats(&r).kv_pages_cached, 3);
  assert_int_equal(run(&r, NULL, text, 60, 1, &c), 60 - 3 * PAGE);
  assert_int_equal(c.tokens[0], a.tokens[0]);
  rig_close(&r);
}

static void it_can_be_switched_off(void **state) {
  make_text();
  el_engine_options o = rig_options(2, CTX, 64);
  assert_true(o.prefix_cache);
  o.prefix_cache = false;
  rig r = rig_open_options(o, 0);
  for (int i = 0; i < 2; i++) assert_int_equal(run(&r, NULL, text, 50, 1, &a), 50);
  el_stats st = rig_stats(&r);
  assert_int_equal(a.last.done.cached_tokens, 0);
  assert_int_equal(st.kv_pages_cached + st.cached_tokens + st.pool_blocks_kv, 0);
  rig_close(&r);
}

static void requests_that_come_together_compute_what_they_share_about_once(void **state) {
  enum { N = 8, LENGTH = 100, ROWS = 24 };
  static result out[N];
  rig r = open_cached(N, ROWS, 0);
  fake_hold();
  for (int i = 0; i < N; i++) {
    result_init(&out[i]);
    rig_submit(&r, ask(text, LENGTH, 1), &out[i]);
  }
  fake_release();
  int cached = 0;
  for (int i = 0; i < N; i++) {
    result_wait(&out[i]);
    assert_int_equal(out[i].tokens[0], out[0].tokens[0]);
    cached += out[i].last.done.cached_tokens;
  }
  int rows = fake_take_counts().rows, tail = LENGTH % PAGE;
  assert_int_equal(rows + cached, N * LENGTH);
  assert_true(rows <= LENGTH + (N - 1) * tail + 5 * ROWS);        /* a step may have had several at the same place */
  assert_int_equal(rig_stats(&r).kv_pages_cached, LENGTH / PAGE); /* one copy */
  rig_close(&r);
}

static void a_sequence_that_was_driven_out_finds_its_own_pages(void **state) {
  static result old, young;
  rig r = open_cached(2, 64, 12);
  fake.step_us = 200;
  el_request q = ask(text, 60, 90); /* 10 pages in the end */
  q.ignore_eos = true;
  result_init(&old);
  rig_submit(&r, q, &old);
  result_wait_tokens(&old, 1);
  int32_t other[CTX];
  for (int i = 0; i < CTX; i++) other[i] = 'A' + i % 26;
  q = ask(other, 50, 40);
  q.ignore_eos = true;
  result_init(&young);
  rig_submit(&r, q, &young);
  result_wait(&old);
  result_wait(&young);
  el_stats st = rig_stats(&r);
  assert_true(st.preemptions >= 1);
  assert_true(st.cached_tokens >= PAGE);
  assert_int_equal(old.last.done.cached_tokens + young.last.done.cached_tokens, 0); /* nobody else had computed them */
  assert_int_equal(young.n, 40);
  rig_close(&r);
}

/* Adapters and prefixes come and go in a pool for a few of them: both find some of theirs. */
static void prefixes_and_adapters_share_what_is_idle(void **state) {
  enum { N = 30 };
  rig r = open_cached(2, 64, 24);
  char names[N][8];
  for (int i = 0; i < N; i++) {
    snprintf(names[i], sizeof names[i], "a%d", i);
    rig_add_rank(&r, names[i], 2, (uint64_t)i);
  }
  int32_t chat[CTX], n_chat = 0;
  for (int i = 0; i < 200; i++) { /* every adapter in turn, and between them a chat with the base */
    run(&r, names[i % N], text, 1, 1, &a);
    if (i % 4) continue;
    if (n_chat > 75) n_chat = 0; /* within the share of 24 pages */
    if (!n_chat)
      for (; n_chat < 40; n_chat++) chat[n_chat] = 'a' + (i + n_chat) % 26;
    int rows = run(&r, NULL, chat, (size_t)n_chat, 10, &b);
    if (n_chat > 40) assert_true(rows <= 10 + 20 + PAGE); /* not what came before */
    memcpy(chat + n_chat, b.tokens, 10 * sizeof *chat);
    n_chat += 10;
    for (int k = 0; k < 10; k++) chat[n_chat++] = 'k';
  }
  el_stats st = rig_stats(&r);
  assert_true(st.kv_pages_cached >= 3 && st.kv_pages_cached <= 12);
  assert_true(st.adapters_resident >= 6);
  /* One that takes nearly all: nobody waits because of pages that are only kept. */
  rig_add_rank(&r, "big", 22, 99);
  run(&r, "big", text, 20, 1, &a);
  assert_true(rig_stats(&r).kv_pages_cached <= 2);
  /* And pages may take all that is idle. */
  run(&r, NULL, text, 150, 9, &a);
  assert_int_equal(rig_stats(&r).kv_pages_used, 0);
  rig_close(&r);
}

/* --- adapters from files */

static void put_peft(const char *dir, float seed) {
  enum { RANK = 2, N = 32 };
  static const char config[] =
      "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 4, \"target_modules\": [\"q_proj\"]}";
  static const char header[] =
      "{\"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight\":{\"dtype\":\"F32\",\"shape\":[2,32],"
      "\"data_offsets\":[0,256]},\"base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight\":{\"dtype\":"
      "\"F32\",\"shape\":[32,2],\"data_offsets\":[256,512]}}";
  float data[2 * RANK * N];
  el_buf buf = {0};
  for (int i = 0; i < 2 * RANK * N; i++) data[i] = seed;
  put_safetensors(&buf, header, data, sizeof data);
  write_file(dir, "adapter_model.safetensors", buf.data, buf.len);
  write_file(dir, "adapter_config.json", config, sizeof config - 1);
  el_buf_free(&buf);
}

/* Stands still until a test moves it. */
static atomic_uint_fast64_t clock_ns = 1;
static uint64_t moved_clock(void) {
  return atomic_load(&clock_ns);
}

static void an_adapter_whose_files_changed_finds_nothing_of_before(void **state) {
  char dir[64];
  el_error err;
  make_dir(dir);
  put_peft(dir, 1);
  rig r = open_cached(2, 64, 16);
  el_registry_use_clock(r.engine->registry, moved_clock);
  if (el_adapter_add(r.engine, "file", dir, &err)) fail_msg("%s", err.message);
  assert_int_equal(run(&r, "file", text, 40, 5, &a), 44);
  assert_int_equal(run(&r, "file", text, 40, 5, &b), 44 - 2 * PAGE);
  /* Noticed when it is asked for: a second after it was last looked at. */
  put_peft(dir, 2);
  assert_int_equal(run(&r, "file", text, 40, 5, &b), 44 - 2 * PAGE);
  assert_memory_equal(a.tokens, b.tokens, 5 * sizeof *a.tokens);
  atomic_fetch_add(&clock_ns, 1000000000);
  assert_int_equal(run(&r, "file", text, 40, 5, &b), 44);
  assert_memory_not_equal(a.tokens, b.tokens, 5 * sizeof *a.tokens);
  assert_int_equal(run(&r, "file", text, 40, 5, &c), 44 - 2 * PAGE);
  /* Noticed by its load alone: it is out of memory when the files change, and its pages are still there. */
  rig_add_rank(&r, "large", 14, 1);
  for (int i = 0; i < 2; i++) {
    run(&r, "large", text, 1, 1, &c);
    assert_int_equal(rig_stats(&r).adapters_resident, 1);
    int rows = run(&r, "file", text, 40, 5, &c);
    assert_true(rows == 44 || rows == 44 - PAGE || rows == 44 - 2 * PAGE);
    assert_memory_equal(b.tokens, c.tokens, 5 * sizeof *c.tokens);
  }
  run(&r, "large", text, 1, 1, &c);
  put_peft(dir, 3); /* within a second */
  assert_int_equal(run(&r, "file", text, 40, 5, &c), 44);
  assert_memory_not_equal(b.tokens, c.tokens, 5 * sizeof *c.tokens);
  rig_close(&r);
  remove_tree(dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(whole_pages_of_an_earlier_prompt_are_not_computed_again),
      cmocka_unit_test(a_second_turn_finds_the_first_one_and_its_answer),
      cmocka_unit_test(no_adapter_uses_what_the_base_or_another_one_computed),
      cmocka_unit_test(what_one_domain_has_asked_no_other_finds),
      cmocka_unit_test(domains_that_come_together_share_nothing),
      cmocka_unit_test(log_probabilities_of_a_prompt_are_computed_and_found_by_others),
      cmocka_unit_test(it_can_be_switched_off),
      cmocka_unit_test(requests_that_come_together_compute_what_they_share_about_once),
      cmocka_unit_test(a_sequence_that_was_driven_out_finds_its_own_pages),
      cmocka_unit_test(prefixes_and_adapters_share_what_is_idle),
      cmocka_unit_test(an_adapter_whose_files_changed_finds_nothing_of_before),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
