/* Filters on sequences and mappings. */
#include <string.h>

#include "template/builtins.h"

#define NAMES(...)        \
  (const char *const[]) { \
    __VA_ARGS__           \
  }

/* --- attributes by name: "a.b.0" */

static el_val path_component(el_rendering *r, const el_text *path, size_t begin, size_t end) {
  int64_t n = 0;
  bool digits = end > begin && end - begin < 18;
  for (size_t i = begin; i < end && digits; i++) {
    digits = path->data[i] >= '0' && path->data[i] <= '9';
    n = n * 10 + (path->data[i] - '0');
  }
  return digits ? el_val_int(n) : el_val_string(el_text_cut(&r->task, path, begin, end));
}

el_val el_get_path(el_rendering *r, el_val of, el_val path, el_val otherwise) {
  if (path.kind == EL_MISSING || path.kind == EL_NONE) return of;
  if (path.kind != EL_STRING) {
    el_val v = el_get_item(r, of, path);
    return v.kind == EL_UNDEFINED && otherwise.kind != EL_MISSING ? otherwise : v;
  }
  for (size_t begin = 0; begin <= path.s->len;) {
    const char *dot = memchr(path.s->data + begin, '.', path.s->len - begin);
    size_t end = dot ? (size_t)(dot - path.s->data) : path.s->len;
    of = el_get_item(r, of, path_component(r, path.s, begin, end));
    if (of.kind == EL_UNDEFINED && otherwise.kind != EL_MISSING) of = otherwise;
    begin = end + 1;
  }
  return of;
}

/* What values are compared by: strings without their case, unless that matters. */
static el_val comparison_key(el_rendering *r, el_val item, el_val path, bool case_sensitive) {
  el_val v = el_get_path(r, item, path, (el_val){0});
  if (v.kind == EL_STRING && !case_sensitive) v.s = el_change_case(r, v.s, EL_TO_LOWER);
  return v;
}

/* The keys for several paths, separated by commas. */
static el_val keys_of(el_rendering *r, el_val item, el_val path, bool case_sensitive) {
  el_list *keys = el_list_new(&r->task, 1);
  if (path.kind != EL_STRING) {
    el_list_add(&r->task, keys, comparison_key(r, item, path, case_sensitive));
    return el_val_list(keys);
  }
  for (size_t begin = 0; begin <= path.s->len;) {
    const char *comma = memchr(path.s->data + begin, ',', path.s->len - begin);
    size_t end = comma ? (size_t)(comma - path.s->data) : path.s->len;
    el_val one = el_val_string(el_text_cut(&r->task, path.s, begin, end));
    el_list_add(&r->task, keys, comparison_key(r, item, one, case_sensitive));
    begin = end + 1;
  }
  return el_val_list(keys);
}

/* --- sorting: stable, as Python's, also in reverse */

typedef struct keyed {
  el_val key, item;
} keyed;

static void merge_sort(el_rendering *r, keyed *a, keyed *room, size_t n, bool reverse) {
  if (n < 2) return;
  size_t half = n / 2, i = 0, j = half, k = 0;
  merge_sort(r, a, room, half, reverse);
  merge_sort(r, a + half, room, n - half, reverse);
  while (k < n) {
    bool first =
        j == n || (i < half && (reverse ? el_order(r, a[i].key, a[j].key) >= 0 : el_order(r, a[j].key, a[i].key) >= 0));
    room[k++] = first ? a[i++] : a[j++];
  }
  memcpy(a, room, n * sizeof *a);
}

static el_list *sorted_list(el_rendering *r, const el_list *list, keyed *keys, bool reverse) {
  el_list *out = el_list_new(&r->task, list->n);
  merge_sort(r, keys, el_task_alloc(&r->task, list->n * sizeof *keys), list->n, reverse);
  for (uint32_t i = 0; i < list->n; i++) el_list_add(&r->task, out, keys[i].item);
  return out;
}

static keyed *keyed_items(el_rendering *r, const el_list *list) {
  keyed *keys = el_task_alloc(&r->task, list->n * sizeof *keys);
  for (uint32_t i = 0; i < list->n; i++) keys[i] = (keyed){list->items[i], list->items[i]};
  return keys;
}

static el_val filter_sort(el_rendering *r, el_val self, const el_arguments *a) {
  el_val v[3];
  el_bind(r, "sort", a, NAMES("reverse", "case_sensitive", "attribute"), 3, 0, v);
  const el_list *list = el_items(r, self);
  keyed *keys = keyed_items(r, list);
  bool case_sensitive = el_bool_argument(r, v[1], false);
  for (uint32_t i = 0; i < list->n; i++) keys[i].key = keys_of(r, list->items[i], v[2], case_sensitive);
  return el_val_list(sorted_list(r, list, keys, el_bool_argument(r, v[0], false)));
}

static el_list *list_dict_items(el_rendering *r, el_val v, const char *what) {
  if (v.kind != EL_DICT) {
    el_need_defined(r, v);
    el_fault(r, "'%s' needs a mapping, not %s", what, el_val_type(v));
  }
  el_view view = {EL_VIEW_ITEMS, v.dict};
  return el_items(r, (el_val){.kind = EL_VIEW, .view = &view});
}

static el_val filter_dictsort(el_rendering *r, el_val self, const el_arguments *a) {
  el_val v[3];
  el_bind(r, "dictsort", a, NAMES("case_sensitive", "by", "reverse"), 3, 0, v);
  const el_text *by = el_text_argument(r, v[1], "by");
  if (by && !el_text_is(by, "key") && !el_text_is(by, "value")) el_fault(r, "'by' is 'key' or 'value'");
  int64_t at = by && el_text_is(by, "value");
  const el_list *list = list_dict_items(r, self, "dictsort");
  keyed *keys = keyed_items(r, list);
  for (uint32_t i = 0; i < list->n; i++)
    keys[i].key = comparison_key(r, list->items[i], el_val_int(at), el_bool_argument(r, v[0], false));
  return el_val_list(sorted_list(r, list, keys, el_bool_argument(r, v[2], false)));
}

/* A tuple (key, items) for each run of equal keys, which also has .grouper and .list. */
static el_val filter_groupby(el_rendering *r, el_val self, const el_arguments *a) {
  el_val v[3];
  el_bind(r, "groupby", a, NAMES("attribute", "default", "case_sensitive"), 3, 1, v);
  bool case_sensitive = el_bool_argument(r, v[2], false);
  const el_list *list = el_items(r, self);
  keyed *keys = keyed_items(r, list);
  for (uint32_t i = 0; i < list->n; i++) {
    el_val key = el_get_path(r, list->items[i], v[0], v[1].kind == EL_NONE ? (el_val){0} : v[1]);
    if (key.kind == EL_STRING && !case_sensitive) key.s = el_change_case(r, key.s, EL_TO_LOWER);
    keys[i].key = key;
  }
  sorted_list(r, list, keys, false);
  el_list *out = el_list_new(&r->task, 0);
  for (uint32_t i = 0, end; i < list->n; i = end) {
    el_list *group = el_list_new(&r->task, 0);
    for (end = i; end < list->n && el_equal(r, keys[end].key, keys[i].key); end++)
      el_list_add(&r->task, group, keys[end].item);
    if (end == i) end = i + 1; /* not equal to itself */
    el_val key = el_get_path(r, keys[i].item, v[0], v[1].kind == EL_NONE ? (el_val){0} : v[1]);
    el_val tuple = el_val_tuple(el_list_of(r, key, el_val_list(group)));
    tuple.safe = true;
    el_list_add(&r->task, out, tuple);
  }
  return el_val_list(out);
}

/* --- choosing */

static el_val filter_first(el_rendering *r, el_val self, const el_arguments *a) {
  el_no_arguments(r, "first", a);
  if (self.kind == EL_ITER && self.iter->at < self.iter->list->n) return self.iter->list->items[self.iter->at++];
  const el_list *list = el_items(r, self);
  return list->n ? list->items[0] : el_val_undefined(EL_NO_ITEM, el_text_new(&r->task, "first", 5, 0));
}

static el_val filter_last(el_rendering *r, el_val self, const el_arguments *a) {
  el_no_arguments(r, "last", a);
  if (self.kind == EL_ITER) el_fault(r, "a generator has no last item");
  const el_list *list = el_items(r, self);
  return list->n ? list->items[list->n - 1] : el_val_undefined(EL_NO_ITEM, el_text_new(&r->task, "last", 4, 0));
}

static el_val min_or_max(el_rendering *r, el_val self, const el_arguments *a, const char *what, int sign) {
  el_val v[2];
  el_bind(r, what, a, NAMES("case_sensitive", "attribute"), 2, 0, v);
  const el_list *list = el_items(r, self);
  bool case_sensitive = el_bool_argument(r, v[0], false);
  if (!list->n) return el_val_undefined(EL_NO_ITEM, el_text_new(&r->task, "aggregated", 10, 0));
  uint32_t best = 0;
  el_val best_key = comparison_key(r, list->items[0], v[1], case_sensitive);
  for (uint32_t i = 1; i < list->n; i++) {
    el_val key = comparison_key(r, list->items[i], v[1], case_sensitive);
    if (el_order(r, key, best_key) * sign <= 0) continue;
    best = i;
    best_key = key;
  }
  return list->items[best];
}

static el_val filter_min(el_rendering *r, el_val self, const el_arguments *a) {
  return min_or_max(r, self, a, "min", -1);
}

static el_val filter_max(el_rendering *r, el_val self, const el_arguments *a) {
  return min_or_max(r, self, a, "max", 1);
}

static el_val filter_unique(el_rendering *r, el_val self, const el_arguments *a) {
  el_val v[2];
  el_bind(r, "unique", a, NAMES("case_sensitive", "attribute"), 2, 0, v);
  bool case_sensitive = el_bool_argument(r, v[0], false);
  const el_list *list = el_items(r, self);
  el_dict *seen = el_dict_new(&r->task);
  el_list *out = el_list_new(&r->task, 0);
  for (uint32_t i = 0; i < list->n; i++) {
    el_val key = comparison_key(r, list->items[i], v[1], case_sensitive);
    if (el_dict_get(r, seen, key).kind != EL_MISSING) continue;
    el_dict_set(r, seen, key, EL_VAL_NONE);
    el_list_add(&r->task, out, list->items[i]);
  }
  return el_generator(r, out, "generator");
}

static el_str name_argument(el_rendering *r, el_val v, const char *what) {
  if (v.kind != EL_STRING) el_fault(r, "a %s is given by name, not by %s", what, el_val_type(v));
  return (el_str){v.s->data, v.s->len};
}

/* select, reject, selectattr, rejectattr: the remaining arguments are a test and its arguments. */
static el_val select_items(el_rendering *r, el_val self, const el_arguments *a, bool by_attribute, bool keep) {
  if (!el_truth(r, self)) return el_generator(r, el_list_new(&r->task, 0), "generator");
  if (by_attribute && !a->n) el_fault(r, "the name of an attribute is missing");
  uint32_t at = by_attribute ? 1 : 0;
  bool has_test = a->n > at;
  el_str name = has_test ? name_argument(r, a->positional[at], "test") : (el_str){"", 0};
  el_arguments rest = *a;
  if (has_test) {
    rest.positional += at + 1;
    rest.n -= at + 1;
  }
  const el_list *list = el_items(r, self);
  el_list *out = el_list_new(&r->task, 0);
  for (uint32_t i = 0; i < list->n; i++) {
    el_val v = by_attribute ? el_get_path(r, list->items[i], a->positional[0], (el_val){0}) : list->items[i];
    bool yes = has_test ? el_apply_test(r, name, el_test_find(name), v, &rest) : el_truth(r, v);
    if (yes == keep) el_list_add(&r->task, out, list->items[i]);
  }
  return el_generator(r, out, "generator");
}

static el_val filter_select(el_rendering *r, el_val self, const el_arguments *a) {
  return select_items(r, self, a, false, true);
}
static el_val filter_reject(el_rendering *r, el_val self, const el_arguments *a) {
  return select_items(r, self, a, false, false);
}
static el_val filter_selectattr(el_rendering *r, el_val self, const el_arguments *a) {
  return select_items(r, self, a, true, true);
}
static el_val filter_rejectattr(el_rendering *r, el_val self, const el_arguments *a) {
  return select_items(r, self, a, true, false);
}

/* --- changing */

static el_val map_attribute(el_rendering *r, const el_list *list, const el_arguments *a) {
  el_val v[2];
  el_list *out = el_list_new(&r->task, list->n);
  el_bind(r, "map", a, NAMES("attribute", "default"), 2, 1, v);
  for (uint32_t i = 0; i < list->n; i++)
    el_list_add(&r->task, out, el_get_path(r, list->items[i], v[0], v[1].kind == EL_NONE ? (el_val){0} : v[1]));
  return el_generator(r, out, "generator");
}

static el_val filter_map(el_rendering *r, el_val self, const el_arguments *a) {
  if (!el_truth(r, self)) return el_generator(r, el_list_new(&r->task, 0), "generator");
  const el_list *list = el_items(r, self);
  if (!a->n && a->n_keywords) return map_attribute(r, list, a);
  if (!a->n) el_fault(r, "'map' needs a filter");
  el_str name = name_argument(r, a->positional[0], "filter");
  el_arguments rest = *a;
  rest.positional++;
  rest.n--;
  el_node n = {.text = a->positional[0].s, .builtin = el_filter_find(name)};
  el_list *out = el_list_new(&r->task, list->n);
  for (uint32_t i = 0; i < list->n; i++) el_list_add(&r->task, out, el_apply_filter(r, &n, list->items[i], &rest));
  return el_generator(r, out, "generator");
}

static el_val filter_list(el_rendering *r, el_val self, const el_arguments *a) {
  el_no_arguments(r, "list", a);
  return el_val_list(el_items(r, self));
}

static el_val filter_items(el_rendering *r, el_val self, const el_arguments *a) {
  el_no_arguments(r, "items", a);
  return el_generator(r, self.kind == EL_UNDEFINED ? el_list_new(&r->task, 0) : list_dict_items(r, self, "items"),
                      "generator");
}

static el_list *reversed_list(el_rendering *r, const el_list *list) {
  el_list *out = el_list_new(&r->task, list->n);
  for (uint32_t i = list->n; i > 0; i--) el_list_add(&r->task, out, list->items[i - 1]);
  return out;
}

static el_val filter_reverse(el_rendering *r, el_val self, const el_arguments *a) {
  el_no_arguments(r, "reverse", a);
  if (self.kind == EL_STRING) return el_get_slice(r, self, (el_val){0}, (el_val){0}, el_val_int(-1));
  el_list *out = reversed_list(r, el_items(r, self));
  return self.kind == EL_ITER ? el_val_list(out) : el_generator(r, out, "list_reverseiterator");
}

static el_val filter_batch(el_rendering *r, el_val self, const el_arguments *a) {
  el_val v[2];
  el_bind(r, "batch", a, NAMES("linecount", "fill_with"), 2, 1, v);
  int64_t size = el_int_argument(r, v[0], "linecount", 0);
  const el_list *list = el_items(r, self);
  el_list *out = el_list_new(&r->task, 0), *row = el_list_new(&r->task, 0);
  for (uint32_t i = 0; i < list->n; i++) {
    if (row->n == size) {
      el_list_add(&r->task, out, el_val_list(row));
      row = el_list_new(&r->task, 0);
    }
    el_list_add(&r->task, row, list->items[i]);
  }
  if (row->n) {
    while (v[1].kind != EL_MISSING && v[1].kind != EL_NONE && row->n < size) {
      el_step(r, 0);
      el_list_add(&r->task, row, v[1]);
    }
    el_list_add(&r->task, out, el_val_list(row));
  }
  return el_generator(r, out, "generator");
}

static el_val filter_slice(el_rendering *r, el_val self, const el_arguments *a) {
  el_val v[2];
  el_bind(r, "slice", a, NAMES("slices", "fill_with"), 2, 1, v);
  const el_list *list = el_items(r, self);
  int64_t slices = el_int_argument(r, v[0], "slices", 0), n = list->n, offset = 0;
  if (!slices) el_fault(r, "division by zero");
  el_list *out = el_list_new(&r->task, 0);
  for (int64_t s = 0; s < slices; s++) {
    el_list *part = el_list_new(&r->task, 0);
    int64_t begin = offset + s * (n / slices);
    if (s < n % slices) offset++;
    int64_t end = offset + (s + 1) * (n / slices);
    el_step(r, 0);
    for (int64_t i = begin; i < end && i < n; i++) el_list_add(&r->task, part, list->items[i]);
    if (v[1].kind != EL_MISSING && v[1].kind != EL_NONE && s >= n % slices) el_list_add(&r->task, part, v[1]);
    el_list_add(&r->task, out, el_val_list(part));
  }
  return el_generator(r, out, "generator");
}

static el_val filter_length(el_rendering *r, el_val self, const el_arguments *a) {
  el_no_arguments(r, "length", a);
  return el_val_int(el_length(r, self));
}

static el_val filter_sum(el_rendering *r, el_val self, const el_arguments *a) {
  el_val v[2];
  el_bind(r, "sum", a, NAMES("attribute", "start"), 2, 0, v);
  const el_list *list = el_items(r, self);
  el_val sum = v[1].kind == EL_MISSING ? el_val_int(0) : v[1];
  if (sum.kind == EL_STRING) el_fault(r, "'sum' is not for strings");
  for (uint32_t i = 0; i < list->n; i++)
    sum = el_binary(r, EL_OP_ADD, sum, el_get_path(r, list->items[i], v[0], (el_val){0}));
  return sum;
}

static el_val filter_attr(el_rendering *r, el_val self, const el_arguments *a) {
  el_val name;
  el_bind(r, "attr", a, NAMES("name"), 1, 1, &name);
  const el_text *s = el_text_argument(r, name, "name");
  if (!s) el_fault(r, "'attr' needs a name");
  if (self.kind == EL_DICT && !el_method_find(r, self, s)) return el_val_undefined(EL_NO_ATTRIBUTE, s);
  return el_get_attribute(r, self, s);
}

const el_function el_list_filters[] = {{"attr", filter_attr},
                                       {"batch", filter_batch},
                                       {"count", filter_length},
                                       {"dictsort", filter_dictsort},
                                       {"first", filter_first},
                                       {"groupby", filter_groupby},
                                       {"items", filter_items},
                                       {"last", filter_last},
                                       {"length", filter_length},
                                       {"list", filter_list},
                                       {"map", filter_map},
                                       {"max", filter_max},
                                       {"min", filter_min},
                                       {"reject", filter_reject},
                                       {"rejectattr", filter_rejectattr},
                                       {"reverse", filter_reverse},
                                       {"select", filter_select},
                                       {"selectattr", filter_selectattr},
                                       {"slice", filter_slice},
                                       {"sort", filter_sort},
                                       {"sum", filter_sum},
                                       {"unique", filter_unique},
                                       {NULL, NULL}};
