#include "adapter/hub.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapter/signature.h"

static const char prefix[] = "models--";

bool el_hub_is_repository(const char *entry) {
  return !strncmp(entry, prefix, sizeof prefix - 1) && entry[sizeof prefix - 1];
}

void el_hub_name(const char *entry, char out[NAME_MAX + 1]) {
  snprintf(out, NAME_MAX + 1, "%s", entry + sizeof prefix - 1);
  char *slash = strstr(out, "--"); /* "--" occurs only once in a hub's folder names */
  if (!slash) return;
  *slash = '/';
  memmove(slash + 1, slash + 2, strlen(slash + 2) + 1);
}

/* Opens a folder to list it; NULL: it cannot be opened. */
static DIR *open_at(int dir_fd, const char *path) {
  int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *d = fd < 0 ? NULL : fdopendir(fd);
  if (!d && fd >= 0) close(fd);
  return d;
}

/* Reads refs/main. False: its content cannot be a folder's name. */
static bool read_ref(int dir_fd, const char *entry, char hash[NAME_MAX + 1]) {
  char path[2 * (NAME_MAX + 1)];
  snprintf(path, sizeof path, "%s/refs/main", entry);
  int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat st;
  ssize_t n = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? read(fd, hash, NAME_MAX) : -1;
  if (fd >= 0) close(fd);
  while (n > 0 && isspace((unsigned char)hash[n - 1])) n--;
  hash[n > 0 ? n : 0] = 0;
  for (ssize_t i = 0; i < n; i++)
    if (!isxdigit((unsigned char)hash[i])) return false;
  return n > 0;
}

bool el_hub_snapshot(int dir_fd, const char *entry, char out[EL_HUB_SNAPSHOT]) {
  char hash[NAME_MAX + 1], path[2 * (NAME_MAX + 1)];
  struct stat st;
  if (read_ref(dir_fd, entry, hash)) {
    snprintf(out, EL_HUB_SNAPSHOT, "%s/snapshots/%s", entry, hash);
    if (fstatat(dir_fd, out, &st, 0) == 0 && S_ISDIR(st.st_mode)) return true;
  }
  snprintf(path, sizeof path, "%s/snapshots", entry);
  DIR *d = open_at(dir_fd, path);
  if (!d) return false;
  struct timespec newest = {0};
  *hash = 0;
  for (struct dirent *e; (e = readdir(d));) {
    if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, 0) != 0 || !S_ISDIR(st.st_mode)) continue;
    const struct timespec t = st.st_mtim;
    bool newer = t.tv_sec > newest.tv_sec || (t.tv_sec == newest.tv_sec && t.tv_nsec > newest.tv_nsec);
    bool same = t.tv_sec == newest.tv_sec && t.tv_nsec == newest.tv_nsec;
    if (*hash && !newer && !(same && strcmp(e->d_name, hash) > 0)) continue;
    newest = t;
    snprintf(hash, sizeof hash, "%s", e->d_name);
  }
  closedir(d);
  snprintf(out, EL_HUB_SNAPSHOT, "%s/snapshots/%s", entry, hash);
  return *hash;
}

bool el_hub_has_gguf(int dir_fd, const char *snapshot) {
  DIR *d = open_at(dir_fd, snapshot);
  bool found = false;
  for (struct dirent *e; d && !found && (e = readdir(d));) found = el_signature_is_gguf(e->d_name);
  if (d) closedir(d);
  return found;
}
