/* POST /v1/embeddings. */
#include "server/dialects/embeddings.h"

#include <stdio.h>
#include <string.h>

#include "base/json_out.h"
#include "server/dialects/llama.h"

/* The most texts in a request. They wait for slots in the engine's queue, which has about as many places. */
#define MAX_INPUTS 1024

static bool read_input(el_api_parse *p, const el_field *f, const json_t *v) {
  p->prompt = v;
  return true;
}

static bool read_encoding_format(el_api_parse *p, const el_field *f, const json_t *v) {
  const char *name = json_is_string(v) ? json_string_value(v) : "";
  if (!json_is_string(v)) return el_api_type_error(p, f->name, "a string", v);
  p->out->vector.base64 = !strcmp(name, "base64");
  return p->out->vector.base64 || !strcmp(name, "float") ||
         el_api_value_error(p, f, "supported are 'float' and 'base64'");
}

bool el_read_dimensions(el_api_parse *p, const el_field *f, const json_t *v) {
  el_field bounded = *f;
  json_int_t n = 0;
  bounded.min = 1;
  bounded.max = p->setup->model->n_embd;
  if (!el_read_integer(p, &bounded, v, &n)) return false;
  p->out->vector.dimensions = (int)n;
  return true;
}

static bool read_pooling_type(el_api_parse *p, const el_field *f, const json_t *v) {
  static const struct {
    const char *name;
    el_embed how;
  } ways[] = {{"mean", EL_EMBED_MEAN}, {"cls", EL_EMBED_CLS}, {"last", EL_EMBED_LAST}};
  if (!json_is_string(v)) return el_api_type_error(p, f->name, "a string", v);
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
    if (strcmp(ways[i].name, json_string_value(v))) continue;
    p->out->request.embed = ways[i].how;
    return true;
  }
  return el_api_value_error(p, f, "supported are 'mean', 'cls' and 'last'");
}

static const el_field FIELDS[] = {
    EL_FIELD("model", 0, el_read_model),
    EL_FIELD("input", 0, read_input),
    EL_FIELD("encoding_format", 0, read_encoding_format),
    EL_FIELD("dimensions", 0, el_read_dimensions),
    EL_FIELD("user", 0, el_read_ignored),
    EL_FIELD("pooling", 0, read_pooling_type), /* an addition: replaces the pooling of the model's file */
};

bool el_embeddings_prepare(el_api_parse *p, json_t *body) {
  p->max_choices = MAX_INPUTS;
  p->plain = true;
  p->out->request.embed = EL_EMBED_AS_MODEL;
  return true;
}

static bool check_embeddings(el_api_parse *p) {
  return p->prompt ||
         el_api_fail(p->error, 400, "missing_required_parameter", "input", "Missing required parameter: 'input'.");
}

bool el_embeddings_one_reader(el_api_parse *p) {
  return !p->out->automatic ||
         el_api_fail(p->error, 400, "invalid_value", "model",
                     "Invalid value for 'model': the router may choose another adapter for each text, and vectors of "
                     "different ones cannot be compared; name one.");
}

/* Reads it like prompts, under the name that the field has here. */
bool el_embeddings_read_inputs(el_api_parse *p) {
  p->prompt_name = "input";
  return el_embeddings_one_reader(p) && el_llama_prompts_read(p);
}

static bool write_openai_vectors(el_reply *r, el_buf *out) {
  bool ok = el_buf_printf(out, "{\"object\":\"list\",\"data\":[");
  for (size_t i = 0; ok && i < r->n_choices; i++) {
    const el_choice *c = &r->choices[i];
    ok = el_buf_printf(out, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", i ? "," : "", i) &&
         el_vector_write(c->vector, c->n_vector, r->request->vector, out) && el_buf_append(out, "}", 1);
  }
  const size_t n = el_reply_usage(r).prompt;
  return ok && el_buf_printf(out, "],\"model\":") && el_json_cstring(out, r->model) &&
         el_buf_printf(out, ",\"usage\":{\"prompt_tokens\":%zu,\"total_tokens\":%zu}", n, n) &&
         el_reply_write_warnings(r, NULL, out) && el_buf_append(out, "}", 1);
}

static const el_writer WRITER = {.whole = write_openai_vectors};

const el_api el_api_embeddings = {.name = "embeddings",
                                  .id_prefix = "embd-",
                                  .fields = FIELDS,
                                  .n_fields = sizeof FIELDS / sizeof *FIELDS,
                                  .prepare = el_embeddings_prepare,
                                  .check = check_embeddings,
                                  .read_prompts = el_embeddings_read_inputs,
                                  .writer = &WRITER};
