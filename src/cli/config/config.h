/* Configuration files: a command's options in YAML, by their long names.
 *
 *   slots: 32                  a number
 *   memory: 4G                 a size
 *   strict: true               a flag
 *   adapters: [/srv/adapters]  what may be repeated is a list
 * The file is one YAML document with one mapping, whose values are scalars or lists of scalars. Anchors, aliases, tags
 * and deeper nesting are refused when libyaml's parser meets them. No tree is made of the file, so a small file cannot
 * become large in memory. The option decides whether a text is a number, not its spelling: "off" and 1234 are texts
 * where a text is expected. */
#ifndef EL_CLI_CONFIG_CONFIG_H
#define EL_CLI_CONFIG_CONFIG_H

#include "cli/options.h"

enum {
  EL_CONFIG_MAX_BYTES = 1 << 20, /* ten thousand adapters by name need less */
  EL_CONFIG_MAX_KEYS = 256       /* more than there are options */
};

typedef struct el_config_value {
  char *text;
  bool quoted; /* or a block: never a number */
  size_t line; /* the first line is 1 */
} el_config_value;

typedef struct el_config_entry {
  el_config_value key;
  bool list;
  el_config_value *values; /* one value if it is not a list */
  size_t n;
} el_config_entry;

typedef struct el_config {
  char *path; /* as it was given; messages begin with it */
  el_config_entry *entries;
  size_t n;
} el_config;

/* read.c. EL_ERR_IO, EL_ERR_INVALID: "PATH, line N: ...". *out is empty then. */
el_status el_config_read(const char *path, el_config *out, el_error *err);
/* Like el_config_read, from a text; `path` is for messages. */
el_status el_config_parse(const char *text, size_t len, const char *path, el_config *out, el_error *err);
void el_config_free(el_config *c);
/* The entry of a key; NULL: the file does not have it. */
const el_config_entry *el_config_find(const el_config *c, const char *key);

/* apply.c. Checks every key and value, and makes relative paths start at the file's folder. */
el_status el_config_check(el_config *c, const el_cli_group *groups, size_t n_groups, el_error *err);
/* Sets the options that are not in `given` to the values in the file. The file must have been checked and must outlive
 * their use. */
el_status el_config_apply(const el_config *c, const el_cli_group *groups, size_t n_groups, const el_cli_given *given,
                          el_error *err);

/* compare.c. Lists in words ("slots, memory") the options whose values differ between two checked files, except those
 * in `given` and those that `but` names. "": none. */
void el_config_changes(const el_config *was, const el_config *is, const el_cli_group *groups, size_t n_groups,
                       const el_cli_given *given, const char *const *but, size_t n_but, char *out, size_t size);

#endif
