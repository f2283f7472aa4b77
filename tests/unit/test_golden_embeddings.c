/* Vectors of prompts against llama-server's, recorded in tests/golden/embeddings.json by tools/golden/embeddings.py.
 *
 * With all weights expanded to F16 they have to be the exact ones, which come from weights dequantised to F32, with the
 * adapter merged into them; with packed weights as near to these as llama-server's own of the packed file are. The
 * public interface alone is used. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "bytes.h"
#include "edgelora.h"

enum { MAX_PROMPT = 256 };

/* Relative distances. Activations are of 8 bits whatever the weights are. */
static const double F16_MAX = 0.005, PACKED_MORE = 1.5, PACKED_MAX = 0.012;

static const char *path_of(char *out, size_t size, const char *name, const char *suffix) {
  snprintf(out, size, "%s/golden/%s%s", getenv("EL_TEST_DATA"), name, suffix);
  return out;
}

static const char *text(const json_t *j, const char *key) {
  return json_string_value(json_object_get(j, key));
}

static el_engine *open_engine(const json_t *model, const char *weights) {
  char path[512];
  const bool f16 = !strcmp(weights, "f16");
  el_engine_options o = el_engine_options_default();
  o.model_path = path_of(path, sizeof path, text(model, "model"), ".gguf");
  o.weights = weights;
  o.adapter_type = f16 ? "f16" : "q8";
  o.n_slots = 2;
  o.step_rows = 16;
  o.n_threads = 1;
  o.ctx_size = MAX_PROMPT;
  el_engine *e = NULL;
  el_error err;
  if (el_engine_open(&o, &e, &err)) fail_msg("%s", err.message);
  if (text(model, "lora") && el_adapter_add(e, "lora", path_of(path, sizeof path, text(model, "lora"), ".gguf"), &err))
    fail_msg("%s", err.message);
  return e;
}

/* Relative distance of n values from the exact ones. */
static double distance(const float *v, const json_t *other, const json_t *exact) {
  double gap = 0, all = 0;
  for (size_t i = 0; i < json_array_size(exact); i++) {
    const double y = json_number_value(json_array_get(exact, i)),
                 x = v ? (double)v[i] : json_number_value(json_array_get(other, i));
    gap += (x - y) * (x - y);
    all += y * y;
  }
  return sqrt(gap / all);
}

static double ask(el_engine *e, const char *adapter, el_embed how, const json_t *ids, const json_t *exact) {
  int32_t prompt[MAX_PROMPT];
  el_request q = el_request_default();
  double gap = -1;
  uint64_t id;
  el_error err;
  q.adapter.name = adapter;
  q.prompt = prompt;
  q.n_prompt = json_array_size(ids);
  q.embed = how;
  assert_true(q.n_prompt <= MAX_PROMPT);
  for (size_t i = 0; i < q.n_prompt; i++) prompt[i] = (int32_t)json_integer_value(json_array_get(ids, i));
  if (el_submit(e, &q, &id, &err)) fail_msg("%s", err.message);
  for (el_event ev = {0}; ev.type != EL_EVENT_DONE;) {
    assert_int_equal(el_next_event(e, id, -1, &ev), EL_OK);
    if (ev.type != EL_EVENT_EMBEDDING) continue;
    assert_int_equal(ev.embedding.n, json_array_size(exact));
    gap = distance(ev.embedding.values, NULL, exact);
  }
  assert_true(gap >= 0);
  return gap;
}

static void check_model(const json_t *model, const char *weights) {
  static const struct {
    const char *name;
    el_embed how;
  } ways[] = {{"mean", EL_EMBED_MEAN}, {"cls", EL_EMBED_CLS}, {"last", EL_EMBED_LAST}};
  const bool f16 = !strcmp(weights, "f16");
  el_engine *e = open_engine(model, weights);
  const char *adapter = text(model, "lora") ? "lora" : NULL;
  for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
    const json_t *cases = json_object_get(json_object_get(model, "vectors"), ways[w].name), *c;
    double ours = 0, theirs = 0, base = 0;
    size_t i;
    assert_true(json_array_size(cases) > 0);
    json_array_foreach((json_t *)cases, i, c) {
      const json_t *ids = json_array_get(json_object_get(model, "prompts"), i), *exact = json_object_get(c, "exact");
      ours = fmax(ours, ask(e, adapter, ways[w].how, ids, exact));
      theirs = fmax(theirs, distance(NULL, json_object_get(c, "out"), exact));
      if (adapter) base = fmax(base, ask(e, NULL, ways[w].how, ids, exact));
    }
    printf("%s %s %s, %s: %.5f; llama-server's %.5f", text(model, "model"), adapter ? adapter : "", ways[w].name,
           weights, ours, theirs);
    printf(adapter ? "; without the adapter %.3f\n" : "\n", base);
    assert_true(ours <= (f16 ? F16_MAX : PACKED_MORE * theirs + PACKED_MAX));
    if (adapter) assert_true(base > 50 * F16_MAX);
  }
  el_engine_close(e);
}

static void vectors_are_those_of_llama_server_and_of_merged_weights(void **state) {
  char path[512];
  json_error_t why;
  json_t *j = json_load_file(path_of(path, sizeof path, "embeddings", ".json"), 0, &why), *model;
  if (!j) fail_msg("%s: %s", path, why.text);
  size_t i;
  assert_true(json_array_size(json_object_get(j, "models")) >= 7);
  json_array_foreach(json_object_get(j, "models"), i, model) {
    check_model(model, "f16");
    check_model(model, "keep");
  }
  json_decref(j);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(vectors_are_those_of_llama_server_and_of_merged_weights)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
