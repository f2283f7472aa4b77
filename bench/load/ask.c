#include "bench/load/ask.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "base/error.h"

static const char *const words[] = {
    "time",   "year",    "people", "way",     "day",      "man",     "thing",      "woman",  "life",  "child", "world",
    "school", "state",   "family", "student", "group",    "country", "problem",    "hand",   "part",  "place", "case",
    "week",   "company", "system", "program", "question", "work",    "government", "number", "night", "point"};
enum { N_WORDS = sizeof words / sizeof *words };

void el_load_ask_free(el_load_ask *a) {
  free(a->ids);
  a->ids = NULL;
}

el_status el_load_ask_vocabulary(el_load_ask *a, const char *model_path, el_error *err) {
  el_tokenizer *t;
  el_status status = el_tokenizer_open(model_path, &t, err);
  if (status) return status;
  int32_t n_vocab = el_tokenizer_n_vocab(t);
  size_t n = 0;
  int32_t *ids = malloc((size_t)n_vocab * sizeof *ids);
  if (!ids) status = el_fail(err, EL_ERR_NO_MEMORY, "out of memory for %d token ids", n_vocab);
  for (int32_t id = 0; !status && id < n_vocab; id++) {
    char *text;
    size_t len;
    status = el_detokenize(t, &id, 1, false, &text, &len, err);
    if (status) break;
    if (len) ids[n++] = id;
    el_free(text);
  }
  if (!status && !n) status = el_fail(err, EL_ERR_INVALID, "%s: no token stands for text", model_path);
  el_tokenizer_close(t);
  if (status) {
    free(ids);
    return status;
  }
  a->ids = ids;
  a->n_ids = n;
  return EL_OK;
}

static bool write_ids(const el_load_ask *a, el_load_random *r, int n, el_buf *out) {
  bool ok = el_buf_append(out, "[", 1);
  for (int i = 0; ok && i < n; i++) {
    int at = el_load_between(r, 0, (int)a->n_ids - 1);
    ok = el_buf_printf(out, i ? ",%d" : "%d", a->ids ? a->ids[at] : a->first + at);
  }
  return ok && el_buf_append(out, "]", 1);
}

static bool write_words(const el_load_ask *a, el_load_random *r, int n, el_buf *out) {
  double wanted = a->each > 0 ? round((n - a->added) / a->each) : n;
  int n_words = wanted < 1 ? 1 : (int)wanted;
  bool ok = el_buf_append(out, "\"", 1);
  for (int i = 0; ok && i < n_words; i++)
    ok = el_buf_printf(out, i ? " %s" : "%s", words[el_load_between(r, 0, N_WORDS - 1)]);
  return ok && el_buf_append(out, "\"", 1);
}

static bool write_string(const char *text, el_buf *out) {
  json_t *value = json_string(text);
  char *json = value ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
  bool ok = json && el_buf_printf(out, "%s", json);
  free(json);
  json_decref(value);
  return ok;
}

/* Who is to answer. */
static bool write_target(const el_load_ask *a, int adapter, el_buf *out) {
  if (a->api == EL_LOAD_LLAMA_SERVER) {
    if (adapter < 0) return el_buf_printf(out, "\"lora\":[],");
    return el_buf_printf(out, "\"lora\":[{\"id\":%s,\"scale\":1.0}],", a->names->items[adapter]);
  }
  const char *name = adapter == EL_LOAD_AUTO ? "auto" : adapter < 0 ? a->base : a->names->items[adapter];
  return !name || (el_buf_printf(out, "\"model\":") && write_string(name, out) && el_buf_append(out, ",", 1));
}

bool el_load_ask_body(const el_load_ask *a, uint64_t number, const el_load_item *item, bool stream, el_buf *out) {
  el_load_random r = el_load_random_new(a->seed, number);
  bool ok = el_buf_append(out, "{", 1) && write_target(a, item->adapter, out) && el_buf_printf(out, "\"prompt\":") &&
            (a->words ? write_words(a, &r, item->n_in, out) : write_ids(a, &r, item->n_in, out));
  /* On past what ends a text: every server has to make as many tokens. */
  ok = ok && el_buf_printf(out, ",\"max_tokens\":%d,\"ignore_eos\":true,\"temperature\":%g,\"seed\":%llu", item->n_out,
                           (double)a->temperature, (unsigned long long)(number >> 1 & 0x3fffffff));
  if (a->top_p < 1) ok = ok && el_buf_printf(out, ",\"top_p\":%g", (double)a->top_p);
  if (stream) ok = ok && el_buf_printf(out, ",\"stream\":true,\"stream_options\":{\"include_usage\":true}");
  return ok && el_buf_append(out, "}", 1);
}
