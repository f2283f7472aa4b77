/* Vocabularies that are written as text, with U+2581 for a space: SentencePiece's, where scores join characters to
 * tokens, and Gemma 4's, where merges do. */
#include <math.h>

#include "spaced_fixture.h"

static const int32_t M = FIRST_MORE; /* the first of `more` */

/* --- joining */

static void the_best_score_joins_first_and_of_equal_ones_the_leftmost(void **state) {
  const spaced_spec s = {.add_space = -1,
                         .more = {{"a", NORMAL, -9},   /* 0 */
                                  {"b", NORMAL, -9},   /* 1 */
                                  {"c", NORMAL, -9},   /* 2 */
                                  {"ab", NORMAL, -3},  /* 3 */
                                  {"bc", NORMAL, -2},  /* 4 */
                                  {"aa", NORMAL, -4},  /* 5 */
                                  {"abc", NORMAL, -8}, /* 6 */
                                  {"cab", UNUSED, -1}}};
  el_tokenizer *t = open_good_spaced(&s);
  assert_ids(t, "abc", 0, M + 6, -1); /* a|bc, and then they are one */
  assert_ids(t, "abcc", 0, M + 6, M + 2, -1);
  assert_ids(t, "aaa", 0, M + 5, M, -1); /* leftmost first */
  assert_ids(t, "aaaa", 0, M + 5, M + 5, -1);
  assert_ids(t, "aab", 0, M, M + 3, -1); /* ab before aa, whose a is gone */
  assert_ids(t, "cab", 0, M + 7, -1);    /* an unused token is a token */
  el_tokenizer_close(t);
}

static void a_token_is_reached_through_characters_that_are_none(void **state) {
  const spaced_spec s = {.add_space = -1,
                         .more = {{"xy", NORMAL, -1}, {"xyz", NORMAL, -2}, {"\xc3\xa9\xc3\xa8", NORMAL, -3}}};
  el_tokenizer *t = open_good_spaced(&s);
  assert_ids(t, "xyz", 0, M + 1, -1);
  assert_ids(t, "xyx", 0, M, FIRST_BYTE + 'x', -1);
  assert_ids(t, "\xc3\xa9\xc3\xa8\xc3\xa9", 0, M + 2, FIRST_BYTE + 0xc3, FIRST_BYTE + 0xa9, -1);
  el_tokenizer_close(t);
}

static void control_and_byte_tokens_are_not_made_from_text(void **state) {
  /* All steps to "</s>", "<s>" and "<0x41>" are there. */
  const spaced_spec s = {.add_space = -1,
                         .more = {{"<", NORMAL, -1},
                                  {"s", NORMAL, -1},
                                  {">", NORMAL, -1},
                                  {"<s", NORMAL, -1},
                                  {"</", NORMAL, -1},
                                  {"</s", NORMAL, -1},
                                  {"<0", NORMAL, -1},
                                  {"<0x", NORMAL, -1},
                                  {"<0x4", NORMAL, -1},
                                  {"<0x41", NORMAL, -1}}};
  el_tokenizer *t = open_good_spaced(&s);
  assert_ids(t, "<s>", 0, M + 3, M + 2, -1);
  assert_ids(t, "</s>", 0, M + 5, M + 2, -1);
  assert_ids(t, "<0x41>", EL_TOKENIZE_SPECIAL, M + 9, M + 2, -1);
  assert_ids(t, "</s>", EL_TOKENIZE_SPECIAL, 2, -1);
  el_tokenizer_close(t);
}

/* --- against the rule, word for word */

typedef struct rule {
  const spaced_spec *s;
  char parts[96][64];
  int n;
} rule;

static int rule_find(const spaced_spec *s, const char *text) {
  for (int i = 0; i < count_spaced(s); i++)
    if (strcmp(s->more[i].text, text) == 0 && s->more[i].type == NORMAL) return i;
  return -1;
}

/* All pairs are looked at, and the best is joined, until there is none. The text has U+2581 for spaces already. (Where
 * a vocabulary has no token for a space, as none in use has not, its byte is that of a space, so that it comes back.)
 */
static size_t by_the_rule(rule *r, const char *text, int32_t *out) {
  r->n = 0;
  for (const char *p = text; *p; r->n++) {
    size_t len = *p == '\xe2' ? 3 : 1;
    memcpy(r->parts[r->n], p, len);
    r->parts[r->n][len] = 0;
    p += len;
  }
  for (;;) {
    int best = -1;
    float score = 0;
    for (int i = 0; i + 1 < r->n; i++) {
      char both[128];
      snprintf(both, sizeof both, "%s%s", r->parts[i], r->parts[i + 1]);
      int id = rule_find(r->s, both);
      if (id >= 0 && (best < 0 || r->s->more[id].score > score)) best = i, score = r->s->more[id].score;
    }
    if (best < 0) break;
    char both[128];
    snprintf(both, sizeof both, "%s%s", r->parts[best], r->parts[best + 1]);
    memcpy(r->parts[best], both, sizeof *r->parts);
    memmove(r->parts[best + 1], r->parts[best + 2], sizeof *r->parts * (size_t)(r->n - best - 2));
    r->n--;
  }
  size_t n = 0;
  for (int i = 0; i < r->n; i++) {
    int id = rule_find(r->s, r->parts[i]);
    if (id >= 0)
      out[n++] = M + id;
    else if (strcmp(r->parts[i], SP) == 0)
      out[n++] = FIRST_BYTE + ' ';
    else
      for (const char *p = r->parts[i]; *p; p++) out[n++] = FIRST_BYTE + (unsigned char)*p;
  }
  return n;
}

/* Among the tokens are some that reach over a space, before which a text must not be cut then. */
static void random_texts_on_random_vocabularies_follow_the_rule(void **state) {
  static const char *const PARTS[] = {"a", "b", SP, "c"};
  uint64_t seed = 11;
  int n_joined = 0;
  for (int round = 0; round < 300; round++) {
    char names[40][32];
    spaced_spec s = {.add_space = -1};
    int n = 0;
    for (int k = 0; k < 40; k++) {
      names[k][0] = 0;
      for (uint32_t i = 0, len = 1 + next_random(&seed) % (k < 25 ? 3 : 5); i < len; i++)
        strcat(names[k], PARTS[next_random(&seed) % (round % 3 ? 4 : 3)]);
      if (rule_find(&s, names[k]) >= 0) continue;
      s.more[n++] = (spaced_token){names[k], NORMAL, -(float)(next_random(&seed) % 8)};
    }
    el_tokenizer *t = open_good_spaced(&s);
    for (int i = 0; i < 20; i++) {
      char text[64] = "", marked[192] = "";
      for (uint32_t k = 0, len = 1 + next_random(&seed) % 40; k < len; k++) {
        const char *part = PARTS[next_random(&seed) % 4];
        strcat(text, strcmp(part, SP) ? part : " ");
        strcat(marked, part);
      }
      rule r = {.s = &s};
      int32_t want[256];
      size_t n_want = by_the_rule(&r, marked, want);
      check_ids(t, text, strlen(text), 0, want, n_want);
      check_ids(t, marked, strlen(marked), 0, want, n_want); /* U+2581 in a text is a space */
      assert_round_trip(t, text, strlen(text), 0);
      n_joined += n_want < strlen(text);
    }
    el_tokenizer_close(t);
  }
  assert_true(n_joined > 5000);
}

/* --- spaces */

static const spaced_spec WORDS = {.more = {{SP, NORMAL, -9},
                                           {"a", NORMAL, -9},
                                           {SP "a", NORMAL, -1},
                                           {SP SP, NORMAL, -2},
                                           {"<|x|>", CONTROL, 0},
                                           {"<u>", USER_DEFINED, 0},
                                           {"b  c", USER_DEFINED, 0}}};

static void a_space_is_put_before_a_text_and_after_special_tokens(void **state) {
  el_tokenizer *t = open_good_spaced(&WORDS);
  assert_ids(t, "a", 0, M + 2, -1);
  assert_ids(t, " a", 0, M, M + 2, -1); /* SP SP has the lower score */
  assert_ids(t, "a<|x|>a<u>a", EL_TOKENIZE_SPECIAL, M + 2, M + 4, M + 2, M + 5, M + 2, -1);
  assert_ids(t, "<|x|>", EL_TOKENIZE_SPECIAL, M + 4, -1); /* nothing, no space */
  assert_ids(t, "", 0, -1);
  assert_ids(t, "a", EL_TOKENIZE_BOS, 1, M + 2, -1);
  el_tokenizer_close(t);
  spaced_spec s = WORDS;
  s.add_space = -1;
  s.add_bos = -1;
  t = open_good_spaced(&s);
  assert_ids(t, "a", EL_TOKENIZE_BOS, M + 1, -1);
  assert_ids(t, "a<|x|> a", EL_TOKENIZE_SPECIAL, M + 1, M + 4, M + 2, -1);
  el_tokenizer_close(t);
}

static void assert_streams(const el_tokenizer *t, const char *text, size_t len) {
  int32_t *ids = NULL;
  size_t n = 0, part_len;
  el_error e = {0};
  el_buf joined = {0};
  char *part;
  put(&joined, "", 0);
  if (el_tokenize(t, text, len, EL_TOKENIZE_SPECIAL, &ids, &n, &e)) fail_msg("%s", e.message);
  for (size_t i = 0, step; i < n; i += step) {
    step = i % 3 == 2 && i + 2 <= n ? 2 : 1;
    assert_int_equal(el_detokenize_after(t, i ? ids[i - 1] : -1, ids + i, step, true, &part, &part_len, &e), EL_OK);
    put(&joined, part, part_len);
    free(part);
  }
  assert_int_equal(joined.len, len);
  assert_memory_equal(joined.data, text, len);
  el_buf_free(&joined);
  free(ids);
}

static void texts_come_back_whole_and_piece_by_piece(void **state) {
  static const char *const PARTS[] = {" ",  "a",        "  ",   "<|x|>", "<u>",  "b  c",
                                      "\n", "\xc3\xa9", "\xff", "",      "</s>", "<0x20>"};
  uint64_t seed = 5;
  for (int add_space = -1; add_space <= 1; add_space += 2) {
    spaced_spec s = WORDS;
    s.add_space = add_space;
    el_tokenizer *t = open_good_spaced(&s);
    for (int round = 0; round < 2000; round++) {
      char text[128] = "";
      for (uint32_t k = 0, len = next_random(&seed) % 12; k < len; k++)
        strcat(text, PARTS[next_random(&seed) % (sizeof PARTS / sizeof *PARTS)]);
      assert_round_trip(t, text, strlen(text), round & 1 ? EL_TOKENIZE_SPECIAL : 0);
      assert_streams(t, text, strlen(text));
    }
    el_tokenizer_close(t);
  }
}

static void an_answer_keeps_the_space_that_goes_on_with_a_text(void **state) {
  el_tokenizer *t = open_good_spaced(&WORDS);
  char *text;
  size_t len;
  el_error e = {0};
  const int32_t after[] = {M + 1, -1, M + 4, M + 5, 1};
  const char *const want[] = {" a", "a", "a", "a", "a"};
  for (int i = 0; i < 5; i++) {
    assert_int_equal(el_detokenize_after(t, after[i], (int32_t[]){M + 2}, 1, false, &text, &len, &e), EL_OK);
    assert_string_equal(text, want[i]);
    free(text);
    assert_int_equal(el_token_text(t, after[i], M + 2, false).len, strlen(want[i]));
  }
  assert_int_equal(el_token_text(t, -1, FIRST_BYTE + ' ', false).len,
                   1); /* a byte that is a space was no one's prefix */
  el_tokenizer_close(t);
}

static void a_token_with_a_plain_space_is_found_as_special_and_never_joined(void **state) {
  spaced_spec s = WORDS;
  s.add_space = -1;
  s.more[7] = (spaced_token){"a a", NORMAL, 5}; /* files write a space as U+2581: this is not "a" SP "a" */
  el_tokenizer *t = open_good_spaced(&s);
  assert_ids(t, "a a", 0, M + 1, M + 2, -1);
  assert_ids(t, "ab  ca", 0, M + 1, M + 6, M + 1, -1);
  assert_int_equal(el_token_bytes(t, M + 7, false).len, 3);
  el_tokenizer_close(t);
}

/* --- what has no token */

static void characters_without_token_or_bytes_are_unknown(void **state) {
  spaced_spec s = {.no_bytes = true, .add_space = -1, .more = {{"a", NORMAL, -1}}};
  el_tokenizer *t = open_good_spaced(&s);
  assert_ids(t, "a\xc3\xa9z", 0, FIRST_BYTE, 0, 0, -1);
  el_tokenizer_close(t);
  s.no_unknown = true;
  t = open_good_spaced(&s);
  int32_t *ids = NULL;
  size_t n;
  el_error e = {0};
  assert_int_equal(el_tokenize(t, "a" SP "\xc3\xa9", 6, 0, &ids, &n, &e), EL_ERR_INVALID);
  assert_contains(e.message, "byte 0xe2 (at byte 1");
  assert_int_equal(el_tokenize(t, "aaa<x>a\xc3\xa9", 9, EL_TOKENIZE_SPECIAL, &ids, &n, &e), EL_ERR_INVALID);
  assert_contains(e.message, "byte 0xc3 (at byte 7");
  assert_ids(t, "a\xc3\xa9z", EL_TOKENIZE_LOSSY, FIRST_BYTE, -1);
  el_tokenizer_close(t);
  s.add_space = 1;
  t = open_good_spaced(&s);
  assert_int_equal(el_tokenize(t, "a", 1, 0, &ids, &n, &e), EL_ERR_INVALID);
  assert_contains(e.message, "space in front");
  assert_ids(t, "a", EL_TOKENIZE_LOSSY, FIRST_BYTE, -1);
  el_tokenizer_close(t);
}

static void a_limit_of_tokens_holds_where_spaces_have_three_bytes(void **state) {
  el_tokenizer *t = open_good_spaced(&WORDS);
  const char *text = SP SP SP SP "a" SP "a";
  int32_t *ids = NULL;
  size_t n, again;
  el_error e = {0};
  assert_int_equal(el_tokenize(t, text, strlen(text), 0, &ids, &n, &e), EL_OK);
  free(ids);
  assert_int_equal(el_tokenize_at_most(t, text, strlen(text), 0, n, &ids, &again, &e), EL_OK);
  assert_int_equal(again, n);
  free(ids);
  assert_int_equal(el_tokenize_at_most(t, text, strlen(text), 0, n - 1, &ids, &again, &e), EL_ERR_TOO_LONG);
  el_tokenizer_close(t);
}

/* Phi 3's tokens swallow white space, which then is no token: a text may be few tokens however long it is. */
static void special_tokens_of_phi_3_take_white_space_along(void **state) {
  spaced_spec s = WORDS;
  s.name = "Microsoft Phi-3 mini";
  s.template = "{{ '<|user|>' }}<|assistant|><|end|>";
  s.more[7] = (spaced_token){"<|endoftext|>", CONTROL, 0};
  el_tokenizer *t = open_good_spaced(&s);
  assert_ids(t, "<|x|> \n a", EL_TOKENIZE_SPECIAL, M + 4, M + 2, -1);
  assert_ids(t, "<|x|> \n <|x|>\t", EL_TOKENIZE_SPECIAL, M + 4, M + 4, -1);
  assert_ids(t, "</s> a", EL_TOKENIZE_SPECIAL, 2, M + 2, -1);
  assert_ids(t, "<s> a", EL_TOKENIZE_SPECIAL, 1, M, M + 2, -1); /* this one does not */
  assert_ids(t, "<|endoftext|> a", EL_TOKENIZE_SPECIAL, M + 7, M, M + 2, -1);
  char text[5000] = "<|x|>";
  memset(text + 5, '\n', sizeof text - 6);
  text[sizeof text - 1] = 'a';
  int32_t *ids = NULL;
  size_t n;
  el_error e = {0};
  assert_int_equal(el_tokenize_at_most(t, text, sizeof text, EL_TOKENIZE_SPECIAL, 2, &ids, &n, &e), EL_OK);
  assert_int_equal(n, 2);
  free(ids);
  el_tokenizer_close(t);
  s.name = "Another";
  t = open_good_spaced(&s);
  assert_ids(t, "<|x|> a", EL_TOKENIZE_SPECIAL, M + 4, M, M + 2, -1);
  el_tokenizer_close(t);
}

/* --- long texts */

/* Joins that look at all pairs each time would need 10^11 steps. */
static void long_texts_take_little_more_than_their_length(void **state) {
  enum { BYTES = 1 << 20 };
  static const char *const UNITS[] = {"a", "a ", " ", "ab", "\xc3\xa9", SP};
  spaced_spec s = {.more = {{"a", NORMAL, -1}, {SP, NORMAL, -1}}};
  char *tokens[2][6];
  for (int k = 0; k < 6; k++) {
    tokens[0][k] = calloc(1, 65), tokens[1][k] = calloc(1, 3 * 64 + 1);
    for (int i = 0; i < 2 << k; i++) strcat(tokens[0][k], "a"), strcat(tokens[1][k], SP);
    s.more[2 + 2 * k] = (spaced_token){tokens[0][k], NORMAL, -2 - (float)k};
    s.more[3 + 2 * k] = (spaced_token){tokens[1][k], NORMAL, -2 - (float)k};
  }
  el_tokenizer *t = open_good_spaced(&s);
  char *text = malloc(BYTES + 8);
  for (size_t i = 0; i < sizeof UNITS / sizeof *UNITS; i++) {
    size_t len = 0, unit = strlen(UNITS[i]), n;
    for (; len < BYTES; len += unit) memcpy(text + len, UNITS[i], unit);
    int32_t *ids = NULL;
    el_error e = {0};
    assert_int_equal(el_tokenize(t, text, len, 0, &ids, &n, &e), EL_OK);
    if (i == 0) assert_true(n < BYTES / 64 + 16);
    free(ids);
  }
  free(text);
  el_tokenizer_close(t);
  for (int k = 0; k < 6; k++) free(tokens[0][k]), free(tokens[1][k]);
}

/* --- files */

static void a_file_without_types_has_its_bytes_by_their_names(void **state) {
  const spaced_spec s = {.add_space = -1, .no_types = true, .more = {{"a", NORMAL, -1}}};
  el_tokenizer *t = open_good_spaced(&s);
  assert_ids(t, "a\n", 0, M, FIRST_BYTE + '\n', -1);
  assert_round_trip(t, "a\n\xff", 3, 0);
  assert_int_equal(el_tokenizer_bos(t), -1); /* <s> is no control token here */
  el_tokenizer_close(t);
}

static void what_ends_an_answer_and_what_begins_a_text_need_not_be_said(void **state) {
  el_tokenizer *t = open_good_spaced(&WORDS);
  assert_int_equal(el_tokenizer_bos(t), 1);
  assert_int_equal(el_tokenizer_eos(t), 2);
  assert_true(el_tokenizer_is_eog(t, 2));
  assert_null(el_tokenizer_notice(t));
  el_tokenizer_close(t);
  spaced_spec s = WORDS;
  s.add_eos = 1;
  t = open_good_spaced(&s);
  assert_contains(el_tokenizer_notice(t), "add_eos_token is true");
  assert_ids(t, "a", EL_TOKENIZE_BOS, 1, M + 2, -1);
  el_tokenizer_close(t);
}

static void assert_bad(const spaced_spec *s, const char *part) {
  el_tokenizer *t = NULL;
  el_error e = {0};
  assert_int_equal(open_spaced(s, &t, &e), EL_ERR_FORMAT);
  assert_null(t);
  assert_contains(e.message, "test.gguf");
  assert_contains(e.message, part);
}

static void files_that_lie_are_refused(void **state) {
  spaced_spec s = {.more = {{"a", NORMAL, NAN}}};
  assert_bad(&s, "the score of token 259 is not a finite number");
  s.more[0].score = INFINITY;
  assert_bad(&s, "the score of token 259");
  s.more[0].score = -INFINITY;
  assert_bad(&s, "the score of token 259");
  s = (spaced_spec){.no_scores = true};
  assert_bad(&s, "tokenizer.ggml.scores is missing");
  s = (spaced_spec){.more = {{"<0x0G>", BYTE, 0}}};
  assert_bad(&s, "token 259 is of a byte, but is written '<0x0G>'");
  s = (spaced_spec){.more = {{"", BYTE, 0}}};
  assert_bad(&s, "token 259 is of a byte");
  s = (spaced_spec){.more = {{"<0x0a>", BYTE, 0}}};
  assert_bad(&s, "'<0x0a>' twice, as 13 and as 259");
  s = (spaced_spec){.more = {{SP "a", NORMAL, 0}, {SP "a", NORMAL, 0}}};
  assert_bad(&s, "twice, as 259 and as 260");
  s = (spaced_spec){.no_bytes = true, .bos = 4};
  assert_bad(&s, "tokenizer.ggml.bos_token_id");
  s = (spaced_spec){.no_types = true, .add_bos = 1};
  assert_bad(&s, "add_bos_token is true, but");
}

static void odd_tokens_harm_nobody(void **state) {
  const spaced_spec s = {
      .add_space = -1,
      .more = {{"", NORMAL, 1}, {"", CONTROL, 1}, {"", USER_DEFINED, 1}, {"ab", 77, -1}, {"cd", -5, -0.0f}}};
  el_tokenizer *t = open_good_spaced(&s);
  assert_ids(t, "abcd", EL_TOKENIZE_SPECIAL, M + 3, M + 4, -1); /* types that nobody knows are ordinary */
  assert_int_equal(el_token_bytes(t, M, true).len, 0);
  el_tokenizer_close(t);
}

/* A list of scores with another type or length, written by hand. */
static void assert_bad_scores(uint32_t type, uint64_t n, el_status want, const char *part) {
  el_buf b = {0};
  put_gguf_header(&b, 3, 0, 3);
  put_kv_str(&b, "tokenizer.ggml.model", "llama");
  put_array(&b, "tokenizer.ggml.tokens", EL_GGUF_STRING, 2);
  put_str(&b, "a"), put_str(&b, "b");
  put_array(&b, "tokenizer.ggml.scores", type, n);
  if (n < 10) put_zeros(&b, n * (type == EL_GGUF_F64 ? 8 : 4));
  el_gguf *g = NULL;
  el_tokenizer *t = NULL;
  el_error e = {0};
  el_status status = el_gguf_open_memory(b.data, b.len, "test.gguf", &g, &e);
  if (!status) status = el_tokenizer_from_gguf(g, &t, &e);
  assert_int_equal(status, want);
  if (want) assert_contains(e.message, part);
  el_tokenizer_close(t);
  el_gguf_close(g);
  el_buf_free(&b);
}

static void scores_are_32_bit_numbers_one_for_each_token(void **state) {
  assert_bad_scores(EL_GGUF_F32, 2, EL_OK, "");
  assert_bad_scores(EL_GGUF_I32, 3, EL_OK, "");
  assert_bad_scores(EL_GGUF_F32, 1, EL_ERR_FORMAT, "scores has 1 items for 2 tokens");
  assert_bad_scores(EL_GGUF_F64, 2, EL_ERR_FORMAT, "scores is not an array of 32-bit numbers");
  assert_bad_scores(EL_GGUF_F32, (uint64_t)1 << 31, EL_ERR_FORMAT, "");
}

/* --- merges on text */

static const spaced_spec GEMMA4 = {.model = "gemma4",
                                   .bos = 1,
                                   .add_bos = -1,
                                   .no_scores = true,
                                   .more = {{"a", NORMAL, 0},
                                            {"b", NORMAL, 0},
                                            {SP, NORMAL, 0},
                                            {SP "a", NORMAL, 0},
                                            {"ab", NORMAL, 0},
                                            {"\n", NORMAL, 0},
                                            {"\n\n", NORMAL, 0},
                                            {"\xe4\xb8\x96", NORMAL, 0},
                                            {"\xe4\xb8\x96" SP "a", NORMAL, 0}},
                                   .merges = {"a b", SP " a", "x y", "\xe4\xb8\x96 " SP "a", "b", "", SP "  a"}};

static void merges_join_characters(void **state) {
  el_tokenizer *t = open_good_spaced(&GEMMA4);
  assert_ids(t, "ab a", 0, M + 4, M + 3, -1);
  assert_ids(t, " ab", 0, M + 2, M + 4, -1); /* the first merge comes first */
  assert_ids(t, "\xe4\xb8\x96 a", 0, M + 8, -1);
  assert_ids(t, "xy\xff", 0, FIRST_BYTE + 'x', FIRST_BYTE + 'y', FIRST_BYTE + 0xff, -1);
  assert_ids(t, "a" SP "a", 0, M, M + 3, -1);
  assert_round_trip(t, " ab\n\n\n \xe4\xb8\x96x", 11, 0);
  el_tokenizer_close(t);
}

static void a_run_of_line_ends_is_a_token_if_there_is_one(void **state) {
  el_tokenizer *t = open_good_spaced(&GEMMA4);
  assert_ids(t, "a\n\nb\n", 0, M, M + 6, M + 1, M + 5, -1);
  assert_ids(t, "\n\n\n", 0, M + 5, M + 5, M + 5, -1);
  el_tokenizer_close(t);
  spaced_spec s = GEMMA4; /* the same shape without that */
  s.model = "gpt2";
  s.pre = "sarvam-moe";
  t = open_good_spaced(&s);
  assert_ids(t, "ab a\n\n", EL_TOKENIZE_BOS, M + 4, M + 3, M + 5, M + 5, -1);
  el_tokenizer_close(t);
}

static void gemma_4_begins_with_bos_whatever_the_file_says(void **state) {
  el_tokenizer *t = open_good_spaced(&GEMMA4);
  assert_ids(t, "a", EL_TOKENIZE_BOS, 1, M, -1);
  el_tokenizer_close(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_best_score_joins_first_and_of_equal_ones_the_leftmost),
      cmocka_unit_test(a_token_is_reached_through_characters_that_are_none),
      cmocka_unit_test(control_and_byte_tokens_are_not_made_from_text),
      cmocka_unit_test(random_texts_on_random_vocabularies_follow_the_rule),
      cmocka_unit_test(a_space_is_put_before_a_text_and_after_special_tokens),
      cmocka_unit_test(texts_come_back_whole_and_piece_by_piece),
      cmocka_unit_test(an_answer_keeps_the_space_that_goes_on_with_a_text),
      cmocka_unit_test(a_token_with_a_plain_space_is_found_as_special_and_never_joined),
      cmocka_unit_test(characters_without_token_or_bytes_are_unknown),
      cmocka_unit_test(a_limit_of_tokens_holds_where_spaces_have_three_bytes),
      cmocka_unit_test(special_tokens_of_phi_3_take_white_space_along),
      cmocka_unit_test(long_texts_take_little_more_than_their_length),
      cmocka_unit_test(a_file_without_types_has_its_bytes_by_their_names),
      cmocka_unit_test(what_ends_an_answer_and_what_begins_a_text_need_not_be_said),
      cmocka_unit_test(files_that_lie_are_refused),
      cmocka_unit_test(odd_tokens_harm_nobody),
      cmocka_unit_test(scores_are_32_bit_numbers_one_for_each_token),
      cmocka_unit_test(merges_join_characters),
      cmocka_unit_test(a_run_of_line_ends_is_a_token_if_there_is_one),
      cmocka_unit_test(gemma_4_begins_with_bos_whatever_the_file_says),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
