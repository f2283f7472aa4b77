/* Error reporting: one way to fail, used by every folder.
 *
 * A message is for the operator, who is told which file it is about. A tenant is not to learn where files are, nor what
 * others call their adapters, so that part is kept apart from the rest when the message is written (el_error.detail):
 * nobody has to take a message to pieces afterwards. */
#ifndef EL_BASE_ERROR_H
#define EL_BASE_ERROR_H

#include "edgelora.h"

/* Fills `err` (may be NULL) and returns `code`, so that callers write `return el_fail(err, EL_ERR_IO, "...")`. All of
 * it may be told to whoever asked. */
el_status el_fail(el_error *err, el_status code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As el_fail, of a file by its path, or of an adapter: the message is "subject: ...", the detail what follows. */
el_status el_fail_about(el_error *err, el_status code, const char *subject, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* As el_fail, of a field of el_request, which is static. The message names it, or an item of it, too. */
el_status el_fail_field(el_error *err, el_status code, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Puts "prefix: " before the message of an error that is passed on, and outside of its detail; returns its code. */
el_status el_fail_prefix(el_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Of an error that is passed on from where subjects may not have been told apart: unless this one's was, nothing of it
 * is for a tenant. Returns its code. */
el_status el_fail_hidden(el_error *err);

#endif
