/* The usual sites in any size, for tests that need no model. */
#ifndef EL_TESTS_SITES_FIXTURE_H
#define EL_TESTS_SITES_FIXTURE_H

#include <assert.h>
#include <string.h>

#include "arch/arch.h"

enum { SITES_MAX_LAYERS = 32 };

typedef struct sites_shape {
  int n_layers, n_head, n_head_kv;
  int in[EL_N_USUAL_SITES], out[EL_N_USUAL_SITES];
} sites_shape;

/* dims: [SITES_MAX_LAYERS * EL_N_USUAL_SITES], which outlive the result. */
static inline el_sites make_sites(const sites_shape *shape, el_site_dims *dims) {
  el_sites s = {.arch = el_arch_find((el_str){"llama", 5}), .n_layers = shape->n_layers, .dims = dims};
  assert(shape->n_layers <= SITES_MAX_LAYERS);
  s.site = s.arch->site;
  s.n_sites = s.arch->n_sites;
  for (int i = 0; i < s.n_sites; i++) {
    s.n_inputs = s.site[i].input + 1;
    s.first[s.n_inputs] = i + 1;
    if (i == 0 || s.site[i].input != s.site[i - 1].input) s.first[s.site[i].input] = i;
  }
  s.most_shared = 3;
  for (int l = 0; l < s.n_layers; l++)
    for (int i = 0; i < s.n_sites; i++)
      dims[l * s.n_sites + i] = (el_site_dims){shape->in[i], shape->out[i],
                                               s.site[i].rows == EL_ROWS_SAME ? 0
                                               : i == EL_SITE_Q               ? shape->n_head
                                                                              : shape->n_head_kv};
  return s;
}

#endif
