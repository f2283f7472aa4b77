/* Reads LoRA adapters from files: a folder written by PEFT or mlx-lm, or a GGUF LoRA file. All
 * become the same form.
 *
 * What a LoRA file means (arXiv 2106.09685): W' = W + s * B * A with A: [r, in], B: [out, r] and s
 * = alpha / r (alpha / sqrt(r) with use_rslora). */
#ifndef EL_ADAPTER_LORA_FILE_H
#define EL_ADAPTER_LORA_FILE_H

#include "arch/sites.h"
#include "base/file.h"
#include "edgelora.h"
#include "format/quant.h"

/* A matrix as it lies in the file: value (row, col) has index row * row_step + col * col_step. */
typedef struct el_lora_matrix {
  el_type type;     /* F32, F16 or BF16; other types of GGUF files have been converted to F32 */
  const void *data; /* any alignment; valid while the file is open */
  size_t row_step, col_step;
} el_lora_matrix;

typedef struct el_lora_pair {
  int layer;        /* with a base: 0 to n_layers, where n_layers is the output; without:
                     * EL_LORA_MODEL for it */
  int site;         /* of the base model; without a base, of the file: see el_lora_file_site_name */
  int expert;       /* the expert, where the site is one of experts; else 0 */
  int rank;         /* 1 to EL_MAX_RANK */
  float scale;      /* the s above */
  el_lora_matrix a; /* [rank, in] */
  el_lora_matrix b; /* [out, rank] */
  bool reorder_b;   /* its rows are in Hugging Face's order, and the site's GGUF has another: see
                     * el_site_row */
} el_lora_pair;

/* out: [rows, cols] */
void el_lora_matrix_read(const el_lora_matrix *m, int rows, int cols, float *out);

enum {
  EL_LORA_MAX_LAYERS = 1024,         /* the deepest published models have 126; bounds files read
                                      * without a base */
  EL_LORA_MODEL = EL_LORA_MAX_LAYERS /* the layer number of what belongs to the whole model */
};

/* The tokens that activate an adapter: see invocation.h. Published ones have 1 to 30 tokens. */
enum { EL_MAX_INVOCATION = 256, EL_MAX_INVOCATION_TEXT = 4096 };
typedef struct el_invocation {
  const int32_t *tokens; /* [n], not negative */
  int n;                 /* 0: the adapter is not an activated one, and begins with the prompt */
  int n_lead;            /* how many tokens at the front still belong to the base: 0 or 1 */
} el_invocation;

/* What a file may have besides pairs of A and B. */
typedef enum el_lora_kind {
  EL_LORA_MAGNITUDE,           /* [out] DoRA (arXiv 2402.09353): the length to which row i of W + s
                                * B A is brought */
  EL_LORA_BIAS,                /* [out] replaces the base's bias */
  EL_LORA_ADDED_BIAS,          /* [out] the bias of B: s times it is added */
  EL_LORA_EMBEDDING_MAGNITUDE, /* [n_embd] PEFT's DoRA of the embedding with its pair: lengths of
                                * its columns */
  EL_LORA_EMBEDDING_LENGTH,    /* [n_vocab] mlx-lm's DoRA of the embedding: lengths of its rows */
  EL_LORA_NORM,                /* [width] weights of a norm that replace the base's */
  EL_LORA_EMBEDDING_A,         /* [rank, n_vocab] A of the embedding's pair: B A is added to its
                                * transpose */
  EL_LORA_EMBEDDING_B,         /* [n_embd, rank] B of that pair */
  EL_LORA_EMBEDDING,           /* [n_vocab, n_embd] replaces the base's embedding */
  EL_LORA_OUTPUT,              /* [n_vocab, n_embd] replaces the base's output matrix */
  EL_LORA_TOKENS,              /* [n, n_embd] rows that replace the embedding's for some tokens */
  EL_LORA_OUTPUT_TOKENS        /* [n, n_embd] the same for the output matrix */
} el_lora_kind;

typedef struct el_lora_extra {
  el_lora_kind kind;
  int layer, site;           /* as for a pair; NORM: `site` is the norm's number in the family, and
                              * the output's norm has layer EL_LORA_MODEL */
  int expert;                /* as for a pair */
  el_type type;              /* F32, F16, BF16 */
  int64_t rows, cols;        /* vectors have 1 column */
  const unsigned char *data; /* row-major, any alignment */
  size_t step;               /* vectors: the distance from one value to the next, in values */
  bool reorder;              /* its rows are in Hugging Face's order: see el_site_row */
  bool transposed;           /* EMBEDDING_A is [n_vocab, rank], EMBEDDING_B is [rank, n_embd] */
  bool add_one;              /* NORM: add 1 to each value */
  float scale;               /* the s of ADDED_BIAS and EMBEDDING_B */
  el_str name;               /* for messages */
} el_lora_extra;

/* Whether the kind is a vector: one value for each output, or for each column of a norm. Others are
 * matrices. */
static inline bool el_lora_is_vector(el_lora_kind kind) {
  return kind <= EL_LORA_NORM;
}

/* Bytes of one value: F32, F16 or BF16. */
static inline size_t el_lora_value_bytes(el_type type) {
  return type == EL_TYPE_F32 ? 4 : 2;
}

typedef struct el_lora_file el_lora_file;

/* path: a folder or a GGUF file. The weights are read into memory and not mapped, so changing or
 * truncating a file while its adapter is served cannot stop the process. Refused, with file and
 * field named: modules_to_save other than the embedding, the output and norms; a vocabulary of
 * which something is missing; other task or PEFT types; shapes other than the base's; a missing A
 * or B; rank 0 or above the limit; NaN or infinity in weights or alpha; unknown tensors. sites
 * NULL: only what does not need the base is checked (for inspect). The sites must outlive the
 * file. */
el_status el_lora_file_open(const char *path, const el_sites *sites, el_lora_file **out, el_error *err);
/* The same; the weights are read into `buffer`, which serves no other file while this one is
 * open. */
el_status el_lora_file_open_with(const char *path, const el_sites *sites, el_file_buffer *buffer, el_lora_file **out,
                                 el_error *err);
void el_lora_file_close(el_lora_file *f);
size_t el_lora_file_n(const el_lora_file *f); /* number of pairs; 0: the file has extras alone */
/* Pair i. Pairs are sorted by layer, then site, then expert; each occurs at most once. */
const el_lora_pair *el_lora_file_at(const el_lora_file *f, size_t i);
/* Extras are sorted by kind, layer and site; each occurs at most once. An extra that belongs to a
 * pair comes with that pair, and both halves of the embedding's pair are there. */
size_t el_lora_file_n_extras(const el_lora_file *f);
const el_lora_extra *el_lora_file_extra(const el_lora_file *f, size_t i);
/* The tokens of EL_LORA_TOKENS or EL_LORA_OUTPUT_TOKENS, each once, in the order of the rows. */
const int32_t *el_lora_file_tokens(const el_lora_file *f);
const int32_t *el_lora_file_output_tokens(const el_lora_file *f, size_t *n);
/* The size of the vocabulary that the adapter was trained with, where that differs from the base's;
 * else 0. The embedding and the output, where the file has them, are then whole matrices with this
 * many rows. Pairs that were trained on them belong to these matrices and are not among the file's
 * pairs. */
int el_lora_file_n_vocab(const el_lora_file *f);
/* The pair of such an output; NULL: there is none. */
const el_lora_pair *el_lora_file_output_pair(const el_lora_file *f);
/* Whether the embedding was trained as a whole (modules_to_save), and was not saved only because of
 * its size. */
bool el_lora_file_trains_embedding(const el_lora_file *f);
/* Whether training one of embedding and output trains both, where the base's output is its
 * embedding. */
bool el_lora_file_ties(const el_lora_file *f);
/* What a site is called in GGUF files, or in this file where there is no base (* stands for an
 * expert's number). There are n_sites names. */
size_t el_lora_file_n_sites(const el_lora_file *f);
const char *el_lora_file_site_name(const el_lora_file *f, int site, char name[EL_SHOW]);
/* What activates the adapter. Whether the base has these tokens is checked elsewhere: see
 * invocation.h. */
const el_invocation *el_lora_file_invocation(const el_lora_file *f);
/* The older form of the invocation, a text, which needs the base's tokenizer; NULL: there is
 * none. */
const char *el_lora_file_invocation_text(const el_lora_file *f);
/* Sets the tokens that the text amounts to; they are copied. n: 1 to EL_MAX_INVOCATION. */
void el_lora_file_invoke_with(el_lora_file *f, const int32_t *tokens, int n, int n_lead);
/* base_model_name_or_path of adapter_config.json, or "". */
const char *el_lora_file_base(const el_lora_file *f);

#endif
