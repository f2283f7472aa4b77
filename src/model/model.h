/* The model: packed weights and the forward step.
 *
 * A step takes rows. A row is one token of one sequence: (token, position, sequence's pages, adapter, wants-logits).
 * Rows of many sequences, with different adapters or none, single decode tokens and prompt chunks, go together. A row's
 * result depends on its own sequence only, bit for bit, never on who shares the step. */
#ifndef EL_MODEL_MODEL_H
#define EL_MODEL_MODEL_H

#include "adapter/adapter.h"
#include "arch/hparams.h"
#include "arch/sites.h"
#include "base/threads.h"
#include "format/gguf.h"
#include "kernels/kernels.h"

typedef struct el_model el_model;

/* Repacks all weights of `g` for `k`, with all threads, which read them piece by piece. EL_ERR_IO if the file
 * changes meanwhile. */
el_status el_model_load(const el_gguf *g, const el_kernels *k, el_threads *threads, el_weights weights,
                        el_progress_fn progress, void *progress_user, el_model **out, el_error *err);
void el_model_free(el_model *m);
const el_hparams *el_model_hparams(const el_model *m);
const el_sites *el_model_sites(const el_model *m); /* as long as the model */
const el_base *el_model_base(const el_model *m);   /* the same */
uint64_t el_model_weight_bytes(const el_model *m);
uint64_t el_model_n_params(const el_model *m);
/* Of the first norms' weights in each layer, which are the same in all quantisations of a model, and in no other model.
 */
uint64_t el_model_fingerprint(const el_model *m);

/* --- KV pages. A page holds EL_PAGE_TOKENS consecutive positions of one sequence, keys and values of its layers.
 * The model defines the layout inside a page; who owns which page is the engine's business.
 *
 * What layers with a sliding window have stored is of no use once the window has passed, so there may be two kinds of
 * pages: full ones, of layers that see all of a sequence, and windowed ones. */
enum { EL_PAGE_TOKENS = 16 };
size_t el_kv_page_bytes(const el_hparams *h, el_kv_type type); /* of all layers together */

typedef struct el_kv_shape {
  size_t full_bytes, windowed_bytes; /* of a page of each kind. windowed_bytes 0: all layers are alike, and full */
  int window;                        /* positions that a row sees, its own included, in any windowed layer */
} el_kv_shape;
el_kv_shape el_kv_shape_of(const el_hparams *h, el_kv_type type);
/* Positions that are wanted of what a layer has stored (whoever reads it); 0: all. Of a model with full layers. */
int el_kv_layer_window(const el_hparams *h, int layer);

/* The first page that a row at `pos` reads, if a row sees `window` positions. */
static inline int el_window_begin(int pos, int window) {
  return pos < window ? 0 : (pos - window + 1) / EL_PAGE_TOKENS;
}

/* Which layers a row goes through. For the router, which needs what the first layers make of a prompt; and when it has
 * chosen the base, their work is not done again. */
typedef enum el_row_part {
  EL_ROW_WHOLE,
  EL_ROW_HEAD, /* the first layers, up to the last tap; its states at the taps are kept */
  EL_ROW_TAIL  /* the layers from there on, beginning with that state */
} el_row_part;

typedef struct el_row {
  int32_t token;             /* 0 <= token < el_row_n_vocab */
  int32_t pos;               /* position in its sequence; keys and values of all earlier positions are in the pages
                              * already, or are rows of this step that come before this one */
  const uint32_t *pages;     /* the sequence's page table; entries 0 .. pos / EL_PAGE_TOKENS are valid */
  const uint32_t *windowed;  /* that of windowed pages, after el_step_split_pages; entries el_window_begin(pos, window)
                              * .. pos / EL_PAGE_TOKENS are valid */
  const el_adapter *adapter; /* NULL: base */
  bool wants_logits;         /* not a HEAD row. A row that does not stops in the last layer, its key and value stored */
  bool wants_hidden;         /* the last norm's output: it goes through the last layer, too. Instead of logits */
  el_row_part part;
  float *states; /* [n_taps, n_embd]: HEAD writes them all, TAIL reads the last; WHOLE: not used */
} el_row;

typedef struct el_step el_step; /* the workspace of a step, allocated once */

/* kv: arena of pages, page i at kv + i * el_kv_page_bytes. At most max_rows rows a step (of which max_logits want
 * logits) and max_ctx positions a sequence. */
el_status el_step_new(const el_model *m, el_threads *threads, unsigned char *kv, el_kv_type kv_type, int max_rows,
                      int max_logits, int max_ctx, el_step **out, el_error *err);
void el_step_free(el_step *s);

/* From now on there are two kinds of pages in the arena, as el_kv_shape says, page i of a kind at kv + i * its bytes
 * here, which are the shape's at least. */
void el_step_split_pages(el_step *s, size_t full_bytes, size_t windowed_bytes);

/* Where the states of HEAD rows are taken: tap l is the residual stream after l layers, 0 the embedding. Ascending,
 * none twice, EL_MAX_TAPS at most; the last one is where HEAD rows end and TAIL rows begin, 1 at least. Without taps
 * there are only WHOLE rows. */
enum { EL_MAX_TAPS = 64 };
el_status el_step_taps(el_step *s, const int *layers, int n_taps, el_error *err);

/* Runs one forward step. Rows of one sequence must be in order of position. TAIL rows come first and HEAD rows last,
 * and rows that want logits before those that want hidden states; else rows may come in any order, and those with the
 * same adapter are best adjacent. Returns the logits: [number of rows that want them, n_vocab] f32, in order of the
 * rows, valid until the next run. Where some row's adapter has more tokens than the base, rows are further apart, and
 * each has el_row_n_vocab of them. */
const float *el_step_run(el_step *s, const el_row *rows, int n_rows);
/* Of the last run: values from one row of logits to the next. */
size_t el_step_logits_stride(const el_step *s);
/* Tokens that there are for a row, by its adapter: those of the base, and perhaps more. */
int el_row_n_vocab(const el_model *m, const el_row *row);
/* Of the last run: [number of rows that want hidden states, n_embd] f32, in order of the rows, valid until the next. */
const float *el_step_hidden(const el_step *s);

/* --- Where the time of a step goes, as its first thread sees it. */
typedef enum el_part {
  EL_PART_EMBED,
  EL_PART_NORM,      /* residual additions and norms, with the quantisation of the input that follows */
  EL_PART_QKV,       /* linear layers: the base weights alone */
  EL_PART_ROTATE,    /* norms of heads, rotary embedding, storing keys and values */
  EL_PART_ATTENTION, /* with the quantisation of its output */
  EL_PART_O,
  EL_PART_GATE_UP,
  EL_PART_ACTIVATE, /* the activation and the quantisation of its output */
  EL_PART_DOWN,
  EL_PART_EXPERTS, /* of mixtures: router, products, activation */
  EL_PART_OUTPUT,  /* the vocabulary */
  EL_PART_LORA_A,  /* X A^T of all linear layers; products with B are in those of the layers */
  EL_PART_WAIT,    /* for other threads, at barriers */
  EL_N_PARTS
} el_part;
const char *el_part_name(el_part part);

/* From now on steps add the seconds of each part to parts[EL_N_PARTS]; NULL stops it. */
void el_step_profile(el_step *s, double *parts);

#endif
