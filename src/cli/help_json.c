#include "cli/help_json.h"

#include <jansson.h>

/* The kinds of values for programs that read the tables: which are files, which are numbers. */
static const char *kind_name(el_cli_kind kind) {
  switch (kind) {
    case EL_CLI_FLAG: return "flag";
    case EL_CLI_INT:
    case EL_CLI_U64: return "integer";
    case EL_CLI_BYTES: return "size";
    case EL_CLI_REAL: return "number";
    case EL_CLI_TEXT: return "text";
    case EL_CLI_TEXTS: return "texts";
    case EL_CLI_NUMBERS: return "integers";
    case EL_CLI_CHOICE: return "choice";
    case EL_CLI_PATH: return "path";
    case EL_CLI_PATHS: return "paths";
    case EL_CLI_NAMED_PATHS: return "named paths";
  }
  return "text";
}

static json_t *option_json(const el_cli_option *o) {
  char letter[2] = {o->letter};
  return json_pack("{ss* ss ss* ss ss}", "letter", o->letter ? letter : NULL, "name", o->name, "value", o->value,
                   "kind", kind_name(o->kind), "help", o->help);
}

/* Either may be NULL if memory is short. */
static bool append_item(json_t *list, json_t *item) {
  return !json_array_append_new(list, item);
}

static int print_help_json(bool complete, json_t *object) {
  if (!complete || !object) {
    json_decref(object);
    return el_cli_no_memory();
  }
  json_dumpf(object, stdout, JSON_INDENT(1));
  putchar('\n');
  json_decref(object);
  return el_cli_end(EL_EXIT_OK);
}

int el_cli_command_json(const el_cli_command *c, const el_cli_group *groups, size_t n_groups) {
  json_t *list = json_array();
  bool complete = true;
  for (size_t g = 0; g < n_groups; g++) {
    json_t *options = json_array();
    for (size_t i = 0; i < groups[g].n; i++) complete &= append_item(options, option_json(&groups[g].options[i]));
    complete &= append_item(list, json_pack("{ss so}", "title", groups[g].title, "options", options));
  }
  return print_help_json(complete, json_pack("{ss ss ss ss* ss* so}", "name", c->name, "summary", c->summary, "usage",
                                             c->usage, "about", c->about, "examples", c->examples, "groups", list));
}

int el_cli_family_json(const el_cli_command *const *commands, size_t n) {
  json_t *list = json_array();
  bool complete = true;
  for (size_t i = 0; i < n; i++)
    complete &= append_item(list, json_pack("{ss ss}", "name", commands[i]->name, "summary", commands[i]->summary));
  return print_help_json(complete, json_pack("{so}", "commands", list));
}
