/* Error reporting: one way to fail, used by every folder.
 *
 * A message is for the operator, and says which file it is about. A tenant must not learn where
 * files are, nor the names of other tenants' adapters. So the part for tenants is marked when the
 * message is written (el_error.detail), and nobody has to take a message apart afterwards. */
#ifndef EL_BASE_ERROR_H
#define EL_BASE_ERROR_H

#include "edgelora.h"

/* Fills in `err` (may be NULL) and returns `code`, so that callers write `return el_fail(err,
 * EL_ERR_IO, "...")`. The whole message may be told to whoever asked. */
el_status el_fail(el_error *err, el_status code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As el_fail, for an error about a file (by its path) or an adapter: the message is "subject: ...",
 * and the detail is what follows the subject. */
el_status el_fail_about(el_error *err, el_status code, const char *subject, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* As el_fail, of a field of el_request, which is static. The message names it, or an item of it,
 * too. */
el_status el_fail_field(el_error *err, el_status code, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Puts "prefix: " before the message of an error that is passed on, and outside of its detail;
 * returns its code. */
el_status el_fail_prefix(el_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* For an error that is passed on from code that may not have marked subjects: unless this error is
 * marked, nothing of it is for tenants. Returns its code. */
el_status el_fail_hidden(el_error *err);

#endif
