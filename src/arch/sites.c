#include "arch/sites.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "base/error.h"

static el_site_dims dims_of(const el_site *site, const el_hparams *h, el_layer_dims d, bool has_kv) {
  const int q = d.n_head * d.head_dim, kv = d.n_head_kv * d.head_dim;
  el_site_dims out = {0};
  switch (site->from) {
    case EL_FROM_H: out.in = h->n_embd; break;
    case EL_FROM_ATT: out.in = q; break;
    case EL_FROM_FF: out.in = d.n_ff; break;
    case EL_FROM_LAYER_INPUT: out.in = h->n_layer_input; break;
    case EL_FROM_EXPERT: out.in = h->n_ff_expert; break;
  }
  switch (site->to) {
    case EL_TO_Q: out.out = q; break;
    case EL_TO_K: out.out = has_kv ? kv : 0; break;
    case EL_TO_V: out.out = has_kv && !d.copies_keys ? kv : 0; break;
    case EL_TO_INPUT_GATE: out.out = h->n_layer_input; break;
    case EL_TO_QKV: out.out = q + 2 * kv; break;
    case EL_TO_GATE:
    case EL_TO_UP: out.out = d.n_ff; break;
    case EL_TO_GATE_UP: out.out = 2 * d.n_ff; break;
    case EL_TO_Y:
    case EL_TO_EXPERT_Y: out.out = h->n_embd; break;
    case EL_TO_ROUTER: out.out = h->n_experts; break;
    case EL_TO_EXPERT_GATE:
    case EL_TO_EXPERT_UP: out.out = h->n_ff_expert; break;
  }
  if (site->rows == EL_ROWS_HALVES) out.n_head = site->to == EL_TO_Q ? d.n_head : d.n_head_kv;
  if (!out.out || !out.in) out = (el_site_dims){0};
  return out;
}

/* Appends the sites of experts to the others. */
static void add_expert_sites(el_sites *s, const el_hparams *h) {
  const el_site *site = s->site + s->n_sites;
  assert(s->n_sites + EL_N_EXPERT_SITES <= EL_MAX_SITES && s->n_inputs + EL_N_EXPERT_INPUTS <= EL_MAX_INPUTS);
  assert(site[0].to == EL_TO_EXPERT_GATE && site[1].to == EL_TO_EXPERT_UP && site[2].to == EL_TO_EXPERT_Y);
  assert(site[0].input == s->n_inputs && site[1].input == s->n_inputs && site[2].input == s->n_inputs + 1);
  s->n_experts = h->n_experts;
  s->first[s->n_inputs + 1] = s->n_sites + 2;
  s->first[s->n_inputs + 2] = s->n_sites + 3;
  if (s->most_shared < 2) s->most_shared = 2;
  for (int i = 0; i < EL_N_EXPERT_SITES; i++) s->expert_dims[i] = dims_of(&site[i], h, (el_layer_dims){0}, false);
}

static int width_of(const el_hparams *h, const el_op *op) {
  const el_layer_dims d = el_hparams_layer(h, op->layer);
  switch (op->kind) {
    case EL_OP_NORM:
    case EL_OP_ADD: return h->n_embd;
    case EL_OP_HEAD_NORM: return d.head_dim;
    case EL_OP_WIDE_NORM: return d.head_dim * (op->heads == EL_HEADS_Q ? d.n_head : d.n_head_kv);
    default: return 0;
  }
}

int el_arch_norm(const el_arch *arch, const el_op *op) {
  for (int i = 0; op->tensor && i < arch->n_norms; i++)
    if (!strcmp(op->tensor, arch->norm[i].name)) return i;
  return -1;
}

static el_status find_norms(el_sites *s, const el_hparams *h, el_error *err) {
  el_program p;
  el_status status = el_program_new(h, &p, err);
  for (int i = 0; !status && i < p.n; i++) {
    const int norm = el_arch_norm(s->arch, &p.ops[i]);
    if (norm >= 0) s->norms[p.ops[i].layer * s->arch->n_norms + norm] = width_of(h, &p.ops[i]);
  }
  if (!status) el_program_free(&p);
  return status;
}

el_status el_sites_new(const el_hparams *h, el_sites **out, el_error *err) {
  el_sites *s = calloc(1, sizeof *s);
  const size_t n = (size_t)h->n_layers * (size_t)h->arch->n_sites;
  if (s) s->dims = calloc(n ? n : 1, sizeof *s->dims);
  if (s) s->norms = calloc((size_t)h->n_layers * EL_MAX_NORMS + 1, sizeof *s->norms);
  if (!s || !s->dims || !s->norms) {
    el_sites_free(s);
    return el_fail(err, EL_ERR_NO_MEMORY, "model: out of memory");
  }
  s->arch = h->arch;
  s->n_layers = h->n_layers;
  s->n_sites = h->arch->n_sites;
  s->site = h->arch->site;
  assert(s->n_sites <= EL_MAX_SITES);
  for (int i = 0; i < s->n_sites; i++) {
    assert(s->site[i].input == s->n_inputs || s->site[i].input == s->n_inputs - 1);
    if (s->site[i].input == s->n_inputs) s->first[s->n_inputs++] = i;
    s->first[s->n_inputs] = i + 1;
    int shared = i + 1 - s->first[s->n_inputs - 1];
    if (shared > s->most_shared) s->most_shared = shared;
  }
  assert(s->n_inputs <= EL_MAX_INPUTS && s->most_shared <= EL_MAX_SHARED);
  if (h->n_experts) add_expert_sites(s, h);
  for (int l = 0; l < h->n_layers; l++) {
    const el_layer_dims d = el_hparams_layer(h, l);
    for (int i = 0; i < s->n_sites; i++)
      s->dims[(size_t)l * (size_t)s->n_sites + (size_t)i] = dims_of(&s->site[i], h, d, d.kv_layer == l);
  }
  if (h->n_vocab) s->output = (el_site_dims){.in = h->n_embd, .out = h->n_vocab};
  el_status status = find_norms(s, h, err);
  if (status) {
    el_sites_free(s);
    return status;
  }
  *out = s;
  return EL_OK;
}

void el_sites_free(el_sites *s) {
  if (!s) return;
  free(s->dims);
  free(s->norms);
  free(s);
}

int el_sites_norm(const el_sites *s, int layer, int norm) {
  return s->norms && norm < s->arch->n_norms ? s->norms[layer * s->arch->n_norms + norm] : 0;
}

size_t el_site_row(const el_site *site, el_site_dims dims, size_t row) {
  if (site->rows == EL_ROWS_SAME) return row;
  const size_t d = (size_t)(dims.out / dims.n_head), head = row / d, i = row % d, half = d / 2;
  return head * d + i % half * 2 + i / half;
}

int el_sites_find(const el_sites *s, el_str name) {
  for (int i = 0; i < el_sites_all(s); i++)
    if (el_str_eq(name, s->site[i].name)) return i;
  return -1;
}
