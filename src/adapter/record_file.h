/* What has been learnt about files, kept in a cache folder for the next start: for a path some bytes, which count as
 * long as what is there has the same signature, presets aside.
 *
 * A cache: checked when it is read, left aside when anything is wrong with it, safe to delete. It is written beside and
 * renamed, so that processes that share it see a whole one, of the last that wrote. */
#ifndef EL_ADAPTER_RECORD_FILE_H
#define EL_ADAPTER_RECORD_FILE_H

#include "adapter/signature.h"

typedef struct el_record_file el_record_file;

/* FNV-1a, to make keys; begin with EL_RECORD_HASH. */
#define EL_RECORD_HASH 0xcbf29ce484222325u
uint64_t el_record_hash(uint64_t h, const void *data, size_t n);

/* Which file: dir/kind-KEY.index. The key is a hash of all that its bytes depend on beside the files they tell of. */
typedef struct el_record_name {
  const char *dir, *kind;
  uint64_t key;
} el_record_name;

/* NULL in *out when there is none. EL_ERR_FORMAT: it is damaged, and may be overwritten. */
el_status el_record_file_read(const el_record_name *name, el_record_file **out, el_error *err);
void el_record_file_free(el_record_file *f); /* NULL is allowed */
/* What it has for a path, 8-byte aligned, valid while the file is; NULL: nothing. f may be NULL. */
const void *el_record_file_find(const el_record_file *f, const char *path, const el_signature *signature,
                                size_t *bytes);

/* Collects records for a new file; what goes wrong shows when it is saved. */
typedef struct el_record_writer el_record_writer;
/* before: the file that is replaced, or NULL; it must stay. NULL: out of memory. */
el_record_writer *el_record_writer_new(const el_record_file *before);
void el_record_writer_free(el_record_writer *w);
void el_record_writer_put(el_record_writer *w, const char *path, const el_signature *signature, const void *data,
                          size_t bytes);
/* Keeps the records of `before` whose files are still the same and that were not put anew, since another program may
 * serve those; then writes. Makes the folder and those above it. */
el_status el_record_writer_save(el_record_writer *w, const el_record_name *name, el_error *err);

#endif
