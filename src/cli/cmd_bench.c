/* edgelora bench: measurements, each a command of its own. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const el_cli_command *const benches[] = {&el_cmd_bench_batch,   &el_cmd_bench_peak,  &el_cmd_bench_kernels,
                                                &el_cmd_bench_threads, &el_cmd_bench_cache, &el_cmd_bench_load,
                                                &el_cmd_bench_report};
enum { N_BENCHES = sizeof benches / sizeof *benches };

static void print_help(FILE *out) {
  fputs("usage: edgelora bench WHAT [options]\n\nMeasures this machine with this program, or a server.\n\nWhat:\n",
        out);
  el_cli_list_commands(out, benches, N_BENCHES);
  fputs("\n'edgelora bench WHAT --help' tells more.\n", out);
}

static int run(const el_cli_command *self, int argc, char **argv) {
  if (argc < 2) {
    print_help(stderr);
    return EL_EXIT_USAGE;
  }
  if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
    print_help(stdout);
    return el_cli_end(EL_EXIT_OK);
  }
  return el_cli_dispatch("edgelora bench", benches, N_BENCHES, argc - 1, argv + 1);
}

const el_cli_command el_cmd_bench = {.name = "bench", .summary = "measure speed", .run = run};
