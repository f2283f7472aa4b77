/* Writes the table of `router profile`, which `router train` reads. */
#ifndef EL_CLI_PROFILE_TABLE_H
#define EL_CLI_PROFILE_TABLE_H

#include "cli/profile_prompts.h"

typedef enum el_table_format { EL_TABLE_CSV, EL_TABLE_JSONL } el_table_format;
/* By the path's ending, .csv or .jsonl. False: it is neither. */
bool el_table_format_of(const char *path, el_table_format *out);

/* Writes the first n_rows prompts with their scores, [n_rows, n_names]. The file appears under its name only when it is
 * complete, and then replaces an older one. */
el_status el_profile_table_write(const char *path, el_table_format format, const el_prompts *prompts, size_t n_rows,
                                 const char *const *names, size_t n_names, const double *scores, el_error *err);

#endif
