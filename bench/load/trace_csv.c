/* CSV traces of others. The first line names the columns; which is which is told by the names that published traces
 * use: Azure's LLM inference traces (TIMESTAMP, ContextTokens, GeneratedTokens), BurstGPT (Timestamp, Model, Request
 * tokens, Response tokens), and plain ones. Without such a line the columns are arrival, adapter, input, output, or,
 * if there are three, arrival, input, output. Times are seconds, or dates with a time; the earliest is the start. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/error.h"
#include "bench/load/trace.h"

enum { AT, ADAPTER, INPUT, OUTPUT, N_COLUMNS };
enum { MAX_CELLS = 64 };

/* Compared without case, spaces, dashes and underscores. */
static const char *const known[N_COLUMNS][8] = {
    {"at", "time", "timestamp", "arrival", "arrivaltime", "arrivedat"},
    {"adapter", "adapterid", "lora", "model", "function"},
    {"input", "inputtokens", "prompttokens", "contexttokens", "requesttokens", "inputlength", "ninput"},
    {"output", "outputtokens", "completiontokens", "generatedtokens", "responsetokens", "outputlength", "noutput"},
};

static bool names_alike(const char *cell, const char *name) {
  for (; *cell; cell++) {
    if (strchr(" _-", *cell)) continue;
    if (tolower((unsigned char)*cell) != *name++) return false;
  }
  return !*name;
}

/* Cuts a line into its cells, in place. "" inside of quotes is a quote. -1: too many, or a quote that does not end. */
static int cut_field(char *line, char *cells[static MAX_CELLS]) {
  int n = 0;
  for (char *p = line;;) {
    if (n == MAX_CELLS) return -1;
    p += strspn(p, " \t");
    char *to = cells[n++] = p;
    if (*p == '"') {
      for (p++; *p && (*p != '"' || p[1] == '"'); p++) {
        if (*p == '"') p++;
        *to++ = *p;
      }
      if (*p++ != '"') return -1;
      p += strspn(p, " \t");
      if (*p && *p != ',') return -1;
    } else {
      while (*p && *p != ',') *to++ = *p++;
      while (to > cells[n - 1] && isspace((unsigned char)to[-1])) to--;
    }
    bool last = !*p;
    *to = 0;
    if (last) return n;
    p++;
  }
}

static bool read_number_field(const char *cell, double *out) {
  char *end;
  if (!isdigit((unsigned char)*cell) && *cell != '.') return false;
  *out = strtod(cell, &end);
  return end != cell && !*end && isfinite(*out) && *out <= 1e15;
}

/* Seconds, or 2023-11-16 18:17:03.9799600 with a T for the space if one likes. */
static bool read_arrival(const char *cell, double *out) {
  if (read_number_field(cell, out)) return true;
  struct tm t = {.tm_isdst = 0};
  const char *rest = strptime(cell, "%Y-%m-%d", &t);
  if (!rest || (*rest != ' ' && *rest != 'T')) return false;
  rest = strptime(rest + 1, "%H:%M:%S", &t);
  double part = 0;
  if (!rest) return false;
  if (*rest == '.') {
    size_t digits = strspn(rest + 1, "0123456789");
    part = strtod(rest, NULL);
    rest += 1 + digits;
  }
  /* A zone is passed over: all rows have the same one, and only differences count. */
  if (*rest && *rest != 'Z' && *rest != '+' && *rest != '-') return false;
  *out = (double)timegm(&t) + part;
  return true;
}

typedef struct columns {
  int at[N_COLUMNS]; /* -1: there is none */
} columns;

/* Whether the first line names the columns. */
static bool find_columns(char *const *cells, int n, columns *c) {
  double value;
  for (int k = 0; k < N_COLUMNS; k++) {
    c->at[k] = -1;
    for (int i = 0; i < n && c->at[k] < 0; i++)
      for (int s = 0; s < 8 && known[k][s]; s++)
        if (names_alike(cells[i], known[k][s])) c->at[k] = i;
  }
  if (n && read_arrival(cells[0], &value)) {
    *c = n == 3 ? (columns){{0, -1, 1, 2}} : (columns){{0, 1, 2, 3}};
    return false;
  }
  return true;
}

static el_status bad_cell(const char *what, const char *cell, el_error *err) {
  return el_fail(err, EL_ERR_FORMAT, "'%.40s' is not %s", cell, what);
}

static el_status read_row(el_load_trace *t, char *const *cells, int n, const columns *c, el_error *err) {
  for (int k = 0; k < N_COLUMNS; k++)
    if (c->at[k] >= n) return el_fail(err, EL_ERR_FORMAT, "%d cells are too few", n);
  el_load_item item = {.adapter = EL_LOAD_BASE};
  double in, out;
  if (!read_arrival(cells[c->at[AT]], &item.at)) return bad_cell("a time", cells[c->at[AT]], err);
  if (!read_number_field(cells[c->at[INPUT]], &in) || in > EL_TRACE_MAX_TOKENS)
    return bad_cell("a number of tokens", cells[c->at[INPUT]], err);
  if (!read_number_field(cells[c->at[OUTPUT]], &out) || out > EL_TRACE_MAX_TOKENS)
    return bad_cell("a number of tokens", cells[c->at[OUTPUT]], err);
  if (in < 1 || out < 1) { /* traces have the requests that failed, too */
    t->left_out++;
    return EL_OK;
  }
  item.n_in = (int)in;
  item.n_out = (int)out;
  if (t->n == EL_TRACE_MAX_ITEMS) return el_fail(err, EL_ERR_FORMAT, "more than %d requests", EL_TRACE_MAX_ITEMS);
  el_status status = EL_OK;
  if (c->at[ADAPTER] >= 0) status = el_load_trace_name(t, cells[c->at[ADAPTER]], &item.adapter, err);
  if (!status && !el_load_trace_add(t, &item)) status = el_fail(err, EL_ERR_NO_MEMORY, "out of memory");
  return status;
}

/* Equal times stay in the order of the file: qsort alone would not see to that. */
typedef struct ordered {
  el_load_item item;
  size_t row;
} ordered;

static int by_time(const void *a, const void *b) {
  const ordered *x = a, *y = b;
  if (x->item.at != y->item.at) return x->item.at > y->item.at ? 1 : -1;
  return (x->row > y->row) - (x->row < y->row);
}

static el_status sort_arrivals(el_load_trace *t, el_error *err) {
  bool sorted = true;
  for (size_t i = 1; i < t->n; i++) sorted &= t->items[i].at >= t->items[i - 1].at;
  if (!sorted) {
    ordered *rows = malloc(t->n * sizeof *rows);
    if (!rows) return el_fail(err, EL_ERR_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < t->n; i++) rows[i] = (ordered){t->items[i], i};
    qsort(rows, t->n, sizeof *rows, by_time);
    for (size_t i = 0; i < t->n; i++) t->items[i] = rows[i].item;
    free(rows);
  }
  double start = t->n ? t->items[0].at : 0;
  for (size_t i = 0; i < t->n; i++) t->items[i].at -= start;
  return EL_OK;
}

el_status el_load_trace_read_csv(FILE *in, const char *path, char line[static EL_TRACE_MAX_LINE], el_load_trace *out,
                                 el_error *err) {
  char *cells[MAX_CELLS];
  columns c;
  size_t row = 1;
  static const char bom[] = "\xef\xbb\xbf";
  int n = cut_field(strncmp(line, bom, 3) == 0 ? line + 3 : line, cells);
  if (n < 0)
    return el_fail(err, EL_ERR_FORMAT, "%s: line 1 is neither JSON nor CSV of up to %d cells", path, MAX_CELLS);
  bool named = find_columns(cells, n, &c);
  if (named && (c.at[AT] < 0 || c.at[INPUT] < 0 || c.at[OUTPUT] < 0))
    return el_fail(err, EL_ERR_FORMAT, "%s: line 1 names no column '%s'", path,
                   c.at[AT] < 0      ? "arrival"
                   : c.at[INPUT] < 0 ? "input_tokens"
                                     : "output_tokens");
  out->has_adapters = c.at[ADAPTER] >= 0;
  int more = 1;
  el_status status = named ? EL_OK : read_row(out, cells, n, &c, err);
  while (!status) {
    more = el_load_trace_line(in, path, &row, line, err);
    if (more < 0) return err->code;
    if (!more) break;
    if (!*line) continue;
    n = cut_field(line, cells);
    status =
        n < 0 ? el_fail(err, EL_ERR_FORMAT, "no CSV of up to %d cells", MAX_CELLS) : read_row(out, cells, n, &c, err);
  }
  if (status) {
    el_fail_prefix(err, "%s: line %zu", path, row);
    return status;
  }
  return sort_arrivals(out, err);
}
