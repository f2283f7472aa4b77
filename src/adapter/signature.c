#include "adapter/signature.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/random.h"

static void put_stamp(el_signature *s, int i, const struct stat *st) {
  s->file[i] = el_file_stamp_of(st);
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
  if (n > 0 && n < (int)sizeof path && !fstatat(dir_fd, path, &st, 0)) put_stamp(s, EL_SIGNED_PRESET, &st);
}

/* Adds a file to what stands for several: another sum when one of them is another, whatever their order. */
static void add_stamp(el_signature *s, const struct stat *st) {
  el_signature one;
  put_stamp(&one, 0, st);
  s->file[0].size += one.file[0].size;
  s->file[0].mtime_ns += el_mix64(one.file[0].mtime_ns);
  s->file[0].inode += el_mix64(one.file[0].inode);
}

/* The parts of weights that have an index: whatever is called like one, so that the index need not be read. */
static void add_shards(int dir_fd, const char *entry, el_signature *s) {
  int fd = openat(dir_fd, entry, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *d = fd < 0 ? NULL : fdopendir(fd);
  if (!d && fd >= 0) close(fd);
  if (!d) return;
  struct stat st;
  for (struct dirent *e; (e = readdir(d));) {
    size_t len = strlen(e->d_name);
    static const char suffix[] = ".safetensors";
    if (len < sizeof suffix || strcmp(e->d_name + len - (sizeof suffix - 1), suffix)) continue;
    if (fstatat(dirfd(d), e->d_name, &st, 0) == 0) add_stamp(s, &st);
  }
  closedir(d);
}

/* Weights of any form in a folder; false: none. *pickled: there is nothing else. */
static bool sign_weights(int dir_fd, const char *entry, el_signature *s, bool *pickled) {
  struct stat one, index, mlx;
  *pickled = false;
  bool has_one = stat_in(dir_fd, entry, "adapter_model.safetensors", &one);
  if (has_one) put_stamp(s, 0, &one);
  /* Most have this file, and a second one is no adapter: it is the reader's to say so. */
  if (has_one) return true;
  bool has_index = stat_in(dir_fd, entry, "adapter_model.safetensors.index.json", &index);
  bool has_mlx = stat_in(dir_fd, entry, "adapters.safetensors", &mlx);
  if (has_index) {
    add_stamp(s, &index);
    add_shards(dir_fd, entry, s); /* mlx's too */
  } else if (has_mlx) {
    put_stamp(s, 0, &mlx);
  } else if (stat_in(dir_fd, entry, "adapter_model.bin", &one)) {
    put_stamp(s, 0, &one);
    *pickled = true;
  } else {
    return false;
  }
  return true;
}

static const char pickle[] =
    "adapter_model.bin is a pickle, and reading one runs code: convert it to adapter_model.safetensors";

bool el_signature_at(int dir_fd, const char *entry, bool *folder, const char **problem, el_signature *out) {
  struct stat st;
  bool pickled;
  *folder = false;
  *problem = NULL;
  *out = (el_signature){0};
  /* Most entries are PEFT folders: asking for the file inside of one answers two questions at once. */
  if (stat_in(dir_fd, entry, "adapter_config.json", &st)) {
    *folder = true;
    put_stamp(out, 1, &st);
    if (!sign_weights(dir_fd, entry, out, &pickled))
      *problem =
          "adapter_config.json has no weights beside it: adapter_model.safetensors, or its parts and their "
          "index, or adapters.safetensors";
    else if (pickled)
      *problem = pickle;
    if (stat_in(dir_fd, entry, EL_PRESET_FILE, &st)) put_stamp(out, EL_SIGNED_PRESET, &st);
    return !*problem;
  }
  if (fstatat(dir_fd, entry, &st, 0) != 0) return false; /* gone, or a link to nowhere */
  *folder = S_ISDIR(st.st_mode);
  if (*folder) {
    if (sign_weights(dir_fd, entry, out, &pickled))
      *problem = pickled ? pickle : "weights of an adapter without adapter_config.json beside them";
    return false;
  }
  if (!S_ISREG(st.st_mode) || !el_signature_is_gguf(entry)) return false;
  put_stamp(out, 0, &st);
  put_preset_beside(out, dir_fd, entry);
  return true;
}

el_status el_signature_read(const char *path, el_signature *out, el_error *err) {
  struct stat st;
  el_signature s = {0};
  bool pickled;
  if (stat(path, &st) != 0) return el_fail_about(err, EL_ERR_IO, path, "%s", strerror(errno));
  if (S_ISDIR(st.st_mode)) {
    if (!stat_in(AT_FDCWD, path, "adapter_config.json", &st))
      return el_fail_about(err, EL_ERR_IO, path, "adapter_config.json: %s", strerror(errno));
    put_stamp(&s, 1, &st);
    sign_weights(AT_FDCWD, path, &s, &pickled); /* the reader says what is missing */
    if (stat_in(AT_FDCWD, path, EL_PRESET_FILE, &st)) put_stamp(&s, EL_SIGNED_PRESET, &st);
  } else {
    put_stamp(&s, 0, &st);
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
