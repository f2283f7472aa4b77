/* Folders with an adapter: adapter_config.json and the weights. PEFT saves them in one file, or in
 * several files with an index; mlx-lm saves one file. */
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapter/lora_halves.h"
#include "base/error.h"
#include "base/json_guard.h"

enum { MAX_INDEX = 16 << 20 /* bytes: 150 for each tensor */ };

static const char one_file[] = "adapter_model.safetensors", index_file[] = "adapter_model.safetensors.index.json",
                  mlx_file[] = "adapters.safetensors", pickle_file[] = "adapter_model.bin";

/* Uses no memory of its own, so that lack of memory is not mistaken for a missing file. */
static bool stat_in_folder(const char *dir, const char *file, struct stat *out) {
  char path[PATH_MAX];
  const int n = snprintf(path, sizeof path, "%s/%s", dir, file);
  return n > 0 && n < PATH_MAX && stat(path, out) == 0;
}

static bool folder_has(const char *dir, const char *file) {
  struct stat st;
  return stat_in_folder(dir, file, &st);
}

/* Finds the file of a folder's weights, or of their index. A file beside PEFT's own belongs to
 * another adapter. */
static el_status find_weights(const char *dir, const char **out, el_error *err) {
  bool one = folder_has(dir, one_file), several = folder_has(dir, index_file), mlx = folder_has(dir, mlx_file);
  if (!one && several && mlx)
    return el_fail_about(err, EL_ERR_FORMAT, dir, "holds both %s and %s: which one is meant cannot be told", index_file,
                         mlx_file);
  if (!one && !several && !mlx && folder_has(dir, pickle_file))
    return el_fail_about(err, EL_ERR_UNSUPPORTED, dir,
                         "%s is a pickle, and reading one runs code: convert it to safetensors, for instance with "
                         "python -c \"import torch, safetensors.torch as s; s.save_file({k: v.contiguous() for k, v in "
                         "torch.load('%s', weights_only=True).items()}, '%s')\"",
                         pickle_file, pickle_file, one_file);
  *out = one       ? one_file
         : several ? index_file
         : mlx     ? mlx_file
                   : one_file; /* none of them: reading the first says so */
  return EL_OK;
}

/* ---------------------------------------------------------------- several files */

static el_status add_shard(el_lora_file *f, const char *dir, const char *name, el_error *err) {
  char shown[EL_SHOW];
  const el_str s = el_str_of(name);
  for (size_t i = 0; i < f->n_shards; i++)
    if (!strcmp(f->shards[i].name, name)) return EL_OK;
  if (strchr(name, '/') || !s.len || name[0] == '.')
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "weight_map: \"%s\" is no file of this folder",
                         el_str_show(s, shown, sizeof shown));
  if (f->n_shards == EL_LORA_MAX_SHARDS)
    return el_fail_about(err, EL_ERR_UNSUPPORTED, f->weights_path, "weight_map names more than %d files",
                         EL_LORA_MAX_SHARDS);
  el_lora_shard *shard = &f->shards[f->n_shards++];
  *shard = (el_lora_shard){.name = strdup(name), .path = el_path_join(dir, name)};
  if (!shard->name || !shard->path) return el_fail_about(err, EL_ERR_NO_MEMORY, dir, "out of memory");
  return EL_OK;
}

static el_status open_shard(el_lora_file *f, el_lora_shard *shard, size_t *left, el_error *err) {
  if (f->header_only) return el_safetensors_open(shard->path, &shard->safetensors, err);
  el_status status = el_file_read(shard->path, *left, &shard->file, err);
  *left -= status ? 0 : shard->file.size;
  return status ? status
                : el_safetensors_open_memory(shard->file.data, shard->file.size, shard->path, &shard->safetensors, err);
}

/* Checks that each tensor of the map is in the file that the map says, and that the files hold no
 * others: otherwise some would be skipped or exist twice. */
static el_status check_map(const el_lora_file *f, const json_t *map, el_error *err) {
  char shown[EL_SHOW];
  const char *tensor;
  json_t *file;
  size_t n = 0;
  for (size_t i = 0; i < f->n_shards; i++) n += el_safetensors_n(f->shards[i].safetensors);
  json_object_foreach((json_t *)map, tensor, file) {
    size_t i = 0;
    while (strcmp(f->shards[i].name, json_string_value(file))) i++;
    if (!el_safetensors_find(f->shards[i].safetensors, tensor))
      return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "tensor %s is not in %s",
                           el_str_show(el_str_of(tensor), shown, sizeof shown), f->shards[i].name);
  }
  if (n != json_object_size(map))
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "weight_map has %zu tensors, its files have %zu",
                         json_object_size(map), n);
  return EL_OK;
}

static el_status open_shards(el_lora_file *f, const char *dir, const json_t *map, el_error *err) {
  const char *tensor;
  json_t *file;
  size_t left = EL_LORA_MAX_WEIGHTS;
  el_status status = EL_OK;
  char shown[EL_SHOW];
  if (!json_is_object(map)) return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "weight_map is not an object");
  if (!(f->shards = calloc(EL_LORA_MAX_SHARDS, sizeof *f->shards)))
    return el_fail_about(err, EL_ERR_NO_MEMORY, dir, "out of memory");
  json_object_foreach((json_t *)map, tensor, file) {
    if (!json_is_string(file))
      return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "weight_map: the file of %s is not a string",
                           el_str_show(el_str_of(tensor), shown, sizeof shown));
    if ((status = add_shard(f, dir, json_string_value(file), err))) return status;
  }
  for (size_t i = 0; i < f->n_shards && !status; i++) status = open_shard(f, &f->shards[i], &left, err);
  return status ? status : check_map(f, map, err);
}

static el_status read_index(el_lora_file *f, const char *dir, el_error *err) {
  el_file file = {0};
  el_status status = el_file_read(f->weights_path, MAX_INDEX, &file, err);
  if (status) return status;
  json_error_t json_err;
  bool no_memory;
  char shown[EL_SHOW];
  json_t *root = el_json_load((const char *)file.data, file.size, JSON_REJECT_DUPLICATES, &json_err, &no_memory);
  if (root)
    status = open_shards(f, dir, json_object_get(root, "weight_map"), err);
  else if (no_memory)
    status = el_fail_about(err, EL_ERR_NO_MEMORY, f->weights_path, "out of memory");
  else
    status = el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "line %d: %s", json_err.line,
                           el_str_show(el_str_of(json_err.text), shown, sizeof shown));
  json_decref(root);
  el_file_close(&file);
  return status;
}

void el_lora_close_shards(el_lora_file *f) {
  for (size_t i = 0; i < f->n_shards; i++) {
    el_safetensors_close(f->shards[i].safetensors);
    el_file_close(&f->shards[i].file);
    free(f->shards[i].name);
    free(f->shards[i].path);
  }
  free(f->shards);
}

/* ---------------------------------------------------------------- tensors */

size_t el_lora_n_tensors(const el_lora_file *f) {
  size_t n = f->safetensors ? el_safetensors_n(f->safetensors) : 0;
  for (size_t i = 0; i < f->n_shards; i++) n += el_safetensors_n(f->shards[i].safetensors);
  return n;
}

const el_st_tensor *el_lora_tensor_at(const el_lora_file *f, size_t i) {
  const size_t n = f->safetensors ? el_safetensors_n(f->safetensors) : 0;
  if (i < n) return el_safetensors_at(f->safetensors, i);
  i -= n;
  const el_lora_shard *s = f->shards;
  for (; i >= el_safetensors_n(s->safetensors); s++) i -= el_safetensors_n(s->safetensors);
  return el_safetensors_at(s->safetensors, i);
}

/* ---------------------------------------------------------------- folders */

el_status el_lora_read_peft(el_lora_file *f, const char *dir, el_error *err) {
  char *config = el_path_join(dir, "adapter_config.json");
  if (!config) return el_fail_about(err, EL_ERR_NO_MEMORY, dir, "out of memory");
  el_status status = el_file_read(config, EL_LORA_MAX_CONFIG, &f->config, err);
  free(config);
  if (status) return status;
  const char *weights;
  if ((status = find_weights(dir, &weights, err))) return status;
  if (!(f->weights_path = el_path_join(dir, weights)))
    return el_fail_about(err, EL_ERR_NO_MEMORY, dir, "out of memory");
  if (!strcmp(weights, index_file))
    status = read_index(f, dir, err);
  else if (!f->header_only)
    status = el_file_read_into(f->weights_path, EL_LORA_MAX_WEIGHTS, f->buffer, &f->weights, err);
  return status ? status : el_lora_parse_peft(f, dir, err);
}

size_t el_lora_weights_size(const char *dir) {
  const char *weights;
  struct stat st;
  if (find_weights(dir, &weights, NULL)) return 0;
  if (!strcmp(weights, index_file))
    return SIZE_MAX; /* several files: their headers are checked
                      * first */
  return stat_in_folder(dir, weights, &st) ? (size_t)st.st_size : 0;
}
