/* Sources of constraints: any compiles or is refused, within its limits; what a text leads to is the same when states
 * were forgotten in between, and a mask says what each token by itself does. The input's first byte says the kind, what
 * is behind its last NUL is the text. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "constraint/source.h"
#include "constraint/states.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static el_state step(el_states *s, el_state *at, unsigned char byte) {
  s->credit = 1 << 20;
  el_state next = el_states_step(s, *at, byte);
  if (next != EL_STATE_FULL) return next;
  s->too_many = s->too_slow = s->no_memory = false;
  el_states_collect(s, (el_state *[]){at}, 1);
  return el_states_step(s, *at, byte);
}

static void follow(el_states *s, const uint8_t *text, size_t n) {
  el_state at = s->start;
  for (size_t i = 0; i < n && at != EL_STATE_DEAD; i++) {
    el_state sure, maybe, next = step(s, &at, text[i]);
    if (next == EL_STATE_FULL) return;
    /* What is certain is so, and what is so is possible. */
    if (el_states_cut(s, at, 8, &sure, &maybe)) {
      el_state certain = el_states_step(s, sure, text[i]), possible = el_states_step(s, maybe, text[i]);
      if (certain != EL_STATE_FULL && possible != EL_STATE_FULL) {
        assert(certain == EL_STATE_DEAD || next != EL_STATE_DEAD);
        assert(next == EL_STATE_DEAD || possible != EL_STATE_DEAD);
      }
    }
    if (i % 7 == 3) el_states_collect(s, (el_state *[]){&at}, 1);
    el_state again = step(s, &at, text[i]);
    if (again == EL_STATE_FULL) return;
    assert((again == EL_STATE_DEAD) == (next == EL_STATE_DEAD));
    at = again;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const el_constraint_type types[] = {EL_CONSTRAINT_GRAMMAR, EL_CONSTRAINT_REGEX, EL_CONSTRAINT_JSON_SCHEMA};
  if (!size) return 0;
  const char *source = (const char *)data + 1;
  size_t n = size - 1, len = n;
  for (size_t i = 0; i < n; i++)
    if (!source[i]) len = i;
  el_constraint_source s = {.type = types[data[0] % 3], .text = source, .len = len};
  el_grammar *g = NULL;
  el_automaton a = {0};
  el_states states = {0};
  el_error err;
  if (!el_grammar_new(&g, &err) && !el_grammar_finish(g, el_source_parse(g, &s), &err) &&
      !el_automaton_build(g, &a, &err) && !el_states_open(&states, &a, &err))
    follow(&states, data + 1 + len, n - len);
  el_states_close(&states);
  el_automaton_free(&a);
  el_grammar_free(g);
  return 0;
}
