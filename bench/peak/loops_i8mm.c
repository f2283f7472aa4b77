/* I8MM: smmla multiplies 2 x 8 by 8 x 2 bytes. */
#include <arm_neon.h>

#include "bench/peak/chains.h"
#include "bench/peak/loops.h"

#define SMMLA(n) "smmla %" #n ".4s, %12.16b, %13.16b\n\t"
EL_CHAIN_LOOP(el_peak_smmla, int8x16_t, "w", SMMLA)
