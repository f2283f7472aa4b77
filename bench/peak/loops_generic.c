/* Reading with the vectors that every CPU of the architecture has. */
#define EL_READ_BYTES 16
#define EL_READ_NAME el_peak_read_generic
#include "bench/peak/read_loop.h"
