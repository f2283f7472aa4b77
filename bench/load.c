/* edgelora-bench load: throughput and latencies of a server under a load of requests for many adapters. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "bench/commands.h"
#include "bench/load/prepare.h"
#include "cli/options.h"
#include "cli/signals.h"

enum { MAX_LENGTH = 1000000 };

/* MIN:MAX, or one number for both. */
static bool parse_range(const char *text, int *min, int *max) {
  char *end;
  long from = strtol(text, &end, 10), to = from;
  if (end == text) return false;
  if (*end == ':') {
    const char *second = end + 1;
    to = strtol(second, &end, 10);
    if (end == second) return false;
  }
  if (*end || from < 1 || to < from || to > MAX_LENGTH) return false;
  *min = (int)from;
  *max = (int)to;
  return true;
}

int el_load_parse_lengths(const el_cli_command *self, const char *input, const char *output, el_load_spec *spec) {
  if (!parse_range(input, &spec->in_min, &spec->in_max))
    return el_cli_usage_error(self, "--input: '%s' is not a number of tokens from 1 to %d, or MIN:MAX", input,
                              MAX_LENGTH);
  if (!parse_range(output, &spec->out_min, &spec->out_max))
    return el_cli_usage_error(self, "--output: '%s' is not a number of tokens from 1 to %d, or MIN:MAX", output,
                              MAX_LENGTH);
  return -1;
}

/* What contradicts itself. */
static int check_load_options(const el_cli_command *self, el_load_run *r) {
  const el_load_options *o = r->options;
  if (strcmp(o->api_text, "llama-server") == 0)
    r->ask.api = EL_LOAD_LLAMA_SERVER;
  else if (strcmp(o->api_text, "openai") != 0)
    return el_cli_usage_error(self, "--api: '%s' is neither 'openai' nor 'llama-server'", o->api_text);
  if (o->automatic && (o->adapters || o->prefix || o->own_adapter || o->n_adapters > 0))
    return el_cli_usage_error(self, "--auto: the server chooses, so adapters cannot be chosen too");
  if (o->automatic && r->ask.api == EL_LOAD_LLAMA_SERVER)
    return el_cli_usage_error(self, "--auto: llama-server has no such choice");
  if (o->own_adapter && !o->clients) return el_cli_usage_error(self, "--own-adapter needs --clients");
  if (o->trace && (o->clients || o->replay))
    return el_cli_usage_error(self, "--trace: %s has no new arrivals to be saved",
                              o->clients ? "--clients" : "--replay");
  if (!o->clients && !o->replay && o->rate <= 0)
    return el_cli_usage_error(self, "--rate: an open loop needs more than 0");
  if (o->seed > INT64_MAX || o->prompt_seed > INT64_MAX) /* JSON readers have no more */
    return el_cli_usage_error(self, "--%s: more than 2^63-1", o->seed > INT64_MAX ? "seed" : "prompt-seed");
  return el_load_parse_lengths(self, o->input, o->output, &r->spec);
}

/* As many connections as the system lets this program have. */
static void raise_descriptors(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

/* A server that keeps prefixes does not compute again a prompt that it has seen in an earlier run. So each run has
 * other prompts, of the same lengths. */
static uint64_t new_prompt_seed(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  uint64_t mixed = el_mix64((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
  return mixed >> 33; /* short enough to be typed again, and for JSON */
}

static int prepare_and_load(const el_cli_command *self, el_load_run *r) {
  int code = check_load_options(self, r);
  if (code >= 0) return code;
  raise_descriptors();
  r->signal_fd = el_cli_signals_open();
  if (r->signal_fd < 0) {
    el_cli_error("signals cannot be waited for");
    return EL_EXIT_FAILED;
  }
  code = el_load_prepare(r);
  if (code >= 0 && (r->signal = el_cli_signal_take(r->signal_fd, 0))) code = EL_EXIT_SIGNAL_BASE + r->signal;
  if (code < 0) code = el_load_run_all(r);
  if (code < 0) el_load_read_counters(r, &r->after);
  if (code < 0) code = el_load_report(r);
  close(r->signal_fd);
  return code;
}

static int run_load(const el_cli_command *self, int argc, char **argv) {
  el_load_options o = {.url_text = "http://127.0.0.1:8080",
                       .api_text = "openai",
                       .input = "8:128",
                       .output = "8:256",
                       .n_adapters = -1,
                       .alpha = 1,
                       .rate = 0.5f,
                       .cv = 1.5f,
                       .duration = 300,
                       .timeout = 600,
                       .slo_first = 6,
                       .speed = 1,
                       .temperature = 1,
                       .top_p = 1,
                       .seed = 1,
                       .prompt_seed = UINT64_MAX};
  const el_cli_option server[] = {
      {0, "url", "URL", EL_CLI_TEXT, &o.url_text, 0, 0, "address of the server; default http://127.0.0.1:8080"},
      {0, "api", "NAME", EL_CLI_TEXT, &o.api_text, 0, 0,
       "openai: the request names an adapter as its model; llama-server: it gives a number in 'lora'; default openai"},
      {'m', "model", "FILE", EL_CLI_TEXT, &o.model, 0, 0,
       "the GGUF file of the model: prompts are drawn from all of its tokens except special ones; default: from the "
       "ids 1000 to 8999"},
      {0, "server-pid", "N", EL_CLI_INT, &o.server_pid, 1, 4194304,
       "process id of the server on this machine: its memory and CPU time are reported"},
  };
  const el_cli_option adapters[] = {
      {0, "n-adapters", "N", EL_CLI_INT, &o.n_adapters, 0, 1000000,
       "request this many of the adapters that the server has; 0: the base model alone; default: all"},
      {0, "adapter-prefix", "TEXT", EL_CLI_TEXT, &o.prefix, 0, 0, "only adapters whose names begin with this"},
      {0, "adapters", "NAMES", EL_CLI_TEXT, &o.adapters, 0, 0,
       "these adapters, such as law,sql; the first is the most popular"},
      {0, "auto", NULL, EL_CLI_FLAG, &o.automatic, 0, 0, "let the server choose the adapter"},
      {0, "alpha", "X", EL_CLI_REAL, &o.alpha, 0, 100,
       "request the i-th adapter with a probability proportional to 1/i^X; default 1"},
  };
  const el_cli_option arrivals[] = {
      {0, "rate", "R", EL_CLI_REAL, &o.rate, 0, 1e6,
       "requests a second, sent whether or not the server keeps up; default 0.5"},
      {0, "cv", "X", EL_CLI_REAL, &o.cv, 0, 100,
       "coefficient of variation of the times between requests, which are Gamma distributed; default 1.5"},
      {0, "duration", "SECONDS", EL_CLI_REAL, &o.duration, 0, 1e6, "send requests for this long; default 300"},
      {0, "no-drain", NULL, EL_CLI_FLAG, &o.no_drain, 0, 0,
       "end when the last request has been sent: requests without an answer by then are cut off and are no errors"},
      {'n', "requests", "N", EL_CLI_INT, &o.n_requests, 1, EL_TRACE_MAX_ITEMS, "end after N requests"},
      {0, "clients", "N", EL_CLI_INT, &o.clients, 1, 100000,
       "closed loop instead: N clients, each of which sends its next request when it has the answer to the last one"},
      {0, "own-adapter", NULL, EL_CLI_FLAG, &o.own_adapter, 0, 0, "each client requests an adapter of its own"},
      {0, "input", "MIN:MAX", EL_CLI_TEXT, &o.input, 0, 0, "tokens of a prompt, uniformly distributed; default 8:128"},
      {0, "output", "MIN:MAX", EL_CLI_TEXT, &o.output, 0, 0,
       "tokens of an answer, uniformly distributed; default 8:256"},
      {0, "temperature", "T", EL_CLI_REAL, &o.temperature, 0, 100,
       "temperature of sampling in the requests; 0: always the most likely token; default 1, as most clients have it"},
      {0, "top-p", "P", EL_CLI_REAL, &o.top_p, 1e-6, 1, "top_p of sampling in the requests; default 1: it is not sent"},
      {0, "seed", "N", EL_CLI_U64, &o.seed, 0, 0, "seed of arrival times, adapters and lengths; default 1"},
      {0, "prompt-seed", "N", EL_CLI_U64, &o.prompt_seed, 0, 0,
       "seed of the text of prompts; default: a new one in each run, so that no server has seen them"},
      {0, "trace", "FILE", EL_CLI_TEXT, &o.trace, 0, 0, "save the requests and their times to this file"},
      {0, "replay", "FILE", EL_CLI_TEXT, &o.replay, 0, 0,
       "send the requests of a saved trace, or of a CSV file: arrival time, adapter, input and output tokens"},
      {0, "speed", "X", EL_CLI_REAL, &o.speed, 1e-3, 1e6, "replay X times as fast; default 1"},
  };
  const el_cli_option results[] = {
      {0, "timeout", "SECONDS", EL_CLI_REAL, &o.timeout, 1e-3, 1e6,
       "time limit of an answer, from when the request was due; default 600"},
      {0, "slo-ttft", "SECONDS", EL_CLI_REAL, &o.slo_first, 0, 1e6,
       "objective for the time to first token; the share of requests that meet it is reported; default 6"},
      {0, "json", "FILE", EL_CLI_TEXT, &o.json, 0, 0,
       "write the figures and all requests to this file; -: to standard output, instead of the table"},
      {0, "progress", NULL, EL_CLI_FLAG, &o.progress, 0, 0,
       "print progress every second; on a terminal this is the default"},
  };
  const el_cli_group groups[] = {{"Server", server, sizeof server / sizeof *server},
                                 {"Adapters", adapters, sizeof adapters / sizeof *adapters},
                                 {"Requests", arrivals, sizeof arrivals / sizeof *arrivals},
                                 {"Results", results, sizeof results / sizeof *results}};
  int code = el_cli_parse(self, groups, sizeof groups / sizeof *groups, argc, argv, NULL);
  if (code >= 0) return code;
  if (isatty(STDERR_FILENO)) o.progress = true;
  if (o.prompt_seed == UINT64_MAX) o.prompt_seed = new_prompt_seed();
  el_load_run r = {.options = &o,
                   .spec = {.without = o.automatic ? EL_LOAD_AUTO : EL_LOAD_BASE,
                            .alpha = (double)o.alpha,
                            .rate = o.clients ? 0 : (double)o.rate,
                            .cv = (double)o.cv,
                            .seed = o.seed}};
  code = prepare_and_load(self, &r);
  el_load_release(&r);
  return code;
}

const el_cli_command el_cmd_bench_load = {
    .name = "load",
    .summary = "throughput and latencies of a server under a load of requests for many adapters",
    .usage = "[--url URL] [options]",
    .about =
        "Sends completion requests to a server that has OpenAI's API, or to llama-server, and reports\n"
        "throughput, latencies and errors. The defaults are the workload of the EdgeLoRA paper. Latency is\n"
        "measured from the time at which a request was due. Ctrl-C ends the load early; the report covers\n"
        "what was measured until then.",
    .examples =
        "  edgelora-bench load --n-adapters 50 --rate 0.5 --json run.json\n"
        "  edgelora-bench load --clients 16 --own-adapter --requests 64 --input 60 --output 32\n"
        "  edgelora-bench load --url http://127.0.0.1:9090 --api llama-server --replay trace.jsonl",
    .run = run_load};
