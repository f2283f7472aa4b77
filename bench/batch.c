/* edgelora-bench batch: tokens per second by batch size, with and without adapters.
 *
 * Everything goes through the public interface, as a server's requests would. Prompts are random tokens; generation
 * draws tokens as most clients have it done, and ignores the end of text.
 *   prompt: `npl` requests for one token each. All prompt tokens over the time from the first submission to the last
 * end. decode: `npl` requests. The window in which all of them decode runs from the last one's first token to the first
 *           one's end; the tokens of that window over its length. They generate so many more than --ntg that the window
 *           holds at least --ntg tokens of each. */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/batch/context.h"
#include "bench/batch/profile.h"
#include "bench/commands.h"
#include "bench/measure/figures.h"
#include "cli/open.h"
#include "cli/signals.h"

typedef struct bench {
  el_cli_engine common;
  el_cli_numbers npl, ranks, contexts;
  const char *n_adapters_text;
  int n_adapters, npp, ntg, repeat;
  float temperature, top_p;
  bool json, profile;
  int max_npl, extra_tokens;
  uint64_t random;
} bench;

/* One batch of requests that run together. The mutex guards everything that events change. It is held while
 * they are submitted, so that the first event waits, and the engine with it (el_submit does not wait for events):
 * otherwise, on a busy machine, the first could end before the last is there. */
typedef struct batch {
  pthread_mutex_t lock;
  pthread_cond_t ended;
  int n, n_done;
  bool failed;
  el_error error;
  struct sequence *sequences; /* [n] */
} batch;

typedef struct sequence {
  batch *owner;
  uint64_t id;
  double *times; /* [n_times] seconds at which its tokens came */
  int n_times, max_times;
  double done;
} sequence;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* xorshift64*: the same prompts in every run of the program. */
static uint64_t next_random(bench *b) {
  b->random ^= b->random >> 12;
  b->random ^= b->random << 25;
  b->random ^= b->random >> 27;
  return b->random * 0x2545F4914F6CDD1Dull;
}

/* ---- a batch */

static void on_event(const el_event *event) {
  sequence *s = event->user;
  double time = now();
  pthread_mutex_lock(&s->owner->lock);
  if (event->type == EL_EVENT_TOKEN && s->n_times < s->max_times) s->times[s->n_times++] = time;
  if (event->type == EL_EVENT_DONE) {
    s->done = time;
    if (event->finish == EL_FINISH_ERROR && !s->owner->failed) {
      s->owner->failed = true;
      s->owner->error = event->error;
    }
    if (++s->owner->n_done == s->owner->n) pthread_cond_signal(&s->owner->ended);
  }
  pthread_mutex_unlock(&s->owner->lock);
}

static void free_batch(batch *t) {
  for (int i = 0; t->sequences && i < t->n; i++) free(t->sequences[i].times);
  free(t->sequences);
  pthread_cond_destroy(&t->ended);
  pthread_mutex_destroy(&t->lock);
}

static bool make_batch(batch *t, int n, int max_tokens) {
  *t = (batch){.n = n};
  pthread_condattr_t attr;
  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  pthread_mutex_init(&t->lock, NULL);
  pthread_cond_init(&t->ended, &attr);
  pthread_condattr_destroy(&attr);
  t->sequences = calloc((size_t)n, sizeof *t->sequences);
  bool ok = t->sequences != NULL;
  for (int i = 0; ok && i < n; i++) {
    t->sequences[i] =
        (sequence){.owner = t, .max_times = max_tokens, .times = calloc((size_t)max_tokens, sizeof(double))};
    ok = t->sequences[i].times != NULL;
  }
  if (!ok) free_batch(t);
  return ok;
}

/* Submits requests until one is refused. The batch then consists of those before it. Under its lock. */
static el_status submit_all(bench *b, batch *t, int max_tokens, int32_t *prompt, el_error *err) {
  el_model_info info;
  el_engine_info(b->common.engine, &info);
  for (int i = 0; i < t->n; i++) {
    char adapter[32] = "";
    if (b->n_adapters > 0) snprintf(adapter, sizeof adapter, "random-%d", i % b->n_adapters);
    for (int k = 0; k < b->npp; k++) prompt[k] = (int32_t)(next_random(b) % (uint64_t)info.n_vocab);
    el_request request = el_request_default();
    request.adapter = adapter;
    request.prompt = prompt;
    request.n_prompt = (size_t)b->npp;
    request.max_tokens = max_tokens;
    request.ignore_eos = true;
    request.sampling.temperature = b->temperature;
    request.sampling.top_p = b->top_p;
    request.sampling.seed = (uint64_t)i;
    request.on_event = on_event;
    request.user = &t->sequences[i];
    el_status status = el_submit(b->common.engine, &request, &t->sequences[i].id, err);
    if (status) {
      for (int k = i; k < t->n; k++) free(t->sequences[k].times);
      t->n = i;
      return status;
    }
  }
  return EL_OK;
}

static void cancel_all(bench *b, batch *t) {
  for (int i = 0; i < t->n; i++) el_cancel(b->common.engine, t->sequences[i].id);
}

/* Waits until all have ended; a signal cancels them, and its number is returned. */
static int wait_all(bench *b, batch *t) {
  int caught = 0;
  pthread_mutex_lock(&t->lock);
  while (t->n_done < t->n) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += 50 * 1000000;
    if (until.tv_nsec >= 1000000000) {
      until.tv_nsec -= 1000000000;
      until.tv_sec++;
    }
    pthread_cond_timedwait(&t->ended, &t->lock, &until);
    int signal = el_cli_signal_take(b->common.signal_fd, 0);
    if (!signal) continue;
    if (caught) _exit(EL_EXIT_SIGNAL_BASE + signal);
    caught = signal;
    pthread_mutex_unlock(&t->lock);
    cancel_all(b, t);
    pthread_mutex_lock(&t->lock);
  }
  pthread_mutex_unlock(&t->lock);
  return caught;
}

/* Runs one batch to its end. -1, or the exit status; *start is when the first request was submitted. */
static int run_batch(bench *b, batch *t, int max_tokens, double *start) {
  int32_t *prompt = malloc((size_t)b->npp * sizeof *prompt);
  if (!prompt) return el_cli_no_memory();
  el_error err;
  *start = now();
  pthread_mutex_lock(&t->lock);
  el_status status = submit_all(b, t, max_tokens, prompt, &err);
  pthread_mutex_unlock(&t->lock);
  free(prompt);
  if (status) cancel_all(b, t);
  int signal = wait_all(b, t);
  if (signal) return EL_EXIT_SIGNAL_BASE + signal;
  if (status) return el_cli_failed(&err);
  return t->failed ? el_cli_failed(&t->error) : -1;
}

/* ---- figures */

static int prompt_speed(bench *b, int npl, double *out) {
  batch t;
  if (!make_batch(&t, npl, 1)) return el_cli_no_memory();
  double start, end = 0;
  int code = run_batch(b, &t, 1, &start);
  for (int i = 0; code < 0 && i < npl; i++) end = fmax(end, t.sequences[i].done);
  if (code < 0) *out = (double)npl * b->npp / (end - start);
  free_batch(&t);
  return code;
}

/* Tokens per second in the window in which all decode, and how many steps it has. The step that ends it is the last
 * sequence's last one before the first sequence's end, so that both ends lie at the same place within a step. */
static int window_steps(const batch *t, double *tokens_per_second) {
  const sequence *last = &t->sequences[0];
  double first_end = INFINITY;
  for (int i = 0; i < t->n; i++) {
    const sequence *s = &t->sequences[i];
    if (s->n_times == 0) return 0;
    if (s->times[0] > last->times[0]) last = s;
    first_end = fmin(first_end, s->times[s->n_times - 1]);
  }
  int steps = 0;
  while (steps + 1 < last->n_times && last->times[steps + 1] <= first_end) steps++;
  if (steps == 0) return 0;
  double begin = last->times[0], end = last->times[steps], tokens = 0;
  for (int i = 0; i < t->n; i++) {
    const sequence *s = &t->sequences[i];
    int count = 0;
    for (int k = 0; k < s->n_times; k++) count += s->times[k] > begin && s->times[k] <= end;
    /* One more or less is the order of events within the first and the last step, not a token more or less. */
    tokens += abs(count - steps) <= 1 ? steps : count;
  }
  *tokens_per_second = tokens / (end - begin);
  return steps;
}

static int decode_speed(bench *b, int npl, double *out) {
  for (int extra = 2 + b->extra_tokens * npl / b->max_npl;; extra *= 2) {
    int max_tokens = b->ntg + extra;
    if (extra > 4 * (b->extra_tokens + 2)) {
      el_cli_error("at batch %d the sequences never decoded %d tokens all together", npl, b->ntg);
      return EL_EXIT_FAILED;
    }
    batch t;
    if (!make_batch(&t, npl, max_tokens)) return el_cli_no_memory();
    double start;
    int code = run_batch(b, &t, max_tokens, &start);
    int steps = code < 0 ? window_steps(&t, out) : 0;
    free_batch(&t);
    if (code >= 0 || steps >= b->ntg) return code;
  }
}

static int measure(bench *b, el_cli_bench_row *row) {
  double *prompt = calloc((size_t)b->repeat, sizeof *prompt), *decode = calloc((size_t)b->repeat, sizeof *decode);
  int code = prompt && decode ? -1 : el_cli_no_memory();
  for (int i = 0; code < 0 && i < b->repeat; i++) {
    code = prompt_speed(b, row->npl, &prompt[i]);
    if (code < 0) code = decode_speed(b, row->npl, &decode[i]);
  }
  if (code < 0) {
    row->prompt = el_cli_bench_spread(prompt, b->repeat);
    row->decode = el_cli_bench_spread(decode, b->repeat);
  }
  free(prompt);
  free(decode);
  return code;
}

static int add_adapters(bench *b) {
  for (int i = 0; i < b->n_adapters; i++) {
    char name[32];
    el_error err;
    snprintf(name, sizeof name, "random-%d", i);
    if (el_adapter_add_random(b->common.engine, name, b->ranks.items[(size_t)i % b->ranks.n], (uint64_t)i + 1, &err))
      return el_cli_failed(&err);
  }
  return -1;
}

static int run_bench(bench *b) {
  int code = el_cli_engine_open(&b->common);
  if (code < 0) code = add_adapters(b);
  if (code >= 0) return code;
  double warm_up; /* touches every weight, and wakes the workers */
  code = prompt_speed(b, 1, &warm_up);
  el_cli_bench_report report = {.engine = b->common.engine,
                                .json = b->json,
                                .npp = b->npp,
                                .ntg = b->ntg,
                                .repeat = b->repeat,
                                .temperature = b->temperature,
                                .top_p = b->top_p,
                                .n_adapters = b->n_adapters,
                                .ranks = b->ranks.items,
                                .n_ranks = b->ranks.n};
  if (code < 0) el_cli_bench_begin(&report);
  for (size_t i = 0; code < 0 && i < b->npl.n; i++) {
    el_cli_bench_row row = {.npl = b->npl.items[i]};
    code = measure(b, &row);
    if (code < 0 && !el_cli_bench_add(&report, &row)) code = el_cli_no_memory();
  }
  if (code < 0) code = el_cli_bench_end(&report);
  el_cli_bench_free(&report);
  return code;
}

/* "each" or a number. */
static bool parse_n_adapters(bench *b) {
  if (strcmp(b->n_adapters_text, "each") == 0) {
    b->n_adapters = b->max_npl;
    return true;
  }
  char *end;
  errno = 0;
  long n = strtol(b->n_adapters_text, &end, 10);
  if (end == b->n_adapters_text || *end || errno || n < 0 || n > 4096) return false;
  b->n_adapters = (int)n;
  return true;
}

/* Slots, step and context as the largest batch needs them. */
static void fit_engine(bench *b) {
  el_engine_options *o = &b->common.options;
  o->n_slots = b->max_npl;
  o->max_queue = b->max_npl > o->max_queue ? b->max_npl : o->max_queue;
  if (o->step_rows < 2 * b->max_npl) o->step_rows = 2 * b->max_npl;
  /* Steps from the first sequence's first token to the last one's: prompts share what decoding rows leave of a step. */
  b->extra_tokens = b->max_npl * b->npp / (o->step_rows - b->max_npl) + 1;
  o->ctx_size = b->npp + b->ntg + 4 * (b->extra_tokens + 2) + 1;
}

static int run(const el_cli_command *self, int argc, char **argv) {
  bench b = {.common = el_cli_engine_default(),
             .npl = {.items = {1, 2, 4, 8, 16, 32}, .n = 6},
             .ranks = {.items = {16}, .n = 1},
             .n_adapters_text = "0",
             .npp = 64,
             .ntg = 24,
             .repeat = 3,
             .temperature = 1,
             .top_p = 1,
             .random = 0x9E3779B97F4A7C15ull};
  b.common.options.prefix_cache = false; /* every prompt is to be computed */
  b.common.options.speculate = 0;        /* and each token a step of its own */
  const el_cli_option options[] = {
      {'m', "model", "FILE", EL_CLI_TEXT, &b.common.model, 0, 0,
       "the base model: a GGUF file, a part of one, or its folder; default: the model that 'make model' puts into the "
       "cache"},
      {0, "npl", "LIST", EL_CLI_NUMBERS, &b.npl, 1, 1024, "batch sizes; default 1,2,4,8,16,32"},
      {0, "npp", "N", EL_CLI_INT, &b.npp, 1, 65536, "tokens of a prompt; default 64"},
      {0, "ntg", "N", EL_CLI_INT, &b.ntg, 1, 65536,
       "tokens that each sequence generates within the measured window, at least; default 24"},
      {0, "n-adapters", "N", EL_CLI_TEXT, &b.n_adapters_text, 0, 0,
       "distinct random adapters, request i uses adapter i mod N; 'each': one a request; default 0: the base alone"},
      {0, "ranks", "LIST", EL_CLI_NUMBERS, &b.ranks, 1, 1024,
       "ranks that the adapters have in turn, such as 8,16,32; default 16"},
      {0, "temperature", "T", EL_CLI_REAL, &b.temperature, 0, 100,
       "that tokens are drawn with, as most clients have it; 0: always the most likely one; default 1"},
      {0, "top-p", "P", EL_CLI_REAL, &b.top_p, 1e-6, 1,
       "draw among the most likely tokens that have this probability together; default 1: all"},
      {0, "repeat", "R", EL_CLI_INT, &b.repeat, 1, 1000, "measure R times, show the median and the range; default 3"},
      {0, "profile", NULL, EL_CLI_FLAG, &b.profile, 0, 0,
       "instead: where the time of a step goes, of a prompt's pieces and of decoding with --npp tokens before it"},
      {0, "context", "LIST", EL_CLI_NUMBERS, &b.contexts, 1, 1 << 20,
       "instead: steps of decoding with so many tokens before them, --ntg each, and how fast keys and values are read"},
      {0, "json", NULL, EL_CLI_FLAG, &b.json, 0, 0, "print one JSON object instead of a table"},
  };
  el_cli_option engine[EL_CLI_ENGINE_OPTIONS];
  const el_cli_group groups[] = {
      {"Measurement", options, sizeof options / sizeof *options},
      el_cli_engine_group(&b.common, 0, engine),
  };
  int code = el_cli_parse(self, groups, sizeof groups / sizeof *groups, argc, argv, NULL);
  if (code >= 0) return code;
  for (size_t i = 0; i < b.npl.n; i++)
    if (b.npl.items[i] > b.max_npl) b.max_npl = b.npl.items[i];
  if (!parse_n_adapters(&b))
    return el_cli_usage_error(self, "--n-adapters: '%s' is neither 'each' nor a whole number from 0 to 4096",
                              b.n_adapters_text);
  if (b.contexts.n) {
    const el_cli_context context = {.common = &b.common,
                                    .contexts = b.contexts.items,
                                    .npl = b.npl.items,
                                    .ranks = b.ranks.items,
                                    .n_contexts = b.contexts.n,
                                    .n_npl = b.npl.n,
                                    .n_ranks = b.ranks.n,
                                    .max_npl = b.max_npl,
                                    .ntg = b.ntg,
                                    .repeat = b.repeat,
                                    .n_adapters = b.n_adapters,
                                    .json = b.json};
    return el_cli_context_run(&context);
  }
  if (b.profile) {
    const el_cli_profile profile = {.common = &b.common,
                                    .npl = b.npl.items,
                                    .n_npl = b.npl.n,
                                    .ranks = b.ranks.items,
                                    .n_ranks = b.ranks.n,
                                    .max_npl = b.max_npl,
                                    .npp = b.npp,
                                    .ntg = b.ntg,
                                    .n_adapters = b.n_adapters,
                                    .json = b.json};
    return el_cli_profile_run(&profile);
  }
  fit_engine(&b);
  b.common.signal_fd = el_cli_signals_open();
  code = run_bench(&b);
  if (b.common.signal_fd >= 0) close(b.common.signal_fd);
  el_cli_engine_close(&b.common);
  return code;
}

const el_cli_command el_cmd_bench_batch = {
    .name = "batch",
    .summary = "tokens per second by batch size, with and without adapters",
    .usage = "[-m MODEL] [--npl LIST] [--npp N] [--ntg N] [--n-adapters N] [--ranks LIST] [options]",
    .about =
        "Prompt speed: all tokens of the batch's prompts over the time from the first submission to the last end.\n"
        "Decode speed: counted while all sequences of the batch decode.\n"
        "--profile runs steps of the model without queue and sampling, and shows each part's share of their time.\n"
        "--context does so for long contexts, which are not computed: they are copies of a prompt of 256 tokens.",
    .examples =
        "  edgelora-bench batch\n"
        "  edgelora-bench batch --n-adapters 16 --npl 16\n"
        "  edgelora-bench batch --profile --npl 16 --npp 1024\n"
        "  edgelora-bench batch --context 4096,16384,32768 --npl 1,8\n"
        "  edgelora-bench batch -m model.gguf --n-adapters each --ranks 8,16,32 --npl 1,8,32 --json",
    .run = run};
