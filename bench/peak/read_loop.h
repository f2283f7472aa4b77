/* Reading memory, for vectors of EL_READ_BYTES: the file that includes this one defines that, and EL_READ_NAME. */
#include <string.h>

#include "bench/peak/loops.h"

typedef uint64_t vec __attribute__((vector_size(EL_READ_BYTES)));
enum { STEP = 256, LOADS = STEP / EL_READ_BYTES }; /* bytes of a stream at a time */

static inline __attribute__((always_inline)) uint64_t read_streams(const unsigned char *data, size_t bytes, int streams,
                                                                   size_t ahead) {
  const size_t part = bytes / (size_t)streams;
  vec sum[4] = {{0}};
  for (size_t i = 0; i < part; i += STEP)
    for (int s = 0; s < streams; s++) {
      const unsigned char *p = data + (size_t)s * part + i;
      if (ahead)
        for (int line = 0; line < STEP; line += 64) __builtin_prefetch(p + ahead + line, 0, 3);
#pragma GCC unroll 16
      for (int k = 0; k < LOADS; k++) sum[k % 4] += *(const vec *)(const void *)(p + k * EL_READ_BYTES);
    }
  sum[0] += sum[1] + sum[2] + sum[3];
  uint64_t out = 0;
  for (unsigned i = 0; i < sizeof(vec) / sizeof(uint64_t); i++) out += sum[0][i];
  return out;
}

uint64_t EL_READ_NAME(const unsigned char *data, size_t bytes, int streams, size_t ahead) {
  switch (streams) {
    case 1: return ahead ? read_streams(data, bytes, 1, ahead) : read_streams(data, bytes, 1, 0);
    case 2: return ahead ? read_streams(data, bytes, 2, ahead) : read_streams(data, bytes, 2, 0);
    case 4: return ahead ? read_streams(data, bytes, 4, ahead) : read_streams(data, bytes, 4, 0);
    default: return ahead ? read_streams(data, bytes, 8, ahead) : read_streams(data, bytes, 8, 0);
  }
}
