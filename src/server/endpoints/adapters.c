/* GET /v1/adapters and /v1/adapters/NAME: the adapters, including those that cannot be offered, and their
 * presets. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_out.h"
#include "server/common/query.h"
#include "server/endpoints/endpoints.h"
#include "server/http/model_names.h"

static const char *const STATES[] = {
    [EL_ADAPTER_ON_DISK] = "on_disk",
    [EL_ADAPTER_LOADING] = "loading",
    [EL_ADAPTER_RESIDENT] = "resident",
    [EL_ADAPTER_FAILED] = "failed",
    "refused", /* it has no el_adapter_state: a directory holds it, and it cannot be offered */
};
enum { REFUSED = EL_ADAPTER_FAILED + 1, N_STATES };

enum { MAX_PAGE = 100000 };        /* adapters in an answer */
enum { MAX_EXAMPLE_BYTES = 4096 }; /* a longer one is not shown */

/* Seconds since the epoch, or null for 0. */
static bool write_time_member(el_buf *out, const char *name, int64_t at) {
  return at ? el_buf_printf(out, ",\"%s\":%" PRId64, name, at) : el_buf_printf(out, ",\"%s\":null", name);
}

/* limited: the caller's key is limited, so paths are left out. why NULL: there is no failure. at: as for
 * write_time_member. */
static bool write_failure(el_buf *out, const char *why, const char *detail, int64_t at, bool limited) {
  if (!why) return el_buf_printf(out, ",\"failure\":null");
  if (limited) why = *detail ? detail : "the server's log says why";
  return el_buf_printf(out, ",\"failure\":{\"message\":") && el_json_cstring(out, why) &&
         write_time_member(out, "at", at) && el_buf_append(out, "}", 1);
}

static bool write_adapter_path(el_buf *out, const char *path, bool limited) {
  return limited || (el_buf_printf(out, ",\"path\":") && el_json_cstring(out, path));
}

/* ------------------------------------------------------------------- preset */

static bool write_strings_member(el_buf *out, const char *name, const char *const *list, size_t n) {
  bool ok = el_buf_printf(out, ",\"%s\":[", name);
  for (size_t i = 0; ok && i < n; i++) ok = (!i || el_buf_append(out, ",", 1)) && el_json_cstring(out, list[i]);
  return ok && el_buf_append(out, "]", 1);
}

static bool write_text_member(el_buf *out, const char *name, const char *text) {
  return !text || (el_buf_printf(out, ",\"%s\":", name) && el_json_cstring(out, text));
}

/* The sampling settings of a preset, under the names of the request's fields. */
static bool write_preset_settings(el_buf *out, const el_preset *p) {
  const el_sampling *s = &p->sampling;
  const struct {
    unsigned bit;
    const char *name;
    double value;
  } numbers[] = {
      {EL_PRESET_TEMPERATURE, "temperature", s->temperature},
      {EL_PRESET_TOP_P, "top_p", s->top_p},
      {EL_PRESET_TOP_K, "top_k", s->top_k},
      {EL_PRESET_MIN_P, "min_p", s->min_p},
      {EL_PRESET_REPETITION_PENALTY, "repetition_penalty", s->repeat_penalty},
      {EL_PRESET_REPEAT_LAST_N, "repeat_last_n", s->repeat_last_n},
      {EL_PRESET_FREQUENCY_PENALTY, "frequency_penalty", s->frequency_penalty},
      {EL_PRESET_PRESENCE_PENALTY, "presence_penalty", s->presence_penalty},
      {EL_PRESET_MAX_TOKENS, "max_tokens", p->max_tokens},
  };
  bool ok = true;
  for (size_t i = 0; ok && i < sizeof numbers / sizeof *numbers; i++)
    if (p->set & numbers[i].bit)
      ok = el_buf_printf(out, ",\"%s\":", numbers[i].name) && el_buf_printf(out, "%.7g", numbers[i].value);
  if (ok && p->set & EL_PRESET_SEED) ok = el_buf_printf(out, ",\"seed\":%" PRId64, (int64_t)s->seed);
  if (ok && p->set & EL_PRESET_STOP) ok = write_strings_member(out, "stop", p->stop, p->n_stop);
  return ok;
}

/* The system prompt is shown only to keys that are not limited: a tenant may use it, but not read it. */
static bool write_adapter_preset(el_buf *out, const el_preset *p, bool limited) {
  if (!p) return el_buf_printf(out, ",\"preset\":null");
  bool ok = el_buf_printf(out, ",\"preset\":{\"lora_scale\":%.7g", (double)p->lora_scale) &&
            write_text_member(out, "description", p->description) && write_preset_settings(out, p);
  if (ok && !limited)
    ok = write_text_member(out, "system", p->system) && write_text_member(out, "chat_template", p->chat_template);
  /* It was parsed and written as JSON. */
  if (ok && p->schema) ok = el_buf_printf(out, ",\"schema\":%s,\"schema_enforced\":true", p->schema);
  return ok && el_buf_append(out, "}", 1);
}

/* ----------------------------------------------------------------- examples */

/* The adapter's examples, to try it with. The prompts may be private, so they are for keys that are not limited.
 * A file with an error gives none; the log says why when the router reads it. */
static bool write_adapter_examples(el_engine *engine, const char *name, el_buf *out) {
  char **list;
  size_t n, written = 0;
  if (el_adapter_examples(engine, name, &list, &n, NULL)) return el_buf_printf(out, ",\"examples\":[]");
  bool ok = el_buf_printf(out, ",\"examples\":[");
  for (size_t i = 0; ok && i < n; i++)
    if (strlen(list[i]) <= MAX_EXAMPLE_BYTES)
      ok = (!written++ || el_buf_append(out, ",", 1)) && el_json_cstring(out, list[i]);
  el_free(list);
  return ok && el_buf_append(out, "]", 1);
}

/* ------------------------------------------------------------------ adapter */

static bool write_load_time(el_buf *out, const el_adapter_info *a) {
  return a->loads ? el_buf_printf(out, ",\"load_ms\":%.3f", a->load_ms) : el_buf_printf(out, ",\"load_ms\":null");
}

/* Whether the adapter is an activated one, null until its files have been read; and its invocation, under
 * llama-server's names. */
bool el_adapters_write_invocation(el_buf *out, const el_adapter_info *a, const el_tokenizer *tokenizer) {
  static const char *const is[] = {"null", "false", "true"};
  bool ok = el_buf_printf(out, ",\"activated\":%s", is[a->activated + 1]);
  if (!ok || !a->n_invocation) return ok;
  ok = el_buf_printf(out, ",\"alora_invocation_tokens\":[");
  for (size_t i = 0; ok && i < a->n_invocation; i++)
    ok = el_buf_printf(out, "%s%" PRId32, i ? "," : "", a->invocation[i]);
  char *text = NULL;
  size_t len;
  if (!ok || el_detokenize(tokenizer, a->invocation, a->n_invocation, true, &text, &len, NULL)) return false;
  ok = el_buf_printf(out, "],\"alora_invocation_string\":") && el_json_string(out, text, len);
  el_free(text);
  return ok;
}

/* Without the end of the object. */
static bool write_adapter_figures(el_buf *out, const el_adapter_info *a, const el_tokenizer *tokenizer, bool limited) {
  return el_buf_printf(out, "{\"object\":\"adapter\",\"name\":") && el_json_cstring(out, a->name) &&
         el_buf_printf(out, ",\"id\":%" PRIu64 ",\"generation\":%" PRIu64 ",\"state\":\"%s\"", a->id, a->generation,
                       STATES[a->state]) &&
         write_adapter_path(out, a->path, limited) &&
         el_buf_printf(out, ",\"rank\":%d,\"bytes\":%" PRIu64 ",\"in_router\":%s,\"pinned\":%s", a->rank, a->bytes,
                       a->in_router ? "true" : "false", a->pinned ? "true" : "false") &&
         write_time_member(out, "created", a->created) &&
         el_buf_printf(out,
                       ",\"requests\":%" PRIu64 ",\"prompt_tokens\":%" PRIu64 ",\"generated_tokens\":%" PRIu64
                       ",\"hits\":%" PRIu64 ",\"loads\":%" PRIu64 ",\"loads_failed\":%" PRIu64,
                       a->requests, a->prompt_tokens, a->generated_tokens, a->hits, a->loads, a->loads_failed) &&
         write_load_time(out, a) && write_time_member(out, "last_used", a->last_used) &&
         write_failure(out, a->failure, a->failure_detail, a->failed_at, limited) &&
         (a->own_tokens <= 0 || el_buf_printf(out, ",\"own_tokens\":%d", a->own_tokens)) &&
         el_adapters_write_invocation(out, a, tokenizer) &&
         write_strings_member(out, "aliases", a->aliases, a->n_aliases) && el_buf_printf(out, ",\"description\":") &&
         el_json_cstring(out, a->description);
}

static bool write_adapter_row(el_engine *engine, el_buf *out, const el_adapter_info *a, const el_preset *preset,
                              bool limited) {
  return write_adapter_figures(out, a, el_engine_tokenizer(engine), limited) &&
         write_adapter_preset(out, preset, limited) && (limited || write_adapter_examples(engine, a->name, out)) &&
         el_buf_append(out, "}", 1);
}

static bool write_refusal(el_buf *out, const el_adapter_refusal *a, bool limited) {
  return el_buf_printf(out, "{\"object\":\"adapter\",\"name\":") && el_json_cstring(out, a->name) &&
         el_buf_printf(out, ",\"id\":null,\"state\":\"%s\"", STATES[REFUSED]) &&
         write_adapter_path(out, a->path, limited) && write_failure(out, a->reason, a->detail, 0, limited) &&
         el_buf_append(out, "}", 1);
}

/* Appends the first refused adapter with this name, if the key allows it. *found: there is one. */
static bool write_refused(el_server *s, const el_key *key, const char *name, el_buf *out, bool *found) {
  el_adapter_refusal *list;
  size_t n;
  *found = false;
  if (el_adapter_list_refused(s->options.engine, &list, &n, NULL)) return false;
  bool ok = true;
  for (size_t i = 0; i < n && !*found; i++) {
    if (!el_key_allows(key, list[i].name) || strcmp(list[i].name, name)) continue;
    *found = true;
    ok = write_refusal(out, &list[i], el_key_is_limited(key));
  }
  el_free(list);
  return ok;
}

/* --------------------------------------------------------------------- list */

/* An entry of the list: an adapter, or a folder or file that was refused. */
typedef struct row {
  const el_adapter_info *adapter;
  const el_adapter_refusal *refusal; /* where adapter is NULL */
} row;

/* What a list is asked for. */
typedef struct query {
  size_t limit, offset;
  char words[EL_MAX_NAME_BYTES + 1]; /* each ends with a NUL, the last one with two */
  size_t sort, state;                /* state N_STATES: any */
} query;

enum { SORT_ADDED, SORT_NAME, SORT_REQUESTS, SORT_LAST_USED, N_SORTS };
static const char *const SORTS[N_SORTS] = {"added", "name", "requests", "last_used"};

static bool read_adapters_query(const el_adapters_query *asked, query *q, el_api_error *e) {
  *q = (query){.limit = SIZE_MAX, .state = N_STATES};
  const char *search = asked->search ? asked->search : "";
  size_t len = strlen(search), at = 0;
  if (len >= EL_MAX_NAME_BYTES)
    return el_api_fail(e, 400, "invalid_value", "search", "Invalid value for 'search': it is longer than %d bytes.",
                       EL_MAX_NAME_BYTES - 1);
  for (size_t i = 0; i < len; i++)
    if (search[i] != ' ')
      q->words[at++] = search[i];
    else if (at && q->words[at - 1])
      q->words[at++] = 0;
  return el_query_number("limit", asked->limit, 1, MAX_PAGE, &q->limit, e) &&
         el_query_number("offset", asked->offset, 0, SIZE_MAX / 2, &q->offset, e) &&
         el_query_word("sort", asked->sort, SORTS, N_SORTS, &q->sort, e) &&
         el_query_word("state", asked->state, STATES, N_STATES, &q->state, e);
}

static const char *adapter_row_name(const row *r) {
  return r->adapter ? r->adapter->name : r->refusal->name;
}

static bool row_has_word(const row *r, const char *word) {
  if (strcasestr(adapter_row_name(r), word)) return true;
  if (!r->adapter) return false;
  if (r->adapter->description && strcasestr(r->adapter->description, word)) return true;
  for (size_t i = 0; i < r->adapter->n_aliases; i++)
    if (strcasestr(r->adapter->aliases[i], word)) return true;
  return false;
}

static bool row_matches(const row *r, const query *q) {
  if (q->state != N_STATES && q->state != (r->adapter ? (size_t)r->adapter->state : REFUSED)) return false;
  for (const char *word = q->words; *word; word += strlen(word) + 1)
    if (!row_has_word(r, word)) return false;
  return true;
}

static int compare_adapter_names(const void *a, const void *b) {
  return strcmp(adapter_row_name(a), adapter_row_name(b));
}

/* Orders by a figure, the largest first; refused entries come last. Equal entries stay in the order in which they were
 * added, which is their order in the array. */
static int compare_figures(int64_t x, int64_t y, const row *a, const row *b) {
  if (x != y) return x < y ? 1 : -1;
  if (a->adapter && b->adapter) return (a->adapter > b->adapter) - (a->adapter < b->adapter);
  if (!a->adapter && !b->adapter) return (a->refusal > b->refusal) - (a->refusal < b->refusal);
  return a->adapter ? -1 : 1;
}

static int compare_requests(const void *a, const void *b) {
  const row *x = a, *y = b;
  return compare_figures(x->adapter ? (int64_t)x->adapter->requests : -1,
                         y->adapter ? (int64_t)y->adapter->requests : -1, x, y);
}

static int compare_last_uses(const void *a, const void *b) {
  const row *x = a, *y = b;
  return compare_figures(x->adapter ? x->adapter->last_used : -1, y->adapter ? y->adapter->last_used : -1, x, y);
}

static void sort_rows(row *rows, size_t n, size_t how) {
  static int (*const compare[N_SORTS])(const void *, const void *) = {
      [SORT_NAME] = compare_adapter_names, [SORT_REQUESTS] = compare_requests, [SORT_LAST_USED] = compare_last_uses};
  if (n && compare[how]) qsort(rows, n, sizeof *rows, compare[how]);
}

static bool write_adapter_rows(const row *rows, size_t n, const query *q, const el_tokenizer *tokenizer, bool limited,
                               el_buf *out) {
  size_t begin = q->offset < n ? q->offset : n, end = q->limit < n - begin ? begin + q->limit : n;
  bool ok = el_buf_printf(out, "{\"object\":\"list\",\"data\":[");
  for (size_t i = begin; ok && i < end; i++)
    ok =
        (i == begin || el_buf_append(out, ",", 1)) &&
        (rows[i].adapter ? write_adapter_figures(out, rows[i].adapter, tokenizer, limited) && el_buf_append(out, "}", 1)
                         : write_refusal(out, rows[i].refusal, limited));
  return ok && el_buf_printf(out, "],\"total\":%zu,\"has_more\":%s}", n, end < n ? "true" : "false");
}

/* Without presets and examples, as these need a look at files. */
bool el_adapters_list(el_server *s, const el_key *key, const el_adapters_query *asked, el_buf *out, el_api_error *e) {
  el_adapter_info *adapters;
  el_adapter_refusal *refused;
  size_t n_adapters, n_refused, n = 0;
  query q;
  el_error err;
  if (!read_adapters_query(asked, &q, e)) return false;
  if (el_adapter_list(s->options.engine, &adapters, &n_adapters, &err))
    return el_api_fail_engine(e, &err, "", el_key_is_limited(key));
  if (el_adapter_list_refused(s->options.engine, &refused, &n_refused, &err)) {
    el_free(adapters);
    return el_api_fail_engine(e, &err, "", el_key_is_limited(key));
  }
  row *rows = calloc(n_adapters + n_refused + 1, sizeof *rows);
  for (size_t i = 0; rows && i < n_adapters + n_refused; i++) {
    row r = i < n_adapters ? (row){.adapter = &adapters[i]} : (row){.refusal = &refused[i - n_adapters]};
    if (el_key_allows(key, adapter_row_name(&r)) && row_matches(&r, &q)) rows[n++] = r;
  }
  if (rows) sort_rows(rows, n, q.sort);
  bool ok =
      rows && write_adapter_rows(rows, n, &q, el_engine_tokenizer(s->options.engine), el_key_is_limited(key), out);
  free(rows);
  el_free(refused);
  el_free(adapters);
  return ok || el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}

bool el_adapters_one(el_server *s, const el_key *key, const char *name, el_buf *out, el_api_error *e) {
  el_engine *engine = s->options.engine;
  el_error err = {.code = EL_ERR_NOT_FOUND};
  el_adapter_info *info;
  bool limited = el_key_is_limited(key);
  if (el_models_is_base(s, name) || !el_models_may_ask(s, key, name)) return el_api_fail_engine(e, &err, name, limited);
  /* el_adapter_hold looks at the adapter's files. An error in its preset is shown as its failure. */
  const el_held_adapter *held = NULL;
  if (el_adapter_hold(engine, name, &held, NULL)) held = NULL;
  bool ok = !el_adapter_get(engine, held ? held->name : name, &info, &err);
  if (!ok) {
    bool refused = false;
    el_adapter_release(engine, held);
    if (err.code == EL_ERR_NOT_FOUND && !write_refused(s, key, name, out, &refused))
      return el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
    return refused || el_api_fail_engine(e, &err, name, limited);
  }
  bool allowed = el_key_allows(key, info->name); /* an alias may belong to another adapter by now */
  ok = allowed && write_adapter_row(engine, out, info, held ? held->preset : NULL, limited);
  el_free(info);
  el_adapter_release(engine, held);
  if (!allowed) return el_api_fail_engine(e, &(el_error){.code = EL_ERR_NOT_FOUND}, name, limited);
  return ok || el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}
