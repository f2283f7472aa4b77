/* The subcommands, each in the file of its name. */
#ifndef EL_BENCH_COMMANDS_H
#define EL_BENCH_COMMANDS_H

#include "cli/cli.h"

extern const el_cli_command el_cmd_bench_batch, el_cmd_bench_cache, el_cmd_bench_kernels, el_cmd_bench_load,
    el_cmd_bench_peak, el_cmd_bench_perplexity, el_cmd_bench_plan, el_cmd_bench_threads;

#endif
