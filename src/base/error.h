/* Error reporting: one way to fail, used by every folder. */
#ifndef EL_BASE_ERROR_H
#define EL_BASE_ERROR_H

#include "edgelora.h"

/* Fills `err` (may be NULL) and returns `code`, so that callers write `return el_fail(err, EL_ERR_IO, "...")`. */
el_status el_fail(el_error *err, el_status code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the message of an error that is passed on; returns its code. */
el_status el_fail_prefix(el_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
