/* What the parts of the GGUF reader share. Private to this folder. */
#ifndef EL_FORMAT_GGUF_PRIVATE_H
#define EL_FORMAT_GGUF_PRIVATE_H

#include "base/file.h"
#include "format/gguf.h"
#include "format/index.h"

enum {
  EL_GGUF_MAX_TENSORS = 65536, /* a 405B dense model has 1138; experts stored one by one give some 10000 */
  EL_GGUF_MAX_PARTS = 512 /* files of a model; the largest in use come in some 50, each with a descriptor of its own */
};

struct el_gguf {
  char *path;
  size_t size; /* of the file */
  bool in_memory;
  el_source source;      /* not when in_memory */
  unsigned char *header; /* memory for it, which never moves; [n_header], NULL when in_memory */
  size_t n_header;
  uint32_t version;
  size_t n_kv, n_tensors;
  el_gguf_kv *kv;
  el_str *scalars;    /* [n_kv] what `strings` of a plain string points to */
  el_tensor *tensors; /* data is set when all offsets are known */
  el_index_entry *kv_index, *tensor_index;
  /* A model in several files is its first one, with the tensors of all: the others, [n_others], are the second on. */
  el_gguf **others;
  int n_others;
};

/* One file, whatever it says of parts. */
el_status el_gguf_open_file(const char *path, el_gguf **out, el_error *err);

/* What split.count and the keys beside it say; count is 1 for a model that is whole. */
typedef struct el_gguf_split {
  int no, count, n_tensors; /* no: from 0; n_tensors: of all parts */
} el_gguf_split;
el_status el_gguf_split_read(const el_gguf *g, el_gguf_split *out, el_error *err);

/* The name of a part, "NAME-00002-of-00005.gguf": `stem` is the path up to the dash, `no` counts from 1. False: it is
 * no such name. */
typedef struct el_gguf_part_name {
  el_str stem;
  int no, count;
} el_gguf_part_name;
bool el_gguf_part_name_parse(const char *path, el_gguf_part_name *out);
/* The path of another part; NULL: no memory. */
char *el_gguf_part_path(el_str stem, int no, int count);

/* The model's file in a folder: its only GGUF, or a part of the only one that is there in parts. *out: the caller's to
 * free. */
el_status el_gguf_find_in_folder(const char *folder, char **out, el_error *err);

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
