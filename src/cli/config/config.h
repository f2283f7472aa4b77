/* Configuration files: a command's options in YAML, by their long names.
 *
 *   slots: 32                  a number
 *   memory: 4G                 a size
 *   strict: true               a flag
 *   adapters: [/srv/adapters]  what may be repeated is a list
 *
 * Of YAML this is one document that is one mapping, with values that are scalars or lists of them. Anchors, aliases,
 * tags and whatever is nested deeper are refused as they are met, by events of libyaml: no tree is made of a file, so
 * none can be small and grow. Whether a text is a number is the option's to say, not its spelling's: "off" is a text
 * where one is wanted, as is 1234. */
#ifndef EL_CLI_CONFIG_CONFIG_H
#define EL_CLI_CONFIG_CONFIG_H

#include "cli/options.h"

enum {
  EL_CONFIG_MAX_BYTES = 1 << 20, /* ten thousand adapters by name are less */
  EL_CONFIG_MAX_KEYS = 256       /* there are fewer options */
};

typedef struct el_config_value {
  char *text;
  bool quoted; /* or a block: certainly no number */
  size_t line; /* from 1 */
} el_config_value;

typedef struct el_config_entry {
  el_config_value key;
  bool list;
  el_config_value *values; /* one, where it is no list */
  size_t n;
} el_config_entry;

typedef struct el_config {
  char *path; /* as it was named; messages begin with it */
  el_config_entry *entries;
  size_t n;
} el_config;

/* read.c. EL_ERR_IO, EL_ERR_INVALID: "PATH, line N: ...". *out is empty then. */
el_status el_config_read(const char *path, el_config *out, el_error *err);
/* As el_config_read, of a text that `path` is said to hold. */
el_status el_config_parse(const char *text, size_t len, const char *path, el_config *out, el_error *err);
void el_config_free(el_config *c);
/* NULL: the file does not have it. */
const el_config_entry *el_config_find(const el_config *c, const char *key);

/* apply.c. Checks every key and value, and makes paths that are relative begin in the file's folder. */
el_status el_config_check(el_config *c, const el_cli_group *groups, size_t n_groups, el_error *err);
/* Gives the options that `given` lacks what the file says of them; it has been checked, and must outlive their use. */
el_status el_config_apply(const el_config *c, const el_cli_group *groups, size_t n_groups, const el_cli_given *given,
                          el_error *err);

/* compare.c. The options that `given` lacks and that two files, which have been checked, say otherwise; as a list in
 * words ("slots, memory") of those that `but` does not name. "": none. */
void el_config_changes(const el_config *was, const el_config *is, const el_cli_group *groups, size_t n_groups,
                       const el_cli_given *given, const char *const *but, size_t n_but, char *out, size_t size);

#endif
