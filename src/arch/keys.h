/* Reading a family's keys: each call reads one, and the first that fails is what is reported. So a family lists what it
 * reads, without a check after each. */
#ifndef EL_ARCH_KEYS_H
#define EL_ARCH_KEYS_H

#include "edgelora.h"
#include "format/gguf.h"

typedef struct el_keys {
  const el_gguf *g;
  const char *arch; /* what stands before each name: ARCH.NAME */
  el_status status; /* of all calls so far */
  el_error *err;
} el_keys;

bool el_keys_has(const el_keys *k, const char *name);
/* Required. */
int el_keys_int(el_keys *k, const char *name, int min, int max);
/* `fallback` where the key is absent, which need not be in the range. */
int el_keys_int_or(el_keys *k, const char *name, int min, int max, int fallback);
bool el_keys_bool_or(el_keys *k, const char *name, bool fallback);
/* Finite and in the range. */
float el_keys_float_or(el_keys *k, const char *name, double min, double max, float fallback);
/* The same, where 0 stands for none: so small that its inverse is not finite, a value is refused. */
float el_keys_float_or_none(el_keys *k, const char *name, double min, double max, float fallback);
/* A string; "" where it is absent. */
el_str el_keys_str(el_keys *k, const char *name);

/* One value for each of n layers: the key holds one for all of them, or an array of n. Value i goes to
 * *(int *)(first + i * stride). */
void el_keys_layers(el_keys *k, const char *name, int n, int min, int max, int fallback, void *first, size_t stride);

/* A flag for each of n layers, if the key is an array; else false, and out stays as it is. */
bool el_keys_flags(el_keys *k, const char *name, int n, bool *out);

/* A failure that names the file and ARCH.NAME; %s and the like as in printf. Only the first counts. */
void el_keys_fail(el_keys *k, el_status status, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
