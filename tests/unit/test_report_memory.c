/* A report with each of its allocations failing in turn: an error, no crash, no leak. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "bench/report/page.h"
#include "failing_memory.h"

static const char RUN[] =
    "{\"schema\":\"edgelora-load/"
    "1\",\"began\":1,\"machine\":{\"cpu\":\"c\"},\"server\":{\"api\":\"openai\",\"model\":\"m\"},"
    "\"workload\":{\"adapters\":%d,\"loop\":\"open\",\"input\":[8,128],\"own_adapter\":true,\"replay\":\"t\"},"
    "\"summary\":{\"requests_per_second\":%d,\"slo\":{\"first_text_seconds\":6,\"met\":1,\"of\":1}},"
    "\"errors\":{\"http\":{\"n\":1,\"first\":\"x\"}},"
    "\"memory\":{\"columns\":[\"at\",\"resident_bytes\"],\"samples\":[[0,1],[1,2]]},\"adapters\":[\"a\"],"
    "\"request_columns\":[\"at\",\"first\",\"done\",\"adapter\",\"end\"],\"requests\":[[0,1,2,0,\"done\"],[1,2,4,0,"
    "\"done\"]]}";

enum { N_RUNS = 3 };

static char paths[N_RUNS][64];

static int write_runs(void **state) {
  for (int i = 0; i < N_RUNS; i++) {
    strcpy(paths[i], "/tmp/test_report_memory-XXXXXX");
    int fd = mkstemp(paths[i]);
    if (fd < 0 || dprintf(fd, RUN, 20 * (1 + i / 2), 3 + i) < 0) return -1;
    close(fd);
  }
  return 0;
}

static int remove_runs(void **state) {
  for (int i = 0; i < N_RUNS; i++) unlink(paths[i]);
  return 0;
}

static el_status read_run(void *path, el_error *e) {
  el_report_run run;
  el_status status = el_report_run_read(&run, path, "name", e);
  if (!status) el_report_run_free(&run);
  return status;
}

typedef struct whole {
  void (*write)(el_text *t, const el_report *r);
} whole;

/* Takes `runs` when it fails. */
static el_status sorted(el_report_run *runs, el_report *r, el_error *e) {
  for (int i = 0; i < N_RUNS; i++) {
    el_status status = el_report_run_read(&runs[i], paths[i], i == 1 ? "b" : "a", e);
    if (!status) continue;
    while (i > 0) el_report_run_free(&runs[--i]);
    free(runs);
    return status;
  }
  el_status status = el_report_init(r, "t", runs, N_RUNS, "server", "a, 20 adapters", e);
  if (status) el_report_free(r);
  return status;
}

static el_status write_whole(void *arg, el_error *e) {
  const whole *w = arg;
  el_report r;
  el_text text = {0};
  el_report_run *runs = calloc(N_RUNS, sizeof *runs);
  if (!runs) return el_fail(e, EL_ERR_NO_MEMORY, "out of memory");
  el_status status = sorted(runs, &r, e);
  if (status) return status;
  w->write(&text, &r);
  if (text.failed) status = el_fail(e, EL_ERR_NO_MEMORY, "out of memory");
  el_text_free(&text);
  el_report_free(&r);
  return status;
}

static void reading_a_run(void **state) {
  every_failure_is_survived(read_run, paths[0], 20);
}

static void writing_a_page(void **state) {
  whole w = {el_report_html};
  every_failure_is_survived(write_whole, &w, 100);
}

static void writing_markdown(void **state) {
  whole w = {el_report_markdown};
  every_failure_is_survived(write_whole, &w, 60);
}

static void writing_json(void **state) {
  whole w = {el_report_json};
  every_failure_is_survived(write_whole, &w, 60);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reading_a_run),
      cmocka_unit_test(writing_a_page),
      cmocka_unit_test(writing_markdown),
      cmocka_unit_test(writing_json),
  };
  return cmocka_run_group_tests(tests, write_runs, remove_runs);
}
