/* Tokens that an adapter's folder brings along: what they do to text, and what is wrong with a folder is named. */
#include "adapter/own_tokens.h"
#include "failing_memory.h"
#include "vocab_fixture.h"

enum { UNUSED = 5 };

/* Ids from 256 on. */
static const vocab_spec BASE = {
    .pre = "gpt-2",
    .more = {{"<s>", CONTROL}, {"</s>", CONTROL}, {"ab", NORMAL}, {"[PAD259]", UNUSED}, {"[PAD260]", UNUSED}},
    .merges = {"a b"},
    .bos = 256,
    .eos = 257,
    .template = "{% for m in messages %}{{ m.content }}{% endfor %}"};
enum { S, END = 257, AB = 258, PAD_1 = 259, PAD_2 = 260, V = 261 };

#define SPECIAL_TOKEN(id, text) \
  "\"" #id "\":{\"content\":\"" text "\",\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true}"
#define TEMPLATE \
  "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\\\n' + m.content + '<|im_end|>\\\\n' }}{% endfor %}"
#define CHATML                                                                                                     \
  "{\"added_tokens_decoder\":{" SPECIAL_TOKEN(257, "</s>") "," SPECIAL_TOKEN(262, "<|im_end|>") "," SPECIAL_TOKEN( \
      261, "<|im_start|>") "},\"eos_token\":\"<|im_end|>\",\"chat_template\":\"" TEMPLATE "\"}"

typedef struct folder {
  char path[64];
  el_tokenizer *base;
} folder;

static folder open_folder(void) {
  folder f = {.base = open_good(&BASE)};
  make_dir(f.path);
  return f;
}

static void put_text(const folder *f, const char *name, const char *text) {
  write_file(f->path, name, text, strlen(text));
}

static void close_folder(folder *f) {
  remove_tree(f->path);
  el_tokenizer_close(f->base);
}

static el_tokenizer *read_good(const folder *f) {
  el_tokenizer *t = NULL;
  el_error err = {0};
  if (el_own_tokens_read(f->path, f->base, NULL, &t, NULL, &err)) fail_msg("%s", err.message);
  return t;
}

static void assert_text(const el_tokenizer *t, int32_t id, bool special, const char *text) {
  const el_str s = el_token_bytes(t, id, special);
  assert_int_equal(s.len, strlen(text));
  assert_memory_equal(s.data, text, s.len);
}

static void added_tokens_are_cut_out_of_text_that_may_have_them_and_the_base_knows_nothing_of_them(void **state) {
  folder f = open_folder();
  put_text(&f, "tokenizer_config.json", CHATML);
  el_tokenizer *t = read_good(&f);
  size_t n;
  assert_int_equal(el_tokenizer_n_vocab(t), V + 2);
  assert_int_equal(el_tokenizer_n_vocab(f.base), V);
  assert_ids(t, "<|im_start|>ab<|im_end|></s>", EL_TOKENIZE_SPECIAL, V, AB, V + 1, END, -1);
  assert_ids(f.base, "<|ab", EL_TOKENIZE_SPECIAL, '<', '|', AB, -1);
  const char plain[] = "<|im_start|>";
  int32_t bytes[sizeof plain - 1];
  for (size_t i = 0; i < sizeof plain - 1; i++) bytes[i] = plain[i];
  check_ids(t, plain, sizeof plain - 1, 0, bytes, sizeof plain - 1);
  assert_round_trip(t, plain, sizeof plain - 1, EL_TOKENIZE_SPECIAL);
  assert_text(t, V, true, "<|im_start|>");
  assert_text(t, V, false, "");
  assert_text(t, AB, false, "ab");
  assert_text(t, V + 2, true, "");
  assert_true(el_tokenizer_is_eog(t, V + 1) && el_tokenizer_is_eog(t, END) && !el_tokenizer_is_eog(t, V));
  assert_int_equal(el_tokenizer_eos(t), V + 1);
  assert_int_equal(el_tokenizer_bos(t), 256);
  const int32_t *own = el_tokenizer_own(t, &n);
  assert_int_equal(n, 2);
  assert_true(own[0] == V && own[1] == V + 1 && el_tokenizer_is_own(t, V) && !el_tokenizer_is_own(t, V - 1));
  const int32_t *ends = el_tokenizer_own_ends(t, &n);
  assert_int_equal(n, 1);
  assert_int_equal(ends[0], V + 1);
  el_tokenizer_own(f.base, &n);
  assert_int_equal(n, 0);
  el_tokenizer_close(t);
  assert_ids(f.base, "ab</s>", EL_TOKENIZE_SPECIAL, AB, END, -1); /* it is whole after its extension has gone */
  close_folder(&f);
}

static void what_templates_write_becomes_added_tokens_and_what_messages_say_never_does(void **state) {
  folder f = open_folder();
  put_text(&f, "tokenizer_config.json", CHATML);
  el_tokenizer *t = read_good(&f);
  const el_message m = {"user", "<|im_end|>"};
  int32_t *ids = NULL;
  size_t n = 0, n_own = 0;
  el_error err = {0};
  if (el_chat_tokenize(t, &m, 1, false, &ids, &n, &err)) fail_msg("%s", err.message);
  for (size_t i = 0; i < n; i++) n_own += ids[i] >= V;
  assert_int_equal(n_own, 2);
  assert_true(ids[0] == V && ids[n - 2] == V + 1);
  free(ids);
  if (el_chat_tokenize(f.base, &m, 1, false, &ids, &n, &err)) fail_msg("%s", err.message);
  assert_int_equal(n, strlen(m.content));
  free(ids);
  el_tokenizer_close(t);
  close_folder(&f);
}

static void each_form_of_a_folder_says_the_same(void **state) {
  static const struct {
    const char *name, *text, *other, *other_text;
  } forms[] = {
      {"tokenizer.json",
       "{\"version\":\"1.0\",\"normalizer\":{\"type\":\"a\\\"}{\",\"list\":[[]]}, \"added_tokens\" : [{\"id\":262,"
       "\"content\":\"<|im_end|>\",\"special\":true},{\"id\":261,\"content\":\"<|im_start|>\",\"special\":true}],"
       "\"model\":{\"vocab\":{\"a\":0}",
       "tokenizer_config.json", "{\"eos_token\":{\"content\":\"<|im_end|>\"}}"},
      {"added_tokens.json", "{\"<|im_end|>\":262,\"<|im_start|>\":261}", "special_tokens_map.json",
       "{\"additional_special_tokens\":[{\"content\":\"<|im_start|>\"}],\"eos_token\":\"<|im_end|>\"}"},
      {"added_tokens.json", "{\"<|im_end|>\":262,\"<|im_start|>\":261}", "tokenizer_config.json",
       "{\"extra_special_tokens\":[\"<|im_start|>\",\"<|im_end|>\"]}"},
  };
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    folder f = open_folder();
    put_text(&f, forms[i].name, forms[i].text);
    put_text(&f, forms[i].other, forms[i].other_text);
    el_tokenizer *t = read_good(&f);
    assert_non_null(t);
    assert_ids(t, "<|im_start|>ab<|im_end|>", EL_TOKENIZE_SPECIAL, V, AB, V + 1, -1);
    assert_text(t, V, false, "");
    assert_true(el_tokenizer_is_eog(t, V + 1));
    el_tokenizer_close(t);
    close_folder(&f);
  }
}

static void a_folder_that_lists_the_bases_tokens_alone_has_none_of_its_own(void **state) {
  static const char *const same[] = {
      "{\"added_tokens_decoder\":{" SPECIAL_TOKEN(256, "<s>") "," SPECIAL_TOKEN(257, "</s>") "}}",
      "{\"added_tokens_decoder\":{}}", "{}",
      /* of an ordinary token another one may have its own idea, where nothing follows from it */
      "{\"added_tokens_decoder\":{" SPECIAL_TOKEN(258, "x") "}}"};
  folder f = open_folder();
  assert_int_equal(el_own_tokens_stamp(f.path), 0);
  assert_null(read_good(&f));
  for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
    put_text(&f, "tokenizer_config.json", same[i]);
    assert_null(read_good(&f));
    assert_true(el_own_tokens_stamp(f.path) != 0);
  }
  close_folder(&f);
}

static void rows_that_no_text_has_and_control_tokens_may_be_called_otherwise(void **state) {
  folder f = open_folder();
  put_text(&f, "tokenizer_config.json",
           "{\"added_tokens_decoder\":{" SPECIAL_TOKEN(259, "<|go|>") "," SPECIAL_TOKEN(257, "<|done|>") "}}");
  el_tokenizer *t = read_good(&f);
  assert_non_null(t);
  assert_int_equal(el_tokenizer_n_vocab(t), V);
  assert_ids(t, "<s><|go|>ab<|done|>", EL_TOKENIZE_SPECIAL, 256, PAD_1, AB, END, -1);
  assert_ids(t, "</s>", EL_TOKENIZE_SPECIAL, '<', '/', 's', '>', -1);
  assert_text(t, PAD_2, false, "[PAD260]");
  assert_false(el_tokenizer_is_eog(t, END)); /* its text does not say so any more */
  assert_ids(f.base, "</s>", EL_TOKENIZE_SPECIAL, END, -1);
  el_tokenizer_close(t);
  close_folder(&f);
}

static void flags_of_a_token_count(void **state) {
  folder f = open_folder();
  put_text(&f, "tokenizer_config.json",
           "{\"added_tokens_decoder\":{\"261\":{\"content\":\"<l>\",\"lstrip\":true,\"special\":true},"
           "\"262\":{\"content\":\"<r>\",\"rstrip\":true,\"special\":true},"
           "\"263\":{\"content\":\"<think>\",\"special\":false}}}");
  el_tokenizer *t = read_good(&f);
  assert_ids(t, "a \t<l> b<r> \nab", EL_TOKENIZE_SPECIAL, 'a', V, ' ', 'b', V + 1, AB, -1);
  assert_ids(t, "ab<think>", 0, AB, V + 2, -1); /* one that is not special is cut out of any text, and shown */
  assert_text(t, V + 2, false, "<think>");
  el_tokenizer_close(t);
  close_folder(&f);
}

static void an_answer_ends_where_the_folder_says(void **state) {
  folder f = open_folder();
  size_t n;
  put_text(&f, "tokenizer_config.json",
           "{\"added_tokens_decoder\":{" SPECIAL_TOKEN(261, "<|stop|>") "},\"eos_token\":\"<s>\"}");
  put_text(&f, "generation_config.json", "{\"eos_token_id\":[261,257,97]}");
  el_tokenizer *t = read_good(&f);
  assert_true(el_tokenizer_is_eog(t, V) && el_tokenizer_is_eog(t, 256) && el_tokenizer_is_eog(t, 97));
  assert_false(el_tokenizer_is_eog(f.base, 256));
  assert_int_equal(el_tokenizer_eos(t), 256);
  el_tokenizer_own_ends(t, &n);
  assert_int_equal(n, 3); /* </s> ends an answer of the base's, too */
  el_tokenizer_close(t);
  put_text(&f, "generation_config.json", "{\"eos_token_id\":261}");
  t = read_good(&f);
  assert_true(el_tokenizer_is_eog(t, V));
  el_tokenizer_close(t);
  close_folder(&f);
}

static void a_template_of_its_own_file_comes_first(void **state) {
  folder f = open_folder();
  const el_message m = {"user", "x"};
  char *text = NULL;
  el_error err = {0};
  put_text(&f, "tokenizer_config.json", CHATML);
  put_text(&f, "chat_template.jinja", "<|im_start|>{{ messages[0].content }}!");
  el_tokenizer *t = read_good(&f);
  size_t len;
  const el_value role = {.type = EL_VALUE_STRING, .string = {m.role, strlen(m.role)}},
                 content = {.type = EL_VALUE_STRING, .string = {m.content, strlen(m.content)}};
  const el_member members[] = {{"role", role}, {"content", content}};
  const el_value message = {.type = EL_VALUE_OBJECT, .object = {members, 2}},
                 messages = {.type = EL_VALUE_ARRAY, .array = {&message, 1}};
  const el_chat chat = {.messages = &messages};
  if (el_chat_text(t, &chat, &text, &len, &err)) fail_msg("%s", err.message);
  assert_string_equal(text, "<|im_start|>x!");
  free(text);
  el_tokenizer_close(t);
  put_text(&f, "chat_template.jinja", "{% for");
  t = read_good(&f); /* an error of conversations alone */
  assert_int_equal(el_chat_text(t, &chat, &text, &len, &err), EL_ERR_UNSUPPORTED);
  el_tokenizer_close(t);
  close_folder(&f);
}

static void a_stamp_tells_one_state_of_the_files_from_another(void **state) {
  folder f = open_folder();
  put_text(&f, "tokenizer_config.json", CHATML);
  const uint64_t before = el_own_tokens_stamp(f.path);
  assert_true(before == el_own_tokens_stamp(f.path));
  put_text(&f, "chat_template.jinja", "x");
  const uint64_t with = el_own_tokens_stamp(f.path);
  put_text(&f, "chat_template.jinja", "xy");
  assert_true(with != before && el_own_tokens_stamp(f.path) != with);
  close_folder(&f);
}

static void what_is_wrong_with_a_folder_is_named(void **state) {
  static const struct {
    const char *file, *text, *part;
  } wrong[] = {
      {"tokenizer_config.json", "{", "not valid JSON"},
      {"tokenizer_config.json", "[]", "not a JSON object"},
      {"tokenizer_config.json", "{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "levels deep, the limit is 32"},
      {"tokenizer_config.json", "{\"added_tokens_decoder\":[]}", "added_tokens_decoder: is no object"},
      {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"x\":{}}}", "no token's number"},
      {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"-1\":{}}}", "no token's number"},
      {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"99999999999999999999\":{}}}", "no token's number"},
      {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"9999999999\":{\"content\":\"x\"}}}", "number 9999999999"},
      {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"261\":{\"content\":1}}}", "token 261: content"},
      {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"261\":{\"content\":\"\"}}}", "token 261 has no text"},
      {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"261\":{\"content\":\"x\",\"special\":1}}}",
       "token 261: special: is neither"},
      {"tokenizer_config.json", "{\"added_tokens_decoder\":{" SPECIAL_TOKEN(262, "x") "}}",
       "token 262, 'x', and none has number 261: the base has 261"},
      {"tokenizer_config.json", "{\"added_tokens_decoder\":{" SPECIAL_TOKEN(261, "x") "," SPECIAL_TOKEN(258, "y") "}}",
       "token 258 is 'y', and the base's is 'ab'"},
      {"tokenizer_config.json", "{\"added_tokens_decoder\":{" SPECIAL_TOKEN(261, "x") "," SPECIAL_TOKEN(262, "x") "}}",
       "'x' is there twice, as 261 and as 262"},
      {"tokenizer_config.json", "{\"added_tokens_decoder\":{" SPECIAL_TOKEN(261, "</s>") "}}", "'</s>' is there twice"},
      {"tokenizer_config.json", "{\"added_tokens_decoder\":{" SPECIAL_TOKEN(261, "x") "},\"eos_token\":\"y\"}",
       "eos_token is 'y', which is no special token"},
      {"tokenizer_config.json", "{\"added_tokens_decoder\":{" SPECIAL_TOKEN(261, "x") "},\"bos_token\":\"ab\"}",
       "bos_token is 'ab', which is no special token"},
      {"tokenizer.json", "{\"added_tokens\":{}}", "added_tokens: is no array"},
      {"tokenizer.json", "{\"added_tokens\":[{\"content\":\"x\"}]}", "added_tokens[0]: id: is no number"},
      {"tokenizer.json", "{\"added_tokens\":[{\"id\":261,\"content\":\"x\"},{\"id\":261,\"content\":\"y\"}]}",
       "token 261 is there twice"},
      {"tokenizer.json", "{\"added_tokens\":[{,]}", "not valid JSON"},
      {"added_tokens.json", "{\"x\":\"261\"}", "'x': is no number"},
      {"added_tokens.json", "{\"x\":-1}", "token 'x' has number -1"},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    folder f = open_folder();
    el_tokenizer *t = NULL;
    el_error err = {0};
    put_text(&f, wrong[i].file, wrong[i].text);
    if (el_own_tokens_read(f.path, f.base, NULL, &t, NULL, &err) != EL_ERR_FORMAT) fail_msg("%zu: %s", i, err.message);
    assert_null(t);
    assert_contains(err.message, wrong[i].part);
    assert_contains(err.message, wrong[i].file);
    close_folder(&f);
  }
}

static void ends_and_templates_beyond_their_limits_are_named(void **state) {
  static const struct {
    const char *file, *text, *part;
  } wrong[] = {
      {"generation_config.json", "{\"eos_token_id\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}", "limit is 16"},
      {"generation_config.json", "{\"eos_token_id\":[true]}", "eos_token_id[0]: is no number"},
      {"generation_config.json", "{\"eos_token_id\":263}", "ends at token 263, and there are 263"}};
  folder f = open_folder();
  el_tokenizer *t = NULL;
  el_error err = {0};
  put_text(&f, "tokenizer_config.json", CHATML);
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    put_text(&f, wrong[i].file, wrong[i].text);
    assert_int_equal(el_own_tokens_read(f.path, f.base, NULL, &t, NULL, &err), EL_ERR_FORMAT);
    assert_contains(err.message, wrong[i].part);
  }
  put_text(&f, "generation_config.json", "{}");
  char *large = calloc(1, EL_OWN_TOKENS_MAX_TEMPLATE + 1);
  write_file(f.path, "chat_template.jinja", large, EL_OWN_TOKENS_MAX_TEMPLATE + 1);
  free(large);
  assert_int_equal(el_own_tokens_read(f.path, f.base, NULL, &t, NULL, &err), EL_ERR_FORMAT);
  assert_contains(err.message, "chat_template.jinja");
  close_folder(&f);
}

static void more_tokens_than_the_limit_are_named(void **state) {
  folder f = open_folder();
  el_buf b = {0};
  el_tokenizer *t = NULL;
  el_error err = {0};
  for (int i = 0; i <= EL_MAX_ADDED_TOKENS; i++) el_buf_printf(&b, "%s\"<%d>\":%d", i ? "," : "{", i, V + i);
  el_buf_printf(&b, "}");
  put_text(&f, "added_tokens.json", b.data);
  assert_int_equal(el_own_tokens_read(f.path, f.base, NULL, &t, NULL, &err), EL_ERR_FORMAT);
  assert_contains(err.message, "4097 tokens that the base does not have; the limit is 4096");
  el_buf_free(&b);
  close_folder(&f);
}

static el_status read_and_close(void *arg, el_error *e) {
  const folder *f = arg;
  el_tokenizer *t = NULL;
  el_status status = el_own_tokens_read(f->path, f->base, NULL, &t, NULL, e);
  assert_true(status ? t == NULL : t != NULL);
  el_tokenizer_close(t);
  return status;
}

static void every_want_of_memory_is_an_error_that_says_so(void **state) {
  folder f = open_folder();
  put_text(&f, "tokenizer_config.json", CHATML);
  put_text(&f, "generation_config.json", "{\"eos_token_id\":[257]}");
  every_failure_is_survived(read_and_close, &f, 15);
  close_folder(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(added_tokens_are_cut_out_of_text_that_may_have_them_and_the_base_knows_nothing_of_them),
      cmocka_unit_test(what_templates_write_becomes_added_tokens_and_what_messages_say_never_does),
      cmocka_unit_test(each_form_of_a_folder_says_the_same),
      cmocka_unit_test(a_folder_that_lists_the_bases_tokens_alone_has_none_of_its_own),
      cmocka_unit_test(rows_that_no_text_has_and_control_tokens_may_be_called_otherwise),
      cmocka_unit_test(flags_of_a_token_count),
      cmocka_unit_test(an_answer_ends_where_the_folder_says),
      cmocka_unit_test(a_template_of_its_own_file_comes_first),
      cmocka_unit_test(a_stamp_tells_one_state_of_the_files_from_another),
      cmocka_unit_test(what_is_wrong_with_a_folder_is_named),
      cmocka_unit_test(ends_and_templates_beyond_their_limits_are_named),
      cmocka_unit_test(more_tokens_than_the_limit_are_named),
      cmocka_unit_test(every_want_of_memory_is_an_error_that_says_so),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
