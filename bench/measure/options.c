#include "bench/measure/options.h"

#include <string.h>

void el_bench_default_threads(el_cli_numbers *threads, const el_bench_machine *m) {
  if (threads->n) return;
  threads->items[threads->n++] = 1;
  if (m->cores > 1) threads->items[threads->n++] = m->cores;
}

unsigned el_bench_parse_names(const char *text, const char *const *names, int n) {
  unsigned bits = 0;
  while (*text) {
    size_t len = strcspn(text, ",");
    int found = -1;
    for (int i = 0; i < n; i++)
      if (strlen(names[i]) == len && memcmp(names[i], text, len) == 0) found = i;
    if (found < 0) return 0;
    bits |= 1u << found;
    text += len;
    if (*text == ',' && !*++text) return 0;
  }
  return bits;
}
