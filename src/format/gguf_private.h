/* What the parts of the GGUF reader share. Private to this folder. */
#ifndef EL_FORMAT_GGUF_PRIVATE_H
#define EL_FORMAT_GGUF_PRIVATE_H

#include "format/gguf.h"

static inline uint64_t el_gguf_load_le(const unsigned char *p, size_t bytes) {
  uint64_t v = 0;
  for (size_t i = 0; i < bytes; i++) v |= (uint64_t)p[i] << (8 * i);
  return v;
}

/* Bytes of a value; 0: no such type, or one without a fixed size. */
static inline size_t el_gguf_value_bytes(uint64_t type) {
  static const uint8_t sizes[] = {
      [EL_GGUF_U8] = 1,  [EL_GGUF_I8] = 1,   [EL_GGUF_U16] = 2, [EL_GGUF_I16] = 2, [EL_GGUF_U32] = 4, [EL_GGUF_I32] = 4,
      [EL_GGUF_F32] = 4, [EL_GGUF_BOOL] = 1, [EL_GGUF_U64] = 8, [EL_GGUF_I64] = 8, [EL_GGUF_F64] = 8,
  };
  return type < sizeof sizes ? sizes[type] : 0;
}

#endif
