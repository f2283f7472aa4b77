/* Limits what a thread takes from other threads. */
#ifndef EL_BASE_PRIORITY_H
#define EL_BASE_PRIORITY_H

#include <stdatomic.h>
#include <stdbool.h>

/* For a thread whose work no next token waits for. From here on the calling thread has a smaller
 * share of a CPU that others want (`nice`, 0 to 19), gets it in turns of slice_us, and never
 * preempts a thread that has just woken. Where the process lacks the right to set this, the thread
 * is as fast as the others, which does no other harm.
 *
 * Systems end a turn at a tick of their clock, every 1 to 10 ms, even if it should be shorter. So
 * the thread ends its turns itself, by calling el_thread_breathe, while *others_compute is true.
 * NULL: it does not. */
void el_thread_give_way(int nice, int slice_us, const atomic_bool *others_compute);

/* Called about every 50 microseconds by work that may run on a thread that gives way. If the turn
 * is over, others that want its CPU get it. Nothing happens if nobody else wants it, or on a thread
 * that does not give way. */
void el_thread_breathe(void);

/* Number of values that even slow machines read, check or pack in this time. */
enum { EL_BREATH = 1 << 15 };

#endif
