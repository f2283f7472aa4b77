#include "bench/load/procfs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool el_load_process_read(int pid, el_load_process *out) {
  char path[48], line[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE *f = fopen(path, "re");
  if (!f) return false;
  bool ok = fgets(line, sizeof line, f) != NULL;
  fclose(f);
  /* The second field is the program's name in parentheses; it may have any character in it. */
  const char *rest = ok ? strrchr(line, ')') : NULL;
  unsigned long long user, system;
  long long resident;
  /* Fields 3-13 are skipped, 14 and 15 are times in ticks, 24 pages. */
  if (!rest || sscanf(rest + 1,
                      " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu %*s %*s %*s %*s %*s %*s %*s "
                      "%*s %lld",
                      &user, &system, &resident) != 3)
    return false;
  out->resident_bytes = resident < 0 ? 0 : (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
  out->cpu_seconds = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
  return true;
}
