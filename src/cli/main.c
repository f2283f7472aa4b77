/* edgelora: the command line. Each subcommand is a file of its own; see cli.h. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/json_guard.h"
#include "cli/cli.h"
#include "cli/help_json.h"
#include "cli/version.h"

static const el_cli_command *const commands[] = {&el_cmd_run,     &el_cmd_serve,      &el_cmd_tokenize, &el_cmd_inspect,
                                                 &el_cmd_adapter, &el_cmd_perplexity, &el_cmd_router,   &el_cmd_bench};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void print_help(FILE *out) {
  fputs(
      "usage: edgelora COMMAND [options]\n\n"
      "One base language model and many LoRA adapters, served together.\n\n"
      "Commands:\n",
      out);
  el_cli_list_commands(out, commands, N_COMMANDS);
  fputs("\n'edgelora COMMAND --help' tells more about one, 'edgelora --version' the version.\n", out);
}

/* edgelora help [COMMAND...]: the same as COMMAND... --help. */
static int help(int argc, char **argv) {
  if (argc == 1) {
    print_help(stdout);
    return el_cli_end(EL_EXIT_OK);
  }
  char *forwarded[8];
  int n = 0;
  for (int i = 1; i < argc && n < 7; i++) forwarded[n++] = argv[i];
  forwarded[n++] = (char[]){"--help"};
  return el_cli_dispatch("edgelora", commands, N_COMMANDS, n, forwarded);
}

/* A standard stream that is closed would be the number of the next file that is opened, and what is printed would go
 * there: into the answer of a client, say. The stream is taken, in a way that nothing can be read or written through
 * it, so that it is an error as before. */
static void keep_standard_streams(void) {
  for (int fd = 0; fd <= 2; fd++)
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) open("/dev/null", fd ? O_RDONLY : O_WRONLY);
}

int main(int argc, char **argv) {
  keep_standard_streams();
  json_set_alloc_funcs(el_json_malloc, el_json_free);
  signal(SIGXFSZ, SIG_IGN); /* a file as large as the system lets it be is an error of write, like a full disk */
  if (argc < 2) {
    print_help(stderr);
    return EL_EXIT_USAGE;
  }
  const char *first = argv[1];
  if (strcmp(first, "help") == 0 || strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0)
    return help(argc - 1, argv + 1);
  if (strcmp(first, EL_CLI_HELP_JSON) == 0) return el_cli_family_json(commands, N_COMMANDS);
  if (strcmp(first, "--version") == 0 || strcmp(first, "-V") == 0) {
    printf("edgelora %s\n", EL_CLI_VERSION);
    return el_cli_end(EL_EXIT_OK);
  }
  return el_cli_dispatch("edgelora", commands, N_COMMANDS, argc - 1, argv + 1);
}
