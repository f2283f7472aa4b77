/* Lines that a person can paste to try a server. */
#ifndef EL_CLI_EXAMPLES_H
#define EL_CLI_EXAMPLES_H

#include <stdio.h>

#include "edgelora.h"

/* A curl line for the base and one for each adapter, the first of these at most. An adapter's folder may hold an
 * examples.jsonl with {"prompt": ...} a line: the first is what its line asks. */
enum { EL_CLI_MAX_EXAMPLES = 20 };
void el_cli_print_examples(FILE *out, const el_engine *e, const char *url);

#endif
