/* edgelora adapter: checks adapters before they are served. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/open.h"

static int run_adapter_check(const el_cli_command *self, int argc, char **argv) {
  el_adapter_check_options o = el_adapter_check_options_default();
  const el_cli_option options[] = {
      {'m', "model", "FILE", EL_CLI_TEXT, &o.model_path, 0, 0,
       "the base model: a GGUF file, any part of a split one, or its folder; default: the model that 'make model' puts "
       "into the cache"},
      {0, "adapter-type", "KIND", EL_CLI_TEXT, &o.adapter_type, 0, 0,
       "type of adapters in memory: q8, q4 or f16; default q8"},
      {'t', "threads", "N", EL_CLI_INT, &o.n_threads, 0, EL_MAX_THREADS,
       "threads that compute; default 0: one per physical core"},
      {0, "isa", "NAME", EL_CLI_TEXT, &o.isa, 0, 0,
       "instruction set: scalar, avx2, avxvnni, avx512vnni, amx_int8; default: the best one of this CPU"},
  };
  const el_cli_group groups[] = {{"Options", options, sizeof options / sizeof *options}};
  el_cli_rest rest;
  int code = el_cli_parse(self, groups, 1, argc, argv, &rest);
  if (code >= 0) return code;
  if (rest.n == 0) return el_cli_usage_error(self, "an adapter is needed: a folder or a GGUF file");
  char *model = el_cli_model_path(o.model_path);
  if (!model) return EL_EXIT_USAGE;
  o.model_path = model;
  code = EL_EXIT_OK;
  for (int i = 0; i < rest.n; i++) {
    el_error err;
    if (i) printf("\n");
    if (el_adapter_check(&o, rest.items[i], el_cli_to_stdout, NULL, &err)) code = el_cli_failed(&err);
  }
  free(model);
  return el_cli_end(code);
}

static const el_cli_command check = {
    .name = "adapter check",
    .summary = "describe an adapter and what it changes, or say why it cannot be served",
    .usage = "[-m MODEL] PATH... [options]",
    .about =
        "Reads and checks adapters as the server does. Prints the form, the rank, the scale, the matrices that an\n"
        "adapter changes and the memory that it takes; then how far it moves the model's logits on a few texts,\n"
        "and the KL divergence of its distributions from the base's. Says so if an adapter changes nothing, as\n"
        "before training. An adapter that cannot be served is an error with its reason and exit status 1.",
    .examples =
        "  edgelora adapter check adapters/sql\n"
        "  edgelora adapter check -m model.gguf downloads/*",
    .run = run_adapter_check};

static const el_cli_command *const commands[] = {&check};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void print_adapter_help(FILE *out) {
  fputs("usage: edgelora adapter COMMAND [options]\n\nCommands:\n", out);
  el_cli_list_commands(out, commands, N_COMMANDS);
  fputs(
      "\n"
      "'edgelora adapter COMMAND --help' has more.\n",
      out);
}

static int run_adapter(const el_cli_command *self, int argc, char **argv) {
  return el_cli_run_family("edgelora adapter", commands, N_COMMANDS, print_adapter_help, argc, argv);
}

const el_cli_command el_cmd_adapter = {.name = "adapter", .summary = "check adapters", .run = run_adapter};
