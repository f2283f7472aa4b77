/* The tables of kernels, one for each instruction set. Those not built for this architecture do not
 * exist. */
#ifndef EL_KERNELS_TABLES_H
#define EL_KERNELS_TABLES_H

#include "kernels/kernels.h"

extern const el_kernels el_kernels_scalar;
extern const el_kernels el_kernels_amx_model; /* for tests: the AMX kernels on a model of the tile
                                               * unit, all in C */
#if defined(__x86_64__)
extern const el_kernels el_kernels_avx2;             /* AVX2, FMA, F16C */
extern const el_kernels el_kernels_avxvnni;          /* + AVX-VNNI */
extern const el_kernels el_kernels_avx512vnni;       /* AVX-512 F, BW, VL, DQ, VNNI */
extern const el_kernels el_kernels_amx_int8;         /* + AMX-TILE, AMX-INT8; only where the
                                                      * compiler has them: EL_HAVE_AMX */
extern const el_kernels el_kernels_amx_model_avx512; /* the same model with the vectors of
                                                      * AVX-512 */
#endif
#if defined(__aarch64__)
extern const el_kernels el_kernels_neon;    /* for every 64-bit Arm */
extern const el_kernels el_kernels_dotprod; /* + DotProd */
extern const el_kernels el_kernels_i8mm;    /* + I8MM */
#endif

#endif
