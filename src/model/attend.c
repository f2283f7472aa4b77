/* Attention, shared among threads.
 *
 * The unit of work is (tile, KV head). Where one of these would be a large share of the phase, it
 * is cut into ranges of its spans: a sequence with a long context may share a step with short
 * ones, or be alone, and there may be fewer KV heads than threads. Threads take pieces one by
 * one, those of shared tiles first. The results of spans are part of the definition of a row's
 * result (kernels/attention.h), so how they are shared does not change a bit: the thread that
 * does the last piece of a tile and head joins the partial results.
 *
 * Each thread computes the list of pieces for itself, from the rows alone, so all compute the
 * same. */
#include <stdlib.h>

#include "model/step.h"

/* Rows with whole contexts whose partial results have room; the heads of others are not shared. */
enum { SHARED_ROWS = 8 };

/* The attention of one layer in this step. */
typedef struct work {
  el_step *s;
  const el_stage *st;
  const el_op *op;
  const el_row_view *v;
  el_layer_dims d;
  const int *order;       /* [n_tiles] numbers of tiles, shared ones first */
  int n_tiles, n_shared;  /* all tiles; the shared ones among them */
  int limit;              /* the most spans of one piece */
  int n_shared_pieces, n; /* pieces of shared tiles; of all */
} work;

typedef struct piece {
  int tile;            /* the tile's place in `order` */
  int head;            /* KV head */
  int chunk, n_chunks; /* of the tile's spans, if it is shared */
  size_t partials;     /* where the partial results of the tile and head begin */
} piece;

/* A walk over the pieces: remembers where the tile of the last one began. */
typedef struct walk {
  int tile, piece;
  size_t partials;
} walk;

static const el_row_range *query_tile(const work *w, int i) {
  return &w->v->tiles[w->order[i]];
}
static const el_row *row_at(const work *w, int i) {
  return &w->s->rows[w->v->rows[query_tile(w, i)->first]];
}

static void spans_of(const work *w, const el_row_range *tile, int *begin, int *end) {
  const int n_pos = w->s->rows[w->v->rows[tile->first]].pos + 1;
  int own;
  el_attn_spans(n_pos, w->op->window, begin, &own);
  el_attn_spans(n_pos + tile->n - 1, w->op->window, &own, end);
}
static int n_spans_of(const work *w, const el_row_range *tile) {
  int begin, end;
  spans_of(w, tile, &begin, &end);
  return end - begin;
}

/* Floats of the partial results of a tile and head. */
static size_t partial_values(const work *w, const el_row_range *tile) {
  return (size_t)n_spans_of(w, tile) * (size_t)(tile->n * (w->d.n_head / w->d.n_head_kv)) *
         el_attn_partial(w->d.head_dim);
}

static int n_chunks_of(const work *w, int i) {
  return (n_spans_of(w, query_tile(w, i)) + w->limit - 1) / w->limit;
}

/* Chooses the tiles that are shared: those that are more than their share of the work, while there
 * is room. */
static work find_work(el_step *s, const el_stage *st, el_turn turn) {
  work w = {.s = s, .st = st, .op = el_op_at(s, st->op), .v = el_view_of(s, st), .d = el_dims_at(s, st->layer)};
  const el_row_range tiles = el_tiles_of(s, st);
  const int n_pieces = EL_ATTEND_PIECES * el_threads_count(s->threads);
  int *order = s->attend.order[turn.ith], total = 0, others = 0;
  for (int i = 0; i < tiles.n; i++) total += n_spans_of(&w, &w.v->tiles[tiles.first + i]);
  /* This way at most n_pieces pairs of a tile and a head are shared. */
  w.limit = (int)(((long)total * w.d.n_head_kv + n_pieces - 1) / n_pieces);
  size_t room = s->attend.max_partials;
  for (int i = 0; i < tiles.n; i++) {
    const el_row_range *tile = &w.v->tiles[tiles.first + i];
    const size_t partials = partial_values(&w, tile) * (size_t)w.d.n_head_kv;
    const bool shared = n_spans_of(&w, tile) > w.limit && partials <= room;
    if (shared) {
      room -= partials;
      order[w.n_shared++] = tiles.first + i;
    } else {
      order[tiles.n - ++others] = tiles.first + i;
    }
  }
  /* The other tiles are in reverse order. */
  for (int a = w.n_shared, b = tiles.n - 1; a < b; a++, b--) {
    const int t = order[a];
    order[a] = order[b];
    order[b] = t;
  }
  w.order = order;
  w.n_tiles = tiles.n;
  for (int i = 0; i < w.n_shared; i++) w.n_shared_pieces += n_chunks_of(&w, i) * w.d.n_head_kv;
  w.n = w.n_shared_pieces + others * w.d.n_head_kv;
  return w;
}

/* Piece i, which is not before the one that the walk found last. Consecutive pieces are heads at
 * one place in memory. Tiles that are not shared go head by head, so that the rows of a prompt find
 * one head's keys and values in the cache. */
static piece find_piece(const work *w, walk *at, int i) {
  const int heads = w->d.n_head_kv, others = w->n_tiles - w->n_shared;
  if (i >= w->n_shared_pieces) {
    i -= w->n_shared_pieces;
    return (piece){.tile = w->n_shared + i % others, .head = i / others, .n_chunks = 1};
  }
  for (int n; i >= at->piece + (n = n_chunks_of(w, at->tile) * heads); at->tile++) {
    at->partials += partial_values(w, query_tile(w, at->tile)) * (size_t)heads;
    at->piece += n;
  }
  const int k = i - at->piece;
  return (piece){.tile = at->tile,
                 .head = k % heads,
                 .chunk = k / heads,
                 .n_chunks = n_chunks_of(w, at->tile),
                 .partials = at->partials + partial_values(w, query_tile(w, at->tile)) * (size_t)(k % heads)};
}

/* The spans of a piece, [*begin, *end). */
static void piece_spans(const work *w, const piece *p, int *begin, int *end) {
  int first, behind, from, to;
  spans_of(w, query_tile(w, p->tile), &first, &behind);
  el_share(behind - first, 1, p->chunk, p->n_chunks, &from, &to);
  *begin = first + from;
  *end = first + to;
}

static bool is_shared_piece(const work *w, const piece *p) {
  return p->tile < w->n_shared;
}

static el_attn call_of(const work *w, const piece *p, int ith) {
  const el_step *s = w->s;
  const el_row_range *t = query_tile(w, p->tile);
  const el_row *row = row_at(w, p->tile);
  const float *sinks = el_weights_at(s, w->st->op)->vector;
  const int n_q = w->d.n_head / w->d.n_head_kv, width = n_q * w->d.head_dim;
  const size_t ldq = el_qkv_width(w->d), ldo = (size_t)(w->d.n_head * w->d.head_dim);
  /* In the layer where the step narrows, q was computed before narrowing. */
  const int q = w->st->layer == s->last_kv ? w->v->rows[t->first] : t->first;
  el_attn a = {.q = s->qkv + (size_t)q * ldq + (size_t)(p->head * width),
               .out = el_input_at(s, w->st, EL_FROM_ATT).f + (size_t)t->first * ldo + (size_t)(p->head * width),
               .ldq = ldq,
               .ldo = ldo,
               .scratch = s->scratch[ith],
               .n_rows = t->n,
               .n_q = n_q,
               .head_dim = w->d.head_dim,
               .n_pos = row->pos + 1,
               .window = w->op->window,
               .scale = w->op->scale,
               .cap = w->op->cap,
               .sinks = sinks ? sinks + p->head * n_q : NULL,
               .pages = el_attention_pages(s, w->st->layer, row),
               .kv = s->kv,
               .page_bytes = el_attention_page_bytes(s, w->st->layer),
               .kv_type = s->kv_type,
               .offset = el_attention_page_offset(s, w->d.kv_layer, p->head)};
  if (!is_shared_piece(w, p)) return a;
  a.partials = s->attend.partials + p->partials;
  piece_spans(w, p, &a.span_begin, &a.span_end);
  return a;
}

/* Sets what this thread reads next, if threads take turns. */
static void set_next(const work *w, const piece *p, el_attn *a) {
  enum { PAGES = EL_ATTN_SPAN / EL_PAGE_TOKENS };
  const el_row *row = row_at(w, p->tile);
  int begin, end;
  piece_spans(w, p, &begin, &end);
  const int seen = w->op->window ? el_window_begin(row->pos, w->op->window) : 0, behind = row->pos / EL_PAGE_TOKENS + 1;
  begin = begin * PAGES > seen ? begin * PAGES : seen;
  end = end * PAGES < behind ? end * PAGES : behind;
  if (end <= begin) return;
  a->next_pages = el_attention_pages(w->s, w->st->layer, row) + begin;
  a->next_n_pages = end - begin;
  a->next_offset = el_attention_page_offset(w->s, w->d.kv_layer, p->head);
}

/* Whether this was the last piece of its tile and head to be done. The counter is reset for the
 * next layer. */
static bool is_last(const work *w, const piece *p) {
  if (!is_shared_piece(w, p)) return true;
  atomic_int *done = &w->s->attend.left[p->tile * w->d.n_head_kv + p->head];
  if (atomic_fetch_add_explicit(done, 1, memory_order_acq_rel) + 1 < p->n_chunks) return false;
  atomic_store_explicit(done, 0, memory_order_relaxed);
  return true;
}

/* Quantises a finished tile and head if its dimensions are whole groups; otherwise EL_JOB_QUANTIZE
 * follows. */
static void quantize_piece(const work *w, const piece *p) {
  const el_row_range *t = query_tile(w, p->tile);
  const int width = w->d.n_head / w->d.n_head_kv * w->d.head_dim;
  el_act att = el_input_at(w->s, w->st, EL_FROM_ATT);
  for (int i = t->first; i < t->first + t->n; i++)
    w->s->m->kernels->quantize(att.f + (size_t)i * (size_t)att.k, p->head * width / EL_GROUP,
                               (p->head + 1) * width / EL_GROUP, 1.0f, &att, i);
}

void el_attend(el_step *s, const el_stage *st, el_turn turn) {
  const work w = find_work(s, st, turn);
  walk at = {0}, ahead = {0};
  for (;;) {
    const int i = atomic_fetch_add_explicit(&s->attend.next[st->layer], 1, memory_order_relaxed);
    if (i >= w.n) break;
    const piece p = find_piece(&w, &at, i);
    el_attn a = call_of(&w, &p, turn.ith);
    if (i + turn.size < w.n) {
      const piece next = find_piece(&w, &ahead, i + turn.size);
      set_next(&w, &next, &a);
    }
    s->m->kernels->attend(&a);
    if (!is_last(&w, &p)) continue;
    if (a.partials) s->m->kernels->attend_join(&a);
    if (el_attention_whole_groups(w.d)) quantize_piece(&w, &p);
  }
  el_step_done(s, EL_WORK_ATTENTION, turn.ith);
}

/* The most floats of partial results that a layer needs for SHARED_ROWS rows with whole
 * contexts. */
static size_t most_partials(const el_step *s) {
  size_t most = 0;
  for (int l = 0; l < s->m->h.n_layers; l++) {
    const el_layer_dims d = el_dims_at(s, l);
    const size_t n = (size_t)d.n_head * el_attn_partial(d.head_dim);
    if (n > most) most = n;
  }
  return most * SHARED_ROWS * ((size_t)s->max_ctx / EL_ATTN_SPAN + 1);
}

bool el_attend_new(el_step *s) {
  el_attend_share *a = &s->attend;
  const size_t n = (size_t)el_threads_count(s->threads);
  a->next = calloc((size_t)s->m->h.n_layers, sizeof *a->next);
  a->left = calloc(n * EL_ATTEND_PIECES, sizeof *a->left);
  a->order = calloc(n, sizeof *a->order);
  if (!a->next || !a->left || !a->order) return false;
  for (size_t i = 0; i < n; i++)
    if (!(a->order[i] = calloc((size_t)s->max_rows, sizeof *a->order[i]))) return false;
  a->max_partials = n > 1 ? most_partials(s) : 0;
  /* Memory that nobody has written to takes no room. */
  void *partials = NULL;
  if (a->max_partials && posix_memalign(&partials, 64, a->max_partials * sizeof *a->partials)) return false;
  a->partials = partials;
  return true;
}

void el_attend_free(el_step *s) {
  el_attend_share *a = &s->attend;
  if (a->order)
    for (int i = 0; i < el_threads_count(s->threads); i++) free(a->order[i]);
  free(a->order);
  free(a->next);
  free(a->left);
  free(a->partials);
}
