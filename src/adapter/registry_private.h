/* The registry as its own files see it. Private to this folder. */
#ifndef EL_ADAPTER_REGISTRY_PRIVATE_H
#define EL_ADAPTER_REGISTRY_PRIVATE_H

#include <pthread.h>

#include "adapter/registry.h"
#include "base/buf.h"
#include "base/text.h"

/* The most combinations that are remembered, the last used ones. Clients make them up, so their
 * number needs a bound. */
enum { EL_MAX_COMBINATIONS = 256 };

/* Few adapters have aliases, and those have few: this many buckets are enough for ten thousand
 * adapters. */
enum { EL_ALIAS_BUCKETS = 1024 };

/* The most bytes of all presets together. More is refused, so that files on a disk cannot fill the
 * memory. */
#define EL_MAX_PRESET_BYTES ((size_t)256 << 20)

/* The most bytes of notices that nobody has taken. */
#define EL_MAX_NOTICE_BYTES ((size_t)64 << 10)

struct el_registry {
  pthread_mutex_t mutex;
  char *base_name;
  void (*on_dead)(void *user);
  void *user;
  void (*report)(void *user, uint64_t id, const char *name, const char *path);
  void *report_user;
  el_status (*make)(void *user, el_preset_file *f, el_error *err);
  void *make_user;
  uint64_t (*now_ns)(void);
  const el_tokenizer *tokenizer; /* NULL: entries have no tokens of their own */
  const el_sites *sites;
  pthread_mutex_t tokens_mutex; /* held while files are read; no other mutex is taken after it */
  el_entry **entries;           /* [n] listed, in order of registration */
  size_t n, cap;
  el_entry **buckets; /* [n_buckets] by hash; a power of two, at least n */
  size_t n_buckets;
  uint64_t scan;
  uint64_t next_id, last_serial, last_generation;
  el_entry *combined[EL_MAX_COMBINATIONS]; /* [n_combined] the one used last stands last */
  size_t n_combined;
  el_entry *dead;
  el_alias *aliases[EL_ALIAS_BUCKETS]; /* of all listed entries, with all that they want */
  atomic_size_t preset_bytes;          /* of all entries */
  uint32_t most_pinned;                /* blocks that all pinned entries may have together */
  size_t block_bytes;                  /* for messages */
  atomic_uint pinned_blocks;           /* blocks that they have, as far as their sizes are known */
  atomic_uint pins_version;            /* changes when other entries are pinned */
  el_buf notices;
  el_refused refused; /* what directories hold that cannot be offered */
};

/* A name in a form that is safe to print. */
static inline const char *el_registry_show(const char *name, char out[EL_SHOW]) {
  return el_str_show(el_str_of(name), out, EL_SHOW);
}

/* FNV-1a */
uint64_t el_registry_hash(const char *name);
/* Finds by its own name; NULL: there is none. The mutex is held here and in all functions below. */
el_entry *el_registry_find(const el_registry *r, const char *name);
/* Finds by name, or else by alias. Of several entries with the alias, the one that was registered
 * first. */
el_entry *el_registry_resolve(const el_registry *r, const char *name);
/* Finds by id: ids grow along the list. */
el_entry *el_registry_at_id(const el_registry *r, uint64_t id);

/* pins.c: whether an entry of this size may be pinned in the place of `old` (NULL: of nobody). */
el_status el_registry_check_pin(const el_registry *r, const el_entry *old, const el_entry *e, el_error *err);
/* To be called when a pinned entry was added, removed or resized. */
void el_registry_recount_pins(el_registry *r);

/* entry_tokens.c: whether the files are still those that were read; and frees what was made of
 * them. */
bool el_entry_tokens_current(el_entry *e);
void el_entry_free_tokens(el_entry *e);

/* aliases.c: adds the aliases of an entry that is listed now, or removes those of one that no
 * longer is. */
void el_registry_add_aliases(el_registry *r, el_entry *e);
void el_registry_remove_aliases(el_registry *r, el_entry *e);
void el_registry_notice(el_registry *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
