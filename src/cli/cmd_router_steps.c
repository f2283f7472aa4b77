/* edgelora router train, eval, show: thin wrappers of the library's functions. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/open.h"

/* The state of the progress line on standard error: a new one overwrites the last, and there is none without a
 * terminal. */
typedef struct watch {
  bool quiet, shown;
} watch;

static void show_step_progress(void *user, const char *what, size_t done, size_t total) {
  watch *w = user;
  if (w->quiet || !isatty(STDERR_FILENO)) return;
  fprintf(stderr, "\r%s: %zu of %zu\033[K%s", what, done, total, done == total ? "\r\033[K" : "");
  w->shown = done != total;
}

enum { N_RUN_OPTIONS = 3 };

static el_cli_group run_group(el_router_options *o, watch *w, el_cli_option storage[N_RUN_OPTIONS]) {
  storage[0] = (el_cli_option){'t',
                               "threads",
                               "N",
                               EL_CLI_INT,
                               &o->n_threads,
                               0,
                               EL_MAX_THREADS,
                               "threads that compute; default 0: one per physical core"};
  storage[1] = (el_cli_option){
      0,       "isa",
      "NAME",  EL_CLI_TEXT,
      &o->isa, 0,
      0,       "instruction set: scalar, avx2, avxvnni, avx512vnni, amx_int8; default: the best one of this CPU"};
  storage[2] = (el_cli_option){'q', "quiet", NULL, EL_CLI_FLAG, &w->quiet, 0, 0, "show no progress"};
  return (el_cli_group){"Running", storage, N_RUN_OPTIONS};
}

static el_cli_option model_option(el_router_options *o) {
  return (el_cli_option){'m',
                         "model",
                         "FILE",
                         EL_CLI_TEXT,
                         &o->model_path,
                         0,
                         0,
                         "the base model: a GGUF file, any part of a split one, or its folder; default: the model that "
                         "'make model' puts into the cache"};
}

/* Runs one of the library's functions with the model's path filled in. */
static int run_router_step(el_router_options *o, watch *w,
                           el_status (*fn)(const el_router_options *, el_write_fn, void *, el_error *)) {
  char *path = el_cli_model_path(o->model_path);
  if (!path) return EL_EXIT_USAGE;
  el_error err;
  o->model_path = path;
  o->progress = show_step_progress;
  o->progress_user = w;
  el_status status = fn(o, el_cli_to_stdout, NULL, &err);
  free(path);
  if (w->shown) fputs("\r\033[K", stderr);
  return el_cli_end(status ? el_cli_failed(&err) : EL_EXIT_OK);
}

static int run_router_train(const el_cli_command *self, int argc, char **argv) {
  el_router_options o = el_router_options_default();
  watch w = {0};
  const el_cli_option files[] = {
      model_option(&o),
      {0, "table", "FILE", EL_CLI_TEXT, &o.table_path, 0, 0,
       "the score of each candidate on each prompt: CSV with the columns prompt, task (optional) and score_NAME, 0 to "
       "1, with score_base for the base; or JSONL, {\"prompt\": ..., \"task\": ..., \"scores\": {NAME: ...}}"},
      {0, "valid", "FILE", EL_CLI_TEXT, &o.valid_path, 0, 0,
       "a table with the same candidates and other prompts, for validation; default: a fifth of the table"},
      {'o', "output", "FILE", EL_CLI_TEXT, &o.router_path, 0, 0, "the router to write"},
      {0, "lora", "PATH", EL_CLI_TEXT, &o.lora_path, 0, 0,
       "read prompts with this adapter, a PEFT folder or a GGUF file; it becomes part of the router"},
  };
  const el_cli_option training[] = {
      {0, "max-tokens", "N", EL_CLI_INT, &o.max_tokens, EL_MIN_ROUTER_TOKENS, EL_MAX_ROUTER_TOKENS,
       "tokens to read of a prompt; default 256"},
      {0, "max-depth", "N", EL_CLI_INT, &o.max_depth, 0, 1024,
       "layers through which a prompt is computed, at most; default 0: a quarter of the model's"},
      {0, "seed", "N", EL_CLI_U64, &o.seed, 0, 0, "seed for drawing rows for folds and examples; default 0"},
      {0, "no-refit", NULL, EL_CLI_FLAG, &o.no_refit, 0, 0,
       "keep the classifier that was validated; otherwise it is fitted once more in the end, to training and "
       "validation rows together"},
  };
  el_cli_option running[N_RUN_OPTIONS];
  const el_cli_group groups[] = {
      {"Files", files, sizeof files / sizeof *files},
      {"Training", training, sizeof training / sizeof *training},
      run_group(&o, &w, running),
  };
  int code = el_cli_parse(self, groups, sizeof groups / sizeof *groups, argc, argv, NULL);
  if (code >= 0) return code;
  if (!o.table_path) return el_cli_usage_error(self, "a table is needed: --table FILE");
  if (!o.router_path) return el_cli_usage_error(self, "where is the router to go? -o FILE");
  return run_router_step(&o, &w, el_router_train);
}

const el_cli_command el_cmd_router_train = {
    .name = "router train",
    .summary = "learn from a table of scores",
    .usage = "[-m MODEL] --table FILE [--valid FILE] -o ROUTER [options]",
    .about =
        "Computes the table's prompts through the model's first layers, finds the layer, pooling and penalty that\n"
        "best predict the candidates' scores on rows not seen, fits a multi-label classifier with binary\n"
        "cross-entropy and early stopping, and writes one file. The same input gives the same router.\n"
        "A prompt is read as a user's first message, in the model's chat template if it has one.",
    .examples =
        "  edgelora router train --table train.csv --valid valid.csv -o router.gguf\n"
        "  edgelora router train -m model.gguf --table scores.jsonl -o router.gguf --max-tokens 128 --seed 7",
    .run = run_router_train};

static int run_router_eval(const el_cli_command *self, int argc, char **argv) {
  el_router_options o = el_router_options_default();
  watch w = {0};
  const el_cli_option files[] = {
      model_option(&o),
      {0, "router", "FILE", EL_CLI_TEXT, &o.router_path, 0, 0, "the router"},
      {0, "table", "FILE", EL_CLI_TEXT, &o.table_path, 0, 0,
       "a table as for router train, with prompts that the router has not seen"},
      {0, "examples", "FILE", EL_CLI_TEXT, &o.examples_path, 0, 0,
       "score candidates as if they had not been trained, by examples: for each, the first five prompts of this table "
       "on which it is best and better than the base; the base keeps its trained score"},
      {0, "json", NULL, EL_CLI_FLAG, &o.json, 0, 0, "print one JSON object"},
  };
  el_cli_option running[N_RUN_OPTIONS];
  const el_cli_group groups[] = {
      {"Files", files, sizeof files / sizeof *files},
      run_group(&o, &w, running),
  };
  int code = el_cli_parse(self, groups, sizeof groups / sizeof *groups, argc, argv, NULL);
  if (code >= 0) return code;
  if (!o.router_path) return el_cli_usage_error(self, "a router is needed: --router FILE");
  if (!o.table_path) return el_cli_usage_error(self, "a table is needed: --table FILE");
  return run_router_step(&o, &w, el_router_eval);
}

const el_cli_command el_cmd_router_eval = {
    .name = "router eval",
    .summary = "measure a router's decisions on a table",
    .usage = "[-m MODEL] --router ROUTER --table FILE [options]",
    .about =
        "Prints 'chosen X ± Y': the mean score of the candidates chosen for the prompts, and half its 95%\n"
        "interval. For comparison: a random candidate, the best single one, the best one of each task (if the\n"
        "table has tasks), and the oracle, which knows the scores. Then: how often the best candidate is among the\n"
        "k with the highest predictions (top-k recall), how far predictions are from true scores (calibration),\n"
        "and rows for each candidate and task.",
    .examples =
        "  edgelora router eval --router router.gguf --table unseen.csv\n"
        "  edgelora router eval -m model.gguf --router router.gguf --table unseen.csv --json",
    .run = run_router_eval};

static int run_router_show(const el_cli_command *self, int argc, char **argv) {
  el_cli_rest rest;
  int code = el_cli_parse(self, NULL, 0, argc, argv, &rest);
  if (code >= 0) return code;
  if (rest.n != 1) return el_cli_usage_error(self, "one router is needed");
  el_error err;
  el_status status = el_router_describe(rest.items[0], el_cli_to_stdout, NULL, &err);
  return el_cli_end(status ? el_cli_failed(&err) : EL_EXIT_OK);
}

const el_cli_command el_cmd_router_show = {.name = "router show",
                                           .summary = "print what is in a router's file",
                                           .usage = "ROUTER",
                                           .about =
                                               "Prints the model to which a router belongs, what it reads of a prompt, "
                                               "its candidates, and how it was trained.",
                                           .examples = "  edgelora router show router.gguf",
                                           .run = run_router_show};
