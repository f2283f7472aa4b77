/* The tables behind --help as JSON, from which tools/manual makes manual pages and completions. */
#ifndef EL_CLI_HELP_JSON_H
#define EL_CLI_HELP_JSON_H

#include "cli/options.h"

/* The argument that asks for it, in place of --help. */
#define EL_CLI_HELP_JSON "--help=json"

/* Both print an object and return the exit status. */
int el_cli_command_json(const el_cli_command *c, const el_cli_group *groups, size_t n_groups);
int el_cli_family_json(const el_cli_command *const *commands, size_t n);

#endif
