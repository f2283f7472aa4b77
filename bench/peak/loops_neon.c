/* What every 64-bit Arm has: smlal adds products of bytes in 16 bits. What a kernel adds on top, to widen, is not
 * counted. */
#include <arm_neon.h>

#include "bench/peak/chains.h"
#include "bench/peak/loops.h"

#define SMLAL(n) "smlal2 %" #n ".8h, %12.16b, %13.16b\n\t"
EL_CHAIN_LOOP(el_peak_smlal, int8x16_t, "w", SMLAL)
#define FMLA(n) "fmla %" #n ".4s, %12.4s, %13.4s\n\t"
EL_CHAIN_LOOP(el_peak_fmla, float32x4_t, "w", FMLA)
