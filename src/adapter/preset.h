/* A preset: how an adapter wants to be asked. It is a file that people write and put beside the
 * weights: edgelora.json in an adapter's folder, NAME.json beside NAME.gguf.
 *
 *   {"description": "...", "system": "...", "temperature": 0.2, ..., "stop": ["\n\n"],
 *    "chat_template": "a Jinja text, or the name of a file in the same folder",
 *    "aliases": ["sql"], "lora_scale": 0.8, "schema": {...}}
 *
 * The file is hostile until it has been checked. An error names the field and its limit. An unknown
 * field is an error too, since a misspelt field would otherwise do nothing without a word. */
#ifndef EL_ADAPTER_PRESET_H
#define EL_ADAPTER_PRESET_H

#include <jansson.h>

#include "adapter/signature.h"

enum {
  EL_PRESET_MAX_BYTES = 256 << 10,        /* of the file; all texts of the greatest length together
                                           * are less */
  EL_PRESET_MAX_DEPTH = 32,               /* of its JSON; only a schema is deep */
  EL_PRESET_MAX_DESCRIPTION = 1024,       /* bytes; lists of models show it */
  EL_PRESET_MAX_SYSTEM = 64 << 10,        /* bytes */
  EL_PRESET_MAX_CHAT_TEMPLATE = 64 << 10, /* bytes; the longest known ones have 16 KiB */
  EL_PRESET_MAX_SCHEMA = 64 << 10,        /* bytes as compact JSON */
  EL_PRESET_MAX_ALIASES = 16,
  EL_PRESET_MAX_FILE_NAME = 255 /* bytes of the name of a template's file */
};

typedef struct el_preset_file {
  el_preset preset; /* its pointers lead to the memory below */
  json_t *root;
  char *schema, *template_text;
  const char **stop, **aliases;
  char *template_path; /* NULL: the template is in the file itself, or there is none */
  el_file_stamp template_stamp;
  size_t bytes; /* memory in use, about */

  /* What the owner has made of the preset. */
  void *made;
  void (*unmake)(void *made);
} el_preset_file;

/* Reads the preset of the adapter at adapter_path, a folder or a GGUF file. *out is NULL if there
 * is none. Fails with EL_ERR_FORMAT, EL_ERR_UNSUPPORTED or EL_ERR_IO. */
el_status el_preset_read(const char *adapter_path, el_preset_file **out, el_error *err);
/* Reads a preset by its own path; the file must exist. */
el_status el_preset_read_at(const char *path, el_preset_file **out, el_error *err);
/* Parses the text of a preset, for tests. `path` is the name in messages, and a template's file is
 * looked for in its folder. */
el_status el_preset_parse(const char *text, size_t len, const char *path, el_preset_file **out, el_error *err);
void el_preset_free(el_preset_file *f); /* NULL is allowed */

/* Whether the file of the chat template is still the one that was read. The preset file itself is
 * part of the signature. NULL is current. */
bool el_preset_is_current(const el_preset_file *f);

/* Checks that an adapter of this name may have its aliases. An adapter in a folder may only have
 * aliases in that folder ("acme/sql" may be called "acme/db"), so that whoever fills a folder takes
 * no name elsewhere. EL_ERR_FORMAT. */
el_status el_preset_check_aliases(const el_preset_file *f, const char *name, el_error *err);

#endif
