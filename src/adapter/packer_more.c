#include "adapter/packer_more.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "arch/arch.h"
#include "base/error.h"
#include "base/priority.h"

enum { AT_ONCE = 64 /* rows of the embedding's A that are transposed at a time */ };

void el_more_free(el_more *m) {
  free(m->pieces);
  free(m->scratch);
}

static size_t n_adjusts(const el_more *m) {
  return (size_t)el_sites_n_places(m->sites) * (size_t)m->sites->n_sites;
}

static size_t n_of_experts(const el_more *m) {
  return (size_t)m->sites->n_experts * EL_N_EXPERT_SITES;
}

static size_t n_norms(const el_more *m) {
  return (size_t)m->sites->n_layers * (size_t)m->sites->arch->n_norms;
}

/* -------------------------------------------------------------------- plan */

static el_status refuse_extra(const el_lora_extra *e, const char *what, el_error *err) {
  char name[EL_SHOW];
  return el_fail(err, EL_ERR_UNSUPPORTED, "adapter: tensor %s: %s", el_str_show(e->name, name, sizeof name), what);
}

static el_more_piece *add_more_piece(el_more *m, const el_lora_extra *e, el_lora_kind kind) {
  el_more_piece *p = &m->pieces[m->n++];
  *p = (el_more_piece){.kind = kind,
                       .from = e,
                       .place = e->layer == EL_LORA_MODEL ? m->sites->n_layers : e->layer,
                       .site = e->site,
                       .expert = e->expert};
  return p;
}

static int compare_pieces(const void *x, const void *y) {
  const el_more_piece *a = x, *b = y;
  if (a->kind != b->kind) return (int)a->kind - (int)b->kind;
  if (a->place != b->place) return a->place - b->place;
  return a->site != b->site ? a->site - b->site : a->expert - b->expert;
}

static el_more_piece *find_more_piece(const el_more *m, el_lora_kind kind, int place, int site, int expert) {
  const el_more_piece key = {.kind = kind, .place = place, .site = site, .expert = expert};
  return m->n_sorted ? bsearch(&key, m->pieces, m->n_sorted, sizeof key, compare_pieces) : NULL;
}

static const el_base_matrix *base_at(const el_more *m, int place, int site) {
  const int of_expert = site - m->sites->n_sites;
  return of_expert < 0 ? &m->base->of[(size_t)place * (size_t)m->sites->n_sites + (size_t)site]
                       : &m->base->of_experts[place * EL_N_EXPERT_SITES + of_expert];
}

static void plan_vector(el_more_piece *p, int64_t n) {
  p->n = (size_t)n;
  p->bytes = el_pack_align(sizeof(float) * p->n);
}

static void plan_piece(const el_more *m, el_more_piece *p, el_layout layout, int64_t rows, int64_t cols) {
  el_packed_init(&p->form, layout, (int)rows, (int)cols, m->kernels->tile);
  p->bytes = el_pack_align(el_packed_bytes(&p->form));
}

/* Whether embedding and output are matrices of a vocabulary of the adapter's own. */
static bool is_resized(const el_more *m) {
  return el_lora_file_n_vocab(m->file);
}

/* A matrix that replaces one of the base's has 8 bits, unless the base's has more: then it keeps
 * the precision of the file. */
static el_layout whole_layout(const el_more *m, const el_lora_extra *e) {
  const el_packed *old = !m->base                    ? NULL
                         : e->kind == EL_LORA_OUTPUT ? base_at(m, m->sites->n_layers, EL_SITE_OUTPUT)->w
                                                     : m->base->embedding;
  if (!old || !el_layout_is_float(old->layout)) return EL_LAYOUT_Q8;
  return el_layout_for(e->type, e->data, e->rows * e->cols, EL_WEIGHTS_KEEP);
}

static const float *base_bias(const el_more *m, const el_more_piece *p) {
  const float *bias = base_at(m, p->place, p->site)->bias;
  return bias ? bias + (size_t)p->expert * p->n : NULL;
}

static el_status plan_one(el_more *m, const el_lora_extra *e, el_error *err) {
  el_more_piece *p;
  const bool adjusts = e->kind == EL_LORA_MAGNITUDE || e->kind == EL_LORA_BIAS || e->kind == EL_LORA_ADDED_BIAS;
  if (adjusts && !m->base) return refuse_extra(e, "the base's weights are not known", err);
  if (adjusts) *(el_sites_of_expert(m->sites, e->site) ? &m->expert_adjusts : &m->adjusts) = true;
  if (e->kind < EL_LORA_ADDED_BIAS) m->n_sorted = m->n + 1;
  switch (e->kind) {
    case EL_LORA_MAGNITUDE: plan_vector(add_more_piece(m, e, e->kind), e->rows); break;
    case EL_LORA_BIAS:
      p = add_more_piece(m, e, e->kind);
      plan_vector(p, e->rows);
      if (!base_bias(m, p)) return refuse_extra(e, "the base has no bias there", err);
      break;
    case EL_LORA_ADDED_BIAS:
      if (!(p = find_more_piece(m, EL_LORA_BIAS, e->layer == EL_LORA_MODEL ? m->sites->n_layers : e->layer, e->site,
                                e->expert))) {
        p = add_more_piece(m, e, EL_LORA_BIAS);
        p->from = NULL;
      }
      p->added = e;
      plan_vector(p, e->rows);
      break;
    case EL_LORA_NORM:
      plan_vector(add_more_piece(m, e, e->kind), e->rows);
      m->norms = m->norms || e->layer != EL_LORA_MODEL;
      break;
    case EL_LORA_EMBEDDING_MAGNITUDE:
    case EL_LORA_EMBEDDING_LENGTH:
      if (!m->base) return refuse_extra(e, "the base's weights are not known", err);
      plan_vector(add_more_piece(m, e, e->kind), e->rows);
      break;
    case EL_LORA_EMBEDDING_A:
      m->rank = (int)(e->transposed ? e->cols : e->rows);
      if (is_resized(m)) break; /* the pair is merged into the embedding */
      plan_piece(m, add_more_piece(m, e, e->kind), m->layout, e->transposed ? e->rows : e->cols, m->rank);
      break;
    case EL_LORA_EMBEDDING_B:
      if (!is_resized(m))
        plan_piece(m, add_more_piece(m, e, e->kind), m->layout, e->transposed ? e->cols : e->rows, m->rank);
      break;
    case EL_LORA_EMBEDDING:
    case EL_LORA_OUTPUT: plan_piece(m, add_more_piece(m, e, e->kind), whole_layout(m, e), m->n_vocab, e->cols); break;
    case EL_LORA_OUTPUT_TOKENS:
      break; /* rows of the output, or the embedding's: see
              * check_output_tokens */
    case EL_LORA_TOKENS:
      if (!m->base) return refuse_extra(e, "the base's weights are not known", err);
      p = add_more_piece(m, e, e->kind);
      p->n = (size_t)e->rows;
      p->bytes = el_pack_align(sizeof(int32_t) * p->n) + el_pack_align(sizeof(float) * p->n * (size_t)e->cols);
      break;
  }
  return EL_OK;
}

/* Where the output is the embedding and an adapter ties the two, training one of them alone does
 * not match PEFT. */
static el_status check_ties(const el_more *m, el_error *err) {
  const el_lora_extra *whole = NULL, *pair = NULL;
  bool output = false, output_pair = el_lora_file_output_pair(m->file);
  if (!m->sites->tied || !el_lora_file_ties(m->file)) return EL_OK;
  for (size_t i = 0; i < el_lora_file_n_extras(m->file); i++) {
    const el_lora_extra *e = el_lora_file_extra(m->file, i);
    if (e->kind == EL_LORA_EMBEDDING) whole = e;
    if (e->kind == EL_LORA_EMBEDDING_A) pair = e;
    output = output || e->kind == EL_LORA_OUTPUT;
  }
  for (size_t i = 0; i < el_lora_file_n(m->file); i++)
    output_pair = output_pair || el_lora_file_at(m->file, i)->layer == m->sites->n_layers;
  if ((whole && !output) || (pair && !output_pair))
    return refuse_extra(whole && !output ? whole : pair,
                        "ensure_weight_tying is true, and nothing is there for lm_head", err);
  return EL_OK;
}

static const el_lora_extra *find_in_file(const el_more *m, el_lora_kind kind) {
  for (size_t i = 0; i < el_lora_file_n_extras(m->file); i++)
    if (el_lora_file_extra(m->file, i)->kind == kind) return el_lora_file_extra(m->file, i);
  return NULL;
}

/* Trained rows of the output are merged into its matrix. Where the file has none, they must be the
 * rows of the embedding that it is tied to. */
static el_status check_output_tokens(const el_more *m, el_error *err) {
  const el_lora_extra *e = find_in_file(m, EL_LORA_OUTPUT_TOKENS), *of_embedding = find_in_file(m, EL_LORA_TOKENS);
  size_t n;
  const int32_t *tokens = el_lora_file_output_tokens(m->file, &n);
  if (!e || find_in_file(m, EL_LORA_OUTPUT)) return EL_OK;
  if (m->sites->tied && of_embedding && of_embedding->rows == e->rows && of_embedding->type == e->type &&
      !memcmp(tokens, el_lora_file_tokens(m->file), sizeof *tokens * n) &&
      !memcmp(e->data, of_embedding->data, el_lora_value_bytes(e->type) * (size_t)e->rows * (size_t)e->cols))
    return EL_OK;
  return refuse_extra(
      e, "trained rows of the output are supported where its matrix is saved too, or it is the embedding", err);
}

/* Checks a vocabulary of another size against the base. */
static el_status check_resized(const el_more *m, el_error *err) {
  const el_lora_extra *embedding = find_in_file(m, EL_LORA_EMBEDDING), *output = find_in_file(m, EL_LORA_OUTPUT),
                      *tokens = find_in_file(m, EL_LORA_TOKENS),
                      *any = embedding ? embedding
                             : output  ? output
                                       : tokens;
  const int n = el_lora_file_n_vocab(m->file);
  if (n <= m->sites->output.out) return EL_OK;
  if (m->base->layer_rows)
    return refuse_extra(any, "in models whose layers have a row for each token no adapter can add some", err);
  if (output || (tokens && !embedding && m->sites->tied)) return EL_OK;
  if (embedding && m->sites->tied && (el_lora_file_ties(m->file) || !el_lora_file_trains_embedding(m->file)))
    return EL_OK;
  return refuse_extra(any, "it has rows for tokens that the base does not have, and lm_head has none for them", err);
}

/* The rank of the pair that is merged into a matrix. */
static size_t rank_in(const el_more *m, el_lora_kind kind) {
  const el_lora_pair *pair = el_lora_file_output_pair(m->file);
  if (!is_resized(m)) return 0;
  return kind == EL_LORA_EMBEDDING ? (size_t)m->rank : pair ? (size_t)pair->rank : 0;
}

/* Values for a tile's rows, and with a pair for one side of it and one row of the other. */
static size_t whole_scratch(const el_more *m, const el_more_piece *p) {
  const size_t cols = (size_t)p->form.cols, rank = rank_in(m, p->kind);
  return cols * (size_t)p->form.tile + (cols + 1) * rank;
}

/* Allocates scratch for the largest of: a row of the base that DoRA reads, the longest vector, rows
 * of the embedding's A. */
static el_status reserve_scratch(el_more *m, el_error *err) {
  size_t n = (size_t)AT_ONCE * (size_t)m->rank;
  for (size_t i = 0; i < m->n; i++) {
    const el_more_piece *p = &m->pieces[i];
    const size_t in = p->kind == EL_LORA_MAGNITUDE ? (size_t)el_sites_dims(m->sites, p->place, p->site).in : 0,
                 values = p->form.cols ? (size_t)p->form.cols : p->n;
    if (in > n) n = in;
    if (values > n) n = values;
    if (p->kind == EL_LORA_EMBEDDING || p->kind == EL_LORA_OUTPUT) {
      const size_t whole = whole_scratch(m, p);
      if (whole > n) n = whole;
    }
    /* Sums as doubles, a row of the embedding, a token's A, and all of B. */
    const size_t embd = (size_t)m->sites->output.in, factor = 3 * embd + (embd + 1) * (size_t)m->rank;
    if ((p->kind == EL_LORA_EMBEDDING_MAGNITUDE || p->kind == EL_LORA_EMBEDDING_LENGTH) && factor > n) n = factor;
  }
  if (n <= m->n_scratch) return EL_OK;
  free(m->scratch);
  m->n_scratch = 0;
  if (!(m->scratch = malloc(sizeof *m->scratch * n)))
    return el_fail(err, EL_ERR_NO_MEMORY, "adapter: out of memory for %zu values", n);
  m->n_scratch = n;
  return EL_OK;
}

/* Plans a table for each layer that has something for its experts. */
static void plan_tables(el_more *m) {
  const size_t n = m->n;
  for (int l = 0; l < m->sites->n_layers; l++) {
    size_t i = 0;
    while (i < n && (m->pieces[i].kind > EL_LORA_BIAS || m->pieces[i].place != l ||
                     !el_sites_of_expert(m->sites, m->pieces[i].site)))
      i++;
    if (i < n)
      m->pieces[m->n++] =
          (el_more_piece){.place = l, .table = true, .bytes = el_pack_align(sizeof(el_lora_adjust) * n_of_experts(m))};
  }
}

el_status el_more_plan(el_more *m, const el_lora_file *file, el_error *err) {
  const size_t n = file ? el_lora_file_n_extras(file) : 0, room = n + (size_t)m->sites->n_layers;
  m->file = file;
  m->n = 0;
  m->n_sorted = 0;
  m->adjusts = m->expert_adjusts = m->norms = false;
  m->rank = 0;
  m->n_vocab = m->sites->output.out;
  if (n && el_lora_file_n_vocab(file) > m->n_vocab) m->n_vocab = el_lora_file_n_vocab(file);
  if (n && room > m->cap) {
    free(m->pieces);
    m->cap = 0;
    if (!(m->pieces = malloc(sizeof *m->pieces * room)))
      return el_fail(err, EL_ERR_NO_MEMORY, "adapter: out of memory");
    m->cap = room;
  }
  if (n && !m->base && (is_resized(m) || find_in_file(m, EL_LORA_OUTPUT_TOKENS)))
    return refuse_extra(el_lora_file_extra(file, 0), "the base's weights are not known", err);
  el_status status = n ? check_ties(m, err) : EL_OK;
  if (n && !status) status = check_output_tokens(m, err);
  if (n && !status && is_resized(m)) status = check_resized(m, err);
  for (size_t i = 0; i < n && !status; i++) status = plan_one(m, el_lora_file_extra(file, i), err);
  if (m->expert_adjusts) plan_tables(m);
  return status ? status : reserve_scratch(m, err);
}

size_t el_more_description_bytes(const el_more *m) {
  if (!m->n) return 0;
  return el_pack_align(sizeof(el_adapter_more)) +
         (m->adjusts ? el_pack_align(sizeof(el_lora_adjust) * n_adjusts(m)) : 0) +
         (m->expert_adjusts ? el_pack_align(sizeof(el_lora_adjust *) * (size_t)m->sites->n_layers) : 0) +
         (m->norms ? el_pack_align(sizeof(float *) * n_norms(m)) : 0);
}

/* -------------------------------------------------------------------- pack */

/* Reads a vector in GGUF's order. */
static void read_extra_vector(const el_more *m, const el_lora_extra *e, float *out) {
  const size_t value = el_lora_value_bytes(e->type);
  if (e->step > 1) {
    for (size_t i = 0; i < (size_t)e->rows; i++) el_dequantize(e->type, e->data + value * e->step * i, &out[i], 1);
    return;
  }
  if (!e->reorder) {
    el_dequantize(e->type, e->data, out, e->rows);
    return;
  }
  const el_site_dims dims = el_sites_dims(m->sites, e->layer, e->site);
  el_dequantize(e->type, e->data, m->scratch, e->rows);
  for (size_t i = 0; i < (size_t)e->rows; i++) out[el_site_row(&m->sites->site[e->site], dims, i)] = m->scratch[i];
}

static void pack_bias(const el_more *m, const el_more_piece *p) {
  float *bias = p->at;
  const float *base = base_bias(m, p);
  if (p->from)
    read_extra_vector(m, p->from, bias);
  else if (base)
    memcpy(bias, base, sizeof *bias * p->n);
  else
    memset(bias, 0, sizeof *bias * p->n);
  if (!p->added) return;
  const el_lora_extra *e = p->added;
  const size_t value = el_lora_value_bytes(e->type);
  const el_site_dims dims = el_sites_dims(m->sites, p->place, p->site);
  for (size_t i = 0; i < p->n; i++) {
    float v;
    el_dequantize(e->type, e->data + value * e->step * i, &v, 1);
    bias[e->reorder ? el_site_row(&m->sites->site[e->site], dims, i) : i] += e->scale * v;
  }
}

/* The power of two that brings the largest of all values to [512, 1024): group scales are then well
 * inside F16. */
static int extra_shift(const el_more *m, const el_lora_extra *e) {
  const size_t n = (size_t)e->rows * (size_t)e->cols, value = el_lora_value_bytes(e->type);
  float top = 0;
  for (size_t i = 0; i < n; i += m->n_scratch) {
    const size_t part = n - i < m->n_scratch ? n - i : m->n_scratch;
    el_dequantize(e->type, e->data + value * i, m->scratch, (int64_t)part);
    for (size_t k = 0; k < part; k++) top = fmaxf(top, fabsf(m->scratch[k]));
    el_thread_breathe();
  }
  int power = 0;
  if (top == 0) return 0;
  frexpf(top, &power);
  return 10 - power;
}

/* Packs rows of the embedding's A, one for each token, or of its B. */
static void pack_embedding(const el_more *m, el_more_piece *p, int shift) {
  const el_lora_extra *e = p->from;
  const size_t value = el_lora_value_bytes(e->type), cols = (size_t)p->form.cols;
  const bool turn = (e->kind == EL_LORA_EMBEDDING_A) != e->transposed;
  const int at_once = turn ? AT_ONCE : 1;
  el_packed_clear(&p->form);
  for (int row = 0; row < p->form.rows; row += at_once) {
    const int n = p->form.rows - row < at_once ? p->form.rows - row : at_once;
    for (size_t k = 0; turn && k < cols; k++)
      for (int i = 0; i < n; i++)
        el_dequantize(e->type, e->data + value * (k * (size_t)e->cols + (size_t)(row + i)),
                      &m->scratch[(size_t)i * cols + k], 1);
    if (!turn) el_dequantize(e->type, e->data + value * cols * (size_t)row, m->scratch, (int64_t)cols);
    for (size_t k = 0; k < (size_t)n * cols; k++) m->scratch[k] = ldexpf(m->scratch[k], shift);
    el_pack_rows(m->kernels, &p->form, row, n, m->scratch, 1);
    el_thread_breathe();
  }
}

/* A pair that is merged into a whole matrix: row i of the product is by[i] A. */
typedef struct merged {
  size_t rank;
  float scale;
  const float *a;    /* [rank, cols] */
  el_lora_matrix by; /* [rows, rank] */
  float *row;        /* [rank] */
} merged;

/* The embedding's pair is transposed: its B, transposed, is A here, and its A has a row for each
 * token. */
static merged merged_in(const el_more *m, const el_more_piece *p, float *room) {
  merged out = {.rank = rank_in(m, p->kind), .a = room};
  const size_t cols = (size_t)p->form.cols;
  out.row = room + cols * out.rank;
  if (!out.rank) return out;
  if (p->kind == EL_LORA_OUTPUT) {
    const el_lora_pair *pair = el_lora_file_output_pair(m->file);
    el_lora_matrix_read(&pair->a, pair->rank, (int)cols, room);
    out.scale = pair->scale;
    out.by = pair->b;
    return out;
  }
  const el_lora_extra *a = find_in_file(m, EL_LORA_EMBEDDING_A), *b = find_in_file(m, EL_LORA_EMBEDDING_B);
  const el_lora_matrix turned = {.type = b->type, .data = b->data, .row_step = 1, .col_step = (size_t)b->cols};
  el_lora_matrix_read(&turned, (int)out.rank, (int)cols, room);
  out.scale = b->scale;
  out.by = (el_lora_matrix){.type = a->type,
                            .data = a->data,
                            .row_step = a->transposed ? (size_t)a->cols : 1,
                            .col_step = a->transposed ? 1 : (size_t)a->cols};
  return out;
}

static void add_merged(const merged *in, int row, size_t cols, float *out) {
  const size_t value = el_lora_value_bytes(in->by.type);
  const el_lora_matrix of_row = {.type = in->by.type,
                                 .data = (const unsigned char *)in->by.data + value * (size_t)row * in->by.row_step,
                                 .row_step = in->rank,
                                 .col_step = in->by.col_step};
  el_lora_matrix_read(&of_row, 1, (int)in->rank, in->row);
  for (size_t r = 0; r < in->rank; r++) {
    const float by = in->scale * in->row[r];
    for (size_t c = 0; c < cols; c++) out[c] += by * in->a[r * cols + c];
  }
}

/* The row of EL_LORA_OUTPUT_TOKENS for a token; NULL: it has none. A linear search will do: they
 * are few, and this runs in a load, not in a step. */
static const unsigned char *trained_row(const el_more *m, const el_lora_extra *rows, int token) {
  size_t n;
  const int32_t *tokens = el_lora_file_output_tokens(m->file, &n);
  for (size_t i = 0; rows && i < n; i++)
    if (tokens[i] == token) return rows->data + el_lora_value_bytes(rows->type) * (size_t)rows->cols * i;
  return NULL;
}

/* Packs a matrix of a vocabulary of the adapter's own, or one with trained rows: merges the pair
 * that belongs to it, and takes the base's rows for tokens that the file does not have. */
static void pack_rows_of_vocabulary(const el_more *m, el_more_piece *p) {
  const el_lora_extra *e = p->from;
  const bool output = p->kind == EL_LORA_OUTPUT;
  const el_lora_extra *trained = output ? find_in_file(m, EL_LORA_OUTPUT_TOKENS) : NULL;
  const size_t cols = (size_t)e->cols, value = el_lora_value_bytes(e->type);
  const el_packed *base = output ? base_at(m, m->sites->n_layers, EL_SITE_OUTPUT)->w : m->base->embedding;
  const merged in = merged_in(m, p, m->scratch + cols * (size_t)p->form.tile);
  for (int t = 0; t < p->form.n_tiles; t++) {
    for (int i = 0; i < p->form.tile && t * p->form.tile + i < p->form.rows; i++) {
      const int row = t * p->form.tile + i;
      float *out = m->scratch + cols * (size_t)i;
      const unsigned char *own = trained_row(m, trained, row);
      if (own) {
        el_dequantize(trained->type, own, out, (int64_t)cols);
      } else if (row < e->rows) {
        el_dequantize(e->type, e->data + value * cols * (size_t)row, out, (int64_t)cols);
        if (in.rank) add_merged(&in, row, cols, out);
      } else {
        el_packed_get_row(base, row, out);
      }
    }
    el_pack_tiles(&p->form, EL_TYPE_F32, m->scratch, t, t + 1);
    el_thread_breathe();
  }
}

static int by_token(const void *a, const void *b) {
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return x < y ? -1 : x > y;
}

/* Packs tokens in ascending order, and their rows in that order. */
static void pack_tokens(const el_more *m, const el_more_piece *p, el_adapter_more *out) {
  const el_lora_extra *e = p->from;
  const size_t cols = (size_t)e->cols, value = el_lora_value_bytes(e->type);
  int32_t *tokens = p->at;
  float *rows = (float *)(void *)((unsigned char *)p->at + el_pack_align(sizeof *tokens * p->n));
  /* While tokens are sorted, the rows' memory holds pairs of (token, row): a row has more than two
   * values. */
  int64_t *order = (int64_t *)(void *)rows;
  for (size_t i = 0; i < p->n; i++) order[i] = (int64_t)el_lora_file_tokens(m->file)[i] << 32 | (int64_t)i;
  qsort(order, p->n, sizeof *order, by_token);
  assert(cols >= 2);
  /* From the last row on: the values of row i lie behind the pairs that are still needed. */
  for (size_t i = p->n; i-- > 0;) {
    const size_t from = (size_t)(order[i] & 0xffffffff);
    tokens[i] = (int32_t)(order[i] >> 32);
    el_dequantize(e->type, e->data + value * cols * from, rows + cols * i, (int64_t)cols);
  }
  out->n_tokens = (int)p->n;
  out->tokens = tokens;
  out->token_rows = rows;
  /* such a matrix replaces all rows */
  out->tokens_of_output = m->sites->tied && !find_in_file(m, EL_LORA_OUTPUT);
}

static double sum_of_squares(const float *x, size_t n) {
  enum { LANES = 8 };
  double sum[LANES] = {0};
  size_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (size_t k = 0; k < LANES; k++) sum[k] += (double)x[i + k] * (double)x[i + k];
  for (size_t k = 0; i + k < n; k++) sum[k] += (double)x[i + k] * (double)x[i + k];
  return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
}

/* The factor that gives a row or a column its length. Zeros stay 0, whatever the length. */
static float length_factor(float magnitude, double sum_of_squares) {
  const double norm = sqrt(sum_of_squares);
  const double f = norm > 0 && isfinite(norm) ? (double)magnitude / norm : 0;
  return (float)fmax(-FLT_MAX, fmin(FLT_MAX, f));
}

static const el_lora_extra *find_extra(const el_more *m, el_lora_kind kind) {
  for (size_t i = 0; i < m->n; i++)
    if (m->pieces[i].kind == kind) return m->pieces[i].from;
  return NULL;
}

/* Divides the magnitudes of the embedding by the norms of W + s (B A)^T: of its columns, or of its
 * rows. */
static void pack_embedding_factor(const el_more *m, const el_more_piece *p) {
  const bool by_row = p->kind == EL_LORA_EMBEDDING_LENGTH;
  const el_lora_extra *a = find_extra(m, EL_LORA_EMBEDDING_A), *b = find_extra(m, EL_LORA_EMBEDDING_B);
  const size_t n = (size_t)m->sites->output.in, vocab = (size_t)m->sites->output.out, rank = (size_t)m->rank;
  const size_t value = el_lora_value_bytes(a->type), b_value = el_lora_value_bytes(b->type);
  double *squares = (double *)(void *)m->scratch;
  float *factor = p->at, *row = m->scratch + 2 * n, *of_token = row + n, *all_b = of_token + rank;
  for (size_t i = 0; i < n * rank; i++) {
    const size_t at = b->transposed ? i % rank * n + i / rank : i;
    el_dequantize(b->type, b->data + b_value * at, &all_b[i], 1);
  }
  for (size_t i = 0; i < n; i++) squares[i] = 0;
  for (size_t t = 0; t < vocab; t++) {
    el_packed_get_row(m->base->embedding, (int)t, row);
    for (size_t r = 0; r < rank; r++) {
      const size_t at = a->transposed ? t * rank + r : r * vocab + t;
      el_dequantize(a->type, a->data + value * at, &of_token[r], 1);
    }
    el_thread_breathe();
    for (size_t i = 0; i < n; i++) {
      float sum = 0;
      for (size_t r = 0; r < rank; r++) sum += all_b[i * rank + r] * of_token[r];
      row[i] += b->scale * sum;
    }
    if (by_row)
      factor[t] = length_factor(factor[t], sum_of_squares(row, n));
    else
      for (size_t i = 0; i < n; i++) squares[i] += (double)row[i] * (double)row[i];
  }
  for (size_t i = 0; !by_row && i < n; i++) factor[i] = length_factor(factor[i], squares[i]);
}

static el_lora_adjust *adjust_at(const el_more *m, el_adapter_more *out, const el_more_piece *p) {
  const int of_expert = p->site - m->sites->n_sites;
  if (of_expert >= 0) return &out->expert_adjust[p->place][p->expert * EL_N_EXPERT_SITES + of_expert];
  return &out->adjust[(size_t)p->place * (size_t)m->sites->n_sites + (size_t)p->site];
}

static void pack_matrix(el_packed *w, const el_lora_extra *e) {
  const size_t tile = el_lora_value_bytes(e->type) * (size_t)w->tile * (size_t)w->cols;
  for (int t = 0; t < w->n_tiles; t++, el_thread_breathe())
    el_pack_tiles(w, e->type, e->data + tile * (size_t)t, t, t + 1);
}

static void pack_more_piece(el_more *m, el_more_piece *p, el_adapter_more *out) {
  const el_lora_extra *e = p->from;
  p->form.data = p->at;
  switch (p->kind) {
    case EL_LORA_MAGNITUDE:
      read_extra_vector(m, e, p->at);
      adjust_at(m, out, p)->factor = p->at;
      break;
    case EL_LORA_BIAS:
    case EL_LORA_ADDED_BIAS:
      pack_bias(m, p);
      adjust_at(m, out, p)->bias = p->at;
      break;
    case EL_LORA_NORM: {
      float *w = p->at;
      read_extra_vector(m, e, w);
      for (size_t i = 0; e->add_one && i < p->n; i++) w[i] += 1;
      if (e->layer == EL_LORA_MODEL)
        out->output_norm = w;
      else
        out->norms[(size_t)e->layer * (size_t)m->sites->arch->n_norms + (size_t)e->site] = w;
      break;
    }
    case EL_LORA_EMBEDDING_MAGNITUDE:
    case EL_LORA_EMBEDDING_LENGTH:
      read_extra_vector(m, e, p->at);
      *(p->kind == EL_LORA_EMBEDDING_LENGTH ? &out->embedding_length : &out->embedding_factor) = p->at;
      pack_embedding_factor(m, p);
      break;
    case EL_LORA_EMBEDDING_A:
    case EL_LORA_EMBEDDING_B: {
      const int shift = extra_shift(m, e);
      pack_embedding(m, p, shift);
      *(p->kind == EL_LORA_EMBEDDING_A ? &out->embedding_a : &out->embedding_b) = p->form;
      out->embedding_gain = ldexpf(p->kind == EL_LORA_EMBEDDING_A ? 1 : out->embedding_gain * e->scale, -shift);
      break;
    }
    case EL_LORA_EMBEDDING:
    case EL_LORA_OUTPUT:
      if (is_resized(m) || (p->kind == EL_LORA_OUTPUT && find_in_file(m, EL_LORA_OUTPUT_TOKENS)))
        pack_rows_of_vocabulary(m, p);
      else
        pack_matrix(&p->form, e);
      *(p->kind == EL_LORA_OUTPUT ? &out->output : &out->embedding) = p->form;
      break;
    case EL_LORA_TOKENS: pack_tokens(m, p, out); break;
    case EL_LORA_OUTPUT_TOKENS: break;
  }
}

const el_adapter_more *el_more_pack(el_more *m, unsigned char *to) {
  if (!m->n) return NULL;
  memset(to, 0, el_more_description_bytes(m));
  el_adapter_more *out = (el_adapter_more *)(void *)to;
  to += el_pack_align(sizeof *out);
  if (m->adjusts) {
    out->adjust = (el_lora_adjust *)(void *)to;
    to += el_pack_align(sizeof(el_lora_adjust) * n_adjusts(m));
  }
  if (m->expert_adjusts) {
    out->expert_adjust = (el_lora_adjust **)(void *)to;
    to += el_pack_align(sizeof(el_lora_adjust *) * (size_t)m->sites->n_layers);
  }
  if (m->norms) out->norms = (const float **)(void *)to;
  out->n_vocab = m->n_vocab;
  for (size_t i = 0; i < m->n; i++)
    if (m->pieces[i].table)
      out->expert_adjust[m->pieces[i].place] = memset(m->pieces[i].at, 0, sizeof(el_lora_adjust) * n_of_experts(m));
  for (size_t i = 0; i < m->n; i++)
    if (!m->pieces[i].table) pack_more_piece(m, &m->pieces[i], out);
  /* A matrix that was saved only because of its size, and tied, serves as both. */
  if (is_resized(m) && m->sites->tied && out->embedding.data && !out->output.data && m->n_vocab > m->sites->output.out)
    out->output = out->embedding;
  return out;
}

void el_more_factor(const el_more *m, int place, int site, int expert, const float *a, const float *b, int rank,
                    float scale) {
  const el_more_piece *p = find_more_piece(m, EL_LORA_MAGNITUDE, place, site, expert);
  if (!p) return;
  const el_base_matrix *w = base_at(m, place, site);
  const size_t in = (size_t)el_sites_dims(m->sites, place, site).in, first = (size_t)expert * p->n;
  float *factor = p->at, *row = m->scratch;
  for (size_t i = 0; i < p->n; i++) {
    if (w->plain)
      memcpy(row, w->plain + i * in, sizeof *row * in);
    else
      el_packed_get_row(w->w, (int)(first + i), row);
    for (int r = 0; r < rank; r++) {
      const float by = scale * b[i * (size_t)rank + (size_t)r], *from = a + (size_t)r * in;
      for (size_t c = 0; c < in; c++) row[c] += by * from[c];
    }
    factor[i] = length_factor(factor[i], sum_of_squares(row, in));
    el_thread_breathe();
  }
}
