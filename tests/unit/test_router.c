/* The router in memory and as a file: what is written is read again, what is wrong is refused, choices follow the rule,
 * adapters come and go. */
#include <math.h>

#include "base/clock.h"
#include "router/bank.h"
#include "router_fixture.h"

/* ---------------------------------------------------------------------- file */

static void save(const el_router *r, const char *path) {
  el_error e = {0};
  if (el_router_save(r, NULL, NULL, path, &e)) fail_msg("%s", e.message);
}

static void same_floats(const float *a, const float *b, size_t n) {
  assert_memory_equal(a, b, n * sizeof *a);
}

static void what_is_written_is_read_again(void **state) {
  char dir[64], path[128];
  el_error e = {0};
  el_router *a = make_router(5, 20), *b = NULL;
  make_dir(dir);
  snprintf(path, sizeof path, "%s/r.gguf", dir);
  save(a, path);
  if (el_router_open(path, &tiny_base, &b, &e)) fail_msg("%s", e.message);
  assert_int_equal(b->base.fingerprint, a->base.fingerprint);
  assert_string_equal(b->base.name, "tiny");
  assert_int_equal(b->features.n_taps, 2);
  assert_int_equal(b->features.taps[1], 2);
  assert_int_equal(b->features.slices[1].tap, 1);
  assert_int_equal(b->features.slices[1].pooling, EL_POOL_UNIT_LAST);
  assert_int_equal(b->features.max_tokens, 64);
  assert_int_equal(b->dim, 5);
  same_floats(b->projection, a->projection, 5 * 64);
  same_floats(b->origin, a->origin, 5);
  same_floats(b->weights, a->weights, 15);
  same_floats(b->bias, a->bias, 3);
  assert_string_equal(b->names[2], "shell");
  assert_int_equal(b->base_column, 0);
  same_floats(b->examples.center, a->examples.center, 5);
  assert_int_equal(b->examples.n_background, 20);
  for (int i = 0; i < 20 * b->examples.padded; i++)
    assert_true(abs(b->examples.background[i] - a->examples.background[i]) <=
                1 + abs(a->examples.background[i]) / 2048);
  assert_int_equal(b->top_k, 3);
  assert_float_equal(b->margin, 0.05f, 0);
  assert_int_equal(b->facts.seed, UINT64_MAX);
  assert_int_equal(b->facts.best_column, 1);
  assert_string_equal(b->facts.valid, "v.csv");
  assert_int_equal(b->lora_rank, 0);
  el_router_free(a);
  el_router_free(b);
  remove_tree(dir);
}

static void a_router_of_another_model_is_refused_with_both_names(void **state) {
  char dir[64], path[128];
  el_router *a = make_router(5, 20), *b = NULL;
  el_base_id other = tiny_base;
  el_error e = {0};
  other.name = "large";
  make_dir(dir);
  snprintf(path, sizeof path, "%s/r.gguf", dir);
  save(a, path);
  assert_int_equal(el_router_open(path, &other, &b, &e), EL_OK); /* a name alone tells no models apart */
  el_router_free(b);
  b = NULL;
  other.fingerprint++;
  assert_int_equal(el_router_open(path, &other, &b, &e), EL_ERR_INVALID);
  assert_contains(e.message, "'tiny'");
  assert_contains(e.message, "'large'");
  assert_contains(e.message, "r.gguf");
  assert_null(b);
  other = tiny_base;
  other.n_vocab++;
  assert_int_equal(el_router_open(path, &other, &b, &e), EL_ERR_INVALID);
  el_router_free(a);
  remove_tree(dir);
}

static size_t read_back(const char *path, char *out, size_t room) {
  FILE *f = fopen(path, "rb");
  assert_non_null(f);
  size_t n = fread(out, 1, room, f);
  fclose(f);
  assert_true(n > 0 && n < room);
  return n;
}

static el_status open_bytes(const char *dir, const char *data, size_t n, el_error *e) {
  char path[128];
  el_router *r = NULL;
  write_file(dir, "cut.gguf", data, n);
  snprintf(path, sizeof path, "%s/cut.gguf", dir);
  el_status status = el_router_open(path, &tiny_base, &r, e);
  assert_true(status ? !r && e->message[0] : r != NULL);
  el_router_free(r);
  return status;
}

static void a_file_that_is_cut_anywhere_is_refused(void **state) {
  char dir[64], path[128], data[16384];
  el_router *r = make_router(3, 2);
  make_dir(dir);
  snprintf(path, sizeof path, "%s/r.gguf", dir);
  save(r, path);
  size_t len = read_back(path, data, sizeof data);
  for (size_t n = 0; n < len; n++) {
    el_error e = {0};
    el_status status = open_bytes(dir, data, n, &e);
    /* Only the padding behind the last tensor is not missed. */
    if (status == EL_OK && len - n > 31) fail_msg("%zu of %zu bytes were enough", n, len);
  }
  el_router_free(r);
  remove_tree(dir);
}

static void bytes_that_have_changed_are_refused_or_harmless(void **state) {
  char dir[64], path[128], data[16384];
  el_router *r = make_router(3, 2);
  make_dir(dir);
  snprintf(path, sizeof path, "%s/r.gguf", dir);
  save(r, path);
  size_t len = read_back(path, data, sizeof data);
  for (size_t i = 0; i < len; i++) {
    el_error e = {0};
    char old = data[i];
    data[i] = (char)0xff;
    open_bytes(dir, data, len, &e);
    data[i] = old;
  }
  el_router_free(r);
  remove_tree(dir);
}

/* Whoever makes a router by hand may lie. */
static void values_that_are_not_finite_or_not_sensible_are_refused(void **state) {
  char dir[64], path[128];
  make_dir(dir);
  snprintf(path, sizeof path, "%s/r.gguf", dir);
  for (int k = 0; k < 8; k++) {
    el_router *r = make_router(3, 2), *back = NULL;
    el_error e = {0};
    switch (k) {
      case 0: r->projection[7] = NAN; break;
      case 1: r->weights[0] = INFINITY; break;
      case 2: r->margin = EL_MAX_ROUTER_MARGIN + 1; break;
      case 3: r->top_k = 0; break;
      case 4: r->features.taps[1] = 5; break; /* the base has 4 layers */
      case 5: r->features.slices[0].tap = 2; break;
      case 6: r->base_column = 3; break;
      case 7:
        strcpy(r->names[1], "bas");
        free(r->names[0]);
        r->names[0] = strdup("bas");
        break;
    }
    save(r, path);
    el_status status = el_router_open(path, NULL, &back, &e);
    if (status != EL_ERR_FORMAT) fail_msg("case %d: %s", k, el_status_name(status));
    assert_contains(e.message, "r.gguf");
    el_router_free(r);
  }
  remove_tree(dir);
}

static void a_file_that_cannot_be_written_leaves_nothing_behind(void **state) {
  char dir[64], path[128], command[160];
  el_router *r = make_router(3, 2);
  el_error e = {0};
  make_dir(dir);
  snprintf(path, sizeof path, "%s/none/r.gguf", dir);
  assert_int_equal(el_router_save(r, NULL, NULL, path, &e), EL_ERR_IO);
  assert_contains(e.message, "none/r.gguf");
  snprintf(path, sizeof path, "%s/folder", dir);
  assert_int_equal(mkdir(path, 0755), 0);
  assert_int_equal(el_router_save(r, NULL, NULL, path, &e), EL_ERR_IO); /* a folder is in the way of the rename */
  snprintf(command, sizeof command, "test \"$(ls %s)\" = folder", dir);
  assert_int_equal(system(command), 0);
  el_router_free(r);
  remove_tree(dir);
}

/* -------------------------------------------------------------------- choice */

static void the_best_resident_one_near_the_best_is_chosen(void **state) {
  const float s[] = {0.5f, 0.9f, 0.88f, 0.7f, 0.9f};
  const bool none[5] = {0}, third[5] = {0, 0, 1}, fourth[5] = {0, 0, 0, 1}, fifth[5] = {0, 0, 0, 0, 1},
             all[5] = {1, 1, 1, 1, 1};
  assert_int_equal(el_router_choose(s, none, 5, 3, 0.05f), 1); /* of equal ones the first */
  assert_int_equal(el_router_choose(s, third, 5, 3, 0.05f), 2);
  assert_int_equal(el_router_choose(s, third, 5, 2, 0.05f), 1); /* not one of the 2 best */
  assert_int_equal(el_router_choose(s, third, 5, 3, 0.01f), 1); /* too far from the best */
  assert_int_equal(el_router_choose(s, fourth, 5, 5, 0.05f), 1);
  assert_int_equal(el_router_choose(s, fourth, 5, 5, 1.0f), 3);
  assert_int_equal(el_router_choose(s, fifth, 5, 3, 0), 4); /* as good as the best, and here */
  assert_int_equal(el_router_choose(s, all, 5, 3, 1), 1);
  assert_int_equal(el_router_choose(s, third, 1, 100, 1), 0);
}

static void the_best_come_in_order_and_equal_ones_as_they_stand(void **state) {
  const float s[] = {0.1f, 0.5f, 0.3f, 0.5f, 0.2f};
  size_t top[5];
  el_router_top(s, 5, 5, top);
  const size_t want[] = {1, 3, 2, 4, 0};
  assert_memory_equal(top, want, sizeof want);
  el_router_top(s, 5, 1, top);
  assert_int_equal(top[0], 1);
  el_router_top(s, 5, 0, top);
}

/* ---------------------------------------------------------------------- bank */

static float logit_of(const el_bank *b, const float *z, uint64_t id, float *base) {
  float logits[64];
  assert_true(el_bank_count(b) <= 64);
  el_bank_logits(b, z, logits, base);
  size_t i = el_bank_find(b, id);
  assert_true(i != SIZE_MAX);
  assert_int_equal(el_bank_id(b, i), id);
  return logits[i];
}

static void trained_columns_are_found_by_name_and_the_base_has_its_own(void **state) {
  el_router *r = make_router(16, 50);
  el_bank *b = NULL;
  el_error e = {0};
  float z[16 + 32] = {0}, logits[3], base;
  bool added;
  for (int i = 0; i < 16; i++) z[i] = (float)i / 10;
  assert_int_equal(el_bank_new(r, &b, &e), EL_OK);
  assert_int_equal(el_bank_put(b, 7, "sql", NULL, 0, &added, &e), EL_OK);
  assert_true(added);
  assert_int_equal(el_bank_put(b, 8, "unknown", NULL, 0, &added, &e), EL_OK);
  assert_false(added);
  assert_int_equal(el_bank_put(b, 9, "base", NULL, 0, &added, &e), EL_OK); /* an adapter of that name is none */
  assert_false(added);
  assert_int_equal(el_bank_count(b), 1);
  el_router_logits(r, z, logits);
  assert_float_equal(logit_of(b, z, 7, &base), logits[1], 0);
  assert_float_equal(base, logits[0], 0);
  el_bank_free(b);
  r->base_column = -1;
  assert_float_equal(el_router_sigmoid(el_router_base_logit(r, logits)), r->base_score, 1e-6f);
  el_router_free(r);
}

/* Directions of their own for adapters, beside a background that has none. */
enum {
  CLASSIFIED = 32,
  VECTOR = CLASSIFIED + 32
}; /* what the classifier reads comes first, and is of no matter to examples */
static void near(float *z, int axis, uint64_t seed) {
  for (int i = 0; i < VECTOR; i++) z[i] = 0.3f * uniform(&seed) + (i == CLASSIFIED + axis ? 2 : 0);
}

static void examples_tell_whose_prompt_it_is_and_the_base_has_the_rest(void **state) {
  el_router *r = make_router(CLASSIFIED, 200);
  el_bank *b = NULL;
  el_error e = {0};
  float z[EL_MAX_EXAMPLES][VECTOR], q[VECTOR], base;
  memset(r->examples.center, 0, 32 * sizeof(float));
  assert_int_equal(el_bank_new(r, &b, &e), EL_OK);
  for (int a = 0; a < 4; a++) {
    for (int k = 0; k < 5; k++) near(z[k], a, (uint64_t)(a * 100 + k));
    assert_int_equal(el_bank_put(b, (uint64_t)(a + 1), "new", z[0], 5, NULL, &e), EL_OK);
  }
  for (int a = 0; a < 4; a++) {
    near(q, a, (uint64_t)(1000 + a));
    for (int other = 0; other < 4; other++) {
      float s = logit_of(b, q, (uint64_t)(other + 1), &base);
      assert_true(other == a ? s > base : s < base);
    }
  }
  for (int k = 0; k < 20; k++) { /* prompts like the background's */
    uint64_t seed = (uint64_t)(5000 + k);
    for (int i = 0; i < VECTOR; i++) q[i] = uniform(&seed);
    for (int a = 0; a < 4; a++) assert_true(logit_of(b, q, (uint64_t)(a + 1), &base) < base);
  }
  el_bank_free(b);
  el_router_free(r);
}

static void adapters_come_and_go(void **state) {
  el_router *r = make_router(CLASSIFIED, 50);
  el_bank *b = NULL;
  el_error e = {0};
  float z[2][VECTOR], q[VECTOR], base, before[41];
  near(q, 3, 9);
  assert_int_equal(el_bank_new(r, &b, &e), EL_OK);
  for (int a = 1; a <= 40; a++) {
    near(z[0], a % 32, (uint64_t)a);
    near(z[1], a % 32, (uint64_t)(a + 500));
    assert_int_equal(el_bank_put(b, (uint64_t)a, "new", z[0], 1 + a % 2, NULL, &e), EL_OK);
  }
  for (int a = 1; a <= 40; a++) before[a] = logit_of(b, q, (uint64_t)a, &base);
  for (int a = 2; a <= 40; a += 3) el_bank_remove(b, (uint64_t)a);
  el_bank_remove(b, 12345);
  assert_int_equal(el_bank_count(b), 27);
  assert_int_equal(el_bank_find(b, 2), SIZE_MAX);
  for (int a = 1; a <= 40; a++)
    if (a % 3 != 2) assert_float_equal(logit_of(b, q, (uint64_t)a, &base), before[a], 0);
  near(z[0], 3, 77); /* replaced by what is near */
  assert_int_equal(el_bank_put(b, 1, "new", z[0], 1, NULL, &e), EL_OK);
  assert_int_equal(el_bank_count(b), 27);
  assert_true(logit_of(b, q, 1, &base) > before[1]);
  bool added = true; /* and by nothing */
  assert_int_equal(el_bank_put(b, 1, "new", NULL, 0, &added, &e), EL_OK);
  assert_false(added);
  assert_int_equal(el_bank_count(b), 26);
  el_bank_free(b);
  el_router_free(r);
}

static void what_was_trained_goes_before_examples(void **state) {
  el_router *r = make_router(CLASSIFIED, 50);
  el_bank *b = NULL;
  el_error e = {0};
  float z[VECTOR], q[VECTOR], base;
  near(z, 3, 1);
  near(q, 3, 2);
  assert_int_equal(el_bank_new(r, &b, &e), EL_OK);
  assert_int_equal(el_bank_put(b, 1, "sql", NULL, 0, NULL, &e), EL_OK);
  assert_int_equal(el_bank_put(b, 2, "new", z, 1, NULL, &e), EL_OK);
  assert_int_equal(el_bank_put(b, 3, "sql", z, 1, NULL, &e), EL_OK);
  assert_true(logit_of(b, q, 2, &base) != logit_of(b, q, 1, &base));
  assert_float_equal(logit_of(b, q, 3, &base), logit_of(b, q, 1, &base), 0);
  el_bank_free(b);
  el_router_free(r);
}

/* Printed, not judged: how long depends on the machine. */
static void ten_thousand_adapters_are_scored(void **state) {
  enum { ADAPTERS = 10000, EXAMPLES = 2, DIM = 128, EMBD = 576, WIDTH = DIM + EMBD, RUNS = 20 };
  if (getenv("ASAN_OPTIONS")) skip(); /* it measures */
  el_router *r = make_router_of(DIM, EMBD, EL_EXAMPLE_MAX_BACKGROUND);
  el_bank *b = NULL;
  el_error e = {0};
  float *z = random_floats(EL_MAX_EXAMPLES * WIDTH, 1), *logits = malloc(ADAPTERS * sizeof *logits), base;
  double best = 1e9, begin = el_seconds();
  assert_int_equal(el_bank_new(r, &b, &e), EL_OK);
  for (uint64_t a = 1; a <= ADAPTERS; a++) {
    z[a % (EL_MAX_EXAMPLES * WIDTH)] = (float)(a % 7) - 3;
    assert_int_equal(el_bank_put(b, a, "new", z, EXAMPLES, NULL, &e), EL_OK);
  }
  double added = el_seconds() - begin;
  for (int i = 0; i < RUNS; i++) {
    begin = el_seconds();
    el_bank_logits(b, z, logits, &base);
    double took = el_seconds() - begin;
    best = took < best ? took : best;
  }
  print_message("%d adapters with %d examples of %d values: scored in %.3f ms, added in %.3f ms each\n", ADAPTERS,
                EXAMPLES, EMBD, best * 1e3, added * 1e3 / ADAPTERS);
  for (int i = 0; i < ADAPTERS; i++) assert_true(isfinite(logits[i]));
  free(z);
  free(logits);
  el_bank_free(b);
  el_router_free(r);
}

/* ------------------------------------------------------------------- pooling */

static void the_window_begins_early_or_at_the_span(void **state) {
  size_t from, to;
  el_router_window(10, 50, 64, &from, &to);
  assert_int_equal(from, 0);
  assert_int_equal(to, 50);
  el_router_window(10, 500, 64, &from, &to);
  assert_int_equal(from, 0);
  assert_int_equal(to, 64);
  el_router_window(32, 500, 64, &from, &to);
  assert_int_equal(from, 32);
  assert_int_equal(to, 96);
  el_router_window(1000, 1010, 64, &from, &to);
  assert_int_equal(from, 1000);
  assert_int_equal(to, 1010);
}

static void poolings_are_what_their_names_say(void **state) {
  el_features f = {.n_embd = 2, .n_taps = 2, .taps = {0, 1}, .n_slices = EL_N_POOLINGS, .max_tokens = 8};
  for (int i = 0; i < EL_N_POOLINGS; i++) f.slices[i] = (el_feature_slice){1, (el_pooling)i};
  const float states[2][4] = {{9, 9, 3, 4}, {9, 9, 0, -2}}; /* tap 0, then tap 1 */
  const float a = (float)sqrt(12.5), unit[2][2] = {{3 / a, 4 / a}, {0, -2 / (float)sqrt(2)}};
  el_pooler *p = NULL;
  el_error e = {0};
  float out[2 * EL_N_POOLINGS];
  assert_int_equal(el_pooler_new(&f, &p, &e), EL_OK);
  for (int round = 0; round < 2; round++) { /* reset forgets */
    el_pooler_add(p, states[0]);
    el_pooler_add(p, states[1]);
    assert_int_equal(el_pooler_count(p), 2);
    el_pooler_get(p, out);
    for (int k = 0; k < 2; k++) {
      float u = unit[0][k], v = unit[1][k];
      assert_float_equal(out[2 * EL_POOL_MEAN + k], (states[0][2 + k] + states[1][2 + k]) / 2, 1e-6);
      assert_float_equal(out[2 * EL_POOL_UNIT_MEAN + k], (u + v) / 2, 1e-6);
      assert_float_equal(out[2 * EL_POOL_UNIT_LAST + k], v, 1e-6);
      assert_float_equal(out[2 * EL_POOL_UNIT_MAX + k], u > v ? u : v, 1e-6);
      assert_float_equal(out[2 * EL_POOL_UNIT_STD + k], fabsf(u - v) / 2, 1e-6);
    }
    el_pooler_reset(p);
    el_pooler_get(p, out);
    for (int i = 0; i < 2 * EL_N_POOLINGS; i++) assert_float_equal(out[i], 0, 0);
  }
  el_pooler_free(p);
  for (int i = 0; i < EL_N_POOLINGS; i++) {
    el_pooling found;
    const char *name = el_pooling_name((el_pooling)i);
    assert_true(el_pooling_find(name, strlen(name), &found) && (int)found == i);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_written_is_read_again),
      cmocka_unit_test(a_router_of_another_model_is_refused_with_both_names),
      cmocka_unit_test(a_file_that_is_cut_anywhere_is_refused),
      cmocka_unit_test(bytes_that_have_changed_are_refused_or_harmless),
      cmocka_unit_test(values_that_are_not_finite_or_not_sensible_are_refused),
      cmocka_unit_test(a_file_that_cannot_be_written_leaves_nothing_behind),
      cmocka_unit_test(the_best_resident_one_near_the_best_is_chosen),
      cmocka_unit_test(the_best_come_in_order_and_equal_ones_as_they_stand),
      cmocka_unit_test(trained_columns_are_found_by_name_and_the_base_has_its_own),
      cmocka_unit_test(examples_tell_whose_prompt_it_is_and_the_base_has_the_rest),
      cmocka_unit_test(adapters_come_and_go),
      cmocka_unit_test(what_was_trained_goes_before_examples),
      cmocka_unit_test(ten_thousand_adapters_are_scored),
      cmocka_unit_test(the_window_begins_early_or_at_the_span),
      cmocka_unit_test(poolings_are_what_their_names_say),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
