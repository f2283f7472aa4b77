/* Sites: the linear layers of a model that an adapter may touch, and the output matrix after them.
 *
 * Whatever handles adapters (file readers and writers, the packer, the batched low-rank product,
 * inspect, benchmarks) goes over sites and knows no family. Sites that read the same input share a
 * pass over it, and are neighbours. */
#ifndef EL_ARCH_SITES_H
#define EL_ARCH_SITES_H

#include "arch/hparams.h"

typedef enum el_from { EL_FROM_H, EL_FROM_ATT, EL_FROM_FF, EL_FROM_LAYER_INPUT, EL_FROM_EXPERT } el_from;
typedef enum el_to {
  EL_TO_Q,
  EL_TO_K,
  EL_TO_V,
  EL_TO_QKV, /* joined */
  EL_TO_GATE,
  EL_TO_UP,
  EL_TO_GATE_UP,    /* joined, with the gate first */
  EL_TO_INPUT_GATE, /* gates the layer's input, and is as wide */
  EL_TO_Y,
  EL_TO_ROUTER, /* a score for each expert */
  EL_TO_EXPERT_GATE,
  EL_TO_EXPERT_UP,
  EL_TO_EXPERT_Y
} el_to;

/* The order of a head's rows in a file of Hugging Face's: halves [2][d / 2] where GGUF has pairs [d
 * / 2][2], as families with interleaved rotation were converted; or the same as in GGUF. */
typedef enum el_row_order { EL_ROWS_SAME, EL_ROWS_HALVES } el_row_order;

typedef struct el_site {
  const char *name; /* GGUF: the weight is blk.LAYER.NAME.weight */
  const char *peft; /* Hugging Face's module inside a layer; sites that share a module have its
                     * outputs, in their order */
  int input;
  el_from from;
  el_to to;
  el_row_order rows;
  const char *peft_4; /* the module in transformers before version 5; NULL: the same */
  /* Sites of experts: the module has a parameter with the matrices of all experts. Sites that share
   * it have its outputs, one below the other or in turn. */
  const char *parameter;
  bool in_turn;
  bool transposed;       /* the parameter is [experts, in, out] instead of [experts, out, in] */
  const char *by_expert; /* the module of one expert's matrix, with * for its number; NULL: there
                          * never was one */
  const char *stack;     /* mlx-lm's module with the matrices of all experts */
} el_site;

/* A norm's weights: GGUF's blk.LAYER.NAME.weight, and Hugging Face's module inside a layer. */
typedef struct el_norm_name {
  const char *name, *peft;
} el_norm_name;
enum { EL_MAX_NORMS = 8 };

enum { EL_MAX_SITES = 16, EL_MAX_INPUTS = 8, EL_MAX_SHARED = 4 /* EL_MAX_SHARED: sites that read one input */ };

typedef struct el_site_dims {
  int in, out; /* columns and rows of W; 0: the layer has no such matrix */
  int n_head;  /* heads that share `out`, where the order of rows matters */
} el_site_dims;

/* The only site of the place after the last layer: the output matrix, which gives the logits. */
enum { EL_SITE_OUTPUT };

/* Of experts: gate and up read one input, down reads another one. */
enum { EL_N_EXPERT_SITES = 3, EL_N_EXPERT_INPUTS = 2 };

/* The sites of one model. A place is a layer, or the place after the last layer that has only
 * EL_SITE_OUTPUT. */
typedef struct el_sites {
  const el_arch *arch;
  int n_layers, n_sites, n_inputs; /* sites and inputs of a layer: the same for all layers */
  const el_site *site;             /* [n_sites] */
  int first[EL_MAX_INPUTS + 1];    /* input i is read by sites [first[i], first[i + 1]) */
  int most_shared;                 /* the most sites that read one input */
  el_site_dims *dims;              /* [n_layers][n_sites] */
  int *norms;                      /* [n_layers][n_norms of the family] widths; 0: the layer has no
                                    * such norm */
  el_site_dims output;             /* of the output; 0: the vocabulary is not known */
  bool tied;                       /* the output is the embedding; false: it is not, or this is not
                                    * known */
  /* Each expert of a layer has sites of its own: gate, up and down. They are sites n_sites to
   * n_sites + EL_N_EXPERT_SITES - 1, and read inputs n_inputs and n_inputs + 1. */
  int n_experts; /* in each layer; 0: there are no such sites */
  el_site_dims expert_dims[EL_N_EXPERT_SITES];
} el_sites;

el_status el_sites_new(const el_hparams *h, el_sites **out, el_error *err);
void el_sites_free(el_sites *s); /* NULL is allowed */

static inline int el_sites_all(const el_sites *s) {
  return s->n_sites + (s->n_experts ? EL_N_EXPERT_SITES : 0);
}
static inline bool el_sites_of_expert(const el_sites *s, int site) {
  return site >= s->n_sites;
}

static inline int el_sites_n_places(const el_sites *s) {
  return s->n_layers + 1;
}

static inline el_site_dims el_sites_dims(const el_sites *s, int place, int site) {
  if (place == s->n_layers) return site == EL_SITE_OUTPUT ? s->output : (el_site_dims){0};
  if (el_sites_of_expert(s, site)) return s->expert_dims[site - s->n_sites];
  return s->dims[(size_t)place * (size_t)s->n_sites + (size_t)site];
}

/* The name of the GGUF weight, without its layer. */
static inline const char *el_sites_name(const el_sites *s, int place, int site) {
  return place == s->n_layers ? "output" : s->site[site].name;
}

/* How many weights a layer's norm has; 0: it has no such norm. */
int el_sites_norm(const el_sites *s, int layer, int norm);

/* Where row `row` of a matrix in Hugging Face's order is in GGUF's order. */
size_t el_site_row(const el_site *site, el_site_dims dims, size_t row);

/* Finds a site by its GGUF name; -1: there is none. */
int el_sites_find(const el_sites *s, el_str name);

#endif
