#include "router/extractor.h"

#include <stdlib.h>
#include <string.h>

#include "base/cpus.h"
#include "base/error.h"
#include "kernels/select.h"
#include "router/prompt.h"
#include "tokenizer/tokenizer.h"

_Static_assert((int)EL_ROUTER_MAX_TAPS == (int)EL_MAX_TAPS, "a router may have as many taps as a step");

enum {
  ROWS = 256,          /* of a step: more rows are not faster */
  PROGRESS_EVERY = 16, /* steps */
};

struct el_extractor {
  const el_kernels *kernels;
  el_threads *threads;
  el_model *model;
  el_tokenizer *tokenizer;
  el_adapter *adapter; /* NULL: none */
  char *name, *architecture;
  el_base_id base;
};

static el_status read_model_names(el_extractor *r, const el_gguf *g, el_error *err) {
  el_str name = {"?", 1}, architecture = {"?", 1};
  el_error ignored;
  el_gguf_str(g, "general.name", &name, &ignored);
  el_gguf_str(g, "general.architecture", &architecture, &ignored);
  if (name.len > 255) name.len = 255;
  r->name = el_str_dup(name);
  r->architecture = el_str_dup(architecture);
  if (r->name && r->architecture) return EL_OK;
  return el_fail(err, EL_ERR_NO_MEMORY, "%s: out of memory", el_gguf_path(g));
}

el_status el_extractor_open(const el_extractor_options *o, el_extractor **out, el_error *err) {
  el_extractor *r = calloc(1, sizeof *r);
  el_gguf *g = NULL;
  if (!r) return el_fail(err, EL_ERR_NO_MEMORY, "%s: out of memory", o->model_path);
  el_status status = el_kernels_get(o->isa, &r->kernels, err);
  if (!status) status = el_threads_new(o->n_threads ? o->n_threads : el_physical_cores(), NULL, &r->threads, err);
  if (!status) status = el_gguf_open(o->model_path, &g, err);
  if (!status) status = read_model_names(r, g, err);
  if (!status) status = el_tokenizer_from_gguf(g, &r->tokenizer, err);
  if (!status) status = el_model_load(g, r->kernels, r->threads, EL_WEIGHTS_KEEP, NULL, NULL, &r->model, err);
  el_gguf_close(g);
  if (status) {
    el_extractor_close(r);
    return status;
  }
  const el_hparams *h = el_model_hparams(r->model);
  r->base = (el_base_id){.name = r->name,
                         .architecture = r->architecture,
                         .n_layers = h->n_layers,
                         .n_embd = h->n_embd,
                         .n_vocab = h->n_vocab,
                         .fingerprint = el_model_fingerprint(r->model)};
  *out = r;
  return EL_OK;
}

void el_extractor_close(el_extractor *r) {
  if (!r) return;
  el_adapter_free(r->adapter);
  el_model_free(r->model);
  el_tokenizer_close(r->tokenizer);
  el_threads_free(r->threads);
  free(r->name);
  free(r->architecture);
  free(r);
}

el_status el_extractor_use_lora(el_extractor *r, const char *path, el_error *err) {
  const el_sites *sites = el_model_sites(r->model);
  el_lora_file *f = NULL;
  el_adapter *adapter = NULL;
  el_status status = el_lora_file_open(path, sites, &f, err);
  if (!status) status = el_adapter_pack(f, sites, el_model_base(r->model), r->kernels, EL_LAYOUT_Q8, &adapter, err);
  el_lora_file_close(f);
  if (status) return status;
  el_adapter_free(r->adapter);
  r->adapter = adapter;
  return EL_OK;
}

const el_hparams *el_extractor_hparams(const el_extractor *r) {
  return el_model_hparams(r->model);
}
const el_sites *el_extractor_sites(const el_extractor *r) {
  return el_model_sites(r->model);
}
const el_base_id *el_extractor_base(const el_extractor *r) {
  return &r->base;
}
el_threads *el_extractor_threads(el_extractor *r) {
  return r->threads;
}

/* ------------------------------------------------------------------- prompts */

/* A prompt that is being read. */
typedef struct job {
  int32_t *tokens; /* of the window: [n]; NULL: the entry is free */
  size_t n, done;
  size_t span;     /* states before it are not pooled */
  size_t prompt;   /* its index */
  uint32_t *pages; /* [pages_each], of which the first n_pages are taken */
  size_t n_pages;
  int first_row, n_rows; /* of this step */
} job;

typedef struct batch {
  el_extractor *r;
  const el_features *f;
  char *const *prompts;
  size_t n, next; /* prompts, and the next one to begin */
  float *out;
  el_error *err;

  el_step *step;
  unsigned char *kv;
  size_t pages_each;
  uint32_t *free_pages;
  size_t n_free;
  uint32_t *tables; /* [ROWS + 1, pages_each] */
  job jobs[ROWS + 1];
  int n_jobs;
  el_row rows[ROWS];
  float *states;     /* [ROWS, n_taps, n_embd] */
  el_pooler *pooler; /* of the first job; other jobs are pooled one after the other */
} batch;

static el_status tokenize_job(const batch *b, const char *prompt, job *j) {
  el_router_prompt p;
  size_t from, to;
  el_status status = el_router_prompt_new(b->r->tokenizer, prompt, &p, b->err);
  if (status) return status;
  el_router_window(p.begin, p.end, (size_t)b->f->max_tokens, &from, &to);
  memmove(p.tokens, p.tokens + from, (to - from) * sizeof *p.tokens);
  *j = (job){.tokens = p.tokens, .n = to - from, .span = p.begin - from, .pages = j->pages};
  return EL_OK;
}

/* Adds rows of a job until the step is full. */
static void add_job_rows(batch *b, job *j, int *n_rows) {
  j->first_row = *n_rows;
  for (; *n_rows < ROWS && j->done < j->n; j->done++) {
    if (j->done / EL_PAGE_TOKENS == j->n_pages) j->pages[j->n_pages++] = b->free_pages[--b->n_free];
    b->rows[*n_rows] = (el_row){.token = j->tokens[j->done],
                                .pos = (int32_t)j->done,
                                .pages = j->pages,
                                .adapter = b->r->adapter,
                                .layers = EL_ROW_FIRST_LAYERS,
                                .states = b->states + (size_t)*n_rows * (size_t)b->f->n_taps * (size_t)b->f->n_embd};
    ++*n_rows;
  }
  j->n_rows = *n_rows - j->first_row;
}

static void end_job(batch *b, job *j) {
  while (j->n_pages > 0) b->free_pages[b->n_free++] = j->pages[--j->n_pages];
  free(j->tokens);
  j->tokens = NULL;
}

/* After a step: pools its states. Jobs that are done give their features; the last job may continue in the next step.
 */
static void take_states(batch *b) {
  const size_t n_out = el_features_n(b->f);
  job last = {0};
  for (int i = 0; i < b->n_jobs; i++) {
    job *j = &b->jobs[i];
    size_t first = j->done - (size_t)j->n_rows;
    for (int k = 0; k < j->n_rows; k++)
      if (first + (size_t)k >= j->span) el_pooler_add(b->pooler, b->rows[j->first_row + k].states);
    if (j->done < j->n) {
      last = *j;
      continue;
    }
    el_pooler_get(b->pooler, b->out + j->prompt * n_out);
    el_pooler_reset(b->pooler);
    end_job(b, j);
  }
  b->n_jobs = 0;
  if (!last.tokens) return;
  /* It becomes the first job, with its page table. */
  uint32_t *table = b->jobs[0].pages;
  for (int i = 1; i <= ROWS && last.pages != table; i++)
    if (b->jobs[i].pages == last.pages) b->jobs[i].pages = table;
  b->jobs[0] = last;
  b->n_jobs = 1;
}

static el_status run_extract_step(batch *b, size_t *failed) {
  int n_rows = 0;
  if (b->n_jobs) add_job_rows(b, &b->jobs[0], &n_rows);
  while (n_rows < ROWS && b->next < b->n) {
    job *j = &b->jobs[b->n_jobs];
    size_t prompt = b->next++;
    el_status status = tokenize_job(b, b->prompts[prompt], j);
    if (status) {
      if (failed) *failed = prompt;
      return status;
    }
    j->prompt = prompt;
    b->n_jobs++;
    add_job_rows(b, j, &n_rows);
  }
  if (n_rows > 0) el_step_run(b->step, b->rows, n_rows);
  take_states(b);
  return EL_OK;
}

static el_status reserve_batch(batch *b) {
  const el_hparams *h = el_model_hparams(b->r->model);
  const size_t page = el_kv_page_bytes(h, EL_KV_F16);
  b->pages_each = ((size_t)b->f->max_tokens + EL_PAGE_TOKENS - 1) / EL_PAGE_TOKENS;
  const size_t n_pages = ROWS + b->pages_each; /* the new jobs of a step need at most one page per row */
  b->free_pages = malloc(n_pages * sizeof *b->free_pages);
  b->tables = malloc((ROWS + 1) * b->pages_each * sizeof *b->tables);
  b->states = malloc(ROWS * (size_t)b->f->n_taps * (size_t)b->f->n_embd * sizeof *b->states);
  b->kv = aligned_alloc(64, (page + 63) / 64 * 64 * n_pages); /* only pages that are written take memory */
  if (!b->free_pages || !b->tables || !b->states || !b->kv)
    return el_fail(b->err, EL_ERR_NO_MEMORY, "no memory to read prompts of %d tokens", b->f->max_tokens);
  while (b->n_free < n_pages) {
    b->free_pages[b->n_free] = (uint32_t)(n_pages - 1 - b->n_free);
    b->n_free++;
  }
  for (size_t i = 0; i <= ROWS; i++) b->jobs[i].pages = b->tables + i * b->pages_each;
  el_status status =
      el_step_new(b->r->model, b->r->threads, b->kv, EL_KV_F16, ROWS, 1, b->f->max_tokens, &b->step, b->err);
  if (!status) status = el_step_taps(b->step, b->f->taps, b->f->n_taps, b->err);
  if (!status) status = el_pooler_new(b->f, &b->pooler, b->err);
  return status;
}

el_status el_extractor_run(el_extractor *r, const el_features *f, char *const *prompts, size_t n, float *out,
                           el_extractor_progress_fn progress, void *user, size_t *failed, el_error *err) {
  batch *b = calloc(1, sizeof *b);
  if (!b) return el_fail(err, EL_ERR_NO_MEMORY, "no memory to read prompts");
  b->r = r;
  b->f = f;
  b->prompts = prompts;
  b->n = n;
  b->out = out;
  b->err = err;
  el_status status = reserve_batch(b);
  for (size_t steps = 1; !status && (b->next < n || b->n_jobs); steps++) {
    status = run_extract_step(b, failed);
    if (progress && !status && (steps % PROGRESS_EVERY == 0 || b->next == n))
      progress(user, b->next - (size_t)b->n_jobs, n);
  }
  for (int i = 0; i < b->n_jobs; i++) free(b->jobs[i].tokens);
  el_pooler_free(b->pooler);
  el_step_free(b->step);
  free(b->kv);
  free(b->states);
  free(b->tables);
  free(b->free_pages);
  free(b);
  return status;
}
