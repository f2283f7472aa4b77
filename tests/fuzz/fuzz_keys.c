/* The file of keys: each key that is read is found, by nothing but itself, and stays whom it was when the file is read
 * anew. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "server/access/keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_keys(const char *path) {
  const el_log log = {0};
  el_api_keys *k = NULL, *again = NULL;
  el_error e = {0};
  if (el_api_keys_load(path, NULL, &log, &k, &e)) {
    assert(!k && e.message[0]);
    return;
  }
  assert(k->n >= 1 && k->n <= EL_MAX_KEYS);
  assert(!el_api_keys_find(k, NULL, NULL) && !el_api_keys_find(k, "Bearer ", NULL));
  for (size_t i = 0; i < k->n; i++) {
    const char *secret = (const char *)k->list[i].secret; /* what is not a key's ends it */
    assert(secret[0] && strlen(secret) <= EL_MAX_KEY_BYTES && el_key_domain(&k->list[i]));
    assert(el_api_keys_find(k, NULL, secret) == &k->list[i]);
    assert(el_key_is_limited(&k->list[i]) || el_key_allows(&k->list[i], "any"));
    for (size_t p = 0; p < k->list[i].n_patterns; p++) el_key_allows(&k->list[i], k->list[i].patterns[p]);
  }
  /* Who is still there stays whom it was. */
  if (el_api_keys_load(path, k, &log, &again, &e)) abort();
  for (size_t i = 0; i < k->n; i++) assert(el_key_domain(&again->list[i]) == el_key_domain(&k->list[i]));
  el_api_keys_release(again);
  el_api_keys_release(k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char path[64];
  int fd = memfd_create("keys", MFD_CLOEXEC);
  if (fd < 0 || (size && write(fd, data, size) != (ssize_t)size)) abort();
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  read_keys(path);
  close(fd);
  return 0;
}
