/* API keys: who may call, which adapters each caller may use, and how much. The operator writes them
 * into a file.
 *
 * Each line has one key, then optional patterns, separated by commas: names, or prefixes that end in an
 * asterisk ("acme/" with one). Then come optional fields, separated by blanks: name=acme rpm=60
 * tpm=20000 concurrent=4 priority=high. A key with patterns is limited: whatever no pattern matches does
 * not exist for it, and this includes the base model. A key of NULL means that no key is required and
 * everything is allowed.
 *
 * The file may be reloaded while requests run. Each request holds the set of keys in which its own was
 * found. */
#ifndef EL_SERVER_KEYS_H
#define EL_SERVER_KEYS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/log.h"
#include "server/access/account.h"
#include "server/common/errors.h"

enum { EL_MAX_KEYS = 4096, EL_MAX_KEY_BYTES = 255, EL_MAX_KEY_PATTERNS = 256, EL_MAX_KEY_NAME = 64 };

typedef struct el_key {
  uint64_t secret[(EL_MAX_KEY_BYTES + 1) / sizeof(uint64_t)]; /* the key itself, padded with zeros */
  char **patterns;                                            /* none: the key is not limited */
  size_t n_patterns;
  char name[EL_MAX_KEY_NAME + 1]; /* for metrics and logs; "": none */
  el_quota quota;
  int weight;          /* of el_request; 0: not given */
  el_account *account; /* with a reference */
} el_key;

typedef struct el_api_keys {
  atomic_int refs;
  el_key *list;
  size_t n;
  uint64_t last_domain; /* the last one given to any key so far */
} el_api_keys;

/* Reads the file; *out comes with a reference. before: the keys until now, or NULL. A key that is in both
 * keeps its account and its domain, even if the rest of its line has changed. Warns when others than the
 * file's owner can read the file. EL_ERR_IO, EL_ERR_INVALID: the message says what is wrong and in which
 * line, and never contains a key. */
el_status el_api_keys_load(const char *path, const el_api_keys *before, const el_log *log, el_api_keys **out,
                           el_error *err);
el_api_keys *el_api_keys_retain(el_api_keys *k); /* NULL is allowed, here and below */
void el_api_keys_release(el_api_keys *k);

/* The key in an Authorization header, or in x-api-key if `authorization` is NULL; both may be NULL. NULL:
 * no known key. The time that this takes does not depend on how much of a key was right. */
const el_key *el_api_keys_find(const el_api_keys *k, const char *authorization, const char *api_key);

/* The key's number, which is never given twice; 0 for NULL. It separates prefixes in the prefix cache (see
 * el_request) and stored answers. */
uint64_t el_key_domain(const el_key *key);

/* Reads the fields at the end of a line and cuts them off. Returns NULL, or what is wrong; that text may
 * be in `room`. */
const char *el_key_read_fields(el_key *key, char *rest, char *room, size_t n_room);

bool el_key_is_limited(const el_key *key);
bool el_key_allows(const el_key *key, const char *name);

/* The candidates for a request that asks for `asked` (names and patterns; none: all), as far as the key
 * allows them. *out: [*n] names and patterns that point into both; the caller frees the array. None: all.
 * False: *e; also if no candidate is left. */
bool el_key_candidates(const el_key *key, char *const *asked, size_t n_asked, const char ***out, size_t *n,
                       el_api_error *e);

#endif
