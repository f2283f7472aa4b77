// Asks libllama (the peer) what a model says: JSON jobs in, one a line, JSON answers out.
//
// The golden scripts drive this program rather than llama-server because it gives raw logits of any
// position, takes token ids as they are, and stops exactly where the golden files say it stops.
// It is compiled against the peer's headers by tools/golden/common.py; nothing of the peer is copied here.
//
// A job:    {"text": "...", "special": false, "add": false} or {"ids": [...]}, and
//           "n": greedy tokens (default 0), "top": logits to list (default 20), "full": list all logits;
//           or "each": true, which asks for the logits after each of the tokens and nothing else
// An answer: {"ids": prompt ids, "out": greedy ids, "steps": [[id1, logit1, id2, logit2], ...],
//            "top": [[id, logit], ...] after the prompt, "mean", "std": over all logits after the prompt},
//            or {"each": [[logit, ...], ...]}
// Greedy generation stops after an end-of-generation token, which is then the last of "out".

#include <llama.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

using json = nlohmann::json;

static const char *USAGE =
    "usage: oracle --model FILE [--lora FILE] [--threads N] [--ctx N] [--exact] [--tokenize] < JOBS > ANSWERS\n"
    "  --exact     F32 KV cache, no flash attention (the default is the peer's own: F16, automatic)\n"
    "  --tokenize  answer with the prompt ids only; loads the vocabulary and no weights\n";

struct options {
    std::string model, lora;
    int threads = 2;
    int ctx = 1024;
    bool exact = false;
    bool tokenize = false;
};

struct fail : std::runtime_error {
    using std::runtime_error::runtime_error;
};

static options parse(int argc, char **argv)
{
    options o;
    for (int i = 1; i < argc; i++) {
        std::string a = argv[i];
        auto value = [&]() -> std::string {
            if (i + 1 >= argc) throw fail(a + " wants a value\n" + USAGE);
            return argv[++i];
        };
        if (a == "--help" || a == "-h") {
            fputs(USAGE, stdout);
            exit(0);
        } else if (a == "--model") o.model = value();
        else if (a == "--lora") o.lora = value();
        else if (a == "--threads") o.threads = std::stoi(value());
        else if (a == "--ctx") o.ctx = std::stoi(value());
        else if (a == "--exact") o.exact = true;
        else if (a == "--tokenize") o.tokenize = true;
        else throw fail("unknown option " + a + "\n" + USAGE);
    }
    if (o.model.empty()) throw fail(USAGE);
    return o;
}

// Six significant digits: beyond what two implementations agree on, and short.
static double shorten(double x)
{
    char buf[32];
    snprintf(buf, sizeof buf, "%.6g", x);
    return atof(buf);
}

static std::vector<llama_token> tokenize(const llama_vocab *vocab, const std::string &text, bool add, bool special)
{
    std::vector<llama_token> ids(text.size() + 8);
    int n = llama_tokenize(vocab, text.data(), text.size(), ids.data(), ids.size(), add, special);
    if (n < 0) throw fail("llama_tokenize failed");
    ids.resize(n);
    return ids;
}

// The ids of the n largest logits, largest first; the lower id first where logits are equal, which is
// also what the peer's greedy sampler takes.
static std::vector<int> largest(const float *logits, int n_vocab, int n)
{
    std::vector<int> order(n_vocab);
    for (int i = 0; i < n_vocab; i++) order[i] = i;
    n = std::min(n, n_vocab);
    std::partial_sort(order.begin(), order.begin() + n, order.end(),
                      [&](int a, int b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
    order.resize(n);
    return order;
}

static const float *decode(llama_context *ctx, std::vector<llama_token> ids)
{
    if (llama_decode(ctx, llama_batch_get_one(ids.data(), ids.size()))) throw fail("llama_decode failed");
    return llama_get_logits_ith(ctx, -1);
}

static json each(llama_context *ctx, const llama_vocab *vocab, const std::vector<llama_token> &ids)
{
    llama_memory_clear(llama_get_memory(ctx), true);
    llama_batch batch = llama_batch_init(ids.size(), 0, 1);
    for (size_t i = 0; i < ids.size(); i++) {
        batch.token[i] = ids[i];
        batch.pos[i] = i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = true;
    }
    batch.n_tokens = ids.size();
    const int failed = llama_decode(ctx, batch);
    llama_batch_free(batch);
    if (failed) throw fail("llama_decode failed");
    json rows = json::array();
    for (size_t i = 0; i < ids.size(); i++) {
        const float *logits = llama_get_logits_ith(ctx, i);
        rows.push_back(std::vector<float>(logits, logits + llama_vocab_n_tokens(vocab)));
    }
    return {{"each", rows}};
}

static json answer(llama_context *ctx, const llama_vocab *vocab, const std::vector<llama_token> &ids, const json &job)
{
    const int n_vocab = llama_vocab_n_tokens(vocab);
    json a = {{"ids", ids}, {"out", json::array()}, {"steps", json::array()}, {"top", json::array()}};
    llama_memory_clear(llama_get_memory(ctx), true);
    const float *logits = decode(ctx, ids);

    double sum = 0, squares = 0;
    for (int i = 0; i < n_vocab; i++) sum += logits[i], squares += (double)logits[i] * logits[i];
    const double mean = sum / n_vocab;
    a["mean"] = shorten(mean);
    a["std"] = shorten(std::sqrt(squares / n_vocab - mean * mean));
    for (int id : largest(logits, n_vocab, job.value("top", 20))) a["top"].push_back({id, shorten(logits[id])});
    if (job.value("full", false))
        for (int i = 0; i < n_vocab; i++) a["logits"].push_back(shorten(logits[i]));

    const int n = job.value("n", 0);
    for (int i = 0; i < n; i++) {
        const auto two = largest(logits, n_vocab, 2);
        a["out"].push_back(two[0]);
        a["steps"].push_back({two[0], shorten(logits[two[0]]), two[1], shorten(logits[two[1]])});
        if (llama_vocab_is_eog(vocab, two[0]) || i + 1 == n) break;
        logits = decode(ctx, {two[0]});
    }
    return a;
}

static void run(const options &o)
{
    llama_log_set([](ggml_log_level level, const char *text, void *) {
        if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
    }, nullptr);
    llama_backend_init();

    auto mp = llama_model_default_params();
    mp.vocab_only = o.tokenize;
    llama_model *model = llama_model_load_from_file(o.model.c_str(), mp);
    if (!model) throw fail("cannot load " + o.model);
    const llama_vocab *vocab = llama_model_get_vocab(model);

    llama_context *ctx = nullptr;
    if (!o.tokenize) {
        auto cp = llama_context_default_params();
        cp.n_ctx = o.ctx;
        cp.n_batch = o.ctx;
        cp.n_threads = cp.n_threads_batch = o.threads;
        if (o.exact) {
            cp.type_k = cp.type_v = GGML_TYPE_F32;
            cp.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
        }
        ctx = llama_init_from_model(model, cp);
        if (!ctx) throw fail("cannot make a context");
        if (!o.lora.empty()) {
            llama_adapter_lora *lora = llama_adapter_lora_init(model, o.lora.c_str());
            float scale = 1;
            if (!lora || llama_set_adapters_lora(ctx, &lora, 1, &scale)) throw fail("cannot load " + o.lora);
        }
    }

    std::string line;
    while (std::getline(std::cin, line)) {
        const json job = json::parse(line);
        const auto ids = job.contains("ids") ? job["ids"].get<std::vector<llama_token>>()
                                             : tokenize(vocab, job["text"], job.value("add", false), job.value("special", false));
        const json a = o.tokenize                 ? json{{"ids", ids}}
                       : job.value("each", false) ? each(ctx, vocab, ids)
                                                  : answer(ctx, vocab, ids, job);
        std::cout << a.dump() << '\n';
    }
    llama_free(ctx);
    llama_model_free(model);
    llama_backend_free();
}

int main(int argc, char **argv)
{
    try {
        run(parse(argc, argv));
    } catch (const std::exception &e) {
        fprintf(stderr, "oracle: %s\n", e.what());
        return 1;
    }
}
