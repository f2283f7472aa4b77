#include "server/access/callers.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

void el_callers_address(struct MHD_Connection *connection, unsigned char out[16]) {
  memset(out, 0, 16);
  const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
  const struct sockaddr *a = info ? info->client_addr : NULL;
  if (a && a->sa_family == AF_INET) {
    out[10] = out[11] = 0xff;
    memcpy(out + 12, &((const struct sockaddr_in *)(const void *)a)->sin_addr, 4);
  } else if (a && a->sa_family == AF_INET6) {
    const struct in6_addr *six = &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
    memcpy(out, six, IN6_IS_ADDR_V4MAPPED(six) ? 16 : 8);
  }
}

/* A client that tries to fill one bucket makes only walks to its own callers longer, and its connections bound them. */
static size_t caller_bucket_of(uint64_t domain, const unsigned char address[16]) {
  uint64_t h = domain * 0x9e3779b97f4a7c15u;
  for (int i = 0; i < 16; i++) h = (h ^ address[i]) * 0x100000001b3u;
  return (size_t)(h >> 32 ^ h) % EL_CALLER_BUCKETS;
}

el_caller *el_callers_get(el_callers *all, const el_key *key, struct MHD_Connection *connection) {
  const uint64_t domain = el_key_domain(key);
  unsigned char address[16] = {0};
  if (!key) el_callers_address(connection, address);
  el_caller **bucket = &all->buckets[caller_bucket_of(domain, address)], *c = *bucket;
  while (c && (c->domain != domain || memcmp(c->address, address, sizeof address))) c = c->next;
  if (!c) {
    if (!(c = calloc(1, sizeof *c))) return NULL;
    c->domain = domain;
    memcpy(c->address, address, sizeof address);
    c->next = *bucket;
    *bucket = c;
  }
  c->n_refs++;
  return c;
}

void el_callers_put(el_callers *all, el_caller *caller) {
  if (!caller || --caller->n_refs) return;
  el_caller **at = &all->buckets[caller_bucket_of(caller->domain, caller->address)];
  while (*at != caller) at = &(*at)->next;
  *at = caller->next;
  free(caller);
}
