/* Readers that are given a path: files of a folder, written anew for each input. The first byte says which reader, what
 * follows are its files in the order of NAMES: each a length of two bytes, little-endian, and as many bytes; of the
 * length 0xffff there is none. */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "adapter/own_tokens.h"
#include "adapter/record_file.h"
#include "arch/arch.h"
#include "format/gguf.h"
#include "router/example_file.h"
#include "vocabulary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum { SPLIT, TOKENS, RECORD, EXAMPLES, N_READERS };
static const char *const NAMES[N_READERS][7] = {
    [SPLIT] = {"m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"},
    [TOKENS] = {"tokenizer_config.json", "tokenizer.json", "added_tokens.json", "special_tokens_map.json",
                "chat_template.jinja", "generation_config.json"},
    [RECORD] = {"kind-0000000000000001.index"},
    [EXAMPLES] = {"examples.jsonl", "description.txt"}};

static char folder[64], path[160];
static el_tokenizer *base;
static el_sites *sites;

static const char *in_folder(const char *name) {
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static void remove_folder(void) {
  for (size_t r = 0; r < N_READERS; r++)
    for (const char *const *name = NAMES[r]; *name; name++) unlink(in_folder(*name));
  rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  lists l = {0};
  el_gguf *g;
  add_bytes(&l);
  add_token(&l, "<end>", 5, 3);
  add_id(&l, "tokenizer.ggml.eos_token_id", 256);
  el_buf file = make_file(&l);
  if (el_gguf_open_memory(file.data, file.len, "base", &g, NULL) || el_tokenizer_from_gguf(g, &base, NULL)) abort();
  el_gguf_close(g);
  el_buf_free(&file);
  const el_hparams h = {.arch = el_arch_find((el_str){"llama", 5}),
                        .n_layers = 1,
                        .n_embd = 8,
                        .n_vocab = el_tokenizer_n_vocab(base),
                        .n_ff = 12,
                        .n_head = 2,
                        .n_head_kv = 1,
                        .head_dim = 4};
  if (el_sites_new(&h, &sites, NULL)) abort();
  snprintf(folder, sizeof folder, "%s/edgelora-fuzz-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
  if (!mkdtemp(folder)) abort();
  atexit(remove_folder);
  return 0;
}

static void write_files(const char *const *names, const uint8_t *data, size_t size) {
  for (; *names; names++) {
    size_t n = size >= 2 ? data[0] | (size_t)data[1] << 8 : 0xffff;
    if (size >= 2) data += 2, size -= 2;
    unlink(in_folder(*names));
    if (n == 0xffff) continue;
    if (n > size) n = size;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, n) != (ssize_t)n) abort();
    close(fd);
    data += n;
    size -= n;
  }
}

/* --- what holds */

static void read_split(const char *name) {
  el_gguf *g = NULL;
  el_error e = {0};
  if (el_gguf_open(in_folder(name), &g, &e)) {
    assert(!g && e.message[0]);
    return;
  }
  for (size_t i = 0; i < el_gguf_n_tensors(g); i++) {
    const el_tensor *t = el_gguf_tensor_at(g, i);
    unsigned char *room = malloc(t->n_bytes ? t->n_bytes : 1);
    const unsigned char *bytes;
    volatile unsigned sum = 0;
    if (!room) abort();
    assert(t->part >= 0 && t->part < el_gguf_n_files(g));
    if (el_gguf_read(g, t, 0, t->n_bytes, room, &bytes, &e)) abort(); /* nobody changes the file */
    for (size_t k = 0; k < t->n_bytes; k++) sum = sum + bytes[k];
    free(room);
  }
  el_gguf_close(g);
}

static void read_tokens(void) {
  el_tokenizer *own = NULL;
  el_error e = {0};
  el_own_tokens_stamp(folder);
  if (el_own_tokens_read(folder, base, sites, &own, NULL, &e)) {
    assert(!own && e.message[0]);
    return;
  }
  const el_tokenizer *t = own ? own : base;
  static const char text[] = "a <end> of\nwhat <|is|> there";
  int32_t *ids;
  size_t n, len;
  char *back;
  assert(el_tokenizer_n_vocab(t) >= el_tokenizer_n_vocab(base));
  if (!el_tokenize(t, text, sizeof text - 1, EL_TOKENIZE_SPECIAL, &ids, &n, &e)) {
    for (size_t i = 0; i < n; i++) assert(ids[i] >= 0 && ids[i] < el_tokenizer_n_vocab(t));
    if (el_detokenize(t, ids, n, true, &back, &len, &e)) abort();
    /* el_free is the engine's, and frees. */
    free(back);
    free(ids);
  }
  if (own) el_tokenizer_close(own);
}

static void read_record(void) {
  const el_record_name name = {folder, "kind", 1};
  el_record_file *f = NULL;
  el_error e = {0};
  const el_signature signature = {0};
  size_t bytes;
  if (el_record_file_read(&name, &f, &e)) {
    assert(!f && e.message[0]);
    return;
  }
  el_record_file_find(f, "/a", &signature, &bytes);
  el_record_file_find(f, "", &signature, &bytes);
  el_record_writer *w = el_record_writer_new(f);
  el_record_writer_free(w);
  el_record_file_free(f);
}

static void read_examples(void) {
  static el_examples_read r;
  el_signature signature;
  char *file = NULL;
  el_error e = {0};
  if (el_example_file_find(folder, &signature, &file, &e)) abort();
  r = (el_examples_read){0};
  if (file && !el_example_file_read(file, &r, &e)) {
    assert(r.n >= 1 && r.n <= EL_MAX_EXAMPLES);
    for (int i = 0; i < r.n; i++) assert(r.prompts[i][0]);
  }
  el_examples_read_free(&r);
  free(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!size) return 0;
  int which = data[0] % N_READERS;
  write_files(NAMES[which], data + 1, size - 1);
  switch (which) {
    case SPLIT:
      read_split(NAMES[SPLIT][0]);
      read_split(NAMES[SPLIT][1]);
      break;
    case TOKENS: read_tokens(); break;
    case RECORD: read_record(); break;
    default: read_examples();
  }
  return 0;
}
