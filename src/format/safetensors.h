/* Reads safetensors files: checks a file and hands out views of it. Format:
 * https://github.com/huggingface/safetensors
 *
 * Checked when a file is opened: the header's length, its JSON (duplicate keys are refused),
 * dtypes, the product of each shape with overflow, offsets within the file, no overlap and no hole,
 * byte lengths equal to shape times item size (for every dtype of the format). */
#ifndef EL_FORMAT_SAFETENSORS_H
#define EL_FORMAT_SAFETENSORS_H

#include "edgelora.h"

typedef struct el_safetensors el_safetensors;

typedef enum el_st_dtype { /* the supported ones; files with others open and list, with dtype
                            * OTHER */
                           EL_ST_F32,
                           EL_ST_F16,
                           EL_ST_BF16,
                           EL_ST_OTHER
} el_st_dtype;

typedef struct el_st_tensor {
  const char *name;
  const char *dtype_name; /* as in the file */
  el_st_dtype dtype;
  int n_dims;
  int64_t shape[8];          /* outermost first, as in the file */
  const unsigned char *data; /* at any address; NULL if only the header was read */
  size_t offset, n_bytes;    /* within the file */
} el_st_tensor;

/* Opens a file and reads only its header. */
el_status el_safetensors_open(const char *path, el_safetensors **out, el_error *err);
/* Opens a file from memory, which belongs to the caller and must outlive the result. `name` is for
 * messages. */
el_status el_safetensors_open_memory(const void *data, size_t size, const char *name, el_safetensors **out,
                                     el_error *err);
void el_safetensors_close(el_safetensors *s);
size_t el_safetensors_n(const el_safetensors *s);
const el_st_tensor *el_safetensors_at(const el_safetensors *s, size_t i);
/* NULL: absent */
const el_st_tensor *el_safetensors_find(const el_safetensors *s, const char *name);
/* Calls `each` for every entry of __metadata__, in the file's order. */
void el_safetensors_metadata(const el_safetensors *s, void (*each)(void *arg, const char *key, const char *value),
                             void *arg);

#endif
