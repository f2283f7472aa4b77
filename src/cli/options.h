/* A command's options as a table: parsing, checking and the help text all come from it. */
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
  /* As texts on the command line; in a configuration file relative ones begin in the file's folder. */
  EL_CLI_PATH,       /* const char * */
  EL_CLI_PATHS,      /* el_cli_list */
  EL_CLI_NAMED_PATHS /* el_cli_list of NAME=PATH */
} el_cli_kind;

typedef struct el_cli_option {
  char letter; /* 0: none */
  const char *name;
  const char *value; /* what the help calls its value; NULL with a flag */
  el_cli_kind kind;
  void *target;    /* keeps what it holds, the default, when the option is absent */
  double min, max; /* limits of a number (each number of a list), inclusive; not of EL_CLI_U64 and EL_CLI_BYTES */
  const char *help;
} el_cli_option;

typedef struct el_cli_group {
  const char *title;
  const el_cli_option *options;
  size_t n;
} el_cli_group;

/* Which options the command line has. */
typedef struct el_cli_given {
  const el_cli_option *list[128];
  size_t n;
} el_cli_given;
bool el_cli_is_given(const el_cli_given *given, const el_cli_option *o);

/* The arguments that are no options. */
typedef struct el_cli_rest {
  char **items;
  int n;
} el_cli_rest;

/* Reads argv[1...] into the options' targets. Moves the other arguments to the front of argv + 1; `rest` NULL: there
 * may be none. "--" ends the options; "-" is no option. Returns -1 to go on, or the exit status to end with: --help was
 * asked for and printed, or there was a mistake. */
int el_cli_parse(const el_cli_command *c, const el_cli_group *groups, size_t n_groups, int argc, char **argv,
                 el_cli_rest *rest);
/* As el_cli_parse, and notes which options there were; given: NULL is allowed. */
int el_cli_parse_noting(const el_cli_command *c, const el_cli_group *groups, size_t n_groups, int argc, char **argv,
                        el_cli_rest *rest, el_cli_given *given);

/* NULL: no option is called so. */
const el_cli_option *el_cli_find(const el_cli_group *groups, size_t n_groups, const char *name, size_t len);
/* The option's name that was probably meant; NULL: none is near. */
const char *el_cli_nearest_option(const el_cli_group *groups, size_t n_groups, const char *name);

/* Gives `target`, which is what o->kind says, the value that `text` is; a flag true, or false where the text says so.
 * EL_ERR_INVALID: what it should have been, without the option's name. */
el_status el_cli_option_set(const el_cli_option *o, void *target, const char *text, el_error *err);

#endif
