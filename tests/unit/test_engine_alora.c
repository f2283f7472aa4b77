/* Activated adapters (aLoRA) as requests meet them: what the base computes, what the adapter does, and who finds it
 * again. On the fake model, whose rows check that what comes before an adapter is the base's, and nothing behind. */
#include "routed_rig.h"

enum { CTX = 160, PAGE = EL_PAGE_TOKENS, INV = '<', OTHER = '!' };

static int32_t text[CTX];
static result a, b, c;
static char dir[64];

/* "one" and "two" begin at a '<', "pair" at "<!", "old" behind the '<' of "<!", "plain" with the prompt. */
static rig open_activated(int n_slots, int step_rows, int step_adapters) {
  el_error err;
  for (int i = 0; i < CTX; i++) text[i] = 'a' + i * i % 23;
  el_engine_options o = rig_options(n_slots, CTX, step_rows);
  o.step_adapters = step_adapters;
  rig r = rig_open_options(o, 0);
  make_dir(dir);
  put_fake_peft_with(dir, "one", 1, 1, ",\"alora_invocation_tokens\":[60]");
  put_fake_peft_with(dir, "two", 1, 2, ",\"alora_invocation_tokens\":[60]");
  put_fake_peft_with(dir, "pair", 1, 3, ",\"alora_invocation_tokens\":[60,33]");
  put_fake_peft_with(dir, "old", 1, 4, ",\"invocation_string\":\"<!\"");
  put_fake_peft_with(dir, "plain", 1, 5, "");
  if (el_adapter_add_dir(r.engine, dir, NULL, NULL, &err)) fail_msg("%s", err.message);
  return r;
}

static void close_activated(rig *r) {
  rig_close(r);
  remove_tree(dir);
}

/* The rows that a request took; those that others had computed are not among them. */
static int run_tokens(rig *r, const char *adapter, const int32_t *prompt, int n, int max_tokens, result *out) {
  el_request q = ask(prompt, (size_t)n, max_tokens);
  q.adapter.name = adapter;
  q.ignore_eos = q.logprobs = true;
  result_init(out);
  fake_take_counts();
  rig_run(r, q, out);
  assert_int_equal(out->last.done.finish, EL_FINISH_LENGTH);
  int rows = fake_take_counts().rows;
  assert_int_equal(rows + out->last.done.cached_tokens, n + (max_tokens ? max_tokens - 1 : 0));
  return rows;
}

/* Of the first n tokens of the text, with an invocation at `at` (-1: none). */
static int run(rig *r, const char *adapter, int n, int at, result *out) {
  int32_t prompt[CTX];
  memcpy(prompt, text, sizeof prompt);
  if (at >= 0) prompt[at] = INV;
  return run_tokens(r, adapter, prompt, n, 4, out);
}

static void what_the_base_has_read_every_activated_adapter_finds(void **state) {
  rig r = open_activated(2, 16, 0);
  assert_int_equal(run(&r, NULL, 100, -1, &a), 103);
  assert_int_equal(run(&r, "one", 70, 64, &b), 73 - 4 * PAGE);
  assert_int_equal(b.last.done.base_tokens, 64);
  assert_int_equal(run(&r, "two", 70, 64, &c), 73 - 4 * PAGE);
  assert_memory_not_equal(b.tokens, c.tokens, 4 * sizeof *b.tokens);
  /* A plain one shares with nobody; a request that names the base finds the base's. */
  assert_int_equal(run(&r, "plain", 70, 64, &c), 73);
  assert_int_equal(c.last.done.base_tokens, 0);
  assert_int_equal(run(&r, NULL, 70, 64, &c), 73 - 4 * PAGE);
  close_activated(&r);
}

static void what_an_activated_adapter_reads_before_it_begins_is_there_for_all(void **state) {
  rig r = open_activated(2, 7, 0);
  assert_int_equal(run(&r, "one", 70, 50, &a), 73);
  assert_int_equal(run(&r, "two", 70, 50, &b), 73 - 3 * PAGE); /* it begins in the fourth page, which is its own */
  assert_int_equal(run(&r, NULL, 70, 50, &c), 73 - 3 * PAGE);
  assert_int_equal(run(&r, "one", 70, 50, &c), 73 - 4 * PAGE); /* its own fourth page, too */
  assert_memory_equal(a.tokens, c.tokens, 4 * sizeof *a.tokens);
  assert_memory_equal(a.logprobs, c.logprobs, 4 * sizeof *a.logprobs);
  close_activated(&r);
}

static void a_page_tells_where_in_it_the_adapter_begins(void **state) {
  rig r = open_activated(2, 64, 0);
  int32_t prompt[CTX];
  memcpy(prompt, text, sizeof prompt);
  /* "pair" begins at 18, or at 31, as token 32 says: the page of tokens 16 to 31 is the same. */
  prompt[18] = prompt[31] = INV;
  prompt[19] = OTHER;
  run_tokens(&r, "pair", prompt, 40, 4, &a);
  assert_int_equal(a.last.done.base_tokens, 18);
  prompt[32] = OTHER;
  assert_int_equal(run_tokens(&r, "pair", prompt, 40, 4, &b), 43 - PAGE);
  assert_int_equal(b.last.done.base_tokens, 31);
  /* And one whose last invocation is another one in the same page: the answer to the first prompt went on with it. */
  int script[CTX];
  for (int i = 0; i < CTX; i++) script[i] = i == 59 ? INV : 'q';
  fake.scripts[3] = script;
  memcpy(prompt, text, sizeof prompt);
  prompt[0] = 3;
  prompt[50] = INV;
  run_tokens(&r, "one", prompt, 56, 30, &a);
  assert_int_equal(a.last.done.base_tokens, 50);
  memcpy(prompt + 56, a.tokens, 30 * sizeof *prompt);
  assert_int_equal(prompt[60], INV);
  assert_int_equal(run_tokens(&r, "one", prompt, 80, 4, &a), 83 - 3 * PAGE);
  assert_int_equal(a.last.done.base_tokens, 60);
  assert_int_equal(run_tokens(&r, "one", prompt, 80, 4, &b), 83 - 4 * PAGE);
  assert_memory_equal(a.logprobs, b.logprobs, 4 * sizeof *a.logprobs);
  close_activated(&r);
}

/* base -> one -> base -> one -> two: what each turn must compute. */
static void a_conversation_goes_from_the_base_to_adapters_and_back(void **state) {
  rig r = open_activated(2, 64, 0);
  int32_t chat[CTX];
  memcpy(chat, text, sizeof chat);
  assert_int_equal(run_tokens(&r, NULL, chat, 32, 1, &a), 32);
  chat[34] = INV;
  assert_int_equal(run_tokens(&r, "one", chat, 40, 25, &a), 64 - 2 * PAGE);
  memcpy(chat + 40, a.tokens, 25 * sizeof *chat);
  /* The base takes nothing that "one" has computed, though tokens are the same. */
  assert_int_equal(run_tokens(&r, NULL, chat, 66, 15, &a), 80 - 2 * PAGE);
  memcpy(chat + 66, a.tokens, 15 * sizeof *chat);
  chat[81] = INV;
  /* To "one", which begins later now, its own answer of before is the base's: which has read it meanwhile. */
  assert_int_equal(run_tokens(&r, "one", chat, 84, 20, &a), 103 - 5 * PAGE);
  assert_int_equal(a.last.done.base_tokens, 81);
  memcpy(chat + 84, a.tokens, 20 * sizeof *chat);
  chat[104] = INV;
  /* What "one" answered is read again for "two", by the base. */
  assert_int_equal(run_tokens(&r, "two", chat, 110, 1, &b), 110 - 5 * PAGE);
  assert_int_equal(run_tokens(&r, "one", chat, 110, 1, &c), 110 - 6 * PAGE);
  assert_int_equal(c.last.done.base_tokens, 104);
  close_activated(&r);
}

static void a_prompt_without_the_invocation_is_the_base_s_and_says_so(void **state) {
  rig r = open_activated(2, 16, 0);
  assert_int_equal(run(&r, "one", 40, -1, &a), 43);
  assert_true(a.last.done.not_invoked);
  assert_int_equal(a.last.done.base_tokens, 40);
  assert_int_equal(run(&r, NULL, 40, -1, &b), 43 - 2 * PAGE);
  assert_false(b.last.done.not_invoked);
  assert_memory_equal(a.tokens, b.tokens, 4 * sizeof *a.tokens);
  assert_memory_equal(a.logprobs, b.logprobs, 4 * sizeof *a.logprobs);
  assert_int_equal(run(&r, "one", 40, 39, &b), 43 - 2 * PAGE);
  assert_false(b.last.done.not_invoked);
  assert_memory_not_equal(a.tokens, b.tokens, 4 * sizeof *a.tokens);
  /* Half of it is none; an answer that happens to have it invokes nothing. */
  assert_int_equal(run(&r, "pair", 40, 39, &b), 43 - 2 * PAGE);
  assert_true(b.last.done.not_invoked);
  static const int answer[] = {0, 0, 0, INV, OTHER, INV, OTHER, -1};
  fake.scripts[3] = answer;
  const int32_t prompt[] = {3, 'a', 'b'};
  run_tokens(&r, "pair", prompt, 3, 5, &a);
  assert_true(a.last.done.not_invoked && a.tokens[1] == INV && a.tokens[2] == OTHER);
  assert_int_equal(rig_stats(&r).requests_not_invoked, 3);
  close_activated(&r);
}

static void an_adapter_of_an_invocation_string_begins_with_its_second_token(void **state) {
  rig r = open_activated(2, 16, 0);
  int32_t prompt[CTX];
  memcpy(prompt, text, sizeof prompt);
  prompt[38] = INV;
  prompt[39] = OTHER;
  run_tokens(&r, "old", prompt, 40, 4, &a);
  assert_int_equal(a.last.done.base_tokens, 39);
  prompt[38] = 'x';
  run_tokens(&r, "old", prompt, 40, 4, &a);
  assert_true(a.last.done.not_invoked);
  close_activated(&r);
}

static void it_cannot_be_combined_but_it_can_be_scaled(void **state) {
  rig r = open_activated(2, 16, 0);
  const el_adapter_scale two[] = {{"plain", 1}, {"two", 0.5f}}, scaled[] = {{"one", 0.5f}},
                         off[] = {{"plain", 1}, {"one", 0}};
  int32_t prompt[CTX];
  memcpy(prompt, text, sizeof prompt);
  prompt[20] = INV;
  el_request q = ask(prompt, 24, 4);
  q.adapter = (el_adapter_selection){.by = EL_BY_SCALES, .scales = {two, 2}};
  result_init(&a);
  rig_run(&r, q, &a);
  assert_int_equal(a.last.done.finish, EL_FINISH_ERROR);
  assert_int_equal(a.last.done.error.code, EL_ERR_UNSUPPORTED);
  assert_non_null(strstr(a.last.done.error.message + a.last.done.error.detail, "two is an activated one"));
  q.adapter = (el_adapter_selection){.by = EL_BY_SCALES, .scales = {scaled, 1}};
  result_init(&a);
  rig_run(&r, q, &a);
  assert_int_equal(a.last.done.base_tokens, 20);
  assert_int_not_equal(a.last.done.finish, EL_FINISH_ERROR);
  q.adapter = (el_adapter_selection){.by = EL_BY_SCALES, .scales = {off, 2}};
  result_init(&b);
  rig_run(&r, q, &b);
  assert_int_not_equal(b.last.done.finish, EL_FINISH_ERROR);
  assert_int_equal(b.last.done.base_tokens, 0);
  close_activated(&r);
}

static void log_probabilities_of_a_prompt_are_the_base_s_and_then_the_adapter_s(void **state) {
  rig r = open_activated(2, 16, 0);
  int32_t prompt[CTX];
  memcpy(prompt, text, sizeof prompt);
  prompt[40] = INV;
  static result as[3];
  static const char *const names[] = {NULL, "one", "two"};
  for (int i = 0; i < 3; i++) {
    el_request q = ask(prompt, 60, 1);
    q.adapter.name = names[i];
    q.prompt_logprobs = true;
    result_init(&as[i]);
    rig_run(&r, q, &as[i]);
    assert_int_equal(as[i].n_prompt_logprobs, 60);
  }
  for (int i = 1; i < 3; i++) {
    /* That of token 40 comes out of position 39, which is the base's. */
    assert_memory_equal(as[i].prompt_logprobs, as[0].prompt_logprobs, 41 * sizeof(float));
    for (int k = 41; k < 60; k++) assert_true(as[i].prompt_logprobs[k] != as[i - 1].prompt_logprobs[k]);
  }
  close_activated(&r);
}

static void tokens_outside_of_the_vocabulary_are_refused(void **state) {
  rig r = open_activated(2, 16, 0);
  char path[128];
  el_error err;
  put_fake_peft_with(dir, "far", 1, 6, ",\"alora_invocation_tokens\":[60,264]");
  snprintf(path, sizeof path, "%s/far", dir);
  static const char why[] = "invocation token 2 of 2 is 264, the base model's are 0 to 263";
  assert_int_equal(el_adapter_add(r.engine, "by hand", path, &err), EL_ERR_FORMAT); /* it is read at once */
  assert_non_null(strstr(err.message, why));
  assert_int_equal(el_adapter_rescan(r.engine, NULL, &err), EL_OK); /* not before it is asked for */
  el_request q = ask(text, 24, 4);
  q.adapter.name = "far";
  result_init(&a);
  rig_run(&r, q, &a);
  assert_int_equal(a.last.done.error.code, EL_ERR_FORMAT);
  assert_non_null(strstr(a.last.done.error.message, why));
  close_activated(&r);
}

/* Many at once: the document is computed about once for all of them. A limit on a step's adapters holds. */
static void all_adapters_at_once_read_a_document_once(void **state) {
  enum { N = 8, ROWS = 24 };
  static result out[N];
  for (int limit = 0; limit <= 2; limit++) {
    rig r = open_activated(N, ROWS, limit);
    int32_t prompt[CTX];
    memcpy(prompt, text, sizeof prompt);
    prompt[100] = INV;
    static const char *const names[] = {"one", "two", NULL, "one"};
    for (int i = 0; i < 4; i++) run_tokens(&r, names[i], (const int32_t[]){'x'}, 1, 1, &a); /* they are loaded */
    fake_take_counts();
    fake_hold();
    for (int i = 0; i < N; i++) {
      el_request q = ask(prompt, 110, 5);
      q.adapter.name = names[i % 4];
      q.ignore_eos = true;
      result_init(&out[i]);
      rig_submit(&r, q, &out[i]);
    }
    fake_release();
    for (int i = 0; i < N; i++) result_wait(&out[i]);
    fake_counts n = fake_take_counts();
    assert_true(n.rows <= 96 + N * (14 + 4) + 5 * ROWS);
    assert_true(!limit || n.max_adapters <= limit);
    for (int i = 0; i < N; i++) {
      run_tokens(&r, names[i % 4], prompt, 110, 5, &a);
      assert_memory_equal(a.tokens, out[i].tokens, 5 * sizeof *a.tokens);
    }
    close_activated(&r);
  }
}

static void auto_may_choose_an_activated_adapter_that_finds_what_the_base_has_read(void **state) {
  routed t = open_with(rig_options(2, CTX, 64), 0);
  el_error err;
  make_dir(dir);
  put_fake_peft_with(dir, "a", 1, 1, ",\"alora_invocation_tokens\":[60]");
  put_fake_peft_with(dir, "b", 1, 2, "");
  if (el_adapter_add_dir(t.r.engine, dir, NULL, NULL, &err)) fail_msg("%s", err.message);
  int32_t prompt[CTX];
  for (int i = 0; i < 60; i++) prompt[i] = 'a';
  prompt[58] = INV;
  run_tokens(&t.r, NULL, prompt, 60, 1, &a);
  el_request q = ask(prompt, 60, 6);
  q.adapter.by = EL_BY_ROUTER;
  q.ignore_eos = true;
  result_init(&b);
  rig_run(&t.r, q, &b);
  assert_int_equal(b.last.done.base_tokens, 58);
  assert_int_equal(b.last.done.cached_tokens, 3 * PAGE);
  run_tokens(&t.r, "a", prompt, 60, 6, &c);
  assert_memory_equal(b.tokens, c.tokens, 6 * sizeof *b.tokens);
  close_routed(&t);
  remove_tree(dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_the_base_has_read_every_activated_adapter_finds),
      cmocka_unit_test(what_an_activated_adapter_reads_before_it_begins_is_there_for_all),
      cmocka_unit_test(a_page_tells_where_in_it_the_adapter_begins),
      cmocka_unit_test(a_conversation_goes_from_the_base_to_adapters_and_back),
      cmocka_unit_test(a_prompt_without_the_invocation_is_the_base_s_and_says_so),
      cmocka_unit_test(an_adapter_of_an_invocation_string_begins_with_its_second_token),
      cmocka_unit_test(it_cannot_be_combined_but_it_can_be_scaled),
      cmocka_unit_test(log_probabilities_of_a_prompt_are_the_base_s_and_then_the_adapter_s),
      cmocka_unit_test(tokens_outside_of_the_vocabulary_are_refused),
      cmocka_unit_test(all_adapters_at_once_read_a_document_once),
      cmocka_unit_test(auto_may_choose_an_activated_adapter_that_finds_what_the_base_has_read),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
