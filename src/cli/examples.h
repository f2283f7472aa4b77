/* Lines that a person can paste to try a server. */
#ifndef EL_CLI_EXAMPLES_H
#define EL_CLI_EXAMPLES_H

#include <stdio.h>

#include "edgelora.h"

/* A curl line for the base and one for each adapter, the first of these at most. An adapter's folder may hold an
 * examples.jsonl with {"prompt": ...} a line: the first is what its line asks. With a router, its line asks what the
 * last of these does. With a key, each line takes it from the variable KEY. */
enum { EL_CLI_MAX_EXAMPLES = 20 };
enum { EL_CLI_WITH_ROUTER = 1, EL_CLI_WITH_KEY = 2 };
void el_cli_print_examples(FILE *out, const el_engine *e, const char *url, int with);

#endif
