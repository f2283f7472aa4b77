/* Inside of the LoRA file reader: each format's reader turns a file into parts, lora_file.c checks them and makes
 * pairs. */
#ifndef EL_ADAPTER_LORA_PARTS_H
#define EL_ADAPTER_LORA_PARTS_H

#include <math.h>

#include "adapter/lora_file.h"
#include "base/file.h"
#include "base/printer.h"
#include "format/gguf.h"
#include "format/safetensors.h"

struct el_peft_config;

/* A tensor, or the part of one that belongs to a site: an A, [rank, in], or a B, [out, rank]; or those of all experts,
 * whatever their order: value (expert, row, col) is the tensor's
 *   first + expert * expert_step + row * row_step + col * col_step */
typedef struct el_lora_part {
  int layer; /* EL_LORA_MODEL: the output */
  int site;
  int expert; /* whose it is; 0 where it is those of all, or of no expert */
  bool is_b;
  bool of_all;  /* of `count` experts */
  int64_t rank; /* that it must have, by the file's configuration; unchecked */
  double alpha; /* finite */
  bool rslora;
  el_type type;
  int64_t count, rows, cols;
  size_t first, expert_step, row_step, col_step;
  const unsigned char *data; /* of the tensor; any alignment */
  size_t values;             /* that the tensor has */
  el_str name;               /* for messages */
} el_lora_part;

enum {
  EL_LORA_MAX_MODULES = 64,    /* that a file has in a layer, where no base says which there are */
  EL_LORA_MAX_NUMBER = 10000,  /* of an expert, where no base says how many there are */
  EL_LORA_MAX_PAIRS = 1 << 20, /* 70,000 of the largest mixtures of experts; bounds memory where no base does */
  EL_LORA_MAX_CONFIG =
      1 << 20, /* adapter_config.json, bytes: PEFT's largest, with a rank for each module, have 100 KB */
};

/* One of several files that weights are in. */
typedef struct el_lora_shard {
  char *name, *path;
  el_file file;
  el_safetensors *safetensors;
} el_lora_shard;
enum { EL_LORA_MAX_SHARDS = 256 };

struct el_lora_file {
  char *weights_path;     /* for messages */
  el_file config;         /* PEFT: adapter_config.json */
  el_file weights;        /* read, not mapped: others may change the file while we serve */
  el_file_buffer *buffer; /* to read it into; NULL: memory of its own */
  bool header_only;       /* nothing of the weights is read: parts have no data, and there are no pairs */
  el_gguf *gguf;          /* one of these two is set, a view of `weights` */
  el_safetensors *safetensors;
  el_lora_shard *shards; /* [n_shards] in the place of `safetensors` */
  size_t n_shards;
  char *keys; /* PEFT: names of tensors in their plain form, see peft_keys.h */
  char *base;
  int32_t invocation_tokens[EL_MAX_INVOCATION];
  el_invocation invocation;            /* of these */
  char *invocation_text;               /* in their place; NULL: none */
  const el_sites *sites;               /* the base's; NULL: there is no base */
  el_str modules[EL_LORA_MAX_MODULES]; /* without a base: the names that sites have in the file, views of it */
  int n_modules;
  bool from_mlx;  /* a folder of mlx-lm's, not PEFT's */
  bool from_peft; /* rows are in Hugging Face's order */
  el_lora_part *parts;
  size_t n_parts;
  el_lora_pair *pairs;
  size_t n_pairs;
  el_lora_extra *extras;
  size_t n_extras;
  int32_t *tokens; /* [n_tokens] of EL_LORA_TOKENS */
  size_t n_tokens;
  int32_t *output_tokens; /* [n_output_tokens] of EL_LORA_OUTPUT_TOKENS */
  size_t n_output_tokens;
  int n_vocab;              /* el_lora_file_n_vocab */
  el_lora_pair output_pair; /* with n_vocab; rank 0: there is none */
  bool trains_embedding;
  bool ties;     /* where the output is the embedding, what is trained of one is of both */
  bool dora;     /* every pair must have a magnitude */
  float **owned; /* [n_parts]: tensors that had to be converted; NULL where none was */
  size_t n_owned;
};

/* A file of weights, bytes: rank 1024 on all layers of an 8B model takes 10.7 GB as F32. One that is larger than the
 * second is first judged by its header: what is no adapter of this base is not to cost its size in memory and time. */
#define EL_LORA_MAX_WEIGHTS ((size_t)16 << 30)
#define EL_LORA_HEADER_FIRST ((size_t)16 << 20)
/* Of a GGUF file, what may belong to none of its matrices: its keys, and a router. */
#define EL_LORA_MAX_ELSE ((size_t)256 << 20)

/* Each fills f->parts from a PEFT folder, or from a GGUF file. On failure f is left for el_lora_file_close. */
el_status el_lora_read_peft(el_lora_file *f, const char *dir, el_error *err);
el_status el_lora_read_gguf(el_lora_file *f, const char *path, el_error *err);
/* The same once f->config and f->weights are there; the path is for messages. */
el_status el_lora_parse_peft(el_lora_file *f, const char *dir, el_error *err);
el_status el_lora_parse_gguf(el_lora_file *f, const char *path, el_error *err);

/* Bytes of a folder's weights; 0 when there are none, which reading them will tell. */
size_t el_lora_weights_size(const char *dir);
/* The tensors of a folder, whatever files they are in. */
size_t el_lora_n_tensors(const el_lora_file *f);
const el_st_tensor *el_lora_tensor_at(const el_lora_file *f, size_t i);
void el_lora_close_shards(el_lora_file *f);

/* What it is, as el_inspect has it. */
void el_lora_describe(el_printer *p, const el_lora_file *f, const char *path);

/* As el_lora_file_open, from the bytes of a PEFT folder's two files, or of a GGUF file (config NULL), which are copied.
 * For tests. */
el_status el_lora_file_open_memory(const void *config, size_t config_len, const void *weights, size_t weights_len,
                                   const el_sites *sites, el_lora_file **out, el_error *err);

/* The first part of a module's name that is a number: without a base, an expert's. 0: there is none. */
int el_lora_number_in(el_str module);

/* Whether all n values of a plain type are finite: the exponent is not all ones. */
bool el_lora_all_finite(el_type type, const unsigned char *data, int64_t n);

/* --- lora_vocabulary.c: a vocabulary that an adapter has resized */

/* Finds f->n_vocab, of parts and extras. What has to be there for it is checked. */
el_status el_lora_find_vocabulary(el_lora_file *f, el_error *err);
/* Tensors that PEFT saves of the embedding and of the output beside what was trained: what they were before, and the
 * same once more. *is: it is one of these, and is passed over. */
el_status el_lora_peft_is_copy(const el_lora_file *f, const el_st_tensor *t, bool *is, el_error *err);
/* What remains of a key that names the embedding or the output inside of what PEFT wraps them in. */
el_str el_lora_peft_unwrap(el_str module);

/* --- lora_extras.c: what is no part of a pair */

/* Sorts and checks f->extras, once its pairs are made. */
el_status el_lora_check_extras(el_lora_file *f, el_error *err);

/* Of PEFT's files. A tensor whose plain name is `key` becomes an extra, or several, if it is one of those: *taken.
 * There is room for as many as sites share one. */
el_status el_lora_peft_extra(el_lora_file *f, const struct el_peft_config *config, el_str key, const el_st_tensor *t,
                             bool *taken, el_error *err);
/* Whether what the configuration names is there; adds what follows from the whole of it. There is room for one extra
 * more, and for a part for each tensor that became none. */
el_status el_lora_peft_complete(el_lora_file *f, const struct el_peft_config *config, el_error *err);
/* A module, by its plain name: whether it is the output. */
bool el_lora_peft_is_output(el_str module);
/* The type of a tensor, one of the three that values may have. */
el_status el_lora_peft_type(const el_lora_file *f, const el_st_tensor *t, el_type *out, el_error *err);

/* The site of the output, by the name that the file has for it; -1: there are too many modules. */
int el_lora_output(el_lora_file *f, el_str name, int *layer);

/* Without a base: the number of the site that a file calls so, whatever the expert's number in it; -1: there are too
 * many. */
int el_lora_module_number(el_lora_file *f, el_str name);

/* Takes a decimal number off the front of s: no sign, no leading zero, below `end`, 10^4 at most. */
bool el_lora_skip_number(el_str *s, int end, int *out);
static inline bool el_lora_skip_layer(el_str *s, int *layer) {
  return el_lora_skip_number(s, EL_LORA_MAX_LAYERS, layer);
}

/* alpha / r, or alpha / sqrt(r) (rsLoRA, arXiv 2312.03732); infinite where that is no float. */
static inline float el_lora_scale(double alpha, int64_t rank, bool rslora) {
  return (float)(alpha / (rslora ? sqrt((double)rank) : (double)rank));
}

/* A part that is the whole of a tensor [rows, cols], or [count, rows, cols] of all experts. */
static inline void el_lora_part_whole(el_lora_part *p, int64_t count, int64_t rows, int64_t cols) {
  p->count = count;
  p->rows = rows;
  p->cols = cols;
  p->expert_step = (size_t)rows * (size_t)cols;
  p->row_step = (size_t)cols;
  p->col_step = 1;
  p->values = (size_t)count * p->expert_step;
}

#endif
