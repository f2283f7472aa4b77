/* PEFT folders' two files in memory, the weights put together tensor by tensor. */
#ifndef EL_TESTS_PEFT_FIXTURE_H
#define EL_TESTS_PEFT_FIXTURE_H

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/lora_halves.h"
#include "bytes.h"

typedef struct weights {
  json_t *header;
  el_buf data;
} weights;

/* cols 0: a vector. */
static inline void add_raw(weights *w, const char *name, const char *dtype, int rows, int cols, int item,
                           const void *data) {
  size_t n = (size_t)(rows * (cols ? cols : 1) * item);
  if (!w->header) w->header = json_object();
  json_t *shape = cols ? json_pack("[i,i]", rows, cols) : json_pack("[i]", rows);
  json_object_set_new(w->header, name,
                      json_pack("{s:s,s:o,s:[i,i]}", "dtype", dtype, "shape", shape, "data_offsets", (int)w->data.len,
                                (int)(w->data.len + n)));
  put(&w->data, data, n);
}

/* F32 values 0.25, 0.5, ... times `sign`. */
static inline void add_f32(weights *w, const char *name, int rows, int cols, float sign) {
  el_buf b = {0};
  for (int i = 0; i < rows * (cols ? cols : 1); i++) put_f32(&b, sign * 0.25f * (float)(i + 1));
  add_raw(w, name, "F32", rows, cols, 4, b.data);
  el_buf_free(&b);
}

/* The file's bytes; w is used up. */
static inline el_buf finish(weights *w) {
  el_buf b = {0};
  char *text = w->header ? json_dumps(w->header, JSON_COMPACT) : strdup("{}");
  put_safetensors(&b, text, w->data.data ? w->data.data : "", w->data.len);
  free(text);
  json_decref(w->header);
  el_buf_free(&w->data);
  *w = (weights){0};
  return b;
}

/* w is used up. The bytes end where their memory does, so that a sanitizer sees who reads on. */
static inline el_status open_weights(const char *config, weights *w, const el_sites *sites, el_lora_file **f,
                                     el_error *e) {
  el_buf b = finish(w);
  unsigned char *exact_weights = exact(&b, b.len);
  el_status status = el_lora_file_open_memory(config, strlen(config), exact_weights, b.len, sites, f, e);
  free(exact_weights);
  el_buf_free(&b);
  return status;
}

#endif
