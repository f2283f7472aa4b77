/* An engine without a model, for what the server must survive whatever the engine does: one that is slow, full, or
 * fails.
 *
 * A token is a byte; the completion repeats the prompt's bytes, and ends with them. Where the last message of the user
 * begins with "say: ", it is what follows there. Its template shows tools, and writes calls as Hermes models do, and
 * reasoning in <think>. Adapters: "upper" answers in capitals, "slow" takes 50 steps a token, "fail" fails at the third
 * token; others, which can be added and removed, answer as the base does. Of a vector, value i counts the prompt's
 * tokens that are i modulo 8. It implements of edgelora.h what the server calls.
 *
 * Its router looks for adapters' names among the words of what it is to read: the first one found scores 0.9, the
 * second 0.85, and so on; the base 0.5, all others 0. Of the 3 best one within 0.1 of the best that has been used
 * before is preferred. The word "unroutable" makes it fail. */
#include "fake_engine.h"

#include <ctype.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "tokenizer/extension.h"

#define N_VOCAB 40000
#define EOS 257
#define SLOW 50
#define N_EMBD 8

typedef struct fake_adapter {
  uint64_t id, generation;
  char name[256], path[512];
  bool resident; /* a request has had it */
} fake_adapter;
enum { MAX_ADAPTERS = 16384 };

/* What the router thinks of a prompt, best first. */
typedef struct scored {
  char name[256];
  float score;
} scored;

typedef struct running {
  struct running *next;
  uint64_t id;
  el_request request;
  int32_t *prompt;
  char adapter[256];
  int slot; /* -1: waits */
  bool cancelled;
  int done, wait; /* tokens so far; steps until the next */
  char held[4];   /* bytes of a character that is not complete */
  size_t n_held;
  scored *scores; /* until the choice; NULL: none is to be made */
  size_t n_scores;
  int choosing; /* steps until it is made */
} running;

struct el_engine {
  fake_options options;
  pthread_t thread;
  pthread_mutex_t mutex;
  pthread_cond_t work;
  bool closing;
  running *list; /* oldest first: the first n_slots of them run */
  uint64_t next_id;
  el_stats stats;
  fake_adapter *adapters; /* [MAX_ADAPTERS] */
  size_t n_adapters;
  uint64_t adapter_id, generation;
};

struct el_tokenizer {
  int none;
};
static const el_tokenizer TOKENIZER;

const char *el_version(void) {
  return "0";
}
void el_free(void *p) {
  free(p);
}

/* ---------------------------------------------------------------- tokenizer */

el_status el_tokenize_at_most(const el_tokenizer *t, const char *text, size_t len, int flags, size_t most,
                              int32_t **out, size_t *n, el_error *err) {
  if (len > most) return el_fail(err, EL_ERR_TOO_LONG, "a text of %zu tokens; the limit is %zu", len, most);
  int32_t *ids = malloc((len + 1) * sizeof *ids);
  if (!ids) return el_fail(err, EL_ERR_NO_MEMORY, "out of memory");
  for (size_t i = 0; i < len; i++) ids[i] = (unsigned char)text[i];
  *out = ids;
  *n = len;
  return EL_OK;
}

el_status el_tokenize(const el_tokenizer *t, const char *text, size_t len, int flags, int32_t **out, size_t *n,
                      el_error *err) {
  return el_tokenize_at_most(t, text, len, flags, SIZE_MAX, out, n, err);
}

el_status el_detokenize(const el_tokenizer *t, const int32_t *tokens, size_t n, bool special, char **out, size_t *len,
                        el_error *err) {
  char *text = malloc(16 * n + 1);
  if (!text) return el_fail(err, EL_ERR_NO_MEMORY, "out of memory");
  size_t at = 0;
  for (size_t i = 0; i < n; i++) {
    if (tokens[i] < 256)
      text[at++] = (char)tokens[i];
    else if (special)
      at += (size_t)snprintf(text + at, 16, "<|%d|>", tokens[i]);
  }
  text[at] = 0;
  *out = text;
  *len = at;
  return EL_OK;
}

el_status el_detokenize_after(const el_tokenizer *t, int32_t before, const int32_t *tokens, size_t n, bool special,
                              char **out, size_t *len, el_error *err) {
  return el_detokenize(t, tokens, n, special, out, len, err);
}

int32_t el_tokenizer_n_vocab(const el_tokenizer *t) {
  return N_VOCAB;
}

int32_t el_tokenizer_n_base(const el_tokenizer *t) {
  return N_VOCAB;
}

int32_t el_tokenizer_eos(const el_tokenizer *t) {
  return EOS;
}

int32_t el_tokenizer_bos(const el_tokenizer *t) {
  return -1;
}

int32_t el_tokenizer_fim(const el_tokenizer *t, el_fim which) {
  return which <= EL_FIM_MIDDLE ? 300 + (int32_t)which : -1;
}

bool el_tokenizer_has_template(const el_tokenizer *t) {
  return true;
}

static const el_value *member(const el_value *object, const char *name) {
  for (size_t i = 0; i < object->object.n; i++)
    if (!strcmp(object->object.members[i].name, name)) return &object->object.members[i].value;
  return NULL;
}

static el_status add(char **text, size_t *len, const char *data, size_t n, el_error *err) {
  char *grown = realloc(*text, *len + n + 1);
  if (!grown) return el_fail(err, EL_ERR_NO_MEMORY, "out of memory");
  memcpy(grown + *len, data, n);
  *text = grown;
  *len += n;
  return EL_OK;
}

/* The texts of a content: a string, or an array of parts, with line ends between. */
static el_status add_content(char **text, size_t *len, const el_value *content, el_error *err) {
  if (!content) return EL_OK;
  if (content->type == EL_VALUE_STRING) return add(text, len, content->string.data, content->string.len, err);
  el_status status = EL_OK;
  for (size_t i = 0; content->type == EL_VALUE_ARRAY && !status && i < content->array.n; i++) {
    if (i) status = add(text, len, "\n", 1, err);
    if (!status) status = add_content(text, len, member(&content->array.items[i], "text"), err);
  }
  return status;
}

static el_status add_text(char **text, size_t *len, const char *s, el_error *err) {
  return add(text, len, s, strlen(s), err);
}

static el_status add_string(char **text, size_t *len, const el_value *v, el_error *err) {
  return v && v->type == EL_VALUE_STRING ? add(text, len, v->string.data, v->string.len, err) : EL_OK;
}

/* Arguments that are flat. */
static el_status add_arguments(char **text, size_t *len, const el_value *v, el_error *err) {
  el_status status = add_text(text, len, "{", err);
  for (size_t i = 0; v && v->type == EL_VALUE_OBJECT && !status && i < v->object.n; i++) {
    const el_member *m = &v->object.members[i];
    char number[32] = "true";
    if (m->value.type == EL_VALUE_INTEGER) snprintf(number, sizeof number, "%lld", (long long)m->value.integer);
    bool string = m->value.type == EL_VALUE_STRING;
    status = add_text(text, len, i ? ", \"" : "\"", err);
    if (!status) status = add_text(text, len, m->name, err);
    if (!status) status = add_text(text, len, string ? "\": \"" : "\": ", err);
    if (!status) status = string ? add_string(text, len, &m->value, err) : add_text(text, len, number, err);
    if (!status && string) status = add_text(text, len, "\"", err);
  }
  return status ? status : add_text(text, len, "}", err);
}

static el_status add_calls(char **text, size_t *len, const el_value *calls, el_error *err) {
  el_status status = EL_OK;
  for (size_t i = 0; calls && calls->type == EL_VALUE_ARRAY && !status && i < calls->array.n; i++) {
    const el_value *function = member(&calls->array.items[i], "function");
    status = add_text(text, len, "\n<tool_call>\n{\"name\": \"", err);
    if (!status) status = add_string(text, len, member(function, "name"), err);
    if (!status) status = add_text(text, len, "\", \"arguments\": ", err);
    if (!status) status = add_arguments(text, len, member(function, "arguments"), err);
    if (!status) status = add_text(text, len, "}\n</tool_call>", err);
  }
  return status;
}

static el_status add_tools(char **text, size_t *len, const el_value *tools, el_error *err) {
  el_status status = EL_OK;
  for (size_t i = 0; tools && !status && i < tools->array.n; i++) {
    status = add_text(text, len, "tool: ", err);
    const el_value *function = member(&tools->array.items[i], "function");
    if (!status) status = add_string(text, len, function ? member(function, "name") : NULL, err);
    if (!status) status = add_text(text, len, "\n", err);
  }
  return status;
}

/* Tools' names, then "role: content\n" of each message. */
static el_status render(const el_chat *chat, char **text, size_t *len, size_t *begin, size_t *end, el_error *err) {
  el_status status = add_tools(text, len, chat->tools, err);
  *begin = *end = 0;
  for (size_t i = 0; !status && i < chat->messages->array.n; i++) {
    const el_value *m = &chat->messages->array.items[i], *role = member(m, "role");
    const el_value *thought = member(m, "reasoning_content");
    status = add_string(text, len, role, err);
    if (!status) status = add_text(text, len, ": ", err);
    if (!status && thought) status = add_text(text, len, "<think>", err);
    if (!status) status = add_string(text, len, thought, err);
    if (!status && thought) status = add_text(text, len, "</think>", err);
    size_t at = *len;
    if (!status) status = add_content(text, len, member(m, "content"), err);
    if (role->string.len == 4 && !memcmp(role->string.data, "user", 4)) {
      *begin = at;
      *end = *len;
    }
    if (!status) status = add_calls(text, len, member(m, "tool_calls"), err);
    if (!status) status = add_text(text, len, "\n", err);
  }
  return status;
}

el_status el_chat_text(const el_tokenizer *t, const el_chat *chat, char **out, size_t *len, el_error *err) {
  size_t begin, end;
  char *text = NULL;
  *len = 0;
  el_status status = render(chat, &text, len, &begin, &end, err);
  if (!status && chat->add_generation_prompt) status = add_text(&text, len, "assistant: ", err);
  if (status)
    free(text);
  else
    *out = text;
  return status;
}

el_str el_token_bytes(const el_tokenizer *t, int32_t token, bool special) {
  return (el_str){"", 0};
}

bool el_tokenizer_is_eog(const el_tokenizer *t, int32_t token) {
  return token == EOS;
}

el_status el_chat_tokens(const el_tokenizer *t, const el_chat *chat, size_t most, int32_t **out, size_t *n_out,
                         size_t *begin, size_t *end, el_error *err) {
  char *text = NULL;
  size_t len = 0;
  el_status status = render(chat, &text, &len, begin, end, err);
  if (!status) status = el_tokenize_at_most(t, text, len, 0, most, out, n_out, err);
  free(text);
  return status;
}

/* ---------------------------------------------------------------- requests */

el_sampling el_sampling_default(void) {
  return (el_sampling){.top_p = 1, .repeat_penalty = 1, .repeat_last_n = 64};
}
el_request el_request_default(void) {
  return (el_request){.max_tokens = -1, .sampling = el_sampling_default()};
}

const el_tokenizer *el_engine_tokenizer(const el_engine *e) {
  return &TOKENIZER;
}

void el_engine_info(const el_engine *e, el_model_info *out) {
  *out = (el_model_info){.name = "fake",
                         .architecture = "none",
                         .isa = "none",
                         .n_vocab = N_VOCAB,
                         .n_embd = N_EMBD,
                         .ctx_size = e->options.ctx_size,
                         .n_slots = e->options.n_slots};
}

void el_engine_stats(el_engine *engine, el_stats *out) {
  el_engine *e = (el_engine *)engine;
  pthread_mutex_lock(&e->mutex);
  *out = e->stats;
  if (e->options.router) out->adapters_in_router = e->n_adapters;
  pthread_mutex_unlock(&e->mutex);
}

/* ---------------------------------------------------------------- adapters */

/* The mutex is held. */
static fake_adapter *find(el_engine *e, const char *name) {
  for (size_t i = 0; i < e->n_adapters; i++)
    if (!strcmp(e->adapters[i].name, name)) return &e->adapters[i];
  return NULL;
}

static el_adapter_info *describe(const fake_adapter *a, size_t n) {
  el_adapter_info *list = malloc(n * (sizeof *list + sizeof *a) + 1);
  fake_adapter *copy = (fake_adapter *)(void *)(list + n);
  if (!list) return NULL;
  for (size_t i = 0; i < n; i++) {
    copy[i] = a[i];
    list[i] = (el_adapter_info){.id = a[i].id,
                                .name = copy[i].name,
                                .path = copy[i].path,
                                .rank = 1,
                                .created = 1,
                                .generation = a[i].generation};
    if (a[i].resident) list[i].state = EL_ADAPTER_RESIDENT;
  }
  return list;
}

el_status el_adapter_list(el_engine *engine, el_adapter_info **out, size_t *n, el_error *err) {
  el_engine *e = (el_engine *)engine;
  pthread_mutex_lock(&e->mutex);
  *n = e->n_adapters;
  *out = describe(e->adapters, *n);
  pthread_mutex_unlock(&e->mutex);
  return *out ? EL_OK : el_fail(err, EL_ERR_NO_MEMORY, "out of memory");
}

el_status el_adapter_list_resident(el_engine *engine, el_adapter_info **out, size_t *n, el_error *err) {
  size_t all, some = 0;
  if (el_adapter_list(engine, out, &all, err)) return EL_ERR_NO_MEMORY;
  for (size_t i = 0; i < all; i++)
    if ((*out)[i].state == EL_ADAPTER_RESIDENT) (*out)[some++] = (*out)[i];
  *n = some;
  return EL_OK;
}

/* One that could not be offered, which no key's pattern but "*" and "broken" allows. */
el_status el_adapter_list_refused(const el_engine *engine, el_adapter_refusal **out, size_t *n, el_error *err) {
  *out = malloc(sizeof **out);
  if (!*out) return el_fail(err, EL_ERR_NO_MEMORY, "out of memory");
  static const char reason[] = "/srv/fake/broken: has no weights";
  **out = (el_adapter_refusal){"broken", "/srv/fake/broken", reason, reason + sizeof "/srv/fake/broken: " - 1};
  *n = 1;
  return EL_OK;
}

el_status el_adapter_get(el_engine *engine, const char *name, el_adapter_info **out, el_error *err) {
  el_engine *e = (el_engine *)engine;
  pthread_mutex_lock(&e->mutex);
  fake_adapter *a = find(e, name);
  *out = a ? describe(a, 1) : NULL;
  pthread_mutex_unlock(&e->mutex);
  return *out ? EL_OK : el_fail(err, EL_ERR_NOT_FOUND, "no adapter '%s'", name);
}

el_status el_adapter_get_by_id(el_engine *engine, uint64_t id, el_adapter_info **out, el_error *err) {
  el_engine *e = (el_engine *)engine;
  *out = NULL;
  pthread_mutex_lock(&e->mutex);
  for (size_t i = 0; i < e->n_adapters; i++)
    if (e->adapters[i].id == id) *out = describe(&e->adapters[i], 1);
  pthread_mutex_unlock(&e->mutex);
  return *out ? EL_OK : el_fail(err, EL_ERR_NOT_FOUND, "no such adapter");
}

/* Who is called "upper" brings two. */
el_status el_adapter_examples(el_engine *e, const char *name, char ***out, size_t *n, el_error *err) {
  static char first[] = "say it louder", second[] = "and <b>louder</b>";
  char **list = malloc(2 * sizeof *list);
  if (!list) return el_fail(err, EL_ERR_NO_MEMORY, "out of memory");
  list[0] = first;
  list[1] = second;
  *out = list;
  *n = strcmp(name, "upper") ? 0 : 2;
  return EL_OK;
}

el_status el_adapter_put(el_engine *e, const char *name, const char *path, const el_adapter_put_options *options,
                         uint64_t *generation, el_error *err) {
  el_status status = EL_OK;
  pthread_mutex_lock(&e->mutex);
  fake_adapter *old = find(e, name);
  uint64_t expected = options ? options->expected : EL_ANY_GENERATION;
  if (expected != EL_ANY_GENERATION && expected != (old ? old->generation : 0)) {
    status = el_fail(err, EL_ERR_CONFLICT, "adapter '%s': is of another generation", name);
  } else if (old && options && options->in_place) {
    old->generation = ++e->generation;
    snprintf(old->path, sizeof old->path, "%s", path);
  } else if (old || !strcmp(name, "fake")) {
    status = el_fail(err, EL_ERR_EXISTS, "adapter name '%s': is taken", name);
  } else if (e->n_adapters == MAX_ADAPTERS || strlen(name) > 255 || strlen(path) > 511) {
    status = el_fail(err, EL_ERR_NO_MEMORY, "no room for adapter '%s'", name);
  } else {
    fake_adapter *a = &e->adapters[e->n_adapters++];
    a->id = e->adapter_id++;
    a->generation = ++e->generation;
    strcpy(a->name, name);
    strcpy(a->path, path);
  }
  pthread_mutex_unlock(&e->mutex);
  return status;
}

el_status el_adapter_hold(el_engine *e, const char *name, const el_held_adapter **out, el_error *err) {
  pthread_mutex_lock(&e->mutex);
  const fake_adapter *a = find(e, name);
  uint64_t generation = a ? a->generation : 0;
  pthread_mutex_unlock(&e->mutex);
  if (!a && strcmp(name, "fake")) return el_fail(err, EL_ERR_NOT_FOUND, "no adapter '%s'", name);
  el_held_adapter *held = calloc(1, sizeof *held + strlen(name) + 1);
  if (!held) return el_fail(err, EL_ERR_NO_MEMORY, "out of memory");
  held->name = strcpy((char *)(held + 1), name);
  held->generation = generation;
  held->tokenizer = el_engine_tokenizer(e);
  *out = held;
  return EL_OK;
}

void el_adapter_release(el_engine *e, const el_held_adapter *held) {
  free((void *)held);
}

el_status el_adapter_remove_expected(el_engine *e, const char *name, uint64_t expected, el_error *err) {
  pthread_mutex_lock(&e->mutex);
  fake_adapter *a = find(e, name);
  if (a && expected != EL_ANY_GENERATION && expected != a->generation) {
    pthread_mutex_unlock(&e->mutex);
    return el_fail(err, EL_ERR_CONFLICT, "adapter '%s': is of another generation", name);
  }
  if (a) memmove(a, a + 1, (size_t)(e->adapters + e->n_adapters-- - (a + 1)) * sizeof *a);
  pthread_mutex_unlock(&e->mutex);
  return a ? EL_OK : el_fail(err, EL_ERR_NOT_FOUND, "no adapter '%s'", name);
}

el_status el_adapter_rescan(el_engine *e, el_rescan_result *out, el_error *err) {
  *out = (el_rescan_result){.n_added = 1, .n_failed = 2};
  return EL_OK;
}

const double *el_load_bucket_ms(void) {
  static const double ms[EL_LOAD_BUCKETS - 1] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000};
  return ms;
}

static bool known(el_engine *e, const char *name) {
  pthread_mutex_lock(&e->mutex);
  bool is = find(e, name) || !strcmp(name, "fake");
  pthread_mutex_unlock(&e->mutex);
  return is;
}

/* ---------------------------------------------------------------- submitting */

static int count(el_engine *e) {
  int n = 0;
  for (running *r = e->list; r; r = r->next) n++;
  return n;
}

static bool is_candidate(const el_request *q, const char *name) {
  const size_t n = q->adapter.router.n_candidates;
  for (size_t i = 0; i < n; i++) {
    const char *candidate = q->adapter.router.candidates[i];
    size_t len = strlen(candidate);
    bool pattern = len && candidate[len - 1] == '*';
    if (pattern ? !strncmp(candidate, name, len - 1) : !strcmp(candidate, name)) return true;
  }
  return !n;
}

/* The first place among the words of the focus where `name` stands; -1: it does not. */
static long find_word(const el_request *q, const char *name) {
  size_t end = q->focus_end ? q->focus_end : q->n_prompt, begin = q->focus_end ? q->focus_begin : 0, len = strlen(name);
  for (size_t i = begin; i + len <= end; i++) {
    size_t same = 0;
    while (same < len && q->prompt[i + same] == (unsigned char)name[same]) same++;
    bool before = i == begin || q->prompt[i - 1] == ' ', after = i + len == end || q->prompt[i + len] == ' ';
    if (same == len && before && after) return (long)i;
  }
  return -1;
}

typedef struct place {
  const char *name;
  long at;
} place;

static int by_place(const void *a, const void *b) {
  const place *x = a, *y = b;
  return (x->at > y->at) - (x->at < y->at);
}

/* EL_ERR_NOT_FOUND: there are no candidates. */
static el_status score(el_engine *e, const el_request *q, running *r, el_error *err) {
  pthread_mutex_lock(&e->mutex);
  place *found = calloc(e->n_adapters + 1, sizeof *found);
  r->scores = calloc(e->n_adapters + 1, sizeof *r->scores);
  size_t n = 0;
  for (size_t i = 0; found && r->scores && i <= e->n_adapters; i++) {
    const char *name = i ? e->adapters[i - 1].name : "fake";
    long at = i ? find_word(q, name) : LONG_MAX - 1;
    if (is_candidate(q, name)) found[n++] = (place){name, at < 0 ? LONG_MAX : at};
  }
  if (n) qsort(found, n, sizeof *found, by_place);
  for (size_t i = 0; i < n; i++) {
    strcpy(r->scores[i].name, found[i].name);
    r->scores[i].score = found[i].at == LONG_MAX       ? 0
                         : found[i].at == LONG_MAX - 1 ? 0.5f
                                                       : 0.9f - 0.05f * (float)(i < 6 ? i : 6);
  }
  r->n_scores = n;
  free(found);
  pthread_mutex_unlock(&e->mutex);
  return n ? EL_OK : el_fail_field(err, EL_ERR_NOT_FOUND, "candidates", "candidates: none of them is there");
}

static const char *who_answers(const el_adapter_selection *who) {
  const char *name = who->by == EL_BY_HOLD ? who->held->name : who->by == EL_BY_NAME ? who->name : NULL;
  for (size_t i = 0; who->by == EL_BY_SCALES && i < who->scales.n; i++) /* the last one that is not off */
    if (who->scales.list[i].scale != 0) name = who->scales.list[i].adapter;
  return name && *name ? name : "fake";
}

static bool only_decides(const el_request *q) {
  return q->adapter.by == EL_BY_ROUTER && q->adapter.router.only_decide;
}

el_status el_submit(el_engine *e, const el_request *q, uint64_t *id, el_error *err) {
  const bool routed = q->adapter.by == EL_BY_ROUTER;
  if (routed && !e->options.router)
    return el_fail_field(err, EL_ERR_INVALID, "adapter.by", "auto: there is no router that could choose an adapter");
  const char *adapter = who_answers(&q->adapter);
  if (!known(e, adapter)) return el_fail(err, EL_ERR_NOT_FOUND, "no adapter '%s'", adapter);
  if (q->n_prompt >= (size_t)e->options.ctx_size)
    return el_fail(err, EL_ERR_TOO_LONG, "the prompt has %zu tokens, but the context has %d", q->n_prompt,
                   e->options.ctx_size);
  running *r = calloc(1, sizeof *r);
  int32_t *prompt = malloc(q->n_prompt * sizeof *prompt);
  if (!r || !prompt) {
    free(r);
    free(prompt);
    return el_fail(err, EL_ERR_NO_MEMORY, "out of memory");
  }
  memcpy(prompt, q->prompt, q->n_prompt * sizeof *prompt);
  r->request = *q;
  r->request.prompt = prompt;
  r->prompt = prompt;
  r->slot = -1;
  strncpy(r->adapter, adapter, sizeof r->adapter - 1);
  r->choosing = e->options.choice_steps;
  el_status status = routed ? score(e, q, r, err) : EL_OK;
  if (status) {
    free(r->scores);
    free(prompt);
    free(r);
    return status;
  }
  pthread_mutex_lock(&e->mutex);
  bool full = count(e) >= e->options.n_slots + e->options.max_queue, closed = e->closing;
  if (!full && !closed) {
    *id = r->id = ++e->next_id;
    running **at = &e->list;
    while (*at) at = &(*at)->next;
    *at = r;
    e->stats.requests_submitted++;
    pthread_cond_signal(&e->work);
  }
  pthread_mutex_unlock(&e->mutex);
  if (!full && !closed) return EL_OK;
  free(r->scores);
  free(prompt);
  free(r);
  return full ? el_fail(err, EL_ERR_BUSY, "the queue is full") : el_fail(err, EL_ERR_CLOSED, "closing");
}

el_status el_request_list(el_engine *engine, el_request_info **out, size_t *n, el_error *err) {
  el_engine *e = (el_engine *)engine;
  pthread_mutex_lock(&e->mutex);
  *n = (size_t)count(e);
  el_request_info *list = calloc(*n + 1, sizeof *list + 256);
  char *name = (char *)(list + *n + 1);
  *out = list;
  for (running *r = e->list; list && r; r = r->next, list++, name += 256) {
    *list = (el_request_info){.id = r->id,
                              .adapter = strcmp(r->adapter, "fake") ? strcpy(name, r->adapter) : "",
                              .phase = r->slot < 0 ? EL_PHASE_QUEUED
                                       : r->scores ? EL_PHASE_DECISION
                                                   : EL_PHASE_GENERATION,
                              .slot = r->slot,
                              .prompt_tokens = (int)r->request.n_prompt,
                              .computed_tokens = r->slot < 0 ? 0 : (int)r->request.n_prompt + r->done,
                              .generated_tokens = r->done,
                              .max_tokens = r->request.max_tokens};
  }
  pthread_mutex_unlock(&e->mutex);
  return *out ? EL_OK : el_fail(err, EL_ERR_NO_MEMORY, "out of memory");
}

void el_cancel(el_engine *e, uint64_t id) {
  pthread_mutex_lock(&e->mutex);
  for (running *r = e->list; r; r = r->next)
    if (r->id == id) r->cancelled = true;
  pthread_mutex_unlock(&e->mutex);
}

/* ---------------------------------------------------------------- the engine's thread */

static bool is_whole(const char *s, size_t n) {
  unsigned char c = (unsigned char)s[0];
  return n == (c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4);
}

static void emit(el_engine *e, running *r, el_event_type type, el_finish finish, int32_t token) {
  el_token_logprob top[20];
  el_event ev = {.type = type, .request = r->id, .user = r->request.user};
  ev.text = r->held;
  if (type == EL_EVENT_TOKEN) {
    if (token < 256) r->held[r->n_held++] = (char)token;
    const size_t n_top = r->request.logprobs ? (size_t)r->request.top_logprobs : 0;
    ev.token = (el_event_token){.id = token, .logprob = -0.5f, .top = top, .n_top = n_top};
    for (size_t i = 0; i < n_top; i++) top[i] = (el_token_logprob){(token + (int32_t)i) % N_VOCAB, -0.5f - (float)i};
    bool whole = r->n_held && is_whole(r->held, r->n_held);
    ev.text_len = whole ? r->n_held : 0;
    if (whole) r->n_held = 0;
    e->stats.generated_tokens++;
  } else {
    ev.text_len = r->n_held;
    const int n_prompt = (int)r->request.n_prompt;
    ev.done = (el_event_done){.token.id = -1,
                              .finish = finish,
                              .prompt_tokens = n_prompt,
                              .completion_tokens = r->done,
                              .cached_tokens = n_prompt / 16 * 16};
    if (finish == EL_FINISH_ERROR)
      el_fail_about(&ev.done.error, EL_ERR_NO_MEMORY, "/srv/fake/fail.gguf", "the fake engine fails here");
  }
  pthread_mutex_unlock(&e->mutex);
  r->request.on_event(&ev);
  pthread_mutex_lock(&e->mutex);
}

static void emit_prompt(el_engine *e, running *r) {
  if (!r->request.prompt_logprobs) return;
  float *p = calloc(r->request.n_prompt, sizeof *p);
  if (!p) return;
  for (size_t i = 1; i < r->request.n_prompt; i++) p[i] = -1.5f;
  el_event ev = {.type = EL_EVENT_PROMPT,
                 .request = r->id,
                 .user = r->request.user,
                 .prompt = {.logprobs = p, .n = r->request.n_prompt}};
  pthread_mutex_unlock(&e->mutex);
  r->request.on_event(&ev);
  pthread_mutex_lock(&e->mutex);
  free(p);
}

static void emit_vector(el_engine *e, running *r) {
  float v[N_EMBD] = {0};
  for (size_t i = 0; i < r->request.n_prompt; i++) v[r->prompt[i] % N_EMBD]++;
  el_event ev = {.type = EL_EVENT_EMBEDDING, .request = r->id, .user = r->request.user, .embedding = {v, N_EMBD}};
  pthread_mutex_unlock(&e->mutex);
  r->request.on_event(&ev);
  pthread_mutex_lock(&e->mutex);
}

static bool is_resident(el_engine *e, const char *name) {
  const fake_adapter *a = find(e, name);
  return a ? a->resident : !strcmp(name, "fake");
}

static void choose(el_engine *e, running *r) {
  el_candidate list[EL_MAX_SCORES];
  size_t best = 0, n = r->n_scores < EL_MAX_SCORES ? r->n_scores : EL_MAX_SCORES;
  for (size_t i = 0; i < n; i++)
    list[i] = (el_candidate){r->scores[i].name, r->scores[i].score, is_resident(e, r->scores[i].name)};
  while (best < n && best < 3 && !(list[best].resident && list[best].score >= list[0].score - 0.1f)) best++;
  if (best == n || best == 3) best = 0;
  strcpy(r->adapter, list[best].name);
  e->stats.decisions++;
  e->stats.decisions_base += !strcmp(r->adapter, "fake");
  e->stats.decisions_resident += best > 0;
  e->stats.decision_tokens += r->request.n_prompt;
  e->stats.decision_seconds += 0.0015;
  size_t wanted = (size_t)r->request.adapter.router.n_scores;
  el_event ev = {
      .type = EL_EVENT_DECISION,
      .request = r->id,
      .user = r->request.user,
      .decision = {.adapter = r->adapter, .candidates = list, .n_candidates = wanted < n ? wanted : n, .ms = 1.5}};
  pthread_mutex_unlock(&e->mutex);
  r->request.on_event(&ev);
  pthread_mutex_lock(&e->mutex);
  free(r->scores);
  r->scores = NULL;
}

/* The prompt's tokens that the answer is made of. */
static void what_to_say(const el_request *q, size_t *from, size_t *n) {
  static const char SAY[] = "say: ";
  size_t len = sizeof SAY - 1, same = 0;
  while (same < len && q->focus_begin + same < q->focus_end && q->prompt[q->focus_begin + same] == SAY[same]) same++;
  bool told = same == len && q->focus_end > q->focus_begin + len;
  *from = told ? q->focus_begin + len : 0;
  *n = told ? q->focus_end - *from : q->n_prompt;
}

/* One step of one request. True: it has ended. */
static bool advance(el_engine *e, running *r) {
  const el_request *q = &r->request;
  if (r->cancelled || e->closing) {
    emit(e, r, EL_EVENT_DONE, EL_FINISH_CANCELLED, 0);
    return true;
  }
  if (r->scores && r->choosing-- > 0) return false;
  if (r->scores && find_word(q, "unroutable") >= 0) {
    emit(e, r, EL_EVENT_DONE, EL_FINISH_ERROR, 0);
    return true;
  }
  if (r->scores) choose(e, r);
  fake_adapter *used = only_decides(q) ? NULL : find(e, r->adapter);
  if (used) used->resident = true;
  if (r->wait-- > 0) return false;
  if (!r->done) emit_prompt(e, r);
  size_t from, n;
  what_to_say(q, &from, &n);
  bool slow = !strcmp(r->adapter, "slow"), ends = !q->ignore_eos && (size_t)r->done == n;
  if (q->embed) emit_vector(e, r);
  bool full =
      only_decides(q) || q->embed || r->done == q->max_tokens || (int)q->n_prompt + r->done == e->options.ctx_size;
  bool fails = !strcmp(r->adapter, "fail") && r->done == 3;
  if (ends || full || fails) {
    emit(e, r, EL_EVENT_DONE, fails ? EL_FINISH_ERROR : ends ? EL_FINISH_STOP : EL_FINISH_LENGTH, 0);
    return true;
  }
  int32_t token = r->prompt[from + (size_t)r->done++ % n];
  if (!strcmp(r->adapter, "upper") && token < 128) token = toupper(token);
  r->wait = slow ? SLOW : 0;
  emit(e, r, EL_EVENT_TOKEN, EL_FINISH_STOP, token);
  return false;
}

static void step(el_engine *e) {
  running **at = &e->list;
  int slot = 0;
  e->stats.slots_busy = 0;
  while (*at) {
    running *r = *at;
    if (slot < e->options.n_slots) r->slot = slot;
    bool runs = slot++ < e->options.n_slots || r->cancelled || e->closing;
    if (!runs || !advance(e, r)) {
      e->stats.slots_busy += runs;
      at = &r->next;
      continue;
    }
    *at = r->next;
    e->stats.requests_done += !r->cancelled;
    e->stats.requests_cancelled += r->cancelled;
    free(r->scores);
    free(r->prompt);
    free(r);
  }
  e->stats.queued = count(e) - e->stats.slots_busy;
}

static void *engine_main(void *arg) {
  el_engine *e = arg;
  pthread_mutex_lock(&e->mutex);
  while (!e->closing || e->list) {
    if (!e->list) {
      pthread_cond_wait(&e->work, &e->mutex);
      continue;
    }
    step(e);
    pthread_mutex_unlock(&e->mutex);
    if (e->options.step_us) nanosleep(&(struct timespec){0, e->options.step_us * 1000L}, NULL);
    pthread_mutex_lock(&e->mutex);
  }
  pthread_mutex_unlock(&e->mutex);
  return NULL;
}

el_engine *fake_engine_open(const fake_options *options) {
  el_engine *e = calloc(1, sizeof *e);
  if (!e) return NULL;
  e->options = *options;
  e->adapters = calloc(MAX_ADAPTERS, sizeof *e->adapters);
  if (!e->adapters) {
    free(e);
    return NULL;
  }
  pthread_mutex_init(&e->mutex, NULL);
  pthread_cond_init(&e->work, NULL);
  el_adapter_put(e, "upper", "", NULL, NULL, NULL);
  el_adapter_put(e, "slow", "", NULL, NULL, NULL);
  el_adapter_put(e, "fail", "", NULL, NULL, NULL);
  for (int i = 0; i < options->n_more; i++) {
    char name[32];
    snprintf(name, sizeof name, "more/%d", i);
    el_adapter_put(e, name, "", NULL, NULL, NULL);
    e->adapters[e->n_adapters - 1].resident = i < options->n_resident;
  }
  if (!pthread_create(&e->thread, NULL, engine_main, e)) return e;
  free(e->adapters);
  free(e);
  return NULL;
}

void el_engine_close(el_engine *e) {
  pthread_mutex_lock(&e->mutex);
  e->closing = true;
  pthread_cond_signal(&e->work);
  pthread_mutex_unlock(&e->mutex);
  pthread_join(e->thread, NULL);
  pthread_cond_destroy(&e->work);
  pthread_mutex_destroy(&e->mutex);
  free(e->adapters);
  free(e);
}

/* What it must be is not looked at. */
el_status el_constraint_open(el_engine *e, const el_constraint_source *source, const el_constraint **out,
                             el_error *err) {
  void *constraint = malloc(1);
  if (!constraint) return el_fail(err, EL_ERR_NO_MEMORY, "out of memory");
  *out = constraint;
  return EL_OK;
}

void el_constraint_close(el_engine *e, const el_constraint *constraint) {
  free((void *)constraint);
}
