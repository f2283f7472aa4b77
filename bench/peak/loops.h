/* The loops that each instruction set's file defines; loops.c chooses among them. */
#ifndef EL_BENCH_PEAK_LOOPS_H
#define EL_BENCH_PEAK_LOOPS_H

#include "bench/peak/peak.h"

uint64_t el_peak_read_generic(const unsigned char *data, size_t bytes, int streams, size_t ahead);
#if defined(__x86_64__)
void el_peak_tdpbssd(uint64_t passes);
void el_peak_vpdpbusd_zmm(uint64_t passes);
void el_peak_vpmaddubsw_zmm(uint64_t passes);
void el_peak_fma_zmm(uint64_t passes);
void el_peak_vpdpbusd_ymm(uint64_t passes);
void el_peak_vpmaddubsw_ymm(uint64_t passes);
void el_peak_fma_ymm(uint64_t passes);
uint64_t el_peak_read_avx512(const unsigned char *data, size_t bytes, int streams, size_t ahead);
uint64_t el_peak_read_avx2(const unsigned char *data, size_t bytes, int streams, size_t ahead);
#elif defined(__aarch64__)
void el_peak_smlal(uint64_t passes);
void el_peak_sdot(uint64_t passes);
void el_peak_smmla(uint64_t passes);
void el_peak_fmla(uint64_t passes);
#endif

#endif
