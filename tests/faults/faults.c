/* Faults on purpose, in a program as it is: loaded in front of the C library (LD_PRELOAD), this counts what a program
 * and its libraries ask of the allocator and of the system, and lets the calls fail that it is told to. It is told
 * through a file that both map (EDGELORA_FAULTS=FILE, see struct faults), by tests/py/faults.py.
 *
 * An allocation fails with NULL; a call fails with the error that is asked for, if it is one that the call may have, or
 * does a part of what it was asked for. Counts are of all threads: a request's path is the same from one time to the
 * next, but for what the clock decides. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

/* What is asked for, and what came of it. `at` is written last, and begins the counting. */
typedef struct faults {
  _Atomic int64_t at;     /* the call that fails, from 0; less: none does, and none is counted */
  _Atomic int32_t memory; /* allocations are counted; else calls */
  _Atomic int32_t error;  /* of a call: an errno; 0: it does a part */
  _Atomic int32_t all;    /* and so do all after it */
  _Atomic int32_t hits;   /* that failed */
  _Atomic int64_t seen;   /* that were counted */
  _Atomic int64_t live;   /* allocations that have not been freed, always counted */
  char what[32];          /* the first that failed, */
  char where[1000];       /* and who called: "FILE+OFFSET ...", the innermost first */
} faults;

static faults NONE = {.at = -1}, *told = &NONE;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("EDGELORA_FAULTS");
  int fd = path ? (int)open(path, O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void *p = mmap(NULL, sizeof(faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (p == MAP_FAILED) return;
  atomic_fetch_add(&((faults *)p)->live, atomic_load(&NONE.live));
  backtrace((void *[1]){NULL}, 1); /* the first time it allocates: this library, not the program */
  told = p;
  unsetenv("LD_PRELOAD"); /* commands that are started are others' */
}

/* Where this is called from, for addr2line. */
static void note(const char *name) {
  void *frames[24];
  int n = backtrace(frames, 24);
  size_t at = 0;
  for (int i = 3; i < n && at < sizeof told->where - 1; i++) {
    Dl_info info;
    if (!dladdr(frames[i], &info) || !info.dli_fname) continue;
    const char *slash = strrchr(info.dli_fname, '/');
    at += (size_t)snprintf(told->where + at, sizeof told->where - at, "%s+%#tx ", slash ? slash + 1 : info.dli_fname,
                           (char *)frames[i] - (char *)info.dli_fbase - 1);
  }
  strncpy(told->what, name, sizeof told->what - 1);
}

/* Whether this one fails. */
static bool counts(const char *name) {
  int64_t at = atomic_load(&told->at);
  if (at < 0) return false;
  int64_t n = atomic_fetch_add(&told->seen, 1);
  if (n != at && (n < at || !atomic_load(&told->all))) return false;
  if (!atomic_fetch_add(&told->hits, 1)) note(name);
  return true;
}

/* The next library's function of this name. */
static void *next(const char *name) {
  return dlsym(RTLD_NEXT, name);
}
#define NEXT(name)                       \
  static __typeof__(name) *_Atomic real; \
  __typeof__(name) *call = real;         \
  if (!call) real = call = (__typeof__(name) *)next(#name)

/* ---------------------------------------------------------------- memory */

static bool no_memory(const char *name) {
  if (!atomic_load(&told->memory) || !counts(name)) return false;
  errno = ENOMEM;
  return true;
}

static void *made(void *p) {
  if (p) atomic_fetch_add(&told->live, 1);
  return p;
}

/* dlsym allocates while it looks for calloc: from here, never given back. */
static _Alignas(16) char first[4096];
static atomic_size_t first_used;

static void *from_first(size_t n) {
  size_t at = atomic_fetch_add(&first_used, (n + 15) / 16 * 16);
  return at + n <= sizeof first ? first + at : NULL;
}

void *malloc(size_t n) {
  NEXT(malloc);
  return no_memory("malloc") ? NULL : made(call(n));
}

void *calloc(size_t n, size_t m) {
  static _Thread_local bool looking;
  static void *(*_Atomic real)(size_t, size_t);
  if (looking) return from_first(n * m);
  if (!real) {
    looking = true;
    real = (void *(*)(size_t, size_t))next("calloc");
    looking = false;
  }
  return no_memory("calloc") ? NULL : made(real(n, m));
}

void *realloc(void *p, size_t n) {
  NEXT(realloc);
  if (no_memory("realloc")) return NULL;
  void *q = call(p, n);
  if (!p) return made(q);
  if (!q && !n) atomic_fetch_sub(&told->live, 1);
  return q;
}

void *aligned_alloc(size_t a, size_t n) {
  NEXT(aligned_alloc);
  return no_memory("aligned_alloc") ? NULL : made(call(a, n));
}

int posix_memalign(void **p, size_t a, size_t n) {
  NEXT(posix_memalign);
  if (no_memory("posix_memalign")) return ENOMEM;
  int rc = call(p, a, n);
  if (!rc) made(*p);
  return rc;
}

void free(void *p) {
  NEXT(free);
  if (!p || ((char *)p >= first && (char *)p < first + sizeof first)) return;
  atomic_fetch_sub(&told->live, 1);
  call(p);
}

/* ---------------------------------------------------------------- the system */

/* Which errors a call may have, and whether it may do a part. */
enum { PART = 1, INTR = 2, FILES = 4, SPACE = 8, IO = 16, MEMORY = 32 };

/* Whether the call fails, with errno, or (`part`) does a part of what it was asked for. */
static bool fails(const char *name, unsigned may, bool *part) {
  int error = atomic_load(&told->error);
  unsigned bit = error == 0                           ? PART
                 : error == EINTR                     ? INTR
                 : error == EMFILE || error == ENFILE ? FILES
                 : error == ENOSPC                    ? SPACE
                 : error == EIO                       ? IO
                                                      : MEMORY;
  *part = false;
  if (atomic_load(&told->memory) || !(may & bit) || !counts(name)) return false;
  *part = bit == PART;
  if (bit == PART) return false;
  errno = error;
  return true;
}

#define CALL(result, name, may, parameters, arguments)             \
  result name parameters {                                         \
    NEXT(name);                                                    \
    bool part;                                                     \
    return fails(#name, may, &part) ? (result)-1 : call arguments; \
  }

/* What does not block here is a socket (below) or an event, of which nothing of this can be said. */
static unsigned may_of(int fd, unsigned may) {
  int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && flags & O_NONBLOCK ? 0 : may;
}

/* Transfers of bytes, of which a part is one byte. */
#define BYTES(name, may, parameters, n, arguments)       \
  ssize_t name parameters {                              \
    NEXT(name);                                          \
    bool part;                                           \
    if (fails(#name, may_of(fd, may), &part)) return -1; \
    if (part && n > 1) n = 1;                            \
    return call arguments;                               \
  }

BYTES(read, PART | INTR | IO, (int fd, void *p, size_t n), n, (fd, p, n))
BYTES(pread, PART | INTR | IO, (int fd, void *p, size_t n, off_t at), n, (fd, p, n, at))
BYTES(pread64, PART | INTR | IO, (int fd, void *p, size_t n, off64_t at), n, (fd, p, n, at))
BYTES(write, PART | INTR | IO | SPACE, (int fd, const void *p, size_t n), n, (fd, p, n))

/* Sockets do not block, and are watched for edges: a part means that there is no more, and no call is interrupted. */
CALL(ssize_t, recv, MEMORY, (int fd, void *p, size_t n, int flags), (fd, p, n, flags))
CALL(ssize_t, send, MEMORY, (int fd, const void *p, size_t n, int flags), (fd, p, n, flags))
CALL(ssize_t, sendmsg, MEMORY, (int fd, const struct msghdr *m, int flags), (fd, m, flags))
CALL(ssize_t, writev, MEMORY, (int fd, const struct iovec *v, int n), (fd, v, n))
CALL(int, epoll_wait, INTR, (int fd, struct epoll_event *e, int n, int ms), (fd, e, n, ms))
/* Taking a descriptor out needs nothing. */
CALL(int, epoll_ctl, (op == EPOLL_CTL_ADD ? MEMORY | SPACE : 0), (int fd, int op, int which, struct epoll_event *e),
     (fd, op, which, e))
CALL(int, accept4, FILES | MEMORY, (int fd, struct sockaddr *a, socklen_t *n, int flags), (fd, a, n, flags))
CALL(int, socket, FILES | MEMORY, (int domain, int type, int protocol), (domain, type, protocol))
CALL(int, epoll_create1, FILES | MEMORY, (int flags), (flags))
CALL(int, eventfd, FILES | MEMORY, (unsigned n, int flags), (n, flags))
CALL(int, inotify_init1, FILES | MEMORY, (int flags), (flags))
CALL(int, inotify_add_watch, SPACE | MEMORY, (int fd, const char *path, uint32_t mask), (fd, path, mask))
CALL(int, timerfd_create, FILES | MEMORY, (int clock, int flags), (clock, flags))
CALL(int, pipe2, FILES, (int fds[2], int flags), (fds, flags))

CALL(int, fstat, IO | MEMORY, (int fd, struct stat *st), (fd, st))
CALL(int, fstat64, IO | MEMORY, (int fd, struct stat64 *st), (fd, st))
CALL(int, stat, IO | MEMORY, (const char *path, struct stat *st), (path, st))
CALL(int, stat64, IO | MEMORY, (const char *path, struct stat64 *st), (path, st))
CALL(int, lstat64, IO | MEMORY, (const char *path, struct stat64 *st), (path, st))
CALL(int, fstatat64, IO | MEMORY, (int fd, const char *path, struct stat64 *st, int flags), (fd, path, st, flags))
CALL(int, ftruncate64, IO | INTR | SPACE, (int fd, off64_t n), (fd, n))
CALL(int, fsync, IO | INTR | SPACE, (int fd), (fd))
CALL(int, rename, IO | SPACE, (const char *from, const char *to), (from, to))
CALL(int, mkdir, IO | SPACE, (const char *path, mode_t mode), (path, mode))
CALL(int, madvise, MEMORY, (void *p, size_t n, int advice), (p, n, advice))
CALL(void *, mmap, MEMORY, (void *p, size_t n, int prot, int flags, int fd, off_t at), (p, n, prot, flags, fd, at))
CALL(void *, mmap64, MEMORY, (void *p, size_t n, int prot, int flags, int fd, off64_t at), (p, n, prot, flags, fd, at))

#define OPENS (FILES | IO | SPACE | MEMORY)
static mode_t mode_of(int flags, va_list args) {
  return flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;
}
#define OPEN(name, parameters, arguments)                    \
  int name parameters {                                      \
    NEXT(name);                                              \
    va_list args;                                            \
    va_start(args, flags);                                   \
    mode_t mode = mode_of(flags, args);                      \
    va_end(args);                                            \
    bool part;                                               \
    return fails(#name, OPENS, &part) ? -1 : call arguments; \
  }
OPEN(open, (const char *path, int flags, ...), (path, flags, mode))
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode))
OPEN(openat, (int fd, const char *path, int flags, ...), (fd, path, flags, mode))
OPEN(openat64, (int fd, const char *path, int flags, ...), (fd, path, flags, mode))

/* Those that return NULL. */
#define POINTER(result, name, may, parameters, arguments)    \
  result name parameters {                                   \
    NEXT(name);                                              \
    bool part;                                               \
    return fails(#name, may, &part) ? NULL : call arguments; \
  }
POINTER(FILE *, fopen, OPENS, (const char *path, const char *mode), (path, mode))
POINTER(FILE *, fopen64, OPENS, (const char *path, const char *mode), (path, mode))
POINTER(DIR *, opendir, OPENS, (const char *path), (path))
POINTER(DIR *, fdopendir, MEMORY, (int fd), (fd))
POINTER(struct dirent64 *, readdir64, IO, (DIR * d), (d))
POINTER(char *, realpath, IO | MEMORY, (const char *path, char *out), (path, out))
