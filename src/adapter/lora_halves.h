/* Private to the LoRA file reader. The reader of each format turns a file into halves; lora_file.c
 * checks them and makes pairs. */
#ifndef EL_ADAPTER_LORA_PRIVATE_H
#define EL_ADAPTER_LORA_PRIVATE_H

#include <math.h>

#include "adapter/lora_file.h"
#include "base/file.h"
#include "base/printer.h"
#include "format/gguf.h"
#include "format/safetensors.h"

struct el_peft_config;

/* One half of a pair: an A, [rank, in], or a B, [out, rank]. It is a tensor, or those of its values
 * that belong to one site, or the halves of all experts together. Value (expert, row, col) of it
 * has this index in the tensor:
 *   first + expert * expert_step + row * row_step + col * col_step */
typedef struct el_lora_half {
  int layer; /* EL_LORA_MODEL: the output */
  int site;
  int expert; /* its expert; 0 where it has those of all experts, or belongs to none */
  bool is_b;
  bool of_all;  /* it has the halves of `count` experts */
  int64_t rank; /* the rank that the file's configuration says; unchecked */
  double alpha; /* finite */
  bool rslora;
  el_type type;
  int64_t count, rows, cols;
  size_t first, expert_step, row_step, col_step;
  const unsigned char *data; /* the tensor's; any alignment */
  size_t values;             /* number of values of the tensor */
  el_str name;               /* for messages */
} el_lora_half;

enum {
  EL_LORA_MAX_MODULES = 64,     /* modules of a layer in a file that is read without a base */
  EL_LORA_MAX_NUMBER = 10000,   /* largest number of an expert in a file that is read without a
                                 * base */
  EL_LORA_MAX_PAIRS = 1 << 20,  /* 70,000 for the largest mixtures of experts; bounds memory without
                                 * a base */
  EL_LORA_MAX_CONFIG = 1 << 20, /* bytes of adapter_config.json: PEFT's largest, with a rank for
                                 * each module, have 100 KB */
};

/* One of several files of an adapter's weights. */
typedef struct el_lora_shard {
  char *name, *path;
  el_file file;
  el_safetensors *safetensors;
} el_lora_shard;
enum { EL_LORA_MAX_SHARDS = 256 };

struct el_lora_file {
  char *weights_path;     /* for messages */
  el_file config;         /* PEFT: adapter_config.json */
  el_file weights;        /* read, not mapped: others may change the file while it is served */
  el_file_buffer *buffer; /* to read the weights into; NULL: memory of its own */
  bool header_only;       /* only the header is read: halves have no data, and no pairs are made */
  el_gguf *gguf;          /* one of these two is set, a view of `weights` */
  el_safetensors *safetensors;
  el_lora_shard *shards; /* [n_shards] instead of `safetensors` */
  size_t n_shards;
  char *keys; /* PEFT: the tensors' names in plain form, see peft_keys.h */
  char *base;
  int32_t invocation_tokens[EL_MAX_INVOCATION];
  el_invocation invocation;            /* points to these tokens */
  char *invocation_text;               /* instead of tokens; NULL: none */
  const el_sites *sites;               /* the base's; NULL: the file is read without a base */
  el_str modules[EL_LORA_MAX_MODULES]; /* without a base: the sites' names in the file, views
                                        * of it */
  int n_modules;
  bool from_mlx;  /* the folder was written by mlx-lm, not PEFT */
  bool from_peft; /* rows are in Hugging Face's order */
  el_lora_half *halves;
  size_t n_halves;
  el_lora_pair *pairs;
  size_t n_pairs;
  el_lora_extra *extras;
  size_t n_extras;
  int32_t *tokens; /* [n_tokens] of EL_LORA_TOKENS */
  size_t n_tokens;
  int32_t *output_tokens; /* [n_output_tokens] of EL_LORA_OUTPUT_TOKENS */
  size_t n_output_tokens;
  int n_vocab;              /* see el_lora_file_n_vocab */
  el_lora_pair output_pair; /* only with n_vocab; rank 0: there is none */
  bool trains_embedding;
  bool ties;     /* see el_lora_file_ties */
  bool dora;     /* DoRA: every pair must have a magnitude */
  float **owned; /* [n_halves] tensors that had to be converted; NULL: none was */
  size_t n_owned;
};

/* The most bytes of weights: rank 1024 on all layers of an 8B model takes 10.7 GB as F32. A file
 * above EL_LORA_HEADER_FIRST is first checked by its header, so that what is no adapter of this
 * base does not cost its size in memory and time. */
#define EL_LORA_MAX_WEIGHTS ((size_t)16 << 30)
#define EL_LORA_HEADER_FIRST ((size_t)16 << 20)
/* Bytes of a GGUF file that may belong to none of its matrices: its keys, and a router. */
#define EL_LORA_MAX_ELSE ((size_t)256 << 20)

/* Each fills f->halves from a PEFT folder or a GGUF file. After a failure f is to be closed with
 * el_lora_file_close. */
el_status el_lora_read_peft(el_lora_file *f, const char *dir, el_error *err);
el_status el_lora_read_gguf(el_lora_file *f, const char *path, el_error *err);
/* The same for bytes that are already in f->config and f->weights; the path is for messages. */
el_status el_lora_parse_peft(el_lora_file *f, const char *dir, el_error *err);
el_status el_lora_parse_gguf(el_lora_file *f, const char *path, el_error *err);

/* Bytes of a folder's weights; 0: there are none, and reading them will say so. */
size_t el_lora_weights_size(const char *dir);
/* The tensors of a folder, whichever files they are in. */
size_t el_lora_n_tensors(const el_lora_file *f);
const el_st_tensor *el_lora_tensor_at(const el_lora_file *f, size_t i);
void el_lora_close_shards(el_lora_file *f);

/* Prints what the file contains, for el_inspect. */
void el_lora_describe(el_printer *p, const el_lora_file *f, const char *path);

/* As el_lora_file_open, from the bytes of a PEFT folder's two files or of a GGUF file (config
 * NULL). The bytes are copied. For tests. */
el_status el_lora_file_open_memory(const void *config, size_t config_len, const void *weights, size_t weights_len,
                                   const el_sites *sites, el_lora_file **out, el_error *err);

/* The first component of a module's name that is a number: without a base, this is an expert's. 0:
 * there is none. */
int el_lora_number_in(el_str module);

/* Whether all n values of a plain type are finite, which means that no exponent is all ones. */
bool el_lora_all_finite(el_type type, const unsigned char *data, int64_t n);

/* --- lora_vocabulary.c: vocabularies that an adapter has resized */

/* Finds f->n_vocab from halves and extras, and checks that all matrices that a resized vocabulary
 * needs are there. */
el_status el_lora_find_vocabulary(el_lora_file *f, el_error *err);
/* PEFT also saves copies of the embedding and of the output: what they were before training, and a
 * second time. *is: the tensor is such a copy and is skipped. */
el_status el_lora_peft_is_copy(const el_lora_file *f, const el_st_tensor *t, bool *is, el_error *err);

/* --- lora_extras.c: what belongs to no pair */

/* Sorts and checks f->extras, once the pairs have been made. */
el_status el_lora_check_extras(el_lora_file *f, el_error *err);

/* PEFT files: if a tensor with the plain name `key` is an extra, adds it, or one for each site that
 * shares it, and sets *taken. f->extras has room for them. */
el_status el_lora_peft_extra(el_lora_file *f, const struct el_peft_config *config, el_str key, const el_st_tensor *t,
                             bool *taken, el_error *err);
/* Checks that everything that the configuration names is there, and adds what follows from all of
 * it. There is room for one more extra, and for a half for each tensor that became none. */
el_status el_lora_peft_complete(el_lora_file *f, const struct el_peft_config *config, el_error *err);
/* Whether a module, by its plain name, is the output. */
bool el_lora_peft_is_output(el_str module);
/* The type of a tensor, which must be one of the three that values may have. */
el_status el_lora_peft_type(const el_lora_file *f, const el_st_tensor *t, el_type *out, el_error *err);

/* The site of the output, by the file's name for it. -1: there are too many modules. */
int el_lora_output(el_lora_file *f, el_str name, int *layer);

/* Without a base: the number of the site with this name, whatever expert's number is in it. -1:
 * there are too many. */
int el_lora_module_number(el_lora_file *f, el_str name);

/* Takes a decimal number off the front of s: no sign, no leading zero, less than `end`, which is
 * 10^4 at most. */
bool el_lora_skip_number(el_str *s, int end, int *out);
static inline bool el_lora_skip_layer(el_str *s, int *layer) {
  return el_lora_skip_number(s, EL_LORA_MAX_LAYERS, layer);
}

/* alpha / r, or alpha / sqrt(r) (rsLoRA, arXiv 2312.03732); infinite where the result is beyond a
 * float. */
static inline float el_lora_scale(double alpha, int64_t rank, bool rslora) {
  return (float)(alpha / (rslora ? sqrt((double)rank) : (double)rank));
}

/* Sets a half that is a whole tensor [rows, cols], or [count, rows, cols] of all experts. */
static inline void el_lora_half_whole(el_lora_half *p, int64_t count, int64_t rows, int64_t cols) {
  p->count = count;
  p->rows = rows;
  p->cols = cols;
  p->expert_step = (size_t)rows * (size_t)cols;
  p->row_step = (size_t)cols;
  p->col_step = 1;
  p->values = (size_t)count * p->expert_step;
}

#endif
