/* The router: predicts from a prompt's features which score, 0 to 1, each candidate's answer would get.
 *
 * Features are standardised and projected: z = P ((x - mean) * scale). A candidate's logit has two
 * sources:
 * - a trained column, if the candidate was in the profiling table: logit = w . z + b;
 * - examples, if the adapter has some prompts: how near z is to theirs. See el_example_rule.
 * With both, the mean of the two logits counts. So all candidates compare with each other and with the
 * base.
 *
 * A router belongs to one base model. It does not change once it is open, so threads share it. */
#ifndef EL_ROUTER_ROUTER_H
#define EL_ROUTER_ROUTER_H

#include "model/model.h"
#include "router/pooling.h"

enum {
  EL_ROUTER_MAX_DIM = 1024, /* of the classifier's input */
  EL_ROUTER_TOP_K = 3       /* default */
};
/* By how much a candidate's logit may be below the best one and the candidate still be preferred
 * because it is in memory; this default is at most 0.06 of the score. Decisions compare logits, as
 * scores near 1 hardly differ. */
#define EL_ROUTER_MARGIN 0.25f

/* Identifies a base model. The fingerprint is of the norms' weights, which quantisation does not change,
 * so a router fits all quantisations of its model. The name is for messages only. */
typedef struct el_base_id {
  const char *name, *architecture;
  int n_layers, n_embd, n_vocab;
  uint64_t fingerprint;
} el_base_id;

/* Scores a prompt by an adapter's examples: its logit relative to the base's.
 *
 * A vector is one slice of the features with all its dimensions: minus `center`, times `scale`,
 * normalised to length 1. c is the centre of the adapter's example vectors, of length 1. The nearness
 * of a prompt q is q . c - h(q) / 2. h(q) is the mean of q's largest products with the background,
 * which are general prompts: a prompt that is near to everything is near to nothing in particular.
 * The nearness is standardised by the mean and the standard deviation that the background's own
 * prompts have for this adapter; the deviation is widened for adapters whose examples are far from
 * each other. Then logit = the base's logit + slope * standardised nearness + offset. */
typedef struct el_example_rule {
  int dim, padded;       /* padded: to a multiple of EL_EXAMPLE_LANES */
  float *center, *scale; /* [dim] of the background */
  int n_background;
  int16_t *background; /* [n_background, padded], EL_EXAMPLE_ONE is 1 */
  float *crowd;        /* [n_background] h of each, without itself */
  float slope, offset;
} el_example_rule;

enum { EL_EXAMPLE_ONE = 1 << 14, EL_EXAMPLE_LANES = 8, EL_EXAMPLE_MAX_BACKGROUND = 512, EL_EXAMPLE_MAX_DIM = 8192 };

/* How the router was trained; for display only. */
typedef struct el_router_facts {
  char *table, *valid; /* file names without folders */
  size_t n_rows, n_valid;
  uint64_t seed;
  float l2, l2_shared;     /* the penalties that won */
  float chosen, chosen_ci; /* mean score of the chosen candidate on the validation set, and half its 95% interval */
  int best_column;         /* the candidate with the best mean score in training; -1: not known */
  float random, best;      /* mean scores on the validation set: of a random candidate; of best_column */
  float loss;              /* binary cross-entropy on the validation set */
} el_router_facts;

typedef struct el_router {
  char *base_name, *base_architecture;
  el_base_id base; /* its strings are the two above */
  el_features features;
  int n_classifier_slices; /* the first slices of the features, which the classifier reads */
  int example_slice;       /* the slice by which examples are compared */
  int dim;                 /* of the classifier's input */
  float *projection;       /* [dim, n_in], scale included; n_in: n_classifier_slices * n_embd */
  float *origin;           /* [dim]: projection x - origin */
  int n_columns;
  char **names;     /* [n_columns] of the trained candidates */
  int base_column;  /* -1: the base is not among them */
  float *weights;   /* [n_columns, dim] */
  float *bias;      /* [n_columns] */
  float base_score; /* the base's expected score if it has no column */
  el_example_rule examples;
  int top_k;
  float margin;
  int lora_rank; /* the largest rank of the adapter in the file; 0: no adapter. el_lora_file_open reads it from the file
                  */
  el_router_facts facts;
} el_router;

/* Reads a file that el_router_save wrote. Nothing in it is trusted. `base` NULL: a router of any model is
 * accepted, for display. EL_ERR_INVALID, with both names: it belongs to another model. */
el_status el_router_open(const char *path, const el_base_id *base, el_router **out, el_error *err);
/* The same from memory, which may be freed afterwards; `path` is for messages. */
el_status el_router_open_memory(const void *data, size_t size, const char *path, const el_base_id *base,
                                el_router **out, el_error *err);
/* Checks that it belongs to this model, as el_router_open does; `path` is for the message. */
el_status el_router_check(const el_router *r, const el_base_id *base, const char *path, el_error *err);
void el_router_free(el_router *r); /* also for a router filled in by hand with malloc; NULL is allowed */

/* Writes a router file. lora: NULL, or an open adapter that fits the base, to be stored in it. */
el_status el_router_save(const el_router *r, const el_lora_file *lora, const el_sites *sites, const char *path,
                         el_error *err);

/* The size of a prompt's vector z: the classifier's input, then the values for examples. */
static inline size_t el_router_vector(const el_router *r) {
  return (size_t)r->dim + (size_t)r->examples.dim;
}

/* features: [el_features_n] -> z: [el_router_vector]. */
void el_router_embed(const el_router *r, const float *features, float *z);

/* The index of a name's trained column; -1: there is none. */
int el_router_column(const el_router *r, const char *name);
/* logits: [n_columns] */
void el_router_logits(const el_router *r, const float *z, float *logits);
float el_router_sigmoid(float logit);
/* The base's expected score as a logit. logits: the result of el_router_logits. */
float el_router_base_logit(const el_router *r, const float *logits);

/* Decides: among the top_k best logits within `margin` of the best one, returns the index of the best
 * candidate that is resident, or of the best one if none is. Among equals the first counts. n and top_k
 * are at least 1. The base is always resident; the caller passes it so. */
size_t el_router_choose(const float *logits, const bool *resident, size_t n, int top_k, float margin);
/* The indices of the k best of n, best first, equal ones in order. k <= n. */
void el_router_top(const float *logits, size_t n, size_t k, size_t *out);

#endif
