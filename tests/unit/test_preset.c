/* An adapter's preset: what it says is taken, and what is wrong with it is named with its field and limit. */
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapter/preset.h"
#include "bytes.h"
#include "fixture.h"

static el_status parse(const char *text, el_preset_file **out, el_error *err) {
  return el_preset_parse(text, strlen(text), "/presets/x/edgelora.json", out, err);
}

static void a_preset_says_how_its_adapter_wants_to_be_asked(void **state) {
  el_preset_file *f = NULL;
  el_error err;
  if (parse("{\"description\": \"writes SQL\", \"system\": \"Answer in SQL.\", \"chat_template\": \"{{ messages }}\","
            " \"temperature\": 0.25, \"top_p\": 0, \"top_k\": -1, \"min_p\": 0.05, \"repetition_penalty\": 1.5,"
            " \"repeat_last_n\": 32, \"frequency_penalty\": -1, \"presence_penalty\": 2, \"max_tokens\": 100,"
            " \"seed\": -1, \"stop\": [\"\\n\\n\", \";\"], \"aliases\": [\"db\", \"data base\"], \"lora_scale\": 0.5,"
            " \"schema\": {\"type\": \"object\", \"properties\": {}}}",
            &f, &err))
    fail_msg("%s", err.message);
  const el_preset *p = &f->preset;
  assert_string_equal(p->description, "writes SQL");
  assert_string_equal(p->system, "Answer in SQL.");
  assert_string_equal(p->chat_template, "{{ messages }}");
  assert_string_equal(p->schema, "{\"type\":\"object\",\"properties\":{}}");
  assert_int_equal(p->set, EL_PRESET_ALL);
  assert_true(p->sampling.temperature == 0.25f && p->sampling.min_p == 0.05f && p->sampling.repeat_penalty == 1.5f);
  assert_true(p->sampling.top_p > 0 && p->sampling.top_p < 1e-30f); /* the most likely token alone */
  assert_int_equal(p->sampling.top_k, 0);
  assert_int_equal(p->sampling.repeat_last_n, 32);
  assert_true(p->sampling.frequency_penalty == -1 && p->sampling.presence_penalty == 2);
  assert_int_equal(p->max_tokens, 100);
  assert_true(p->sampling.seed == UINT64_MAX);
  assert_int_equal(p->n_stop, 2);
  assert_string_equal(p->stop[1], ";");
  assert_int_equal(p->n_aliases, 2);
  assert_string_equal(p->aliases[1], "data base");
  assert_true(p->lora_scale == 0.5f);
  el_preset_free(f);
}

static void what_is_not_said_is_not_set(void **state) {
  el_preset_file *f = NULL;
  el_error err;
  if (parse("{\"temperature\": null, \"stop\": [], \"system\": null}", &f, &err)) fail_msg("%s", err.message);
  assert_int_equal(f->preset.set, EL_PRESET_STOP); /* none is something that can be said */
  assert_null(f->preset.system);
  assert_null(f->preset.chat_template);
  assert_true(f->preset.lora_scale == 1);
  el_preset_free(f);
}

/* `message`: a part of what is said. */
static void refused(const char *text, const char *message) {
  el_preset_file *f = NULL;
  el_error err = {0};
  assert_int_equal(parse(text, &f, &err), EL_ERR_FORMAT);
  assert_null(f);
  if (!strstr(err.message, message)) fail_msg("%s: '%s' is not in '%s'", text, message, err.message);
  assert_int_equal(strncmp(err.message, "/presets/x/edgelora.json: ", 26), 0);
  assert_null(strstr(err.message + err.detail, "/presets/")); /* a tenant is not told where it is */
}

static void each_wrong_field_is_named_with_its_limit(void **state) {
  refused("{\"temprature\": 1}", "temprature: is no field of a preset");
  refused("{\"a\\u001bb\": 1}", "a\\x1bb: is no field");
  refused("{\"temperature\": 2.5}", "temperature: 2.5 is not in 0 to 2");
  refused("{\"temperature\": \"1\"}", "temperature: is not a number");
  refused("{\"temperature\": true}", "temperature: is not a number");
  refused("{\"top_p\": 1.01}", "top_p: 1.01 is not in 0 to 1");
  refused("{\"top_k\": 1.5}", "top_k: is not an integer");
  refused("{\"top_k\": -2}", "top_k: -2 is not in -1 to");
  refused("{\"top_k\": 2147483648}", "top_k: ");
  refused("{\"min_p\": -0.1}", "min_p: -0.1 is not in 0 to 1");
  refused("{\"repetition_penalty\": 0}", "repetition_penalty: 0 is not in 0.01 to 100");
  refused("{\"repeat_last_n\": -2}", "repeat_last_n: -2 is not in -1 to");
  refused("{\"frequency_penalty\": 3}", "frequency_penalty: 3 is not in -2 to 2");
  refused("{\"presence_penalty\": -3}", "presence_penalty: -3 is not in -2 to 2");
  refused("{\"max_tokens\": 0}", "max_tokens: 0 is not in 1 to");
  refused("{\"seed\": 1.5}", "seed: is not an integer");
  refused("{\"seed\": 99999999999999999999}", "is not valid JSON");
  refused("{\"lora_scale\": 1001}", "lora_scale: 1001 is not in -1000 to 1000");
  refused("{\"lora_scale\": 0}", "lora_scale: 0 would be the base");
  refused("{\"stop\": \";\"}", "stop: is not an array of strings");
  refused("{\"stop\": [1]}", "stop: is not a string");
  refused("{\"stop\": [\"\"]}", "stop: is empty");
  refused("{\"stop\": [\"a\\u0000b\"]}", "is not valid JSON");
  refused("{\"aliases\": [\"auto\"]}", "aliases: auto: is what requests call the router's decision");
  refused("{\"aliases\": [\"a\\nb\"]}", "aliases: adapter name a\\nb: holds a control character");
  refused("{\"aliases\": [\"a\", \"a\"]}", "aliases: a is there twice");
  refused("{\"schema\": \"{}\"}", "schema: is not an object");
  refused("{\"description\": 1}", "description: is not a string");
  refused("{\"chat_template\": {}}", "chat_template: is not a string");
  refused("{\"temperature\": 1, \"temperature\": 1}", "is not valid JSON");
}

static void what_is_no_object_of_json_is_refused(void **state) {
  refused("", "is not valid JSON");
  refused("[]", "is not a JSON object");
  refused("{", "is not valid JSON (line 1");
  refused("{} {}", "is not valid JSON");
  refused("\"\xff\"", "is not valid JSON");
  refused("{\"system\": \"\xc3\x28\"}", "is not valid JSON");
  refused("{\"system\": \"secret\" oops}", "is not valid JSON");
  el_preset_file *f;
  el_error err;
  parse("{\"system\": \"secret\" oops}", &f, &err);
  assert_null(strstr(err.message, "oops")); /* what stands in the file is not told */
}

/* {"name": "xxx..."} with n characters. */
static char *long_text(const char *before, size_t n, const char *after) {
  char *text = malloc(n + strlen(before) + strlen(after) + 1);
  assert_non_null(text);
  size_t at = (size_t)sprintf(text, "%s", before);
  memset(text + at, 'x', n);
  strcpy(text + at + n, after);
  return text;
}

static void limits_are_kept_to_the_byte(void **state) {
  static const struct {
    const char *before, *after;
    size_t most;
    const char *what;
  } all[] = {
      {"{\"description\": \"", "\"}", EL_PRESET_MAX_DESCRIPTION, "description: 1025 bytes, the limit is 1024"},
      {"{\"system\": \"", "\"}", EL_PRESET_MAX_SYSTEM, "system: 65537 bytes, the limit is 65536"},
      {"{\"chat_template\": \"{{", "\"}", EL_PRESET_MAX_CHAT_TEMPLATE - 2, "chat_template: 65537 bytes, the limit is"},
      {"{\"stop\": [\"", "\"]}", EL_MAX_STOP_BYTES, "stop: 1025 bytes, the limit is 1024"},
      {"{\"aliases\": [\"", "\"]}", 255, "aliases: 256 bytes, the limit is 255"},
      {"{\"schema\": {\"a\":\"", "\"}}", EL_PRESET_MAX_SCHEMA - 8, "schema: 65537 bytes, the limit is 65536"},
  };
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    el_preset_file *f = NULL;
    el_error err;
    char *text = long_text(all[i].before, all[i].most, all[i].after);
    if (parse(text, &f, &err)) fail_msg("%s", err.message);
    el_preset_free(f);
    free(text);
    text = long_text(all[i].before, all[i].most + 1, all[i].after);
    refused(text, all[i].what);
    free(text);
  }
  char *text = long_text("{\"stop\": [\"", 1, "\"]}");
  free(text);
  el_buf many = {0};
  for (int i = 0; i <= EL_MAX_STOPS; i++) el_buf_printf(&many, "%s\"%d\"", i ? "," : "{\"stop\": [", i);
  el_buf_printf(&many, "]}");
  refused(many.data, "stop: 65 strings, the limit is 64");
  el_buf_free(&many);
  text = long_text("{\"system\": \"", EL_PRESET_MAX_BYTES, "\"}");
  refused(text, "bytes, the limit is 262144");
  free(text);
}

static void depth_is_bounded_before_anything_recurses(void **state) {
  for (int more = 0; more < 2; more++) {
    el_buf b = {0};
    int n = EL_PRESET_MAX_DEPTH - 1 + more;
    el_buf_printf(&b, "{\"schema\":");
    for (int i = 0; i < n; i++) el_buf_printf(&b, "{\"[{\":");
    el_buf_printf(&b, "1");
    for (int i = 0; i < n; i++) el_buf_printf(&b, "}");
    el_buf_printf(&b, "}");
    el_preset_file *f = NULL;
    el_error err;
    if (more)
      refused(b.data, "is nested 33 levels deep, the limit is 32");
    else if (parse(b.data, &f, &err))
      fail_msg("%s", err.message);
    el_preset_free(f);
    el_buf_free(&b);
  }
  char *text = malloc(EL_PRESET_MAX_BYTES);
  memset(text, '[', EL_PRESET_MAX_BYTES - 1);
  text[EL_PRESET_MAX_BYTES - 1] = 0;
  refused(text, "levels deep");
  free(text);
}

/* --- files */

static el_status read_preset(const char *dir, const char *json, el_preset_file **out, el_error *err) {
  write_file(dir, "edgelora.json", json, strlen(json));
  return el_preset_read(dir, out, err);
}

static void a_template_may_stand_in_a_file_of_the_same_folder_alone(void **state) {
  char dir[64], path[160];
  el_preset_file *f = NULL;
  el_error err;
  make_dir(dir);
  assert_int_equal(el_preset_read(dir, &f, &err), EL_OK);
  assert_null(f); /* there is none */
  write_file(dir, "chat.jinja", "{{ bos_token }}", 15);
  if (read_preset(dir, "{\"chat_template\": \"chat.jinja\"}", &f, &err)) fail_msg("%s", err.message);
  assert_string_equal(f->preset.chat_template, "{{ bos_token }}");
  assert_true(el_preset_is_current(f));
  write_file(dir, "chat.jinja", "{{ eos_token }}!", 16);
  assert_false(el_preset_is_current(f));
  snprintf(path, sizeof path, "%s/chat.jinja", dir);
  unlink(path);
  assert_false(el_preset_is_current(f));
  el_preset_free(f);

  static const char *const outside[] = {"../chat.jinja", "/etc/passwd", "a/b", "..", ".", ".hidden", "a\\nb"};
  for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
    char json[128];
    snprintf(json, sizeof json, "{\"chat_template\": \"%s\"}", outside[i]);
    assert_int_equal(read_preset(dir, json, &f, &err), EL_ERR_FORMAT);
    assert_contains(err.message, "edgelora.json: chat_template: is n");
  }
  static const struct {
    const char *kind, *message;
  } bad[] = {{"missing", "No such file"},
             {"link", "is not a regular file"},
             {"folder", "is not a regular file"},
             {"pipe", "is not a regular file"},
             {"empty", "is empty"},
             {"latin1", "is not UTF-8"},
             {"nul", "has a NUL character"},
             {"large", "chat_template: file large: "}};
  snprintf(path, sizeof path, "%s/link", dir);
  assert_int_equal(symlink("/etc/passwd", path), 0);
  snprintf(path, sizeof path, "%s/folder", dir);
  mkdir(path, 0700);
  snprintf(path, sizeof path, "%s/pipe", dir);
  assert_int_equal(mkfifo(path, 0600), 0);
  write_file(dir, "empty", "", 0);
  write_file(dir, "latin1", "\xe9", 1);
  write_file(dir, "nul", "a\0b", 3);
  char *large = long_text("", EL_PRESET_MAX_CHAT_TEMPLATE + 1, "");
  write_file(dir, "large", large, strlen(large));
  free(large);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    char json[128];
    snprintf(json, sizeof json, "{\"chat_template\": \"%s\"}", bad[i].kind);
    assert_int_not_equal(read_preset(dir, json, &f, &err), EL_OK);
    if (!strstr(err.message, bad[i].message)) fail_msg("%s: %s", bad[i].kind, err.message);
  }
  remove_tree(dir);
}

static void a_gguf_files_preset_stands_beside_it(void **state) {
  char dir[64], path[160];
  el_preset_file *f = NULL;
  el_error err;
  el_signature before, after;
  make_dir(dir);
  write_file(dir, "sql.gguf", "GGUF", 4);
  write_file(dir, "edgelora.json", "{\"top_k\": 9}", 12); /* that of a folder, which this is not */
  snprintf(path, sizeof path, "%s/sql.gguf", dir);
  assert_int_equal(el_preset_read(path, &f, &err), EL_OK);
  assert_null(f);
  assert_int_equal(el_signature_read(path, &before, &err), EL_OK);
  write_file(dir, "sql.json", "{\"top_k\": 7}", 12);
  assert_int_equal(el_preset_read(path, &f, &err), EL_OK);
  assert_int_equal(f->preset.sampling.top_k, 7);
  el_preset_free(f);
  assert_int_equal(el_signature_read(path, &after, &err), EL_OK);
  assert_false(el_signature_equal(&before, &after)); /* so that it is noticed */
  assert_true(el_signature_same_weights(&before, &after));
  remove_tree(dir);
}

static void a_folders_adapters_keep_to_its_names(void **state) {
  el_preset_file *f = NULL;
  el_error err;
  assert_int_equal(parse("{\"aliases\": [\"acme/db\"]}", &f, &err), EL_OK);
  assert_int_equal(el_preset_check_aliases(f, "acme/sql", &err), EL_OK);
  assert_int_equal(el_preset_check_aliases(f, "sql", &err), EL_OK); /* the operator's own folder */
  assert_int_equal(el_preset_check_aliases(f, "globex/sql", &err), EL_ERR_FORMAT);
  assert_contains(err.message, "acme/db does not begin with the folder's name, globex/");
  el_preset_free(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_preset_says_how_its_adapter_wants_to_be_asked),
      cmocka_unit_test(what_is_not_said_is_not_set),
      cmocka_unit_test(each_wrong_field_is_named_with_its_limit),
      cmocka_unit_test(what_is_no_object_of_json_is_refused),
      cmocka_unit_test(limits_are_kept_to_the_byte),
      cmocka_unit_test(depth_is_bounded_before_anything_recurses),
      cmocka_unit_test(a_template_may_stand_in_a_file_of_the_same_folder_alone),
      cmocka_unit_test(a_gguf_files_preset_stands_beside_it),
      cmocka_unit_test(a_folders_adapters_keep_to_its_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
