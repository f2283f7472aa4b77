/* From options to a pool: how many blocks, of what size, and the longest sequence that they hold. */
#include "base/available_memory.h"
#include "base/error.h"
#include "engine/engine.h"
#include "kernels/select.h"

enum {
  BLOCK = 512 << 10,          /* bytes aimed at: an adapter's last block is half empty on average, pages are all used */
  RESERVE_RANK = 16,          /* of the adapter that KV pages leave room for */
  DEFAULT_ADAPTERS_MIB = 512, /* dozens of adapters of a 1B model */
  FULL_CONTEXTS = 16          /* that the default pool has room for, if there are as many slots */
};

/* Many slots are there for bursts of arrivals. Hardly ever do all of them have whole contexts, and when they do, the
 * youngest wait. */
static uint64_t full_contexts(int n_slots) {
  int half = n_slots / 2;
  return (uint64_t)(n_slots < FULL_CONTEXTS ? n_slots : half > FULL_CONTEXTS ? half : FULL_CONTEXTS);
}

/* The longest context that a model has unless one is asked for. Where long contexts have frequencies of their own
 * (longrope), a longer one would change the answers of short texts. */
static int longest_context(const el_hparams *h) {
  int longest = h->ctx_train;
  for (int i = 0; i < h->n_ropes; i++)
    if (h->rope[i].long_factors && h->rope[i].ctx_original > 0 && h->rope[i].ctx_original < longest)
      longest = h->rope[i].ctx_original;
  return longest;
}

el_status el_budget_plan(const el_engine_options *o, const el_hparams *h, const el_kv_shape *kv, const el_kernels *k,
                         el_budget *out, el_error *err) {
  el_kv_type kv_type = EL_KV_F16;
  el_layout layout = EL_LAYOUT_Q8;
  el_status status = el_kv_type_get(o->kv_type, &kv_type, err);
  if (!status) status = el_adapter_layout_get(o->adapter_type, &layout, err);
  if (status) return status;
  const el_kv_shape shape = kv ? *kv : el_kv_shape_of(h, kv_type);
  el_budget b = {.kv_type = kv_type,
                 .adapter_layout = layout,
                 .layout = el_kv_layout_new(&shape, BLOCK, o->step_rows),
                 .ctx_size = o->ctx_size};
  const uint64_t block = b.layout.block_bytes;
  el_sites *sites = NULL;
  status = el_sites_new(h, &sites, err);
  if (!status) status = el_memory_adapter_blocks(sites, k, layout, (size_t)block, RESERVE_RANK, &b.reserve, err);
  el_sites_free(sites);
  if (status) return status;
  const int longest = longest_context(h);
  if (!b.ctx_size) b.ctx_size = longest < EL_USUAL_CTX ? longest : EL_USUAL_CTX;
  uint64_t one = el_kv_layout_blocks(&b.layout, (uint64_t)el_pages_for(b.ctx_size)), n = o->memory_bytes / block;
  if (!o->memory_bytes) {
    n = one * full_contexts(o->n_slots) + b.reserve + ((uint64_t)DEFAULT_ADAPTERS_MIB << 20) / block;
    uint64_t most = el_available_memory("") / 2 / block;
    if (most && n > most) n = most;
    if (n < one + b.reserve) n = one + b.reserve; /* pages of memory are taken when they are used */
  }
  double mib = (double)block / (1 << 20);
  const uint32_t per_block =
      b.layout.per_block > b.layout.windowed_per_block ? b.layout.per_block : b.layout.windowed_per_block;
  if (n > UINT32_MAX / (2 * per_block))
    return el_fail(err, EL_ERR_INVALID, "memory: %llu MiB are more than can be used",
                   (unsigned long long)(o->memory_bytes >> 20));
  const uint64_t least = el_kv_layout_blocks(&b.layout, 1);
  if (n < b.reserve + least)
    return el_fail(
        err, EL_ERR_INVALID,
        "memory: %.1f MiB do not hold one adapter of rank %d, %.1f MiB, and a page of keys and values, %.1f MiB",
        (double)o->memory_bytes / (1 << 20), RESERVE_RANK, mib * b.reserve, mib * (double)least);
  uint64_t most = el_kv_layout_most(&b.layout, n - b.reserve) * EL_PAGE_TOKENS;
  if ((uint64_t)b.ctx_size > most) {
    if (o->ctx_size)
      return el_fail(err, EL_ERR_INVALID,
                     "ctx_size: %d tokens take %.1f MiB, the memory of %.1f MiB holds %llu of them beside one adapter",
                     o->ctx_size, mib * (double)one, mib * (double)n, (unsigned long long)most);
    b.ctx_size = (int)most;
  }
  /* What was sized for usual contexts holds a longer one too; half of it is others' in any case. */
  const uint64_t half = el_kv_layout_most(&b.layout, (n - b.reserve) / 2) * EL_PAGE_TOKENS;
  if (!o->ctx_size && half > (uint64_t)b.ctx_size) b.ctx_size = half < (uint64_t)longest ? (int)half : longest;
  uint64_t free = o->prefault ? el_available_memory("") : 0;
  if (free && n > free / block)
    return el_fail(err, EL_ERR_NO_MEMORY, "prefault: the pool of %.0f MiB is more than the %llu MiB that are free",
                   mib * (double)n, (unsigned long long)(free >> 20));
  b.n_blocks = (uint32_t)n;
  *out = b;
  return EL_OK;
}
