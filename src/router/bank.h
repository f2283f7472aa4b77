/* The adapters from which a router may choose: the trained column of each, and the centre of its
 * examples. Ten thousand adapters are scored in less than a millisecond. Centres are kept as 16-bit
 * integers: their products are exact, so every machine gives the same scores, and one instruction
 * multiplies eight of them.
 *
 * There is no lock: one thread at a time. */
#ifndef EL_ROUTER_BANK_H
#define EL_ROUTER_BANK_H

#include "router/router.h"

typedef struct el_bank el_bank;

/* `r` must outlive it. */
el_status el_bank_new(const el_router *r, el_bank **out, el_error *err);
void el_bank_free(el_bank *b);

/* Adds or replaces an adapter. z: [n, dim], the vectors of its examples, at most
 * EL_MAX_EXAMPLES. With n 0 it is scored by its trained column alone, which is found by name.
 * An adapter with neither is not added. *added (may be NULL) says whether it was. */
el_status el_bank_put(el_bank *b, uint64_t id, const char *name, const float *z, int n, bool *added, el_error *err);
/* An id that is not there is no error. The order of the others may change. */
void el_bank_remove(el_bank *b, uint64_t id);

size_t el_bank_count(const el_bank *b);
uint64_t el_bank_id(const el_bank *b, size_t i);
/* The index of an adapter; SIZE_MAX: it is not there. */
size_t el_bank_find(const el_bank *b, uint64_t id);

/* logits: [count] of every adapter in the bank, in its order; *base: the base's. */
void el_bank_logits(const el_bank *b, const float *z, float *logits, float *base);

#endif
