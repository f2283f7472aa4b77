/* Reads and writes comma-separated values as in RFC 4180, one record at a time. A field in quotes
 * may contain anything; a quote in it is doubled. A line ends with LF or CRLF. */
#ifndef EL_BASE_CSV_H
#define EL_BASE_CSV_H

#include "base/buf.h"
#include "base/text.h"
#include "edgelora.h"

enum { EL_CSV_MAX_FIELDS = 4096 }; /* in one record */

typedef struct el_csv {
  const char *path; /* for messages */
  const char *p, *end;
  size_t line; /* the line of p, from 1 */
  /* The last record read. Its fields lie one after the other in `text`; field i ends at ends[i]. */
  el_buf text;
  size_t *ends;
  size_t n, cap;
  size_t record_line; /* the line where it begins */
} el_csv;

/* Opens a reader of `data`, which must outlive it. el_csv_free releases its memory, after a failure
 * too. */
el_csv el_csv_open(const char *path, const char *data, size_t len);
void el_csv_free(el_csv *c);

/* Reads the next record; *any false: there is none. An empty line is a record with one empty
 * field. */
el_status el_csv_read(el_csv *c, bool *any, el_error *err);
/* Field i of the last record, valid until the next one is read. */
el_str el_csv_field(const el_csv *c, size_t i);

/* Appends a field, in quotes where it needs them. False: out of memory. */
bool el_csv_write(el_buf *out, const char *text, size_t len);

#endif
