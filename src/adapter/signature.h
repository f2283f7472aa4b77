/* What tells one state of an adapter's files from another without reading them. */
#ifndef EL_ADAPTER_SIGNATURE_H
#define EL_ADAPTER_SIGNATURE_H

#include "base/error.h"
#include "base/stamp.h"

/* The preset of an adapter's folder, and what stands in the place of a GGUF file's suffix for its own: see preset.h. */
#define EL_PRESET_FILE "edgelora.json"
#define EL_PRESET_SUFFIX ".json"
#define EL_GGUF_SUFFIX ".gguf"

enum { EL_SIGNED_WEIGHTS, EL_SIGNED_CONFIG, EL_SIGNED_PRESET, EL_N_SIGNED };
typedef struct el_signature {
  el_file_stamp file[EL_N_SIGNED]; /* a folder's weights (all of them together) and adapter_config.json, or a GGUF file
                                    * and zeros; the preset, or zeros */
} el_signature;

/* path: as el_lora_file_open. EL_ERR_IO: it is not there, or not readable. */
el_status el_signature_read(const char *path, el_signature *out, el_error *err);
bool el_signature_equal(const el_signature *a, const el_signature *b);
/* Whether they are the same but for the preset: what is loaded is. */
bool el_signature_same_weights(const el_signature *a, const el_signature *b);
/* Whether a file is taken for a GGUF file, by its name. */
bool el_signature_is_gguf(const char *path);

/* The same for an entry of an open directory, without messages; false: it is no adapter by its form. *folder: it is a
 * directory; when the result is false too, it may hold adapters itself. *problem: NULL, or why it is none although it
 * looks like one (static). *unsure: the system failed to answer a question, so that the entry may be anything. */
bool el_signature_at(int dir_fd, const char *entry, bool *folder, const char **problem, bool *unsure,
                     el_signature *out);

/* Whether an error says that there is nothing, or nothing for us; any other says that the system does not know now. */
bool el_signature_says_absent(int error);

#endif
