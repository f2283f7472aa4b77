/* Looks up names of a file: sorted once, then binary search. Not a hash table, because the names come out of files that
 * anybody may have made: its worst case is its usual case, and sorting finds duplicates on the way. */
#ifndef EL_FORMAT_INDEX_H
#define EL_FORMAT_INDEX_H

#include "base/text.h"

typedef struct el_index_entry {
  el_str name;
  size_t i; /* what it names: index in the caller's array */
} el_index_entry;

/* Sorts n entries. NULL, or an entry whose name is there twice. */
const el_index_entry *el_index_sort(el_index_entry *entries, size_t n);
/* The entry of a name in sorted entries, or NULL. */
const el_index_entry *el_index_find(const el_index_entry *entries, size_t n, el_str name);

#endif
