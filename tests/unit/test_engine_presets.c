/* What adapters say of how they want to be asked, adapters under other names, and adapters that are to stay in memory.
 * On the fake model, with real files. */
#include "routed_rig.h"

static const int32_t prompt[] = {'a', 'b', 'c'};

static void put_preset(const char *dir, const char *name, const char *json) {
  char path[160];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  write_file(path, "edgelora.json", json, strlen(json));
}

static el_status add_adapter(rig *r, const char *name, el_error *err) {
  char path[160];
  snprintf(path, sizeof path, "%s/%s", r->dir, name);
  return el_adapter_add(r->engine, name, path, err);
}

/* An adapter of the rig's folder with a preset. */
static void put_adapter(rig *r, const char *name, float seed, const char *json) {
  el_error err;
  put_fake_peft(r->dir, name, seed);
  put_preset(r->dir, name, json);
  if (add_adapter(r, name, &err)) fail_msg("%s", err.message);
}

static el_request for_adapter(const char *adapter, int max_tokens) {
  el_request q = ask(prompt, 3, max_tokens);
  q.adapter.name = adapter;
  q.ignore_eos = true;
  return q;
}

static void run_request(rig *r, el_request q, result *out) {
  result_init(out);
  rig_run(r, q, out);
  if (out->last.done.finish == EL_FINISH_ERROR) fail_msg("%s", out->last.done.error.message);
}

static void assert_same_tokens(const result *a, const result *b) {
  assert_int_equal(a->n, b->n);
  assert_memory_equal(a->tokens, b->tokens, sizeof *a->tokens * (size_t)a->n);
}

/* --- what is left open */

static void a_preset_fills_in_what_the_request_leaves_open(void **state) {
  static result plain, preset, said, partly;
  rig r = rig_open(2, 64, 16);
  put_adapter(&r, "x", 1, "{\"temperature\": 2, \"seed\": 7, \"max_tokens\": 9}");
  el_request q = for_adapter("x", 12);
  run_request(&r, q, &plain); /* nothing is left open: the preset is of no account */
  assert_int_equal(plain.n, 12);
  q.preset_fields = EL_PRESET_ALL;
  run_request(&r, q, &preset);
  assert_int_equal(preset.n, 9);
  assert_memory_not_equal(plain.tokens, preset.tokens, 9 * sizeof(int32_t));
  q.preset_fields = 0;
  q.max_tokens = 9;
  q.sampling.temperature = 2;
  q.sampling.seed = 7;
  run_request(&r, q, &said);
  assert_same_tokens(&said, &preset); /* as if the request had said it */
  q.sampling.temperature = 0;
  q.preset_fields = EL_PRESET_ALL & ~(unsigned)EL_PRESET_TEMPERATURE;
  run_request(&r, q, &partly);
  assert_int_equal(partly.n, 9);
  assert_memory_equal(partly.tokens, plain.tokens, 9 * sizeof(int32_t));
  q = for_adapter("x", 9);
  q.preset_fields = EL_PRESET_ALL;
  q.seed_offset = 1; /* the next of several answers */
  run_request(&r, q, &partly);
  assert_memory_not_equal(partly.tokens, preset.tokens, 9 * sizeof(int32_t));
  q.preset_fields = 0;
  q.sampling.temperature = 2;
  q.sampling.seed = 8;
  q.seed_offset = 0;
  run_request(&r, q, &said);
  assert_same_tokens(&said, &partly);
  rig_close(&r);
}

static void a_presets_stop_strings_end_the_answer(void **state) {
  static const int script[] = {HELLO, STOP_WORD, WORLD, HELLO, -1};
  static result out;
  rig r = rig_open(2, 64, 16);
  put_adapter(&r, "x", 1, "{\"stop\": [\"world\"]}");
  fake.scripts[1] = script;
  el_request q = ASK(10, 1);
  q.adapter.name = "x";
  run_request(&r, q, &out);
  assert_int_equal(out.n, 4);
  q.preset_fields = EL_PRESET_ALL;
  run_request(&r, q, &out);
  assert_int_equal(out.last.done.finish, EL_FINISH_STOP);
  assert_string_equal(out.stop, "world");
  static const char *const own[] = {"STOP"};
  q.stop = own; /* those of the request instead */
  q.n_stop = 1;
  q.preset_fields = EL_PRESET_ALL & ~(unsigned)EL_PRESET_STOP;
  run_request(&r, q, &out);
  assert_string_equal(out.stop, "STOP");
  rig_close(&r);
}

static void a_presets_scale_is_what_the_adapter_is_loaded_with(void **state) {
  static result plain, scaled, asked;
  rig r = rig_open(2, 64, 16);
  el_error err;
  put_fake_peft(r.dir, "plain", 1);
  assert_int_equal(add_adapter(&r, "plain", &err), EL_OK);
  put_adapter(&r, "half", 1, "{\"lora_scale\": 0.5}");
  run_request(&r, for_adapter("plain", 8), &plain);
  run_request(&r, for_adapter("half", 8), &scaled);
  assert_memory_not_equal(plain.tokens, scaled.tokens, 8 * sizeof(int32_t));
  /* A scale that a request says takes its place: it does not come on top. */
  const el_adapter_scale one = {"plain", 0.5f}, same = {"half", 0.5f};
  el_request q = for_adapter(NULL, 8);
  q.adapter = (el_adapter_selection){.by = EL_BY_SCALES, .scales = {&same, 1}};
  run_request(&r, q, &asked);
  assert_same_tokens(&asked, &scaled);
  const el_adapter_scale whole = {"half", 1};
  q.adapter.scales.list = &whole;
  run_request(&r, q, &asked);
  assert_memory_not_equal(asked.tokens, scaled.tokens, 8 * sizeof(int32_t));
  q.adapter.scales.list = &one;
  run_request(&r, q, &asked);
  assert_memory_not_equal(asked.tokens, plain.tokens, 8 * sizeof(int32_t));
  rig_close(&r);
}

/* --- wrong ones, other ones */

static void an_adapter_whose_preset_is_wrong_answers_nobody_until_it_is_right(void **state) {
  static result out;
  char dir[64];
  rig r = rig_open(2, 64, 16);
  el_error err;
  size_t added, failed;
  make_dir(dir);
  put_fake_peft(dir, "x", 1);
  put_preset(dir, "x", "{\"temprature\": 1}");
  assert_int_equal(el_adapter_add_dir(r.engine, dir, &added, &failed, &err), EL_OK);
  el_request q = for_adapter("x", 5);
  q.on_event = result_on_event;
  q.user = &out;
  assert_int_equal(el_submit(r.engine, &q, NULL, &err), EL_ERR_FORMAT);
  assert_contains(err.message, "x/edgelora.json: temprature: is no field of a preset");
  assert_null(strstr(err.message + err.detail, dir));
  el_adapter_info *info;
  assert_int_equal(el_adapter_get(r.engine, "x", &info, NULL), EL_OK);
  assert_int_equal(info->state, EL_ADAPTER_FAILED);
  assert_contains(info->failure, "temprature");
  uint64_t generation = info->generation;
  el_free(info);
  put_preset(dir, "x", "{\"temperature\": 1, \"max_tokens\": 3}");
  assert_int_equal(el_adapter_rescan(r.engine, NULL, &err), EL_OK);
  q.preset_fields = EL_PRESET_ALL;
  run_request(&r, q, &out);
  assert_int_equal(out.n, 3);
  assert_int_equal(el_adapter_get(r.engine, "x", &info, NULL), EL_OK);
  assert_true(info->generation > generation);
  assert_null(info->failure);
  el_free(info);
  /* One that is added by name is refused at once, and leaves no trace. */
  put_fake_peft(r.dir, "y", 1);
  put_preset(r.dir, "y", "{\"top_p\": 2}");
  assert_int_equal(add_adapter(&r, "y", &err), EL_ERR_FORMAT);
  assert_int_equal(el_adapter_get(r.engine, "y", &info, NULL), EL_ERR_NOT_FOUND);
  rig_close(&r);
  remove_tree(dir);
}

static void a_template_that_is_not_understood_is_the_presets_fault(void **state) {
  rig r = rig_open(2, 64, 16);
  el_error err;
  put_fake_peft(r.dir, "x", 1);
  put_preset(r.dir, "x", "{\"chat_template\": \"{{ nobody knows this one }\"}");
  assert_int_not_equal(add_adapter(&r, "x", &err), EL_OK);
  assert_contains(err.message, "edgelora.json: chat_template: ");
  rig_close(&r);
}

static void what_is_held_answers_with_the_preset_and_the_weights_of_one_time(void **state) {
  static result old, held, now;
  rig r = rig_open(2, 64, 16);
  el_error err;
  char path[160];
  put_adapter(&r, "x", 1, "{\"max_tokens\": 4}");
  put_fake_peft(r.dir, "y", 2);
  put_preset(r.dir, "y", "{\"max_tokens\": 6}");
  el_request q = for_adapter("x", 10);
  q.preset_fields = EL_PRESET_ALL;
  run_request(&r, q, &old);
  const el_held_adapter *a = NULL;
  assert_int_equal(el_adapter_hold(r.engine, "x", &a, &err), EL_OK);
  assert_string_equal(a->name, "x");
  assert_int_equal(a->preset->max_tokens, 4);
  snprintf(path, sizeof path, "%s/y", r.dir);
  const el_adapter_put_options how = {.in_place = true, .expected = a->generation};
  assert_int_equal(el_adapter_put(r.engine, "x", path, &how, NULL, &err), EL_OK);
  q.adapter = (el_adapter_selection){.by = EL_BY_HOLD, .held = a};
  run_request(&r, q, &held);
  assert_int_equal(held.n, 4);
  assert_same_tokens(&held, &old);
  el_adapter_release(r.engine, a);
  q.adapter = (el_adapter_selection){.by = EL_BY_NAME, .name = "x"};
  run_request(&r, q, &now);
  assert_int_equal(now.n, 6);
  assert_memory_not_equal(now.tokens, old.tokens, 4 * sizeof(int32_t));
  assert_int_equal(el_adapter_hold(r.engine, "nobody", &a, &err), EL_ERR_NOT_FOUND);
  assert_int_equal(el_adapter_hold(r.engine, "fake model", &a, &err), EL_OK);
  assert_null(a->preset);
  el_adapter_release(r.engine, a);
  rig_close(&r);
}

static void the_base_may_have_a_preset_too(void **state) {
  static result out;
  char dir[64], file[128];
  make_dir(dir);
  snprintf(file, sizeof file, "%s/base.json", dir);
  write_file(dir, "base.json", "{\"max_tokens\": 4}", 17);
  el_engine_options o = rig_options(2, 64, 16);
  o.preset_path = file;
  rig r = rig_open_options(o, 0);
  el_request q = for_adapter(NULL, 10);
  q.preset_fields = EL_PRESET_ALL;
  run_request(&r, q, &out);
  assert_int_equal(out.n, 4);
  static const char *const wrong[] = {"{\"aliases\": [\"x\"]}", "{\"lora_scale\": 2}", "{\"x\": 1}", ""};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    el_engine *e = NULL;
    el_error err;
    write_file(dir, "base.json", wrong[i], strlen(wrong[i]));
    o.model_path = r.path;
    assert_int_not_equal(el_engine_open(&o, &e, &err), EL_OK);
    assert_contains(err.message, "base.json");
  }
  rig_close(&r);
  remove_tree(dir);
}

/* --- aliases */

static el_status id_of(rig *r, const char *name, uint64_t *id) {
  el_adapter_info *info;
  el_status status = el_adapter_get(r->engine, name, &info, NULL);
  if (!status) *id = info->id;
  if (!status) el_free(info);
  return status;
}

static void an_alias_is_another_name_and_names_come_first(void **state) {
  static result named, by_alias;
  rig r = rig_open(4, 64, 16);
  uint64_t x = 0, y = 0, id = 0;
  el_error err;
  put_adapter(&r, "x", 1, "{\"aliases\": [\"first\", \"shared\", \"fake model\"]}");
  put_adapter(&r, "y", 2, "{\"aliases\": [\"shared\", \"x\"]}");
  assert_int_equal(id_of(&r, "x", &x), EL_OK);
  assert_int_equal(id_of(&r, "y", &y), EL_OK);
  run_request(&r, for_adapter("x", 8), &named);
  run_request(&r, for_adapter("first", 8), &by_alias);
  assert_same_tokens(&named, &by_alias);
  assert_true(!id_of(&r, "shared", &id) && id == x); /* the first keeps it */
  assert_true(!id_of(&r, "x", &id) && id == x);      /* no alias takes a name */
  assert_int_equal(id_of(&r, "fake model", &id), EL_ERR_NOT_FOUND);
  el_adapter_info *info;
  assert_int_equal(el_adapter_get(r.engine, "x", &info, NULL), EL_OK);
  assert_int_equal(info->n_aliases, 2); /* those that lead here */
  assert_string_equal(info->aliases[1], "shared");
  el_free(info);
  /* A name that comes later comes first all the same: nobody's alias keeps an adapter away. */
  rig_add(&r, "first", 3);
  assert_true(!id_of(&r, "first", &id) && id != x && id != y);
  assert_int_equal(el_adapter_remove(r.engine, "shared", &err), EL_ERR_NOT_FOUND); /* an alias is not removed */
  assert_int_equal(el_adapter_remove(r.engine, "x", &err), EL_OK);
  assert_true(!id_of(&r, "shared", &id) && id == y); /* what was the other's is its own now */
  assert_true(!id_of(&r, "x", &id) && id == y);
  assert_int_equal(el_adapter_remove(r.engine, "y", &err), EL_OK);
  assert_int_equal(id_of(&r, "shared", &id), EL_ERR_NOT_FOUND);
  rig_close(&r);
}

/* --- auto */

static void the_chosen_ones_preset_counts_where_the_router_chooses(void **state) {
  static result out, again;
  routed t = open_with(rig_options(4, 64, 16), 0);
  int32_t tokens[64];
  put_adapter(&t.r, "a", 1, "{\"max_tokens\": 4, \"temperature\": 2, \"seed\": 5}");
  put_adapter(&t.r, "b", 2, "{\"max_tokens\": 40}");
  rig_add(&t.r, "c", 3);
  el_request q = automatic("aaaaaa", tokens, 12);
  q.preset_fields = EL_PRESET_ALL;
  run_request(&t.r, q, &out);
  assert_int_equal(out.n, 4);
  q.adapter.by = EL_BY_NAME;
  q.adapter.name = "a";
  run_request(&t.r, q, &again);
  assert_same_tokens(&out, &again); /* as if it had been named */
  q = automatic("aaaaaa", tokens, 12);
  run_request(&t.r, q, &out); /* nothing was left open */
  assert_int_equal(out.n, 12);
  q = automatic("bbbbbb", tokens, 12);
  q.preset_fields = EL_PRESET_ALL;
  run_request(&t.r, q, &out);
  assert_int_equal(out.n, 12); /* what was asked for is not exceeded */
  q = automatic("cccccc", tokens, 12);
  q.preset_fields = EL_PRESET_ALL;
  run_request(&t.r, q, &out);
  assert_int_equal(out.n, 12);
  close_routed(&t);
}

/* --- pins */

static el_adapter_info info_of(rig *r, const char *name) {
  el_adapter_info *info, copy;
  assert_int_equal(el_adapter_get(r->engine, name, &info, NULL), EL_OK);
  copy = *info;
  el_free(info);
  return copy;
}

static void wait_until_resident(rig *r, const char *name) {
  for (int ms = 0; info_of(r, name).state != EL_ADAPTER_RESIDENT; ms++) {
    if (ms > 10000) fail_msg("%s is not in memory", name);
    usleep(1000);
  }
}

static void a_pinned_adapter_stays_while_others_come_and_go(void **state) {
  static result out[60];
  char names[12][8];
  rig r = rig_open_options(rig_options(4, 64, 16), 14);
  el_error err;
  rig_add_rank(&r, "stays", 3, 99);
  assert_int_equal(el_adapter_pin(r.engine, "stays", true, &err), EL_OK);
  wait_until_resident(&r, "stays"); /* without a request */
  for (int i = 0; i < 12; i++) {
    snprintf(names[i], sizeof names[i], "a%d", i);
    rig_add_rank(&r, names[i], 1 + i % 4, (uint64_t)i);
  }
  for (int i = 0; i < 60; i++) {
    result_init(&out[i]);
    rig_submit(&r, for_adapter(names[i * 7 % 12], 20), &out[i]);
  }
  for (int i = 0; i < 60; i++) {
    result_wait(&out[i]);
    assert_int_equal(out[i].last.done.finish, EL_FINISH_LENGTH);
  }
  assert_true(rig_stats(&r).adapter_evictions > 0);
  el_adapter_info info = info_of(&r, "stays");
  assert_true(info.pinned && info.state == EL_ADAPTER_RESIDENT);
  assert_int_equal(info.loads, 1);
  /* What takes its place is pinned in its turn, once it is no more it gives way like others. */
  assert_int_equal(el_adapter_pin(r.engine, "stays", false, &err), EL_OK);
  assert_false(info_of(&r, "stays").pinned);
  for (int i = 0; i < 60; i++) {
    result_init(&out[i]);
    rig_submit(&r, for_adapter(names[i * 7 % 12], 20), &out[i]);
  }
  for (int i = 0; i < 60; i++) result_wait(&out[i]);
  assert_int_equal(info_of(&r, "stays").state, EL_ADAPTER_ON_DISK);
  rig_close(&r);
}

static void pins_may_not_take_all_memory(void **state) {
  static result out;
  rig r = rig_open_options(rig_options(2, 64, 16), 10); /* of which a context takes 4 */
  el_error err;
  rig_add_rank(&r, "four", 4, 1);
  rig_add_rank(&r, "three", 3, 2);
  rig_add_rank(&r, "two", 2, 3);
  assert_int_equal(el_adapter_pin(r.engine, "none", true, &err), EL_ERR_NOT_FOUND);
  assert_int_equal(el_adapter_pin(r.engine, "four", true, &err), EL_OK);
  assert_int_equal(el_adapter_pin(r.engine, "three", true, &err), EL_ERR_NO_MEMORY);
  assert_contains(err.message, "adapter three: cannot be pinned: it takes ");
  assert_false(info_of(&r, "three").pinned);
  assert_int_equal(el_adapter_pin(r.engine, "two", true, &err), EL_OK);
  assert_int_equal(el_adapter_pin(r.engine, "two", true, &err), EL_OK); /* it is counted once */
  wait_until_resident(&r, "four");
  wait_until_resident(&r, "two");
  run_request(&r, for_adapter(NULL, 61), &out); /* a whole context has room beside them */
  assert_int_equal(out.n, 61);
  run_request(&r, for_adapter("four", 61), &out);
  /* What would have room in an empty pool has none beside them, and is told so at once. */
  el_request q = for_adapter("three", 61);
  q.on_event = result_on_event;
  q.user = &out;
  assert_int_equal(el_submit(r.engine, &q, NULL, &err), EL_ERR_TOO_LONG);
  run_request(&r, for_adapter("three", 10), &out);
  assert_int_equal(el_adapter_remove(r.engine, "four", &err), EL_OK);
  run_request(&r, for_adapter("three", 61), &out); /* its pin has gone with it */
  assert_int_equal(out.n, 61);
  rig_close(&r);
}

static void what_takes_a_pinned_ones_place_is_pinned_or_refused(void **state) {
  char path[160];
  rig r = rig_open_options(rig_options(2, 64, 16), 10);
  el_error err;
  put_fake_peft_rank(r.dir, "small", 2, 1);
  put_fake_peft_rank(r.dir, "other", 3, 2);
  put_fake_peft_rank(r.dir, "large", 7, 3);
  snprintf(path, sizeof path, "%s/small", r.dir);
  el_adapter_put_options how = {.expected = EL_ANY_GENERATION, .pinned = true};
  assert_int_equal(el_adapter_put(r.engine, "x", path, &how, NULL, &err), EL_OK);
  wait_until_resident(&r, "x");
  how = (el_adapter_put_options){.expected = EL_ANY_GENERATION, .in_place = true};
  snprintf(path, sizeof path, "%s/large", r.dir);
  assert_int_equal(el_adapter_put(r.engine, "x", path, &how, NULL, &err), EL_ERR_NO_MEMORY);
  assert_true(info_of(&r, "x").pinned);
  snprintf(path, sizeof path, "%s/other", r.dir);
  assert_int_equal(el_adapter_put(r.engine, "x", path, &how, NULL, &err), EL_OK);
  assert_true(info_of(&r, "x").pinned);
  wait_until_resident(&r, "x");
  assert_int_equal(info_of(&r, "x").rank, 3);
  rig_close(&r);
}

/* It was let in when there was no pin, and has all of the memory: it goes on, and what was pinned meanwhile waits. */
static void a_pin_does_not_stop_what_runs(void **state) {
  static result big, out;
  rig r = rig_open_options(rig_options(2, 96, 16), 10); /* a context takes 6, so 4 may be pinned */
  el_error err;
  rig_add_rank(&r, "wide", 4, 1);
  rig_add_rank(&r, "pinned", 4, 2);
  fake.step_us = 500;
  result_init(&big);
  rig_submit(&r, for_adapter("wide", 93), &big);
  result_wait_tokens(&big, 2);
  assert_int_equal(el_adapter_pin(r.engine, "pinned", true, &err), EL_OK);
  result_wait(&big);
  assert_int_equal(big.last.done.finish, EL_FINISH_LENGTH);
  assert_int_equal(big.n, 93);
  wait_until_resident(&r, "pinned");
  run_request(&r, for_adapter("pinned", 20), &out);
  rig_close(&r);
}

/* --- schemas */

static void a_presets_schema_holds_answers_that_nothing_else_does(void **state) {
  static result held, left, own, wrong;
  rig r = rig_open(2, 64, 16);
  put_adapter(&r, "x", 1, "{\"schema\": {\"enum\": [\"yes\", \"no\"]}}");
  put_adapter(&r, "y", 2, "{\"schema\": {\"type\": \"nonsense\"}}");
  el_request q = for_adapter("x", 20);
  run_request(&r, q, &left); /* nothing is left open */
  assert_int_equal(left.n, 20);
  q.preset_fields = EL_PRESET_ALL;
  run_request(&r, q, &held);
  assert_true(result_text_is(&held, "\"yes\"") || result_text_is(&held, "\"no\""));
  assert_int_equal(held.last.done.finish, EL_FINISH_STOP);
  const el_constraint *c;
  el_error err;
  el_constraint_source s = {.type = EL_CONSTRAINT_REGEX, .text = "z{3}", .len = 4};
  if (el_constraint_open(r.engine, &s, &c, &err)) fail_msg("%s", err.message);
  q.constraint = c;
  run_request(&r, q, &own); /* the request says it itself */
  assert_true(result_text_is(&own, "zzz"));
  el_constraint_close(r.engine, c);
  q = for_adapter("y", 20);
  q.preset_fields = EL_PRESET_ALL;
  uint64_t id;
  result_init(&wrong);
  q.on_event = result_on_event;
  q.user = &wrong;
  assert_true(el_submit(r.engine, &q, &id, &err) != EL_OK);
  assert_contains(err.message, "schema that the adapter brings");
  rig_close(&r);
}

static void so_does_the_chosen_ones_schema_where_the_router_chooses(void **state) {
  static result out;
  routed t = open_with(rig_options(4, 64, 16), 0);
  int32_t tokens[64];
  put_adapter(&t.r, "a", 1, "{\"schema\": {\"enum\": [\"yes\", \"no\"]}}");
  rig_add(&t.r, "b", 2);
  rig_add(&t.r, "c", 3);
  el_request q = automatic("aaaaaa", tokens, 12);
  q.preset_fields = EL_PRESET_ALL;
  q.sampling.temperature = 1;
  run_request(&t.r, q, &out);
  assert_true(result_text_is(&out, "\"yes\"") || result_text_is(&out, "\"no\""));
  const el_constraint *c;
  el_error err;
  el_constraint_source s = {.type = EL_CONSTRAINT_REGEX, .text = "z{3}", .len = 4};
  if (el_constraint_open(t.r.engine, &s, &c, &err)) fail_msg("%s", err.message);
  q.constraint = c;
  run_request(&t.r, q, &out); /* the request's own, whoever is chosen */
  assert_true(result_text_is(&out, "zzz"));
  q = automatic("bbbbbb", tokens, 12);
  q.constraint = c;
  q.preset_fields = EL_PRESET_ALL;
  run_request(&t.r, q, &out);
  assert_true(result_text_is(&out, "zzz"));
  el_constraint_close(t.r.engine, c);
  close_routed(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_presets_schema_holds_answers_that_nothing_else_does),
      cmocka_unit_test(so_does_the_chosen_ones_schema_where_the_router_chooses),
      cmocka_unit_test(a_preset_fills_in_what_the_request_leaves_open),
      cmocka_unit_test(a_presets_stop_strings_end_the_answer),
      cmocka_unit_test(a_presets_scale_is_what_the_adapter_is_loaded_with),
      cmocka_unit_test(an_adapter_whose_preset_is_wrong_answers_nobody_until_it_is_right),
      cmocka_unit_test(a_template_that_is_not_understood_is_the_presets_fault),
      cmocka_unit_test(what_is_held_answers_with_the_preset_and_the_weights_of_one_time),
      cmocka_unit_test(the_base_may_have_a_preset_too),
      cmocka_unit_test(an_alias_is_another_name_and_names_come_first),
      cmocka_unit_test(the_chosen_ones_preset_counts_where_the_router_chooses),
      cmocka_unit_test(a_pinned_adapter_stays_while_others_come_and_go),
      cmocka_unit_test(pins_may_not_take_all_memory),
      cmocka_unit_test(what_takes_a_pinned_ones_place_is_pinned_or_refused),
      cmocka_unit_test(a_pin_does_not_stop_what_runs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
