/* edgelora-bench: measurements of this machine, of the library's parts and of servers. Each subcommand is a file of its
 * own; see README.md. */
#include "bench/commands.h"
#include "cli/program.h"

static const el_cli_command *const commands[] = {&el_cmd_bench_batch,   &el_cmd_bench_peak,      &el_cmd_bench_kernels,
                                                 &el_cmd_bench_threads, &el_cmd_bench_cache,     &el_cmd_bench_load,
                                                 &el_cmd_bench_plan,    &el_cmd_bench_perplexity};

int main(int argc, char **argv) {
  static const el_cli_program bench = {.name = "edgelora-bench",
                                       .about = "Measures this machine, the parts of edgelora, and servers.",
                                       .commands = commands,
                                       .n_commands = sizeof commands / sizeof *commands};
  return el_cli_main(&bench, argc, argv);
}
