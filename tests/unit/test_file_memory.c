/* Opening a file with each of its allocations failing in turn: an error, no crash, no leak. The linker sends the
 * readers' own allocations here (-Wl,--wrap); those inside of jansson and PCRE2 are theirs. */
#include "adapter/discover.h"
#include "adapter/lora_halves.h"
#include "bytes.h"
#include "failing_memory.h"

static el_status gguf(void *path, el_error *e) {
  el_gguf *g = NULL;
  el_status status = el_gguf_open(path, &g, e);
  el_gguf_close(g);
  return status;
}

static el_status safetensors(void *path, el_error *e) {
  el_safetensors *s = NULL;
  el_status status = el_safetensors_open(path, &s, e);
  el_safetensors_close(s);
  return status;
}

static el_status lora(void *path, el_error *e) {
  el_lora_file *f = NULL;
  el_status status = el_lora_file_open(path, NULL, &f, e);
  el_lora_file_close(f);
  return status;
}

static el_status discover(void *path, el_error *e) {
  el_found f = {0};
  el_status status = el_adapter_discover(path, &f, e);
  el_found_free(&f);
  return status;
}

static bool drop(void *user, const char *data, size_t len) {
  return true;
}
static el_status inspect(void *path, el_error *e) {
  return el_inspect(path, drop, NULL, e);
}

static void opening_a_model(void **state) {
  char path[512];
  snprintf(path, sizeof path, "%s/golden/tiny/q4_1.gguf", getenv("EL_TEST_DATA"));
  every_failure_is_survived(gguf, path, 8);
  every_failure_is_survived(inspect, path, 8);
}

/* By its second part, so that one is open before the first is. */
static void opening_a_model_in_parts(void **state) {
  char dir[64], path[128];
  make_dir(dir);
  for (int i = 0; i < 3; i++) {
    el_buf b = {0};
    char name[32], tensor[2] = {(char)('a' + i), 0};
    put_gguf_header(&b, 3, 1, 3);
    put_kv(&b, "split.no", EL_GGUF_U16), put_uint(&b, (uint64_t)i, 2);
    put_kv(&b, "split.count", EL_GGUF_U16), put_uint(&b, 3, 2);
    put_kv(&b, "split.tensors.count", EL_GGUF_I32), put_u32(&b, 3);
    put_tensor(&b, tensor, 1, (uint64_t[]){1}, EL_TYPE_F32, 0);
    put_padding(&b, 32);
    put_f32(&b, 1);
    snprintf(name, sizeof name, "m-%05d-of-00003.gguf", i + 1);
    write_file(dir, name, b.data, b.len);
    el_buf_free(&b);
  }
  snprintf(path, sizeof path, "%s/m-00002-of-00003.gguf", dir);
  every_failure_is_survived(gguf, path, 20);
  every_failure_is_survived(gguf, dir, 20);
  remove_tree(dir);
}

/* A is F16 and B F32, so that there is something to convert. */
static void opening_an_adapter(void **state) {
  static const char header[] =
      "{\"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight\":{\"dtype\":\"F16\",\"shape\":[2,4],\"data_"
      "offsets\":[0,16]},"
      "\"base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight\":{\"dtype\":\"F32\",\"shape\":[6,2],\"data_"
      "offsets\":[16,64]}}";
  static const char config[] =
      "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":6,\"alpha_pattern\":{\"(k|v)_proj\":2},\"rank_pattern\":{}}";
  static const unsigned char zeros[64];
  char dir[64], sub[128], weights[160];
  el_buf b = {0};
  put_safetensors(&b, header, zeros, sizeof zeros);
  make_dir(dir);
  snprintf(sub, sizeof sub, "%s/one", dir);
  snprintf(weights, sizeof weights, "%s/adapter_model.safetensors", sub);
  assert_int_equal(mkdir(sub, 0700), 0);
  write_file(sub, "adapter_model.safetensors", b.data, b.len);
  write_file(sub, "adapter_config.json", config, strlen(config));
  every_failure_is_survived(lora, sub, 15);
  every_failure_is_survived(inspect, sub, 15);
  every_failure_is_survived(safetensors, weights, 4);
  every_failure_is_survived(discover, dir, 3);
  el_buf_free(&b);
  remove_tree(dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(opening_a_model),
      cmocka_unit_test(opening_a_model_in_parts),
      cmocka_unit_test(opening_an_adapter),
  };
  return cmocka_run_group_tests_name("file_memory", tests, NULL, NULL);
}
