#include "server/endpoints/endpoints.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_guard.h"
#include "base/json_out.h"
#include "server/dialects/llama.h"
#include "server/dialects/ollama.h"
#include "server/openapi/openapi.h"
#include "server/page/page.h"

/* ---------------------------------------------------------------- answers of GET */

static bool or_no_memory(bool ok, el_api_error *e) {
  return ok || el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}

/* Whether the process works; for supervisors that restart it if not. A draining server answers 503 here and everywhere
 * else. */
static bool get_health(const el_query *q, el_answer *out, el_api_error *e) {
  el_server *s = q->server;
  if (atomic_load(&s->draining)) out->status = 503;
  return or_no_memory(
      el_info_health(s, !atomic_load(&s->asks_for_key) || (q->key && !el_key_is_limited(q->key)), &out->body), e);
}

/* Whether to send requests here; for load balancers. It says no while requests are still served, so that balancers
 * notice before a connection is refused. */
static bool get_ready(const el_query *q, el_answer *out, el_api_error *e) {
  bool ready = el_server_is_ready(q->server);
  if (!ready) out->status = 503;
  return or_no_memory(el_buf_printf(&out->body, "{\"ready\":%s}", ready ? "true" : "false"), e);
}

/* What the operator has left out. */
static bool is_off(const char *option, el_api_error *e) {
  return el_api_fail(e, 501, "not_supported", NULL, "This server does not answer here: it was started with %s.",
                     option);
}

static bool get_metrics(const el_query *q, el_answer *out, el_api_error *e) {
  if (q->server->options.no_metrics) return is_off("--no-metrics", e);
  out->type = "text/plain; version=0.0.4; charset=utf-8";
  out->header_name = "Process-Start-Time-Unix"; /* llama-server's */
  snprintf(out->header_value, sizeof out->header_value, "%lld", (long long)q->server->started);
  return or_no_memory(el_info_metrics(q->server, &out->body), e);
}

static bool get_slots(const el_query *q, el_answer *out, el_api_error *e) {
  if (q->server->options.no_slots) return is_off("--no-slots", e);
  const char *full = el_query_argument(q, "fail_on_no_slot");
  return el_info_slots(q->server, full && strcmp(full, "0"), &out->body, e);
}

static bool get_queue(const el_query *q, el_answer *out, el_api_error *e) {
  return el_info_queue(q->server, &out->body, e);
}

static bool get_lora(const el_query *q, el_answer *out, el_api_error *e) {
  return el_info_lora(q->server, &out->body, e);
}

static bool get_stats(const el_query *q, el_answer *out, el_api_error *e) {
  return or_no_memory(el_info_stats(q->server, q->key, &out->body), e);
}

static bool get_models(const el_query *q, el_answer *out, el_api_error *e) {
  return el_models_list(q->server, q->key, el_query_argument(q, "limit"), el_query_argument(q, "after"), &out->body, e);
}

static bool get_model(const el_query *q, el_answer *out, el_api_error *e) {
  return el_models_one(q->server, q->key, q->rest, &out->body, e);
}

static bool get_version(const el_query *q, el_answer *out, el_api_error *e) {
  return or_no_memory(el_buf_printf(&out->body, "{\"version\":\"%s\"}", el_version()), e);
}

/* For clients that only test whether a server is there. */
static bool get_ping(const el_query *q, el_answer *out, el_api_error *e) {
  out->type = "text/plain; charset=utf-8"; /* nothing is no JSON */
  if (atomic_load(&q->server->draining)) out->status = 503;
  out->type = "text/plain; charset=utf-8";
  return true;
}

static bool get_tokenizer_info(const el_query *q, el_answer *out, el_api_error *e) {
  return or_no_memory(el_info_tokenizer(q->server, &out->body), e);
}

static bool get_adapters(const el_query *q, el_answer *out, el_api_error *e) {
  const el_adapters_query asked = {.limit = el_query_argument(q, "limit"),
                                   .offset = el_query_argument(q, "offset"),
                                   .search = el_query_argument(q, "search"),
                                   .sort = el_query_argument(q, "sort"),
                                   .state = el_query_argument(q, "state")};
  return el_adapters_list(q->server, q->key, &asked, &out->body, e);
}

static bool get_adapter(const el_query *q, el_answer *out, el_api_error *e) {
  return el_adapters_one(q->server, q->key, q->rest, &out->body, e);
}

static bool no_response(const el_query *q, el_api_error *e) {
  return el_api_fail(e, 404, "not_found", NULL, "Response with id '%.60s' not found.", q->rest);
}

/* The input items of a stored response. The last item comes first, unless the query asks for another order. */
static bool get_response_input(const el_query *q, size_t id_len, el_answer *out, el_api_error *e) {
  char id[EL_STORED_ID];
  const char *order = el_query_argument(q, "order");
  el_buf text = {0};
  bool found = false;
  snprintf(id, sizeof id, "%.*s", (int)id_len, q->rest);
  bool ok = id_len >= sizeof id ||
            el_stored_get(&q->server->stored, id, el_key_domain(q->key), EL_STORED_INPUT, &text, &found);
  json_error_t why;
  bool no_memory;
  json_t *items = found ? el_json_load(text.data, text.len, JSON_ALLOW_NUL, &why, &no_memory) : NULL;
  json_t *list = json_array(), *item;
  el_buf_free(&text);
  size_t i;
  json_array_foreach(items, i, item) {
    ok = ok && !json_array_insert(list, order && !strcmp(order, "asc") ? i : 0, item);
  }
  char *data = el_json_dumps(list, JSON_COMPACT);
  ok = ok && data && (items || !found) &&
       el_buf_printf(&out->body, "{\"object\":\"list\",\"data\":%s,\"has_more\":false}", data);
  free(data);
  json_decref(items);
  json_decref(list);
  return or_no_memory(ok, e) && (found || no_response(q, e));
}

static bool get_response(const el_query *q, el_answer *out, el_api_error *e) {
  bool found;
  uint64_t domain = el_key_domain(q->key);
  static const char INPUT[] = "/input_items";
  size_t n = strlen(q->rest), n_input = sizeof INPUT - 1;
  if (n > n_input && !strcmp(q->rest + n - n_input, INPUT)) return get_response_input(q, n - n_input, out, e);
  if (!or_no_memory(el_stored_get(&q->server->stored, q->rest, domain, EL_STORED_BODY, &out->body, &found), e))
    return false;
  return found || no_response(q, e);
}

static bool delete_response(const el_query *q, el_answer *out, el_api_error *e) {
  if (!el_stored_delete(&q->server->stored, q->rest, el_key_domain(q->key))) return no_response(q, e);
  return or_no_memory(el_buf_printf(&out->body, "{\"id\":") && el_json_cstring(&out->body, q->rest) &&
                          el_buf_printf(&out->body, ",\"object\":\"response\",\"deleted\":true}"),
                      e);
}

/* ---------------------------------------------------------------- the table */

static const el_route ROUTES[] = {
    {"/", .open = true, .get = el_page_get},
    {"/openapi.json", .get = el_openapi_get},
    {"/health", .open = true, .get = get_health},
    {"/ready", .open = true, .get = get_ready},
    {"/ping", .open = true, .get = get_ping},
    {"/version", .get = get_version},
    {"/tokenizer_info", .get = get_tokenizer_info},
    {"/metrics", .for_all = true, .get = get_metrics},
    {"/slots", .for_all = true, .get = get_slots},
    {"/queue", .for_all = true, .get = get_queue},
    {"/v1/stats", .get = get_stats},
    {"/v1/models", .get = get_models},
    {"/v1/models/", .has_rest = true, .get = get_model},
    {"/v1/adapters", .get = get_adapters},
    {"/v1/adapters/", .has_rest = true, .get = get_adapter},
    {"/lora-adapters", .for_all = true, .get = get_lora, .post = EL_WORK_SCALES},

    {"/v1/messages", .post = EL_WORK_API, .api = &el_api_messages},
    {"/v1/messages/count_tokens", .post = EL_WORK_API, .api = &el_api_count_tokens},
    {"/v1/completions", .post = EL_WORK_API, .api = &el_api_text},
    {"/v1/chat/completions", .post = EL_WORK_API, .api = &el_api_chat},
    {"/v1/chat/completions/input_tokens", .post = EL_WORK_API, .api = &el_api_chat_count},
    {"/tokenize", .post = EL_WORK_API, .api = &el_api_tokenize},
    {"/detokenize", .post = EL_WORK_API, .api = &el_api_detokenize},
    {"/completion", .post = EL_WORK_API, .api = &el_llama_completion},
    {"/completions", .post = EL_WORK_API, .api = &el_llama_completion},
    {"/infill", .post = EL_WORK_API, .api = &el_llama_infill},
    {"/embedding", .post = EL_WORK_API, .api = &el_llama_embeddings},
    {"/embeddings", .post = EL_WORK_API, .api = &el_llama_embeddings},
    {"/rerank", .post = EL_WORK_API, .api = &el_api_rerank},
    {"/reranking", .post = EL_WORK_API, .api = &el_api_rerank},
    {"/apply-template", .post = EL_WORK_API, .api = &el_llama_template},
    {"/props", .get = el_llama_props},
    {"/v1/route", .post = EL_WORK_API, .api = &el_api_route},
    {"/v1/responses", .post = EL_WORK_API, .api = &el_api_responses},
    {"/v1/responses/input_tokens", .post = EL_WORK_API, .api = &el_api_responses_count},
    {"/v1/responses/", .has_rest = true, .get = get_response, .del = delete_response},

    {"/v1/embeddings", .post = EL_WORK_API, .api = &el_api_embeddings},
    {"/api/version", .open = true, .get = el_ollama_version},
    {"/api/tags", .get = el_ollama_tags},
    {"/api/ps", .get = el_ollama_ps},
    {"/api/show", .post = EL_WORK_API, .api = &el_api_ollama_show},
    {"/api/chat", .post = EL_WORK_API, .api = &el_api_ollama_chat},
    {"/api/generate", .post = EL_WORK_API, .api = &el_api_ollama_generate},
    {"/api/embed", .post = EL_WORK_API, .api = &el_api_ollama_embed},
    {"/api/embeddings", .post = EL_WORK_API, .api = &el_api_ollama_embeddings},
    {"/api/pull", .post = EL_WORK_API, .api = &el_api_ollama_refused},
    {"/api/push", .post = EL_WORK_API, .api = &el_api_ollama_refused},
    {"/api/create", .post = EL_WORK_API, .api = &el_api_ollama_refused},
    {"/api/copy", .post = EL_WORK_API, .api = &el_api_ollama_refused},
    {"/api/delete", .del = el_ollama_delete},

    {"/v1/load_lora_adapter", .for_all = true, .post = EL_WORK_LOAD},
    {"/v1/unload_lora_adapter", .for_all = true, .post = EL_WORK_UNLOAD},
    {"/v1/rescan_lora_adapters", .for_all = true, .post = EL_WORK_RESCAN},
};

const el_route *el_routes(size_t *n) {
  *n = sizeof ROUTES / sizeof *ROUTES;
  return ROUTES;
}
