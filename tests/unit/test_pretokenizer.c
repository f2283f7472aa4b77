/* Where text is cut before byte-pair encoding. */
#include "tokenizer/pretokenizer.h"

#include "vocab_fixture.h"

static el_pretokenizer *open_named(const char *name, el_pretokenizer_traits *traits) {
  el_pretokenizer *p = NULL;
  el_error e = {0};
  if (el_pretokenizer_open((el_str){name, strlen(name)}, &p, traits, &e)) fail_msg("%s: %s", name, e.message);
  return p;
}

/* --- cuts */

static el_status note_piece(void *user, const char *piece, size_t len) {
  el_buf *b = user;
  assert_true(len > 0);
  if (b->len) put(b, "|", 1);
  put(b, piece, len);
  return EL_OK;
}

/* want: the pieces with | between them; text has none. */
static void assert_cut(const char *name, const char *want) {
  el_pretokenizer_traits traits;
  el_pretokenizer *p = open_named(name, &traits);
  char text[512];
  size_t len = 0;
  for (const char *s = want; *s; s++)
    if (*s != '|') text[len++] = *s;
  el_buf got = {0};
  el_error e = {0};
  assert_int_equal(el_pretokenizer_split(p, text, len, note_piece, &got, &e), EL_OK);
  assert_string_equal(got.data, want);
  el_buf_free(&got);
  el_pretokenizer_close(p);
}

static void gpt2_keeps_a_space_with_what_follows(void **state) {
  assert_cut("gpt-2", "Hello| world|  | again|!!|\n|\n|next|   ");
  assert_cut("gpt-2", "it|'s| we|'ll| don|'t| I|'|M| x|'re");
  assert_cut("gpt-2", "in| 2024|,| 12345| %-|a|1|b");
  assert_cut("gpt-2", "na\xc3\xafve| \xd0\xbc\xd0\xb8\xd1\x80| \xe4\xb8\x96\xe7\x95\x8c|\xe3\x80\x82|\xd9\xa3\xd9\xa4");
}

static void smollm_makes_each_digit_a_piece_and_then_cuts_the_parts_between(void **state) {
  assert_cut("smollm", "in| |2|0|2|4|,| |1|2| %-|a|1|b");
  assert_cut("smollm", "a|  |7| b|  |8| ");
  assert_cut("smollm", "it|'s| |\xc2\xbd| x");
}

static void llama3_groups_three_digits_and_keeps_line_ends_with_symbols(void **state) {
  assert_cut("llama-bpe", "in| |202|4|,| |123|456|7");
  assert_cut("llama-bpe", "I|'M| we|'LL| (|hello|)\n\n\n|x|  \n| | y");
  assert_cut("llama3", ".a|!b| .|\tc|\n|d");
  assert_cut("llama-v3", "  | x|   ");
}

static void qwen2_makes_each_digit_a_piece(void **state) {
  assert_cut("qwen2", "in| |2|0|2|4|,| |1|2| (|hello|)\n|x|'S");
}

static void default_cuts_punctuation_first(void **state) {
  assert_cut("default", "Hello|,| world|!?|123|45| x");
}

static void gpt_4o_cuts_before_an_upper_case_letter(void **state) {
  assert_cut("gpt-4o", "camel|Case| HTTPServer's|\n|/x|123|4");
  assert_cut("tekken", "camel|Case|'s|1|2| .\n/");
}

/* Where the models' own pattern knows case in all scripts, and marks, ours does. */
static void case_is_that_of_all_scripts(void **state) {
  assert_cut("gpt-4o",
             "\xc3\x89t\xc3\xa9|\xc3\x80\xd0\xb8\xd1\x8f|\xd0\x98\xd1\x8f"); /* ÃtÃ©, ÃÐ¸Ñ, ÐÑ */
  assert_cut("tekken", "a\xcc\x81|B\xcc\x81");                               /* a mark goes with its letter */
}

static void digits_are_grouped_from_the_right(void **state) {
  assert_cut("tiny_aya", "a| |1|234|567| |12|;|123|456");
  assert_cut("afmoe", "12|345|x| |\xd9\xa1|\xd9\xa2\xd9\xa3\xd9\xa4|\xe4\xb8\x96|y");
  assert_cut("superbpe", "all of this is one piece |12|345| and this");
}

static void other_families_cut_their_own_way(void **state) {
  assert_cut("kimi-k2", "ab|\xe4\xb8\x96|Cd|123|4| !\n");
  assert_cut("exaone-moe", "one two\xcc\x81 three| | four|1");
  assert_cut("jais-2", "a|    |  | b");
  assert_cut("laguna", "a|\n\n|b| |\n");
  assert_cut("chameleon", "x|IMGIMGABZ|  |1|2|!");
  assert_cut("spark2_5", "a|\n|\n|b|1|2|3|4");
  assert_cut("minicpm5", "ab|123|4");
  assert_cut("ufakzeka", "Ankara|'ya");
  assert_cut("youtu", "\xea\xb0\x80|ab|1|2");
}

static void deepseek_llm_cuts_white_space_at_the_end_only(void **state) {
  assert_cut("deepseek-llm", "a|  | b| | .|\n|   ");
}

static void white_space_is_unicodes(void **state) {
  assert_cut("gpt-2", "a|\xc2\xa0|\xe2\x80\x83|b|\xc2\x85|c"); /* no-break space, em space, next line */
  assert_cut("gpt-2", "a|\xe1\xa0\x8e|b");                     /* U+180E is none, nor is U+200B */
  assert_cut("gpt-2", "a| \xe1\xa0\x8e\xe2\x80\x8b|b");
}

static void bytes_that_are_no_utf8_are_pieces_of_their_own(void **state) {
  assert_cut("gpt-2", "ab|\xff|cd| |\xc3|\xe2\x82\xac|\xe2\x82|x|\xed\xa0\x80\xf0\x9f|.");
  assert_cut("smollm", "1|\x80\x81|2|\xc3\xa4");
}

/* --- names */

static void an_unknown_name_is_refused_and_the_known_ones_are_listed(void **state) {
  el_pretokenizer *p = NULL;
  el_pretokenizer_traits traits;
  el_error e = {0};
  assert_int_equal(el_pretokenizer_open((el_str){"smollm2\n", 8}, &p, &traits, &e), EL_ERR_UNSUPPORTED);
  assert_null(p);
  assert_contains(e.message, "tokenizer.ggml.pre");
  assert_contains(e.message, "'smollm2\\n'");
  assert_contains(e.message, "smollm, gpt-2, llama-bpe");
  assert_contains(e.message, "youtu"); /* the last one: the list is whole */
}

static void traits_are_those_of_the_model(void **state) {
  el_pretokenizer_traits traits;
  el_pretokenizer_close(open_named("llama-bpe", &traits));
  assert_true(traits.ignore_merges && traits.add_bos);
  el_pretokenizer_close(open_named("smollm", &traits));
  assert_true(!traits.ignore_merges && !traits.add_bos);
  el_pretokenizer_close(open_named("glm4", &traits));
  assert_true(traits.ignore_merges && !traits.add_bos);
}

/* Calls fn with every known name. */
static void for_each_name(void (*fn)(const el_pretokenizer *p, const char *name)) {
  el_pretokenizer *p = NULL;
  el_pretokenizer_traits traits;
  el_error e = {0};
  el_pretokenizer_open((el_str){"?", 1}, &p, &traits, &e);
  char *rest = strstr(e.message, "known are: ");
  assert_non_null(rest);
  rest += strlen("known are: ");
  int n = 0;
  for (char *name; (name = strtok_r(rest, ", ", &rest)); n++) {
    p = open_named(name, &traits);
    fn(p, name);
    el_pretokenizer_close(p);
  }
  assert_true(n >= 80);
}

/* --- nothing lost, whatever the text */

typedef struct joiner {
  const char *at;
} joiner;

static el_status expect_next(void *user, const char *piece, size_t len) {
  joiner *j = user;
  assert_ptr_equal(piece, j->at);
  assert_true(len > 0);
  j->at += len;
  return EL_OK;
}

static void assert_whole(const el_pretokenizer *p, const char *name, const char *text, size_t len) {
  joiner j = {text};
  el_error e = {0};
  if (el_pretokenizer_split(p, text, len, expect_next, &j, &e)) fail_msg("%s: %s", name, e.message);
  assert_ptr_equal(j.at, text + len);
}

static void check_random_texts(const el_pretokenizer *p, const char *name) {
  static const char *const PARTS[] = {"a",
                                      "B",
                                      " ",
                                      "\n",
                                      "\r",
                                      "1",
                                      "\t",
                                      "'s",
                                      "'RE",
                                      ".",
                                      "!?",
                                      "\xff",
                                      "\0",
                                      "\xc3\xa9",
                                      "\xe4\xb8\x96",
                                      "\xf0\x9f\x8d\x95",
                                      "\xcc\x81",
                                      "\xc2\xa0",
                                      "/",
                                      "$",
                                      "\xe2",
                                      "\xe3\x80\x80",
                                      "\xd9\xa3",
                                      "+<="};
  uint64_t seed = 7;
  for (int round = 0; round < 300; round++) {
    char text[256];
    size_t len = 0;
    while (len < 64) {
      const char *part = PARTS[next_random(&seed) % (sizeof PARTS / sizeof *PARTS)];
      size_t n = *part ? strlen(part) : 1;
      memcpy(text + len, part, n);
      len += n;
    }
    assert_whole(p, name, text, len);
  }
}

static void pieces_are_the_text(void **state) {
  for_each_name(check_random_texts);
}

/* A pattern that tries again at each character of a run would need 10^9 steps here. */
static void check_long_runs(const el_pretokenizer *p, const char *name) {
  static const char *const UNITS[] = {" ",
                                      "a",
                                      "A",
                                      "1",
                                      "\n",
                                      "\r\n",
                                      "\t",
                                      "\xff",
                                      ".",
                                      "a ",
                                      " a",
                                      "'s",
                                      "\xc3\xa9",
                                      "\xcc\x81",
                                      "aB",
                                      "\xe3\x80\x80",
                                      "\xc3\xa9"
                                      "A",
                                      "=-"};
  enum { BYTES = 40000 };
  char *text = malloc(BYTES + 8);
  assert_non_null(text);
  for (size_t i = 0; i < sizeof UNITS / sizeof *UNITS; i++) {
    size_t n = strlen(UNITS[i]), len = 0;
    for (; len < BYTES; len += n) memcpy(text + len, UNITS[i], n);
    assert_whole(p, name, text, len);
    text[len] = 'x'; /* a run with something after it takes another way */
    assert_whole(p, name, text, len + 1);
  }
  free(text);
}

static void long_runs_take_time_in_proportion(void **state) {
  for_each_name(check_long_runs);
}

static el_status refuse(void *user, const char *piece, size_t len) {
  return ++*(int *)user == 2 ? EL_ERR_CLOSED : EL_OK;
}

static void the_taker_can_end_the_split(void **state) {
  el_pretokenizer_traits traits;
  el_pretokenizer *p = open_named("smollm", &traits);
  int calls = 0;
  el_error e = {0};
  assert_int_equal(el_pretokenizer_split(p, "a b 1 c", 7, refuse, &calls, &e), EL_ERR_CLOSED);
  assert_int_equal(calls, 2);
  el_pretokenizer_close(p);
}

/* --- patterns that go wrong */

static el_status drop(void *user, const char *piece, size_t len) {
  return EL_OK;
}

static void a_pattern_that_takes_too_many_steps_is_an_error(void **state) {
  static const char *const PATTERNS[] = {"x", "(?:a+)+[bc]"};
  char text[4096];
  memset(text, 'a', sizeof text);
  text[1] = 'x';
  el_pretokenizer *p = NULL;
  el_error e = {0};
  assert_int_equal(el_pretokenizer_compile(PATTERNS, 2, &p, &e), EL_OK);
  assert_int_equal(el_pretokenizer_split(p, text, sizeof text, drop, NULL, &e), EL_ERR_INVALID);
  assert_contains(e.message, "at byte 2: ");
  el_pretokenizer_close(p);
}

static void a_pattern_that_is_none_is_an_error(void **state) {
  static const char *const PATTERNS[] = {"a", "[", "a", "a", "a", "a", "a", "a", "a"};
  el_pretokenizer *p = NULL;
  el_error e = {0};
  assert_int_equal(el_pretokenizer_compile(PATTERNS, 2, &p, &e), EL_ERR_UNSUPPORTED);
  assert_contains(e.message, "\"[\"");
  assert_int_equal(el_pretokenizer_compile(PATTERNS, 9, &p, &e), EL_ERR_INVALID);
  assert_null(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gpt2_keeps_a_space_with_what_follows),
      cmocka_unit_test(smollm_makes_each_digit_a_piece_and_then_cuts_the_parts_between),
      cmocka_unit_test(llama3_groups_three_digits_and_keeps_line_ends_with_symbols),
      cmocka_unit_test(qwen2_makes_each_digit_a_piece),
      cmocka_unit_test(default_cuts_punctuation_first),
      cmocka_unit_test(gpt_4o_cuts_before_an_upper_case_letter),
      cmocka_unit_test(case_is_that_of_all_scripts),
      cmocka_unit_test(digits_are_grouped_from_the_right),
      cmocka_unit_test(other_families_cut_their_own_way),
      cmocka_unit_test(deepseek_llm_cuts_white_space_at_the_end_only),
      cmocka_unit_test(white_space_is_unicodes),
      cmocka_unit_test(bytes_that_are_no_utf8_are_pieces_of_their_own),
      cmocka_unit_test(an_unknown_name_is_refused_and_the_known_ones_are_listed),
      cmocka_unit_test(traits_are_those_of_the_model),
      cmocka_unit_test(pieces_are_the_text),
      cmocka_unit_test(long_runs_take_time_in_proportion),
      cmocka_unit_test(the_taker_can_end_the_split),
      cmocka_unit_test(a_pattern_that_takes_too_many_steps_is_an_error),
      cmocka_unit_test(a_pattern_that_is_none_is_an_error),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
