/* Where keys and values are: which layers store in which kind of page, and at which offset. */
#include <assert.h>

#include "model/step.h"

int el_kv_layer_window(const el_hparams *h, int layer) {
  int window = 0;
  for (int l = layer; l < h->n_layers; l++) {
    const el_layer_dims d = el_hparams_layer(h, l);
    if (d.kv_layer != layer) continue;
    if (!d.window) return 0;
    if (d.window > window) window = d.window;
  }
  return window;
}

/* Bytes that a layer stores in a page. */
static size_t stored_bytes(const el_hparams *h, el_kv_type type, int layer) {
  const el_layer_dims d = el_hparams_layer(h, layer);
  return d.kv_layer == layer ? (size_t)d.n_head_kv * el_kv_piece_bytes(type, d.head_dim) : 0;
}

size_t el_kv_page_bytes(const el_hparams *h, el_kv_type type) {
  size_t bytes = 0;
  for (int l = 0; l < h->n_layers; l++) bytes += stored_bytes(h, type, l);
  return bytes;
}

el_kv_shape el_kv_shape_of(const el_hparams *h, el_kv_type type) {
  el_kv_shape s = {0};
  for (int l = 0; l < h->n_layers; l++) {
    const size_t bytes = stored_bytes(h, type, l);
    const int window = bytes ? el_kv_layer_window(h, l) : 0;
    *(window ? &s.windowed_bytes : &s.full_bytes) += bytes;
    if (window > s.window) s.window = window;
  }
  return s.full_bytes ? s : (el_kv_shape){.full_bytes = s.windowed_bytes};
}

void el_step_lay_out_pages(el_step *s) {
  size_t at[2] = {0};
  for (int l = 0; l < s->m->h.n_layers; l++) {
    const int from = el_dims_at(s, l).kv_layer;
    if (from != l) {
      s->kv_windowed[l] = s->kv_windowed[from];
      s->kv_at[l] = s->kv_at[from];
      continue;
    }
    s->kv_windowed[l] = s->split && el_kv_layer_window(&s->m->h, l);
    s->kv_at[l] = at[s->kv_windowed[l]];
    at[s->kv_windowed[l]] += stored_bytes(&s->m->h, s->kv_type, l);
    s->last_kv = l;
  }
  s->page_bytes[0] = at[0];
  s->page_bytes[1] = at[1];
}

void el_step_split_pages(el_step *s, size_t full_bytes, size_t windowed_bytes) {
  s->split = true;
  el_step_lay_out_pages(s);
  assert(s->page_bytes[0] <= full_bytes && s->page_bytes[1] && s->page_bytes[1] <= windowed_bytes);
  s->page_bytes[0] = full_bytes;
  s->page_bytes[1] = windowed_bytes;
}
