/* The forward step of the llama architecture. It is a list of phases that the threads run together; inside a phase they
 * own disjoint outputs. Who owns what may differ from phase to phase: a team may lose a thread and get it back.
 *
 * For each layer, with x: [rows, n_embd] the residual stream:
 *   h = rms_norm(x) ; q, k, v = h W^T (+ LoRA) ; rotate q and k ; store k and v in the pages
 *   x += attention(q, pages) Wo^T (+ LoRA)
 *   h = rms_norm(x) ; x += (silu(h Wgate^T) * (h Wup^T)) Wdown^T   (each + LoRA)
 * and at the end logits = rms_norm(x) Wout^T for the rows that want them. Of the others nothing is read after the last
 * layer's keys and values: there they stop, and the step goes on with fewer rows.
 *
 * Rows are in the order TAIL, WHOLE, HEAD, so those that a layer has are consecutive. */
#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/apply.h"
#include "base/clock.h"
#include "base/error.h"
#include "model/weights.h"

/* What is done between two barriers. */
typedef enum job {
  JOB_EMBED,
  JOB_NORM,     /* the input of the linear layers `in`, and X A^T */
  JOB_LOW_RANK, /* X A^T of an input that no norm precedes */
  JOB_LINEAR,   /* the linear layers, with (X A^T) B^T */
  JOB_ROTATE,
  JOB_NARROW, /* in the last layer: rows that go on become the first ones */
  JOB_ATTENTION,
  JOB_QUANTIZE, /* attention's output, where a head is not whole groups */
  JOB_TAP,      /* keeps the states of HEAD rows */
  JOB_HEAD_NORM,
  JOB_OUTPUT
} job;

typedef struct phase {
  job job;
  int layer;
  el_input in;
} phase;

enum {
  EL_FEW_ROWS = 1, /* so many rows each thread normalises for itself: that takes less than to wait for each other */
  MAX_PHASES_LAYER = 12,
  MAX_PHASES_REST = 5 /* embedding, narrowing, a tap after the last layer, the last norm, the output */
};

typedef struct row_range {
  int first, n;
} row_range;

/* All or some of the rows of the step, as they stand in its buffers while they are those that it computes. */
typedef struct row_view {
  int *rows; /* [n_rows] which of the step's rows they are, ascending */
  int n_rows;
  int n_head, n_tail; /* of them */
  row_range *tiles;   /* [n_tiles] rows of one sequence at consecutive positions: they share a pass over its pages */
  int n_tiles, n_head_tiles, n_tail_tiles;
  el_lora_groups groups;
} row_view;

struct el_step {
  const el_model *m;
  el_threads *threads;
  unsigned char *kv;
  el_kv_type kv_type;
  size_t page_bytes;
  int max_rows, max_logits, max_ctx;

  const el_row *rows;
  int n_logits;
  row_view all, some;
  const row_view *last; /* the rows that go on in the last layer, logits' rows first: `some`, or `all` */
  int taps[EL_MAX_TAPS], n_taps;

  /* Row-major, one row of the step a row; from attention on in the last layer, one of `last`. */
  float *x;        /* [rows, n_embd] the residual stream */
  float *qkv;      /* [rows, q | k | v] */
  float *gate_up;  /* [rows, n_ff | n_ff] */
  float *logits;   /* [max_logits, n_vocab] */
  float *cos_sin;  /* [rows, n_rot] */
  float **scratch; /* [threads]: [el_attn_scratch] */

  /* Inputs of the linear layers; `f` of each holds the values before quantisation. */
  el_act in_embd, in_attn, in_ff;
  el_act *in_own; /* [threads]: EL_FEW_ROWS rows in the place of in_embd */
  el_apply lora;
  atomic_int *attn_next; /* [n_layers] next piece of attention to take */

  phase *phases; /* of this step */
  int n_phases;

  double *profile; /* [EL_N_PARTS] seconds; NULL: nobody asks */
  double mark;     /* when the part that runs began */
};

/* The work since the last call was `part`. */
static void done(el_step *s, el_part part, int ith) {
  if (!s->profile || ith != 0) return;
  double now = el_seconds();
  s->profile[part] += now - s->mark;
  s->mark = now;
}

size_t el_kv_page_bytes(const el_hparams *h, el_kv_type type) {
  return (size_t)h->n_layers * (size_t)h->n_head_kv * el_kv_piece_bytes(type, h->head_dim);
}

/* The layers that HEAD rows go through. */
static int depth(const el_step *s) {
  return s->n_taps ? s->taps[s->n_taps - 1] : 0;
}

/* The rows that are there when the linear layers of (layer, in) run. */
static const row_view *view_of(const el_step *s, int layer, el_input in) {
  return layer == s->m->h.n_layers - 1 && in != EL_IN_ATTN ? s->last : &s->all;
}

/* Those of them that go through the layer, and their tiles. */
static row_range rows_of(const el_step *s, int layer, el_input in) {
  const row_view *v = view_of(s, layer, in);
  return layer < depth(s) ? (row_range){v->n_tail, v->n_rows - v->n_tail} : (row_range){0, v->n_rows - v->n_head};
}

static row_range tiles_of(const el_step *s, int layer, el_input in) {
  const row_view *v = view_of(s, layer, in);
  return layer < depth(s) ? (row_range){v->n_tail_tiles, v->n_tiles - v->n_tail_tiles}
                          : (row_range){0, v->n_tiles - v->n_head_tiles};
}

/* The rows whose q is wanted. Those between the first and the last that go on: the product takes a range. */
static row_range q_rows_of(const el_step *s, int layer) {
  const row_view *v = view_of(s, layer, EL_IN_O);
  row_range on = rows_of(s, layer, EL_IN_O);
  if (!on.n) return (row_range){0};
  int first = v->rows[on.first], last = v->rows[on.first + on.n - 1];
  return (row_range){first, last - first + 1};
}

/* A thread's part of the rows of (layer, in). */
static void share_rows(const el_step *s, int layer, el_input in, el_turn turn, int *begin, int *end) {
  row_range rows = rows_of(s, layer, in);
  el_share(rows.n, 1, turn.rank, turn.size, begin, end);
  *begin += rows.first;
  *end += rows.first;
}

/* Where keys and values of (layer, KV head) begin in a page. */
static size_t page_offset(const el_step *s, int layer, int head) {
  const el_hparams *h = &s->m->h;
  return ((size_t)layer * (size_t)h->n_head_kv + (size_t)head) * el_kv_piece_bytes(s->kv_type, h->head_dim);
}

/* The linear layers that read the same input: y (+)= x W^T, then their low-rank parts. */
typedef struct linear_part {
  const el_packed *w;
  float *y; /* first output of row 0 */
  row_range rows;
} linear_part;

typedef struct linears {
  el_input in;
  const el_act *x;
  linear_part parts[3];
  int n_parts;
  size_t ldy;
  bool add;
  el_part part;
} linears;

static linears linears_of(el_step *s, int layer, el_input in) {
  const el_hparams *h = &s->m->h;
  const el_packed *lin = s->m->layers[layer].lin;
  size_t q = (size_t)(h->n_head * h->head_dim), kv = (size_t)(h->n_head_kv * h->head_dim), ff = (size_t)h->n_ff;
  const row_range rows = rows_of(s, layer, in);
  switch (in) {
    case EL_IN_ATTN:
      return (linears){.in = in,
                       .x = &s->in_embd,
                       .parts = {{&lin[EL_LIN_Q], s->qkv, q_rows_of(s, layer)},
                                 {&lin[EL_LIN_K], s->qkv + q, rows},
                                 {&lin[EL_LIN_V], s->qkv + q + kv, rows}},
                       .n_parts = 3,
                       .ldy = q + 2 * kv,
                       .part = EL_PART_QKV};
    case EL_IN_O:
      return (linears){.in = in,
                       .x = &s->in_attn,
                       .parts = {{&lin[EL_LIN_O], s->x, rows}},
                       .n_parts = 1,
                       .ldy = (size_t)h->n_embd,
                       .add = true,
                       .part = EL_PART_O};
    case EL_IN_FFN:
      return (linears){.in = in,
                       .x = &s->in_embd,
                       .parts = {{&lin[EL_LIN_GATE], s->gate_up, rows}, {&lin[EL_LIN_UP], s->gate_up + ff, rows}},
                       .n_parts = 2,
                       .ldy = 2 * ff,
                       .part = EL_PART_GATE_UP};
    default:
      return (linears){.in = in,
                       .x = &s->in_ff,
                       .parts = {{&lin[EL_LIN_DOWN], s->x, rows}},
                       .n_parts = 1,
                       .ldy = (size_t)h->n_embd,
                       .add = true,
                       .part = EL_PART_DOWN};
  }
}

/* A thread's part of the inputs of `down`: values [*begin, *end), whole groups. */
static void share_ff(const el_step *s, el_turn turn, int *begin, int *end) {
  el_share(s->m->h.n_ff, EL_GROUP, turn.rank, turn.size, begin, end);
}

/* A thread's tiles of parts [first, end), which take the same rows: their tiles are one range that the threads share.
 */
static void share_parts(const linears *p, int first, int end, el_turn turn, int from[3], int to[3]) {
  int total = 0, from_all, to_all, at = 0;
  for (int i = first; i < end && p->parts[i].rows.n; i++) total += p->parts[i].w->n_tiles;
  el_share(total, 1, turn.rank, turn.size, &from_all, &to_all);
  for (int i = first; i < end; at += p->parts[i++].w->n_tiles) {
    int n = p->parts[i].w->n_tiles;
    from[i] = from_all > at ? from_all - at < n ? from_all - at : n : 0;
    to[i] = to_all - at < n ? to_all > at ? to_all - at : 0 : n;
    if (to[i] < from[i]) to[i] = from[i];
  }
}

/* A thread's tiles of each part. Parts that take as many rows are shared together; but of gate and up a thread computes
 * the same outputs, so that it can go on with them alone. */
static void share_tiles(const el_step *s, const linears *p, el_turn turn, int from[3], int to[3]) {
  if (p->in == EL_IN_FFN) {
    int begin, end, tile = p->parts[0].w->tile;
    share_ff(s, turn, &begin, &end);
    from[0] = from[1] = begin / tile;
    to[0] = to[1] = (end + tile - 1) / tile;
    return;
  }
  for (int i = 0, next; i < p->n_parts; i = next) {
    for (next = i + 1; next < p->n_parts && p->parts[next].rows.n == p->parts[i].rows.n;) next++;
    share_parts(p, i, next, turn, from, to);
  }
}

static const unsigned char *tile_at(const el_packed *w, int tile) {
  return w->data + (size_t)tile * w->tile_bytes;
}

/* The input whose linear layers follow those of (*layer, *in); false: there is none, or no row goes on to it. */
static bool next_input(const el_step *s, int *layer, el_input *in) {
  if (*in + 1 < EL_N_INPUT) {
    ++*in;
  } else {
    *in = EL_IN_ATTN;
    ++*layer;
  }
  return *layer < s->m->h.n_layers && rows_of(s, *layer, *in).n;
}

/* What a thread reads first after the weights of (layer, in). */
static const unsigned char *next_weights(el_step *s, int layer, el_input in, el_turn turn) {
  int from[3], to[3];
  if (!next_input(s, &layer, &in)) {
    el_share(s->m->output.n_tiles, 1, turn.rank, turn.size, &from[0], &to[0]);
    return s->n_logits && to[0] > from[0] ? tile_at(&s->m->output, from[0]) : NULL;
  }
  linears p = linears_of(s, layer, in);
  share_tiles(s, &p, turn, from, to);
  for (int i = 0; i < p.n_parts; i++)
    if (to[i] > from[i]) return tile_at(p.parts[i].w, from[i]);
  return NULL;
}

/* act = quantise(rms_norm(x)) for rows [begin, end). */
static void norm_rows(el_step *s, const float *weight, el_act *act, int begin, int end, int ith) {
  const el_kernels *k = s->m->kernels;
  int n = s->m->h.n_embd;
  for (int c = begin; c < end; c++) {
    float *h = act->f + (size_t)c * (size_t)n;
    k->rms_norm(s->x + (size_t)c * (size_t)n, weight, n, s->m->h.rms_eps, h);
    k->quantize(h, 0, act->n_groups, 1.0f, act, c);
  }
  done(s, EL_PART_NORM, ith);
}

/* A thread's rows of the A products of an input that is there. */
static void low_rank(el_step *s, int layer, el_input in, const el_act *x, el_turn turn) {
  const el_lora_groups *groups = &view_of(s, layer, in)->groups;
  int begin, end;
  if (!groups->n) return;
  share_rows(s, layer, in, turn, &begin, &end);
  el_apply_h(&s->lora, groups, layer, in, x, begin, end);
  done(s, EL_PART_LORA_A, turn.ith);
}

static void norm_head(el_step *s, el_turn turn) {
  int begin, end;
  el_share(s->n_logits, 1, turn.rank, turn.size, &begin, &end);
  norm_rows(s, s->m->output_norm, &s->in_embd, begin, end, turn.ith);
}

/* With so few rows each thread has an input of its own, so that nobody waits. */
static const el_act *own_norm(el_step *s, const float *weight, int n_cols, int ith) {
  el_act *act = &s->in_own[ith];
  el_act_shape(act, s->m->h.n_embd, n_cols);
  norm_rows(s, weight, act, 0, n_cols, ith);
  return act;
}

static const float *norm_weight(const el_step *s, int layer, el_input in) {
  const el_layer *l = &s->m->layers[layer];
  return in == EL_IN_ATTN ? l->attn_norm : in == EL_IN_FFN ? l->ffn_norm : NULL;
}

static void norm_input(el_step *s, int layer, el_input in, el_turn turn) {
  int begin, end;
  share_rows(s, layer, in, turn, &begin, &end);
  norm_rows(s, norm_weight(s, layer, in), &s->in_embd, begin, end, turn.ith);
}

/* Whether each thread norms the input of (layer, in) for itself. */
static bool norms_alone(const el_step *s, int layer, el_input in) {
  const row_view *v = view_of(s, layer, in);
  return norm_weight(s, layer, in) && v->n_rows <= EL_FEW_ROWS && !v->groups.n;
}

/* While a thread computes with the base weights it fetches the A matrices that it needs next: they are too small for
 * the hardware to fetch them ahead, and read once a step. */
static void fetch_next_a(el_step *s, int layer, el_input in, int visits, el_turn turn, el_fetch *fetch) {
  int begin, end;
  if (!s->all.groups.n || !next_input(s, &layer, &in)) return;
  share_rows(s, layer, in, turn, &begin, &end);
  el_apply_fetch(&s->lora, &view_of(s, layer, in)->groups, layer, in, begin, end, turn.ith, visits, fetch);
}

static void linear(el_step *s, int layer, el_input in, el_turn turn) {
  const row_view *v = view_of(s, layer, in);
  linears p = linears_of(s, layer, in);
  if (norms_alone(s, layer, in)) p.x = own_norm(s, norm_weight(s, layer, in), v->n_rows, turn.ith);
  int from[3], to[3], visits = 0;
  share_tiles(s, &p, turn, from, to);
  for (int i = 0; i < p.n_parts; i++)
    visits += (to[i] - from[i]) * p.parts[i].w->n_groups * ((p.parts[i].rows.n + EL_PANEL - 1) / EL_PANEL);
  el_fetch fetch = {0};
  fetch_next_a(s, layer, in, visits, turn, &fetch);
  const unsigned char *after[3] = {0}; /* what is read after part i */
  after[p.n_parts - 1] = next_weights(s, layer, in, turn);
  for (int i = p.n_parts - 1; i > 0; i--) after[i - 1] = to[i] > from[i] ? tile_at(p.parts[i].w, from[i]) : after[i];
  for (int i = 0; i < p.n_parts; i++) {
    const linear_part *part = &p.parts[i];
    if (from[i] == to[i]) continue;
    fetch.next = after[i];
    el_gemm_lora(s->m->kernels, part->w, from[i], to[i], p.x, part->rows.first, part->rows.first + part->rows.n,
                 part->y, p.ldy, p.add, el_apply_low(&s->lora, &v->groups, i), &fetch);
  }
  done(s, p.part, turn.ith);
}

/* Rotates q, where it is wanted, and k in place and stores k and v. Work is shared by (row, head). */
static void rotate_and_store(el_step *s, int layer, el_turn turn) {
  const el_hparams *h = &s->m->h;
  const el_kernels *k = s->m->kernels;
  int heads = h->n_head + h->n_head_kv, begin, end, hd = h->head_dim;
  size_t ld = (size_t)(h->n_head + 2 * h->n_head_kv) * (size_t)hd;
  row_range rows = rows_of(s, layer, EL_IN_ATTN), q = q_rows_of(s, layer);
  el_share(rows.n * heads, 1, turn.rank, turn.size, &begin, &end);
  for (int u = begin; u < end; u++) {
    int r = rows.first + u / heads, head = u % heads;
    if (head < h->n_head && (r < q.first || r >= q.first + q.n)) continue;
    float *v = s->qkv + (size_t)r * ld + (size_t)head * (size_t)hd;
    k->rope(v, s->cos_sin + (size_t)r * (size_t)h->n_rot, h->n_rot);
    if (head < h->n_head) continue;
    const el_row *row = &s->rows[r];
    unsigned char *page = s->kv + row->pages[row->pos / EL_PAGE_TOKENS] * s->page_bytes;
    k->kv_write(s->kv_type, page + page_offset(s, layer, head - h->n_head), row->pos % EL_PAGE_TOKENS, hd, v,
                v + (size_t)h->n_head_kv * (size_t)hd);
  }
  done(s, EL_PART_ROTATE, turn.ith);
}

static void shape_inputs(el_step *s, int n_rows) {
  const el_hparams *h = &s->m->h;
  el_act_shape(&s->in_embd, h->n_embd, n_rows);
  el_act_shape(&s->in_attn, h->n_head * h->head_dim, n_rows);
  el_act_shape(&s->in_ff, h->n_ff, n_rows);
}

/* From here on the step is one of the rows of `last`. Threads share the columns of x: so each moves the rows in order,
 * and none writes what another still reads. */
static void narrow(el_step *s, el_turn turn) {
  const row_view *v = s->last;
  size_t n = (size_t)s->m->h.n_embd;
  int begin, end;
  if (turn.rank == 0) shape_inputs(s, v->n_rows);
  el_share((int)n, EL_GROUP, turn.rank, turn.size, &begin, &end);
  for (int i = 0; i < v->n_rows && begin < end; i++) {
    float *to = s->x + (size_t)i * n + begin;
    const float *from = s->x + (size_t)v->rows[i] * n + begin;
    if (to != from) memcpy(to, from, sizeof *to * (size_t)(end - begin));
  }
  done(s, EL_PART_ROTATE, turn.ith);
}

/* Pieces are (tile, KV head), taken one by one, since sequences differ in length. A piece quantises its own output when
 * its dimensions are whole groups; otherwise JOB_QUANTIZE follows. */
static bool whole_groups(const el_hparams *h) {
  return h->n_head / h->n_head_kv * h->head_dim % EL_GROUP == 0;
}

static void attention(el_step *s, int layer, el_turn turn) {
  const el_hparams *h = &s->m->h;
  const el_kernels *k = s->m->kernels;
  const row_view *v = view_of(s, layer, EL_IN_O);
  row_range tiles = tiles_of(s, layer, EL_IN_O);
  int n_q = h->n_head / h->n_head_kv, hd = h->head_dim, width = n_q * hd, pieces = tiles.n * h->n_head_kv;
  size_t ld = (size_t)(h->n_head + 2 * h->n_head_kv) * (size_t)hd, ldo = (size_t)(h->n_head * hd);
  for (;;) {
    int piece = atomic_fetch_add_explicit(&s->attn_next[layer], 1, memory_order_relaxed);
    if (piece >= pieces) break;
    const row_range *t = &v->tiles[tiles.first + piece % tiles.n];
    int head = piece / tiles.n, first = v->rows[t->first];
    const el_row *row = &s->rows[first];
    float *out = s->in_attn.f + (size_t)t->first * ldo + (size_t)(head * width);
    el_attn a = {.q = s->qkv + (size_t)first * ld + (size_t)(head * width),
                 .out = out,
                 .ldq = ld,
                 .ldo = ldo,
                 .scratch = s->scratch[turn.ith],
                 .n_rows = t->n,
                 .n_q = n_q,
                 .head_dim = hd,
                 .n_pos = row->pos + 1,
                 .scale = 1.0f / sqrtf((float)hd),
                 .pages = row->pages,
                 .kv = s->kv,
                 .page_bytes = s->page_bytes,
                 .kv_type = s->kv_type,
                 .offset = page_offset(s, layer, head)};
    int next = piece + turn.size; /* if threads take turns */
    if (next < pieces) {
      const el_row *next_row = &s->rows[v->rows[v->tiles[tiles.first + next % tiles.n].first]];
      a.next_pages = next_row->pages;
      a.next_n_pages = next_row->pos / EL_PAGE_TOKENS + 1;
      a.next_offset = page_offset(s, layer, next / tiles.n);
    }
    k->attend(&a);
    for (int i = 0; whole_groups(h) && i < t->n; i++)
      k->quantize(s->in_attn.f + (size_t)(t->first + i) * ldo, head * width / EL_GROUP, (head + 1) * width / EL_GROUP,
                  1.0f, &s->in_attn, t->first + i);
  }
  done(s, EL_PART_ATTENTION, turn.ith);
}

static void quantize_attention(el_step *s, int layer, el_turn turn) {
  const el_hparams *h = &s->m->h;
  int begin, end;
  share_rows(s, layer, EL_IN_O, turn, &begin, &end);
  for (int r = begin; r < end; r++)
    s->m->kernels->quantize(s->in_attn.f + (size_t)r * (size_t)(h->n_head * h->head_dim), 0, s->in_attn.n_groups, 1.0f,
                            &s->in_attn, r);
  done(s, EL_PART_ATTENTION, turn.ith);
}

/* in_ff = quantise(silu(gate) * up) for the outputs of gate and up that this thread computed. */
static void activate(el_step *s, int layer, el_turn turn) {
  const el_kernels *k = s->m->kernels;
  row_range rows = rows_of(s, layer, EL_IN_FFN);
  int n_ff = s->m->h.n_ff, begin, end;
  share_ff(s, turn, &begin, &end);
  for (int r = rows.first; r < rows.first + rows.n && begin < end; r++) {
    const float *gate = s->gate_up + (size_t)r * 2 * (size_t)n_ff;
    float *out = s->in_ff.f + (size_t)r * (size_t)n_ff;
    k->swiglu(gate + begin, gate + n_ff + begin, end - begin, out + begin);
    k->quantize(out, begin / EL_GROUP, (end + EL_GROUP - 1) / EL_GROUP, 1.0f, &s->in_ff, r);
  }
  done(s, EL_PART_ACTIVATE, turn.ith);
}

static float *state_at(const el_step *s, const el_row *row, int tap) {
  return row->states + (size_t)tap * (size_t)s->m->h.n_embd;
}

static void keep_states(el_step *s, int tap, el_turn turn) {
  const row_view *v = s->taps[tap] == s->m->h.n_layers ? s->last : &s->all;
  size_t n = (size_t)s->m->h.n_embd;
  int begin, end, first = v->n_rows - v->n_head;
  el_share(v->n_head, 1, turn.rank, turn.size, &begin, &end);
  for (int r = first + begin; r < first + end; r++)
    memcpy(state_at(s, &s->rows[v->rows[r]], tap), s->x + (size_t)r * n, sizeof *s->x * n);
  done(s, EL_PART_EMBED, turn.ith);
}

static void embed(el_step *s, el_turn turn) {
  const el_hparams *h = &s->m->h;
  int begin, end;
  el_share(s->all.n_rows, 1, turn.rank, turn.size, &begin, &end);
  for (int r = begin; r < end; r++) {
    const el_row *row = &s->rows[r];
    float *x = s->x + (size_t)r * (size_t)h->n_embd;
    if (row->part == EL_ROW_TAIL)
      memcpy(x, state_at(s, row, s->n_taps - 1), sizeof *x * (size_t)h->n_embd);
    else
      el_packed_get_row(&s->m->tok_embd, row->token, x);
    float *cs = s->cos_sin + (size_t)r * (size_t)h->n_rot;
    for (int i = 0; i < h->n_rot / 2; i++) {
      double angle = (double)row->pos * (double)s->m->inv_freq[i];
      cs[2 * i] = (float)cos(angle);
      cs[2 * i + 1] = (float)sin(angle);
    }
  }
  done(s, EL_PART_EMBED, turn.ith);
}

static void output(el_step *s, el_turn turn) {
  const el_model *m = s->m;
  const el_act *x = &s->in_embd;
  if (s->n_logits <= EL_FEW_ROWS) x = own_norm(s, m->output_norm, s->n_logits, turn.ith);
  int begin, end;
  el_share(m->output.n_tiles, 1, turn.rank, turn.size, &begin, &end);
  m->kernels->gemm(&m->output, begin, end, x, 0, s->n_logits, s->logits, (size_t)m->h.n_vocab, false, NULL);
  done(s, EL_PART_OUTPUT, turn.ith);
}

/* ---- the step */

static void add_phase(el_step *s, job j, int layer, el_input in) {
  assert(s->n_phases < s->m->h.n_layers * MAX_PHASES_LAYER + MAX_PHASES_REST);
  s->phases[s->n_phases++] = (phase){j, layer, in};
}

static void add_linear(el_step *s, int layer, el_input in) {
  if (norm_weight(s, layer, in)) {
    if (!norms_alone(s, layer, in)) add_phase(s, JOB_NORM, layer, in);
  } else if (view_of(s, layer, in)->groups.n) {
    add_phase(s, JOB_LOW_RANK, layer, in);
  }
  add_phase(s, JOB_LINEAR, layer, in);
}

static void plan(el_step *s) {
  const el_hparams *h = &s->m->h;
  s->n_phases = 0;
  add_phase(s, JOB_EMBED, 0, 0);
  int tap = 0;
  for (int l = 0; l < h->n_layers; l++) {
    if (s->all.n_head && tap < s->n_taps && s->taps[tap] == l) add_phase(s, JOB_TAP, tap++, 0);
    if (rows_of(s, l, EL_IN_ATTN).n) {
      add_linear(s, l, EL_IN_ATTN);
      add_phase(s, JOB_ROTATE, l, 0);
    }
    if (l == h->n_layers - 1 && s->last != &s->all && s->last->n_rows) add_phase(s, JOB_NARROW, l, 0);
    if (!rows_of(s, l, EL_IN_O).n) continue;
    add_phase(s, JOB_ATTENTION, l, 0);
    if (!whole_groups(h)) add_phase(s, JOB_QUANTIZE, l, 0);
    add_linear(s, l, EL_IN_O);
    add_linear(s, l, EL_IN_FFN); /* and SwiGLU */
    add_linear(s, l, EL_IN_DOWN);
  }
  if (s->all.n_head && tap < s->n_taps) add_phase(s, JOB_TAP, tap, 0); /* after the last layer */
  if (!s->n_logits) return;
  if (s->n_logits > EL_FEW_ROWS) add_phase(s, JOB_HEAD_NORM, 0, 0);
  add_phase(s, JOB_OUTPUT, 0, 0);
}

static void forward(void *arg, int i, el_turn turn) {
  el_step *s = arg;
  const phase *p = &s->phases[i];
  done(s, EL_PART_WAIT, turn.ith);
  switch (p->job) {
    case JOB_EMBED: embed(s, turn); break;
    case JOB_NORM:
      norm_input(s, p->layer, p->in, turn);
      low_rank(s, p->layer, p->in, &s->in_embd, turn);
      break;
    case JOB_LOW_RANK: low_rank(s, p->layer, p->in, p->in == EL_IN_O ? &s->in_attn : &s->in_ff, turn); break;
    case JOB_LINEAR:
      linear(s, p->layer, p->in, turn);
      if (p->in == EL_IN_FFN) activate(s, p->layer, turn);
      break;
    case JOB_ROTATE: rotate_and_store(s, p->layer, turn); break;
    case JOB_NARROW: narrow(s, turn); break;
    case JOB_ATTENTION: attention(s, p->layer, turn); break;
    case JOB_QUANTIZE: quantize_attention(s, p->layer, turn); break;
    case JOB_TAP: keep_states(s, p->layer, turn); break;
    case JOB_HEAD_NORM: norm_head(s, turn); break;
    case JOB_OUTPUT: output(s, turn); break;
  }
}

const char *el_part_name(el_part part) {
  static const char *const names[] = {"embedding", "norms",  "q, k, v",  "rotate", "attention", "attention output",
                                      "gate, up",  "SwiGLU", "ffn down", "output", "LoRA: A",   "waiting"};
  return names[part];
}

void el_step_profile(el_step *s, double *parts) {
  s->profile = parts;
}

el_status el_step_taps(el_step *s, const int *layers, int n_taps, el_error *err) {
  int n_layers = s->m->h.n_layers;
  if (n_taps < 1 || n_taps > EL_MAX_TAPS)
    return el_fail(err, EL_ERR_INVALID, "taps: %d, there may be 1 to %d", n_taps, EL_MAX_TAPS);
  for (int i = 0; i < n_taps; i++)
    if (layers[i] < 0 || layers[i] > n_layers || (i > 0 && layers[i] <= layers[i - 1]))
      return el_fail(err, EL_ERR_INVALID, "taps: layer %d: they must ascend, from 0 to %d", layers[i], n_layers);
  if (!layers[n_taps - 1]) return el_fail(err, EL_ERR_INVALID, "taps: the last is the embedding, no layer is left");
  memcpy(s->taps, layers, sizeof *layers * (size_t)n_taps);
  s->n_taps = n_taps;
  return EL_OK;
}

/* Adds row r of the step. Tiles are of as many queries as the kernel takes at once. */
static void add_row(el_step *s, row_view *v, int r) {
  const int n_q = s->m->h.n_head / s->m->h.n_head_kv, most = EL_ATTN_TILE / n_q;
  const el_row *row = &s->rows[r];
  const int i = v->n_rows++;
  v->rows[i] = r;
  v->n_head += row->part == EL_ROW_HEAD;
  v->n_tail += row->part == EL_ROW_TAIL;
  el_lora_groups_add(&v->groups, i, row->adapter);
  if (i > 0 && v->tiles[v->n_tiles - 1].n < most && v->rows[i - 1] == r - 1 && row->pages == row[-1].pages &&
      row->pos == row[-1].pos + 1 && row->part == row[-1].part) {
    v->tiles[v->n_tiles - 1].n++;
    return;
  }
  v->tiles[v->n_tiles++] = (row_range){i, 1};
  v->n_head_tiles += row->part == EL_ROW_HEAD;
  v->n_tail_tiles += row->part == EL_ROW_TAIL;
}

static void clear_view(row_view *v) {
  *v = (row_view){.rows = v->rows, .tiles = v->tiles, .groups.at = v->groups.at};
}

/* Whether something after the last layer's keys and values reads a row. */
static bool goes_on(const el_step *s, const el_row *row) {
  return row->wants_logits || (row->part == EL_ROW_HEAD && depth(s) == s->m->h.n_layers);
}

const float *el_step_run(el_step *s, const el_row *rows, int n_rows) {
  const el_hparams *h = &s->m->h;
  assert(n_rows >= 1 && n_rows <= s->max_rows);
  s->rows = rows;
  s->n_logits = 0;
  clear_view(&s->all);
  clear_view(&s->some);
  int n_on = 0;
  for (int r = 0; r < n_rows; r++) {
    assert(rows[r].token >= 0 && rows[r].token < h->n_vocab && rows[r].pos >= 0 && rows[r].pos < s->max_ctx);
    assert(rows[r].part == EL_ROW_WHOLE || (s->n_taps && rows[r].states));
    assert(rows[r].part == EL_ROW_HEAD ? !rows[r].wants_logits : !s->all.n_head);
    assert(rows[r].part != EL_ROW_TAIL || s->all.n_tail == r);
    add_row(s, &s->all, r);
    s->n_logits += rows[r].wants_logits;
    n_on += goes_on(s, &rows[r]);
  }
  assert(s->n_logits <= s->max_logits);
  s->last = n_on < n_rows ? &s->some : &s->all;
  for (int r = 0; r < n_rows && n_on < n_rows; r++)
    if (goes_on(s, &rows[r])) add_row(s, &s->some, r);
  shape_inputs(s, n_rows);
  for (int l = 0; l < h->n_layers; l++) atomic_store_explicit(&s->attn_next[l], 0, memory_order_relaxed);
  plan(s);
  if (s->profile) s->mark = el_seconds();
  el_threads_run_phases(s->threads, s->n_phases, forward, s);
  done(s, EL_PART_WAIT, 0);
  return s->logits;
}

static bool new_view(row_view *v, size_t max_rows) {
  v->rows = calloc(max_rows, sizeof *v->rows);
  v->tiles = calloc(max_rows, sizeof *v->tiles);
  v->groups.at = calloc(max_rows, sizeof *v->groups.at);
  return v->rows && v->tiles && v->groups.at;
}

static void free_view(row_view *v) {
  free(v->rows);
  free(v->tiles);
  free(v->groups.at);
}

static float *new_floats(size_t n) {
  void *p = NULL;
  return posix_memalign(&p, 64, (n * sizeof(float) + 63) / 64 * 64) ? NULL : p;
}

el_status el_step_new(const el_model *m, el_threads *threads, unsigned char *kv, el_kv_type kv_type, int max_rows,
                      int max_logits, int max_ctx, el_step **out, el_error *err) {
  const el_hparams *h = &m->h;
  assert(max_rows >= 1 && max_logits >= 1 && max_ctx >= 1);
  el_step *s = calloc(1, sizeof *s);
  if (!s) return el_fail(err, EL_ERR_NO_MEMORY, "step: out of memory");
  int nth = el_threads_count(threads);
  *s = (el_step){.m = m,
                 .threads = threads,
                 .kv = kv,
                 .kv_type = kv_type,
                 .page_bytes = el_kv_page_bytes(h, kv_type),
                 .max_rows = max_rows,
                 .max_logits = max_logits,
                 .max_ctx = max_ctx};
  size_t rows = (size_t)max_rows, hd = (size_t)h->head_dim;
  s->x = new_floats(rows * (size_t)h->n_embd);
  s->qkv = new_floats(rows * (size_t)(h->n_head + 2 * h->n_head_kv) * hd);
  s->gate_up = new_floats(rows * 2 * (size_t)h->n_ff);
  s->logits = new_floats((size_t)max_logits * (size_t)h->n_vocab);
  s->cos_sin = new_floats(rows * (size_t)h->n_rot);
  s->attn_next = calloc((size_t)h->n_layers, sizeof *s->attn_next);
  s->scratch = calloc((size_t)nth, sizeof *s->scratch);
  s->in_own = calloc((size_t)nth, sizeof *s->in_own);
  s->phases = calloc((size_t)h->n_layers * MAX_PHASES_LAYER + MAX_PHASES_REST, sizeof *s->phases);
  bool ok = new_view(&s->all, rows) && new_view(&s->some, rows) && s->x && s->qkv && s->gate_up && s->logits &&
            s->cos_sin && s->attn_next && s->scratch && s->in_own && s->phases;
  for (int i = 0; i < nth && ok; i++) ok = (s->scratch[i] = new_floats(el_attn_scratch(h->head_dim)));
  el_status status =
      ok ? EL_OK
         : el_fail(err, EL_ERR_NO_MEMORY, "step: out of memory for %d rows and a context of %d", max_rows, max_ctx);
  if (!status) status = el_act_new(&s->in_embd, h->n_embd, max_rows, err);
  if (!status) status = el_act_new(&s->in_attn, h->n_head * h->head_dim, max_rows, err);
  if (!status) status = el_act_new(&s->in_ff, h->n_ff, max_rows, err);
  for (int i = 0; i < nth && !status; i++) status = el_act_new(&s->in_own[i], h->n_embd, EL_FEW_ROWS, err);
  if (!status) status = el_apply_new(m->kernels, max_rows, nth, &s->lora, err);
  if (status)
    el_step_free(s);
  else
    *out = s;
  return status;
}

void el_step_free(el_step *s) {
  if (!s) return;
  if (s->scratch)
    for (int i = 0; i < el_threads_count(s->threads); i++) free(s->scratch[i]);
  if (s->in_own)
    for (int i = 0; i < el_threads_count(s->threads); i++) el_act_free(&s->in_own[i]);
  free(s->scratch);
  free(s->in_own);
  free(s->phases);
  free_view(&s->all);
  free_view(&s->some);
  free(s->x);
  free(s->qkv);
  free(s->gate_up);
  free(s->logits);
  free(s->cos_sin);
  free(s->attn_next);
  el_act_free(&s->in_embd);
  el_act_free(&s->in_attn);
  el_act_free(&s->in_ff);
  el_apply_free(&s->lora);
  free(s);
}
