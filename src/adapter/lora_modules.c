/* Which sites a tensor of a PEFT file belongs to, and where their values are in it.
 *
 * A module is one site; or several sites whose outputs it has; or one expert's, with a number in
 * its name; or it holds parameters with the matrices of all experts. PEFT wraps a module of the
 * last kind once for each of its parameters, so names do not tell which parameter a tensor is for
 * (experts.base_layer.lora_A and experts.lora_A), but the shapes of A and B do. Rows of A are
 * ordered by expert, [experts * rank, in]; columns of B by rank first, [out, rank * experts].
 *
 * PEFT has had three meanings of `in`: before 0.19 the second size of the parameter, in 0.19.0 the
 * outputs, and since then the inputs. Where it is the outputs, lora_A is the transposed B and
 * lora_B the transposed A. Shapes tell this too, unless there are as many inputs as outputs. */
#include "adapter/lora_modules.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* ------------------------------------------------------------------- names */

static bool is_called(const el_site *site, el_str module) {
  return el_str_eq(module, site->peft) || (site->peft_4 && el_str_eq(module, site->peft_4));
}

/* Whether the module matches the pattern with a number in the place of *. */
static bool matches_pattern(el_str module, const char *pattern, int *number) {
  const char *star = strchr(pattern, '*');
  const size_t n = (size_t)(star - pattern);
  if (module.len < n || memcmp(module.data, pattern, n) != 0) return false;
  el_str rest = {module.data + n, module.len - n};
  return el_lora_skip_number(&rest, EL_LORA_MAX_NUMBER, number) && el_str_eq(rest, star + 1);
}

bool el_lora_module_find(el_lora_file *f, el_str name, el_lora_module *out) {
  *out = (el_lora_module){0};
  if (!f->sites) {
    out->expert = el_lora_number_in(name);
    out->first = el_lora_module_number(f, name);
    out->n = out->first >= 0;
    return out->n > 0;
  }
  for (int i = 0; i < f->sites->n_sites; i++)
    if (is_called(&f->sites->site[i], name) && !out->n++) out->first = i;
  el_str holder = name;
  while (el_str_chop(&holder, ".base_layer")) continue;
  for (int i = f->sites->n_sites; i < el_sites_all(f->sites); i++) {
    const el_site *site = &f->sites->site[i];
    if (is_called(site, holder)) {
      out->parameters = true;
      out->alone = site->peft_4 && el_str_eq(holder, site->peft_4);
    } else if (site->stack && el_str_eq(name, site->stack)) {
      out->stacked = true;
    } else if (!site->by_expert || !matches_pattern(name, site->by_expert, &out->expert)) {
      continue;
    }
    if (!out->n++) out->first = i;
  }
  return out->n > 0;
}

size_t el_lora_most_sites(const el_sites *s) {
  size_t most = 1;
  for (int i = 0; s && i < el_sites_all(s); i++) {
    size_t n = 0;
    for (int k = 0; k < el_sites_all(s); k++) n += !strcmp(s->site[i].peft, s->site[k].peft);
    if (n > most) most = n;
  }
  return most;
}

/* -------------------------------------------------------------- dimensions */

el_status el_lora_module_split(el_lora_file *f, const el_lora_module *m, bool in_turn, el_error *err) {
  char name[EL_SHOW];
  el_lora_half *p = &f->halves[f->n_halves - 1];
  p->site = m->first;
  if (p->is_b && p->rows % m->n)
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path, "tensor %s has %lld rows, which %d matrices cannot share",
                         el_str_show(p->name, name, sizeof name), (long long)p->rows, m->n);
  const size_t step = p->row_step;
  if (p->is_b) p->rows /= m->n;
  if (p->is_b && in_turn) p->row_step *= (size_t)m->n;
  for (int i = 1; i < m->n; i++) {
    f->halves[f->n_halves++] = p[i - 1];
    p[i].site++;
    if (p->is_b) p[i].first += in_turn ? step : step * (size_t)p->rows;
  }
  return EL_OK;
}

/* Reads rank and alpha of a half, by PEFT's name for what it wraps: a module, or a parameter of
 * one. */
static el_status read_rank(el_lora_half *p, const el_peft_config *config, el_str module, const char *parameter,
                           el_error *err) {
  char *name = NULL;
  const int len = parameter ? asprintf(&name, "%.*s.%s", (int)module.len, module.data, parameter) : 0;
  int rank = 0;
  if (len < 0) return el_fail(err, EL_ERR_NO_MEMORY, "adapter: out of memory");
  el_status status = el_peft_config_module(config, name ? (el_str){name, (size_t)len} : module, &rank, &p->alpha, err);
  free(name);
  p->rank = rank;
  return status;
}

/* If a module's only weight was trained as a parameter, PEFT's patterns have a name of its own for
 * it. */
static el_status place_module(el_lora_file *f, const el_peft_config *config, const el_lora_module *m,
                              const el_lora_halves *t, el_error *err) {
  el_lora_half *p = &f->halves[f->n_halves - 1];
  const int64_t *shape = p->is_b ? t->b : t->a;
  el_status status = read_rank(p, config, t->name, el_peft_config_has_weight(config, t->name) ? "weight" : NULL, err);
  if (status) return status;
  el_lora_half_whole(p, 1, shape[0], shape[1]);
  if (t->turned) {
    p->row_step = 1;
    p->col_step = (size_t)shape[0];
  }
  p->expert = m->expert;
  if (f->sites) return el_lora_module_split(f, m, f->sites->site[m->first].in_turn, err);
  p->site = m->first;
  /* Without a base: if any parameter was trained, a multiple of the rank means all experts. */
  const int64_t many = p->is_b ? shape[1] : shape[0];
  if (!el_peft_config_has_parameters(config) || many <= p->rank || many % p->rank) return EL_OK;
  p->of_all = true;
  el_lora_half_whole(p, many / p->rank, p->is_b ? shape[0] : p->rank, p->is_b ? p->rank : shape[1]);
  return EL_OK;
}

typedef enum fit { FITS_NOT, FITS, FITS_SWAPPED } fit;

/* Whether A and B belong to the parameter that sites [first, first + n) make up. */
static fit fit_of(const el_lora_file *f, const el_peft_config *config, const el_lora_halves *t, int first, int n) {
  const el_site_dims dims = el_sites_dims(f->sites, 0, first);
  const int64_t in = dims.in, out = (int64_t)n * dims.out;
  const bool straight = t->a[1] == in && t->b[0] == out, swapped = t->a[1] == out && t->b[0] == in;
  if (straight && swapped)
    return el_peft_config_swaps_experts(config, f->sites->site[first].transposed) ? FITS_SWAPPED : FITS;
  return straight ? FITS : swapped ? FITS_SWAPPED : FITS_NOT;
}

/* Completes the half that a tensor is of a parameter [experts, out, in] or [experts, in, out]. */
static el_status place_parameter(el_lora_file *f, const el_peft_config *config, const el_lora_module *m,
                                 const el_lora_halves *t, el_error *err) {
  const int end = m->first + m->n;
  el_lora_half *p = &f->halves[f->n_halves - 1];
  char name[EL_SHOW];
  el_lora_module of = *m;
  fit fits = FITS_NOT;
  for (int i = m->first; i < end && !fits; i += of.n) {
    const char *parameter = f->sites->site[i].parameter;
    of.first = i;
    for (of.n = 1; i + of.n < end && !strcmp(f->sites->site[i + of.n].parameter, parameter);) of.n++;
    fits = fit_of(f, config, t, of.first, of.n);
  }
  if (!fits)
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path,
                         "tensor %s: no parameter of the base model's experts is for a lora_A %" PRId64 " x %" PRId64
                         " with a lora_B %" PRId64 " x %" PRId64,
                         el_str_show(p->name, name, sizeof name), t->a[0], t->a[1], t->b[0], t->b[1]);
  const el_site *site = &f->sites->site[of.first];
  el_str module = t->name;
  while (el_str_chop(&module, ".base_layer")) continue;
  el_status status = read_rank(p, config, module, m->alone ? "weight" : site->parameter, err);
  if (status) return status;
  const int64_t experts = f->sites->n_experts, rank = p->rank, wide = p->is_b ? t->b[0] : t->a[1],
                many = p->is_b ? t->b[1] : t->a[0];
  if (many != experts * rank)
    return el_fail_about(err, EL_ERR_FORMAT, f->weights_path,
                         "tensor %s has %" PRId64 " %s, expected %" PRId64 ": %" PRId64 " experts of rank %" PRId64,
                         el_str_show(p->name, name, sizeof name), many, p->is_b ? "columns" : "rows", experts * rank,
                         experts, rank);
  p->of_all = true;
  p->count = experts;
  p->values = (size_t)many * (size_t)wide;
  /* The steps in a value's index for the next expert, the next rank, and the other dimension. */
  const size_t by_expert = p->is_b ? 1 : (size_t)(rank * wide), by_rank = p->is_b ? (size_t)experts : (size_t)wide,
               by_wide = p->is_b ? (size_t)many : 1;
  if (fits == FITS_SWAPPED) p->is_b = !p->is_b;
  p->expert_step = by_expert;
  p->row_step = p->is_b ? by_wide : by_rank;
  p->col_step = p->is_b ? by_rank : by_wide;
  p->rows = p->is_b ? wide : rank;
  p->cols = p->is_b ? rank : wide;
  return el_lora_module_split(f, &of, site->in_turn, err);
}

el_status el_lora_module_place_stack(el_lora_file *f, const el_peft_config *config, const el_lora_module *m,
                                     el_str name, const int64_t *shape, el_error *err) {
  el_lora_half *p = &f->halves[f->n_halves - 1];
  p->site = m->first;
  p->of_all = true;
  el_lora_half_whole(p, shape[0], shape[1], shape[2]);
  return read_rank(p, config, name, NULL, err);
}

el_status el_lora_module_place(el_lora_file *f, const el_peft_config *config, const el_lora_module *m,
                               const el_lora_halves *t, el_error *err) {
  return m->parameters ? place_parameter(f, config, m, t, err) : place_module(f, config, m, t, err);
}
