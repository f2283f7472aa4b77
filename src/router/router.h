/* The router: from a prompt's features to what each candidate's answer is expected to score, 0 to 1.
 *
 * Features are standardised and projected: z = P ((x - mean) * scale). Two sources tell of a candidate:
 * - a trained column, for those that were in the profiling table: logit = w . z + b;
 * - examples, for any adapter that has a few of its prompts: how near z is to theirs. See el_example_rule.
 * Where both are, the logits' mean counts. So all compare, with the base too.
 *
 * A router belongs to one base model. It never changes once it is open: threads share it freely. */
#ifndef EL_ROUTER_ROUTER_H
#define EL_ROUTER_ROUTER_H

#include "model/model.h"
#include "router/pooling.h"

enum {
  EL_ROUTER_MAX_DIM = 1024, /* of what the classifier reads */
  EL_ROUTER_TOP_K = 3       /* default */
};
/* Default of how much less than the best logit a candidate may have to be used because it is in memory: 0.06 of the
 * score at most. Choices are made by logits, as scores near 1 hardly differ. */
#define EL_ROUTER_MARGIN 0.25f

/* What tells models apart. The fingerprint is of the norms' weights, which quantisation leaves alone: a router fits
 * all quantisations of its model. The name is for messages only. */
typedef struct el_base_id {
  const char *name, *architecture;
  int n_layers, n_embd, n_vocab;
  uint64_t fingerprint;
} el_base_id;

/* What an adapter's examples say of a prompt, as a logit: how much more than the base's.
 *
 * A vector is one slice of the features, all of its dimensions, less `center`, times `scale`, with length 1; c: the
 * centre of the adapter's examples, with length 1. How near a prompt q is to it: q . c less half of h(q), the mean of
 * q's largest products with the background, prompts of no particular trade: what is near to everything is near to
 * nothing. That is measured in standard deviations of what the background's own prompts have for this adapter, less
 * their mean, and widened for adapters whose examples are far from each other. Then logit = the base's + slope * that +
 * offset. */
typedef struct el_example_rule {
  int dim, padded;       /* padded: to a multiple of EL_EXAMPLE_LANES */
  float *center, *scale; /* [dim] of the background */
  int n_background;
  int16_t *background; /* [n_background, padded], EL_EXAMPLE_ONE is 1 */
  float *crowd;        /* [n_background] h of each, itself left out */
  float slope, offset;
} el_example_rule;

enum { EL_EXAMPLE_ONE = 1 << 14, EL_EXAMPLE_LANES = 8, EL_EXAMPLE_MAX_BACKGROUND = 512, EL_EXAMPLE_MAX_DIM = 8192 };

/* How it came to be; for people. */
typedef struct el_router_facts {
  char *table, *valid; /* paths' last slices */
  size_t n_rows, n_valid;
  uint64_t seed;
  float l2, l2_shared;     /* that won */
  float chosen, chosen_ci; /* mean score of the chosen candidate on the validation set, half its 95% interval */
  int best_column;         /* the candidate that was best in training; -1: not known */
  float random, best;      /* on the validation set: a random candidate; that one */
  float loss;              /* binary cross-entropy there */
} el_router_facts;

typedef struct el_router {
  char *base_name, *base_architecture;
  el_base_id base; /* its strings are these */
  el_features features;
  int n_classifier_slices; /* of its slices, the first ones, are what the classifier reads */
  int example_slice;       /* is what examples are compared by */
  int dim;                 /* of what the classifier reads */
  float *projection;       /* [dim, n_in], scale included; n_in: n_classifier_slices * n_embd */
  float *origin;           /* [dim]: projection x - origin */
  int n_columns;
  char **names;     /* [n_columns] of the candidates that were trained */
  int base_column;  /* -1: the base was not among them */
  float *weights;   /* [n_columns, dim] */
  float *bias;      /* [n_columns] */
  float base_score; /* expected of the base when it has no column */
  el_example_rule examples;
  int top_k;
  float margin;
  int lora_rank; /* the largest of the adapter that the file carries; 0: none. el_lora_file_open reads it from there */
  el_router_facts facts;
} el_router;

/* Reads a file that el_router_save wrote; nothing in it is trusted. `base` NULL: any model's (for showing it). A router
 * of another model: EL_ERR_INVALID, with both names. */
el_status el_router_open(const char *path, const el_base_id *base, el_router **out, el_error *err);
/* The same from memory, of which nothing is kept; path is for messages. */
el_status el_router_open_memory(const void *data, size_t size, const char *path, const el_base_id *base,
                                el_router **out, el_error *err);
/* Whether it is for this model, as el_router_open asks; path is for the message. */
el_status el_router_check(const el_router *r, const el_base_id *base, const char *path, el_error *err);
void el_router_free(el_router *r); /* also of what was filled in by hand with malloc; NULL is allowed */

/* What the file holds beside a finished router. lora: NULL, or an adapter that is open and fits the base. */
el_status el_router_save(const el_router *r, const el_lora_file *lora, const el_sites *sites, const char *path,
                         el_error *err);

/* A prompt's vector, z: what the classifier reads, then what examples are compared by. */
static inline size_t el_router_vector(const el_router *r) {
  return (size_t)r->dim + (size_t)r->examples.dim;
}

/* features: [el_features_n] -> z: [el_router_vector]. */
void el_router_embed(const el_router *r, const float *features, float *z);

/* The trained column of a name; -1: there is none. */
int el_router_column(const el_router *r, const char *name);
/* logits: [n_columns] */
void el_router_logits(const el_router *r, const float *z, float *logits);
float el_router_sigmoid(float logit);
/* What the base is expected to score, as a logit; logits: as el_router_logits gave them. */
float el_router_base_logit(const el_router *r, const float *logits);

/* Of the top_k best logits that are within `margin` of the best, the best one that is resident; when none is, the best.
 * Equal scores: the one that comes first. n: 1 at least; top_k: 1 at least. The base counts as resident: the caller
 * says so. Returns an index. */
size_t el_router_choose(const float *logits, const bool *resident, size_t n, int top_k, float margin);
/* The indices of the k best of n, best first, equal ones in order. k <= n. */
void el_router_top(const float *logits, size_t n, size_t k, size_t *out);

#endif
