/* The fields of a line in the file of keys, after the key and its patterns. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edgelora.h"
#include "server/access/keys.h"

#define BLANKS " \t\r"

typedef struct field {
  const char *name;
  const char *(*read)(el_key *key, const struct field *f, const char *value, char *room, size_t n_room);
  size_t at; /* of a number in el_quota */
} field;

static const char *describe_key_fault(char *room, size_t n_room, const char *name, const char *what) {
  snprintf(room, n_room, "%s: %s", name, what);
  return room;
}

/* 1 to `most`; 0: it is none. */
static int read_key_int(const char *value, int most) {
  int n = 0;
  if (!*value) return 0;
  for (const char *s = value; *s; s++) {
    if (*s < '0' || *s > '9' || n > (most - (*s - '0')) / 10) return 0;
    n = 10 * n + (*s - '0');
  }
  return n;
}

static const char *read_key_number(el_key *key, const field *f, const char *value, char *room, size_t n_room) {
  int *out = (int *)(void *)((char *)&key->quota + f->at);
  if (*out) return describe_key_fault(room, n_room, f->name, "is there twice");
  *out = read_key_int(value, EL_MAX_QUOTA);
  return *out ? NULL : describe_key_fault(room, n_room, f->name, "is not a number between 1 and 1000000000");
}

/* Letters that need no quotes anywhere. */
static const char *read_key_name(el_key *key, const field *f, const char *value, char *room, size_t n_room) {
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  const size_t len = strlen(value);
  if (*key->name) return describe_key_fault(room, n_room, f->name, "is there twice");
  if (!len || len > EL_MAX_KEY_NAME || strspn(value, allowed) != len)
    return describe_key_fault(room, n_room, f->name,
                              "is not 1 to 64 of the characters a-z, A-Z, 0-9, '.', '_' and '-'");
  if (!strcmp(value, "other"))
    return describe_key_fault(room, n_room, f->name, "'other' is what keys without a name are counted as");
  memcpy(key->name, value, len + 1);
  return NULL;
}

static const char *read_key_priority(el_key *key, const field *f, const char *value, char *room, size_t n_room) {
  static const struct {
    const char *name;
    int weight;
  } names[] = {{"low", EL_WEIGHT_LOW}, {"normal", EL_WEIGHT_NORMAL}, {"high", EL_WEIGHT_HIGH}};
  if (key->weight) return describe_key_fault(room, n_room, f->name, "is there twice");
  key->weight = read_key_int(value, EL_MAX_WEIGHT);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!strcmp(names[i].name, value)) key->weight = names[i].weight;
  return key->weight
             ? NULL
             : describe_key_fault(room, n_room, f->name, "is not low, normal, high or a number between 1 and 64");
}

static const field FIELDS[] = {
    {"name", read_key_name, 0},
    {"rpm", read_key_number, offsetof(el_quota, rpm)},
    {"tpm", read_key_number, offsetof(el_quota, tpm)},
    {"concurrent", read_key_number, offsetof(el_quota, concurrent)},
    {"priority", read_key_priority, 0},
};

static const char *read_key_field(el_key *key, char *word, char *room, size_t n_room) {
  char *value = strchr(word, '=');
  *value++ = 0;
  for (size_t i = 0; i < sizeof FIELDS / sizeof *FIELDS; i++)
    if (!strcmp(FIELDS[i].name, word)) return FIELDS[i].read(key, &FIELDS[i], value, room, n_room);
  snprintf(room, n_room, "field '%.32s' is not one of name, rpm, tpm, concurrent and priority", word);
  return room;
}

/* Lower-case letters, then an equals sign. An adapter's name whose last word has this form needs a pattern that ends
 * before that word. */
static bool is_key_field(const char *word) {
  const size_t n = strspn(word, "abcdefghijklmnopqrstuvwxyz_");
  return n && word[n] == '=';
}

const char *el_key_read_fields(el_key *key, char *rest, char *room, size_t n_room) {
  for (;;) {
    size_t end = strlen(rest);
    while (end && strchr(BLANKS, rest[end - 1])) rest[--end] = 0;
    size_t begin = end;
    while (begin && !strchr(BLANKS, rest[begin - 1])) begin--;
    if (!is_key_field(rest + begin)) return NULL;
    const char *fault = read_key_field(key, rest + begin, room, n_room);
    rest[begin] = 0;
    if (fault) return fault;
  }
}
