/* POST /rerank and /reranking: ranks documents by their relevance to a query. Bodies and answers have Jina's form,
 * which llama-server uses (`documents`, "results"), or that of text-embeddings-inference (`texts`, an array).
 *
 * A generative model ranks by the likelihood of the query. It reads a document, a blank line and the query. The score
 * is the geometric mean of the probabilities of the query's tokens. So every model and every adapter can rank, in the
 * steps of all other requests, and a document's score has the same bits whatever it is ranked with. */
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_out.h"
#include "server/dialects/embeddings.h"
#include "server/dialects/llama.h"

/* Between a document and the query. */
static const char BLANK_LINE[] = "\n\n";

/* The dialect's state while a body is read. */
typedef struct state {
  const json_t *query, *documents, *texts;
} state;

static state *rerank_state_of(el_api_parse *p) {
  return p->out->own;
}

static bool prepare_rerank(el_api_parse *p, json_t *body) {
  p->out->own = calloc(1, sizeof(state));
  p->out->free_own = free;
  p->out->rank.top_n = INT_MAX;
  el_request *q = &p->out->request;
  q->prompt_logprobs = true;
  q->max_tokens = 0;
  return p->out->own ? el_embeddings_prepare(p, body) && !(q->embed = EL_EMBED_NONE) : el_api_no_memory(p);
}

static bool read_rerank_query(el_api_parse *p, const el_field *f, const json_t *v) {
  if (!json_is_string(v)) return el_api_type_error(p, f->name, "a string", v);
  rerank_state_of(p)->query = v;
  return true;
}

static bool read_documents_field(el_api_parse *p, const el_field *f, const json_t *v) {
  if (!json_is_array(v)) return el_api_type_error(p, f->name, "an array of strings", v);
  *(strcmp(f->name, "texts") ? &rerank_state_of(p)->documents : &rerank_state_of(p)->texts) = v;
  return true;
}

static const el_field FIELDS[] = {
    EL_FIELD("model", 0, el_read_model),
    EL_FIELD("query", 0, read_rerank_query),
    EL_FIELD("documents", 0, read_documents_field),
    EL_FIELD("texts", 0, read_documents_field),
    {"top_n", 0, el_read_int, EL_FIELD_AT(rank.top_n), 1, INT_MAX, 0},
    {"return_documents", 0, el_read_bool, EL_FIELD_AT(rank.with_text), 0, 0, 0},
    {"return_text", 0, el_read_bool, EL_FIELD_AT(rank.with_text), 0, 0, 0},
    {"raw_scores", 0, el_read_bool, EL_FIELD_AT(rank.raw), 0, 0, 0},
    {"truncate", 0, el_read_bool, EL_FIELD_AT(rank.truncate), 0, 0, 0},
    EL_FIELD("user", 0, el_read_ignored),
};

static bool check_rerank(el_api_parse *p) {
  const state *s = rerank_state_of(p);
  const char *missing = !s->query ? "query" : !s->documents && !s->texts ? "documents" : NULL;
  if (missing)
    return el_api_fail(p->error, 400, "missing_required_parameter", missing, "Missing required parameter: '%s'.",
                       missing);
  if (s->documents && s->texts)
    return el_api_fail(p->error, 400, "invalid_value", "texts", "Give 'documents' or 'texts', not both.");
  p->out->rank.as_array = s->texts != NULL;
  p->prompt_name = s->texts ? "texts" : "documents";
  return true;
}

/* ---------------------------------------------------------------- prompts */

static bool tokenize_rerank_text(el_api_parse *p, const char *param, const char *text, size_t len, int flags,
                                 size_t most, int32_t **ids, size_t *n) {
  json_t *v = json_stringn(text, len);
  bool ok = v ? el_llama_tokens(p, v, param, flags, most, ids, n) : el_api_no_memory(p);
  json_decref(v);
  return ok;
}

/* A document may be {"text": ...}. */
static const json_t *document_text(el_api_parse *p, const json_t *v) {
  const json_t *text = json_is_object(v) ? json_object_get(v, "text") : v;
  if (json_is_string(text)) return text;
  el_api_type_error(p, p->prompt_name, "strings, or objects with a 'text', in the whole array", v);
  return NULL;
}

/* The tokens after every document: a blank line, then the query. */
typedef struct tail {
  int32_t *ids;
  size_t n, n_query;
} tail;

static bool read_prompt_tail(el_api_parse *p, tail *t) {
  const json_t *query = rerank_state_of(p)->query;
  int32_t *blank = NULL, *ids = NULL;
  size_t n_blank = 0;
  bool ok = tokenize_rerank_text(p, "query", BLANK_LINE, sizeof BLANK_LINE - 1, 0, p->max_tokens, &blank, &n_blank) &&
            el_llama_tokens(p, query, "query", 0, p->max_tokens - n_blank, &ids, &t->n_query);
  if (ok && !t->n_query)
    ok = el_api_fail(p->error, 400, "invalid_value", "query", "Invalid value for 'query': it is empty.");
  t->n = n_blank + t->n_query;
  if (ok && !(t->ids = malloc(t->n * sizeof *t->ids))) ok = el_api_no_memory(p);
  if (ok && n_blank) memcpy(t->ids, blank, n_blank * sizeof *blank);
  if (ok) memcpy(t->ids + n_blank, ids, t->n_query * sizeof *ids);
  free(blank);
  free(ids);
  return ok;
}

static bool keep_document_text(el_api_parse *p, const json_t *text, el_api_prompt *out) {
  if (!p->out->rank.with_text) return true;
  out->text_len = json_string_length(text);
  out->text = malloc(out->text_len + 1);
  return out->text ? memcpy(out->text, json_string_value(text), out->text_len) != NULL : el_api_no_memory(p);
}

/* With `truncate`, the end of a document that does not fit is left out. */
static bool read_document(el_api_parse *p, const json_t *v, const tail *t, el_api_prompt *out) {
  const json_t *text = document_text(p, v);
  const bool cut = p->out->rank.truncate;
  const size_t room = p->max_tokens - t->n;
  if (!text || !keep_document_text(p, text, out) ||
      !el_llama_tokens(p, text, p->prompt_name, EL_TOKENIZE_BOS, cut ? SIZE_MAX : room, &out->tokens, &out->n))
    return false;
  if (out->n > room) out->n = room;
  int32_t *grown = realloc(out->tokens, (out->n + t->n) * sizeof *grown);
  if (!grown) return el_api_no_memory(p);
  out->tokens = grown;
  memcpy(grown + out->n, t->ids, t->n * sizeof *grown);
  out->n += t->n;
  out->scored_from = out->n - t->n_query;
  return true;
}

static bool read_rerank_prompts(el_api_parse *p) {
  const json_t *list = rerank_state_of(p)->texts ? rerank_state_of(p)->texts : rerank_state_of(p)->documents;
  const size_t n = json_array_size(list);
  tail t = {0};
  if (!n || n > (size_t)p->max_choices)
    return el_api_fail(p->error, 400, "invalid_value", p->prompt_name,
                       "Invalid value for '%s': it has %zu documents; 1 to %d are allowed.", p->prompt_name, n,
                       p->max_choices);
  if (!(p->out->prompts = calloc(n, sizeof *p->out->prompts))) return el_api_no_memory(p);
  p->out->n_prompts = n;
  bool ok = el_embeddings_one_reader(p) && read_prompt_tail(p, &t);
  for (size_t i = 0; ok && i < n; i++) ok = read_document(p, json_array_get(list, i), &t, &p->out->prompts[i]);
  free(t.ids);
  return ok;
}

/* ---------------------------------------------------------------- the answer */

static int compare_scores(const void *a, const void *b) {
  const el_choice *x = *(const el_choice *const *)a, *y = *(const el_choice *const *)b;
  if (x->score != y->score) return x->score > y->score ? -1 : 1;
  return x < y ? -1 : 1;
}

static bool write_rank(const el_reply *r, const el_choice *c, el_buf *out) {
  const el_rank_form *form = &r->request->rank;
  const char *score = form->as_array ? "score" : "relevance_score";
  bool ok = el_buf_printf(out, "{\"index\":%td,\"%s\":", c - r->choices, score) &&
            el_buf_printf(out, "%.9g", form->raw ? c->score : exp(c->score));
  if (!ok || !form->with_text) return ok && el_buf_append(out, "}", 1);
  return el_buf_printf(out, form->as_array ? ",\"text\":" : ",\"document\":{\"text\":") &&
         el_json_string(out, c->prompt->text, c->prompt->text_len) && el_buf_printf(out, form->as_array ? "}" : "}}");
}

static bool write_rank_list(const el_reply *r, const el_choice *const *sorted, el_buf *out) {
  bool ok = el_buf_append(out, "[", 1);
  for (size_t i = 0; ok && i < r->n_choices && i < (size_t)r->request->rank.top_n; i++)
    ok = (!i || el_buf_append(out, ",", 1)) && write_rank(r, sorted[i], out);
  return ok && el_buf_append(out, "]", 1);
}

static bool write_ranking(el_reply *r, el_buf *out) {
  const el_choice **sorted = malloc(r->n_choices * sizeof *sorted);
  if (!sorted) return false;
  for (size_t i = 0; i < r->n_choices; i++) sorted[i] = &r->choices[i];
  qsort(sorted, r->n_choices, sizeof *sorted, compare_scores);
  const size_t n = el_reply_usage(r).prompt;
  bool ok =
      r->request->rank.as_array
          ? write_rank_list(r, sorted, out)
          : el_buf_printf(out, "{\"object\":\"list\",\"model\":") && el_json_cstring(out, r->model) &&
                el_buf_printf(out, ",\"usage\":{\"prompt_tokens\":%zu,\"total_tokens\":%zu},\"results\":", n, n) &&
                write_rank_list(r, sorted, out) && el_reply_write_warnings(r, NULL, out) && el_buf_append(out, "}", 1);
  free(sorted);
  return ok;
}

static const el_writer WRITER = {.whole = write_ranking};

const el_api el_api_rerank = {.name = "rerank",
                              .id_prefix = "rank-",
                              .fields = FIELDS,
                              .n_fields = sizeof FIELDS / sizeof *FIELDS,
                              .prepare = prepare_rerank,
                              .check = check_rerank,
                              .read_prompts = read_rerank_prompts,
                              .writer = &WRITER,
                              .write_error = el_llama_write_error};
