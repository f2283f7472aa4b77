/* Ollama's endpoints about models. The base is a model, and so is each adapter. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_out.h"
#include "server/dialects/ollama.h"
#include "server/endpoints/endpoints.h"

/* One that is listed. */
typedef struct model {
  const char *name;
  int64_t created;
  uint64_t bytes, generation;
  const char *parent; /* NULL: it is the base */
} model;

/* 64 digits that change with the name and the files, in place of a checksum, for which no file needs to be read. */
static bool write_model_digest(const model *m, el_buf *out) {
  uint64_t h = 0xcbf29ce484222325u ^ m->generation * 0x9e3779b97f4a7c15u;
  bool ok = el_buf_append(out, "\"", 1);
  for (const char *c = m->name; *c; c++) h = (h ^ (unsigned char)*c) * 0x100000001b3u;
  for (int i = 0; ok && i < 4; i++) {
    ok = el_buf_printf(out, "%016" PRIx64, h);
    h = (h ^ h >> 31) * 0x94d049bb133111ebu;
  }
  return ok && el_buf_append(out, "\"", 1);
}

/* Adapters stay in memory until the room is needed, so the time is a hundred years ahead. */
static bool write_model_expiry(const el_server *s, el_buf *out) {
  return el_buf_printf(out, ",\"expires_at\":") && el_ollama_write_time(s->started + INT64_C(3155760000), out) &&
         el_buf_printf(out, ",\"size_vram\":0,\"context_length\":%d", s->model.ctx_size);
}

static bool write_ollama_model(const el_server *s, const model *m, bool running, el_buf *out) {
  return el_buf_printf(out, "{\"name\":") && el_ollama_write_name(m->name, out) && el_buf_printf(out, ",\"model\":") &&
         el_ollama_write_name(m->name, out) && el_buf_printf(out, ",\"modified_at\":") &&
         el_ollama_write_time(m->created, out) && el_buf_printf(out, ",\"size\":%" PRIu64 ",\"digest\":", m->bytes) &&
         write_model_digest(m, out) && el_buf_append(out, ",", 1) &&
         el_ollama_write_details(&s->model, m->parent, out) && (!running || write_model_expiry(s, out)) &&
         el_buf_append(out, "}", 1);
}

/* The models that the key allows; running: only those in memory. */
static bool write_ollama_models(const el_query *q, bool running, el_answer *out, el_api_error *e) {
  const el_server *s = q->server;
  el_buf *b = &out->body;
  el_adapter_info *adapters;
  size_t n, found = 0;
  el_error err;
  if (el_adapter_list(s->options.engine, &adapters, &n, &err))
    return el_api_fail_engine(e, &err, "", el_key_is_limited(q->key));
  bool ok = el_buf_printf(b, "{\"models\":[");
  if (ok && el_key_allows(q->key, s->model.name)) {
    found++;
    ok = write_ollama_model(s, &(model){s->model.name, s->started, s->model.weight_bytes, 0, NULL}, running, b);
  }
  for (size_t i = 0; ok && i < n; i++) {
    const el_adapter_info *a = &adapters[i];
    if (!el_key_allows(q->key, a->name) || (running && a->state != EL_ADAPTER_RESIDENT)) continue;
    ok = (!found++ || el_buf_append(b, ",", 1)) &&
         write_ollama_model(s, &(model){a->name, a->created, a->bytes, a->generation, s->model.name}, running, b);
  }
  el_free(adapters);
  return (ok && el_buf_printf(b, "]}")) || el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}

bool el_ollama_tags(const el_query *q, el_answer *out, el_api_error *e) {
  return write_ollama_models(q, false, out, e);
}

bool el_ollama_ps(const el_query *q, el_answer *out, el_api_error *e) {
  return write_ollama_models(q, true, out, e);
}

bool el_ollama_version(const el_query *q, el_answer *out, el_api_error *e) {
  return el_buf_printf(&out->body, "{\"version\":\"" EL_OLLAMA_VERSION "\",\"edgelora\":\"%s\"}", el_version()) ||
         el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}

bool el_ollama_delete(const el_query *q, el_answer *out, el_api_error *e) {
  el_ollama_refuse(e);
  out->status = e->status;
  return el_ollama_write_error(e, &out->body) || el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}
