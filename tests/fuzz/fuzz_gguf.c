/* The GGUF reader: whatever opens can be read, looked up and dequantised to its last byte. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "format/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_value(const el_gguf *g, const el_gguf_kv *kv) {
  volatile uint64_t sum = 0;
  for (uint64_t i = 0; i < kv->n; i++) {
    if (kv->item_type == EL_GGUF_STRING)
      for (size_t k = 0; k < kv->strings[i].len; k++) sum = sum + (unsigned char)kv->strings[i].data[k];
    else
      sum = sum + (uint64_t)el_gguf_kv_int(kv, i) + (el_gguf_kv_num(kv, i) > 0);
  }
  char *key = strndup(kv->key.data, kv->key.len), shown[EL_SHOW];
  int64_t integer;
  double number;
  bool yes;
  el_str text;
  if (!key) abort();
  if (strlen(key) == kv->key.len) assert(el_gguf_find(g, key) == kv);
  el_gguf_i64(g, key, -1000, 1000, &integer, NULL);
  el_gguf_f64(g, key, &number, NULL);
  el_gguf_bool(g, key, &yes, NULL);
  el_gguf_str(g, key, &text, NULL);
  for (int n = 1; n <= 3; n++) {
    int ints[3] = {7, 7, 7};
    bool yes_each[3] = {0};
    if (!el_gguf_ints_by_layer(g, key, n, -5, 5, ints, NULL))
      for (int l = 0; l < n; l++) assert(ints[l] >= -5 && ints[l] <= 5);
    else
      assert(ints[0] == 7);
    el_gguf_bools_by_layer(g, key, n, yes_each, NULL);
  }
  el_str_show(kv->key, shown, sizeof shown);
  free(key);
}

static void read_tensor(const el_tensor *t) {
  int64_t n = t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3]; /* no more than 8 a byte of the file */
  float *out = malloc(sizeof(float) * (size_t)n);
  if (!out) abort();
  el_dequantize(t->type, t->data, out, n);
  free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  el_gguf *g = NULL;
  el_error e = {0};
  if (el_gguf_open_memory(data, size, "fuzz", &g, &e)) {
    assert(!g && e.message[0]);
    return 0;
  }
  for (size_t i = 0; i < el_gguf_n_kv(g); i++) read_value(g, el_gguf_kv_at(g, i));
  for (size_t i = 0; i < el_gguf_n_tensors(g); i++) read_tensor(el_gguf_tensor_at(g, i));
  el_gguf_close(g);
  return 0;
}
