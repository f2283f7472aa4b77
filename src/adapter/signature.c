#include "adapter/signature.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void put_stamp(el_signature *s, int i, const struct stat *st) {
  s->file[i] = el_file_stamp_of(st);
}

bool el_signature_says_absent(int error) {
  return error == ENOENT || error == ENOTDIR || error == ELOOP || error == EACCES || error == ENAMETOOLONG;
}

/* Where questions are asked, and whether one failed for another reason than that there is nothing.
 */
typedef struct asked {
  int dir_fd;
  const char *entry;
  bool unsure;
} asked;

static bool stat_at(asked *a, int dir_fd, const char *path, struct stat *st) {
  if (!fstatat(dir_fd, path, st, 0)) return true;
  a->unsure = a->unsure || !el_signature_says_absent(errno);
  return false;
}

/* Calls stat for `file` in the entry; false: errno says why. */
static bool stat_in(asked *a, const char *file, struct stat *st) {
  char path[PATH_MAX];
  int n = snprintf(path, sizeof path, "%s/%s", a->entry, file);
  if (n < 0 || n >= (int)sizeof path) {
    errno = ENAMETOOLONG;
    return false;
  }
  return stat_at(a, a->dir_fd, path, st);
}

bool el_signature_is_gguf(const char *path) {
  static const char suffix[] = EL_GGUF_SUFFIX;
  const char *slash = strrchr(path, '/'), *entry = slash ? slash + 1 : path;
  size_t len = strlen(entry);
  return len >= sizeof suffix && !strcmp(entry + len - (sizeof suffix - 1), suffix);
}

/* Adds the preset, which lies beside a GGUF file. */
static void put_preset_beside(el_signature *s, asked *a) {
  char path[PATH_MAX];
  struct stat st;
  int stem = (int)(strlen(a->entry) - (sizeof EL_GGUF_SUFFIX - 1));
  int n = snprintf(path, sizeof path, "%.*s%s", stem, a->entry, EL_PRESET_SUFFIX);
  if (n > 0 && n < (int)sizeof path && stat_at(a, a->dir_fd, path, &st)) put_stamp(s, EL_SIGNED_PRESET, &st);
}

/* Adds the files of indexed weights: all that have such a name, so that the index need not be read.
 */
static void add_shards(asked *a, el_signature *s) {
  int fd = openat(a->dir_fd, a->entry, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *d = fd < 0 ? NULL : fdopendir(fd);
  if (!d) a->unsure = a->unsure || !el_signature_says_absent(errno);
  if (!d && fd >= 0) close(fd);
  if (!d) return;
  struct stat st;
  for (struct dirent *e; errno = 0, (e = readdir(d));) {
    size_t len = strlen(e->d_name);
    static const char suffix[] = ".safetensors";
    if (len < sizeof suffix || strcmp(e->d_name + len - (sizeof suffix - 1), suffix)) continue;
    if (stat_at(a, dirfd(d), e->d_name, &st)) el_file_stamp_add(&s->file[0], el_file_stamp_of(&st));
  }
  a->unsure = a->unsure || errno;
  closedir(d);
}

/* Adds weights of any form in a folder. False: there are none. *pickled: there are only pickled
 * ones. */
static bool sign_weights(asked *a, el_signature *s, bool *pickled) {
  struct stat one, index, mlx;
  *pickled = false;
  bool has_one = stat_in(a, "adapter_model.safetensors", &one);
  if (has_one) put_stamp(s, 0, &one);
  /* Most folders have this file. A second one does not make it another adapter; reading it reports
   * that. */
  if (has_one) return true;
  bool has_index = stat_in(a, "adapter_model.safetensors.index.json", &index);
  bool has_mlx = stat_in(a, "adapters.safetensors", &mlx);
  if (has_index) {
    el_file_stamp_add(&s->file[0], el_file_stamp_of(&index));
    add_shards(a, s); /* mlx-lm's too */
  } else if (has_mlx) {
    put_stamp(s, 0, &mlx);
  } else if (stat_in(a, "adapter_model.bin", &one)) {
    put_stamp(s, 0, &one);
    *pickled = true;
  } else {
    return false;
  }
  return true;
}

static const char pickle[] =
    "adapter_model.bin is a pickle, and reading one runs code: convert it to adapter_model.safetensors";

static bool sign_entry(asked *a, bool *folder, const char **problem, el_signature *out) {
  struct stat st;
  bool pickled;
  *folder = false;
  *problem = NULL;
  *out = (el_signature){0};
  /* Most entries are PEFT folders: asking for the file inside one answers two questions at once. */
  if (stat_in(a, "adapter_config.json", &st)) {
    *folder = true;
    put_stamp(out, 1, &st);
    if (!sign_weights(a, out, &pickled))
      *problem =
          "adapter_config.json has no weights beside it: adapter_model.safetensors, or its parts and their "
          "index, or adapters.safetensors";
    else if (pickled)
      *problem = pickle;
    if (stat_in(a, EL_PRESET_FILE, &st)) put_stamp(out, EL_SIGNED_PRESET, &st);
    return !*problem;
  }
  if (!stat_at(a, a->dir_fd, a->entry, &st)) return false; /* gone, or a link to nothing */
  *folder = S_ISDIR(st.st_mode);
  if (*folder) {
    if (sign_weights(a, out, &pickled))
      *problem = pickled ? pickle : "weights of an adapter without adapter_config.json beside them";
    return false;
  }
  if (!S_ISREG(st.st_mode) || !el_signature_is_gguf(a->entry)) return false;
  put_stamp(out, 0, &st);
  put_preset_beside(out, a);
  return true;
}

bool el_signature_at(int dir_fd, const char *entry, bool *folder, const char **problem, bool *unsure,
                     el_signature *out) {
  asked a = {.dir_fd = dir_fd, .entry = entry};
  const bool is_adapter = sign_entry(&a, folder, problem, out);
  *unsure = a.unsure;
  return is_adapter;
}

el_status el_signature_read(const char *path, el_signature *out, el_error *err) {
  struct stat st;
  el_signature s = {0};
  asked a = {.dir_fd = AT_FDCWD, .entry = path};
  bool pickled;
  if (stat(path, &st) != 0) return el_fail_about(err, EL_ERR_IO, path, "%s", strerror(errno));
  if (S_ISDIR(st.st_mode)) {
    if (!stat_in(&a, "adapter_config.json", &st))
      return el_fail_about(err, EL_ERR_IO, path, "adapter_config.json: %s", strerror(errno));
    put_stamp(&s, 1, &st);
    sign_weights(&a, &s, &pickled); /* opening it says what is missing */
    if (stat_in(&a, EL_PRESET_FILE, &st)) put_stamp(&s, EL_SIGNED_PRESET, &st);
  } else {
    put_stamp(&s, 0, &st);
    if (el_signature_is_gguf(path)) put_preset_beside(&s, &a);
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
