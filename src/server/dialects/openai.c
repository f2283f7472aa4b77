/* OpenAI's chats and completions, and POST /v1/route, which accepts the bodies of both. */
#include "server/dialects/openai.h"

#include <string.h>

#include "server/requests/fields.h"

/* OpenAI's default for completions; the answer of a chat ends by itself or with the context. */
#define DEFAULT_TEXT_TOKENS 16

void el_openai_chat_defaults(el_api_request *r) {
  r->chat = true;
  r->request.max_tokens = -1;
  r->request.sampling.temperature = 1; /* OpenAI's default; the library's is greedy */
}

static void set_completion_defaults(el_api_request *r) {
  r->request.max_tokens = DEFAULT_TEXT_TOKENS;
  r->request.sampling.temperature = 1;
}

static void set_route_defaults(el_api_request *r) {
  r->route = true;
  r->request.max_tokens = 0;
  r->n_scores = EL_DEFAULT_SCORES;
}

/* POST /v1/route accepts a chat or one prompt. */
static bool check_route(el_api_parse *p) {
  el_api_request *r = p->out;
  if (p->messages && p->prompt)
    return el_api_fail(p->error, 400, "invalid_value", "prompt", "Give 'messages' or 'prompt', not both.");
  if (!p->messages && !p->prompt)
    return el_api_fail(p->error, 400, "missing_required_parameter", "messages",
                       "Missing required parameter: 'messages', or 'prompt'.");
  if (r->model && strcmp(r->model, EL_AUTO))
    return el_api_fail(p->error, 400, "invalid_value", "model",
                       "Invalid value for 'model': where the router's choice is asked for it is '" EL_AUTO
                       "', or left out.");
  r->chat = p->messages != NULL;
  return true;
}

static bool read_route_prompts(el_api_parse *p) {
  if (!(p->out->chat ? el_api_messages_read(p) : el_api_prompts_read(p))) return false;
  return p->out->n_prompts == 1 ||
         el_api_fail(p->error, 400, "invalid_value", "prompt",
                     "Invalid value for 'prompt': %zu prompts; the router is asked about one at a time.",
                     p->out->n_prompts);
}

/* Log-probabilities of the prompt are needed for its echo, or were asked for. */
static void want_prompt_logprobs(el_api_request *r) {
  el_request *q = &r->request;
  bool echoed = r->echo && q->logprobs;
  q->prompt_logprobs = echoed || r->prompt_logprobs;
  q->prompt_top_logprobs = r->n_prompt_logprobs;
  if (echoed && q->top_logprobs > q->prompt_top_logprobs) q->prompt_top_logprobs = q->top_logprobs;
}

/* Rules between fields, after all have been read. */
static bool check_chat_or_completion(el_api_parse *p) {
  el_api_request *r = p->out;
  el_request *q = &r->request;
  if (p->goes_on && p->has_opening && p->opening)
    return el_api_fail(p->error, 400, "invalid_value", "continue_final_message",
                       "'continue_final_message' and 'add_generation_prompt' cannot both be true.");
  if (p->stream_options && !r->stream) {
    r->include_usage = false; /* an answer in one piece has it anyway */
    if (!el_api_unknown(p, "stream_options", " It says something of streams alone.")) return false;
  }
  if (r->chat && q->top_logprobs && !q->logprobs)
    return el_api_fail(p->error, 400, "invalid_value", "top_logprobs",
                       "'top_logprobs' is allowed only when 'logprobs' is true.");
  if (p->has_best_of && p->best_of != r->n)
    return el_api_fail(p->error, 400, "unsupported_value", "best_of",
                       "'best_of' is supported only when it equals 'n'.");
  if (p->suffix && json_string_length(p->suffix) && r->echo && q->logprobs)
    return el_api_fail(p->error, 400, "unsupported_value", "suffix",
                       "'suffix' with 'echo' and 'logprobs' is not supported: the prompt's tokens are in another order "
                       "than its text.");
  if (r->stream && r->prompt_logprobs)
    return el_api_fail(p->error, 400, "unsupported_value", "prompt_logprobs",
                       "'prompt_logprobs' is not supported in streams.");
  want_prompt_logprobs(r);
  return true;
}

bool el_openai_check_chat(el_api_parse *p) {
  if (!p->messages)
    return el_api_fail(p->error, 400, "missing_required_parameter", "messages",
                       "Missing required parameter: 'messages'.");
  return check_chat_or_completion(p);
}

static bool check_completion_body(el_api_parse *p) {
  if (!p->prompt)
    return el_api_fail(p->error, 400, "missing_required_parameter", "prompt", "Missing required parameter: 'prompt'.");
  return check_chat_or_completion(p);
}

static bool read_text_prompts(el_api_parse *p) {
  const el_api_request *r = p->out;
  if (!el_api_prompts_read(p)) return false;
  return !r->scores || r->n_prompts == 1 ||
         el_api_fail(p->error, 400, "invalid_value", "edgelora.scores",
                     "'edgelora.scores' is allowed with one prompt; there are %zu.", r->n_prompts);
}

const el_api el_api_chat = {.name = "chat",
                            .id_prefix = "chatcmpl-",
                            .shared = EL_AT_CHAT,
                            .defaults = el_openai_chat_defaults,
                            .check = el_openai_check_chat,
                            .read_prompts = el_api_messages_read,
                            .writer = &el_openai_writer};

bool el_openai_write_count(el_api_parse *p, el_buf *out) {
  return el_buf_printf(out, "{\"object\":\"response.input_tokens\",\"input_tokens\":%zu}", p->out->prompts->n) ||
         el_api_no_memory(p);
}

const el_api el_api_chat_count = {.name = "chat count",
                                  .id_prefix = "chatcmpl-",
                                  .shared = EL_AT_CHAT,
                                  .defaults = el_openai_chat_defaults,
                                  .check = el_openai_check_chat,
                                  .read_prompts = el_api_messages_read,
                                  .answer = el_openai_write_count};

const el_api el_api_text = {.name = "completion",
                            .id_prefix = "cmpl-",
                            .shared = EL_AT_TEXT,
                            .defaults = set_completion_defaults,
                            .check = check_completion_body,
                            .read_prompts = read_text_prompts,
                            .writer = &el_openai_writer};

const el_api el_api_route = {.name = "route",
                             .id_prefix = "cmpl-",
                             .shared = EL_AT_ROUTE,
                             .tolerated = EL_AT_BOTH,
                             .defaults = set_route_defaults,
                             .check = check_route,
                             .read_prompts = read_route_prompts,
                             .writer = &el_route_writer};
