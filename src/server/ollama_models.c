/* What Ollama's clients ask about models: the base is one, and each adapter. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/json_out.h"
#include "server/ollama.h"
#include "server/private.h"

/* One that is listed. */
typedef struct model {
  const char *name;
  int64_t created;
  uint64_t bytes, generation;
  const char *parent; /* NULL: it is the base */
} model;

/* A name as they have it, with a tag. */
static bool write_name(const char *name, el_buf *out) {
  el_buf tagged = {0};
  const bool has_tag = strchr(name, ':') != NULL;
  bool ok = el_buf_printf(&tagged, "%s%s", name, has_tag ? "" : EL_OLLAMA_TAG) &&
            el_json_string(out, tagged.data, tagged.len);
  el_buf_free(&tagged);
  return ok;
}

/* 64 digits that change with the name and with its files, in place of a file's checksum: no file is read for it. */
static bool write_digest(const model *m, el_buf *out) {
  uint64_t h = 0xcbf29ce484222325u ^ m->generation * 0x9e3779b97f4a7c15u;
  bool ok = el_buf_append(out, "\"", 1);
  for (const char *c = m->name; *c; c++) h = (h ^ (unsigned char)*c) * 0x100000001b3u;
  for (int i = 0; ok && i < 4; i++) {
    ok = el_buf_printf(out, "%016" PRIx64, h);
    h = (h ^ h >> 31) * 0x94d049bb133111ebu;
  }
  return ok && el_buf_append(out, "\"", 1);
}

static bool write_parameters(uint64_t n, el_buf *out) {
  return n >= 1000000000 ? el_buf_printf(out, "\"%.1fB\"", (double)n / 1e9)
                         : el_buf_printf(out, "\"%.2fM\"", (double)n / 1e6);
}

static bool write_details(const el_server *s, const char *parent, el_buf *out) {
  return el_buf_printf(out, "\"details\":{\"parent_model\":") &&
         (parent ? write_name(parent, out) : el_buf_printf(out, "\"\"")) &&
         el_buf_printf(out, ",\"format\":\"gguf\",\"family\":") && el_json_cstring(out, s->model.architecture) &&
         el_buf_printf(out, ",\"families\":[") && el_json_cstring(out, s->model.architecture) &&
         el_buf_printf(out, "],\"parameter_size\":") && write_parameters(s->model.n_params, out) &&
         el_buf_printf(out, ",\"quantization_level\":\"\"}");
}

/* In memory until the room is wanted: a hundred years. */
static bool write_expiry(const el_server *s, el_buf *out) {
  return el_buf_printf(out, ",\"expires_at\":") && el_ollama_write_time(s->started + INT64_C(3155760000), out) &&
         el_buf_printf(out, ",\"size_vram\":0,\"context_length\":%d", s->model.ctx_size);
}

static bool write_model(const el_server *s, const model *m, bool running, el_buf *out) {
  return el_buf_printf(out, "{\"name\":") && write_name(m->name, out) && el_buf_printf(out, ",\"model\":") &&
         write_name(m->name, out) && el_buf_printf(out, ",\"modified_at\":") && el_ollama_write_time(m->created, out) &&
         el_buf_printf(out, ",\"size\":%" PRIu64 ",\"digest\":", m->bytes) && write_digest(m, out) &&
         el_buf_append(out, ",", 1) && write_details(s, m->parent, out) && (!running || write_expiry(s, out)) &&
         el_buf_append(out, "}", 1);
}

/* All that the key allows; running: of them those that are in memory. */
static bool write_list(const el_query *q, bool running, el_answer *out, el_api_error *e) {
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
    ok = write_model(s, &(model){s->model.name, s->started, s->model.weight_bytes, 0, NULL}, running, b);
  }
  for (size_t i = 0; ok && i < n; i++) {
    const el_adapter_info *a = &adapters[i];
    if (!el_key_allows(q->key, a->name) || (running && a->state != EL_ADAPTER_RESIDENT)) continue;
    ok = (!found++ || el_buf_append(b, ",", 1)) &&
         write_model(s, &(model){a->name, a->created, a->bytes, a->generation, s->model.name}, running, b);
  }
  el_free(adapters);
  return (ok && el_buf_printf(b, "]}")) || el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}

bool el_ollama_tags(const el_query *q, el_answer *out, el_api_error *e) {
  return write_list(q, false, out, e);
}

bool el_ollama_ps(const el_query *q, el_answer *out, el_api_error *e) {
  return write_list(q, true, out, e);
}

bool el_ollama_version(const el_query *q, el_answer *out, el_api_error *e) {
  return el_buf_printf(&out->body, "{\"version\":\"" EL_OLLAMA_VERSION "\",\"edgelora\":\"%s\"}", el_version()) ||
         el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
}

static bool write_show(const el_server *s, const char *name, const el_adapter_info *a, el_buf *out) {
  const char *arch = s->model.architecture;
  return el_buf_printf(out, "{\"license\":\"\",\"modelfile\":\"\",\"parameters\":\"\",\"template\":\"\",") &&
         write_details(s, a ? s->model.name : NULL, out) &&
         el_buf_printf(out, ",\"model_info\":{\"general.architecture\":") && el_json_cstring(out, arch) &&
         el_buf_printf(out, ",\"general.basename\":") && el_json_cstring(out, name) &&
         el_buf_printf(out,
                       ",\"general.parameter_count\":%" PRIu64
                       ",\"%s.context_length\":%d,\"%s.embedding_length\":%d,"
                       "\"%s.block_count\":%d,\"%s.attention.head_count\":%d,\"%s.attention.head_count_kv\":%d}",
                       s->model.n_params, arch, s->model.ctx_size, arch, s->model.n_embd, arch, s->model.n_layers, arch,
                       s->model.n_heads, arch, s->model.n_kv_heads) &&
         (!a || !a->description || (el_buf_printf(out, ",\"description\":") && el_json_cstring(out, a->description))) &&
         el_buf_printf(out, ",\"capabilities\":[\"completion\",\"tools\",\"embedding\"],\"modified_at\":") &&
         el_ollama_write_time(a ? a->created : s->started, out) && el_buf_append(out, "}", 1);
}

bool el_ollama_show(el_api_parse *p, el_buf *out) {
  const el_server *s = p->setup->server;
  const char *name = p->out->model;
  el_adapter_info *a = NULL;
  el_error err;
  if (strcmp(name, s->model.name) && strcmp(name, EL_AUTO) && el_adapter_get(s->options.engine, name, &a, &err))
    return el_api_fail_engine(p->error, &err, name, true);
  bool ok = write_show(s, name, a, out);
  el_free(a);
  return ok || el_api_no_memory(p);
}
