/* What has been learnt about files, kept in a cache folder for the next start: some bytes for each
 * path. They count as long as the files at that path have the same signature, presets aside.
 *
 * The file is a cache: it is checked when it is read, ignored if anything is wrong with it, and
 * safe to delete. It is written beside the old one and renamed, so that processes that share it
 * always see a whole file, the one that was written last. */
#ifndef EL_ADAPTER_RECORD_FILE_H
#define EL_ADAPTER_RECORD_FILE_H

#include "adapter/signature.h"

typedef struct el_record_file el_record_file;

/* FNV-1a, to make keys; start with EL_RECORD_HASH. */
#define EL_RECORD_HASH 0xcbf29ce484222325u
uint64_t el_record_hash(uint64_t h, const void *data, size_t n);

/* Names a file: dir/kind-KEY.index. The key is a hash of everything besides the files described
 * that its bytes depend on. */
typedef struct el_record_name {
  const char *dir, *kind;
  uint64_t key;
} el_record_name;

/* *out is NULL if there is no such file. EL_ERR_FORMAT: the file is damaged and may be
 * overwritten. */
el_status el_record_file_read(const el_record_name *name, el_record_file **out, el_error *err);
void el_record_file_free(el_record_file *f); /* NULL is allowed */
/* The record of a path, 8-byte aligned, valid as long as the file; NULL: there is none, or f is
 * NULL. */
const void *el_record_file_find(const el_record_file *f, const char *path, const el_signature *signature,
                                size_t *bytes);

/* Collects records for a new file. Errors show when it is saved. */
typedef struct el_record_writer el_record_writer;
/* before: the file that will be replaced, or NULL; it must outlive the writer. Returns NULL: out of
 * memory. */
el_record_writer *el_record_writer_new(const el_record_file *before);
void el_record_writer_free(el_record_writer *w);
void el_record_writer_put(el_record_writer *w, const char *path, const el_signature *signature, const void *data,
                          size_t bytes);
/* Keeps the records of `before` that were not put again and whose files are still the same, since
 * another program may serve those adapters; then writes the file. Creates the folder and its
 * parents. */
el_status el_record_writer_save(el_record_writer *w, const el_record_name *name, el_error *err);

#endif
