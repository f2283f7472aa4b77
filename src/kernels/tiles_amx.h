/* The tile operations that the AMX kernels use, as instructions or, with EL_AMX_MODEL, as C code.
 * With the latter the same kernels run on any machine, which proves their layout and their bits.
 * The model refuses what the hardware would fault on.
 *
 * There are eight tile registers, selected by constants. The kernels' tiles of activations have 8
 * rows of 32 bytes, tiles of weights 8 rows of 64 bytes, tiles of sums 8 rows of 16 integers:
 *   0 to 3 sums, 4 and 5 activations, 6 and 7 weights */
#ifndef EL_KERNELS_TILES_AMX_H
#define EL_KERNELS_TILES_AMX_H

#include <stdint.h>

/* What ldtilecfg reads. */
typedef struct tile_config {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} tile_config;

/* A constant: gcc 12 tells its optimiser that ldtilecfg reads only the first 8 bytes, so stores to
 * the others would be dropped. */
static const _Alignas(64) tile_config tile_shapes = {
    .palette = 1, .row_bytes = {64, 64, 64, 64, 32, 32, 64, 64}, .rows = {8, 8, 8, 8, 8, 8, 8, 8}};

#if !defined(EL_AMX_MODEL)
#include <immintrin.h>

static inline void tiles_configure(void) {
  _tile_loadconfig(&tile_shapes);
}
static inline void tiles_release(void) {
  _tile_release();
}
#define tile_zero(t) _tile_zero(t)
/* gcc 12 does not always treat a load or a store of tiles as an access to memory. This makes sure
 * that what was written before is in memory, and that what is read after comes from memory. */
#define tile_load(t, p, stride)        \
  do {                                 \
    __asm__ volatile("" ::: "memory"); \
    _tile_loadd(t, p, stride);         \
  } while (0)
#define tile_store(t, p, stride)       \
  do {                                 \
    _tile_stored(t, p, stride);        \
    __asm__ volatile("" ::: "memory"); \
  } while (0)
#define tile_dot(sums, x, w) _tile_dpbssd(sums, x, w)

#else
#include <assert.h>
#include <stddef.h>
#include <string.h>

enum { TILES = 8, TILE_ROWS = 16, TILE_ROW_BYTES = 64 };

typedef struct tile_state {
  const tile_config *config; /* NULL: not configured, and any use of a tile faults */
  unsigned char tile[TILES][TILE_ROWS][TILE_ROW_BYTES];
} tile_state;

static _Thread_local tile_state tile_unit;

static inline void tiles_configure(void) {
  const tile_config *c = &tile_shapes;
  assert(c->palette == 1 && c->start_row == 0);
  for (int t = 0; t < 16; t++) {
    assert(c->rows[t] <= (t < TILES ? TILE_ROWS : 0) && c->row_bytes[t] <= (t < TILES ? TILE_ROW_BYTES : 0));
    assert(!c->rows[t] == !c->row_bytes[t]);
  }
  for (size_t i = 0; i < sizeof c->reserved; i++) assert(!c->reserved[i]);
  memset(&tile_unit, 0, sizeof tile_unit);
  tile_unit.config = c;
}
static inline void tiles_release(void) {
  memset(&tile_unit, 0, sizeof tile_unit);
}
static inline void tile_check(int t) {
  assert(tile_unit.config && t >= 0 && t < TILES && tile_unit.config->rows[t]);
}
static inline void tile_zero(int t) {
  tile_check(t);
  memset(tile_unit.tile[t], 0, sizeof tile_unit.tile[t]);
}
/* What lies beyond a tile's rows and bytes becomes zero. */
static inline void tile_load(int t, const void *p, size_t stride) {
  tile_zero(t);
  for (int r = 0; r < tile_unit.config->rows[t]; r++)
    memcpy(tile_unit.tile[t][r], (const char *)p + (size_t)r * stride, tile_unit.config->row_bytes[t]);
}
static inline void tile_store(int t, void *p, size_t stride) {
  tile_check(t);
  for (int r = 0; r < tile_unit.config->rows[t]; r++)
    memcpy((char *)p + (size_t)r * stride, tile_unit.tile[t][r], tile_unit.config->row_bytes[t]);
}
/* TDPBSSD: sums[m][n] += x[m][4k .. 4k+3] . w[k][4n .. 4n+3], of signed bytes, with sums that
 * wrap. */
static inline void tile_dot(int sums, int x, int w) {
  tile_check(sums), tile_check(x), tile_check(w);
  const tile_config *c = tile_unit.config;
  assert(sums != x && sums != w && x != w);
  assert(c->rows[sums] == c->rows[x] && c->row_bytes[sums] == c->row_bytes[w]);
  assert(c->row_bytes[x] == 4 * c->rows[w] && c->row_bytes[w] % 4 == 0);
  for (int m = 0; m < c->rows[sums]; m++) {
    uint32_t sum[TILE_ROW_BYTES / 4];
    memcpy(sum, tile_unit.tile[sums][m], sizeof sum);
    for (int k = 0; k < c->rows[w]; k++) {
      const int8_t *a = (const int8_t *)tile_unit.tile[x][m] + 4 * k, *b = (const int8_t *)tile_unit.tile[w][k];
      for (int n = 0; n < c->row_bytes[w] / 4; n++, b += 4)
        sum[n] += (uint32_t)(a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3]);
    }
    memcpy(tile_unit.tile[sums][m], sum, sizeof sum);
  }
}
#endif

#endif
