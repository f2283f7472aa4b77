/* Adapters in memory of their own. See adapter.h for the form, packer.c for how it is made. */
#include "adapter/adapter.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "adapter/packer.h"
#include "base/error.h"

enum { HUGE_PAGE = 2 << 20, BLOCK = 256 << 10 };

el_input el_input_of(el_linear linear) {
  switch (linear) {
    case EL_LIN_Q:
    case EL_LIN_K:
    case EL_LIN_V: return EL_IN_ATTN;
    case EL_LIN_O: return EL_IN_O;
    case EL_LIN_GATE:
    case EL_LIN_UP: return EL_IN_FFN;
    default: return EL_IN_DOWN;
  }
}

/* `f`, or random weights when it is NULL. */
static el_status make(const el_lora_file *f, const el_lora_shape *shape, int rank, uint64_t seed, const el_kernels *k,
                      el_adapter **out, el_error *err) {
  el_packer *p = NULL;
  el_pack_size size;
  uint32_t *blocks = NULL;
  void *arena = NULL;
  el_status status = el_packer_new(shape, k, BLOCK, &p, err);
  if (!status) status = f ? el_packer_plan(p, f, &size, err) : el_packer_plan_random(p, rank, seed, &size, err);
  if (!status) {
    size_t bytes = (size_t)size.n_blocks * BLOCK;
    blocks = malloc(sizeof *blocks * size.n_blocks);
    /* Huge pages where they fit: a step reads all of an adapter, and page walks would cost as much as the reads. */
    if (!blocks || posix_memalign(&arena, bytes >= HUGE_PAGE ? HUGE_PAGE : 64, bytes))
      status = el_fail(err, EL_ERR_NO_MEMORY, "adapter: out of memory for %zu bytes", bytes);
    else if (bytes >= HUGE_PAGE)
      madvise(arena, bytes, MADV_HUGEPAGE);
  }
  if (!status) {
    for (uint32_t i = 0; i < size.n_blocks; i++) blocks[i] = i;
    *out = el_packer_pack(p, arena, blocks);
  }
  free(blocks);
  el_packer_free(p);
  return status;
}

el_status el_adapter_pack(const el_lora_file *f, const el_lora_shape *shape, const el_kernels *k, el_adapter **out,
                          el_error *err) {
  return make(f, shape, 0, 0, k, out, err);
}

el_status el_adapter_random(const el_lora_shape *shape, int rank, uint64_t seed, const el_kernels *k, el_adapter **out,
                            el_error *err) {
  return make(NULL, shape, rank, seed, k, out, err);
}

void el_adapter_free(el_adapter *a) {
  free(a); /* it is at the beginning of its memory */
}
