/* Says which texts a constraint allows: a line of JSON each,
 *   {"type": "regex", "source": "a+", "texts": ["aa", "b"]}  ->  {"allowed": [true, false], "begins": [true, false]}
 * or {"error": ..., "code": ...} where the source is refused. `begins`: some allowed text begins so. For tests that
 * compare it with what others say. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "constraint/source.h"
#include "constraint/states.h"
#include "lines.h"

static const char *const types[] = {"json_object", "json_schema", "regex", "grammar", "choice", "tags"};

static json_t *failure(const el_error *err) {
  return json_pack("{s:s,s:s}", "error", err->message, "code", el_status_name(err->code));
}

static json_t *match(el_states *s, const json_t *texts) {
  json_t *allowed = json_array(), *begins = json_array();
  size_t i;
  json_t *text;
  json_array_foreach(texts, i, text) {
    const char *bytes = json_string_value(text);
    el_state state = s->start;
    for (size_t k = 0; k < json_string_length(text) && state != EL_STATE_DEAD; k++) {
      el_state before = state;
      state = el_states_step(s, before, (unsigned char)bytes[k]);
      if (state != EL_STATE_FULL) continue;
      el_states_collect(s, (el_state *[]){&before}, 1);
      state = el_states_step(s, before, (unsigned char)bytes[k]);
      if (state == EL_STATE_FULL) {
        fprintf(stderr, "no room\n");
        exit(1);
      }
    }
    json_array_append_new(allowed, json_boolean(el_states_may_end(s, state)));
    json_array_append_new(begins, json_boolean(state != EL_STATE_DEAD));
  }
  return json_pack("{s:o,s:o}", "allowed", allowed, "begins", begins);
}

static json_t *answer(const json_t *line) {
  el_error err = {0};
  const char *type = json_string_value(json_object_get(line, "type"));
  const json_t *source_text = json_object_get(line, "source");
  el_constraint_source source = {.text = json_string_value(source_text), .len = json_string_length(source_text)};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (type && !strcmp(type, types[i])) source.type = (el_constraint_type)i;
  el_grammar *g = NULL;
  el_automaton a = {0};
  el_states s = {0};
  json_t *out = NULL;
  if (el_grammar_new(&g, &err) || el_grammar_finish(g, el_source_parse(g, &source), &err) ||
      el_automaton_build(g, &a, &err) || el_states_open(&s, &a, &err))
    out = failure(&err);
  else
    out = match(&s, json_object_get(line, "texts"));
  el_states_close(&s);
  el_automaton_free(&a);
  el_grammar_free(g);
  return out;
}

int main(void) {
  return answer_lines(answer);
}
