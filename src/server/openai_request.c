#include "server/openai_request.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/json_guard.h"
#include "server/openai_fields.h"

/* OpenAI's default for completions; a chat answer ends by itself or with the context. */
#define DEFAULT_TEXT_TOKENS 16

static void set_defaults(el_api_request *r) {
  r->n = 1;
  r->request = el_request_default();
  r->request.max_tokens = r->route ? 0 : r->chat ? -1 : DEFAULT_TEXT_TOKENS;
  if (r->route) r->request.n_scores = EL_DEFAULT_SCORES;
  r->request.sampling.temperature = 1; /* OpenAI's default; the library's is greedy */
}

/* POST /v1/route takes what either of the others takes: a chat, or one prompt. */
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
  r->request.only_choose = true;
  return true;
}

static bool check_route_prompts(el_api_parse *p) {
  return !p->out->route || p->out->n_prompts == 1 ||
         el_api_fail(p->error, 400, "invalid_value", "prompt",
                     "Invalid value for 'prompt': %zu prompts; the router is asked about one at a time.",
                     p->out->n_prompts);
}

/* Rules between fields, after all have been read. */
static bool check_together(el_api_parse *p) {
  el_api_request *r = p->out;
  el_request *q = &r->request;
  if (r->route) return check_route(p);
  if (r->chat && !p->messages)
    return el_api_fail(p->error, 400, "missing_required_parameter", "messages",
                       "Missing required parameter: 'messages'.");
  if (!r->chat && !p->prompt)
    return el_api_fail(p->error, 400, "missing_required_parameter", "prompt", "Missing required parameter: 'prompt'.");
  if (p->tools && !p->no_tool_choice)
    return el_api_fail(
        p->error, 400, "unsupported_parameter", "tools",
        "'tools' is supported with 'tool_choice': 'none' alone: the chat template gets them, but answers "
        "are not looked through for calls.");
  if (p->goes_on && p->has_opening && p->opening)
    return el_api_fail(p->error, 400, "invalid_value", "continue_final_message",
                       "'continue_final_message' and 'add_generation_prompt' cannot both be true.");
  if (p->stream_options && !r->stream)
    return el_api_fail(p->error, 400, "invalid_value", "stream_options",
                       "'stream_options' is allowed only when 'stream' is true.");
  if (p->has_top_logprobs && !q->logprobs)
    return el_api_fail(p->error, 400, "invalid_value", "top_logprobs",
                       "'top_logprobs' is allowed only when 'logprobs' is true.");
  if (p->has_best_of && p->best_of != r->n)
    return el_api_fail(p->error, 400, "unsupported_value", "best_of",
                       "'best_of' is supported only when it equals 'n'.");
  if (r->echo && q->logprobs && q->top_logprobs)
    return el_api_fail(
        p->error, 400, "unsupported_value", "logprobs",
        "'echo' with 'logprobs' above 0 is not supported: there are no alternatives for the prompt's tokens. "
        "Use 'logprobs': 0.");
  return true;
}

/* The body may be 2048 levels deep (jansson's own limit), which takes some hundred kilobytes of stack here. */
json_t *el_api_body_load(const char *body, size_t len, bool array, el_api_error *e) {
  json_error_t why;
  if (!len) {
    el_api_fail(e, 400, "invalid_json", NULL, "The request has no body; expected %s.",
                array ? "a JSON array" : "a JSON object");
    return NULL;
  }
  bool no_memory;
  json_t *j = el_json_load(body, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why, &no_memory);
  if (!j && no_memory) {
    el_api_fail(e, 500, "no_memory", NULL, "Out of memory.");
  } else if (!j) {
    el_api_fail(e, 400, "invalid_json", NULL, "The body is not valid JSON: %s (line %d, column %d).", why.text,
                why.line, why.column);
  } else if (array ? !json_is_array(j) : !json_is_object(j)) {
    el_api_fail(e, 400, "invalid_json", NULL, "The body must be %s, but it is %s.",
                array ? "a JSON array" : "a JSON object", el_json_type_name(j));
    json_decref(j);
    j = NULL;
  }
  return j;
}

/* Who is to answer, and what that one's preset says. */
static bool find_model(el_api_parse *p, const el_api_setup *setup) {
  const el_held_adapter *held = NULL;
  if (!setup->resolve(setup->user, p->out, &held, p->error)) return false;
  p->chat_template = held ? held->chat_template : NULL;
  p->system = held && held->preset ? held->preset->system : NULL;
  /* Which adapters are applied is said in full where they have scales: no preset is meant. */
  p->out->request.preset_fields = p->out->has_lora ? 0 : EL_PRESET_ALL & ~p->given;
  return true;
}

bool el_api_request_parse(const el_api_setup *setup, el_api_kind kind, const char *body, size_t len,
                          el_api_request *out, el_api_error *e) {
  el_api_parse p = {.tokenizer = setup->tokenizer,
                    .max_choices = setup->max_choices,
                    .max_tokens = setup->max_tokens,
                    .out = out,
                    .error = e};
  out->chat = kind == EL_API_CHAT;
  out->route = kind == EL_API_ROUTE;
  set_defaults(out);
  json_t *j = el_api_body_load(body, len, false, e);
  if (!j) return false;
  bool ok = el_api_fields_read(&p, j) && check_together(&p) && find_model(&p, setup) &&
            (out->chat ? el_api_messages_read(&p) : el_api_prompts_read(&p)) && check_route_prompts(&p);
  json_decref(j);
  if (!ok) return false;
  if (out->scores && out->n_prompts > 1 && !out->route)
    return el_api_fail(e, 400, "invalid_value", "edgelora.scores",
                       "'edgelora.scores' is allowed with one prompt; there are %zu.", out->n_prompts);

  el_request *q = &out->request;
  if (!p.has_seed && getrandom(&q->sampling.seed, sizeof q->sampling.seed, 0) != sizeof q->sampling.seed)
    return el_api_fail(e, 500, "no_entropy", NULL, "The system gave no random seed.");
  q->adapter = out->model;
  q->stop = (const char *const *)out->stop;
  q->n_stop = out->n_stop;
  q->sampling.logit_bias = out->bias;
  q->sampling.n_logit_bias = out->n_bias;
  q->prompt_logprobs = out->echo && q->logprobs;
  return true;
}

void el_api_request_free(el_api_request *r) {
  free(r->model);
  for (size_t i = 0; i < r->n_prompts; i++) {
    free(r->prompts[i].tokens);
    free(r->prompts[i].text);
  }
  free(r->prompts);
  for (size_t i = 0; i < r->n_stop; i++) free(r->stop[i]);
  free(r->stop);
  free(r->bias);
  for (size_t i = 0; i < r->n_candidates; i++) free(r->candidates[i]);
  free(r->candidates);
  *r = (el_api_request){0};
}
