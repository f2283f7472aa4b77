#include "cli/program.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/json_guard.h"
#include "cli/help_json.h"
#include "cli/version.h"

static void print_program_help(const el_cli_program *p, FILE *out) {
  fprintf(out, "usage: %s COMMAND [options]\n\n%s\n\nCommands:\n", p->name, p->about);
  el_cli_list_commands(out, p->commands, p->n_commands);
  fprintf(out, "\n'%s COMMAND --help' tells more about one, '%s --version' the version.\n", p->name, p->name);
}

/* PROGRAM help [COMMAND...]: the same as COMMAND... --help. */
static int print_help_of(const el_cli_program *p, int argc, char **argv) {
  if (argc == 1) {
    print_program_help(p, stdout);
    return el_cli_end(EL_EXIT_OK);
  }
  char *forwarded[8];
  int n = 0;
  for (int i = 1; i < argc && n < 7; i++) forwarded[n++] = argv[i];
  forwarded[n++] = (char[]){"--help"};
  return el_cli_dispatch(p->name, p->commands, p->n_commands, n, forwarded);
}

/* If a standard stream is closed, the next file that is opened gets its number, and output would go into that file, for
 * example to a client. So the number is taken by a descriptor through which nothing can be read or written. Using it is
 * an error, as before. */
static void keep_standard_streams(void) {
  for (int fd = 0; fd <= 2; fd++)
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) open("/dev/null", fd ? O_RDONLY : O_WRONLY);
}

int el_cli_main(const el_cli_program *p, int argc, char **argv) {
  el_cli_set_program(p->name);
  keep_standard_streams();
  json_set_alloc_funcs(el_json_malloc, el_json_free);
  signal(SIGXFSZ, SIG_IGN); /* reaching the limit of a file's size is then an error of write, like a full disk */
  if (argc < 2) {
    print_program_help(p, stderr);
    return EL_EXIT_USAGE;
  }
  const char *first = argv[1];
  if (strcmp(first, "help") == 0 || strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0)
    return print_help_of(p, argc - 1, argv + 1);
  if (strcmp(first, EL_CLI_HELP_JSON) == 0) return el_cli_family_json(p->commands, p->n_commands);
  if (strcmp(first, "--version") == 0 || strcmp(first, "-V") == 0) {
    printf("%s %s\n", p->name, EL_CLI_VERSION);
    return el_cli_end(EL_EXIT_OK);
  }
  return el_cli_dispatch(p->name, p->commands, p->n_commands, argc - 1, argv + 1);
}
