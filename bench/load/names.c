#include "bench/load/names.h"

#include <stdlib.h>
#include <string.h>

#include "base/random.h"

/* FNV-1a, finished by a mixer: names that count up ("a00001") differ in their last bytes alone. */
static size_t hash_name(const char *name) {
  uint64_t h = 0xcbf29ce484222325u;
  for (; *name; name++) h = (h ^ (unsigned char)*name) * 0x100000001b3u;
  return (size_t)el_mix64(h);
}

/* The slot of an equal name, or the free one where it would be. */
static size_t slot_of_name(const el_load_names *names, const char *name) {
  size_t mask = names->n_slots - 1, at = hash_name(name) & mask;
  while (names->slots[at] && strcmp(names->items[names->slots[at] - 1], name) != 0) at = (at + 1) & mask;
  return at;
}

static void put_name(el_load_names *names, size_t place) {
  size_t at = slot_of_name(names, names->items[place]);
  if (!names->slots[at]) names->slots[at] = (uint32_t)place + 1;
}

static bool grow_names(el_load_names *names) {
  size_t cap = names->cap ? names->cap * 2 : 64;
  if (cap > (size_t)1 << 31) return false;
  char **items = realloc(names->items, cap * sizeof *items);
  if (!items) return false;
  names->items = items;
  uint32_t *slots = calloc(cap * 2, sizeof *slots);
  if (!slots) return false;
  free(names->slots);
  names->slots = slots;
  names->n_slots = cap * 2;
  names->cap = cap;
  for (size_t i = 0; i < names->n; i++) put_name(names, i);
  return true;
}

bool el_load_names_add(el_load_names *names, const char *name, size_t len) {
  if (names->n == names->cap && !grow_names(names)) return false;
  char *copy = strndup(name, len);
  if (!copy) return false;
  names->items[names->n] = copy;
  put_name(names, names->n++);
  return true;
}

size_t el_load_names_find(const el_load_names *names, const char *name) {
  if (!names->n_slots) return names->n;
  uint32_t place = names->slots[slot_of_name(names, name)];
  return place ? place - 1 : names->n;
}

void el_load_names_keep(el_load_names *names, size_t n) {
  if (n >= names->n) return;
  while (names->n > n) free(names->items[--names->n]);
  memset(names->slots, 0, names->n_slots * sizeof *names->slots);
  for (size_t i = 0; i < n; i++) put_name(names, i);
}

void el_load_names_free(el_load_names *names) {
  for (size_t i = 0; i < names->n; i++) free(names->items[i]);
  free(names->items);
  free(names->slots);
  *names = (el_load_names){0};
}
