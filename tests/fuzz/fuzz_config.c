/* Configuration files: whatever is read without an error has keys and values that are texts, and whatever is checked
 * can be given to the options, within their limits, and differs in nothing from itself. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "cli/config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct targets {
  bool flag;
  int integer;
  uint64_t u64, bytes;
  float real;
  const char *text, *path;
  el_cli_list texts, paths, named;
  el_cli_numbers numbers;
} targets;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  targets t = {.integer = 1, .real = 0.5f};
  const el_cli_option options[] = {
      {0, "flag", NULL, EL_CLI_FLAG, &t.flag, 0, 0, ""},
      {0, "int", "N", EL_CLI_INT, &t.integer, 1, 4096, ""},
      {0, "u64", "N", EL_CLI_U64, &t.u64, 0, 0, ""},
      {0, "bytes", "SIZE", EL_CLI_BYTES, &t.bytes, 0, 0, ""},
      {0, "real", "X", EL_CLI_REAL, &t.real, -1, 100, ""},
      {0, "text", "TEXT", EL_CLI_TEXT, &t.text, 0, 0, ""},
      {0, "path", "FILE", EL_CLI_PATH, &t.path, 0, 0, ""},
      {0, "texts", "TEXT", EL_CLI_TEXTS, &t.texts, 0, 0, ""},
      {0, "paths", "DIR", EL_CLI_PATHS, &t.paths, 0, 0, ""},
      {0, "named", "NAME=PATH", EL_CLI_NAMED_PATHS, &t.named, 0, 0, ""},
      {0, "numbers", "N,...", EL_CLI_NUMBERS, &t.numbers, 1, 64, ""},
  };
  const el_cli_group groups[] = {{"", options, sizeof options / sizeof *options}};
  const el_cli_given given = {.list = {&options[5]}, .n = 1};
  el_config c;
  el_error err = {0};
  el_status status = el_config_parse((const char *)data, size, "folder/fuzz.yaml", &c, &err);
  if (status) {
    assert(!c.n && !c.entries && err.message[0]);
    return 0;
  }
  for (size_t i = 0; i < c.n; i++) {
    assert(el_config_find(&c, c.entries[i].key.text) == &c.entries[i] && c.entries[i].key.line);
    for (size_t j = 0; j < c.entries[i].n; j++) assert(c.entries[i].values[j].text && c.entries[i].values[j].line);
  }
  if (!el_config_check(&c, groups, 1, &err)) {
    assert(!el_config_apply(&c, groups, 1, &given, &err));
    assert(t.integer >= 1 && t.integer <= 4096 && t.real >= -1 && t.real <= 100 && !t.text);
    const el_config_entry *paths = el_config_find(&c, "paths");
    assert(t.paths.n == (paths ? paths->n : 0));
    for (size_t i = 0; i < t.paths.n; i++)
      assert(!*t.paths.items[i] || *t.paths.items[i] == '/' || !strncmp(t.paths.items[i], "folder/", 7));
    char changes[256];
    el_config_changes(&c, &c, groups, 1, &given, NULL, 0, changes, sizeof changes);
    assert(!*changes);
  } else {
    assert(err.message[0]);
  }
  el_cli_list_free(&t.texts);
  el_cli_list_free(&t.paths);
  el_cli_list_free(&t.named);
  el_config_free(&c);
  return 0;
}
