#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/help_json.h"

/* Set once, before there are threads. */
static const char *program = "edgelora";

void el_cli_set_program(const char *name) {
  program = name;
}

const char *el_cli_program_name(void) {
  return program;
}

static void print_message(const char *fmt, va_list args) {
  fflush(stdout); /* so that on a terminal both appear in the order in which they were written */
  flockfile(stderr);
  fprintf(stderr, "%s: ", program);
  vfprintf(stderr, fmt, args);
  fputc('\n', stderr);
  funlockfile(stderr);
}

void el_cli_error(const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  print_message(fmt, args);
  va_end(args);
}

int el_cli_usage_error(const el_cli_command *c, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  print_message(fmt, args);
  va_end(args);
  fprintf(stderr, "try '%s %s --help'\n", program, c->name);
  return EL_EXIT_USAGE;
}

int el_cli_failed(const el_error *err) {
  el_cli_error("%s", err->message);
  return EL_EXIT_FAILED;
}

int el_cli_no_memory(void) {
  el_cli_error("out of memory");
  return EL_EXIT_FAILED;
}

bool el_cli_to_stdout(void *user, const char *data, size_t len) {
  return fwrite(data, 1, len, stdout) == len;
}

int el_cli_end(int status) {
  errno = 0;
  bool failed = fflush(stdout) != 0 || ferror(stdout);
  if (failed) el_cli_error("standard output: %s", errno ? strerror(errno) : "not all of it could be written");
  return failed && status == EL_EXIT_OK ? EL_EXIT_FAILED : status;
}

/* Levenshtein's distance; words longer than this are never near. */
enum { LONGEST_WORD = 63 };

static size_t edit_distance(const char *a, const char *b) {
  size_t n = strlen(a), m = strlen(b), row[LONGEST_WORD + 1];
  if (n > LONGEST_WORD || m > LONGEST_WORD) return LONGEST_WORD;
  for (size_t j = 0; j <= m; j++) row[j] = j;
  for (size_t i = 1; i <= n; i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= m; j++) {
      size_t best = diagonal + (a[i - 1] != b[j - 1]);
      if (row[j] + 1 < best) best = row[j] + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      diagonal = row[j];
      row[j] = best;
    }
  }
  return row[m];
}

const char *el_cli_nearest(const char *word, const char *const *candidates, size_t n) {
  const char *nearest = NULL;
  size_t len = strlen(word), limit = len < 4 ? 1 : len < 8 ? 2 : 3, least = limit + 1;
  for (size_t i = 0; i < n; i++) {
    size_t d = edit_distance(word, candidates[i]);
    /* A beginning of at least three letters is near as well: --temperature for --temp, --ctx for --ctx-size. */
    size_t short_len = len < strlen(candidates[i]) ? len : strlen(candidates[i]);
    if (short_len >= 3 && strncmp(word, candidates[i], short_len) == 0 && d > limit) d = limit;
    if (d < least) {
      least = d;
      nearest = candidates[i];
    }
  }
  return nearest;
}

static const char *last_word(const char *name) {
  const char *space = strrchr(name, ' ');
  return space ? space + 1 : name;
}

int el_cli_dispatch(const char *family, const el_cli_command *const *commands, size_t n, int argc, char **argv) {
  const char *names[32];
  size_t n_names = 0;
  for (size_t i = 0; i < n; i++) {
    const char *name = last_word(commands[i]->name);
    if (strcmp(argv[0], name) == 0) return commands[i]->run(commands[i], argc, argv);
    if (n_names < sizeof names / sizeof *names) names[n_names++] = name;
  }
  const char *nearest = el_cli_nearest(argv[0], names, n_names);
  if (nearest)
    el_cli_error("there is no '%s %s'; did you mean '%s %s'?", family, argv[0], family, nearest);
  else
    el_cli_error("there is no '%s %s'", family, argv[0]);
  fprintf(stderr, "try '%s --help'\n", family);
  return EL_EXIT_USAGE;
}

int el_cli_run_family(const char *family, const el_cli_command *const *commands, size_t n,
                      void (*print_help)(FILE *out), int argc, char **argv) {
  if (argc < 2) {
    print_help(stderr);
    return EL_EXIT_USAGE;
  }
  if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
    print_help(stdout);
    return el_cli_end(EL_EXIT_OK);
  }
  if (strcmp(argv[1], EL_CLI_HELP_JSON) == 0) return el_cli_family_json(commands, n);
  return el_cli_dispatch(family, commands, n, argc - 1, argv + 1);
}

void el_cli_list_commands(FILE *out, const el_cli_command *const *commands, size_t n) {
  for (size_t i = 0; i < n; i++) fprintf(out, "  %-14s%s\n", last_word(commands[i]->name), commands[i]->summary);
}

char *el_cli_read_all(int fd, size_t *len) {
  char *data = NULL;
  size_t used = 0, cap = 0;
  for (;;) {
    if (cap - used < 2) {
      bool ends = cap <= EL_CLI_MAX_INPUT;
      char *grown = ends ? realloc(data, cap ? cap * 2 : 65536) : NULL;
      if (!grown) {
        free(data);
        errno = ends ? ENOMEM : EFBIG;
        return NULL;
      }
      data = grown;
      cap = cap ? cap * 2 : 65536;
    }
    ssize_t got = read(fd, data + used, cap - used - 1);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      int why = errno;
      free(data);
      errno = why;
      return NULL;
    }
    if (got == 0) break;
    used += (size_t)got;
  }
  data[used] = 0;
  *len = used;
  return data;
}

char *el_cli_read_file(const char *path, size_t *len) {
  bool standard = strcmp(path, "-") == 0;
  int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
  char *data = fd < 0 ? NULL : el_cli_read_all(fd, len);
  if (!data) el_cli_error("%s: %s", standard ? "standard input" : path, strerror(errno));
  if (fd >= 0 && !standard) close(fd);
  return data;
}
