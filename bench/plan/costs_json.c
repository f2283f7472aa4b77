/* Costs as a file, so that a plan can be made elsewhere than where they were measured. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "arch/arch.h"
#include "base/error.h"
#include "bench/plan/costs.h"
#include "bench/plan/fields.h"
#include "kernels/select.h"

#define SCHEMA "edgelora-costs/1"

enum { MAX_CORES = 4096, MAX_DIM = 1 << 20, MAX_LAYERS = 4096, MAX_VOCAB = 1 << 24, MAX_BLOCKS = 1 << 24 };

/* ---- writing */

json_t *el_costs_json(const el_costs *c) {
  const el_hparams *h = &c->shape;
  json_t *rows = json_array();
  for (int i = 0; i < c->n_rows; i++) {
    const el_cost_row *r = &c->rows[i];
    json_array_append_new(rows, json_pack("[i, f, f, f, f]", r->rows, r->base, r->logits, r->adapter, r->more));
  }
  json_t *shape = json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "n_layers", h->n_layers, "n_embd", h->n_embd,
                            "n_ff", h->n_ff, "n_head", h->n_head, "n_head_kv", h->n_head_kv, "head_dim", h->head_dim,
                            "n_vocab", h->n_vocab, "ctx_train", h->ctx_train);
  json_t *seconds =
      json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "decode_position", c->decode_position, "prompt_position",
                c->prompt_position, "step", c->step, "token", c->token, "request", c->request, "load", c->load,
                "load_beside", c->load_beside, "load_queued", c->load_queued);
  json_t *kv = json_pack("{s:I, s:I, s:i}", "full_bytes", (json_int_t)c->kv.full_bytes, "windowed_bytes",
                         (json_int_t)c->kv.windowed_bytes, "window", c->kv.window);
  return json_pack(
      "{s:s, s:s, s:s, s:s, s:i, s:i, s:o, s:o, s:s, s:s, s:i, s:I, s:I, s:I, s:i, s:[s, s, s, s, s], s:o, s:o, "
      "s:{s:f, "
      "s:f}}",
      "schema", SCHEMA, "model", c->model, "cpu", c->cpu, "isa", c->isa, "cores", c->cores, "threads", c->threads,
      "shape", shape, "kv_page", kv, "kv_type", c->kv_type, "adapter_type", c->adapter_type, "rank", c->rank,
      "weight_bytes", (json_int_t)c->weight_bytes, "started_bytes", (json_int_t)c->started_bytes, "adapter_bytes",
      (json_int_t)c->adapter.bytes, "adapter_blocks", (int)c->adapter.n_blocks, "columns", "rows", "base", "logits",
      "adapter", "more", "steps", rows, "seconds", seconds, "slower", "beside", c->slow_beside, "queued",
      c->slow_queued);
}

el_status el_costs_save(const el_costs *c, const char *path, el_error *err) {
  json_t *root = el_costs_json(c);
  if (!root) return el_fail(err, EL_ERR_NO_MEMORY, "%s: out of memory", path);
  FILE *f = fopen(path, "we");
  bool ok = f && !json_dumpf(root, f, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) && fputc('\n', f) != EOF;
  int why = errno;
  if (f && fclose(f) && ok) {
    ok = false;
    why = errno;
  }
  json_decref(root);
  return ok ? EL_OK : el_fail(err, EL_ERR_IO, "%s: %s", path, strerror(why));
}

/* ---- reading */

static el_status read_number(const el_fields *in, json_t *root, const char *path, double min, double max, double *out) {
  *out = -1;
  el_status status = el_fields_number(in, root, path, out);
  if (status) return status;
  if (*out < 0) return el_fields_wrong(in, path, "is missing");
  if (*out >= min && *out <= max) return EL_OK;
  return el_fail(in->err, EL_ERR_FORMAT, "%s: %s: %g is not from %g to %g", in->path, path, *out, min, max);
}

static el_status read_whole(const el_fields *in, json_t *root, const char *path, int min, int max, int *out) {
  double x;
  el_status status = read_number(in, root, path, min, max, &x);
  if (status) return status;
  if (x != (double)(int)x) return el_fields_wrong(in, path, "is no whole number");
  *out = (int)x;
  return EL_OK;
}

static el_status read_text(const el_fields *in, json_t *root, const char *path, char *out, size_t size) {
  const char *value = NULL;
  el_status status = el_fields_text(in, root, path, &value);
  if (status) return status;
  if (!value) return el_fields_wrong(in, path, "is missing");
  if (strlen(value) >= size)
    return el_fail(in->err, EL_ERR_FORMAT, "%s: %s: is longer than %zu bytes", in->path, path, size - 1);
  strcpy(out, value);
  return EL_OK;
}

/* What the packer and the budget take for granted. */
static el_status check_shape(const el_fields *in, const el_hparams *h) {
  if (h->n_embd % EL_GROUP) return el_fields_wrong(in, "shape.n_embd", "is no multiple of 32");
  if (h->n_ff % EL_GROUP) return el_fields_wrong(in, "shape.n_ff", "is no multiple of 32");
  if (h->n_head % h->n_head_kv) return el_fields_wrong(in, "shape.n_head", "is no multiple of n_head_kv");
  if (h->n_head * h->head_dim % EL_GROUP)
    return el_fields_wrong(in, "shape.head_dim", "times n_head is no multiple of 32");
  return EL_OK;
}

static el_status read_shape(const el_fields *in, json_t *root, el_hparams *h) {
  const struct {
    const char *path;
    int max;
    int *out;
  } fields[] = {{"shape.n_layers", MAX_LAYERS, &h->n_layers},
                {"shape.n_embd", MAX_DIM, &h->n_embd},
                {"shape.n_ff", MAX_DIM, &h->n_ff},
                {"shape.n_head", 1024, &h->n_head},
                {"shape.n_head_kv", 1024, &h->n_head_kv},
                {"shape.head_dim", 1024, &h->head_dim},
                {"shape.n_vocab", MAX_VOCAB, &h->n_vocab},
                {"shape.ctx_train", 1 << 24, &h->ctx_train}};
  el_status status = EL_OK;
  h->arch = el_arch_at(0); /* for the sites that adapters are on: the usual ones */
  for (size_t i = 0; i < sizeof fields / sizeof *fields && !status; i++)
    status = read_whole(in, root, fields[i].path, 1, fields[i].max, fields[i].out);
  return status ? status : check_shape(in, h);
}

static el_status read_rows(const el_fields *in, json_t *root, el_costs *c) {
  static const char *const names[] = {"rows", "base", "logits", "adapter", "more"};
  enum { N = 5 };
  size_t places[N];
  json_t *steps;
  el_status status = el_fields_columns(in, el_fields_get(root, "columns"), "columns", names, N, places);
  if (!status) status = el_fields_find(in, root, "steps", &steps);
  if (status) return status;
  size_t n = json_array_size(steps);
  if (!n || n > EL_COSTS_MAX_ROWS)
    return el_fail(in->err, EL_ERR_FORMAT, "%s: steps: has %zu rows, there may be 1 to %d", in->path, n,
                   EL_COSTS_MAX_ROWS);
  for (size_t i = 0; i < n; i++) {
    double v[N];
    const json_t *row = json_array_get(steps, i);
    for (int k = 0; k < N && !status; k++) {
      status = el_fields_cell(in, row, places[k], "steps", i, names[k], &v[k]);
      if (!status && !(v[k] <= 1e6))
        status =
            el_fail(in->err, EL_ERR_FORMAT, "%s: steps[%zu]: '%s' is no number from 0 to 1e6", in->path, i, names[k]);
    }
    if (status) return status;
    el_cost_row *r = &c->rows[i];
    *r = (el_cost_row){(int)v[0], v[1], v[2], v[3], v[4]};
    if (v[0] != (double)r->rows || r->rows < 1 || (i && r->rows <= r[-1].rows) || (!i && r->rows != 1))
      return el_fail(in->err, EL_ERR_FORMAT, "%s: steps[%zu]: 'rows' must be whole numbers that ascend from 1",
                     in->path, i);
    if (!(r->base > 0)) return el_fail(in->err, EL_ERR_FORMAT, "%s: steps[%zu]: 'base' must be above 0", in->path, i);
  }
  c->n_rows = (int)n;
  return EL_OK;
}

static el_status read_seconds(const el_fields *in, json_t *root, el_costs *c) {
  const struct {
    const char *path;
    double *out;
  } fields[] = {{"seconds.decode_position", &c->decode_position},
                {"seconds.prompt_position", &c->prompt_position},
                {"seconds.step", &c->step},
                {"seconds.token", &c->token},
                {"seconds.request", &c->request},
                {"seconds.load", &c->load},
                {"seconds.load_beside", &c->load_beside},
                {"seconds.load_queued", &c->load_queued}};
  el_status status = EL_OK;
  for (size_t i = 0; i < sizeof fields / sizeof *fields && !status; i++)
    status = read_number(in, root, fields[i].path, 0, 1e6, fields[i].out);
  if (!status) status = read_number(in, root, "slower.beside", 1, 1000, &c->slow_beside);
  if (!status) status = read_number(in, root, "slower.queued", 1, 1000, &c->slow_queued);
  return status;
}

static el_status read_bytes(const el_fields *in, json_t *root, const char *path, uint64_t *out) {
  double x;
  el_status status = read_number(in, root, path, 0, 1e15, &x);
  if (!status) *out = (uint64_t)x;
  return status;
}

/* Of one kind of page, if a file is older than the other. */
static el_status read_kv_page(const el_fields *in, json_t *root, el_costs *c) {
  el_kv_type type = EL_KV_F16;
  if (!json_object_get(root, "kv_page")) {
    el_status status = el_kv_type_get(c->kv_type, &type, in->err);
    if (!status) c->kv = el_kv_shape_of(&c->shape, type);
    return status;
  }
  int full, windowed;
  el_status status = read_whole(in, root, "kv_page.full_bytes", 64, 1 << 30, &full);
  if (!status) status = read_whole(in, root, "kv_page.windowed_bytes", 0, 1 << 30, &windowed);
  if (!status) status = read_whole(in, root, "kv_page.window", windowed ? 1 : 0, EL_MAX_CONTEXT, &c->kv.window);
  if (status) return status;
  if (full % 64) return el_fields_wrong(in, "kv_page.full_bytes", "is no multiple of 64");
  if (windowed % 64) return el_fields_wrong(in, "kv_page.windowed_bytes", "is no multiple of 64");
  c->kv.full_bytes = (size_t)full;
  c->kv.windowed_bytes = (size_t)windowed;
  return EL_OK;
}

static el_status read_all(const el_fields *in, json_t *root, el_costs *c) {
  const char *schema = NULL;
  el_kv_type kv;
  el_layout layout;
  if (!json_is_object(root)) return el_fields_wrong(in, "the file", "is no JSON object");
  el_status status = el_fields_text(in, root, "schema", &schema);
  if (!status && (!schema || strcmp(schema, SCHEMA)))
    status = el_fields_wrong(in, "schema", "is not \"" SCHEMA "\": --save-costs writes such files");
  if (!status) status = read_text(in, root, "model", c->model, sizeof c->model);
  if (!status) status = read_text(in, root, "cpu", c->cpu, sizeof c->cpu);
  if (!status) status = read_text(in, root, "isa", c->isa, sizeof c->isa);
  if (!status) status = read_text(in, root, "kv_type", c->kv_type, sizeof c->kv_type);
  if (!status) status = read_text(in, root, "adapter_type", c->adapter_type, sizeof c->adapter_type);
  if (!status && el_kv_type_get(c->kv_type, &kv, NULL)) status = el_fields_wrong(in, "kv_type", "is unknown");
  if (!status && el_adapter_layout_get(c->adapter_type, &layout, NULL))
    status = el_fields_wrong(in, "adapter_type", "is unknown");
  if (!status) status = read_whole(in, root, "cores", 1, MAX_CORES, &c->cores);
  if (!status) status = read_whole(in, root, "threads", 1, MAX_CORES, &c->threads);
  if (!status) status = read_whole(in, root, "rank", 1, EL_MAX_RANK, &c->rank);
  if (!status) status = read_bytes(in, root, "weight_bytes", &c->weight_bytes);
  if (!status) status = read_bytes(in, root, "started_bytes", &c->started_bytes);
  if (!status) status = read_bytes(in, root, "adapter_bytes", &c->adapter.bytes);
  int blocks = 0;
  if (!status) status = read_whole(in, root, "adapter_blocks", 1, MAX_BLOCKS, &blocks);
  c->adapter.n_blocks = (uint32_t)blocks;
  c->adapter.rank = c->rank;
  if (!status) status = read_shape(in, root, &c->shape);
  if (!status) status = read_kv_page(in, root, c);
  if (!status) status = read_rows(in, root, c);
  return status ? status : read_seconds(in, root, c);
}

el_status el_costs_read(const char *path, el_costs *out, el_error *err) {
  json_t *root = NULL;
  const el_fields in = {.path = path, .err = err};
  *out = (el_costs){0};
  el_status status = el_fields_load(&in, &root);
  if (!status) status = read_all(&in, root, out);
  json_decref(root);
  return status;
}
