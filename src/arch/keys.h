/* Reads a family's keys. Each call reads one key, and the first failure is the one that is
 * reported, so a family lists what it reads without a check after each call. */
#ifndef EL_ARCH_KEYS_H
#define EL_ARCH_KEYS_H

#include "edgelora.h"
#include "format/gguf.h"

typedef struct el_keys {
  const el_gguf *g;
  const char *arch; /* the prefix of each name: ARCH.NAME */
  el_status status; /* of all calls so far */
  el_error *err;
} el_keys;

bool el_keys_has(const el_keys *k, const char *name);
/* The key must exist. */
int el_keys_int(el_keys *k, const char *name, int min, int max);
/* fallback: the value if the key is absent; it need not be within the range. */
int el_keys_int_or(el_keys *k, const char *name, int min, int max, int fallback);
bool el_keys_bool_or(el_keys *k, const char *name, bool fallback);
/* Finite and within the range. */
float el_keys_float_or(el_keys *k, const char *name, double min, double max, float fallback);
/* The same, where 0 means none. A value so small that its inverse is not finite is refused. */
float el_keys_float_or_none(el_keys *k, const char *name, double min, double max, float fallback);
/* A string; "" if the key is absent. */
el_str el_keys_str(el_keys *k, const char *name);

/* One value for each of n layers: the key holds one for all of them, or an array of n. Value i goes
 * to *(int *)(first + i * stride). */
void el_keys_layers(el_keys *k, const char *name, int n, int min, int max, int fallback, void *first, size_t stride);

/* A flag for each of n layers, if the key is an array; else false, and out is unchanged. */
bool el_keys_flags(el_keys *k, const char *name, int n, bool *out);

/* Reports a failure with the file and ARCH.NAME; the format is that of printf. Only the first
 * failure counts. */
void el_keys_fail(el_keys *k, el_status status, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
