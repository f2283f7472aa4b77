/* The shape of the tiny golden models, which golden/lora's adapters fit. */
#ifndef EL_TESTS_TINY_SHAPE_H
#define EL_TESTS_TINY_SHAPE_H

#include <stdio.h>
#include <stdlib.h>

#include "format/gguf.h"
#include "model/hparams.h"

static inline void read_tiny_shape(el_lora_shape *shape) {
  char path[512];
  el_gguf *g = NULL;
  el_hparams h;
  el_error err;
  snprintf(path, sizeof path, "%s/golden/tiny/q8_0.gguf", getenv("EL_TEST_DATA"));
  if (el_gguf_open(path, &g, &err) || el_hparams_read(g, &h, &err)) fail_msg("%s", err.message);
  el_hparams_shape(&h, shape);
  el_gguf_close(g);
}

#endif
