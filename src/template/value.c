#include "template/value.h"

#include <string.h>

#include "template/ast.h"

const char *el_val_type(el_val v) {
  switch ((el_kind)v.kind) {
    case EL_MISSING:
    case EL_UNDEFINED: return "Undefined";
    case EL_NONE: return "NoneType";
    case EL_BOOL: return "bool";
    case EL_INT: return "int";
    case EL_FLOAT: return "float";
    case EL_STRING: return "str";
    case EL_LIST: return "list";
    case EL_TUPLE: return "tuple";
    case EL_DICT: return "dict";
    case EL_VIEW: return "dict view";
    case EL_RANGE: return "range";
    case EL_ITER: return "generator";
    case EL_NAMESPACE: return "Namespace";
    case EL_MACRO: return "Macro";
    case EL_FUNCTION: return "function";
    case EL_METHOD: return "method";
    case EL_LOOP: return "LoopContext";
    case EL_CYCLER: return "Cycler";
    case EL_JOINER: break;
  }
  return "Joiner";
}

el_list *el_list_new(el_task *t, size_t room) {
  el_list *list = el_task_zeroed(t, sizeof *list);
  if (!room) return list;
  list->items = el_task_alloc(t, room * sizeof *list->items);
  list->cap = (uint32_t)room;
  return list;
}

void el_list_add(el_task *t, el_list *list, el_val v) {
  if (list->n == list->cap) {
    uint32_t cap = list->cap ? list->cap * 2 : 4;
    list->items = el_task_grow(t, list->items, list->n * sizeof *list->items, cap * sizeof *list->items);
    list->cap = cap;
  }
  list->items[list->n++] = v;
}

el_dict *el_dict_new(el_task *t) {
  return el_task_zeroed(t, sizeof(el_dict));
}

/* --- names of variables */

/* Templates in use have 100 names. Collisions of their hash can be forced; this bounds what that
 * costs. */
enum { EL_MAX_NAMES = 10000 };

static uint32_t hash_variable_name(const char *data, size_t len) {
  uint32_t h = 2166136261u;
  for (size_t i = 0; i < len; i++) h = (h ^ (unsigned char)data[i]) * 16777619u;
  return h;
}

static uint32_t *name_slot(const el_names *names, const char *data, size_t len) {
  for (uint32_t i = hash_variable_name(data, len);; i++) {
    uint32_t *slot = &names->slots[i & (names->n_slots - 1)];
    if (!*slot) return slot;
    const el_text *s = names->items[*slot - 1];
    if (s->len == len && memcmp(s->data, data, len) == 0) return slot;
  }
}

uint32_t el_names_find(const el_names *names, const char *data, size_t len) {
  return names->n_slots ? *name_slot(names, data, len) - 1 : UINT32_MAX;
}

uint32_t el_names_add(el_task *t, el_names *names, const char *data, size_t len) {
  if (names->n * 2 >= names->n_slots) {
    names->n_slots = names->n_slots ? names->n_slots * 2 : 64;
    names->slots = el_task_zeroed(t, names->n_slots * sizeof *names->slots);
    for (uint32_t i = 0; i < names->n; i++) *name_slot(names, names->items[i]->data, names->items[i]->len) = i + 1;
  }
  uint32_t *slot = name_slot(names, data, len);
  if (*slot) return *slot - 1;
  if (names->n == EL_MAX_NAMES)
    el_task_fail(t, EL_ERR_INVALID, "the template has more than %d variables", EL_MAX_NAMES);
  if (names->n == names->cap) {
    uint32_t cap = names->cap ? names->cap * 2 : 32;
    names->items = el_task_grow(t, (void *)names->items, names->n * sizeof *names->items, cap * sizeof *names->items);
    names->cap = cap;
  }
  names->items[names->n] = el_text_new(t, data, len, 0);
  *slot = ++names->n;
  return names->n - 1;
}
