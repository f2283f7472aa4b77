/* Remembers how much memory adapters take, so that a start does not have to read their files. There
 * is one record file for each combination of a base model's shapes and a form of packing. */
#ifndef EL_ADAPTER_INDEX_FILE_H
#define EL_ADAPTER_INDEX_FILE_H

#include "adapter/record_file.h"
#include "adapter/registry.h"

/* The key: a hash of everything besides its files that an adapter's size depends on. */
uint64_t el_index_file_key(const el_sites *sites, const el_kernels *k, el_layout layout, size_t block_bytes);

/* Reads dir/adapters-KEY.index; results as for el_record_file_read. */
el_status el_index_file_read(const char *dir, uint64_t key, el_record_file **out, el_error *err);
/* Looks up the size of an adapter at this path with this signature. False: not recorded, or `f` is
 * NULL. */
bool el_index_file_find(const el_record_file *f, const char *path, const el_signature *signature, el_pack_size *out);

/* Writes the sizes that the registry knows, and those of `before` (may be NULL) for all other
 * adapters. */
el_status el_index_file_write(const char *dir, uint64_t key, el_registry *r, const el_record_file *before,
                              el_error *err);

#endif
