/* safetensors reader: maps a file and hands out checked views. Format: https://github.com/huggingface/safetensors
 *
 * Checked at opening: header length, JSON (duplicate keys refused), dtype, shape product with overflow, offsets in
 * bounds and not overlapping, byte length equal to shape times item size. */
#ifndef EL_FORMAT_SAFETENSORS_H
#define EL_FORMAT_SAFETENSORS_H

#include "edgelora.h"

typedef struct el_safetensors el_safetensors;

typedef enum el_st_dtype { /* the ones that we read; others open and list, but have dtype OTHER */
  EL_ST_F32, EL_ST_F16, EL_ST_BF16, EL_ST_OTHER
} el_st_dtype;

typedef struct el_st_tensor {
  const char *name;
  const char *dtype_name; /* as in the file */
  el_st_dtype dtype;
  int n_dims;
  int64_t shape[8]; /* outermost first, as in the file */
  const unsigned char *data; /* any alignment */
  size_t n_bytes;
} el_st_tensor;

el_status el_safetensors_open(const char *path, el_safetensors **out, el_error *err);
el_status el_safetensors_open_memory(const void *data, size_t size, const char *name, el_safetensors **out, el_error *err);
void el_safetensors_close(el_safetensors *s);
size_t el_safetensors_n(const el_safetensors *s);
const el_st_tensor *el_safetensors_at(const el_safetensors *s, size_t i);
const el_st_tensor *el_safetensors_find(const el_safetensors *s, const char *name); /* NULL: absent */

#endif
