/* What `edgelora` and `edgelora-bench` have in common: a program is a table of commands. */
#ifndef EL_CLI_PROGRAM_H
#define EL_CLI_PROGRAM_H

#include "cli/cli.h"

typedef struct el_cli_program {
  const char *name;  /* as typed */
  const char *about; /* one line */
  const el_cli_command *const *commands;
  size_t n_commands;
} el_cli_program;

/* All of main: prepares the process, then runs the command that argv names, or prints help or the version. */
int el_cli_main(const el_cli_program *p, int argc, char **argv);

#endif
