#include "bench/plan/shapes.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "arch/arch.h"
#include "base/error.h"
#include "kernels/select.h"

typedef struct shape {
  const char *name;
  double bits; /* a weight's, scales included */
  bool tied;   /* the output matrix is the embedding */
  el_hparams h;
} shape;

/* From the models' own config.json (meta-llama/Llama-3.1-8B, meta-llama/Llama-3.2-3B, apple/OpenELM-1_1B). Those of
 * OpenELM's layers differ from the first to the last: 16 to 32 heads of 64, a feed-forward of 0.5 to 4 times the width;
 * here all have the mean. Q8_0 has 34 bytes for 32 weights, Q4_0 18. */
static const shape shapes[] = {
    {"llama-3.1-8b-q8_0",
     8.5,
     false,
     {.n_layers = 32,
      .n_embd = 4096,
      .n_ff = 14336,
      .n_head = 32,
      .n_head_kv = 8,
      .head_dim = 128,
      .n_vocab = 128256,
      .ctx_train = 131072}},
    {"llama-3.2-3b-q4_0",
     4.5,
     true,
     {.n_layers = 28,
      .n_embd = 3072,
      .n_ff = 8192,
      .n_head = 24,
      .n_head_kv = 8,
      .head_dim = 128,
      .n_vocab = 128256,
      .ctx_train = 131072}},
    {"openelm-1.1b-q4_0",
     4.5,
     true,
     {.n_layers = 28,
      .n_embd = 2048,
      .n_ff = 4608,
      .n_head = 24,
      .n_head_kv = 6,
      .head_dim = 64,
      .n_vocab = 32000,
      .ctx_train = 2048}},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

const char *el_shape_name(int i) {
  return i < N_SHAPES ? shapes[i].name : NULL;
}

void el_shape_names(char *out, size_t size) {
  size_t len = 0;
  for (int i = 0; i < N_SHAPES && len < size; i++)
    len += (size_t)snprintf(out + len, size - len, "%s%s", i ? ", " : "", shapes[i].name);
}

/* What is not reading and computing, as it was measured on two cores of an AMD EPYC (Zen 4) with SmolLM2-135M: between
 * steps, for a token, and for loading a byte of an F16 file from the page cache, alone, beside steps and queued. */
#define STEP_SECONDS 10e-6
#define TOKEN_SECONDS 40e-6
#define REQUEST_SECONDS 300e-6
#define LOAD_BYTES 0.5e9
#define BESIDE 6.0
#define QUEUED 2.0
#define SLOW_BESIDE 1.1
#define SLOW_QUEUED 1.5
/* Attention multiplies floats: a quarter of the integers' speed. */
#define FLOAT_SHARE 0.25

static double roofline_seconds(double bytes, double operations, const el_shape_machine *m) {
  return fmax(bytes / (m->gbs * 1e9), operations / (m->gops * 1e9));
}

el_status el_shape_costs(const char *name, const el_shape_machine *m, el_costs *c, el_error *err) {
  const shape *s = NULL;
  char names[256];
  for (int i = 0; i < N_SHAPES; i++)
    if (strcmp(name, shapes[i].name) == 0) s = &shapes[i];
  el_shape_names(names, sizeof names);
  if (!s) return el_fail(err, EL_ERR_NOT_FOUND, "shape '%s' is unknown; there are %s", name, names);
  el_kv_type kv;
  el_layout layout;
  el_status status = el_kv_type_get(m->kv_type, &kv, err);
  if (!status) status = el_adapter_layout_get(m->adapter_type, &layout, err);
  if (status) return status;
  el_hparams h = s->h;
  el_sites *sites;
  h.arch = el_arch_at(0);
  if ((status = el_sites_new(&h, &sites, err))) return status;
  double layers = 0, adapter = 0; /* weights of all layers; of an adapter on them */
  for (int i = 0; i < sites->n_layers * sites->n_sites; i++) {
    layers += (double)sites->dims[i].in * sites->dims[i].out;
    adapter += (double)m->rank * (sites->dims[i].in + sites->dims[i].out);
  }
  el_sites_free(sites);
  double output = (double)s->h.n_vocab * s->h.n_embd, bytes = s->bits / 8;
  double adapter_bytes = adapter * (layout == EL_LAYOUT_F16 ? 2 : layout == EL_LAYOUT_Q4 ? 0.5625 : 1.0625);
  *c = (el_costs){.cores = 1,
                  .threads = 1,
                  .shape = h,
                  .rank = m->rank,
                  .step = STEP_SECONDS,
                  .token = TOKEN_SECONDS,
                  .request = REQUEST_SECONDS};
  snprintf(c->model, sizeof c->model, "%s", s->name);
  snprintf(c->cpu, sizeof c->cpu, "%g GOPS, %g GB/s", m->gops, m->gbs);
  snprintf(c->isa, sizeof c->isa, "computed");
  snprintf(c->kv_type, sizeof c->kv_type, "%s", m->kv_type ? m->kv_type : "f16");
  c->kv = el_kv_shape_of(&h, kv);
  snprintf(c->adapter_type, sizeof c->adapter_type, "%s", m->adapter_type ? m->adapter_type : "q8");
  c->weight_bytes = (uint64_t)((layers + (s->tied ? 1 : 2) * output) * bytes);
  c->started_bytes = c->weight_bytes;
  c->adapter = (el_pack_size){.rank = m->rank, .bytes = (uint64_t)adapter_bytes}; /* blocks: whoever knows theirs */
  for (int r = 1; c->n_rows < EL_COSTS_MAX_ROWS; r = 2 * r < m->step_rows ? 2 * r : m->step_rows) {
    c->rows[c->n_rows++] = (el_cost_row){.rows = r,
                                         .base = roofline_seconds(layers * bytes, 2 * layers * r, m),
                                         .logits = roofline_seconds(output * bytes, 2 * output * r, m),
                                         .adapter = roofline_seconds(adapter_bytes, 2 * adapter * r, m),
                                         .more = adapter_bytes / (m->gbs * 1e9)};
    if (r >= m->step_rows) break;
  }
  double kv_bytes = (double)(el_kv_page_bytes(&s->h, kv) / EL_PAGE_TOKENS);
  c->decode_position = kv_bytes / (m->gbs * 1e9);
  c->prompt_position = 4.0 * s->h.n_layers * s->h.n_head * s->h.head_dim / (m->gops * FLOAT_SHARE * 1e9);
  c->load = 2 * adapter / LOAD_BYTES;
  c->load_beside = BESIDE * c->load;
  c->load_queued = QUEUED * c->load;
  c->slow_beside = SLOW_BESIDE;
  c->slow_queued = SLOW_QUEUED;
  return EL_OK;
}
