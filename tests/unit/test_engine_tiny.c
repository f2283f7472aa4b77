/* The engine on a real, small model: sequences with different adapters share their steps, and find pages that others
 * have computed, and none of them notices, to the last bit. The public interface alone is used. */
#include "bytes.h"

enum { N = 24, N_ADAPTERS = 7, TOKENS = 40, TOP = 5 };

typedef struct answer {
  int n;
  int32_t tokens[TOKENS];
  el_token_logprob top[TOKENS][TOP];
  float prompt[64];
  size_t n_prompt;
  char text[16 * TOKENS];
  size_t text_len;
  el_finish finish;
} answer;

/* A model under golden/, and its adapters a to g: folders there, or random ones. */
typedef struct offer {
  const char *model;
  const char *folders[N_ADAPTERS];
} offer;

static el_engine *open_engine(const offer *o, int n_slots, int step_rows, int n_threads, bool prefix_cache,
                              int speculate) {
  char path[512];
  const char *dir = getenv("EL_TEST_DATA");
  if (!dir) dir = "tests";
  snprintf(path, sizeof path, "%s/golden/%s", dir, o->model);
  el_engine_options options = el_engine_options_default();
  options.model_path = path;
  options.n_slots = n_slots;
  options.step_rows = step_rows;
  options.n_threads = n_threads;
  options.ctx_size = 128;
  options.prefix_cache = prefix_cache;
  options.speculate = speculate;
  el_engine *e = NULL;
  el_error err;
  if (el_engine_open(&options, &e, &err)) fail_msg("%s", err.message);
  for (int i = 0; i < N_ADAPTERS; i++) {
    char name[2] = {(char)('a' + i), 0}, folder[512];
    snprintf(folder, sizeof folder, "%s/golden/targets/%s", dir, o->folders[i] ? o->folders[i] : "");
    el_status status = o->folders[i] ? el_adapter_add(e, name, folder, &err)
                                     : el_adapter_add_random(e, name, 1 << i, (uint64_t)i, &err);
    if (status) fail_msg("%s", err.message);
  }
  return e;
}

static uint64_t submit(el_engine *e, int i) {
  static const char *const names[N_ADAPTERS + 1] = {"a", "b", "c", "d", "e", "f", "g", NULL};
  int32_t prompt[64];
  int n_vocab = el_tokenizer_n_vocab(el_engine_tokenizer(e)), n_prompt = 1 + i * 29 % 60;
  for (int k = 0; k < n_prompt; k++) prompt[k] = (i * 7919 + k * 104729) % n_vocab;
  el_request q = el_request_default();
  q.adapter.name = names[i % (N_ADAPTERS + 1)];
  q.prompt = prompt;
  q.n_prompt = (size_t)n_prompt;
  q.max_tokens = TOKENS - i;
  q.sampling.temperature = i % 3 ? 0.8f : 0;
  q.sampling.top_p = 0.9f;
  q.sampling.seed = (uint64_t)i;
  q.logprobs = q.ignore_eos = true;
  q.top_logprobs = TOP;
  q.prompt_logprobs = i % 2;
  uint64_t id = 0;
  el_error err;
  if (el_submit(e, &q, &id, &err)) fail_msg("%s", err.message);
  return id;
}

static void collect(el_engine *e, uint64_t id, answer *a) {
  memset(a, 0, sizeof *a);
  for (el_event ev = {0}; ev.type != EL_EVENT_DONE;) {
    assert_int_equal(el_next_event(e, id, -1, &ev), EL_OK);
    assert_true(ev.text_len <= sizeof a->text - a->text_len);
    memcpy(a->text + a->text_len, ev.text ? ev.text : "", ev.text_len);
    a->text_len += ev.text_len;
    if (ev.type == EL_EVENT_TOKEN) {
      a->tokens[a->n] = ev.token.id;
      memcpy(a->top[a->n++], ev.token.top, sizeof a->top[0]);
    } else if (ev.type == EL_EVENT_PROMPT) {
      memcpy(a->prompt, ev.prompt.logprobs, ev.prompt.n * sizeof(float));
      a->n_prompt = ev.prompt.n;
    } else {
      a->finish = ev.done.finish;
    }
  }
}

static void check_sharing(const offer *o) {
  static answer alone[N], together[N];
  el_engine *e = open_engine(o, 1, 16, 1, false, 0);
  for (int i = 0; i < N; i++) collect(e, submit(e, i), &alone[i]);
  el_engine_close(e);
  static const struct {
    int slots, rows, threads, speculate;
  } setups[] = {{4, 5, 1, -1}, {24, 64, 2, 3}, {10, 128, 3, 15}};
  for (size_t k = 0; k < sizeof setups / sizeof *setups; k++) {
    e = open_engine(o, setups[k].slots, setups[k].rows, setups[k].threads, true, setups[k].speculate);
    for (int turn = 0; turn < 2; turn++) { /* in the second one all prompts have been there before */
      uint64_t ids[N];
      for (int i = 0; i < N; i++) ids[i] = submit(e, i);
      for (int i = 0; i < N; i++) {
        collect(e, ids[i], &together[i]);
        assert_int_equal(together[i].n, TOKENS - i);
        assert_memory_equal(&together[i], &alone[i], sizeof alone[i]);
      }
      el_stats st;
      el_engine_stats(e, &st);
      if (turn) assert_true(st.cached_tokens > 16 * N / 2);
      if (turn && setups[k].speculate > 0) assert_true(st.draft_tokens_accepted > TOKENS); /* what came in the first */
    }
    el_engine_close(e);
  }
}

static void answers_do_not_depend_on_who_shares_the_steps(void **state) {
  check_sharing(&(offer){.model = "tiny/q4_k.gguf"});
}

static const offer more[] = {
    {"families/llama3.gguf", {"head", "dora", "embedding", "saved-both", "saved-norms", "tokens", "saved-head"}},
    {"families/gemma3.gguf",
     {"head-tied", "dora-head", "embedding-tied", "saved-tied", "saved-norms-gemma", "tokens-tied",
      "embedding-scaled"}}};

static void nor_do_those_of_adapters_with_more_than_pairs(void **state) {
  for (size_t i = 0; i < sizeof more / sizeof *more; i++) check_sharing(&more[i]);
}

static el_finish finish_of(el_engine *e, el_request *q, el_error *why) {
  static const int32_t prompt[] = {1, 2, 3};
  uint64_t id = 0;
  el_error err;
  q->prompt = prompt;
  q->n_prompt = 3;
  q->max_tokens = 2;
  if (el_submit(e, q, &id, &err)) fail_msg("%s", err.message);
  for (el_event ev = {0};;) {
    assert_int_equal(el_next_event(e, id, -1, &ev), EL_OK);
    if (ev.type != EL_EVENT_DONE) continue;
    *why = ev.done.error;
    return ev.done.finish;
  }
}

static void adapters_with_more_than_pairs_are_neither_combined_nor_scaled(void **state) {
  const el_adapter_scale both[] = {{"a", 1}, {"b", 1}}, half[] = {{"b", 0.5f}}, whole[] = {{"b", 1}};
  el_error why;
  el_engine *e = open_engine(&more[0], 2, 16, 1, true, 0);
  el_request q = el_request_default();
  q.adapter = (el_adapter_selection){.by = EL_BY_SCALES, .scales = {both, 2}};
  assert_int_equal(finish_of(e, &q, &why), EL_FINISH_ERROR);
  assert_contains(why.message, "more than pairs of matrices");
  q.adapter = (el_adapter_selection){.by = EL_BY_SCALES, .scales = {half, 1}};
  assert_int_equal(finish_of(e, &q, &why), EL_FINISH_ERROR);
  assert_contains(why.message, "more than pairs of matrices");
  q.adapter.scales.list = whole;
  assert_int_not_equal(finish_of(e, &q, &why), EL_FINISH_ERROR);
  el_engine_close(e);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(answers_do_not_depend_on_who_shares_the_steps),
                                     cmocka_unit_test(nor_do_those_of_adapters_with_more_than_pairs),
                                     cmocka_unit_test(adapters_with_more_than_pairs_are_neither_combined_nor_scaled)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
