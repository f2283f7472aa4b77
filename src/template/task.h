/* What compiling and rendering share: memory that is released all at once, and one way out.
 *
 * Everything that a template's run makes comes from the task's arena and goes with it, so there is
 * nothing to clean up on the way: a failure jumps straight to where the task began (as in Lua), and
 * the code reads like the language that it interprets. No function that may jump holds anything but
 * arena memory. */
#ifndef EL_TEMPLATE_TASK_H
#define EL_TEMPLATE_TASK_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edgelora.h"

typedef struct el_chunk el_chunk;

typedef struct el_task {
  jmp_buf escape; /* set by the owner of the task before anything that may fail */
  el_error *err;  /* filled in before the jump */
  int line;       /* the current line of the template; 0: not known yet */
  el_chunk *chunks;
  char *at, *end;     /* the free range of the newest chunk */
  size_t taken, most; /* bytes of all chunks, and their limit */
} el_task;

/* Ends the task with "line N: ..." */
_Noreturn void el_task_fail(el_task *t, el_status code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Allocates n bytes, aligned for any type; never NULL. The content is undefined. */
void *el_task_alloc(el_task *t, size_t n);
void *el_task_zeroed(el_task *t, size_t n);
/* As realloc, for a block of `old` bytes; the block that was allocated last grows in place. */
void *el_task_grow(el_task *t, void *p, size_t old, size_t n);
void el_task_free(el_task *t);

#endif
