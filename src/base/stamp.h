/* What tells one state of a file from another without reading it. */
#ifndef EL_BASE_STAMP_H
#define EL_BASE_STAMP_H

#include <stdint.h>
#include <sys/stat.h>

typedef struct el_file_stamp {
  uint64_t size, mtime_ns, inode;
} el_file_stamp;

static inline el_file_stamp el_file_stamp_of(const struct stat *st) {
  return (el_file_stamp){(uint64_t)st->st_size,
                         (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec,
                         (uint64_t)st->st_ino};
}

#endif
