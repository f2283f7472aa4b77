/* The loop of `edgelora-bench load`.
 *
 * Open: each request is sent at its time, whether or not earlier ones have been answered. A server that stalls receives
 * what real clients would have sent meanwhile, and their waiting counts (no coordinated omission). Closed: each client
 * sends its next request when its last one has been answered. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/load/run.h"
#include "cli/signals.h"

/* After a request that failed, a client of a closed loop rests: a server that is not there would be asked again and
 * again in no time. */
#define REST_SECONDS 0.1

typedef struct loop {
  el_load_run *run;
  el_load_client *client;
  el_load_workload workload;
  el_buf body;
  size_t next;    /* of the trace's items, or of those drawn */
  bool stopping;  /* nothing more is sent */
  int *client_of; /* [log.n] closed: whose request it is */
  size_t cap_client_of;
  int *resting;       /* [clients] those that rest */
  double *rest_until; /* [clients] their times, in order */
  size_t n_resting;
  double shown; /* when progress was */
  size_t shown_done;
} loop;

static double now_in(const loop *l) {
  return el_seconds() - l->run->start;
}

static bool send_item(loop *l, const el_load_item *item) {
  el_load_run *r = l->run;
  size_t number = el_load_log_begin(&r->log, item);
  el_buf_consume(&l->body, l->body.len);
  if (number == SIZE_MAX || !el_load_ask_body(&r->ask, number, item, true, &l->body)) return false;
  const el_load_call call = {.id = number,
                             .method = "POST",
                             .path = "/v1/completions",
                             .body = l->body.data,
                             .body_len = l->body.len,
                             .stream = true,
                             .deadline = r->start + item->at + (double)r->options->timeout};
  return el_load_client_send(l->client, &call);
}

static void stop_without_memory(loop *l) {
  l->stopping = true;
  l->run->no_memory = true;
}

/* ---- closed */

static bool set_client(loop *l, size_t number, int client) {
  if (number >= l->cap_client_of) {
    size_t cap = l->cap_client_of ? l->cap_client_of * 2 : 1024;
    int *grown = realloc(l->client_of, cap * sizeof *grown);
    if (!grown) return false;
    l->client_of = grown;
    l->cap_client_of = cap;
  }
  l->client_of[number] = client;
  return true;
}

/* The client's next request, if there is another one. */
static void send_next(loop *l, int client) {
  el_load_run *r = l->run;
  const el_load_options *o = r->options;
  double now = now_in(l);
  size_t most = o->replay ? r->trace.n : o->n_requests ? (size_t)o->n_requests : SIZE_MAX;
  if (l->stopping || l->next >= most || (!o->n_requests && !o->replay && now >= (double)o->duration)) return;
  el_load_item item = o->replay ? r->trace.items[l->next] : el_load_workload_next(&l->workload);
  item.at = now;
  if (o->own_adapter) item.adapter = client % (int)r->names.n;
  l->next++;
  if (!set_client(l, r->log.n, client) || !send_item(l, &item)) stop_without_memory(l);
}

static void wake_loop(loop *l) {
  size_t n = 0;
  double now = el_seconds();
  while (n < l->n_resting && l->rest_until[n] <= now) n++;
  int *woken = l->resting;
  for (size_t i = 0; i < n; i++) {
    int client = woken[i];
    send_next(l, client); /* adds none to those that rest: what fails, fails in the next wait */
  }
  l->n_resting -= n;
  for (size_t i = 0; i < l->n_resting; i++) {
    l->resting[i] = l->resting[i + n];
    l->rest_until[i] = l->rest_until[i + n];
  }
}

/* ---- hooks */

static void on_token_gap(void *user, uint64_t id, double gap) {
  loop *l = user;
  el_load_log_gap(&l->run->log, gap);
}

static void on_request_ended(void *user, uint64_t id, el_load_answer *answer) {
  loop *l = user;
  el_load_log_end(&l->run->log, (size_t)id, answer, l->run->start, el_seconds());
  if (!l->run->options->clients || l->stopping) return;
  int client = l->client_of[id];
  if (answer->end == EL_LOAD_DONE) {
    send_next(l, client);
  } else {
    l->resting[l->n_resting] = client;
    l->rest_until[l->n_resting++] = el_seconds() + REST_SECONDS;
  }
}

/* ---- once a second */

static bool sample_process(loop *l) {
  el_load_run *r = l->run;
  el_energy_sample(&r->energy, el_seconds());
  el_load_sample s = {.at = now_in(l)};
  if (!r->options->server_pid || !el_load_process_read(r->options->server_pid, &s.process)) return true;
  if (r->n_samples == r->cap_samples) {
    size_t cap = r->cap_samples ? r->cap_samples * 2 : 256;
    el_load_sample *grown = realloc(r->samples, cap * sizeof *grown);
    if (!grown) return false;
    r->samples = grown;
    r->cap_samples = cap;
  }
  r->samples[r->n_samples++] = s;
  return true;
}

/* On a terminal, one line that is written again and again. */
static void show_load_progress(loop *l, bool last) {
  el_load_run *r = l->run;
  bool terminal = isatty(STDERR_FILENO);
  double now = now_in(l);
  size_t done = r->log.ends[EL_LOAD_DONE], running = el_load_client_running(l->client);
  size_t failed = r->log.n - running - done - r->log.ends[EL_LOAD_CUT];
  double rate = now > l->shown ? (double)(done - l->shown_done) / (now - l->shown) : 0;
  fprintf(stderr, "%s%7.1f s  sent %zu  running %zu  done %zu (%.1f/s)  failed %zu%s", terminal ? "\r" : "", now,
          r->log.n, running, done, rate, failed, terminal ? "\033[K" : "\n");
  if (terminal && last) fputc('\n', stderr);
  l->shown = now;
  l->shown_done = done;
}

/* ---- the loop */

static double next_arrival(const loop *l) {
  const el_load_run *r = l->run;
  if (r->options->clients) return l->n_resting ? l->rest_until[0] : INFINITY;
  return !l->stopping && l->next < r->trace.n ? r->start + r->trace.items[l->next].at : INFINITY;
}

static void send_due(loop *l) {
  el_load_run *r = l->run;
  if (r->options->clients) {
    wake_loop(l);
    return;
  }
  while (!l->stopping && next_arrival(l) <= el_seconds())
    if (!send_item(l, &r->trace.items[l->next++])) stop_without_memory(l);
}

/* el_seconds() at which nobody waits for answers any more. */
static double end_of_wait(const el_load_run *r) {
  if (!r->options->no_drain) return INFINITY;
  if (r->options->replay) return r->start + (r->trace.n ? r->trace.items[r->trace.n - 1].at : 0);
  return r->start + (double)r->options->duration;
}

static void run_load_loop(loop *l) {
  el_load_run *r = l->run;
  double tick = r->start, end = end_of_wait(r);
  for (int i = 0; i < r->options->clients; i++) send_next(l, i);
  for (;;) {
    send_due(l);
    if (el_seconds() >= tick) {
      if (!sample_process(l)) stop_without_memory(l);
      if (r->options->progress) show_load_progress(l, false);
      tick += 1;
    }
    double arrival = next_arrival(l), until = fmin(fmin(arrival, tick), end);
    if (el_seconds() >= end) l->stopping = true;
    if (!el_load_client_running(l->client) && (l->stopping || isinf(arrival))) break;
    if (l->stopping) break;
    if (el_load_client_wait(l->client, until) && (r->signal = el_cli_signal_take(r->signal_fd, 0))) l->stopping = true;
  }
  r->seconds = now_in(l);
  if (!sample_process(l)) r->no_memory = true;
  el_load_client_cut(l->client);
  if (r->options->progress) show_load_progress(l, true);
}

static double cpu_seconds(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

int el_load_run_all(el_load_run *r) {
  const el_load_options *o = r->options;
  loop l = {.run = r};
  const el_load_hooks hooks = {&l, on_token_gap, on_request_ended};
  el_error err;
  el_status status = el_load_workload_init(&l.workload, &r->spec, &err);
  size_t clients = (size_t)o->clients + 1;
  l.resting = malloc(clients * sizeof *l.resting);
  l.rest_until = malloc(clients * sizeof *l.rest_until);
  if (!status) status = el_load_client_new(&r->url, &hooks, r->signal_fd, &l.client, &err);
  int code = status ? el_cli_failed(&err) : !l.resting || !l.rest_until ? el_cli_no_memory() : -1;
  if (code < 0) {
    r->began = (long long)time(NULL);
    if (getloadavg(&r->load, 1) != 1) r->load = -1;
    double cpu = cpu_seconds();
    r->start = el_seconds();
    el_energy_open(&r->energy, "/sys", r->start);
    run_load_loop(&l);
    r->cpu_seconds = cpu_seconds() - cpu;
    r->connections = el_load_client_opened(l.client);
    if (r->no_memory || r->log.lost) code = el_cli_no_memory();
  }
  el_load_client_free(l.client);
  el_load_workload_free(&l.workload);
  el_buf_free(&l.body);
  free(l.client_of);
  free(l.resting);
  free(l.rest_until);
  return code;
}
