/* el_inspect: what a file holds is said, what it may not do to a terminal it does not do. */
#include "bytes.h"

typedef struct sink {
  el_buf text;
  int calls_left; /* -1: any number */
} sink;

static bool take(void *user, const char *data, size_t len) {
  sink *s = user;
  put(&s->text, data, len);
  return s->calls_left < 0 || --s->calls_left > 0;
}

static el_status inspect(const char *path, sink *s, el_error *e) {
  *s = (sink){.calls_left = -1};
  put(&s->text, "", 0);
  return el_inspect(path, take, s, e);
}

static void a_model_is_described(void **state) {
  char path[512];
  sink s;
  el_error e;
  snprintf(path, sizeof path, "%s/golden/tiny/q4_1.gguf", getenv("EL_TEST_DATA"));
  if (inspect(path, &s, &e)) fail_msg("%s", e.message);
  assert_contains(s.text.data, "GGUF version 3");
  assert_contains(s.text.data, "llama.block_count");
  assert_contains(s.text.data, "string[320]");
  assert_contains(s.text.data, "blk.1.ffn_down.weight");
  assert_contains(s.text.data, "Q4_1");
  assert_contains(s.text.data, "totals");
  el_buf_free(&s.text);
}

static void put_adapter(const char *dir, const char *config) {
  static const char header[] =
      "{\"__metadata__\":{\"format\":\"pt\"},"
      "\"base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight\":{\"dtype\":\"F32\",\"shape\":[2,4],\"data_"
      "offsets\":[0,32]},"
      "\"base_model.model.model.layers.3.self_attn.q_proj.lora_B.weight\":{\"dtype\":\"F32\",\"shape\":[6,2],\"data_"
      "offsets\":[32,80]}}";
  static const unsigned char zeros[80];
  el_buf b = {0};
  put_safetensors(&b, header, zeros, sizeof zeros);
  write_file(dir, "adapter_model.safetensors", b.data, b.len);
  write_file(dir, "adapter_config.json", config, strlen(config));
  el_buf_free(&b);
}

static void an_adapter_folder_is_described_without_its_base(void **state) {
  char dir[64], path[128];
  sink s;
  el_error e;
  make_dir(dir);
  put_adapter(dir, "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":6,\"base_model_name_or_path\":\"org/b\\u001b[0m\"}");
  if (inspect(dir, &s, &e)) fail_msg("%s", e.message);
  assert_contains(s.text.data, "lora_alpha: 6");
  assert_contains(s.text.data, "rank          2\n");
  assert_contains(s.text.data, "scale         3\n");
  assert_contains(s.text.data, "layers        1, from 3 to 3\n");
  assert_contains(s.text.data, "matrices      self_attn.q_proj 1\n");
  assert_contains(s.text.data, "org/b\\x1b[0m");
  assert_contains(s.text.data, "[6, 2]");
  assert_null(strchr(s.text.data, '\x1b'));
  el_buf_free(&s.text);
  snprintf(path, sizeof path, "%s/adapter_model.safetensors", dir);
  if (inspect(path, &s, &e)) fail_msg("%s", e.message);
  assert_contains(s.text.data, "format: pt");
  assert_contains(s.text.data, "2 tensors  80 bytes");
  el_buf_free(&s.text);
  remove_tree(dir);
}

/* What cannot be served is still worth a look; what is broken is an error. */
static void an_unsupported_adapter_is_described_with_the_reason(void **state) {
  char dir[64];
  sink s;
  el_error e;
  make_dir(dir);
  put_adapter(dir, "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":6,\"use_qalora\":true}");
  if (inspect(dir, &s, &e)) fail_msg("%s", e.message);
  assert_contains(s.text.data, "cannot be served: ");
  assert_contains(s.text.data, "use_qalora");
  assert_contains(s.text.data, "[6, 2]");
  el_buf_free(&s.text);
  put_adapter(dir, "{\"peft_type\":\"LORA\",\"r\":3,\"lora_alpha\":6}");
  assert_int_equal(inspect(dir, &s, &e), EL_ERR_FORMAT);
  assert_contains(e.message, "expected 3 x 4");
  el_buf_free(&s.text);
  remove_tree(dir);
}

static void keys_and_values_cannot_act_on_a_terminal(void **state) {
  char dir[64], path[128];
  sink s;
  el_error e;
  el_buf b = {0};
  make_dir(dir);
  put_gguf_header(&b, 3, 1, 2);
  put_kv_str(&b, "key\x1b]0;x\a",
             "value\r\x9b"
             "2J\xe2\x80\xae");
  put_kv(&b, "words", EL_GGUF_ARRAY), put_u32(&b, EL_GGUF_STRING), put_u64(&b, 1), put_str(&b, "\x1b[1m");
  put_tensor(&b, "t\x1b[2J", 1, (uint64_t[]){1}, EL_TYPE_F32, 0);
  put_padding(&b, 32);
  put_f32(&b, 1);
  write_file(dir, "h.gguf", b.data, b.len);
  snprintf(path, sizeof path, "%s/h.gguf", dir);
  if (inspect(path, &s, &e)) fail_msg("%s", e.message);
  for (size_t i = 0; i < s.text.len; i++)
    assert_true((s.text.data[i] >= 0x20 && s.text.data[i] < 0x7f) || s.text.data[i] == '\n');
  assert_contains(s.text.data, "key\\x1b]0;x\\x07");
  assert_contains(s.text.data, "value\\r\\x9b2J\\u202e");
  assert_contains(s.text.data, "t\\x1b[2J");
  el_buf_free(&s.text);
  el_buf_free(&b);
  remove_tree(dir);
}

static void the_receiver_may_stop(void **state) {
  char path[512];
  el_error e;
  sink s = {.calls_left = 3};
  snprintf(path, sizeof path, "%s/golden/tiny/q4_1.gguf", getenv("EL_TEST_DATA"));
  assert_int_equal(el_inspect(path, take, &s, &e), EL_OK);
  assert_int_equal(s.calls_left, 0);
  el_buf_free(&s.text);
}

static void what_is_neither_is_an_error(void **state) {
  char dir[64], path[128];
  sink s;
  el_error e;
  make_dir(dir);
  assert_int_equal(inspect(dir, &s, &e), EL_ERR_NOT_FOUND);
  assert_contains(e.message, "without adapter_config.json");
  el_buf_free(&s.text);
  write_file(dir, "x.txt", "hello, world", 12);
  snprintf(path, sizeof path, "%s/x.txt", dir);
  assert_int_equal(inspect(path, &s, &e), EL_ERR_FORMAT);
  assert_contains(e.message, "neither a GGUF nor a safetensors file");
  el_buf_free(&s.text);
  assert_int_equal(el_inspect("/dev/zero", take, &s, NULL), EL_ERR_IO);
  assert_int_equal(el_inspect(NULL, take, &s, &e), EL_ERR_INVALID);
  remove_tree(dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_model_is_described),
      cmocka_unit_test(an_adapter_folder_is_described_without_its_base),
      cmocka_unit_test(an_unsupported_adapter_is_described_with_the_reason),
      cmocka_unit_test(keys_and_values_cannot_act_on_a_terminal),
      cmocka_unit_test(the_receiver_may_stop),
      cmocka_unit_test(what_is_neither_is_an_error),
  };
  return cmocka_run_group_tests_name("inspect", tests, NULL, NULL);
}
