/* Packing: GGUF tensors into the layouts of kernels.h. Runs once at load, so clarity comes before speed here, but a
 * tile is written in one pass over its rows. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"

/* Codes of one group of one row before interleaving. */
typedef struct group_codes {
  uint8_t code[EL_GROUP];
  uint16_t d, m; /* F16 */
} group_codes;

static inline uint16_t load_u16(const unsigned char *p) {
  uint16_t v;
  memcpy(&v, p, 2);
  return v;
}

static bool is_float_layout(el_layout l) {
  return l == EL_LAYOUT_F16 || l == EL_LAYOUT_BF16;
}
static bool has_mins(el_layout l) {
  return l == EL_LAYOUT_Q4M || l == EL_LAYOUT_Q8M;
}
static bool has_8_bits(el_layout l) {
  return l == EL_LAYOUT_Q8 || l == EL_LAYOUT_Q8M;
}

const char *el_layout_name(el_layout layout) {
  static const char *const names[] = {"q4", "q4m", "q8", "q8m", "f16", "bf16"};
  return names[layout];
}

void el_packed_init(el_packed *w, el_layout layout, int rows, int cols, int tile) {
  assert(rows > 0 && cols > 0 && (tile == 8 || tile == 16));
  *w = (el_packed){.layout = layout, .rows = rows, .cols = cols, .tile = is_float_layout(layout) ? EL_LANES : tile};
  w->n_tiles = (rows + w->tile - 1) / w->tile;
  w->n_groups = (cols + EL_GROUP - 1) / EL_GROUP;
  size_t t = (size_t)w->tile, g = (size_t)w->n_groups, scales = g * t * 2, codes;
  switch (layout) {
    case EL_LAYOUT_Q4:
    case EL_LAYOUT_Q4M: codes = g * t * EL_GROUP / 2; break;
    case EL_LAYOUT_Q8:
    case EL_LAYOUT_Q8M:
      codes = ((size_t)cols + 3) / 4 * 4 * t;
      break; /* the last group holds whole fours only: LoRA ranks are small */
    default: codes = (size_t)cols * t * 2; scales = 0;
  }
  w->scales_at = codes;
  w->mins_at = codes + scales;
  size_t bytes = codes + scales + (has_mins(layout) ? scales : 0);
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
    case EL_TYPE_Q4_0: return EL_LAYOUT_Q4;
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

/* 32 floats to symmetric int8: d = amax / 127. Codes are made with the scale as stored, so its rounding costs nothing.
 */
static void codes_from_floats(const float *x, group_codes *g) {
  float amax = 0;
  for (int i = 0; i < EL_GROUP; i++) amax = fmaxf(amax, fabsf(x[i]));
  g->d = el_f32_to_f16(amax / 127.0f);
  g->m = 0;
  float d = el_f16_to_f32(g->d), id = d > 0 ? 1.0f / d : 0.0f;
  for (int i = 0; i < EL_GROUP; i++) {
    float q = fminf(fmaxf(rintf(x[i] * id), -127.0f), 127.0f);
    g->code[i] = (uint8_t)((int)q + 128);
  }
}

/* Scale and minimum j (0 to 7) of a Q4_K or Q5_K super-block: 6 bits each, packed in 12 bytes. */
static void qk_scale_min(const unsigned char *s, int j, int *scale, int *min) {
  if (j < 4) {
    *scale = s[j] & 63;
    *min = s[j + 4] & 63;
  } else {
    *scale = (s[j + 4] & 15) | (s[j - 4] >> 6 << 4);
    *min = (s[j + 4] >> 4) | (s[j] >> 6 << 4);
  }
}

/* Group g of a row of GGUF data. */
static void row_group(el_type type, const unsigned char *row, int g, int cols, group_codes *out) {
  switch (type) {
    case EL_TYPE_Q4_0:
    case EL_TYPE_Q4_1: { /* d, [m,] 16 bytes: low nibbles are values 0 to 15, high ones 16 to 31 */
      bool has_min = type == EL_TYPE_Q4_1;
      const unsigned char *b = row + (size_t)g * (has_min ? 20 : 18), *qs = b + (has_min ? 4 : 2);
      out->d = load_u16(b);
      out->m = has_min ? load_u16(b + 2) : 0;
      for (int i = 0; i < 16; i++) {
        out->code[i] = qs[i] & 15;
        out->code[i + 16] = qs[i] >> 4;
      }
      return;
    }
    case EL_TYPE_Q4_K:
    case EL_TYPE_Q5_K: { /* d, dmin, 12 bytes of scales, [32 bytes of fifth bits,] 128 bytes: 32 of them hold two
                            groups, low then high nibbles */
      bool five = type == EL_TYPE_Q5_K;
      const unsigned char *b = row + (size_t)(g / 8) * (five ? 176 : 144), *high = b + 16;
      int j = g % 8, scale, min;
      qk_scale_min(b + 4, j, &scale, &min);
      out->d = el_f32_to_f16(el_f16_to_f32(load_u16(b)) * (float)scale);
      out->m = el_f32_to_f16(-el_f16_to_f32(load_u16(b + 2)) * (float)min);
      const unsigned char *qs = b + (five ? 48 : 16) + 32 * (j / 2);
      for (int i = 0; i < 32; i++) {
        int code = j & 1 ? qs[i] >> 4 : qs[i] & 15;
        out->code[i] = (uint8_t)(five ? code | (high[i] >> j & 1) << 4 : code);
      }
      return;
    }
    case EL_TYPE_Q8_0: {
      const unsigned char *b = row + (size_t)g * 34;
      out->d = load_u16(b);
      out->m = 0;
      for (int i = 0; i < 32; i++) out->code[i] = (uint8_t)(b[2 + i] ^ 0x80);
      return;
    }
    case EL_TYPE_Q5_0:
    case EL_TYPE_Q5_1: { /* d, [m,] 4 bytes of fifth bits, 16 bytes of nibbles; Q5_0: w = d * (code - 16) */
      bool has_min = type == EL_TYPE_Q5_1;
      const unsigned char *b = row + (size_t)g * (has_min ? 24 : 22), *bits = b + (has_min ? 4 : 2), *qs = bits + 4;
      out->d = load_u16(b);
      out->m = has_min ? load_u16(b + 2) : 0;
      uint32_t high;
      memcpy(&high, bits, 4);
      for (int i = 0; i < 32; i++) {
        int code = (i < 16 ? qs[i] & 15 : qs[i - 16] >> 4) | (int)(high >> i & 1) << 4;
        out->code[i] = (uint8_t)(has_min ? code : code - 16 + 128);
      }
      return;
    }
    default: { /* dequantise the blocks that the group lies in, then to int8 */
      const el_type_info *info = el_type_get(type);
      float values[256];
      int from = g * EL_GROUP, n = cols - from < EL_GROUP ? cols - from : EL_GROUP;
      if (info->block > EL_GROUP) {
        el_dequantize(type, row + (size_t)(from / info->block) * (size_t)info->block_bytes, values, info->block);
        memmove(values, values + from % info->block, sizeof(float) * EL_GROUP);
      } else {
        memset(values, 0, sizeof(float) * EL_GROUP);
        el_dequantize(type, row + (size_t)(from / info->block) * (size_t)info->block_bytes, values, n);
      }
      codes_from_floats(values, out);
    }
  }
}

/* Puts a group of row r of a tile in its place. Four consecutive columns of a row are one 32-bit lane; a "quad" is that
 * for all rows of the tile. 4-bit: byte vector j (0 to 3) holds quad j in the low nibbles and quad j + 4 in the high
 * ones. */
static void put_group(el_packed *w, unsigned char *tile, int r, int g, const group_codes *c) {
  size_t t = (size_t)w->tile, lane = (size_t)r * 4;
  memcpy(tile + w->scales_at + ((size_t)g * t + (size_t)r) * 2, &c->d, 2);
  if (has_mins(w->layout)) memcpy(tile + w->mins_at + ((size_t)g * t + (size_t)r) * 2, &c->m, 2);
  if (has_8_bits(w->layout)) {
    int n = (w->cols + 3) / 4 * 4 - g * EL_GROUP;
    if (n > EL_GROUP) n = EL_GROUP;
    unsigned char *p = tile + (size_t)g * t * EL_GROUP + lane;
    for (int i = 0; i < n; i++) p[(size_t)(i / 4) * t * 4 + (size_t)(i % 4)] = c->code[i];
    return;
  }

  unsigned char *p = tile + (size_t)g * t * EL_GROUP / 2 + lane;
  for (int i = 0; i < 16; i++)
    p[(size_t)(i / 4) * t * 4 + (size_t)(i % 4)] = (unsigned char)(c->code[i] | c->code[i + 16] << 4);
}

/* Rows that a tile has beyond the matrix, and columns beyond the last, have scale 0 and code 0. */
static void clear_tile(el_packed *w, unsigned char *tile) {
  memset(tile, 0, w->tile_bytes);
  if (w->layout == EL_LAYOUT_Q8) memset(tile, 128, w->scales_at); /* code 128 is zero */
}

void el_packed_clear(el_packed *w) {
  for (int t = 0; t < w->n_tiles; t++) clear_tile(w, w->data + (size_t)t * w->tile_bytes);
}

/* One row in `type` -> column r of [cols][16] */
static void pack_float_row(el_packed *w, unsigned char *tile, int r, el_type type, const unsigned char *row) {
  const el_type_info *info = el_type_get(type);
  bool as_is =
      (type == EL_TYPE_F16 && w->layout == EL_LAYOUT_F16) || (type == EL_TYPE_BF16 && w->layout == EL_LAYOUT_BF16);
  for (int i = 0; i < w->cols; i += info->block, row += info->block_bytes) {
    float values[256];
    if (!as_is) el_dequantize(type, row, values, info->block);
    for (int k = 0; k < info->block; k++) {
      uint16_t v = as_is                        ? load_u16(row)
                   : w->layout == EL_LAYOUT_F16 ? el_f32_to_f16(values[k])
                                                : el_f32_to_bf16(values[k]);
      memcpy(tile + ((size_t)(i + k) * EL_LANES + (size_t)r) * 2, &v, 2);
    }
  }
}

void el_pack_tiles(el_packed *w, el_type type, const void *src, int tile_begin, int tile_end) {
  const el_type_info *info = el_type_get(type);
  assert(info && w->cols % info->block == 0 && tile_end <= w->n_tiles);
  size_t row_bytes = (size_t)(w->cols / info->block) * (size_t)info->block_bytes;
  for (int t = tile_begin; t < tile_end; t++) {
    unsigned char *tile = w->data + (size_t)t * w->tile_bytes;
    clear_tile(w, tile);
    for (int r = 0; r < w->tile && t * w->tile + r < w->rows; r++) {
      const unsigned char *row = (const unsigned char *)src + (size_t)(t * w->tile + r) * row_bytes;
      if (is_float_layout(w->layout)) {
        pack_float_row(w, tile, r, type, row);
        continue;
      }
      for (int g = 0; g < w->n_groups; g++) {
        group_codes c;
        row_group(type, row, g, w->cols, &c);
        put_group(w, tile, r, g, &c);
      }
    }
  }
}

void el_pack_rows_q8(el_packed *w, int row, int n_rows, const float *src) {
  assert(w->layout == EL_LAYOUT_Q8 && row >= 0 && row + n_rows <= w->rows);
  for (int i = 0; i < n_rows; i++) {
    int at = row + i;
    unsigned char *tile = w->data + (size_t)(at / w->tile) * w->tile_bytes;
    for (int g = 0; g < w->n_groups; g++) {
      float values[EL_GROUP] = {0};
      int n = w->cols - g * EL_GROUP < EL_GROUP ? w->cols - g * EL_GROUP : EL_GROUP;
      memcpy(values, src + (size_t)i * (size_t)w->cols + (size_t)g * EL_GROUP, sizeof(float) * (size_t)n);
      group_codes c;
      codes_from_floats(values, &c);
      put_group(w, tile, at % w->tile, g, &c);
    }
  }
}

void el_packed_get_row(const el_packed *w, int row, float *dst) {
  assert(row >= 0 && row < w->rows);
  size_t t = (size_t)w->tile, r = (size_t)(row % w->tile);
  const unsigned char *tile = w->data + (size_t)(row / w->tile) * w->tile_bytes;
  for (int i = 0; i < w->cols; i++) {
    size_t g = (size_t)i / EL_GROUP, k = (size_t)i % EL_GROUP;
    if (is_float_layout(w->layout)) {
      uint16_t v = load_u16(tile + ((size_t)i * t + r) * 2);
      dst[i] = w->layout == EL_LAYOUT_F16 ? el_f16_to_f32(v) : el_bf16_to_f32(v);
      continue;
    }
    float d = el_f16_to_f32(load_u16(tile + w->scales_at + (g * t + r) * 2));
    float m = has_mins(w->layout) ? el_f16_to_f32(load_u16(tile + w->mins_at + (g * t + r) * 2)) : 0;
    int code, offset = w->layout == EL_LAYOUT_Q4 ? 8 : w->layout == EL_LAYOUT_Q8 ? 128 : 0;
    if (has_8_bits(w->layout)) {
      code = tile[g * t * EL_GROUP + k / 4 * t * 4 + r * 4 + k % 4];
    } else {
      unsigned char byte = tile[g * t * EL_GROUP / 2 + k % 16 / 4 * t * 4 + r * 4 + k % 4];
      code = k < 16 ? byte & 15 : byte >> 4;
    }
    dst[i] = d * (float)(code - offset) + m;
  }
}
