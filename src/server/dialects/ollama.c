/* Ollama's dialect: how each endpoint reads and writes. ollama_request.c rewrites a body to OpenAI's fields, so
 * Ollama's chats can do what OpenAI's can. */
#include "server/dialects/ollama.h"

#include <stdlib.h>

#include "server/dialects/embeddings.h"

/* The defaults in Ollama's documentation. */
static void set_ollama_defaults(el_api_request *r) {
  el_sampling *s = &r->request.sampling;
  r->stream = true;
  r->request.max_tokens = -1;
  s->temperature = 0.8f;
  s->top_k = 40;
  s->top_p = 0.9f;
  s->repeat_penalty = 1.1f;
  s->repeat_last_n = 64;
}

static void set_ollama_chat_defaults(el_api_request *r) {
  set_ollama_defaults(r);
  r->chat = true;
}

/* A request that only loads the model, which is loaded already; nothing is generated. */
static bool is_load(const el_api_parse *p) {
  return !p->messages && !p->prompt;
}

static bool read_nothing(el_api_parse *p) {
  p->out->n_prompts = 0;
  p->out->automatic = false; /* there is nothing to choose for */
  p->out->prompts = calloc(1, sizeof *p->out->prompts);
  return p->out->prompts || el_api_no_memory(p);
}

static bool read_ollama_prompts(el_api_parse *p) {
  if (is_load(p)) return read_nothing(p);
  return p->out->chat ? el_api_messages_read(p) : el_api_prompts_read(p);
}

static bool check_ollama_input(el_api_parse *p) {
  return p->prompt || el_api_fail(p->error, 400, "missing_required_parameter", "input",
                                  "Missing required parameter: 'input', or 'prompt' at /api/embeddings.");
}

bool el_ollama_refuse(el_api_error *e) {
  return el_api_fail(
      e, 403, "unsupported_operation", NULL,
      "Models are not pulled, created, copied or deleted here: the base model is the server's, and its "
      "adapters are models. POST /v1/load_lora_adapter adds one, /v1/unload_lora_adapter takes it away.");
}

static bool refuse_model_change(el_api_parse *p, json_t *body) {
  return el_ollama_refuse(p->error);
}

const el_api el_api_ollama_chat = {.name = "ollama chat",
                                   .id_prefix = "chat-",
                                   .shared = EL_AT_CHAT,
                                   .defaults = set_ollama_chat_defaults,
                                   .prepare = el_ollama_prepare_chat,
                                   .read_prompts = read_ollama_prompts,
                                   .writer = &el_ollama_chat_writer,
                                   .write_error = el_ollama_write_error};

const el_api el_api_ollama_generate = {.name = "ollama generate",
                                       .id_prefix = "generate-",
                                       .shared = EL_AT_CHAT | EL_AT_TEXT,
                                       .defaults = set_ollama_chat_defaults,
                                       .prepare = el_ollama_prepare_generate,
                                       .read_prompts = read_ollama_prompts,
                                       .writer = &el_ollama_generate_writer,
                                       .write_error = el_ollama_write_error};

static const el_field EMBED_FIELDS[] = {
    EL_FIELD("model", 0, el_read_model),
    EL_FIELD("prompt", 0, el_read_prompt),
    EL_FIELD("dimensions", 0, el_read_dimensions),
};

#define EMBED(label, put)                                                                       \
  {                                                                                             \
    .name = label, .id_prefix = "embd-", .fields = EMBED_FIELDS,                                \
    .n_fields = sizeof EMBED_FIELDS / sizeof *EMBED_FIELDS, .prepare = el_ollama_prepare_embed, \
    .check = check_ollama_input, .read_prompts = el_embeddings_read_inputs, .writer = &put,     \
    .write_error = el_ollama_write_error                                                        \
  }
const el_api el_api_ollama_embed = EMBED("ollama embed", el_ollama_embed_writer);
const el_api el_api_ollama_embeddings = EMBED("ollama embeddings", el_ollama_embeddings_writer);

static const el_field SHOW_FIELDS[] = {
    EL_FIELD("model", 0, el_read_model),     EL_FIELD("verbose", 0, el_read_ignored),
    EL_FIELD("system", 0, el_read_ignored),  EL_FIELD("template", 0, el_read_ignored),
    EL_FIELD("options", 0, el_read_ignored),
};

const el_api el_api_ollama_show = {.name = "ollama show",
                                   .id_prefix = "show-",
                                   .fields = SHOW_FIELDS,
                                   .n_fields = sizeof SHOW_FIELDS / sizeof *SHOW_FIELDS,
                                   .prepare = el_ollama_prepare_model,
                                   .answer = el_ollama_show,
                                   .write_error = el_ollama_write_error};

static bool answer_never(el_api_parse *p, el_buf *out) {
  return false;
}

const el_api el_api_ollama_refused = {.name = "ollama models",
                                      .id_prefix = "model-",
                                      .prepare = refuse_model_change,
                                      .answer = answer_never,
                                      .write_error = el_ollama_write_error};
