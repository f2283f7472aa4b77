#include "cli/options.h"
#include "cli/help_json.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

void el_cli_list_free(el_cli_list *list) {
  free(list->items);
  *list = (el_cli_list){0};
}

/* ---- help */

enum { HELP_COLUMN = 28, HELP_WIDTH = 100 };

/* Prints words from the current column on; wrapped lines begin at HELP_COLUMN. */
static void print_wrapped(const char *text, int column) {
  while (*text) {
    int word = (int)strcspn(text, " ");
    if (column > HELP_COLUMN && column + 1 + word > HELP_WIDTH) {
      printf("\n%*s", HELP_COLUMN, "");
      column = HELP_COLUMN;
    } else if (column > HELP_COLUMN) {
      putchar(' ');
      column++;
    }
    printf("%.*s", word, text);
    column += word;
    text += word;
    text += strspn(text, " ");
  }
  putchar('\n');
}

static void print_option(const el_cli_option *o) {
  int column = o->letter ? printf("  -%c, ", o->letter) : printf("      ");
  column += printf("--%s", o->name);
  if (o->value) column += printf(" %s", o->value);
  if (column >= HELP_COLUMN - 1)
    printf("\n%*s", HELP_COLUMN, "");
  else
    printf("%*s", HELP_COLUMN - column, "");
  print_wrapped(o->help, HELP_COLUMN);
}

static int print_command_help(const el_cli_command *c, const el_cli_group *groups, size_t n_groups) {
  printf("usage: %s %s %s\n\n%s\n", el_cli_program_name(), c->name, c->usage, c->about);
  for (size_t g = 0; g < n_groups; g++) {
    printf("\n%s:\n", groups[g].title);
    for (size_t i = 0; i < groups[g].n; i++) print_option(&groups[g].options[i]);
  }
  if (c->examples) printf("\nExamples:\n%s\n", c->examples);
  return el_cli_end(EL_EXIT_OK);
}

/* ---- values */

static bool parse_int(const char *text, const char **end, double min, double max, int *out) {
  char *stop;
  errno = 0;
  long value = strtol(text, &stop, 10);
  *end = stop;
  if (stop == text || errno || (double)value < min || (double)value > max) return false;
  *out = (int)value;
  return true;
}

static bool set_int(const char *text, const el_cli_option *o, int *out) {
  const char *end;
  int value;
  if (!parse_int(text, &end, o->min, o->max, &value) || *end) return false;
  *out = value;
  return true;
}

static bool set_u64(const char *text, uint64_t *out) {
  char *end;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  if (end == text || *end || errno || strchr(text, '-')) return false; /* strtoull takes -1 for the largest number */
  *out = value;
  return true;
}

static bool set_bytes(const char *text, uint64_t *out) {
  static const char units[] = "KMGT";
  char number[24];
  size_t len = strlen(text);
  int last = len ? toupper((unsigned char)text[len - 1]) : 0;
  const char *unit = last ? strchr(units, last) : NULL;
  uint64_t value;
  if (unit) len--;
  if (!len || len >= sizeof number) return false;
  memcpy(number, text, len);
  number[len] = 0;
  int shift = unit ? 10 * (int)(unit - units + 1) : 0;
  if (!set_u64(number, &value) || value > UINT64_MAX >> shift) return false;
  *out = value << shift;
  return true;
}

static bool set_real(const char *text, const el_cli_option *o, float *out) {
  char *end;
  errno = 0;
  double value = strtod(text, &end);
  if (end == text || *end || errno == ERANGE || !isfinite(value) || value < o->min || value > o->max) return false;
  *out = (float)value;
  return true;
}

static bool set_numbers(const char *text, const el_cli_option *o, el_cli_numbers *out) {
  el_cli_numbers numbers = {.n = 0};
  for (;;) {
    const char *end;
    if (numbers.n == sizeof numbers.items / sizeof *numbers.items) return false;
    if (!parse_int(text, &end, o->min, o->max, &numbers.items[numbers.n])) return false;
    numbers.n++;
    if (!*end) break;
    if (*end != ',') return false;
    text = end + 1;
  }
  *out = numbers;
  return true;
}

static bool append_to_list(el_cli_list *list, const char *text) {
  const char **grown = realloc(list->items, (list->n + 1) * sizeof *grown);
  if (!grown) return false;
  list->items = grown;
  list->items[list->n++] = text;
  return true;
}

static bool set_flag(const char *text, bool *out) {
  bool on = !strcmp(text, "true");
  if (!on && strcmp(text, "false")) return false;
  *out = on;
  return true;
}

static bool set_choice(const char *text, const el_cli_option *o, const char **out) {
  size_t len = strlen(text);
  for (const char *word = o->value; word; word = strchr(word, '|') ? strchr(word, '|') + 1 : NULL)
    if (len && strcspn(word, "|") == len && !strncmp(word, text, len)) {
      *out = text;
      return true;
    }
  return false;
}

/* What a value should have been. */
static el_status bad_value(const el_cli_option *o, const char *text, el_error *err) {
  switch (o->kind) {
    case EL_CLI_FLAG: return el_fail(err, EL_ERR_INVALID, "'%s' is neither true nor false", text);
    case EL_CLI_CHOICE: return el_fail(err, EL_ERR_INVALID, "'%s' is not one of %s", text, o->value);
    case EL_CLI_U64: return el_fail(err, EL_ERR_INVALID, "'%s' is not a whole number from 0 to 2^64-1", text);
    case EL_CLI_BYTES: return el_fail(err, EL_ERR_INVALID, "'%s' is not a size such as 512M or 4G", text);
    case EL_CLI_REAL: return el_fail(err, EL_ERR_INVALID, "'%s' is not a number from %g to %g", text, o->min, o->max);
    case EL_CLI_NUMBERS:
      return el_fail(err, EL_ERR_INVALID,
                     "'%s' is not a list of 1 to 64 whole numbers from %.0f to %.0f, such as 1,2,4", text, o->min,
                     o->max);
    default: return el_fail(err, EL_ERR_INVALID, "'%s' is not a whole number from %.0f to %.0f", text, o->min, o->max);
  }
}

el_status el_cli_option_set(const el_cli_option *o, void *target, const char *text, el_error *err) {
  bool ok = true;
  switch (o->kind) {
    case EL_CLI_FLAG: ok = set_flag(text, target); break;
    case EL_CLI_INT: ok = set_int(text, o, target); break;
    case EL_CLI_U64: ok = set_u64(text, target); break;
    case EL_CLI_BYTES: ok = set_bytes(text, target); break;
    case EL_CLI_REAL: ok = set_real(text, o, target); break;
    case EL_CLI_NUMBERS: ok = set_numbers(text, o, target); break;
    case EL_CLI_CHOICE: ok = set_choice(text, o, target); break;
    case EL_CLI_TEXT:
    case EL_CLI_PATH: *(const char **)target = text; break;
    case EL_CLI_TEXTS:
    case EL_CLI_PATHS:
    case EL_CLI_NAMED_PATHS:
      if (!append_to_list(target, text)) return el_fail(err, EL_ERR_NO_MEMORY, "out of memory");
      break;
  }
  return ok ? EL_OK : bad_value(o, text, err);
}

bool el_cli_is_given(const el_cli_given *given, const el_cli_option *o) {
  for (size_t i = 0; i < given->n; i++)
    if (given->list[i] == o) return true;
  return false;
}

/* Sets an option from an argument. Returns -1, or the exit status. */
static int set_option(const el_cli_command *c, const el_cli_option *o, const char *text, el_cli_given *given) {
  el_error err;
  switch (el_cli_option_set(o, o->target, text, &err)) {
    case EL_OK: break;
    case EL_ERR_NO_MEMORY: return el_cli_no_memory();
    default: return el_cli_usage_error(c, "--%s: %s", o->name, err.message);
  }
  if (given && !el_cli_is_given(given, o) && given->n < sizeof given->list / sizeof *given->list)
    given->list[given->n++] = o;
  return -1;
}

/* ---- arguments */

const el_cli_option *el_cli_find(const el_cli_group *groups, size_t n_groups, const char *name, size_t len) {
  for (size_t g = 0; g < n_groups; g++)
    for (size_t i = 0; i < groups[g].n; i++) {
      const char *known = groups[g].options[i].name;
      if (strlen(known) == len && memcmp(known, name, len) == 0) return &groups[g].options[i];
    }
  return NULL;
}

static const el_cli_option *find_letter(const el_cli_group *groups, size_t n_groups, char letter) {
  for (size_t g = 0; g < n_groups; g++)
    for (size_t i = 0; i < groups[g].n; i++)
      if (groups[g].options[i].letter == letter) return &groups[g].options[i];
  return NULL;
}

const char *el_cli_nearest_option(const el_cli_group *groups, size_t n_groups, const char *name) {
  const char *names[128] = {"help"};
  size_t n = 1;
  for (size_t g = 0; g < n_groups; g++)
    for (size_t i = 0; i < groups[g].n && n < sizeof names / sizeof *names; i++) names[n++] = groups[g].options[i].name;
  return el_cli_nearest(name, names, n);
}

static int unknown_long(const el_cli_command *c, const el_cli_group *groups, size_t n_groups, const char *name,
                        size_t len) {
  char word[64];
  snprintf(word, sizeof word, "%.*s", (int)(len < sizeof word ? len : sizeof word - 1), name);
  const char *nearest = el_cli_nearest_option(groups, n_groups, word);
  if (nearest) return el_cli_usage_error(c, "unknown option '--%s'; did you mean '--%s'?", word, nearest);
  return el_cli_usage_error(c, "unknown option '--%s'", word);
}

/* argv[*i] is "--name" or "--name=value". A flag may be given as false, to override a configuration file. */
static int parse_long(const el_cli_command *c, const el_cli_group *groups, size_t n_groups, int argc, char **argv,
                      int *i, el_cli_given *given) {
  const char *name = argv[*i] + 2;
  size_t len = strcspn(name, "=");
  const char *value = name[len] ? name + len + 1 : NULL;
  const el_cli_option *o = el_cli_find(groups, n_groups, name, len);
  if (!o) return unknown_long(c, groups, n_groups, name, len);
  if (o->kind == EL_CLI_FLAG) {
    bool ignored;
    if (value && !set_flag(value, &ignored))
      return el_cli_usage_error(c, "--%s takes no value, or true or false", o->name);
    return set_option(c, o, value ? value : "true", given);
  }
  if (!value && *i + 1 == argc) return el_cli_usage_error(c, "--%s needs a value: %s", o->name, o->value);
  if (!value) value = argv[++*i];
  return set_option(c, o, value, given);
}

/* argv[*i] is "-x", "-x…" with x's value, or several flags. */
static int parse_letters(const el_cli_command *c, const el_cli_group *groups, size_t n_groups, int argc, char **argv,
                         int *i, el_cli_given *given) {
  for (const char *p = argv[*i] + 1; *p; p++) {
    const el_cli_option *o = find_letter(groups, n_groups, *p);
    if (!o) return el_cli_usage_error(c, "unknown option '-%c'", *p);
    if (o->kind != EL_CLI_FLAG) {
      if (p[1]) return set_option(c, o, p + 1, given);
      if (*i + 1 == argc) return el_cli_usage_error(c, "-%c needs a value: %s", *p, o->value);
      return set_option(c, o, argv[++*i], given);
    }
    int status = set_option(c, o, "true", given);
    if (status >= 0) return status;
  }
  return -1;
}

int el_cli_parse_noting(const el_cli_command *c, const el_cli_group *groups, size_t n_groups, int argc, char **argv,
                        el_cli_rest *rest, el_cli_given *given) {
  int n_rest = 0;
  bool options = true;
  for (int i = 1; i < argc; i++) {
    char *arg = argv[i];
    if (!options || arg[0] != '-' || !arg[1]) {
      argv[1 + n_rest++] = arg;
      continue;
    }
    if (strcmp(arg, "--") == 0) {
      options = false;
      continue;
    }
    if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) return print_command_help(c, groups, n_groups);
    if (strcmp(arg, EL_CLI_HELP_JSON) == 0) return el_cli_command_json(c, groups, n_groups);
    int status = arg[1] == '-' ? parse_long(c, groups, n_groups, argc, argv, &i, given)
                               : parse_letters(c, groups, n_groups, argc, argv, &i, given);
    if (status >= 0) return status;
  }
  if (!rest && n_rest > 0) return el_cli_usage_error(c, "unexpected argument '%s'", argv[1]);
  if (rest) *rest = (el_cli_rest){argv + 1, n_rest};
  return -1;
}

int el_cli_parse(const el_cli_command *c, const el_cli_group *groups, size_t n_groups, int argc, char **argv,
                 el_cli_rest *rest) {
  return el_cli_parse_noting(c, groups, n_groups, argc, argv, rest, NULL);
}
