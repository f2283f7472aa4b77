/* edgelora inspect: what a file holds. */
#include <stdio.h>

#include "cli/options.h"

static int run_inspect(const el_cli_command *self, int argc, char **argv) {
  el_cli_rest rest;
  int code = el_cli_parse(self, NULL, 0, argc, argv, &rest);
  if (code >= 0) return code;
  if (rest.n == 0) return el_cli_usage_error(self, "a file is needed");
  for (int i = 0; i < rest.n; i++) {
    el_error err;
    if (rest.n > 1) printf("%s%s:\n", i ? "\n" : "", rest.items[i]);
    if (el_inspect(rest.items[i], el_cli_to_stdout, NULL, &err)) return el_cli_end(el_cli_failed(&err));
  }
  return el_cli_end(EL_EXIT_OK);
}

const el_cli_command el_cmd_inspect = {
    .name = "inspect",
    .summary = "print what is in a model or an adapter",
    .usage = "FILE...",
    .about =
        "Prints the metadata, tensors, types, shapes and sizes of GGUF files, safetensors files and adapter folders.",
    .examples =
        "  edgelora inspect model.gguf\n"
        "  edgelora inspect adapters/sql",
    .run = run_inspect};
