/* Reads GGUF files (versions 2 and 3, little-endian). It reads a file's header and hands out
 * checked views of it; the tensors' bytes are read where they are needed.
 *
 * Everything is validated when the file is opened: counts against the file's size, lengths of
 * strings and arrays, types, duplicate keys and tensor names, tensor offsets (alignment, bounds,
 * overlap). A view can be used without further checks. Format:
 * https://github.com/ggml-org/ggml/blob/master/docs/gguf.md */
#ifndef EL_FORMAT_GGUF_H
#define EL_FORMAT_GGUF_H

#include "base/text.h"
#include "edgelora.h"
#include "format/quant.h"

typedef struct el_gguf el_gguf;

/* The numbers of the file format. */
typedef enum el_gguf_type {
  EL_GGUF_U8 = 0,
  EL_GGUF_I8 = 1,
  EL_GGUF_U16 = 2,
  EL_GGUF_I16 = 3,
  EL_GGUF_U32 = 4,
  EL_GGUF_I32 = 5,
  EL_GGUF_F32 = 6,
  EL_GGUF_BOOL = 7,
  EL_GGUF_STRING = 8,
  EL_GGUF_ARRAY = 9,
  EL_GGUF_U64 = 10,
  EL_GGUF_I64 = 11,
  EL_GGUF_F64 = 12
} el_gguf_type;

typedef struct el_gguf_kv {
  el_str key;
  el_gguf_type type;         /* EL_GGUF_ARRAY: see item_type */
  el_gguf_type item_type;    /* of an array (never ARRAY: nested arrays are refused) */
  uint64_t n;                /* items of an array; else 1 */
  const unsigned char *data; /* the value's bytes in the file; unaligned */
  const el_str *strings;     /* [n] views, if type or item_type is STRING; NULL if n is 0 */
} el_gguf_kv;

enum { EL_MAX_DIMS = 4 };
typedef struct el_tensor {
  el_str name;
  el_type type;
  int n_dims;
  int64_t ne[EL_MAX_DIMS];   /* ne[0] is the length of a row (innermost); unused ones are 1; all >=
                              * 1 */
  const unsigned char *data; /* of a file opened from memory; else NULL: use el_gguf_read */
  int part;                  /* the file that holds it, from 0: a model may be split into several */
  size_t offset, n_bytes;    /* within that file, bytes */
} el_tensor;

/* Opens a file, which stays open for el_gguf_read; replacing it by rename is safe, see file.h.
 *
 * A model may be split into parts, NAME-00001-of-00003.gguf and so on (with keys split.no,
 * split.count and split.tensors.count). Opening any part opens all; they are looked for beside the
 * name that was given, not beside the target of a link. Keys come from the first part, and other
 * parts must not contradict it. For a folder, opens the model in it if there is exactly one. */
el_status el_gguf_open(const char *path, el_gguf **out, el_error *err);
/* The same from memory, which belongs to the caller and must outlive the result. `name` is for
 * messages. */
el_status el_gguf_open_memory(const void *data, size_t size, const char *name, el_gguf **out, el_error *err);
void el_gguf_close(el_gguf *g);

const char *el_gguf_path(const el_gguf *g); /* of the first part */
int el_gguf_n_files(const el_gguf *g);
uint32_t el_gguf_version(const el_gguf *g);
size_t el_gguf_file_size(const el_gguf *g); /* of all files together */
size_t el_gguf_n_kv(const el_gguf *g);
const el_gguf_kv *el_gguf_kv_at(const el_gguf *g, size_t i);
const el_gguf_kv *el_gguf_find(const el_gguf *g, const char *key); /* NULL: absent. Uses an index */
size_t el_gguf_n_tensors(const el_gguf *g);
const el_tensor *el_gguf_tensor_at(const el_gguf *g, size_t i);
/* NULL: absent. Uses an index */
const el_tensor *el_gguf_tensor(const el_gguf *g, const char *name);

/* Typed access to values. Any integer type converts if the value fits; any number converts to a
 * float. EL_ERR_NOT_FOUND: the key is absent. EL_ERR_FORMAT: the type or range is wrong, or a
 * number is not finite. The message names file and key. */
el_status el_gguf_i64(const el_gguf *g, const char *key, int64_t min, int64_t max, int64_t *out, el_error *err);
el_status el_gguf_f64(const el_gguf *g, const char *key, double *out, el_error *err);
el_status el_gguf_bool(const el_gguf *g, const char *key, bool *out, el_error *err);
el_status el_gguf_str(const el_gguf *g, const char *key, el_str *out, el_error *err);

/* Hyper-parameters that a file gives once for all layers, or as an array with a value for each of
 * its n layers (n >= 1): out[l] is the value of layer l. Every item is checked as above against min
 * and max, an array must have exactly n items, and a message names the item. Some files write
 * booleans as an array of 0 and 1, which is accepted; a single number is not (where a file has one,
 * it means something else, such as a period). */
el_status el_gguf_ints_by_layer(const el_gguf *g, const char *key, int n, int min, int max, int *out, el_error *err);
el_status el_gguf_bools_by_layer(const el_gguf *g, const char *key, int n, bool *out, el_error *err);

/* For a key that may be absent: set the output to its default first; all functions above leave it
 * unchanged when they fail. */
static inline el_status el_gguf_optional(el_status status) {
  return status == EL_ERR_NOT_FOUND ? EL_OK : status;
}

/* Item i < n of a numeric value or array, as a number. */
int64_t el_gguf_kv_int(const el_gguf_kv *kv, uint64_t i);
double el_gguf_kv_num(const el_gguf_kv *kv, uint64_t i);

/* Reads bytes [from, from + n) of a tensor. *out points to them: in `buffer` ([n]), or in the
 * memory that the file was opened from. Any thread may call. EL_ERR_IO: the file has become shorter
 * or cannot be read. */
el_status el_gguf_read(const el_gguf *g, const el_tensor *t, size_t from, size_t n, void *buffer,
                       const unsigned char **out, el_error *err);
/* Asks the system to read up to n bytes of a tensor, from byte `from` on, into memory soon. */
void el_gguf_will_read(const el_gguf *g, const el_tensor *t, size_t from, size_t n);
/* Fails if the file has been written to since it was opened. */
el_status el_gguf_unchanged(const el_gguf *g, el_error *err);

/* The name that a model's file gives to the model: without folders, ".gguf" and the part number. A
 * view of `path`. */
el_str el_gguf_stem(const char *path);

const char *el_gguf_type_name(el_gguf_type type);

#endif
