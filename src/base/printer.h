/* Text for whoever asked for it, a line at a time, until the receiver has enough. */
#ifndef EL_BASE_PRINTER_H
#define EL_BASE_PRINTER_H

#include "base/buf.h"
#include "edgelora.h"

/* Begins with zeros but for the receiver; el_buf_free(&line) ends it. */
typedef struct el_printer {
  el_write_fn write;
  void *user;
  bool stopped; /* the receiver wants no more */
  bool failed;  /* out of memory */
  el_buf line;
} el_printer;

void el_print(el_printer *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
