/* The forward step of the llama architecture. All threads run `forward` together; el_barrier separates phases, and
 * inside a phase threads own disjoint outputs.
 *
 * For each layer, with x: [rows, n_embd] the residual stream:
 *   h = rms_norm(x) ; q, k, v = h W^T (+ LoRA) ; rotate q and k ; store k and v in the pages
 *   x += attention(q, pages) Wo^T (+ LoRA)
 *   h = rms_norm(x) ; x += (silu(h Wgate^T) * (h Wup^T)) Wdown^T   (each + LoRA)
 * and at the end logits = rms_norm(x) Wout^T for the rows that want them. */
#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/apply.h"
#include "base/clock.h"
#include "base/error.h"
#include "model/weights.h"

typedef struct row_range {
  int first, n;
} row_range;

struct el_step {
  const el_model *m;
  el_threads *threads;
  unsigned char *kv;
  el_kv_type kv_type;
  size_t page_bytes;
  int max_rows, max_logits, max_ctx;

  const el_row *rows;
  int n_rows, n_logits;
  int *logit_rows; /* [max_logits] rows that want logits, in order */

  /* Row-major, one row of the step a row. */
  float *x;        /* [rows, n_embd] the residual stream */
  float *qkv;      /* [rows, q | k | v] */
  float *gate_up;  /* [rows, n_ff | n_ff] */
  float *logits;   /* [max_logits, n_vocab] */
  float *cos_sin;  /* [rows, n_rot] */
  float **scratch; /* [threads]: [el_attn_scratch] */

  /* Inputs of the linear layers; `f` of each holds the values before quantisation. */
  el_act in_embd, in_attn, in_ff, in_head;
  el_apply lora;
  atomic_int *attn_next; /* [n_layers] next piece of attention to take */
  row_range *tiles;      /* [n_tiles] rows of one sequence at consecutive positions: they share a pass over its pages */
  int n_tiles;

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

static void barrier(el_step *s, int ith) {
  el_barrier(s->threads, ith);
  done(s, EL_PART_WAIT, ith);
}

/* The end of a phase, which was `part`. */
static void end_phase(el_step *s, el_part part, int ith) {
  done(s, part, ith);
  barrier(s, ith);
}

size_t el_kv_page_bytes(const el_hparams *h, el_kv_type type) {
  return (size_t)h->n_layers * (size_t)h->n_head_kv * el_kv_piece_bytes(type, h->head_dim);
}

/* Where keys and values of (layer, KV head) begin in a page. */
static size_t page_offset(const el_step *s, int layer, int head) {
  const el_hparams *h = &s->m->h;
  return ((size_t)layer * (size_t)h->n_head_kv + (size_t)head) * el_kv_piece_bytes(s->kv_type, h->head_dim);
}

/* The linear layers that read the same input: y (+)= x W^T, then their low-rank parts. */
typedef struct linear_part {
  const el_packed *w;
  el_linear linear;
  float *y; /* first output of row 0 */
} linear_part;

typedef struct phase {
  el_input in;
  const el_act *x;
  linear_part parts[3];
  int n_parts;
  size_t ldy;
  bool add;
  el_part part;
} phase;

static phase phase_of(el_step *s, int layer, el_input in) {
  const el_hparams *h = &s->m->h;
  const el_packed *lin = s->m->layers[layer].lin;
  size_t q = (size_t)(h->n_head * h->head_dim), kv = (size_t)(h->n_head_kv * h->head_dim), ff = (size_t)h->n_ff;
  switch (in) {
    case EL_IN_ATTN:
      return (phase){in,
                     &s->in_embd,
                     {{&lin[EL_LIN_Q], EL_LIN_Q, s->qkv},
                      {&lin[EL_LIN_K], EL_LIN_K, s->qkv + q},
                      {&lin[EL_LIN_V], EL_LIN_V, s->qkv + q + kv}},
                     3,
                     q + 2 * kv,
                     false,
                     EL_PART_QKV};
    case EL_IN_O:
      return (phase){in, &s->in_attn, {{&lin[EL_LIN_O], EL_LIN_O, s->x}}, 1, (size_t)h->n_embd, true, EL_PART_O};
    case EL_IN_FFN:
      return (phase){in,
                     &s->in_embd,
                     {{&lin[EL_LIN_GATE], EL_LIN_GATE, s->gate_up}, {&lin[EL_LIN_UP], EL_LIN_UP, s->gate_up + ff}},
                     2,
                     2 * ff,
                     false,
                     EL_PART_GATE_UP};
    default:
      return (phase){in, &s->in_ff, {{&lin[EL_LIN_DOWN], EL_LIN_DOWN, s->x}}, 1, (size_t)h->n_embd, true, EL_PART_DOWN};
  }
}

/* Thread ith's part of the inputs of `down`: values [*begin, *end), whole groups. */
static void share_ff(const el_step *s, int ith, int nth, int *begin, int *end) {
  el_share(s->m->h.n_ff, EL_GROUP, ith, nth, begin, end);
}

/* Thread ith's tiles of each part. Tiles of all parts are one range that the threads share; but of gate and up a thread
 * computes the same outputs, so that it can go on with them alone. */
static void share_tiles(const el_step *s, const phase *p, int ith, int nth, int from[3], int to[3]) {
  if (p->in == EL_IN_FFN) {
    int begin, end, tile = p->parts[0].w->tile;
    share_ff(s, ith, nth, &begin, &end);
    from[0] = from[1] = begin / tile;
    to[0] = to[1] = (end + tile - 1) / tile;
    return;
  }
  int total = 0, begin, end, at = 0;
  for (int i = 0; i < p->n_parts; i++) total += p->parts[i].w->n_tiles;
  el_share(total, 1, ith, nth, &begin, &end);
  for (int i = 0; i < p->n_parts; at += p->parts[i++].w->n_tiles) {
    int n = p->parts[i].w->n_tiles;
    from[i] = begin > at ? begin - at < n ? begin - at : n : 0;
    to[i] = end - at < n ? end > at ? end - at : 0 : n;
    if (to[i] < from[i]) to[i] = from[i];
  }
}

static const unsigned char *tile_at(const el_packed *w, int tile) {
  return w->data + (size_t)tile * w->tile_bytes;
}

/* What thread ith reads first in the phase after (layer, in). */
static const unsigned char *next_weights(el_step *s, int layer, el_input in, int ith, int nth) {
  int from[3], to[3];
  if (in + 1 < EL_N_INPUT) {
    in++;
  } else if (layer + 1 < s->m->h.n_layers) {
    in = 0;
    layer++;
  } else {
    el_share(s->m->output.n_tiles, 1, ith, nth, &from[0], &to[0]);
    return s->n_logits && to[0] > from[0] ? tile_at(&s->m->output, from[0]) : NULL;
  }
  phase p = phase_of(s, layer, in);
  share_tiles(s, &p, ith, nth, from, to);
  for (int i = 0; i < p.n_parts; i++)
    if (to[i] > from[i]) return tile_at(p.parts[i].w, from[i]);
  return NULL;
}

/* The phase of input `in`; ends without a barrier. While a thread computes with the base weights it fetches the
 * low-rank matrices that it will need; these are too small for the hardware to fetch them ahead, and read once a
 * step. */
static void linears(el_step *s, int layer, el_input in, int ith, int nth) {
  const el_kernels *k = s->m->kernels;
  const phase p = phase_of(s, layer, in);
  const bool lora = s->lora.n_groups > 0;
  int from[3], to[3];
  share_tiles(s, &p, ith, nth, from, to);
  const unsigned char *after = next_weights(s, layer, in, ith, nth);
  el_fetch fetch = {.next = after};
  if (lora) {
    int visits = 0;
    el_apply_share b[3] = {{0}};
    for (int i = 0; i < p.n_parts; i++) {
      visits += (to[i] - from[i]) * p.parts[i].w->n_groups;
      b[i] = (el_apply_share){p.parts[i].linear, from[i], to[i]};
    }
    visits *= (s->n_rows + EL_PANEL - 1) / EL_PANEL;
    el_apply_fetch(&s->lora, layer, in, b, p.n_parts, ith, nth, visits, &fetch);
  }
  for (int i = 0; i < p.n_parts; i++) {
    fetch.next = i + 1 < p.n_parts ? tile_at(p.parts[i + 1].w, from[i + 1]) : lora ? NULL : after;
    if (from[i] < to[i]) k->gemm(p.parts[i].w, from[i], to[i], p.x, 0, s->n_rows, p.parts[i].y, p.ldy, p.add, &fetch);
  }
  done(s, p.part, ith);
  if (!lora) return;
  el_apply_a(&s->lora, layer, in, p.x, ith, nth);
  end_phase(s, EL_PART_LORA_A, ith);
  for (int i = 0; i < p.n_parts; i++)
    if (from[i] < to[i])
      el_apply_b(&s->lora, layer, p.parts[i].linear, from[i], to[i], p.parts[i].y, p.ldy, ith,
                 i + 1 < p.n_parts ? NULL : after);
  done(s, EL_PART_LORA_B, ith);
}

/* act = quantise(rms_norm(x)), rows shared among threads; ends with a barrier. `pick`: rows to take, or NULL for all in
 * order. */
static void norm_rows(el_step *s, const float *weight, el_act *act, const int *pick, int ith, int nth) {
  const el_kernels *k = s->m->kernels;
  int n = s->m->h.n_embd, begin, end;
  el_share(act->n_cols, 1, ith, nth, &begin, &end);
  for (int c = begin; c < end; c++) {
    float *h = act->f + (size_t)c * (size_t)n;
    k->rms_norm(s->x + (size_t)(pick ? pick[c] : c) * (size_t)n, weight, n, s->m->h.rms_eps, h);
    k->quantize(h, 0, act->n_groups, 1.0f, act, c);
  }
  end_phase(s, EL_PART_NORM, ith);
}

/* Rotates q and k in place and stores k and v. Work is shared by (row, head). */
static void rotate_and_store(el_step *s, int layer, int ith, int nth) {
  const el_hparams *h = &s->m->h;
  const el_kernels *k = s->m->kernels;
  int heads = h->n_head + h->n_head_kv, begin, end, hd = h->head_dim;
  size_t ld = (size_t)(h->n_head + 2 * h->n_head_kv) * (size_t)hd;
  el_share(s->n_rows * heads, 1, ith, nth, &begin, &end);
  for (int u = begin; u < end; u++) {
    int r = u / heads, head = u % heads;
    float *v = s->qkv + (size_t)r * ld + (size_t)head * (size_t)hd;
    k->rope(v, s->cos_sin + (size_t)r * (size_t)h->n_rot, h->n_rot);
    if (head < h->n_head) continue;
    const el_row *row = &s->rows[r];
    unsigned char *page = s->kv + row->pages[row->pos / EL_PAGE_TOKENS] * s->page_bytes;
    k->kv_write(s->kv_type, page + page_offset(s, layer, head - h->n_head), row->pos % EL_PAGE_TOKENS, hd, v,
                v + (size_t)h->n_head_kv * (size_t)hd);
  }
  end_phase(s, EL_PART_ROTATE, ith);
}

/* Cuts the rows into tiles of as many queries as the kernel takes at once. */
static void cut_tiles(el_step *s) {
  const int n_q = s->m->h.n_head / s->m->h.n_head_kv, most = EL_ATTN_TILE / n_q;
  s->n_tiles = 0;
  for (int r = 0; r < s->n_rows; r++) {
    row_range *t = s->tiles + s->n_tiles - 1;
    const el_row *row = &s->rows[r];
    if (r > 0 && t->n < most && row->pages == row[-1].pages && row->pos == row[-1].pos + 1)
      t->n++;
    else
      s->tiles[s->n_tiles++] = (row_range){r, 1};
  }
}

/* Pieces are (tile, KV head), taken one by one, since sequences differ in length. A piece quantises its own output when
 * its dimensions are whole groups; otherwise rows are quantised together after a barrier. */
static void attention(el_step *s, int layer, int ith, int nth) {
  const el_hparams *h = &s->m->h;
  const el_kernels *k = s->m->kernels;
  int n_q = h->n_head / h->n_head_kv, hd = h->head_dim, width = n_q * hd, pieces = s->n_tiles * h->n_head_kv;
  size_t ld = (size_t)(h->n_head + 2 * h->n_head_kv) * (size_t)hd, ldo = (size_t)(h->n_head * hd);
  bool whole_groups = width % EL_GROUP == 0;
  for (;;) {
    int piece = atomic_fetch_add_explicit(&s->attn_next[layer], 1, memory_order_relaxed);
    if (piece >= pieces) break;
    const row_range *t = &s->tiles[piece % s->n_tiles];
    int head = piece / s->n_tiles;
    const el_row *row = &s->rows[t->first];
    float *out = s->in_attn.f + (size_t)t->first * ldo + (size_t)(head * width);
    el_attn a = {.q = s->qkv + (size_t)t->first * ld + (size_t)(head * width),
                 .out = out,
                 .ldq = ld,
                 .ldo = ldo,
                 .scratch = s->scratch[ith],
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
    int next = piece + nth; /* if threads take turns */
    if (next < pieces) {
      const el_row *next_row = &s->rows[s->tiles[next % s->n_tiles].first];
      a.next_pages = next_row->pages;
      a.next_n_pages = next_row->pos / EL_PAGE_TOKENS + 1;
      a.next_offset = page_offset(s, layer, next / s->n_tiles);
    }
    k->attend(&a);
    for (int i = 0; whole_groups && i < t->n; i++)
      k->quantize(s->in_attn.f + (size_t)(t->first + i) * ldo, head * width / EL_GROUP, (head + 1) * width / EL_GROUP,
                  1.0f, &s->in_attn, t->first + i);
  }
  end_phase(s, EL_PART_ATTENTION, ith);
  if (whole_groups) return;
  int begin, end;
  el_share(s->n_rows, 1, ith, nth, &begin, &end);
  for (int r = begin; r < end; r++)
    k->quantize(s->in_attn.f + (size_t)r * ldo, 0, s->in_attn.n_groups, 1.0f, &s->in_attn, r);
  end_phase(s, EL_PART_ATTENTION, ith);
}

/* in_ff = quantise(silu(gate) * up) for the outputs of gate and up that this thread computed. */
static void activate(el_step *s, int ith, int nth) {
  const el_kernels *k = s->m->kernels;
  int n_ff = s->m->h.n_ff, begin, end;
  share_ff(s, ith, nth, &begin, &end);
  for (int r = 0; r < s->n_rows && begin < end; r++) {
    const float *gate = s->gate_up + (size_t)r * 2 * (size_t)n_ff;
    float *out = s->in_ff.f + (size_t)r * (size_t)n_ff;
    k->swiglu(gate + begin, gate + n_ff + begin, end - begin, out + begin);
    k->quantize(out, begin / EL_GROUP, (end + EL_GROUP - 1) / EL_GROUP, 1.0f, &s->in_ff, r);
  }
  done(s, EL_PART_ACTIVATE, ith);
}

static void embed(el_step *s, int ith, int nth) {
  const el_hparams *h = &s->m->h;
  int begin, end;
  el_share(s->n_rows, 1, ith, nth, &begin, &end);
  for (int r = begin; r < end; r++) {
    el_packed_get_row(&s->m->tok_embd, s->rows[r].token, s->x + (size_t)r * (size_t)h->n_embd);
    float *cs = s->cos_sin + (size_t)r * (size_t)h->n_rot;
    for (int i = 0; i < h->n_rot / 2; i++) {
      double angle = (double)s->rows[r].pos * (double)s->m->inv_freq[i];
      cs[2 * i] = (float)cos(angle);
      cs[2 * i + 1] = (float)sin(angle);
    }
  }
  end_phase(s, EL_PART_EMBED, ith);
}

static void forward(void *arg, int ith, int nth) {
  el_step *s = arg;
  const el_model *m = s->m;
  if (s->profile && ith == 0) s->mark = el_seconds();
  embed(s, ith, nth);
  for (int l = 0; l < m->h.n_layers; l++) {
    norm_rows(s, m->layers[l].attn_norm, &s->in_embd, NULL, ith, nth);
    linears(s, l, EL_IN_ATTN, ith, nth);
    barrier(s, ith);
    rotate_and_store(s, l, ith, nth);
    attention(s, l, ith, nth);
    linears(s, l, EL_IN_O, ith, nth);
    barrier(s, ith);

    norm_rows(s, m->layers[l].ffn_norm, &s->in_embd, NULL, ith, nth);
    linears(s, l, EL_IN_FFN, ith, nth);
    activate(s, ith, nth);
    barrier(s, ith);
    linears(s, l, EL_IN_DOWN, ith, nth);
    barrier(s, ith);
  }
  if (!s->n_logits) return;
  norm_rows(s, m->output_norm, &s->in_head, s->logit_rows, ith, nth);
  int begin, end;
  el_share(m->output.n_tiles, 1, ith, nth, &begin, &end);
  m->kernels->gemm(&m->output, begin, end, &s->in_head, 0, s->n_logits, s->logits, (size_t)m->h.n_vocab, false, NULL);
  done(s, EL_PART_OUTPUT, ith);
}

const char *el_part_name(el_part part) {
  static const char *const names[] = {"embedding",        "norms",    "q, k, v", "rotate",   "attention",
                                      "attention output", "gate, up", "SwiGLU",  "ffn down", "output",
                                      "LoRA: A",          "LoRA: B",  "waiting"};
  return names[part];
}

void el_step_profile(el_step *s, double *parts) {
  s->profile = parts;
}

const float *el_step_run(el_step *s, const el_row *rows, int n_rows) {
  const el_hparams *h = &s->m->h;
  assert(n_rows >= 1 && n_rows <= s->max_rows);
  s->rows = rows;
  s->n_rows = n_rows;
  s->n_logits = 0;
  el_apply_begin(&s->lora);
  for (int r = 0; r < n_rows; r++) {
    assert(rows[r].token >= 0 && rows[r].token < h->n_vocab && rows[r].pos >= 0 && rows[r].pos < s->max_ctx);
    el_apply_row(&s->lora, r, rows[r].adapter);
    if (!rows[r].wants_logits) continue;
    assert(s->n_logits < s->max_logits);
    s->logit_rows[s->n_logits++] = r;
  }
  cut_tiles(s);
  el_act_shape(&s->in_embd, h->n_embd, n_rows);
  el_act_shape(&s->in_attn, h->n_head * h->head_dim, n_rows);
  el_act_shape(&s->in_ff, h->n_ff, n_rows);
  if (s->n_logits) el_act_shape(&s->in_head, h->n_embd, s->n_logits);
  for (int l = 0; l < h->n_layers; l++) atomic_store_explicit(&s->attn_next[l], 0, memory_order_relaxed);
  el_threads_run(s->threads, forward, s);
  return s->logits;
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
  s->logit_rows = calloc((size_t)max_logits, sizeof *s->logit_rows);
  s->x = new_floats(rows * (size_t)h->n_embd);
  s->qkv = new_floats(rows * (size_t)(h->n_head + 2 * h->n_head_kv) * hd);
  s->gate_up = new_floats(rows * 2 * (size_t)h->n_ff);
  s->logits = new_floats((size_t)max_logits * (size_t)h->n_vocab);
  s->cos_sin = new_floats(rows * (size_t)h->n_rot);
  s->attn_next = calloc((size_t)h->n_layers, sizeof *s->attn_next);
  s->tiles = calloc(rows, sizeof *s->tiles);
  s->scratch = calloc((size_t)nth, sizeof *s->scratch);
  bool ok = s->logit_rows && s->x && s->qkv && s->gate_up && s->logits && s->cos_sin && s->attn_next && s->tiles &&
            s->scratch;
  for (int i = 0; i < nth && ok; i++) ok = (s->scratch[i] = new_floats(el_attn_scratch(h->head_dim)));
  el_status status =
      ok ? EL_OK
         : el_fail(err, EL_ERR_NO_MEMORY, "step: out of memory for %d rows and a context of %d", max_rows, max_ctx);
  if (!status) status = el_act_new(&s->in_embd, h->n_embd, max_rows, err);
  if (!status) status = el_act_new(&s->in_attn, h->n_head * h->head_dim, max_rows, err);
  if (!status) status = el_act_new(&s->in_ff, h->n_ff, max_rows, err);
  if (!status) status = el_act_new(&s->in_head, h->n_embd, max_logits, err);
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
  free(s->scratch);
  free(s->tiles);
  free(s->logit_rows);
  free(s->x);
  free(s->qkv);
  free(s->gate_up);
  free(s->logits);
  free(s->cos_sin);
  free(s->attn_next);
  el_act_free(&s->in_embd);
  el_act_free(&s->in_attn);
  el_act_free(&s->in_ff);
  el_act_free(&s->in_head);
  el_apply_free(&s->lora);
  free(s);
}
