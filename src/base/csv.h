/* Comma-separated values as RFC 4180 has them, a record at a time. A field in quotes may hold anything, a quote is
 * doubled in it; a line ends with LF or CRLF. */
#ifndef EL_BASE_CSV_H
#define EL_BASE_CSV_H

#include "base/buf.h"
#include "base/text.h"
#include "edgelora.h"

enum { EL_CSV_MAX_FIELDS = 4096 }; /* of a record */

typedef struct el_csv {
  const char *path; /* for messages */
  const char *p, *end;
  size_t line; /* where p is, from 1 */
  /* The record that was read last: its fields lie one after the other in `text`, ends[i] is where field i ends. */
  el_buf text;
  size_t *ends;
  size_t n, cap;
  size_t record_line; /* where it begins */
} el_csv;

/* A reader of data that outlives it, and outlives nothing itself: el_csv_free releases it after a failure too. */
el_csv el_csv_open(const char *path, const char *data, size_t len);
void el_csv_free(el_csv *c);

/* The next record; *any false: there is none. An empty line is a record with one empty field. */
el_status el_csv_read(el_csv *c, bool *any, el_error *err);
/* A field of it, valid until the next one is read. */
el_str el_csv_field(const el_csv *c, size_t i);

/* Appends a field, in quotes where it needs them. False: no memory. */
bool el_csv_write(el_buf *out, const char *text, size_t len);

#endif
