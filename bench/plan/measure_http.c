/* The time that a token and a request take outside of steps: a server in this process, and the client of
 * `edgelora-bench load` on the same cores. */
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "bench/load/ask.h"
#include "bench/load/client.h"
#include "bench/load/fetch.h"
#include "bench/plan/measure.h"
#include "server/server.h"

enum {
  TOKENS = 64,   /* that each of a batch generates */
  BATCH = 8,     /* at most */
  REQUESTS = 24, /* of one token, one after the other */
  ROUNDS = 3,
  FIRST_ID = 1000
};
#define PATIENCE_SECONDS 600.0

typedef struct bench {
  el_engine *engine;
  el_load_url url;
  el_load_client *client;
  el_load_ask ask;
  uint64_t number;
  int running;
  bool failed;
  char why[160];
} bench;

static void on_answer_gap(void *user, uint64_t id, double gap) {}

static void on_answer_ended(void *user, uint64_t id, el_load_answer *answer) {
  bench *b = user;
  b->running--;
  if (answer->end == EL_LOAD_DONE) return;
  b->failed = true;
  el_load_say(answer, b->why, sizeof b->why);
}

/* n requests together, to their ends; false: one failed. */
static bool ask_server(bench *b, int n, int tokens) {
  const el_load_item item = {.adapter = EL_LOAD_BASE, .n_in = 1, .n_out = tokens};
  for (int i = 0; i < n && !b->failed; i++) {
    el_buf body = {0};
    bool ok = el_load_ask_body(&b->ask, ++b->number, &item, true, &body);
    const el_load_call call = {.id = b->number,
                               .method = "POST",
                               .path = "/v1/completions",
                               .body = body.data,
                               .body_len = body.len,
                               .stream = true,
                               .deadline = el_seconds() + PATIENCE_SECONDS};
    b->running++;
    if (!ok || !el_load_client_send(b->client, &call)) {
      b->failed = true;
      snprintf(b->why, sizeof b->why, "out of memory");
    }
    el_buf_free(&body);
  }
  while (b->running && !b->failed) el_load_client_wait(b->client, INFINITY);
  return !b->failed;
}

/* Seconds outside of steps, for each step, while n sequences generate; of several rounds the least disturbed. */
static bool between_steps(bench *b, int n, double *out) {
  *out = INFINITY;
  for (int i = 0; i < ROUNDS; i++) {
    el_stats before, after;
    el_engine_stats(b->engine, &before);
    double begin = el_seconds();
    if (!ask_server(b, n, TOKENS)) return false;
    double seconds = el_seconds() - begin;
    el_engine_stats(b->engine, &after);
    seconds -= after.step_seconds - before.step_seconds;
    *out = fmin(*out, seconds / (double)(after.steps - before.steps));
  }
  return true;
}

/* Seconds of a request outside of its step. */
static bool request_seconds(bench *b, double *out) {
  *out = INFINITY;
  for (int i = 0; i < REQUESTS; i++) {
    el_stats before, after;
    el_engine_stats(b->engine, &before);
    double begin = el_seconds();
    if (!ask_server(b, 1, 1)) return false;
    double seconds = el_seconds() - begin;
    el_engine_stats(b->engine, &after);
    *out = fmin(*out, seconds - (after.step_seconds - before.step_seconds));
  }
  return true;
}

static bool measure_requests(bench *b, int n_slots, el_costs *c) {
  int n = n_slots < BATCH ? n_slots : BATCH;
  double request, one, all;
  if (!ask_server(b, n, TOKENS)) return false; /* warm-up */
  if (!request_seconds(b, &request) || !between_steps(b, 1, &one) || !between_steps(b, n, &all)) return false;
  c->token = n > 1 && all > one ? (all - one) / (n - 1) : 0;
  c->step = one > c->token ? one - c->token : 0;
  c->request = request > 0 ? request : 0;
  return true;
}

int el_plan_measure_http(const el_plan_measure *m, el_costs *c) {
  bench b = {.engine = m->common->engine};
  el_model_info info;
  el_server *server = NULL;
  el_error err;
  el_engine_info(b.engine, &info);
  b.ask = (el_load_ask){.api = EL_LOAD_OPENAI,
                        .base = info.name,
                        .temperature = m->temperature,
                        .top_p = 1,
                        .first = info.n_vocab > 2 * FIRST_ID ? FIRST_ID : 0,
                        .n_ids = (size_t)(info.n_vocab > 2 * FIRST_ID ? FIRST_ID : info.n_vocab)};
  el_server_options options = el_server_options_default();
  options.engine = b.engine;
  options.port = 0;
  const el_load_hooks hooks = {&b, on_answer_gap, on_answer_ended};
  el_plan_say(m, "requests, part", 1, 1);
  el_status status = el_server_start(&options, &server, &err);
  if (!status) status = el_load_url_read(el_server_url(server), &b.url, &err);
  if (!status) status = el_load_client_new(&b.url, &hooks, -1, &b.client, &err);
  int code = status ? el_cli_failed(&err) : -1;
  if (code < 0 && !measure_requests(&b, info.n_slots, c)) {
    el_cli_error("a request for measuring: %s", b.why);
    code = EL_EXIT_FAILED;
  }
  if (b.client) el_load_client_cut(b.client);
  el_load_client_free(b.client);
  if (server) el_server_stop(server);
  return code;
}
