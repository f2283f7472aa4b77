/* AVX2: products of bytes are added in pairs, in 16 bits. That is the multiplier's limit; what a kernel adds on top, to
 * widen and add up, is not counted. */
#include <immintrin.h>

#include "bench/peak/chains.h"
#include "bench/peak/loops.h"

#define EL_READ_BYTES 32
#define EL_READ_NAME el_peak_read_avx2
#include "bench/peak/read_loop.h"

#define MADDUBS(n) "vpmaddubsw %13, %12, %" #n "\n\t"
EL_CHAIN_LOOP(el_peak_vpmaddubsw_ymm, __m256i, "x", MADDUBS)
#define FMA(n) "vfmadd231ps %13, %12, %" #n "\n\t"
EL_CHAIN_LOOP(el_peak_fma_ymm, __m256, "x", FMA)
