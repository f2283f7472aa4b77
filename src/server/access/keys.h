/* Who may call, which adapters each may have, and how much: the keys of a file that the operator wrote.
 *
 * One key a line; behind it patterns with commas between them: names, or beginnings with an asterisk ("acme/" and one);
 * behind these fields with blanks between them: name=acme rpm=60 tpm=20000 concurrent=4 priority=high. All may be left
 * out. A key with patterns is limited: what none of them matches is for it as if it were not there, the base model
 * included. Where a key is NULL, none is asked for and all is allowed.
 *
 * The file may be read anew while requests run: each holds the keys that it was found among. */
#ifndef EL_SERVER_KEYS_H
#define EL_SERVER_KEYS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/log.h"
#include "server/access/account.h"
#include "server/common/errors.h"

enum { EL_MAX_KEYS = 4096, EL_MAX_KEY_BYTES = 255, EL_MAX_KEY_PATTERNS = 256, EL_MAX_KEY_NAME = 64 };

typedef struct el_key {
  uint64_t secret[(EL_MAX_KEY_BYTES + 1) / sizeof(uint64_t)]; /* padded with zeros */
  char **patterns;                                            /* none: not limited */
  size_t n_patterns;
  char name[EL_MAX_KEY_NAME + 1]; /* for figures and logs; "": none */
  el_quota quota;
  int weight;          /* of el_request; 0: not said */
  el_account *account; /* a reference */
} el_key;

typedef struct el_api_keys {
  atomic_int refs;
  el_key *list;
  size_t n;
  uint64_t last_domain; /* of all keys that there have been */
} el_api_keys;

/* With a reference. before: those of the file until now, or NULL; a key that is in both stays whom it was, whatever its
 * line. Warns when others than the file's owner can read it. EL_ERR_IO, EL_ERR_INVALID: what is wrong, and in which
 * line; the keys themselves are never part of a message. */
el_status el_api_keys_load(const char *path, const el_api_keys *before, const el_log *log, el_api_keys **out,
                           el_error *err);
el_api_keys *el_api_keys_retain(el_api_keys *k); /* NULL is allowed, as below */
void el_api_keys_release(el_api_keys *k);

/* The key of an Authorization header, or where that is NULL of x-api-key, which may be NULL too. NULL: none of ours.
 * How long this takes does not tell how much of a key was right. */
const el_key *el_api_keys_find(const el_api_keys *k, const char *authorization, const char *api_key);

/* Whose prefixes its requests may find, as el_request has it, and whose answers are kept: another number for each key,
 * never given twice; 0 for NULL. */
uint64_t el_key_domain(const el_key *key);

/* The fields at the end of a line, which are cut off. NULL, or what is wrong: it may be written into `room`. */
const char *el_key_read_fields(el_key *key, char *rest, char *room, size_t n_room);

bool el_key_is_limited(const el_key *key);
bool el_key_allows(const el_key *key, const char *name);

/* What a request may choose among that asks for `asked` (names and patterns; none: all): an array of *n that points
 * into both, to be freed; none: all. False: *e, also when nothing is left. */
bool el_key_candidates(const el_key *key, char *const *asked, size_t n_asked, const char ***out, size_t *n,
                       el_api_error *e);

#endif
