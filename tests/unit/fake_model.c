#include "fake_model.h"

#include "arch/arch.h"

#include <math.h>
#include <pthread.h>

#include "base/error.h"
#include "base/random.h"

const char *const fake_words[FAKE_N_WORDS] = {"hello", " world", "STOP", "ST", "OP", "\n\n", "\xe2\x82\xac"};
fake_options fake;

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static fake_counts counts; /* under the gate */

void fake_hold(void) {
  pthread_mutex_lock(&gate);
}
void fake_release(void) {
  pthread_mutex_unlock(&gate);
}

fake_counts fake_take_counts(void) {
  pthread_mutex_lock(&gate);
  fake_counts c = counts;
  counts = (fake_counts){0};
  pthread_mutex_unlock(&gate);
  return c;
}

/* cmocka's assertions leave by longjmp, which another thread than the test's must not. */
#define CHECK(what)                                                            \
  do {                                                                         \
    if (!(what)) {                                                             \
      fprintf(stderr, "step contract broken, line %d: %s\n", __LINE__, #what); \
      abort();                                                                 \
    }                                                                          \
  } while (0)

/* -------------------------------------------------------------------- file */

/* A byte in the alphabet of byte-level vocabularies. */
static void put_byte_token(el_buf *b, int byte) {
  bool itself = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  int code = byte;
  if (!itself) code = 0x100 + (byte <= 0x20 ? byte : byte <= 0xa0 ? byte - 0x7f + 33 : 67);
  char text[3] = {(char)code, 0, 0};
  if (code >= 0x80) {
    text[0] = (char)(0xc0 | code >> 6);
    text[1] = (char)(0x80 | (code & 0x3f));
  }
  put_str(b, text);
}

void fake_write_model(char dir[64], char path[128]) {
  el_buf b = {0};
  put_gguf_header(&b, 3, 0, 8 + (fake.chat_template != NULL));
  put_kv_str(&b, "general.architecture", "llama");
  put_kv_str(&b, "general.name", "fake model");
  put_kv_str(&b, "tokenizer.ggml.model", "gpt2");
  put_kv_str(&b, "tokenizer.ggml.pre", "gpt-2");
  put_kv(&b, "tokenizer.ggml.tokens", EL_GGUF_ARRAY), put_u32(&b, EL_GGUF_STRING), put_u64(&b, FAKE_VOCAB);
  for (int i = 0; i < 256; i++) put_byte_token(&b, i);
  put_str(&b, "<eos>");
  for (int i = 0; i < FAKE_N_WORDS; i++) put_str(&b, fake_words[i]);
  put_kv(&b, "tokenizer.ggml.token_type", EL_GGUF_ARRAY), put_u32(&b, EL_GGUF_I32), put_u64(&b, FAKE_VOCAB);
  for (int i = 0; i < FAKE_VOCAB; i++) put_u32(&b, i < FAKE_EOS ? 1 : i == FAKE_EOS ? 3 : 4);
  put_kv(&b, "tokenizer.ggml.merges", EL_GGUF_ARRAY), put_u32(&b, EL_GGUF_STRING), put_u64(&b, 0);
  put_kv_u32(&b, "tokenizer.ggml.eos_token_id", FAKE_EOS);
  if (fake.chat_template) put_kv_str(&b, "tokenizer.chat_template", fake.chat_template);
  make_dir(dir);
  write_file(dir, "fake.gguf", b.data, b.len);
  snprintf(path, 128, "%s/fake.gguf", dir);
  el_buf_free(&b);
}

/* ------------------------------------------------------------------- model */

struct el_model {
  el_hparams h;
  el_sites *sites;
};

el_status el_model_load(const el_gguf *g, const el_kernels *k, el_threads *threads, el_weights weights,
                        el_progress_fn progress, void *progress_user, el_model **out, el_error *err) {
  el_model *m = calloc(1, sizeof *m);
  if (!m) return el_fail(err, EL_ERR_NO_MEMORY, "fake model: out of memory");
  m->h = (el_hparams){.arch = el_arch_find((el_str){"llama", 5}),
                      .n_layers = 2,
                      .n_embd = FAKE_EMBD,
                      .n_ff = 32,
                      .n_head = 1,
                      .n_head_kv = 1,
                      .head_dim = 32,
                      .n_vocab = FAKE_VOCAB,
                      .ctx_train = FAKE_CTX_TRAIN};
  if (el_sites_new(&m->h, &m->sites, err)) {
    free(m);
    return EL_ERR_NO_MEMORY;
  }
  if (progress) progress(progress_user, 1, 1);
  *out = m;
  return EL_OK;
}

void el_model_free(el_model *m) {
  if (!m) return;
  el_sites_free(m->sites);
  free(m);
}
const el_base *el_model_base(const el_model *m) {
  return NULL;
}
const el_sites *el_model_sites(const el_model *m) {
  return m->sites;
}
const el_hparams *el_model_hparams(const el_model *m) {
  return &m->h;
}
uint64_t el_model_weight_bytes(const el_model *m) {
  return 1;
}
uint64_t el_model_n_params(const el_model *m) {
  return 1;
}
uint64_t el_model_fingerprint(const el_model *m) {
  return FAKE_FINGERPRINT;
}

/* ---------------------------------------------------------------- adapters */

/* In the place of src/adapter/packer.c. An adapter takes `rank` blocks (that of its first pair, if it comes from a
 * file), and is all words of them but for the head: its seed, which stands for the weights. */
struct el_packer {
  size_t block_bytes;
  int rank;
  uint64_t seed;
  el_invocation invocation; /* of the tokens that follow */
  int32_t tokens[FAKE_INVOCATION];
};

typedef struct fake_adapter {
  el_adapter a;
  unsigned char *base; /* of the pool */
  size_t block_bytes;
  uint64_t seed;
  int32_t invocation[FAKE_INVOCATION];
  uint32_t blocks[];
} fake_adapter;

el_status el_packer_new(const el_sites *sites, const el_kernels *k, el_layout layout, size_t block_bytes,
                        el_packer **out, el_error *err) {
  el_packer *p = calloc(1, sizeof *p);
  if (!p) return el_fail(err, EL_ERR_NO_MEMORY, "fake adapter: out of memory");
  p->block_bytes = block_bytes;
  *out = p;
  return EL_OK;
}
void el_packer_free(el_packer *p) {
  free(p);
}

void el_packer_use_base(el_packer *p, const el_base *base) {}

static el_status fake_plan(el_packer *p, int rank, uint64_t seed, el_pack_size *out, el_error *err) {
  void *may_fail = malloc(1);
  if (!may_fail) return el_fail(err, EL_ERR_NO_MEMORY, "fake adapter: out of memory");
  free(may_fail);
  p->rank = rank;
  p->seed = seed;
  *out = (el_pack_size){.n_blocks = (uint32_t)rank,
                        .consecutive = rank % 4 == 3, /* as if it had a matrix larger than a block */
                        .rank = rank,
                        .bytes = (uint64_t)rank * p->block_bytes};
  return EL_OK;
}

el_status el_packer_plan_combined(el_packer *p, const el_pack_source *sources, int n, el_pack_size *out,
                                  el_error *err) {
  int rank = 0;
  uint64_t seed = 0;
  for (int i = 0; i < n; i++) {
    uint64_t own = sources[i].seed, scale = 0;
    int r = sources[i].rank;
    if (sources[i].file) {
      const el_lora_pair *pair = el_lora_file_at(sources[i].file, 0);
      own = 0;
      memcpy(&own, pair->a.data, 4);
      r = pair->rank;
    }
    if (sources[i].scale != 1) memcpy(&scale, &sources[i].scale, sizeof sources[i].scale);
    rank += r;
    seed = n == 1 && !scale ? own : seed + el_mix64(own * 7 + scale); /* in whatever order they come */
  }
  p->invocation = (el_invocation){0};
  if (sources[0].file) p->invocation = *el_lora_file_invocation(sources[0].file);
  CHECK(p->invocation.n <= FAKE_INVOCATION && (n == 1 || !p->invocation.n));
  for (int i = 0; i < p->invocation.n; i++) p->tokens[i] = p->invocation.tokens[i];
  return fake_plan(p, rank, seed, out, err);
}
el_status el_packer_plan(el_packer *p, const el_lora_file *f, el_pack_size *out, el_error *err) {
  return el_packer_plan_combined(p, &(el_pack_source){.file = f, .scale = 1}, 1, out, err);
}
el_status el_packer_plan_random(el_packer *p, int rank, uint64_t seed, el_pack_size *out, el_error *err) {
  return el_packer_plan_combined(p, &(el_pack_source){.rank = rank, .seed = seed, .scale = 1}, 1, out, err);
}

static uint64_t *words_of(const fake_adapter *a, uint32_t i, size_t *n) {
  size_t head = i ? 0 : (sizeof *a + sizeof *a->blocks * a->a.n_blocks + 7) / 8;
  *n = a->block_bytes / 8 - head;
  return (uint64_t *)(void *)(a->base + (size_t)a->blocks[i] * a->block_bytes) + head;
}

el_adapter *el_packer_pack(el_packer *p, unsigned char *base, const uint32_t *blocks) {
  fake_adapter *a = (fake_adapter *)(void *)(base + (size_t)blocks[0] * p->block_bytes);
  pthread_mutex_lock(&gate);
  int us = fake.pack_us;
  pthread_mutex_unlock(&gate);
  if (us) usleep((useconds_t)us);
  while (fake.pack_waits) usleep(500);
  a->block_bytes = p->block_bytes;
  a->base = base;
  a->seed = p->seed;
  memcpy(a->blocks, blocks, sizeof *blocks * (size_t)p->rank);
  memcpy(a->invocation, p->tokens, sizeof a->invocation);
  a->a = (el_adapter){.rank = p->rank,
                      .invocation = {a->invocation, p->invocation.n, p->invocation.n_lead},
                      .bytes = (size_t)p->rank * p->block_bytes,
                      .n_blocks = (uint32_t)p->rank,
                      .blocks = a->blocks};
  for (uint32_t i = 0; i < a->a.n_blocks; i++) {
    CHECK(p->rank % 4 != 3 || i == 0 || blocks[i] == blocks[i - 1] + 1);
    size_t n;
    uint64_t *words = words_of(a, i, &n);
    for (size_t w = 0; w < n; w++) words[w] = a->seed + w;
  }
  return &a->a;
}

bool fake_adapter_is_whole(const el_adapter *adapter) {
  const fake_adapter *a = (const fake_adapter *)adapter;
  for (uint32_t i = 0; i < a->a.n_blocks; i++) {
    size_t n;
    const uint64_t *words = words_of(a, i, &n);
    for (size_t w = 0; w < n; w++)
      if (words[w] != a->seed + w) return false;
  }
  return true;
}

/* 0: the base. Whoever writes into an adapter's blocks while it is used shows here. */
static uint64_t seed_of(const el_adapter *adapter) {
  if (!adapter) return 0;
  CHECK(fake_adapter_is_whole(adapter));
  return ((const fake_adapter *)adapter)->seed + 1;
}

/* -------------------------------------------------------------------- step */

/* What the KV cache holds of a position. */
typedef struct entry {
  int32_t pos, token;
  uint64_t adapter;
  bool head; /* the first layers alone */
} entry;

struct el_step {
  unsigned char *kv;
  size_t page_bytes[2]; /* of full and of windowed pages */
  int window;           /* 0: there are no windowed pages */
  int max_rows, max_logits, max_ctx;
  int n_taps;
  float *logits, *hidden;
};

/* Windowed pages are three times as large. */
el_kv_shape el_kv_shape_of(const el_hparams *h, el_kv_type type) {
  const size_t full = EL_PAGE_TOKENS * sizeof(entry);
  return (el_kv_shape){full, fake.window ? 3 * full : 0, fake.window};
}

size_t el_kv_page_bytes(const el_hparams *h, el_kv_type type) {
  const el_kv_shape s = el_kv_shape_of(h, type);
  return s.full_bytes + s.windowed_bytes;
}

int el_kv_layer_window(const el_hparams *h, int layer) {
  return 0;
}

void el_step_split_pages(el_step *s, size_t full_bytes, size_t windowed_bytes) {
  CHECK(full_bytes >= el_kv_shape_of(NULL, EL_KV_F16).full_bytes);
  CHECK(windowed_bytes >= el_kv_shape_of(NULL, EL_KV_F16).windowed_bytes);
  s->page_bytes[0] = full_bytes;
  s->page_bytes[1] = windowed_bytes;
  s->window = fake.window;
}

el_status el_step_new(const el_model *m, el_threads *threads, unsigned char *kv, el_kv_type kv_type, int max_rows,
                      int max_logits, int max_ctx, el_step **out, el_error *err) {
  el_step *s = calloc(1, sizeof *s);
  if (s) s->logits = malloc(sizeof *s->logits * FAKE_VOCAB * (size_t)max_logits);
  if (s) s->hidden = malloc(sizeof *s->hidden * FAKE_EMBD * (size_t)max_rows);
  if (!s || !s->logits || !s->hidden) {
    el_step_free(s);
    return el_fail(err, EL_ERR_NO_MEMORY, "fake step: out of memory");
  }
  s->kv = kv;
  s->page_bytes[0] = EL_PAGE_TOKENS * sizeof(entry);
  s->max_rows = max_rows;
  s->max_logits = max_logits;
  s->max_ctx = max_ctx;
  *out = s;
  return EL_OK;
}

el_status el_step_taps(el_step *s, const int *layers, int n_taps, el_error *err) {
  CHECK(n_taps >= 1 && layers[n_taps - 1] >= 1);
  s->n_taps = n_taps;
  return EL_OK;
}

void el_step_free(el_step *s) {
  if (!s) return;
  free(s->logits);
  free(s->hidden);
  free(s);
}

static entry *entry_at(const el_step *s, const el_row *row, int pos) {
  entry *page = (entry *)(void *)(s->kv + row->pages[pos / EL_PAGE_TOKENS] * s->page_bytes[0]);
  return &page[pos % EL_PAGE_TOKENS];
}

/* The last third of the windowed page. */
static entry *windowed_at(const el_step *s, const el_row *row, int pos) {
  entry *page = (entry *)(void *)(s->kv + row->windowed[pos / EL_PAGE_TOKENS] * s->page_bytes[1]);
  return &page[2 * EL_PAGE_TOKENS + pos % EL_PAGE_TOKENS];
}

static uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t z = a * 0x9e3779b97f4a7c15u + b + 1;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

static bool is_activated(const el_adapter *a) {
  return a && a->invocation.n;
}

/* Whether a row is in a piece of a sequence whose hidden states are wanted, there or before it. */
static bool is_late(const el_row *rows, int n_rows, int i) {
  const el_row *r = &rows[i];
  while (i + 1 < n_rows && rows[i + 1].pages == r->pages && rows[i + 1].adapter == r->adapter) i++;
  while (i >= 0 && !(rows[i].pages == r->pages && rows[i].wants_hidden)) i--;
  return i >= 0;
}

static void check_rows(const el_step *s, const el_row *rows, int n_rows) {
  CHECK(n_rows >= 1 && n_rows <= s->max_rows);
  int n_logits = 0, n_hidden = 0;
  for (int i = 0; i < n_rows; i++) {
    const el_row *r = &rows[i];
    CHECK(r->token >= 0 && r->token < FAKE_VOCAB && r->pos >= 0 && r->pos < s->max_ctx);
    n_logits += r->wants_logits;
    CHECK(!r->wants_logits || (!n_hidden && !r->wants_hidden));
    n_hidden += r->wants_hidden;
    CHECK(r->layers == EL_ROW_ALL_LAYERS || (s->n_taps && r->states));
    if (r->layers == EL_ROW_FIRST_LAYERS) CHECK(!r->wants_logits && !r->wants_hidden);
    static const int order[] = {[EL_ROW_LAST_LAYERS] = 0, [EL_ROW_ALL_LAYERS] = 1, [EL_ROW_FIRST_LAYERS] = 2};
    if (i) CHECK(order[rows[i - 1].layers] <= order[r->layers]);
    /* Rows of a sequence: one after the other, one adapter, ascending; or the base's, then an activated one's. */
    const bool late = is_late(rows, n_rows, i);
    bool first =
        i == 0 || rows[i - 1].pages != r->pages || rows[i - 1].layers != r->layers || rows[i - 1].adapter != r->adapter;
    if (!first) CHECK(r->pos == rows[i - 1].pos + 1);
    for (int j = 0; j < i; j++) {
      /* What follows LAST_LAYERS rows, or the base's, may come later. */
      if (first && rows[j].pages == r->pages) {
        bool tail = rows[j].layers == EL_ROW_LAST_LAYERS && !r->adapter;
        bool base = rows[j].layers == EL_ROW_ALL_LAYERS && !rows[j].adapter && is_activated(r->adapter);
        CHECK((tail || base) && r->layers == EL_ROW_ALL_LAYERS && r->pos > rows[j].pos);
        CHECK((j + 1 < i && rows[j + 1].pages == r->pages) || r->pos == rows[j].pos + 1);
      }
      /* Rows with an adapter: adjacent, but for those that come last for the sake of hidden states. */
      if (rows[j].adapter == r->adapter && rows[j].layers == r->layers && is_late(rows, n_rows, j) == late)
        CHECK(rows[i - 1].adapter == r->adapter);
      /* A page that two sequences have is written by neither. */
      if (rows[j].pages == r->pages || (j > 0 && rows[j - 1].pages == rows[j].pages) || !first) continue;
      int last_i = i, last_j = j;
      while (last_i + 1 < n_rows && rows[last_i + 1].pages == r->pages) last_i++;
      while (last_j + 1 < n_rows && rows[last_j + 1].pages == rows[j].pages) last_j++;
      for (int a = 0; a <= rows[last_i].pos / EL_PAGE_TOKENS; a++)
        for (int b = 0; b <= rows[last_j].pos / EL_PAGE_TOKENS; b++)
          if (a >= r->pos / EL_PAGE_TOKENS || b >= rows[j].pos / EL_PAGE_TOKENS) CHECK(r->pages[a] != rows[j].pages[b]);
      if (!s->window) continue;
      for (int a = el_window_begin(r->pos, s->window); a <= rows[last_i].pos / EL_PAGE_TOKENS; a++)
        for (int b = el_window_begin(rows[j].pos, s->window); b <= rows[last_j].pos / EL_PAGE_TOKENS; b++)
          if (a >= r->pos / EL_PAGE_TOKENS || b >= rows[j].pos / EL_PAGE_TOKENS)
            CHECK(r->windowed[a] != rows[j].windowed[b]);
    }
  }
  CHECK(n_logits <= s->max_logits);
}

/* All that the row's logits are made of. What comes before an activated adapter begins is the base's. */
static uint64_t history(const el_step *s, const el_row *row) {
  uint64_t adapter = seed_of(row->adapter), h = adapter;
  bool begun = false;
  for (int p = 0; p <= row->pos; p++) {
    const entry *e = entry_at(s, row, p);
    const bool base = !begun && e->adapter != adapter && is_activated(row->adapter);
    CHECK(e->pos == p && e->adapter == (base ? 0 : adapter) && (!e->head || row->layers == EL_ROW_FIRST_LAYERS));
    begun = !base;
    h = mix(h, (uint64_t)e->token + ((uint64_t)base << 32));
    if (!s->window || p <= row->pos - s->window) continue;
    const entry *w = windowed_at(s, row, p);
    CHECK(w->pos == p && w->token == e->token && w->adapter == (base ? 0 : adapter) &&
          (!w->head || row->layers == EL_ROW_FIRST_LAYERS));
  }
  return h;
}

/* A token's state is 1 where its number says, modulo the dimensions: pooled, they count tokens. */
static void fill_states(const el_step *s, const el_row *row) {
  for (int i = 0; i < s->n_taps * FAKE_EMBD; i++) row->states[i] = i % FAKE_EMBD == row->token % FAKE_EMBD;
}

static void check_state(const el_step *s, const el_row *row) {
  const float *x = row->states + (size_t)(s->n_taps - 1) * FAKE_EMBD;
  for (int i = 0; i < FAKE_EMBD; i++) CHECK(x[i] == (float)(i == row->token % FAKE_EMBD));
}

static void fill_logits(const el_step *s, const el_row *row, float *out) {
  uint64_t h = history(s, row);
  int first = entry_at(s, row, 0)->token;
  const int *script = first < 8 ? fake.scripts[first] : NULL;
  for (int i = 0; i < FAKE_VOCAB; i++) out[i] = (float)(mix(h, (uint64_t)i) >> 40) * 0x1p-21f; /* 0 to 8 */
  if (script) {
    int at = 0;
    while (at < row->pos && script[at] >= 0) at++;
    out[script[at] >= 0 ? script[at] : FAKE_EOS] = 20;
  } else if (h % 41 == 0) {
    out[FAKE_EOS] = 9;
  }
  if (fake.nan_at && row->pos == fake.nan_at && !row->adapter) out[7] = NAN;
}

static void fill_hidden(const el_step *s, const el_row *row, float *out) {
  const uint64_t h = history(s, row);
  for (int i = 0; i < FAKE_EMBD; i++) out[i] = (float)(mix(h, (uint64_t)i) >> 40) * 0x1p-24f;
  if (fake.nan_at && row->pos == fake.nan_at && !row->adapter) out[7] = NAN;
}

size_t el_step_logits_stride(const el_step *s) {
  return FAKE_VOCAB;
}

const float *el_step_hidden(const el_step *s) {
  return s->hidden;
}

static int count_adapters(const el_row *rows, int n_rows) {
  int n = 0;
  for (int i = 0; i < n_rows; i++) {
    int before = 0;
    while (before < i && rows[before].adapter != rows[i].adapter) before++;
    n += before == i;
  }
  return n;
}

const float *el_step_run(el_step *s, const el_row *rows, int n_rows) {
  pthread_mutex_lock(&gate);
  check_rows(s, rows, n_rows);
  int n = 0, n_hidden = 0;
  for (int i = 0; i < n_rows; i++) {
    const el_row *r = &rows[i];
    entry *at = entry_at(s, r, r->pos);
    if (r->layers == EL_ROW_LAST_LAYERS) {
      CHECK(at->head && at->pos == r->pos && at->token == r->token && !at->adapter && !r->adapter);
      check_state(s, r);
      if (s->window) CHECK(!memcmp(at, windowed_at(s, r, r->pos), sizeof *at));
    }
    *at = (entry){r->pos, r->token, seed_of(r->adapter), r->layers == EL_ROW_FIRST_LAYERS};
    if (s->window) memcpy(windowed_at(s, r, r->pos), at, sizeof *at);
    if (r->layers == EL_ROW_FIRST_LAYERS) {
      history(s, r);
      fill_states(s, r);
    }
    if (rows[i].wants_logits) fill_logits(s, &rows[i], s->logits + (size_t)FAKE_VOCAB * (size_t)n++);
    if (r->wants_hidden) fill_hidden(s, r, s->hidden + (size_t)FAKE_EMBD * (size_t)n_hidden++);
  }
  counts.steps++;
  counts.rows += n_rows;
  counts.logits += n;
  counts.hidden += n_hidden;
  for (int i = 0; i < n_rows; i++) {
    counts.heads += rows[i].layers == EL_ROW_FIRST_LAYERS;
    counts.tails += rows[i].layers == EL_ROW_LAST_LAYERS;
  }
  if (n_rows > counts.max_rows) counts.max_rows = n_rows;
  int n_adapters = count_adapters(rows, n_rows);
  if (n_adapters > counts.max_adapters) counts.max_adapters = n_adapters;
  int us = fake.step_us;
  pthread_mutex_unlock(&gate);
  if (us) usleep((useconds_t)us);
  return s->logits;
}
