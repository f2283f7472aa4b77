/* Hashing with a key that is drawn for each tokenizer. Names come from files that anybody may have
 * made, and without the key nobody can make many names that collide. */
#ifndef EL_TOKENIZER_HASH_H
#define EL_TOKENIZER_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t el_hash_mix(uint64_t a, uint64_t b) {
  unsigned __int128 p = (unsigned __int128)a * b;
  return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static inline uint64_t el_hash_u64(uint64_t key, uint64_t v) {
  return el_hash_mix(key ^ v, 0x9e3779b97f4a7c15u ^ key << 1);
}

static inline uint64_t el_hash_bytes(uint64_t key, const char *s, size_t n) {
  uint64_t h = key ^ n, v;
  for (; n >= 8; s += 8, n -= 8) {
    memcpy(&v, s, 8);
    h = el_hash_u64(key, h ^ v);
  }
  v = 0;
  for (size_t i = 0; i < n; i++) v = v << 8 | (unsigned char)s[i];
  return el_hash_u64(key, h ^ v);
}

/* The mask (a power of two minus one) of a table that holds n entries and stays at most two thirds
 * full. */
static inline uint32_t el_hash_table_mask(uint32_t n) {
  uint64_t size = 8;
  while (size * 2 < (uint64_t)n * 3) size *= 2;
  return (uint32_t)(size - 1);
}

#endif
