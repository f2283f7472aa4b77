/* The adapters that requests can name. Thousands of them: an entry knows where its adapter's files are and what they
 * looked like, and its weights come into memory when a request wants them.
 *
 * Entries are counted. One that has been removed, or whose files have changed (another entry takes its name then), is
 * no longer found; when its last reference is given back it is left for the engine thread, which alone knows what
 * memory it has. Any thread may call. */
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

/* Adapters that are pinned at once. */

/* One of the adapters that a combination is made of, as it was when the combination was first asked for. */
typedef struct el_entry_part {
  const char *name, *path;
  int rank;
  uint64_t seed;
  float scale;
  uint64_t serial;
} el_entry_part;

/* What an adapter has been used for, of all entries that have had its name in turn. */
typedef struct el_usage {
  atomic_uint refs; /* entries */
  atomic_uint_fast64_t requests, prompt_tokens, generated_tokens, hits, loads, loads_failed;
  atomic_uint_fast64_t load_ns;  /* of the last one that succeeded */
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
  /* Nobody changes these. */
  const char *name, *path; /* path "": random weights, of `rank` and `seed` */
  int rank;
  uint64_t seed;
  int n_parts; /* 0: an adapter. Else a combination, which no name finds: path is "" */
  const el_entry_part *parts;
  int dir;         /* the registered directory that it was found in, or EL_NO_DIR */
  uint64_t serial; /* no other entry has it; 0: a combination */
  int64_t created; /* seconds since the epoch */
  uint64_t id;     /* what replaces a changed entry has the same; EL_NO_ID: it has not been listed */
  uint64_t hash;   /* of the name */
  el_usage *usage;
  el_preset_file *preset;    /* NULL: it has none, or a wrong one: */
  el_error *preset_error;    /* then nobody gets the adapter until the file is another */
  atomic_size_t *counted_in; /* the registry's bytes of presets */
  el_registry *registry;     /* NULL: a combination */
  float scale;               /* that it is loaded with, its preset's; 1: as trained */

  /* Under the registry's tokens_mutex: see el_entry_tokens. Once it is there it stays. */
  bool tokens_known;
  el_tokenizer *tokenizer; /* NULL: its tokens are the base's */
  el_error *tokens_error;
  uint64_t tokens_stamp;

  /* Under the registry's mutex. */
  el_entry *hash_next;
  el_alias *aliases; /* [as many as its preset has] */
  bool pinned;       /* it is to stay in memory */
  uint32_t refs;     /* requests, a load, and the registry itself while it lists the entry */
  bool listed;
  uint64_t scan;          /* the last one that found it */
  uint64_t generation;    /* another one for other files, see el_adapter_info; 0: no name finds it */
  el_signature signature; /* of the files as listed, or as loaded */
  el_pack_size size;      /* n_blocks 0: not known yet */
  char *failure;          /* of the last load that failed, the message; NULL: none has */
  size_t failure_detail;  /* as in el_error */
  int64_t failed_at;      /* seconds since the epoch */
  int32_t *invocation;    /* [n_invocation] */
  int n_invocation;       /* -1: not known yet; 0: it is no activated adapter */
  el_entry *dead_next;

  atomic_int state;                /* el_adapter_state, written by the engine thread */
  atomic_uint_fast64_t checked_ns; /* when its files were last looked at */

  /* The engine thread's. */
  el_cache_item item;
  el_adapter *adapter;     /* NULL: not in memory */
  uint32_t n_pins;         /* running sequences that use it */
  bool kept;               /* it is pinned: not to be evicted though nobody uses it */
  uint64_t held;           /* the last admission in which a waiting request kept it from being evicted */
  uint32_t n_prefix_pages; /* cached pages of keys and values that it computed */
  el_signature computed;   /* of the files as last loaded: its cached pages are theirs */
  /* A load that failed will fail again while the files stay the same, if it was for what is in them. */
  el_error *problem; /* NULL: it has not */
  int n_sizings;     /* loads in a row that found it larger than the room that it had */
  el_signature failed_signature;
};

/* base_name is refused as an adapter's name; it is copied. on_dead is called, by any thread, when there is something
 * for el_registry_take_dead. */
el_status el_registry_new(const char *base_name, void (*on_dead)(void *user), void *user, el_registry **out,
                          el_error *err);
/* `report` is called for each entry that is listed from now on, and with NULL for name and path when it no longer is,
 * under the registry's mutex. Before any is added. */
void el_registry_on_listing(el_registry *r, void (*report)(void *user, uint64_t id, const char *name, const char *path),
                            void *user);
/* `make` is called for each preset that has been read, to make of it what the engine needs (el_preset_file.made), or to
 * say why it cannot be used. No mutex is held. Before any adapter is added. */
void el_registry_on_preset(el_registry *r, el_status (*make)(void *user, el_preset_file *f, el_error *err), void *user);
/* Tells the time by which files are looked at again, a second after the last look; without it el_now_ns does. Before
 * any adapter is added. */
void el_registry_use_clock(el_registry *r, uint64_t (*now_ns)(void));
/* The base's tokenizer, which adapters may add to; without it none does. Before any adapter is added. */
void el_registry_use_tokenizer(el_registry *r, const el_tokenizer *base, const el_sites *sites);
/* Every reference must have been given back; no entry may be in memory. */
void el_registry_free(el_registry *r);

typedef struct el_entry_spec {
  const char *name, *path; /* copied */
  int rank;
  uint64_t seed;
  int dir;
  el_signature signature;
  el_pack_size size;         /* zeros: not known */
  const int32_t *invocation; /* [n_invocation], of no activated adapter none of them; copied. NULL: not known */
  int n_invocation;
  /* Of its preset, at most one; the entry's from here on, or freed. */
  el_preset_file *preset;
  el_error *preset_error;
} el_entry_spec;
/* Reads the preset of an adapter's files, for its spec; *out is NULL where there is none. */
el_status el_registry_read_preset(el_registry *r, const char *name, const char *path, el_preset_file **out,
                                  el_error *err);
/* Whether this name may be added in that way (NULL: as a new one): EL_ERR_INVALID, EL_ERR_EXISTS, EL_ERR_CONFLICT. To
 * be asked before a file is read; el_registry_add decides. */
el_status el_registry_check(el_registry *r, const char *name, const el_adapter_put_options *how, el_error *err);
el_status el_registry_add(el_registry *r, const el_entry_spec *spec, el_error *err);
/* The same in the way that el_adapter_put has it; how NULL: as el_registry_add. *generation may be NULL. */
el_status el_registry_offer(el_registry *r, const el_entry_spec *spec, const el_adapter_put_options *how,
                            uint64_t *generation, el_error *err);
/* expected: a generation, or EL_ANY_GENERATION; EL_ERR_CONFLICT. */
el_status el_registry_remove(el_registry *r, const char *name, uint64_t expected, el_error *err);
/* An entry that no name finds; *out is the only reference. */
el_status el_registry_add_unlisted(el_registry *r, const el_entry_spec *spec, el_entry **out, el_error *err);

/* By name, or by alias. Takes a reference; EL_ERR_NOT_FOUND, or what is wrong with its preset. Files are looked at when
 * that was longer ago than a second: the entry of one that has changed is replaced. */
el_status el_registry_get(el_registry *r, const char *name, el_entry **out, el_error *err);
/* By id, without a look at files; NULL: there is none. Its preset may be wrong. */
el_entry *el_registry_find_id(el_registry *r, uint64_t id);
/* Calls `see` for every listed entry, under the mutex. */
void el_registry_each(el_registry *r, void (*see)(void *user, uint64_t id, const char *name), void *user);
/* A reference to the entry that several adapters with scales amount to: NULL, the base, when all are 0; an adapter
 * itself when it is alone with a scale of 1; else a combination, the same one as long as it is used now and then and
 * its parts' files stay the same. EL_ERR_NOT_FOUND, EL_ERR_INVALID. */
el_status el_registry_combine(el_registry *r, const el_adapter_scale *scales, size_t n, el_entry **out, el_error *err);
/* The tokenizer of an adapter that brings tokens of its own (own_tokens.h), as long as the entry; *out NULL: its tokens
 * are the base's. The first call reads files. What is wrong with them, EL_ERR_FORMAT and others. */
el_status el_entry_tokens(el_entry *entry, const el_tokenizer **out, el_error *err);
/* How many of them; -1: nobody has asked yet. */
int el_entry_n_own_tokens(el_entry *entry);
void el_registry_hold(el_registry *r, el_entry *entry); /* one reference more */
void el_registry_put(el_registry *r, el_entry *entry);  /* NULL is allowed */

/* What a load found out, or why it failed. */
void el_registry_fail(el_registry *r, el_entry *entry, const el_error *error);
void el_registry_learn(el_registry *r, el_entry *entry, const el_signature *signature, const el_pack_size *size);
/* What activates it; n 0: nothing, it is no activated adapter. */
void el_registry_learn_invocation(el_registry *r, el_entry *entry, const el_invocation *invocation);
void el_registry_size(el_registry *r, const el_entry *entry, el_pack_size *size, uint64_t *file_bytes);

/* The entries that nobody has a reference to, linked by dead_next; each is to be freed once it has no memory. */
el_entry *el_registry_take_dead(el_registry *r);
void el_entry_free(el_entry *entry);

/* One directory's entries as they are now: new ones are added, with the size that `known` (may be NULL) tells, changed
 * ones replaced, missing ones removed. What cannot be added has its problem in `found` afterwards. */
typedef struct el_sync {
  int dir;
  bool (*known)(void *user, const el_found_adapter *found, el_pack_size *size);
  void *user;
  /* As of el_refused_replace; may be NULL. */
  void (*refused)(void *log, const el_refused_entry *entry);
  void *log;
  size_t n_added, n_changed, n_removed, n_refused; /* results */
} el_sync;
el_status el_registry_sync(el_registry *r, el_found *found, el_sync *sync, el_error *err);

/* Pinned entries (pins.c): what takes the place of one is pinned in its turn. Together they may have so many blocks. */
void el_registry_limit_pins(el_registry *r, uint32_t most_blocks, size_t block_bytes);
/* The entry's size must be known. EL_ERR_NO_MEMORY with the figures. */
el_status el_registry_pin(el_registry *r, el_entry *entry, bool pinned, el_error *err);
/* Whether other entries are pinned than at the last look, whose version that was. */
bool el_registry_pins_changed(const el_registry *r, unsigned *version);
/* References to them; their number. */
int el_registry_get_pinned(el_registry *r, el_entry *out[EL_MAX_PINNED]);
/* Blocks of pinned ones other than `entry` (NULL: all). */
uint32_t el_registry_pinned_beside(el_registry *r, const el_entry *entry);

/* Calls `see` for every listed entry whose size is known, under the mutex. */
void el_registry_each_known(el_registry *r, void (*see)(void *user, const el_entry *entry), void *user);

el_status el_registry_list(el_registry *r, el_adapter_info **out, size_t *n, el_error *err);
/* Of those that are in memory or being loaded. */
el_status el_registry_list_resident(el_registry *r, el_adapter_info **out, size_t *n, el_error *err);
/* By name or alias; name NULL: by id. */
el_status el_registry_info(el_registry *r, const char *name, uint64_t id, el_adapter_info **out, el_error *err);
/* What directories hold that cannot be offered. */
el_status el_registry_list_refused(el_registry *r, el_adapter_refusal **out, size_t *n, el_error *err);
size_t el_registry_count(el_registry *r);
uint64_t el_registry_generation(el_registry *r, const el_entry *entry);
/* What whoever runs the engine should be told of adapters that were listed since the last call, a line each; the
 * caller's. NULL: nothing. */
char *el_registry_take_notices(el_registry *r);

#endif
