/* How much memory this process may still take. */
#ifndef EL_BASE_AVAILABLE_MEMORY_H
#define EL_BASE_AVAILABLE_MEMORY_H

#include <stdint.h>

/* The least of what the machine has left and of what each control group of this process has: a service's MemoryMax, a
 * container's limit, one of a slice above them. 0: the system does not tell. `root` is put before /proc and /sys: "",
 * or a folder of a test. */
uint64_t el_available_memory(const char *root);

#endif
