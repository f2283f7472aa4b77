/* Text to tokens and back, on small vocabularies. */
#include <pthread.h>
#include <sys/mman.h>

#include "vocab_fixture.h"

/* --- bytes */

static const vocab_spec BYTES = {.pre = "gpt-2"};

static void every_byte_comes_back(void **state) {
  el_tokenizer *t = open_good(&BYTES);
  assert_int_equal(el_tokenizer_n_vocab(t), 256);
  char all[256];
  for (int i = 0; i < 256; i++) {
    all[i] = (char)i;
    int32_t id = i;
    check_ids(t, &all[i], 1, 0, &id, 1);
    el_str s = el_token_bytes(t, i, false);
    assert_int_equal(s.len, 1);
    assert_int_equal((unsigned char)s.data[0], i);
  }
  assert_round_trip(t, all, sizeof all, 0);
  el_tokenizer_close(t);
}

static void random_bytes_come_back(void **state) {
  static const char *const PRE[] = {"smollm", "gpt-2", "llama-bpe", "qwen2", "default", "deepseek-v3"};
  uint64_t seed = 3;
  for (size_t k = 0; k < sizeof PRE / sizeof *PRE; k++) {
    vocab_spec s = {.pre = PRE[k],
                    .more = {{"\xc4\xa0"
                              "a",
                              NORMAL},
                             {"ab", NORMAL},
                             {"<|x|>", CONTROL},
                             {"  ", USER_DEFINED}},
                    .merges = {"\xc4\xa0 a", "a b"}};
    el_tokenizer *t = open_good(&s);
    for (int round = 0; round < 400; round++) {
      char text[300];
      size_t len = next_random(&seed) % sizeof text;
      for (size_t i = 0; i < len; i++) {
        uint32_t r = next_random(&seed);
        text[i] = r & 1 ? "ab 1<|x>\n\xc3\xa4"[(r >> 8) % 11] : (char)(r >> 8);
      }
      assert_round_trip(t, text, len, round & 1 ? EL_TOKENIZE_SPECIAL : 0);
    }
    el_tokenizer_close(t);
  }
}

static void an_empty_text_has_no_tokens(void **state) {
  el_tokenizer *t = open_good(&BYTES);
  check_ids(t, "", 0, EL_TOKENIZE_SPECIAL | EL_TOKENIZE_BOS, NULL, 0);
  assert_round_trip(t, "", 0, 0);
  el_tokenizer_close(t);
}

static void a_byte_without_token_is_an_error_that_says_where(void **state) {
  const vocab_spec s = {.pre = "gpt-2",
                        .without =
                            "\x04"
                            "b",
                        .more = {{"ac", NORMAL}},
                        .merges = {"a c"}};
  el_tokenizer *t = open_good(&s);
  int32_t *ids = NULL;
  size_t n = 9;
  el_error e = {0};
  assert_int_equal(el_tokenize(t, "ac ac\x04", 6, 0, &ids, &n, &e), EL_ERR_INVALID);
  assert_string_equal(e.message, "the model's vocabulary has no token for byte 0x04 (at byte 5 of the text)");
  assert_int_equal(el_tokenize(t, "acb", 3, 0, &ids, &n, &e), EL_ERR_INVALID);
  assert_contains(e.message, "0x62 (at byte 2");
  assert_null(ids);
  assert_int_equal(n, 9);
  el_tokenizer_close(t);
}

static void lossy_leaves_such_bytes_out_and_keeps_their_neighbours_apart(void **state) {
  const vocab_spec s = {.pre = "gpt-2", .without = "b", .more = {{"ac", NORMAL}}, .merges = {"a c"}};
  el_tokenizer *t = open_good(&s);
  assert_ids(t, "acb", EL_TOKENIZE_LOSSY, more_id(&s, 0), -1);
  assert_ids(t, "abc", EL_TOKENIZE_LOSSY, 'a', 'c' - 1, -1); /* ids after b are one less */
  assert_ids(t, "b", EL_TOKENIZE_LOSSY, -1);
  el_tokenizer_close(t);
}

/* --- a limit */

static void a_text_has_the_limits_number_of_tokens_or_is_refused(void **state) {
  const vocab_spec s = {.pre = "gpt-2",
                        .more = {{"ab", NORMAL}, {"abab", NORMAL}, {"<|x|>", CONTROL}, {"  ", USER_DEFINED}},
                        .merges = {"a b", "ab ab"}};
  el_tokenizer *t = open_good(&s);
  uint64_t seed = 7;
  for (int round = 0; round < 2000; round++) {
    char text[100];
    size_t len = next_random(&seed) % sizeof text, n = 0, limited = 0;
    for (size_t i = 0; i < len; i++) text[i] = "ababab 1<|x>"[next_random(&seed) % 12];
    int32_t *ids = NULL, *same = NULL;
    el_error e = {0};
    assert_int_equal(el_tokenize(t, text, len, EL_TOKENIZE_SPECIAL, &ids, &n, &e), EL_OK);
    assert_int_equal(el_tokenize_at_most(t, text, len, EL_TOKENIZE_SPECIAL, n, &same, &limited, &e), EL_OK);
    assert_int_equal(limited, n);
    assert_memory_equal(same, ids, n * sizeof *ids);
    free(ids);
    free(same);
    if (n)
      assert_int_equal(el_tokenize_at_most(t, text, len, EL_TOKENIZE_SPECIAL, n - 1, &ids, &n, &e), EL_ERR_TOO_LONG);
  }
  el_tokenizer_close(t);
}

/* The longest token has 4 bytes. Not one byte of the text may be touched. */
static void a_text_that_is_certainly_too_long_is_not_even_read(void **state) {
  const vocab_spec s = {.pre = "gpt-2", .more = {{"abab", NORMAL}}};
  el_tokenizer *t = open_good(&s);
  size_t len = (size_t)1 << 26, n = 9;
  char *text = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  assert_true(text != MAP_FAILED);
  int32_t *ids = NULL;
  el_error e = {0};
  assert_int_equal(el_tokenize_at_most(t, text, len, EL_TOKENIZE_SPECIAL, 4096, &ids, &n, &e), EL_ERR_TOO_LONG);
  assert_string_equal(e.message, "a text of 67108864 bytes is at least 16777216 tokens; the limit is 4096");
  assert_null(ids);
  assert_int_equal(n, 9);
  munmap(text, len);
  el_tokenizer_close(t);
}

/* By its length alone it could be 64 tokens: it is given up where the rest cannot be few enough any more. */
static void a_text_is_given_up_where_its_tokens_are_too_many(void **state) {
  vocab_spec s = {.pre = "smollm"};
  char longest[1 << 14];
  memset(longest, 'b', sizeof longest - 1);
  longest[sizeof longest - 1] = 0;
  s.more[0] = (more_token){longest, NORMAL};
  el_tokenizer *t = open_good(&s);
  size_t len = (size_t)1 << 20, n = 9;
  char *text = malloc(len);
  assert_non_null(text);
  memset(text, '1', len); /* each digit is a piece */
  int32_t *ids = NULL;
  el_error e = {0};
  assert_int_equal(el_tokenize_at_most(t, text, len, 0, 4096, &ids, &n, &e), EL_ERR_TOO_LONG);
  assert_string_equal(e.message, "a text of 1048576 bytes is at least 4097 tokens; the limit is 4096");
  free(text);
  el_tokenizer_close(t);
}

/* --- merges */

/* The rule as it is written down, without a heap: again and again the best pair, the leftmost first. */
static size_t merge_slowly(int32_t *ids, size_t n, int32_t (*const pairs)[3], size_t n_pairs) {
  for (;;) {
    size_t best = n_pairs, at = 0;
    for (size_t i = 0; i + 1 < n; i++)
      for (size_t k = 0; k < best; k++)
        if (pairs[k][0] == ids[i] && pairs[k][1] == ids[i + 1]) best = k, at = i;
    if (best == n_pairs) return n;
    ids[at] = pairs[best][2];
    memmove(ids + at + 1, ids + at + 2, (n - at - 2) * sizeof *ids);
    n--;
  }
}

static void merges_apply_by_rank_and_from_the_left(void **state) {
  vocab_spec s = {.pre = "gpt-2"};
  char texts[MAX_MORE][64], merges[MAX_MORE][96];
  int32_t pairs[MAX_MORE][3];
  size_t n = 0;
  uint64_t seed = 11;
  /* Random merges of letters a to d and of what came of merges before. */
  while (n + 1 < MAX_MORE) {
    int32_t left = (int32_t)(next_random(&seed) % (4 + n)), right = (int32_t)(next_random(&seed) % (4 + n));
    char one[2][64];
    int32_t part[2] = {left, right};
    for (int i = 0; i < 2; i++) {
      if (part[i] < 4)
        snprintf(one[i], sizeof one[i], "%c", 'a' + part[i]);
      else
        snprintf(one[i], sizeof one[i], "%s", texts[part[i] - 4]);
    }
    if (strlen(one[0]) + strlen(one[1]) > 12) continue;
    char text[128];
    snprintf(text, sizeof text, "%.60s%.60s", one[0], one[1]);
    bool known = false;
    for (size_t i = 0; i < n; i++) known |= strcmp(texts[i], text) == 0;
    if (known) continue;
    snprintf(texts[n], sizeof texts[n], "%.60s", text);
    snprintf(merges[n], sizeof merges[n], "%.40s %.40s", one[0], one[1]);
    s.more[n] = (more_token){texts[n], NORMAL};
    s.merges[n] = merges[n];
    pairs[n][0] = left < 4 ? 'a' + left : 256 + left - 4;
    pairs[n][1] = right < 4 ? 'a' + right : 256 + right - 4;
    pairs[n][2] = 256 + (int32_t)n;
    n++;
  }
  el_tokenizer *t = open_good(&s);
  for (int round = 0; round < 2000; round++) {
    char text[80];
    int32_t want[80];
    size_t len = 1 + next_random(&seed) % sizeof text;
    for (size_t i = 0; i < len; i++) want[i] = text[i] = (char)('a' + next_random(&seed) % 4);
    check_ids(t, text, len, 0, want, merge_slowly(want, len, (int32_t(*const)[3])pairs, n));
  }
  el_tokenizer_close(t);
}

static void merges_stay_inside_a_piece(void **state) {
  const vocab_spec s = {
      .pre = "gpt-2", .more = {{"a!", NORMAL}, {"\xc3\xbf\xc3\xbf", NORMAL}}, .merges = {"a !", "\xc3\xbf \xc3\xbf"}};
  el_tokenizer *t = open_good(&s);
  assert_ids(t, "a!", 0, 'a', '!', -1);
  assert_ids(t,
             "a\xff\xff"
             "a",
             0, 'a', 257, 'a', -1);
  el_tokenizer_close(t);
}

static void a_merge_of_unknown_tokens_is_left_out(void **state) {
  const vocab_spec s = {.pre = "gpt-2",
                        .more = {{"ab", NORMAL}, {"<x>", CONTROL}},
                        .merges = {"b c", "zz a", "a zz", "nospace", "", " ", "a ", " a", "< x>", "a b"}};
  el_tokenizer *t = open_good(&s);
  assert_ids(t, "abc", 0, 256, 'c', -1);
  assert_round_trip(t, "bc zza <x>", 10, 0);
  el_tokenizer_close(t);
}

static void of_a_merge_that_is_listed_twice_the_first_counts(void **state) {
  const vocab_spec s = {.pre = "gpt-2", .more = {{"ab", NORMAL}, {"bc", NORMAL}}, .merges = {"a b", "b c", "a b"}};
  el_tokenizer *t = open_good(&s);
  assert_ids(t, "abc", 0, 256, 'c', -1);
  el_tokenizer_close(t);
}

static void llama3_takes_a_word_that_is_a_token_whatever_the_merges(void **state) {
  vocab_spec s = {.pre = "llama-bpe", .more = {{"abc", NORMAL}, {"bc", NORMAL}}, .merges = {"b c"}};
  el_tokenizer *t = open_good(&s);
  assert_ids(t, "abc", 0, 256, -1);
  assert_ids(t, "abcd", 0, 'a', 257, 'd', -1);
  el_tokenizer_close(t);
  s.pre = "qwen2";
  t = open_good(&s);
  assert_ids(t, "abc", 0, 'a', 257, -1);
  el_tokenizer_close(t);
}

/* n log n, not n squared: that would be 10^12 steps. */
static void a_word_of_a_megabyte_is_no_trouble(void **state) {
  static const char *const UNITS[] = {"a", " ", "1", "\xff", "ab", "\xc3\xa4"};
  enum { N = 1 << 20 };
  const vocab_spec s = {.pre = "gpt-2",
                        .more = {{"aa", NORMAL},
                                 {"aaaa", NORMAL},
                                 {"aaaaaaaa", NORMAL},
                                 {"abab", NORMAL},
                                 {"ab", NORMAL},
                                 {"11", NORMAL},
                                 {"\xc4\xa0\xc4\xa0", NORMAL}},
                        .merges = {"a a", "aa aa", "aaaa aaaa", "a b", "ab ab", "1 1", "\xc4\xa0 \xc4\xa0"}};
  el_tokenizer *t = open_good(&s);
  char *text = malloc(N);
  for (size_t k = 0; k < sizeof UNITS / sizeof *UNITS; k++) {
    size_t n = strlen(UNITS[k]);
    for (size_t i = 0; i < N; i++) text[i] = UNITS[k][i % n];
    assert_round_trip(t, text, N, EL_TOKENIZE_SPECIAL);
  }
  free(text);
  el_tokenizer_close(t);
}

/* --- special tokens */

static const vocab_spec SPECIALS = {.pre = "gpt-2",
                                    .more = {{"<|a|>", CONTROL},
                                             {"<|a|><|b|>", CONTROL},
                                             {"<|b|>", CONTROL},
                                             {"<u>", USER_DEFINED},
                                             {"|><", CONTROL},
                                             {"  ", USER_DEFINED},
                                             {"<unk>", UNKNOWN}}};
enum { A = 256, AB, B, U, BAR, TWO_SPACES, UNK };

static void control_tokens_are_text_unless_the_caller_allows_them(void **state) {
  el_tokenizer *t = open_good(&SPECIALS);
  assert_ids(t, "x<|a|>y", EL_TOKENIZE_SPECIAL, 'x', A, 'y', -1);
  assert_ids(t, "x<|a|>", 0, 'x', '<', '|', 'a', '|', '>', -1);
  assert_ids(t, "<unk>", EL_TOKENIZE_SPECIAL, UNK, -1);
  assert_ids(t, "<unk>", 0, '<', 'u', 'n', 'k', '>', -1);
  el_tokenizer_close(t);
}

static void the_longest_special_token_wins(void **state) {
  el_tokenizer *t = open_good(&SPECIALS);
  assert_ids(t, "<|a|><|b|><|a|><|a|>", EL_TOKENIZE_SPECIAL, AB, A, A, -1);
  /* Longer ones are cut out first, wherever they stand: "|><" does not get its part of them. */
  assert_ids(t, "|><|b|>|><", EL_TOKENIZE_SPECIAL, '|', '>', B, BAR, -1);
  assert_ids(t, "<|a", EL_TOKENIZE_SPECIAL, '<', '|', 'a', -1);
  el_tokenizer_close(t);
}

static void user_defined_tokens_are_always_found(void **state) {
  el_tokenizer *t = open_good(&SPECIALS);
  assert_ids(t, "a<u>   b", 0, 'a', U, TWO_SPACES, ' ', 'b', -1);
  assert_ids(t, "a<u>   b", EL_TOKENIZE_SPECIAL, 'a', U, TWO_SPACES, ' ', 'b', -1);
  el_tokenizer_close(t);
}

static void control_tokens_are_shown_on_request_only(void **state) {
  el_tokenizer *t = open_good(&SPECIALS);
  const int32_t ids[] = {'x', A, U, UNK, 'y'};
  char *text = NULL;
  size_t len = 0;
  el_error e = {0};
  assert_int_equal(el_detokenize(t, ids, 5, false, &text, &len, &e), EL_OK);
  assert_string_equal(text, "x<u>y");
  free(text);
  assert_int_equal(el_detokenize(t, ids, 5, true, &text, &len, &e), EL_OK);
  assert_string_equal(text, "x<|a|><u><unk>y");
  assert_int_equal(len, strlen(text));
  free(text);
  assert_int_equal(el_token_bytes(t, A, false).len, 0);
  assert_int_equal(el_token_bytes(t, A, true).len, 5);
  el_tokenizer_close(t);
}

static void an_id_outside_the_vocabulary_is_an_error(void **state) {
  el_tokenizer *t = open_good(&SPECIALS);
  char *text = NULL;
  size_t len = 0;
  el_error e = {0};
  assert_int_equal(el_detokenize(t, (int32_t[]){'a', 263}, 2, true, &text, &len, &e), EL_ERR_INVALID);
  assert_contains(e.message, "token 263 (number 1)");
  assert_int_equal(el_detokenize(t, (int32_t[]){-1}, 1, true, &text, &len, NULL), EL_ERR_INVALID);
  assert_null(text);
  assert_int_equal(el_token_bytes(t, 263, true).len, 0);
  assert_int_equal(el_token_bytes(t, -1, true).len, 0);
  assert_false(el_tokenizer_is_eog(t, 263));
  assert_false(el_tokenizer_is_eog(t, -1));
  el_tokenizer_close(t);
}

static void without_types_all_tokens_are_ordinary(void **state) {
  vocab_spec s = {.pre = "gpt-2", .more = {{"<|im_end|>", CONTROL}}, .eos = 256, .no_types = true};
  el_tokenizer *t = open_good(&s);
  assert_ids(t, "<|im_end|>", EL_TOKENIZE_SPECIAL, '<', '|', 'i', 'm', '_', 'e', 'n', 'd', '|', '>', -1);
  assert_int_equal(el_token_bytes(t, 256, false).len, 10);
  assert_true(el_tokenizer_is_eog(t, 256));
  el_tokenizer_close(t);
}

static void tokens_that_end_a_generation_are_known_by_id_and_by_text(void **state) {
  const vocab_spec s = {.pre = "gpt-2",
                        .more = {{"<|endoftext|>", CONTROL},
                                 {"<|im_end|>", USER_DEFINED},
                                 {"</s>", NORMAL},
                                 {"<bye>", CONTROL},
                                 {"<over>", CONTROL},
                                 {"<|im_start|>", CONTROL}},
                        .eos = 259,
                        .eot = 260,
                        .bos = 261};
  el_tokenizer *t = open_good(&s);
  assert_int_equal(el_tokenizer_bos(t), 261);
  assert_int_equal(el_tokenizer_eos(t), 259);
  const bool ends[] = {true, true, false, true, true, false};
  for (int i = 0; i < 6; i++) assert_int_equal(el_tokenizer_is_eog(t, 256 + i), ends[i]);
  assert_false(el_tokenizer_is_eog(t, 'a'));
  /* As a user-defined token, <|im_end|> would be made from any text. */
  assert_ids(t, "<|im_end|>", 0, '<', '|', 'i', 'm', '_', 'e', 'n', 'd', '|', '>', -1);
  assert_ids(t, "<|im_end|>", EL_TOKENIZE_SPECIAL, 257, -1);
  el_tokenizer_close(t);
}

static void assert_ends(const vocab_spec *s, const char *ends) {
  el_tokenizer *t = open_good(s);
  for (int i = 0; ends[i]; i++)
    if (el_tokenizer_is_eog(t, more_id(s, i)) != (ends[i] == 'e')) fail_msg("%s", s->more[i].text);
  el_tokenizer_close(t);
}

static void what_ends_an_answer_depends_on_the_family(void **state) {
  const vocab_spec phi = {.pre = "gpt-4o", .more = {{"<|end|>", CONTROL}, {"<|endoftext|>", CONTROL}}};
  assert_ends(&phi, "ee");
  const vocab_spec harmony = {
      .pre = "gpt-4o",
      .more = {{"<|end|>", CONTROL}, {"<|return|>", CONTROL}, {"<|call|>", CONTROL}, {"<|channel|>", USER_DEFINED}}};
  assert_ends(&harmony, "-ee-");
  /* Parts of an answer are told apart by these, so they are shown; and no text makes them. */
  el_tokenizer *t = open_good(&harmony);
  assert_int_equal(el_token_bytes(t, 256, false).len, strlen("<|end|>"));
  assert_int_equal(el_token_bytes(t, 259, false).len, strlen("<|channel|>"));
  assert_int_equal(el_token_bytes(t, 257, false).len, 0);
  assert_ids(t, "<|end|>", 0, '<', '|', 'e', 'n', 'd', '|', '>', -1);
  assert_ids(t, "<|channel|>", EL_TOKENIZE_SPECIAL, 259, -1);
  el_tokenizer_close(t);
  const vocab_spec solar = {.pre = "solar-open",
                            .more = {{"<|end|>", CONTROL}, {"<|flush|>", CONTROL}, {"<|calls|>", CONTROL}}};
  assert_ends(&solar, "-ee");
  const vocab_spec gemma4 = {
      .pre = "gpt-2",
      .more = {{"</s>", CONTROL}, {"<turn|>", CONTROL}, {"<|tool_response>", USER_DEFINED}, {"<eos>", CONTROL}}};
  assert_ends(&gemma4, "-eee");
  const vocab_spec gaps = {.pre = "qwen2", .more = {{"<|fim_prefix|>", USER_DEFINED}, {"<|fim_pad|>", USER_DEFINED}}};
  assert_ends(&gaps, "-e");
  t = open_good(&gaps);
  assert_int_equal(el_token_bytes(t, 256, false).len, 0);
  el_tokenizer_close(t);
}

static void bos_comes_first_when_the_file_asks_for_it(void **state) {
  vocab_spec s = {.pre = "gpt-2", .more = {{"<s>", CONTROL}}, .bos = 256, .add_bos = 1};
  el_tokenizer *t = open_good(&s);
  assert_ids(t, "a", EL_TOKENIZE_BOS, 256, 'a', -1);
  assert_ids(t, "", EL_TOKENIZE_BOS, 256, -1);
  assert_ids(t, "a", 0, 'a', -1);
  el_tokenizer_close(t);
  s.add_bos = 0;
  t = open_good(&s);
  assert_ids(t, "a", EL_TOKENIZE_BOS, 'a', -1);
  el_tokenizer_close(t);
  s.pre = "llama-bpe"; /* asks for it by itself */
  t = open_good(&s);
  assert_ids(t, "a", EL_TOKENIZE_BOS, 256, 'a', -1);
  el_tokenizer_close(t);
  s.add_bos = -1;
  t = open_good(&s);
  assert_ids(t, "a", EL_TOKENIZE_BOS, 'a', -1);
  el_tokenizer_close(t);
}

/* --- odd vocabularies */

static void a_text_that_begins_with_bos_gets_no_second_one(void **state) {
  vocab_spec s = {.pre = "gpt-2", .more = {{"<s>", CONTROL}, {"<x>", CONTROL}}, .bos = 256, .add_bos = 1};
  el_tokenizer *t = open_good(&s);
  assert_ids(t, "<s>a", EL_TOKENIZE_BOS | EL_TOKENIZE_SPECIAL, 256, 'a', -1);
  assert_ids(t, "<s><s>a", EL_TOKENIZE_BOS | EL_TOKENIZE_SPECIAL, 256, 256, 'a', -1); /* that one is asked for */
  assert_ids(t, "<x><s>", EL_TOKENIZE_BOS | EL_TOKENIZE_SPECIAL, 256, 257, 256, -1);
  assert_ids(t, "<s>", EL_TOKENIZE_BOS, 256, '<', 's', '>', -1);
  el_tokenizer_close(t);
}

/* llama.cpp's list of texts. */
static void tokens_around_a_gap_are_known_by_text(void **state) {
  vocab_spec s = {.pre = "gpt-2",
                  .more = {{"<|fim_prefix|>", CONTROL},
                           {"<|fim_middle|>", CONTROL},
                           {"<|fim_suffix|>", USER_DEFINED},
                           {"<|fim_pad|>", CONTROL},
                           {"<|repo_name|>", CONTROL},
                           {"<|file_sep|>", CONTROL}}};
  el_tokenizer *t = open_good(&s);
  static const int32_t expected[EL_N_FIM] = {256, 258, 257, 259, 260, 261};
  for (int i = 0; i < EL_N_FIM; i++) assert_int_equal(el_tokenizer_fim(t, (el_fim)i), expected[i]);
  assert_int_equal(el_tokenizer_fim(t, (el_fim)EL_N_FIM), -1);
  el_tokenizer_close(t);
  s = (vocab_spec){.pre = "gpt-2", .more = {{"<|fim_prefix|>", NORMAL}}}; /* text that reads like one does nothing */
  t = open_good(&s);
  for (int i = 0; i < EL_N_FIM; i++) assert_int_equal(el_tokenizer_fim(t, (el_fim)i), -1);
  el_tokenizer_close(t);
}

static void a_token_outside_the_alphabet_stands_for_its_own_characters(void **state) {
  const vocab_spec s = {
      .pre = "gpt-2",
      .more = {{"a b", NORMAL}, {"\xe4\xb8\x96", NORMAL}, {"\xff\xc4", NORMAL}, {"", NORMAL}, {"", CONTROL}}};
  el_tokenizer *t = open_good(&s);
  assert_int_equal(el_token_bytes(t, 256, false).len, 3);
  assert_memory_equal(el_token_bytes(t, 257, false).data, "\xe4\xb8\x96", 3);
  assert_int_equal(el_token_bytes(t, 258, false).len, 2);
  assert_int_equal(el_token_bytes(t, 259, false).len, 0);
  assert_ids(t, "a b", EL_TOKENIZE_SPECIAL, 'a', ' ', 'b', -1);
  el_tokenizer_close(t);
}

static void files_that_lie_are_refused(void **state) {
  vocab_spec s = {.pre = "gpt-2", .more = {{"ab", NORMAL}, {"ab", NORMAL}}};
  assert_refused(&s, EL_ERR_FORMAT, "'ab' twice, as 256 and as 257");
  s = (vocab_spec){.pre = "gpt-2", .more = {{"a", NORMAL}}};
  assert_refused(&s, EL_ERR_FORMAT, "'a' twice");
  s = (vocab_spec){.pre = "gpt-2", .more = {{"<x>", CONTROL}, {"<x>", USER_DEFINED}}};
  assert_refused(&s, EL_ERR_FORMAT, "'<x>' is there twice");
  s = (vocab_spec){.pre = "gpt-2", .no_merges = true};
  assert_refused(&s, EL_ERR_FORMAT, "tokenizer.ggml.merges is missing");
  s = (vocab_spec){.pre = "gpt-2", .eos = 256};
  assert_refused(&s, EL_ERR_FORMAT, "tokenizer.ggml.eos_token_id");
  s = (vocab_spec){.pre = "gpt-2", .bos = -1};
  assert_refused(&s, EL_ERR_FORMAT, "tokenizer.ggml.bos_token_id");
  s = (vocab_spec){.pre = "gpt-2", .add_bos = 1};
  assert_refused(&s, EL_ERR_FORMAT, "add_bos_token is true");
  char *longest = malloc(1026);
  memset(longest, 'x', 1025);
  longest[1025] = 0;
  s = (vocab_spec){.pre = "gpt-2", .more = {{longest, CONTROL}}};
  assert_refused(&s, EL_ERR_UNSUPPORTED, "1025 bytes");
  longest[1024] = 0;
  el_tokenizer *t = open_good(&s);
  assert_round_trip(t, longest, 1024, EL_TOKENIZE_SPECIAL);
  el_tokenizer_close(t);
  free(longest);
}

static void an_unknown_pre_tokenizer_is_told_and_the_default_cuts(void **state) {
  vocab_spec s = {.pre = "non\nsense", .more = {{"123", NORMAL}, {"12", NORMAL}}, .merges = {"1 2", "12 3"}};
  el_tokenizer *t = open_good(&s);
  assert_contains(el_tokenizer_notice(t), "tokenizer.ggml.pre 'non\\nsense' is not known");
  assert_ids(t, "1234", 0, 256, '4', -1);
  el_tokenizer_close(t);
  s.pre = NULL;
  t = open_good(&s);
  assert_contains(el_tokenizer_notice(t), "tokenizer.ggml.pre is missing");
  assert_ids(t, "1234", 0, 256, '4', -1);
  el_tokenizer_close(t);
  s.pre = "default";
  t = open_good(&s);
  assert_null(el_tokenizer_notice(t));
  el_tokenizer_close(t);
}

static void other_kinds_of_tokenizers_are_refused_by_name(void **state) {
  static const char *const KINDS[][2] = {
      {"plamo2", "PLaMo 2"}, {"bert", "WordPiece"}, {"t5", "Unigram"}, {"rwkv", "RWKV"}, {"x\x1b[2J", "x\\x1b[2J"}};
  for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
    const vocab_spec s = {.model = KINDS[i][0]};
    assert_refused(&s, EL_ERR_UNSUPPORTED, "tokenizer.ggml.model");
    assert_refused(&s, EL_ERR_UNSUPPORTED, KINDS[i][1]);
  }
}

/* The value of one key has the wrong type or size. */
static void assert_bad_kv(void (*put_bad)(el_buf *b), bool merges, el_status want, const char *part) {
  el_buf b = {0};
  const vocab_spec s = {.pre = "gpt-2"};
  put_gguf_header(&b, 3, 0, 3);
  put_kv_str(&b, "tokenizer.ggml.model", "gpt2");
  put_bad(&b);
  merges ? put_merges(&b, &s) : put_tokens(&b, &s);
  el_gguf *g = NULL;
  el_tokenizer *t = NULL;
  el_error e = {0};
  if (el_gguf_open_memory(b.data, b.len, "test.gguf", &g, &e)) fail_msg("%s", e.message);
  assert_int_equal(el_tokenizer_from_gguf(g, &t, &e), want);
  assert_contains(e.message, part);
  assert_null(t);
  el_gguf_close(g);
  el_buf_free(&b);
}

static void put_int_tokens(el_buf *b) {
  put_array(b, "tokenizer.ggml.tokens", EL_GGUF_U32, 1);
  put_u32(b, 1);
}
static void put_no_tokens(el_buf *b) {
  put_array(b, "tokenizer.ggml.tokens", EL_GGUF_STRING, 0);
}
static void put_one_token(el_buf *b) {
  put_kv_str(b, "tokenizer.ggml.tokens", "a");
}
static void put_few_types(el_buf *b) {
  put_array(b, "tokenizer.ggml.token_type", EL_GGUF_I32, 1);
  put_u32(b, 1);
}
static void put_float_types(el_buf *b) {
  put_array(b, "tokenizer.ggml.token_type", EL_GGUF_F32, 1);
  put_f32(b, 1);
}
static void put_int_merges(el_buf *b) {
  put_array(b, "tokenizer.ggml.merges", EL_GGUF_U32, 1);
  put_u32(b, 1);
}
static void put_nothing_of_use(el_buf *b) {
  put_kv_u32(b, "tokenizer.ggml.unrelated", 1);
}

static void keys_of_the_wrong_kind_are_refused(void **state) {
  assert_bad_kv(put_int_tokens, true, EL_ERR_FORMAT, "tokens is not an array of strings");
  assert_bad_kv(put_one_token, true, EL_ERR_FORMAT, "tokens is not an array of strings");
  assert_bad_kv(put_no_tokens, true, EL_ERR_FORMAT, "tokens has 0 items");
  assert_bad_kv(put_nothing_of_use, true, EL_ERR_FORMAT, "tokens is missing");
  assert_bad_kv(put_few_types, false, EL_ERR_FORMAT, "token_type has 1 items for 256 tokens");
  assert_bad_kv(put_float_types, false, EL_ERR_FORMAT, "token_type is not an array");
  assert_bad_kv(put_int_merges, false, EL_ERR_FORMAT, "merges is not an array of strings");
}

static void a_file_without_tokenizer_is_refused(void **state) {
  el_buf b = {0};
  el_gguf *g = NULL;
  el_tokenizer *t = NULL;
  el_error e = {0};
  put_gguf_header(&b, 3, 0, 0);
  assert_int_equal(el_gguf_open_memory(b.data, b.len, "test.gguf", &g, &e), EL_OK);
  assert_int_equal(el_tokenizer_from_gguf(g, &t, &e), EL_ERR_FORMAT);
  assert_contains(e.message, "test.gguf: tokenizer.ggml.model is missing");
  el_gguf_close(g);
  el_buf_free(&b);
  assert_int_equal(el_tokenizer_open("/nonexistent/x.gguf", &t, &e), EL_ERR_IO);
  assert_null(t);
  el_tokenizer_close(NULL);
}

/* --- threads */

static void *tokenize_often(void *arg) {
  for (int i = 0; i < 300; i++) assert_round_trip(arg, "Hello <|a|> world 123 \xff  x", 27, EL_TOKENIZE_SPECIAL);
  return NULL;
}

static void threads_share_a_tokenizer(void **state) {
  el_tokenizer *t = open_good(&SPECIALS);
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, tokenize_often, t), 0);
  for (int i = 0; i < 4; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
  el_tokenizer_close(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_byte_comes_back),
      cmocka_unit_test(random_bytes_come_back),
      cmocka_unit_test(an_empty_text_has_no_tokens),
      cmocka_unit_test(a_byte_without_token_is_an_error_that_says_where),
      cmocka_unit_test(lossy_leaves_such_bytes_out_and_keeps_their_neighbours_apart),
      cmocka_unit_test(a_text_has_the_limits_number_of_tokens_or_is_refused),
      cmocka_unit_test(a_text_that_is_certainly_too_long_is_not_even_read),
      cmocka_unit_test(a_text_is_given_up_where_its_tokens_are_too_many),
      cmocka_unit_test(merges_apply_by_rank_and_from_the_left),
      cmocka_unit_test(merges_stay_inside_a_piece),
      cmocka_unit_test(a_merge_of_unknown_tokens_is_left_out),
      cmocka_unit_test(of_a_merge_that_is_listed_twice_the_first_counts),
      cmocka_unit_test(llama3_takes_a_word_that_is_a_token_whatever_the_merges),
      cmocka_unit_test(a_word_of_a_megabyte_is_no_trouble),
      cmocka_unit_test(control_tokens_are_text_unless_the_caller_allows_them),
      cmocka_unit_test(the_longest_special_token_wins),
      cmocka_unit_test(user_defined_tokens_are_always_found),
      cmocka_unit_test(control_tokens_are_shown_on_request_only),
      cmocka_unit_test(an_id_outside_the_vocabulary_is_an_error),
      cmocka_unit_test(without_types_all_tokens_are_ordinary),
      cmocka_unit_test(tokens_that_end_a_generation_are_known_by_id_and_by_text),
      cmocka_unit_test(what_ends_an_answer_depends_on_the_family),
      cmocka_unit_test(bos_comes_first_when_the_file_asks_for_it),
      cmocka_unit_test(a_text_that_begins_with_bos_gets_no_second_one),
      cmocka_unit_test(tokens_around_a_gap_are_known_by_text),
      cmocka_unit_test(a_token_outside_the_alphabet_stands_for_its_own_characters),
      cmocka_unit_test(files_that_lie_are_refused),
      cmocka_unit_test(an_unknown_pre_tokenizer_is_told_and_the_default_cuts),
      cmocka_unit_test(other_kinds_of_tokenizers_are_refused_by_name),
      cmocka_unit_test(keys_of_the_wrong_kind_are_refused),
      cmocka_unit_test(a_file_without_tokenizer_is_refused),
      cmocka_unit_test(threads_share_a_tokenizer),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
