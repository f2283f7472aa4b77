/* Compiled constraints of an engine, shared by all that open the same source, and kept for a while when nobody has
 * them. Thread-safe. */
#ifndef EL_CONSTRAINT_STORE_H
#define EL_CONSTRAINT_STORE_H

#include "constraint/compiled.h"

/* What nobody has is kept up to these; what is open may take EL_OPEN_CONSTRAINT_BYTES when it is opened, and each that
 * an answer uses as much more as states.h and masks.h say. */
enum { EL_KEPT_CONSTRAINTS = 64, EL_KEPT_CONSTRAINT_BYTES = 96 << 20, EL_OPEN_CONSTRAINT_BYTES = 256 << 20 };

typedef struct el_constraint_store el_constraint_store;

/* t: stays where it is. */
el_status el_constraint_store_new(const el_tokenizer *t, el_constraint_store **out, el_error *err);
/* Nobody has any of its constraints. NULL is allowed. */
void el_constraint_store_free(el_constraint_store *s);

/* EL_ERR_BUSY: what is open takes all that it may. */
el_status el_constraint_store_open(el_constraint_store *s, const el_constraint_source *source,
                                   const el_constraint **out, el_error *err);
/* Another reference, and its end. */
void el_constraint_keep(const el_constraint *c);
void el_constraint_release(const el_constraint *c); /* NULL is allowed */
const el_constraint_store *el_constraint_store_of(const el_constraint *c);
el_compiled *el_constraint_compiled(const el_constraint *c);

#endif
