/* edgelora: the command line. Each subcommand is a file of its own; see cli.h. */
#include <string.h>

#include "cli/program.h"

static const el_cli_command *const commands[] = {&el_cmd_run,     &el_cmd_serve,   &el_cmd_tokenize,
                                                 &el_cmd_inspect, &el_cmd_adapter, &el_cmd_router};

/* Commands that have become programs of their own. For one version this one says so. `subcommand`: NULL is any. */
static const struct {
  const char *name, *subcommand, *now;
} moved[] = {{"bench", "report", "tools/report"},
             {"bench", NULL, "edgelora-bench"},
             {"perplexity", NULL, "edgelora-bench perplexity"}};

/* The program that replaces the command that argv, or its help, asks for; NULL: the command has not moved. */
static const char *moved_to(int argc, char **argv) {
  int at = argc > 2 && strcmp(argv[1], "help") == 0 ? 2 : 1;
  for (size_t i = 0; at < argc && i < sizeof moved / sizeof *moved; i++) {
    if (strcmp(argv[at], moved[i].name) != 0) continue;
    if (!moved[i].subcommand || (at + 1 < argc && strcmp(argv[at + 1], moved[i].subcommand) == 0)) return moved[i].now;
  }
  return NULL;
}

int main(int argc, char **argv) {
  static const el_cli_program edgelora = {.name = "edgelora",
                                          .about = "One base language model and many LoRA adapters, served together.",
                                          .commands = commands,
                                          .n_commands = sizeof commands / sizeof *commands};
  const char *now = moved_to(argc, argv);
  if (!now) return el_cli_main(&edgelora, argc, argv);
  el_cli_error("this command has moved: use '%s'", now);
  return EL_EXIT_USAGE;
}
