/* What a thread takes from others. */
#ifndef EL_BASE_PRIORITY_H
#define EL_BASE_PRIORITY_H

/* The calling thread does work that nobody's next token waits for: from here on it has a smaller share of a CPU that
 * others want (`nice`, 0 to 19), gets it in turns of slice_us, and never takes one from a thread that has just woken.
 * Without the right to that it is as fast as the others: no harm but theirs. */
void el_thread_give_way(int nice, int slice_us);

#endif
