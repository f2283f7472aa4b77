/* AVX-512: 64 bytes an instruction. One that has no VNNI does not run the loop of vpdpbusd. */
#include <immintrin.h>

#include "bench/peak/chains.h"
#include "bench/peak/loops.h"

#define EL_READ_BYTES 64
#define EL_READ_NAME el_peak_read_avx512
#include "bench/peak/read_loop.h"

#define DPBUSD(n) "vpdpbusd %13, %12, %" #n "\n\t"
EL_CHAIN_LOOP(el_peak_vpdpbusd_zmm, __m512i, "v", DPBUSD)
#define MADDUBS(n) "vpmaddubsw %13, %12, %" #n "\n\t"
EL_CHAIN_LOOP(el_peak_vpmaddubsw_zmm, __m512i, "v", MADDUBS)
#define FMA(n) "vfmadd231ps %13, %12, %" #n "\n\t"
EL_CHAIN_LOOP(el_peak_fma_zmm, __m512, "v", FMA)
