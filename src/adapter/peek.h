/* Finds out what the entries of a directory are: one by one, or many at a time where the file
 * system is slow to answer. On a network file system with 50 ms a question, ten thousand folders
 * one by one would take half an hour; many questions at a time take little longer than one. */
#ifndef EL_ADAPTER_PEEK_H
#define EL_ADAPTER_PEEK_H

#include "adapter/signature.h"

/* Results as of el_signature_at. */
typedef struct el_peek {
  char *entry; /* its name in the directory */
  bool is_adapter, is_folder, unsure;
  const char *problem;
  el_signature signature;
} el_peek;

/* Called every few seconds while it goes on, by the caller's thread. */
typedef void (*el_peek_progress)(void *user, size_t looked, size_t of);

typedef struct el_peeker {
  bool slow;                 /* the file system is known to be slow: many questions are asked at a
                              * time */
  el_peek_progress progress; /* NULL: nobody is told */
  void *user;
  uint64_t told_ns;
} el_peeker;

/* Fills in all n, whose names are given. */
void el_peek_all(el_peeker *p, int dir_fd, el_peek *peeks, size_t n);

#endif
