#include "engine/readings.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/record_file.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/wait.h"
#include "engine/engine.h"
#include "router/example_file.h"
#include "router/prompt.h"

enum {
  IN_FLIGHT = 4, /* examples that are read at once: steps are for requests first */
  MAX_ROUTER_BYTES = 1 << 30
};

/* An adapter that the registry lists. */
typedef struct known {
  uint64_t id;
  char *name, *path;
  el_signature signature; /* of the examples that the bank has, or will have, the vectors of; zeros: there are none */
  bool seen;              /* taken over since it was reported */
  bool gone;
  bool waiting; /* its examples are to be read */
} known;

/* What the registry reports. */
typedef struct change {
  uint64_t id;
  char *name, *path; /* NULL: no longer listed */
} change;

struct el_readings {
  pthread_t thread;
  bool has_thread;
  pthread_mutex_t settling; /* held while changes are taken over: nobody else alters the list */
  pthread_mutex_t mutex;    /* guards what follows; a reporting registry's is held around it */
  pthread_cond_t work;      /* for the thread */
  pthread_cond_t quiet;     /* nothing is waiting or being read */
  bool stop, busy;
  bool lost;       /* a report, for want of memory */
  change *changes; /* [n_changes] in order */
  size_t n_changes, cap_changes;
  known *list; /* [n] ascending by id */
  size_t n, cap, n_waiting;

  /* With `settling` held: vectors from earlier runs, while they may be wanted, and those that have come since. */
  uint64_t key;
  bool looked;
  el_record_file *earlier;
  el_record_writer *fresh;
};

/* ----------------------------------------------------------------- reports */

/* Under the registry's mutex. */
static void note_listing(void *user, uint64_t id, const char *name, const char *path) {
  el_readings *x = user;
  pthread_mutex_lock(&x->mutex);
  if (x->n_changes == x->cap_changes) {
    size_t cap = x->cap_changes ? 2 * x->cap_changes : 64;
    change *p = realloc(x->changes, cap * sizeof *p);
    if (p) {
      x->changes = p;
      x->cap_changes = cap;
    }
  }
  change c = {id, name ? strdup(name) : NULL, path ? strdup(path) : NULL};
  if (x->n_changes < x->cap_changes && !c.name == !name && !c.path == !path) {
    x->changes[x->n_changes++] = c;
  } else {
    free(c.name);
    free(c.path);
    x->lost = true;
  }
  pthread_cond_signal(&x->work);
  pthread_mutex_unlock(&x->mutex);
}

static void free_known(known *k) {
  free(k->name);
  free(k->path);
}

static known *find_known(const el_readings *x, uint64_t id) {
  size_t from = 0, to = x->n;
  while (from < to) {
    size_t mid = from + (to - from) / 2;
    if (x->list[mid].id < id)
      from = mid + 1;
    else
      to = mid;
  }
  return from < x->n && x->list[from].id == id ? &x->list[from] : NULL;
}

static void set_waiting(el_readings *x, known *k, bool waiting) {
  x->n_waiting += (size_t)waiting - (size_t)k->waiting;
  k->waiting = waiting;
}

/* Its place in the list; NULL: out of memory. Mutex held. */
static known *place(el_readings *x, uint64_t id) {
  known *k = find_known(x, id);
  if (k) return k;
  if (x->n == x->cap) {
    size_t cap = x->cap ? 2 * x->cap : 64;
    known *p = realloc(x->list, cap * sizeof *p);
    if (!p) return NULL;
    x->list = p;
    x->cap = cap;
  }
  size_t at = x->n++;
  for (; at > 0 && x->list[at - 1].id > id; at--) x->list[at] = x->list[at - 1];
  x->list[at] = (known){.id = id};
  return &x->list[at];
}

/* Takes a report over; its strings have another owner then. */
static void apply(el_readings *x, change *c) {
  known *k = c->path ? place(x, c->id) : find_known(x, c->id);
  if (k) {
    set_waiting(x, k, false);
    free_known(k);
    *k = (known){.id = c->id, .name = c->name, .path = c->path, .gone = !c->path};
  } else if (c->path) {
    x->lost = true;
    free(c->name);
    free(c->path);
  }
}

/* ------------------------------------------------------------------ settle */

/* What the bank knows of an adapter without its examples. */
static void put_bare(el_engine *e, const known *k) {
  el_error err;
  if (el_chooser_put(&e->chooser, k->id, k->name, NULL, 0, &err))
    el_logf(&e->log, EL_LOG_WARN, "adapter %s: cannot be chosen by the router: %s", k->name, err.message);
}

static el_record_name file_of(const el_engine *e) {
  return (el_record_name){e->cache_dir, "vectors", e->readings->key};
}

/* What earlier runs have made of the file; true: it is in the bank. `settling` is held. */
static bool put_earlier(el_engine *e, const known *k, const char *path, const el_signature *signature) {
  el_readings *x = e->readings;
  el_error err;
  if (!x->looked && e->cache_dir) {
    el_record_name name = file_of(e);
    if (el_record_file_read(&name, &x->earlier, &err))
      el_logf(&e->log, EL_LOG_WARN, "%s; it is made anew", err.message);
    x->looked = true;
  }
  size_t bytes, each = el_router_vector(e->chooser.router) * sizeof(float);
  const float *vectors = el_record_file_find(x->earlier, path, signature, &bytes);
  if (!vectors || !bytes || bytes % each || bytes / each > EL_MAX_EXAMPLES) return false;
  for (size_t i = 0; i < bytes / sizeof *vectors; i++)
    if (!isfinite(vectors[i])) return false;
  return !el_chooser_put(&e->chooser, k->id, k->name, vectors, (int)(bytes / each), &err);
}

/* What a router was trained with tells more than examples. */
static bool is_trained(const el_router *r, const char *name) {
  int column = el_router_column(r, name);
  return column >= 0 && column != r->base_column;
}

/* Looks whether the examples of an adapter are others than before. */
static void look_at_adapter(el_engine *e, known *k, bool fresh) {
  el_readings *x = e->readings;
  el_signature signature = {0};
  char *path = NULL;
  el_error err;
  bool wanted = *k->path && !is_trained(e->chooser.router, k->name);
  if (wanted && el_example_file_find(k->path, &signature, &path, &err))
    el_logf(&e->log, EL_LOG_WARN, "%s", err.message);
  if (fresh || !el_signature_equal(&signature, &k->signature)) {
    bool wait = path && !put_earlier(e, k, path, &signature);
    if (wait || !path) put_bare(e, k);
    pthread_mutex_lock(&x->mutex);
    k->signature = signature;
    set_waiting(x, k, wait);
    pthread_cond_signal(&x->work);
    pthread_mutex_unlock(&x->mutex);
  }
  free(path);
}

static void drop_gone(el_engine *e) {
  el_readings *x = e->readings;
  size_t n = 0;
  for (size_t i = 0; i < x->n; i++)
    if (x->list[i].gone) el_chooser_remove(&e->chooser, x->list[i].id);
  pthread_mutex_lock(&x->mutex);
  for (size_t i = 0; i < x->n; i++) {
    if (x->list[i].gone)
      free_known(&x->list[i]);
    else
      x->list[n++] = x->list[i];
  }
  x->n = n;
  pthread_mutex_unlock(&x->mutex);
}

void el_readings_settle(el_engine *e, bool again) {
  el_readings *x = e->readings;
  if (!x) return;
  pthread_mutex_lock(&x->settling);
  pthread_mutex_lock(&x->mutex);
  change *changes = x->changes;
  size_t n_changes = x->n_changes;
  x->changes = NULL;
  x->n_changes = x->cap_changes = 0;
  bool gone = false;
  for (size_t i = 0; i < n_changes; i++) {
    gone = gone || !changes[i].path;
    apply(x, &changes[i]);
  }
  bool lost = x->lost;
  x->lost = false;
  pthread_mutex_unlock(&x->mutex);
  free(changes);
  if (lost) el_logf(&e->log, EL_LOG_WARN, "router: out of memory, adapters that were added cannot be chosen");
  if (gone) drop_gone(e);
  for (size_t i = 0; i < x->n; i++) {
    known *k = &x->list[i];
    pthread_mutex_lock(&x->mutex); /* the thread copies what waits */
    bool fresh = !k->seen;
    k->seen = true;
    pthread_mutex_unlock(&x->mutex);
    if (fresh || again) look_at_adapter(e, k, fresh);
  }
  pthread_mutex_unlock(&x->settling);
}

/* ----------------------------------------------------------------- reading */

/* The vectors of one adapter's examples, as they come. */
typedef struct reading {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  int in_flight, n_vectors;
  size_t dim;
  float *vectors; /* [EL_MAX_EXAMPLES, dim] */
} reading;

/* Engine thread. */
static void take_vector(void *user, const float *vector) {
  reading *r = user;
  pthread_mutex_lock(&r->mutex);
  if (vector) memcpy(r->vectors + (size_t)r->n_vectors++ * r->dim, vector, r->dim * sizeof *vector);
  r->in_flight--;
  pthread_cond_signal(&r->changed);
  pthread_mutex_unlock(&r->mutex);
}

static void wait_until(reading *r, int in_flight) {
  pthread_mutex_lock(&r->mutex);
  while (r->in_flight > in_flight) pthread_cond_wait(&r->changed, &r->mutex);
  pthread_mutex_unlock(&r->mutex);
}

static el_status submit(el_engine *e, const char *prompt, reading *r, el_error *err) {
  el_router_prompt t;
  el_status status = el_router_prompt_new(e->tokenizer, prompt, &t, err);
  if (status) return status;
  el_request q = el_request_default();
  q.adapter.by = EL_BY_ROUTER;
  q.prompt = t.tokens;
  /* One that is longer than a sequence may be: what is beyond is not read anyway. */
  q.n_prompt = t.n < (size_t)e->limits.ctx_size ? t.n : (size_t)e->limits.ctx_size;
  q.focus_begin = t.begin;
  q.focus_end = t.end < q.n_prompt ? t.end : q.n_prompt;
  q.max_tokens = 0;
  pthread_mutex_lock(&r->mutex);
  r->in_flight++;
  pthread_mutex_unlock(&r->mutex);
  status = el_request_submit_reading(e, &q, take_vector, r, err);
  if (status) take_vector(r, NULL);
  free(t.tokens);
  return status;
}

/* *path: of the file, to be freed; NULL: it has gone meanwhile, which will be reported. */
static el_status read_examples(el_engine *e, const char *adapter, reading *r, char **path, el_error *err) {
  el_signature signature;
  el_examples_read file = {0};
  el_status status = el_example_file_find(adapter, &signature, path, err);
  if (status || !*path) return status;
  status = el_example_file_read(*path, &file, err);
  for (int i = 0; i < file.n && !status; i++) {
    wait_until(r, IN_FLIGHT - 1);
    status = submit(e, file.prompts[i], r, err);
    if (status) el_fail_prefix(err, "%s", *path);
  }
  wait_until(r, 0);
  el_examples_read_free(&file);
  return status;
}

/* Puts the vectors into the bank and keeps them for later, if they are still those of the adapter. */
static el_status put(el_engine *e, const known *was, const char *path, const reading *r, el_error *err) {
  el_readings *x = e->readings;
  el_status status = EL_OK;
  pthread_mutex_lock(&x->settling);
  const known *k = find_known(x, was->id);
  if (k && !k->waiting && el_signature_equal(&k->signature, &was->signature)) {
    status = el_chooser_put(&e->chooser, k->id, k->name, r->vectors, r->n_vectors, err);
    if (!x->fresh && e->cache_dir) x->fresh = el_record_writer_new(x->earlier);
    if (x->fresh)
      el_record_writer_put(x->fresh, path, &was->signature, r->vectors,
                           (size_t)r->n_vectors * r->dim * sizeof *r->vectors);
  }
  pthread_mutex_unlock(&x->settling);
  return status;
}

static void learn(el_engine *e, const known *k, reading *r) {
  el_error err;
  char *path = NULL;
  r->n_vectors = 0;
  el_status status =
      k->name && k->path ? read_examples(e, k->path, r, &path, &err) : el_fail(&err, EL_ERR_NO_MEMORY, "out of memory");
  if (!status && r->n_vectors) status = put(e, k, path, r, &err);
  free(path);
  if (status)
    el_logf(&e->log, EL_LOG_WARN, "adapter %s: its examples are not used: %s", k->name ? k->name : "", err.message);
  else
    el_logf(&e->log, EL_LOG_DEBUG, "adapter %s: %d examples have been read for the router", k->name, r->n_vectors);
}

/* Writes down what has been learnt, and lets go of what is known from earlier. */
static void save(el_engine *e) {
  el_readings *x = e->readings;
  el_error err;
  pthread_mutex_lock(&x->settling);
  if (x->fresh) {
    el_record_name name = file_of(e);
    if (el_record_writer_save(x->fresh, &name, &err))
      el_logf(&e->log, EL_LOG_WARN, "what the router knows of examples is not kept: %s", err.message);
  }
  el_record_writer_free(x->fresh);
  el_record_file_free(x->earlier);
  x->fresh = NULL;
  x->earlier = NULL;
  x->looked = false;
  pthread_mutex_unlock(&x->settling);
}

/* The next adapter whose examples wait, a copy. False: there is none. Mutex held. */
static bool next_waiting(el_readings *x, known *out) {
  for (size_t i = 0; i < x->n && x->n_waiting; i++) {
    known *k = &x->list[i];
    if (!k->waiting) continue;
    set_waiting(x, k, false);
    *out = *k;
    out->name = strdup(k->name);
    out->path = strdup(k->path);
    return true;
  }
  return false;
}

static void *readings_main(void *arg) {
  el_engine *e = arg;
  el_readings *x = e->readings;
  reading r = {.dim = el_router_vector(e->chooser.router)};
  pthread_setname_np(pthread_self(), "el-examples");
  pthread_mutex_init(&r.mutex, NULL);
  pthread_cond_init(&r.changed, NULL);
  r.vectors = malloc(EL_MAX_EXAMPLES * r.dim * sizeof *r.vectors);
  size_t n_read = 0;
  uint64_t begin = 0;
  if (!r.vectors) el_logf(&e->log, EL_LOG_WARN, "router: out of memory, examples of adapters are not read");
  pthread_mutex_lock(&x->mutex);
  while (!x->stop && r.vectors) {
    known k;
    if (x->n_changes) {
      pthread_mutex_unlock(&x->mutex);
      el_readings_settle(e, false);
      pthread_mutex_lock(&x->mutex);
    } else if (next_waiting(x, &k)) {
      x->busy = true;
      pthread_mutex_unlock(&x->mutex);
      if (!n_read++) begin = el_now_ns();
      learn(e, &k, &r);
      free_known(&k);
      pthread_mutex_lock(&x->mutex);
    } else {
      if (n_read)
        el_logf(&e->log, EL_LOG_INFO, "router: the examples of %zu adapters were read in %.1f s", n_read,
                (double)(el_now_ns() - begin) * 1e-9);
      n_read = 0;
      x->busy = false;
      pthread_cond_broadcast(&x->quiet);
      pthread_mutex_unlock(&x->mutex);
      save(e);
      pthread_mutex_lock(&x->mutex);
      if (!x->stop && !x->n_changes && !x->n_waiting) pthread_cond_wait(&x->work, &x->mutex);
    }
  }
  x->busy = false;
  x->stop = true; /* nobody reads any more */
  pthread_cond_broadcast(&x->quiet);
  pthread_mutex_unlock(&x->mutex);
  save(e);
  free(r.vectors);
  pthread_cond_destroy(&r.changed);
  pthread_mutex_destroy(&r.mutex);
  return NULL;
}

/* ------------------------------------------------------------ start and end */

/* Vectors are kept for this router alone. */
static el_status key_of_router(const char *router_path, uint64_t *key, el_error *err) {
  el_file f;
  el_status status = el_file_read(router_path, MAX_ROUTER_BYTES, &f, err);
  if (status) return status;
  *key = el_record_hash(EL_RECORD_HASH, f.data, f.size);
  el_file_close(&f);
  return EL_OK;
}

el_status el_readings_start(el_engine *e, const char *router_path, el_error *err) {
  uint64_t key;
  el_status status = key_of_router(router_path, &key, err);
  if (status) return status;
  el_readings *x = calloc(1, sizeof *x);
  if (!x) return el_fail(err, EL_ERR_NO_MEMORY, "router: out of memory");
  pthread_mutex_init(&x->settling, NULL);
  pthread_mutex_init(&x->mutex, NULL);
  pthread_cond_init(&x->work, NULL);
  el_cond_init(&x->quiet);
  x->key = key;
  e->readings = x;
  el_registry_on_listing(e->registry, note_listing, x);
  int failed = pthread_create(&x->thread, NULL, readings_main, e);
  if (failed) return el_fail(err, EL_ERR_NO_MEMORY, "cannot start a thread for examples: %s", strerror(failed));
  x->has_thread = true;
  return EL_OK;
}

void el_readings_stop(el_engine *e) {
  el_readings *x = e->readings;
  if (!x || !x->has_thread) return;
  pthread_mutex_lock(&x->mutex);
  x->stop = true;
  pthread_cond_signal(&x->work);
  pthread_mutex_unlock(&x->mutex);
  pthread_join(x->thread, NULL);
  x->has_thread = false;
}

void el_readings_free(el_readings *x) {
  if (!x) return;
  for (size_t i = 0; i < x->n; i++) free_known(&x->list[i]);
  for (size_t i = 0; i < x->n_changes; i++) {
    free(x->changes[i].name);
    free(x->changes[i].path);
  }
  free(x->list);
  free(x->changes);
  pthread_cond_destroy(&x->work);
  pthread_cond_destroy(&x->quiet);
  pthread_mutex_destroy(&x->mutex);
  pthread_mutex_destroy(&x->settling);
  free(x);
}

el_status el_router_wait(el_engine *e, int timeout_ms, el_error *err) {
  if (!e) return el_fail(err, EL_ERR_INVALID, "engine: is NULL");
  el_readings *x = e->readings;
  if (!x) return EL_OK;
  uint64_t deadline = el_deadline_in(timeout_ms);
  bool late = timeout_ms == 0;
  pthread_mutex_lock(&x->mutex);
  while (!x->stop && (x->busy || x->n_waiting || x->n_changes) && !late)
    late = !el_cond_wait(&x->quiet, &x->mutex, deadline);
  size_t left = x->n_waiting + x->busy;
  pthread_mutex_unlock(&x->mutex);
  return left ? el_fail(err, EL_ERR_BUSY, "router: the examples of %zu adapters are still to be read", left) : EL_OK;
}
