/* What the files of the GGUF reader share. Private to this folder. */
#ifndef EL_FORMAT_GGUF_PRIVATE_H
#define EL_FORMAT_GGUF_PRIVATE_H

#include "base/file.h"
#include "format/gguf.h"
#include "format/index.h"

enum {
  EL_GGUF_MAX_TENSORS = 65536, /* a 405B dense model has 1138; experts stored one by one give some
                                * 10000 */
  EL_GGUF_MAX_PARTS = 512      /* files of a model; the largest models have about 50, each with its
                                * own descriptor */
};

struct el_gguf {
  char *path;
  size_t size; /* of the file, bytes */
  bool in_memory;
  el_source source;      /* not used if in_memory */
  unsigned char *header; /* memory for the header, which never moves; [n_header], NULL if
                          * in_memory */
  size_t n_header;
  uint32_t version;
  size_t n_kv, n_tensors;
  el_gguf_kv *kv;
  el_str *scalars;    /* [n_kv] storage of `strings` for plain strings */
  el_tensor *tensors; /* their data is set once all offsets are known */
  el_index_entry *kv_index, *tensor_index;
  /* A model in several files is represented by its first file, which has the tensors of all.
   * `others` are the second file and those after it, [n_others]. */
  el_gguf **others;
  int n_others;
};

/* Opens one file, whatever it says about parts. */
el_status el_gguf_open_file(const char *path, el_gguf **out, el_error *err);

/* What split.count and the keys beside it say; count is 1 for a model in one file. */
typedef struct el_gguf_split {
  int no, count, n_tensors; /* no: from 0; n_tensors: of all parts together */
} el_gguf_split;
el_status el_gguf_split_read(const el_gguf *g, el_gguf_split *out, el_error *err);

/* The name of a part, "NAME-00002-of-00005.gguf": `stem` is the path up to the dash before the
 * number, `no` counts from 1. False: the name has another form. */
typedef struct el_gguf_part_name {
  el_str stem;
  int no, count;
} el_gguf_part_name;
bool el_gguf_part_name_parse(const char *path, el_gguf_part_name *out);
/* The path of another part. NULL: out of memory. */
char *el_gguf_part_path(el_str stem, int no, int count);

/* Finds the model's file in a folder: its only GGUF file, or one part of the only model that is
 * there in parts. The caller frees *out. */
el_status el_gguf_find_in_folder(const char *folder, char **out, el_error *err);

static inline uint64_t el_gguf_load_le(const unsigned char *p, size_t bytes) {
  uint64_t v = 0;
  for (size_t i = 0; i < bytes; i++) v |= (uint64_t)p[i] << (8 * i);
  return v;
}

/* Bytes of a value; 0: there is no such type, or it has no fixed size. */
static inline size_t el_gguf_value_bytes(uint64_t type) {
  static const uint8_t sizes[] = {
      [EL_GGUF_U8] = 1,  [EL_GGUF_I8] = 1,   [EL_GGUF_U16] = 2, [EL_GGUF_I16] = 2, [EL_GGUF_U32] = 4, [EL_GGUF_I32] = 4,
      [EL_GGUF_F32] = 4, [EL_GGUF_BOOL] = 1, [EL_GGUF_U64] = 8, [EL_GGUF_I64] = 8, [EL_GGUF_F64] = 8,
  };
  return type < sizeof sizes ? sizes[type] : 0;
}

#endif
