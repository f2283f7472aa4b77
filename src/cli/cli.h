/* What all subcommands share: their description, their exit statuses, their messages.
 *
 * Results go to standard output, everything else to standard error. A message begins with the program's name and says
 * what is wrong. After a mistake on the command line it also says how to get help. */
#ifndef EL_CLI_CLI_H
#define EL_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "edgelora.h"

enum {
  EL_EXIT_OK = 0,
  EL_EXIT_FAILED = 1,       /* the command failed */
  EL_EXIT_USAGE = 2,        /* the command line was wrong */
  EL_EXIT_SIGNAL_BASE = 128 /* plus the signal's number: 130 after Ctrl-C */
};

typedef struct el_cli_command {
  const char *name;     /* as typed: "run", "router train" */
  const char *summary;  /* one line */
  const char *usage;    /* what follows the name in the usage line */
  const char *about;    /* paragraphs, with line breaks */
  const char *examples; /* lines, indented by two */
  /* argv[0] is the command's last word. Returns the exit status. */
  int (*run)(const struct el_cli_command *self, int argc, char **argv);
} el_cli_command;

extern const el_cli_command el_cmd_adapter, el_cmd_run, el_cmd_serve, el_cmd_tokenize, el_cmd_inspect, el_cmd_router,
    el_cmd_router_profile, el_cmd_router_train, el_cmd_router_eval, el_cmd_router_show;

/* The name with which messages begin: "edgelora" unless the program sets another, which it must do before there are
 * threads. The text is not copied. */
void el_cli_set_program(const char *name);
const char *el_cli_program_name(void);

/* Runs the command in the table that argv names. If there is none, prints a message with the most similar name and
 * returns EL_EXIT_USAGE. `family` is what comes before the name: "edgelora", "edgelora router". */
int el_cli_dispatch(const char *family, const el_cli_command *const *commands, size_t n, int argc, char **argv);
/* The run function of a command with subcommands: without a subcommand, or with --help, it prints its help. */
int el_cli_run_family(const char *family, const el_cli_command *const *commands, size_t n,
                      void (*print_help)(FILE *out), int argc, char **argv);
/* Prints one line per command: its name and its summary. */
void el_cli_list_commands(FILE *out, const el_cli_command *const *commands, size_t n);

void el_cli_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Like el_cli_error, followed by how to get the command's help. Returns EL_EXIT_USAGE. */
int el_cli_usage_error(const el_cli_command *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints an error of the library. Returns EL_EXIT_FAILED. */
int el_cli_failed(const el_error *err);
int el_cli_no_memory(void);

/* An el_write_fn: writes to standard output. */
bool el_cli_to_stdout(void *user, const char *data, size_t len);
/* Flushes standard output. Returns `status`; or EL_EXIT_FAILED with a message if the output could not be written. */
int el_cli_end(int status);

/* The candidate that was probably meant by `word`; NULL: none is similar. */
const char *el_cli_nearest(const char *word, const char *const *candidates, size_t n);

/* Reads a stream to its end, at most EL_CLI_MAX_INPUT bytes. The text is NUL-terminated and the caller frees it. NULL:
 * errno says why. */
#define EL_CLI_MAX_INPUT ((size_t)256 << 20)
char *el_cli_read_all(int fd, size_t *len);
/* Like el_cli_read_all for a named file; "-" is standard input. Prints a message on failure. */
char *el_cli_read_file(const char *path, size_t *len);

#endif
