/* How the readers of both formats build a table. */
#ifndef EL_ROUTER_TABLE_PRIVATE_H
#define EL_ROUTER_TABLE_PRIVATE_H

#include "base/text.h"
#include "router/table.h"

typedef struct el_table_builder {
  el_table *t;
  size_t cap; /* rows */
  el_error *err;
} el_table_builder;

/* Adds a candidate's column, before the first row. `column` is its name in the file. */
el_status el_table_add_column(el_table_builder *b, el_str name, size_t line, const char *column);

/* Adds a row. Its scores are NAN until they are set. task.data NULL: it has no task. */
el_status el_table_add_row(el_table_builder *b, el_str prompt, el_str task, size_t line);

/* Sets a score of the last row. */
el_status el_table_set_score(el_table_builder *b, int column, double score, size_t line);

el_status el_table_no_memory(const el_table_builder *b);

el_status el_table_parse_csv(el_table_builder *b, const char *data, size_t len);
el_status el_table_parse_jsonl(el_table_builder *b, const char *data, size_t len);

#endif
