/* Recorded arrivals: saved, and read from our own files or from CSV files of others.
 *
 * Ours is JSON Lines: {"schema": "edgelora-trace/1"}, then a request a line, in the order of time:
 *   {"at": 0.8312, "adapter": "law", "input": 31, "output": 200}
 * `at` is in seconds after the start; an adapter null is the base, "auto" leaves the choice to the server. */
#ifndef EL_BENCH_LOAD_TRACE_H
#define EL_BENCH_LOAD_TRACE_H

#include <stdio.h>

#include "bench/load/names.h"
#include "bench/load/workload.h"

enum {
  EL_TRACE_MAX_ITEMS = 10000000, /* 240 MB */
  EL_TRACE_MAX_TOKENS = 10000000,
  EL_TRACE_MAX_LINE = 65536,
  EL_TRACE_MAX_NAMES = 1000000
};

typedef struct el_load_trace {
  el_load_item *items; /* in the order of time; their adapters are places in `names` */
  size_t n, cap;
  el_load_names names;
  bool has_adapters; /* CSV: there is a column of adapters. If not, each item's is EL_LOAD_BASE */
  size_t left_out;   /* CSV: rows of requests without input or output tokens */
} el_load_trace;

/* false: no memory. */
bool el_load_trace_add(el_load_trace *t, const el_load_item *item);
void el_load_trace_free(el_load_trace *t);

/* Appends what a workload has in `duration` seconds, `most` requests at most (0: no bound). EL_ERR_INVALID, in the
 * words of the command line: nothing arrives, or too much. */
el_status el_load_trace_draw(el_load_trace *t, const el_load_spec *spec, double duration, size_t most, el_error *err);
/* Gives its requests the adapters of a workload. */
el_status el_load_trace_assign(el_load_trace *t, const el_load_spec *spec, el_error *err);

/* err: IO. */
el_status el_load_trace_write(const el_load_trace *t, FILE *out, el_error *err);
el_status el_load_trace_save(const el_load_trace *t, const char *path, el_error *err);

/* A file whose first line begins with '{' is ours; others are CSV. `path` is named in errors. */
el_status el_load_trace_load(const char *path, el_load_trace *out, el_error *err);
el_status el_load_trace_read(FILE *in, const char *path, el_load_trace *out, el_error *err);

/* ---- inside */

/* The next line without its end, in `line`. 1: there is one; 0: the file's end; -1: an error. */
int el_load_trace_line(FILE *in, const char *path, size_t *number, char line[static EL_TRACE_MAX_LINE], el_error *err);
/* The name's place, put there if it is new; EL_LOAD_BASE for "" and EL_LOAD_AUTO for "auto". */
el_status el_load_trace_name(el_load_trace *t, const char *name, int *adapter, el_error *err);
/* `line` is the first one. */
el_status el_load_trace_read_csv(FILE *in, const char *path, char line[static EL_TRACE_MAX_LINE], el_load_trace *out,
                                 el_error *err);

#endif
