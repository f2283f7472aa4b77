/* File calls that fail on purpose, or find that somebody has changed the file meanwhile. The linker sends those of the
 * project's own code here (failing_files_dep). */
#ifndef EL_TESTS_FAILING_FILES_H
#define EL_TESTS_FAILING_FILES_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_int file_calls_left = INT32_MAX; /* the one after these fails */
static void (*before_read)(void);              /* called before each read */

static bool file_call_fails(void) {
  if (atomic_fetch_sub(&file_calls_left, 1) != 0) return false;
  errno = EIO;
  return true;
}

int __real_open64(const char *path, int flags, int mode);
int __wrap_open64(const char *path, int flags, int mode);
int __wrap_open64(const char *path, int flags, int mode) {
  return file_call_fails() ? -1 : __real_open64(path, flags, mode);
}
ssize_t __real_read(int fd, void *buf, size_t n);
ssize_t __wrap_read(int fd, void *buf, size_t n);
ssize_t __wrap_read(int fd, void *buf, size_t n) {
  if (before_read) before_read();
  return file_call_fails() ? -1 : __real_read(fd, buf, n);
}
int __real_fstat64(int fd, struct stat *st);
int __wrap_fstat64(int fd, struct stat *st);
int __wrap_fstat64(int fd, struct stat *st) {
  return file_call_fails() ? -1 : __real_fstat64(fd, st);
}
int __real_stat64(const char *path, struct stat *st);
int __wrap_stat64(const char *path, struct stat *st);
int __wrap_stat64(const char *path, struct stat *st) {
  return file_call_fails() ? -1 : __real_stat64(path, st);
}
int __real_fstatat64(int fd, const char *path, struct stat *st, int flags);
int __wrap_fstatat64(int fd, const char *path, struct stat *st, int flags);
int __wrap_fstatat64(int fd, const char *path, struct stat *st, int flags) {
  return file_call_fails() ? -1 : __real_fstatat64(fd, path, st, flags);
}

static inline void fail_file_call(int n) {
  atomic_store(&file_calls_left, n);
}
/* Whether one has failed since. */
static inline bool stop_failing_file_calls(void) {
  return atomic_exchange(&file_calls_left, INT32_MAX) < 0;
}

#endif
