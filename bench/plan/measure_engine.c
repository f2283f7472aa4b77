/* How long it takes to load an adapter: alone, beside steps, and while other requests wait for their adapters. Adapters
 * leave memory as soon as no request uses them (cache policy "none"), so each request loads one. */
#include <malloc.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch/arch.h"
#include "base/random.h"
#include "bench/load/procfs.h"
#include "bench/measure/figures.h"
#include "bench/measure/machine.h"
#include "bench/plan/measure.h"
#include "format/gguf_write.h"

enum {
  N_NAMES = 4, /* of one adapter; as many as the loader takes at once */
  BASES = 8,   /* sequences of the base that generate meanwhile, at most */
  ROUNDS = 8,
  STEP_SAMPLES = 5,
  STEPS_EACH = 4 /* of a sample, at least */
};

typedef struct bench {
  const el_plan_measure *with;
  el_engine *engine;
  el_model_info info;
  uint64_t ids[BASES];
  int32_t prompt[1];
} bench;

/* ---- an adapter's file */

static char *temporary_folder(void) {
  const char *tmp = getenv("TMPDIR");
  char *path = NULL;
  if (asprintf(&path, "%s/edgelora-plan-XXXXXX", tmp && *tmp ? tmp : "/tmp") < 0) return NULL;
  if (mkdtemp(path)) return path;
  free(path);
  return NULL;
}

static void add_matrix(el_gguf_out *out, int layer, const char *name, int rows, int cols, const float *values) {
  char tensor[80];
  snprintf(tensor, sizeof tensor, "blk.%d.%s", layer, name);
  el_gguf_out_f16_tensor(out, tensor, rows, cols, values);
}

/* A LoRA file on all linear layers: small random weights in F16, as fine-tunes are stored. */
static el_status write_matrices(const el_sites *sites, int rank, const char *path, el_error *err) {
  size_t widest = 0;
  for (int i = 0; i < sites->n_layers * sites->n_sites; i++) {
    const el_site_dims dims = sites->dims[i];
    widest = (size_t)dims.in > widest ? (size_t)dims.in : widest;
    widest = (size_t)dims.out > widest ? (size_t)dims.out : widest;
  }
  size_t n = widest * (size_t)rank;
  float *values = malloc(n * sizeof *values);
  el_gguf_out *out = values ? el_gguf_out_new() : NULL;
  for (size_t i = 0; values && i < n; i++) values[i] = ((float)(el_mix64(i + 1) >> 40) * 0x1p-23f - 1) * 0.01f;
  el_gguf_out_str(out, "general.architecture", sites->arch->name);
  el_gguf_out_str(out, "general.type", "adapter");
  el_gguf_out_str(out, "adapter.type", "lora");
  el_gguf_out_f32(out, "adapter.lora.alpha", (float)rank);
  for (int layer = 0; values && layer < sites->n_layers; layer++)
    for (int i = 0; i < sites->n_sites; i++) {
      const el_site_dims dims = el_sites_dims(sites, layer, i);
      char name[64];
      if (!dims.out) continue;
      snprintf(name, sizeof name, "%s.weight.lora_a", sites->site[i].name);
      add_matrix(out, layer, name, rank, dims.in, values);
      snprintf(name, sizeof name, "%s.weight.lora_b", sites->site[i].name);
      add_matrix(out, layer, name, dims.out, rank, values);
    }
  el_status status = el_gguf_out_save(out, path, err);
  el_gguf_out_free(out);
  free(values);
  return status;
}

static el_status write_adapter(const char *model, int rank, const char *path, el_error *err) {
  el_gguf *g = NULL;
  el_hparams h = {0};
  el_sites *sites = NULL;
  el_status status = el_gguf_open(model, &g, err);
  if (!status) status = el_hparams_read(g, &h, err);
  if (!status) status = el_sites_new(&h, &sites, err);
  if (!status) status = write_matrices(sites, rank, path, err);
  el_sites_free(sites);
  el_hparams_free(&h);
  el_gguf_close(g);
  return status;
}

/* ---- requests */

static el_request request_for(bench *b, const char *adapter, int max_tokens) {
  el_request r = el_request_default();
  r.adapter.name = adapter;
  r.prompt = b->prompt;
  r.n_prompt = 1;
  r.max_tokens = max_tokens;
  r.ignore_eos = true;
  return r;
}

/* adapter < 0: the base */
static el_status submit_request(bench *b, int adapter, int max_tokens, uint64_t *id, el_error *err) {
  char name[32] = "";
  if (adapter >= 0) snprintf(name, sizeof name, "plan-%d", adapter);
  const el_request r = request_for(b, name, max_tokens);
  return el_submit(b->engine, &r, id, err);
}

/* Until a request has ended. */
static el_status wait_for(bench *b, uint64_t id, el_error *err) {
  for (;;) {
    el_event e;
    el_status status = el_next_event(b->engine, id, -1, &e);
    if (status) return status;
    if (e.type != EL_EVENT_DONE) continue;
    if (e.done.finish == EL_FINISH_ERROR) *err = e.done.error;
    return e.done.finish == EL_FINISH_ERROR ? e.done.error.code : EL_OK;
  }
}

/* ---- loads */

/* `together` loads at a time: seconds of one, and of the steps meanwhile. */
static el_status load_seconds(bench *b, int together, double *load, double *step, el_error *err) {
  double times[ROUNDS], steps[ROUNDS];
  el_status status = EL_OK;
  for (int i = 0; i < ROUNDS && !status; i++) {
    el_stats before, after;
    uint64_t ids[N_NAMES];
    el_engine_stats(b->engine, &before);
    for (int k = 0; k < together && !status; k++) status = submit_request(b, (i + k) % N_NAMES, 1, &ids[k], err);
    for (int k = 0; k < together && !status; k++) status = wait_for(b, ids[k], err);
    el_engine_stats(b->engine, &after);
    double loads = (double)(after.adapter_loads - before.adapter_loads), n_steps = (double)(after.steps - before.steps);
    times[i] = loads > 0 ? (after.load_seconds - before.load_seconds) / loads : 0;
    steps[i] = n_steps > 0 ? (after.step_seconds - before.step_seconds) / n_steps : 0;
  }
  *load = status ? 0 : el_bench_spread(times, ROUNDS).median;
  *step = status ? 0 : el_bench_spread(steps, ROUNDS).median;
  return status;
}

/* Seconds of a step in which only those of keep_busy have rows. */
static double step_seconds(bench *b) {
  double seconds[STEP_SAMPLES];
  for (int i = 0; i < STEP_SAMPLES; i++) {
    el_stats before, after;
    el_engine_stats(b->engine, &before);
    do {
      usleep(1000);
      el_engine_stats(b->engine, &after);
    } while (after.steps < before.steps + STEPS_EACH && after.slots_busy);
    seconds[i] = after.steps > before.steps
                     ? (after.step_seconds - before.step_seconds) / (double)(after.steps - before.steps)
                     : 0;
  }
  return el_bench_spread(seconds, STEP_SAMPLES).median;
}

/* Base sequences that generate until they are cancelled. */
static el_status keep_busy(bench *b, el_error *err) {
  el_status status = EL_OK;
  int n = b->info.n_slots > N_NAMES + 1 ? b->info.n_slots - N_NAMES : 1;
  for (int i = 0; i < (n < BASES ? n : BASES) && !status; i++) status = submit_request(b, -1, -1, &b->ids[i], err);
  return status;
}

static double times_as_long(double with, double without) {
  return without > 0 && with > without ? with / without : 1;
}

static el_status measure_loads(bench *b, el_costs *c, el_error *err) {
  double step, beside, queued, mean = 0;
  el_plan_say(b->with, "loads, part", 1, 3);
  el_status status = load_seconds(b, 1, &c->load, &step, err);
  if (!status) status = keep_busy(b, err);
  el_plan_say(b->with, "loads, part", 2, 3);
  if (!status) step = step_seconds(b);
  if (!status) status = load_seconds(b, 1, &c->load_beside, &beside, err);
  el_plan_say(b->with, "loads, part", 3, 3);
  if (!status) status = load_seconds(b, N_NAMES, &mean, &queued, err);
  for (int i = 0; i < BASES; i++)
    if (b->ids[i]) el_cancel(b->engine, b->ids[i]);
  if (status) return status;
  c->slow_beside = times_as_long(beside, step);
  c->slow_queued = times_as_long(queued, step);
  /* The last of them has none behind it. */
  c->load_queued = (N_NAMES * mean - c->load_beside) / (N_NAMES - 1);
  if (c->load_queued < c->load) c->load_queued = c->load;
  return EL_OK;
}

typedef struct sizing {
  el_engine *engine;
  el_stats stats;
  el_finish finish;
  el_error error;
  sem_t done;
} sizing;

/* On the engine's thread, so the adapter is still in use. */
static void on_sizing(const el_event *e) {
  sizing *s = e->user;
  if (e->type == EL_EVENT_TOKEN) el_engine_stats(s->engine, &s->stats);
  if (e->type != EL_EVENT_DONE) return;
  s->finish = e->done.finish;
  s->error = e->done.error;
  sem_post(&s->done);
}

static el_status measure_size(bench *b, el_costs *c, el_error *err) {
  sizing s = {.engine = b->engine};
  el_adapter_info *info;
  uint64_t id;
  el_request r = request_for(b, "plan-0", 2);
  r.on_event = on_sizing;
  r.user = &s;
  sem_init(&s.done, 0, 0);
  el_status status = el_submit(b->engine, &r, &id, err);
  while (!status && sem_wait(&s.done)) continue; /* interrupted by a signal */
  sem_destroy(&s.done);
  if (!status && s.finish == EL_FINISH_ERROR) {
    *err = s.error;
    status = s.error.code;
  }
  if (!status) status = el_adapter_get(b->engine, "plan-0", &info, err);
  if (status) return status;
  c->adapter =
      (el_pack_size){.n_blocks = (uint32_t)s.stats.pool_blocks_adapters, .rank = info->rank, .bytes = info->bytes};
  c->rank = info->rank;
  el_free(info);
  return EL_OK;
}

static el_status measure_adapter_costs(bench *b, el_costs *c, const char *path, el_error *err) {
  el_status status = EL_OK;
  for (int i = 0; i < N_NAMES && !status; i++) {
    char name[32];
    snprintf(name, sizeof name, "plan-%d", i);
    status = el_adapter_add(b->engine, name, path, err);
  }
  if (!status) status = measure_size(b, c, err);
  return status ? status : measure_loads(b, c, err);
}

int el_plan_measure_engine(const el_plan_measure *m, el_costs *c) {
  bench b = {.with = m};
  el_engine_options before = m->common->options;
  char *folder = m->adapter ? NULL : temporary_folder(), *path = NULL;
  if (m->adapter)
    path = strdup(m->adapter);
  else if (!folder || asprintf(&path, "%s/adapter.gguf", folder) < 0)
    path = NULL;
  el_error err;
  int code = path ? -1 : el_cli_no_memory();
  if (code < 0 && folder && write_adapter(m->common->model, m->rank, path, &err)) code = el_cli_failed(&err);
  m->common->options.cache_policy = "none";
  m->common->options.speculate = 0; /* a step's rows are to be known */
#ifdef __GLIBC__
  malloc_trim(0); /* what is resident is to be what a server has at its start */
#endif
  if (code < 0) code = el_cli_engine_open(m->common);
  if (code < 0) {
    b.engine = m->common->engine;
    el_engine_info(b.engine, &b.info);
    el_load_process process;
    if (el_load_process_read((int)getpid(), &process)) c->started_bytes = process.resident_bytes;
    snprintf(c->model, sizeof c->model, "%s", b.info.name);
    code = el_plan_measure_http(m, c);
    if (code < 0 && measure_adapter_costs(&b, c, path, &err)) code = el_cli_failed(&err);
  }
  el_cli_engine_close(m->common);
  m->common->options = before;
  if (folder) {
    if (path) unlink(path);
    rmdir(folder);
  }
  free(folder);
  free(path);
  return code;
}

int el_plan_measure_costs(const el_plan_measure *m, el_costs *out) {
  const el_engine_options *o = &m->common->options;
  *out = (el_costs){.cores = el_bench_machine_get().cores, .rank = m->rank};
  el_bench_cpu_name(out->cpu, sizeof out->cpu);
  snprintf(out->kv_type, sizeof out->kv_type, "%s", o->kv_type ? o->kv_type : "f16");
  snprintf(out->adapter_type, sizeof out->adapter_type, "%s", o->adapter_type ? o->adapter_type : "q8");
  int code = el_plan_measure_steps(m, out);
  return code < 0 ? el_plan_measure_engine(m, out) : code;
}
