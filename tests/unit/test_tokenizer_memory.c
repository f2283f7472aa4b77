/* The tokenizer with each of its allocations failing in turn: an error that says so, no crash, no leak. The linker
 * sends the project's own allocations here (-Wl,--wrap); those inside of PCRE2 are its own. */
#include "failing_memory.h"
#include "spaced_fixture.h"

static const vocab_spec SPEC = {
    .pre = "smollm",
    .more = {{"<|im_start|>", CONTROL}, {"<|im_end|>", CONTROL}, {"aa", NORMAL}},
    .merges = {"a a"},
    .bos = 256,
    .eos = 257,
    .template =
        "{{ '<|im_start|>system\nBe brief.<|im_end|>\n' }}{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + "
        "m.content + '<|im_end|>\n' }}{% endfor %}<|im_start|>assistant\n\n"};

static el_status open_and_close(void *arg, el_error *e) {
  el_tokenizer *t = NULL;
  el_status status = el_tokenizer_from_gguf(arg, &t, e);
  assert_true(status ? t == NULL : t != NULL);
  el_tokenizer_close(t);
  return status;
}

static void opening(void **state) {
  el_buf b = vocab_file(&SPEC);
  el_gguf *g = NULL;
  el_error e = {0};
  assert_int_equal(el_gguf_open_memory(b.data, b.len, "test.gguf", &g, &e), EL_OK);
  every_failure_is_survived(open_and_close, g, 15);
  el_gguf_close(g);
  el_buf_free(&b);
}

static el_status encode(void *arg, el_error *e) {
  char text[400] = "a<|im_end|>1";
  memset(text + 12, 'a', sizeof text - 12);
  for (size_t i = 20; i < 300; i++) text[i] = (char)('a' + i % 7);
  int32_t *ids = NULL;
  size_t n = 0;
  el_status status = el_tokenize(arg, text, sizeof text, EL_TOKENIZE_SPECIAL, &ids, &n, e);
  assert_true(status ? ids == NULL : n > 200);
  free(ids);
  return status;
}

static el_status decode(void *arg, el_error *e) {
  char *text = NULL;
  size_t len = 0;
  el_status status = el_detokenize(arg, (int32_t[]){'a', 256, 258}, 3, true, &text, &len, e);
  assert_true(status ? text == NULL : strcmp(text, "a<|im_start|>aa") == 0);
  free(text);
  return status;
}

static const el_message TALK[] = {{"user", "a"}, {"assistant", "b"}, {"user", "c"}, {"user", "d"}, {"user", "e"},
                                  {"user", "f"}, {"user", "g"},      {"user", "h"}, {"user", "i"}, {"user", "j"}};
enum { N_TALK = sizeof TALK / sizeof *TALK };

static el_status render(void *arg, el_error *e) {
  char *text = NULL;
  el_status status = el_chat_render(arg, TALK, N_TALK, true, &text, e);
  assert_true(status ? text == NULL : strstr(text, "\nj<|im_end|>\n<|im_start|>assistant\n") != NULL);
  free(text);
  return status;
}

static el_status render_to_tokens(void *arg, el_error *e) {
  int32_t *ids = NULL;
  size_t n = 0;
  el_status status = el_chat_tokenize(arg, TALK, N_TALK, true, &ids, &n, e);
  assert_true(status ? ids == NULL : n > 50);
  free(ids);
  return status;
}

static void using(void **state) {
  el_tokenizer *t = open_good(&SPEC);
  every_failure_is_survived(encode, t, 6);
  every_failure_is_survived(decode, t, 1);
  every_failure_is_survived(render, t, 4);
  every_failure_is_survived(render_to_tokens, t, 8);
  el_tokenizer_close(t);
}

/* Vocabularies that are written as text: no pattern is compiled, but there are scores, and words that are copied. */
static const spaced_spec SPACED[] = {
    {.name = "Phi-3", .more = {{SP, NORMAL, -3}, {"a", NORMAL, -2}, {"aa", NORMAL, -1}, {"<|x|>", CONTROL, 0}}},
    {.model = "gemma4", .bos = 1, .more = {{SP, NORMAL, 0}, {"a", NORMAL, 0}, {"aa", NORMAL, 0}}, .merges = {"a a"}}};

static el_status encode_spaced(void *arg, el_error *e) {
  char text[400] = "</s> a" SP "a ";
  memset(text + 11, 'a', sizeof text - 11);
  int32_t *ids = NULL;
  size_t n = 0;
  el_status status = el_tokenize(arg, text, sizeof text, EL_TOKENIZE_SPECIAL | EL_TOKENIZE_BOS, &ids, &n, e);
  assert_true(status ? ids == NULL : n > 190);
  free(ids);
  return status;
}

static void vocabularies_as_text(void **state) {
  for (size_t i = 0; i < sizeof SPACED / sizeof *SPACED; i++) {
    el_buf b = spaced_file(&SPACED[i]);
    el_gguf *g = NULL;
    el_error e = {0};
    assert_int_equal(el_gguf_open_memory(b.data, b.len, "test.gguf", &g, &e), EL_OK);
    every_failure_is_survived(open_and_close, g, 8);
    el_gguf_close(g);
    el_buf_free(&b);
    el_tokenizer *t = open_good_spaced(&SPACED[i]);
    every_failure_is_survived(encode_spaced, t, 7);
    el_tokenizer_close(t);
  }
}

static void streaming(void **state) {
  el_buf pending = {0}, whole = {0};
  put(&pending, "abc\xe2\x82", 5);
  fail_after(0, true);
  assert_false(el_utf8_take(&pending, false, &whole));
  stop_failing();
  assert_int_equal(pending.len, 5);
  assert_int_equal(whole.len, 0);
  assert_true(el_utf8_take(&pending, false, &whole));
  assert_string_equal(whole.data, "abc");
  el_buf_free(&pending);
  el_buf_free(&whole);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(opening),
      cmocka_unit_test(using),
      cmocka_unit_test(vocabularies_as_text),
      cmocka_unit_test(streaming),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
