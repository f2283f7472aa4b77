/* The safetensors reader: whatever opens covers its data exactly, and all of it can be read. */
#include <assert.h>

#include "format/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void count(void *arg, const char *key, const char *value) {
  *(size_t *)arg += key[0] != 0 || value[0] != 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  el_safetensors *s = NULL;
  el_error e = {0};
  if (el_safetensors_open_memory(data, size, "fuzz", &s, &e)) {
    assert(!s && e.message[0]);
    return 0;
  }
  size_t entries = 0, bytes = 0;
  volatile unsigned sum = 0;
  el_safetensors_metadata(s, count, &entries);
  for (size_t i = 0; i < el_safetensors_n(s); i++) {
    const el_st_tensor *t = el_safetensors_at(s, i);
    assert(el_safetensors_find(s, t->name) == t);
    for (size_t k = 0; k < t->n_bytes; k++) sum = sum + t->data[k];
    bytes += t->n_bytes;
  }
  assert(bytes <= size - 8);
  el_safetensors_close(s);
  return 0;
}
