/* POST /embedding and /embeddings in llama-server's form. */
#include <limits.h>
#include <string.h>

#include "base/json_out.h"
#include "server/dialects/embeddings.h"
#include "server/dialects/llama.h"

/* "input", or "content" from older clients. */
static bool read_texts(el_api_parse *p, const el_field *f, const json_t *v) {
  if (p->prompt && strcmp(p->prompt_name, "input") == 0) return true;
  p->prompt = v;
  p->prompt_name = f->name;
  return true;
}

/* -1: not normalised; 2: of length 1, the default. */
static bool read_normalize(el_api_parse *p, const el_field *f, const json_t *v) {
  json_int_t n;
  if (!el_read_integer(p, f, v, &n)) return false;
  p->out->vector.not_normalised = n == -1;
  return n == -1 || n == 2 || el_api_value_error(p, f, "supported are 2 (of length 1) and -1 (as it is)");
}

static bool read_llama_encoding(el_api_parse *p, const el_field *f, const json_t *v) {
  if (!json_is_string(v)) return el_api_type_error(p, f->name, "a string", v);
  return !strcmp(json_string_value(v), "float") ||
         el_api_value_error(p, f, "supported is 'float'; /v1/embeddings has 'base64' too");
}

static const el_field FIELDS[] = {
    EL_FIELD("model", 0, el_read_model),
    EL_FIELD("input", 0, read_texts),
    EL_FIELD("content", 0, read_texts),
    {"embd_normalize", 0, read_normalize, 0, -1, INT_MAX, 0},
    EL_FIELD("encoding_format", 0, read_llama_encoding),
    EL_FIELD("user", 0, el_read_ignored),
};

static bool check_llama_embeddings(el_api_parse *p) {
  return p->prompt || el_api_fail(p->error, 400, "missing_required_parameter", "input",
                                  "Missing required parameter: 'input', or 'content'.");
}

static bool read_llama_inputs(el_api_parse *p) {
  return el_embeddings_one_reader(p) && el_llama_prompts_read(p);
}

/* Each vector is the only row of a list, as without pooling there would be one row per token. */
static bool write_llama_vectors(el_reply *r, el_buf *out) {
  bool ok = el_buf_append(out, "[", 1);
  for (size_t i = 0; ok && i < r->n_choices; i++) {
    const el_choice *c = &r->choices[i];
    ok = el_buf_printf(out, "%s{\"index\":%zu,\"embedding\":[", i ? "," : "", i) &&
         el_vector_write(c->vector, c->n_vector, r->request->vector, out) && el_buf_append(out, "]", 1) &&
         el_reply_write_warnings(r, c, out) && el_buf_append(out, "}", 1);
  }
  return ok && el_buf_append(out, "]", 1);
}

static const el_writer WRITER = {.whole = write_llama_vectors};

const el_api el_llama_embeddings = {.name = "llama embeddings",
                                    .id_prefix = "embd-",
                                    .fields = FIELDS,
                                    .n_fields = sizeof FIELDS / sizeof *FIELDS,
                                    .prepare = el_embeddings_prepare,
                                    .check = check_llama_embeddings,
                                    .read_prompts = read_llama_inputs,
                                    .writer = &WRITER,
                                    .write_error = el_llama_write_error};
