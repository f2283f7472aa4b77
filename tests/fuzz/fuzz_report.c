/* A run's file: whatever is read becomes a page, whose signs are ours alone, and Markdown and JSON. */
#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/report/page.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static el_report_run *read_run(const uint8_t *data, size_t size) {
  char path[64];
  el_error err = {0};
  int fd = memfd_create("run", MFD_CLOEXEC);
  if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  el_report_run *run = calloc(1, sizeof *run);
  el_status status = el_report_run_read(run, path, NULL, &err);
  close(fd);
  if (!status) return run;
  assert(err.message[0]);
  free(run);
  return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  el_report r;
  el_error err = {0};
  el_text html = {0}, markdown = {0}, json = {0};
  el_report_run *run = read_run(data, size);
  if (!run) return 0;
  if (el_report_init(&r, "fuzz", run, 1, NULL, NULL, &err)) abort();
  el_report_html(&html, &r);
  el_report_markdown(&markdown, &r);
  el_report_json(&json, &r);
  assert(!html.failed && !markdown.failed && !json.failed);
  assert(!strstr(html.buf.data, "<script") && !strchr(markdown.buf.data, '<'));
  json_t *parsed = json_loads(json.buf.data, 0, NULL);
  assert(parsed);
  json_decref(parsed);
  el_text_free(&html);
  el_text_free(&markdown);
  el_text_free(&json);
  el_report_free(&r);
  return 0;
}
