/* Writes GGUF files (version 3, little-endian): keys and tensors are collected, then written to a
 * file in one go.
 *
 * Running out of memory is remembered and reported by el_gguf_out_save, so that callers need not
 * check every call. Keys and names are not checked: they come from this program. */
#ifndef EL_FORMAT_GGUF_WRITE_H
#define EL_FORMAT_GGUF_WRITE_H

#include "edgelora.h"
#include "format/quant.h"

typedef struct el_gguf_out el_gguf_out;

/* NULL: out of memory; the other functions accept NULL, and el_gguf_out_save reports it. */
el_gguf_out *el_gguf_out_new(void);
void el_gguf_out_free(el_gguf_out *o);

void el_gguf_out_str(el_gguf_out *o, const char *key, const char *value);
void el_gguf_out_u32(el_gguf_out *o, const char *key, uint32_t value);
void el_gguf_out_u64(el_gguf_out *o, const char *key, uint64_t value);
void el_gguf_out_f32(el_gguf_out *o, const char *key, float value);
void el_gguf_out_strs(el_gguf_out *o, const char *key, const char *const *values, size_t n);
void el_gguf_out_u32s(el_gguf_out *o, const char *key, const uint32_t *values, size_t n);

/* data: [rows, cols] F32; it belongs to the caller and must not change until the file is saved.
 * rows 0: a vector with one dimension. */
void el_gguf_out_f32_tensor(el_gguf_out *o, const char *name, int64_t rows, int64_t cols, const float *data);
/* The same with values rounded to F16; the data is copied. */
void el_gguf_out_f16_tensor(el_gguf_out *o, const char *name, int64_t rows, int64_t cols, const float *data);

/* Writes a temporary file beside `path` and renames it, so that a reader sees either the old file
 * or the whole new one. */
el_status el_gguf_out_save(const el_gguf_out *o, const char *path, el_error *err);

#endif
