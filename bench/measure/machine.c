#include "bench/measure/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cpus.h"

void el_bench_cpu_name(char *out, size_t size) {
  struct utsname system;
  snprintf(out, size, "%s", uname(&system) == 0 ? system.machine : "unknown");
  FILE *file = fopen("/proc/cpuinfo", "re");
  if (!file) return;
  char line[256];
  while (fgets(line, sizeof line, file)) {
    if (strncmp(line, "model name", 10) != 0) continue;
    const char *colon = strchr(line, ':');
    if (colon) snprintf(out, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
    break;
  }
  fclose(file);
}

/* The first line of a file of the first CPU's caches; false: there is none. */
static bool cache_line(int index, const char *what, char *out, int size) {
  char path[96];
  snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, what);
  FILE *file = fopen(path, "re");
  if (!file) return false;
  bool ok = fgets(out, size, file) != NULL;
  fclose(file);
  return ok;
}

/* How many CPUs a list such as 0-3,8-11 names. */
static int count_cpus(const char *list) {
  int n = 0;
  while (*list) {
    char *end;
    long first = strtol(list, &end, 10), last = first;
    if (end == list) break;
    if (*end == '-') last = strtol(end + 1, &end, 10);
    n += (int)(last - first) + 1;
    list = end + (*end == ',');
  }
  return n;
}

el_bench_machine el_bench_machine_get(void) {
  el_bench_machine m = {.cores = el_physical_cores(), .l3_sharers = 1};
  el_bench_cpu_name(m.cpu, sizeof m.cpu);
  char line[256];
  for (int i = 0; cache_line(i, "level", line, sizeof line); i++) {
    int level = atoi(line);
    if (!cache_line(i, "type", line, sizeof line) || line[0] == 'I' || !cache_line(i, "size", line, sizeof line))
      continue;
    char *unit;
    size_t bytes = strtoul(line, &unit, 10);
    bytes <<= *unit == 'M' ? 20 : *unit == 'K' ? 10 : 0;
    int sharers = cache_line(i, "shared_cpu_list", line, sizeof line) ? count_cpus(line) : 1;
    if (sharers < 1) sharers = 1;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    size_t instances = ((size_t)(cpus > 0 ? cpus : 1) + (size_t)sharers - 1) / (size_t)sharers;
    if (level >= 2) m.last_level_bytes = bytes * instances; /* levels come in their order */
    if (level == 2) m.l2_bytes = bytes;
    if (level == 3) {
      m.l3_bytes = bytes;
      m.l3_sharers = sharers;
    }
  }
  if (!m.last_level_bytes) m.last_level_bytes = (size_t)32 << 20;
  long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  m.memory_bytes = pages > 0 && page > 0 ? (size_t)pages * (size_t)page : (size_t)1 << 30;
  return m;
}

json_t *el_bench_machine_json(const el_bench_machine *m) {
  return json_pack("{s:s, s:i, s:I, s:I, s:I}", "cpu", m->cpu, "cores", m->cores, "l2_bytes", (json_int_t)m->l2_bytes,
                   "l3_bytes", (json_int_t)m->l3_bytes, "memory_bytes", (json_int_t)m->memory_bytes);
}
