/* Measures what packing loses, by comparing a packed matrix with the file's values. */
#include <assert.h>
#include <math.h>

#include "kernels/kernels.h"

/* Types with a scale for each 16 values have more scales than a layout can hold, and floats have
 * more bits. MXFP4 loses groups whose scale is beyond the range of F16. All other types keep their
 * codes; only their scales are rounded to F16. */
bool el_packing_loses(el_type type, el_layout layout) {
  switch (type) {
    case EL_TYPE_F32:
    case EL_TYPE_F16:
    case EL_TYPE_BF16:
    case EL_TYPE_Q2_K:
    case EL_TYPE_Q3_K:
    case EL_TYPE_Q6_K:
    case EL_TYPE_IQ2_XS:
    case EL_TYPE_IQ2_S:
    case EL_TYPE_IQ1_M:
    case EL_TYPE_NVFP4:
    case EL_TYPE_MXFP4: return layout == EL_LAYOUT_Q8;
    default: return false;
  }
}

void el_pack_measure(const el_packed *w, el_type type, const void *src, int row, int n_rows, float *scratch,
                     el_pack_loss *sum) {
  const el_type_info *info = el_type_get(type);
  assert(info && row >= 0 && row + n_rows <= w->rows);
  size_t row_bytes = (size_t)(w->cols / info->block) * (size_t)info->block_bytes;
  float *want = scratch, *got = scratch + w->cols;
  for (int r = 0; r < n_rows; r++) {
    el_dequantize(type, (const unsigned char *)src + (size_t)r * row_bytes, want, w->cols);
    el_packed_get_row(w, row + r, got);
    for (int i = 0; i < w->cols; i++) {
      double e = (double)got[i] - (double)want[i];
      if (!isfinite(e)) continue; /* what is not finite in the file was not lost by packing */
      sum->error += e * e;
      sum->size += (double)want[i] * (double)want[i];
    }
  }
}

double el_pack_relative(const el_pack_loss *sum) {
  return sum->size > 0 ? sqrt(sum->error / sum->size) : 0;
}
