/* The tensor types of GGUF: sizes, names and the reference dequantisation. */
#ifndef EL_FORMAT_QUANT_H
#define EL_FORMAT_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The numbers are GGUF's. */
typedef enum el_type {
  EL_TYPE_F32 = 0,
  EL_TYPE_F16 = 1,
  EL_TYPE_Q4_0 = 2,
  EL_TYPE_Q4_1 = 3,
  EL_TYPE_Q5_0 = 6,
  EL_TYPE_Q5_1 = 7,
  EL_TYPE_Q8_0 = 8,
  EL_TYPE_Q2_K = 10,
  EL_TYPE_Q3_K = 11,
  EL_TYPE_Q4_K = 12,
  EL_TYPE_Q5_K = 13,
  EL_TYPE_Q6_K = 14,
  EL_TYPE_BF16 = 30
} el_type;

typedef struct el_type_info {
  const char *name; /* as GGUF tools print it: "Q4_K" */
  int block;        /* values of a block */
  int block_bytes;
} el_type_info;

/* NULL: a type that is unknown or not supported. */
const el_type_info *el_type_get(uint32_t type);

/* src: n / block blocks (n is a multiple of the type's block), any alignment -> dst: [n] f32. */
void el_dequantize(el_type type, const void *src, float *dst, int64_t n);

float el_f16_to_f32(uint16_t h);
uint16_t el_f32_to_f16(float f); /* round to nearest even; overflow gives infinity */
void el_f32_to_f16_n(const float *src, uint16_t *dst, int n); /* the same for n values */
float el_bf16_to_f32(uint16_t b);
uint16_t el_f32_to_bf16(float f); /* round to nearest even */

#endif
