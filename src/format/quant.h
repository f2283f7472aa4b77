/* The tensor types of GGUF: their sizes, names and reference dequantisation. */
#ifndef EL_FORMAT_QUANT_H
#define EL_FORMAT_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The numbers of GGUF. */
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
  EL_TYPE_IQ2_XXS = 16,
  EL_TYPE_IQ2_XS = 17,
  EL_TYPE_IQ3_XXS = 18,
  EL_TYPE_IQ1_S = 19,
  EL_TYPE_IQ4_NL = 20,
  EL_TYPE_IQ3_S = 21,
  EL_TYPE_IQ2_S = 22,
  EL_TYPE_IQ4_XS = 23,
  EL_TYPE_IQ1_M = 29,
  EL_TYPE_BF16 = 30,
  EL_TYPE_TQ1_0 = 34,
  EL_TYPE_TQ2_0 = 35,
  EL_TYPE_MXFP4 = 39,
  EL_TYPE_NVFP4 = 40,
  EL_TYPE_Q1_0 = 41,
  EL_TYPE_Q2_0 = 42
} el_type;

enum { EL_N_TYPES = 43 }; /* all numbers are below; some are not supported */

typedef struct el_type_info {
  const char *name; /* as GGUF tools print it: "Q4_K" */
  int block;        /* values in a block */
  int block_bytes;
} el_type_info;

/* NULL: the type is unknown or not supported. */
const el_type_info *el_type_get(uint32_t type);

/* Writes the names of all supported types, "F32, F16, ... and Q2_0"; returns out. */
const char *el_type_names(char *out, size_t size);

/* Dequantises n values. src: n / block blocks at any address (n is a multiple of the type's block);
 * dst: [n] F32. */
void el_dequantize(el_type type, const void *src, float *dst, int64_t n);

/* 32 values of a type with integers and scales: value i is unit * mul[i / 16] * code[i]. */
typedef struct el_quant_group {
  int8_t code[32];
  float unit;
  int mul[2]; /* for 16 values each; most types have one for all 32, and it stands in both */
} el_quant_group;

enum { EL_QUANT_GROUPS = 8 }; /* groups in the largest block */

/* Whether el_quant_codes supports the type. */
bool el_quant_has_codes(el_type type);
/* Reads the groups of one block at any address; out: [block / 32]. */
void el_quant_codes(el_type type, const void *block, el_quant_group *out);

float el_f16_to_f32(uint16_t h);

/* Loads a little-endian number from any address. */
static inline uint16_t el_load_u16(const unsigned char *p) {
  uint16_t v;
  memcpy(&v, p, 2);
  return v;
}

static inline uint32_t el_load_u32(const unsigned char *p) {
  uint32_t v;
  memcpy(&v, p, 4);
  return v;
}

uint16_t el_f32_to_f16(float f);                              /* rounds to nearest even; overflow
                                                               * becomes infinity */
void el_f32_to_f16_n(const float *src, uint16_t *dst, int n); /* the same for n values */
float el_bf16_to_f32(uint16_t b);
uint16_t el_f32_to_bf16(float f); /* rounds to nearest even */

#endif
