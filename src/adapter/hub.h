/* A model's folder in a hub cache, as huggingface_hub lays it out:
 * models--ORG--NAME/snapshots/HASH. refs/main contains the HASH, and the files of a snapshot are
 * links to blobs named by their content. */
#ifndef EL_ADAPTER_HUB_H
#define EL_ADAPTER_HUB_H

#include <limits.h>
#include <stdbool.h>

bool el_hub_is_repository(const char *entry);
/* Writes ORG/NAME. */
void el_hub_name(const char *entry, char out[NAME_MAX + 1]);

enum { EL_HUB_SNAPSHOT = 3 * (NAME_MAX + 1) };
/* Finds the snapshot that refs/main names, or else the newest one: entry/snapshots/HASH. False:
 * there is no snapshot. */
bool el_hub_snapshot(int dir_fd, const char *entry, char out[EL_HUB_SNAPSHOT]);
/* Whether a snapshot has a GGUF file. */
bool el_hub_has_gguf(int dir_fd, const char *snapshot);

#endif
