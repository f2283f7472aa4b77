/* A slow file system, for LD_PRELOAD: each question about a file whose path has $SLOW_FILES in it, or that is asked for
 * within a directory which has, takes $SLOW_STAT_MS; each opening waits for as long as there is a file
 * $SLOW_UNTIL_GONE. As on a network's file system, many may wait at once. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int is_slow(int dir_fd, const char *path) {
  const char *what = getenv("SLOW_FILES");
  char link[64], dir[4096];
  if (!what) return 0;
  if (path[0] == '/' || dir_fd == AT_FDCWD) return strstr(path, what) != NULL;
  snprintf(link, sizeof link, "/proc/self/fd/%d", dir_fd);
  ssize_t n = readlink(link, dir, sizeof dir - 1);
  if (n < 0) return 0;
  dir[n] = 0;
  return strstr(dir, what) != NULL;
}

static void wait_ms(long n) {
  const struct timespec t = {n / 1000, n % 1000 * 1000000};
  nanosleep(&t, NULL);
}

static void wait_for_stat(void) {
  const char *ms = getenv("SLOW_STAT_MS");
  if (ms) wait_ms(atol(ms));
}

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

int fstatat(int dir_fd, const char *path, struct stat *st, int flags) {
  if (is_slow(dir_fd, path)) wait_for_stat();
  return REAL(int, "fstatat", int, const char *, struct stat *, int)(dir_fd, path, st, flags);
}

int fstatat64(int dir_fd, const char *path, struct stat64 *st, int flags) {
  if (is_slow(dir_fd, path)) wait_for_stat();
  return REAL(int, "fstatat64", int, const char *, struct stat64 *, int)(dir_fd, path, st, flags);
}

static int slow_open(const char *name, const char *path, int flags, int mode) {
  const char *held = getenv("SLOW_UNTIL_GONE");
  if (held && is_slow(AT_FDCWD, path))
    while (access(held, F_OK) == 0) wait_ms(5);
  return REAL(int, name, const char *, int, ...)(path, flags, mode);
}

int open(const char *path, int flags, ...) {
  va_list ap;
  va_start(ap, flags);
  int mode = va_arg(ap, int);
  va_end(ap);
  return slow_open("open", path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  va_list ap;
  va_start(ap, flags);
  int mode = va_arg(ap, int);
  va_end(ap);
  return slow_open("open64", path, flags, mode);
}
