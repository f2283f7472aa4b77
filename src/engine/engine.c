/* Opening and closing an engine, and what it says about itself. */
#include "engine/engine.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/discover.h"
#include "base/cpus.h"
#include "base/error.h"
#include "base/file.h"
#include "base/wait.h"
#include "format/gguf.h"
#include "kernels/select.h"
#include "model/losses.h"
#include "template/template.h"
#include "tokenizer/extension.h"
#include "tokenizer/tokenizer.h"

const char *el_version(void) {
  return EL_VERSION;
}

void el_free(void *p) {
  free(p);
}

el_engine_options el_engine_options_default(void) {
  return (el_engine_options){.n_slots = 32,
                             .step_rows = 128,
                             .max_queue = 1024,
                             .prefix_cache = true,
                             .speculate = EL_SPECULATE_AUTO,
                             .router_margin = -1};
}

static el_status check_range(const char *field, int value, int min, int max, el_error *err) {
  if (value >= min && value <= max) return EL_OK;
  return el_fail(err, EL_ERR_INVALID, "%s: %d is not in %d to %d", field, value, min, max);
}

el_status el_engine_options_check(const el_engine_options *o, el_error *err) {
  if (!o || !o->model_path) return el_fail(err, EL_ERR_INVALID, "model_path: is missing");
  el_status status = o->model_name ? el_adapter_name_check(o->model_name, err) : EL_OK;
  if (status) return el_fail_prefix(err, "model_name");
  if ((status = check_range("n_threads", o->n_threads, 0, EL_MAX_THREADS, err)) ||
      (status = check_range("n_slots", o->n_slots, 1, EL_MAX_SLOTS, err)) ||
      (status = check_range("ctx_size", o->ctx_size, 0, EL_MAX_CTX_SIZE, err)) ||
      (status = check_range("step_rows", o->step_rows, 1, EL_MAX_STEP_ROWS, err)) ||
      (status = check_range("step_adapters", o->step_adapters, 0, EL_MAX_SLOTS, err)) ||
      (status = check_range("max_queue", o->max_queue, 0, EL_MAX_QUEUE, err)) ||
      (status = check_range("speculate", o->speculate, EL_SPECULATE_AUTO, EL_MAX_SPECULATE, err)) ||
      (status = check_range("router_top_k", o->router_top_k, 0, EL_MAX_SCORES, err)))
    return status;
  if (!(o->router_margin <= EL_MAX_ROUTER_MARGIN))
    return el_fail(err, EL_ERR_INVALID, "router_margin: %g is above %d", (double)o->router_margin,
                   EL_MAX_ROUTER_MARGIN);
  el_kv_type kv_type;
  el_layout layout;
  if ((status = el_kv_type_get(o->kv_type, &kv_type, err)) ||
      (status = el_adapter_layout_get(o->adapter_type, &layout, err)))
    return status;
  if (o->n_slots > o->step_rows)
    return el_fail(err, EL_ERR_INVALID, "step_rows: %d is below n_slots, %d: each slot may need a row", o->step_rows,
                   o->n_slots);
  return EL_OK;
}

/* general.name, or the file's stem: the first that can be a name. */
static char *default_name(const el_gguf *g) {
  el_error ignored;
  el_str name;
  char *s = NULL;
  if (!el_gguf_str(g, "general.name", &name, &ignored)) {
    s = el_str_dup(name);
    /* A NUL inside would cut it short. */
    if (!s || (strlen(s) == name.len && !el_adapter_name_check(s, &ignored))) return s;
    free(s);
  }
  s = el_str_dup(el_gguf_stem(el_gguf_path(g)));
  if (!s || !el_adapter_name_check(s, &ignored)) return s;
  free(s);
  return strdup("model");
}

static el_status read_names(el_engine *e, const el_gguf *g, const el_engine_options *o, el_error *err) {
  el_str architecture;
  el_status status = el_gguf_str(g, "general.architecture", &architecture, err);
  if (status) return status;
  e->architecture = el_str_dup(architecture);
  e->name = o->model_name ? strdup(o->model_name) : default_name(g);
  if (o->cache_dir) e->cache_dir = strdup(o->cache_dir);
  if (!e->architecture || !e->name || (o->cache_dir && !e->cache_dir))
    return el_fail(err, EL_ERR_NO_MEMORY, "%s: out of memory", o->model_path);
  return EL_OK;
}

static el_status use_template(el_engine *e, const char *path, el_error *err) {
  el_file f;
  el_error why = {0};
  el_status status = el_file_read(path, EL_TEMPLATE_MAX_BYTES, &f, err);
  if (status) return status;
  status = el_tokenizer_use_template(e->tokenizer, (el_str){(const char *)f.data, f.size}, &why);
  el_file_close(&f);
  return status ? el_fail_about(err, status, path, "%s", why.message) : EL_OK;
}

/* What comes out of the file; afterwards it is closed. */
static el_status load(el_engine *e, const el_engine_options *o, el_error *err) {
  el_gguf *g = NULL;
  el_weights weights = EL_WEIGHTS_KEEP;
  el_status status = el_weights_get(o->weights, &weights, err);
  if (!status) status = el_gguf_open(o->model_path, &g, err);
  if (!status) status = read_names(e, g, o, err);
  if (!status) status = el_tokenizer_from_gguf(g, &e->tokenizer, err);
  if (!status) status = el_constraint_store_new(e->tokenizer, &e->constraints, err);
  if (!status && o->chat_template_path) status = use_template(e, o->chat_template_path, err);
  if (!status && el_tokenizer_notice(e->tokenizer))
    el_logf(&e->log, EL_LOG_WARN, "%s: %s", o->model_path, el_tokenizer_notice(e->tokenizer));
  if (!status)
    status = el_model_load(g, e->kernels, e->threads, weights, o->progress, o->progress_user, &e->model, err);
  if (!status) status = el_losses_log(g, weights, &e->log, err);
  el_gguf_close(g);
  if (status) return status;
  int n_vocab = el_model_hparams(e->model)->n_vocab;
  if (el_tokenizer_n_vocab(e->tokenizer) != n_vocab)
    return el_fail(err, EL_ERR_FORMAT, "%s: the vocabulary has %d tokens, token_embd.weight has %d rows", o->model_path,
                   (int)el_tokenizer_n_vocab(e->tokenizer), n_vocab);
  return EL_OK;
}

/* What the router reads stays until the other layers have gone on from it, windowed pages too. */
static void keep_read_pages(el_engine *e, int max_tokens) {
  el_kv_layout *l = &e->memory.layout;
  const int n = el_pages_for(max_tokens < e->limits.ctx_size ? max_tokens : e->limits.ctx_size) + 1;
  if (!l->windowed_per_block || n <= l->most_windowed) return;
  l->most_windowed = n;
  const uint64_t most = el_kv_layout_most(l, e->memory.kv.max_blocks) * EL_PAGE_TOKENS;
  if (most >= (uint64_t)e->limits.ctx_size) return;
  e->limits.ctx_size = (int)most;
  el_logf(&e->log, EL_LOG_WARN, "router: what it reads leaves memory for sequences of %d tokens", e->limits.ctx_size);
}

/* The router of the options, if there is one, and what the step and the memory need for it. */
static el_status open_router(el_engine *e, const el_engine_options *o, el_error *err) {
  const char *path = o->router_path;
  if (!path) return EL_OK;
  const el_hparams *h = el_model_hparams(e->model);
  const el_base_id base = {.name = e->name,
                           .architecture = e->architecture,
                           .n_layers = h->n_layers,
                           .n_embd = h->n_embd,
                           .n_vocab = h->n_vocab,
                           .fingerprint = el_model_fingerprint(e->model)};
  const el_chooser_setup setup = {o, &base, e->tokenizer, e->registry, &e->memory, &e->log};
  el_status status = el_chooser_open(&e->chooser, &setup, err);
  if (status) return status;
  const el_features *f = &e->chooser.router->features;
  if ((status = el_step_taps(e->step, f->taps, f->n_taps, err))) return el_fail_prefix(err, "%s", path);
  e->limits.decision = el_chooser_limits(&e->chooser, e->limits.ctx_size);
  keep_read_pages(e, f->max_tokens);
  e->scheduler.state_floats = (size_t)f->n_taps * (size_t)f->n_embd;
  el_logf(&e->log, EL_LOG_INFO, "router: reads the first %d tokens of a prompt through %d of %d layers; %s",
          f->max_tokens, f->taps[f->n_taps - 1], h->n_layers, path);
  return EL_OK;
}

static el_status reserve_tables(el_engine *e, const el_engine_options *o, el_pool_setup setup, el_error *err) {
  const el_hparams *h = el_model_hparams(e->model);
  el_budget b;
  el_status status = el_budget_plan(o, h, NULL, e->kernels, &b, err);
  if (status) return status;
  if (setup.n_blocks) {
    b.n_blocks = setup.n_blocks;
    const el_kv_shape shape = el_kv_shape_of(h, b.kv_type);
    const uint32_t windowed = setup.windowed_per_block ? setup.windowed_per_block : setup.pages_per_block;
    b.layout = el_kv_layout_of(&shape, setup.pages_per_block, windowed, o->step_rows);
    b.reserve = setup.reserve;
  }
  uint64_t pages = el_kv_layout_most(&b.layout, b.n_blocks - b.reserve);
  if (pages < (uint64_t)el_pages_for(b.ctx_size))
    return el_fail(err, EL_ERR_INVALID, "KV cache: %llu pages do not hold one context, which takes %d",
                   (unsigned long long)pages, el_pages_for(b.ctx_size));
  if (b.ctx_size > h->ctx_train)
    el_logf(&e->log, EL_LOG_WARN, "ctx_size: %d is more than the %d tokens that the model was trained for", b.ctx_size,
            h->ctx_train);
  e->adapter_layout = b.adapter_layout;
  e->limits = (el_seq_limits){.n_vocab = h->n_vocab,
                              .ctx_size = b.ctx_size,
                              .tokenizer = e->tokenizer,
                              .embedding = {.n_embd = h->n_embd, .pooling = h->pooling}};
  el_memory_options m = {.layout = b.layout,
                         .n_blocks = b.n_blocks,
                         .reserve = b.reserve,
                         .adapter_layout = b.adapter_layout,
                         .tokenizer = e->tokenizer,
                         .policy = o->cache_policy,
                         .prefix_cache = o->prefix_cache,
                         .prefault = o->prefault,
                         .own_thread = !setup.by_hand,
                         .on_result = el_loop_notify,
                         .user = e};
  if ((status = el_registry_new(e->name, el_loop_notify, e, &e->registry, err))) return status;
  el_registry_use_tokenizer(e->registry, e->tokenizer, el_model_sites(e->model));
  if ((status = el_presets_open(e, o->preset_path, err)) ||
      (status = el_memory_new(&m, el_model_sites(e->model), e->kernels, e->registry, &e->log, &e->memory, err)))
    return status;
  el_loader_use_base(e->memory.loader, el_model_base(e->model));
  uint32_t context = (uint32_t)el_kv_layout_blocks(&b.layout, (uint64_t)el_pages_for(b.ctx_size));
  uint32_t not_pinned = context + b.reserve;
  el_registry_limit_pins(e->registry, b.n_blocks > not_pinned ? b.n_blocks - not_pinned : 0,
                         e->memory.pool.block_bytes);
  double mib = (double)e->memory.pool.block_bytes / (1 << 20);
  el_logf(&e->log, EL_LOG_INFO,
          "memory: %.0f MiB for keys, values and adapters, in %u blocks of %.0f KiB; a sequence of %d tokens "
          "takes %.0f MiB, an adapter of rank 16 %.1f MiB as %s",
          mib * b.n_blocks, b.n_blocks, mib * 1024, b.ctx_size,
          el_kv_layout_bytes(&b.layout, (uint64_t)el_pages_for(b.ctx_size)) / (1 << 20), mib * b.reserve,
          el_layout_name(b.adapter_layout));
  int max_logits = o->n_slots > EL_PROMPT_LOGITS ? o->n_slots : EL_PROMPT_LOGITS;
  if (max_logits > o->step_rows) max_logits = o->step_rows;
  if ((status = el_scheduler_init(&e->scheduler, &e->memory, o->n_slots, o->step_rows, max_logits, err)) ||
      (status = el_step_new(e->model, e->threads, e->memory.pool.base, b.kv_type, o->step_rows, max_logits, b.ctx_size,
                            &e->step, err)))
    return status;
  if (b.layout.windowed_per_block) el_step_split_pages(e->step, e->memory.kv.page_bytes, e->memory.windowed.page_bytes);
  e->scheduler.step_adapters = o->step_adapters;
  el_speculation_init(&e->speculation, o->speculate);
  e->scheduler.speculation = &e->speculation;
  status = el_draws_new(e->kernels, e->threads, h->n_vocab + EL_MAX_ADDED_TOKENS, max_logits, &e->draws, err);
  return status ? status : open_router(e, o, err);
}

static el_status start_thread(el_engine *e, el_error *err) {
  int failed = pthread_create(&e->thread, NULL, el_engine_main, e);
  if (failed) return el_fail(err, EL_ERR_NO_MEMORY, "cannot start the engine thread: %s", strerror(failed));
  e->thread_started = true;
  return EL_OK;
}

static el_status open_threads(el_engine *e, const el_engine_options *o, el_error *err) {
  int cpus[EL_MAX_CPUS], n_cpus = 0, n = o->n_threads;
  if (o->cpu_list) {
    el_status status = el_cpus_parse(o->cpu_list, cpus, &n_cpus, err);
    if (status) return el_fail_prefix(err, "cpu_list");
    if (n > n_cpus) return el_fail(err, EL_ERR_INVALID, "cpu_list: %d CPUs are too few for %d threads", n_cpus, n);
    if (!n) n = n_cpus;
  }
  return el_threads_new(n ? n : el_physical_cores(), o->cpu_list ? cpus : NULL, &e->threads, err);
}

static el_status open_parts(el_engine *e, const el_engine_options *o, el_pool_setup setup, el_error *err) {
  el_status status = el_kernels_get(o->isa, &e->kernels, err);
  if (status) return status;
  if (!o->isa && el_kernels_refused())
    el_logf(&e->log, EL_LOG_WARN, "%s; %s is used", el_kernels_refused(), el_kernels_name(e->kernels));
  /* Signals are for the program's own threads. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  status = open_threads(e, o, err);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (status || (status = load(e, o, err)) || (status = reserve_tables(e, o, setup, err))) return status;
  pthread_sigmask(SIG_SETMASK, &all, &before);
  if (!setup.by_hand) status = start_thread(e, err);
  if (!status && e->chooser.router) status = el_readings_start(e, o->router_path, err);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return status;
}

el_status el_engine_open_pool(const el_engine_options *options, el_pool_setup setup, el_engine **out, el_error *err) {
  el_error error;
  if (!err) err = &error; /* messages are built up on the way */
  el_status status = el_engine_options_check(options, err);
  if (status) return status;
  el_engine *e = calloc(1, sizeof *e);
  if (!e) return el_fail(err, EL_ERR_NO_MEMORY, "engine: out of memory");
  e->log = (el_log){options->log, options->log_user};
  e->max_queue = options->max_queue;
  e->inbox_end = &e->inbox;
  el_flows_init(&e->flows);
  e->kept_end = &e->kept;
  pthread_mutex_init(&e->mutex, NULL);
  pthread_mutex_init(&e->dirs.mutex, NULL);
  pthread_mutex_init(&e->chooser.mutex, NULL);
  el_upkeep_init(&e->upkeep);
  el_cond_init(&e->work);
  pthread_cond_init(&e->readers_gone, NULL);
  status = open_parts(e, options, setup, err);
  e->by_hand = !status && setup.by_hand;
  if (status)
    el_engine_close(e);
  else
    *out = e;
  return status;
}

el_status el_engine_open(const el_engine_options *options, el_engine **out, el_error *err) {
  return el_engine_open_pool(options, (el_pool_setup){0}, out, err);
}

void el_engine_close(el_engine *e) {
  if (!e) return;
  el_upkeep_stop(e);
  el_readings_stop(e);
  if (e->thread_started) {
    pthread_mutex_lock(&e->mutex);
    e->closing = true;
    pthread_cond_signal(&e->work);
    pthread_mutex_unlock(&e->mutex);
    pthread_join(e->thread, NULL);
    /* Every request is done now: whoever waits in el_next_event comes out. */
    pthread_mutex_lock(&e->mutex);
    while (e->n_readers) pthread_cond_wait(&e->readers_gone, &e->mutex);
    pthread_mutex_unlock(&e->mutex);
  } else if (e->by_hand) {
    e->closing = true;
    el_engine_main(e);
  }
  el_request_free_all(e);
  el_flows_free(&e->flows);
  el_chooser_close(&e->chooser);
  el_readings_free(e->readings);
  el_memory_free(&e->memory);
  el_registry_free(e->registry);
  el_preset_free(e->base_preset);
  el_draws_free(e->draws);
  el_step_free(e->step);
  el_scheduler_free(&e->scheduler);
  el_speculation_free(&e->speculation);
  el_model_free(e->model);
  el_constraint_store_free(e->constraints);
  el_tokenizer_close(e->tokenizer);
  el_threads_free(e->threads);
  pthread_cond_destroy(&e->work);
  pthread_cond_destroy(&e->readers_gone);
  pthread_mutex_destroy(&e->mutex);
  el_dirs_free(&e->dirs);
  free(e->architecture);
  free(e->cache_dir);
  free(e->name);
  free(e);
}

void el_engine_info(const el_engine *e, el_model_info *out) {
  const el_hparams *h = el_model_hparams(e->model);
  *out = (el_model_info){.name = e->name,
                         .architecture = e->architecture,
                         .isa = el_kernels_name(e->kernels),
                         .speculate = e->speculation.most,
                         .n_params = el_model_n_params(e->model),
                         .weight_bytes = el_model_weight_bytes(e->model),
                         .pool_bytes = (uint64_t)e->memory.pool.n_blocks * e->memory.pool.block_bytes,
                         .kv_bytes = (uint64_t)e->memory.kv.max_blocks * e->memory.pool.block_bytes,
                         .block_bytes = e->memory.pool.block_bytes,
                         .n_vocab = h->n_vocab,
                         .n_layers = h->n_layers,
                         .n_embd = h->n_embd,
                         .pooling = h->pooling,
                         .n_heads = h->n_head,
                         .n_kv_heads = h->n_head_kv,
                         .n_ff = h->n_ff,
                         .ctx_train = h->ctx_train,
                         .ctx_size = e->limits.ctx_size,
                         .n_slots = e->scheduler.n_slots,
                         .n_threads = el_threads_count(e->threads),
                         .step_rows = e->scheduler.step_rows};
}

const el_tokenizer *el_engine_tokenizer(const el_engine *e) {
  return e->tokenizer;
}

el_status el_constraint_open(el_engine *e, const el_constraint_source *source, const el_constraint **out,
                             el_error *err) {
  if (!e || !source) return el_fail(err, EL_ERR_INVALID, "constraint: is NULL");
  el_status status = el_constraint_store_open(e->constraints, source, out, err);
  if (status && err) err->field = "constraint";
  return status;
}

void el_constraint_close(el_engine *e, const el_constraint *constraint) {
  el_constraint_release(constraint);
}

void el_engine_stats(el_engine *e, el_stats *out) {
  const el_counters *c = &e->count;
  const el_memory_counters *m = &e->memory.count;
  pthread_mutex_lock(&e->mutex);
  uint64_t submitted = e->n_submitted - e->n_readings;
  int unfinished = e->n_unfinished, running = atomic_load(&c->running);
  pthread_mutex_unlock(&e->mutex);
  *out = (el_stats){.steps = atomic_load(&c->steps),
                    .rows = atomic_load(&c->rows),
                    .prompt_tokens = atomic_load(&c->prompt_tokens),
                    .generated_tokens = atomic_load(&c->generated_tokens),
                    .requests_submitted = submitted,
                    .requests_done = atomic_load(&c->done),
                    .requests_cancelled = atomic_load(&c->cancelled),
                    .requests_failed = atomic_load(&c->failed),
                    .requests_not_invoked = atomic_load(&c->not_invoked),
                    .slots_busy = running,
                    .queued = unfinished > running ? unfinished - running : 0,
                    .kv_pages = el_kv_layout_most(&e->memory.layout, e->memory.kv.max_blocks),
                    .kv_pages_used = atomic_load(&m->pages_used),
                    .kv_pages_cached = atomic_load(&m->pages_idle),
                    .kv_windowed_used = atomic_load(&m->windowed_used),
                    .kv_windowed_cached = atomic_load(&m->windowed_idle),
                    .cached_tokens = atomic_load(&m->prefix_tokens),
                    .page_tokens = EL_PAGE_TOKENS,
                    .step_seconds = (double)atomic_load(&c->step_ns) * 1e-9,
                    .preemptions = atomic_load(&c->preempted),
                    .draft_tokens = atomic_load(&e->speculation.n_proposed),
                    .draft_tokens_accepted = atomic_load(&e->speculation.n_accepted),
                    .decisions = atomic_load(&e->chooser.n_decisions),
                    .decisions_base = atomic_load(&e->chooser.n_base),
                    .decisions_resident = atomic_load(&e->chooser.n_resident),
                    .decision_tokens = atomic_load(&e->chooser.n_tokens),
                    .decision_seconds = (double)atomic_load(&e->chooser.ns) * 1e-9,
                    .adapters_in_router = el_chooser_n_adapters(&e->chooser),
                    .adapters = el_registry_count(e->registry),
                    .adapters_resident = atomic_load(&m->n_resident),
                    .adapter_hits = atomic_load(&m->hits),
                    .adapter_misses = atomic_load(&m->misses),
                    .adapter_evictions = atomic_load(&m->evictions),
                    .adapter_loads = atomic_load(&m->loads),
                    .adapter_loads_failed = atomic_load(&m->loads_failed),
                    .load_seconds = (double)atomic_load(&m->load_ns) * 1e-9,
                    .pool_blocks = e->memory.pool.n_blocks,
                    .pool_blocks_kv = atomic_load(&m->blocks_kv),
                    .pool_blocks_adapters = atomic_load(&m->blocks_adapters),
                    .pool_blocks_idle = atomic_load(&m->blocks_idle)};
  for (int i = 0; i < EL_LOAD_BUCKETS; i++) out->load_histogram[i] = atomic_load(&m->load_histogram[i]);
}
