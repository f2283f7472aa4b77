/* How many bytes of its heap a program uses, told whenever it is asked: loaded in front of the C library (LD_PRELOAD)
 * by tools/soak.py. What is resident says how the allocator keeps the heap; this says what the program has not given
 * back.
 *
 * EDGELORA_HEAP is a socket that the program was started with. For each byte that comes the answer is a line: bytes in
 * use, bytes that the allocator holds for them, both with what is mapped one by one. */
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void *tell(void *arg) {
  int fd = *(int *)arg;
  char byte, line[64];
  while (read(fd, &byte, 1) == 1) {
    struct mallinfo2 m = mallinfo2();
    int n = snprintf(line, sizeof line, "%zu %zu\n", m.uordblks + m.hblkhd, m.arena + m.hblkhd);
    if (write(fd, line, (size_t)n) != n) break;
  }
  return NULL;
}

__attribute__((constructor)) static void begin(void) {
  static int fd;
  const char *number = getenv("EDGELORA_HEAP");
  pthread_t thread;
  sigset_t all, before;
  if (!number) return;
  fd = atoi(number);
  unsetenv("LD_PRELOAD"); /* commands that are started are others' */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the program's */
  if (pthread_create(&thread, NULL, tell, &fd)) abort();
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}
