/* What edgelora-bench load reads from servers: the same however it is cut into pieces, and refused if it is not right.
 */
#include "bench/load/energy.h"
#include "bench/load/http.h"
#include "bench/load/offers.h"
#include "bench/load/sse.h"
#include "bytes.h"

/* Reads an answer in pieces; its body is the caller's. */
static el_buf feed(el_http *h, const char *bytes, size_t len, size_t piece) {
  el_buf out = {0};
  el_http_reset(h);
  for (size_t at = 0; at < len;) {
    size_t n = len - at < piece ? len - at : piece;
    for (size_t done = 0; done < n;) {
      const char *body;
      size_t body_len, used = el_http_read(h, bytes + at + done, n - done, &body, &body_len);
      if (body_len) put(&out, body, body_len);
      done += used;
      if (h->state == EL_HTTP_DONE || h->state == EL_HTTP_BAD) return out;
      assert_true(used > 0);
    }
    at += n;
  }
  el_http_end(h);
  return out;
}

static void expect_body(const char *answer, int status, const char *body, bool keep_alive) {
  for (size_t piece = 1; piece <= strlen(answer); piece++) {
    el_http h;
    el_buf got = feed(&h, answer, strlen(answer), piece);
    if (h.state != EL_HTTP_DONE) fail_msg("'%s' in pieces of %zu: %s", answer, piece, h.why ? h.why : "not done");
    assert_int_equal(h.status, status);
    assert_string_equal(got.data ? got.data : "", body);
    assert_int_equal(h.keep_alive, keep_alive);
    el_buf_free(&got);
  }
}

static void expect_bad(const char *answer, const char *why) {
  for (size_t piece = 1; piece <= strlen(answer); piece++) {
    el_http h;
    el_buf got = feed(&h, answer, strlen(answer), piece);
    assert_int_equal(h.state, EL_HTTP_BAD);
    assert_non_null(h.why);
    if (!strstr(h.why, why)) fail_msg("'%s': '%s' has no '%s'", answer, h.why, why);
    el_buf_free(&got);
  }
}

static void answers_are_read_however_they_are_cut(void **state) {
  expect_body("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", true);
  expect_body("HTTP/1.1 404 Not Found\r\ncontent-length:0\r\nConnection: x, Close\r\n\r\n", 404, "", false);
  expect_body(
      "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n \r\nA\r\n0123456789\r\n"
      "0\r\nX: y\r\n\r\n",
      200, "hello 0123456789", true);
  expect_body("HTTP/1.0 200 OK\r\n\r\nto the end", 200, "to the end", false);
  expect_body("HTTP/1.1 200 OK\r\n\r\nto the end", 200, "to the end", false);
  expect_body("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n", 204, "", true);
  expect_body("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", 200, "ok", true);
}

static void answers_that_are_not_right_are_refused(void **state) {
  expect_bad("garbage\r\n", "no status line");
  expect_bad("HTTP/2 200 OK\r\n\r\n", "no status line");
  expect_bad("HTTP/1.1 20x OK\r\n\r\n", "no status line");
  expect_bad("HTTP/1.1 2000\r\n\r\n", "no status line");
  expect_bad("HTTP/1.1 101 Switching\r\n\r\n", "its status");
  expect_bad("HTTP/1.1 200 OK\nContent-Length: 0\n\n", "CR LF");
  expect_bad("HTTP/1.1 200 OK\r\nno field\r\n\r\n", "no field");
  expect_bad("HTTP/1.1 200 OK\r\n: x\r\n\r\n", "no field");
  expect_bad("HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\n", "no field");
  expect_bad("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "no number");
  expect_bad("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n", "no number");
  expect_bad("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "two Content-Lengths");
  expect_bad("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "both");
  expect_bad("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "Transfer-Encoding");
  expect_bad("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "size of a chunk");
  expect_bad("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", "size of a chunk");
  expect_bad("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", "size of a chunk");
  expect_bad("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", "longer than its size");
  expect_bad("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "closed before");
  expect_bad("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "closed before");
  expect_bad("HTTP/1.1 200 OK\r\nConte", "closed before");
}

static void heads_without_end_are_refused(void **state) {
  el_buf text = {0};
  put(&text, "HTTP/1.1 200 OK\r\n", 17);
  for (int i = 0; i < 5000; i++) put(&text, "X: 0123456789\r\n", 15);
  el_http h;
  el_buf got = feed(&h, text.data, text.len, 1000);
  assert_int_equal(h.state, EL_HTTP_BAD);
  assert_string_equal(h.why, "its head is longer than 64 KiB");
  el_buf_free(&text);
  for (int i = 0; i < 9000; i++) put(&text, "a", 1);
  feed(&h, text.data, text.len, 1000);
  assert_string_equal(h.why, "a line is longer than 8 KiB");
  el_buf_free(&text);
  for (int i = 0; i < 5000; i++) put(&text, "HTTP/1.1 100 C\r\n\r\n", 18);
  feed(&h, text.data, text.len, 1000);
  assert_string_equal(h.why, "its head is longer than 64 KiB");
  el_buf_free(&text);
  el_buf_free(&got);
}

/* ---- events */

/* All events, each followed by '|'. */
static void expect_events(const char *stream, const char *expected) {
  for (size_t piece = 1; piece <= strlen(stream); piece++) {
    el_sse s = {0};
    el_buf all = {0};
    for (size_t at = 0; at < strlen(stream);) {
      size_t n = strlen(stream) - at < piece ? strlen(stream) - at : piece, used;
      el_sse_result r = el_sse_read(&s, stream + at, n, &used);
      assert_int_not_equal(r, EL_SSE_BAD);
      assert_true(used > 0);
      if (r == EL_SSE_EVENT) {
        put(&all, s.data.data, s.data.len);
        put(&all, "|", 1);
      }
      at += used;
    }
    assert_string_equal(all.data ? all.data : "", expected);
    el_buf_free(&all);
    el_sse_free(&s);
  }
}

static void events_are_read_however_they_are_cut(void **state) {
  expect_events("data: one\n\ndata: two\n\n", "one|two|");
  expect_events("data: one\r\n\r\ndata: two\r\n\r\n", "one|two|");
  expect_events("data: one\r\rdata:two\r\r", "one|two|");
  expect_events(": a comment\nevent: x\nid: 3\ndata: a\ndata:  b\n\n\n\ndata: not ended\n", "a\n b|");
  expect_events("data\n\ndatas: no\n\n", "|");
}

static void an_event_without_end_is_refused(void **state) {
  el_sse s = {0};
  static char block[65536];
  memset(block, 'x', sizeof block);
  size_t used, n = 0;
  el_sse_result r;
  assert_int_equal(el_sse_read(&s, "data: ", 6, &used), EL_SSE_MORE);
  while ((r = el_sse_read(&s, block, sizeof block, &used)) == EL_SSE_MORE) assert_true(++n < 100);
  assert_int_equal(r, EL_SSE_BAD);
  el_sse_reset(&s);
  for (n = 0; r != EL_SSE_MORE || n == 0; n++) r = el_sse_read(&s, "data: x\n", 8, &used);
  while (el_sse_read(&s, "data: 0123456789012345678901234567890123456789\n", 47, &used) != EL_SSE_BAD)
    assert_true(++n < 100000);
  el_sse_free(&s);
}

static el_load_event event(const char *json) {
  el_load_event e;
  if (!el_load_event_read(json, strlen(json), &e)) fail_msg("'%s' is refused", json);
  return e;
}

static void events_tell_text_ends_and_counts(void **state) {
  assert_true(event("[DONE]").done);
  el_load_event e = event("{\"choices\":[{\"text\":\"a\",\"finish_reason\":null}],\"usage\":null}");
  assert_true(e.text && !e.finished && e.completion_tokens == -1);
  e = event("{\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}");
  assert_true(!e.text && !e.finished);
  e = event("{\"choices\":[{\"text\":\"\\u0000\",\"finish_reason\":null}]}"); /* a token of one byte may be this one */
  assert_true(e.text && !e.finished);
  e = event("{\"choices\":[{\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}");
  assert_true(e.text && e.finished);
  e = event(
      "{\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,"
      "\"prompt_tokens_details\":{\"cached_tokens\":2}}}");
  assert_true(e.prompt_tokens == 3 && e.completion_tokens == 4 && e.cached_tokens == 2);
  e = event("{\"error\":{\"message\":\"no \\u001b[31m\xc3\xa4\"}}");
  assert_true(e.failed);
  assert_string_equal(e.error, "no ?[31m??");
  e = event(
      "{\"choices\":3,\"usage\":{\"prompt_tokens\":-3,\"completion_tokens\":9223372036854775807},\"error\":null}");
  assert_true(!e.failed && e.prompt_tokens == -1 && e.completion_tokens == -1);
  for (const char *const *bad = (const char *const[]){"", "x", "[1]", "{\"a\":", "\"s\"", NULL}; *bad; bad++)
    assert_false(el_load_event_read(*bad, strlen(*bad), &e));
}

/* ---- what a server offers */

static void adapters_are_those_models_that_have_a_parent(void **state) {
  static const char ours[] =
      "{\"data\":[{\"id\":\"base\",\"parent\":null},{\"id\":\"law\",\"parent\":\"base\"},"
      "{\"id\":\"sql\",\"parent\":\"base\"}]}";
  static const char plain[] = "{\"data\":[{\"id\":\"m\"},{\"id\":\"x\"}]}";
  static const char llama[] = "[{\"id\":0,\"path\":\"p\",\"scale\":1.0},{\"id\":1}]";
  el_load_names names = {0};
  char *base;
  el_error err;
  assert_int_equal(el_load_offers_read(EL_LOAD_OPENAI, ours, sizeof ours - 1, NULL, &names, &base, &err), EL_OK);
  assert_true(names.n == 2 && !strcmp(names.items[0], "law") && !strcmp(base, "base"));
  free(base);
  el_load_names_free(&names);
  assert_int_equal(el_load_offers_read(EL_LOAD_OPENAI, ours, sizeof ours - 1, "s", &names, &base, &err), EL_OK);
  assert_true(names.n == 1 && !strcmp(names.items[0], "sql"));
  free(base);
  el_load_names_free(&names);
  assert_int_equal(el_load_offers_read(EL_LOAD_OPENAI, plain, sizeof plain - 1, NULL, &names, &base, &err), EL_OK);
  assert_true(names.n == 1 && !strcmp(names.items[0], "x") && !strcmp(base, "m"));
  free(base);
  el_load_names_free(&names);
  assert_int_equal(el_load_offers_read(EL_LOAD_LLAMA_SERVER, llama, sizeof llama - 1, NULL, &names, &base, &err),
                   EL_OK);
  assert_true(names.n == 2 && !strcmp(names.items[1], "1") && !base);
  el_load_names_free(&names);
  for (const char *const *bad =
           (const char *const[]){"", "{}", "{\"data\":[3]}", "{\"data\":[{\"id\":\"a\\u0000\"}]}", NULL};
       *bad; bad++) {
    assert_int_equal(el_load_offers_read(EL_LOAD_OPENAI, *bad, strlen(*bad), NULL, &names, &base, &err), EL_ERR_FORMAT);
    free(base);
    el_load_names_free(&names);
  }
}

static void counters_are_read_by_their_whole_names(void **state) {
  static const char text[] =
      "# HELP edgelora_adapter_hits_total 7\nedgelora_adapter_hits_total_x 9\n"
      "edgelora_adapter_hits_total 12\nedgelora_adapter_misses_total 3";
  el_load_counters c = el_load_counters_read(text, sizeof text - 1);
  assert_true(c.told && c.hits == 12 && c.misses == 3 && c.evictions == 0);
  assert_false(el_load_counters_read("x 1\n", 4).told);
  assert_false(el_load_counters_read("", 0).told);
}

/* ---- energy, from files as Linux has them */

static void put_file(const char *root, const char *name, const char *text) {
  char path[512];
  snprintf(path, sizeof path, "%s/%s", root, name);
  for (char *p = path + strlen(root) + 1; (p = strchr(p, '/')); *p++ = '/') {
    *p = 0;
    mkdir(path, 0700);
  }
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static void energy_is_that_of_the_packages_also_when_a_counter_starts_anew(void **state) {
  char root[] = "/tmp/el-energy-XXXXXX";
  assert_non_null(mkdtemp(root));
  el_energy e;
  el_energy_open(&e, root, 0);
  assert_null(e.kind);
#define ZONE "class/powercap/intel-rapl:"
  put_file(root, ZONE "0/name", "package-0\n");
  put_file(root, ZONE "0/max_energy_range_uj", "100000000\n");
  put_file(root, ZONE "0/energy_uj", "99000000\n");
  put_file(root, ZONE "0:0/name", "core\n");
  put_file(root, ZONE "0:0/max_energy_range_uj", "100000000\n");
  put_file(root, ZONE "0:0/energy_uj", "0\n");
  el_energy_open(&e, root, 0);
  assert_string_equal(e.kind, "rapl");
  assert_int_equal(e.n, 1);
  put_file(root, ZONE "0/energy_uj", "99500000\n");
  el_energy_sample(&e, 1);
  put_file(root, ZONE "0/energy_uj", "1500000\n");
  el_energy_sample(&e, 2);
  assert_true(e.joules > 2.499 && e.joules < 2.501);
  remove_tree(root);
}

static void a_boards_sensor_is_summed_up_over_time(void **state) {
  char root[] = "/tmp/el-energy-XXXXXX";
  assert_non_null(mkdtemp(root));
  put_file(root, "class/hwmon/hwmon0/name", "coretemp\n");
  put_file(root, "class/hwmon/hwmon0/power1_input", "1000000\n");
  put_file(root, "class/hwmon/hwmon1/name", "ina3221\n");
  put_file(root, "class/hwmon/hwmon1/in1_input", "5000\n");
  put_file(root, "class/hwmon/hwmon1/curr1_input", "1000\n");
  el_energy e;
  el_energy_open(&e, root, 10);
  assert_string_equal(e.kind, "ina");
  put_file(root, "class/hwmon/hwmon1/curr1_input", "3000\n");
  el_energy_sample(&e, 12); /* from 5 W to 15 W in 2 s */
  assert_true(e.joules > 19.99 && e.joules < 20.01);
  remove_tree(root);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(answers_are_read_however_they_are_cut),
      cmocka_unit_test(answers_that_are_not_right_are_refused),
      cmocka_unit_test(heads_without_end_are_refused),
      cmocka_unit_test(events_are_read_however_they_are_cut),
      cmocka_unit_test(an_event_without_end_is_refused),
      cmocka_unit_test(events_tell_text_ends_and_counts),
      cmocka_unit_test(adapters_are_those_models_that_have_a_parent),
      cmocka_unit_test(counters_are_read_by_their_whole_names),
      cmocka_unit_test(energy_is_that_of_the_packages_also_when_a_counter_starts_anew),
      cmocka_unit_test(a_boards_sensor_is_summed_up_over_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
