/* Which rows a stage has: all rows of the step until the last keys and values are stored, then
 * those that somebody reads; and of these, those that go through the stage's layer. */
#include <assert.h>
#include <stdlib.h>

#include "model/step.h"

bool el_row_view_new(el_row_view *v, size_t max_rows) {
  v->rows = calloc(max_rows, sizeof *v->rows);
  v->tiles = calloc(max_rows, sizeof *v->tiles);
  v->groups.at = calloc(max_rows, sizeof *v->groups.at);
  return v->rows && v->tiles && v->groups.at;
}

void el_row_view_free(el_row_view *v) {
  free(v->rows);
  free(v->tiles);
  free(v->groups.at);
}

/* Number of layers that FIRST_LAYERS rows go through. */
static int first_layers_end(const el_step *s) {
  return s->n_taps ? s->taps[s->n_taps - 1] : 0;
}

const el_row_view *el_view_of(const el_step *s, const el_stage *st) {
  return st->narrowed ? s->last : &s->all;
}

el_row_range el_rows_of(const el_step *s, const el_stage *st) {
  const el_row_view *v = el_view_of(s, st);
  return st->layer < first_layers_end(s) ? (el_row_range){v->n_last, v->n_rows - v->n_last}
                                         : (el_row_range){0, v->n_rows - v->n_first};
}

el_row_range el_tiles_of(const el_step *s, const el_stage *st) {
  const el_row_view *v = el_view_of(s, st);
  return st->layer < first_layers_end(s) ? (el_row_range){v->n_last_tiles, v->n_tiles - v->n_last_tiles}
                                         : (el_row_range){0, v->n_tiles - v->n_first_tiles};
}

el_row_range el_q_rows_of(const el_step *s, const el_stage *st) {
  if (st->narrowed || st->layer != s->last_kv) return el_rows_of(s, st);
  const el_stage on = {.layer = st->layer, .narrowed = true};
  const el_row_range rows = el_rows_of(s, &on);
  if (!rows.n) return (el_row_range){0};
  const int first = s->last->rows[rows.first], last = s->last->rows[rows.first + rows.n - 1];
  return (el_row_range){first, last - first + 1};
}

void el_share_rows(const el_step *s, const el_stage *st, el_turn turn, int *begin, int *end) {
  const el_row_range rows = el_rows_of(s, st);
  el_share(rows.n, 1, turn.rank, turn.size, begin, end);
  *begin += rows.first;
  *end += rows.first;
}

el_act el_input_at(const el_step *s, const el_stage *st, el_from from) {
  const el_layer_dims d = el_dims_at(s, st->layer);
  const int k[] = {[EL_FROM_H] = s->m->h.n_embd,
                   [EL_FROM_ATT] = d.n_head * d.head_dim,
                   [EL_FROM_FF] = d.n_ff,
                   [EL_FROM_LAYER_INPUT] = s->m->h.n_layer_input};
  return el_act_shaped(&s->inputs[from < EL_FROM_FF ? from : EL_FROM_FF], k[from], el_view_of(s, st)->n_rows);
}

/* Adds row r of the step. A tile has as many queries as the kernel takes at a time, or fewer. */
static void add_view_row(el_step *s, el_row_view *v, int r) {
  const int n_q = s->m->h.n_head / s->m->h.n_head_kv, most = n_q < EL_ATTN_TILE ? EL_ATTN_TILE / n_q : 1;
  const el_row *row = &s->rows[r];
  const int i = v->n_rows++;
  v->rows[i] = r;
  v->n_first += row->layers == EL_ROW_FIRST_LAYERS;
  v->n_last += row->layers == EL_ROW_LAST_LAYERS;
  el_lora_groups_add(&v->groups, i, row->adapter, 0);
  if (i > 0 && v->tiles[v->n_tiles - 1].n < most && v->rows[i - 1] == r - 1 && row->pages == row[-1].pages &&
      row->pos == row[-1].pos + 1 && row->layers == row[-1].layers) {
    v->tiles[v->n_tiles - 1].n++;
    return;
  }
  v->tiles[v->n_tiles++] = (el_row_range){i, 1};
  v->n_first_tiles += row->layers == EL_ROW_FIRST_LAYERS;
  v->n_last_tiles += row->layers == EL_ROW_LAST_LAYERS;
}

static void clear_view(el_row_view *v) {
  *v = (el_row_view){.rows = v->rows, .tiles = v->tiles, .groups.at = v->groups.at};
}

/* Whether anything after the last keys and values reads a row. */
static bool goes_on(const el_step *s, const el_row *row) {
  return row->wants_logits || row->wants_hidden ||
         (row->layers == EL_ROW_FIRST_LAYERS && first_layers_end(s) > s->last_kv);
}

void el_step_view(el_step *s, int n_rows) {
  const el_row *rows = s->rows;
  int n_on = 0;
  s->n_logits = s->n_hidden = 0;
  clear_view(&s->all);
  clear_view(&s->some);
  for (int r = 0; r < n_rows; r++) {
    assert(rows[r].token >= 0 && rows[r].token < el_row_n_vocab(s->m, &rows[r]) && rows[r].pos >= 0 &&
           rows[r].pos < s->max_ctx);
    assert(rows[r].layers == EL_ROW_ALL_LAYERS || (s->n_taps && rows[r].states));
    assert(rows[r].layers == EL_ROW_FIRST_LAYERS ? !rows[r].wants_logits && !rows[r].wants_hidden : !s->all.n_first);
    assert(!rows[r].wants_logits || (!s->n_hidden && !rows[r].wants_hidden));
    assert(rows[r].layers != EL_ROW_LAST_LAYERS || s->all.n_last == r);
    add_view_row(s, &s->all, r);
    s->n_logits += rows[r].wants_logits;
    s->n_hidden += rows[r].wants_hidden;
    n_on += goes_on(s, &rows[r]);
  }
  assert(s->n_logits <= s->max_logits);
  s->last = n_on < n_rows ? &s->some : &s->all;
  for (int r = 0; r < n_rows && n_on < n_rows; r++)
    if (goes_on(s, &rows[r])) add_view_row(s, &s->some, r);
}
