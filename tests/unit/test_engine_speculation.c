/* Whatever is guessed of an answer, and by whom, the answer is the one without guesses, to the last bit: many random
 * requests, alone in an engine that never guesses, and together in engines whose guesses are right, wrong, and right
 * for a while, in pools that are too small and with layers that see a window. On a model whose logits are a hash of all
 * that it finds in the pages of a row. EL_SPECULATION_SEEDS: how many times (1). */
#include "engine_fixture.h"
#include "random_request.h"

enum { N = 48, CTX = 96, N_ADAPTERS = 3 };

typedef struct job {
  el_request q;
  int32_t prompt[CTX];
  el_logit_bias bias[2];
  const char *stop[2];
  int constraint; /* -1: none */
  result expected;
} job;

static const char *const adapters[N_ADAPTERS + 1] = {"a", "b", "c", NULL};
static const char *const patterns[] = {"[a-f]{3,40}", "(ab|cd|hello)*"};
enum { N_PATTERNS = sizeof patterns / sizeof *patterns };

static void make_job(job *j, uint64_t *s) {
  static const char *const stops[] = {"e", "hello", "x\xe2\x82\xac", " ", "STOP", "\n"};
  memset(j, 0, sizeof *j);
  result_init(&j->expected);
  el_request *q = &j->q;
  *q = el_request_default();
  q->n_prompt = 1 + (size_t)below(s, below(s, 3) ? 20 : CTX - 1);
  for (size_t i = 0; i < q->n_prompt; i++) j->prompt[i] = 'a' + below(s, 2);
  q->prompt = j->prompt;
  q->max_tokens = below(s, 3) ? -1 : below(s, CTX - (int)q->n_prompt + 1);
  q->adapter.name = adapters[below(s, N_ADAPTERS + 1)];
  el_sampling *p = &q->sampling;
  p->seed = next_random(s);
  random_sampling(s, p);
  if (below(s, 4) == 0) {
    j->bias[0] = (el_logit_bias){'a' + below(s, 26), (float)(below(s, 200) - 100)};
    j->bias[1] = (el_logit_bias){HELLO, 3};
    p->logit_bias = j->bias;
    p->n_logit_bias = 2;
  }
  q->n_stop = (size_t)(below(s, 3) ? 0 : 1 + below(s, 2));
  for (size_t i = 0; i < q->n_stop; i++) j->stop[i] = stops[below(s, 6)];
  q->stop = j->stop;
  q->include_stop = below(s, 2);
  q->ignore_eos = below(s, 3);
  q->min_tokens = below(s, 3) ? 0 : below(s, 12);
  q->logprobs = true;
  q->top_logprobs = below(s, 4);
  q->prompt_logprobs = below(s, 5) == 0;
  j->constraint = below(s, 5) ? -1 : below(s, N_PATTERNS);
}

static void expect_same(const result *a, const result *b) {
  assert_int_equal(a->last.done.finish, b->last.done.finish);
  assert_int_equal(a->n, b->n);
  assert_memory_equal(a->tokens, b->tokens, sizeof *a->tokens * (size_t)a->n);
  assert_memory_equal(a->logprobs, b->logprobs, sizeof *a->logprobs * (size_t)a->n);
  assert_int_equal(a->n_top, b->n_top);
  assert_memory_equal(a->top, b->top, sizeof *a->top * (size_t)a->n);
  assert_int_equal(a->text_len, b->text_len);
  assert_memory_equal(a->text, b->text, a->text_len);
  assert_string_equal(a->stop, b->stop);
  assert_int_equal(a->last.done.token.id, b->last.done.token.id);
  assert_int_equal(a->last.done.completion_tokens, b->last.done.completion_tokens);
  assert_int_equal(a->n_prompt_logprobs, b->n_prompt_logprobs);
  assert_memory_equal(a->prompt_logprobs, b->prompt_logprobs, sizeof *a->prompt_logprobs * a->n_prompt_logprobs);
}

static rig open_rig(el_engine_options o, uint64_t n_pages) {
  rig r = rig_open_options(o, n_pages);
  for (int i = 0; i < N_ADAPTERS; i++) rig_add(&r, adapters[i], (uint64_t)i + 5);
  return r;
}

static void open_constraints(rig *r, const el_constraint *out[N_PATTERNS]) {
  for (int i = 0; i < N_PATTERNS; i++) {
    el_error err;
    el_constraint_source s = {.type = EL_CONSTRAINT_REGEX, .text = patterns[i], .len = strlen(patterns[i])};
    if (el_constraint_open(r->engine, &s, &out[i], &err)) fail_msg("%s", err.message);
  }
}

/* --- guesses that know the answer */

enum { RIGHT, WRONG, MIXED };
typedef struct oracle {
  uint64_t rng;
  int kind;
  job *jobs;
  result *results; /* that the requests write into */
} oracle;

/* On the engine thread. */
static int tell(void *user, const el_seq *q, int32_t *tokens, int most) {
  oracle *o = user;
  const result *expected = &o->jobs[(const result *)q->user - o->results].expected;
  int n = 0;
  for (int i = el_seq_n_new(q); n < most && (i < expected->n || o->kind != RIGHT); i++, n++) {
    const bool wrong = o->kind == WRONG || (o->kind == MIXED && below(&o->rng, 6) == 0) || i >= expected->n;
    tokens[n] = wrong ? below(&o->rng, FAKE_VOCAB) : expected->tokens[i];
  }
  return o->kind == RIGHT ? n : below(&o->rng, n + 1);
}

typedef struct totals {
  uint64_t proposed, accepted, preempted, cached;
} totals;

/* The same requests, together, twice: then pages of before are there. */
static void compare(job *jobs, el_engine_options o, uint64_t n_pages, int guesses, totals *n) {
  static result results[N];
  rig r = open_rig(o, n_pages);
  const el_constraint *constraints[N_PATTERNS];
  open_constraints(&r, constraints);
  oracle knows = {o.speculate + 1u, guesses, jobs, results};
  fake_hold(); /* nothing runs yet */
  if (guesses >= 0) {
    r.engine->speculation.guess_user = &knows;
    r.engine->speculation.guess = tell;
  }
  fake_release();
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < N; i++) {
      result_init(&results[i]);
      el_request q = jobs[i].q;
      if (jobs[i].constraint >= 0) q.constraint = constraints[jobs[i].constraint];
      rig_submit(&r, q, &results[i]);
    }
    for (int i = 0; i < N; i++) {
      result_wait(&results[i]);
      expect_same(&jobs[i].expected, &results[i]);
      assert_true(results[i].last.done.draft_tokens_accepted <= results[i].last.done.draft_tokens);
    }
  }
  el_stats st = rig_stats(&r);
  n->proposed += st.draft_tokens;
  n->accepted += st.draft_tokens_accepted;
  n->preempted += st.preemptions;
  n->cached += st.cached_tokens;
  for (int i = 0; i < N_PATTERNS; i++) el_constraint_close(r.engine, constraints[i]);
  el_engine_close(r.engine);
  remove_tree(r.dir);
}

static void an_answer_is_the_same_whatever_is_guessed_of_it(void **state) {
  static job jobs[N];
  static const struct {
    int slots, rows, speculate, window, guesses;
    uint64_t pages;
    bool prefix;
  } setups[] = {
      {1, 16, 15, 0, RIGHT, 0, true},   {4, 64, 15, 0, MIXED, 0, true},   {8, 64, 3, 0, WRONG, 0, false},
      {6, 24, 7, 0, MIXED, 22, true},   {6, 40, 15, 21, MIXED, 34, true}, {3, 20, 15, 5, RIGHT, 40, true},
      {6, 64, 15, 16, WRONG, 30, true}, {4, 64, 15, 0, -1, 0, true},      {4, 64, -1, 33, MIXED, 0, true},
  };
  totals n = {0};
  const char *more = getenv("EL_SPECULATION_SEEDS");
  const uint64_t n_seeds = more ? strtoull(more, NULL, 10) : 1;
  for (uint64_t seed = 1; seed <= n_seeds; seed++) {
    uint64_t rng = seed;
    el_engine_options o = rig_options(1, CTX, 64);
    o.speculate = 0;
    o.prefix_cache = false;
    fake.window = 0;
    rig quiet = open_rig(o, 0);
    const el_constraint *constraints[N_PATTERNS];
    open_constraints(&quiet, constraints);
    for (int i = 0; i < N; i++) {
      make_job(&jobs[i], &rng);
      el_request q = jobs[i].q;
      if (jobs[i].constraint >= 0) q.constraint = constraints[jobs[i].constraint];
      rig_run(&quiet, q, &jobs[i].expected);
    }
    assert_int_equal(rig_stats(&quiet).draft_tokens, 0);
    for (int i = 0; i < N_PATTERNS; i++) el_constraint_close(quiet.engine, constraints[i]);
    el_engine_close(quiet.engine);
    remove_tree(quiet.dir);
    for (size_t k = 0; k < sizeof setups / sizeof *setups; k++) {
      fake.window = setups[k].window;
      o = rig_options(setups[k].slots, CTX, setups[k].rows);
      o.speculate = setups[k].speculate;
      o.prefix_cache = setups[k].prefix;
      o.n_threads = 1 + (int)(k % 2);
      compare(jobs, o, setups[k].pages, setups[k].guesses, &n);
    }
  }
  fake = (fake_options){0};
  print_message("%llu rows of guesses, %llu accepted, %llu preemptions, %llu tokens of the prefix cache\n",
                (unsigned long long)n.proposed, (unsigned long long)n.accepted, (unsigned long long)n.preempted,
                (unsigned long long)n.cached);
  assert_true(n.accepted > 1000 && n.proposed > n.accepted + 1000 && n.preempted > 5 && n.cached > 1000);
}

/* --- guesses as they are made */

/* Says "abcdefgh..." after a prompt that says so already. */
static int copied[40];
static el_request ask_to_copy(int32_t prompt[16]) {
  prompt[0] = 3;
  for (int i = 1; i < 16; i++) prompt[i] = 'a' + i % 12;
  for (int i = 0; i < 39; i++) copied[i] = i < 15 ? 'z' : 'a' + i % 12;
  copied[39] = -1;
  fake.scripts[3] = copied;
  return ask(prompt, 16, 40);
}

static void what_is_copied_from_the_prompt_takes_fewer_steps(void **state) {
  int32_t prompt[16];
  el_request q = ask_to_copy(prompt);
  el_engine_options o = rig_options(1, 96, 32);
  int steps[2];
  for (int i = 0; i < 2; i++) {
    o.speculate = i ? 7 : 0;
    rig r = rig_open_options(o, 0);
    ask_to_copy(prompt);
    result a;
    result_init(&a);
    rig_run(&r, q, &a);
    assert_int_equal(a.n, 24);
    assert_int_equal(a.last.done.finish, EL_FINISH_STOP);
    steps[i] = fake_take_counts().steps;
    if (i) assert_true(a.last.done.draft_tokens_accepted >= 16);
    rig_close(&r);
  }
  assert_int_equal(steps[0], 25);
  assert_true(steps[1] <= 8);
}

static void a_request_may_ask_for_no_guesses(void **state) {
  int32_t prompt[16];
  el_request q = ask_to_copy(prompt);
  el_engine_options o = rig_options(1, 96, 32);
  o.speculate = 7;
  rig r = rig_open_options(o, 0);
  result a, b;
  result_init(&a);
  result_init(&b);
  q.speculate = 0;
  rig_run(&r, q, &a);
  assert_int_equal(a.last.done.draft_tokens, 0);
  q.speculate = 1; /* one at a time */
  rig_run(&r, q, &b);
  assert_true(b.last.done.draft_tokens > 0 && fake_take_counts().max_rows <= 16);
  assert_true(result_text_is(&a, b.text) && a.n == b.n);
  rig_close(&r);
}

/* The tokens proposed for an answer that repeats nothing of its own text. */
static int proposed(rig *r, el_request q) {
  result a;
  result_init(&a);
  rig_run(r, q, &a);
  assert_int_equal(a.n, 21);
  return a.last.done.draft_tokens;
}

static void what_an_adapter_has_answered_is_guessed_for_its_own_domain_alone(void **state) {
  static int script[25];
  el_engine_options o = rig_options(2, 96, 32);
  o.speculate = 15;
  rig r = open_rig(o, 0);
  for (int i = 0; i < 24; i++) script[i] = 'A' + i;
  script[24] = -1;
  fake.scripts[4] = script;
  static const int32_t prompt[] = {4, 'x', 'y', 'z'};
  el_request q = ask(prompt, 4, 40);
  assert_int_equal(proposed(&r, q), 0);
  assert_true(proposed(&r, q) >= 16);
  q.prefix_domain = 7;
  assert_int_equal(proposed(&r, q), 0); /* another tenant's answers are not there */
  assert_true(proposed(&r, q) >= 16);
  q.adapter.name = "a";
  assert_int_equal(proposed(&r, q), 0); /* nor another adapter's */
  assert_true(proposed(&r, q) >= 16);
  q.adapter.name = "b";
  assert_int_equal(proposed(&r, q), 0);
  rig_close(&r);
}

static void cancel_at_third(result *a, const el_event *e) {
  if (e->type == EL_EVENT_TOKEN && a->n == 3) el_cancel(a->engine, e->request);
}

static void a_callback_that_cancels_gets_no_more_tokens_of_a_guess(void **state) {
  static job jobs[1];
  static result a;
  el_engine_options o = rig_options(1, 96, 32);
  o.speculate = 15;
  rig r = rig_open_options(o, 0);
  result_init(&jobs[0].expected);
  result_init(&a);
  el_request q = ASK(30, 'q', 'r');
  q.ignore_eos = true;
  rig_run(&r, q, &jobs[0].expected);
  oracle knows = {1, RIGHT, jobs, &a};
  r.engine->speculation.guess_user = &knows;
  r.engine->speculation.guess = tell;
  a.hook = cancel_at_third;
  rig_run(&r, q, &a);
  assert_int_equal(a.n, 3);
  assert_int_equal(a.last.done.finish, EL_FINISH_CANCELLED);
  assert_memory_equal(a.tokens, jobs[0].expected.tokens, 3 * sizeof *a.tokens);
  rig_close(&r);
}

int main(void) {
  setenv("EDGELORA_ABORT_ON_BUG", "1", 1);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_answer_is_the_same_whatever_is_guessed_of_it),
      cmocka_unit_test(what_is_copied_from_the_prompt_takes_fewer_steps),
      cmocka_unit_test(a_request_may_ask_for_no_guesses),
      cmocka_unit_test(what_an_adapter_has_answered_is_guessed_for_its_own_domain_alone),
      cmocka_unit_test(a_callback_that_cancels_gets_no_more_tokens_of_a_guess),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
