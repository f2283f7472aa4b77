/* A command's options as a table. Parsing, checks and the help text all come from it. */
#ifndef EL_CLI_OPTIONS_H
#define EL_CLI_OPTIONS_H

#include <stdint.h>

#include "cli/cli.h"

/* The values of an option that may be given several times, in their order. They point into argv, or into the
 * configuration file. */
typedef struct el_cli_list {
  const char **items;
  size_t n;
} el_cli_list;
void el_cli_list_free(el_cli_list *list);

/* Numbers of a comma-separated list. */
typedef struct el_cli_numbers {
  int items[64];
  size_t n;
} el_cli_numbers;

typedef enum el_cli_kind {
  EL_CLI_FLAG,    /* bool: present or not */
  EL_CLI_INT,     /* int */
  EL_CLI_U64,     /* uint64_t */
  EL_CLI_BYTES,   /* uint64_t: 4G, 512M, 64K or plain bytes */
  EL_CLI_REAL,    /* float */
  EL_CLI_TEXT,    /* const char * */
  EL_CLI_CHOICE,  /* const char *: one of the words of `value`, such as "text|json" */
  EL_CLI_TEXTS,   /* el_cli_list */
  EL_CLI_NUMBERS, /* el_cli_numbers */
  /* Like texts on the command line; in a configuration file, relative paths start at the file's folder. */
  EL_CLI_PATH,       /* const char * */
  EL_CLI_PATHS,      /* el_cli_list */
  EL_CLI_NAMED_PATHS /* el_cli_list of NAME=PATH */
} el_cli_kind;

typedef struct el_cli_option {
  char letter; /* 0: none */
  const char *name;
  const char *value; /* the name of its value in the help; NULL for a flag */
  el_cli_kind kind;
  void *target;    /* not changed when the option is absent, so it holds the default */
  double min, max; /* limits of a number, or of each number in a list, inclusive; not for EL_CLI_U64 and EL_CLI_BYTES */
  const char *help;
} el_cli_option;

typedef struct el_cli_group {
  const char *title;
  const el_cli_option *options;
  size_t n;
} el_cli_group;

/* The options that were given on the command line. */
typedef struct el_cli_given {
  const el_cli_option *list[128];
  size_t n;
} el_cli_given;
bool el_cli_is_given(const el_cli_given *given, const el_cli_option *o);

/* The arguments that are not options. */
typedef struct el_cli_rest {
  char **items;
  int n;
} el_cli_rest;

/* Reads argv[1...] into the options' targets. Moves the other arguments to the front of argv + 1; with `rest` NULL they
 * are errors. "--" ends the options; "-" is not an option. Returns -1 to go on, or the exit status: --help was printed,
 * or there was a mistake. */
int el_cli_parse(const el_cli_command *c, const el_cli_group *groups, size_t n_groups, int argc, char **argv,
                 el_cli_rest *rest);
/* Like el_cli_parse, and notes which options were given; `given` may be NULL. */
int el_cli_parse_noting(const el_cli_command *c, const el_cli_group *groups, size_t n_groups, int argc, char **argv,
                        el_cli_rest *rest, el_cli_given *given);

/* Finds an option by its long name; NULL: there is none. */
const el_cli_option *el_cli_find(const el_cli_group *groups, size_t n_groups, const char *name, size_t len);
/* The name of the option that was probably meant; NULL: none is similar. */
const char *el_cli_nearest_option(const el_cli_group *groups, size_t n_groups, const char *name);

/* Parses `text` into `target`, whose type is that of o->kind. A flag becomes true, unless the text says false.
 * EL_ERR_INVALID: the message says what the value should be, without the option's name. */
el_status el_cli_option_set(const el_cli_option *o, void *target, const char *text, el_error *err);

#endif
