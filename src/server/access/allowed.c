#include "server/access/allowed.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

el_status el_allowed_init(el_allowed *a, const char *const *folders, size_t n, el_error *err) {
  *a = (el_allowed){.roots = calloc(n ? n : 1, sizeof *a->roots)};
  if (!a->roots) return el_fail(err, EL_ERR_NO_MEMORY, "server: out of memory");
  for (size_t i = 0; i < n; i++) {
    if (!(a->roots[i] = realpath(folders[i], NULL))) {
      el_status status = el_fail(err, EL_ERR_IO, "%s: %s", folders[i], strerror(errno));
      el_allowed_free(a);
      return status;
    }
    a->n++;
  }
  return EL_OK;
}

void el_allowed_free(el_allowed *a) {
  for (size_t i = 0; i < a->n; i++) free(a->roots[i]);
  free(a->roots);
  *a = (el_allowed){0};
}

/* real: resolved. "/a/bc" is not inside "/a/b". */
static bool is_inside_allowed(const el_allowed *a, const char *real) {
  for (size_t i = 0; i < a->n; i++) {
    size_t len = strlen(a->roots[i]);
    if (len == 1 || (!strncmp(real, a->roots[i], len) && (real[len] == '/' || !real[len]))) return true;
  }
  return false;
}

/* Whether the nearest existing folder above `path` is allowed; then the client may learn that the rest is missing. */
static bool may_know_missing(const el_allowed *a, const char *path) {
  char *copy = strdup(path), *real = NULL;
  while (copy && !real) {
    char *slash = strrchr(copy, '/');
    if (!slash) break;
    *slash = 0;
    real = realpath(slash == copy ? "/" : copy, NULL);
  }
  bool may = real && is_inside_allowed(a, real);
  free(copy);
  free(real);
  return may;
}

static char *fail_forbidden_folder(el_api_error *e) {
  el_api_fail(e, 403, "path_not_allowed", "lora_path",
              "'lora_path' is not inside a folder that the operator allows to load adapters from (--adapters, "
              "--allow-adapters-from).");
  return NULL;
}

static char *fail_missing_path(el_api_error *e, const char *path) {
  el_api_fail(e, 404, "adapter_not_found", "lora_path", "'lora_path': there is nothing at '%.300s'.", path);
  return NULL;
}

static char *resolve_absolute(const el_allowed *a, const char *path, el_api_error *e) {
  char *real = realpath(path, NULL);
  if (real && is_inside_allowed(a, real)) return real;
  bool absent = !real && may_know_missing(a, path);
  free(real);
  return absent ? fail_missing_path(e, path) : fail_forbidden_folder(e);
}

bool el_allowed_any(const el_allowed *a, el_api_error *e) {
  return a->n || el_api_fail(e, 403, "adapter_loading_disabled", NULL,
                             "Clients may neither load nor unload adapters: the operator has allowed no folder for it "
                             "(--adapters, --allow-adapters-from).");
}

char *el_allowed_resolve(const el_allowed *a, const char *path, el_api_error *e) {
  if (!el_allowed_any(a, e)) return NULL;
  if (strlen(path) >= PATH_MAX) {
    el_api_fail(e, 400, "invalid_value", "lora_path", "'lora_path' has %zu bytes; at most %d are allowed.",
                strlen(path), PATH_MAX - 1);
    return NULL;
  }
  if (path[0] == '/') return resolve_absolute(a, path, e);
  bool outside = false;
  for (size_t i = 0; i < a->n; i++) {
    char *full = NULL;
    if (asprintf(&full, "%s/%s", a->roots[i], path) < 0) {
      el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
      return NULL;
    }
    char *real = resolve_absolute(a, full, e);
    free(full);
    if (real) return real;
    outside = outside || e->status == 403;
  }
  return outside ? fail_forbidden_folder(e) : fail_missing_path(e, path);
}

bool el_allowed_has(const el_allowed *a, const char *path) {
  char *copy = strdup(path), *slash = copy ? strrchr(copy, '/') : NULL;
  if (slash && slash != copy) *slash = 0;
  char *real = copy ? realpath(slash ? copy : ".", NULL) : NULL;
  /* The engine resolved the path when the adapter was loaded, so this works even if the folder is gone. */
  bool has = is_inside_allowed(a, real ? real : path);
  free(copy);
  free(real);
  return has;
}
