#include "format/index.h"

#include <stdlib.h>

static int compare_entries(const void *a, const void *b) {
  return el_str_cmp(((const el_index_entry *)a)->name, ((const el_index_entry *)b)->name);
}

const el_index_entry *el_index_sort(el_index_entry *entries, size_t n) {
  if (n) qsort(entries, n, sizeof *entries, compare_entries);
  for (size_t i = 1; i < n; i++)
    if (compare_entries(&entries[i - 1], &entries[i]) == 0) return &entries[i];
  return NULL;
}

const el_index_entry *el_index_find(const el_index_entry *entries, size_t n, el_str name) {
  el_index_entry key = {.name = name};
  return n ? bsearch(&key, entries, n, sizeof *entries, compare_entries) : NULL;
}
