#include "server/access/keys.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "server/common/secret_file.h"

/* All keys with all their patterns hardly need more. The limit stops at a file without an end. */
#define MAX_FILE_BYTES ((size_t)16 << 20)
/* Shorter keys can be guessed by trying often; 16 random letters and digits have 95 bits. */
#define MIN_KEY_BYTES 16
#define BLANKS " \t\r"

static_assert(sizeof((el_key){0}).secret == EL_MAX_KEY_BYTES + 1, "a key of the greatest length fits");

/* ---------------------------------------------------------------- the file */

/* Cuts blanks off both ends. */
static char *trim_key_line(char *s) {
  s += strspn(s, BLANKS);
  size_t len = strlen(s);
  while (len && strchr(BLANKS, s[len - 1])) s[--len] = 0;
  return s;
}

static const char *pattern_fault(const char *p) {
  if (!*p) return "a pattern is empty";
  if (strlen(p) > EL_MAX_NAME_BYTES) return "a pattern is longer than 255 bytes, which no adapter's name is";
  for (; *p; p++)
    if ((unsigned char)*p < 0x20 || *p == 0x7f) return "a pattern has a control character";
  return NULL;
}

/* list: patterns such as "a, b/" with an asterisk. Returns NULL, or what is wrong. */
static const char *read_patterns(el_key *key, char *list) {
  size_t n = 1;
  for (const char *s = list; *s; s++) n += *s == ',';
  if (n > EL_MAX_KEY_PATTERNS) return "there are more than 256 patterns";
  if (!(key->patterns = calloc(n, sizeof *key->patterns))) return "out of memory";
  for (char *next = list; next;) {
    char *at = next;
    next = strchr(at, ',');
    if (next) *next++ = 0;
    at = trim_key_line(at);
    const char *fault = pattern_fault(at);
    if (fault) return fault;
    if (!(key->patterns[key->n_patterns] = strdup(at))) return "out of memory";
    key->n_patterns++;
  }
  return NULL;
}

static bool same_secret(const uint64_t *a, const uint64_t *b) {
  uint64_t differ = 0;
  for (size_t i = 0; i < sizeof((el_key){0}).secret / sizeof *a; i++) differ |= a[i] ^ b[i];
  return !differ;
}

/* Reads a line that is neither empty nor a comment. Returns NULL, or what is wrong. */
static const char *read_key_line(el_api_keys *k, char *line, char *room, size_t n_room) {
  size_t len = strcspn(line, BLANKS);
  if (len > EL_MAX_KEY_BYTES) return "the key is longer than 255 bytes";
  for (size_t i = 0; i < len; i++)
    if (line[i] <= 0x20 || line[i] >= 0x7f) return "the key has characters that are not printable ASCII";
  if (k->n == EL_MAX_KEYS) return "there are more than 4096 keys";
  el_key *grown = realloc(k->list, (k->n + 1) * sizeof *grown);
  if (!grown) return "out of memory";
  k->list = grown;
  el_key *key = &k->list[k->n++];
  *key = (el_key){0};
  memcpy(key->secret, line, len);
  for (size_t i = 0; i + 1 < k->n; i++)
    if (same_secret(k->list[i].secret, key->secret)) return "the key is there twice";
  char *list = trim_key_line(line + len);
  const char *fault = el_key_read_fields(key, list, room, n_room);
  for (size_t i = 0; !fault && *key->name && i + 1 < k->n; i++)
    if (!strcmp(k->list[i].name, key->name)) fault = "name: another key has it";
  list = trim_key_line(list);
  return !fault && *list ? read_patterns(key, list) : fault;
}

/* A key that was there before keeps its account. No caller waits for this, so its time reveals nothing. False: out of
 * memory. */
static bool settle_accounts(el_api_keys *k, const el_api_keys *before) {
  bool ok = true;
  k->last_domain = before ? before->last_domain : 0;
  for (size_t i = 0; ok && i < k->n; i++) {
    el_key *key = &k->list[i];
    for (size_t j = 0; before && j < before->n && !key->account; j++)
      if (!memcmp(before->list[j].secret, key->secret, sizeof key->secret))
        key->account = el_account_retain(before->list[j].account);
    if (!key->account) key->account = el_account_new(++k->last_domain);
    ok = key->account;
  }
  return ok;
}

el_status el_api_keys_load(const char *path, const el_api_keys *before, const el_log *log, el_api_keys **out,
                           el_error *err) {
  el_buf text = {0};
  el_api_keys *k = calloc(1, sizeof *k);
  if (!k) return el_fail(err, EL_ERR_NO_MEMORY, "api keys: out of memory");
  k->refs = 1;
  el_status status = el_secret_file_read("api keys", path, 0, MAX_FILE_BYTES, log, &text, err);
  if (!status && text.len && memchr(text.data, 0, text.len))
    status = el_fail(err, EL_ERR_INVALID, "api keys: %s: has a NUL character", path);
  size_t number = 0, n_short = 0;
  for (char *next = text.data; !status && next;) {
    char *line = next;
    next = strchr(line, '\n');
    if (next) *next++ = 0;
    number++;
    line = trim_key_line(line);
    char room[128];
    const char *fault = *line && *line != '#' ? read_key_line(k, line, room, sizeof room) : NULL;
    if (fault) status = el_fail(err, EL_ERR_INVALID, "api keys: %s, line %zu: %s", path, number, fault);
    n_short += *line && *line != '#' && strcspn(line, BLANKS) < MIN_KEY_BYTES;
  }
  if (!status && !k->n) status = el_fail(err, EL_ERR_INVALID, "api keys: %s: has no key, so nobody could call", path);
  if (!status && n_short)
    el_logf(log, EL_LOG_WARN, "api keys: %s: %zu keys have fewer than %d characters and can be guessed", path, n_short,
            MIN_KEY_BYTES);
  if (text.data) explicit_bzero(text.data, text.cap);
  el_buf_free(&text);
  if (!status && !settle_accounts(k, before)) status = el_fail(err, EL_ERR_NO_MEMORY, "api keys: out of memory");
  if (status)
    el_api_keys_release(k);
  else
    *out = k;
  return status;
}

el_api_keys *el_api_keys_retain(el_api_keys *k) {
  if (k) atomic_fetch_add(&k->refs, 1);
  return k;
}

void el_api_keys_release(el_api_keys *k) {
  if (!k || atomic_fetch_sub(&k->refs, 1) != 1) return;
  for (size_t i = 0; i < k->n; i++) {
    for (size_t j = 0; j < k->list[i].n_patterns; j++) free(k->list[i].patterns[j]);
    free(k->list[i].patterns);
    el_account_release(k->list[i].account);
  }
  if (k->n) explicit_bzero(k->list, k->n * sizeof *k->list);
  free(k->list);
  free(k);
}

/* ---------------------------------------------------------------- callers */

const el_key *el_api_keys_find(const el_api_keys *k, const char *authorization, const char *api_key) {
  static const char scheme[] = "Bearer ";
  if (authorization ? strncasecmp(authorization, scheme, sizeof scheme - 1) != 0 : !api_key) return NULL;
  const char *given = authorization ? authorization + sizeof scheme - 1 : api_key;
  given += strspn(given, " ");
  size_t len = strlen(given);
  if (!len || len > EL_MAX_KEY_BYTES) return NULL;
  el_key padded = {0};
  memcpy(padded.secret, given, len);
  /* All are compared, each to its end. */
  const el_key *found = NULL;
  for (size_t i = 0; i < k->n; i++)
    if (same_secret(k->list[i].secret, padded.secret)) found = &k->list[i];
  return found;
}

uint64_t el_key_domain(const el_key *key) {
  return key ? key->account->domain : 0;
}

bool el_key_is_limited(const el_key *key) {
  return key && key->n_patterns;
}

/* Whether `wide` matches everything that `narrow` matches; both are names or patterns. */
static bool pattern_covers(const char *wide, const char *narrow) {
  size_t len = strlen(wide), other = strlen(narrow);
  if (!len || wide[len - 1] != '*') return !strcmp(wide, narrow);
  if (other && narrow[other - 1] == '*') other--;
  return other >= len - 1 && !strncmp(wide, narrow, len - 1);
}

static bool any_covers(char *const *wide, size_t n, const char *narrow) {
  for (size_t i = 0; i < n; i++)
    if (pattern_covers(wide[i], narrow)) return true;
  return false;
}

bool el_key_allows(const el_key *key, const char *name) {
  return !el_key_is_limited(key) || any_covers(key->patterns, key->n_patterns, name);
}

bool el_key_candidates(const el_key *key, char *const *asked, size_t n_asked, const char ***out, size_t *n,
                       el_api_error *e) {
  size_t n_key = el_key_is_limited(key) ? key->n_patterns : 0, found = 0;
  const char **list = calloc(n_asked + n_key + 1, sizeof *list);
  if (!list) return el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
  /* If two patterns overlap, one covers the other, so the narrower one is their intersection. */
  for (size_t i = 0; i < n_asked; i++)
    if (!n_key || any_covers(key->patterns, n_key, asked[i])) list[found++] = asked[i];
  size_t n_from_asked = found;
  for (size_t i = 0; i < n_key; i++) {
    bool wanted = !n_asked || any_covers(asked, n_asked, key->patterns[i]);
    for (size_t j = 0; wanted && j < n_from_asked; j++) wanted = strcmp(list[j], key->patterns[i]) != 0;
    if (wanted) list[found++] = key->patterns[i];
  }
  bool ok = true;
  if (!found && (n_key || n_asked))
    ok = el_api_fail(e, 404, "model_not_found", "edgelora.candidates",
                     "None of the candidates is there; GET /v1/models lists those that are.");
  else if (found > EL_MAX_CANDIDATES)
    ok = el_api_fail(e, 400, "invalid_value", "edgelora.candidates",
                     "Invalid value for 'edgelora.candidates': with what the key allows these are %zu; at most %d are "
                     "allowed.",
                     found, EL_MAX_CANDIDATES);
  if (!ok) {
    free(list);
    return false;
  }
  *out = list;
  *n = found;
  return true;
}
