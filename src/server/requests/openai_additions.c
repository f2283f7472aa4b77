/* "edgelora": {...}, a field for what OpenAI's API lacks: the candidates of "auto", and their scores in the answer. */
#include <stdlib.h>
#include <string.h>

#include "server/requests/fields.h"

static bool read_scores_addition(el_api_parse *p, const json_t *v) {
  static const char name[] = "edgelora.scores";
  if (!json_is_boolean(v) && !json_is_integer(v)) return el_api_type_error(p, name, "a boolean or an integer", v);
  json_int_t n = json_is_integer(v) ? json_integer_value(v) : EL_DEFAULT_SCORES;
  if (n < 1 || n > EL_MAX_SCORES)
    return el_api_fail(p->error, 400, "invalid_value", name, "Invalid value for '%s': %lld is not between 1 and %d.",
                       name, (long long)n, EL_MAX_SCORES);
  /* POST /v1/route always answers with scores; this says how many. */
  if (json_is_false(v) || p->out->route) return true;
  p->out->scores = true;
  p->out->n_scores = (int)n;
  return true;
}

static bool read_candidates(el_api_parse *p, const json_t *v) {
  static const char name[] = "edgelora.candidates";
  el_api_request *r = p->out;
  if (!json_is_array(v)) return el_api_type_error(p, name, "an array of strings", v);
  size_t n = json_array_size(v);
  if (n < 1 || n > EL_MAX_CANDIDATES)
    return el_api_fail(p->error, 400, "invalid_value", name,
                       "Invalid value for '%s': it has %zu names; at least 1 and at most %d are allowed.", name, n,
                       EL_MAX_CANDIDATES);
  if (!(r->candidates = calloc(n, sizeof *r->candidates))) return el_api_no_memory(p);
  for (size_t i = 0; i < n; i++) {
    const json_t *s = json_array_get(v, i);
    if (!json_is_string(s)) return el_api_type_error(p, name, "strings inside the array", s);
    size_t len = json_string_length(s);
    if (!len || len > EL_MAX_NAME_BYTES || strlen(json_string_value(s)) != len)
      return el_api_fail(p->error, 400, "invalid_value", name,
                         "Invalid value for '%s': a name has 1 to %d bytes and no NUL character.", name,
                         EL_MAX_NAME_BYTES);
    if (!(r->candidates[i] = strdup(json_string_value(s)))) return el_api_no_memory(p);
    r->n_candidates = i + 1;
  }
  return true;
}

bool el_api_additions_read(el_api_parse *p, const json_t *v) {
  if (!json_is_object(v)) return el_api_type_error(p, "edgelora", "an object", v);
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)v, key, value) {
    bool scores = !strcmp(key, "scores"), candidates = !strcmp(key, "candidates");
    if (!scores && !candidates)
      return el_api_fail(p->error, 400, "unknown_parameter", "edgelora", "Unknown parameter: 'edgelora.%.60s'.", key);
    if (json_is_null(value)) continue;
    if (!(scores ? read_scores_addition(p, value) : read_candidates(p, value))) return false;
  }
  return true;
}
