/* Functions that every template has, and methods of values that hold other values. */
#include <string.h>
#include <time.h>

#include "template/builtins.h"

#define NAMES(...)        \
  (const char *const[]) { \
    __VA_ARGS__           \
  }

/* --- methods of dicts and lists */

static el_val make_view(el_rendering *r, el_val self, const el_arguments *a, const char *what, el_view_kind kind) {
  el_no_arguments(r, what, a);
  el_view *v = el_task_alloc(&r->task, sizeof *v);
  *v = (el_view){kind, self.dict};
  return (el_val){.kind = EL_VIEW, .view = v};
}
static el_val dict_keys(el_rendering *r, el_val self, const el_arguments *a) {
  return make_view(r, self, a, "keys", EL_VIEW_KEYS);
}
static el_val dict_values(el_rendering *r, el_val self, const el_arguments *a) {
  return make_view(r, self, a, "values", EL_VIEW_VALUES);
}
static el_val dict_items(el_rendering *r, el_val self, const el_arguments *a) {
  return make_view(r, self, a, "items", EL_VIEW_ITEMS);
}

static el_val dict_get(el_rendering *r, el_val self, const el_arguments *a) {
  el_val v[2];
  el_bind(r, "get", a, NAMES("key", "default"), 2, 1, v);
  el_val found = el_dict_get(r, self.dict, v[0]);
  return found.kind != EL_MISSING ? found : v[1].kind != EL_MISSING ? v[1] : EL_VAL_NONE;
}

static el_dict *copy_of(el_rendering *r, const el_dict *from) {
  el_dict *d = el_dict_new(&r->task);
  for (uint32_t i = 0; i < from->n; i++) el_dict_set(r, d, from->pairs[i].key, from->pairs[i].value);
  return d;
}

static el_val dict_copy(el_rendering *r, el_val self, const el_arguments *a) {
  el_no_arguments(r, "copy", a);
  return el_val_dict(copy_of(r, self.dict));
}

static el_val list_copy(el_rendering *r, el_val self, const el_arguments *a) {
  el_no_arguments(r, "copy", a);
  return self; /* lists never change */
}

static el_val list_index(el_rendering *r, el_val self, const el_arguments *a) {
  el_val value;
  el_bind(r, "index", a, NAMES("value"), 1, 1, &value);
  const el_list *list = el_items(r, self);
  for (uint32_t i = 0; i < list->n; i++)
    if (el_equal(r, list->items[i], value)) return el_val_int(i);
  el_fault(r, "'index' finds nothing");
}

static el_val list_count(el_rendering *r, el_val self, const el_arguments *a) {
  el_val value;
  el_bind(r, "count", a, NAMES("value"), 1, 1, &value);
  int64_t n = 0;
  const el_list *list = el_items(r, self);
  for (uint32_t i = 0; i < list->n; i++) n += el_equal(r, list->items[i], value);
  return el_val_int(n);
}

/* Values are constant in chat templates, as in transformers, which refuses these names, too. */
static el_val refuse_change(el_rendering *r, el_val self, const el_arguments *a) {
  el_fault(r, "a chat template may not change a %s", el_val_type(self));
}

static el_val cycler_next(el_rendering *r, el_val self, const el_arguments *a) {
  el_no_arguments(r, "next", a);
  el_val v = self.cycler->list->items[self.cycler->at];
  self.cycler->at = (self.cycler->at + 1) % self.cycler->list->n;
  return v;
}

static el_val cycler_reset(el_rendering *r, el_val self, const el_arguments *a) {
  el_no_arguments(r, "reset", a);
  self.cycler->at = 0;
  return EL_VAL_NONE;
}

static const el_function DICT_METHODS[] = {{"clear", refuse_change},
                                           {"copy", dict_copy},
                                           {"get", dict_get},
                                           {"items", dict_items},
                                           {"keys", dict_keys},
                                           {"pop", refuse_change},
                                           {"popitem", refuse_change},
                                           {"setdefault", refuse_change},
                                           {"update", refuse_change},
                                           {"values", dict_values},
                                           {NULL, NULL}};
static const el_function LIST_METHODS[] = {
    {"append", refuse_change}, {"clear", refuse_change},   {"copy", list_copy},       {"count", list_count},
    {"extend", refuse_change}, {"index", list_index},      {"insert", refuse_change}, {"pop", refuse_change},
    {"remove", refuse_change}, {"reverse", refuse_change}, {"sort", refuse_change},   {NULL, NULL}};
static const el_function TUPLE_METHODS[] = {{"count", list_count}, {"index", list_index}, {NULL, NULL}};
static const el_function CYCLER_METHODS[] = {{"next", cycler_next}, {"reset", cycler_reset}, {NULL, NULL}};

const el_function *el_method_find(el_rendering *r, el_val of, const el_text *name) {
  el_str s = {name->data, name->len};
  el_step(r, 0);
  switch ((el_kind)of.kind) {
    case EL_STRING: return el_find(el_string_methods, s);
    case EL_DICT: return el_find(DICT_METHODS, s);
    case EL_LIST: return el_find(LIST_METHODS, s);
    case EL_TUPLE:
    case EL_RANGE: return el_find(TUPLE_METHODS, s);
    case EL_CYCLER: return el_find(CYCLER_METHODS, s);
    default: return NULL;
  }
}

/* --- functions */

enum { MAX_RANGE = 100000 }; /* the limit of Jinja's sandbox */

static el_val function_range(el_rendering *r, el_val self, const el_arguments *a) {
  if (!a->n || a->n > 3 || a->n_keywords) el_fault(r, "'range' takes one to three integers");
  int64_t v[3] = {0, 0, 1};
  for (uint32_t i = 0; i < a->n; i++) v[a->n == 1 ? 1 : i] = el_int_argument(r, a->positional[i], "range", 0);
  if (!v[2]) el_fault(r, "the step of 'range' is 0");
  bool some = v[2] > 0 ? v[0] < v[1] : v[0] > v[1];
  uint64_t distance = v[2] > 0 ? (uint64_t)v[1] - (uint64_t)v[0] : (uint64_t)v[0] - (uint64_t)v[1];
  uint64_t step = v[2] > 0 ? (uint64_t)v[2] : 0 - (uint64_t)v[2];
  uint64_t n = some ? (distance - 1) / step + 1 : 0;
  if (n > MAX_RANGE) el_fault(r, "'range' has more than %d numbers", MAX_RANGE);
  el_range_val *range = el_task_alloc(&r->task, sizeof *range);
  *range = (el_range_val){v[0], v[1], v[2], (uint32_t)n};
  return (el_val){.kind = EL_RANGE, .range = range};
}

/* Takes a mapping or pairs, then keywords. */
static el_dict *make_dict(el_rendering *r, const el_arguments *a, const char *what) {
  if (a->n > 1) el_fault(r, "'%s' takes one argument without a name at most", what);
  el_dict *d = el_dict_new(&r->task);
  if (a->n && (a->positional[0].kind == EL_DICT)) {
    d = copy_of(r, a->positional[0].dict);
  } else if (a->n) {
    el_need_defined(r, a->positional[0]);
    const el_list *pairs = el_items(r, a->positional[0]);
    for (uint32_t i = 0; i < pairs->n; i++) {
      const el_list *pair = el_items(r, pairs->items[i]);
      if (pair->n != 2) el_fault(r, "'%s' needs pairs", what);
      el_dict_set(r, d, pair->items[0], pair->items[1]);
    }
  }
  for (uint32_t i = 0; i < a->n_keywords; i++) el_dict_set(r, d, el_val_string(a->names[i]), a->keywords[i]);
  return d;
}

static el_val function_dict(el_rendering *r, el_val self, const el_arguments *a) {
  return el_val_dict(make_dict(r, a, "dict"));
}

static el_val function_namespace(el_rendering *r, el_val self, const el_arguments *a) {
  el_dict *d = make_dict(r, a, "namespace");
  for (uint32_t i = 0; i < d->n; i++)
    if (d->pairs[i].key.kind == EL_STRING && d->pairs[i].key.s->len && d->pairs[i].key.s->data[0] == '_')
      el_fault(r, "attributes of a namespace must not begin with '_'");
  return (el_val){.kind = EL_NAMESPACE, .dict = d};
}

static el_val function_raise(el_rendering *r, el_val self, const el_arguments *a) {
  el_val message;
  char show[512];
  el_bind(r, "raise_exception", a, NAMES("message"), 1, 1, &message);
  const el_text *s = el_string(r, message);
  r->task.line = 0; /* the message is for people who use the template, not for its author */
  el_fault(r, "the model's chat template refuses this: %s", el_str_show((el_str){s->data, s->len}, show, sizeof show));
}

static el_val function_now(el_rendering *r, el_val self, const el_arguments *a) {
  el_val format;
  char out[512];
  struct tm tm;
  time_t now = (time_t)r->now;
  el_bind(r, "strftime_now", a, NAMES("format"), 1, 1, &format);
  const el_text *f = el_text_argument(r, format, "format");
  if (!f || !localtime_r(&now, &tm)) el_fault(r, "'strftime_now' needs a format");
  char *copy = el_task_alloc(&r->task, (size_t)f->len + 2);
  memcpy(copy, f->data, f->len);
  memcpy(copy + f->len, "|", 2); /* so that an empty result can be told from one that did not fit */
  size_t n = strlen(copy) == f->len + 1 ? strftime(out, sizeof out, copy, &tm) : 0;
  if (!n) el_fault(r, "'strftime_now' gives more than %zu bytes", sizeof out);
  return el_val_string(el_text_copy(&r->task, out, n - 1, 0));
}

static el_val function_cycler(el_rendering *r, el_val self, const el_arguments *a) {
  if (!a->n || a->n_keywords) el_fault(r, "'cycler' needs values");
  el_cycler *c = el_task_zeroed(&r->task, sizeof *c);
  c->list = el_list_new(&r->task, a->n);
  for (uint32_t i = 0; i < a->n; i++) el_list_add(&r->task, c->list, a->positional[i]);
  return (el_val){.kind = EL_CYCLER, .cycler = c};
}

static el_val function_joiner(el_rendering *r, el_val self, const el_arguments *a) {
  el_val sep;
  el_bind(r, "joiner", a, NAMES("sep"), 1, 0, &sep);
  if (sep.kind == EL_MISSING) sep = el_val_string(el_text_new(&r->task, ", ", 2, 0));
  return (el_val){.kind = EL_JOINER, .list = el_list_of(r, sep, el_val_bool(false))};
}

static const el_function FUNCTIONS[] = {{"cycler", function_cycler},         {"dict", function_dict},
                                        {"joiner", function_joiner},         {"namespace", function_namespace},
                                        {"raise_exception", function_raise}, {"range", function_range},
                                        {"strftime_now", function_now},      {NULL, NULL}};

const el_function *el_function_find(el_str name) {
  return el_find(FUNCTIONS, name);
}
