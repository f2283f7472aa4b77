#include "cli/profile_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"

static bool is_weights(const char *name) {
  static const char *const suffixes[] = {".safetensors", ".safetensors.index.json", ".gguf"};
  for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
    el_str s = {name, strlen(name)};
    if (el_str_chop(&s, suffixes[i])) return true;
  }
  return false;
}

/* The stamp of one file is its own; those of several are added. */
static void look_at_folder(DIR *d, el_profile_files *out) {
  el_file_stamp sum = {0};
  size_t n = 0;
  struct stat st;
  for (struct dirent *e; (e = readdir(d));) {
    bool config = !strcmp(e->d_name, "adapter_config.json");
    if ((!config && !is_weights(e->d_name)) || fstatat(dirfd(d), e->d_name, &st, 0) || !S_ISREG(st.st_mode)) continue;
    el_file_stamp one = el_file_stamp_of(&st);
    if (config) {
      out->config = one;
      continue;
    }
    if (n++ == 0) out->weights = one;
    el_file_stamp_add(&sum, one);
  }
  if (n > 1) out->weights = sum;
}

el_status el_profile_files_look(const char *path, el_profile_files *out, el_error *err) {
  struct stat st;
  el_profile_files files = {0};
  if (stat(path, &st)) return el_fail_about(err, EL_ERR_IO, path, "%s", strerror(errno));
  if (S_ISDIR(st.st_mode)) {
    DIR *d = opendir(path);
    if (!d) return el_fail_about(err, EL_ERR_IO, path, "%s", strerror(errno));
    look_at_folder(d, &files);
    closedir(d);
  } else {
    files.weights = el_file_stamp_of(&st);
  }
  *out = files;
  return EL_OK;
}
