/* AVX-VNNI: vpdpbusd on 256 bits, in the encoding that needs no AVX-512. */
#include <immintrin.h>

#include "bench/peak/chains.h"
#include "bench/peak/loops.h"

#define DPBUSD(n) "%{vex%} vpdpbusd %13, %12, %" #n "\n\t"
EL_CHAIN_LOOP(el_peak_vpdpbusd_ymm, __m256i, "x", DPBUSD)
