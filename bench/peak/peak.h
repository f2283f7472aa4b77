/* What this machine can do at most: loops that do nothing but multiply, and loops that do nothing but read.
 *
 * A loop that multiplies has as many independent chains of one instruction as its latency needs, all in registers, in
 * one asm statement: no compiler changes it. A loop that reads is C over vectors of the instruction set's width. Files
 * are compiled for one instruction set each, as the kernels are. */
#ifndef EL_BENCH_PEAK_PEAK_H
#define EL_BENCH_PEAK_PEAK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum el_peak_kind {
  EL_PEAK_INT8, /* products of 8-bit integers, the instruction's own additions included */
  EL_PEAK_F32   /* fused multiply-adds of floats */
} el_peak_kind;

typedef struct el_peak_loop {
  const char *isa; /* as the kernels are called that compute with this instruction */
  el_peak_kind kind;
  const char *instruction;
  int operations; /* of one pass: a multiplication and an addition are two */
  void (*run)(uint64_t passes);
  bool (*supported)(void);
} el_peak_loop;

/* The i-th loop that this CPU can run, best instruction set first; NULL at the end. */
const el_peak_loop *el_peak_loop_at(int i);
/* The loop of an instruction set; NULL: it has none. */
const el_peak_loop *el_peak_loop_of(const char *isa, el_peak_kind kind);

enum { EL_PEAK_MAX_STREAMS = 8 };

/* Adds up `bytes` at `data` (a multiple of EL_PEAK_READ_UNIT, aligned to 64), read in `streams` (1, 2, 4 or 8) parts
 * side by side, each of them asked for `ahead` bytes before its use (0: not). */
enum { EL_PEAK_READ_UNIT = 4096 };
typedef uint64_t (*el_peak_read_fn)(const unsigned char *data, size_t bytes, int streams, size_t ahead);

/* With the widest loads that this CPU has; *width: their bytes. */
el_peak_read_fn el_peak_read(int *width);

#endif
