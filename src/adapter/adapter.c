/* Adapters in memory of their own. adapter.h describes the form, packer.c makes it. */
#include "adapter/adapter.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "adapter/packer.h"
#include "base/error.h"

enum { HUGE_PAGE = 2 << 20, BLOCK = 256 << 10 };

/* Packs `f`, or random weights if `f` is NULL. */
static el_status make_adapter(const el_lora_file *f, const el_sites *sites, const el_base *base, int rank,
                              uint64_t seed, const el_kernels *k, el_layout layout, el_adapter **out, el_error *err) {
  el_packer *p = NULL;
  el_pack_size size;
  uint32_t *blocks = NULL;
  void *arena = NULL;
  el_status status = el_packer_new(sites, k, layout, BLOCK, &p, err);
  if (!status) el_packer_use_base(p, base);
  if (!status) status = f ? el_packer_plan(p, f, &size, err) : el_packer_plan_random(p, rank, seed, &size, err);
  if (!status) {
    size_t bytes = (size_t)size.n_blocks * BLOCK;
    blocks = malloc(sizeof *blocks * size.n_blocks);
    /* Huge pages where they fit: a step reads all of an adapter, and page walks would cost as much
     * as the reads. */
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

el_status el_adapter_layout_get(const char *name, el_layout *out, el_error *err) {
  static const struct {
    const char *name;
    el_layout layout;
  } types[] = {{"q8", EL_LAYOUT_Q8}, {"f16", EL_LAYOUT_F16}, {"q4", EL_LAYOUT_Q4}};
  if (!name) name = "q8";
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (!strcmp(name, types[i].name)) {
      *out = types[i].layout;
      return EL_OK;
    }
  return el_fail(err, EL_ERR_INVALID, "adapter_type: '%s' is none of q8, f16, q4", name);
}

el_status el_adapter_pack(const el_lora_file *f, const el_sites *sites, const el_base *base, const el_kernels *k,
                          el_layout layout, el_adapter **out, el_error *err) {
  return make_adapter(f, sites, base, 0, 0, k, layout, out, err);
}

el_status el_adapter_random(const el_sites *sites, int rank, uint64_t seed, const el_kernels *k, el_layout layout,
                            el_adapter **out, el_error *err) {
  return make_adapter(NULL, sites, NULL, rank, seed, k, layout, out, err);
}

void el_adapter_free(el_adapter *a) {
  free(a); /* the description is at the beginning of the memory */
}
