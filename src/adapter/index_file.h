/* What is known about adapter files from earlier runs, so that a start does not read them: how much memory each takes.
 *
 * One file for each base model's shapes and form of packing. It is a cache: checked when it is read, left aside when
 * anything is wrong with it, safe to delete. It is written beside and renamed, so that processes that share it see a
 * whole one, of the last that wrote. */
#ifndef EL_ADAPTER_INDEX_FILE_H
#define EL_ADAPTER_INDEX_FILE_H

#include "adapter/registry.h"

typedef struct el_index_file el_index_file;

/* The key: whatever an adapter's size depends on beside its files. */
uint64_t el_index_file_key(const el_lora_shape *shape, const el_kernels *k, el_layout layout, size_t block_bytes);

/* Reads dir/adapters-KEY.index. NULL in *out when there is none. EL_ERR_FORMAT: it is damaged, and would be
 * overwritten. */
el_status el_index_file_read(const char *dir, uint64_t key, el_index_file **out, el_error *err);
void el_index_file_free(el_index_file *f); /* NULL is allowed */
size_t el_index_file_n(const el_index_file *f);
/* What it has for files at this path with this signature; NULL is allowed as `f`. */
bool el_index_file_find(const el_index_file *f, const char *path, const el_signature *signature, el_pack_size *out);

/* Writes what the registry knows, and of what `before` (may be NULL) knows the rest. Makes the folder, not its parents.
 */
el_status el_index_file_write(const char *dir, uint64_t key, el_registry *r, const el_index_file *before,
                              el_error *err);

#endif
