/* el_adapter_check: what an adapter is, what it touches, and what it changes, on this base: the same step on a few
 * texts with it and without it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/lora_halves.h"
#include "adapter/own_tokens.h"
#include "adapter/preset.h"
#include "base/buf.h"
#include "base/cpus.h"
#include "base/error.h"
#include "kernels/select.h"
#include "model/model.h"
#include "tokenizer/tokenizer.h"

enum { ROWS = 32 /* tokens of a text that are looked at */, PAGES = ROWS / EL_PAGE_TOKENS };

/* English, a question, code, and a list: what some adapters are for, and others are not to change. */
static const char *const texts[] = {
    "The river rose after three days of rain, and the farmers moved their animals to the hills before night came.",
    "Question: Which planet is the largest one, and how many moons does it have?\nAnswer: The largest planet is",
    "def count_words(path):\n    with open(path) as f:\n        words = f.read().split()\n    return len(words)\n",
    "1. Wash the potatoes.\n2. Cut them into pieces.\n3. Boil water in a large pot and add salt.\n4.",
};
enum { N_TEXTS = sizeof texts / sizeof *texts };

typedef struct check {
  const el_kernels *kernels;
  el_threads *threads;
  el_model *model;
  el_tokenizer *tokenizer;
  el_adapter *adapter;
  el_step *step;
  unsigned char *kv;
  float *base;                         /* [ROWS, n_vocab] */
  size_t n_matrices, n_zero, n_extras; /* in the adapter; extras: what is no pair */
  /* Sums over positions. */
  size_t n, n_others; /* positions; where another token is the most likely one */
  double moved, most, deviation, kl, most_kl;
} check;

static el_status open_model(check *c, const el_adapter_check_options *o, el_error *err) {
  el_gguf *g = NULL;
  el_status status = el_kernels_get(o->isa, &c->kernels, err);
  if (!status) status = el_threads_new(o->n_threads ? o->n_threads : el_physical_cores(), NULL, &c->threads, err);
  if (!status) status = el_gguf_open(o->model_path, &g, err);
  if (!status) status = el_tokenizer_from_gguf(g, &c->tokenizer, err);
  if (!status) status = el_model_load(g, c->kernels, c->threads, EL_WEIGHTS_KEEP, NULL, NULL, &c->model, err);
  el_gguf_close(g);
  if (status) return status;
  const el_hparams *h = el_model_hparams(c->model);
  c->kv = malloc(el_kv_page_bytes(h, EL_KV_F16) * PAGES);
  c->base = malloc(sizeof *c->base * ROWS * (size_t)h->n_vocab);
  if (!c->kv || !c->base) return el_fail(err, EL_ERR_NO_MEMORY, "%s: out of memory", o->model_path);
  return el_step_new(c->model, c->threads, c->kv, EL_KV_F16, ROWS, ROWS, ROWS, &c->step, err);
}

/* Whether all values are 0. */
static bool is_zero(const el_lora_matrix *m, int rows, int cols) {
  const size_t value = el_lora_value_bytes(m->type);
  for (size_t r = 0; r < (size_t)rows; r++)
    for (size_t c = 0; c < (size_t)cols; c++) {
      const unsigned char *p = (const unsigned char *)m->data + value * (r * m->row_step + c * m->col_step);
      unsigned any = p[value - 1] & 0x7fu; /* not the sign */
      for (size_t k = 0; k + 1 < value; k++) any |= p[k];
      if (any) return false;
    }
  return true;
}

/* Matrices whose product is 0, whatever the input. */
static void count_zeros(check *c, const el_lora_file *f) {
  const el_sites *sites = el_model_sites(c->model);
  c->n_matrices = el_lora_file_n(f);
  c->n_extras = el_lora_file_n_extras(f);
  for (size_t i = 0; i < el_lora_file_n(f); i++) {
    const el_lora_pair *p = el_lora_file_at(f, i);
    const el_site_dims d = el_sites_dims(sites, p->layer, p->site);
    c->n_zero += p->scale == 0 || is_zero(&p->b, d.out, p->rank) || is_zero(&p->a, p->rank, d.in);
  }
}

static double log_sum(const float *x, int n, float *max) {
  double sum = 0;
  *max = x[0];
  for (int i = 1; i < n; i++) *max = fmaxf(*max, x[i]);
  for (int i = 0; i < n; i++) sum += exp((double)(x[i] - *max));
  return log(sum);
}

/* One position: logits of the base and with the adapter, [n_vocab]. */
static void compare(check *c, const float *base, const float *with, int n) {
  float max_base, max_with;
  double log_base = log_sum(base, n, &max_base), log_with = log_sum(with, n, &max_with);
  double mean = 0, mean2 = 0, moved = 0, kl = 0;
  bool same = true;
  for (int i = 0; i < n; i++) {
    double b = (double)base[i], w = (double)with[i], d = fabs(w - b);
    double lb = b - (double)max_base - log_base, lw = w - (double)max_with - log_with;
    mean += b;
    mean2 += b * b;
    moved += d;
    kl += exp(lw) * (lw - lb);
    if (d > c->most) c->most = d;
    if (with[i] == max_with && base[i] != max_base) same = false;
  }
  mean /= n;
  c->deviation += sqrt(fmax(0, mean2 / n - mean * mean));
  c->moved += moved / n;
  c->kl += fmax(0, kl);
  if (kl > c->most_kl) c->most_kl = kl;
  c->n_others += !same;
  c->n++;
}

static el_status measure_text(check *c, const char *text, el_error *err) {
  int32_t *tokens = NULL;
  size_t n = 0;
  const uint32_t pages[PAGES] = {0, 1};
  const int n_vocab = el_model_hparams(c->model)->n_vocab;
  el_row rows[ROWS];
  /* Bytes that a small vocabulary has no token for are left out. */
  el_status status =
      el_tokenize(c->tokenizer, text, strlen(text), EL_TOKENIZE_BOS | EL_TOKENIZE_LOSSY, &tokens, &n, err);
  if (status) return status;
  if (n > ROWS) n = ROWS;
  for (size_t i = 0; i < n; i++)
    rows[i] = (el_row){.token = tokens[i], .pos = (int32_t)i, .pages = pages, .wants_logits = true};
  el_free(tokens);
  if (!n) return EL_OK;
  memcpy(c->base, el_step_run(c->step, rows, (int)n), sizeof *c->base * n * (size_t)n_vocab);
  for (size_t i = 0; i < n; i++) rows[i].adapter = c->adapter;
  const float *with = el_step_run(c->step, rows, (int)n);
  for (size_t i = 0; i < n; i++)
    compare(c, c->base + i * (size_t)n_vocab, with + i * el_step_logits_stride(c->step), n_vocab);
  return EL_OK;
}

static void print_report(el_printer *p, const check *c, size_t file_bytes, const char *type) {
  const double n = c->n ? (double)c->n : 1;
  el_print(p, "  %-12s  %.2f MB as %s, of %.2f MB in its files\n", "memory", (double)c->adapter->bytes * 1e-6, type,
           (double)file_bytes * 1e-6);
  el_print(p, "\nwhat it changes, at %zu positions of %d texts\n", c->n, (int)N_TEXTS);
  el_print(p, "  %-12s  moved by %.4g on average, %.4g at most; the base's own deviate by %.4g\n", "logits",
           c->moved / n, c->most, c->deviation / n);
  el_print(p, "  %-12s  %.4g nats on average, %.4g at most, of its distribution from the base's\n", "KL", c->kl / n,
           c->most_kl);
  el_print(p, "  %-12s  another one at %zu of them\n", "likeliest", c->n_others);
  if (c->n_zero == c->n_matrices && !c->n_extras)
    el_print(p, "\nIT CHANGES NOTHING: in each of its %zu matrices A, B or the scale is 0, as before training\n",
             c->n_matrices);
  else if (c->most == 0)
    el_print(p, "\nIT CHANGES NOTHING on these texts\n");
  else if (c->n_zero)
    el_print(p, "\nnote: %zu of its %zu matrices add nothing: A, B or the scale is 0\n", c->n_zero, c->n_matrices);
}

/* What it brings besides its weights, if anything; a template must be one that conversations can be rendered with. */
static el_status check_preset(el_printer *p, const check *c, const char *path, el_error *err) {
  el_preset_file *f = NULL;
  el_chat_template *template = NULL;
  el_error why;
  el_status status = el_preset_read(path, &f, err);
  if (!status && f && f->preset.chat_template &&
      (status = el_chat_template_open(c->tokenizer, f->preset.chat_template, &template, &why)))
    el_fail_about(err, status, path, "%s: chat_template: %s", EL_PRESET_FILE, why.message);
  if (!status && f) {
    const el_preset *preset = &f->preset;
    const char *text = preset->description ? preset->description : "";
    char shown[EL_PRESET_MAX_DESCRIPTION + EL_SHOW]; /* it goes to a terminal */
    el_print(p, "  %-12s  %s%s%s%s%s\n", "preset", el_str_show((el_str){text, strlen(text)}, shown, sizeof shown),
             preset->system ? " [system]" : "", preset->chat_template ? " [chat_template]" : "",
             preset->set & ~(unsigned)EL_PRESET_SCHEMA ? " [sampling]" : "", preset->schema ? " [schema]" : "");
  }
  el_chat_template_close(template);
  el_preset_free(f);
  return status;
}

/* Tokens of its own, and whether its weights are of the same vocabulary. */
static el_status check_own_tokens(el_printer *p, const check *c, const el_lora_file *f, const char *path,
                                  el_error *err) {
  el_tokenizer *own = NULL;
  size_t n = 0, n_passed;
  el_status status = el_own_tokens_read(path, c->tokenizer, el_model_sites(c->model), &own, &n_passed, err);
  if (!status && n_passed)
    el_print(p, "  %-12s  %zu of its tokenizer have no rows in its weights: passed over\n", "tokens", n_passed);
  if (!status) status = el_own_tokens_check(f, c->tokenizer, own, path, err);
  if (!status && own) {
    char shown[EL_SHOW], last[EL_SHOW];
    const int32_t *ids = el_tokenizer_own(own, &n);
    el_print(p, "  %-12s  %zu of its own, from %d, '%s', to %d, '%s'\n", "tokens", n, (int)ids[0],
             el_str_show(el_token_bytes(own, ids[0], true), shown, sizeof shown), (int)ids[n - 1],
             el_str_show(el_token_bytes(own, ids[n - 1], true), last, sizeof last));
  }
  el_tokenizer_close(own);
  return status;
}

el_adapter_check_options el_adapter_check_options_default(void) {
  return (el_adapter_check_options){0};
}

el_status el_adapter_check(const el_adapter_check_options *o, const char *path, el_write_fn write, void *user,
                           el_error *err) {
  el_error unused;
  if (!err) err = &unused;
  if (!o || !o->model_path || !path || !write)
    return el_fail(err, EL_ERR_INVALID, "el_adapter_check: model_path, path and write are required");
  check c = {0};
  el_printer p = {.write = write, .user = user};
  el_layout layout;
  el_lora_file *f = NULL;
  el_signature signature = {0};
  el_status status = el_adapter_layout_get(o->adapter_type, &layout, err);
  if (!status) status = open_model(&c, o, err);
  if (!status) status = el_signature_read(path, &signature, err);
  if (!status) status = el_lora_file_open(path, el_model_sites(c.model), &f, err);
  if (!status) {
    el_lora_describe(&p, f, path);
    status = check_preset(&p, &c, path, err);
  }
  if (!status) status = check_own_tokens(&p, &c, f, path, err);
  if (!status) {
    count_zeros(&c, f);
    status = el_adapter_pack(f, el_model_sites(c.model), el_model_base(c.model), c.kernels, layout, &c.adapter, err);
  }
  el_lora_file_close(f);
  for (int i = 0; i < N_TEXTS && !status; i++) status = measure_text(&c, texts[i], err);
  if (!status) print_report(&p, &c, (size_t)signature.file[0].size, o->adapter_type ? o->adapter_type : "q8");
  el_adapter_free(c.adapter);
  el_step_free(c.step);
  free(c.kv);
  free(c.base);
  el_model_free(c.model);
  el_tokenizer_close(c.tokenizer);
  el_threads_free(c.threads);
  el_buf_free(&p.line);
  if (!status && p.failed) status = el_fail_about(err, EL_ERR_NO_MEMORY, path, "out of memory");
  return status;
}
