#include "cli/open.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/notify.h"
#include "cli/signals.h"

#define DEFAULT_MODEL "edgelora/models/SmolLM2-135M-Instruct.Q4_1.gguf"
#define DEFAULT_NAME "SmolLM2-135M-Instruct"
#define CACHE_FOLDER "edgelora"

el_cli_engine el_cli_engine_default(void) {
  return (el_cli_engine){.options = el_engine_options_default(), .log = {.level = EL_LOG_WARN}, .signal_fd = -1};
}

el_cli_group el_cli_model_group(el_cli_engine *e, const char **adapter, el_cli_option storage[EL_CLI_MODEL_OPTIONS]) {
  size_t n = 0;
  storage[n++] = (el_cli_option){'m',
                                 "model",
                                 "FILE",
                                 EL_CLI_PATH,
                                 &e->model,
                                 0,
                                 0,
                                 "the base model: a GGUF file, any part of a split one, or its folder; default: the "
                                 "model that 'make model' puts into the cache"};
  storage[n++] = (el_cli_option){0,
                                 "adapter",
                                 "NAME=PATH",
                                 EL_CLI_NAMED_PATHS,
                                 &e->adapters,
                                 0,
                                 0,
                                 "add a LoRA adapter: a PEFT folder or a GGUF file; may be repeated"};
  storage[n++] = (el_cli_option){0,
                                 "adapters",
                                 "DIR",
                                 EL_CLI_PATHS,
                                 &e->adapter_dirs,
                                 0,
                                 0,
                                 "add every adapter in DIR, each named after its folder or file; may be repeated"};
  if (adapter)
    storage[n++] = (el_cli_option){'a',     "use", "NAME", EL_CLI_TEXT,
                                   adapter, 0,     0,      "answer with this adapter; default: the base model alone"};
  return (el_cli_group){"Model and adapters", storage, n};
}

el_cli_group el_cli_router_group(el_cli_engine *e, el_cli_option storage[EL_CLI_ROUTER_OPTIONS]) {
  el_engine_options *o = &e->options;
  storage[0] = (el_cli_option){0,
                               "router",
                               "FILE",
                               EL_CLI_PATH,
                               &o->router_path,
                               0,
                               0,
                               "a router for this model; it chooses an adapter for each request to the model 'auto'"};
  storage[1] = (el_cli_option){0,
                               "router-top-k",
                               "K",
                               EL_CLI_INT,
                               &o->router_top_k,
                               0,
                               EL_MAX_SCORES,
                               "prefer an adapter in memory if it is among the K with the best scores; default 0: the "
                               "value in the router's file"};
  storage[2] = (el_cli_option){0,
                               "router-margin",
                               "X",
                               EL_CLI_REAL,
                               &o->router_margin,
                               -1,
                               EL_MAX_ROUTER_MARGIN,
                               "and only if its logit is at most X below the best one; around a score of 0.5, a logit "
                               "difference of 0.25 is 0.06 of the score; default -1: the value in the router's file"};
  return (el_cli_group){"Router", storage, EL_CLI_ROUTER_OPTIONS};
}

el_cli_group el_cli_engine_group(el_cli_engine *e, int with, el_cli_option storage[EL_CLI_ENGINE_OPTIONS]) {
  el_engine_options *o = &e->options;
  size_t n = 0;
  if (with & EL_CLI_WITH_CTX)
    storage[n++] = (el_cli_option){'c',
                                   "ctx-size",
                                   "TOKENS",
                                   EL_CLI_INT,
                                   &o->ctx_size,
                                   0,
                                   EL_MAX_CTX_SIZE,
                                   "tokens of a sequence, prompt and answer together; default 0: the model's own "
                                   "context, if half of --memory can hold it, otherwise what it holds"};
  if (with & EL_CLI_WITH_SLOTS)
    storage[n++] = (el_cli_option){0,           "slots", "N",          EL_CLI_INT,
                                   &o->n_slots, 1,       EL_MAX_SLOTS, "sequences that run at once; default 32"};
  storage[n++] =
      (el_cli_option){'t',
                      "threads",
                      "N",
                      EL_CLI_INT,
                      &o->n_threads,
                      0,
                      EL_MAX_THREADS,
                      "threads that compute; default 0: one per physical core, or one per CPU of --cpu-list"};
  storage[n++] = (el_cli_option){0,
                                 "cpu-list",
                                 "CPUS",
                                 EL_CLI_TEXT,
                                 &o->cpu_list,
                                 0,
                                 0,
                                 "pin each of these threads to a CPU: a list such as 0-3,8, or auto for one CPU of "
                                 "each physical core; default: the system places them"};
  storage[n++] = (el_cli_option){
      0,       "isa",
      "NAME",  EL_CLI_TEXT,
      &o->isa, 0,
      0,       "instruction set: scalar, avx2, avxvnni, avx512vnni, amx_int8; default: the best one of this CPU"};
  storage[n++] = (el_cli_option){0,
                                 "step-rows",
                                 "N",
                                 EL_CLI_INT,
                                 &o->step_rows,
                                 1,
                                 EL_MAX_STEP_ROWS,
                                 "rows (tokens) that one step computes, of all sequences together; default 128"};
  storage[n++] = (el_cli_option){0,
                                 "step-adapters",
                                 "N",
                                 EL_CLI_INT,
                                 &o->step_adapters,
                                 0,
                                 EL_MAX_SLOTS,
                                 "adapters in one step, the base counted as one; with 1, sequences of other adapters "
                                 "wait, which serves comparisons; default 0: all"};
  storage[n++] = (el_cli_option){
      0,
      "weights",
      "KIND",
      EL_CLI_TEXT,
      &o->weights,
      0,
      0,
      "type of the weights in memory: keep, as precise as in the file; q8, 16- and 32-bit weights as 8-bit integers, "
      "half the memory; f16, all weights as 16-bit floats, for comparisons; default keep"};
  storage[n++] = (el_cli_option){
      0,
      "memory",
      "SIZE",
      EL_CLI_BYTES,
      &o->memory_bytes,
      0,
      0,
      "memory for KV cache and adapters together, such as 2G; the weights come on top; default: contexts of 4096 "
      "tokens for 16 slots, or for half of the slots if these are more, plus 512M; at most half of the free memory"};
  storage[n++] = (el_cli_option){0,
                                 "cache-policy",
                                 "NAME",
                                 EL_CLI_TEXT,
                                 &o->cache_policy,
                                 0,
                                 0,
                                 "policy by which adapters stay in memory: frequency, s3-fifo or lru; none: adapters "
                                 "that no request uses are dropped at once, for comparisons; default frequency"};
  storage[n++] = (el_cli_option){
      0,
      "kv-type",
      "KIND",
      EL_CLI_TEXT,
      &o->kv_type,
      0,
      0,
      "type of the KV cache: f16; or q8, 8-bit integers, half the memory and faster with long contexts; default f16"};
  storage[n++] = (el_cli_option){0,
                                 "adapter-type",
                                 "KIND",
                                 EL_CLI_TEXT,
                                 &o->adapter_type,
                                 0,
                                 0,
                                 "type of adapters in memory: q8, 8-bit integers; q4, 4-bit integers, about half the "
                                 "memory, less exact; f16, 16-bit floats, for comparisons; default q8"};
  storage[n++] = (el_cli_option){0,
                                 "no-prefix-cache",
                                 NULL,
                                 EL_CLI_FLAG,
                                 &e->no_prefix_cache,
                                 0,
                                 0,
                                 "compute every prompt from its first token, even if an earlier prompt with the same "
                                 "adapter began alike; answers are the same"};
  storage[n++] =
      (el_cli_option){0,
                      "speculate",
                      "auto|off|N",
                      EL_CLI_TEXT,
                      &e->speculate,
                      0,
                      0,
                      "speculative decoding: guess up to N tokens ahead, at most 15, from the text itself and from "
                      "earlier answers of its adapter, and verify them in one step; off: none; auto: as many as have "
                      "paid off so far. Answers are the same; default auto, in benchmarks off"};
  storage[n++] = (el_cli_option){0,
                                 "prefault",
                                 NULL,
                                 EL_CLI_FLAG,
                                 &o->prefault,
                                 0,
                                 0,
                                 "take all of --memory from the system at the start and keep it, so that no step waits "
                                 "while the system finds and clears pages; default: take it as it is used"};
  storage[n++] = (el_cli_option){'v', "verbose", NULL, EL_CLI_FLAG, &e->verbose, 0, 0, "log more"};
  storage[n++] = (el_cli_option){'q', "quiet", NULL, EL_CLI_FLAG, &e->quiet, 0, 0, "log errors only"};
  return (el_cli_group){"Engine", storage, n};
}

/* The path of `name` in $XDG_CACHE_HOME or ~/.cache; the caller frees it. NULL: neither is known, or out of memory. */
static char *cache_path(const char *name) {
  const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  char *path = NULL;
  int len = -1;
  if (cache && *cache)
    len = asprintf(&path, "%s/%s", cache, name);
  else if (home && *home)
    len = asprintf(&path, "%s/.cache/%s", home, name);
  return len < 0 ? NULL : path;
}

char *el_cli_model_path(const char *given) {
  char *path = given ? strdup(given) : cache_path(DEFAULT_MODEL);
  if (!path && given) el_cli_no_memory();
  if (!path && !given)
    el_cli_error(
        "no model: name one with -m FILE.gguf, or as 'model' in the configuration; there is no cache to look into, as "
        "neither XDG_CACHE_HOME nor HOME is "
        "set");
  if (!path || given || access(path, R_OK) == 0) return path;
  el_cli_error(
      "no model: name one with -m FILE.gguf, or as 'model' in the configuration, or let 'make model', in the source "
      "folder, fetch the default one to %s",
      path);
  free(path);
  return NULL;
}

/* In seconds. A load that takes longer than PROGRESS_FROM shows its progress: on a terminal in a line that is
 * overwritten, otherwise in a line of the log now and then. */
#define PROGRESS_FROM 2.0
#define PROGRESS_TERMINAL 0.1
#define PROGRESS_LOG 5.0
#define PROGRESS_MANAGER 1.0

/* Extends the service manager's timeout as long as the load makes progress. */
static void tell_manager(el_cli_engine *e, uint64_t done, uint64_t total) {
  double time = el_seconds();
  if (time - e->load_told < PROGRESS_MANAGER && done < total) return;
  e->load_told = time;
  el_cli_notify("STATUS=loading the model: %d%%\nEXTEND_TIMEOUT_USEC=60000000",
                total ? (int)(100.0 * (double)done / (double)total) : 100);
}

static void show_load_progress(void *user, uint64_t done, uint64_t total) {
  el_cli_engine *e = user;
  int signal = e->signal_fd >= 0 ? el_cli_signal_take(e->signal_fd, 0) : 0;
  if (signal == SIGHUP) e->hung_up = true;
  /* There is nothing to save, and loading cannot be cancelled. */
  else if (signal)
    _exit(EL_EXIT_SIGNAL_BASE + signal);
  tell_manager(e, done, total);
  bool terminal = isatty(STDERR_FILENO) && !e->log.json;
  double time = el_seconds(), took = time - e->load_began, mb = (double)done * 1e-6;
  if (e->quiet || took < PROGRESS_FROM) return;
  if (done >= total) {
    if (terminal && e->load_shown > 0) fprintf(stderr, "\r\033[K");
    if (!terminal) el_cli_log_tell(&e->log, "loaded the model: %.0f MB in %.1f s", mb, took);
    return;
  }
  if (time - e->load_shown < (terminal ? PROGRESS_TERMINAL : PROGRESS_LOG)) return;
  e->load_shown = time;
  int percent = (int)(100.0 * (double)done / (double)total);
  if (terminal)
    fprintf(stderr, "\rloading the model: %d%%, %.0f MB/s\033[K", percent, mb / took);
  else
    el_cli_log_tell(&e->log, "loading the model: %d%%, %.0f MB/s", percent, mb / took);
}

const char *el_cli_adapter_path(const char *spec) {
  const char *equals = strchr(spec, '=');
  if (equals && equals != spec && equals[1]) return equals + 1;
  el_cli_error("--adapter: '%s' is not NAME=PATH", spec);
  return NULL;
}

/* "NAME=PATH". */
static int add_named_adapter(el_cli_engine *e, const char *spec) {
  const char *path = el_cli_adapter_path(spec);
  if (!path) return EL_EXIT_USAGE;
  char *name = strndup(spec, (size_t)(path - 1 - spec));
  if (!name) return el_cli_no_memory();
  el_error err;
  el_status status = el_adapter_add(e->engine, name, path, &err);
  free(name);
  return status ? el_cli_log_failed(&e->log, &err) : -1;
}

static int add_adapter_folder(el_cli_engine *e, const char *dir) {
  size_t added = 0, failed = 0;
  el_error err;
  if (el_adapter_add_dir(e->engine, dir, &added, &failed, &err)) return el_cli_log_failed(&e->log, &err);
  if (added == 0) el_cli_logf(&e->log, EL_LOG_WARN, "--adapters: %s gave no adapter", dir);
  return -1;
}

/* The NAME of a file NAME.gguf or NAME-00001-of-00003.gguf. False: another file, such as a blob of a store, whose name
 * is a number, so that the model's own name says more. */
static bool stem_of(const char *path, char *out, size_t size) {
  static const char end[] = ".gguf", part[] = "-00001-of-00001";
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
  size_t len = strlen(name), n = sizeof end - 1, m = sizeof part - 1;
  if (len <= n || strcmp(name + len - n, end)) return false;
  len -= n;
  int no, count, read = 0;
  if (len > m && sscanf(name + len - m, "-%5d-of-%5d%n", &no, &count, &read) == 2 && (size_t)read == m) len -= m;
  if (len >= size) return false;
  memcpy(out, name, len);
  out[len] = 0;
  return true;
}

/* Returns -1, or the exit status if --speculate has an invalid value. */
static int set_speculate(el_cli_engine *e) {
  const char *s = e->speculate;
  char *end;
  if (!s) return -1;
  long n = strtol(s, &end, 10);
  if (!strcmp(s, "auto"))
    n = -1;
  else if (!strcmp(s, "off"))
    n = 0;
  else if (end == s || *end || n < 1 || n > EL_MAX_SPECULATE) {
    el_cli_error("--speculate: '%s' is not auto, off or a number from 1 to %d", s, EL_MAX_SPECULATE);
    return EL_EXIT_USAGE;
  }
  e->options.speculate = (int)n;
  return -1;
}

int el_cli_engine_prepare(el_cli_engine *e) {
  const int wrong = set_speculate(e);
  if (wrong >= 0) return wrong;
  if (e->verbose) e->log.level = EL_LOG_DEBUG;
  if (e->quiet) e->log.level = EL_LOG_ERROR;
  if (e->no_prefix_cache) e->options.prefix_cache = false;
  e->options.log = el_cli_log_line;
  e->options.log_user = &e->log;
  return -1;
}

int el_cli_engine_open(el_cli_engine *e) {
  const int wrong = el_cli_engine_prepare(e);
  if (wrong >= 0) return wrong;
  char *path = el_cli_model_path(e->model);
  /* The router was not asked for, so the next start would print the same. */
  if (!path) return e->model ? EL_EXIT_FAILED : EL_EXIT_USAGE;
  char *cache = cache_path(CACHE_FOLDER); /* without one, the next start reads more */
  if (!cache)
    el_cli_logf(&e->log, EL_LOG_INFO,
                "what is learnt about adapters is not kept: neither XDG_CACHE_HOME nor HOME is set");
  e->options.model_path = path;
  char stem[256] = "";
  if (!e->model && !e->options.model_name) e->options.model_name = DEFAULT_NAME;
  if (!e->options.model_name && stem_of(path, stem, sizeof stem)) e->options.model_name = stem;
  e->options.cache_dir = cache;
  e->options.progress = show_load_progress;
  e->options.progress_user = e;
  e->load_began = el_seconds();
  el_error err;
  el_status status = el_engine_open(&e->options, &e->engine, &err);
  e->options.model_path = e->options.cache_dir = NULL;
  if (e->options.model_name == stem) e->options.model_name = NULL;
  free(path);
  free(cache);
  if (status) return el_cli_log_failed(&e->log, &err);
  if (e->adapters.n || e->adapter_dirs.n) el_cli_notify("STATUS=looking for adapters");
  int code = -1;
  for (size_t i = 0; code < 0 && i < e->adapters.n; i++) code = add_named_adapter(e, e->adapters.items[i]);
  for (size_t i = 0; code < 0 && i < e->adapter_dirs.n; i++) code = add_adapter_folder(e, e->adapter_dirs.items[i]);
  return code;
}

void el_cli_tell_template(const el_cli_engine *e) {
  if (!el_tokenizer_has_template(el_engine_tokenizer(e->engine)))
    el_cli_logf(
        &e->log, EL_LOG_WARN,
        "the model's file has no chat template: chats are written as ChatML; --chat-template FILE gives another");
}

bool el_cli_is_auto(el_engine *e, const char *name) {
  el_model_info model;
  el_adapter_info *adapter;
  if (!name || strcmp(name, "auto")) return false;
  el_engine_info(e, &model);
  if (!strcmp(model.name, name)) return false;
  el_status status = el_adapter_get(e, name, &adapter, NULL);
  if (!status) el_free(adapter);
  return status == EL_ERR_NOT_FOUND;
}

void el_cli_engine_close(el_cli_engine *e) {
  el_engine_close(e->engine);
  e->engine = NULL;
  el_cli_list_free(&e->adapters);
  el_cli_list_free(&e->adapter_dirs);
}
