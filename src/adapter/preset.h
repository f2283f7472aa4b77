/* What an adapter brings besides its weights: how it wants to be asked. A file that people write, beside the weights:
 * edgelora.json in an adapter's folder, NAME.json beside NAME.gguf.
 *
 * {"description": "...", "system": "...", "chat_template": "a Jinja text, or the name of a file in the same folder",
 *  "temperature": 0.2, ..., "stop": ["\n\n"], "aliases": ["sql"], "lora_scale": 0.8, "schema": {...}}
 *
 * It is hostile until it is checked: a field that is wrong is named with its limit, and a name that is not known is an
 * error too, since a misspelt field would silently do nothing. */
#ifndef EL_ADAPTER_PRESET_H
#define EL_ADAPTER_PRESET_H

#include <jansson.h>

#include "adapter/signature.h"

enum {
  EL_PRESET_MAX_BYTES = 256 << 10,        /* of the file: all texts of the greatest length are less */
  EL_PRESET_MAX_DEPTH = 32,               /* of its JSON; a schema is the only deep part */
  EL_PRESET_MAX_DESCRIPTION = 1024,       /* bytes; lists of models have it */
  EL_PRESET_MAX_SYSTEM = 64 << 10,        /* bytes */
  EL_PRESET_MAX_CHAT_TEMPLATE = 64 << 10, /* bytes; the longest that are known have 16 KiB */
  EL_PRESET_MAX_SCHEMA = 64 << 10,        /* bytes as compact JSON */
  EL_PRESET_MAX_ALIASES = 16,
  EL_PRESET_MAX_FILE_NAME = 255 /* bytes, of a template's file */
};

typedef struct el_preset_file {
  el_preset preset; /* points into what follows */
  json_t *root;
  char *schema, *template_text;
  const char **stop, **aliases;
  char *template_path; /* NULL: the template stands in the file itself, or there is none */
  el_file_stamp template_stamp;
  size_t bytes; /* of memory, about */

  /* The owner's: what it has made of the preset. */
  void *made;
  void (*unmake)(void *made);
} el_preset_file;

/* adapter_path, is_folder: the adapter that it belongs to. *out is NULL when there is no file. EL_ERR_FORMAT,
 * EL_ERR_UNSUPPORTED, EL_ERR_IO. */
el_status el_preset_read(const char *adapter_path, el_preset_file **out, el_error *err);
/* One by its own path, which must be there. */
el_status el_preset_read_at(const char *path, el_preset_file **out, el_error *err);
/* The text of a file, for tests; `path` is what messages call it, and in whose folder a template is looked for. */
el_status el_preset_parse(const char *text, size_t len, const char *path, el_preset_file **out, el_error *err);
void el_preset_free(el_preset_file *f); /* NULL is allowed */

/* Whether the file of its template is still the one that was read. What the preset itself says is the signature's. */
bool el_preset_is_current(const el_preset_file *f); /* NULL is */

/* Whether an adapter of this name may have its aliases: one in a folder keeps to the folder ("acme/sql" may be called
 * "acme/db"), so that whoever fills it takes no name elsewhere. EL_ERR_FORMAT. */
el_status el_preset_check_aliases(const el_preset_file *f, const char *name, el_error *err);

#endif
