/* What tells one state of a file from another without reading it. */
#ifndef EL_BASE_STAMP_H
#define EL_BASE_STAMP_H

#include <stdint.h>
#include <sys/stat.h>

#include "base/random.h"

typedef struct el_file_stamp {
  uint64_t size, mtime_ns, inode;
} el_file_stamp;

static inline el_file_stamp el_file_stamp_of(const struct stat *st) {
  return (el_file_stamp){(uint64_t)st->st_size,
                         (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec,
                         (uint64_t)st->st_ino};
}

/* Adds a file to one stamp for several: the sum changes when one of them changes, whatever their
 * order. */
static inline void el_file_stamp_add(el_file_stamp *sum, el_file_stamp one) {
  sum->size += one.size;
  sum->mtime_ns += el_mix64(one.mtime_ns);
  sum->inode += el_mix64(one.inode);
}

#endif
