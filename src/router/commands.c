/* The router's public functions: train, evaluate and describe, from files to files. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/random.h"
#include "router/bank.h"
#include "router/eval.h"
#include "router/extractor.h"
#include "router/table.h"
#include "router/train.h"

enum {
  USUAL_TOKENS = 256,
  ONE_IN = 5 /* without a validation table, one row in so many goes into the validation set */,
  EXAMPLES = 5 /* of a candidate */
};

el_router_options el_router_options_default(void) {
  return (el_router_options){.max_tokens = USUAL_TOKENS};
}

static el_status check_router_options(const el_router_options *o, el_error *err) {
  const struct {
    const char *name, *value;
  } needed[] = {{"model_path", o->model_path}, {"router_path", o->router_path}, {"table_path", o->table_path}};
  for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
    if (!needed[i].value) return el_fail(err, EL_ERR_INVALID, "%s is missing", needed[i].name);
  if (o->n_threads < 0 || o->n_threads > 1024)
    return el_fail(err, EL_ERR_INVALID, "n_threads is %d, expected 0 to 1024", o->n_threads);
  return EL_OK;
}

static el_status write_text_out(el_buf *text, bool ok, el_write_fn write, void *user, el_error *err) {
  el_status status = EL_OK;
  if (!ok)
    status = el_fail(err, EL_ERR_NO_MEMORY, "no memory for the report");
  else if (text->len && !write(user, text->data, text->len))
    status = el_fail(err, EL_ERR_IO, "the report could not be written");
  el_buf_free(text);
  return status;
}

static const char *last_path_part(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* -------------------------------------------------------------------- prompts */

typedef struct progress {
  const el_router_options *o;
  const char *what;
} progress;

static void report_cells(void *user, size_t done, size_t total) {
  const progress *p = user;
  if (p->o->progress) p->o->progress(p->o->progress_user, p->what, done, total);
}

/* Computes the features of a table's prompts; an error names the line. */
static el_status extract_prompts(el_extractor *r, const el_router_options *o, const el_features *f, const el_table *t,
                                 float *out, el_error *err) {
  progress p = {o, "reading prompts"};
  size_t failed = SIZE_MAX;
  el_error why;
  el_status status = el_extractor_run(r, f, t->prompts, t->n_rows, out, report_cells, &p, &failed, &why);
  if (!status) return EL_OK;
  if (failed == SIZE_MAX) return el_fail(err, status, "%s: %s", t->path, why.message);
  return el_fail(err, status, "%s: line %zu: the prompt: %s", t->path, t->lines[failed], why.message);
}

/* --------------------------------------------------------------------- train */

typedef struct training {
  const el_router_options *o;
  el_table *table, *valid; /* valid NULL: rows of the table */
  size_t n_train, n_valid;
  uint32_t *order; /* [n_train + n_valid] rows, of the table and then of valid; training rows first */
  el_extractor *extractor;
  el_features features;
  float *x, *y;
} training;

static void training_free(training *t) {
  el_table_free(t->table);
  el_table_free(t->valid);
  el_extractor_close(t->extractor);
  free(t->order);
  free(t->x);
  free(t->y);
}

static el_status check_columns(const el_table *a, const el_table *b, el_error *err) {
  for (int i = 0; i < 2; i++) {
    const el_table *has = i ? b : a, *lacks = i ? a : b;
    for (int c = 0; c < has->n_columns; c++)
      if (el_table_column(lacks, has->names[c]) < 0)
        return el_fail(err, EL_ERR_FORMAT, "%s: column score_%s is missing, which %s has", lacks->path, has->names[c],
                       has->path);
  }
  return EL_OK;
}

static el_status read_tables(training *t, el_error *err) {
  el_status status = el_table_read(t->o->table_path, &t->table, err);
  if (!status && t->o->valid_path) status = el_table_read(t->o->valid_path, &t->valid, err);
  if (!status && t->valid) status = check_columns(t->table, t->valid, err);
  if (status) return status;
  size_t n = t->table->n_rows + (t->valid ? t->valid->n_rows : 0);
  t->n_valid = t->valid ? t->valid->n_rows : t->table->n_rows / ONE_IN;
  t->n_train = n - t->n_valid;
  if (t->n_train < EL_TRAIN_MIN_ROWS || t->n_valid < 1) /* checked before a model is loaded in vain */
    return el_fail(err, EL_ERR_INVALID, "%s: %zu rows, which leaves %zu to train with; %d are the least",
                   t->table->path, t->table->n_rows, t->n_train, EL_TRAIN_MIN_ROWS);
  if (!(t->order = malloc(n * sizeof *t->order))) return el_fail(err, EL_ERR_NO_MEMORY, "no memory for %zu rows", n);
  for (size_t i = 0; i < n; i++) {
    /* Shuffled if the validation set is drawn from the table, as that may be sorted. */
    size_t at = t->valid ? i : el_mix64(t->o->seed ^ ((i + 1) * EL_GOLDEN_GAMMA)) % (i + 1);
    t->order[i] = t->order[at];
    t->order[at] = (uint32_t)i;
  }
  return EL_OK;
}

/* Features and scores of all rows, in the order of training. */
static el_status extract_table_rows(training *t, el_error *err) {
  const size_t n = t->n_train + t->n_valid, n_x = el_features_n(&t->features), n_y = (size_t)t->table->n_columns,
               n_table = t->table->n_rows;
  t->y = malloc(n * n_y * sizeof *t->y);
  t->x = malloc(n * n_x * sizeof *t->x);
  if (!t->y || !t->x)
    return el_fail(err, EL_ERR_NO_MEMORY, "no memory for the features of %zu prompts, %zu MB", n,
                   n * n_x * sizeof *t->x >> 20);
  /* Tables are read as they are, so their rows' features are put into the training order afterwards when they differ.
   */
  el_status status = extract_prompts(t->extractor, t->o, &t->features, t->table, t->x, err);
  if (!status && t->valid)
    status = extract_prompts(t->extractor, t->o, &t->features, t->valid, t->x + n_table * n_x, err);
  if (status) return status;
  for (size_t i = 0; i < n; i++) {
    const el_table *from = t->order[i] < n_table ? t->table : t->valid;
    size_t row = t->order[i] < n_table ? t->order[i] : t->order[i] - n_table;
    for (size_t c = 0; c < n_y; c++) {
      int column = el_table_column(from, t->table->names[c]);
      t->y[i * n_y + c] = from->scores[row * n_y + (size_t)column];
    }
  }
  if (t->valid) return EL_OK;
  float *ordered = malloc(n * n_x * sizeof *ordered);
  if (!ordered) return el_fail(err, EL_ERR_NO_MEMORY, "no memory for the features of %zu prompts", n);
  for (size_t i = 0; i < n; i++) memcpy(ordered + i * n_x, t->x + t->order[i] * n_x, n_x * sizeof *ordered);
  free(t->x);
  t->x = ordered;
  return EL_OK;
}

static el_status save_trained_router(training *t, el_router *r, el_error *err) {
  const el_sites *sites = el_extractor_sites(t->extractor);
  el_lora_file *lora = NULL;
  const el_base_id *base = el_extractor_base(t->extractor);
  r->base_name = strdup(base->name);
  r->base_architecture = strdup(base->architecture);
  r->facts.table = strdup(last_path_part(t->table->path));
  r->facts.valid = strdup(t->valid ? last_path_part(t->valid->path) : "");
  if (!r->base_name || !r->base_architecture || !r->facts.table || !r->facts.valid)
    return el_fail(err, EL_ERR_NO_MEMORY, "%s: no memory to write it", t->o->router_path);
  r->base = *base;
  r->base.name = r->base_name;
  r->base.architecture = r->base_architecture;
  el_status status = t->o->lora_path ? el_lora_file_open(t->o->lora_path, sites, &lora, err) : EL_OK;
  if (!status) status = el_router_save(r, lora, sites, t->o->router_path, err);
  el_lora_file_close(lora);
  return status;
}

static bool print_feature_slices(el_buf *b, const el_features *f, int n, const el_feature_slice *slices, int width) {
  char text[128] = "";
  size_t len = 0;
  for (int i = 0; i < n && len < sizeof text; i++)
    len += (size_t)snprintf(text + len, sizeof text - len, "%s%d %s", i ? " + " : "", f->taps[slices[i].tap],
                            el_pooling_name(slices[i].pooling));
  return el_buf_printf(b, "%-*s", width, text);
}

static el_status print_training(const training *t, const el_train_report *found, const el_router *r, el_write_fn write,
                                void *user, el_error *err) {
  el_buf b = {0};
  bool ok = el_buf_printf(&b,
                          "table      %s: %zu prompts to train with, %zu to validate, %d candidates%s\n"
                          "prompts    the first %d tokens, through %d of %d layers at most\n\n"
                          "   %-34s%9s%12s%10s%10s\n",
                          last_path_part(t->table->path), t->n_train, t->n_valid, r->n_columns,
                          r->base_column >= 0 ? " with the base" : ", none of them the base", t->features.max_tokens,
                          t->features.taps[t->features.n_taps - 1], r->base.n_layers, "layer and pooling", "L2",
                          "explained", "loss", "chosen");
  for (size_t i = 0; i < found->n_cells; i++) {
    const el_train_cell *c = &found->cells[i];
    ok = ok && el_buf_printf(&b, " %c ", i == found->won ? '*' : ' ') &&
         print_feature_slices(&b, &t->features, c->n_slices, c->slices, 34) &&
         el_buf_printf(&b, "%9g%11.2f%%%10.4f%10.3f\n", (double)c->l2, 100 * (double)c->explained, (double)c->loss,
                       (double)c->chosen);
  }
  const el_router_facts *f = &r->facts;
  ok = ok &&
       el_buf_printf(
           &b,
           "\nexplained: of the differences between candidates' scores on one prompt, on prompts not seen; *: won\n"
           "won        L2 %g, of what candidates have in common %g%s\n"
           "examples   compared after %d layers, with %d general prompts%s\n"
           "validation chosen %.3f ± %.3f, random %.3f, best single in training (%s) %.3f, loss %.4f\n"
           "wrote      %s\n",
           (double)f->l2, (double)f->l2_shared, t->o->no_refit ? "" : "; then fitted to all rows",
           r->features.taps[r->features.slices[r->example_slice].tap], r->examples.n_background,
           found->nothing ? "; all rows have the same scores, so only examples tell adapters apart" : "",
           (double)f->chosen, (double)f->chosen_ci, (double)f->random, r->names[f->best_column], (double)f->best,
           (double)f->loss, t->o->router_path);
  return write_text_out(&b, ok, write, user, err);
}

el_status el_router_train(const el_router_options *o, el_write_fn write, void *user, el_error *err) {
  training t = {.o = o};
  el_router *r = NULL;
  el_train_report found = {0};
  el_status status = check_router_options(o, err);
  if (!status && (o->max_tokens < EL_MIN_ROUTER_TOKENS || o->max_tokens > EL_MAX_ROUTER_TOKENS))
    status = el_fail(err, EL_ERR_INVALID, "max_tokens is %d, expected %d to %d", o->max_tokens, EL_MIN_ROUTER_TOKENS,
                     EL_MAX_ROUTER_TOKENS);
  if (!status && o->max_depth < 0) status = el_fail(err, EL_ERR_INVALID, "max_depth is %d, below 0", o->max_depth);
  if (!status) status = read_tables(&t, err);
  const el_extractor_options with = {o->model_path, o->isa, o->n_threads};
  if (!status) status = el_extractor_open(&with, &t.extractor, err);
  if (!status && o->lora_path) status = el_extractor_use_lora(t.extractor, o->lora_path, err);
  if (!status) {
    const el_hparams *h = el_extractor_hparams(t.extractor);
    el_train_features(h->n_layers, h->n_embd, o->max_depth, o->max_tokens, &t.features);
    status = extract_table_rows(&t, err);
  }
  if (!status) {
    progress p = {o, "training"};
    el_train_data data = {&t.features,
                          t.x,
                          t.y,
                          t.n_train,
                          t.n_valid,
                          t.table->n_columns,
                          t.table->base,
                          t.table->names,
                          (el_extractor_hparams(t.extractor)->n_layers + 2) / 5};
    el_train_options options = {.seed = o->seed, .no_refit = o->no_refit, .progress = report_cells, .user = &p};
    status = el_train_router(&data, &options, el_extractor_threads(t.extractor), &r, &found, err);
  }
  if (!status) status = save_trained_router(&t, r, err);
  if (!status) status = print_training(&t, &found, r, write, user, err);
  el_train_report_free(&found);
  el_router_free(r);
  training_free(&t);
  return status;
}

/* ---------------------------------------------------------------------- eval */

/* Matches the candidates of the table and the router; notes those that only one of them has. */
static el_status match_columns(const el_table *t, const el_router *r, int *columns, int *of_router, int *n, el_buf *b,
                               el_error *err) {
  char shown[EL_SHOW];
  *n = 0;
  for (int c = 0; c < t->n_columns; c++) {
    int at = el_router_column(r, t->names[c]);
    if (at >= 0) {
      columns[*n] = c;
      of_router[(*n)++] = at;
      continue;
    }
    el_buf_printf(b, "not in the router, left out: %s\n",
                  el_str_show((el_str){t->names[c], strlen(t->names[c])}, shown, sizeof shown));
  }
  for (int c = 0; c < r->n_columns; c++)
    if (el_table_column(t, r->names[c]) < 0)
      el_buf_printf(b, "not in the table, left out: %s\n",
                    el_str_show((el_str){r->names[c], strlen(r->names[c])}, shown, sizeof shown));
  if (*n > 0) return EL_OK;
  return el_fail(err, EL_ERR_INVALID, "%s: none of its candidates is in the router", t->path);
}

static el_status predict_columns(el_extractor *extractor, const el_router_options *o, const el_router *r,
                                 const el_table *t, const int *of_router, int n, float *p, el_error *err) {
  const size_t n_in = el_features_n(&r->features);
  float *x = malloc(t->n_rows * n_in * sizeof *x), *z = malloc(el_router_vector(r) * sizeof *z),
        *logits = malloc((size_t)r->n_columns * sizeof *logits);
  el_status status = EL_OK;
  if (!x || !z || !logits)
    status = el_fail(err, EL_ERR_NO_MEMORY, "%s: no memory for the features of its %zu prompts", t->path, t->n_rows);
  if (!status) status = extract_prompts(extractor, o, &r->features, t, x, err);
  for (size_t i = 0; !status && i < t->n_rows; i++) {
    el_router_embed(r, x + i * n_in, z);
    el_router_logits(r, z, logits);
    for (int c = 0; c < n; c++) p[i * (size_t)n + (size_t)c] = el_router_sigmoid(logits[of_router[c]]);
  }
  free(x);
  free(z);
  free(logits);
  return status;
}

/* The first prompts of `ex` that are a candidate's own: no candidate has a better score on them, and the base has a
 * worse one. */
static int collect_own_examples(const el_table *ex, int column, size_t rows[EXAMPLES]) {
  int n = 0;
  for (size_t i = 0; i < ex->n_rows && n < EXAMPLES; i++) {
    const float *y = ex->scores + i * (size_t)ex->n_columns;
    bool own = ex->base < 0 || y[column] > y[ex->base];
    for (int c = 0; c < ex->n_columns && own; c++) own = y[c] <= y[column];
    if (own) rows[n++] = i;
  }
  return n;
}

/* Predicts the candidates of both tables by their examples. columns: the candidates with examples, and the base. */
static el_status predict_by_examples(el_extractor *extractor, const el_router_options *o, const el_router *r,
                                     const el_table *t, int *columns, int *n, float *p, el_error *err) {
  const size_t n_in = el_features_n(&r->features), dim = el_router_vector(r);
  el_table *ex = NULL;
  el_bank *bank = NULL;
  float *x = NULL, *z = NULL, *logits = malloc((size_t)t->n_columns * sizeof *logits), base;
  el_status status = el_table_read(o->examples_path, &ex, err);
  if (!status) status = el_bank_new(r, &bank, err);
  if (!status) {
    x = malloc((ex->n_rows > t->n_rows ? ex->n_rows : t->n_rows) * n_in * sizeof *x);
    z = malloc(EXAMPLES * dim * sizeof *z);
    if (!x || !z || !logits) status = el_fail(err, EL_ERR_NO_MEMORY, "%s: no memory for features", t->path);
  }
  if (!status) status = extract_prompts(extractor, o, &r->features, ex, x, err);
  *n = 0;
  for (int c = 0; c < t->n_columns && !status; c++) {
    size_t rows[EXAMPLES];
    int in_examples = el_table_column(ex, t->names[c]);
    if (c == t->base || in_examples < 0) continue;
    int have = collect_own_examples(ex, in_examples, rows);
    for (int k = 0; k < have; k++) el_router_embed(r, x + rows[k] * n_in, z + (size_t)k * dim);
    /* No name, so no trained column. */
    status = el_bank_put(bank, (uint64_t)c + 1, "", z, have, NULL, err);
    if (have > 0) columns[(*n)++] = c;
  }
  if (!status && *n == 0)
    status = el_fail(err, EL_ERR_INVALID, "%s: no candidate of %s has prompts of its own there", ex->path, t->path);
  const int candidates = *n;
  if (!status && t->base >= 0) columns[(*n)++] = t->base;
  if (!status) status = extract_prompts(extractor, o, &r->features, t, x, err);
  for (size_t i = 0; !status && i < t->n_rows; i++) {
    el_router_embed(r, x + i * n_in, z);
    el_bank_logits(bank, z, logits, &base); /* in the order of `columns`, as ids ascend with them */
    /* Relative to the base, whose own logit does not depend on examples. */
    for (int c = 0; c < *n; c++)
      p[i * (size_t)*n + (size_t)c] = c < candidates ? el_router_sigmoid(logits[c] - base) : 0.5f;
  }
  free(x);
  free(z);
  free(logits);
  el_bank_free(bank);
  el_table_free(ex);
  return status;
}

static el_status print_eval(const el_router_options *o, const el_eval *e, el_buf *notes, el_write_fn write, void *user,
                            el_error *err) {
  el_buf b = {0};
  bool ok = true;
  if (o->json) {
    json_t *json = el_eval_json(e);
    char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) : NULL;
    ok = text && el_buf_printf(&b, "%s\n", text);
    free(text);
    json_decref(json);
  } else {
    if (notes->len) ok = el_buf_append(&b, notes->data, notes->len);
    ok = ok && el_eval_print(e, &b);
  }
  return write_text_out(&b, ok, write, user, err);
}

el_status el_router_eval(const el_router_options *o, el_write_fn write, void *user, el_error *err) {
  el_table *t = NULL;
  el_router *r = NULL;
  el_extractor *extractor = NULL;
  float *p = NULL;
  int *columns = NULL, *of_router = NULL, n = 0, learnt = -1;
  el_eval e = {0};
  el_buf notes = {0};
  el_status status = check_router_options(o, err);
  if (!status) status = el_table_read(o->table_path, &t, err);
  if (!status) status = el_router_open(o->router_path, NULL, &r, err);
  if (!status) {
    columns = malloc((size_t)t->n_columns * sizeof *columns);
    of_router = malloc((size_t)t->n_columns * sizeof *of_router);
    p = malloc(t->n_rows * (size_t)t->n_columns * sizeof *p);
    if (!columns || !of_router || !p) status = el_fail(err, EL_ERR_NO_MEMORY, "%s: out of memory", t->path);
  }
  if (!status && !o->examples_path) status = match_columns(t, r, columns, of_router, &n, &notes, err);
  const el_extractor_options with = {o->model_path, o->isa, o->n_threads};
  if (!status) status = el_extractor_open(&with, &extractor, err);
  if (!status) status = el_router_check(r, el_extractor_base(extractor), o->router_path, err);
  if (!status && r->lora_rank) status = el_extractor_use_lora(extractor, o->router_path, err);
  if (!status && o->examples_path) status = predict_by_examples(extractor, o, r, t, columns, &n, p, err);
  if (!status && !o->examples_path) status = predict_columns(extractor, o, r, t, of_router, n, p, err);
  for (int c = 0; c < n && !status && !o->examples_path; c++)
    if (of_router[c] == r->facts.best_column) learnt = c;
  if (!status) status = el_eval_run(t, columns, n, p, learnt, &e, err);
  if (!status) status = print_eval(o, &e, &notes, write, user, err);
  el_eval_free(&e);
  el_buf_free(&notes);
  free(p);
  free(columns);
  free(of_router);
  el_extractor_close(extractor);
  el_router_free(r);
  el_table_free(t);
  return status;
}

/* ------------------------------------------------------------------ describe */

static bool print_router(el_buf *b, const el_router *r) {
  const el_router_facts *f = &r->facts;
  char shown[EL_SHOW];
#define SHOW(s) el_str_show((el_str){(s), strlen(s)}, shown, sizeof shown)
  bool ok =
      el_buf_printf(b, "base        %s", SHOW(r->base.name)) &&
      el_buf_printf(b, " (%d layers of %d, fingerprint %016" PRIx64 ")\n", r->base.n_layers, r->base.n_embd,
                    r->base.fingerprint) &&
      el_buf_printf(b, "reads       the first %d tokens of a prompt, through %d layers%s\n", r->features.max_tokens,
                    r->features.taps[r->features.n_taps - 1], r->lora_rank ? ", with an adapter of its own" : "") &&
      el_buf_printf(b, "features    ");
  for (int i = 0; ok && i < r->features.n_slices; i++)
    ok = el_buf_printf(b, "%slayer %d %s", i ? " + " : "", r->features.taps[r->features.slices[i].tap],
                       el_pooling_name(r->features.slices[i].pooling));
  ok = ok && el_buf_printf(b, ": %zu values, projected to %d\n", el_features_n(&r->features), r->dim);
  if (r->lora_rank) ok = ok && el_buf_printf(b, "adapter     rank %d\n", r->lora_rank);
  ok = ok &&
       el_buf_printf(b, "examples    %d prompts of background; logit = the base's + %.3g * nearness %+.3g\n",
                     r->examples.n_background, (double)r->examples.slope, (double)r->examples.offset) &&
       el_buf_printf(b, "choice      top %d within %g\n", r->top_k, (double)r->margin) &&
       el_buf_printf(b, "trained on  %s", SHOW(f->table));
  if (f->valid[0]) ok = ok && el_buf_printf(b, " and %s", SHOW(f->valid));
  ok = ok &&
       el_buf_printf(b, ": %zu and %zu prompts, seed %" PRIu64 ", L2 %g and %g\n", f->n_rows, f->n_valid, f->seed,
                     (double)f->l2, (double)f->l2_shared) &&
       el_buf_printf(b, "validation  chosen %.3f ± %.3f, random %.3f, best single in training %.3f, loss %.4f\n",
                     (double)f->chosen, (double)f->chosen_ci, (double)f->random, (double)f->best, (double)f->loss) &&
       el_buf_printf(b, "candidates  %d\n", r->n_columns);
  for (int i = 0; ok && i < r->n_columns; i++)
    ok = el_buf_printf(b, "  %s%s\n", SHOW(r->names[i]), i == r->base_column ? " (the base model)" : "");
#undef SHOW
  if (r->base_column < 0)
    ok = ok && el_buf_printf(b, "  the base is not among them: it counts as %.3f\n", (double)r->base_score);
  return ok;
}

el_status el_router_describe(const char *path, el_write_fn write, void *user, el_error *err) {
  el_router *r = NULL;
  el_buf b = {0};
  el_status status = el_router_open(path, NULL, &r, err);
  if (status) return status;
  status = write_text_out(&b, print_router(&b, r), write, user, err);
  el_router_free(r);
  return status;
}
