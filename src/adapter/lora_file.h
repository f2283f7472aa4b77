/* LoRA adapters as files: a PEFT folder or a GGUF LoRA file, read into one form.
 *
 * What a LoRA file means (arXiv 2106.09685): W' = W + s * B * A with A: [r, in], B: [out, r], s = alpha / r
 * (alpha / sqrt(r) with use_rslora). */
#ifndef EL_ADAPTER_LORA_FILE_H
#define EL_ADAPTER_LORA_FILE_H

#include "edgelora.h"
#include "format/file.h"
#include "format/quant.h"

/* The linear layers of a block of the llama architecture. */
typedef enum el_linear {
  EL_LIN_Q,
  EL_LIN_K,
  EL_LIN_V,
  EL_LIN_O,
  EL_LIN_GATE,
  EL_LIN_UP,
  EL_LIN_DOWN,
  EL_N_LINEAR
} el_linear;

/* What the file has to fit: the base model's shapes. */
typedef struct el_lora_shape {
  int n_layers;
  int in[EL_N_LINEAR];  /* columns of W */
  int out[EL_N_LINEAR]; /* rows of W */
  int n_head, n_head_kv;
} el_lora_shape;

typedef struct el_lora_pair {
  int layer;
  el_linear linear;
  int rank;      /* 1 to EL_LORA_MAX_RANK */
  float scale;   /* s above */
  el_type type;  /* F32, F16 or BF16, of both; other types of GGUF files have become F32 */
  const void *a; /* [rank, in], row-major, any alignment; valid while the file is open */
  const void *b; /* [out, rank] */
  /* PEFT files have q_proj and k_proj rows in Hugging Face's half-split rotary order, GGUF has them interleaved
   * ([n_head][2][d/2] against [n_head][d/2][2]); the packer reorders B's rows when this is set. */
  bool b_rows_half_split;
} el_lora_pair;

enum { EL_LORA_MAX_RANK = 256 };

typedef struct el_lora_file el_lora_file;

/* path: a PEFT folder or a GGUF file. The weights are read into memory, not mapped: whoever changes or truncates a file
 * while adapters are being served must not be able to stop the process. Refuses, naming file and field: DoRA,
 * modules_to_save, bias other than "none", embedding or head LoRA, fan_in_fan_out, other task or peft types, a shape
 * that is not the base's, missing A or B, rank 0 or above the limit, NaN or infinity in weights or alpha, an unknown
 * tensor. `shape` NULL: only what does not need the base is checked (for inspect). */
el_status el_lora_file_open(const char *path, const el_lora_shape *shape, el_lora_file **out, el_error *err);
/* The same; the weights are read into `buffer`, which must not be used for another file while this one is open. */
el_status el_lora_file_open_with(const char *path, const el_lora_shape *shape, el_file_buffer *buffer,
                                 el_lora_file **out, el_error *err);
void el_lora_file_close(el_lora_file *f);
size_t el_lora_file_n(const el_lora_file *f);
/* Pairs are sorted by layer, then linear; each (layer, linear) at most once. */
const el_lora_pair *el_lora_file_at(const el_lora_file *f, size_t i);
/* adapter_config.json's base_model_name_or_path, or "" */
const char *el_lora_file_base(const el_lora_file *f);

#endif
