/* What adapters a directory holds: a sub-folder with adapter_config.json and weights, named after the folder, and a
 * *.gguf file, named after its stem. A sub-folder without them is looked into in turn, and what it holds is named
 * "sub-folder/name": one level, for a folder a tenant. A model's folder in a hub cache, models--ORG--NAME, is the
 * snapshot in it that refs/main names, or else the newest, by the name ORG/NAME.
 *
 * What looks like an adapter and is none is found too, with its problem. */
#ifndef EL_ADAPTER_DISCOVER_H
#define EL_ADAPTER_DISCOVER_H

#include "adapter/peek.h"
#include "adapter/signature.h"
#include "edgelora.h"

/* An adapter's name: 1 to EL_MAX_NAME_BYTES bytes of UTF-8 without control characters. It is looked up, never used as
 * a path. */
/* EL_ERR_INVALID says what is wrong; the message has the name in a form that is safe to print. */
el_status el_adapter_name_check(const char *name, el_error *err);

typedef struct el_found_adapter {
  char *name;
  char *path; /* dir/entry, dir/folder/entry */
  el_signature signature;
  el_status status; /* EL_OK, or why this entry cannot be used: */
  char *problem;    /* the message then; NULL otherwise */
  size_t detail;    /* of it, as in el_error */
} el_found_adapter;

typedef struct el_found {
  el_found_adapter *items; /* sorted by name, by path where names are equal */
  size_t n;
  char **folders; /* that were looked into, in no order: where a change may bring an adapter */
  size_t n_folders;
  bool unsure; /* the system failed to answer a question: there may be more than these */
} el_found;

/* Lists; opens no adapter. Entries that begin with a dot are not looked at, symbolic links are followed (whoever may
 * write into the directory decides what is served), sub-folders of sub-folders are not searched. A name that is there
 * twice (a/ and a.gguf) is the second one's problem. */
el_status el_adapter_discover(const char *dir, el_found *out, el_error *err);
/* The same; `progress` is told how far it is, every few seconds. */
el_status el_adapter_discover_told(const char *dir, el_peek_progress progress, void *user, el_found *out,
                                   el_error *err);
void el_found_free(el_found *f);

#endif
