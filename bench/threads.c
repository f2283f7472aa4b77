/* edgelora-bench threads: what it costs that threads wait for each other, and the speed that remains when another
 * process computes on one of their cores. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpus.h"
#include "bench/commands.h"
#include "bench/measure/options.h"
#include "bench/measure/timing.h"

enum { WAKES = 40, WAKE_AFTER_US = 3000, PHASES = 150, PHASE_US = 50 };

typedef struct bench {
  el_cli_numbers threads;
  const char *cpu_list;
  int cpus[EL_MAX_CPUS], n_cpus;
  int repeat;
  bool json;
  el_bench_machine machine;
  json_t *results;
  cpu_set_t allowed;   /* before this thread is pinned */
  double turns_per_us; /* of the loop that stands for computing */
  double alone;        /* steps a second of one thread */
} bench;

typedef struct row {
  int n;
  el_bench_figure barrier_ns, run_ns, wake_us, quiet, busy; /* quiet, busy: times the speed of one thread */
} row;

/* ---- waiting */

typedef struct waits {
  el_threads *threads;
} waits;

static void barriers(void *arg, uint64_t passes, int ith, int n) {
  waits *w = arg;
  while (passes--) el_barrier(w->threads, ith);
}

static void no_phase(void *arg, int phase, el_turn turn) {}

static double runs_ns(el_threads *t, int n) {
  uint64_t begin = el_now_ns();
  for (int i = 0; i < n; i++) el_threads_run_phases(t, 1, no_phase, NULL);
  return (double)(el_now_ns() - begin) / n;
}

static el_bench_figure inverse_figure(el_bench_figure f, double scale) {
  return (el_bench_figure){scale / f.median, scale / f.max, scale / f.min};
}

static void measure_waits(bench *b, el_threads *t, row *r) {
  waits w = {t};
  double values[EL_BENCH_MAX_REPEAT];
  r->barrier_ns = inverse_figure(el_bench_rate(t, barriers, &w, 0.03, b->repeat), 1e9);
  for (int i = 0; i < b->repeat; i++) values[i] = runs_ns(t, 1000);
  r->run_ns = el_bench_spread(values, b->repeat);
  double wakes[WAKES];
  for (int i = 0; i < WAKES; i++) {
    usleep(WAKE_AFTER_US); /* they sleep by then */
    wakes[i] = runs_ns(t, 1) * 1e-3;
  }
  r->wake_us = el_bench_spread(wakes, WAKES);
}

/* ---- computing */

static void spin_turns(double turns) {
  for (long i = (long)turns; i > 0; i--) __asm__ volatile("");
}

static void phase_of_work(void *arg, int phase, el_turn turn) {
  const bench *b = arg;
  spin_turns(b->turns_per_us * PHASE_US / turn.size);
}

/* Steps a second, of PHASES phases that take one thread PHASE_US each. */
static el_bench_figure steps_per_second(bench *b, el_threads *t) {
  double values[EL_BENCH_MAX_REPEAT];
  for (int i = 0; i < b->repeat; i++) {
    uint64_t begin = el_now_ns(), now;
    int steps = 0;
    do {
      el_threads_run_phases(t, PHASES, phase_of_work, b);
      steps++;
    } while ((now = el_now_ns()) - begin < 200000000);
    values[i] = (double)steps * 1e9 / (double)(now - begin);
  }
  return el_bench_spread(values, b->repeat);
}

static void calibrate_turns(bench *b) {
  const double turns = 2e7;
  double best = 1e30;
  for (int i = 0; i < 5; i++) {
    uint64_t begin = el_now_ns();
    spin_turns(turns);
    double us = (double)(el_now_ns() - begin) * 1e-3;
    if (us < best) best = us;
  }
  b->turns_per_us = turns / best;
  b->alone = 1e6 / (PHASES * PHASE_US);
}

/* A process that computes on the last of the CPUs that may be used; -1: errno says why there is none. */
static pid_t start_busy_process(const bench *b) {
  int last = CPU_SETSIZE - 1;
  while (last > 0 && !CPU_ISSET(last, &b->allowed)) last--;
  cpu_set_t set;
  pid_t parent = getpid(), pid = fork();
  if (pid) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0);
  CPU_ZERO(&set);
  CPU_SET(last, &set);
  sched_setaffinity(0, sizeof set, &set);
  for (;;) __asm__ volatile("");
}

static int measure_speed(bench *b, el_threads *t, row *r) {
  r->quiet = el_bench_scaled(steps_per_second(b, t), 1 / b->alone);
  pid_t pid = start_busy_process(b);
  if (pid < 0) {
    el_cli_error("cannot start a process that keeps a core busy: %s", strerror(errno));
    return EL_EXIT_FAILED;
  }
  r->busy = el_bench_scaled(steps_per_second(b, t), 1 / b->alone);
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  return -1;
}

/* ---- the report */

static void print_threads_head(const bench *b) {
  printf("machine   %s; %d cores; threads %s\n", b->machine.cpu, b->machine.cores,
         b->cpu_list ? "pinned" : "not pinned");
  printf(
      "speed     of %d phases of %d us, times that of one thread; busy: another process computes on one of the cores\n"
      "\nthreads     barrier, ns     a run, ns     woken, us     speed, quiet     speed, busy\n",
      PHASES, PHASE_US);
  fflush(stdout);
}

static bool add_row(bench *b, const row *r) {
  if (!b->json) {
    char quiet[40], busy[40];
    snprintf(quiet, sizeof quiet, "%.2f (%.2f-%.2f)", r->quiet.median, r->quiet.min, r->quiet.max);
    snprintf(busy, sizeof busy, "%.2f (%.2f-%.2f)", r->busy.median, r->busy.min, r->busy.max);
    printf("%7d %15.0f %13.0f %13.1f %16s %16s\n", r->n, r->barrier_ns.median, r->run_ns.median, r->wake_us.median,
           quiet, busy);
    fflush(stdout);
    return true;
  }
  json_t *entry =
      json_pack("{s:i, s:o, s:o, s:o, s:o, s:o}", "threads", r->n, "barrier_ns", el_bench_figure_json(&r->barrier_ns),
                "run_ns", el_bench_figure_json(&r->run_ns), "wake_us", el_bench_figure_json(&r->wake_us), "speed_quiet",
                el_bench_figure_json(&r->quiet), "speed_busy", el_bench_figure_json(&r->busy));
  return entry && json_array_append_new(b->results, entry) == 0;
}

static int print_threads_json(const bench *b) {
  json_t *report = json_pack("{s:o, s:b, s:i, s:i, s:i, s:O}", "machine", el_bench_machine_json(&b->machine), "pinned",
                             b->cpu_list != NULL, "phases", PHASES, "phase_us", PHASE_US, "repeat", b->repeat,
                             "results", b->results);
  return el_bench_print_json(report);
}

static int measure_threads(bench *b) {
  calibrate_turns(b);
  if (!b->json) print_threads_head(b);
  for (size_t i = 0; i < b->threads.n; i++) {
    row r = {.n = b->threads.items[i]};
    el_threads *t;
    el_error err;
    if (el_threads_new(r.n, b->cpu_list ? b->cpus : NULL, &t, &err)) return el_cli_failed(&err);
    el_threads_pin_caller(t);
    measure_waits(b, t, &r);
    int code = measure_speed(b, t, &r);
    el_threads_free(t);
    if (code >= 0) return code;
    if (!add_row(b, &r)) return el_cli_no_memory();
  }
  return b->json ? print_threads_json(b) : -1;
}

static int check_cpus(bench *b) {
  el_error err;
  if (!b->cpu_list) return -1;
  if (el_cpus_parse(b->cpu_list, b->cpus, &b->n_cpus, &err)) {
    el_cli_error("--cpu-list: %s", err.message);
    return EL_EXIT_FAILED;
  }
  for (size_t i = 0; i < b->threads.n; i++)
    if (b->threads.items[i] > b->n_cpus) {
      el_cli_error("--cpu-list: %d CPUs are too few for %d threads", b->n_cpus, b->threads.items[i]);
      return EL_EXIT_FAILED;
    }
  return -1;
}

static int run_threads(const el_cli_command *self, int argc, char **argv) {
  bench *b = calloc(1, sizeof *b);
  if (!b) return el_cli_no_memory();
  b->repeat = 3;
  const el_cli_option options[] = {
      {'t', "threads", "LIST", EL_CLI_NUMBERS, &b->threads, 1, EL_MAX_THREADS,
       "numbers of threads; default: 1, and one for each physical core"},
      {0, "cpu-list", "CPUS", EL_CLI_TEXT, &b->cpu_list, 0, 0,
       "pin each thread to a CPU of its own from this list, such as 0-3,8; auto: choose them; default: the system "
       "places them"},
      {0, "repeat", "R", EL_CLI_INT, &b->repeat, 1, EL_BENCH_MAX_REPEAT,
       "measure R times and show the median and the range; default 3"},
      {0, "json", NULL, EL_CLI_FLAG, &b->json, 0, 0, "print one JSON object instead of a table"},
  };
  const el_cli_group group = {"Measurement", options, sizeof options / sizeof *options};
  int code = el_cli_parse(self, &group, 1, argc, argv, NULL);
  if (code < 0) {
    b->machine = el_bench_machine_get();
    el_bench_default_threads(&b->threads, &b->machine);
    CPU_ZERO(&b->allowed);
    sched_getaffinity(0, sizeof b->allowed, &b->allowed);
    code = check_cpus(b);
  }
  if (code < 0) {
    b->results = json_array();
    code = b->results ? measure_threads(b) : el_cli_no_memory();
  }
  if (code < 0) code = el_cli_end(EL_EXIT_OK);
  json_decref(b->results);
  free(b);
  return code;
}

const el_cli_command el_cmd_bench_threads = {
    .name = "threads",
    .summary = "what threads lose while they wait for each other, alone and beside a busy process",
    .usage = "[--threads LIST] [--cpu-list LIST] [options]",
    .about =
        "Measures for each number of threads:\n"
        "  barrier       the time from when the last thread arrives until all go on; a step has 150 to 300\n"
        "                barriers\n"
        "  a run         the time to hand work to all threads and have it done, while they are awake\n"
        "  woken         the same, while they sleep\n"
        "  speed, quiet  the speed of a step of small phases, as a multiple of the speed of one thread\n"
        "  speed, busy   the same, while another process computes on one of the cores. With one thread on\n"
        "                each of n cores a fair share is n - 1/2.\n"
        "Nothing else should be running.",
    .examples =
        "  edgelora-bench threads\n"
        "  edgelora-bench threads --threads 2,4,8,16 --cpu-list auto --json",
    .run = run_threads};
