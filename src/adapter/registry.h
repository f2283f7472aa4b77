/* The adapters that requests can name: thousands of them. An entry knows where its adapter's
 * files are and what they looked like. The weights come into memory when a request wants them.
 *
 * References to entries are counted. An entry that has been removed, or whose files have changed
 * (another entry then takes its name), is no longer found. When its last reference is given back
 * it is left for the engine thread, which alone knows its memory. Any thread may call these
 * functions. */
#ifndef EL_ADAPTER_REGISTRY_H
#define EL_ADAPTER_REGISTRY_H

#include <stdatomic.h>

#include "adapter/adapter.h"
#include "adapter/cache.h"
#include "adapter/discover.h"
#include "adapter/packer.h"
#include "adapter/preset.h"
#include "adapter/refused.h"
#include "adapter/signature.h"

typedef struct el_registry el_registry;

enum { EL_NO_DIR = -1 };

/* One of the adapters of a combination, as it was when the combination was first asked for. */
typedef struct el_entry_component {
  const char *name, *path;
  int rank;
  uint64_t seed;
  float scale;
  uint64_t serial;
} el_entry_component;

/* What an adapter has been used for: all entries together that have had its name in turn. */
typedef struct el_usage {
  atomic_uint refs; /* from entries */
  atomic_uint_fast64_t requests, prompt_tokens, generated_tokens, hits, loads, loads_failed;
  atomic_uint_fast64_t load_ns;  /* of the last load that succeeded */
  atomic_int_fast64_t last_used; /* seconds since the epoch; 0: not yet */
} el_usage;

typedef struct el_entry el_entry;

/* An alias that an entry wants. */
typedef struct el_alias {
  struct el_alias *next; /* in its bucket */
  const char *name;
  el_entry *entry;
} el_alias;

#define EL_NO_ID UINT64_MAX

struct el_entry {
  /* Never changed. */
  const char *name, *path; /* path "": random weights, of `rank` and `seed` */
  int rank;
  uint64_t seed;
  int n_components; /* 0: an adapter. Else a combination, which has no name to be found by; path is
                     * "" */
  const el_entry_component *components;
  int dir;         /* the registered directory that the adapter was found in, or EL_NO_DIR */
  uint64_t serial; /* unique; 0: a combination */
  int64_t created; /* seconds since the epoch */
  uint64_t id;     /* an entry keeps it when it replaces a changed one; EL_NO_ID: never listed */
  uint64_t hash;   /* of the name */
  el_usage *usage;
  el_preset_file *preset;    /* NULL: there is none, or an invalid one: see preset_error */
  el_error *preset_error;    /* while it is set nobody gets the adapter; ends when the file
                              * changes */
  atomic_size_t *counted_in; /* counts the bytes of presets of the whole registry */
  el_registry *registry;     /* NULL: a combination */
  float scale;               /* from its preset: the scale that it is loaded with; 1: as trained */

  /* Under the registry's tokens_mutex: see el_entry_tokens. Once set, it stays. */
  bool tokens_known;
  el_tokenizer *tokenizer; /* NULL: its tokens are the base's */
  el_error *tokens_error;
  uint64_t tokens_stamp;

  /* Under the registry's mutex. */
  el_entry *hash_next;
  el_alias *aliases; /* [number of aliases in its preset] */
  bool pinned;       /* it shall stay in memory */
  uint32_t refs;     /* from requests, a load, and from the registry while the entry is listed */
  bool listed;
  uint64_t scan;          /* the last scan of its directory that found it */
  uint64_t generation;    /* changes with the files, see el_adapter_info; 0: not found by any
                           * name */
  el_signature signature; /* of the files as they were listed or loaded */
  el_pack_size size;      /* n_blocks 0: not known yet */
  char *failure;          /* message of the last load that failed; NULL: none has */
  size_t failure_detail;  /* as in el_error */
  int64_t failed_at;      /* seconds since the epoch */
  int32_t *invocation;    /* [n_invocation] */
  int n_invocation;       /* -1: not known yet; 0: not an activated adapter */
  el_entry *dead_next;

  atomic_int state;                /* an el_adapter_state, written by the engine thread */
  atomic_uint_fast64_t checked_ns; /* when its files were last looked at */

  /* For the engine thread alone. */
  el_cache_item item;
  el_adapter *adapter;     /* NULL: not in memory */
  uint32_t n_pins;         /* running sequences that use it */
  bool kept;               /* it is pinned: not evicted even if nobody uses it */
  uint64_t held;           /* the last admission in which a waiting request kept it from being
                            * evicted */
  uint32_t n_prefix_pages; /* pages of keys and values in the cache that it computed */
  el_signature computed;   /* of the files as last loaded; its cached pages belong to these */
  /* A load that failed because of what is in the files fails again as long as they are the same. */
  el_error *problem; /* NULL: no such failure */
  int n_sizings;     /* loads in a row that found the adapter larger than the room they were
                      * given */
  el_signature failed_signature;
};

/* base_name is copied, and is refused as an adapter's name. on_dead is called by any thread when
 * there is something for el_registry_take_dead. */
el_status el_registry_new(const char *base_name, void (*on_dead)(void *user), void *user, el_registry **out,
                          el_error *err);
/* `report` is called under the registry's mutex for each entry that is listed from now on, and
 * with NULL for name and path when an entry is no longer listed. Call this before any adapter is
 * added. */
void el_registry_on_listing(el_registry *r, void (*report)(void *user, uint64_t id, const char *name, const char *path),
                            void *user);
/* `make` is called for each preset that has been read. It makes of it what the engine needs
 * (el_preset_file.made), or says why it cannot be used. No mutex is held. Call this before any
 * adapter is added. */
void el_registry_on_preset(el_registry *r, el_status (*make)(void *user, el_preset_file *f, el_error *err), void *user);
/* Sets the clock by which files are looked at again, a second after the last look; without it,
 * el_now_ns. Call this before any adapter is added. */
void el_registry_use_clock(el_registry *r, uint64_t (*now_ns)(void));
/* Sets the base's tokenizer, which adapters may add tokens to; without it none can. Call this
 * before any adapter is added. */
void el_registry_use_tokenizer(el_registry *r, const el_tokenizer *base, const el_sites *sites);
/* All references must have been given back, and no entry may be in memory. */
void el_registry_free(el_registry *r);

typedef struct el_entry_spec {
  const char *name, *path; /* copied */
  int rank;
  uint64_t seed;
  int dir;
  el_signature signature;
  el_pack_size size;         /* zeros: not known */
  const int32_t *invocation; /* [n_invocation], copied; empty for an adapter that is not activated.
                              * NULL: not known */
  int n_invocation;
  /* At most one of the two. They belong to the entry from here on, or are freed. */
  el_preset_file *preset;
  el_error *preset_error;
} el_entry_spec;
/* Reads the preset that belongs to an adapter's files, for its spec; *out is NULL if there is
 * none. */
el_status el_registry_read_preset(el_registry *r, const char *name, const char *path, el_preset_file **out,
                                  el_error *err);
/* Whether this name may be added in this way (how NULL: as a new one): EL_ERR_INVALID,
 * EL_ERR_EXISTS, EL_ERR_CONFLICT. Serves to ask before a file is read; el_registry_add decides. */
el_status el_registry_check(el_registry *r, const char *name, const el_adapter_put_options *how, el_error *err);
el_status el_registry_add(el_registry *r, const el_entry_spec *spec, el_error *err);
/* As el_registry_add, with the conditions of el_adapter_put; how NULL: exactly as el_registry_add.
 * generation may be NULL. */
el_status el_registry_offer(el_registry *r, const el_entry_spec *spec, const el_adapter_put_options *how,
                            uint64_t *generation, el_error *err);
/* expected: a generation, or EL_ANY_GENERATION. EL_ERR_CONFLICT: it has another one. */
el_status el_registry_remove(el_registry *r, const char *name, uint64_t expected, el_error *err);
/* Adds an entry that no name finds; *out is the only reference. */
el_status el_registry_add_unlisted(el_registry *r, const el_entry_spec *spec, el_entry **out, el_error *err);

/* Finds by name or alias and takes a reference. EL_ERR_NOT_FOUND, or what is wrong with the
 * adapter's preset. If its files were last looked at more than a second ago they are looked at
 * again, and the entry is replaced if they have changed. */
el_status el_registry_get(el_registry *r, const char *name, el_entry **out, el_error *err);
/* Finds by id without looking at files; NULL: there is none. Its preset may be invalid. */
el_entry *el_registry_find_id(el_registry *r, uint64_t id);
/* Calls `see` for every listed entry, under the mutex. */
void el_registry_each(el_registry *r, void (*see)(void *user, uint64_t id, const char *name), void *user);
/* A reference to the entry that stands for several adapters with scales: NULL (the base) when all
 * scales are 0; an adapter itself when it is alone with scale 1; else a combination. The
 * combination stays the same as long as it is used now and then and the files of its components do
 * not change. EL_ERR_NOT_FOUND, EL_ERR_INVALID. */
el_status el_registry_combine(el_registry *r, const el_adapter_scale *scales, size_t n, el_entry **out, el_error *err);
/* The tokenizer of an adapter that brings tokens of its own (own_tokens.h), valid as long as the
 * entry. *out NULL: its tokens are the base's. The first call reads files. EL_ERR_FORMAT and others
 * say what is wrong with them. */
el_status el_entry_tokens(el_entry *entry, const el_tokenizer **out, el_error *err);
/* The number of these tokens; -1: nobody has asked yet. */
int el_entry_n_own_tokens(el_entry *entry);
void el_registry_hold(el_registry *r, el_entry *entry); /* takes one more reference */
void el_registry_put(el_registry *r, el_entry *entry);  /* NULL is allowed */

/* Records what a load found out, or why it failed. */
void el_registry_fail(el_registry *r, el_entry *entry, const el_error *error);
void el_registry_learn(el_registry *r, el_entry *entry, const el_signature *signature, const el_pack_size *size);
/* Records what activates the adapter; n 0: it is not an activated one. */
void el_registry_learn_invocation(el_registry *r, el_entry *entry, const el_invocation *invocation);
void el_registry_size(el_registry *r, const el_entry *entry, el_pack_size *size, uint64_t *file_bytes);

/* The entries without references, linked by dead_next. Each is to be freed once it has no
 * memory. */
el_entry *el_registry_take_dead(el_registry *r);
void el_entry_free(el_entry *entry);

/* Brings one directory's entries up to date. New ones are added, with the size that `known` (may be
 * NULL) tells; changed ones are replaced, missing ones removed. What cannot be added has its
 * problem in `found` afterwards. */
typedef struct el_sync {
  int dir;
  bool (*known)(void *user, const el_found_adapter *found, el_pack_size *size);
  void *user;
  /* Called as `fresh` of el_refused_replace; may be NULL. */
  void (*refused)(void *log, const el_refused_entry *entry);
  void *log;
  size_t n_added, n_changed, n_removed, n_refused; /* results */
} el_sync;
el_status el_registry_sync(el_registry *r, el_found *found, el_sync *sync, el_error *err);

/* Pinned entries (pins.c). An entry that replaces a pinned one is pinned too. Together they may
 * take most_blocks. */
void el_registry_limit_pins(el_registry *r, uint32_t most_blocks, size_t block_bytes);
/* The size of the entry must be known. EL_ERR_NO_MEMORY has the figures. */
el_status el_registry_pin(el_registry *r, el_entry *entry, bool pinned, el_error *err);
/* Whether the set of pinned entries has changed since *version, which is updated. */
bool el_registry_pins_changed(const el_registry *r, unsigned *version);
/* Takes references to all of them and returns their number. */
int el_registry_get_pinned(el_registry *r, el_entry *out[EL_MAX_PINNED]);
/* Blocks of all pinned entries except `entry` (NULL: of all). */
uint32_t el_registry_pinned_beside(el_registry *r, const el_entry *entry);

/* Calls `see` for every listed entry whose size is known, under the mutex. */
void el_registry_each_known(el_registry *r, void (*see)(void *user, const el_entry *entry), void *user);

el_status el_registry_list(el_registry *r, el_adapter_info **out, size_t *n, el_error *err);
/* Only adapters that are in memory or being loaded. */
el_status el_registry_list_resident(el_registry *r, el_adapter_info **out, size_t *n, el_error *err);
/* Finds by name or alias; name NULL: by id. */
el_status el_registry_info(el_registry *r, const char *name, uint64_t id, el_adapter_info **out, el_error *err);
/* What directories hold that cannot be offered as adapters. */
el_status el_registry_list_refused(el_registry *r, el_adapter_refusal **out, size_t *n, el_error *err);
size_t el_registry_count(el_registry *r);
uint64_t el_registry_generation(el_registry *r, const el_entry *entry);
/* Notices for the operator about adapters that were listed since the last call, one a line; the
 * caller frees it. NULL: none. */
char *el_registry_take_notices(el_registry *r);

#endif
