#include "base/cpus.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* Whether a CPU of the set represents its core: it is the first of the core's hardware threads, as
 * the kernel lists them. If that one is outside the set, none represents the core. */
static bool stands_for_core(int cpu, const cpu_set_t *set) {
  char path[96];
  snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
  FILE *f = fopen(path, "re");
  int first = cpu;
  if (f) {
    if (fscanf(f, "%d", &first) != 1) first = cpu;
    fclose(f);
  }
  return first == cpu || first < 0 || first >= CPU_SETSIZE || !CPU_ISSET(first, set);
}

/* Finds one CPU of each physical core. */
static int cores(int out[EL_MAX_CPUS]) {
  cpu_set_t set;
  int n = 0;
  if (sched_getaffinity(0, sizeof set, &set)) return 0;
  for (int cpu = 0; cpu < CPU_SETSIZE && n < EL_MAX_CPUS; cpu++)
    if (CPU_ISSET(cpu, &set) && stands_for_core(cpu, &set)) out[n++] = cpu;
  return n;
}

int el_physical_cores(void) {
  int cpus[EL_MAX_CPUS], n = cores(cpus);
  return n > 0 ? n : 1;
}

/* Writes the set as the kernel does: 0-3,8. */
static void describe(const cpu_set_t *set, char *out, size_t size) {
  size_t len = 0;
  *out = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE && len < size; cpu++) {
    if (!CPU_ISSET(cpu, set)) continue;
    int last = cpu;
    while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, set)) last++;
    len += (size_t)snprintf(out + len, size - len, last > cpu ? "%s%d-%d" : "%s%d", len ? "," : "", cpu, last);
    cpu = last;
  }
}

/* Reads a number of at most four digits. False: there is none. */
static bool number(const char **text, int *out) {
  int n = 0, digits = 0;
  for (; **text >= '0' && **text <= '9'; (*text)++, digits++) {
    if (digits == 4) return false;
    n = n * 10 + (**text - '0');
  }
  *out = n;
  return digits > 0;
}

el_status el_cpus_parse(const char *list, int out[EL_MAX_CPUS], int *n, el_error *err) {
  *n = 0;
  if (strcmp(list, "auto") == 0) {
    *n = cores(out);
    return *n ? EL_OK : el_fail(err, EL_ERR_UNSUPPORTED, "the system does not tell which CPUs there are");
  }
  cpu_set_t allowed, named;
  if (sched_getaffinity(0, sizeof allowed, &allowed))
    return el_fail(err, EL_ERR_UNSUPPORTED, "the system does not tell which CPUs there are");
  CPU_ZERO(&named);
  for (const char *at = list;; at++) {
    int first, last;
    bool ok = number(&at, &first);
    last = first;
    if (ok && *at == '-') {
      at++;
      ok = number(&at, &last);
    }
    if (!ok || last < first || (*at && *at != ','))
      return el_fail(err, EL_ERR_INVALID, "'%.64s' is neither a list of CPUs, such as 0-3,8, nor auto", list);
    for (int cpu = first; cpu <= last; cpu++) {
      if (cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &allowed)) {
        char text[128];
        describe(&allowed, text, sizeof text);
        return el_fail(err, EL_ERR_INVALID, "CPU %d is not one that this process may use: %s", cpu, text);
      }
      if (CPU_ISSET(cpu, &named)) return el_fail(err, EL_ERR_INVALID, "CPU %d is named twice", cpu);
      CPU_SET(cpu, &named);
      out[(*n)++] = cpu;
    }
    if (!*at) return EL_OK;
  }
}
