/* GET /v1/adapters and /v1/adapters/NAME: what is known of adapters, those that cannot be offered included, and what
 * their presets say. */
#include <inttypes.h>
#include <string.h>

#include "server/json_out.h"
#include "server/private.h"

static const char *const STATES[] = {
    [EL_ADAPTER_ON_DISK] = "on_disk",
    [EL_ADAPTER_LOADING] = "loading",
    [EL_ADAPTER_RESIDENT] = "resident",
    [EL_ADAPTER_FAILED] = "failed",
};

/* Seconds since the epoch, or null for 0. */
static bool write_time(el_buf *out, const char *name, int64_t at) {
  return at ? el_buf_printf(out, ",\"%s\":%" PRId64, name, at) : el_buf_printf(out, ",\"%s\":null", name);
}

/* limited: its caller's key is, so that no path is told. why NULL: it has not failed. at: as of write_time. */
static bool write_failure(el_buf *out, const char *why, const char *detail, int64_t at, bool limited) {
  if (!why) return el_buf_printf(out, ",\"failure\":null");
  if (limited) why = *detail ? detail : "the server's log says why";
  return el_buf_printf(out, ",\"failure\":{\"message\":") && el_json_cstring(out, why) && write_time(out, "at", at) &&
         el_buf_append(out, "}", 1);
}

static bool write_path(el_buf *out, const char *path, bool limited) {
  return limited || (el_buf_printf(out, ",\"path\":") && el_json_cstring(out, path));
}

/* ------------------------------------------------------------------- preset */

static bool write_strings(el_buf *out, const char *name, const char *const *list, size_t n) {
  bool ok = el_buf_printf(out, ",\"%s\":[", name);
  for (size_t i = 0; ok && i < n; i++) ok = (!i || el_buf_append(out, ",", 1)) && el_json_cstring(out, list[i]);
  return ok && el_buf_append(out, "]", 1);
}

static bool write_text(el_buf *out, const char *name, const char *text) {
  return !text || (el_buf_printf(out, ",\"%s\":", name) && el_json_cstring(out, text));
}

/* What it sets of a request, by the names that requests have for it. */
static bool write_settings(el_buf *out, const el_preset *p) {
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
  if (ok && p->set & EL_PRESET_STOP) ok = write_strings(out, "stop", p->stop, p->n_stop);
  return ok;
}

/* What is put before its conversations is for those that are not limited: a tenant may use it, not read it. */
static bool write_preset(el_buf *out, const el_preset *p, bool limited) {
  if (!p) return el_buf_printf(out, ",\"preset\":null");
  bool ok = el_buf_printf(out, ",\"preset\":{\"lora_scale\":%.7g", (double)p->lora_scale) &&
            write_text(out, "description", p->description) && write_settings(out, p);
  if (ok && !limited) ok = write_text(out, "system", p->system) && write_text(out, "chat_template", p->chat_template);
  /* It was parsed and written as JSON. */
  if (ok && p->schema) ok = el_buf_printf(out, ",\"schema\":%s,\"schema_enforced\":false", p->schema);
  return ok && el_buf_append(out, "}", 1);
}

/* ------------------------------------------------------------------ adapter */

/* Whether it is activated, null as long as nobody has read it; and by what, with llama-server's names. */
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
static bool write_figures(el_buf *out, const el_adapter_info *a, const el_tokenizer *tokenizer, bool limited) {
  return el_buf_printf(out, "{\"object\":\"adapter\",\"name\":") && el_json_cstring(out, a->name) &&
         el_buf_printf(out, ",\"id\":%" PRIu64 ",\"generation\":%" PRIu64 ",\"state\":\"%s\"", a->id, a->generation,
                       STATES[a->state]) &&
         write_path(out, a->path, limited) &&
         el_buf_printf(out, ",\"rank\":%d,\"bytes\":%" PRIu64 ",\"in_router\":%s,\"pinned\":%s", a->rank, a->bytes,
                       a->in_router ? "true" : "false", a->pinned ? "true" : "false") &&
         write_time(out, "created", a->created) &&
         el_buf_printf(out,
                       ",\"requests\":%" PRIu64 ",\"prompt_tokens\":%" PRIu64 ",\"generated_tokens\":%" PRIu64
                       ",\"hits\":%" PRIu64 ",\"loads\":%" PRIu64 ",\"loads_failed\":%" PRIu64,
                       a->requests, a->prompt_tokens, a->generated_tokens, a->hits, a->loads, a->loads_failed) &&
         write_time(out, "last_used", a->last_used) &&
         write_failure(out, a->failure, a->failure_detail, a->failed_at, limited) &&
         el_adapters_write_invocation(out, a, tokenizer) && write_strings(out, "aliases", a->aliases, a->n_aliases);
}

static bool write_adapter(el_buf *out, const el_adapter_info *a, const el_tokenizer *tokenizer, const el_preset *preset,
                          bool limited) {
  return write_figures(out, a, tokenizer, limited) && write_preset(out, preset, limited) && el_buf_append(out, "}", 1);
}

static bool write_refusal(el_buf *out, const el_adapter_refusal *a, bool limited) {
  return el_buf_printf(out, "{\"object\":\"adapter\",\"name\":") && el_json_cstring(out, a->name) &&
         el_buf_printf(out, ",\"id\":null,\"state\":\"refused\"") && write_path(out, a->path, limited) &&
         write_failure(out, a->reason, a->detail, 0, limited) && el_buf_append(out, "}", 1);
}

/* Appends the refused ones that the key allows, or the first that is called so; *n counts what is in the list. */
static bool write_refused(el_server *s, const el_key *key, const char *name, el_buf *out, size_t *n) {
  el_adapter_refusal *list;
  size_t n_list;
  if (el_adapter_list_refused(s->options.engine, &list, &n_list, NULL)) return false;
  bool ok = true;
  for (size_t i = 0; ok && i < n_list; i++) {
    if (!el_key_allows(key, list[i].name) || (name && (*n || strcmp(list[i].name, name)))) continue;
    ok = (!*n || el_buf_append(out, ",", 1)) && write_refusal(out, &list[i], el_key_is_limited(key));
    ++*n;
  }
  el_free(list);
  return ok;
}

/* Without presets, which to look at takes a look at files. */
bool el_adapters_list(el_server *s, const el_key *key, el_buf *out, el_api_error *e) {
  const el_tokenizer *tokenizer = el_engine_tokenizer(s->options.engine);
  el_adapter_info *list;
  size_t n_list, n = 0;
  el_error err;
  if (el_adapter_list(s->options.engine, &list, &n_list, &err))
    return el_api_fail_engine(e, &err, "", el_key_is_limited(key));
  bool ok = el_buf_printf(out, "{\"object\":\"list\",\"data\":[");
  for (size_t i = 0; ok && i < n_list; i++) {
    if (!el_key_allows(key, list[i].name)) continue;
    ok = (!n++ || el_buf_append(out, ",", 1)) && write_figures(out, &list[i], tokenizer, el_key_is_limited(key)) &&
         el_buf_append(out, "}", 1);
  }
  el_free(list);
  ok = ok && write_refused(s, key, NULL, out, &n) && el_buf_printf(out, "]}");
  return ok || el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}

bool el_adapters_one(el_server *s, const el_key *key, const char *name, el_buf *out, el_api_error *e) {
  el_engine *engine = s->options.engine;
  el_error err = {.code = EL_ERR_NOT_FOUND};
  el_adapter_info *info;
  bool limited = el_key_is_limited(key);
  if (!strcmp(name, s->model.name) || !el_models_may_ask(s, key, name))
    return el_api_fail_engine(e, &err, name, limited);
  /* Holding it looks at its files. What is wrong with its preset is its failure. */
  const el_held_adapter *held = NULL;
  if (el_adapter_hold(engine, name, &held, NULL)) held = NULL;
  bool ok = !el_adapter_get(engine, held ? held->name : name, &info, &err);
  if (!ok) {
    size_t n_refused = 0;
    el_adapter_release(engine, held);
    if (err.code == EL_ERR_NOT_FOUND && !write_refused(s, key, name, out, &n_refused))
      return el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
    return n_refused || el_api_fail_engine(e, &err, name, limited);
  }
  bool allowed = el_key_allows(key, info->name); /* an alias may lead to another one by now */
  ok = allowed && write_adapter(out, info, el_engine_tokenizer(engine), held ? held->preset : NULL, limited);
  el_free(info);
  el_adapter_release(engine, held);
  if (!allowed) return el_api_fail_engine(e, &(el_error){.code = EL_ERR_NOT_FOUND}, name, limited);
  return ok || el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}
