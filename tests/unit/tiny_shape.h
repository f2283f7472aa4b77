/* The sites of the tiny golden models, which golden/lora's adapters fit. */
#ifndef EL_TESTS_TINY_SHAPE_H
#define EL_TESTS_TINY_SHAPE_H

#include <stdio.h>
#include <stdlib.h>

#include "arch/sites.h"
#include "format/gguf.h"

/* The caller's to free. */
static inline el_sites *read_tiny_sites(void) {
  char path[512];
  el_gguf *g = NULL;
  el_hparams h;
  el_sites *sites;
  el_error err;
  snprintf(path, sizeof path, "%s/golden/tiny/q8_0.gguf", getenv("EL_TEST_DATA"));
  if (el_gguf_open(path, &g, &err) || el_hparams_read(g, &h, &err) || el_sites_new(&h, &sites, &err))
    fail_msg("%s", err.message);
  el_hparams_free(&h);
  el_gguf_close(g);
  return sites;
}

#endif
