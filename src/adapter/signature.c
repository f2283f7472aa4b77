#include "adapter/signature.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void put(el_signature *s, int i, const struct stat *st) {
  s->file[i].size = (uint64_t)st->st_size;
  s->file[i].mtime_ns = (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec;
  s->file[i].inode = (uint64_t)st->st_ino;
}

/* Stats `entry`/`file`; false with errno. */
static bool stat_in(int dir_fd, const char *entry, const char *file, struct stat *st) {
  char path[PATH_MAX];
  int n = snprintf(path, sizeof path, "%s/%s", entry, file);
  if (n < 0 || n >= (int)sizeof path) {
    errno = ENAMETOOLONG;
    return false;
  }
  return fstatat(dir_fd, path, st, 0) == 0;
}

bool el_signature_is_gguf(const char *path) {
  static const char suffix[] = EL_GGUF_SUFFIX;
  const char *slash = strrchr(path, '/'), *entry = slash ? slash + 1 : path;
  size_t len = strlen(entry);
  return len >= sizeof suffix && !strcmp(entry + len - (sizeof suffix - 1), suffix);
}

/* A GGUF file's preset stands beside it. */
static void put_preset_beside(el_signature *s, int dir_fd, const char *entry) {
  char path[PATH_MAX];
  struct stat st;
  int stem = (int)(strlen(entry) - (sizeof EL_GGUF_SUFFIX - 1));
  int n = snprintf(path, sizeof path, "%.*s%s", stem, entry, EL_PRESET_SUFFIX);
  if (n > 0 && n < (int)sizeof path && !fstatat(dir_fd, path, &st, 0)) put(s, EL_SIGNED_PRESET, &st);
}

bool el_signature_at(int dir_fd, const char *entry, bool *folder, el_signature *out) {
  struct stat st;
  *folder = false;
  *out = (el_signature){0};
  /* Most entries are PEFT folders: asking for the file inside of one answers two questions at once. */
  if (stat_in(dir_fd, entry, "adapter_config.json", &st)) {
    *folder = true;
    put(out, 1, &st);
    /* Weights of a kind that cannot be served are found, and refused with the reason when they are asked for. */
    if (!stat_in(dir_fd, entry, "adapter_model.safetensors", &st) && !stat_in(dir_fd, entry, "adapter_model.bin", &st))
      return false;
    put(out, 0, &st);
    if (stat_in(dir_fd, entry, EL_PRESET_FILE, &st)) put(out, EL_SIGNED_PRESET, &st);
    return true;
  }
  if (fstatat(dir_fd, entry, &st, 0) != 0) return false; /* gone, or a link to nowhere */
  *folder = S_ISDIR(st.st_mode);
  if (!S_ISREG(st.st_mode) || !el_signature_is_gguf(entry)) return false;
  put(out, 0, &st);
  put_preset_beside(out, dir_fd, entry);
  return true;
}

el_status el_signature_read(const char *path, el_signature *out, el_error *err) {
  struct stat st;
  el_signature s = {0};
  if (stat(path, &st) != 0) return el_fail_about(err, EL_ERR_IO, path, "%s", strerror(errno));
  if (S_ISDIR(st.st_mode)) {
    if (!stat_in(AT_FDCWD, path, "adapter_config.json", &st))
      return el_fail_about(err, EL_ERR_IO, path, "adapter_config.json: %s", strerror(errno));
    put(&s, 1, &st);
    if (stat_in(AT_FDCWD, path, "adapter_model.safetensors", &st))
      put(&s, 0, &st); /* the reader says what is missing */
    if (stat_in(AT_FDCWD, path, EL_PRESET_FILE, &st)) put(&s, EL_SIGNED_PRESET, &st);
  } else {
    put(&s, 0, &st);
    if (el_signature_is_gguf(path)) put_preset_beside(&s, AT_FDCWD, path);
  }
  *out = s;
  return EL_OK;
}

bool el_signature_equal(const el_signature *a, const el_signature *b) {
  return !memcmp(a, b, sizeof *a);
}

bool el_signature_same_weights(const el_signature *a, const el_signature *b) {
  return !memcmp(a, b, sizeof a->file[0] * EL_SIGNED_PRESET);
}
