/* Options that several subcommands have. */
#ifndef EL_BENCH_MEASURE_OPTIONS_H
#define EL_BENCH_MEASURE_OPTIONS_H

#include "bench/measure/machine.h"
#include "cli/options.h"

/* A comma-separated list of names as bits; 0: one is unknown. */
unsigned el_bench_parse_names(const char *text, const char *const *names, int n);
/* --threads: the default is 1 and all cores. */
void el_bench_default_threads(el_cli_numbers *threads, const el_bench_machine *m);

#endif
