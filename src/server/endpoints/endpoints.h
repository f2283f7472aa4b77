/* Endpoints whose answers need no generation: metrics, lists of models and adapters, loading and unloading of
 * adapters. */
#ifndef EL_SERVER_ENDPOINTS_H
#define EL_SERVER_ENDPOINTS_H

#include "server/http/route.h"
#include "server/http/state.h"

/* routes.c: all endpoints of this server; [*n]. */
const el_route *el_routes(size_t *n);

/* admin.c: the thread that loads and unloads adapters. */
void *el_admin_main(void *server);

/* info.c, metrics.c: write the answers of GET endpoints. False: out of memory, or *e. whole: with figures of
 * the whole server; otherwise only whether it serves. */
bool el_info_health(el_server *s, bool whole, el_buf *out);
bool el_info_metrics(el_server *s, el_buf *out);
bool el_info_slots(el_server *s, bool fail_when_full, el_buf *out, el_api_error *e);
bool el_info_queue(el_server *s, el_buf *out, el_api_error *e);
bool el_info_tokenizer(el_server *s, el_buf *out);
bool el_info_lora(el_server *s, el_buf *out, el_api_error *e);

/* The blocks of the memory pool by use. */
typedef struct el_pool_use {
  uint64_t kv, adapters_used, adapters_idle, free;
} el_pool_use;
el_pool_use el_info_pool(const el_stats *st);

/* stats.c: the server's figures as JSON; a limited key gets only its own. */
bool el_info_stats(el_server *s, const el_key *key, el_buf *out);

/* models.c: the models that a key may name. limit and after: of the URL's query; NULL: not given. */
bool el_models_list(el_server *s, const el_key *key, const char *limit, const char *after, el_buf *out,
                    el_api_error *e);
bool el_models_one(el_server *s, const el_key *key, const char *id, el_buf *out, el_api_error *e);

/* adapters.c: the states, counts and presets of the adapters that the key allows. */
bool el_adapters_write_invocation(el_buf *out, const el_adapter_info *a, const el_tokenizer *tokenizer);
typedef struct el_adapters_query {
  const char *limit, *offset, *search, *sort, *state; /* of the URL; NULL: not given */
} el_adapters_query;
bool el_adapters_list(el_server *s, const el_key *key, const el_adapters_query *asked, el_buf *out, el_api_error *e);
bool el_adapters_one(el_server *s, const el_key *key, const char *name, el_buf *out, el_api_error *e);

/* llama_props.c: llama-server's GET /props. */
bool el_llama_props(const el_query *q, el_answer *out, el_api_error *e);

/* ollama_models.c: Ollama's GET /api/tags, /api/ps, /api/version, DELETE /api/delete. */
bool el_ollama_tags(const el_query *q, el_answer *out, el_api_error *e);
bool el_ollama_ps(const el_query *q, el_answer *out, el_api_error *e);
bool el_ollama_version(const el_query *q, el_answer *out, el_api_error *e);
bool el_ollama_delete(const el_query *q, el_answer *out, el_api_error *e);

#endif
