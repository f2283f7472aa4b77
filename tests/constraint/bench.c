/* What constraints cost with a model's vocabulary: compiling, masks when they are new and when they are known, and an
 * engine's speed with and without. Not a test: build it, and
 *
 *   build/tests/constraint/bench_constraint MODEL.gguf [CLIENTS [TOKENS [ROUNDS]]]
 *
 * CLIENTS 0: no engine. With and without take turns, and the medians of their ratios are shown. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/figures.h"
#include "constraint/compiled.h"

static const char LIST[] =
    "root ::= \"[\" item (\",\" ws item){1000} \"]\"\n"
    "item ::= \"{\" ws name \",\" ws age \",\" ws tags \"}\"\n"
    "name ::= \"\\\"name\\\":\" ws string\nage ::= \"\\\"age\\\":\" ws [0-9]{1,3}\n"
    "tags ::= \"\\\"tags\\\":\" ws \"[\" (string (\",\" ws string)*)? \"]\"\n"
    "string ::= \"\\\"\" ([^\"\\\\\\x00-\\x1f] | \"\\\\\" [\"\\\\/bfnrt])* \"\\\"\"\n"
    "ws ::= | \" \" | \"\\n\" [ ]{0,20}\n";
static const char LIST_TEXT[] =
    "[{\"name\": \"Ada Lovelace, countess of somewhere\", \"age\": 36, \"tags\": [\"mathematics\", \"engines\"]}, "
    "{\n  \"name\": \"Gr\xc3\xa5nd \\\"Ch\xc3\xa8"
    "f\\\"\", \"age\": 7, \"tags\": []}";
static const char OBJECT_TEXT[] =
    "{\"name\": \"Ada Lovelace\", \"born\": {\"year\": 1815, \"place\": \"London\"}, \"works\": [1.5e3, true, null, "
    "[\"notes on the engine\", {\"deep\": {\"deeper\": [[\"text in here\"]]}}]]}";
static const char SCHEMA[] =
    "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":100},\"age\":{\"type\":"
    "\"integer\","
    "\"minimum\":0,\"maximum\":150},\"email\":{\"type\":\"string\",\"format\":\"email\"},\"address\":{\"type\":"
    "\"object\","
    "\"properties\":{\"street\":{\"type\":\"string\"},\"city\":{\"type\":\"string\"},\"zip\":{\"type\":\"string\","
    "\"pattern\":\"^[0-9]{5}$\"}},\"required\":[\"street\",\"city\"]},\"tags\":{\"type\":\"array\",\"items\":{\"enum\":"
    "[\"a\","
    "\"b\",\"c\"]},\"maxItems\":10}},\"required\":[\"name\",\"age\"],\"additionalProperties\":false}";
static const char SCHEMA_TEXT[] =
    "{\"name\": \"Ada Lovelace, countess\", \"age\": 36, \"email\": \"ada@example.com\", \"address\": {\"street\": "
    "\"12 St "
    "James's Square\", \"city\": \"London\", \"zip\": \"12345\"}, \"tags\": [\"a\", \"b\"]}";

static const struct sample {
  const char *name;
  el_constraint_type type;
  const char *source, *text;
} samples[] = {
    {"a list of objects, GBNF", EL_CONSTRAINT_GRAMMAR, LIST, LIST_TEXT},
    {"any JSON object", EL_CONSTRAINT_JSON_OBJECT, "", OBJECT_TEXT},
    {"a JSON schema", EL_CONSTRAINT_JSON_SCHEMA, SCHEMA, SCHEMA_TEXT},
    {"100 characters at most, regex", EL_CONSTRAINT_REGEX, "[^\"]{0,100}",
     "a text that is counted, word for word, up to "
     "here"},
};

static void die(const char *what, const el_error *err) {
  fprintf(stderr, "%s: %s\n", what, err->message);
  exit(1);
}

static void measure_masks(const el_trie *trie, const struct sample *s) {
  el_constraint_source source = {.type = s->type, .text = s->source, .len = strlen(s->source)};
  el_compiled *c = NULL;
  el_error err = {0};
  double begin = el_seconds();
  if (el_compiled_new(&source, trie, &c, &err)) {
    printf("%-32s %s\n", s->name, err.message);
    return;
  }
  double compiled = el_seconds() - begin;
  uint64_t *bits = malloc(sizeof *bits * (((size_t)trie->n_vocab + 63) / 64));
  int32_t *tokens = NULL;
  size_t n = 0;
  if (el_tokenize(trie->tokenizer, s->text, strlen(s->text), 0, &tokens, &n, &err)) die("tokenize", &err);
  double mean[2], worst[2];
  uint64_t walks, looked;
  for (int pass = 0; pass < 2; pass++) {
    el_matcher m;
    el_matcher_begin(&m, c);
    double all = worst[pass] = 0;
    for (size_t i = 0; i < n; i++) {
      begin = el_seconds();
      if (!el_matcher_mask(&m, false, bits, &err)) die("mask", &err);
      double took = el_seconds() - begin;
      all += took;
      if (took > worst[pass]) worst[pass] = took;
      char *bytes;
      size_t len;
      if (el_detokenize_after(trie->tokenizer, 0, &tokens[i], 1, false, &bytes, &len, &err)) die("text", &err);
      if (!el_matcher_take(&m, bytes, len, &err)) {
        fprintf(stderr, "%s: '%s' is not allowed at token %zu\n", s->name, bytes, i);
        exit(1);
      }
      el_free(bytes);
    }
    mean[pass] = all / (double)n;
    el_matcher_end(&m);
  }
  el_compiled_counts(c, &walks, &looked);
  printf("%-32s compiled in %6.2f ms; %3zu masks: new %8.1f us each, %6.2f ms the worst; known %5.2f us; %4llu walks\n",
         s->name, compiled * 1e3, n, mean[0] * 1e6, worst[0] * 1e3, mean[1] * 1e6, (unsigned long long)walks);
  el_free(tokens);
  free(bits);
  el_compiled_free(c);
}

/* Tokens a second of all clients together. */
static double run(el_engine *e, int n_clients, int n_tokens, const el_constraint *c, float temperature, int round) {
  static const char PROMPT[] = "Write a long list of people as JSON, each with name, age and tags.\n";
  int32_t *prompt;
  size_t n_prompt;
  el_error err;
  uint64_t ids[256];
  if (el_tokenize(el_engine_tokenizer(e), PROMPT, sizeof PROMPT - 1, EL_TOKENIZE_BOS, &prompt, &n_prompt, &err))
    die("tokenize", &err);
  int tokens = 0;
  double first = 0, last = 0;
  for (int i = 0; i < n_clients; i++) {
    el_request q = el_request_default();
    q.prompt = prompt;
    q.n_prompt = n_prompt;
    q.max_tokens = n_tokens;
    q.ignore_eos = true;
    q.constraint = c;
    q.sampling.temperature = temperature;
    q.sampling.top_p = temperature > 0 ? 0.95f : 1;
    q.sampling.seed = (uint64_t)(i + 1000 * round);
    if (el_submit(e, &q, &ids[i], &err)) die("submit", &err);
  }
  for (int i = 0; i < n_clients; i++) {
    for (el_event ev = {0}; ev.type != EL_EVENT_DONE;) {
      if (el_next_event(e, ids[i], -1, &ev)) exit(1);
      if (ev.type == EL_EVENT_TOKEN && !first) first = el_seconds();
      if (ev.type == EL_EVENT_DONE && ev.done.finish == EL_FINISH_ERROR) die("request", &ev.done.error);
      if (ev.type == EL_EVENT_DONE) tokens += ev.done.completion_tokens;
    }
    last = el_seconds();
  }
  el_free(prompt);
  return tokens / (last - first);
}

static void measure_engine(const char *model, int n_clients, int n_tokens, int rounds) {
  el_engine_options o = el_engine_options_default();
  el_engine *e;
  el_error err;
  o.model_path = model;
  o.n_slots = n_clients;
  if (el_engine_open(&o, &e, &err)) die(model, &err);
  el_constraint_source sources[] = {
      {.type = EL_CONSTRAINT_REGEX, .text = "[\\s\\S]*", .len = 7},
      {.type = EL_CONSTRAINT_GRAMMAR, .text = LIST, .len = sizeof LIST - 1},
  };
  static const char *const names[] = {"any text", "a list of objects"};
  for (int t = 0; t < 2; t++) {
    float temperature = t ? 0.8f : 0;
    for (int s = 0; s < 2; s++) {
      const el_constraint *c;
      if (el_constraint_open(e, &sources[s], &c, &err)) die("constraint", &err);
      double with[64], without[64], ratio[64];
      run(e, n_clients, 8, NULL, temperature, 0);
      for (int i = 0; i < rounds; i++) {
        without[i] = run(e, n_clients, n_tokens, NULL, temperature, i);
        with[i] = run(e, n_clients, n_tokens, c, temperature, i);
        ratio[i] = with[i] / without[i];
      }
      el_sort_figures(with, (size_t)rounds);
      el_sort_figures(without, (size_t)rounds);
      el_sort_figures(ratio, (size_t)rounds);
      printf("%d clients, temperature %.1f: free %6.1f tokens/s, %s %6.1f tokens/s; ratio %.3f (%.3f to %.3f)\n",
             n_clients, (double)temperature, without[rounds / 2], names[s], with[rounds / 2], ratio[rounds / 2],
             ratio[0], ratio[rounds - 1]);
      el_constraint_close(e, c);
    }
  }
  el_engine_close(e);
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: %s MODEL.gguf [CLIENTS [TOKENS [ROUNDS]]]\n", argv[0]);
    return 2;
  }
  int n_clients = argc > 2 ? atoi(argv[2]) : 16, n_tokens = argc > 3 ? atoi(argv[3]) : 64,
      rounds = argc > 4 ? atoi(argv[4]) : 5;
  if (n_clients < 0 || n_clients > 256 || n_tokens < 1 || rounds < 1 || rounds > 64) return 2;
  el_tokenizer *t;
  el_trie trie;
  el_error err;
  if (el_tokenizer_open(argv[1], &t, &err)) die(argv[1], &err);
  double begin = el_seconds();
  if (el_trie_build(t, &trie, &err)) die("trie", &err);
  printf("%d tokens: a tree of %u nodes in %.1f ms\n", (int)el_tokenizer_n_vocab(t), trie.n_nodes,
         (el_seconds() - begin) * 1e3);
  for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) measure_masks(&trie, &samples[i]);
  el_trie_free(&trie);
  el_tokenizer_close(t);
  if (n_clients) measure_engine(argv[1], n_clients, n_tokens, rounds);
  return 0;
}
