/* Safetensors files for tests, put together tensor by tensor. */
#ifndef EL_TESTS_PEFT_BYTES_H
#define EL_TESTS_PEFT_BYTES_H

#include <jansson.h>

#include "adapter/lora_parts.h"
#include "bytes.h"

typedef struct weights {
  json_t *header;
  el_buf data;
} weights;

static inline void add_raw(weights *w, const char *name, const char *dtype, int rows, int cols, int item,
                           const void *data) {
  size_t n = (size_t)(rows * cols * item);
  if (!w->header) w->header = json_object();
  json_object_set_new(w->header, name,
                      json_pack("{s:s,s:[i,i],s:[i,i]}", "dtype", dtype, "shape", rows, cols, "data_offsets",
                                (int)w->data.len, (int)(w->data.len + n)));
  put(&w->data, data, n);
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
