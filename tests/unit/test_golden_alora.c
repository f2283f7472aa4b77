/* Activated adapters (aLoRA) on a real, small model: where they begin is what PEFT says, and what they answer is the
 * same to the last bit whatever is found in the prefix cache, and however prompts are cut. The public interface alone
 * is used. */
#include <jansson.h>
#include <math.h>

#include "bytes.h"

enum { LENGTH = 48, N_KINDS = 5, N_TURNS = 12, NEW = 10, CTX = 256 };

static const char *test_path(char *out, size_t size, const char *name) {
  snprintf(out, size, "%s/%s", getenv("EL_TEST_DATA"), name);
  return out;
}

static json_t *load(void) {
  char path[512];
  json_error_t err;
  json_t *j = json_load_file(test_path(path, sizeof path, "golden/alora.json"), 0, &err);
  if (!j) fail_msg("%s: %s", path, err.text);
  return j;
}

/* The golden adapter with another field in its configuration; NULL: as it is. */
static void put_adapter(const char *dir, const char *name, const char *source, const char *fields) {
  char folder[256], path[512];
  json_error_t err;
  snprintf(folder, sizeof folder, "%s/%s", dir, name);
  mkdir(folder, 0700);
  snprintf(path, sizeof path, "%s/golden/%s/adapter_config.json", getenv("EL_TEST_DATA"), source);
  json_t *config = json_load_file(path, 0, &err), *more = fields ? json_loads(fields, 0, &err) : json_object();
  assert_true(config && more);
  json_object_update(config, more);
  char *text = json_dumps(config, 0);
  write_file(folder, "adapter_config.json", text, strlen(text));
  snprintf(path, sizeof path, "%s/golden/%s/adapter_model.safetensors", getenv("EL_TEST_DATA"), source);
  char to[512], whole[512];
  snprintf(to, sizeof to, "%s/adapter_model.safetensors", folder);
  assert_non_null(realpath(path, whole));
  assert_int_equal(symlink(whole, to), 0);
  free(text);
  json_decref(config);
  json_decref(more);
}

static el_engine *open_engine(const char *model, const char *adapters, int n_slots, int step_rows, int n_threads,
                              bool prefix_cache) {
  char path[512], name[128];
  snprintf(name, sizeof name, "golden/%s", model);
  el_engine_options o = el_engine_options_default();
  o.model_path = test_path(path, sizeof path, name);
  o.n_slots = n_slots;
  o.step_rows = step_rows;
  o.n_threads = n_threads;
  o.ctx_size = CTX;
  o.prefix_cache = prefix_cache;
  o.adapter_type = "f16";
  el_engine *e = NULL;
  el_error err;
  if (el_engine_open(&o, &e, &err)) fail_msg("%s", err.message);
  if (el_adapter_add_dir(e, adapters, NULL, NULL, &err)) fail_msg("%s", err.message);
  return e;
}

typedef struct answer {
  int n;
  int32_t tokens[NEW];
  float logprobs[NEW], prompt[CTX];
  int base_tokens, cached_tokens;
  bool not_invoked;
} answer;

static uint64_t submit(el_engine *e, const char *adapter, const int32_t *prompt, int n, int max_tokens, bool scored) {
  el_request q = el_request_default();
  q.adapter.name = adapter;
  q.prompt = prompt;
  q.n_prompt = (size_t)n;
  q.max_tokens = max_tokens;
  q.logprobs = q.ignore_eos = true;
  q.prompt_logprobs = scored;
  uint64_t id = 0;
  el_error err;
  if (el_submit(e, &q, &id, &err)) fail_msg("%s", err.message);
  return id;
}

static void collect(el_engine *e, uint64_t id, answer *a) {
  memset(a, 0, sizeof *a);
  for (el_event ev = {0}; ev.type != EL_EVENT_DONE;) {
    assert_int_equal(el_next_event(e, id, -1, &ev), EL_OK);
    if (ev.type == EL_EVENT_TOKEN) {
      a->logprobs[a->n] = ev.token.logprob;
      a->tokens[a->n++] = ev.token.id;
    } else if (ev.type == EL_EVENT_PROMPT) {
      memcpy(a->prompt, ev.prompt.logprobs, ev.prompt.n * sizeof(float));
    } else if (ev.type == EL_EVENT_DONE) {
      if (ev.done.finish == EL_FINISH_ERROR) fail_msg("%s", ev.done.error.message);
      a->base_tokens = ev.done.base_tokens;
      a->cached_tokens = ev.done.cached_tokens;
      a->not_invoked = ev.done.not_invoked;
    }
  }
}

static void an_activated_adapter_begins_where_pefts_does(void **state) {
  char dir[64], fields[256];
  json_t *j = load(), *c;
  size_t i;
  char *tokens = json_dumps(json_object_get(j, "invocation"), 0);
  snprintf(fields, sizeof fields, "{\"alora_invocation_tokens\":%s}", tokens);
  free(tokens);
  make_dir(dir);
  put_adapter(dir, "golden", json_string_value(json_object_get(j, "peft")), fields);
  el_engine *e = open_engine(json_string_value(json_object_get(j, "model")), dir, 2, 16, 1, true);
  json_array_foreach(json_object_get(j, "cases"), i, c) {
    const char *name = json_string_value(json_object_get(c, "name"));
    const json_t *ids = json_object_get(c, "ids"), *wanted = json_object_get(c, "logprobs");
    int32_t prompt[LENGTH];
    assert_int_equal(json_array_size(ids), LENGTH);
    for (size_t k = 0; k < LENGTH; k++) prompt[k] = (int32_t)json_integer_value(json_array_get(ids, k));
    static answer a;
    collect(e, submit(e, "golden", prompt, LENGTH, 0, true), &a);
    double sum = 0;
    for (int k = 1; k < LENGTH; k++) {
      double off = (double)a.prompt[k] - json_number_value(json_array_get(wanted, (size_t)k - 1));
      sum += off * off;
    }
    double off = sqrt(sum / (LENGTH - 1));
    const json_t *begin = json_object_get(c, "begin");
    assert_int_equal(a.not_invoked, json_is_null(begin));
    assert_int_equal(a.base_tokens, json_is_null(begin) ? LENGTH : json_integer_value(begin));
    print_message("%s: %.3f from PEFT\n", name, off);
    assert_true(off < 0.15); /* of quantised arithmetic; the nearest wrong place is 0.27 away */
    static const char *const places[] = {"early", "late"};
    for (int k = 0; k < 2; k++) {
      const json_t *other = json_object_get(c, places[k]);
      assert_true(json_is_null(other) || json_number_value(other) > 2 * off);
    }
  }
  assert_true(i >= 8);
  el_engine_close(e);
  remove_tree(dir);
  json_decref(j);
}

/* A conversation in which the base and adapters take turns: what each one gets to read, and who. */
static int turn_prompt(int turn, const answer *answers, int32_t prompt[CTX]) {
  int n = 0;
  for (; n < 37; n++) prompt[n] = 43 + n * 29 % 250;
  for (int t = 0; t < turn; t++) {
    for (int k = 0; k < t % 4; k++) prompt[n++] = 50 + (t * 7 + k) % 200;
    prompt[n++] = 40;
    if (t % 3) prompt[n++] = 41;
    for (int k = 0; k < NEW; k++) prompt[n++] = answers[t].tokens[k];
  }
  for (int k = 0; k < turn % 4; k++) prompt[n++] = 50 + (turn * 7 + k) % 200;
  prompt[n++] = 40;
  if (turn % 3) prompt[n++] = 41;
  return n;
}

static void conversations_are_the_same_bits_with_and_without_what_was_computed_before(void **state) {
  static const char *const names[N_KINDS] = {NULL, "one", "two", "plain", "three"};
  static answer alone[N_TURNS][N_KINDS], got[N_KINDS];
  char dir[64];
  make_dir(dir);
  put_adapter(dir, "one", "lora/tiny-peft", "{\"alora_invocation_tokens\":[40]}");
  put_adapter(dir, "two", "lora/tiny-peft", "{\"alora_invocation_tokens\":[40,41],\"lora_alpha\":4}");
  put_adapter(dir, "three", "lora/tiny-peft", "{\"alora_invocation_tokens\":[41],\"lora_alpha\":12}");
  put_adapter(dir, "plain", "lora/tiny-peft", NULL);
  static const struct {
    int slots, rows, threads;
    bool cache;
  } setups[] = {{1, 64, 1, false}, {1, 7, 2, true}, {5, 9, 1, true}, {5, 64, 3, true}};
  for (size_t k = 0; k < sizeof setups / sizeof *setups; k++) {
    el_engine *e =
        open_engine("tiny/q8_0.gguf", dir, setups[k].slots, setups[k].rows, setups[k].threads, setups[k].cache);
    answer told[N_TURNS]; /* whoever's turn it was */
    int cached = 0;
    for (int t = 0; t < N_TURNS; t++) {
      int32_t prompt[CTX];
      uint64_t ids[N_KINDS];
      int n = turn_prompt(t, told, prompt);
      for (int i = 0; i < N_KINDS; i++) ids[i] = submit(e, names[i], prompt, n, NEW, k % 2 && t % 2);
      for (int i = 0; i < N_KINDS; i++) {
        collect(e, ids[i], k ? &got[i] : &alone[t][i]);
        if (!k) continue;
        assert_memory_equal(got[i].tokens, alone[t][i].tokens, sizeof got[i].tokens);
        assert_memory_equal(got[i].logprobs, alone[t][i].logprobs, sizeof got[i].logprobs);
        assert_int_equal(got[i].base_tokens, alone[t][i].base_tokens);
        cached += got[i].cached_tokens;
      }
      told[t] = alone[t][t * 3 % N_KINDS];
    }
    if (k) assert_true(cached > 64 * N_TURNS);
    el_engine_close(e);
  }
  remove_tree(dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_activated_adapter_begins_where_pefts_does),
      cmocka_unit_test(conversations_are_the_same_bits_with_and_without_what_was_computed_before)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
