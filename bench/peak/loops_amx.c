/* AMX: products of full tiles, 16 rows of 64 bytes, added to six tiles of sums in turn. */
#include <immintrin.h>

#include "bench/peak/chains.h"
#include "bench/peak/loops.h"

/* What ldtilecfg reads: palette 1, eight full tiles. */
static const _Alignas(64) struct {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} full_tiles = {.palette = 1, .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

void el_peak_tdpbssd(uint64_t passes) {
  static const _Alignas(64) unsigned char operand[16 * 64] = {1, 2, 3};
  _tile_loadconfig(&full_tiles);
  _tile_loadd(6, operand, 64);
  _tile_loadd(7, operand, 64);
  for (; passes; passes--) {
    for (int i = 0; i < EL_CHAINS / 6; i++) {
      _tile_dpbssd(0, 6, 7);
      _tile_dpbssd(1, 6, 7);
      _tile_dpbssd(2, 6, 7);
      _tile_dpbssd(3, 6, 7);
      _tile_dpbssd(4, 6, 7);
      _tile_dpbssd(5, 6, 7);
    }
  }
  _tile_release();
}
