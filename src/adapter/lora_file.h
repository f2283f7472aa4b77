/* LoRA adapters as files: a folder of PEFT's or mlx-lm's, or a GGUF LoRA file, read into one form.
 *
 * What a LoRA file means (arXiv 2106.09685): W' = W + s * B * A with A: [r, in], B: [out, r], s = alpha / r
 * (alpha / sqrt(r) with use_rslora). */
#ifndef EL_ADAPTER_LORA_FILE_H
#define EL_ADAPTER_LORA_FILE_H

#include "arch/sites.h"
#include "base/file.h"
#include "edgelora.h"
#include "format/quant.h"

/* A matrix as it lies in the file: value (row, col) is the row * row_step + col * col_step'th. */
typedef struct el_lora_matrix {
  el_type type;     /* F32, F16 or BF16; other types of GGUF files have become F32 */
  const void *data; /* any alignment; valid while the file is open */
  size_t row_step, col_step;
} el_lora_matrix;

typedef struct el_lora_pair {
  int layer;        /* with a base also its n_layers, for the output; without one EL_LORA_MODEL for that */
  int site;         /* of the base model's; without a base, of the file's own: el_lora_file_site_name */
  int expert;       /* whose, where the site is one of experts; else 0 */
  int rank;         /* 1 to EL_MAX_RANK */
  float scale;      /* s above */
  el_lora_matrix a; /* [rank, in] */
  el_lora_matrix b; /* [out, rank] */
  bool reorder_b;   /* its rows are in Hugging Face's order, where the site's GGUF has another: see el_site_row */
} el_lora_pair;

/* out: [rows, cols] */
void el_lora_matrix_read(const el_lora_matrix *m, int rows, int cols, float *out);

enum {
  EL_LORA_MAX_LAYERS = 1024, /* the deepest published models have 126; bounds a file that is read without a base */
  EL_LORA_MODEL = EL_LORA_MAX_LAYERS /* behind all layers: what is the whole model's */
};

/* The tokens that activate an adapter: see invocation.h. */
enum { EL_MAX_INVOCATION = 256, EL_MAX_INVOCATION_TEXT = 4096 }; /* published ones have 1 to 30 tokens */
typedef struct el_invocation {
  const int32_t *tokens; /* [n], not negative */
  int n;                 /* 0: the adapter is no activated one, and begins with the prompt */
  int n_lead;            /* of them, the first ones, that are still the base's: 0 or 1 */
} el_invocation;

/* What a file has beside pairs. */
typedef enum el_lora_kind {
  EL_LORA_MAGNITUDE,  /* [out] DoRA's (arXiv 2402.09353): row i of W + s B A is brought to the length that is value i */
  EL_LORA_BIAS,       /* [out] in the place of the base's */
  EL_LORA_ADDED_BIAS, /* [out] that B has: s times it is added */
  EL_LORA_EMBEDDING_MAGNITUDE, /* [n_embd] DoRA's, of the columns of the embedding with its pair: PEFT's */
  EL_LORA_EMBEDDING_LENGTH,    /* [n_vocab] of its rows: mlx-lm's */
  EL_LORA_NORM,                /* [width] weights of a norm, in the place of the base's */
  EL_LORA_EMBEDDING_A,         /* a pair of the embedding, B A to be added to its transpose: A is [rank, n_vocab], */
  EL_LORA_EMBEDDING_B,         /* B [n_embd, rank] */
  EL_LORA_EMBEDDING,           /* [n_vocab, n_embd] in the place of the base's */
  EL_LORA_OUTPUT,              /* the same */
  EL_LORA_TOKENS,              /* [n, n_embd] rows in the place of those of some tokens */
  EL_LORA_OUTPUT_TOKENS        /* the same of the output */
} el_lora_kind;

typedef struct el_lora_extra {
  el_lora_kind kind;
  int layer,
      site;     /* as of a pair; NORM: `site` is its number among the family's; the output's norm is EL_LORA_MODEL's */
  int expert;   /* as of a pair */
  el_type type; /* F32, F16, BF16 */
  int64_t rows, cols;        /* cols: 1 of vectors */
  const unsigned char *data; /* row-major, any alignment */
  size_t step;               /* of vectors: a value is so many behind the one before it */
  bool reorder;              /* its rows are in Hugging Face's order: see el_site_row */
  bool transposed;           /* EMBEDDING_A: it is [n_vocab, rank]; EMBEDDING_B: [rank, n_embd] */
  bool add_one;              /* NORM: 1 is to be added */
  float scale;               /* s; of ADDED_BIAS and EMBEDDING_B */
  el_str name;               /* for messages */
} el_lora_extra;

/* Whether it is one value for each output, or each column of a norm; else it is a matrix. */
static inline bool el_lora_is_vector(el_lora_kind kind) {
  return kind <= EL_LORA_NORM;
}

/* Of one value: F32, F16 or BF16. */
static inline size_t el_lora_value_bytes(el_type type) {
  return type == EL_TYPE_F32 ? 4 : 2;
}

typedef struct el_lora_file el_lora_file;

/* path: a folder or a GGUF file. The weights are read into memory, not mapped: whoever changes or truncates a file
 * while adapters are being served must not be able to stop the process. Refuses, naming file and field:
 * modules_to_save other than the embedding, the output and norms, vocabularies whose parts are not all there, other
 * task or peft types, a shape that is not the base's, missing A or B, rank 0 or above the limit, NaN or infinity in
 * weights or alpha, an unknown tensor. `sites` NULL: only what does not need the base is checked (for inspect). The
 * sites outlive the file. */
el_status el_lora_file_open(const char *path, const el_sites *sites, el_lora_file **out, el_error *err);
/* The same; the weights are read into `buffer`, which must not be used for another file while this one is open. */
el_status el_lora_file_open_with(const char *path, const el_sites *sites, el_file_buffer *buffer, el_lora_file **out,
                                 el_error *err);
void el_lora_file_close(el_lora_file *f);
size_t el_lora_file_n(const el_lora_file *f); /* of pairs; 0: there are extras alone */
/* Pairs are sorted by layer, then site, then expert; each at most once. */
const el_lora_pair *el_lora_file_at(const el_lora_file *f, size_t i);
/* Sorted by kind, layer and site; each at most once. What belongs to a pair has one; halves of a pair are both there.
 */
size_t el_lora_file_n_extras(const el_lora_file *f);
const el_lora_extra *el_lora_file_extra(const el_lora_file *f, size_t i);
/* The tokens of EL_LORA_TOKENS, or of EL_LORA_OUTPUT_TOKENS, each once, in the order of its rows. */
const int32_t *el_lora_file_tokens(const el_lora_file *f);
const int32_t *el_lora_file_output_tokens(const el_lora_file *f, size_t *n);
/* Tokens of the vocabulary that it was trained with, where that has another size than the base's; else 0. Then the
 * embedding and the output, as far as they are there, are whole matrices with so many rows, and pairs that were trained
 * on them belong into these: there are no others of these two among the file's pairs. */
int el_lora_file_n_vocab(const el_lora_file *f);
/* That of the output; NULL: there is none. */
const el_lora_pair *el_lora_file_output_pair(const el_lora_file *f);
/* The embedding was trained as a whole (modules_to_save), not saved because it has another size. */
bool el_lora_file_trains_embedding(const el_lora_file *f);
/* Where the base's output is its embedding, what is trained of one is of both. */
bool el_lora_file_ties(const el_lora_file *f);
/* What a site is called, as in GGUF files, or as the file has it where there is no base (* for an expert). Number of
 * them: n_sites. */
size_t el_lora_file_n_sites(const el_lora_file *f);
const char *el_lora_file_site_name(const el_lora_file *f, int site, char name[EL_SHOW]);
/* What activates the adapter. Whether the base has these tokens is not known here (invocation.h). */
const el_invocation *el_lora_file_invocation(const el_lora_file *f);
/* The older form of it, a text, which takes the base's tokenizer; NULL: there is none. */
const char *el_lora_file_invocation_text(const el_lora_file *f);
/* The tokens that a text amounts to: they are copied. n: 1 to EL_MAX_INVOCATION. */
void el_lora_file_invoke_with(el_lora_file *f, const int32_t *tokens, int n, int n_lead);
/* adapter_config.json's base_model_name_or_path, or "" */
const char *el_lora_file_base(const el_lora_file *f);

#endif
