#include "engine/seq.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "base/wait.h"
#include "engine/sampler.h"
#include "tokenizer/extension.h"

static el_status check_tokens_of_request(const el_request *r, const el_seq_limits *limits, el_error *err) {
  if (!r->n_prompt || !r->prompt) return el_fail_field(err, EL_ERR_INVALID, "prompt", "prompt: has no tokens");
  if (r->max_tokens < -1)
    return el_fail_field(err, EL_ERR_INVALID, "max_tokens", "max_tokens: %d is below -1", r->max_tokens);
  size_t ctx = (size_t)limits->ctx_size;
  if (r->n_prompt > ctx)
    return el_fail_field(err, EL_ERR_TOO_LONG, "prompt", "prompt: %zu tokens, the context has %zu", r->n_prompt, ctx);
  if (r->n_prompt == ctx && r->max_tokens != 0)
    return el_fail_field(err, EL_ERR_TOO_LONG, "prompt",
                         "prompt: %zu tokens fill the context of %zu, there is no room for an answer", r->n_prompt,
                         ctx);
  for (size_t i = 0; i < r->n_prompt; i++)
    if (r->prompt[i] < 0 || r->prompt[i] >= limits->n_vocab)
      return el_fail_field(err, EL_ERR_INVALID, "prompt", "prompt[%zu]: token %d is not in 0 to %d", i,
                           (int)r->prompt[i], limits->n_vocab - 1);
  return EL_OK;
}

static el_status check_stop(const el_request *r, el_error *err) {
  if (r->n_stop > EL_MAX_STOPS)
    return el_fail_field(err, EL_ERR_INVALID, "stop", "stop: %zu strings, the limit is %d", r->n_stop, EL_MAX_STOPS);
  if (r->n_stop && !r->stop) return el_fail_field(err, EL_ERR_INVALID, "stop", "stop: is NULL");
  for (size_t i = 0; i < r->n_stop; i++) {
    const char *s = r->stop[i];
    if (!s || !*s) return el_fail_field(err, EL_ERR_INVALID, "stop", "stop[%zu]: is empty", i);
    size_t len = strnlen(s, EL_MAX_STOP_BYTES + 1);
    if (len > EL_MAX_STOP_BYTES)
      return el_fail_field(err, EL_ERR_INVALID, "stop", "stop[%zu]: is longer than %d bytes", i, EL_MAX_STOP_BYTES);
    for (size_t at = 0, n; at < len; at += n) {
      n = (size_t)el_utf8_length(s + at, len - at);
      if (!n) return el_fail_field(err, EL_ERR_INVALID, "stop", "stop[%zu]: is not UTF-8", i);
    }
  }
  return EL_OK;
}

static el_status check_list(const char *field, const int32_t *list, size_t n, size_t most, int n_vocab, el_error *err) {
  if (n > most) return el_fail_field(err, EL_ERR_INVALID, field, "%s: %zu tokens, the limit is %zu", field, n, most);
  if (n && !list) return el_fail_field(err, EL_ERR_INVALID, field, "%s: is NULL", field);
  for (size_t i = 0; i < n; i++)
    if (list[i] < 0 || list[i] >= n_vocab)
      return el_fail_field(err, EL_ERR_INVALID, field, "%s[%zu]: token %d is not in 0 to %d", field, i, (int)list[i],
                           n_vocab - 1);
  return EL_OK;
}

static el_status check_top(const char *field, int n, el_error *err) {
  if (n >= 0 && n <= EL_MAX_TOP_LOGPROBS) return EL_OK;
  return el_fail_field(err, EL_ERR_INVALID, field, "%s: %d is not in 0 to %d", field, n, EL_MAX_TOP_LOGPROBS);
}

static el_status check_request(const el_request *r, const el_seq_limits *limits, el_error *err) {
  const int n_vocab = limits->n_vocab;
  el_status status = check_tokens_of_request(r, limits, err);
  if (!status) status = el_sampling_check(&r->sampling, n_vocab, err);
  if (!status) status = check_stop(r, err);
  if (!status) status = check_list("stop_tokens", r->stop_tokens, r->n_stop_tokens, EL_MAX_STOP_TOKENS, n_vocab, err);
  if (!status)
    status = check_list("shown_tokens", r->shown_tokens, r->n_shown_tokens, EL_MAX_SHOWN_TOKENS, n_vocab, err);
  if (!status && r->min_tokens < 0)
    status = el_fail_field(err, EL_ERR_INVALID, "min_tokens", "min_tokens: %d is below 0", r->min_tokens);
  if (!status) status = check_top("top_logprobs", r->top_logprobs, err);
  if (!status && (r->weight < 0 || r->weight > EL_MAX_WEIGHT))
    status = el_fail_field(err, EL_ERR_INVALID, "weight", "weight: %d is not in 0 to %d", r->weight, EL_MAX_WEIGHT);
  if (!status) status = check_top("prompt_top_logprobs", r->prompt_top_logprobs, err);
  return status;
}

/* The pointers and the strings in one block, instead of those that were there; false: out of memory. */
static bool set_stop(el_seq *s, const char *const *strings, size_t n) {
  size_t bytes = n * sizeof *s->stop_strings;
  for (size_t i = 0; i < n; i++) bytes += strlen(strings[i]) + 1;
  const char **all = n ? malloc(bytes) : NULL;
  if (n && !all) return false;
  char *at = (char *)(all + n);
  for (size_t i = 0; i < n; i++) {
    all[i] = at;
    at = stpcpy(at, strings[i]) + 1;
  }
  free(s->stop_strings);
  s->stop_strings = all;
  s->stop.strings = all;
  s->stop.n = n;
  return true;
}

static int by_value(const void *a, const void *b) {
  int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
  return (x > y) - (x < y);
}

static bool has(const int32_t *sorted, size_t n, int32_t token) {
  return n && bsearch(&token, sorted, n, sizeof token, by_value);
}

bool el_seq_stops_at(const el_seq *s, int32_t token) {
  return has(s->lists, s->n_stop_tokens, token);
}

bool el_seq_shows(const el_seq *s, int32_t token) {
  return s->show_special || (s->n_shown && has(s->lists + s->n_stop_tokens, s->n_shown, token));
}

/* Behind the request's own biases come bans of all tokens that end a generation, where some must come first. */
static bool copy_bias(el_seq *s, const el_request *r, const el_seq_limits *limits) {
  size_t n = r->sampling.n_logit_bias, n_ends = 0;
  if (s->min_new > 0) {
    n_ends = s->n_stop_tokens;
    for (int i = 0; i < limits->n_vocab; i++) n_ends += el_tokenizer_is_eog(limits->tokenizer, i);
  }
  if (!(n + n_ends)) return true;
  if (!(s->bias = malloc(sizeof *s->bias * (n + n_ends)))) return false;
  if (n) memcpy(s->bias, r->sampling.logit_bias, sizeof *s->bias * n);
  for (size_t i = 0; n_ends && i < s->n_stop_tokens; i++)
    s->bias[n + s->n_ends++] = (el_logit_bias){s->lists[i], EL_BANNED_BIAS};
  for (int i = 0; n_ends && i < limits->n_vocab; i++)
    if (el_tokenizer_is_eog(limits->tokenizer, i)) s->bias[n + s->n_ends++] = (el_logit_bias){i, EL_BANNED_BIAS};
  s->sampling.logit_bias = s->bias;
  return true;
}

static bool copy_tokens(const int32_t *from, size_t n, int32_t **own, const int32_t **out) {
  if (!n) return true;
  if (!(*own = malloc(sizeof **own * n))) return false;
  memcpy(*own, from, sizeof **own * n);
  *out = *own;
  return true;
}

static bool copy_lists(el_seq *s, const el_request *r) {
  size_t n_stop = r->n_stop_tokens, n_shown = r->n_shown_tokens, n_allowed = r->sampling.n_allowed_tokens;
  if (n_stop + n_shown) {
    if (!(s->lists = malloc(sizeof *s->lists * (n_stop + n_shown)))) return false;
    if (n_stop) memcpy(s->lists, r->stop_tokens, sizeof *s->lists * n_stop);
    if (n_shown) memcpy(s->lists + n_stop, r->shown_tokens, sizeof *s->lists * n_shown);
    qsort(s->lists, n_stop, sizeof *s->lists, by_value);
    qsort(s->lists + n_stop, n_shown, sizeof *s->lists, by_value);
    s->n_stop_tokens = n_stop;
    s->n_shown = n_shown;
  }
  return copy_tokens(r->sampling.allowed_tokens, n_allowed, &s->allowed, &s->sampling.allowed_tokens) &&
         copy_tokens(r->sampling.bad_words, r->sampling.n_bad_words, &s->bad_words, &s->sampling.bad_words);
}

static bool copy(el_seq *s, const el_request *r, const el_seq_limits *limits) {
  s->sampling.logit_bias = NULL;
  s->sampling.allowed_tokens = s->sampling.bad_words = NULL;
  s->tokens = malloc(sizeof *s->tokens * r->n_prompt);
  if (!s->tokens || !set_stop(s, r->stop, r->n_stop) || !copy_lists(s, r) || !copy_bias(s, r, limits)) return false;
  memcpy(s->tokens, r->prompt, sizeof *s->tokens * r->n_prompt);
  return true;
}

el_status el_seq_new(const el_request *r, const el_seq_limits *limits, el_seq **out, el_error *err) {
  el_decision *decision = NULL;
  el_embedding *embedding = NULL;
  el_status status = check_request(r, limits, err);
  if (!status) status = el_embedding_new(r, &limits->embedding, &embedding, err);
  if (!status && r->adapter.by == EL_BY_ROUTER) status = el_decision_new(r, &limits->decision, &decision, err);
  el_seq *s = status ? NULL : calloc(1, sizeof *s);
  if (!s) {
    el_decision_free(decision);
    el_embedding_free(embedding);
    if (status) return status;
    return el_fail(err, EL_ERR_NO_MEMORY, "request: out of memory");
  }
  s->decision = decision;
  s->embedding = embedding;
  s->tokenizer = limits->tokenizer;
  s->base_tokenizer = limits->tokenizer ? el_tokenizer_base(limits->tokenizer) : NULL;
  s->constraint = r->constraint;
  if (r->constraint) el_constraint_keep(r->constraint);
  int room = limits->ctx_size - (int)r->n_prompt;
  s->sampling = r->sampling;
  s->sampling.seed += r->seed_offset;
  s->seed_offset = r->seed_offset;
  s->preset_fields = r->preset_fields & ~(unsigned)(r->constraint ? EL_PRESET_SCHEMA : 0);
  s->n_prompt = s->n_tokens = (int)r->n_prompt;
  s->max_new = r->max_tokens < 0 || r->max_tokens > room ? room : r->max_tokens;
  s->min_new = r->min_tokens;
  s->most_guessed = r->speculate < 0 || r->speculate > EL_MAX_SPECULATE ? EL_MAX_SPECULATE : r->speculate;
  s->prefix_domain = r->prefix_domain;
  s->ignore_eos = r->ignore_eos;
  s->include_stop = s->stop.include = r->include_stop;
  s->show_special = r->show_special;
  s->logprobs = r->logprobs;
  s->wants_prompt_logprobs = r->prompt_logprobs;
  const size_t from = r->prompt_logprobs_from;
  /* That of the first token is 0: nothing is before it. */
  s->prompt_logprobs_from = from < 1 ? 1 : from > r->n_prompt ? (int)r->n_prompt : (int)from;
  s->n_top = r->top_logprobs < limits->n_vocab ? r->top_logprobs : limits->n_vocab;
  s->n_prompt_top = r->prompt_top_logprobs < limits->n_vocab ? r->prompt_top_logprobs : limits->n_vocab;
  if (!r->prompt_logprobs) s->n_prompt_top = 0;
  s->on_event = r->on_event;
  s->user = r->user;
  s->submitted_ns = el_now_ns();
  atomic_init(&s->shown.slot, -1);
  el_cond_init(&s->changed);
  if (!copy(s, r, limits)) {
    el_seq_free(s);
    return el_fail(err, EL_ERR_NO_MEMORY, "request: out of memory");
  }
  if (decision) {
    decision->asked = s->sampling;
    decision->asked_max_new = s->max_new;
  }
  *out = s;
  return EL_OK;
}

bool el_seq_apply_preset(el_seq *s, const el_preset *p, const el_constraint *schema) {
  unsigned set = p ? p->set & s->preset_fields : 0;
  if (s->preset_fields & EL_PRESET_STOP && !set_stop(s, p ? p->stop : NULL, set & EL_PRESET_STOP ? p->n_stop : 0))
    return false;
  s->sampling = s->decision->asked;
  if (p) el_sampling_apply_preset(&s->sampling, p, set);
  if (set & EL_PRESET_SEED) s->sampling.seed += s->seed_offset;
  s->max_new = s->decision->asked_max_new; /* what it needs to run is there for so many */
  if (set & EL_PRESET_MAX_TOKENS && p->max_tokens < s->max_new) s->max_new = p->max_tokens;
  if (s->preset_fields & EL_PRESET_SCHEMA) {
    el_matcher_end(&s->matcher);
    el_constraint_release(s->constraint);
    s->constraint = schema;
    if (schema) el_matcher_begin(&s->matcher, el_constraint_compiled(schema));
  }
  return true;
}

el_status el_seq_start(el_seq *s, bool speculates, el_error *err) {
  size_t n = (size_t)s->n_prompt + (size_t)s->max_new;
  int32_t *tokens = realloc(s->tokens, sizeof *tokens * n);
  if (tokens) s->tokens = tokens;
  int n_read = s->decision ? s->decision->n : 0;
  const size_t n_pages = (size_t)el_pages_for((int)n > n_read ? (int)n : n_read);
  s->pages = malloc(sizeof *s->pages * n_pages * 2); /* in one block */
  s->windowed = s->pages ? s->pages + n_pages : NULL;
  if (s->wants_prompt_logprobs) s->prompt_logprobs = calloc((size_t)s->n_prompt, sizeof *s->prompt_logprobs);
  s->n_prompt_logprobs = s->prompt_logprobs_from;
  if (s->n_prompt_top) s->prompt_top = calloc((size_t)s->n_prompt * (size_t)s->n_prompt_top, sizeof *s->prompt_top);
  if (!tokens || !s->pages || (s->wants_prompt_logprobs && !s->prompt_logprobs) || (s->n_prompt_top && !s->prompt_top))
    return el_fail(err, EL_ERR_NO_MEMORY, "request: out of memory for %zu tokens", n);
  el_status status = speculates && s->most_guessed && s->max_new > 1 ? el_draft_new((int)n, &s->draft, err) : EL_OK;
  if (status) return status;
  if (s->constraint) el_matcher_begin(&s->matcher, el_constraint_compiled(s->constraint));
  if (s->embedding) return el_embedding_start(s->embedding, err);
  return el_seq_chooses(s) ? el_decision_start(s->decision, err) : EL_OK;
}

el_status el_seq_settle_tokens(el_seq *s, el_error *err) {
  const el_tokenizer *own = NULL, *before = s->tokenizer;
  if (!s->base_tokenizer) return EL_OK; /* a simulation: nobody reads its tokens */
  if (s->adapter && !el_seq_chooses(s)) {
    el_status status = el_entry_tokens(s->adapter, &own, err); /* the load has read them */
    if (status) return status;
  }
  s->tokenizer = own ? own : s->base_tokenizer;
  const int32_t n = el_tokenizer_n_vocab(s->tokenizer);
  for (int i = 0; s->tokenizer != before && i < s->n_tokens; i++)
    if (s->tokens[i] >= n)
      return el_fail(err, EL_ERR_INVALID, "token %d of the sequence is %d, and there are %d", i, (int)s->tokens[i],
                     (int)n);
  const el_adapter_more *more = own ? s->adapter->adapter->more : NULL;
  if (n <= el_tokenizer_n_vocab(s->base_tokenizer) || (more && more->n_vocab >= n)) return EL_OK;
  return el_fail_about(err, EL_ERR_FORMAT, s->adapter->name, "its tokenizer has %d tokens, and its weights fewer",
                       (int)n);
}

void el_seq_end(el_seq *s) {
  free(s->tokens);
  free(s->pages);
  free(s->prompt_logprobs);
  free(s->prompt_top);
  free(s->bias);
  free(s->allowed);
  free(s->bad_words);
  free(s->lists);
  el_draft_free(&s->draft);
  el_decision_free(s->decision);
  el_embedding_free(s->embedding);
  el_matcher_end(&s->matcher);
  el_constraint_release(s->constraint);
  s->constraint = NULL;
  s->decision = NULL;
  s->embedding = NULL;
  s->tokens = NULL;
  s->pages = s->windowed = NULL;
  s->prompt_logprobs = NULL;
  s->prompt_top = NULL;
  s->bias = NULL;
  s->allowed = s->bad_words = s->lists = NULL;
  s->n_stop_tokens = s->n_shown = s->n_ends = 0;
}

void el_seq_free(el_seq *s) {
  if (!s) return;
  el_seq_end(s);
  el_stop_free(&s->stop);
  el_mailbox_free(&s->box);
  pthread_cond_destroy(&s->changed);
  free(s->stop_strings);
  free(s);
}
