/* The compiled constraints of an engine. Requests with the same source share one. Constraints that
 * nobody uses are kept for a while. Thread-safe. */
#ifndef EL_CONSTRAINT_STORE_H
#define EL_CONSTRAINT_STORE_H

#include "constraint/compiled.h"

/* Constraints that nobody uses are kept within the first two limits. Open constraints together may
 * take EL_OPEN_CONSTRAINT_BYTES at the time they are opened; each one that an answer uses may grow by
 * the limits of states.h and masks.h. */
enum { EL_KEPT_CONSTRAINTS = 64, EL_KEPT_CONSTRAINT_BYTES = 96 << 20, EL_OPEN_CONSTRAINT_BYTES = 256 << 20 };

typedef struct el_constraint_store el_constraint_store;

/* `t` must outlive it. */
el_status el_constraint_store_new(const el_tokenizer *t, el_constraint_store **out, el_error *err);
/* All its constraints must have been released. NULL is allowed. */
void el_constraint_store_free(el_constraint_store *s);

/* *out comes with a reference. EL_ERR_BUSY: the open constraints take all memory that they may. */
el_status el_constraint_store_open(el_constraint_store *s, const el_constraint_source *source,
                                   const el_constraint **out, el_error *err);
/* Take another reference, and give one back. */
void el_constraint_keep(const el_constraint *c);
void el_constraint_release(const el_constraint *c); /* NULL is allowed */
const el_constraint_store *el_constraint_store_of(const el_constraint *c);
el_compiled *el_constraint_compiled(const el_constraint *c);

#endif
