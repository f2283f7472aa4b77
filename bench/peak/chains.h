/* Twelve chains of one instruction: as many as a latency of 6 cycles needs at two a cycle, and as fit into 16
 * registers beside two operands. Operand %12 and %13 are the inputs. */
#ifndef EL_BENCH_PEAK_CHAINS_H
#define EL_BENCH_PEAK_CHAINS_H

#include <stdint.h>

enum { EL_CHAINS = 12 };

/* LINE(n): the instruction on chain n as a string. TYPE: the vector type. REG: the constraint for a register of it. */
#define EL_CHAIN_LOOP(NAME, TYPE, REG, LINE)                                                                        \
  void NAME(uint64_t passes) {                                                                                      \
    union {                                                                                                         \
      unsigned char bytes[sizeof(TYPE)];                                                                            \
      TYPE v;                                                                                                       \
    } a, b;                                                                                                         \
    /* As floats: small and normal. As bytes: no zeros, which multiply at less power. */                            \
    for (unsigned i = 0; i < sizeof(TYPE); i++) {                                                                   \
      a.bytes[i] = i % 4 == 3 ? 0x3d : (unsigned char)(0x51 + 29 * i);                                              \
      b.bytes[i] = i % 4 == 3 ? 0x3c : (unsigned char)(0x35 + 43 * i);                                              \
    }                                                                                                               \
    TYPE c0 = a.v, c1 = b.v, c2 = a.v, c3 = b.v, c4 = a.v, c5 = b.v, c6 = a.v, c7 = b.v, c8 = a.v, c9 = b.v,        \
         c10 = a.v, c11 = b.v;                                                                                      \
    for (; passes; passes--)                                                                                        \
      __asm__ volatile(LINE(0) LINE(1) LINE(2) LINE(3) LINE(4) LINE(5) LINE(6) LINE(7) LINE(8) LINE(9) LINE(10)     \
                           LINE(11)                                                                                 \
                       : "+" REG(c0), "+" REG(c1), "+" REG(c2), "+" REG(c3), "+" REG(c4), "+" REG(c5), "+" REG(c6), \
                         "+" REG(c7), "+" REG(c8), "+" REG(c9), "+" REG(c10), "+" REG(c11)                          \
                       : REG(a.v), REG(b.v));                                                                       \
  }

#endif
