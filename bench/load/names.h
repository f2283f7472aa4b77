/* A list of names: of adapters, in the order of their popularity. */
#ifndef EL_BENCH_LOAD_NAMES_H
#define EL_BENCH_LOAD_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct el_load_names {
  char **items;
  size_t n, cap;
  uint32_t *slots; /* [n_slots] a table of places + 1 by the names' hash, half full at most; 0: free */
  size_t n_slots;
} el_load_names;

/* false: no memory, or 2^31 names. */
bool el_load_names_add(el_load_names *names, const char *name, size_t len);
/* The place of the first that is equal; n: there is none. */
size_t el_load_names_find(const el_load_names *names, const char *name);
/* Lets go of all but the first n. */
void el_load_names_keep(el_load_names *names, size_t n);
void el_load_names_free(el_load_names *names);

#endif
