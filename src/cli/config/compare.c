#include <stdio.h>
#include <string.h>

#include "cli/config/config.h"

static bool config_values_equal(const el_config_entry *a, const el_config_entry *b) {
  if (!a || !b) return !a && !b;
  if (a->n != b->n) return false;
  for (size_t i = 0; i < a->n; i++)
    if (strcmp(a->values[i].text, b->values[i].text)) return false;
  return true;
}

static bool list_has(const char *const *list, size_t n, const char *name) {
  for (size_t i = 0; i < n; i++)
    if (!strcmp(list[i], name)) return true;
  return false;
}

void el_config_changes(const el_config *was, const el_config *is, const el_cli_group *groups, size_t n_groups,
                       const el_cli_given *given, const char *const *but, size_t n_but, char *out, size_t size) {
  size_t len = 0;
  *out = 0;
  for (size_t g = 0; g < n_groups; g++)
    for (size_t i = 0; i < groups[g].n; i++) {
      const el_cli_option *o = &groups[g].options[i];
      if (el_cli_is_given(given, o) || list_has(but, n_but, o->name)) continue;
      if (config_values_equal(el_config_find(was, o->name), el_config_find(is, o->name)) || len >= size) continue;
      len += (size_t)snprintf(out + len, size - len, "%s%s", len ? ", " : "", o->name);
    }
}
