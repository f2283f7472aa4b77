/* What the entries of a directory are, asked for one by one, or many at once where the file system is slow to answer:
 * on a network's one, ten thousand folders at 50 ms a question would take half an hour, while it answers many questions
 * in the time of one. */
#ifndef EL_ADAPTER_PEEK_H
#define EL_ADAPTER_PEEK_H

#include "adapter/signature.h"

/* As of el_signature_at. */
typedef struct el_peek {
  char *entry; /* its name in the directory */
  bool is_adapter, is_folder, unsure;
  const char *problem;
  el_signature signature;
} el_peek;

/* Told every few seconds while it goes on, by the caller's thread. */
typedef void (*el_peek_progress)(void *user, size_t looked, size_t of);

typedef struct el_peeker {
  bool slow;                 /* the file system is known to be: questions are asked at once */
  el_peek_progress progress; /* NULL: nobody is told */
  void *user;
  uint64_t told_ns;
} el_peeker;

/* Fills all n of them but for their names. */
void el_peek_all(el_peeker *p, int dir_fd, el_peek *peeks, size_t n);

#endif
