/* The registry as its own files see it. */
#ifndef EL_ADAPTER_REGISTRY_PRIVATE_H
#define EL_ADAPTER_REGISTRY_PRIVATE_H

#include <pthread.h>

#include "adapter/registry.h"
#include "base/buf.h"
#include "base/text.h"

/* Combinations that are remembered, the last used ones: clients think of them, so their number must have a bound. */
enum { EL_MAX_COMBINATIONS = 256 };

/* Few adapters have aliases, and those few of them: this many buckets are enough for ten thousand. */
enum { EL_ALIAS_BUCKETS = 1024 };

/* Presets of all adapters together. What is more is refused, so that files on a disk cannot fill the memory. */
#define EL_MAX_PRESET_BYTES ((size_t)256 << 20)

/* Notices that nobody has taken. */
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
  pthread_mutex_t tokens_mutex; /* held while files are read: taken before no other */
  el_entry **entries;           /* [n] listed, in order of registration */
  size_t n, cap;
  el_entry **buckets; /* [n_buckets] by hash; a power of two, n at least */
  size_t n_buckets;
  uint64_t scan;
  uint64_t next_id, last_serial, last_generation;
  el_entry *combined[EL_MAX_COMBINATIONS]; /* [n_combined] the last used one last */
  size_t n_combined;
  el_entry *dead;
  el_alias *aliases[EL_ALIAS_BUCKETS]; /* of listed entries, all that they want */
  atomic_size_t preset_bytes;          /* of all entries */
  uint32_t most_pinned;                /* blocks that pinned entries may have together */
  size_t block_bytes;                  /* for messages */
  atomic_uint pinned_blocks;           /* that they have, as far as their sizes are known */
  atomic_uint pins_version;            /* another one when other entries are pinned */
  el_buf notices;
  el_refused refused; /* what directories hold that cannot be offered */
};

/* FNV-1a */
uint64_t el_registry_hash(const char *name);
/* By its own name; NULL: there is none. The mutex is held here and below. */
el_entry *el_registry_find(const el_registry *r, const char *name);
/* By name, or else by alias: of several that want it the one that was registered first. */
el_entry *el_registry_resolve(const el_registry *r, const char *name);
/* Ids grow along the list. */
el_entry *el_registry_at_id(const el_registry *r, uint64_t id);

/* pins.c: whether an entry may be pinned with this size, in the place of `old` (NULL: of nobody). */
el_status el_registry_check_pin(const el_registry *r, const el_entry *old, const el_entry *e, el_error *err);
/* A pinned entry has come, gone, or another size. */
void el_registry_recount_pins(el_registry *r);

/* entry_tokens.c: whether the files are still those that were read; and what was made of them. */
bool el_entry_tokens_current(el_entry *e);
void el_entry_free_tokens(el_entry *e);

/* aliases.c: those of an entry that is listed, or no longer. */
void el_registry_add_aliases(el_registry *r, el_entry *e);
void el_registry_remove_aliases(el_registry *r, el_entry *e);
void el_registry_notice(el_registry *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
