/* What tells one state of an adapter's files from another without reading them. */
#ifndef EL_ADAPTER_SIGNATURE_H
#define EL_ADAPTER_SIGNATURE_H

#include "base/error.h"

typedef struct el_signature {
  struct {
    uint64_t size, mtime_ns, inode;
  } file[2]; /* a PEFT folder's weights and adapter_config.json, or a GGUF file and zeros */
} el_signature;

/* path: as el_lora_file_open. EL_ERR_IO: it is not there, or not readable. */
el_status el_signature_read(const char *path, el_signature *out, el_error *err);
bool el_signature_equal(const el_signature *a, const el_signature *b);

/* The same for an entry of an open directory, without messages; false: it is no adapter by its form. *folder: it is a
 * directory; when the result is false too, it may hold adapters itself. */
bool el_signature_at(int dir_fd, const char *entry, bool *folder, el_signature *out);

#endif
