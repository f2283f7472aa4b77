/* What a thread takes from others. */
#ifndef EL_BASE_PRIORITY_H
#define EL_BASE_PRIORITY_H

#include <stdatomic.h>
#include <stdbool.h>

/* The calling thread does work that nobody's next token waits for: from here on it has a smaller share of a CPU that
 * others want (`nice`, 0 to 19), gets it in turns of slice_us, and never takes one from a thread that has just woken.
 * Without the right to that it is as fast as the others: no harm but theirs.
 *
 * Systems end a turn at a tick of their clock, every 1 to 10 ms, however short it was to be. So the thread ends its
 * turns itself, where it calls el_thread_breathe, while *others_compute is true. NULL: it does not. */
void el_thread_give_way(int nice, int slice_us, const atomic_bool *others_compute);

/* Work that may be a thread's that gives way calls this every 50 microseconds or so: others that want its CPU get it if
 * the turn is over. Nothing happens where nobody else wants it, nor on a thread that does not give way. */
void el_thread_breathe(void);

/* Values that are read, checked or packed in such a time, by slow machines too. */
enum { EL_BREATH = 1 << 15 };

#endif
