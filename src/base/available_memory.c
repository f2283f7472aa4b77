/* Limits of control groups hold for all that is below them, so each group is asked, from the process's own up to the
 * root. A container that does not see the host's tree has a path in /proc/self/cgroup that is not in its /sys: what is
 * missing there is passed over, and the topmost group is the container's own. */
#include "base/available_memory.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Version 1 says of a group without a limit the largest number of whole pages. */
#define NO_LIMIT ((uint64_t)1 << 62)

/* What a version of control groups calls its files. */
typedef struct version {
  const char *limits[2]; /* each may be missing */
  const char *used, *reclaimable;
} version;

static const version V1 = {{"memory.limit_in_bytes", NULL}, "memory.usage_in_bytes", "total_inactive_file"};
/* Above `high` a process is held up until it takes no more. */
static const version V2 = {{"memory.max", "memory.high"}, "memory.current", "inactive_file"};

/* The number behind `name` at the beginning of a line; with "" the number that the file begins with. False: there is
 * none, or the word "max". */
static bool read_number(const char *path, const char *name, uint64_t *out) {
  char line[256];
  unsigned long long value = 0;
  size_t n = strlen(name);
  bool found = false;
  FILE *f = fopen(path, "re");
  if (!f) return false;
  while (!found && fgets(line, sizeof line, f))
    found = !strncmp(line, name, n) && sscanf(line + n, n ? "%*[: \t]%llu" : "%llu", &value) == 1;
  fclose(f);
  *out = value;
  return found;
}

static bool read_file(const char *group, const char *file, const char *name, uint64_t *out) {
  char path[PATH_MAX];
  return snprintf(path, sizeof path, "%s/%s", group, file) < (int)sizeof path && read_number(path, name, out);
}

/* What a group has left. Files that were read, and have not been used since, are given up before anything fails. */
static uint64_t left_in(const char *group, const version *v) {
  uint64_t limit = NO_LIMIT, used = 0, reclaimable = 0, value;
  for (int i = 0; i < 2; i++)
    if (v->limits[i] && read_file(group, v->limits[i], "", &value) && value < limit) limit = value;
  if (limit == NO_LIMIT || !read_file(group, v->used, "", &used)) return limit;
  if (read_file(group, "memory.stat", v->reclaimable, &reclaimable)) used -= reclaimable < used ? reclaimable : used;
  return used < limit ? limit - used : 0;
}

/* The least that the groups from `path` up to the top have left. */
static uint64_t left_up_the_tree(const char *top, const char *path, const version *v) {
  char group[PATH_MAX];
  size_t least = strlen(top);
  if (snprintf(group, sizeof group, "%s%s", top, path) >= (int)sizeof group) return NO_LIMIT;
  for (uint64_t left = NO_LIMIT;;) {
    const uint64_t here = left_in(group, v);
    if (here < left) left = here;
    char *slash = strrchr(group + least, '/');
    if (!slash) return left;
    *slash = 0;
  }
}

/* Whether a list of controllers, "cpu,memory", has the one for memory. */
static bool for_memory(const char *list) {
  for (const char *at = list; *at;) {
    const size_t n = strcspn(at, ",");
    if (n == 6 && !strncmp(at, "memory", n)) return true;
    at += n + (at[n] == ',');
  }
  return false;
}

/* A line of /proc/self/cgroup: NUMBER:CONTROLLERS:PATH. Version 2 has no controllers there; beside version 1 it is
 * mounted one folder deeper. */
static uint64_t left_of_line(const char *root, char *line) {
  char top[PATH_MAX];
  char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;
  if (!path) return NO_LIMIT;
  *path++ = 0;
  path[strcspn(path, "\n")] = 0;
  const bool second = list[1] == 0;
  if (!second && !for_memory(list + 1)) return NO_LIMIT;
  uint64_t left = NO_LIMIT;
  const char *const places[] = {second ? "" : "/memory", second ? "/unified" : NULL};
  for (int i = 0; i < 2 && places[i]; i++) {
    if (snprintf(top, sizeof top, "%s/sys/fs/cgroup%s", root, places[i]) >= (int)sizeof top) continue;
    const uint64_t there = left_up_the_tree(top, path, second ? &V2 : &V1);
    if (there < left) left = there;
  }
  return left;
}

static uint64_t left_in_groups(const char *root) {
  char path[PATH_MAX], line[PATH_MAX + 64];
  uint64_t left = NO_LIMIT;
  if (snprintf(path, sizeof path, "%s/proc/self/cgroup", root) >= (int)sizeof path) return left;
  FILE *f = fopen(path, "re");
  while (f && fgets(line, sizeof line, f)) {
    const uint64_t here = left_of_line(root, line);
    if (here < left) left = here;
  }
  if (f) fclose(f);
  return left;
}

uint64_t el_available_memory(const char *root) {
  char path[PATH_MAX];
  uint64_t kib = 0;
  const uint64_t groups = left_in_groups(root);
  const bool told = snprintf(path, sizeof path, "%s/proc/meminfo", root) < (int)sizeof path &&
                    read_number(path, "MemAvailable", &kib);
  if (told && kib * 1024 < groups) return kib * 1024;
  /* 0 would say that nobody knows. */
  return groups == NO_LIMIT ? 0 : groups ? groups : 1;
}
