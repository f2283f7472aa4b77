/* An engine on the fake model, and what a request gave. */
#ifndef EL_TESTS_ENGINE_FIXTURE_H
#define EL_TESTS_ENGINE_FIXTURE_H

#include "base/clock.h"
#include "fake_model.h"

typedef struct rig {
  char dir[64], path[128];
  el_engine *engine;
} rig;

static inline el_engine_options rig_options(int n_slots, int ctx, int step_rows) {
  el_engine_options o = el_engine_options_default();
  o.n_slots = n_slots;
  o.ctx_size = ctx;
  o.step_rows = step_rows;
  o.n_threads = 1;
  o.isa = "scalar";
  o.speculate = 0; /* how many steps something takes is to be known */
  return o;
}

/* n_pages: the pool's size, in blocks of one page, of which an adapter of rank r takes r; 0: ample. */
static inline rig rig_open_options(el_engine_options o, uint64_t n_pages) {
  rig r;
  el_error err;
  fake_write_model(r.dir, r.path);
  o.model_path = r.path;
  if (el_engine_open_pool(&o, (el_pool_setup){.n_blocks = (uint32_t)n_pages, .pages_per_block = 1}, &r.engine, &err))
    fail_msg("%s", err.message);
  fake_take_counts();
  return r;
}

static inline rig rig_open(int n_slots, int ctx, int step_rows) {
  return rig_open_options(rig_options(n_slots, ctx, step_rows), 0);
}

static inline void rig_close(rig *r) {
  el_engine_close(r->engine);
  remove_tree(r->dir);
  fake = (fake_options){0};
}

static inline void rig_add_rank(rig *r, const char *name, int rank, uint64_t seed) {
  el_error err;
  if (el_adapter_add_random(r->engine, name, rank, seed, &err)) fail_msg("%s", err.message);
}

static inline void rig_add(rig *r, const char *name, uint64_t seed) {
  rig_add_rank(r, name, 1, seed);
}

static inline el_stats rig_stats(rig *r) {
  el_stats st;
  el_engine_stats(r->engine, &st);
  return st;
}

/* --- what came back */

enum { MAX_RESULT = 512 };
typedef struct result {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  int32_t tokens[MAX_RESULT];
  float logprobs[MAX_RESULT];
  el_token_logprob top[MAX_RESULT][EL_MAX_TOP_LOGPROBS];
  size_t n_top;
  int n, n_done, n_prompt_events;
  float prompt_logprobs[MAX_RESULT];
  size_t n_prompt_logprobs;
  char text[8 * MAX_RESULT];
  size_t text_len;
  el_event last; /* its pointers are stale */
  char stop[64];
  void (*hook)(struct result *r, const el_event *event); /* called at each event, on its thread */
  el_engine *engine;                                     /* for hooks */
  void *context;
} result;

static inline void result_init(result *r) {
  memset(r, 0, sizeof *r);
  pthread_mutex_init(&r->mutex, NULL);
  pthread_cond_init(&r->changed, NULL);
}

/* Runs on the engine thread too, where cmocka's assertions must not be used. */
static inline void result_take(result *r, const el_event *e) {
  pthread_mutex_lock(&r->mutex);
  if (r->n_done || e->text_len > sizeof r->text - r->text_len || r->n == MAX_RESULT) abort();
  if (e->text_len) memcpy(r->text + r->text_len, e->text, e->text_len);
  r->text_len += e->text_len;
  if (e->type == EL_EVENT_TOKEN) {
    const el_event_token *t = &e->token;
    r->tokens[r->n] = t->id;
    r->logprobs[r->n] = t->logprob;
    r->n_top = t->n_top;
    if (t->n_top) memcpy(r->top[r->n], t->top, t->n_top * sizeof *t->top);
    r->n++;
  } else if (e->type == EL_EVENT_PROMPT) {
    if (r->n || e->prompt.n > MAX_RESULT) abort();
    r->n_prompt_events++;
    r->n_prompt_logprobs = e->prompt.n;
    memcpy(r->prompt_logprobs, e->prompt.logprobs, e->prompt.n * sizeof(float));
  } else if (e->type == EL_EVENT_DONE) {
    r->last = *e;
    if (e->done.stop) snprintf(r->stop, sizeof r->stop, "%s", e->done.stop);
  }
  pthread_mutex_unlock(&r->mutex);
  if (r->hook) r->hook(r, e);
  if (e->type != EL_EVENT_DONE) return;
  pthread_mutex_lock(&r->mutex);
  r->n_done = 1;
  pthread_cond_broadcast(&r->changed);
  pthread_mutex_unlock(&r->mutex);
}

static inline void result_on_event(const el_event *e) {
  result_take(e->user, e);
}

static inline void result_wait(result *r) {
  pthread_mutex_lock(&r->mutex);
  while (!r->n_done) pthread_cond_wait(&r->changed, &r->mutex);
  pthread_mutex_unlock(&r->mutex);
}

static inline void result_wait_tokens(result *r, int n) {
  for (;;) {
    pthread_mutex_lock(&r->mutex);
    bool enough = r->n >= n || r->n_done;
    pthread_mutex_unlock(&r->mutex);
    if (enough) return;
    usleep(200);
  }
}

static inline bool result_text_is(const result *r, const char *text) {
  return r->text_len == strlen(text) && !memcmp(r->text, text, r->text_len);
}

/* Submits with a callback into `out`. */
static inline uint64_t rig_submit(rig *r, el_request q, result *out) {
  uint64_t id = 0;
  el_error err;
  q.on_event = result_on_event;
  q.user = out;
  out->engine = r->engine;
  if (el_submit(r->engine, &q, &id, &err)) fail_msg("%s", err.message);
  return id;
}

static inline void rig_run(rig *r, el_request q, result *out) {
  rig_submit(r, q, out);
  result_wait(out);
}

/* --- requests */

static inline el_request ask(const int32_t *prompt, size_t n, int max_tokens) {
  el_request q = el_request_default();
  q.prompt = prompt;
  q.n_prompt = n;
  q.max_tokens = max_tokens;
  return q;
}
#define ASK(max_tokens, ...) \
  ask((const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t), max_tokens)

/* --- adapters on disk */

/* A PEFT folder for the fake model: one pair of this rank, whose weights are `seed`; so it takes `rank` blocks. fields:
 * more of the configuration's, such as those that make it an activated one. */
static inline void put_fake_peft_with(const char *dir, const char *name, int rank, float seed, const char *fields) {
  enum { N = FAKE_EMBD };
  char path[256], config[256], header[512];
  const size_t n = (size_t)rank * N, bytes = n * sizeof(float);
  float *data = malloc(2 * bytes);
  el_buf b = {0};
  assert_non_null(data);
  assert_true(snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path);
  mkdir(path, 0700);
  for (size_t i = 0; i < 2 * n; i++) data[i] = seed;
  snprintf(config, sizeof config,
           "{\"peft_type\": \"LORA\", \"r\": %d, \"lora_alpha\": 4, \"target_modules\": [\"q_proj\"]%s}", rank, fields);
  snprintf(header, sizeof header,
           "{\"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight\":{\"dtype\":\"F32\",\"shape\":[%d,%d],"
           "\"data_offsets\":[0,%zu]},\"base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight\":{\"dtype\":"
           "\"F32\",\"shape\":[%d,%d],\"data_offsets\":[%zu,%zu]}}",
           rank, N, bytes, N, rank, bytes, 2 * bytes);
  put_safetensors(&b, header, data, 2 * bytes);
  write_file(path, "adapter_model.safetensors", b.data, b.len);
  write_file(path, "adapter_config.json", config, strlen(config));
  el_buf_free(&b);
  free(data);
}

static inline void put_fake_peft_rank(const char *dir, const char *name, int rank, float seed) {
  put_fake_peft_with(dir, name, rank, seed, "");
}

static inline void put_fake_peft(const char *dir, const char *name, float seed) {
  put_fake_peft_rank(dir, name, 2, seed);
}

enum { HELLO = FAKE_WORD, WORLD, STOP_WORD, ST, OP };

#endif
