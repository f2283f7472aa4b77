#include "server/common/query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool el_query_number(const char *name, const char *text, size_t least, size_t most, size_t *out, el_api_error *e) {
  if (!text) return true;
  char *end;
  unsigned long n = strtoul(text, &end, 10);
  if (*text < '0' || *text > '9' || *end || n < least || n > most)
    return el_api_fail(e, 400, "invalid_value", name, "Invalid value for '%s': '%.40s' is not between %zu and %zu.",
                       name, text, least, most);
  *out = n;
  return true;
}

bool el_query_word(const char *name, const char *text, const char *const *names, size_t n, size_t *out,
                   el_api_error *e) {
  char all[256] = "";
  size_t at = 0;
  if (!text) return true;
  for (size_t i = 0; i < n; i++) {
    if (!strcmp(text, names[i])) return *out = i, true;
    if (at < sizeof all) at += (size_t)snprintf(all + at, sizeof all - at, "%s%s", i ? ", " : "", names[i]);
  }
  return el_api_fail(e, 400, "invalid_value", name, "Invalid value for '%s': '%.40s' is none of %s.", name, text, all);
}
