/* The model: packed weights and the forward step.
 *
 * A step takes rows. A row is one token of one sequence: (token, position, the sequence's pages,
 * adapter, whether logits are wanted). Rows of many sequences, with different adapters or none,
 * single tokens in decode and chunks of prompts, go together. A row's result depends on its own
 * sequence alone, bit for bit, and never on who shares the step. */
#ifndef EL_MODEL_MODEL_H
#define EL_MODEL_MODEL_H

#include "adapter/adapter.h"
#include "arch/hparams.h"
#include "arch/sites.h"
#include "base/threads.h"
#include "format/gguf.h"
#include "kernels/kernels.h"

typedef struct el_model el_model;

/* Repacks all weights of `g` for `k`, with all threads, which read them piece by piece. EL_ERR_IO:
 * the file changed meanwhile. */
el_status el_model_load(const el_gguf *g, const el_kernels *k, el_threads *threads, el_weights weights,
                        el_progress_fn progress, void *progress_user, el_model **out, el_error *err);
void el_model_free(el_model *m);
const el_hparams *el_model_hparams(const el_model *m);
const el_sites *el_model_sites(const el_model *m); /* valid as long as the model */
const el_base *el_model_base(const el_model *m);   /* valid as long as the model */
uint64_t el_model_weight_bytes(const el_model *m);
uint64_t el_model_n_params(const el_model *m);
/* A hash of the weights of each layer's first norm: these are the same in all quantisations of a
 * model, and differ between models. */
uint64_t el_model_fingerprint(const el_model *m);

/* --- Pages of the KV cache. A page holds EL_PAGE_TOKENS consecutive positions of one sequence:
 * keys and values of its layers. The model defines the layout inside a page; the engine decides
 * who owns which page.
 *
 * What layers with a sliding window have stored is not needed once the window has passed. So
 * there may be two kinds of pages: full pages, of layers that see the whole sequence, and
 * windowed pages. */
enum { EL_PAGE_TOKENS = 16 };
size_t el_kv_page_bytes(const el_hparams *h, el_kv_type type); /* of all layers together */

typedef struct el_kv_shape {
  size_t full_bytes, windowed_bytes; /* bytes of a page of each kind. windowed_bytes 0: all layers
                                      * are alike, and pages are full */
  int window;                        /* positions that a row sees in any windowed layer, including
                                      * its own */
} el_kv_shape;
el_kv_shape el_kv_shape_of(const el_hparams *h, el_kv_type type);
/* How many positions that a layer has stored are still needed, by whatever layer reads them; 0:
 * all. For a model with full layers. */
int el_kv_layer_window(const el_hparams *h, int layer);

/* The first page that a row at `pos` reads if it sees `window` positions. */
static inline int el_window_begin(int pos, int window) {
  return pos < window ? 0 : (pos - window + 1) / EL_PAGE_TOKENS;
}

/* Which layers a row goes through. The router reads what the first layers make of a prompt; if it
 * chooses the base, their work is not repeated. */
typedef enum el_row_layers {
  EL_ROW_ALL_LAYERS,
  EL_ROW_FIRST_LAYERS, /* up to the last tap; the states at the taps are kept */
  EL_ROW_LAST_LAYERS   /* the layers from the last tap on, starting with its state */
} el_row_layers;

typedef struct el_row {
  int32_t token;             /* 0 <= token < el_row_n_vocab */
  int32_t pos;               /* position in its sequence; keys and values of all earlier positions
                              * are in the pages already, or are rows of this step that come before
                              * this one */
  const uint32_t *pages;     /* the sequence's page table; entries 0 .. pos / EL_PAGE_TOKENS are
                              * valid */
  const uint32_t *windowed;  /* the table of windowed pages, after el_step_split_pages; entries
                              * el_window_begin(pos, window) .. pos / EL_PAGE_TOKENS are valid */
  const el_adapter *adapter; /* NULL: the base model */
  bool wants_logits;         /* not with FIRST_LAYERS. A row without it stops in the last layer,
                              * once its key and value are stored */
  bool wants_hidden;         /* the output of the last norm is wanted instead of logits; the row
                              * goes through the last layer */
  el_row_layers layers;
  float *states; /* [n_taps, n_embd]: FIRST_LAYERS writes all, LAST_LAYERS reads the last;
                  * ALL_LAYERS: unused */
} el_row;

typedef struct el_step el_step; /* the workspace of steps, allocated once */

/* kv: memory for pages; page i is at kv + i * el_kv_page_bytes. A step has at most max_rows rows,
 * of which max_logits want logits, and a sequence at most max_ctx positions. */
el_status el_step_new(const el_model *m, el_threads *threads, unsigned char *kv, el_kv_type kv_type, int max_rows,
                      int max_logits, int max_ctx, el_step **out, el_error *err);
void el_step_free(el_step *s);

/* From now on there are two kinds of pages, as in el_kv_shape. Page i of a kind is at kv + i * its
 * bytes as given here, which must be at least the shape's. */
void el_step_split_pages(el_step *s, size_t full_bytes, size_t windowed_bytes);

/* Sets where the states of FIRST_LAYERS rows are taken. Tap l is the residual stream after l
 * layers; 0 is the embedding. Taps are ascending and distinct, at most EL_MAX_TAPS. At the last
 * one, which is 1 at least, FIRST_LAYERS rows end and LAST_LAYERS rows begin. Without taps there
 * are only ALL_LAYERS rows. */
enum { EL_MAX_TAPS = 64 };
el_status el_step_taps(el_step *s, const int *layers, int n_taps, el_error *err);

/* Runs one forward step. Rows of one sequence must be in order of position. LAST_LAYERS rows come
 * first and FIRST_LAYERS rows last; rows that want logits come before those that want hidden
 * states. Otherwise rows may be in any order; those with the same adapter should be adjacent.
 * Returns the logits: [number of rows that want them, n_vocab] F32 in the order of the rows, valid
 * until the next run. If some row's adapter has more tokens than the base, rows of logits are
 * further apart (el_step_logits_stride), and each has el_row_n_vocab values. */
const float *el_step_run(el_step *s, const el_row *rows, int n_rows);
/* Values from one row of logits to the next, in the last run. */
size_t el_step_logits_stride(const el_step *s);
/* Number of tokens for a row, which depends on its adapter: the base's, or more. */
int el_row_n_vocab(const el_model *m, const el_row *row);
/* The hidden states of the last run: [number of rows that want them, n_embd] F32 in the order of
 * the rows, valid until the next run. */
const float *el_step_hidden(const el_step *s);

/* --- What the time of a step goes to, as its first thread sees it. */
typedef enum el_step_work {
  EL_WORK_EMBED,
  EL_WORK_NORM,      /* residual additions and norms, including the quantisation of the input that
                      * follows */
  EL_WORK_QKV,       /* linear layers: the base weights */
  EL_WORK_ROTATE,    /* norms of heads, rotary embedding, storing keys and values */
  EL_WORK_ATTENTION, /* includes the quantisation of its output */
  EL_WORK_O,
  EL_WORK_GATE_UP,
  EL_WORK_ACTIVATE, /* the activation and the quantisation of its output */
  EL_WORK_DOWN,
  EL_WORK_EXPERTS, /* mixtures of experts: router, products, activation */
  EL_WORK_OUTPUT,  /* logits */
  EL_WORK_LORA_A,  /* X A^T of all linear layers; products with B count as the layers' */
  EL_WORK_WAIT,    /* waiting for other threads at barriers */
  EL_N_WORKS
} el_step_work;
const char *el_step_work_name(el_step_work work);

/* From now on, steps add the seconds of each kind of work to seconds[EL_N_WORKS]; NULL stops
 * this. */
void el_step_profile(el_step *s, double *seconds);

#endif
