/* edgelora-bench batch: tokens per second by batch size, with and without adapters. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/batch/batch.h"
#include "bench/commands.h"

/* "each" or a number. */
static bool parse_n_adapters(const char *text, el_batch_options *o) {
  if (strcmp(text, "each") == 0) {
    o->n_adapters = o->max_npl;
    return true;
  }
  char *end;
  errno = 0;
  long n = strtol(text, &end, 10);
  if (end == text || *end || errno || n < 0 || n > 4096) return false;
  o->n_adapters = (int)n;
  return true;
}

static int run_batch(const el_cli_command *self, int argc, char **argv) {
  const char *n_adapters = "0";
  bool profile = false;
  el_batch_options o = {.common = el_cli_engine_default(),
                        .npl = {.items = {1, 2, 4, 8, 16, 32}, .n = 6},
                        .ranks = {.items = {16}, .n = 1},
                        .npp = 64,
                        .ntg = 24,
                        .repeat = 3,
                        .temperature = 1,
                        .top_p = 1};
  o.common.options.prefix_cache = false; /* every prompt is to be computed */
  o.common.options.speculate = 0;        /* and each token a step of its own */
  const el_cli_option options[] = {
      {'m', "model", "FILE", EL_CLI_TEXT, &o.common.model, 0, 0,
       "the base model: a GGUF file, a part of one, or its folder; default: the model that 'make model' puts into the "
       "cache"},
      {0, "npl", "LIST", EL_CLI_NUMBERS, &o.npl, 1, EL_MAX_SLOTS,
       "sequences that run at the same time; default 1,2,4,8,16,32"},
      {0, "npp", "N", EL_CLI_INT, &o.npp, 1, 65536, "tokens of each prompt; default 64"},
      {0, "ntg", "N", EL_CLI_INT, &o.ntg, 1, 65536,
       "tokens that each sequence generates at least while all of them decode; default 24"},
      {0, "n-adapters", "N", EL_CLI_TEXT, &n_adapters, 0, 0,
       "number of random adapters: request i uses adapter i mod N; 'each': one for each request; default 0: the base "
       "model alone"},
      {0, "ranks", "LIST", EL_CLI_NUMBERS, &o.ranks, 1, EL_MAX_RANK,
       "ranks of the adapters, in turn, such as 8,16,32; default 16"},
      {0, "temperature", "T", EL_CLI_REAL, &o.temperature, 0, 100,
       "temperature of sampling; 0: always the most likely token; default 1, as most clients have it"},
      {0, "top-p", "P", EL_CLI_REAL, &o.top_p, 1e-6, 1,
       "sample among the most likely tokens whose probabilities add up to P; default 1: among all"},
      {0, "repeat", "R", EL_CLI_INT, &o.repeat, 1, 1000,
       "measure R times and show the median and the range; default 3"},
      {0, "profile", NULL, EL_CLI_FLAG, &profile, 0, 0,
       "show instead where the time of a step goes, for prompt processing and for decode after --npp tokens"},
      {0, "context", "LIST", EL_CLI_NUMBERS, &o.contexts, 1, EL_MAX_CTX_SIZE,
       "measure instead --ntg decode steps behind each of these context lengths, and how fast they read the KV cache"},
      {0, "json", NULL, EL_CLI_FLAG, &o.json, 0, 0, "print one JSON object instead of a table"},
  };
  el_cli_option engine[EL_CLI_ENGINE_OPTIONS];
  const el_cli_group groups[] = {
      {"Measurement", options, sizeof options / sizeof *options},
      el_cli_engine_group(&o.common, 0, engine),
  };
  int code = el_cli_parse(self, groups, sizeof groups / sizeof *groups, argc, argv, NULL);
  if (code >= 0) return code;
  for (size_t i = 0; i < o.npl.n; i++)
    if (o.npl.items[i] > o.max_npl) o.max_npl = o.npl.items[i];
  if (!parse_n_adapters(n_adapters, &o))
    return el_cli_usage_error(self, "--n-adapters: '%s' is neither 'each' nor a whole number from 0 to 4096",
                              n_adapters);
  if (o.contexts.n) return el_batch_contexts(&o);
  return profile ? el_batch_profile(&o) : el_batch_throughput(&o);
}

const el_cli_command el_cmd_bench_batch = {
    .name = "batch",
    .summary = "tokens per second by batch size, with and without adapters",
    .usage = "[-m MODEL] [--npl LIST] [--npp N] [--ntg N] [--n-adapters N] [--ranks LIST] [options]",
    .about =
        "Runs batches of requests through the whole engine and prints tokens per second:\n"
        "  prompt     all prompt tokens, divided by the time from the first submission to the last end\n"
        "  decode     tokens per second while all sequences of the batch decode\n"
        "Two options measure steps of the model alone, without queue and sampling:\n"
        "  --profile  the share of time of each part of a step\n"
        "  --context  decode behind long contexts. They are not computed: they are copies of a prompt of 256\n"
        "             tokens.",
    .examples =
        "  edgelora-bench batch\n"
        "  edgelora-bench batch --n-adapters 16 --npl 16\n"
        "  edgelora-bench batch --profile --npl 16 --npp 1024\n"
        "  edgelora-bench batch --context 4096,16384,32768 --npl 1,8\n"
        "  edgelora-bench batch -m model.gguf --n-adapters each --ranks 8,16,32 --npl 1,8,32 --json",
    .run = run_batch};
