/* Values of a running template, with their meaning in Python. */
#ifndef EL_TEMPLATE_VALUE_H
#define EL_TEMPLATE_VALUE_H

#include "template/text.h"

typedef enum el_kind {
  EL_MISSING, /* no value at all: an argument that was not given, a variable that is not set */
  EL_UNDEFINED,
  EL_NONE,
  EL_BOOL,
  EL_INT,
  EL_FLOAT,
  EL_STRING,
  EL_LIST,
  EL_TUPLE,
  EL_DICT,
  EL_VIEW,  /* what keys(), values() and items() of a dict return */
  EL_RANGE, /* a range(), with its numbers in a list */
  EL_ITER,  /* a generator: it gives its items once, and is always true */
  EL_NAMESPACE,
  EL_MACRO,
  EL_FUNCTION, /* a built-in function */
  EL_METHOD,   /* a method that is bound to a value */
  EL_LOOP,
  EL_CYCLER,
  EL_JOINER
} el_kind;

typedef enum el_undefined { EL_NO_VARIABLE, EL_NO_ATTRIBUTE, EL_NO_ARGUMENT, EL_NO_ITEM } el_undefined;

typedef struct el_list el_list;
typedef struct el_dict el_dict;
typedef struct el_iter el_iter;
typedef struct el_range_val el_range_val;
typedef struct el_macro el_macro;
typedef struct el_function el_function;
typedef struct el_method el_method;
typedef struct el_loop el_loop;
typedef struct el_cycler el_cycler;
typedef struct el_view el_view;

struct el_val {
  uint8_t kind;
  bool safe;       /* EL_STRING: markup, which escapes what is added to it */
  uint32_t source; /* EL_BOOL, EL_INT, EL_FLOAT: the origin. EL_UNDEFINED: an el_undefined */
  union {
    bool b;
    int64_t i;
    double f;
    const el_text *s; /* EL_STRING; EL_UNDEFINED: the name that is not defined, or why */
    el_list *list;    /* EL_LIST, EL_TUPLE; EL_JOINER: the separator, and whether it has been
                       * used */
    el_dict *dict;    /* EL_DICT, EL_NAMESPACE */
    el_view *view;
    el_range_val *range;
    el_iter *iter;
    el_macro *macro;
    const el_function *function;
    el_method *method;
    el_loop *loop;
    el_cycler *cycler;
  };
};
typedef struct el_val el_val;

struct el_list {
  el_val *items;
  uint32_t n, cap;
};

typedef struct el_pair {
  el_val key, value;
} el_pair;

struct el_dict {
  el_pair *pairs; /* in the order of insertion */
  uint32_t n, cap;
  uint32_t *slots; /* index + 1, or 0; NULL while there are few */
  uint32_t n_slots;
};

typedef enum el_view_kind { EL_VIEW_KEYS, EL_VIEW_VALUES, EL_VIEW_ITEMS } el_view_kind;
struct el_view {
  el_view_kind kind;
  el_dict *dict;
};

struct el_range_val {
  int64_t start, stop, step;
  uint32_t n;
};

struct el_iter {
  el_list *list;
  uint32_t at;
  const char *name; /* what it prints as */
};

struct el_cycler {
  el_list *list;
  uint32_t at;
};

#define EL_VAL_NONE ((el_val){.kind = EL_NONE})

static inline el_val el_val_bool(bool b) {
  return (el_val){.kind = EL_BOOL, .b = b};
}
static inline el_val el_val_int(int64_t i) {
  return (el_val){.kind = EL_INT, .i = i};
}
static inline el_val el_val_float(double f) {
  return (el_val){.kind = EL_FLOAT, .f = f};
}
static inline el_val el_val_string(const el_text *s) {
  return (el_val){.kind = EL_STRING, .s = s};
}
static inline el_val el_val_list(el_list *list) {
  return (el_val){.kind = EL_LIST, .list = list};
}
static inline el_val el_val_tuple(el_list *list) {
  return (el_val){.kind = EL_TUPLE, .list = list};
}
static inline el_val el_val_dict(el_dict *dict) {
  return (el_val){.kind = EL_DICT, .dict = dict};
}
static inline el_val el_val_undefined(el_undefined what, const el_text *name) {
  return (el_val){.kind = EL_UNDEFINED, .source = what, .s = name};
}
static inline bool el_val_is_number(el_val v) {
  return v.kind == EL_INT || v.kind == EL_FLOAT || v.kind == EL_BOOL;
}
static inline bool el_val_is_integer(el_val v) {
  return v.kind == EL_INT || v.kind == EL_BOOL;
}
static inline int64_t el_val_integer(el_val v) {
  return v.kind == EL_BOOL ? v.b : v.i;
}
static inline double el_val_number(el_val v) {
  return v.kind == EL_FLOAT ? v.f : (double)el_val_integer(v);
}

/* Python's name of the type. */
const char *el_val_type(el_val v);

el_list *el_list_new(el_task *t, size_t room);
void el_list_add(el_task *t, el_list *list, el_val v);
el_dict *el_dict_new(el_task *t);

#endif
