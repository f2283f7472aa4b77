/* Loads a model: finds and checks every tensor that the family's operations name, lays out all
 * packed matrices in one arena, then repacks them with all threads, which take pieces of the file
 * in its order. A thread reads a piece into its own memory, which is small enough to stay in the
 * thread's cache; the system is asked to read ahead long before. So resident memory ends at the
 * packed size, and a file that shrinks meanwhile is an error like any other. */
#include "model/model.h"

#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "base/random.h"
#include "model/weights.h"

enum {
  /* Matrices of one operation: a mixture of experts has the most. */
  MOST_MATRICES = 3,
  MOST_TENSORS = 8,
  /* A piece has one tile, or as many tiles as fit into this many packed bytes: little compared with
   * what a thread waits for at the end, much compared with the cost of taking a piece. */
  PIECE_BYTES = 1 << 19,
  /* How far ahead of the piece that is being packed the file is read, bytes. */
  AHEAD_BYTES = 1 << 25
};

/* A matrix that will be packed. */
typedef struct job {
  const el_tensor *tensor;
  el_packed *dst;
  int piece_tiles, first_piece, n_pieces;
} job;

typedef struct loader {
  const el_gguf *g;
  el_model *m;
  el_weights weights;
  job *jobs;
  int n_jobs;
  const el_tensor **known; /* [n_known] tensors of the file that are used */
  size_t n_known;
  el_error *err;

  int n_pieces;
  el_cursor next;
  uint64_t file_bytes;    /* of all jobs */
  unsigned char *buffers; /* [threads, piece_bytes] */
  size_t piece_bytes;     /* the most bytes of the file in one piece */
  atomic_uint_fast64_t done;
  atomic_bool failed; /* the thread that sets it also sets `status` and `err` */
  el_status status;
  el_progress_fn progress;
  void *progress_user;
} loader;

static el_status find_tensor(loader *ld, const char *name, const el_tensor **out) {
  *out = el_gguf_tensor(ld->g, name);
  if (!*out) return el_fail(ld->err, EL_ERR_FORMAT, "%s: tensor %s is missing", el_gguf_path(ld->g), name);
  ld->known[ld->n_known++] = *out;
  return EL_OK;
}

static el_status check_tensor_shape(loader *ld, const el_tensor *t, int64_t ne0, int64_t ne1) {
  if (t->ne[0] == ne0 && t->ne[1] == ne1 && t->ne[2] == 1 && t->ne[3] == 1) return EL_OK;
  return el_fail(ld->err, EL_ERR_FORMAT, "%s: tensor %.*s has shape [%lld, %lld, %lld, %lld]; expected [%lld, %lld]",
                 el_gguf_path(ld->g), (int)t->name.len, t->name.data, (long long)t->ne[0], (long long)t->ne[1],
                 (long long)t->ne[2], (long long)t->ne[3], (long long)ne0, (long long)ne1);
}

/* Reads the n values of a tensor as F32. They must be finite, since one NaN here would be in every
 * answer. */
static el_status read_vector(loader *ld, const el_tensor *t, const char *name, int n, float **out) {
  float *v = malloc(sizeof(float) * (size_t)n);
  void *buffer = malloc(t->n_bytes);
  const unsigned char *data;
  el_status status = EL_OK;
  if (!v || !buffer)
    status = el_fail(ld->err, EL_ERR_NO_MEMORY, "%s: out of memory", el_gguf_path(ld->g));
  else if (!(status = el_gguf_read(ld->g, t, 0, t->n_bytes, buffer, &data, ld->err)))
    el_dequantize(t->type, data, v, n);
  free(buffer);
  for (int i = 0; i < n && !status; i++)
    if (!isfinite(v[i]))
      status = el_fail(ld->err, EL_ERR_FORMAT, "%s: tensor %s has a value that is not finite at %d",
                       el_gguf_path(ld->g), name, i);
  if (status) {
    free(v);
    return status;
  }
  ld->m->n_params += (uint64_t)n;
  *out = v;
  return EL_OK;
}

static el_status load_vector(loader *ld, const char *name, int n, float **out) {
  const el_tensor *t;
  el_status status = find_tensor(ld, name, &t);
  if (status || (status = check_tensor_shape(ld, t, n, 1))) return status;
  return read_vector(ld, t, name, n, out);
}

/* Chooses the layout of a tensor; of an F32 tensor all values are looked at. */
static el_status choose_layout(loader *ld, const el_tensor *t, el_layout *out) {
  enum { AT_ONCE = 1 << 18 };
  *out = el_layout_for(t->type, NULL, 0, ld->weights);
  if (t->type != EL_TYPE_F32) return EL_OK;
  void *buffer = malloc(AT_ONCE);
  el_status status = EL_OK;
  if (!buffer) return el_fail(ld->err, EL_ERR_NO_MEMORY, "%s: out of memory", el_gguf_path(ld->g));
  for (size_t at = 0, n; !status && *out == EL_LAYOUT_F16 && at < t->n_bytes; at += n) {
    const unsigned char *data;
    n = t->n_bytes - at < AT_ONCE ? t->n_bytes - at : AT_ONCE;
    if (!(status = el_gguf_read(ld->g, t, at, n, buffer, &data, ld->err)))
      *out = el_layout_for(t->type, data, (int64_t)(n / sizeof(float)), ld->weights);
  }
  free(buffer);
  return status;
}

static el_status plan_matrix(loader *ld, const char *name, int rows, int cols, el_packed *dst) {
  const el_tensor *t;
  el_status status = find_tensor(ld, name, &t);
  el_layout layout;
  if (status || (status = check_tensor_shape(ld, t, cols, rows)) || (status = choose_layout(ld, t, &layout)))
    return status;
  el_packed_init(dst, layout, rows, cols, ld->m->kernels->tile);
  ld->jobs[ld->n_jobs++] = (job){.tensor = t, .dst = dst};
  ld->m->arena_bytes += el_packed_bytes(dst);
  ld->m->n_params += (uint64_t)rows * (uint64_t)cols;
  return EL_OK;
}

/* Plans the matrices of all experts, [n][rows, cols], as one. */
static el_status plan_stack(loader *ld, const char *name, int n, int rows, int cols, el_packed *dst) {
  const el_tensor *t;
  el_layout layout;
  el_status status = find_tensor(ld, name, &t);
  if (status) return status;
  if (t->ne[0] != cols || t->ne[1] != rows || t->ne[2] != n || t->ne[3] != 1)
    return el_fail(ld->err, EL_ERR_FORMAT, "%s: tensor %s has shape [%lld, %lld, %lld, %lld]; expected [%d, %d, %d]",
                   el_gguf_path(ld->g), name, (long long)t->ne[0], (long long)t->ne[1], (long long)t->ne[2],
                   (long long)t->ne[3], cols, rows, n);
  if (rows % EL_TILE_MAX || (int64_t)rows * n > INT32_MAX)
    return el_fail(ld->err, EL_ERR_UNSUPPORTED,
                   "%s: tensor %s: %d rows for each of %d experts; supported are multiples of %d", el_gguf_path(ld->g),
                   name, rows, n, EL_TILE_MAX);
  if ((status = choose_layout(ld, t, &layout))) return status;
  el_packed_init(dst, layout, rows * n, cols, ld->m->kernels->tile);
  ld->jobs[ld->n_jobs++] = (job){.tensor = t, .dst = dst};
  ld->m->arena_bytes += el_packed_bytes(dst);
  ld->m->n_params += (uint64_t)rows * (uint64_t)cols * (uint64_t)n;
  return EL_OK;
}

/* Loads a matrix that stays F32, [rows, cols]. *out stays NULL if it is optional and absent. */
static el_status load_floats(loader *ld, const char *name, int cols, int rows, bool optional, float **out) {
  const el_tensor *t;
  if (optional && !el_gguf_tensor(ld->g, name)) return EL_OK;
  el_status status = find_tensor(ld, name, &t);
  if (status || (status = check_tensor_shape(ld, t, cols, rows))) return status;
  return read_vector(ld, t, name, cols * rows, out);
}

static el_status plan_experts(loader *ld, int layer, el_op_weights *w) {
  const el_hparams *h = &ld->m->h;
  const int n = h->n_experts, ff = h->n_ff_expert, embd = h->n_embd;
  el_experts *e = w->experts = calloc(1, sizeof *e);
  if (!e) return el_fail(ld->err, EL_ERR_NO_MEMORY, "%s: out of memory", el_gguf_path(ld->g));
  const struct {
    const char *name;
    el_packed *w;
    float **bias;
    int rows, cols;
  } stacks[] = {{"gate", &e->gate, &e->gate_bias, ff, embd},
                {"up", &e->up, &e->up_bias, ff, embd},
                {"down", &e->down, &e->down_bias, embd, ff}};
  char name[96];
  snprintf(name, sizeof name, "blk.%d.ffn_gate_inp.weight", layer);
  el_status status = load_floats(ld, name, embd, n, false, &e->router);
  snprintf(name, sizeof name, "blk.%d.ffn_gate_inp.bias", layer);
  if (!status) status = load_floats(ld, name, n, 1, true, &e->router_bias);
  for (size_t i = 0; i < sizeof stacks / sizeof *stacks && !status; i++) {
    snprintf(name, sizeof name, "blk.%d.ffn_%s_exps.weight", layer, stacks[i].name);
    status = plan_stack(ld, name, n, stacks[i].rows, stacks[i].cols, stacks[i].w);
    snprintf(name, sizeof name, "blk.%d.ffn_%s_exps.bias", layer, stacks[i].name);
    if (!status) status = load_floats(ld, name, stacks[i].rows, n, true, stacks[i].bias);
  }
  return status;
}

static void free_experts(el_experts *e) {
  if (!e) return;
  free(e->router);
  free(e->router_bias);
  free(e->gate_bias);
  free(e->up_bias);
  free(e->down_bias);
  free(e);
}

/* Plans what the operation needs from the file. */
static el_status plan_op(loader *ld, const el_op *op, el_op_weights *w) {
  const el_model *m = ld->m;
  const el_layer_dims d = el_hparams_layer(&m->h, op->layer);
  char name[96];
  el_status status = EL_OK;
  const char *tensor = op->tensor;
  w->norm = el_arch_norm(m->h.arch, op);
  switch (op->kind) {
    case EL_OP_NORM:
    case EL_OP_ADD: w->n = m->h.n_embd; break;
    case EL_OP_HEAD_NORM: w->n = d.head_dim; break;
    case EL_OP_WIDE_NORM: w->n = d.head_dim * (op->heads == EL_HEADS_Q ? d.n_head : d.n_head_kv); break;
    case EL_OP_SCALE: w->n = 1; break;
    case EL_OP_ATTEND: w->n = d.n_head; break;
    case EL_OP_LINEAR: {
      const el_site_dims dims = el_sites_dims(m->sites, op->layer, op->site);
      tensor = m->sites->site[op->site].name;
      snprintf(name, sizeof name, "blk.%d.%s.weight", op->layer, tensor);
      status = plan_matrix(ld, name, dims.out, dims.in, &w->w);
      w->n = dims.out;
      snprintf(name, sizeof name, "blk.%d.%s.bias", op->layer, tensor);
      if (!el_gguf_tensor(ld->g, name)) tensor = NULL;
      break;
    }
    case EL_OP_EXPERTS: return plan_experts(ld, op->layer, w);
    case EL_OP_COPY_KEYS:
    case EL_OP_GATE_INPUT:
    case EL_OP_ROTATE:
    case EL_OP_STORE:
    case EL_OP_ACTIVATE: tensor = NULL; break;
  }
  if (status || !tensor) return status;
  snprintf(name, sizeof name, "blk.%d.%s.%s", op->layer, tensor, op->kind == EL_OP_LINEAR ? "bias" : "weight");
  return load_vector(ld, name, w->n, &w->vector);
}

/* Frequencies are divided by factors; smaller factors might make them infinite. */
static const float SMALLEST_FACTOR = 1e-6f;

/* Computes the frequencies of a rope, with the factors in a tensor if there is one. */
static el_status load_frequencies(loader *ld, const el_rope *r, const char *tensor, float **out) {
  const int n = r->n_rot / 2;
  float *factors = NULL;
  if (tensor && el_gguf_tensor(ld->g, tensor)) {
    el_status status = load_vector(ld, tensor, n, &factors);
    if (status) return status;
  }
  double *inv_freq = malloc(sizeof *inv_freq * (size_t)n);
  *out = malloc(sizeof **out * (size_t)n);
  el_status status = EL_OK;
  if (!inv_freq || !*out) status = el_fail(ld->err, EL_ERR_NO_MEMORY, "%s: out of memory", el_gguf_path(ld->g));
  for (int i = 0; factors && i < n && !status; i++)
    if (fabsf(factors[i]) < SMALLEST_FACTOR)
      status = el_fail(ld->err, EL_ERR_FORMAT, "%s: tensor %s is %g at %d, nearer to 0 than %g", el_gguf_path(ld->g),
                       tensor, (double)factors[i], i, (double)SMALLEST_FACTOR);
  if (!status) el_rope_frequencies(r, factors, inv_freq);
  for (int i = 0; i < n && !status; i++) (*out)[i] = (float)inv_freq[i];
  free(inv_freq);
  free(factors);
  return status;
}

static el_status load_rope(loader *ld, int i) {
  const el_rope *r = &ld->m->h.rope[i];
  el_status status = load_frequencies(ld, r, r->factors, &ld->m->inv_freq[i][0]);
  if (!status && r->long_factors && el_gguf_tensor(ld->g, r->long_factors))
    status = load_frequencies(ld, r, r->long_factors, &ld->m->inv_freq[i][1]);
  return status;
}

static el_status plan_layer_inputs(loader *ld) {
  el_model *m = ld->m;
  const int n = m->h.n_layers * m->h.n_layer_input;
  el_status status;
  if (!n) return EL_OK;
  if ((status = plan_matrix(ld, "per_layer_token_embd.weight", m->h.n_vocab, n, &m->layer_embd)) ||
      (status = plan_matrix(ld, "per_layer_model_proj.weight", n, m->h.n_embd, &m->layer_proj)))
    return status;
  return load_vector(ld, "per_layer_proj_norm.weight", m->h.n_layer_input, &m->layer_norm);
}

/* Files may contain keys and values of layers that read another layer's; they are not used. */
static void skip_shared(loader *ld, int layer) {
  static const char *const names[] = {"attn_k.weight", "attn_v.weight", "attn_k_norm.weight"};
  char name[64];
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    snprintf(name, sizeof name, "blk.%d.%s", layer, names[i]);
    const el_tensor *t = el_gguf_tensor(ld->g, name);
    if (t) ld->known[ld->n_known++] = t;
  }
}

static int by_address(const void *a, const void *b) {
  const el_tensor *x = *(const el_tensor *const *)a, *y = *(const el_tensor *const *)b;
  return x < y ? -1 : x > y;
}

/* Checks that no tensor is left over, such as a bias: running without it would silently give wrong
 * answers. */
static el_status check_all_known(loader *ld) {
  char name[EL_SHOW];
  qsort(ld->known, ld->n_known, sizeof *ld->known, by_address);
  for (size_t i = 0; i < el_gguf_n_tensors(ld->g); i++) {
    const el_tensor *t = el_gguf_tensor_at(ld->g, i);
    if (bsearch(&t, ld->known, ld->n_known, sizeof *ld->known, by_address)) continue;
    return el_fail(ld->err, EL_ERR_UNSUPPORTED, "%s: tensor %s is not supported: a model of the family %s has none",
                   el_gguf_path(ld->g), el_str_show(t->name, name, sizeof name), ld->m->h.arch->name);
  }
  return EL_OK;
}

static el_status plan_model(loader *ld) {
  el_model *m = ld->m;
  el_status status;
  const el_tensor *embd = el_gguf_tensor(ld->g, "token_embd.weight");
  if (!embd) return el_fail(ld->err, EL_ERR_FORMAT, "%s: tensor token_embd.weight is missing", el_gguf_path(ld->g));
  if (embd->ne[1] < 1 || embd->ne[1] > 1 << 24)
    return el_fail(ld->err, EL_ERR_FORMAT, "%s: token_embd.weight has %lld rows; the limit is %d", el_gguf_path(ld->g),
                   (long long)embd->ne[1], 1 << 24);
  m->h.n_vocab = (int)embd->ne[1];
  if ((status = el_sites_new(&m->h, &m->sites, ld->err)) || (status = el_program_new(&m->h, &m->program, ld->err)))
    return status;
  m->sites->tied = !el_gguf_tensor(ld->g, "output.weight");
  const size_t n = (size_t)m->program.n;
  ld->jobs = calloc(MOST_MATRICES * n + 4, sizeof *ld->jobs);
  /* an operation has at most a matrix and a vector */
  ld->known = calloc(2 * n + 3 + 2 * EL_MAX_ROPES, sizeof *ld->known);
  m->weights = calloc(n, sizeof *m->weights);
  if (!ld->jobs || !ld->known || !m->weights)
    return el_fail(ld->err, EL_ERR_NO_MEMORY, "%s: out of memory", el_gguf_path(ld->g));
  if ((status = plan_matrix(ld, "token_embd.weight", m->h.n_vocab, m->h.n_embd, &m->tok_embd)) ||
      (status = load_vector(ld, "output_norm.weight", m->h.n_embd, &m->output_norm)))
    return status;
  for (int i = 0; i < m->h.n_ropes; i++)
    if ((status = load_rope(ld, i))) return status;
  if ((status = plan_layer_inputs(ld))) return status;
  for (int l = 0; l < m->h.n_layers; l++)
    if (el_hparams_layer(&m->h, l).kv_layer != l) skip_shared(ld, l);
  for (size_t i = 0; i < n; i++)
    if ((status = plan_op(ld, &m->program.ops[i], &m->weights[i]))) return status;
  if (el_gguf_tensor(ld->g, "output.weight"))
    if ((status = plan_matrix(ld, "output.weight", m->h.n_vocab, m->h.n_embd, &m->output))) return status;
  return check_all_known(ld);
}

static int by_place_in_file(const void *a, const void *b) {
  const el_tensor *x = ((const job *)a)->tensor, *y = ((const job *)b)->tensor;
  if (x->part != y->part) return x->part < y->part ? -1 : 1;
  return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static size_t row_bytes(const job *j) {
  return j->tensor->n_bytes / (size_t)j->dst->rows;
}

/* Cuts the jobs, in the order of the file, into pieces, and allocates room for one piece for each
 * thread. */
static el_status plan_pieces(loader *ld, int n_threads) {
  qsort(ld->jobs, (size_t)ld->n_jobs, sizeof *ld->jobs, by_place_in_file);
  for (int i = 0; i < ld->n_jobs; i++) {
    job *j = &ld->jobs[i];
    size_t tiles = PIECE_BYTES / j->dst->tile_bytes;
    j->piece_tiles = tiles < 1 ? 1 : (int)tiles;
    j->first_piece = ld->n_pieces;
    j->n_pieces = (j->dst->n_tiles + j->piece_tiles - 1) / j->piece_tiles;
    ld->n_pieces += j->n_pieces;
    ld->file_bytes += j->tensor->n_bytes;
    size_t n = (size_t)j->piece_tiles * (size_t)j->dst->tile * row_bytes(j);
    if (n > j->tensor->n_bytes) n = j->tensor->n_bytes;
    if (n > ld->piece_bytes) ld->piece_bytes = n;
  }
  ld->buffers = calloc((size_t)n_threads, ld->piece_bytes);
  return ld->buffers ? EL_OK : el_fail(ld->err, EL_ERR_NO_MEMORY, "%s: out of memory", el_gguf_path(ld->g));
}

/* Packs a piece of a job; *taken: the bytes of the file that it used. */
static el_status pack_piece(const loader *ld, job *j, int piece, int ith, size_t *taken, el_error *err) {
  int begin = piece * j->piece_tiles,
      end = begin + j->piece_tiles < j->dst->n_tiles ? begin + j->piece_tiles : j->dst->n_tiles;
  int rows_end = end * j->dst->tile < j->dst->rows ? end * j->dst->tile : j->dst->rows;
  size_t from = (size_t)begin * (size_t)j->dst->tile * row_bytes(j), n = (size_t)rows_end * row_bytes(j) - from;
  bool first = j == ld->jobs && piece == 0;
  el_gguf_will_read(ld->g, j->tensor, from + (first ? 0 : AHEAD_BYTES), n + (first ? AHEAD_BYTES : 0));
  const unsigned char *data;
  el_status status = el_gguf_read(ld->g, j->tensor, from, n, ld->buffers + (size_t)ith * ld->piece_bytes, &data, err);
  if (!status) el_pack_tiles(j->dst, j->tensor->type, data, begin, end);
  *taken = n;
  return status;
}

static void pack_pieces(void *arg, int ith, int nth) {
  loader *ld = arg;
  job *j = ld->jobs;
  for (int piece; !atomic_load(&ld->failed) && (piece = el_cursor_take(&ld->next, ld->n_pieces)) >= 0;) {
    while (piece >= j->first_piece + j->n_pieces) j++;
    size_t n;
    el_error error;
    el_status status = pack_piece(ld, j, piece - j->first_piece, ith, &n, &error);
    if (status) {
      if (atomic_exchange(&ld->failed, true)) return;
      ld->status = status;
      if (ld->err) *ld->err = error;
      return;
    }
    uint64_t done = atomic_fetch_add(&ld->done, n) + n;
    if (ith == 0 && ld->progress && done < ld->file_bytes) ld->progress(ld->progress_user, done, ld->file_bytes);
  }
}

/* Anonymous memory is zero, page-aligned, and can be backed by huge pages. */
static el_status allocate_arena(loader *ld) {
  void *p = mmap(NULL, ld->m->arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED)
    return el_fail(ld->err, EL_ERR_NO_MEMORY, "%s: no memory for %zu MiB of packed weights", el_gguf_path(ld->g),
                   ld->m->arena_bytes >> 20);
  madvise(p, ld->m->arena_bytes, MADV_HUGEPAGE);
  ld->m->arena = p;
  for (int i = 0; i < ld->n_jobs; i++) {
    ld->jobs[i].dst->data = p;
    p = (unsigned char *)p + el_packed_bytes(ld->jobs[i].dst);
  }
  return EL_OK;
}

static void describe_experts(const el_experts *e, el_base_matrix *router, el_base_matrix *of) {
  *router = (el_base_matrix){.plain = e->router, .bias = e->router_bias};
  of[0] = (el_base_matrix){.w = &e->gate, .bias = e->gate_bias};
  of[1] = (el_base_matrix){.w = &e->up, .bias = e->up_bias};
  of[2] = (el_base_matrix){.w = &e->down, .bias = e->down_bias};
}

/* Describes the base's weights for the packer of adapters. */
static el_status describe_base(el_model *m, el_error *err) {
  const size_t n_sites = (size_t)m->sites->n_sites, n = (size_t)el_sites_n_places(m->sites) * n_sites;
  el_base *b = &m->base;
  b->of = calloc(n, sizeof *b->of);
  b->of_experts = calloc((size_t)m->h.n_layers * EL_N_EXPERT_SITES, sizeof *b->of_experts);
  if (!b->of || !b->of_experts) return el_fail(err, EL_ERR_NO_MEMORY, "model: out of memory");
  for (int i = 0; i < m->program.n; i++) {
    const el_op *op = &m->program.ops[i];
    const el_op_weights *w = &m->weights[i];
    el_base_matrix *of = &b->of[(size_t)op->layer * n_sites + (size_t)op->site];
    if (op->kind == EL_OP_LINEAR) *of = (el_base_matrix){.w = &w->w, .bias = w->vector};
    if (op->kind == EL_OP_EXPERTS) describe_experts(w->experts, of, &b->of_experts[op->layer * EL_N_EXPERT_SITES]);
  }
  b->of[(size_t)m->h.n_layers * n_sites + EL_SITE_OUTPUT].w = &m->output;
  b->embedding = &m->tok_embd;
  b->layer_rows = m->layer_embd.data;
  return EL_OK;
}

el_status el_model_load(const el_gguf *g, const el_kernels *k, el_threads *threads, el_weights weights,
                        el_progress_fn progress, void *progress_user, el_model **out, el_error *err) {
  el_model *m = calloc(1, sizeof *m);
  if (!m) return el_fail(err, EL_ERR_NO_MEMORY, "%s: out of memory", el_gguf_path(g));
  m->kernels = k;
  el_threads_on_rest(threads, k->release);
  loader ld = {.g = g, .m = m, .weights = weights, .err = err, .progress = progress, .progress_user = progress_user};
  el_status status = el_hparams_read(g, &m->h, err);
  if (!status) status = plan_model(&ld);
  if (!status) status = allocate_arena(&ld);
  if (!status) status = plan_pieces(&ld, el_threads_count(threads));
  if (!status) {
    el_threads_run(threads, pack_pieces, &ld);
    status = ld.status;
  }
  if (!status) status = el_gguf_unchanged(g, err);
  if (!status && progress) progress(progress_user, ld.file_bytes, ld.file_bytes);
  if (!status && !m->output.data) m->output = m->tok_embd;
  if (!status) status = describe_base(m, err);
  free(ld.buffers);
  free(ld.jobs);
  free(ld.known);
  if (status) {
    el_model_free(m);
    return status;
  }
  *out = m;
  return EL_OK;
}

void el_model_free(el_model *m) {
  if (!m) return;
  free(m->base.of);
  free(m->base.of_experts);
  for (int i = 0; m->weights && i < m->program.n; i++) {
    free(m->weights[i].vector);
    free_experts(m->weights[i].experts);
  }
  free(m->weights);
  for (int i = 0; i < EL_MAX_ROPES; i++) {
    free(m->inv_freq[i][0]);
    free(m->inv_freq[i][1]);
  }
  free(m->output_norm);
  free(m->layer_norm);
  el_program_free(&m->program);
  el_sites_free(m->sites);
  el_hparams_free(&m->h);
  if (m->arena) munmap(m->arena, m->arena_bytes);
  free(m);
}

const el_hparams *el_model_hparams(const el_model *m) {
  return &m->h;
}
const el_sites *el_model_sites(const el_model *m) {
  return m->sites;
}
const el_base *el_model_base(const el_model *m) {
  return &m->base;
}
uint64_t el_model_weight_bytes(const el_model *m) {
  return m->arena_bytes;
}
uint64_t el_model_n_params(const el_model *m) {
  return m->n_params;
}

/* Hashes values by their bits, in order. */
static uint64_t hash_values(uint64_t hash, const float *x, int n) {
  for (int i = 0; i < n; i++) {
    uint32_t bits;
    memcpy(&bits, &x[i], sizeof bits);
    hash = el_mix64((hash ^ bits) + EL_GOLDEN_GAMMA);
  }
  return hash;
}

uint64_t el_model_fingerprint(const el_model *m) {
  uint64_t hash = hash_values(0, m->output_norm, m->h.n_embd);
  for (int l = 0; l < m->h.n_layers; l++) {
    int i = m->program.begin[l];
    while (i < m->program.begin[l + 1] && (!m->weights[i].vector || m->program.ops[i].kind == EL_OP_LINEAR)) i++;
    if (i < m->program.begin[l + 1]) hash = hash_values(hash, m->weights[i].vector, m->weights[i].n);
  }
  return hash;
}

int el_row_n_vocab(const el_model *m, const el_row *row) {
  const el_adapter_more *more = row->adapter ? row->adapter->more : NULL;
  return more ? more->n_vocab : m->h.n_vocab;
}
