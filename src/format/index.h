/* Looks up names of a file: they are sorted once, then found by binary search. This is not a hash
 * table because anybody may have made the file: sorting has the same cost in the worst case as
 * usually, and finds duplicates on the way. */
#ifndef EL_FORMAT_INDEX_H
#define EL_FORMAT_INDEX_H

#include "base/text.h"

typedef struct el_index_entry {
  el_str name;
  size_t i; /* what it names: an index into the caller's array */
} el_index_entry;

/* Sorts n entries. Returns an entry whose name occurs twice, or NULL. */
const el_index_entry *el_index_sort(el_index_entry *entries, size_t n);
/* Finds a name in sorted entries; NULL: there is none. */
const el_index_entry *el_index_find(const el_index_entry *entries, size_t n, el_str name);

#endif
