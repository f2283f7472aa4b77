/* DotProd: sdot adds four products of bytes in each 32-bit lane. */
#include <arm_neon.h>

#include "bench/peak/chains.h"
#include "bench/peak/loops.h"

#define SDOT(n) "sdot %" #n ".4s, %12.16b, %13.16b\n\t"
EL_CHAIN_LOOP(el_peak_sdot, int8x16_t, "w", SDOT)
