/* Everything goes through the public interface, as the requests of a server do. Prompts are random tokens. Tokens are
 * sampled as most clients ask for it, and the end of text is ignored.
 *   prompt: `npl` requests for one token each. All prompt tokens over the time from the first submission to the last
 *           end.
 *   decode: `npl` requests. The window in which all of them decode runs from the last one's first token to the first
 *           one's end; the tokens of that window over its length. They generate so many more than --ntg that the window
 *           holds at least --ntg tokens of each. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "base/wait.h"
#include "bench/batch/batch.h"
#include "bench/batch/table.h"
#include "cli/signals.h"

typedef struct bench {
  const el_batch_options *asked;
  el_engine *engine;
  int extra_tokens;
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

/* ---- a batch */

static void on_batch_event(const el_event *event) {
  sequence *s = event->user;
  double time = el_seconds();
  pthread_mutex_lock(&s->owner->lock);
  if (event->type == EL_EVENT_TOKEN && s->n_times < s->max_times) s->times[s->n_times++] = time;
  if (event->type == EL_EVENT_DONE) {
    s->done = time;
    if (event->done.finish == EL_FINISH_ERROR && !s->owner->failed) {
      s->owner->failed = true;
      s->owner->error = event->done.error;
    }
    if (++s->owner->n_done == s->owner->n) pthread_cond_signal(&s->owner->ended);
  }
  pthread_mutex_unlock(&s->owner->lock);
}

static void batch_free(batch *t) {
  for (int i = 0; t->sequences && i < t->n; i++) free(t->sequences[i].times);
  free(t->sequences);
  pthread_cond_destroy(&t->ended);
  pthread_mutex_destroy(&t->lock);
}

static bool batch_new(batch *t, int n, int max_tokens) {
  *t = (batch){.n = n};
  pthread_mutex_init(&t->lock, NULL);
  el_cond_init(&t->ended);
  t->sequences = calloc((size_t)n, sizeof *t->sequences);
  bool ok = t->sequences != NULL;
  for (int i = 0; ok && i < n; i++) {
    t->sequences[i] =
        (sequence){.owner = t, .max_times = max_tokens, .times = calloc((size_t)max_tokens, sizeof(double))};
    ok = t->sequences[i].times != NULL;
  }
  if (!ok) batch_free(t);
  return ok;
}

/* Submits requests until one is refused. The batch then consists of those before it. Under its lock. */
static el_status submit_batch(bench *b, batch *t, int max_tokens, int32_t *prompt, el_error *err) {
  el_model_info info;
  el_engine_info(b->engine, &info);
  for (int i = 0; i < t->n; i++) {
    char adapter[32] = "";
    if (b->asked->n_adapters > 0) snprintf(adapter, sizeof adapter, "random-%d", i % b->asked->n_adapters);
    for (int k = 0; k < b->asked->npp; k++)
      prompt[k] = (int32_t)(el_mix64(++b->random * EL_GOLDEN_GAMMA) % (uint64_t)info.n_vocab);
    el_request request = el_request_default();
    request.adapter.name = adapter;
    request.prompt = prompt;
    request.n_prompt = (size_t)b->asked->npp;
    request.max_tokens = max_tokens;
    request.ignore_eos = true;
    request.sampling.temperature = b->asked->temperature;
    request.sampling.top_p = b->asked->top_p;
    request.sampling.seed = (uint64_t)i;
    request.on_event = on_batch_event;
    request.user = &t->sequences[i];
    el_status status = el_submit(b->engine, &request, &t->sequences[i].id, err);
    if (status) {
      for (int k = i; k < t->n; k++) free(t->sequences[k].times);
      t->n = i;
      return status;
    }
  }
  return EL_OK;
}

static void cancel_batch(bench *b, batch *t) {
  for (int i = 0; i < t->n; i++) el_cancel(b->engine, t->sequences[i].id);
}

/* Waits until all have ended; a signal cancels them, and its number is returned. */
static int wait_for_batch(bench *b, batch *t) {
  int caught = 0;
  pthread_mutex_lock(&t->lock);
  while (t->n_done < t->n) {
    el_cond_wait(&t->ended, &t->lock, el_deadline_in(50));
    int signal = el_cli_signal_take(b->asked->common.signal_fd, 0);
    if (!signal) continue;
    if (caught) _exit(EL_EXIT_SIGNAL_BASE + signal);
    caught = signal;
    pthread_mutex_unlock(&t->lock);
    cancel_batch(b, t);
    pthread_mutex_lock(&t->lock);
  }
  pthread_mutex_unlock(&t->lock);
  return caught;
}

/* Runs one batch to its end. -1, or the exit status; *start is when the first request was submitted. */
static int run_requests(bench *b, batch *t, int max_tokens, double *start) {
  int32_t *prompt = malloc((size_t)b->asked->npp * sizeof *prompt);
  if (!prompt) return el_cli_no_memory();
  el_error err;
  *start = el_seconds();
  pthread_mutex_lock(&t->lock);
  el_status status = submit_batch(b, t, max_tokens, prompt, &err);
  pthread_mutex_unlock(&t->lock);
  free(prompt);
  if (status) cancel_batch(b, t);
  int signal = wait_for_batch(b, t);
  if (signal) return EL_EXIT_SIGNAL_BASE + signal;
  if (status) return el_cli_failed(&err);
  return t->failed ? el_cli_failed(&t->error) : -1;
}

/* ---- figures */

static int measure_prompts(bench *b, int npl, double *out) {
  batch t;
  if (!batch_new(&t, npl, 1)) return el_cli_no_memory();
  double start, end = 0;
  int code = run_requests(b, &t, 1, &start);
  for (int i = 0; code < 0 && i < npl; i++) end = fmax(end, t.sequences[i].done);
  if (code < 0) *out = (double)npl * b->asked->npp / (end - start);
  batch_free(&t);
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

static int measure_decoding(bench *b, int npl, double *out) {
  for (int extra = 2 + b->extra_tokens * npl / b->asked->max_npl;; extra *= 2) {
    int max_tokens = b->asked->ntg + extra;
    if (extra > 4 * (b->extra_tokens + 2)) {
      el_cli_error("at batch %d the sequences never decoded %d tokens all together", npl, b->asked->ntg);
      return EL_EXIT_FAILED;
    }
    batch t;
    if (!batch_new(&t, npl, max_tokens)) return el_cli_no_memory();
    double start;
    int code = run_requests(b, &t, max_tokens, &start);
    int steps = code < 0 ? window_steps(&t, out) : 0;
    batch_free(&t);
    if (code >= 0 || steps >= b->asked->ntg) return code;
  }
}

static int measure_row(bench *b, el_batch_row *row) {
  double *prompt = calloc((size_t)b->asked->repeat, sizeof *prompt),
         *decode = calloc((size_t)b->asked->repeat, sizeof *decode);
  int code = prompt && decode ? -1 : el_cli_no_memory();
  for (int i = 0; code < 0 && i < b->asked->repeat; i++) {
    code = measure_prompts(b, row->npl, &prompt[i]);
    if (code < 0) code = measure_decoding(b, row->npl, &decode[i]);
  }
  if (code < 0) {
    row->prompt = el_bench_spread(prompt, b->asked->repeat);
    row->decode = el_bench_spread(decode, b->asked->repeat);
  }
  free(prompt);
  free(decode);
  return code;
}

static int add_adapters(bench *b) {
  for (int i = 0; i < b->asked->n_adapters; i++) {
    char name[32];
    el_error err;
    snprintf(name, sizeof name, "random-%d", i);
    if (el_adapter_add_random(b->engine, name, b->asked->ranks.items[(size_t)i % b->asked->ranks.n], (uint64_t)i + 1,
                              &err))
      return el_cli_failed(&err);
  }
  return -1;
}

static int measure_rows(bench *b) {
  const el_batch_options *o = b->asked;
  int code = add_adapters(b);
  if (code >= 0) return code;
  double warm_up; /* touches every weight, and wakes the workers */
  code = measure_prompts(b, 1, &warm_up);
  el_batch_table table = {.engine = b->engine, .asked = o};
  if (code < 0) el_batch_table_begin(&table);
  for (size_t i = 0; code < 0 && i < o->npl.n; i++) {
    el_batch_row row = {.npl = o->npl.items[i]};
    code = measure_row(b, &row);
    if (code < 0 && !el_batch_table_add(&table, &row)) code = el_cli_no_memory();
  }
  if (code < 0) code = el_batch_table_end(&table);
  el_batch_table_free(&table);
  return code;
}

/* Slots, step and context as the largest batch needs them. */
static void fit_engine(bench *b, el_batch_options *asked) {
  el_engine_options *o = &asked->common.options;
  o->n_slots = asked->max_npl;
  o->max_queue = asked->max_npl > o->max_queue ? asked->max_npl : o->max_queue;
  if (o->step_rows < 2 * asked->max_npl) o->step_rows = 2 * asked->max_npl;
  /* Steps from the first sequence's first token to the last one's: prompts share what decoding rows leave of a step. */
  b->extra_tokens = asked->max_npl * asked->npp / (o->step_rows - asked->max_npl) + 1;
  o->ctx_size = asked->npp + asked->ntg + 4 * (b->extra_tokens + 2) + 1;
}

int el_batch_throughput(el_batch_options *o) {
  bench b = {.asked = o};
  fit_engine(&b, o);
  o->common.signal_fd = el_cli_signals_open();
  int code = el_cli_engine_open(&o->common);
  b.engine = o->common.engine;
  if (code < 0) code = measure_rows(&b);
  if (o->common.signal_fd >= 0) close(o->common.signal_fd);
  el_cli_engine_close(&o->common);
  return code;
}
