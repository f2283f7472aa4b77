/* Writes a text line by line to a receiver, until the receiver wants no more. */
#ifndef EL_BASE_PRINTER_H
#define EL_BASE_PRINTER_H

#include "base/buf.h"
#include "edgelora.h"

/* Starts as zeros except for the receiver; ended by el_buf_free(&line). */
typedef struct el_printer {
  el_write_fn write;
  void *user;
  bool stopped; /* the receiver wants no more */
  bool failed;  /* out of memory */
  el_buf line;
} el_printer;

void el_print(el_printer *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
