/* edgelora router: the steps to make and test a router, each a command of its own. */
#include <stdio.h>

#include "cli/cli.h"

static const el_cli_command *const steps[] = {&el_cmd_router_profile, &el_cmd_router_train, &el_cmd_router_eval,
                                              &el_cmd_router_show};
enum { N_STEPS = sizeof steps / sizeof *steps };

static void print_router_help(FILE *out) {
  fputs(
      "usage: edgelora router STEP [options]\n"
      "\n"
      "A router predicts how well each adapter, and the base, would answer a prompt. Requests for the model\n"
      "\"auto\" get the best one.\n"
      "\n"
      "Steps:\n",
      out);
  el_cli_list_commands(out, steps, N_STEPS);
  fputs(
      "\n"
      "'edgelora router STEP --help' has more.\n",
      out);
}

static int run_router(const el_cli_command *self, int argc, char **argv) {
  return el_cli_run_family("edgelora router", steps, N_STEPS, print_router_help, argc, argv);
}

const el_cli_command el_cmd_router = {
    .name = "router", .summary = "train and test a router, which chooses adapters", .run = run_router};
