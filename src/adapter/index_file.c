#include "adapter/index_file.h"

#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "base/error.h"

/* What is recorded of an adapter. */
typedef struct kept {
  uint64_t bytes;
  uint32_t n_blocks, rank, consecutive, unused;
} kept;

uint64_t el_index_file_key(const el_sites *sites, const el_kernels *k, el_layout layout, size_t block_bytes) {
  uint64_t sizes[] = {(uint64_t)k->tile,           (uint64_t)layout,          block_bytes,
                      sizeof(el_adapter),          sizeof(el_lora_site),      (uint64_t)sites->n_sites,
                      (uint64_t)sites->output.out, (uint64_t)sites->n_experts};
  uint64_t hash = el_record_hash(EL_RECORD_HASH, sites->arch->name, strlen(sites->arch->name));
  hash = el_record_hash(hash, sites->dims, sizeof *sites->dims * (size_t)sites->n_layers * (size_t)sites->n_sites);
  hash = el_record_hash(hash, sites->expert_dims, sizeof sites->expert_dims);
  return el_record_hash(hash, sizes, sizeof sizes);
}

static el_record_name index_record_name(const char *dir, uint64_t key) {
  return (el_record_name){dir, "adapters", key};
}

el_status el_index_file_read(const char *dir, uint64_t key, el_record_file **out, el_error *err) {
  const el_record_name name = index_record_name(dir, key);
  return el_record_file_read(&name, out, err);
}

bool el_index_file_find(const el_record_file *f, const char *path, const el_signature *signature, el_pack_size *out) {
  size_t bytes;
  kept k;
  const void *data = el_record_file_find(f, path, signature, &bytes);
  if (!data || bytes != sizeof k) return false;
  memcpy(&k, data, sizeof k);
  /* The value only decides how many blocks are set aside; the loader notices if it is wrong. */
  if (!k.n_blocks || k.n_blocks > INT32_MAX || !k.rank || k.rank > EL_MAX_RANK) return false;
  *out = (el_pack_size){.n_blocks = k.n_blocks, .consecutive = k.consecutive, .rank = (int)k.rank, .bytes = k.bytes};
  return true;
}

static void put_entry(void *user, const el_entry *e) {
  kept k = {.bytes = e->size.bytes,
            .n_blocks = e->size.n_blocks,
            .rank = (uint32_t)e->size.rank,
            .consecutive = e->size.consecutive};
  el_record_writer_put(user, e->path, &e->signature, &k, sizeof k);
}

el_status el_index_file_write(const char *dir, uint64_t key, el_registry *r, const el_record_file *before,
                              el_error *err) {
  const el_record_name name = index_record_name(dir, key);
  el_record_writer *w = el_record_writer_new(before);
  if (!w) return el_fail_about(err, EL_ERR_NO_MEMORY, dir, "out of memory");
  el_registry_each_known(r, put_entry, w);
  el_status status = el_record_writer_save(w, &name, err);
  el_record_writer_free(w);
  return status;
}
