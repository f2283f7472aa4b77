#include "model/losses.h"

#include <stdlib.h>

#include "base/error.h"

/* Rows that are sampled from the middle of a tensor: together, as many weights as a layer's rows
 * have show what a type loses. */
enum { SAMPLE_ROWS = 4, MAX_COLS = 1 << 20, TILE = 8 };

typedef struct by_type {
  size_t n_tensors;
  el_pack_loss loss;
} by_type;

static el_status measure_tensor_loss(const el_gguf *g, const el_tensor *t, el_layout layout, el_pack_loss *sum,
                                     el_error *err) {
  int64_t rows = t->ne[1] * t->ne[2] * t->ne[3];
  int n = rows < SAMPLE_ROWS ? (int)rows : SAMPLE_ROWS, cols = (int)t->ne[0];
  size_t row_bytes = t->n_bytes / (size_t)rows, from = (size_t)((rows - n) / 2) * row_bytes;
  el_packed w;
  el_packed_init(&w, layout, n, cols, TILE);
  void *buffer = malloc((size_t)n * row_bytes);
  float *scratch = malloc(sizeof *scratch * 2 * (size_t)cols);
  w.data = aligned_alloc(64, el_packed_bytes(&w));
  const unsigned char *data;
  el_status status = EL_OK;
  if (!buffer || !scratch || !w.data)
    status = el_fail_about(err, EL_ERR_NO_MEMORY, el_gguf_path(g), "out of memory");
  else if (!(status = el_gguf_read(g, t, from, (size_t)n * row_bytes, buffer, &data, err))) {
    el_pack_tiles(&w, t->type, data, 0, w.n_tiles);
    el_pack_measure(&w, t->type, data, 0, n, scratch, sum);
  }
  free(buffer);
  free(scratch);
  free(w.data);
  return status;
}

el_status el_losses_log(const el_gguf *g, el_weights weights, const el_log *log, el_error *err) {
  by_type of[EL_N_TYPES] = {0};
  for (size_t i = 0; i < el_gguf_n_tensors(g); i++) {
    const el_tensor *t = el_gguf_tensor_at(g, i);
    el_layout layout = el_layout_for(t->type, NULL, 0, weights);
    /* Vectors are not repacked. */
    if (t->n_dims < 2 || t->ne[0] > MAX_COLS || !el_packing_loses(t->type, layout)) continue;
    el_status status = measure_tensor_loss(g, t, layout, &of[t->type].loss, err);
    if (status) return status;
    of[t->type].n_tensors++;
  }
  for (uint32_t type = 0; type < EL_N_TYPES; type++) {
    const by_type *b = &of[type];
    if (b->n_tensors && b->loss.error > 0)
      el_logf(log, EL_LOG_INFO, "%s: %zu tensors of %s are held in 8 bits (%s): relative error %.2f%%", el_gguf_path(g),
              b->n_tensors, el_type_get(type)->name, el_layout_name(EL_LAYOUT_Q8), 100 * el_pack_relative(&b->loss));
  }
  return EL_OK;
}
