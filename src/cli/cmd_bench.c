/* edgelora bench: measurements, each a command of its own. */
#include <stdio.h>

#include "cli/cli.h"

static const el_cli_command *const benches[] = {&el_cmd_bench_batch,   &el_cmd_bench_peak,  &el_cmd_bench_kernels,
                                                &el_cmd_bench_threads, &el_cmd_bench_cache, &el_cmd_bench_load,
                                                &el_cmd_bench_report,  &el_cmd_bench_plan};
enum { N_BENCHES = sizeof benches / sizeof *benches };

static void print_help(FILE *out) {
  fputs("usage: edgelora bench WHAT [options]\n\nMeasures this machine with this program, or a server.\n\nWhat:\n",
        out);
  el_cli_list_commands(out, benches, N_BENCHES);
  fputs("\n'edgelora bench WHAT --help' tells more.\n", out);
}

static int run(const el_cli_command *self, int argc, char **argv) {
  return el_cli_run_family("edgelora bench", benches, N_BENCHES, print_help, argc, argv);
}

const el_cli_command el_cmd_bench = {.name = "bench", .summary = "measure speed", .run = run};
