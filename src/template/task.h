/* What compiling and rendering have in common: memory that is released all at once, and one way out.
 *
 * Everything that a template's run makes comes from the task's arena and goes with it, so there is nothing to clean up
 * on the way: what fails jumps straight to where the task began (as Lua does), and the code between reads like the
 * language that it interprets. No function that may jump holds anything else than arena memory. */
#ifndef EL_TEMPLATE_TASK_H
#define EL_TEMPLATE_TASK_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edgelora.h"

typedef struct el_chunk el_chunk;

typedef struct el_task {
  jmp_buf escape; /* set by whoever owns the task, before anything that may fail */
  el_error *err;  /* filled before the jump */
  int line;       /* of the template, where we are; 0: nowhere yet */
  el_chunk *chunks;
  char *at, *end;     /* what is free of the newest chunk */
  size_t taken, most; /* bytes of all chunks; the limit */
} el_task;

/* Ends the task with "line N: ..." */
_Noreturn void el_task_fail(el_task *t, el_status code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* n bytes, aligned for any type; never NULL. What they hold is not defined. */
void *el_task_alloc(el_task *t, size_t n);
void *el_task_zeroed(el_task *t, size_t n);
/* As realloc, of a block that was `old` bytes; one that was allocated last grows where it is. */
void *el_task_grow(el_task *t, void *p, size_t old, size_t n);
void el_task_free(el_task *t);

#endif
