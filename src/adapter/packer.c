#include "adapter/packer.h"

#include <assert.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/packer_more.h"
#include "base/error.h"
#include "base/priority.h"
#include "base/random.h"

/* An adapter's matrices. */
typedef struct forms {
  el_packed *a;             /* [n_places][n_inputs] */
  el_lora_site *site;       /* [n_places][n_sites] */
  el_lora_experts *experts; /* [n_places], of layers only */
} forms;

/* What is planned for the experts of a layer. */
typedef struct expert_plan {
  int *ranks;           /* [n_experts][EL_N_EXPERT_SITES]; NULL until an adapter has something for
                         * experts */
  el_lora_experts room; /* allocated together with ranks, and kept for the next adapter */
  size_t offset;        /* of the forms, in the planned blocks */
} expert_plan;

struct el_packer {
  const el_sites *sites;
  const el_kernels *kernels;
  el_layout layout;
  size_t block_bytes;

  /* The plan. Until a matrix is packed, its data pointer holds its place: the offset in the planned
   * blocks laid end to end. */
  el_pack_source sources[EL_MAX_COMBINED];
  int n_sources;
  int *ranks; /* [n_places][n_sites] sums of all sources; 0: nothing there */
  forms forms;
  expert_plan *experts; /* [n_places] memory for forms.experts */
  el_pack_size size;
  int32_t invocation_tokens[EL_MAX_INVOCATION];
  el_invocation invocation;
  size_t *used; /* [cap] bytes in use of each planned block */
  uint32_t cap;

  el_more more;

  float *tmp; /* [4][largest] two for a pair as F32, one to reorder, one for the B of several */
  size_t largest, tmp_values;
};

el_status el_packer_new(const el_sites *sites, const el_kernels *k, el_layout layout, size_t block_bytes,
                        el_packer **out, el_error *err) {
  assert(block_bytes > 0 && block_bytes % EL_PACK_ALIGN == 0);
  el_packer *p = calloc(1, sizeof *p);
  const size_t n_places = (size_t)el_sites_n_places(sites), n_a = n_places * (size_t)sites->n_inputs,
               n_b = n_places * (size_t)sites->n_sites;
  if (p) {
    *p = (el_packer){.sites = sites, .kernels = k, .layout = layout, .block_bytes = block_bytes};
    p->more = (el_more){.sites = sites, .kernels = k, .layout = layout};
    p->ranks = calloc(n_b, sizeof *p->ranks);
    p->forms.a = calloc(n_a, sizeof *p->forms.a);
    p->forms.site = calloc(n_b, sizeof *p->forms.site);
    p->forms.experts = calloc(n_places, sizeof *p->forms.experts);
    p->experts = calloc(n_places, sizeof *p->experts);
  }
  if (!p || !p->ranks || !p->forms.a || !p->forms.site || !p->forms.experts || !p->experts) {
    el_packer_free(p);
    return el_fail(err, EL_ERR_NO_MEMORY, "adapter: out of memory");
  }
  *out = p;
  return EL_OK;
}

void el_packer_free(el_packer *p) {
  if (!p) return;
  for (int l = 0; p->experts && l < p->sites->n_layers; l++) {
    free(p->experts[l].ranks);
    free(p->experts[l].room.a);
    free(p->experts[l].room.sites);
  }
  free(p->experts);
  free(p->ranks);
  free(p->forms.a);
  free(p->forms.site);
  free(p->forms.experts);
  free(p->used);
  free(p->tmp);
  el_more_free(&p->more);
  free(p);
}

void el_packer_use_base(el_packer *p, const el_base *base) {
  p->more.base = base;
}

/* -------------------------------------------------------------------- plan */

static size_t n_matrices_a(const el_packer *p) {
  return (size_t)el_sites_n_places(p->sites) * (size_t)p->sites->n_inputs;
}

static size_t n_matrices_b(const el_packer *p) {
  return (size_t)el_sites_n_places(p->sites) * (size_t)p->sites->n_sites;
}

static size_t n_expert_a(const el_packer *p) {
  return (size_t)p->sites->n_experts * EL_N_EXPERT_INPUTS;
}

static size_t n_expert_b(const el_packer *p) {
  return (size_t)p->sites->n_experts * EL_N_EXPERT_SITES;
}

/* The index of a site of a place in `ranks` and `site`. */
static size_t site_index(const el_packer *p, int layer, int site) {
  return (size_t)layer * (size_t)p->sites->n_sites + (size_t)site;
}

static bool has_experts(const el_packer *p, int layer) {
  return p->forms.experts[layer].a;
}

/* The stacked A that a site reads its rows of, and the site; for experts, those of the expert. */
static el_packed *form_a(const el_packer *p, const forms *f, int layer, int input, int expert) {
  const int of_expert = input - p->sites->n_inputs;
  return of_expert < 0 ? &f->a[layer * p->sites->n_inputs + input]
                       : &f->experts[layer].a[expert * EL_N_EXPERT_INPUTS + of_expert];
}

static el_lora_site *form_site(const el_packer *p, const forms *f, int layer, int site, int expert) {
  const int of_expert = site - p->sites->n_sites;
  return of_expert < 0 ? &f->site[site_index(p, layer, site)]
                       : &f->experts[layer].sites[expert * EL_N_EXPERT_SITES + of_expert];
}

/* The same for the ranks. */
static int *rank_of(const el_packer *p, int layer, int site, int expert) {
  const int of_expert = site - p->sites->n_sites;
  return of_expert < 0 ? &p->ranks[site_index(p, layer, site)]
                       : &p->experts[layer].ranks[expert * EL_N_EXPERT_SITES + of_expert];
}

/* Sets the forms of a layer's matrices that read inputs [begin, end); they have no memory yet. */
static void describe_inputs(el_packer *p, int layer, int begin, int end, int expert) {
  const el_sites *sites = p->sites;
  for (int in = begin; in < end; in++) {
    int rows = 0, cols = 0;
    for (int i = sites->first[in]; i < sites->first[in + 1]; i++) {
      const int r = *rank_of(p, layer, i, expert);
      const el_site_dims dims = el_sites_dims(sites, layer, i);
      if (!r) continue;
      el_lora_site *site = form_site(p, &p->forms, layer, i, expert);
      site->a_row = rows;
      rows += r;
      cols = dims.in;
      if (r > p->size.rank) p->size.rank = r;
      el_packed_init(&site->b, p->layout, dims.out, r, p->kernels->tile);
    }
    if (rows) el_packed_init(form_a(p, &p->forms, layer, in, expert), p->layout, rows, cols, p->kernels->tile);
  }
}

static void describe_forms(el_packer *p) {
  const el_sites *sites = p->sites;
  memset(p->forms.a, 0, sizeof *p->forms.a * n_matrices_a(p));
  memset(p->forms.site, 0, sizeof *p->forms.site * n_matrices_b(p));
  p->size.rank = 0;
  for (int l = 0; l < el_sites_n_places(sites); l++) {
    describe_inputs(p, l, 0, sites->n_inputs, 0);
    if (!has_experts(p, l)) continue;
    memset(p->forms.experts[l].a, 0, sizeof(el_packed) * n_expert_a(p));
    memset(p->forms.experts[l].sites, 0, sizeof(el_lora_site) * n_expert_b(p));
    for (int e = 0; e < sites->n_experts; e++)
      describe_inputs(p, l, sites->n_inputs, sites->n_inputs + EL_N_EXPERT_INPUTS, e);
  }
}

static bool has_any_experts(const el_packer *p) {
  for (int l = 0; l < p->sites->n_layers; l++)
    if (has_experts(p, l)) return true;
  return false;
}

/* Bytes at the front of the first block: the adapter's description, the forms of its matrices, the
 * numbers of its blocks, its invocation. */
static size_t description_bytes(const el_packer *p, size_t n_blocks) {
  const size_t n_experts = has_any_experts(p) ? (size_t)p->sites->n_layers : 0;
  return el_pack_align(el_pack_align(sizeof(el_adapter)) + sizeof(el_packed) * n_matrices_a(p) +
                       sizeof(el_lora_site) * n_matrices_b(p) + sizeof(el_lora_experts) * n_experts +
                       sizeof(uint32_t) * n_blocks + sizeof(int32_t) * (size_t)p->invocation.n) +
         el_more_description_bytes(&p->more);
}

/* Bytes of the forms of a layer's experts, which lie elsewhere in the blocks. */
static size_t expert_bytes(const el_packer *p) {
  return el_pack_align(sizeof(el_packed) * n_expert_a(p) + sizeof(el_lora_site) * n_expert_b(p));
}

/* Walks over the matrices of an adapter in the order of use: each A before the Bs that it feeds;
 * those of a layer, then those of each of its experts. Starts as zeros. */
typedef struct walk {
  int layer;
  int of;          /* 0: the layer's own; e + 1: expert e's */
  int input, site; /* the next one's place: its input, and 0 for the A, then the sites of the
                    * input */
} walk;

/* The next matrix that the adapter has; NULL: there is none. */
static el_packed *next_matrix(const el_packer *p, const forms *f, walk *w) {
  const el_sites *sites = p->sites;
  for (; w->layer < el_sites_n_places(sites); w->layer++, w->of = 0) {
    const int n_of = has_experts(p, w->layer) ? 1 + sites->n_experts : 1;
    for (; w->of < n_of; w->of++, w->input = 0) {
      const int first_input = w->of ? sites->n_inputs : 0, n_inputs = w->of ? EL_N_EXPERT_INPUTS : sites->n_inputs;
      for (; w->input < n_inputs; w->input++, w->site = 0) {
        const int input = first_input + w->input, first = sites->first[input], end = sites->first[input + 1];
        while (w->site <= end - first) {
          const int k = w->site++;
          el_packed *m =
              k ? &form_site(p, f, w->layer, first + k - 1, w->of - 1)->b : form_a(p, f, w->layer, input, w->of - 1);
          if (m->rows) return m;
        }
      }
    }
  }
  return NULL;
}

/* Makes room for one more block in `used`. False: out of memory. */
static bool reserve_used(el_packer *p, uint32_t n) {
  if (n < p->cap) return true;
  uint32_t cap = p->cap ? 2 * p->cap : 64;
  size_t *used = realloc(p->used, sizeof *used * cap);
  if (!used) return false;
  p->used = used;
  p->cap = cap;
  return true;
}

/* The state of place_matrices: blocks before `first` are almost full. */
typedef struct filling {
  uint32_t n, first;
} filling;

/* Takes room in the first block that has it, as an offset; 0: out of memory. */
static size_t take_room(el_packer *p, filling *f, size_t bytes) {
  while (f->first < f->n && p->block_bytes - p->used[f->first] < EL_PACK_ALIGN) f->first++;
  uint32_t b = f->first;
  while (b < f->n && p->block_bytes - p->used[b] < bytes) b++;
  if (b == f->n) {
    if (!reserve_used(p, f->n)) return 0;
    p->used[f->n++] = 0;
  }
  const size_t offset = (size_t)b * p->block_bytes + p->used[b];
  p->used[b] += bytes;
  return offset;
}

static void set_offset(el_packed *w, size_t offset) {
  w->data = (unsigned char *)(uintptr_t)offset;
}

static size_t matrix_offset(const el_packed *w) {
  return (size_t)(uintptr_t)w->data;
}

/* Places every matrix in the first block with room. n_blocks: the number of blocks that the
 * description is laid out for. Returns the number of blocks needed; 0: out of memory; UINT32_MAX:
 * something is larger than a block. */
static uint32_t place_matrices(el_packer *p, size_t n_blocks) {
  filling f = {.n = 1};
  size_t offset;
  if (description_bytes(p, n_blocks) > p->block_bytes) return UINT32_MAX;
  if (!reserve_used(p, 0)) return 0;
  p->used[0] = description_bytes(p, n_blocks);
  for (int l = 0; l < p->sites->n_layers; l++) {
    if (!has_experts(p, l)) continue;
    if (expert_bytes(p) > p->block_bytes) return UINT32_MAX;
    if (!(p->experts[l].offset = take_room(p, &f, expert_bytes(p)))) return 0;
  }
  walk at = {0};
  for (el_packed *w; (w = next_matrix(p, &p->forms, &at));) {
    const size_t bytes = el_pack_align(el_packed_bytes(w));
    if (bytes > p->block_bytes) return UINT32_MAX;
    if (!(offset = take_room(p, &f, bytes))) return 0;
    set_offset(w, offset);
  }
  for (size_t i = 0; i < p->more.n; i++) {
    if (p->more.pieces[i].bytes > p->block_bytes) return UINT32_MAX;
    if (!(p->more.pieces[i].offset = take_room(p, &f, p->more.pieces[i].bytes))) return 0;
  }
  return f.n;
}

/* Lays all matrices end to end. Returns the bytes. */
static size_t place_consecutive(el_packer *p, size_t n_blocks) {
  size_t end = description_bytes(p, n_blocks);
  for (int l = 0; l < p->sites->n_layers; l++) {
    if (!has_experts(p, l)) continue;
    p->experts[l].offset = end;
    end += expert_bytes(p);
  }
  walk at = {0};
  for (el_packed *w; (w = next_matrix(p, &p->forms, &at));) {
    set_offset(w, end);
    end += el_pack_align(el_packed_bytes(w));
  }
  for (size_t i = 0; i < p->more.n; i++) {
    p->more.pieces[i].offset = end;
    end += p->more.pieces[i].bytes;
  }
  return end;
}

/* What an adapter has besides pairs cannot be added up or scaled, so combinations with it are
 * refused. */
static el_status plan_more(el_packer *p, el_error *err) {
  const el_lora_file *file = p->sources[0].file;
  bool any = false;
  for (int i = 0; i < p->n_sources; i++) any = any || (p->sources[i].file && el_lora_file_n_extras(p->sources[i].file));
  if (any && (p->n_sources > 1 || p->sources[0].scale != 1))
    return el_fail(
        err, EL_ERR_INVALID,
        "adapters: one has more than pairs of matrices (DoRA, biases, norms, the embedding or the output): it "
        "can be used by itself and as it is, not combined or scaled");
  return el_more_plan(&p->more, any ? file : NULL, err);
}

static el_status plan_pack(el_packer *p, el_pack_size *out, el_error *err) {
  el_status status = plan_more(p, err);
  if (status) return status;
  describe_forms(p);
  if (p->more.rank > p->size.rank) p->size.rank = p->more.rank;
  if (!p->size.rank) p->size.rank = 1; /* the adapter has only whole matrices */
  p->size.bytes = place_consecutive(p, 0);
  /* No overflow: ranks, layers and experts are 1024 at most, and a pool has at most UINT32_MAX
   * blocks. */
  size_t n = (size_t)p->size.bytes / p->block_bytes + 1;
  p->size.consecutive = false;
  for (;;) { /* the description's length depends on the number of blocks; it settles at once or
              * after one more round */
    uint32_t got = p->size.consecutive ? UINT32_MAX : place_matrices(p, n);
    if (!got) return el_fail(err, EL_ERR_NO_MEMORY, "adapter: out of memory");
    size_t need = got;
    if (got == UINT32_MAX) {
      p->size.consecutive = true;
      need = (place_consecutive(p, n) + p->block_bytes - 1) / p->block_bytes;
    }
    if (need <= n) {
      p->size.n_blocks = (uint32_t)need;
      break;
    }
    n = need;
  }
  size_t values = (p->n_sources > 1 ? 4 : 3) * (p->largest ? p->largest : 1);
  if (values > p->tmp_values) {
    free(p->tmp);
    p->tmp_values = 0;
    if (!(p->tmp = malloc(sizeof *p->tmp * values)))
      return el_fail(err, EL_ERR_NO_MEMORY, "adapter: out of memory for %zu values", values);
    p->tmp_values = values;
  }
  *out = p->size;
  return EL_OK;
}

static void note_largest(el_packer *p, el_site_dims dims, int rank) {
  size_t values = (size_t)(dims.in > dims.out ? dims.in : dims.out) * (size_t)rank;
  if (values > p->largest) p->largest = values;
}

/* Makes room for the plan of a layer's experts. False: out of memory. */
static bool reserve_experts(el_packer *p, int layer) {
  expert_plan *x = &p->experts[layer];
  if (!x->ranks) {
    x->room.a = calloc(n_expert_a(p), sizeof *x->room.a);
    x->room.sites = calloc(n_expert_b(p), sizeof *x->room.sites);
    if (x->room.a && x->room.sites) x->ranks = calloc(n_expert_b(p), sizeof *x->ranks);
    if (!x->ranks) {
      free(x->room.a);
      free(x->room.sites);
      x->room = (el_lora_experts){0};
      return false;
    }
  }
  if (!has_experts(p, layer)) memset(x->ranks, 0, sizeof *x->ranks * n_expert_b(p));
  p->forms.experts[layer] = x->room;
  return true;
}

/* Cannot overflow: EL_MAX_COMBINED times EL_MAX_RANK at most. False: out of memory. */
static bool add_ranks(el_packer *p, const el_pack_source *source) {
  const el_lora_file *f = source->file;
  for (size_t i = 0; f && i < el_lora_file_n(f); i++) {
    const el_lora_pair *pair = el_lora_file_at(f, i);
    if (el_sites_of_expert(p->sites, pair->site) && !reserve_experts(p, pair->layer)) return false;
    *rank_of(p, pair->layer, pair->site, pair->expert) += pair->rank;
  }
  for (size_t i = 0; !f && i < (size_t)p->sites->n_layers * (size_t)p->sites->n_sites; i++)
    if (p->sites->dims[i].out) p->ranks[i] += source->rank;
  return true;
}

/* Checks the ranks of a site, and records the largest matrix. */
static el_status check_site_rank(el_packer *p, int layer, int site, int expert, el_error *err) {
  const int rank = *rank_of(p, layer, site, expert);
  if (rank > EL_MAX_RANK)
    return el_fail(err, EL_ERR_INVALID,
                   "adapters: the ranks of %d together add up to %d for %s of layer %d, the limit is %d", p->n_sources,
                   rank, el_sites_name(p->sites, layer, site), layer, EL_MAX_RANK);
  note_largest(p, el_sites_dims(p->sites, layer, site), rank);
  return EL_OK;
}

static el_status check_ranks(el_packer *p, el_error *err) {
  el_status status = EL_OK;
  for (int l = 0; l < el_sites_n_places(p->sites); l++) {
    for (int i = 0; i < p->sites->n_sites && !status; i++) status = check_site_rank(p, l, i, 0, err);
    for (int e = 0; has_experts(p, l) && e < p->sites->n_experts; e++)
      for (int i = 0; i < EL_N_EXPERT_SITES && !status; i++)
        status = check_site_rank(p, l, p->sites->n_sites + i, e, err);
  }
  return status;
}

static void take_invocation(el_packer *p, const el_invocation *inv, int n_sources) {
  assert(n_sources == 1 || !inv->n);
  p->invocation = *inv;
  if (inv->n) memcpy(p->invocation_tokens, inv->tokens, sizeof *inv->tokens * (size_t)inv->n);
}

el_status el_packer_plan_combined(el_packer *p, const el_pack_source *sources, int n, el_pack_size *out,
                                  el_error *err) {
  assert(n >= 1 && n <= EL_MAX_COMBINED);
  memset(p->ranks, 0, sizeof *p->ranks * n_matrices_b(p));
  memset(p->forms.experts, 0, sizeof *p->forms.experts * (size_t)el_sites_n_places(p->sites));
  memcpy(p->sources, sources, sizeof *sources * (size_t)n);
  p->n_sources = n;
  p->largest = 0;
  p->invocation = (el_invocation){0};
  if (sources[0].file) take_invocation(p, el_lora_file_invocation(sources[0].file), n);
  for (int s = 0; s < n; s++) {
    if (!sources[s].file && (sources[s].rank < 1 || sources[s].rank > EL_MAX_RANK))
      return el_fail(err, EL_ERR_INVALID, "rank: %d is not in 1 to %d", sources[s].rank, EL_MAX_RANK);
    if (!add_ranks(p, &sources[s])) return el_fail(err, EL_ERR_NO_MEMORY, "adapter: out of memory for experts");
  }
  el_status status = check_ranks(p, err);
  if (status) return status;
  return plan_pack(p, out, err);
}

el_status el_packer_plan(el_packer *p, const el_lora_file *f, el_pack_size *out, el_error *err) {
  return el_packer_plan_combined(p, &(el_pack_source){.file = f, .scale = 1}, 1, out, err);
}

el_status el_packer_plan_random(el_packer *p, int rank, uint64_t seed, el_pack_size *out, el_error *err) {
  return el_packer_plan_combined(p, &(el_pack_source){.rank = rank, .seed = seed, .scale = 1}, 1, out, err);
}

/* -------------------------------------------------------------------- pack */

/* The power of two that brings a largest magnitude to [512, 1024): group scales are then well
 * inside F16. */
static int shift_of(float amax) {
  int e;
  if (amax == 0) return 0;
  frexpf(amax, &e); /* amax = m * 2^e, m in [0.5, 1) */
  return 10 - e;
}

/* 2^shift as a factor for x: [n]. If it is beyond a float, x is multiplied here and the factor is
 * 1. */
static float power_factor(int shift, float *x, size_t n) {
  if (shift <= 127 && shift >= -126) return ldexpf(1.0f, shift);
  for (size_t i = 0; i < n; i++) x[i] = ldexpf(x[i], shift);
  return 1;
}

/* Multiplies x, whose largest magnitude is amax, by its power of two. */
static int normalise_matrix(float *x, size_t n, float amax) {
  const int shift = shift_of(amax);
  const float factor = power_factor(shift, x, n);
  for (size_t i = 0; factor != 1 && i < n; i++) x[i] *= factor;
  return shift;
}

/* Where the pair of a site goes: its rows of the stacked A, and its B. */
typedef struct place_of_site {
  int layer, i, expert; /* the site, and its expert where it is one of experts */
  el_packed *stacked;
  el_lora_site *site;
} place_of_site;

static place_of_site place_at(const el_packer *p, const forms *f, int layer, int i, int expert) {
  return (place_of_site){layer, i, expert, form_a(p, f, layer, p->sites->site[i].input, expert),
                         form_site(p, f, layer, i, expert)};
}

/* A pair of F32 matrices, a: [rank, in] and b: [out, rank], both in the packer's tmp. */
typedef struct pair {
  float *a, *b;
  float a_max, b_max; /* their largest magnitudes */
  int rank;
  float scale; /* includes the source's scale */
} pair;

/* Packs rows of a matrix, with pauses that let others run. */
static void put_site_rows(const el_kernels *k, el_packed *w, int row, int n_rows, const float *src, float factor) {
  const int at_once = w->cols < EL_BREATH ? EL_BREATH / w->cols : 1;
  for (int i = 0; i < n_rows; i += at_once, el_thread_breathe())
    el_pack_rows(k, w, row + i, n_rows - i < at_once ? n_rows - i : at_once, src + (size_t)i * (size_t)w->cols, factor);
}

/* Packs a pair of one layer. */
static void pack_pair(const el_kernels *k, place_of_site at, const pair *one) {
  el_lora_site *site = at.site;
  el_packed *stacked = at.stacked;
  const int rank = site->b.cols, a_shift = shift_of(one->a_max), b_shift = shift_of(one->b_max);
  const float a_factor = power_factor(a_shift, one->a, (size_t)rank * (size_t)stacked->cols),
              b_factor = power_factor(b_shift, one->b, (size_t)site->b.rows * (size_t)rank);
  site->gain = ldexpf(one->scale, -(a_shift + b_shift));
  put_site_rows(k, stacked, site->a_row, rank, one->a, a_factor);
  put_site_rows(k, &site->b, 0, site->b.rows, one->b, b_factor);
}

/* Brings B's rows from Hugging Face's order to GGUF's. */
static void reorder_rows(float *b, const el_site *site, el_site_dims dims, int rank, float *tmp) {
  const size_t rows = (size_t)dims.out, row = (size_t)rank;
  memcpy(tmp, b, sizeof(float) * rows * row);
  for (size_t i = 0; i < rows; i++) memcpy(b + el_site_row(site, dims, i) * row, tmp + i * row, sizeof(float) * row);
}

/* The next number of a splitmix64 sequence, as a float in [-1, 1). */
static float next_uniform(uint64_t *state) {
  return (float)((int64_t)el_mix64(*state += EL_GOLDEN_GAMMA) >> 40) / (float)(1 << 23);
}

/* Where a source's next pair is: pairs come in the order of layers and sites. */
typedef struct cursor {
  size_t at;     /* of a file: the index of the pair */
  uint64_t seed; /* of random weights: the generator's state */
} cursor;

/* Reads m as F32, [rows, cols]; returns the largest magnitude. */
static float read_matrix(const el_kernels *k, const el_lora_matrix *m, int rows, int cols, float *out) {
  const size_t n = (size_t)rows * (size_t)cols;
  const bool whole = m->col_step == 1 && m->row_step == (size_t)cols;
  float most = 0;
  if (!whole) el_lora_matrix_read(m, rows, cols, out);
  const el_type type = whole ? m->type : EL_TYPE_F32;
  const unsigned char *from = whole ? m->data : (const unsigned char *)out;
  for (size_t i = 0; i < n; i += EL_BREATH, el_thread_breathe()) {
    const size_t part = n - i < EL_BREATH ? n - i : EL_BREATH;
    most = fmaxf(most, k->widen(type, from + el_lora_value_bytes(type) * i, part, out + i));
  }
  return most;
}

/* Reads what source s has for a site of a layer. False: nothing. */
static bool next_pair(el_packer *p, int s, cursor *c, const place_of_site *at, pair *out) {
  const el_pack_source *source = &p->sources[s];
  const el_site_dims dims = el_sites_dims(p->sites, at->layer, at->i);
  const int in = dims.in, rows = dims.out;
  *out = (pair){.a = p->tmp, .b = p->tmp + p->largest, .rank = source->rank, .scale = source->scale};
  if (!source->file) {
    if (el_sites_of_expert(p->sites, at->i)) return false;
    float bound = 1.0f / sqrtf((float)in); /* B * A then has entries of about 0.01 / in *
                                            * sqrt(rank) */
    for (int j = 0; j < out->rank * in; j++) out->a[j] = bound * next_uniform(&c->seed);
    for (int j = 0; j < rows * out->rank; j++) out->b[j] = 0.01f * next_uniform(&c->seed);
    out->a_max = p->kernels->widen(EL_TYPE_F32, out->a, (size_t)out->rank * (size_t)in, out->a);
    out->b_max = p->kernels->widen(EL_TYPE_F32, out->b, (size_t)rows * (size_t)out->rank, out->b);
    return true;
  }
  if (c->at == el_lora_file_n(source->file)) return false;
  const el_lora_pair *f = el_lora_file_at(source->file, c->at);
  if (f->layer != at->layer || f->site != at->i || f->expert != at->expert) return false;
  c->at++;
  out->rank = f->rank;
  out->scale = fmaxf(-FLT_MAX, fminf(FLT_MAX, out->scale * f->scale));
  out->a_max = read_matrix(p->kernels, &f->a, f->rank, in, out->a);
  out->b_max = read_matrix(p->kernels, &f->b, rows, f->rank, out->b);
  if (f->reorder_b) reorder_rows(out->b, &p->sites->site[at->i], dims, f->rank, p->tmp + 2 * p->largest);
  return true;
}

/* log2 of the root mean square of x, which is finite and normalised. All zeros: NOTHING. */
enum { NOTHING = -1000 };
static int log2_size(const float *x, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
  return sum > 0 ? (int)lround(0.5 * log2(sum / (double)n)) : NOTHING;
}

/* One of several pairs of a site. What it adds is m * 2^e times the product of its normalised
 * matrices. */
typedef struct share {
  int rank; /* 0: this source has nothing here */
  float m;  /* 0: it adds nothing */
  int e;
  int size;  /* log2 of about what it adds for an input of magnitude 1 */
  int a, b;  /* log2 of the factors of its matrices */
  int a_log; /* log2 of the size of its A */
} share;

static share read_share(el_packer *p, int s, cursor *c, const place_of_site *at) {
  const el_site_dims dims = el_sites_dims(p->sites, at->layer, at->i);
  const size_t in = (size_t)dims.in, rows = (size_t)dims.out;
  pair one;
  share w = {0};
  if (!next_pair(p, s, c, at, &one)) return w;
  w.rank = one.rank;
  w.m = frexpf(one.scale, &w.e);
  w.e -= normalise_matrix(one.a, (size_t)one.rank * in, one.a_max) +
         normalise_matrix(one.b, rows * (size_t)one.rank, one.b_max);
  w.a_log = log2_size(one.a, (size_t)one.rank * in);
  int b_log = log2_size(one.b, rows * (size_t)one.rank);
  if (w.a_log == NOTHING || b_log == NOTHING) w.m = 0;
  w.size = w.e + w.a_log + b_log;
  return w;
}

/* Packs several pairs side by side. Their columns of B share scales, and so do their values of X
 * A^T. Both factors of what a pair adds are therefore given about the root of its size, so that
 * neither is lost beside another pair's. The rest, which is the same for all pairs, becomes the
 * gain. */
static void put_side_by_side(el_packer *p, cursor *cursors, place_of_site at) {
  el_lora_site *site = at.site;
  el_packed *stacked = at.stacked;
  size_t rows = (size_t)site->b.rows, wide = (size_t)site->b.cols, begin = 0;
  float *b = p->tmp + 3 * p->largest;
  share w[EL_MAX_COMBINED];
  int top_a = INT_MIN, top_b = INT_MIN;
  for (int s = 0; s < p->n_sources; s++) {
    cursor c = cursors[s];
    w[s] = read_share(p, s, &c, &at);
    if (!w[s].rank || w[s].m == 0) continue;
    w[s].a = w[s].size / 2 - w[s].a_log;
    if (w[s].a > top_a) top_a = w[s].a;
  }
  for (int s = 0; s < p->n_sources; s++) {
    w[s].a -= top_a; /* 0 at most, and not so low that A's scales leave F16 */
    if (w[s].a < -10 || w[s].m == 0) w[s].a = -10;
    w[s].b = w[s].e - w[s].a;
    if (w[s].rank && w[s].m != 0 && w[s].b > top_b) top_b = w[s].b;
  }
  if (top_b == INT_MIN) top_b = 0; /* all scales are 0, and so is B */
  for (int s = 0; s < p->n_sources; s++) {
    pair one;
    if (!next_pair(p, s, &cursors[s], &at, &one)) continue;
    size_t n = (size_t)one.rank;
    normalise_matrix(one.a, n * (size_t)stacked->cols, one.a_max);
    normalise_matrix(one.b, rows * n, one.b_max);
    float factor = ldexpf(1.0f, w[s].a), b_factor = w[s].m == 0 ? 0 : ldexpf(w[s].m, w[s].b - top_b);
    for (size_t i = 0; i < n * (size_t)stacked->cols; i++) one.a[i] *= factor;
    put_site_rows(p->kernels, stacked, site->a_row + (int)begin, one.rank, one.a, 1);
    for (size_t r = 0; r < rows; r++)
      for (size_t c = 0; c < n; c++) b[r * wide + begin + c] = b_factor * one.b[r * n + c];
    begin += n;
  }
  const int shift = shift_of(p->kernels->widen(EL_TYPE_F32, b, rows * wide, b));
  const float factor = power_factor(shift, b, rows * wide);
  site->gain = ldexpf(1.0f, top_b - shift);
  put_site_rows(p->kernels, &site->b, 0, site->b.rows, b, factor);
}

static void pack_site(el_packer *p, cursor *cursors, place_of_site at) {
  pair one;
  if (!at.site->b.rows) return;
  if (p->n_sources > 1) {
    put_side_by_side(p, cursors, at);
  } else if (next_pair(p, 0, &cursors[0], &at, &one)) {
    el_more_factor(&p->more, at.layer, at.i, at.expert, one.a, one.b, one.rank, one.scale);
    pack_pair(p->kernels, at, &one);
  }
}

static void pack_all(el_packer *p, const forms *f) {
  cursor cursors[EL_MAX_COMBINED];
  const int n_sites = p->sites->n_sites;
  for (int s = 0; s < p->n_sources; s++) cursors[s] = (cursor){.seed = p->sources[s].seed};
  for (int l = 0; l < el_sites_n_places(p->sites); l++) {
    for (int i = 0; i < n_sites; i++) pack_site(p, cursors, place_at(p, f, l, i, 0));
    for (int i = n_sites; has_experts(p, l) && i < n_sites + EL_N_EXPERT_SITES; i++)
      for (int e = 0; e < p->sites->n_experts; e++) pack_site(p, cursors, place_at(p, f, l, i, e));
  }
}

/* The address of an offset in the planned blocks. In consecutive blocks, what begins there may go
 * on into the next block. */
static unsigned char *address_of(const el_packer *p, unsigned char *base, const uint32_t *blocks, size_t offset) {
  return base + (size_t)blocks[offset / p->block_bytes] * p->block_bytes + offset % p->block_bytes;
}

el_adapter *el_packer_pack(el_packer *p, unsigned char *base, const uint32_t *blocks) {
  const uint32_t n_blocks = p->size.n_blocks;
  const size_t n_experts = has_any_experts(p) ? (size_t)p->sites->n_layers : 0;
  unsigned char *front = base + (size_t)blocks[0] * p->block_bytes;
  el_adapter *a = (el_adapter *)(void *)front;
  forms f = {.a = (el_packed *)(void *)(front + el_pack_align(sizeof *a))};
  f.site = (el_lora_site *)(void *)(f.a + n_matrices_a(p));
  f.experts = (el_lora_experts *)(void *)(f.site + n_matrices_b(p));
  uint32_t *numbers = (uint32_t *)(void *)(f.experts + n_experts);
  memcpy(f.a, p->forms.a, sizeof *f.a * n_matrices_a(p));
  memcpy(f.site, p->forms.site, sizeof *f.site * n_matrices_b(p));
  memset(f.experts, 0, sizeof *f.experts * n_experts);
  memcpy(numbers, blocks, sizeof *numbers * n_blocks);
  int32_t *invocation = (int32_t *)(void *)(numbers + n_blocks);
  memcpy(invocation, p->invocation_tokens, sizeof *invocation * (size_t)p->invocation.n);
  for (int l = 0; l < p->sites->n_layers; l++) {
    if (!has_experts(p, l)) continue;
    el_lora_experts *x = &f.experts[l];
    x->a = (el_packed *)(void *)address_of(p, base, blocks, p->experts[l].offset);
    x->sites = (el_lora_site *)(void *)(x->a + n_expert_a(p));
    memcpy(x->a, p->forms.experts[l].a, sizeof *x->a * n_expert_a(p));
    memcpy(x->sites, p->forms.experts[l].sites, sizeof *x->sites * n_expert_b(p));
  }
  *a = (el_adapter){.n_layers = p->sites->n_layers,
                    .n_inputs = p->sites->n_inputs,
                    .n_sites = p->sites->n_sites,
                    .rank = p->size.rank,
                    .a = f.a,
                    .sites = f.site,
                    .experts = n_experts ? f.experts : NULL,
                    .invocation = {invocation, p->invocation.n, p->invocation.n_lead},
                    .bytes = (size_t)p->size.bytes,
                    .n_blocks = n_blocks,
                    .blocks = numbers};
  walk at = {0};
  for (el_packed *w; (w = next_matrix(p, &f, &at));) {
    w->data = address_of(p, base, blocks, matrix_offset(w));
    el_packed_clear(w);
    el_thread_breathe();
  }
  for (size_t i = 0; i < p->more.n; i++) p->more.pieces[i].at = address_of(p, base, blocks, p->more.pieces[i].offset);
  a->more = el_more_pack(&p->more, front + description_bytes(p, n_blocks) - el_more_description_bytes(&p->more));
  pack_all(p, &f);
  return a;
}
