#include "bench/load/prepare.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "bench/load/fetch.h"
#include "bench/load/sse.h"

/* For what is asked before the load; a model that is still being loaded answers 503 at once. */
#define PATIENCE_SECONDS 30.0

/* Ids of ordinary tokens in any vocabulary that models of today have: special ones stand before or behind them. */
enum { FIRST_ID = 1000, N_IDS = 8000 };

/* ---- adapters */

static int say_unreachable(const el_load_run *r, const char *path, const el_load_answer *a) {
  char why[200];
  el_load_say(a, why, sizeof why);
  el_cli_error("%s%s: %s", r->options->url_text, path, why);
  return EL_EXIT_FAILED;
}

/* "a,b,c" */
static int adapters_given(el_load_run *r) {
  for (const char *p = r->options->adapters;; p++) {
    size_t len = strcspn(p, ",");
    if (!len) {
      el_cli_error("--adapters: '%s' has an empty name", r->options->adapters);
      return EL_EXIT_USAGE;
    }
    if (r->ask.api == EL_LOAD_LLAMA_SERVER && strspn(p, "0123456789") < len) {
      el_cli_error("--adapters: '%.*s' is not the number of an adapter of llama-server", (int)len, p);
      return EL_EXIT_USAGE;
    }
    if (!el_load_names_add(&r->names, p, len)) return el_cli_no_memory();
    json_t *utf8 = json_string(r->names.items[r->names.n - 1]);
    json_decref(utf8);
    if (!utf8) {
      el_cli_error("--adapters: a name is not UTF-8");
      return EL_EXIT_USAGE;
    }
    p += len;
    if (!*p) return -1;
  }
}

static int adapters_offered(el_load_run *r) {
  const char *path = el_load_offers_path(r->ask.api);
  el_load_answer a;
  el_error err;
  if (el_load_fetch(&r->url, path, NULL, PATIENCE_SECONDS, r->signal_fd, &a, &err)) return el_cli_failed(&err);
  int code = -1;
  const el_load_options *o = r->options;
  bool needed = !o->adapters && !o->automatic && o->n_adapters != 0;
  if (a.end == EL_LOAD_STATUS && !needed) { /* a server that has no such list may do all the same */
  } else if (a.end != EL_LOAD_DONE) {
    code = say_unreachable(r, path, &a);
  } else if (el_load_offers_read(r->ask.api, a.body.data ? a.body.data : "", a.body.len, r->options->prefix, &r->names,
                                 &r->base, &err)) {
    code = el_cli_failed(&err);
  }
  el_buf_free(&a.body);
  return code;
}

/* names: what is asked for. base: needed by servers that want a model's name. */
static int find_adapters(el_load_run *r) {
  const el_load_options *o = r->options;
  /* A list is taken as it is; of the server's, the base's name is wanted all the same. */
  int code = adapters_offered(r);
  if (code >= 0) return code;
  if (o->adapters) {
    el_load_names_free(&r->names);
    code = adapters_given(r);
  }
  if (code >= 0) return code;
  size_t wanted = o->automatic ? 0 : o->n_adapters < 0 ? r->names.n : (size_t)o->n_adapters;
  if (wanted > r->names.n) {
    el_cli_error("--n-adapters: %zu are wanted, and %zu are there", wanted, r->names.n);
    return EL_EXIT_FAILED;
  }
  if (o->own_adapter && !wanted) {
    el_cli_error("--own-adapter: the server has no adapter");
    return EL_EXIT_FAILED;
  }
  el_load_names_keep(&r->names, wanted);
  r->spec.n_adapters = (int)wanted;
  r->ask.base = r->base;
  r->ask.names = &r->names;
  return -1;
}

/* ---- prompts */

/* Asks for one token after a prompt of n. Its tokens as the server counts them; -1: it does not say. */
static int probe_prompts(el_load_run *r, int n, el_load_answer *a, long long *counted) {
  const el_load_item item = {.adapter = r->spec.without, .n_in = n, .n_out = 1};
  el_buf body = {0};
  el_error err;
  int code = -1;
  if (!el_load_ask_body(&r->ask, UINT64_MAX - (uint64_t)n, &item, false, &body))
    code = el_cli_no_memory();
  else if (el_load_fetch(&r->url, "/v1/completions", body.data, PATIENCE_SECONDS, r->signal_fd, a, &err))
    code = el_cli_failed(&err);
  el_buf_free(&body);
  el_load_event e;
  *counted = -1;
  if (code < 0 && a->end == EL_LOAD_DONE && a->body.len && el_load_event_read(a->body.data, a->body.len, &e))
    *counted = e.prompt_tokens;
  return code;
}

/* What a prompt of words has of tokens, from two of them. */
static int measure_words(el_load_run *r) {
  long long few = 0, many = 0;
  el_load_answer a = {.end = EL_LOAD_DONE};
  r->ask.words = true;
  int code = probe_prompts(r, 16, &a, &few);
  if (code < 0 && a.end == EL_LOAD_DONE) {
    el_buf_free(&a.body);
    code = probe_prompts(r, 64, &a, &many);
  }
  if (code < 0 && a.end != EL_LOAD_DONE) code = say_unreachable(r, "/v1/completions", &a);
  el_buf_free(&a.body);
  if (code >= 0) return code;
  r->ask.each = 1;
  if (few > 0 && many > few) {
    r->ask.each = (double)(many - few) / 48;
    r->ask.added = (double)few - 16 * r->ask.each;
  }
  return -1;
}

static int choose_prompts(el_load_run *r) {
  el_load_answer a;
  el_error err;
  long long counted;
  r->ask.seed = r->options->prompt_seed;
  r->ask.temperature = r->options->temperature;
  r->ask.top_p = r->options->top_p;
  r->ask.first = FIRST_ID;
  r->ask.n_ids = N_IDS;
  if (r->options->model && el_load_ask_vocabulary(&r->ask, r->options->model, &err)) return el_cli_failed(&err);
  enum { N = 24 };
  int code = probe_prompts(r, N, &a, &counted);
  if (code >= 0) return code;
  bool ids = a.end == EL_LOAD_DONE && (counted < 0 || counted == N);
  bool refused = a.end == EL_LOAD_DONE || (a.end == EL_LOAD_STATUS && a.status >= 400 && a.status < 500);
  code = ids ? -1 : refused ? measure_words(r) : say_unreachable(r, "/v1/completions", &a);
  el_buf_free(&a.body);
  return code;
}

/* ---- arrivals */

static int draw_trace(el_load_run *r) {
  const el_load_options *o = r->options;
  el_error err;
  el_status status = el_load_trace_draw(&r->trace, &r->spec, (double)o->duration, (size_t)o->n_requests, &err);
  return status ? el_cli_failed(&err) : -1;
}

/* The recorded names stand for the server's adapters: for those of the same names if it has them all, else for the
 * first, the second and so on in the order in which they appear, over again if there are fewer. */
static int translate_adapters(el_load_run *r) {
  el_load_trace *t = &r->trace;
  int *place = malloc((t->names.n + 1) * sizeof *place);
  if (!place) return el_cli_no_memory();
  bool same = true;
  for (size_t i = 0; i < t->names.n; i++) {
    size_t at = el_load_names_find(&r->names, t->names.items[i]);
    same &= at < r->names.n;
    place[i] = (int)at;
  }
  if (!same && r->names.n)
    for (size_t i = 0; i < t->names.n; i++) place[i] = (int)(i % r->names.n);
  bool none = t->names.n && !r->names.n;
  if (!same && !none)
    fprintf(stderr, "%s: %zu recorded adapters stand for the server's %zu, in the order of their appearance\n",
            r->options->replay, t->names.n, t->names.n < r->names.n ? t->names.n : r->names.n);
  for (size_t i = 0; i < t->n; i++) {
    int *adapter = &t->items[i].adapter;
    if (*adapter >= 0) *adapter = none ? r->spec.without : place[*adapter];
  }
  free(place);
  return -1;
}

static int read_replay(el_load_run *r) {
  const el_load_options *o = r->options;
  size_t n = 0;
  for (; n < r->trace.n; n++) {
    el_load_item *item = &r->trace.items[n];
    item->at /= (double)o->speed;
    if (o->n_requests && n == (size_t)o->n_requests) break;
  }
  r->trace.n = n;
  if (r->trace.left_out)
    fprintf(stderr, "%s: %zu rows without input or output tokens are left out\n", o->replay, r->trace.left_out);
  if (o->automatic) {
    for (size_t i = 0; i < r->trace.n; i++) r->trace.items[i].adapter = EL_LOAD_AUTO;
    return -1;
  }
  for (size_t i = 0; i < r->trace.n; i++)
    if (r->trace.items[i].adapter == EL_LOAD_AUTO && r->ask.api == EL_LOAD_LLAMA_SERVER) {
      el_cli_error("%s: request %zu leaves the choice of the adapter to the server, which llama-server does not have",
                   o->replay, i + 1);
      return EL_EXIT_FAILED;
    }
  /* A trace without adapters gets those of the power law. */
  el_error err;
  if (r->trace.has_adapters) return translate_adapters(r);
  return el_load_trace_assign(&r->trace, &r->spec, &err) ? el_cli_failed(&err) : -1;
}

static int save_trace(el_load_run *r) {
  el_error err;
  el_load_trace t = r->trace;
  t.names = r->names;
  return el_load_trace_save(&t, r->options->trace, &err) ? el_cli_failed(&err) : -1;
}

int el_load_prepare(el_load_run *r) {
  const el_load_options *o = r->options;
  el_error err;
  if (el_load_url_read(o->url_text, &r->url, &err)) {
    el_cli_error("--url: %s", err.message);
    return err.code == EL_ERR_INVALID ? EL_EXIT_USAGE : EL_EXIT_FAILED;
  }
  /* A trace that cannot be read is told before the server is asked for anything. */
  if (o->replay && el_load_trace_load(o->replay, &r->trace, &err)) return el_cli_failed(&err);
  int code = find_adapters(r);
  if (code < 0) code = choose_prompts(r);
  if (code < 0 && o->replay) code = read_replay(r);
  if (code < 0 && !o->replay && !o->clients) code = draw_trace(r);
  if (code < 0 && o->trace) code = save_trace(r);
  el_load_process process;
  if (code < 0 && o->server_pid && !el_load_process_read(o->server_pid, &process)) {
    el_cli_error("--server-pid: there is no process %d", o->server_pid);
    code = EL_EXIT_FAILED;
  }
  if (code < 0) el_load_read_counters(r, &r->before);
  return code;
}

void el_load_read_counters(const el_load_run *r, el_load_counters *out) {
  el_load_answer a;
  el_error err;
  *out = (el_load_counters){.told = false};
  if (el_load_fetch(&r->url, "/metrics", NULL, PATIENCE_SECONDS, r->signal_fd, &a, &err)) return;
  if (a.end == EL_LOAD_DONE && a.body.len) *out = el_load_counters_read(a.body.data, a.body.len);
  el_buf_free(&a.body);
}

void el_load_release(el_load_run *r) {
  el_load_ask_free(&r->ask);
  el_load_trace_free(&r->trace);
  el_load_names_free(&r->names);
  el_load_log_free(&r->log);
  free(r->base);
  free(r->samples);
}
