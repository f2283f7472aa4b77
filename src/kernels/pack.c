/* Packs GGUF tensors into the layouts of kernels.h. A start waits for this, so it keeps up with
 * memory: a tile is written from its first byte to its last, while its rows, which lie one after
 * the other in the file, are read side by side. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/groups.h"
#include "kernels/select.h"

#define INLINE static inline __attribute__((always_inline))

const char *el_layout_name(el_layout layout) {
  static const char *const names[] = {"q4", "q4m", "q8", "q8m", "f16", "bf16"};
  return names[layout];
}

void el_packed_init(el_packed *w, el_layout layout, int rows, int cols, int tile) {
  assert(rows > 0 && cols > 0 && (tile == 8 || tile == 16));
  *w = (el_packed){.layout = layout, .rows = rows, .cols = cols, .tile = el_layout_is_float(layout) ? EL_LANES : tile};
  w->n_tiles = (rows + w->tile - 1) / w->tile;
  w->n_groups = (cols + EL_GROUP - 1) / EL_GROUP;
  size_t t = (size_t)w->tile, g = (size_t)w->n_groups, scales = g * t * 2, codes;
  switch (layout) {
    case EL_LAYOUT_Q4:
    case EL_LAYOUT_Q4M:
    case EL_LAYOUT_Q8:
    case EL_LAYOUT_Q8M:
      codes = (g - 1) * t * (el_layout_has_8_bits(layout) ? EL_GROUP : EL_GROUP / 2) +
              (size_t)el_group_words(layout, cols, w->n_groups - 1) * 4 * t;
      break;
    default: codes = (size_t)cols * t * 2; scales = 0;
  }
  w->scales_at = codes;
  w->mins_at = codes + scales;
  size_t bytes = codes + scales + (el_layout_has_mins(layout) ? scales : 0);
  w->tile_bytes = (bytes + 63) / 64 * 64;
}

size_t el_packed_bytes(const el_packed *w) {
  return w->tile_bytes * (size_t)w->n_tiles;
}

el_status el_weights_get(const char *name, el_weights *out, el_error *err) {
  static const char *const names[] = {"keep", "q8", "f16"};
  for (int i = 0; i < 3; i++)
    if (!strcmp(name ? name : "keep", names[i])) {
      *out = (el_weights)i;
      return EL_OK;
    }
  return el_fail(err, EL_ERR_INVALID, "weights: '%s' is none of keep, q8, f16", name);
}

el_layout el_layout_for(el_type type, const void *data, int64_t n, el_weights weights) {
  if (weights == EL_WEIGHTS_Q8 && (type == EL_TYPE_F16 || type == EL_TYPE_BF16 || type == EL_TYPE_F32))
    return EL_LAYOUT_Q8;
  if (weights == EL_WEIGHTS_F16 && type != EL_TYPE_BF16 && type != EL_TYPE_F32) return EL_LAYOUT_F16;
  switch (type) {
    case EL_TYPE_Q4_0:
    case EL_TYPE_TQ1_0:
    case EL_TYPE_TQ2_0:
    case EL_TYPE_Q1_0:
    case EL_TYPE_Q2_0: return EL_LAYOUT_Q4;
    case EL_TYPE_IQ1_S:
    case EL_TYPE_Q4_1:
    case EL_TYPE_Q4_K: return EL_LAYOUT_Q4M;
    case EL_TYPE_Q5_1:
    case EL_TYPE_Q5_K: return EL_LAYOUT_Q8M;
    case EL_TYPE_F16: return EL_LAYOUT_F16;
    case EL_TYPE_BF16: return EL_LAYOUT_BF16;
    case EL_TYPE_F32: {
      const unsigned char *p = data;
      for (int64_t i = 0; i < n; i++) {
        float v;
        memcpy(&v, p + 4 * i, 4);
        if (!(fabsf(v) <= 65504.0f)) return EL_LAYOUT_BF16;
      }
      return EL_LAYOUT_F16;
    }
    default: return EL_LAYOUT_Q8;
  }
}

/* Rows of a tile beyond the matrix, and columns beyond the last, get scale 0 and code 0. */
static void clear_tile(const el_packed *w, unsigned char *tile) {
  memset(tile, 0, w->tile_bytes);
  if (w->layout == EL_LAYOUT_Q8) memset(tile, 128, w->scales_at); /* code 128 means zero */
}

void el_packed_clear(el_packed *w) {
  for (int t = 0; t < w->n_tiles; t++) clear_tile(w, w->data + (size_t)t * w->tile_bytes);
}

/* Packs the first n_rows rows of a tile. The loop of each type is compiled around its decoder. */
INLINE void pack_tile_groups(const el_packed *w, el_layout layout, unsigned char *tile, const unsigned char *src,
                             size_t row_bytes, int n_rows, el_group_decoder decode, int block_groups, int block_bytes) {
  for (int g = 0; g < w->n_groups; g += block_groups, src += block_bytes)
    for (int r = 0; r < n_rows; r++) {
      el_group c[EL_BLOCK_GROUPS];
      decode(src + (size_t)r * row_bytes, c);
      for (int j = 0; j < block_groups; j++) el_put_group(w, layout, tile, r, g + j, &c[j]);
    }
}

/* Types with integers and scales. Decoding a block costs more than placing its groups, so one loop
 * serves all of them. */
static void pack_tile_codes(const el_packed *w, unsigned char *tile, el_type type, const unsigned char *src,
                            size_t row_bytes, int n_rows) {
  const el_type_info *info = el_type_get(type);
  int groups = info->block / EL_GROUP;
  for (int g = 0; g < w->n_groups; g += groups, src += info->block_bytes)
    for (int r = 0; r < n_rows; r++) {
      el_quant_group q[EL_QUANT_GROUPS];
      el_quant_codes(type, src + (size_t)r * row_bytes, q);
      for (int j = 0; j < groups; j++) {
        el_group c;
        if (w->layout == EL_LAYOUT_Q4) {
          el_group_q4_of_codes(&q[j], &c);
          el_put_group(w, EL_LAYOUT_Q4, tile, r, g + j, &c);
        } else if (w->layout == EL_LAYOUT_Q4M) {
          el_group_q4m_of_iq1_s(&q[j], &c);
          el_put_group(w, EL_LAYOUT_Q4M, tile, r, g + j, &c);
        } else {
          el_group_q8_of_codes(&q[j], &c);
          el_put_group(w, EL_LAYOUT_Q8, tile, r, g + j, &c);
        }
      }
    }
}

/* Packs F32, F16 and BF16 to int8. The last group may have fewer than 32 columns. */
static void pack_tile_from_floats(const el_packed *w, unsigned char *tile, el_type type, const unsigned char *src,
                                  size_t row_bytes, int n_rows) {
  size_t size = (size_t)el_type_get(type)->block_bytes;
  for (int g = 0; g < w->n_groups; g++)
    for (int r = 0; r < n_rows; r++) {
      int from = g * EL_GROUP, n = w->cols - from < EL_GROUP ? w->cols - from : EL_GROUP;
      float values[EL_GROUP] = {0};
      el_dequantize(type, src + (size_t)r * row_bytes + (size_t)from * size, values, n);
      el_group c;
      el_group_from_floats(values, &c);
      el_put_group(w, EL_LAYOUT_Q8, tile, r, g, &c);
    }
}

/* Packs types other than the layout's to a 16-bit layout, times a factor: row r becomes column row
 * + r of [cols][16]. */
static void pack_tile_16_bits(const el_packed *w, unsigned char *tile, int row, el_type type, const unsigned char *src,
                              size_t row_bytes, int n_rows, float factor) {
  enum { PIECE = 256 }; /* columns; a multiple of every block */
  const el_type_info *info = el_type_get(type);
  bool as_is =
      (type == EL_TYPE_F16 && w->layout == EL_LAYOUT_F16) || (type == EL_TYPE_BF16 && w->layout == EL_LAYOUT_BF16);
  for (int i = 0; i < w->cols; i += PIECE) {
    int n = w->cols - i < PIECE ? w->cols - i : PIECE;
    for (int r = 0; r < n_rows; r++) {
      const unsigned char *from = src + (size_t)r * row_bytes + (size_t)(i / info->block) * (size_t)info->block_bytes;
      uint16_t v[PIECE];
      if (as_is) {
        memcpy(v, from, (size_t)n * 2);
      } else {
        float values[PIECE];
        el_dequantize(type, from, values, n);
        for (int k = 0; factor != 1 && k < n; k++) values[k] *= factor;
        if (w->layout == EL_LAYOUT_F16)
          el_f32_to_f16_n(values, v, n);
        else
          for (int k = 0; k < n; k++) v[k] = el_f32_to_bf16(values[k]);
      }
      uint16_t *to = (uint16_t *)tile + (size_t)i * EL_LANES + row + r;
      for (int k = 0; k < n; k++) to[k * EL_LANES] = v[k];
    }
  }
}

static void pack_tile(const el_packed *w, unsigned char *tile, el_type type, const unsigned char *src, size_t row_bytes,
                      int n_rows) {
  if (el_layout_is_float(w->layout)) {
    pack_tile_16_bits(w, tile, 0, type, src, row_bytes, n_rows, 1);
    return;
  }
#define GROUPS(TYPE, LAYOUT, decode, groups, bytes)                                   \
  case TYPE:                                                                          \
    assert(w->layout == LAYOUT);                                                      \
    pack_tile_groups(w, LAYOUT, tile, src, row_bytes, n_rows, decode, groups, bytes); \
    return
  switch (type) {
    GROUPS(EL_TYPE_Q4_0, EL_LAYOUT_Q4, el_groups_q4_0, 1, 18);
    GROUPS(EL_TYPE_Q4_1, EL_LAYOUT_Q4M, el_groups_q4_1, 1, 20);
    GROUPS(EL_TYPE_Q5_0, EL_LAYOUT_Q8, el_groups_q5_0, 1, 22);
    GROUPS(EL_TYPE_Q5_1, EL_LAYOUT_Q8M, el_groups_q5_1, 1, 24);
    GROUPS(EL_TYPE_Q8_0, EL_LAYOUT_Q8, el_groups_q8_0, 1, 34);
    GROUPS(EL_TYPE_Q2_K, EL_LAYOUT_Q8, el_groups_q2_k, 8, 84);
    GROUPS(EL_TYPE_Q3_K, EL_LAYOUT_Q8, el_groups_q3_k, 8, 110);
    GROUPS(EL_TYPE_Q4_K, EL_LAYOUT_Q4M, el_groups_q4_k, 8, 144);
    GROUPS(EL_TYPE_Q5_K, EL_LAYOUT_Q8M, el_groups_q5_k, 8, 176);
    GROUPS(EL_TYPE_Q6_K, EL_LAYOUT_Q8, el_groups_q6_k, 8, 210);
    case EL_TYPE_F32:
    case EL_TYPE_F16:
    case EL_TYPE_BF16: pack_tile_from_floats(w, tile, type, src, row_bytes, n_rows); return;
    default: pack_tile_codes(w, tile, type, src, row_bytes, n_rows);
  }
#undef GROUPS
}

void el_pack_tiles(el_packed *w, el_type type, const void *src, int tile_begin, int tile_end) {
  const el_type_info *info = el_type_get(type);
  assert(info && w->cols % info->block == 0 && tile_end <= w->n_tiles);
  size_t row_bytes = (size_t)(w->cols / info->block) * (size_t)info->block_bytes,
         used = el_layout_has_mins(w->layout) ? 2 * w->mins_at - w->scales_at : w->mins_at;
  const unsigned char *rows = src;
  for (int t = tile_begin; t < tile_end; t++, rows += row_bytes * (size_t)w->tile) {
    unsigned char *tile = w->data + (size_t)t * w->tile_bytes;
    int row = t * w->tile, n_rows = w->rows - row < w->tile ? w->rows - row : w->tile;
    if (n_rows < w->tile)
      clear_tile(w, tile);
    else
      memset(tile + used, 0, w->tile_bytes - used);
    pack_tile(w, tile, type, rows, row_bytes, n_rows);
  }
}

static void pack_rows_16_bits(el_packed *w, int row, int n_rows, const float *src, float factor) {
  size_t row_bytes = sizeof(float) * (size_t)w->cols;
  for (int end = row + n_rows; row < end;) {
    int r = row % EL_LANES, n = end - row < EL_LANES - r ? end - row : EL_LANES - r;
    pack_tile_16_bits(w, w->data + (size_t)(row / EL_LANES) * w->tile_bytes, r, EL_TYPE_F32, (const unsigned char *)src,
                      row_bytes, n, factor);
    row += n;
    src += (size_t)n * (size_t)w->cols;
  }
}

void el_pack_rows(const el_kernels *k, el_packed *w, int row, int n_rows, const float *src, float factor) {
  assert(row >= 0 && row + n_rows <= w->rows);
  assert(w->layout == EL_LAYOUT_Q4 || w->layout == EL_LAYOUT_Q8 || w->layout == EL_LAYOUT_F16);
  if (w->layout == EL_LAYOUT_F16)
    pack_rows_16_bits(w, row, n_rows, src, factor);
  else
    k->pack_rows(w, row, n_rows, src, factor);
}

/* Reads group g of row r of a tile: 32 floats, of which the matrix may have fewer in the last
 * group. */
INLINE void get_group(const el_packed *w, el_layout layout, const unsigned char *tile, int r, int g, float *dst) {
  size_t t = (size_t)w->tile, lane = (size_t)r * 4, at = ((size_t)g * t + (size_t)r) * 2;
  float d = el_f16_to_f32(el_load_u16(tile + w->scales_at + at));
  float m = el_layout_has_mins(layout) ? el_f16_to_f32(el_load_u16(tile + w->mins_at + at)) : 0;
  const unsigned char *p = tile + (size_t)g * t * (el_layout_has_8_bits(layout) ? EL_GROUP : EL_GROUP / 2) + lane;
  int offset = layout == EL_LAYOUT_Q4 ? 8 : layout == EL_LAYOUT_Q8 ? 128 : 0, n = el_group_words(layout, w->cols, g);
  unsigned char bytes[EL_GROUP] = {0}, code[EL_GROUP];
  for (int j = 0; j < n; j++) memcpy(bytes + 4 * j, p + (size_t)j * t * 4, 4);
  for (int i = 0; i < EL_GROUP; i++)
    code[i] = el_layout_has_8_bits(layout) ? bytes[i]
              : i < 4 * n                  ? bytes[i] & 15
              : i < 8 * n                  ? bytes[i - 4 * n] >> 4
                                           : 0;
  for (int i = 0; i < EL_GROUP; i++) dst[i] = d * (float)(code[i] - offset) + m;
}

INLINE void get_row(const el_packed *w, el_layout layout, const unsigned char *tile, int r, float *dst) {
  int g = 0;
  for (; (g + 1) * EL_GROUP <= w->cols; g++) get_group(w, layout, tile, r, g, dst + g * EL_GROUP);
  if (g == w->n_groups) return;
  float last[EL_GROUP];
  get_group(w, layout, tile, r, g, last);
  memcpy(dst + g * EL_GROUP, last, sizeof(float) * (size_t)(w->cols - g * EL_GROUP));
}

void el_packed_get_row(const el_packed *w, int row, float *dst) {
  assert(row >= 0 && row < w->rows);
  const unsigned char *tile = w->data + (size_t)(row / w->tile) * w->tile_bytes;
  int r = row % w->tile;
  switch (w->layout) {
    case EL_LAYOUT_Q4: get_row(w, EL_LAYOUT_Q4, tile, r, dst); return;
    case EL_LAYOUT_Q4M: get_row(w, EL_LAYOUT_Q4M, tile, r, dst); return;
    case EL_LAYOUT_Q8: get_row(w, EL_LAYOUT_Q8, tile, r, dst); return;
    case EL_LAYOUT_Q8M: get_row(w, EL_LAYOUT_Q8M, tile, r, dst); return;
    case EL_LAYOUT_F16:
    case EL_LAYOUT_BF16:
      for (int i = 0; i < w->cols; i += EL_GROUP) {
        uint16_t v[EL_GROUP];
        int n = w->cols - i < EL_GROUP ? w->cols - i : EL_GROUP;
        for (int k = 0; k < n; k++) v[k] = el_load_u16(tile + ((size_t)(i + k) * EL_LANES + (size_t)r) * 2);
        el_dequantize(w->layout == EL_LAYOUT_F16 ? EL_TYPE_F16 : EL_TYPE_BF16, v, dst + i, n);
      }
  }
}
