/* edgelora router profile: scores every adapter and the base on labelled prompts.
 *
 * It may take hours until all answers are there. So each answer goes into a journal beside the output, OUTPUT.part,
 * from which the same command continues after any interruption. The table is written after the last answer, and then
 * the journal is removed. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/open.h"
#include "cli/profile_files.h"
#include "cli/profile_run.h"
#include "cli/profile_table.h"
#include "cli/signals.h"

enum {
  PER_SLOT = 3, /* requests in flight for each slot: scoring one must not leave a slot idle */
  DEFAULT_MAX_TOKENS = 64,
  DEFAULT_TIMEOUT_S = 10
};

typedef struct profile_options {
  el_cli_engine common;
  const char *prompts_path, *output, *scorer_text;
  int max_tokens, limit, timeout_s;
  bool restart;

  el_table_format format;
  el_scorer_kind scorer;
  const char *command; /* of a scorer that is one; NULL */
} profile_options;

/* What is allocated for a run. */
typedef struct work {
  el_prompts prompts;
  el_adapter_info *adapters;
  const char **names; /* [n_names]; the first is the base's column */
  size_t n_names;
  el_setup setup;
  el_journal journal;
  char *journal_path;
  el_profile profile;
} work;

static void work_free(work *w) {
  for (size_t i = 0; w->profile.references && i < w->profile.n_rows; i++) free(w->profile.references[i]);
  free(w->profile.references);
  free(w->profile.scores);
  el_journal_close(&w->journal, false);
  free(w->journal_path);
  el_setup_free(&w->setup);
  free(w->names);
  el_free(w->adapters);
  el_prompts_free(&w->prompts);
}

/* ---- options */

/* "exact", or "command:LINE". Returns -1 or the exit status. */
static int parse_scorer(const el_cli_command *self, profile_options *o) {
  static const char command[] = "command:";
  if (!strncmp(o->scorer_text, command, sizeof command - 1)) {
    o->scorer = EL_SCORER_COMMAND;
    o->command = o->scorer_text + sizeof command - 1;
    if (!*o->command) return el_cli_usage_error(self, "--scorer: command: is followed by no command line");
    return -1;
  }
  if (el_scorer_kind_parse(o->scorer_text, &o->scorer) && o->scorer != EL_SCORER_COMMAND) return -1;
  return el_cli_usage_error(self, "--scorer: '%s' is none of exact, contains, json, f1, command:LINE", o->scorer_text);
}

static int check_profile_options(const el_cli_command *self, profile_options *o) {
  if (!o->prompts_path) return el_cli_usage_error(self, "prompts are needed: --prompts FILE");
  if (!o->output) return el_cli_usage_error(self, "where is the table to go? -o FILE.csv or FILE.jsonl");
  if (!el_table_format_of(o->output, &o->format))
    return el_cli_usage_error(self, "-o: '%s' ends neither in .csv nor in .jsonl, which says what it is to be",
                              o->output);
  if (o->common.adapters.n + o->common.adapter_dirs.n == 0)
    return el_cli_usage_error(self, "adapters are needed: --adapters DIR");
  return parse_scorer(self, o);
}

/* ---- input */

/* Checks what the lines ask for: a scorer command is given only on the command line, and a JSON scorer needs expected
 * answers that are JSON. */
static int check_scorers(const profile_options *o, const work *w) {
  for (size_t i = 0; i < w->profile.n_rows; i++) {
    const el_prompt *p = &w->prompts.items[i];
    el_scorer_kind kind = p->own_scorer ? p->scorer : o->scorer;
    if (p->n_expected == 0) continue;
    if (kind == EL_SCORER_COMMAND && !o->command) {
      el_cli_error("%s: line %zu: the scorer is a command, and the command line has none (--scorer command:LINE)",
                   o->prompts_path, p->line);
      return EL_EXIT_FAILED;
    }
    for (size_t k = 0; kind == EL_SCORER_JSON && k < p->n_expected; k++)
      if (!el_score_is_json(p->expected[k], strlen(p->expected[k]))) {
        el_cli_error("%s: line %zu: the scorer is json, and the expected answer is no JSON", o->prompts_path, p->line);
        return EL_EXIT_FAILED;
      }
  }
  return -1;
}

static int compare_candidates(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The candidates: the base, then the adapters in order of their names. */
static int list_candidates(profile_options *o, work *w) {
  size_t n = 0;
  el_error err;
  if (el_adapter_list(o->common.engine, &w->adapters, &n, &err)) return el_cli_failed(&err);
  if (n == 0) {
    el_cli_error("there are no adapters to profile");
    return EL_EXIT_FAILED;
  }
  if (n >= EL_MAX_TABLE_COLUMNS) {
    el_cli_error("%zu adapters; a table holds %d at most", n, EL_MAX_TABLE_COLUMNS - 1);
    return EL_EXIT_FAILED;
  }
  if (!(w->names = calloc(n + 1, sizeof *w->names))) return el_cli_no_memory();
  w->names[0] = EL_PROFILE_BASE;
  for (size_t i = 0; i < n; i++) {
    w->names[i + 1] = w->adapters[i].name;
    if (strcmp(w->adapters[i].name, EL_PROFILE_BASE)) continue;
    el_cli_error("an adapter is called '%s', as the base's column in the table is; give it another name",
                 EL_PROFILE_BASE);
    return EL_EXIT_FAILED;
  }
  w->n_names = n + 1;
  qsort(w->names + 1, n, sizeof *w->names, compare_candidates);
  return -1;
}

/* ---- what the run is made of */

/* Returns -1, or the exit status after a failure, whose message was printed. */
static int add_files(el_setup *s, const char *key, const char *path) {
  el_profile_files f;
  el_error err;
  if (el_profile_files_look(path, &f, &err)) return el_cli_failed(&err);
  bool ok = el_setup_add(s, key, "%llu bytes of %llu, %llu bytes of %llu", (unsigned long long)f.weights.size,
                         (unsigned long long)f.weights.mtime_ns, (unsigned long long)f.config.size,
                         (unsigned long long)f.config.mtime_ns);
  return ok ? -1 : el_cli_no_memory();
}

static int add_profile_adapters(work *w) {
  for (size_t i = 1; i < w->n_names; i++) {
    const el_adapter_info *a = w->adapters;
    while (strcmp(a->name, w->names[i])) a++;
    char key[EL_SHOW * 4];
    snprintf(key, sizeof key, "adapter %s", a->name);
    int code = add_files(&w->setup, key, a->path);
    if (code >= 0) return code;
  }
  return -1;
}

/* Everything on which an answer or its score depends. Files are represented by sizes and times, but the prompts, which
 * are read anyway, by their content. */
static int describe_setup(const profile_options *o, work *w) {
  const el_engine_options *e = &o->common.options;
  el_model_info info;
  el_engine_info(o->common.engine, &info);
  char *path = el_cli_model_path(o->common.model);
  if (!path) return EL_EXIT_USAGE;
  el_setup *s = &w->setup;
  bool ok = el_setup_add(s, "command", "router profile") && el_setup_add(s, "model", "%s", info.name);
  int code = ok ? add_files(s, "model file", path) : el_cli_no_memory();
  free(path);
  if (code >= 0) return code;
  ok = el_setup_add(s, "prompts", "%016llx", (unsigned long long)w->prompts.hash) &&
       el_setup_add(s, "--limit", "%d", o->limit) && el_setup_add(s, "--scorer", "%s", o->scorer_text) &&
       el_setup_add(s, "--max-tokens", "%d", o->max_tokens) && el_setup_add(s, "--isa", "%s", info.isa) &&
       el_setup_add(s, "--weights", "%s", e->weights ? e->weights : "keep") &&
       el_setup_add(s, "--kv-type", "%s", e->kv_type ? e->kv_type : "f16") &&
       el_setup_add(s, "--adapter-type", "%s", e->adapter_type ? e->adapter_type : "q8");
  return ok ? add_profile_adapters(w) : el_cli_no_memory();
}

/* ---- the run */

static int prepare_profile(profile_options *o, work *w) {
  el_profile *p = &w->profile;
  *p = (el_profile){.engine = o->common.engine,
                    .signal_fd = o->common.signal_fd,
                    .quiet = o->common.quiet,
                    .max_tokens = o->max_tokens,
                    .in_flight = o->common.options.n_slots * PER_SLOT,
                    .prompts_path = o->prompts_path,
                    .prompts = &w->prompts,
                    .n_rows = w->prompts.n,
                    .names = w->names,
                    .n_names = w->n_names,
                    .scorer = o->scorer,
                    .command = {.line = o->command, .timeout_ms = o->timeout_s * 1000, .stop_fd = o->common.signal_fd},
                    .journal = &w->journal};
  if (o->limit > 0 && p->n_rows > (size_t)o->limit) p->n_rows = (size_t)o->limit;
  int code = check_scorers(o, w);
  if (code >= 0) return code;
  p->scores = reallocarray(NULL, p->n_rows * p->n_names, sizeof *p->scores);
  p->references = calloc(p->n_rows, sizeof *p->references);
  if (!p->scores || !p->references || asprintf(&w->journal_path, "%s.part", o->output) < 0) return el_cli_no_memory();
  for (size_t i = 0; i < p->n_rows * p->n_names; i++) p->scores[i] = NAN;
  el_error err;
  if (el_profile_check(p, &err)) return el_cli_failed(&err);
  if ((code = describe_setup(o, w)) >= 0) return code;
  if (el_journal_open(w->journal_path, &w->setup, o->restart, el_profile_take, p, &w->journal, &err))
    return el_cli_failed(&err);
  size_t known = el_profile_known(p);
  if (known > 0 && !o->common.quiet)
    fprintf(stderr, "edgelora: %s has %zu of %zu answers: going on from there\n", w->journal_path, known,
            p->n_rows * p->n_names);
  return -1;
}

/* Prints how to continue after an early end. */
static void say_how_to_go_on(const work *w) {
  size_t known = el_profile_known(&w->profile);
  fprintf(stderr, "edgelora: %zu of %zu answers are kept in %s; the same command goes on from there\n", known,
          w->profile.n_rows * w->profile.n_names, w->journal_path);
}

static void print_means(const profile_options *o, const work *w) {
  const el_profile *p = &w->profile;
  printf("%s: %zu prompts, %zu candidates; mean scores:\n", o->output, p->n_rows, p->n_names);
  for (size_t k = 0; k < p->n_names; k++) {
    double sum = 0;
    for (size_t i = 0; i < p->n_rows; i++) sum += p->scores[i * p->n_names + k];
    printf("%.4f  %s\n", sum / (double)p->n_rows, p->names[k]);
  }
}

static int profile_candidates(profile_options *o, work *w) {
  el_error err;
  int signal = 0, code;
  if (el_prompts_read(o->prompts_path, &w->prompts, &err)) return el_cli_failed(&err);
  if ((code = el_cli_engine_open(&o->common)) >= 0) return code;
  if ((code = list_candidates(o, w)) >= 0 || (code = prepare_profile(o, w)) >= 0) return code;
  el_status status = el_profile_run(&w->profile, &signal, &err);
  if (status) el_cli_failed(&err);
  if (status || signal) {
    say_how_to_go_on(w);
    return signal ? EL_EXIT_SIGNAL_BASE + signal : EL_EXIT_FAILED;
  }
  if (el_profile_table_write(o->output, o->format, &w->prompts, w->profile.n_rows, w->names, w->n_names,
                             w->profile.scores, &err)) {
    el_cli_failed(&err);
    say_how_to_go_on(w);
    return EL_EXIT_FAILED;
  }
  el_journal_close(&w->journal, true);
  print_means(o, w);
  return el_cli_end(EL_EXIT_OK);
}

static int run_router_profile(const el_cli_command *self, int argc, char **argv) {
  profile_options o = {.common = el_cli_engine_default(),
                       .scorer_text = "exact",
                       .max_tokens = DEFAULT_MAX_TOKENS,
                       .timeout_s = DEFAULT_TIMEOUT_S};
  work w = {.journal = {.fd = -1}};
  const el_cli_option table[] = {
      {0, "prompts", "FILE", EL_CLI_TEXT, &o.prompts_path, 0, 0,
       "JSONL or CSV with prompt and, optionally, task, expected (a text, in JSONL also a list of texts; completion is "
       "the same) and scorer, which is for this line only"},
      {'o', "output", "FILE", EL_CLI_TEXT, &o.output, 0, 0,
       "the table to write, FILE.csv or FILE.jsonl; FILE.part beside it is the journal"},
      {0, "scorer", "NAME", EL_CLI_TEXT, &o.scorer_text, 0, 0,
       "exact, contains, json, f1 or command:LINE; default exact"},
      {0, "scorer-timeout", "SECONDS", EL_CLI_INT, &o.timeout_s, 1, 3600,
       "time that a command may take for one answer; default 10"},
      {'n', "max-tokens", "N", EL_CLI_INT, &o.max_tokens, 1, INT_MAX, "tokens of an answer, at most; default 64"},
      {0, "limit", "N", EL_CLI_INT, &o.limit, 0, 1 << 30, "use only the first N prompts; default 0: all"},
      {0, "restart", NULL, EL_CLI_FLAG, &o.restart, 0, 0, "discard the journal of an earlier run and begin anew"},
  };
  el_cli_option model[EL_CLI_MODEL_OPTIONS], engine[EL_CLI_ENGINE_OPTIONS];
  const el_cli_group groups[] = {
      {"Table", table, sizeof table / sizeof *table},
      el_cli_model_group(&o.common, NULL, model),
      el_cli_engine_group(&o.common, EL_CLI_WITH_CTX | EL_CLI_WITH_SLOTS, engine),
  };
  int code = el_cli_parse(self, groups, sizeof groups / sizeof *groups, argc, argv, NULL);
  if (code < 0) code = check_profile_options(self, &o);
  if (code < 0) {
    if (o.common.options.max_queue < o.common.options.n_slots * PER_SLOT)
      o.common.options.max_queue = o.common.options.n_slots * PER_SLOT;
    o.common.signal_fd = el_cli_signals_open();
    code = profile_candidates(&o, &w);
  }
  if (o.common.signal_fd >= 0) close(o.common.signal_fd);
  work_free(&w);
  el_cli_engine_close(&o.common);
  return code;
}

const el_cli_command el_cmd_router_profile = {
    .name = "router profile",
    .summary = "score every adapter on labelled prompts",
    .usage = "[-m MODEL] --adapters DIR --prompts FILE -o TABLE [options]",
    .about =
        "Lets the base and every adapter answer every prompt, many at once, always with the most likely token,\n"
        "and writes their scores: the table that 'edgelora router train' reads. A prompt is given to the model as\n"
        "a user's message, in its chat template if it has one.\n"
        "\n"
        "Scorers give 0 to 1. With several expected answers the best score counts:\n"
        "  exact         the answer equals the expected one, without white space at both ends\n"
        "  contains      the answer contains the expected one\n"
        "  json          both are the same JSON value; the order of keys does not count\n"
        "  f1            words in common, as SQuAD counts them (arXiv 1606.05250)\n"
        "  command:LINE  /bin/sh runs LINE for each answer, one at a time; it gets a JSON object with prompt,\n"
        "                expected (a list), answer and adapter on its standard input, and prints the score\n"
        "\n"
        "A prompt without an expected answer is one for the base: the base scores 1, and its answer is what is\n"
        "expected of adapters, by f1. So prompts that are not meant for an adapter need no expected answer.\n"
        "\n"
        "A run that was ended, even by kill -9, continues where it was when the same command is given again. If\n"
        "a prompt and its answer do not fit the context, this is an error before anything is generated.",
    .examples =
        "  edgelora router profile --adapters adapters --prompts prompts.jsonl -o table.csv\n"
        "  edgelora router profile --adapters adapters --prompts prompts.csv -o table.jsonl --scorer f1 -n 128\n"
        "  edgelora router profile --adapters adapters --prompts prompts.jsonl -o table.csv \\\n"
        "      --scorer 'command:python3 score.py'",
    .run = run_router_profile};
