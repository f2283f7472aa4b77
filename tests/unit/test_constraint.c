/* Masks of tokens: just those that may follow, whatever the grammar, the vocabulary and the way there. What texts a
 * constraint allows is compared with others' in tests/py/test_constraint.py. */
#include "base/random.h"
#include "constraint/compiled.h"
#include "spaced_fixture.h"

typedef struct rng {
  uint64_t state;
} rng;

static uint32_t below(rng *r, uint32_t n) {
  r->state += EL_GOLDEN_GAMMA;
  return (uint32_t)((el_mix64(r->state) >> 32) * n >> 32);
}

/* ------------------------------------------------------------------- fixtures */

static el_trie open_trie(const el_tokenizer *t) {
  el_trie trie;
  el_error e = {0};
  if (el_trie_build(t, &trie, &e)) fail_msg("%s", e.message);
  return trie;
}

static el_compiled *compile(const el_constraint_source *s, const el_trie *trie) {
  el_compiled *c = NULL;
  el_error e = {0};
  if (el_compiled_new(s, trie, &c, &e)) fail_msg("%.*s: %s", (int)s->len, s->text, e.message);
  return c;
}

static el_constraint_source source_of(el_constraint_type type, const char *text) {
  return (el_constraint_source){.type = type, .text = text, .len = strlen(text)};
}

static bool has_bit(const uint64_t *bits, int32_t i) {
  return bits[i / 64] >> i % 64 & 1;
}

/* The mask, and that it is what comes of looking at each token by itself. Valid until the next call. */
static const uint64_t *check_mask(el_matcher *m, const el_tokenizer *t, int32_t before, const int32_t *extra,
                                  size_t n_extra, const char *what) {
  el_error e = {0};
  bool begins = el_token_begins(t, before);
  static uint64_t bits[1 << 12];
  assert_true(((size_t)el_tokenizer_n_vocab(t) + 63) / 64 <= sizeof bits / sizeof *bits);
  if (!el_matcher_mask(m, begins, bits, &e)) fail_msg("%s: %s", what, e.message);
  for (int32_t i = 0; i < el_tokenizer_n_vocab(t); i++) {
    bool is_extra = false;
    for (size_t k = 0; k < n_extra; k++) is_extra = is_extra || extra[k] == i;
    el_str text = el_token_text(t, before, i, is_extra);
    bool want = text.len && !el_tokenizer_is_eog(t, i) && el_matcher_would_take(m, text.data, text.len, &e);
    if (has_bit(bits, i) != want)
      fail_msg("%s: token %d, \"%.*s\", is %sallowed after %d", what, i, (int)text.len, text.data, want ? "" : "not ",
               before);
  }
  return bits;
}

/* Walks along allowed tokens, checking each mask. Says how many steps there were. */
static int walk(el_compiled *c, const el_tokenizer *t, rng *r, int most, const char *what) {
  el_matcher m;
  el_error e = {0};
  el_matcher_begin(&m, c);
  int32_t before = -1;
  int steps = 0;
  for (; steps < most; steps++) {
    const uint64_t *bits = check_mask(&m, t, before, NULL, 0, what);
    int32_t n_vocab = el_tokenizer_n_vocab(t), from = (int32_t)below(r, (uint32_t)n_vocab), next = -1;
    for (int32_t i = 0; i < n_vocab && next < 0; i++)
      if (has_bit(bits, (from + i) % n_vocab)) next = (from + i) % n_vocab;
    assert_true(next >= 0 || el_matcher_may_end(&m)); /* as the vocabulary has all bytes */
    if (next < 0) break;
    el_str text = el_token_text(t, before, next, false);
    assert_true(el_matcher_take(&m, text.data, text.len, &e));
    before = next;
  }
  el_matcher_end(&m);
  return steps;
}

/* Texts of tokens: random ones of a few characters, some long. The strings are to be freed with the pool. */
typedef struct words {
  char text[MAX_MORE][80];
} words;

static void random_words(rng *r, words *w, const char *const *chars, int n_chars, int n) {
  for (int i = 0; i < n; i++) {
    uint32_t len = below(r, 8) ? 2 + below(r, 4) : 12 + below(r, 14);
    w->text[i][0] = 0;
    for (uint32_t k = 0; k < len; k++) strcat(w->text[i], chars[below(r, (uint32_t)n_chars)]);
    for (int k = 0; k < i; k++)
      if (!strcmp(w->text[i], w->text[k])) i--, k = i; /* none twice: files may not have that */
  }
}

static const char *const byte_level_chars[] = {"a", "b", "c", "\"", "{", "}", ":", ",", "\xc4\xa0", "\xc3\x83\xc2\xa9"};
static const char *const spaced_chars[] = {"a", "b", "c", "\"", "{", "}", ":", ",", SP, "\xc3\xa9"};

static el_tokenizer *random_byte_level(rng *r, words *w) {
  enum { N = 60 };
  vocab_spec s = {.eos = 256 + N};
  random_words(r, w, byte_level_chars, 10, N);
  for (int i = 0; i < N; i++) s.more[i] = (more_token){w->text[i], NORMAL};
  s.more[N] = (more_token){"<|end|>", CONTROL};
  s.more[N + 1] = (more_token){"<|other|>", CONTROL};
  s.more[N + 2] = (more_token){"<user>", USER_DEFINED};
  return open_good(&s);
}

static el_tokenizer *random_spaced(rng *r, words *w) {
  enum { N = 56 };
  spaced_spec s = {.add_space = 1};
  random_words(r, w, spaced_chars, 10, N);
  for (int i = 0; i < N; i++) s.more[i] = (spaced_token){w->text[i], NORMAL, -(float)i};
  s.more[N] = (spaced_token){SP, NORMAL, -1};
  s.more[N + 1] = (spaced_token){SP "user", USER_DEFINED, -1};
  return open_good_spaced(&s);
}

/* ------------------------------------------------------------------- grammars */

static void put_body(rng *r, el_buf *b, int depth) {
  static const char *const PIECES[] = {"\"a\"",    "\"b\"", "[a-c]", "[^\"]", ".", "\" \"", "\"ab\"",
                                       "\"\\\"\"", "\"{\"", "x",     "y",     "z", "\"\"",  "\"\xc3\xa9\""};
  uint32_t kind = below(r, depth > 3 ? 3 : 7);
  if (kind < 3) {
    el_buf_printf(b, "%s", PIECES[below(r, sizeof PIECES / sizeof *PIECES)]);
  } else if (kind < 5) {
    put_body(r, b, depth + 1);
    el_buf_printf(b, " ");
    put_body(r, b, depth + 1);
  } else {
    el_buf_printf(b, "(");
    put_body(r, b, depth + 1);
    if (kind == 5) {
      el_buf_printf(b, " | ");
      put_body(r, b, depth + 1);
      el_buf_printf(b, ")");
    } else {
      uint32_t low = below(r, 3);
      static const char *const COUNTS[] = {")*", ")+", ")?", "){%u,%u}", "){%u,%u}", "){%u,%u}"};
      uint32_t which = below(r, 6), high = which == 3 ? low + 2 : which == 4 ? low + 30 : 600;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
      el_buf_printf(b, COUNTS[which], which == 5 ? low * 200 : low, high);
#pragma GCC diagnostic pop
    }
  }
}

static void random_grammar(rng *r, el_buf *b) {
  b->len = 0;
  for (const char *name = "root\0x\0y\0z\0"; *name; name += strlen(name) + 1) {
    el_buf_printf(b, "%s ::= ", name);
    put_body(r, b, 0);
    el_buf_printf(b, "\n");
  }
}

static void masks_are_what_each_token_by_itself_says(bool spaced, uint64_t seed) {
  rng r = {seed};
  el_buf text = {0};
  int n_grammars = 0, n_steps = 0;
  words *w = calloc(1, sizeof *w);
  for (int v = 0; v < 6; v++) {
    el_tokenizer *t = spaced ? random_spaced(&r, w) : random_byte_level(&r, w);
    el_trie trie = open_trie(t);
    for (int i = 0; i < 60; i++) {
      random_grammar(&r, &text);
      el_constraint_source s = {.type = EL_CONSTRAINT_GRAMMAR, .text = text.data, .len = text.len};
      el_compiled *c = NULL;
      el_error e = {0};
      el_status status = el_compiled_new(&s, &trie, &c, &e);
      if (status) { /* some have no end, or begin with themselves */
        assert_true(status == EL_ERR_INVALID || status == EL_ERR_UNSUPPORTED);
        continue;
      }
      n_grammars++;
      for (int k = 0; k < 3; k++) n_steps += walk(c, t, &r, 20, text.data);
      el_compiled_free(c);
    }
    el_trie_free(&trie);
    el_tokenizer_close(t);
  }
  assert_true(n_grammars > 100);
  assert_true(n_steps > 1000);
  free(w);
  el_buf_free(&text);
}

static void a_mask_is_what_each_token_by_itself_says(void **state) {
  masks_are_what_each_token_by_itself_says(false, 1);
}

static void a_mask_is_so_for_vocabularies_written_as_text(void **state) {
  masks_are_what_each_token_by_itself_says(true, 2);
}

/* ------------------------------------------------------------------- promises */

static void ends_and_control_tokens_are_never_in_a_mask(void **state) {
  const vocab_spec s = {.eos = 256, .more = {{"<|end|>", CONTROL}, {"<call>", CONTROL}, {"<user>", USER_DEFINED}}};
  el_tokenizer *t = open_good(&s);
  el_trie trie = open_trie(t);
  el_constraint_source any = source_of(EL_CONSTRAINT_REGEX, "[\\s\\S]*");
  el_compiled *c = compile(&any, &trie);
  el_matcher m;
  el_matcher_begin(&m, c);
  const uint64_t *bits = check_mask(&m, t, -1, NULL, 0, "any");
  assert_true(has_bit(bits, 'a'));
  assert_false(has_bit(bits, 256));
  assert_false(has_bit(bits, 257));
  assert_true(has_bit(bits, 258)); /* what is shown is text */
  assert_true(el_matcher_may_end(&m));
  el_matcher_end(&m);
  el_compiled_free(c);

  const int32_t shown[] = {257};
  any.shown_tokens = shown;
  any.n_shown_tokens = 1;
  c = compile(&any, &trie);
  el_matcher_begin(&m, c);
  bits = check_mask(&m, t, -1, shown, 1, "any, and a control token");
  assert_true(has_bit(bits, 257));
  el_matcher_end(&m);
  el_compiled_free(c);
  el_trie_free(&trie);
  el_tokenizer_close(t);
}

static void a_character_may_be_in_several_tokens_and_no_other_may_begin_in_it(void **state) {
  const vocab_spec s = {0};
  el_tokenizer *t = open_good(&s);
  el_trie trie = open_trie(t);
  el_constraint_source euro = source_of(EL_CONSTRAINT_REGEX, "[\xe2\x82\xac]+");
  el_compiled *c = compile(&euro, &trie);
  el_matcher m;
  el_error e = {0};
  el_matcher_begin(&m, c);
  static const unsigned char BYTES[] = {0xe2, 0x82, 0xac, 0xe2};
  for (int i = 0; i < 4; i++) {
    const uint64_t *bits = check_mask(&m, t, -1, NULL, 0, "euro");
    for (int b = 0; b < 256; b++) assert_int_equal(has_bit(bits, b), b == BYTES[i]);
    assert_int_equal(el_matcher_may_end(&m), i == 3);
    assert_true(el_matcher_take(&m, (const char *)&BYTES[i], 1, &e));
  }
  el_matcher_end(&m);
  el_compiled_free(c);
  el_trie_free(&trie);
  el_tokenizer_close(t);
}

static void a_repeated_state_walks_the_vocabulary_once(void **state) {
  const vocab_spec s = {.more = {{"aaaa", NORMAL}, {"\",", NORMAL}}};
  el_tokenizer *t = open_good(&s);
  el_trie trie = open_trie(t);
  el_constraint_source object = source_of(EL_CONSTRAINT_GRAMMAR,
                                          "root ::= \"[\" (string \",\")* root \"]\" | \"0\"\n"
                                          "string ::= \"\\\"\" char* \"\\\"\"\nchar ::= [^\"]");
  el_compiled *c = compile(&object, &trie);
  el_matcher m;
  el_error e = {0};
  uint64_t before = 0, after = 0, looked;
  el_matcher_begin(&m, c);
  for (int depth = 0; depth < 40; depth++) {
    assert_true(el_matcher_take(&m, "[\"", 2, &e));
    check_mask(&m, t, 'a', NULL, 0, "in a string");
    if (depth == 0) el_compiled_counts(c, &before, &looked);
    assert_true(el_matcher_take(&m, "\",", 2, &e));
  }
  el_compiled_counts(c, &after, &looked);
  assert_int_equal(before, after); /* however deep the string is */
  el_matcher_end(&m);
  el_compiled_free(c);
  el_trie_free(&trie);
  el_tokenizer_close(t);
}

static void answers_go_on_when_states_were_forgotten(void **state) {
  const vocab_spec s = {.more = {{"aaaa", NORMAL}}};
  el_tokenizer *t = open_good(&s);
  el_trie trie = open_trie(t);
  el_constraint_source many = source_of(EL_CONSTRAINT_REGEX, "[ab]{0,900000}c");
  el_compiled *c = compile(&many, &trie);
  el_matcher slow, fast;
  el_error e = {0};
  el_matcher_begin(&slow, c);
  el_matcher_begin(&fast, c);
  assert_true(el_matcher_take(&slow, "ab", 2, &e));
  for (int i = 0; i < 900000; i++) assert_true(el_matcher_take(&fast, "a", 1, &e));
  assert_false(el_matcher_take(&fast, "a", 1, &e));
  assert_int_equal(e.code, EL_OK);
  const uint64_t *bits = check_mask(&fast, t, 'a', NULL, 0, "at the end");
  assert_true(has_bit(bits, 'c') && !has_bit(bits, 'a') && !has_bit(bits, 256));
  assert_true(el_matcher_take(&fast, "c", 1, &e));
  assert_true(el_matcher_may_end(&fast) && !el_matcher_may_go_on(&fast));
  bits = check_mask(&slow, t, 'b', NULL, 0, "at the beginning");
  assert_true(has_bit(bits, 'c') && has_bit(bits, 'a') && has_bit(bits, 256));
  el_matcher_end(&slow);
  el_matcher_end(&fast);
  el_compiled_free(c);
  el_trie_free(&trie);
  el_tokenizer_close(t);
}

static bool takes(const el_constraint_source *s, const el_trie *trie, const char *text) {
  el_compiled *c = compile(s, trie);
  el_matcher m;
  el_error e = {0};
  el_matcher_begin(&m, c);
  bool whole = el_matcher_take(&m, text, strlen(text), &e) && el_matcher_may_end(&m);
  el_matcher_end(&m);
  el_compiled_free(c);
  return whole;
}

static void a_choice_is_one_of_its_texts(void **state) {
  el_tokenizer *t = open_good(&(vocab_spec){0});
  el_trie trie = open_trie(t);
  static char many[3000][16];
  const char *texts[3002] = {"yes", "yesterday"};
  for (int i = 0; i < 3000; i++) {
    snprintf(many[i], sizeof many[i], "n%d", i * 7);
    texts[i + 2] = many[i];
  }
  el_constraint_source s = {.type = EL_CONSTRAINT_CHOICE, .choices = texts, .n_choices = 3002};
  assert_true(takes(&s, &trie, "yes"));
  assert_true(takes(&s, &trie, "yesterday"));
  assert_true(takes(&s, &trie, "n20993"));
  assert_false(takes(&s, &trie, "yester"));
  assert_false(takes(&s, &trie, "n1"));
  assert_false(takes(&s, &trie, ""));
  el_trie_free(&trie);
  el_tokenizer_close(t);
}

static void text_is_free_until_a_trigger_and_then_a_tag(void **state) {
  el_tokenizer *t = open_good(&(vocab_spec){0});
  el_trie trie = open_trie(t);
  const char *triggers[] = {"<fn", "<t>"};
  const el_constraint_tag tags[] = {
      {.begin = "<fn=a>", .end = "</fn>", .content = EL_CONSTRAINT_REGEX, .text = "[0-9]+", .len = 6},
      {.begin = "<fn=b>", .end = "</fn>", .content = EL_CONSTRAINT_JSON_OBJECT},
      {.begin = "<t>", .end = "", .content = EL_CONSTRAINT_REGEX, .text = "x", .len = 1},
  };
  el_constraint_source s = {
      .type = EL_CONSTRAINT_TAGS, .tags = tags, .n_tags = 3, .triggers = triggers, .n_triggers = 2};
  static const char *const FREE[] = {"", "hello < <f <fm> \xff", "<f"};
  static const char *const TAGGED[] = {"<fn=a>12</fn>", "so: <fn=b>{\"a\": []}</fn> and <t>x then <fn=a>0</fn>.",
                                       "<<t>x"};
  static const char *const WRONG[] = {"<fn", "<fn=c>", "<fn=a></fn>", "<fn=a>1",
                                      "<t>", "<t>y",   "<<fn>",       "a <fn=b>1</fn>"};
  for (int flags = 0; flags < 4; flags++) {
    s.at_least_one = flags & 1;
    s.stop_after_first = flags & 2;
    for (size_t i = 0; i < 3; i++) assert_int_equal(takes(&s, &trie, FREE[i]), !s.at_least_one);
    for (size_t i = 0; i < 3; i++) assert_int_equal(takes(&s, &trie, TAGGED[i]), i != 1 || !s.stop_after_first);
    for (size_t i = 0; i < 8; i++) assert_false(takes(&s, &trie, WRONG[i]));
  }
  /* Without triggers nothing is free. */
  s.n_triggers = 0;
  for (int flags = 0; flags < 4; flags++) {
    s.at_least_one = flags & 1;
    s.stop_after_first = flags & 2;
    assert_int_equal(takes(&s, &trie, ""), !s.at_least_one);
    assert_true(takes(&s, &trie, "<fn=a>12</fn>"));
    assert_int_equal(takes(&s, &trie, "<fn=a>12</fn><t>x"), !s.stop_after_first);
    assert_false(takes(&s, &trie, " <t>x"));
  }
  el_trie_free(&trie);
  el_tokenizer_close(t);
}

static void a_source_that_cannot_be_is_refused_with_the_reason(void **state) {
  el_tokenizer *t = open_good(&(vocab_spec){0});
  el_trie trie = open_trie(t);
  const char *choices[] = {"a", ""}, *triggers[] = {"<x"};
  const el_constraint_tag wrong[] = {
      {.begin = "<y>", .end = "", .content = EL_CONSTRAINT_REGEX, .text = "a", .len = 1}};
  const el_constraint_tag nested[] = {{.begin = "<x>", .end = "", .content = EL_CONSTRAINT_TAGS}};
  const int32_t token = 1 << 20;
  const struct {
    el_constraint_source s;
    el_status status;
    const char *said;
  } cases[] = {
      {{.type = EL_CONSTRAINT_REGEX}, EL_ERR_INVALID, "is empty"},
      {{.type = EL_CONSTRAINT_CHOICE}, EL_ERR_INVALID, "nothing to choose"},
      {{.type = EL_CONSTRAINT_CHOICE, .choices = choices, .n_choices = 2}, EL_ERR_INVALID, "choice[1]"},
      {{.type = EL_CONSTRAINT_TAGS}, EL_ERR_INVALID, "there are none"},
      {{.type = EL_CONSTRAINT_TAGS, .tags = wrong, .n_tags = 1, .triggers = triggers, .n_triggers = 1},
       EL_ERR_INVALID,
       "does not begin with any trigger"},
      {{.type = EL_CONSTRAINT_TAGS, .tags = nested, .n_tags = 1}, EL_ERR_UNSUPPORTED, "tags[0]"},
      {{.type = EL_CONSTRAINT_REGEX, .text = "a", .len = (4 << 20) + 1}, EL_ERR_TOO_LONG, "bytes"},
      {{.type = EL_CONSTRAINT_JSON_OBJECT, .shown_tokens = &token, .n_shown_tokens = 1}, EL_ERR_INVALID, "shown token"},
      {{.type = (el_constraint_type)77}, EL_ERR_INVALID, "77"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    el_compiled *c = NULL;
    el_error e = {0};
    assert_int_equal(el_compiled_new(&cases[i].s, &trie, &c, &e), cases[i].status);
    assert_contains(e.message, cases[i].said);
    assert_null(c);
  }
  el_trie_free(&trie);
  el_tokenizer_close(t);
}

static void a_grammar_of_too_many_ways_at_once_fails_alone(void **state) {
  el_tokenizer *t = open_good(&(vocab_spec){0});
  el_trie trie = open_trie(t);
  /* Each count that has been reached is a way of its own. */
  el_constraint_source s = source_of(EL_CONSTRAINT_REGEX, "((a{0,3}){0,100000}b?){0,100000}");
  el_compiled *c = NULL;
  el_error e = {0};
  el_status status = el_compiled_new(&s, &trie, &c, &e);
  if (!status) {
    el_matcher m;
    el_matcher_begin(&m, c);
    for (int i = 0; i < 400 && el_matcher_take(&m, "a", 1, &e); i++) continue;
    assert_true(e.code == EL_OK || e.code == EL_ERR_TOO_LONG || e.code == EL_ERR_NO_MEMORY);
    el_matcher_end(&m);
    el_compiled_free(c);
  } else {
    assert_int_equal(status, EL_ERR_TOO_LONG);
  }
  el_trie_free(&trie);
  el_tokenizer_close(t);
}

static void a_grammar_that_takes_too_much_time_to_begin_is_refused(void **state) {
  el_tokenizer *t = open_good(&(vocab_spec){0});
  el_trie trie = open_trie(t);
  el_buf text = {0}; /* each of many ways to go on looks at each of many to begin */
  el_buf_printf(&text, "root ::= x \"0\"");
  for (int i = 1; i < 20000; i++) el_buf_printf(&text, "|x \"%d\"", i);
  el_buf_printf(&text, "\nx ::= [a-z]");
  for (int i = 1; i < 20000; i++) el_buf_printf(&text, "|[a-z]");
  el_constraint_source s = {.type = EL_CONSTRAINT_GRAMMAR, .text = text.data, .len = text.len};
  el_compiled *c = NULL;
  el_error e;
  assert_int_equal(el_compiled_new(&s, &trie, &c, &e), EL_ERR_TOO_LONG);
  assert_contains(e.message, "to begin");
  el_buf_free(&text);
  el_trie_free(&trie);
  el_tokenizer_close(t);
}

static void a_grammar_that_takes_too_much_time_fails_alone(void **state) {
  el_tokenizer *t = open_good(&(vocab_spec){0});
  el_trie trie = open_trie(t);
  /* Half a million alternatives that all go on after each byte: a new state each time, and each as slow. */
  el_buf text = {0};
  el_buf_printf(&text, "root ::= x{0,100000}\nx ::= ");
  for (int i = 0; i < 300000; i++) el_buf_printf(&text, "%s[a-z]", i ? "|" : "");
  el_constraint_source s = {.type = EL_CONSTRAINT_GRAMMAR, .text = text.data, .len = text.len};
  el_compiled *c = compile(&s, &trie);
  el_matcher m;
  el_error e = {0};
  el_matcher_begin(&m, c);
  int n = 0;
  while (n < 1000 && el_matcher_take(&m, "a", 1, &e)) n++;
  assert_int_equal(e.code, EL_ERR_TOO_LONG);
  assert_contains(e.message, "too much time");
  el_matcher_end(&m);
  /* Another answer in it has its own. */
  el_matcher_begin(&m, c);
  assert_true(el_matcher_take(&m, "a", 1, &e));
  el_matcher_end(&m);
  el_compiled_free(c);
  el_buf_free(&text);
  el_trie_free(&trie);
  el_tokenizer_close(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_mask_is_what_each_token_by_itself_says),
      cmocka_unit_test(a_mask_is_so_for_vocabularies_written_as_text),
      cmocka_unit_test(ends_and_control_tokens_are_never_in_a_mask),
      cmocka_unit_test(a_character_may_be_in_several_tokens_and_no_other_may_begin_in_it),
      cmocka_unit_test(a_repeated_state_walks_the_vocabulary_once),
      cmocka_unit_test(answers_go_on_when_states_were_forgotten),
      cmocka_unit_test(a_choice_is_one_of_its_texts),
      cmocka_unit_test(text_is_free_until_a_trigger_and_then_a_tag),
      cmocka_unit_test(a_source_that_cannot_be_is_refused_with_the_reason),
      cmocka_unit_test(a_grammar_of_too_many_ways_at_once_fails_alone),
      cmocka_unit_test(a_grammar_that_takes_too_much_time_fails_alone),
      cmocka_unit_test(a_grammar_that_takes_too_much_time_to_begin_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
