/* A heap of numbers with the smallest on top; the caller provides room for all of them. */
#ifndef EL_TOKENIZER_HEAP_H
#define EL_TOKENIZER_HEAP_H

#include <stddef.h>
#include <stdint.h>

static inline void el_heap_push(uint64_t *heap, size_t *n, uint64_t item) {
  size_t i = (*n)++;
  while (i > 0 && heap[(i - 1) / 2] > item) {
    heap[i] = heap[(i - 1) / 2];
    i = (i - 1) / 2;
  }
  heap[i] = item;
}

/* Takes the smallest number; n > 0. */
static inline uint64_t el_heap_pop(uint64_t *heap, size_t *n) {
  uint64_t top = heap[0], item = heap[--*n];
  size_t i = 0;
  for (;;) {
    size_t child = 2 * i + 1;
    if (child >= *n) break;
    if (child + 1 < *n && heap[child + 1] < heap[child]) child++;
    if (heap[child] >= item) break;
    heap[i] = heap[child];
    i = child;
  }
  heap[i] = item;
  return top;
}

#endif
