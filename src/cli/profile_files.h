/* The state of the files that a profile's answers depend on, by sizes and times: nothing is read. */
#ifndef EL_CLI_PROFILE_FILES_H
#define EL_CLI_PROFILE_FILES_H

#include "base/stamp.h"
#include "edgelora.h"

typedef struct el_profile_files {
  el_file_stamp weights; /* of a file, or of all weights of a folder together */
  el_file_stamp config;  /* adapter_config.json; zeros: there is none */
} el_profile_files;

/* path: a model's or an adapter's file or folder. EL_ERR_IO: it is not there, or cannot be looked at. */
el_status el_profile_files_look(const char *path, el_profile_files *out, el_error *err);

#endif
