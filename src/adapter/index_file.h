/* How much memory adapters take, known from earlier runs, so that a start does not read their files: one record file
 * for each base model's shapes and form of packing. */
#ifndef EL_ADAPTER_INDEX_FILE_H
#define EL_ADAPTER_INDEX_FILE_H

#include "adapter/record_file.h"
#include "adapter/registry.h"

/* The key: whatever an adapter's size depends on beside its files. */
uint64_t el_index_file_key(const el_sites *sites, const el_kernels *k, el_layout layout, size_t block_bytes);

/* Reads dir/adapters-KEY.index; as el_record_file_read. */
el_status el_index_file_read(const char *dir, uint64_t key, el_record_file **out, el_error *err);
/* What it has for files at this path with this signature; NULL is allowed as `f`. */
bool el_index_file_find(const el_record_file *f, const char *path, const el_signature *signature, el_pack_size *out);

/* Writes what the registry knows, and of what `before` (may be NULL) knows the rest. */
el_status el_index_file_write(const char *dir, uint64_t key, el_registry *r, const el_record_file *before,
                              el_error *err);

#endif
