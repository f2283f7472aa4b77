#include "bench/measure/timing.h"

#include "base/clock.h"

typedef struct sample {
  el_threads *threads;
  el_bench_work_fn work;
  void *arg;
  uint64_t passes;
  double seconds;
} sample;

static void run_sample(void *arg, int ith, int n) {
  sample *s = arg;
  el_barrier(s->threads, ith);
  uint64_t start = el_now_ns();
  s->work(s->arg, s->passes, ith, n);
  el_barrier(s->threads, ith);
  if (ith == 0) s->seconds = (double)(el_now_ns() - start) * 1e-9;
}

static double time_sample(sample *s, uint64_t passes) {
  s->passes = passes;
  el_threads_run(s->threads, run_sample, s);
  return s->seconds > 1e-9 ? s->seconds : 1e-9;
}

el_bench_figure el_bench_rate(el_threads *threads, el_bench_work_fn work, void *arg, double seconds, int repeat) {
  sample s = {threads, work, arg, 0, 0};
  /* The first runs wake the threads, fill the caches, and find how many passes a sample takes. */
  uint64_t passes = 1;
  double took = time_sample(&s, passes);
  while (took < seconds / 4) {
    double more = took > seconds / 64 ? seconds / 2 / took : 8;
    passes = (uint64_t)((double)passes * (more < 2 ? 2 : more));
    took = time_sample(&s, passes);
  }
  passes = (uint64_t)((double)passes * seconds / took) + 1;
  double rates[EL_BENCH_MAX_REPEAT];
  for (int i = 0; i < repeat; i++) rates[i] = (double)passes / time_sample(&s, passes);
  return el_bench_spread(rates, repeat);
}

static void spin_awake(void *arg, int ith, int n) {
  uint64_t end = el_now_ns() + 300000000;
  while (el_now_ns() < end) continue;
}

el_status el_bench_threads_new(int n, el_threads **out, el_error *err) {
  el_status status = el_threads_new(n, NULL, out, err);
  if (!status) el_threads_run(*out, spin_awake, NULL);
  return status;
}
