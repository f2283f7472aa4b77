/* Access to the contents of values: items, attributes, slices, iteration. */
#include <string.h>

#include "template/builtins.h"

/* --- dicts */

enum { FEW_PAIRS = 8 };

bool el_hashable(el_val v) {
  if (v.kind != EL_TUPLE) return v.kind != EL_LIST && v.kind != EL_DICT && v.kind != EL_VIEW;
  for (uint32_t i = 0; i < v.list->n; i++)
    if (!el_hashable(v.list->items[i])) return false;
  return true;
}

static uint64_t mix_hash(uint64_t h, uint64_t x) {
  h = (h ^ x) * 0x9e3779b97f4a7c15u;
  return h ^ h >> 32;
}

/* Equal values have equal hashes: 1, 1.0 and True. */
static uint64_t hash_value(el_val v) {
  uint64_t h = 0x243f6a8885a308d3u;
  switch ((el_kind)v.kind) {
    case EL_BOOL:
    case EL_INT: return mix_hash(h, (uint64_t)el_val_integer(v));
    case EL_FLOAT:
      if (v.f >= -9e18 && v.f <= 9e18 && v.f == (double)(int64_t)v.f) return mix_hash(h, (uint64_t)(int64_t)v.f);
      return mix_hash(h, 1);
    case EL_STRING:
      for (uint32_t i = 0; i < v.s->len; i++) h = (h ^ (unsigned char)v.s->data[i]) * 0x100000001b3u;
      return mix_hash(h, v.s->len);
    case EL_TUPLE:
      for (uint32_t i = 0; i < v.list->n; i++) h = mix_hash(h, hash_value(v.list->items[i]));
      return h;
    case EL_MISSING:
    case EL_UNDEFINED:
    case EL_NONE: return mix_hash(h, v.kind);
    default: return mix_hash(h, (uint64_t)(uintptr_t)v.list);
  }
}

/* Pairs are compared one after the other, and each comparison counts: keys that were made to
 * collide run into the limit of steps. */
static uint32_t *dict_slot(el_rendering *r, const el_dict *d, el_val key) {
  for (uint64_t i = hash_value(key);; i++) {
    uint32_t *slot = &d->slots[i & (d->n_slots - 1)];
    el_step(r, 0);
    if (!*slot || el_equal(r, d->pairs[*slot - 1].key, key)) return slot;
  }
}

static uint32_t dict_find(el_rendering *r, const el_dict *d, el_val key) {
  if (!el_hashable(key)) el_fault(r, "%s cannot be a key", el_val_type(key));
  if (d->slots) {
    if (key.kind == EL_STRING) el_step(r, key.s->len);
    return *dict_slot(r, d, key) - 1;
  }
  for (uint32_t i = 0; i < d->n; i++)
    if (el_equal(r, d->pairs[i].key, key)) return i;
  return UINT32_MAX;
}

el_val el_dict_get(el_rendering *r, const el_dict *d, el_val key) {
  uint32_t i = dict_find(r, d, key);
  return i == UINT32_MAX ? (el_val){0} : d->pairs[i].value;
}

void el_dict_set(el_rendering *r, el_dict *d, el_val key, el_val value) {
  uint32_t at = dict_find(r, d, key);
  if (at != UINT32_MAX) {
    d->pairs[at].value = value;
    return;
  }
  if (d->n == d->cap) {
    uint32_t cap = d->cap ? d->cap * 2 : 4;
    d->pairs = el_task_grow(&r->task, d->pairs, d->n * sizeof *d->pairs, cap * sizeof *d->pairs);
    d->cap = cap;
  }
  d->pairs[d->n++] = (el_pair){key, value};
  if (d->n <= FEW_PAIRS) return;
  if (d->n * 2 > d->n_slots) {
    d->n_slots = d->n_slots ? d->n_slots * 2 : 4 * FEW_PAIRS;
    d->slots = el_task_zeroed(&r->task, d->n_slots * sizeof *d->slots);
    for (uint32_t i = 0; i < d->n; i++) *dict_slot(r, d, d->pairs[i].key) = i + 1;
  } else {
    *dict_slot(r, d, key) = d->n;
  }
}

/* --- iterating */

bool el_iterable(el_val v) {
  switch ((el_kind)v.kind) {
    case EL_UNDEFINED:
    case EL_STRING:
    case EL_LIST:
    case EL_TUPLE:
    case EL_DICT:
    case EL_VIEW:
    case EL_RANGE:
    case EL_ITER:
    case EL_LOOP: return true;
    default: return false;
  }
}

el_list *el_list_of(el_rendering *r, el_val a, el_val b) {
  el_list *list = el_list_new(&r->task, 2);
  el_list_add(&r->task, list, a);
  el_list_add(&r->task, list, b);
  return list;
}

static el_list *split_characters(el_rendering *r, const el_text *s) {
  el_list *list = el_list_new(&r->task, 0);
  el_step(r, (size_t)s->len * 16);
  for (size_t at = 0, n; at < s->len; at += n) {
    n = el_char_size(s->data + at, s->len - at);
    el_list_add(&r->task, list, el_val_string(el_text_cut(&r->task, s, at, at + n)));
  }
  return list;
}

static el_list *view_items(el_rendering *r, const el_dict *d, el_view_kind kind) {
  el_list *list = el_list_new(&r->task, d->n);
  el_step(r, (size_t)d->n * sizeof(el_val));
  for (uint32_t i = 0; i < d->n; i++) {
    const el_pair *p = &d->pairs[i];
    el_list_add(&r->task, list,
                kind == EL_VIEW_KEYS     ? p->key
                : kind == EL_VIEW_VALUES ? p->value
                                         : el_val_tuple(el_list_of(r, p->key, p->value)));
  }
  return list;
}

static el_list *range_items(el_rendering *r, const el_range_val *range) {
  el_list *list = el_list_new(&r->task, range->n);
  el_step(r, (size_t)range->n * sizeof(el_val));
  for (uint32_t i = 0; i < range->n; i++)
    el_list_add(&r->task, list, el_val_int(range->start + (int64_t)i * range->step));
  return list;
}

el_list *el_items(el_rendering *r, el_val v) {
  el_step(r, 0);
  switch ((el_kind)v.kind) {
    case EL_UNDEFINED: return el_list_new(&r->task, 0);
    case EL_STRING: return split_characters(r, v.s);
    case EL_LIST:
    case EL_TUPLE: return v.list;
    case EL_DICT: return view_items(r, v.dict, EL_VIEW_KEYS);
    case EL_VIEW: return view_items(r, v.view->dict, v.view->kind);
    case EL_RANGE: return range_items(r, v.range);
    case EL_ITER: {
      el_list *rest = el_list_new(&r->task, 0);
      rest->items = v.iter->list->items ? v.iter->list->items + v.iter->at : NULL;
      rest->n = rest->cap = v.iter->list->n - v.iter->at;
      v.iter->at = v.iter->list->n;
      return rest;
    }
    default: el_fault(r, "%s cannot be iterated over", el_val_type(v));
  }
}

bool el_has_length(el_val v) {
  return el_iterable(v) && v.kind != EL_ITER;
}

int64_t el_length(el_rendering *r, el_val v) {
  switch ((el_kind)v.kind) {
    case EL_UNDEFINED: return 0;
    case EL_STRING: el_step(r, v.s->len); return (int64_t)el_text_length(v.s);
    case EL_LIST:
    case EL_TUPLE: return v.list->n;
    case EL_DICT: return v.dict->n;
    case EL_VIEW: return v.view->dict->n;
    case EL_RANGE: return v.range->n;
    case EL_LOOP: return el_val_integer(el_loop_attribute(r, v.loop, el_text_new(&r->task, "length", 6, 0)));
    default: el_fault(r, "%s has no length", el_val_type(v));
  }
}

el_val el_generator(el_rendering *r, el_list *items, const char *name) {
  el_iter *iter = el_task_zeroed(&r->task, sizeof *iter);
  iter->list = items;
  iter->name = name;
  return (el_val){.kind = EL_ITER, .iter = iter};
}

/* --- items */

/* Resolves an index into n items. False: there is no such item. */
static bool index_in(int64_t i, int64_t n, uint32_t *out) {
  if (i < 0) i += n;
  if (i < 0 || i >= n) return false;
  *out = (uint32_t)i;
  return true;
}

/* Item i, or EL_MISSING. */
static el_val item_at(el_rendering *r, el_val of, int64_t i) {
  uint32_t at;
  switch ((el_kind)of.kind) {
    case EL_LIST:
    case EL_TUPLE: return index_in(i, of.list->n, &at) ? of.list->items[at] : (el_val){0};
    case EL_RANGE:
      return index_in(i, of.range->n, &at) ? el_val_int(of.range->start + at * of.range->step) : (el_val){0};
    case EL_STRING: {
      if (!index_in(i, el_length(r, of), &at)) return (el_val){0};
      size_t begin = el_text_offset(of.s, at), n = el_char_size(of.s->data + begin, of.s->len - begin);
      el_val v = el_val_string(el_text_cut(&r->task, of.s, begin, begin + n));
      v.safe = of.safe;
      return v;
    }
    default: return (el_val){0};
  }
}

static el_val get_key(el_rendering *r, el_val of, el_val key) {
  if (of.kind == EL_DICT) return el_hashable(key) ? el_dict_get(r, of.dict, key) : (el_val){0};
  return el_val_is_integer(key) ? item_at(r, of, el_val_integer(key)) : (el_val){0};
}

static bool is_dunder(const el_text *name) {
  return name->len >= 4 && memcmp(name->data, "__", 2) == 0 && memcmp(name->data + name->len - 2, "__", 2) == 0;
}

static const el_text *text_from_cstring(el_rendering *r, const char *s) {
  return el_text_new(&r->task, s, strlen(s), 0);
}

static el_val macro_attribute(el_rendering *r, const el_macro *m, const el_text *name) {
  if (el_text_is(name, "name")) return el_val_string(m->def->name);
  if (el_text_is(name, "caller")) return el_val_bool(m->def->caller);
  if (el_text_is(name, "catch_kwargs")) return el_val_bool(m->def->kwargs);
  if (el_text_is(name, "catch_varargs")) return el_val_bool(m->def->varargs);
  if (!el_text_is(name, "arguments")) return (el_val){0};
  el_list *list = el_list_new(&r->task, m->def->n_params);
  for (uint32_t i = 0; i < m->def->n_params; i++) el_list_add(&r->task, list, el_val_string(m->def->param_names[i]));
  return el_val_tuple(list);
}

/* What getattr() returns, or EL_MISSING. */
static el_val get_attribute(el_rendering *r, el_val of, const el_text *name) {
  switch ((el_kind)of.kind) {
    case EL_NAMESPACE: return el_dict_get(r, of.dict, el_val_string(name));
    case EL_LOOP: return el_loop_attribute(r, of.loop, name);
    case EL_MACRO: return macro_attribute(r, of.macro, name);
    case EL_TUPLE: /* from groupby */
      if (of.safe && el_text_is(name, "grouper")) return of.list->items[0];
      if (of.safe && el_text_is(name, "list")) return of.list->items[1];
      break;
    case EL_CYCLER:
      if (el_text_is(name, "current")) return of.cycler->list->items[of.cycler->at];
      break;
    case EL_RANGE:
      if (el_text_is(name, "start")) return el_val_int(of.range->start);
      if (el_text_is(name, "stop")) return el_val_int(of.range->stop);
      if (el_text_is(name, "step")) return el_val_int(of.range->step);
      break;
    default: break;
  }
  const el_function *f = el_method_find(r, of, name);
  if (!f) return (el_val){0};
  el_method *m = el_task_zeroed(&r->task, sizeof *m);
  *m = (el_method){of, f};
  return (el_val){.kind = EL_METHOD, .method = m};
}

el_val el_get_attribute(el_rendering *r, el_val of, const el_text *name) {
  el_step(r, 0);
  el_need_defined(r, of);
  if (is_dunder(name)) el_fault(r, "'%.*s' may not be read", (int)(name->len < 60 ? name->len : 60), name->data);
  el_val v = get_attribute(r, of, name);
  if (v.kind == EL_MISSING) v = get_key(r, of, el_val_string(name));
  return v.kind == EL_MISSING ? el_val_undefined(EL_NO_ATTRIBUTE, name) : v;
}

el_val el_get_item(el_rendering *r, el_val of, el_val key) {
  el_step(r, 0);
  el_need_defined(r, of);
  el_val v = get_key(r, of, key);
  if (v.kind == EL_MISSING && key.kind == EL_STRING) {
    if (is_dunder(key.s)) el_fault(r, "'%.*s' may not be read", (int)(key.s->len < 60 ? key.s->len : 60), key.s->data);
    v = get_attribute(r, of, key.s);
  }
  if (v.kind != EL_MISSING) return v;
  return el_val_undefined(EL_NO_ATTRIBUTE, key.kind == EL_STRING ? key.s : text_from_cstring(r, "item"));
}

/* --- slices */

static int64_t slice_bound(el_rendering *r, el_val v, int64_t otherwise) {
  if (v.kind == EL_MISSING || v.kind == EL_NONE) return otherwise;
  if (!el_val_is_integer(v)) {
    el_need_defined(r, v);
    el_fault(r, "the parts of a slice are integers, not %s", el_val_type(v));
  }
  return el_val_integer(v);
}

static int64_t clamp(int64_t i, int64_t n, int64_t low, int64_t high) {
  if (i < 0) i = i < -n ? -1 : i + n; /* -1: before all items, for steps down */
  return i < low ? low : i > high ? high : i;
}

el_val el_get_slice(el_rendering *r, el_val of, el_val from, el_val to, el_val step_value) {
  el_need_defined(r, of);
  if (of.kind != EL_STRING && of.kind != EL_LIST && of.kind != EL_TUPLE && of.kind != EL_RANGE)
    el_fault(r, "%s has no slices", el_val_type(of));
  int64_t step = slice_bound(r, step_value, 1), n = el_length(r, of);
  if (!step) el_fault(r, "a slice's step is 0");
  bool down = step < 0;
  int64_t begin = clamp(slice_bound(r, from, down ? n - 1 : 0), n, down ? -1 : 0, down ? n - 1 : n);
  int64_t end = clamp(slice_bound(r, to, down ? -n - 1 : n), n, down ? -1 : 0, down ? n - 1 : n);
  if (of.kind == EL_STRING) {
    el_val v;
    if (step == 1) {
      size_t first = el_text_offset(of.s, (size_t)begin);
      size_t last = begin < end ? el_text_offset(of.s, (size_t)end) : first;
      v = el_val_string(el_text_cut(&r->task, of.s, first, last));
    } else {
      const el_list *list = split_characters(r, of.s);
      el_writer w = el_writer_of(r);
      for (int64_t i = begin; down ? i > end : i < end;) {
        el_write_text(&w, list->items[i].s);
        if (__builtin_add_overflow(i, step, &i)) break;
      }
      v = el_val_string(el_written(&w));
    }
    v.safe = of.safe;
    return v;
  }
  if (of.kind == EL_RANGE) {
    el_range_val *range = el_task_alloc(&r->task, sizeof *range);
    int64_t n_cut = down ? (begin > end ? (begin - end - 1) / -(step < -n ? -n - 1 : step) + 1 : 0)
                         : (begin < end ? (end - begin - 1) / step + 1 : 0);
    int64_t whole = step < -n ? -n - 1 : step > n ? n + 1 : step; /* as far as it matters */
    *range = (el_range_val){of.range->start + begin * of.range->step, of.range->start + end * of.range->step,
                            of.range->step * whole, (uint32_t)n_cut};
    return (el_val){.kind = EL_RANGE, .range = range};
  }
  const el_list *list = of.list;
  el_list *cut = el_list_new(&r->task, 0);
  for (int64_t i = begin; down ? i > end : i < end;) {
    el_step(r, sizeof(el_val));
    el_list_add(&r->task, cut, list->items[i]);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return of.kind == EL_TUPLE ? el_val_tuple(cut) : el_val_list(cut);
}
