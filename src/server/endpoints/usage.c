#include "server/endpoints/usage.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_out.h"
#include "server/http/tally.h"

static const char *const LIMITS[EL_N_LIMITS] = {"requests", "tokens", "concurrent"};

typedef struct row {
  const char *name;
  el_key_usage usage;
  const el_key *key; /* the key with these limits; NULL: several keys */
} row;

static void add_key_usage(el_key_usage *to, const el_key_usage *from) {
  to->requests += from->requests;
  to->prompt_tokens += from->prompt_tokens;
  to->generated_tokens += from->generated_tokens;
  to->running += from->running;
  for (int i = 0; i < EL_N_LIMITS; i++) to->refused[i] += from->refused[i];
}

/* Rows for names in the file's order, then one for all other keys; [*n]. NULL: out of memory. */
static row *make_usage_rows(const el_api_keys *k, size_t *n) {
  row *rows = calloc(k->n + 1, sizeof *rows);
  row others = {.name = "other"};
  bool any = false;
  *n = 0;
  for (size_t i = 0; rows && i < k->n; i++) {
    const el_key *key = &k->list[i];
    const el_key_usage usage = el_account_usage(key->account);
    if (*key->name) {
      rows[(*n)++] = (row){key->name, usage, key};
    } else {
      add_key_usage(&others.usage, &usage);
      any = true;
    }
  }
  if (rows && any) rows[(*n)++] = others;
  return rows;
}

/* ------------------------------------------------------------------ metrics */

static const struct {
  const char *name, *type, *help;
} SERIES[] = {
    {"edgelora_key_requests_total", "counter", "Requests that were let in, by key."},
    {"edgelora_key_prompt_tokens_total", "counter", "Prompt tokens of requests that have ended, by key."},
    {"edgelora_key_generated_tokens_total", "counter", "Generated tokens of requests that have ended, by key."},
    {"edgelora_key_requests_running", "gauge", "Requests that are being answered, by key."},
    {"edgelora_key_refused_total", "counter", "Requests beyond a key's limit, by key and limit."},
};
enum { N_SERIES = sizeof SERIES / sizeof *SERIES, REFUSED = N_SERIES - 1 };

static uint64_t usage_value(const el_key_usage *u, int series) {
  const uint64_t values[] = {u->requests, u->prompt_tokens, u->generated_tokens, (uint64_t)u->running};
  return values[series];
}

static bool write_usage_row(int series, const row *r, el_buf *out) {
  if (series != REFUSED)
    return el_buf_printf(out, "%s{key=", SERIES[series].name) && el_metric_label(out, r->name) &&
           el_buf_printf(out, "} %" PRIu64 "\n", usage_value(&r->usage, series));
  bool ok = true;
  for (int i = 0; ok && i < EL_N_LIMITS; i++)
    ok = el_buf_printf(out, "%s{key=", SERIES[series].name) && el_metric_label(out, r->name) &&
         el_buf_printf(out, ",limit=\"%s\"} %" PRIu64 "\n", LIMITS[i], r->usage.refused[i]);
  return ok;
}

bool el_key_usage_metrics(const el_api_keys *k, el_buf *out) {
  size_t n;
  if (!k) return true;
  row *rows = make_usage_rows(k, &n);
  bool ok = rows;
  for (int s = 0; ok && s < N_SERIES; s++) {
    ok = el_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", SERIES[s].name, SERIES[s].help, SERIES[s].name,
                       SERIES[s].type);
    for (size_t i = 0; ok && i < n; i++) ok = write_usage_row(s, &rows[i], out);
  }
  free(rows);
  return ok;
}

/* --------------------------------------------------------------------- JSON */

static bool write_usage_limit(const char *name, int limit, el_buf *out) {
  return limit ? el_buf_printf(out, ",\"%s\":%d", name, limit) : el_buf_printf(out, ",\"%s\":null", name);
}

static bool write_usage_json(const row *r, el_buf *out) {
  const el_key_usage *u = &r->usage;
  bool ok = el_buf_printf(out, "{\"name\":") && el_json_cstring(out, r->name) &&
            el_buf_printf(out,
                          ",\"requests\":%" PRIu64 ",\"prompt_tokens\":%" PRIu64 ",\"generated_tokens\":%" PRIu64
                          ",\"running\":%d,\"refused\":{",
                          u->requests, u->prompt_tokens, u->generated_tokens, u->running);
  for (int i = 0; ok && i < EL_N_LIMITS; i++)
    ok = el_buf_printf(out, "%s\"%s\":%" PRIu64, i ? "," : "", LIMITS[i], u->refused[i]);
  ok = ok && el_buf_append(out, "}", 1);
  if (ok && r->key)
    ok = write_usage_limit("rpm", r->key->quota.rpm, out) && write_usage_limit("tpm", r->key->quota.tpm, out) &&
         write_usage_limit("concurrent", r->key->quota.concurrent, out) &&
         el_buf_printf(out, ",\"weight\":%d", r->key->weight ? r->key->weight : EL_WEIGHT_NORMAL);
  return ok && el_buf_append(out, "}", 1);
}

bool el_key_usage_json(const el_api_keys *k, const el_key *only, el_buf *out) {
  if (only) {
    const row r = {*only->name ? only->name : NULL, el_account_usage(only->account), only};
    return el_buf_append(out, "[", 1) && write_usage_json(&r, out) && el_buf_append(out, "]", 1);
  }
  size_t n = 0;
  row *rows = k ? make_usage_rows(k, &n) : NULL;
  bool ok = (rows || !k) && el_buf_append(out, "[", 1);
  for (size_t i = 0; ok && i < n; i++) ok = (!i || el_buf_append(out, ",", 1)) && write_usage_json(&rows[i], out);
  free(rows);
  return ok && el_buf_append(out, "]", 1);
}
