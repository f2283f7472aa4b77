/* Finds the adapters in a directory. An adapter is a sub-folder with adapter_config.json and
 * weights, named after the folder, or a *.gguf file, named after its stem. A sub-folder without
 * these is searched in turn, and what it holds is named "sub-folder/name"; this goes one level deep
 * and serves a folder for each tenant. A model's folder in a hub cache, models--ORG--NAME, stands
 * for the snapshot in it that refs/main names, or else the newest one, and is named ORG/NAME.
 *
 * An entry that looks like an adapter but cannot be one is listed too, with its problem. */
#ifndef EL_ADAPTER_DISCOVER_H
#define EL_ADAPTER_DISCOVER_H

#include "adapter/peek.h"
#include "adapter/signature.h"
#include "edgelora.h"

/* An adapter's name has 1 to EL_MAX_NAME_BYTES bytes of UTF-8 without control characters. It is
 * looked up and never used as a path. */
/* EL_ERR_INVALID says what is wrong with a name; the message shows the name in a form that is safe
 * to print. */
el_status el_adapter_name_check(const char *name, el_error *err);

typedef struct el_found_adapter {
  char *name;
  char *path; /* dir/entry or dir/folder/entry */
  el_signature signature;
  el_status status; /* EL_OK, or why this entry cannot be used */
  char *problem;    /* the message if status is not EL_OK; else NULL */
  size_t detail;    /* offset of the detail in `problem`, as in el_error */
} el_found_adapter;

typedef struct el_found {
  el_found_adapter *items; /* sorted by name, and by path where names are equal */
  size_t n;
  char **folders; /* the folders that were searched, in no order: a change in one may bring an
                   * adapter */
  size_t n_folders;
  bool unsure; /* the system failed to answer a question: there may be more than these */
} el_found;

/* Lists a directory without opening any adapter. Entries that begin with a dot are skipped.
 * Symbolic links are followed: whoever may write into the directory decides what is served.
 * Sub-folders of sub-folders are not searched. Where two entries have one name (a/ and a.gguf), the
 * second has a problem that says so. */
el_status el_adapter_discover(const char *dir, el_found *out, el_error *err);
/* The same; `progress` is told every few seconds how far the search is. */
el_status el_adapter_discover_told(const char *dir, el_peek_progress progress, void *user, el_found *out,
                                   el_error *err);
void el_found_free(el_found *f);

#endif
