/* What every subcommand shares: how it is described, how it ends, how it speaks.
 *
 * Results go to standard output, everything else to standard error. A message begins with the program's name and names
 * what is wrong; a mistake on the command line is followed by where its help is. */
#ifndef EL_CLI_CLI_H
#define EL_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "edgelora.h"

enum {
  EL_EXIT_OK = 0,
  EL_EXIT_FAILED = 1,       /* it could not be done */
  EL_EXIT_USAGE = 2,        /* it was not asked for rightly */
  EL_EXIT_SIGNAL_BASE = 128 /* + the signal's number: 130 after Ctrl-C */
};

typedef struct el_cli_command {
  const char *name;     /* as typed: "run", "router train" */
  const char *summary;  /* one line */
  const char *usage;    /* what follows the name */
  const char *about;    /* paragraphs, wrapped by hand */
  const char *examples; /* lines, indented by two */
  /* argv[0] is the command's last word. Returns the exit status. */
  int (*run)(const struct el_cli_command *self, int argc, char **argv);
} el_cli_command;

extern const el_cli_command el_cmd_adapter, el_cmd_run, el_cmd_serve, el_cmd_tokenize, el_cmd_inspect, el_cmd_router,
    el_cmd_router_profile, el_cmd_router_train, el_cmd_router_eval, el_cmd_router_show;

/* The name that messages begin with: "edgelora" unless the program has set another, which it does before there are
 * threads. The text is not copied. */
void el_cli_set_program(const char *name);
const char *el_cli_program_name(void);

/* Runs the command of the table that `name` names. Unknown: says so, with the nearest name; EL_EXIT_USAGE. `family` is
 * what stands before the name: "edgelora", "edgelora router". */
int el_cli_dispatch(const char *family, const el_cli_command *const *commands, size_t n, int argc, char **argv);
/* The run function of a command that has commands of its own: without one of them, or with --help, it prints its help.
 */
int el_cli_run_family(const char *family, const el_cli_command *const *commands, size_t n,
                      void (*print_help)(FILE *out), int argc, char **argv);
/* One line a command: name and summary. */
void el_cli_list_commands(FILE *out, const el_cli_command *const *commands, size_t n);

void el_cli_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* As el_cli_error, then where the command's help is. Returns EL_EXIT_USAGE. */
int el_cli_usage_error(const el_cli_command *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Says what the library said. Returns EL_EXIT_FAILED. */
int el_cli_failed(const el_error *err);
int el_cli_no_memory(void);

/* An el_write_fn: writes to standard output. */
bool el_cli_to_stdout(void *user, const char *data, size_t len);
/* Flushes standard output. Returns `status`, or EL_EXIT_FAILED, said, when what was printed could not be written. */
int el_cli_end(int status);

/* The candidate that `word` was probably meant to be; NULL: none is near. */
const char *el_cli_nearest(const char *word, const char *const *candidates, size_t n);

/* Reads a stream to its end, which must come within EL_CLI_MAX_INPUT bytes. NUL-terminated; the caller's, to be
 * released with free. NULL: errno says why. */
#define EL_CLI_MAX_INPUT ((size_t)256 << 20)
char *el_cli_read_all(int fd, size_t *len);
/* As el_cli_read_all, for a named file; "-" is standard input. Says what went wrong. */
char *el_cli_read_file(const char *path, size_t *len);

#endif
