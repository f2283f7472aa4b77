/* What llama.cpp decodes with long contexts: the counterpart of `edgelora-bench batch --context`. A prompt of FILLED
 * tokens is computed; its keys and values are put over the whole context through the state of a sequence, as to compute
 * so many tokens would take minutes. Built and run by long-context.py; keys and values are F16, a cache for each
 * sequence. Prints a JSON object a line.
 *
 *   context MODEL THREADS NTG REPEAT NPL,.. CONTEXT,.. */
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

#include "llama.h"

enum { FILLED = 256 };

static std::vector<int> numbers(const char *text) {
  std::vector<int> out;
  std::stringstream s(text);
  for (std::string item; std::getline(s, item, ',');) out.push_back(std::stoi(item));
  return out;
}

static void die(const char *what) {
  fprintf(stderr, "context: %s\n", what);
  exit(1);
}

/* The state of a sequence, read from front to back. */
struct reader {
  const std::vector<uint8_t> &bytes;
  size_t at = 0;
  template <typename T>
  T take() {
    T x;
    if (at + sizeof x > bytes.size()) die("a state that ends early");
    memcpy(&x, bytes.data() + at, sizeof x);
    at += sizeof x;
    return x;
  }
};

static void put(std::vector<uint8_t> &out, const void *p, size_t n) {
  out.insert(out.end(), (const uint8_t *)p, (const uint8_t *)p + n);
}
template <typename T>
static void put(std::vector<uint8_t> &out, T x) {
  put(out, &x, sizeof x);
}

/* The state of FILLED cells becomes one of n: magic, sequence, streams; of each stream the cells, and of one that has
 * any: position and number of sequences of each cell; whether values are transposed, layers; type, bytes of a row and
 * rows of each layer's keys, then values. */
static std::vector<uint8_t> stretched(const std::vector<uint8_t> &state, uint32_t n) {
  reader r{state};
  std::vector<uint8_t> out;
  put(out, r.take<uint32_t>());
  put(out, r.take<int32_t>());
  const uint32_t n_streams = r.take<uint32_t>();
  put(out, n_streams);
  for (uint32_t s = 0; s < n_streams; s++) {
    const uint32_t cells = r.take<uint32_t>();
    put(out, cells ? n : 0);
    if (!cells) continue;
    if (cells != FILLED) die("a state of other cells than were filled");
    for (uint32_t i = 0; i < cells; i++)
      if (r.take<int32_t>() != (int32_t)i || r.take<uint32_t>() != 1 || r.take<int32_t>() != 0)
        die("cells of another form");
    for (uint32_t i = 0; i < n; i++) put(out, (int32_t)i), put(out, (uint32_t)1), put(out, (int32_t)0);
    const uint32_t transposed = r.take<uint32_t>(), layers = r.take<uint32_t>();
    if (transposed) die("values are transposed: without flash attention");
    put(out, transposed), put(out, layers);
    for (uint32_t i = 0; i < 2 * layers; i++) {
      put(out, r.take<int32_t>());
      const uint64_t row = r.take<uint64_t>();
      put(out, row);
      if (r.at + cells * row > state.size()) die("a state that ends early");
      for (uint32_t k = 0; k < n; k += cells) put(out, state.data() + r.at, std::min(n - k, cells) * row);
      r.at += cells * row;
    }
  }
  if (r.at != state.size()) die("a state with more than keys and values");
  return out;
}

static void decode(llama_context *ctx, llama_batch &b) {
  if (llama_decode(ctx, b)) die("llama_decode failed");
  llama_synchronize(ctx);
}

static void add(llama_batch &b, llama_token token, int pos, int seq, bool logits) {
  const int i = b.n_tokens++;
  b.token[i] = token;
  b.pos[i] = pos;
  b.n_seq_id[i] = 1;
  b.seq_id[i][0] = seq;
  b.logits[i] = logits;
}

/* Tokens a second of each round. */
static std::vector<double> measure(llama_model *model, int threads, int ntg, int repeat, int npl, int context) {
  const int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
  llama_context_params p = llama_context_default_params();
  p.n_ctx = (uint32_t)(npl * ((context + ntg * repeat + 1 + 255) / 256 * 256));
  p.n_batch = p.n_ubatch = FILLED;
  p.n_seq_max = (uint32_t)npl;
  p.n_threads = p.n_threads_batch = threads;
  p.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
  p.kv_unified = false;
  llama_context *ctx = llama_init_from_model(model, p);
  if (!ctx) die("no context");
  llama_batch b = llama_batch_init(FILLED, 0, 1);
  for (int i = 0; i < FILLED; i++) add(b, (i * 104729 + 13) % n_vocab, i, 0, i + 1 == FILLED);
  decode(ctx, b);
  std::vector<uint8_t> state(llama_state_seq_get_size(ctx, 0));
  if (llama_state_seq_get_data(ctx, state.data(), state.size(), 0) != state.size()) die("no state");
  state = stretched(state, (uint32_t)context);
  for (int s = 0; s < npl; s++)
    if (!llama_state_seq_set_data(ctx, state.data(), state.size(), s)) die("the state was refused");
  std::vector<double> out;
  int pos = context;
  for (int i = -1; i < ntg * repeat; i++, pos++) {
    b.n_tokens = 0;
    for (int s = 0; s < npl; s++) add(b, (s * 7919 + pos % 997 * 104729) % n_vocab, pos, s, true);
    const auto begin = std::chrono::steady_clock::now();
    decode(ctx, b);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (i < 0) continue;
    if (i % ntg == 0) out.push_back(0);
    out.back() += seconds;
  }
  for (double &x : out) x = npl * ntg / x;
  llama_batch_free(b);
  llama_free(ctx);
  return out;
}

int main(int argc, char **argv) {
  if (argc != 7) die("MODEL THREADS NTG REPEAT NPL,.. CONTEXT,..");
  llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
  llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
  if (!model) die("no model");
  for (int context : numbers(argv[6]))
    for (int npl : numbers(argv[5])) {
      std::vector<double> s = measure(model, atoi(argv[2]), atoi(argv[3]), atoi(argv[4]), npl, context);
      std::sort(s.begin(), s.end());
      printf(
          "{\"npl\": %d, \"context\": %d, \"tokens_per_second\": {\"median\": %.3f, \"min\": %.3f, \"max\": %.3f}}\n",
          npl, context, s[s.size() / 2], s.front(), s.back());
      fflush(stdout);
    }
  llama_model_free(model);
}
