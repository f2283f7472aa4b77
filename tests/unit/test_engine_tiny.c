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

static el_engine *open_engine(int n_slots, int step_rows, int n_threads, bool prefix_cache) {
  char path[512];
  const char *dir = getenv("EL_TEST_DATA");
  snprintf(path, sizeof path, "%s/golden/tiny/q4_k.gguf", dir ? dir : "tests");
  el_engine_options o = el_engine_options_default();
  o.model_path = path;
  o.n_slots = n_slots;
  o.step_rows = step_rows;
  o.n_threads = n_threads;
  o.ctx_size = 128;
  o.prefix_cache = prefix_cache;
  el_engine *e = NULL;
  el_error err;
  if (el_engine_open(&o, &e, &err)) fail_msg("%s", err.message);
  for (int i = 0; i < N_ADAPTERS; i++) {
    char name[2] = {(char)('a' + i), 0};
    if (el_adapter_add_random(e, name, 1 << i, (uint64_t)i, &err)) fail_msg("%s", err.message);
  }
  return e;
}

static uint64_t submit(el_engine *e, int i) {
  static const char *const names[N_ADAPTERS + 1] = {"a", "b", "c", "d", "e", "f", "g", NULL};
  int32_t prompt[64];
  int n_vocab = el_tokenizer_n_vocab(el_engine_tokenizer(e)), n_prompt = 1 + i * 29 % 60;
  for (int k = 0; k < n_prompt; k++) prompt[k] = (i * 7919 + k * 104729) % n_vocab;
  el_request q = el_request_default();
  q.adapter = names[i % (N_ADAPTERS + 1)];
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
      a->tokens[a->n] = ev.token;
      memcpy(a->top[a->n++], ev.top, sizeof a->top[0]);
    } else if (ev.type == EL_EVENT_PROMPT) {
      memcpy(a->prompt, ev.prompt_logprobs, ev.n_prompt_logprobs * sizeof(float));
      a->n_prompt = ev.n_prompt_logprobs;
    } else {
      a->finish = ev.finish;
    }
  }
}

static void answers_do_not_depend_on_who_shares_the_steps(void **state) {
  static answer alone[N], together[N];
  el_engine *e = open_engine(1, 16, 1, false);
  for (int i = 0; i < N; i++) collect(e, submit(e, i), &alone[i]);
  el_engine_close(e);
  static const struct { int slots, rows, threads; } setups[] = {{4, 5, 1}, {24, 64, 2}, {10, 128, 3}};
  for (size_t k = 0; k < sizeof setups / sizeof *setups; k++) {
    e = open_engine(setups[k].slots, setups[k].rows, setups[k].threads, true);
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
    }
    el_engine_close(e);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(answers_do_not_depend_on_who_shares_the_steps)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
