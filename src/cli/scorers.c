#include "cli/scorers.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static const char *const names[] = {[EL_SCORER_EXACT] = "exact",
                                    [EL_SCORER_CONTAINS] = "contains",
                                    [EL_SCORER_JSON] = "json",
                                    [EL_SCORER_F1] = "f1",
                                    [EL_SCORER_COMMAND] = "command"};

bool el_scorer_kind_parse(const char *name, el_scorer_kind *out) {
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!strcmp(name, names[i])) {
      *out = (el_scorer_kind)i;
      return true;
    }
  return false;
}

/* ---- text */

/* Not isspace, as a score must not depend on the locale. */
static bool is_blank_char(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

static el_str trim_blanks(el_str s) {
  while (s.len > 0 && is_blank_char(s.data[0])) {
    s.data++;
    s.len--;
  }
  while (s.len > 0 && is_blank_char(s.data[s.len - 1])) s.len--;
  return s;
}

static el_str text_str(const char *text) {
  return (el_str){text, strlen(text)};
}

/* ---- JSON */

static json_t *load_json_text(el_str s) {
  return json_loadb(s.data, s.len, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
}

bool el_score_is_json(const char *text, size_t len) {
  json_t *value = load_json_text((el_str){text, len});
  json_decref(value);
  return value;
}

/* Like json_equal, except that 1 and 1.0 are equal. jansson reads at most 2048 levels, which bounds the recursion. */
static bool json_same(const json_t *a, const json_t *b) {
  if (json_is_number(a) && json_is_number(b) && json_typeof(a) != json_typeof(b))
    return json_number_value(a) == json_number_value(b);
  if (json_typeof(a) != json_typeof(b)) return false;
  if (json_is_array(a)) {
    if (json_array_size(a) != json_array_size(b)) return false;
    for (size_t i = 0; i < json_array_size(a); i++)
      if (!json_same(json_array_get(a, i), json_array_get(b, i))) return false;
    return true;
  }
  if (json_is_object(a)) {
    const char *key;
    json_t *value;
    if (json_object_size(a) != json_object_size(b)) return false;
    json_object_foreach((json_t *)a, key, value) {
      const json_t *other = json_object_get(b, key);
      if (!other || !json_same(value, other)) return false;
    }
    return true;
  }
  return json_equal(a, b);
}

static bool json_answer(el_str answer, el_str expected) {
  json_t *a = load_json_text(answer), *b = load_json_text(expected);
  bool same = a && b && json_same(a, b);
  json_decref(a);
  json_decref(b);
  return same;
}

/* ---- F1 */

/* The evaluation of SQuAD (Rajpurkar et al., arXiv 1606.05250, and its official script): lower case, without
 * punctuation and articles, then the harmonic mean of the words' precision and recall. Each word counts as often as it
 * occurs on both sides. Only ASCII letters are lowered and only ASCII punctuation is removed. Text in a script without
 * spaces is compared sentence by sentence. */
typedef struct words {
  char *text; /* the words, each ends in NUL */
  char **items;
  size_t n;
} words;

static void words_free(words *w) {
  free(w->text);
  free(w->items);
}

static bool is_punctuation(char c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

static int by_text(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted. False: no memory. */
static bool words_of(el_str s, words *w) {
  *w = (words){.text = malloc(s.len + 1), .items = calloc(s.len / 2 + 1, sizeof *w->items)};
  if (!w->text || !w->items) return false;
  char *out = w->text, *word = out;
  for (size_t i = 0; i <= s.len; i++) {
    char c = i < s.len ? s.data[i] : ' ';
    if (!is_blank_char(c) && c) {
      if (!is_punctuation(c)) *out++ = c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
      continue;
    }
    if (out == word) continue;
    *out++ = 0;
    if (!strcmp(word, "a") || !strcmp(word, "an") || !strcmp(word, "the"))
      out = word;
    else
      w->items[w->n++] = word;
    word = out;
  }
  qsort(w->items, w->n, sizeof *w->items, by_text);
  return true;
}

static double f1_of(const words *a, const words *b) {
  size_t common = 0;
  if (a->n == 0 || b->n == 0) return a->n == b->n; /* as in SQuAD 2.0: an empty answer is right if none is expected */
  for (size_t i = 0, j = 0; i < a->n && j < b->n;) {
    int order = strcmp(a->items[i], b->items[j]);
    common += order == 0;
    i += order <= 0;
    j += order >= 0;
  }
  return 2 * (double)common / (double)(a->n + b->n);
}

static bool f1_score(el_str answer, el_str expected, double *score) {
  words a = {0}, b = {0};
  bool ok = words_of(answer, &a) && words_of(expected, &b);
  if (ok) *score = f1_of(&a, &b);
  words_free(&a);
  words_free(&b);
  return ok;
}

/* ---- */

el_status el_score(el_scorer_kind kind, const el_scoring *s, double *score, el_error *err) {
  double best = 0;
  el_str answer = trim_blanks(s->answer);
  for (size_t i = 0; i < s->n_expected; i++) {
    el_str expected = trim_blanks(text_str(s->expected[i]));
    double one = 0;
    switch (kind) {
      case EL_SCORER_EXACT: one = el_str_cmp(answer, expected) == 0; break;
      case EL_SCORER_CONTAINS:
        one = expected.len == 0 || memmem(answer.data, answer.len, expected.data, expected.len) != NULL;
        break;
      case EL_SCORER_JSON: one = json_answer(answer, expected); break;
      case EL_SCORER_F1:
        if (!f1_score(answer, expected, &one))
          return el_fail(err, EL_ERR_NO_MEMORY, "out of memory for the words of an answer");
        break;
      case EL_SCORER_COMMAND: return el_fail(err, EL_ERR_INVALID, "a command scores by el_score_by_command");
    }
    if (one > best) best = one;
  }
  *score = best;
  return EL_OK;
}
