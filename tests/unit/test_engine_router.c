/* Requests that leave the choice of adapter to the router. */
#include "routed_rig.h"

static routed open_plain(void) {
  routed t = open_with(rig_options(4, 64, 16), 0);
  for (int i = 0; i < 3; i++) rig_add(&t.r, columns[i], (uint64_t)i + 1);
  return t;
}

static decision run_focused(rig *r, const char *prompt, size_t begin, size_t end, int max_tokens, result *out) {
  int32_t tokens[64];
  decision c = {0};
  el_request q = automatic(prompt, tokens, max_tokens);
  q.focus_begin = begin;
  q.focus_end = end;
  result_init(out);
  out->hook = keep_decision;
  out->context = &c;
  rig_run(r, q, out);
  if (out->last.done.finish == EL_FINISH_ERROR) fail_msg("%s", out->last.done.error.message);
  assert_int_equal(c.n_events, 1);
  return c;
}

static decision run_auto(rig *r, const char *prompt, int max_tokens, result *out) {
  return run_focused(r, prompt, 0, 0, max_tokens, out);
}

static void assert_chooses(rig *r, const char *prompt, const char *adapter) {
  result out;
  decision c = run_auto(r, prompt, 0, &out);
  assert_string_equal(c.adapter, adapter);
}

static void run_named(rig *r, const char *prompt, const char *adapter, int max_tokens, result *out) {
  int32_t tokens[64];
  el_request q = automatic(prompt, tokens, max_tokens);
  q.adapter.by = EL_BY_NAME;
  q.adapter.name = adapter;
  result_init(out);
  rig_run(r, q, out);
}

static void assert_same(const result *a, const result *b) {
  assert_int_equal(a->n, b->n);
  assert_memory_equal(a->tokens, b->tokens, sizeof *a->tokens * (size_t)a->n);
  assert_memory_equal(a->logprobs, b->logprobs, sizeof *a->logprobs * (size_t)a->n);
}

/* --- tests */

static void the_best_adapter_answers_as_if_it_had_been_named(void **state) {
  static const char *const prompts[] = {"aaaaaa", "xbbbbbb", "cc", "xyzxyzxyzxyzxyzxyzxyz"};
  static const char *const wanted[] = {"a", "b", "c", "fake model"};
  routed t = open_plain();
  for (int i = 0; i < 4; i++) {
    result named, out;
    decision c = run_auto(&t.r, prompts[i], 20, &out);
    assert_string_equal(c.adapter, wanted[i]);
    assert_int_equal(c.n, 3);
    assert_string_equal(c.names[0], wanted[i]);
    for (size_t k = 1; k < c.n; k++) assert_true(c.scores[k - 1] >= c.scores[k]);
    assert_true(c.scores[0] > 0 && c.scores[0] < 1);
    run_named(&t.r, prompts[i], wanted[i], 20, &named);
    assert_same(&out, &named);
    assert_int_equal(out.last.done.prompt_tokens, strlen(prompts[i]));
  }
  el_stats st = rig_stats(&t.r);
  assert_int_equal(st.decisions, 4);
  assert_int_equal(st.decisions_base, 1);
  assert_int_equal(st.adapters_in_router, 3);
  close_routed(&t);
}

/* The base goes on from where the router's layers ended: every row is in two steps at most, half of it each time. */
static void work_that_the_router_needed_is_not_done_again_for_the_base(void **state) {
  routed t = open_plain();
  result out;
  fake_take_counts();
  run_auto(&t.r, "xyzxyzxyzx", 1, &out);
  fake_counts c = fake_take_counts();
  assert_int_equal(c.heads, 10);
  assert_int_equal(c.tails, 10);
  assert_int_equal(c.rows, 20);
  run_auto(&t.r, "aaaaaaaaaa", 1, &out);
  c = fake_take_counts();
  assert_int_equal(c.heads, 10);
  assert_int_equal(c.tails, 0);
  assert_int_equal(c.rows, 20);
  close_routed(&t);
}

static void a_named_adapter_costs_no_selection(void **state) {
  routed t = open_plain();
  result out;
  fake_take_counts();
  run_named(&t.r, "aaaa", "b", 4, &out);
  assert_int_equal(fake_take_counts().heads, 0);
  assert_int_equal(rig_stats(&t.r).decisions, 0);
  close_routed(&t);
}

/* Half of the letters are a, half are b: scores are equal, and the base's too. A little more of b makes it the best,
 * but a is within the margin. */
static void of_those_close_to_the_best_one_in_memory_is_used(void **state) {
  routed t = open_plain();
  result out;
  run_named(&t.r, "x", "a", 1, &out);
  decision c = run_auto(&t.r, "aaaaaaaaabbbbbbbbbb", 0, &out);
  assert_string_equal(c.names[0], "b");
  assert_false(c.resident[0]);
  assert_string_equal(c.adapter, "a");
  assert_int_equal(rig_stats(&t.r).decisions_resident, 1);
  c = run_auto(&t.r, "aaabbbbbbb", 0, &out); /* too far from the best */
  assert_string_equal(c.adapter, "b");
  close_routed(&t);
}

static void options_go_before_the_routers_file(void **state) {
  el_engine_options o = rig_options(4, 64, 16);
  o.router_top_k = 1;
  routed t = open_with(o, 0);
  result out;
  for (int i = 0; i < 3; i++) rig_add(&t.r, columns[i], (uint64_t)i + 1);
  run_named(&t.r, "x", "a", 1, &out);
  assert_chooses(&t.r, "aaaaaaaaabbbbbbbbbb", "b");
  close_routed(&t);
}

static void candidates_limit_the_choice(void **state) {
  static const struct {
    const char *prompt, *candidates[2], *wanted; /* NULL: refused */
  } cases[] = {{"aaaa", {"b", "fake model"}, "fake model"},
               {"aaaa", {"b", "c"}, "b"},
               {"bbbb", {"tenant/*", NULL}, "tenant/a"},
               {"cccc", {"*", NULL}, "c"},
               {"aaaa", {"nobody", "b"}, "b"},
               {"aaaa", {"nobody", "other/*"}, NULL}};
  routed t = open_plain();
  rig_add(&t.r, "tenant/a", 9); /* no column has this name */
  float z[2 * FAKE_EMBD] = {0};
  z[FAKE_EMBD + 1] = 1; /* the head reads the first half, examples are the second */
  el_adapter_info *info;
  assert_int_equal(el_adapter_get(t.r.engine, "tenant/a", &info, NULL), EL_OK);
  assert_false(info->in_router);
  pthread_mutex_lock(&t.r.engine->chooser.mutex);
  assert_int_equal(el_bank_put(t.r.engine->chooser.bank, info->id, "tenant/a", z, 1, NULL, NULL), EL_OK);
  pthread_mutex_unlock(&t.r.engine->chooser.mutex);
  el_free(info);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int32_t tokens[64];
    result out;
    decision c = {0};
    result_init(&out);
    out.hook = keep_decision;
    out.context = &c;
    el_request q = automatic(cases[i].prompt, tokens, 1);
    q.adapter.router.candidates = cases[i].candidates;
    q.adapter.router.n_candidates = 1 + (cases[i].candidates[1] != NULL);
    rig_run(&t.r, q, &out);
    if (cases[i].wanted) {
      assert_string_equal(c.adapter, cases[i].wanted);
    } else {
      assert_int_equal(out.last.done.finish, EL_FINISH_ERROR);
      assert_int_equal(out.last.done.error.code, EL_ERR_NOT_FOUND);
    }
  }
  close_routed(&t);
}

/* What stands before them does not matter; long prompts are read up to the limit. */
static void only_the_tokens_in_focus_count_and_so_many_are_read(void **state) {
  routed t = open_limited(rig_options(4, 64, 16), 0, 8);
  for (int i = 0; i < 3; i++) rig_add(&t.r, columns[i], (uint64_t)i + 1);
  static const struct {
    const char *prompt;
    size_t begin, end;
    const char *wanted;
    int read;
  } cases[] = {{"aaabb", 3, 5, "b", 2},
               {"aaabbccc", 3, 5, "b", 2},
               {"aaaaabbbb", 5, 9, "b", 4},
               {"bbbbbbbbaaaaaaaaaaaaaaaaaaaa", 0, 0, "b", 8},
               {"aaaaaaaaaabbbbbbbbcccccc", 10, 24, "b", 8}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    result named, out;
    fake_take_counts();
    decision c = run_focused(&t.r, cases[i].prompt, cases[i].begin, cases[i].end, 5, &out);
    assert_string_equal(c.adapter, cases[i].wanted);
    assert_int_equal(fake_take_counts().heads, cases[i].read);
    run_named(&t.r, cases[i].prompt, cases[i].wanted, 5, &named);
    assert_same(&out, &named);
  }
  close_routed(&t);
}

/* With a chat template all prompts are read as a first message, whatever stands before: so the same words get the same
 * scores. A prompt that begins like that is read where it stands, and the base goes on from there; what the base has in
 * its prefix cache of the template is not read again. */
static void all_prompts_are_read_as_a_first_message(void **state) {
#define LEAD "<|im_start|>user\n"
  fake.chat_template =
      "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
      "'<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
      "{% endif %}";
  static const struct {
    const char *prompt;
    size_t begin, end;
    const char *wanted;
    int heads;
    bool goes_on;
  } cases[] = {{LEAD "xyxyxyxy!", 17, 25, "fake model", 25, true},
               {LEAD "bbbbbb!", 17, 23, "b", 7, false},
               {"bbbbbb", 0, 0, "b", 23, false},
               {"You are a tree. " LEAD "bbbbbb!", 33, 39, "b", 23, false},
               {"xy", 0, 0, "fake model", 19, false},
               {LEAD "xyxyxyxy!", 17, 25, "fake model", 9, true}};
  routed t = open_plain();
  float score = 0;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    result named, out;
    fake_take_counts();
    decision c = run_focused(&t.r, cases[i].prompt, cases[i].begin, cases[i].end, 5, &out);
    fake_counts counts = fake_take_counts();
    assert_string_equal(c.adapter, cases[i].wanted);
    assert_int_equal(counts.heads, cases[i].heads);
    assert_int_equal(counts.tails > 0, cases[i].goes_on);
    if (!strcmp(c.adapter, "b")) {
      if (score > 0) assert_true(c.scores[0] == score);
      score = c.scores[0];
    }
    run_named(&t.r, cases[i].prompt, cases[i].wanted, 5, &named);
    assert_same(&out, &named);
  }
  close_routed(&t);
}

/* What one domain had read is read again for another: neither cached_tokens nor the time of a choice tells of it. */
static void a_choice_finds_nothing_of_another_domain(void **state) {
  fake.chat_template =
      "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
      "'<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
      "{% endif %}";
  static const struct {
    uint64_t domain;
    int heads, cached;
  } cases[] = {{1, 25, 0}, {2, 25, 0}, {1, 9, 16}, {0, 25, 0}, {2, 9, 16}};
  routed t = open_plain();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int32_t tokens[64];
    result out;
    el_request q = automatic(LEAD "xyxyxyxy!", tokens, 5);
    q.focus_begin = 17;
    q.focus_end = 25;
    q.prefix_domain = cases[i].domain;
    fake_take_counts();
    result_init(&out);
    rig_run(&t.r, q, &out);
    assert_int_equal(out.last.done.finish, EL_FINISH_LENGTH);
    assert_int_equal(fake_take_counts().heads, cases[i].heads);
    assert_int_equal(out.last.done.cached_tokens, cases[i].cached);
  }
  close_routed(&t);
}

static void a_choice_alone_generates_nothing(void **state) {
  routed t = open_plain();
  int32_t tokens[64];
  el_request q = automatic("bbbb", tokens, 20);
  q.adapter.router.only_decide = true;
  uint64_t id;
  el_event e;
  assert_int_equal(el_submit(t.r.engine, &q, &id, NULL), EL_OK);
  assert_int_equal(el_next_event(t.r.engine, id, -1, &e), EL_OK); /* polled: events are kept with their strings */
  assert_int_equal(e.type, EL_EVENT_DECISION);
  assert_string_equal(e.decision.adapter, "b");
  assert_int_equal(e.decision.n_candidates, 3);
  assert_string_equal(e.decision.candidates[0].name, "b");
  assert_string_equal(e.decision.candidates[1].name, "fake model");
  assert_true(e.decision.candidates[1].resident);
  assert_int_equal(el_next_event(t.r.engine, id, -1, &e), EL_OK);
  assert_int_equal(e.type, EL_EVENT_DONE);
  assert_int_equal(e.done.finish, EL_FINISH_LENGTH);
  assert_int_equal(e.done.completion_tokens, 0);
  assert_int_equal(rig_stats(&t.r).adapters_resident, 0);
  close_routed(&t);
}

static void requests_that_make_no_sense_are_refused(void **state) {
  routed t = open_plain();
  int32_t tokens[64];
  el_error err;
  const char *empty = "", *null = NULL;
  const el_request good = automatic("bbbb", tokens, 1);
  el_request q = good;
#define REFUSED(change, part)                                                \
  do {                                                                       \
    q = good;                                                                \
    change;                                                                  \
    assert_int_equal(el_submit(t.r.engine, &q, NULL, &err), EL_ERR_INVALID); \
    assert_non_null(strstr(err.message, part));                              \
  } while (0)
  REFUSED(q.adapter.by = (el_adapter_by)4, "adapter.by");
  REFUSED((q.adapter = (el_adapter_selection){.by = EL_BY_HOLD}), "adapter.held");
  REFUSED(q.adapter.router.n_candidates = 1, "candidates");
  REFUSED(q.adapter.router.n_candidates = EL_MAX_CANDIDATES + 1, "candidates");
  REFUSED((q.adapter.router.candidates = &empty, q.adapter.router.n_candidates = 1), "candidates[0]");
  REFUSED((q.adapter.router.candidates = &null, q.adapter.router.n_candidates = 1), "candidates[0]");
  REFUSED(q.focus_end = 5, "focus");
  REFUSED((q.focus_begin = 3, q.focus_end = 3), "focus");
  REFUSED(q.focus_begin = SIZE_MAX, "focus");
  REFUSED(q.adapter.router.n_scores = -1, "n_scores");
  REFUSED(q.adapter.router.n_scores = EL_MAX_SCORES + 1, "n_scores");
  close_routed(&t);
  rig r = rig_open(2, 64, 16);
  assert_int_equal(el_submit(r.engine, &good, NULL, &err), EL_ERR_INVALID);
  assert_non_null(strstr(err.message, "no router"));
  rig_close(&r);
}

/* --- examples */

static void put_adapter(const char *dir, const char *name, const char *examples) {
  char path[160];
  put_fake_peft(dir, name, (float)name[0]);
  snprintf(path, sizeof path, "%s/%s", dir, name);
  if (examples) write_file(path, "examples.jsonl", examples, strlen(examples));
}

static void adapters_with_examples_take_part_without_training(void **state) {
  char dir[64], path[160];
  make_dir(dir);
  put_adapter(dir, "dee", "{\"prompt\": \"dddd\"}\n\n{\"prompt\": \"ddd\", \"completion\": 1}\n");
  put_adapter(dir, "none", NULL);
  put_adapter(dir, "broken", "{\"prompt\": \"d\"}\n{\"prompt\": 3}\n");
  routed t = open_with(rig_options(4, 64, 16), 60);
  el_error err;
  assert_int_equal(el_adapter_add_dir(t.r.engine, dir, NULL, NULL, &err), EL_OK);
  assert_int_equal(el_router_wait(t.r.engine, -1, &err), EL_OK);
  assert_int_equal(rig_stats(&t.r).adapters_in_router, 1);
  assert_int_equal(rig_stats(&t.r).requests_submitted, 0); /* the readings are nobody's requests */
  assert_chooses(&t.r, "dddddd", "dee");
  assert_chooses(&t.r, "eeeeee", "fake model");
  /* One that comes later; one whose examples come later; one that changes them; one that goes. */
  put_adapter(dir, "eve", "{\"prompt\": \"eeee\"}\n");
  put_adapter(dir, "none", "{\"prompt\": \"ffff\"}\n");
  assert_int_equal(el_adapter_rescan(t.r.engine, NULL, &err), EL_OK);
  assert_int_equal(el_router_wait(t.r.engine, -1, &err), EL_OK);
  assert_chooses(&t.r, "eeeeee", "eve");
  assert_chooses(&t.r, "ffffff", "none");
  put_adapter(dir, "eve", "{\"prompt\": \"gggggggg\"}\n");
  snprintf(path, sizeof path, "%s/dee", dir);
  remove_tree(path);
  assert_int_equal(el_adapter_rescan(t.r.engine, NULL, &err), EL_OK);
  assert_int_equal(el_router_wait(t.r.engine, -1, &err), EL_OK);
  assert_chooses(&t.r, "gggggg", "eve");
  assert_chooses(&t.r, "eeeeee", "fake model");
  assert_chooses(&t.r, "dddddd", "fake model");
  assert_int_equal(rig_stats(&t.r).adapters_in_router, 2);
  close_routed(&t);
  remove_tree(dir);
}

/* With a cache folder the next start reads no examples; another router's vectors are not taken for its own. */
static void examples_are_read_once(void **state) {
  char dir[64], cache[64];
  make_dir(dir);
  make_dir(cache);
  put_adapter(dir, "dee", "{\"prompt\": \"dddd\"}\n");
  put_adapter(dir, "eve", "{\"prompt\": \"eeee\"}\n");
  static const struct { int max_tokens, heads; } runs[] = {{64, 8}, {64, 0}, {32, 8}, {64, 0}};
  for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
    el_engine_options o = rig_options(4, 64, 16);
    o.cache_dir = cache;
    routed t = open_limited(o, 60, runs[i].max_tokens);
    assert_int_equal(el_adapter_add_dir(t.r.engine, dir, NULL, NULL, NULL), EL_OK);
    assert_int_equal(el_router_wait(t.r.engine, -1, NULL), EL_OK);
    assert_int_equal(fake_take_counts().heads, runs[i].heads);
    assert_chooses(&t.r, "dddddd", "dee");
    assert_chooses(&t.r, "eeeeee", "eve");
    close_routed(&t);
  }
  put_adapter(dir, "eve", "{\"prompt\": \"fff\"}\n"); /* one that changes is read again, the other is not */
  el_engine_options o = rig_options(4, 64, 16);
  o.cache_dir = cache;
  routed t = open_with(o, 60);
  assert_int_equal(el_adapter_add_dir(t.r.engine, dir, NULL, NULL, NULL), EL_OK);
  assert_int_equal(el_router_wait(t.r.engine, -1, NULL), EL_OK);
  assert_int_equal(fake_take_counts().heads, 3);
  close_routed(&t);
  remove_tree(dir);
  remove_tree(cache);
}

static void a_trained_adapter_that_is_gone_is_not_chosen(void **state) {
  routed t = open_plain();
  assert_chooses(&t.r, "aaaa", "a");
  assert_int_equal(el_adapter_remove(t.r.engine, "a", NULL), EL_OK);
  assert_chooses(&t.r, "aaaa", "fake model");
  close_routed(&t);
}

/* --- among others */

/* Small pools, so that sequences are preempted and adapters come and go while the router reads; every answer is that of
 * the named adapter, and of the adapter that the prompt calls for (margin 0). */
static void choices_do_not_depend_on_what_else_runs(void **state) {
  enum { N = 60 };
  static result named[N], out[N];
  static decision choices[N];
  static char prompts[N][64];
  static int32_t tokens[N][64];
  for (int pages = 11; pages <= 40; pages += 13) {
    el_engine_options o = rig_options(6, 96, 12);
    o.router_margin = 0;
    routed t = open_with(o, (uint64_t)pages);
    for (int i = 0; i < 3; i++) rig_add_rank(&t.r, columns[i], i + 1, (uint64_t)i + 1);
    for (int i = 0; i < N; i++) {
      char letter = "abcx"[i % 4];
      int n = 1 + i * 7 % 50;
      memset(prompts[i], letter, (size_t)n);
      prompts[i][n] = 0;
      if (n > 8) prompts[i][n / 2] = 'y';
      run_named(&t.r, prompts[i], letter == 'x' ? NULL : (char[]){letter, 0}, 20 + i % 25, &named[i]);
    }
    fake_hold();
    for (int i = 0; i < N; i++) {
      choices[i] = (decision){0};
      result_init(&out[i]);
      out[i].hook = keep_decision;
      out[i].context = &choices[i];
      el_request q = automatic(prompts[i], tokens[i], 20 + i % 25);
      if (i % 3 == 2) {
        q.adapter.by = EL_BY_NAME;
        q.adapter.name = i % 4 == 3 ? NULL : columns[i % 4];
      }
      rig_submit(&t.r, q, &out[i]);
    }
    fake_release();
    for (int i = 0; i < N; i++) {
      result_wait(&out[i]);
      assert_same(&out[i], &named[i]);
      if (i % 3 != 2) assert_string_equal(choices[i].adapter, i % 4 == 3 ? "fake model" : columns[i % 4]);
    }
    if (pages == 11) assert_true(rig_stats(&t.r).preemptions > 0);
    close_routed(&t);
  }
}

static void one_that_waits_for_its_choice_can_be_cancelled(void **state) {
  routed t = open_plain();
  int32_t tokens[64];
  result out[8];
  uint64_t ids[8];
  fake_hold();
  for (int i = 0; i < 8; i++) {
    result_init(&out[i]);
    ids[i] = rig_submit(&t.r, automatic("abcabcabcabcabcabcabcabcabcabcabcabc", tokens, -1), &out[i]);
  }
  for (int i = 0; i < 8; i++) el_cancel(t.r.engine, ids[i]);
  fake_release();
  for (int i = 0; i < 8; i++) {
    result_wait(&out[i]);
    assert_int_equal(out[i].last.done.finish, EL_FINISH_CANCELLED);
  }
  close_routed(&t);
}

static void a_router_for_another_model_is_refused(void **state) {
  routed t = open_plain();
  el_engine_options o = rig_options(2, 64, 16);
  el_engine *e = NULL;
  el_error err;
  char model[128];
  snprintf(model, sizeof model, "%s", t.r.path);
  o.model_path = model;
  o.router_path = model;
  assert_int_not_equal(el_engine_open(&o, &e, &err), EL_OK);
  assert_null(e);
  o.router_path = "/nowhere/router.gguf";
  assert_int_equal(el_engine_open(&o, &e, &err), EL_ERR_IO);
  assert_non_null(strstr(err.message, "/nowhere/router.gguf"));
  close_routed(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_best_adapter_answers_as_if_it_had_been_named),
      cmocka_unit_test(work_that_the_router_needed_is_not_done_again_for_the_base),
      cmocka_unit_test(a_named_adapter_costs_no_selection),
      cmocka_unit_test(of_those_close_to_the_best_one_in_memory_is_used),
      cmocka_unit_test(options_go_before_the_routers_file),
      cmocka_unit_test(candidates_limit_the_choice),
      cmocka_unit_test(only_the_tokens_in_focus_count_and_so_many_are_read),
      cmocka_unit_test(all_prompts_are_read_as_a_first_message),
      cmocka_unit_test(a_choice_finds_nothing_of_another_domain),
      cmocka_unit_test(a_choice_alone_generates_nothing),
      cmocka_unit_test(requests_that_make_no_sense_are_refused),
      cmocka_unit_test(adapters_with_examples_take_part_without_training),
      cmocka_unit_test(examples_are_read_once),
      cmocka_unit_test(a_trained_adapter_that_is_gone_is_not_chosen),
      cmocka_unit_test(choices_do_not_depend_on_what_else_runs),
      cmocka_unit_test(one_that_waits_for_its_choice_can_be_cancelled),
      cmocka_unit_test(a_router_for_another_model_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
