#include "adapter/loader.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/invocation.h"
#include "adapter/own_tokens.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/priority.h"
#include "base/random.h"
#include "base/text.h"

/* The computing threads wait for each other at barriers, so one that has to share its core delays
 * all of them. A load that nobody waits behind therefore gets about a tenth of a busy core, and all
 * of an idle one. When loads wait behind it, loading is what delays requests, and it gets a fair
 * share.
 *
 * A load that nobody waits behind also ends its turns itself, between two pieces of work: a token
 * is late by one piece, not by the time left until the next clock tick of the system, which may be
 * several milliseconds. This cannot starve it, because its share is what the system grants for its
 * nice value; while no step runs it does not pause at all.
 *
 * There are two threads that take turns, because without privileges a thread that was nice cannot
 * stop being so. */
enum { PATIENT_NICE = 10, LOADER_SLICE_US = 200 };
enum { PATIENT, HURRIED, N_THREADS };

/* A buffer that is larger than this is freed after each file. */
enum { KEEP_BUFFER = 64 << 20 };

struct el_loader {
  const el_pool *pool;
  const el_sites *sites;
  const el_tokenizer *tokenizer;
  el_packer *packer;
  el_file_buffer buffers[EL_MAX_COMBINED]; /* a combination has all of its files open at once */
  void (*on_result)(void *user);
  void *user;
  pthread_t threads[N_THREADS];
  int n_threads;
  atomic_bool others_compute;

  pthread_mutex_t mutex;
  pthread_cond_t work;
  bool stop, busy; /* busy: one of the threads is in a load and uses the packer and the buffers */
  /* Load i is ring[i % EL_MAX_LOADS]. taken <= ended <= pushed <= taken + EL_MAX_LOADS. */
  uint64_t pushed, ended, taken;
  el_load ring[EL_MAX_LOADS];
};

static el_load *load_at(el_loader *l, uint64_t i) {
  return &l->ring[i % EL_MAX_LOADS];
}

/* --------------------------------------------------------------------- load */

static el_status open_once(el_loader *l, const char *path, int buffer, el_lora_file **file, el_error *err) {
  el_status status = el_lora_file_open_with(path, l->sites, &l->buffers[buffer], file, err);
  if (status || !l->tokenizer) return status;
  status = el_invocation_resolve(*file, l->tokenizer, path, err);
  if (!status) return EL_OK;
  el_lora_file_close(*file);
  *file = NULL;
  return status;
}

/* Opens a file and takes its signature, which must be the same before and after. entry: may know
 * that the files cannot be used; NULL: nothing is known. *whole: an error is about files that did
 * not change. */
static el_status open_file(el_loader *l, const char *path, int buffer, const el_entry *entry, el_signature *signature,
                           bool *has_signature, bool *whole, el_lora_file **file, el_error *err) {
  for (int attempt = 0;; attempt++) {
    el_status status = el_signature_read(path, signature, err);
    if (status) return el_fail_hidden(err);
    *has_signature = true;
    if (entry && entry->problem && el_signature_same_weights(signature, &entry->failed_signature)) {
      *err = *entry->problem;
      return err->code;
    }
    status = open_once(l, path, buffer, file, err);
    el_signature after;
    *whole = !el_signature_read(path, &after, NULL) && el_signature_same_weights(signature, &after);
    if (*whole) return status ? el_fail_hidden(err) : EL_OK;
    if (!status) el_lora_file_close(*file);
    *file = NULL;
    if (attempt) return el_fail_about(err, EL_ERR_IO, path, "changed while it was read");
  }
}

/* Makes one signature of several adapters' files: it changes when one of them changes. */
static void fold_signature(el_signature *sum, const el_signature *one) {
  for (int i = 0; i < EL_SIGNED_PRESET; i++) {
    sum->file[i].size += one->file[i].size;
    sum->file[i].mtime_ns = el_mix64(sum->file[i].mtime_ns ^ one->file[i].mtime_ns);
    sum->file[i].inode = el_mix64(sum->file[i].inode ^ one->file[i].inode);
  }
}

/* Whether an error is about what is in the files. */
static bool is_permanent(el_status status) {
  return status == EL_ERR_FORMAT || status == EL_ERR_UNSUPPORTED || status == EL_ERR_INVALID;
}

/* The signature of all files of a combination. */
static el_status sign_components(el_load *load, el_error *err) {
  load->signature = (el_signature){0};
  for (int i = 0; i < load->entry->n_components; i++) {
    el_signature signature;
    if (!*load->entry->components[i].path) continue;
    if (el_signature_read(load->entry->components[i].path, &signature, err)) return el_fail_hidden(err);
    fold_signature(&load->signature, &signature);
  }
  return EL_OK;
}

/* Opens all files that the entry is made of. */
static el_status open_sources(el_loader *l, el_load *load, el_pack_source *sources, el_lora_file **files,
                              el_error *err) {
  const el_entry *e = load->entry;
  bool whole = false;
  if (!e->n_components) {
    sources[0] = (el_pack_source){.rank = e->rank, .seed = e->seed, .scale = e->scale};
    if (!*e->path) return EL_OK;
    el_status status = open_file(l, e->path, 0, e, &load->signature, &load->has_signature, &whole, &files[0], err);
    sources[0].file = files[0];
    const el_tokenizer *own;
    if (!status && l->tokenizer && !(status = el_entry_tokens(load->entry, &own, err)))
      status = el_own_tokens_check(files[0], l->tokenizer, own, e->path, err);
    load->permanent = whole && is_permanent(status);
    return status;
  }
  el_status status = sign_components(load, err);
  if (!status && e->problem && el_signature_equal(&load->signature, &e->failed_signature)) {
    *err = *e->problem;
    return err->code;
  }
  load->permanent = false;
  el_signature asked = load->signature;
  load->signature = (el_signature){0};
  for (int i = 0; i < e->n_components && !status; i++) {
    const el_entry_component *c = &e->components[i];
    el_signature signature;
    sources[i] = (el_pack_source){.rank = c->rank, .seed = c->seed, .scale = c->scale};
    if (!*c->path) continue;
    status = open_file(l, c->path, i, NULL, &signature, &load->has_signature, &whole, &files[i], err);
    sources[i].file = files[i];
    if (status) break;
    fold_signature(&load->signature, &signature);
    if (e->n_components > 1 && el_lora_file_invocation(files[i])->n)
      status = el_fail(err, EL_ERR_UNSUPPORTED,
                       "adapters: %s is an activated one (aLoRA), which cannot be combined with others", c->name);
  }
  if (status && whole && is_permanent(status)) {
    load->permanent = true;
    load->signature = asked;
  }
  return status;
}

/* Whether an adapter of this size fits into the blocks of the load. */
static el_load_outcome outcome_of(const el_load *load) {
  bool fits = load->size.n_blocks <= load->n_blocks && (load->consecutive || !load->size.consecutive);
  return fits ? EL_LOADED : EL_LOAD_SIZED;
}

static el_status perform_load(el_loader *l, el_load *load) {
  int n = load->entry->n_components ? load->entry->n_components : 1;
  el_lora_file *files[EL_MAX_COMBINED] = {0};
  el_pack_source sources[EL_MAX_COMBINED] = {0};
  el_status status = open_sources(l, load, sources, files, &load->error);
  if (!status) status = el_packer_plan_combined(l->packer, sources, n, &load->size, &load->error);
  if (!status) {
    load->end = outcome_of(load);
    if (load->end == EL_LOADED) load->adapter = el_packer_pack(l->packer, l->pool->base, load->blocks);
  }
  for (int i = 0; i < n; i++) el_lora_file_close(files[i]);
  for (int i = 0; i < n; i++)
    if (i || l->buffers[i].size > KEEP_BUFFER) el_file_buffer_free(&l->buffers[i]);
  return status;
}

static void work_on_load(el_loader *l, el_load *load) {
  uint64_t begin = el_now_ns();
  load->end = EL_LOAD_BROKEN;
  load->has_signature = load->permanent = false;
  load->adapter = NULL;
  load->size = (el_pack_size){0};
  load->error = (el_error){0};
  if (perform_load(l, load)) load->end = EL_LOAD_BROKEN;
  load->ns = el_now_ns() - begin;
}

bool el_loader_work(el_loader *l) {
  pthread_mutex_lock(&l->mutex);
  bool any = l->ended < l->pushed;
  el_load *load = load_at(l, l->ended);
  pthread_mutex_unlock(&l->mutex);
  if (!any) return false;
  work_on_load(l, load);
  pthread_mutex_lock(&l->mutex);
  l->ended++;
  pthread_mutex_unlock(&l->mutex);
  if (l->on_result) l->on_result(l->user);
  return true;
}

void el_loader_pretend(el_loader *l, const el_pack_size *size, el_adapter *adapter, uint32_t *blocks, uint64_t ns) {
  assert(!l->n_threads && l->ended < l->pushed);
  el_load *load = load_at(l, l->ended++);
  load->size = *size;
  load->end = outcome_of(load);
  load->has_signature = load->permanent = false;
  load->adapter = load->end == EL_LOADED ? adapter : NULL;
  load->ns = ns;
  if (load->end != EL_LOADED) return;
  memcpy(blocks, load->blocks, sizeof *blocks * size->n_blocks);
  adapter->blocks = blocks;
  adapter->n_blocks = size->n_blocks;
}

/* Whether the next load is for that thread. The mutex is held. */
static bool has_turn(const el_loader *l, int which) {
  uint64_t waiting = l->pushed - l->ended;
  return !l->busy && waiting && which == (waiting > 1 ? HURRIED : PATIENT);
}

static void *work_in_turn(el_loader *l, int which) {
  pthread_mutex_lock(&l->mutex);
  for (;;) {
    while (!l->stop && !has_turn(l, which)) pthread_cond_wait(&l->work, &l->mutex);
    if (l->stop) break;
    l->busy = true;
    pthread_mutex_unlock(&l->mutex);
    el_loader_work(l);
    pthread_mutex_lock(&l->mutex);
    l->busy = false;
    pthread_cond_broadcast(&l->work);
  }
  pthread_mutex_unlock(&l->mutex);
  return NULL;
}

static void *patient_main(void *loader) {
  pthread_setname_np(pthread_self(), "el-loader");
  el_loader *l = loader;
  el_thread_give_way(PATIENT_NICE, LOADER_SLICE_US, &l->others_compute);
  return work_in_turn(l, PATIENT);
}

static void *hurried_main(void *loader) {
  pthread_setname_np(pthread_self(), "el-loader-queue");
  el_thread_give_way(0, LOADER_SLICE_US, NULL);
  return work_in_turn(loader, HURRIED);
}

/* ------------------------------------------------------------------- public */

el_status el_loader_new(const el_sites *sites, const el_kernels *k, el_layout layout, const el_pool *pool,
                        const el_tokenizer *tokenizer, bool own_thread, void (*on_result)(void *user), void *user,
                        el_loader **out, el_error *err) {
  el_loader *l = calloc(1, sizeof *l);
  if (!l) return el_fail(err, EL_ERR_NO_MEMORY, "adapter loader: out of memory");
  l->pool = pool;
  l->sites = sites;
  l->tokenizer = tokenizer;
  l->on_result = on_result;
  l->user = user;
  pthread_mutex_init(&l->mutex, NULL);
  pthread_cond_init(&l->work, NULL);
  el_status status = el_packer_new(sites, k, layout, pool->block_bytes, &l->packer, err);
  for (int i = 0; i < EL_MAX_LOADS && !status; i++)
    if (!(l->ring[i].blocks = malloc(sizeof(uint32_t) * pool->n_blocks)))
      status = el_fail(err, EL_ERR_NO_MEMORY, "adapter loader: out of memory for %u blocks", pool->n_blocks);
  if (!status && own_thread) {
    sigset_t all, before; /* signals are for the program's own threads */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = 0;
    for (int i = 0; i < N_THREADS && !failed; i++) {
      failed = pthread_create(&l->threads[i], NULL, i == HURRIED ? hurried_main : patient_main, l);
      l->n_threads += !failed;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
      status = el_fail(err, EL_ERR_NO_MEMORY, "cannot start the adapter loader's threads: %s", strerror(failed));
  }
  if (status)
    el_loader_free(l);
  else
    *out = l;
  return status;
}

void el_loader_use_base(el_loader *l, const el_base *base) {
  el_packer_use_base(l->packer, base);
}

void el_loader_while_computing(el_loader *l, bool computing) {
  atomic_store_explicit(&l->others_compute, computing, memory_order_relaxed);
}

void el_loader_stop(el_loader *l) {
  pthread_mutex_lock(&l->mutex);
  l->stop = true;
  pthread_cond_broadcast(&l->work);
  pthread_mutex_unlock(&l->mutex);
  while (l->n_threads) pthread_join(l->threads[--l->n_threads], NULL);
}

void el_loader_free(el_loader *l) {
  if (!l) return;
  el_loader_stop(l);
  for (int i = 0; i < EL_MAX_LOADS; i++) free(l->ring[i].blocks);
  el_packer_free(l->packer);
  for (int i = 0; i < EL_MAX_COMBINED; i++) el_file_buffer_free(&l->buffers[i]);
  pthread_cond_destroy(&l->work);
  pthread_mutex_destroy(&l->mutex);
  free(l);
}

/* pushed and taken are written by the caller's thread alone. */
el_load *el_loader_next(el_loader *l) {
  return l->pushed - l->taken < EL_MAX_LOADS ? load_at(l, l->pushed) : NULL;
}

void el_loader_push(el_loader *l) {
  pthread_mutex_lock(&l->mutex);
  assert(l->pushed - l->taken < EL_MAX_LOADS);
  l->pushed++;
  pthread_cond_broadcast(&l->work);
  pthread_mutex_unlock(&l->mutex);
}

el_load *el_loader_result(el_loader *l) {
  pthread_mutex_lock(&l->mutex);
  bool any = l->taken < l->ended;
  pthread_mutex_unlock(&l->mutex);
  return any ? load_at(l, l->taken) : NULL;
}

void el_loader_pop(el_loader *l) {
  l->taken++;
}

int el_loader_n(el_loader *l) {
  return (int)(l->pushed - l->taken);
}

el_load *el_loader_at(el_loader *l, int i) {
  return load_at(l, l->taken + (uint64_t)i);
}
