/* edgelora-bench report: runs of `edgelora-bench load` as a page, as Markdown and as JSON. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/commands.h"
#include "bench/report/page.h"
#include "cli/options.h"

enum { RUNS_MAX = 1000 };

typedef struct wishes {
  const char *html, *markdown, *json; /* where to; NULL: not wanted */
  const char *title, *group, *baseline;
} wishes;

/* "NAME=FILE" gives the server another name, and "NAME=" alone that of all files after it, as a shell's pattern makes
 * them. What stands before a "=" is no name when it has a "/". */
static const char *split_name(char *arg, const char **name) {
  size_t len = strcspn(arg, "/=");
  *name = NULL;
  if (arg[len] != '=' || len == 0) return arg;
  arg[len] = 0;
  *name = arg;
  return arg + len + 1;
}

static int write_file(const char *path, const el_text *text) {
  if (text->failed) return el_cli_no_memory();
  if (strcmp(path, "-") == 0) {
    fwrite(text->buf.data, 1, text->buf.len, stdout);
    return el_cli_end(EL_EXIT_OK);
  }
  FILE *file = fopen(path, "we");
  bool ok = file && fwrite(text->buf.data, 1, text->buf.len, file) == text->buf.len;
  int why = errno;
  if (file && fclose(file) != 0 && ok) {
    why = errno;
    ok = false;
  }
  if (ok) return EL_EXIT_OK;
  el_cli_error("%s: %s", path, strerror(why));
  return EL_EXIT_FAILED;
}

static int write_report(const el_report *r, const wishes *w) {
  const struct {
    const char *path;
    void (*write)(el_text *t, const el_report *r);
  } forms[] = {{w->html, el_report_html}, {w->markdown, el_report_markdown}, {w->json, el_report_json}};
  int code = EL_EXIT_OK;
  for (size_t i = 0; i < sizeof forms / sizeof *forms && !code; i++) {
    if (!forms[i].path) continue;
    el_text text = {0};
    forms[i].write(&text, r);
    code = write_file(forms[i].path, &text);
    el_text_free(&text);
  }
  return code;
}

static int read_and_write(const el_cli_command *self, const el_cli_rest *files, const wishes *w) {
  el_error err;
  el_report r;
  el_report_run *runs = calloc((size_t)files->n + 1, sizeof *runs);
  if (!runs) return el_cli_no_memory();
  size_t n = 0;
  const char *name_of_rest = NULL;
  for (int i = 0; i < files->n; i++) {
    const char *name, *path = split_name(files->items[i], &name);
    if (name && !*path) {
      name_of_rest = name;
    } else if (el_report_run_read(&runs[n], path, name ? name : name_of_rest, &err) == EL_OK) {
      n++;
    } else {
      while (n > 0) el_report_run_free(&runs[--n]);
      free(runs);
      return el_cli_failed(&err);
    }
  }
  if (!n) {
    free(runs);
    return el_cli_usage_error(self, "no FILE of a run was given");
  }
  el_status status = el_report_init(&r, w->title, runs, n, w->group, w->baseline, &err);
  int code = status ? el_cli_failed(&err) : write_report(&r, w);
  el_report_free(&r);
  return code;
}

static int run(const el_cli_command *self, int argc, char **argv) {
  wishes w = {.title = "edgelora: load report"};
  const el_cli_option output[] = {
      {'o', "out", "FILE", EL_CLI_TEXT, &w.html, 0, 0,
       "the page (HTML), one file that needs no other; '-': standard output"},
      {0, "markdown", "FILE", EL_CLI_TEXT, &w.markdown, 0, 0, "its tables as Markdown"},
      {0, "json", "FILE", EL_CLI_TEXT, &w.json, 0, 0, "its figures as JSON"},
  };
  const el_cli_option content[] = {
      {0, "title", "TEXT", EL_CLI_TEXT, &w.title, 0, 0, "of the report"},
      {0, "baseline", "NAME", EL_CLI_TEXT, &w.baseline, 0, 0,
       "a server's name: each one is put beside it where both had the same workload; or a row's whole name: all are "
       "put beside that one"},
      {0, "group", "KEY", EL_CLI_TEXT, &w.group, 0, 0,
       "what names a line of the charts: server (the default), alpha, rate, ..."},
  };
  const el_cli_group groups[] = {{"Output", output, sizeof output / sizeof *output},
                                 {"Content", content, sizeof content / sizeof *content}};
  el_cli_rest files;
  int code = el_cli_parse(self, groups, sizeof groups / sizeof *groups, argc, argv, &files);
  if (code >= 0) return code;
  if (files.n > RUNS_MAX) return el_cli_usage_error(self, "%d files are more than %d", files.n, RUNS_MAX);
  if (!w.html && !w.markdown && !w.json)
    return el_cli_usage_error(self, "one of --out, --markdown and --json is needed");
  return read_and_write(self, &files, &w);
}

const el_cli_command el_cmd_bench_report = {
    .name = "report",
    .summary = "a page of tables and charts from runs of edgelora-bench load",
    .usage = "[NAME=]FILE... [-o FILE] [--markdown FILE] [--json FILE] [options]",
    .about =
        "Reads what 'edgelora-bench load --json' wrote, one FILE a run, and writes a page with tables and charts, "
        "which needs\n"
        "no other file and no network. Runs with the same server and the same workload are repetitions: they become\n"
        "medians with the least and the most. NAME=FILE calls the server so, instead of what the file calls it; NAME=\n"
        "alone does so for all files after it.",
    .examples =
        "  edgelora-bench report run.json -o report.html\n"
        "  edgelora-bench report ours= ours-*.json llama-server= theirs-*.json -o report.html --baseline llama-server",
    .run = run};
