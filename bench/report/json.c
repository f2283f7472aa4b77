#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "bench/report/page.h"

/* null is what is not available. */
static json_t *number(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}

static json_t *name(const char *text) {
  el_text clean = {0};
  el_text_put(&clean, "");
  el_text_clean(&clean, text);
  json_t *out = clean.failed ? NULL : json_string(clean.buf.data);
  el_text_free(&clean);
  return out;
}

static bool put(json_t *object, const char *key, json_t *value) {
  return object && json_object_set_new(object, key, value) == 0;
}

static json_t *workload(const el_report_run *run) {
  json_t *out = json_object();
  for (el_report_dim d = 0; d < EL_REPORT_DIMS; d++) {
    const el_report_value *v = &run->dims[d];
    if (v->text && !put(out, el_report_dims[d].key, isnan(v->number) ? name(v->text) : json_real(v->number))) goto fail;
  }
  return out;
fail:
  json_decref(out);
  return NULL;
}

static json_t *figures(const el_report_row *row) {
  json_t *out = json_object();
  for (el_report_metric m = 0; m < EL_REPORT_METRICS; m++) {
    const el_report_figure *f = &row->figures[m];
    json_t *value = f->n ? json_pack("{s:o, s:o, s:o, s:i}", "median", number(f->median), "min", number(f->low), "max",
                                     number(f->high), "n", f->n)
                         : json_null();
    if (!put(out, el_report_metrics[m].key, value)) goto fail;
  }
  return out;
fail:
  json_decref(out);
  return NULL;
}

static json_t *ratios(const el_report_row *row, const el_report_row *base) {
  json_t *out = json_object();
  for (el_report_metric m = 0; m < EL_REPORT_METRICS; m++)
    if (el_report_metrics[m].better && !put(out, el_report_metrics[m].key, number(el_report_ratio(row, base, m))))
      goto fail;
  return out;
fail:
  json_decref(out);
  return NULL;
}

static json_t *row_json(const el_report *r, const el_report_row *row) {
  json_t *out = json_object(), *files = json_array();
  el_text text = {0};
  el_report_row_name(r, row, &text);
  bool ok = !text.failed && files && put(out, "name", name(text.buf.data));
  el_text_free(&text);
  ok = ok && put(out, "series", name(el_report_series_name(r, row->series)));
  for (size_t i = 0; i < row->n_runs && ok; i++)
    ok = json_array_append_new(files, name(r->runs[row->runs[i]].file)) == 0;
  ok = ok && put(out, "files", json_incref(files)) && put(out, "workload", workload(&r->runs[row->runs[0]])) &&
       put(out, "figures", figures(row));
  const el_report_row *base = el_report_base_of(r, row);
  if (ok && base) {
    text = (el_text){0};
    el_report_row_name(r, base, &text);
    ok = !text.failed && put(out, "baseline", name(text.buf.data)) && put(out, "ratios", ratios(row, base));
    el_text_free(&text);
  }
  json_decref(files);
  if (ok) return out;
  json_decref(out);
  return NULL;
}

static json_t *run_json(const el_report_run *run) {
  json_t *out = json_object(), *facts = json_object();
  bool ok = facts && put(out, "file", name(run->file)) && put(out, "interrupted", json_boolean(run->interrupted));
  for (size_t i = 0; i < run->n_facts && ok; i++) {
    el_text key = {0};
    el_text_put(&key, "");
    el_text_clean(&key, run->facts[i].name);
    ok = !key.failed && put(facts, key.buf.data, name(run->facts[i].value));
    el_text_free(&key);
  }
  ok = ok && put(out, "facts", json_incref(facts));
  json_decref(facts);
  if (ok) return out;
  json_decref(out);
  return NULL;
}

void el_report_json(el_text *t, const el_report *r) {
  json_t *out = json_object(), *rows = json_array(), *runs = json_array();
  bool ok = rows && runs && put(out, "schema", json_string("edgelora-report/1")) &&
            put(out, "program", json_string("edgelora " EL_VERSION)) && put(out, "title", name(r->title));
  for (size_t i = 0; i < r->n_rows && ok; i++) ok = json_array_append_new(rows, row_json(r, &r->rows[i])) == 0;
  for (size_t i = 0; i < r->n_runs && ok; i++) ok = json_array_append_new(runs, run_json(&r->runs[i])) == 0;
  ok = ok && put(out, "rows", json_incref(rows)) && put(out, "runs", json_incref(runs));
  char *text = ok ? json_dumps(out, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
  if (text) {
    el_text_put(t, text);
    el_text_put(t, "\n");
  } else {
    t->failed = true;
  }
  free(text);
  json_decref(rows);
  json_decref(runs);
  json_decref(out);
}
