/* The tables of kernels, one per instruction set; those not built for this architecture do not exist. */
#ifndef EL_KERNELS_TABLES_H
#define EL_KERNELS_TABLES_H

#include "kernels/kernels.h"

extern const el_kernels el_kernels_scalar;
#if defined(__x86_64__)
extern const el_kernels el_kernels_avx2;       /* AVX2, FMA, F16C */
extern const el_kernels el_kernels_avxvnni;    /* + AVX-VNNI */
extern const el_kernels el_kernels_avx512vnni; /* AVX-512 F, BW, VL, DQ, VNNI */
#endif
#if defined(__aarch64__)
extern const el_kernels el_kernels_neon;    /* what every 64-bit Arm has */
extern const el_kernels el_kernels_dotprod; /* + DotProd */
extern const el_kernels el_kernels_i8mm;    /* + I8MM */
#endif

#endif
