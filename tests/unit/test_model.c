/* Loading a model: what is wrong with a file is said by name, and no damage to it crashes. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "fixture.h"
#include "model/losses.h"
#include "model/weights.h"

typedef struct bytes {
  unsigned char *data;
  size_t size;
} bytes;

static bytes read_file(const char *name) {
  char path[512];
  test_path(path, sizeof path, name);
  FILE *f = fopen(path, "rb");
  assert_non_null(f);
  fseek(f, 0, SEEK_END);
  bytes b = {.size = (size_t)ftell(f)};
  rewind(f);
  b.data = malloc(b.size);
  assert_int_equal(fread(b.data, 1, b.size, f), b.size);
  fclose(f);
  return b;
}

/* Replaces the first occurrence of `from` after the first of `after` by `to`, of the same length. */
static void patch(bytes *b, const char *after, const void *from, const void *to, size_t n) {
  unsigned char *p = memmem(b->data, b->size, after, strlen(after));
  assert_non_null(p);
  unsigned char *q = memmem(p, b->size - (size_t)(p - b->data), from, n);
  assert_non_null(q);
  memcpy(q, to, n);
}

/* Loads and, when that works, runs a step. Returns the status. */
static el_status try_load(const bytes *b, el_threads *threads, el_error *err) {
  el_gguf *g = NULL;
  el_model *m = NULL;
  el_status status = el_gguf_open_memory(b->data, b->size, "test.gguf", &g, err);
  if (status) return status;
  status = el_model_load(g, el_kernels_at(0), threads, EL_WEIGHTS_KEEP, NULL, NULL, &m, err);
  el_gguf_close(g);
  if (status) return status;
  const el_hparams *h = el_model_hparams(m);
  el_step *s = NULL;
  if (el_kv_page_bytes(h, EL_KV_F16) < 1 << 24) {
    unsigned char *kv = calloc(1, el_kv_page_bytes(h, EL_KV_F16));
    assert_int_equal(el_step_new(m, threads, kv, EL_KV_F16, 3, 1, 16, &s, err), EL_OK);
    uint32_t page = 0;
    el_row rows[3] = {{.pages = &page},
                      {.token = h->n_vocab - 1, .pos = 1, .pages = &page},
                      {.token = 1, .pos = 2, .pages = &page, .wants_logits = true}};
    el_step_run(s, rows, 3);
    el_step_free(s);
    free(kv);
  }
  el_model_free(m);
  return EL_OK;
}

static void expect_refusal(const char *after, const void *from, const void *to, size_t n, el_status want,
                           const char *word) {
  bytes b = read_file("golden/tiny/q4_0.gguf");
  patch(&b, after, from, to, n);
  el_threads *t = NULL;
  el_error err = {0};
  assert_int_equal(el_threads_new(1, NULL, &t, &err), EL_OK);
  assert_int_equal(try_load(&b, t, &err), want);
  if (!strstr(err.message, word)) fail_msg("'%s' does not name %s", err.message, word);
  el_threads_free(t);
  free(b.data);
}

static void what_is_not_supported_or_wrong_is_named(void **state) {
  expect_refusal("general.architecture", "llama", "gemma", 5, EL_ERR_UNSUPPORTED, "general.architecture");
  expect_refusal("tokenizer", "blk.1.ffn_up.weight", "blk.1.ffn_xx.weight", 19, EL_ERR_FORMAT, "blk.1.ffn_up.weight");
  expect_refusal("tokenizer", "token_embd.weight", "token_xxxx.weight", 17, EL_ERR_FORMAT, "token_embd.weight");
  const uint32_t u32 = EL_GGUF_U32, width[] = {u32, 96}, other[] = {u32, 192}, one[] = {u32, 1}, two[] = {u32, 2},
                 zero[] = {u32, 0};
  expect_refusal("llama.embedding_length", width, other, 8, EL_ERR_FORMAT, "shape");
  expect_refusal("llama.attention.head_count_kv", one, two, 8, EL_ERR_FORMAT, "head_count_kv");
  expect_refusal("llama.attention.head_count_kv", one, zero, 8, EL_ERR_FORMAT, "llama.attention.head_count_kv");
}

static void no_damaged_byte_of_the_header_crashes(void **state) {
  bytes b = read_file("golden/tiny/q4_0.gguf");
  el_threads *t = NULL;
  el_error err = {0};
  assert_int_equal(el_threads_new(1, NULL, &t, &err), EL_OK);
  assert_int_equal(try_load(&b, t, &err), EL_OK);
  /* everything before the tensors' data; the vocabulary in the middle is the tokenizer's business and its strings are
   * many */
  unsigned char *vocab = memmem(b.data, b.size, "tokenizer.ggml.tokens", 21),
                *tensors = memmem(b.data, b.size, "token_embd.weight", 17);
  assert_true(vocab && tensors && tensors > vocab);
  size_t header = (size_t)(tensors - b.data) + 2000, refused = 0;
  for (size_t i = 0; i < header; i++) {
    if (i == (size_t)(vocab - b.data) + 64) i = (size_t)(tensors - b.data) - 64;
    unsigned char keep = b.data[i];
    const unsigned char values[] = {0, 0xff, (unsigned char)(keep ^ 1), (unsigned char)(keep ^ 0x80)};
    for (size_t v = 0; v < sizeof values; v++) {
      b.data[i] = values[v];
      refused += try_load(&b, t, &err) != EL_OK;
    }
    b.data[i] = keep;
  }
  assert_true(refused > 1000); /* bytes inside of texts and of numbers that nobody reads change nothing */
  el_threads_free(t);
  free(b.data);
}

typedef struct progress {
  pthread_t thread;
  int n_calls;
  uint64_t done, total;
} progress;

static void on_progress(void *user, uint64_t done, uint64_t total) {
  progress *p = user;
  assert_true(pthread_equal(pthread_self(), p->thread));
  assert_true(p->n_calls == 0 || (done > p->done && p->done < p->total && total == p->total));
  p->n_calls++;
  p->done = done;
  p->total = total;
}

static void check_progress(const char *path) {
  for (int n = 1; n <= 3; n++) {
    el_threads *t = NULL;
    el_gguf *g = NULL;
    el_model *m = NULL;
    el_error err = {0};
    progress p = {.thread = pthread_self()};
    assert_int_equal(el_threads_new(n, NULL, &t, &err), EL_OK);
    assert_int_equal(el_gguf_open(path, &g, &err), EL_OK);
    assert_int_equal(el_model_load(g, el_kernels_at(0), t, EL_WEIGHTS_KEEP, on_progress, &p, &m, &err), EL_OK);
    assert_true(p.n_calls > 0 && p.done == p.total);
    uint64_t matrices = 0;
    for (size_t i = 0; i < el_gguf_n_tensors(g); i++)
      if (el_gguf_tensor_at(g, i)->ne[1] > 1) matrices += el_gguf_tensor_at(g, i)->n_bytes;
    assert_int_equal(p.total, matrices);
    el_model_free(m);
    el_gguf_close(g);
    el_threads_free(t);
  }
}

static void progress_grows_to_the_size_of_the_matrices(void **state) {
  char path[512];
  test_path(path, sizeof path, "golden/tiny/q8_0.gguf");
  check_progress(path);
  if (getenv("EDGELORA_MODEL")) check_progress(getenv("EDGELORA_MODEL"));
}

static void keep_line(void *user, el_log_level level, const char *line) {
  el_buf *all = user;
  assert_int_equal(level, EL_LOG_INFO);
  assert_true(el_buf_append(all, line, strlen(line)) && el_buf_append(all, "\n", 1));
}

/* What loading `name` says about precision. */
static el_buf losses_of(const char *name, el_weights weights) {
  char path[512];
  el_gguf *g = NULL;
  el_buf lines = {0};
  el_error err = {0};
  test_path(path, sizeof path, name);
  assert_int_equal(el_gguf_open(path, &g, &err), EL_OK);
  assert_int_equal(el_losses_log(g, weights, &(el_log){keep_line, &lines}, &err), EL_OK);
  el_gguf_close(g);
  assert_true(el_buf_append(&lines, "", 1));
  return lines;
}

static void what_is_requantised_is_told_with_its_error(void **state) {
  static const struct {
    const char *name;
    el_weights weights;
    const char *line; /* NULL: nothing is lost */
  } cases[] = {
      {"golden/tiny/q6_k.gguf", EL_WEIGHTS_KEEP, "8 tensors of Q6_K are held in 8 bits (q8): relative error 0."},
      {"golden/tiny/q2_k.gguf", EL_WEIGHTS_KEEP, "tensors of Q2_K are held in 8 bits (q8): relative error 0."},
      {"golden/tiny/f16.gguf", EL_WEIGHTS_Q8, "tensors of F16 are held in 8 bits (q8): relative error 0."},
      {"golden/tiny/f16.gguf", EL_WEIGHTS_KEEP, NULL},
      {"golden/tiny/q8_0.gguf", EL_WEIGHTS_KEEP, NULL},
      {"golden/tiny/q4_k.gguf", EL_WEIGHTS_KEEP, NULL},
      {"golden/tiny/q6_k.gguf", EL_WEIGHTS_F16, NULL}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    el_buf lines = losses_of(cases[i].name, cases[i].weights);
    if (cases[i].line && !strstr(lines.data, cases[i].line)) fail_msg("\"%s\" lacks \"%s\"", lines.data, cases[i].line);
    if (!cases[i].line) assert_string_equal(lines.data, "");
    if (cases[i].line) assert_null(strstr(lines.data, "error 0.00%"));
    el_buf_free(&lines);
  }
}

typedef struct meddler {
  char path[32];
  bool truncates, has; /* has: a piece was packed that is not the last */
} meddler;

static void meddle(void *user, uint64_t done, uint64_t total) {
  meddler *m = user;
  if (done == total || m->has) return;
  m->has = true;
  if (m->truncates) {
    assert_int_equal(truncate(m->path, 40000), 0);
    return;
  }
  FILE *f = fopen(m->path, "r+b");
  assert_non_null(f);
  assert_true(fputc('G', f) == 'G' && fclose(f) == 0); /* the byte that is there */
}

static void a_file_that_changes_while_it_is_packed_is_an_error(void **state) {
  bytes b = read_file("golden/tiny/q8_0.gguf");
  for (int i = 0; i < 6; i++) {
    meddler by = {.path = "/tmp/edgelora-model-XXXXXX", .truncates = i % 2};
    int fd = mkstemp(by.path);
    assert_true(fd >= 0 && write(fd, b.data, b.size) == (ssize_t)b.size && close(fd) == 0);
    /* long before, whatever the resolution of the clock that writing stamps a file with */
    assert_int_equal(utimensat(AT_FDCWD, by.path, (struct timespec[2]){{.tv_sec = 1}, {.tv_sec = 1}}, 0), 0);
    el_threads *t = NULL;
    el_gguf *g = NULL;
    el_model *m = NULL;
    el_error err = {0};
    assert_int_equal(el_threads_new(1 + i / 2, NULL, &t, &err), EL_OK);
    assert_int_equal(el_gguf_open(by.path, &g, &err), EL_OK);
    el_status status = el_model_load(g, el_kernels_at(0), t, EL_WEIGHTS_KEEP, meddle, &by, &m, &err);
    assert_true(by.has || i > 1); /* with several threads, the one that calls may come too late */
    assert_int_equal(status, by.has ? EL_ERR_IO : EL_OK);
    if (by.has && (!strstr(err.message, by.path) || !strstr(err.message, "while it was read")))
      fail_msg("%s", err.message);
    el_model_free(m);
    el_gguf_close(g);
    el_threads_free(t);
    unlink(by.path);
  }
  free(b.data);
}

/* Matrices are packed in pieces by whichever thread comes: all of each must be there, in its place. */
static void check_matrix(const el_gguf *g, const char *name, const el_packed *w) {
  const el_tensor *t = el_gguf_tensor(g, name);
  assert_non_null(t);
  el_packed whole = *w;
  el_error err = {0};
  unsigned char *buffer = malloc(t->n_bytes);
  const unsigned char *data;
  assert_int_equal(el_gguf_read(g, t, 0, t->n_bytes, buffer, &data, &err), EL_OK);
  assert_int_equal(posix_memalign((void **)&whole.data, 64, el_packed_bytes(w)), 0);
  el_pack_tiles(&whole, t->type, data, 0, whole.n_tiles);
  free(buffer);
  assert_memory_equal(whole.data, w->data, el_packed_bytes(w));
  free(whole.data);
}

static void every_matrix_is_packed_whole(void **state) {
  if (!getenv("EDGELORA_MODEL")) skip();
  for (int n_threads = 1; n_threads <= 3; n_threads += 2) {
    el_threads *t = NULL;
    el_gguf *g = NULL;
    el_model *m = NULL;
    el_error err = {0};
    assert_int_equal(el_threads_new(n_threads, NULL, &t, &err), EL_OK);
    assert_int_equal(el_gguf_open(getenv("EDGELORA_MODEL"), &g, &err), EL_OK);
    assert_int_equal(el_model_load(g, el_kernels_at(0), t, EL_WEIGHTS_KEEP, NULL, NULL, &m, &err), EL_OK);
    check_matrix(g, "token_embd.weight", &m->tok_embd);
    for (int l = 0; l < el_model_hparams(m)->n_layers; l++) {
      int n = 0;
      for (int i = m->program.begin[l]; i < m->program.begin[l + 1]; i++) {
        char name[64];
        if (m->program.ops[i].kind != EL_OP_LINEAR) continue;
        snprintf(name, sizeof name, "blk.%d.%s.weight", l, m->sites->site[m->program.ops[i].site].name);
        check_matrix(g, name, &m->weights[i].w);
        n++;
      }
      assert_int_equal(n, m->sites->n_sites);
    }
    el_model_free(m);
    el_gguf_close(g);
    el_threads_free(t);
  }
}

static void resident_memory_ends_at_the_packed_size(void **state) {
  if (!getenv("EDGELORA_MODEL")) skip();
  long before, after, page = sysconf(_SC_PAGESIZE);
  FILE *f = fopen("/proc/self/statm", "r");
  assert_int_equal(fscanf(f, "%*d %ld", &before), 1);
  fclose(f);
  el_threads *t = NULL;
  el_gguf *g = NULL;
  el_model *m = NULL;
  el_error err = {0};
  assert_int_equal(el_threads_new(2, NULL, &t, &err), EL_OK);
  assert_int_equal(el_gguf_open(getenv("EDGELORA_MODEL"), &g, &err), EL_OK);
  assert_int_equal(el_model_load(g, el_kernels_at(0), t, EL_WEIGHTS_KEEP, NULL, NULL, &m, &err), EL_OK);
  /* the file is still open here */
  f = fopen("/proc/self/statm", "r");
  assert_int_equal(fscanf(f, "%*d %ld", &after), 1);
  fclose(f);
  double grown = (double)(after - before) * (double)page, packed = (double)el_model_weight_bytes(m);
  printf("packed %.1f MB, resident %.1f MB\n", packed / 1e6, grown / 1e6);
#ifndef __SANITIZE_ADDRESS__
  assert_true(grown < 1.15 * packed + 8e6);
#endif
  el_model_free(m);
  el_gguf_close(g);
  el_threads_free(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_not_supported_or_wrong_is_named),
      cmocka_unit_test(no_damaged_byte_of_the_header_crashes),
      cmocka_unit_test(progress_grows_to_the_size_of_the_matrices),
      cmocka_unit_test(what_is_requantised_is_told_with_its_error),
      cmocka_unit_test(a_file_that_changes_while_it_is_packed_is_an_error),
      cmocka_unit_test(every_matrix_is_packed_whole),
      cmocka_unit_test(resident_memory_ends_at_the_packed_size),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
