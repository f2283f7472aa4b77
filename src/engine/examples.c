/* The examples that an adapter brings along, for people to try; the router's readings are readings.c. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "engine/engine.h"
#include "router/example_file.h"

/* The prompts in one block with their strings. */
static el_status pack(const el_examples_read *r, char ***out, el_error *err) {
  size_t bytes = (size_t)r->n * sizeof(char *);
  for (int i = 0; i < r->n; i++) bytes += strlen(r->prompts[i]) + 1;
  char **list = malloc(bytes ? bytes : 1);
  if (!list) return el_fail(err, EL_ERR_NO_MEMORY, "examples: out of memory");
  char *at = (char *)(list + r->n);
  for (int i = 0; i < r->n; i++) {
    list[i] = at;
    at = stpcpy(at, r->prompts[i]) + 1;
  }
  *out = list;
  return EL_OK;
}

/* A description.txt is a text about the adapter, which the router takes for a prompt: nobody asks it that. */
static bool has_prompts(const char *path) {
  static const char end[] = ".jsonl";
  size_t len = path ? strlen(path) : 0;
  return len >= sizeof end - 1 && !strcmp(path + len - (sizeof end - 1), end);
}

el_status el_adapter_examples(el_engine *e, const char *name, char ***out, size_t *n, el_error *err) {
  if (!e || !name || !out || !n) return el_fail(err, EL_ERR_INVALID, "adapter examples: an argument is NULL");
  el_adapter_info *info;
  el_status status = el_adapter_get(e, name, &info, err);
  if (status) return status;
  el_signature signature;
  el_examples_read read = {0};
  char *path = NULL;
  if (*info->path) status = el_example_file_find(info->path, &signature, &path, err);
  el_free(info);
  if (!status && has_prompts(path)) status = el_example_file_read(path, &read, err);
  free(path);
  if (!status) status = pack(&read, out, err);
  if (!status) *n = (size_t)read.n;
  el_examples_read_free(&read);
  return status;
}
