#include "server/request.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/json_guard.h"
#include "server/fields.h"

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

bool el_api_request_parse(const el_api_setup *setup, const char *body, size_t len, el_api_request *out, el_buf *answer,
                          el_api_error *e) {
  const el_api *api = setup->api;
  el_api_parse p = {.setup = setup,
                    .tokenizer = setup->tokenizer,
                    .max_choices = setup->max_choices,
                    .max_tokens = setup->max_tokens,
                    .out = out,
                    .error = e};
  out->api = api;
  out->n = 1;
  out->request = el_request_default();
  if (api->defaults) api->defaults(out);
  json_t *j = el_api_body_load(body, len, false, e);
  if (!j) return false;
  bool ok = (!api->prepare || api->prepare(&p, j)) && el_api_fields_read(&p, j) && (!api->check || api->check(&p)) &&
            el_structured_open(&p) && find_model(&p, setup) && (!api->read_prompts || api->read_prompts(&p)) &&
            (!api->answer || api->answer(&p, answer));
  el_structured_free(&p.structured);
  json_decref(j);
  if (!ok || api->answer) return ok;

  el_request *q = &out->request;
  if (!p.has_seed && getrandom(&q->sampling.seed, sizeof q->sampling.seed, 0) != sizeof q->sampling.seed)
    return el_api_fail(e, 500, "no_entropy", NULL, "The system gave no random seed.");
  q->adapter = out->model;
  q->stop = (const char *const *)out->stop;
  q->n_stop = out->n_stop;
  q->sampling.logit_bias = out->bias;
  q->sampling.n_logit_bias = out->n_bias;
  return true;
}

void el_api_request_free(el_api_request *r) {
  if (r->own) r->free_own(r->own);
  el_calling_free(&r->calling);
  if (r->constraint) el_constraint_close(r->engine, r->constraint);
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
