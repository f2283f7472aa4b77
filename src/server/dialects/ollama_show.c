/* POST /api/show: what Ollama's clients ask about one model, the base or an adapter. */
#include <inttypes.h>
#include <string.h>

#include "base/json_out.h"
#include "server/dialects/ollama.h"

bool el_ollama_write_name(const char *name, el_buf *out) {
  el_buf tagged = {0};
  const bool has_tag = strchr(name, ':') != NULL;
  bool ok = el_buf_printf(&tagged, "%s%s", name, has_tag ? "" : EL_OLLAMA_TAG) &&
            el_json_string(out, tagged.data, tagged.len);
  el_buf_free(&tagged);
  return ok;
}

static bool write_parameter_size(uint64_t n, el_buf *out) {
  return n >= 1000000000 ? el_buf_printf(out, "\"%.1fB\"", (double)n / 1e9)
                         : el_buf_printf(out, "\"%.2fM\"", (double)n / 1e6);
}

bool el_ollama_write_details(const el_model_info *base, const char *parent, el_buf *out) {
  return el_buf_printf(out, "\"details\":{\"parent_model\":") &&
         (parent ? el_ollama_write_name(parent, out) : el_buf_printf(out, "\"\"")) &&
         el_buf_printf(out, ",\"format\":\"gguf\",\"family\":") && el_json_cstring(out, base->architecture) &&
         el_buf_printf(out, ",\"families\":[") && el_json_cstring(out, base->architecture) &&
         el_buf_printf(out, "],\"parameter_size\":") && write_parameter_size(base->n_params, out) &&
         el_buf_printf(out, ",\"quantization_level\":\"\"}");
}

static bool write_model_card(const el_api_setup *s, const char *name, const el_adapter_info *a, el_buf *out) {
  const char *arch = s->model->architecture;
  return el_buf_printf(out, "{\"license\":\"\",\"modelfile\":\"\",\"parameters\":\"\",\"template\":\"\",") &&
         el_ollama_write_details(s->model, a ? s->model->name : NULL, out) &&
         el_buf_printf(out, ",\"model_info\":{\"general.architecture\":") && el_json_cstring(out, arch) &&
         el_buf_printf(out, ",\"general.basename\":") && el_json_cstring(out, name) &&
         el_buf_printf(out,
                       ",\"general.parameter_count\":%" PRIu64
                       ",\"%s.context_length\":%d,\"%s.embedding_length\":%d,"
                       "\"%s.block_count\":%d,\"%s.attention.head_count\":%d,\"%s.attention.head_count_kv\":%d}",
                       s->model->n_params, arch, s->model->ctx_size, arch, s->model->n_embd, arch, s->model->n_layers,
                       arch, s->model->n_heads, arch, s->model->n_kv_heads) &&
         (!a || !a->description || (el_buf_printf(out, ",\"description\":") && el_json_cstring(out, a->description))) &&
         el_buf_printf(out, ",\"capabilities\":[\"completion\",\"tools\",\"embedding\"],\"modified_at\":") &&
         el_ollama_write_time(a ? a->created : s->started, out) && el_buf_append(out, "}", 1);
}

bool el_ollama_show(el_api_parse *p, el_buf *out) {
  const el_api_setup *s = p->setup;
  const char *name = p->out->model;
  el_adapter_info *a = NULL;
  el_error err;
  if (strcmp(name, s->model->name) && strcmp(name, EL_AUTO) && el_adapter_get(s->engine, name, &a, &err))
    return el_api_fail_engine(p->error, &err, name, true);
  bool ok = write_model_card(s, name, a, out);
  el_free(a);
  return ok || el_api_no_memory(p);
}
