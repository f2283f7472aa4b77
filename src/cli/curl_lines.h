/* Curl lines that a person can paste to try a server. */
#ifndef EL_CLI_CURL_LINES_H
#define EL_CLI_CURL_LINES_H

#include <stdio.h>

#include "edgelora.h"

/* Prints a curl line for the base and one for each adapter, at most EL_CLI_MAX_CURL_LINES of these. A line asks
 * the first prompt of the adapter's examples.jsonl, if it has one. With a router there is one line more, which
 * asks the prompt of the last adapter's line. With keys, each line takes the key from the variable KEY. */
enum { EL_CLI_MAX_CURL_LINES = 20 };
enum { EL_CLI_WITH_ROUTER = 1, EL_CLI_WITH_KEY = 2 };
void el_cli_print_curl_lines(FILE *out, el_engine *e, const char *url, int with);

#endif
